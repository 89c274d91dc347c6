// Random topologies of exchanges and queues, held against the rules of routing written down as plainly as possible.
// A failure prints its seed: MODEL_SEED=n runs that one alone, MODEL_SEEDS=n the first n.
import { expect } from 'vitest';
import { Random } from '../../support/random.ts';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const SEEDS =
  process.env['MODEL_SEED'] === undefined
    ? Array.from({ length: Number(process.env['MODEL_SEEDS'] ?? 4) }, (_unused, i) => i + 1)
    : [Number(process.env['MODEL_SEED'])];
const MESSAGES = 80;
/** Changes of bindings, with messages between them: what is cached must be forgotten in time. */
const ROUNDS = 4;

type Table = Record<string, string | number | boolean | null>;

interface Binding {
  readonly source: string;
  readonly destination: string;
  readonly toQueue: boolean;
  readonly routingKey: string;
  readonly args: Table;
}

interface Exchange {
  readonly name: string;
  readonly type: 'direct' | 'fanout' | 'topic' | 'headers';
  readonly alternate: string | null;
}

const split = (key: string): string[] => (key === '' ? [] : key.split('.'));

function topicMatches(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === '#')
    return topicMatches(rest, words) || (words.length > 0 && topicMatches(pattern, words.slice(1)));
  return words.length > 0 && (first === '*' || first === words[0]) && topicMatches(rest, words.slice(1));
}

function headersMatch(args: Table, headers: Table): boolean {
  const mode = (args['x-match'] as string | undefined) ?? 'all';
  const wanted = Object.entries(args).filter(
    ([key]) => key !== 'x-match' && (mode.endsWith('-with-x') || !key.startsWith('x-')),
  );
  const holds = ([key, value]: [string, unknown]): boolean =>
    key in headers && (value === null || headers[key] === value);
  return mode.startsWith('all') ? wanted.every(holds) : wanted.some(holds);
}

/** The queues a message reaches. */
function routed(
  exchanges: ReadonlyMap<string, Exchange>,
  bindings: readonly Binding[],
  first: string,
  keys: readonly string[],
  headers: Table,
): Set<string> {
  const queues = new Set<string>();
  const visited = new Set<string>();
  const visit = (name: string): void => {
    const exchange = exchanges.get(name);
    if (exchange === undefined || visited.has(name)) return;
    visited.add(name);
    const matched = bindings.filter(({ source, routingKey, args }) => {
      if (source !== name) return false;
      if (exchange.type === 'fanout') return true;
      if (exchange.type === 'direct') return keys.includes(routingKey);
      if (exchange.type === 'topic') return keys.some((key) => topicMatches(split(routingKey), split(key)));
      return headersMatch(args, headers);
    });
    if (matched.length === 0 && exchange.alternate !== null) visit(exchange.alternate);
    for (const { destination, toQueue } of matched) {
      if (toQueue) queues.add(destination);
      else visit(destination);
    }
  };
  visit(first);
  return queues;
}

const WORDS = ['a', 'b', '', 'c'];
const PATTERN_WORDS = ['a', 'b', '', '*', '#', '#'];

function randomKey(random: Random, words: readonly string[]): string {
  const length = random.below(4);
  return Array.from({ length }, () => random.pick(words)).join('.');
}

function randomTable(random: Random, forBinding: boolean): Table {
  const table: Table = {};
  for (const key of ['colour', 'size', 'x-hidden']) {
    if (random.chance(0.5)) continue;
    table[key] = random.pick([1, 2, 'red', true, ...(forBinding ? [null] : [])]);
  }
  if (forBinding && random.chance(0.7))
    table['x-match'] = random.pick(['all', 'any', 'all-with-x', 'any-with-x']);
  return table;
}

async function topology(target: Target, seed: number): Promise<void> {
  const random = new Random(seed);
  const t = await scene(target);
  const { channel } = t;
  const exchanges = new Map<string, Exchange>();
  const names = Array.from({ length: 6 }, () => t.exchangeName('x'));
  for (const name of names) {
    const type = random.pick(['direct', 'fanout', 'topic', 'topic', 'headers'] as const);
    const alternate = random.chance(0.4) ? random.pick(names) : null;
    exchanges.set(name, { name, type, alternate });
    const args = alternate === null ? {} : { 'alternate-exchange': alternate };
    await channel.call('exchange.declare', { exchange: name, type, arguments: args });
  }
  const queues = await Promise.all(Array.from({ length: 6 }, () => t.queue({ exclusive: true })));
  const bindings: Binding[] = [];
  const request = (verb: 'bind' | 'unbind', binding: Binding): Promise<object> => {
    const { source, destination, toQueue, routingKey, args } = binding;
    return toQueue
      ? channel.call(`queue.${verb}`, { queue: destination, exchange: source, routingKey, arguments: args })
      : channel.call(`exchange.${verb}`, { destination, source, routingKey, arguments: args });
  };
  await channel.confirms();

  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < 16; i++) {
      if (bindings.length > 0 && random.chance(0.3)) {
        const [gone] = bindings.splice(random.below(bindings.length), 1);
        await request('unbind', gone!);
        continue;
      }
      const source = random.pick(names);
      const toQueue = random.chance(0.7);
      const { type } = exchanges.get(source)!;
      const binding: Binding = {
        source,
        destination: toQueue ? random.pick(queues) : random.pick(names),
        toQueue,
        routingKey: randomKey(random, type === 'topic' ? PATTERN_WORDS : WORDS),
        args: type === 'headers' ? randomTable(random, true) : {},
      };
      const same = (other: Binding): boolean => JSON.stringify(other) === JSON.stringify(binding);
      await request('bind', binding);
      if (!bindings.some(same)) bindings.push(binding);
    }

    const expected = new Map(queues.map((queue) => [queue, [] as string[]]));
    const unroutable: string[] = [];
    for (let i = 0; i < MESSAGES; i++) {
      const exchange = random.pick(names);
      const key = randomKey(random, WORDS);
      const headers = randomTable(random, false);
      const more: Record<string, string[]> = {};
      for (const header of ['CC', 'BCC']) {
        if (random.chance(0.15)) more[header] = [randomKey(random, WORDS), randomKey(random, WORDS)];
      }
      const body = `${round}.${i} ${JSON.stringify({ exchange: names.indexOf(exchange), key, headers, more })}`;
      channel.publish(exchange, key, body, { headers: { ...headers, ...more } }, { mandatory: true });
      const reached = routed(exchanges, bindings, exchange, [key, ...Object.values(more).flat()], headers);
      for (const queue of reached) expected.get(queue)!.push(body);
      if (reached.size === 0) unroutable.push(body);
    }
    await channel.until(() => channel.settled() === (round + 1) * MESSAGES, 'confirms of all messages');
    for (const queue of queues)
      expect(await channel.drain(queue), `seed ${seed}`).toEqual(expected.get(queue));
    const returned = channel.seen('basic.return').map(({ body }) => body!.toString());
    expect(
      returned.filter((body) => body.startsWith(`${round}.`)),
      `seed ${seed}`,
    ).toEqual(unroutable);
  }
}

for (const seed of SEEDS) {
  rule('16.routing-model', `seed ${seed}`, (target) => topology(target, seed));
}

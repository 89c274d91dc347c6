// The same random script of requests held with two brokers: every reply must be the same, texts and all.
// Runs only with REFERENCE_URL (a RabbitMQ); the other broker is ours, or the one of AMQP_URL. DIFF_SEED, DIFF_ROUNDS and
// DIFF_STEPS choose; what DIFF_IGNORE (a pattern) finds in a reply is not compared.
// Steps wait for their replies, and no step lets two of RabbitMQ's queues race into a third. What its processes still do behind
// a reply (requeues of a closed channel, dead letters, counts that overtake publishes) is over after a pause: a script that
// differs is held again with pauses between its steps, and must be the same then.
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { Random } from './support/random.ts';
import {
  type Fields,
  method,
  openRaw,
  publish,
  type RawClient,
  type ReceivedFrame,
} from './support/raw-client.ts';
import { useTarget } from './support/target.ts';

const REFERENCE_URL = process.env['REFERENCE_URL'];
const SEED = Number(process.env['DIFF_SEED'] ?? 1);
const ROUNDS = Number(process.env['DIFF_ROUNDS'] ?? 50);
const STEPS = Number(process.env['DIFF_STEPS'] ?? 60);
/** With consumers every step waits for deliveries that may still come, which takes time: DIFF_CONSUMERS=1. */
const CONSUMERS = process.env['DIFF_CONSUMERS'] === '1';
/** The pause after each step, of the first try and of the next; with consumers the time in which deliveries are put down to their step. */
const PAUSES_MS = CONSUMERS ? [12, 60, 250] : [0, 20, 100];
/** Parts of replies that are known to differ. */
const IGNORE = process.env['DIFF_IGNORE'] === undefined ? null : new RegExp(process.env['DIFF_IGNORE'], 'g');

/** One request of a script. `prefix` in names stands for a name of this run. */
interface Step {
  readonly channel: number;
  readonly method: string;
  readonly fields: Fields;
  readonly content?: { readonly body: string; readonly properties: Fields };
}

const QUEUES = ['@q0', '@q1', '@q2', '@q3'];
const EXCHANGES = ['@e0', '@e1', '@e2', '@e3'];
/** Stand for the predeclared exchanges, which on a shared broker have bindings of other people. */
const STANDARD: Readonly<Record<string, string>> = {
  '@direct': 'direct',
  '@topic': 'topic',
  '@headers': 'headers',
  '@fanout': 'fanout',
};
const ALL_EXCHANGES = [...EXCHANGES, ...Object.keys(STANDARD), ''];
const KEYS = ['', '@q0', '@q1', 'a', 'a.b', 'a.b.c', '*', '#', 'a.*', '#.c', 'a.#', '*.b.*'];
const QUEUE_ARGUMENTS: readonly Fields[] = [
  {},
  {},
  {},
  { 'x-max-length': 2 },
  { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
  { 'x-max-length': 1, 'x-overflow': 'drop-head' },
  { 'x-max-length': 2, 'x-max-priority': 5 },
  { 'x-max-length-bytes': 10 },
  { 'x-max-priority': 3 },
  { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': '@q3' },
  { 'x-dead-letter-exchange': '@e0' },
  { 'x-message-ttl': 0 },
  { 'x-message-ttl': 600_000 },
  { 'x-expires': 600_000 },
  { 'x-single-active-consumer': true },
  { 'x-queue-type': 'classic' },
  { unknown: 'argument' },
  // Refused ones.
  { 'x-message-ttl': -1 },
  { 'x-message-ttl': 'abc' },
  { 'x-expires': 0 },
  { 'x-max-length': -1 },
  { 'x-max-length': 'abc' },
  { 'x-overflow': 'bogus' },
  { 'x-max-priority': 256 },
  { 'x-dead-letter-routing-key': 'no exchange' },
  { 'x-dead-letter-exchange': 5 },
  { 'x-single-active-consumer': 'yes' },
];
const isMourning = (args: Fields): boolean => typeof args['x-dead-letter-exchange'] === 'string';
const CAREFREE_ARGUMENTS = QUEUE_ARGUMENTS.filter((args) => !isMourning(args));
const BIND_ARGUMENTS: readonly Fields[] = [
  {},
  {},
  { a: 1 },
  { a: 1, b: 'x', 'x-match': 'all' },
  { a: 1, b: 'x', 'x-match': 'any' },
  { 'x-match': 'bogus' },
  { 'x-match': 5 },
  { a: null },
  { 'x-match': 'any' },
];
const HEADERS: readonly (Fields | null)[] = [
  null,
  null,
  { a: 1 },
  { a: 1, b: 'x' },
  { a: 'other', b: 'x' },
  { CC: ['@q1', 'a.b'] },
  { BCC: ['@q2'] },
  { CC: ['a'], BCC: ['@q0'], c: true },
  { CC: 'no array' },
];

/** A random script: mostly sensible, so that it gets somewhere. */
function script(random: Random): Step[] {
  const steps: Step[] = [];
  const add = (method_: string, fields: Fields = {}, content?: Step['content']) => {
    steps.push({
      channel: 1 + random.below(2),
      method: method_,
      fields,
      ...(content === undefined ? {} : { content }),
    });
  };
  const flag = (probability = 0.3) => random.chance(probability);
  // Dead letters of two queues arrive in any order where they meet. So either one queue alone has dead letters, or none are
  // made of several messages at once.
  const mourner = flag(0.5) ? random.pick(QUEUES) : null;
  let isTransacted = false;
  const declareQueue = () => {
    const queue = random.pick(QUEUES);
    const given = mourner === null || queue === mourner ? QUEUE_ARGUMENTS : CAREFREE_ARGUMENTS;
    add('queue.declare', {
      queue,
      passive: flag(0.15),
      durable: flag(0.1),
      exclusive: flag(0.9),
      autoDelete: flag(0.1),
      arguments: flag(0.6) ? {} : random.pick(given),
    });
  };
  const declareExchange = () =>
    add('exchange.declare', {
      exchange: random.pick(flag(0.9) ? EXCHANGES : ALL_EXCHANGES),
      type: random.pick(['direct', 'fanout', 'topic', 'headers']),
      passive: flag(0.15),
      durable: flag(0.1),
      autoDelete: flag(0.2),
      internal: flag(0.1),
      arguments: flag(0.8) ? {} : { 'alternate-exchange': random.pick(ALL_EXCHANGES) },
    });
  for (let i = 0; i < 4; i++) declareQueue();
  for (let i = 0; i < 3; i++) declareExchange();
  while (steps.length < STEPS) {
    const queue = random.pick(QUEUES);
    const exchange = random.pick(ALL_EXCHANGES);
    const routingKey = random.pick(KEYS);
    const args = random.pick(BIND_ARGUMENTS);
    const deliveryTag = random.below(4);
    if (CONSUMERS && flag(0.25)) {
      // One queue a channel, so that no two queues race for the order of its deliveries.
      const channel = 1 + random.below(2);
      const consumerTag = random.pick(['x', 'y']);
      steps.push(
        random.pick([
          {
            channel,
            method: 'basic.consume',
            fields: { queue: QUEUES[channel]!, consumerTag, noAck: flag(), exclusive: flag(0.1) },
          },
          { channel, method: 'basic.cancel', fields: { consumerTag } },
          { channel, method: 'basic.qos', fields: { prefetchCount: random.below(4), global: flag(0.4) } },
          { channel, method: 'basic.ack', fields: { deliveryTag: 0, multiple: true } },
          {
            channel,
            method: 'basic.nack',
            fields: { deliveryTag: 0, multiple: true, requeue: mourner === null },
          },
        ]),
      );
      continue;
    }
    switch (random.below(24)) {
      case 0:
        declareQueue();
        break;
      case 1:
        declareExchange();
        break;
      case 2:
      case 3:
        add('queue.bind', { queue, exchange, routingKey, arguments: args });
        break;
      case 4:
        add('queue.unbind', { queue, exchange, routingKey, arguments: args });
        break;
      case 5:
        add('exchange.bind', {
          destination: random.pick(ALL_EXCHANGES),
          source: exchange,
          routingKey,
          arguments: args,
        });
        break;
      case 6:
        add('exchange.unbind', {
          destination: random.pick(ALL_EXCHANGES),
          source: exchange,
          routingKey,
          arguments: args,
        });
        break;
      case 7:
        add('queue.purge', { queue });
        break;
      case 8:
        if (flag()) add('queue.delete', { queue, ifUnused: flag(), ifEmpty: flag() });
        break;
      case 9:
        if (flag()) add('exchange.delete', { exchange, ifUnused: flag(0.5) });
        break;
      case 10:
      case 11:
      case 12:
      case 13:
      case 14:
      case 15: {
        const headers = random.pick(HEADERS);
        const properties: Fields = headers === null ? {} : { headers };
        if (flag(0.2)) properties['deliveryMode'] = random.pick([1, 2]);
        if (flag(0.3)) properties['priority'] = random.below(8);
        if (headers === null && flag(0.05)) properties['userId'] = random.pick(['guest', 'somebody']);
        if (flag(0.03)) properties['replyTo'] = 'amq.rabbitmq.reply-to';
        const direct = flag(0.6);
        if (flag(0.1)) {
          const expiration = random.pick(['0', '600000', '-1', 'abc', '12x', '99999999999999']);
          // A message that is dead at once must not meet its own dead letter, or another publish, in a queue.
          const isAlone = direct && headers?.['CC'] === undefined && headers?.['BCC'] === undefined;
          const isDead = expiration === '0' && isAlone && !isTransacted;
          properties['expiration'] = expiration === '0' && !isDead ? '600000' : expiration;
          // Rule 9.1.anywhere: RabbitMQ goes on counting what expires behind other messages.
          if (isDead) add('queue.purge', { queue });
        }
        add(
          'basic.publish',
          { exchange: direct ? '' : exchange, routingKey: direct ? queue : routingKey, mandatory: flag() },
          { body: `message ${steps.length}`, properties },
        );
        break;
      }
      case 16:
      case 17:
        add('basic.get', { queue, noAck: flag() });
        break;
      case 18:
        add('basic.ack', { deliveryTag, multiple: flag(deliveryTag === 0 ? 0.9 : 0.3) });
        break;
      case 19: {
        const multiple = flag(deliveryTag === 0 ? 0.9 : 0.3);
        const requeue = flag(0.6) || (multiple && mourner === null);
        add('basic.nack', { deliveryTag, multiple, requeue });
        break;
      }
      case 20:
        add('basic.reject', { deliveryTag, requeue: flag(0.6) });
        break;
      case 21:
        add('basic.recover', { requeue: true });
        break;
      case 22:
        if (flag(0.4)) {
          const mode = random.pick(['confirm.select', 'tx.select', 'tx.commit', 'tx.rollback']);
          // A commit may reject messages of several queues at once.
          if (mode === 'tx.select' && mourner === null) break;
          if (mode === 'tx.select') isTransacted = true;
          add(mode);
        }
        break;
      default:
        add('queue.declare', { queue, passive: true });
    }
  }
  return steps;
}

/** Replaces the marker of run-specific names, deep inside too. */
function named<T>(value: T, prefix: string): T {
  if (typeof value === 'string') return value.replaceAll('@', prefix) as T;
  if (Array.isArray(value)) return value.map((item) => named(item, prefix)) as T;
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, named(item, prefix)])) as T;
}

/** A frame as text in which nothing belongs to one run or one broker. */
function described(frame: ReceivedFrame, prefix: string): string {
  const text = frame.name === 'body' ? frame.payload.toString() : JSON.stringify(frame.fields);
  const line = `${frame.channel} ${frame.name} ${text}`
    .replaceAll(prefix, '@')
    .replace(/"time":\{[^}]*\}/g, '"time"');
  return IGNORE === null ? line : line.replace(IGNORE, '...');
}

/** Runs the script; one entry per step, with what came back for it. */
async function transcript(
  url: string,
  steps: readonly Step[],
  prefix: string,
  pauseMs: number,
): Promise<string[]> {
  const client = await openRaw(url);
  const entries: string[] = [];
  /** Channels in confirm mode. */
  const confirming = new Set<number>();
  try {
    await client.openChannel(1);
    await client.openChannel(2);
    for (const [exchange, type] of Object.entries(STANDARD)) {
      await client.call(1, 'exchange.declare', { exchange: named(exchange, prefix), type });
    }
    for (const step of steps) {
      const answered = await runStep(client, step, prefix, confirming);
      const seen = CONSUMERS ? await settle(client, answered, prefix, pauseMs) : answered;
      if (!CONSUMERS && pauseMs > 0) await sleep(pauseMs);
      entries.push(
        `${step.channel} ${step.method} ${JSON.stringify(step.fields)}${step.content === undefined ? '' : ` ${JSON.stringify(step.content)}`}\n      -> ${seen.join('\n         ') || 'nothing'}`,
      );
      if (seen.some((line) => line.includes(' connection.close '))) break;
    }
  } finally {
    client.destroy();
    await cleanUp(url, prefix);
  }
  return entries;
}

async function runStep(
  client: RawClient,
  step: Step,
  prefix: string,
  confirming: Set<number>,
): Promise<string[]> {
  const { channel } = step;
  const fields = named(step.fields, prefix);
  if (step.content === undefined) client.sendMethod(channel, step.method, fields);
  else {
    const { body, properties } = named(step.content, prefix);
    client.send(
      publish(channel, String(fields['exchange']), String(fields['routingKey']), body, properties, fields),
    );
  }
  // flow-ok comes after everything the request caused on this channel.
  client.sendMethod(channel, 'channel.flow', { active: true });
  const seen: string[] = [];
  let confirmed = step.method !== 'basic.publish' || !confirming.has(channel);
  let flowed = false;
  while (!flowed || !confirmed) {
    const frame = await client.next();
    if (frame.name === 'channel.flow-ok') {
      flowed = true;
      continue;
    }
    // The answer to opening a closed channel again.
    if (frame.name === 'channel.open-ok') continue;
    seen.push(described(frame, prefix));
    if (frame.name === 'basic.ack' || frame.name === 'basic.nack') confirmed = true;
    if (frame.name === 'confirm.select-ok') confirming.add(channel);
    if (frame.name === 'connection.close') return seen;
    if (frame.name === 'channel.close') {
      client.send(method(frame.channel, 'channel.close-ok'), method(frame.channel, 'channel.open'));
      confirming.delete(frame.channel);
      if (frame.channel === channel) return seen;
    }
  }
  return seen;
}

/** Adds what still comes. Channels are put in order: they are independent, so their frames may mix in any way. */
async function settle(client: RawClient, seen: string[], prefix: string, pauseMs: number): Promise<string[]> {
  for (;;) {
    const frame = await client.next(pauseMs).catch(() => null);
    if (frame === null) break;
    if (frame.name === 'channel.open-ok') continue;
    seen.push(described(frame, prefix));
    if (frame.name === 'channel.close') {
      client.send(method(frame.channel, 'channel.close-ok'), method(frame.channel, 'channel.open'));
    }
  }
  return [...seen].sort((a, b) => Number(a.charAt(0)) - Number(b.charAt(0)));
}

async function cleanUp(url: string, prefix: string): Promise<void> {
  const client = await openRaw(url);
  await client.openChannel(1);
  for (const exchange of [...EXCHANGES, ...Object.keys(STANDARD)])
    await client.call(1, 'exchange.delete', { exchange: named(exchange, prefix) });
  for (const queue of QUEUES) {
    client.sendMethod(1, 'queue.delete', { queue: named(queue, prefix) });
    const { name } = await client.next();
    if (name === 'channel.close') {
      client.sendMethod(1, 'channel.close-ok');
      await client.openChannel(1);
    }
  }
  await client.close();
}

/** The first step that was answered differently; null when there is none. */
function differenceOf(theirs: readonly string[], ours: readonly string[]): Error | null {
  const at = theirs.findIndex((entry, i) => entry !== ours[i]);
  if (at === -1) return null;
  const before = theirs.slice(0, at).join('\n');
  return new Error(`the brokers agree on\n${before}\nbut\n>>> ours ${ours[at]}\n>>> theirs ${theirs[at]}`);
}

if (REFERENCE_URL === undefined) {
  test.skip('two brokers answer the same (set REFERENCE_URL to a RabbitMQ)', () => {});
} else {
  const target = useTarget();
  for (let seed = SEED; seed < SEED + ROUNDS; seed++) {
    const limitMs = 30_000 + STEPS * 1_000;
    test(`two brokers answer the same (seed ${seed})`, { timeout: limitMs }, async () => {
      const steps = script(new Random(seed));
      let ours: string[] | null = null;
      let difference: Error | null = null;
      for (const [i, pauseMs] of PAUSES_MS.entries()) {
        const prefix = `diff.${process.pid}.${seed}.${i}.`;
        // Our own broker's answers do not depend on pauses, unless deliveries have to come within them.
        const isTimed = CONSUMERS || target.isRabbitMQ;
        const own: Promise<string[]> =
          ours === null || isTimed ? transcript(target.url, steps, prefix, pauseMs) : Promise.resolve(ours);
        const [theirs, mine] = await Promise.all([transcript(REFERENCE_URL, steps, prefix, pauseMs), own]);
        ours = mine;
        difference = differenceOf(theirs, mine);
        if (difference === null) return;
      }
      throw difference;
    });
  }
}

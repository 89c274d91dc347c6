// The topic exchange: every row of the edge-case table, then all patterns against all keys by an independent matcher.
import { expect } from 'vitest';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

/** Binds one queue per pattern, publishes the key, and says which patterns got it. */
async function matching(t: Scene, key: string, patterns: readonly string[]): Promise<string[]> {
  const exchange = await t.exchange('topic');
  const queues = new Map<string, string>();
  for (const pattern of patterns) queues.set(pattern, await t.boundQueue(exchange, pattern));
  t.channel.publish(exchange, key, 'x');
  const found: string[] = [];
  for (const [pattern, queue] of queues) {
    if ((await t.channel.drain(queue)).length === 1) found.push(pattern);
  }
  return found;
}

const table: readonly { key: string; matches: readonly string[]; others: readonly string[] }[] = [
  { key: '', matches: ['#', '', '#.#'], others: ['*', 'a', '*.*'] },
  { key: '.', matches: ['*.*', '#', '.', '#.*', '*.#'], others: ['*', '', '*.*.*'] },
  { key: 'a', matches: ['a', '*', '#', 'a.#', '#.a', '#.a.#', '#.#'], others: ['a.*', '*.a', 'b', '', 'A'] },
  { key: 'a..b', matches: ['a.*.b', 'a.#.b', 'a..b', 'a.#', '#.b'], others: ['a.b', 'a.*.*.b', 'a.*'] },
  {
    key: 'a.b.c',
    matches: ['a.#', '#.c', 'a.*.c', 'a.#.c', 'a.#.b.c', '#.b.#', '*.*.*'],
    others: ['a.*', '*.c', 'a.c', 'a.b', 'a.b.c.*'],
  },
  { key: 'a.*', matches: ['a.*', 'a.#', '*.*'], others: ['a.b', 'a'] },
  { key: 'a.b', matches: ['a.*', '*.b'], others: ['a.b.*', '*'] },
  { key: 'a.#', matches: ['a.#', 'a.*', '#'], others: ['a.b', 'a'] },
  { key: 'a.', matches: ['a.*', 'a.', 'a.#', '*.'], others: ['a', '.a'] },
  { key: '.a', matches: ['*.a', '.a', '#.a', '.*'], others: ['a', 'a.'] },
  { key: '...', matches: ['*.*.*.*', '#', '...', '#.#.#', '.#.'], others: ['*.*.*', '..'] },
];
for (const { key, matches, others } of table) {
  rule(
    '4.5.topic',
    `the key '${key}' matches ${matches.map((p) => `'${p}'`).join(', ')} and not ${others.map((p) => `'${p}'`).join(', ')}`,
    async (target) => {
      const t = await scene(target);
      expect(await matching(t, key, [...matches, ...others])).toEqual(matches);
    },
  );
}

/** The rule as the documentation words it, without any of the tricks of a fast implementation. */
function matches(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === '#') return matches(rest, words) || (words.length > 0 && matches(pattern, words.slice(1)));
  return words.length > 0 && (first === '*' || first === words[0]) && matches(rest, words.slice(1));
}

const split = (key: string): string[] => (key === '' ? [] : key.split('.'));

rule('4.5.topic', 'all patterns of up to three words against all keys of up to four', async (target) => {
  const t = await scene(target);
  const patterns = [''];
  for (let length = 1; length <= 3; length++) {
    const words = ['a', '', '*', '#'];
    for (let i = 0; i < words.length ** length; i++) {
      const pattern = Array.from(
        { length },
        (_unused, at) => words[Math.floor(i / words.length ** at) % words.length]!,
      );
      // One empty word alone is the empty key, which is no word at all.
      if (length > 1 || pattern[0] !== '') patterns.push(pattern.join('.'));
    }
  }
  const keys = [''];
  for (let length = 1; length <= 4; length++) {
    const words = ['a', 'b', ''];
    for (let i = 0; i < words.length ** length; i++) {
      const key = Array.from(
        { length },
        (_unused, at) => words[Math.floor(i / words.length ** at) % words.length]!,
      );
      if (length > 1 || key[0] !== '') keys.push(key.join('.'));
    }
  }
  const exchange = await t.exchange('topic');
  const queues = patterns.map(() => t.queueName());
  const { channel } = t;
  // Every binding is waited for: all of them may take longer than a test waits for one thing.
  for (const [i, queue] of queues.entries()) {
    channel.send('queue.declare', { queue, exclusive: true, nowait: true });
    await channel.call('queue.bind', { queue, exchange, routingKey: patterns[i] });
  }
  for (const key of keys) channel.publish(exchange, key, key);
  await channel.confirms();
  await channel.publishConfirmed(exchange, 'the.last.one.of.all', ['-']);
  const consumers = await Promise.all(queues.map((queue) => channel.consume(queue, { noAck: true })));
  for (const [i, consumer] of consumers.entries()) {
    const pattern = patterns[i]!;
    const expected = keys.filter((key) => matches(split(pattern), split(key)));
    await consumer.take(expected.length);
    const last = matches(split(pattern), split('the.last.one.of.all')) ? ['-'] : [];
    if (last.length > 0) await consumer.next();
    expect(consumer.bodies, `pattern '${pattern}'`).toEqual([...expected, ...last]);
  }
});

rule('4.5.topic-literal', 'a star or hash that is not a whole word is a literal', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const queues = new Map<string, string>();
  for (const pattern of ['a*', 'a#b', '**', '##', '*a.b'])
    queues.set(pattern, await t.boundQueue(exchange, pattern));
  for (const key of ['ab', 'a', 'axb', 'a.b', 'aa.b', 'x.y', 'x']) t.channel.publish(exchange, key, key);
  for (const pattern of queues.keys()) t.channel.publish(exchange, pattern, `literally ${pattern}`);
  for (const [pattern, queue] of queues)
    expect(await t.channel.drain(queue)).toEqual([`literally ${pattern}`]);
});

rule('4.5.topic-literal', 'a star or hash in the key of a message is not special', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const queue = await t.boundQueue(exchange, 'a.b');
  for (const key of ['a.*', 'a.#', '#', '*.b']) t.channel.publish(exchange, key, key);
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('4.5.topic', 'keys are compared byte by byte: letters, accents and spaces count', async (target) => {
  const t = await scene(target);
  expect(
    await matching(t, 'Straße.ü x', ['Straße.ü x', 'straße.ü x', 'Strasse.ü x', '*.ü x', 'Straße.u x']),
  ).toEqual(['Straße.ü x', '*.ü x']);
});

rule('4.5.topic', 'a pattern may hold many hashes', async (target) => {
  const t = await scene(target);
  const pattern = '#.a.#.b.#.c.#';
  expect(await matching(t, 'x.a.y.y.b.c.z', [pattern, '#.c.#.a.#.b.#'])).toEqual([pattern]);
});

rule('4.5.topic', 'a key of 128 words matches as the rules say', async (target) => {
  const t = await scene(target);
  const key = Array(128).fill('a').join('.');
  expect(await matching(t, key, ['#', 'a.#', '#.a', '#.b', 'a.*'])).toEqual(['#', 'a.#', '#.a']);
});

rule('4.5.topic-unbind', 'of patterns that share words one can go without the others', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const patterns = ['a', 'a.b', 'a.*', 'a.#', 'a.b.c', '#'];
  const queues = new Map<string, string>();
  for (const pattern of patterns) queues.set(pattern, await t.boundQueue(exchange, pattern));
  for (const gone of ['a.b', '#', 'a']) {
    const queue = queues.get(gone)!;
    await t.channel.call('queue.unbind', { queue, exchange, routingKey: gone });
    t.channel.publish(exchange, 'a.b', gone);
    expect(await t.channel.drain(queue)).toEqual(gone === '#' ? ['a.b'] : []);
  }
  expect(await t.channel.drain(queues.get('a.*')!)).toEqual(['a.b', '#', 'a']);
  expect(await t.channel.drain(queues.get('a.#')!)).toEqual(['a.b', '#', 'a']);
  expect(await t.channel.drain(queues.get('a.b.c')!)).toEqual([]);
});

rule('4.5.topic-unbind', 'a routed key sees bindings that come and go', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const queue = await t.queue();
  const binding = { queue, exchange, routingKey: 'a.*' };
  for (const round of ['1', '2', '3']) {
    t.channel.publish(exchange, 'a.b', `${round} unbound`);
    await t.channel.call('queue.bind', binding);
    t.channel.publish(exchange, 'a.b', `${round} bound`);
    await t.channel.call('queue.unbind', binding);
  }
  expect(await t.channel.drain(queue)).toEqual(['1 bound', '2 bound', '3 bound']);
});

rule('4.5.topic-unbind', 'one of two queues with the same pattern can go', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const first = await t.boundQueue(exchange, 'a.#');
  const second = await t.boundQueue(exchange, 'a.#');
  await t.channel.call('queue.delete', { queue: first });
  t.channel.publish(exchange, 'a.b', 'x');
  expect(await t.channel.drain(second)).toEqual(['x']);
});

// Levels of queues with priorities over restarts: what stands under the number of all levels and what under a level's own is one line.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { LogStore } from '../../src/store/log-store.ts';
import { MemoryEngine } from '../../src/store/memory-engine.ts';
import { TestConsumer } from '../queue/kit.ts';
import { NodeKit } from './kit.ts';

const persistent = { deliveryMode: 2 };
/** Some forty of these fill the memory of a queue. */
const MEMORY = 65_536;
const BODY = 1_000;

function texts(bodies: readonly string[]): string[] {
  return bodies.map((body) => body.trim().replace(/ +\*$/, '*'));
}

/** A queue whose level 5 has messages in the store only, up to number `count`; all others of its life so far are taken. */
async function pagedOut(count: number, properties: object = {}): Promise<NodeKit> {
  const kit = await NodeKit.open({ queueMemoryBytes: MEMORY });
  const q = kit.queue('q', { 'x-max-priority': 9 });
  for (let i = 0; i < count; i++)
    kit.publish('', 'q', `m${i}`.padEnd(BODY), { ...persistent, priority: 5, ...properties });
  await kit.settle();
  expect(q.pagedOutCount).toBeGreaterThan(count / 4);
  return kit;
}

it('messages keep their order over a restart, whether they had found room in memory or not', async () => {
  let kit = await pagedOut(200);
  const q = kit.vhost.queues.get('q')!;
  const held: string[] = [];
  // All are taken; a few that had been in the store only are not acknowledged.
  for (let i = 0; i < 200; i++) {
    await kit.until(() => q.whenReady(() => {}));
    const entry = q.get(false)!;
    if (i < 190) q.ack(entry);
    else held.push(`m${i}*`);
  }
  expect(q.pagedOutCount).toBe(0);
  for (let i = 0; i < 10; i++) kit.publish('', 'q', `n${i}`, { ...persistent, priority: 5 });
  for (let i = 0; i < 3; i++) kit.publish('', 'q', `low${i}`, persistent);
  await kit.settle();
  kit = await kit.restart();
  const expected = [...held, ...Array.from({ length: 10 }, (_, i) => `n${i}`), 'low0', 'low1', 'low2'];
  expect(kit.vhost.queues.get('q')!.messageCount).toBe(23);
  kit.publish('', 'q', 'n10', { ...persistent, priority: 5 });
  expected.splice(20, 0, 'n10');
  expect(texts(await kit.drain('q'))).toEqual(expected);
});

it('messages keep their order when the memory after a restart is less than before', async () => {
  let kit = await NodeKit.open();
  kit.queue('q', { 'x-max-priority': 9 });
  const all: string[] = [];
  for (let i = 0; i < 300; i++) {
    const priority = [0, 5, 9][i % 3]!;
    kit.publish('', 'q', `${priority}-${i}`.padEnd(BODY), { ...persistent, priority });
    all.push(`${priority}-${i}`);
  }
  await kit.settle();
  const byLevel = (): string[] =>
    [9, 5, 0].flatMap((level) => all.filter((text) => text.startsWith(`${level}-`)));
  for (const restarts of [1, 2]) {
    kit = await kit.restart({ queueMemoryBytes: MEMORY });
    const q = kit.vhost.queues.get('q')!;
    expect(q.messageCount).toBe(all.length);
    expect(q.pagedOutCount).toBeGreaterThan(100);
    kit.publish('', 'q', `5-new${restarts}`.padEnd(BODY), { ...persistent, priority: 5 });
    all.push(`5-new${restarts}`);
    await kit.settle();
  }
  expect(texts(await kit.drain('q'))).toEqual(byLevel());
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(0);
});

it('messages expire on time after a restart behind others that had no room in memory before it', async () => {
  let kit = await pagedOut(200);
  const q = kit.vhost.queues.get('q')!;
  for (let i = 0; i < 200; i++) {
    await kit.until(() => q.whenReady(() => {}));
    const entry = q.get(false)!;
    if (i < 199) q.ack(entry);
  }
  for (let i = 0; i < 5; i++)
    kit.publish('', 'q', `brief${i}`, { ...persistent, priority: 5, expiration: String(5_000 - i) });
  await kit.settle();
  kit = await kit.restart();
  const again = kit.vhost.queues.get('q')!;
  await kit.settle();
  expect(again.messageCount).toBe(6);
  kit.clock.advance(5_100);
  await kit.until(() => {
    kit.clock.advance(10);
    return again.messageCount === 1;
  });
  expect(texts(await kit.drain('q'))).toEqual(['m199*']);
});

it('what was taken of one level marks nothing in another after a crash', async () => {
  const kit = await NodeKit.open();
  const q = kit.queue('q', { 'x-max-priority': 9 });
  for (let i = 0; i < 10; i++) {
    kit.publish('', 'q', `low${i}`, { ...persistent, priority: 1 });
    kit.publish('', 'q', `high${i}`, { ...persistent, priority: 9 });
  }
  await kit.settle();
  await kit.until(() => q.whenReady(() => {}));
  q.get(false);
  await kit.settle();
  kit.node.stopTimers();
  await kit.store.close();
  const again = await NodeKit.open({ store: kit.store, clock: kit.clock });
  const bodies = await again.drain('q');
  expect(bodies.length).toBe(20);
  expect(bodies[0]).toBe('high0*');
  for (const body of bodies.slice(10)) expect(body).not.toContain('*');
});

it('a purge leaves what consumers hold, from memory and from the store, and nothing else', async () => {
  let kit = await pagedOut(100);
  const q = kit.vhost.queues.get('q')!;
  kit.publish('', 'q', 'high', { ...persistent, priority: 9 });
  const taken: string[] = [];
  for (let i = 0; i < 60; i++) {
    await kit.until(() => q.whenReady(() => {}));
    const entry = q.get(false)!;
    if (i % 20 === 0) taken.push(entry.message.body().toString().trim());
    else q.ack(entry);
  }
  q.purge();
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(taken.length);
  kit = await kit.restart();
  expect(texts(await kit.drain('q'))).toEqual(taken.map((text) => `${text}*`));
});

it('a retry comes back to its place in its level, over a restart too', async () => {
  let kit = await NodeKit.open();
  let q = kit.queue('q', { 'x-max-priority': 9, 'x-retry-limit': 5, 'x-retry-delay': 1_000 });
  for (let i = 0; i < 3; i++) {
    kit.publish('', 'q', `seven${i}`, { ...persistent, priority: 7 });
    kit.publish('', 'q', `three${i}`, { ...persistent, priority: 3 });
  }
  await kit.settle();
  for (let i = 0; i < 4; i++) {
    await kit.until(() => q.whenReady(() => {}));
    const entry = q.get(false)!;
    if (i !== 1) q.reject(entry);
    else q.ack(entry);
  }
  await kit.settle();
  kit = await kit.restart();
  q = kit.vhost.queues.get('q')!;
  expect(q.messageCount).toBe(2);
  await kit.until(() => {
    kit.clock.advance(100);
    return q.messageCount === 5;
  });
  expect(await kit.drain('q')).toEqual(['seven0*', 'seven2*', 'three0*', 'three1', 'three2']);
});

it('a folder in which each level had a number of its own is read, and goes on', async () => {
  const text = readFileSync(new URL('levels-format-2.json', import.meta.url), 'utf8');
  const { content } = JSON.parse(text) as { content: readonly { key: string; value: string }[] };
  const engine = new MemoryEngine();
  const batch = engine.batch();
  for (const { key, value } of content) batch.put(Buffer.from(key, 'hex'), Buffer.from(value, 'base64'));
  await new Promise((resolve) => batch.write(true, resolve));
  let kit = await NodeKit.open({ store: new LogStore(engine) });
  expect(kit.vhost.queues.get('q')!.messageCount).toBe(9);
  for (const [body, priority] of [
    ['nine2', 9],
    ['seven5', 7],
    ['eight0', 8],
    ['none3', 0],
  ] as const)
    kit.publish('', 'q', body, { ...persistent, priority });
  await kit.settle();
  kit = await kit.restart();
  expect((await kit.drain('q')).filter((body) => !body.startsWith('seven'))).toEqual([
    'nine1*',
    'nine2',
    'eight0',
    'none0',
    'none1',
    'none2',
    'none3',
  ]);
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(0);
});

it('a consumer that goes through many levels does not wait for the disk at each of them', async () => {
  const kit = await NodeKit.open({ queueMemoryBytes: MEMORY });
  const q = kit.queue('q', { 'x-max-priority': 255 });
  for (let i = 0; i < 1_024; i++)
    kit.publish('', 'q', `${i}`.padEnd(BODY), { ...persistent, priority: i % 256 });
  await kit.settle();
  expect(q.pagedOutCount).toBeGreaterThan(500);
  const taker = new TestConsumer('c');
  q.consume(taker);
  const { commits } = kit.node.shard.stats();
  await kit.until(() => taker.received.length === 1_024);
  // Two marks and a run for each level, one after the other, would be more.
  expect(kit.node.shard.stats().commits - commits).toBeLessThan(128);
});

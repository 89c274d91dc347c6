// Priorities and time of queues in a whole vhost: over a restart, and what counts as use of a queue that expires.

import { expect, it } from 'vitest';
import { BROKER } from '../../src/node/caller.ts';
import { NodeKit } from './kit.ts';

const persistent = { deliveryMode: 2 };

it('messages with priorities are there in order after a restart, and those that were held come back marked', async () => {
  let kit = await NodeKit.open();
  const q = kit.queue('q', { 'x-max-priority': 200 });
  for (let i = 0; i < 10; i++) kit.publish('', 'q', `low${i}`, { ...persistent, priority: 3 });
  for (let i = 0; i < 10; i++) kit.publish('', 'q', `high${i}`, { ...persistent, priority: 180 });
  kit.publish('', 'q', 'none', persistent);
  await kit.settle();
  await kit.until(() => q.whenReady(() => {}));
  q.ack(q.get(false)!);
  q.get(false);
  await kit.settle();
  kit = await kit.restart();
  const again = kit.vhost.queues.get('q')!;
  expect(again.messageCount).toBe(20);
  kit.publish('', 'q', 'higher', { ...persistent, priority: 190 });
  kit.publish('', 'q', 'high10', { ...persistent, priority: 180 });
  expect(await kit.drain('q')).toEqual([
    'higher',
    'high1*',
    ...Array.from({ length: 9 }, (_, i) => `high${i + 2}`),
    ...Array.from({ length: 10 }, (_, i) => `low${i}`),
    'none',
  ]);
});

it('a queue with priorities leaves nothing in the store when it is deleted', async () => {
  const kit = await NodeKit.open();
  kit.queue('q', { 'x-max-priority': 9 });
  for (let i = 0; i < 30; i++) kit.publish('', 'q', 'x', { ...persistent, priority: i % 10 });
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(30);
  kit.vhost.removeQueue(kit.vhost.queues.get('q')!);
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(0);
});

it('messages expire on time after a restart, wherever they stand, in memory or not', async () => {
  let kit = await NodeKit.open();
  kit.queue('dead');
  kit.queue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  kit.publish('', 'q', 'stays'.padEnd(500), persistent);
  for (let i = 0; i < 400; i++)
    kit.publish('', 'q', `${i}`.padEnd(500), {
      ...persistent,
      expiration: String(i % 2 === 0 ? 100_000 : 5_000),
    });
  await kit.settle();
  kit = await kit.restart({ queueMemoryBytes: 65_536 });
  const q = kit.vhost.queues.get('q')!;
  expect(q.messageCount).toBe(401);
  expect(q.pagedOutCount).toBeGreaterThan(200);
  kit.clock.advance(4_900);
  await kit.settle();
  expect(q.messageCount).toBe(401);
  await kit.until(() => {
    kit.clock.advance(10);
    return q.messageCount === 201;
  });
  expect(kit.vhost.queues.get('dead')!.messageCount).toBe(200);
});

it('what expired while the broker was down is gone before a client can see it', async () => {
  let kit = await NodeKit.open();
  kit.queue('q');
  kit.publish('', 'q', 'stays', persistent);
  kit.publish('', 'q', 'goes', { ...persistent, expiration: '1000' });
  await kit.settle();
  kit.clock.advance(2_000);
  kit = await kit.restart();
  const q = kit.vhost.queues.get('q')!;
  q.catchUp();
  expect(q.messageCount).toBe(1);
});

it('a queue with x-expires is gone from its vhost with its bindings, and has its whole time after a restart', async () => {
  let kit = await NodeKit.open();
  const q = kit.queue('q', { 'x-expires': 10_000 });
  kit.bind('amq.fanout', q, '');
  kit.clock.advance(9_000);
  await kit.settle();
  kit = await kit.restart();
  kit.clock.advance(9_000);
  expect(kit.vhost.queues.has('q')).toBe(true);
  kit.clock.advance(1_200);
  kit.run();
  expect(kit.vhost.queues.has('q')).toBe(false);
  expect(kit.routed('amq.fanout', '')).toEqual([]);
  await kit.settle();
  kit = await kit.restart();
  expect(kit.vhost.queues.has('q')).toBe(false);
});

it('a declaration of a queue that exists is a use of it', async () => {
  const kit = await NodeKit.open();
  kit.queue('q', { 'x-expires': 10_000 });
  kit.clock.advance(9_000);
  kit.queue('q', { 'x-expires': 10_000 });
  kit.clock.advance(9_000);
  expect(kit.vhost.queues.has('q')).toBe(true);
  kit.clock.advance(1_200);
  kit.run();
  expect(kit.vhost.queues.has('q')).toBe(false);
});

it('a queue whose time is over is not kept by a look at it before its turn has come', async () => {
  const kit = await NodeKit.open();
  const before = kit.queue('q', { 'x-expires': 10_000 });
  kit.publish('', 'q', 'old');
  kit.clock.advance(11_000);
  const anew = kit.queue('q', { 'x-expires': 20_000 });
  expect([before.deleted, anew.deleted, anew.messageCount]).toEqual([true, false, 0]);
  kit.clock.advance(21_000);
  expect(() => kit.vhost.queue('q', BROKER)).toThrow("no queue 'q' in vhost '/'");
});

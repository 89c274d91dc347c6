// Deliveries that fail: counted, limited, tried again after a wait; and dead letters that are kept until somebody takes them.

import { describe, expect, it } from 'vitest';
import type { Entry } from '../../src/message/entry.ts';
import { plainOf } from '../../src/protocol/field-table.ts';
import { NO_ROOM_WAIT_MS } from '../../src/queue/held-back.ts';
import { FAILURES_PER_ROUND, ROUND_EVERY_MS } from '../../src/queue/kept-dead.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { REJECTED } from '../../src/queue/queue.ts';
import { deliveredMessage, deliveriesOf } from '../../src/queue/tries.ts';
import { settle, TestConsumer } from '../queue/kit.ts';
import { NodeKit } from './kit.ts';

const PERSISTENT = { deliveryMode: 2 };
const QUORUM = { 'x-queue-type': 'quorum' };
/** Arguments of a queue that keeps its dead letters for another. */
function keeping(target: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    ...QUORUM,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': target,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
    ...more,
  };
}

/** What the counts of a queue say: ready, waiting for a retry, dead and kept, unacked. */
function counts(queue: DeclaredQueue): number[] {
  return [queue.messageCount, queue.waitingCount, queue.deadWaitingCount, queue.unackedCount];
}

/** The next entry of a queue, as soon as it can be had. */
async function take(kit: NodeKit, name: string): Promise<Entry> {
  const queue = kit.vhost.queues.get(name)!;
  await kit.until(() => queue.whenReady(() => {}) && queue.messageCount !== 0);
  return queue.get(false)!;
}

/** Headers as a consumer reads them. */
function headers(entry: Entry): Record<string, unknown> {
  return plainOf(deliveredMessage(entry).headers() ?? new Map());
}

/** Lets time pass until the condition holds, in steps in which every wheel can turn and every read be answered. */
async function pass(kit: NodeKit, stepMs: number, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000; i++) {
    // A few iterations of the event loop, for what is read from the store meanwhile.
    for (let j = 0; j < 4; j++) {
      kit.run();
      await new Promise(setImmediate);
    }
    if (condition()) return;
    kit.clock.advance(stepMs);
  }
  throw new Error('the condition did not come true');
}

describe('deliveries that come back to a quorum queue', () => {
  it('are counted in headers, from the first redelivery on', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', QUORUM);
    kit.publish('', 'q', 'a', { headers: new Map([['x-delivery-count', { tag: 'S', value: 'mine' }]]) });
    const seen: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const entry = await take(kit, 'q');
      seen.push([entry.redelivered, headers(entry)]);
      queue.requeue(entry);
    }
    expect(seen).toEqual([
      [false, { 'x-delivery-count': 'mine' }],
      [true, { 'x-delivery-count': 1, 'x-acquired-count': 1 }],
      [true, { 'x-delivery-count': 2, 'x-acquired-count': 2 }],
    ]);
  });

  it('are not counted in a classic queue', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    kit.publish('', 'q', 'a');
    queue.requeue(await take(kit, 'q'));
    expect(headers(await take(kit, 'q'))).toEqual({});
  });

  it('are dead-lettered when they are more than the limit, 20 where nothing else is said', async () => {
    const kit = await NodeKit.open();
    const dead = kit.queue('dead');
    const to = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    for (const [args, limit] of [
      [{}, 20],
      [{ 'x-delivery-limit': 2 }, 2],
      [{ 'x-delivery-limit': 0 }, 0],
    ] as const) {
      const queue = kit.queue('q', { ...QUORUM, ...to, ...args });
      kit.publish('', 'q', 'a');
      for (let i = 0; i <= limit; i++) {
        expect(dead.messageCount).toBe(0);
        queue.requeue(await take(kit, 'q'));
      }
      expect(counts(queue)).toEqual([0, 0, 0, 0]);
      expect(headers(await take(kit, 'dead'))).toMatchObject({ 'x-first-death-reason': 'delivery_limit' });
      kit.vhost.removeQueue(queue);
    }
  });

  it('go on for ever with a negative limit, and count in a classic queue that has a limit', async () => {
    const kit = await NodeKit.open();
    const endless = kit.queue('endless', { ...QUORUM, 'x-delivery-limit': -1 });
    kit.publish('', 'endless', 'a');
    for (let i = 0; i < 3_000; i++) endless.requeue(endless.get(false)!);
    expect(deliveriesOf((await take(kit, 'endless')).tries)).toBe(2_047);
    const classic = kit.queue('classic', { 'x-delivery-limit': 1 });
    kit.publish('', 'classic', 'a');
    classic.requeue(await take(kit, 'classic'));
    expect(headers(await take(kit, 'classic'))).toMatchObject({ 'x-delivery-count': 1 });
    expect(classic.unackedCount).toBe(1);
  });

  it('wait before they come back, where the queue says so: longer each time', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', {
      ...QUORUM,
      'x-delayed-retry-type': 'all',
      'x-delayed-retry-min': 100,
      'x-delayed-retry-max': 250,
    });
    kit.publish('', 'q', 'a');
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      queue.requeue(await take(kit, 'q'));
      expect(counts(queue)).toEqual([0, 1, 0, 0]);
      const from = kit.clock.now();
      await pass(kit, 10, () => queue.messageCount === 1);
      waits.push(kit.clock.now() - from);
    }
    for (const [i, wanted] of [100, 200, 250].entries()) {
      expect(waits[i]).toBeGreaterThanOrEqual(wanted);
      expect(waits[i]).toBeLessThanOrEqual(wanted + 30);
    }
    expect(headers(await take(kit, 'q'))).toEqual({ 'x-delivery-count': 3, 'x-acquired-count': 3 });
  });

  it('are still counted after a restart', async () => {
    let kit = await NodeKit.open();
    const queue = kit.queue('q', QUORUM);
    // RabbitMQ: a quorum queue keeps what is not persistent, too.
    kit.publish('', 'q', 'a');
    await kit.settle();
    for (let i = 0; i < 3; i++) queue.requeue(await take(kit, 'q'));
    await kit.settle();
    kit = await kit.restart();
    const entry = await take(kit, 'q');
    expect([entry.redelivered, headers(entry)['x-delivery-count']]).toEqual([true, 3]);
  });
});

describe('a rejected message of a queue with retries', () => {
  const RETRY = {
    'x-retry-limit': 3,
    'x-retry-delay': 1_000,
    'x-retry-multiplier': 3,
    'x-retry-delay-max': 5_000,
  };

  it('comes back after a growing wait, says how often, and is dead-lettered in the end', async () => {
    const kit = await NodeKit.open();
    const dead = kit.queue('dead');
    const to = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    const queue = kit.queue('q', { ...RETRY, ...to });
    kit.publish('', 'q', 'a', PERSISTENT);
    const waits: number[] = [];
    for (let n = 0; n <= 3; n++) {
      const entry = await take(kit, 'q');
      expect([entry.redelivered, headers(entry)['x-retry-count']]).toEqual([n > 0, n === 0 ? undefined : n]);
      queue.reject(entry);
      if (n === 3) break;
      expect(counts(queue)).toEqual([0, 1, 0, 0]);
      const from = kit.clock.now();
      await pass(kit, 10, () => queue.messageCount === 1);
      waits.push(kit.clock.now() - from);
    }
    for (const [i, wanted] of [1_000, 3_000, 5_000].entries()) {
      expect(waits[i]).toBeGreaterThanOrEqual(wanted);
      expect(waits[i]).toBeLessThanOrEqual(wanted + 30);
    }
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
    expect(dead.messageCount).toBe(1);
    expect(headers(await take(kit, 'dead'))).toMatchObject({ 'x-first-death-reason': 'rejected' });
  });

  it('that is requeued comes back at once, and no retry is counted', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', RETRY);
    kit.publish('', 'q', 'a', PERSISTENT);
    queue.requeue(await take(kit, 'q'));
    expect(headers(await take(kit, 'q'))).toEqual({});
  });

  it('comes back to its old place, a transient one too while nothing came behind it', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', RETRY);
    for (const body of ['a', 'b', 'c']) kit.publish('', 'q', body, PERSISTENT);
    queue.reject(await take(kit, 'q'));
    expect(counts(queue)).toEqual([2, 1, 0, 0]);
    await pass(kit, 100, () => queue.messageCount === 3);
    expect(await kit.drain('q')).toEqual(['a*', 'b', 'c']);
  });

  it('keeps no body in memory while it waits, transient or not', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...RETRY, 'x-retry-delay': 60_000, 'x-retry-delay-max': 60_000 });
    const body = 'x'.repeat(1_000);
    for (const properties of [PERSISTENT, {}])
      for (let i = 0; i < 200; i++) kit.publish('', 'q', body, properties);
    for (let i = 0; i < 400; i++) queue.reject(await take(kit, 'q'));
    await kit.settle();
    expect(counts(queue)).toEqual([0, 400, 0, 0]);
    expect([queue.memoryBytes, kit.node.memory.used]).toEqual([0, 0]);
    await pass(kit, 5_000, () => queue.messageCount === 400);
    expect(new Set(await kit.drain('q'))).toEqual(new Set([`${body}*`]));
  });

  it('waits on while the memory is full of others', async () => {
    const kit = await NodeKit.open({ queueMemoryBytes: 100_000, pagingMemoryBytes: 100_000 });
    const queue = kit.queue('q', { 'x-retry-limit': 1, 'x-retry-delay': 100 });
    const body = 'x'.repeat(1_000);
    for (let i = 0; i < 300; i++) {
      kit.publish('', 'q', body, PERSISTENT);
      queue.reject(await take(kit, 'q'));
    }
    await pass(kit, NO_ROOM_WAIT_MS, () => queue.messageCount > 50);
    await kit.settle();
    expect(queue.memoryBytes).toBeLessThanOrEqual(100_000);
    expect(queue.messageCount + queue.waitingCount).toBe(300);
    let taken = 0;
    await pass(kit, NO_ROOM_WAIT_MS, () => {
      for (let entry = queue.get(true); entry !== null; entry = queue.get(true)) taken++;
      return taken === 300;
    });
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
  });

  it('waits for what is left of its time after a restart', async () => {
    let kit = await NodeKit.open();
    let queue = kit.queue('q', { 'x-retry-limit': 5, 'x-retry-delay': 10_000 });
    for (const body of ['a', 'b']) kit.publish('', 'q', body, PERSISTENT);
    kit.publish('', 'q', 'transient');
    await kit.settle();
    queue.reject(await take(kit, 'q'));
    kit.clock.advance(4_000);
    await kit.settle();
    kit = await kit.restart();
    queue = kit.vhost.queues.get('q')!;
    expect(counts(queue)).toEqual([1, 1, 0, 0]);
    const from = kit.clock.now();
    await pass(kit, 50, () => queue.messageCount === 2);
    expect(kit.clock.now() - from).toBeGreaterThanOrEqual(6_000);
    expect(kit.clock.now() - from).toBeLessThanOrEqual(6_200);
    const entry = await take(kit, 'q');
    expect([entry.redelivered, headers(entry), entry.message.body().toString()]).toEqual([
      true,
      { 'x-retry-count': 1 },
      'a',
    ]);
    queue.ack(entry);
    // The mark of deliveries runs ahead: what stands behind may look redelivered, and nothing comes twice.
    expect((await kit.drain('q')).map((text) => text[0])).toEqual(['b']);
    await kit.settle();
    kit = await kit.restart();
    expect(counts(kit.vhost.queues.get('q')!)).toEqual([0, 0, 0, 0]);
  });

  it('among many that are only in the store is neither lost nor doubled by a restart', async () => {
    let kit = await NodeKit.open({ queueMemoryBytes: 20_000, pagingMemoryBytes: 20_000 });
    let queue = kit.queue('q', { 'x-retry-limit': 5, 'x-retry-delay': 10_000 });
    for (let i = 0; i < 500; i++) kit.publish('', 'q', `${i} ${'x'.repeat(200)}`, PERSISTENT);
    await kit.settle();
    for (let i = 0; i < 200; i++) {
      const entry = await take(kit, 'q');
      if (i % 2 === 0) queue.reject(entry);
      else queue.requeue(entry);
      if (i % 2 === 1) queue.ack(await take(kit, 'q'));
    }
    await kit.settle();
    expect(counts(queue)).toEqual([300, 100, 0, 0]);
    kit = await kit.restart({ queueMemoryBytes: 20_000, pagingMemoryBytes: 20_000 });
    queue = kit.vhost.queues.get('q')!;
    expect(counts(queue)).toEqual([300, 100, 0, 0]);
    const seen: string[] = [];
    await pass(kit, 500, () => {
      for (let entry = queue.get(true); entry !== null; entry = queue.get(true))
        seen.push(entry.message.body().toString().split(' ')[0]!);
      return seen.length === 400;
    });
    await kit.settle();
    expect(new Set(seen).size).toBe(400);
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
  });

  it('goes with a purge and with its queue, and counts in the limits', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...RETRY, 'x-max-length': 2, 'x-overflow': 'reject-publish' });
    for (const body of ['a', 'b']) kit.publish('', 'q', body, PERSISTENT);
    queue.reject(await take(kit, 'q'));
    expect(kit.publish('', 'q', 'c') & REJECTED).toBe(REJECTED);
    expect(queue.purge()).toBe(2);
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
    expect(kit.publish('', 'q', 'd') & REJECTED).toBe(0);
    queue.reject(await take(kit, 'q'));
    kit.vhost.removeQueue(queue);
    kit.clock.advance(10_000);
    await kit.settle();
    expect(kit.node.memory.used).toBe(0);
    expect(kit.node.shard.stats().liveEntries).toBe(0);
  });

  it('has a delivery limit beside its retries: each counts its own', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...QUORUM, ...RETRY, 'x-delivery-limit': 1 });
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    await pass(kit, 100, () => queue.messageCount === 1);
    queue.requeue(await take(kit, 'q'));
    expect(headers(await take(kit, 'q'))).toEqual({
      'x-delivery-count': 1,
      'x-acquired-count': 2,
      'x-retry-count': 1,
    });
  });

  it('that has expired meanwhile dies when it comes back', async () => {
    const kit = await NodeKit.open();
    const dead = kit.queue('dead');
    const to = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    const queue = kit.queue('q', { ...RETRY, ...to, 'x-message-ttl': 500 });
    kit.publish('', 'q', 'a', PERSISTENT);
    queue.reject(await take(kit, 'q'));
    await pass(kit, 100, () => dead.messageCount === 1);
    expect(headers(await take(kit, 'dead'))).toMatchObject({ 'x-first-death-reason': 'expired' });
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
  });

  it('of a priority comes back to it', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...RETRY, 'x-max-priority': 5 });
    kit.publish('', 'q', 'low', { ...PERSISTENT, priority: 1 });
    kit.publish('', 'q', 'high', { ...PERSISTENT, priority: 4 });
    queue.reject(await take(kit, 'q'));
    await pass(kit, 100, () => queue.messageCount === 2);
    expect(await kit.drain('q')).toEqual(['high*', 'low']);
  });

  it('holds its ordering key until it is back', async () => {
    let kit = await NodeKit.open();
    let queue = kit.queue('q', { ...RETRY, 'x-ordering-key': 'key' });
    const keyed = (key: string) => ({
      ...PERSISTENT,
      headers: new Map([['key', { tag: 'S', value: key } as const]]),
    });
    for (const body of ['a1', 'a2']) kit.publish('', 'q', body, keyed('a'));
    kit.publish('', 'q', 'b1', keyed('b'));
    await kit.settle();
    queue.reject(await take(kit, 'q'));
    await kit.settle();
    kit = await kit.restart();
    queue = kit.vhost.queues.get('q')!;
    const consumer = new TestConsumer('c');
    queue.consume(consumer);
    await kit.settle();
    expect(consumer.received.map((text) => text.slice(0, 2))).toEqual(['b1']);
    await pass(kit, 100, () => consumer.received.length === 3);
    expect(consumer.received.map((text) => text.slice(0, 2))).toEqual(['b1', 'a1', 'a2']);
    settle(consumer.entry('a1'), 'ack');
    expect(queue.unackedCount).toBe(2);
  });
});

describe('a queue that keeps its dead letters', () => {
  it('hands them on at once where somebody takes them', async () => {
    const kit = await NodeKit.open();
    const dead = kit.queue('dead');
    const queue = kit.queue('q', keeping('dead'));
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    expect([counts(queue), dead.messageCount]).toEqual([[0, 0, 0, 0], 1]);
  });

  it('keeps them while nobody is there, over a restart too, and hands them on in their order', async () => {
    let kit = await NodeKit.open();
    let queue = kit.queue('q', keeping('dead'));
    for (const body of ['a', 'b', 'c']) kit.publish('', 'q', body);
    await kit.settle();
    for (let i = 0; i < 2; i++) queue.reject(await take(kit, 'q'));
    await pass(kit, 100, () => kit.clock.now() % 3_000 === 0);
    expect(counts(queue)).toEqual([1, 0, 2, 0]);
    kit = await kit.restart();
    queue = kit.vhost.queues.get('q')!;
    expect(counts(queue)).toEqual([1, 0, 2, 0]);
    const dead = kit.queue('dead');
    await pass(kit, ROUND_EVERY_MS / 4, () => dead.messageCount === 2);
    expect(counts(queue)).toEqual([1, 0, 0, 0]);
    expect(await kit.drain('dead')).toEqual(['a', 'b']);
    await kit.settle();
    kit = await kit.restart();
    expect(counts(kit.vhost.queues.get('q')!)).toEqual([1, 0, 0, 0]);
  });

  it('keeps them while the exchange is missing, leads nowhere, or a queue has no room', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...keeping('k'), 'x-dead-letter-exchange': 'dlx' });
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    expect(counts(queue)).toEqual([0, 0, 1, 0]);
    kit.exchange('dlx', 'direct');
    await pass(kit, 500, () => kit.clock.now() % 5_000 === 0);
    expect(counts(queue)).toEqual([0, 0, 1, 0]);
    const full = kit.queue('full', { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    const other = kit.queue('other');
    kit.publish('', 'full', 'in the way');
    for (const target of [full, other]) kit.bind('dlx', target, 'k');
    await pass(kit, 500, () => kit.clock.now() % 5_000 === 0);
    // All of them or none: nobody gets it twice.
    expect([counts(queue), other.messageCount]).toEqual([[0, 0, 1, 0], 0]);
    await kit.drain('full');
    await pass(kit, 500, () => full.messageCount === 1);
    expect([counts(queue), other.messageCount]).toEqual([[0, 0, 0, 0], 1]);
  });

  it('keeps what expires, in memory or not, and what came back too often', async () => {
    const kit = await NodeKit.open({ queueMemoryBytes: 20_000, pagingMemoryBytes: 20_000 });
    const queue = kit.queue('q', keeping('dead', { 'x-message-ttl': 1_000, 'x-delivery-limit': 0 }));
    const body = 'x'.repeat(500);
    for (let i = 0; i < 100; i++) kit.publish('', 'q', body);
    queue.requeue(await take(kit, 'q'));
    expect(counts(queue)).toEqual([99, 0, 1, 0]);
    await pass(kit, 100, () => queue.deadWaitingCount === 100);
    expect(queue.memoryBytes).toBe(0);
    const dead = kit.queue('dead');
    await pass(kit, 500, () => dead.messageCount === 100);
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
    const reasons: unknown[] = [];
    for (let i = 0; i < 100; i++) reasons.push(headers(await take(kit, 'dead'))['x-first-death-reason']);
    expect(reasons.filter((reason) => reason === 'delivery_limit').length).toBe(1);
    expect(reasons.filter((reason) => reason === 'expired').length).toBe(99);
  });

  it('tries again behind an exchange that drops duplicates', async () => {
    const kit = await NodeKit.open();
    kit.exchange('once', 'x-message-deduplication', { 'x-cache-size': 10 });
    const queue = kit.queue('q', keeping('dead', { 'x-dead-letter-exchange': 'once' }));
    const header = { headers: new Map([['x-deduplication-header', { tag: 'S' as const, value: 'k' }]]) };
    kit.publish('', 'q', 'a', { ...PERSISTENT, ...header });
    queue.reject(await take(kit, 'q'));
    expect(counts(queue)).toEqual([0, 0, 1, 0]);
    kit.bind('once', kit.queue('dead'), 'dead');
    await pass(kit, 500, () => queue.deadWaitingCount === 0);
    expect(await kit.drain('dead')).toEqual(['a']);
  });

  it('keeps what may not wait and finds a queue that is longer than its memory', async () => {
    const kit = await NodeKit.open({ queueMemoryBytes: 20_000, pagingMemoryBytes: 20_000 });
    const queue = kit.queue('q', keeping('dead'));
    for (let i = 0; i < 100; i++) kit.publish('', 'q', 'x'.repeat(500), PERSISTENT);
    expect(queue.pagedOutCount).not.toBe(0);
    kit.publish('', 'q', 'now or never', { ...PERSISTENT, expiration: '0' });
    expect(counts(queue)).toEqual([100, 0, 1, 0]);
    const dead = kit.queue('dead');
    await pass(kit, 500, () => dead.messageCount === 1);
    expect(counts(queue)).toEqual([100, 0, 0, 0]);
    expect(await kit.drain('dead')).toEqual(['now or never']);
  });

  it('counts them in its limits, and forgets them with a purge', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', keeping('dead', { 'x-max-length': 1 }));
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    expect(kit.publish('', 'q', 'b') & REJECTED).toBe(REJECTED);
    expect(queue.purge()).toBe(1);
    expect(kit.publish('', 'q', 'c') & REJECTED).toBe(0);
    expect(counts(queue)).toEqual([1, 0, 0, 0]);
  });

  it('is not held up by those that nobody takes', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { ...keeping('x'), 'x-dead-letter-exchange': 'amq.direct' });
    kit.vhost.removeQueue(queue);
    const { 'x-dead-letter-routing-key': _, ...ownKeys } = keeping('');
    const own = kit.queue('q', { ...ownKeys, 'x-dead-letter-exchange': 'amq.direct' });
    kit.bind('amq.fanout', own, '');
    const total = 3 * FAILURES_PER_ROUND;
    for (let i = 0; i < total; i++) kit.publish('amq.fanout', i === total - 1 ? 'good' : 'bad', String(i));
    for (let i = 0; i < total; i++) own.reject(await take(kit, 'q'));
    expect(counts(own)).toEqual([0, 0, total, 0]);
    const good = kit.queue('good');
    kit.bind('amq.direct', good, 'good');
    await pass(kit, ROUND_EVERY_MS, () => good.messageCount === 1);
    expect(counts(own)).toEqual([0, 0, total - 1, 0]);
  });

  it('drops them when it drops from its head, as RabbitMQ does', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', keeping('dead', { 'x-overflow': 'drop-head' }));
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    expect(counts(queue)).toEqual([0, 0, 0, 0]);
  });

  it('may be a classic one, with messages that are not persistent', async () => {
    const kit = await NodeKit.open();
    const { 'x-queue-type': _, ...args } = keeping('dead');
    const queue = kit.queue('q', args);
    kit.publish('', 'q', 'a');
    queue.reject(await take(kit, 'q'));
    expect(counts(queue)).toEqual([0, 0, 1, 0]);
    kit.queue('dead');
    await pass(kit, 500, () => queue.deadWaitingCount === 0);
    expect(await kit.drain('dead')).toEqual(['a']);
  });
});

// Queues with priorities: which message is next, where requeued ones go, what is cut, and that the number of levels costs nothing.

import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/message/entry.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { messageOf, persistentOf, QueueKit, settle, TestConsumer, textOf } from './kit.ts';
import { queueSuite } from './queue-suite.ts';

queueSuite('priority', async () => {
  const kit = await QueueKit.open();
  return { kit, make: () => kit.queue({ 'x-max-priority': 10 }) };
});

let open: QueueKit[] = [];

async function kitOf(options: Parameters<typeof QueueKit.open>[0] = {}): Promise<QueueKit> {
  const kit = await QueueKit.open(options);
  open.push(kit);
  return kit;
}

afterEach(async () => {
  for (const kit of open) await kit.close();
  open = [];
});

function drain(queue: ClassicQueue): string[] {
  const texts: string[] = [];
  for (let entry = queue.get(true); entry !== null; entry = queue.get(true)) texts.push(textOf(entry)!);
  return texts;
}

describe('messages with priorities', () => {
  it('come highest first, and in the order of their arrival within one priority', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 5 });
    for (const [text, priority] of [
      ['a1', 1],
      ['b5', 5],
      ['c0', null],
      ['d5', 5],
      ['e3', 3],
      ['f1', 1],
    ] as const)
      queue.publish(messageOf(text, { priority }));
    expect(queue.messageCount).toBe(6);
    expect(queue.messageBytes).toBe(12);
    expect(drain(queue)).toEqual(['b5', 'd5', 'e3', 'a1', 'f1', 'c0']);
    expect(queue.messageCount).toBe(0);
    expect(queue.messageBytes).toBe(0);
    expect(kit.memory.used).toBe(0);
  });

  it('above the highest of the queue count as the highest', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 2 });
    queue.publish(messageOf('a', { priority: 2 }));
    queue.publish(messageOf('b', { priority: 200 }));
    queue.publish(messageOf('c', { priority: 1 }));
    expect(drain(queue)).toEqual(['a', 'b', 'c']);
  });

  it('mean nothing to a queue without x-max-priority', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('a', { priority: 1 }));
    queue.publish(messageOf('b', { priority: 9 }));
    expect(drain(queue)).toEqual(['a', 'b']);
    expect(kit.lines).toEqual([]);
  });

  it('ask for a place of their own in the store only when some of a priority find no room in memory', async () => {
    const kit = await kitOf({ queueMemory: 10_000 });
    const queue = kit.queue({ 'x-max-priority': 255 });
    queue.publish(persistentOf('a'));
    queue.publish(persistentOf('b', { priority: 255 }));
    expect(kit.lines).toEqual([]);
    while (queue.pagedOutCount < 3) queue.publish(persistentOf('c'.repeat(1_000), { priority: 255 }));
    expect(kit.lines).toEqual(['q1 255 2']);
  });

  it('go back to their old place within their priority', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9 });
    for (const text of ['a', 'b', 'c']) queue.publish(messageOf(text, { priority: 7 }));
    queue.publish(messageOf('low', { priority: 1 }));
    const taken = [queue.get(false)!, queue.get(false)!];
    queue.publish(messageOf('d', { priority: 7 }));
    queue.publish(messageOf('high', { priority: 8 }));
    settle(taken[1]!, 'requeue');
    settle(taken[0]!, 'requeue');
    expect(drain(queue)).toEqual(['high', 'a', 'b', 'c', 'd', 'low']);
  });

  it('that a consumer holds already are not overtaken', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9 });
    const consumer = new TestConsumer('c', { limit: 1 });
    queue.consume(consumer);
    queue.publish(messageOf('low'));
    kit.run();
    queue.publish(messageOf('high', { priority: 9 }));
    kit.run();
    expect(consumer.received).toEqual(['low']);
    settle(consumer.entry('low'), 'ack');
    queue.unpark(consumer);
    kit.run();
    expect(consumer.received).toEqual(['low', 'high']);
  });

  it('are all forgotten by a purge, except those that are held', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 3 });
    for (let i = 0; i < 8; i++) queue.publish(messageOf(`m${i}`, { priority: i % 4 }));
    const entry = queue.get(false)!;
    expect(queue.purge()).toBe(7);
    settle(entry, 'requeue');
    expect(drain(queue)).toEqual(['m3']);
    expect(kit.memory.used).toBe(0);
  });

  it('expire on time, whatever priority they have', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9, 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('high', { priority: 9 }));
    queue.publish(messageOf('low', { priority: 1, expiration: '50' }));
    queue.publish(messageOf('middle', { priority: 4, expiration: '20' }));
    kit.run();
    kit.clock.advance(30);
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired middle']);
    kit.clock.advance(30);
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired middle', 'q1 expired low']);
    expect(queue.messageCount).toBe(1);
  });

  it('of 0 time to live find a consumer now or never, whatever priority they have', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9 });
    const consumer = new TestConsumer('c', { limit: 2 });
    queue.consume(consumer);
    for (const priority of [1, 9, 5]) queue.publish(messageOf(`p${priority}`, { priority, expiration: '0' }));
    kit.run();
    expect(consumer.received).toEqual(['p9', 'p5']);
    expect(queue.messageCount).toBe(0);
  });
});

describe('a limit of a queue with priorities', () => {
  it('drops the oldest message of the highest priority (RabbitMQ)', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9, 'x-max-length': 3, 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('low', { priority: 1 }));
    queue.publish(messageOf('high1', { priority: 9 }));
    queue.publish(messageOf('high2', { priority: 9 }));
    queue.publish(messageOf('new', { priority: 0 }));
    kit.run();
    expect(kit.deaths).toEqual(['q1 maxlen high1']);
    expect(drain(queue)).toEqual(['high2', 'low', 'new']);
  });

  it('counts the messages of all priorities', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-priority': 9, 'x-max-length': 2, 'x-overflow': 'reject-publish' });
    queue.publish(messageOf('a', { priority: 1 }));
    queue.publish(messageOf('b', { priority: 2 }));
    queue.publish(messageOf('c', { priority: 3 }));
    expect(drain(queue)).toEqual(['b', 'a']);
  });
});

describe('a long backlog in a queue with priorities', () => {
  it('of a low priority does not stand in the way of a high one that is on disk only', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue({ 'x-max-priority': 2 });
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`low${i} `.padEnd(500)));
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`high${i} `.padEnd(500), { priority: 2 }));
    expect(queue.pagedOutCount).toBeGreaterThan(300);
    const consumer = new TestConsumer('c', { noAck: true });
    queue.consume(consumer);
    await kit.until(() => queue.messageCount === 0);
    const expected = ['high', 'low'].flatMap((word) => Array.from({ length: 300 }, (_, i) => `${word}${i}`));
    expect(consumer.received.map((text) => text.trim())).toEqual(expected);
    expect(kit.memory.used).toBe(0);
  });
});

describe('random publishes, gets and settles in a queue with priorities', () => {
  it('leave the order that a sorted list has', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ publish: fc.nat(12), persistent: fc.boolean() }) },
      { weight: 3, arbitrary: fc.constant('get' as const) },
      {
        weight: 3,
        arbitrary: fc.record({ settle: fc.nat(), how: fc.constantFrom('ack', 'requeue', 'reject') }),
      },
      { weight: 1, arbitrary: fc.constant('commit' as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const kit = await QueueKit.open();
        const queue = kit.queue({ 'x-max-priority': 10 }, { durable: true });
        const model: { text: string; level: number; order: number }[] = [];
        const byPlace = (a: (typeof model)[0], b: (typeof model)[0]): number =>
          b.level - a.level || a.order - b.order;
        const held: { entry: Entry; of: (typeof model)[0] }[] = [];
        let order = 0;
        for (const what of steps) {
          if (what === 'commit') await kit.settle();
          else if (what === 'get') {
            await kit.until(() => queue.whenReady(() => {}));
            const entry = queue.get(false);
            const of = model.shift();
            expect(textOf(entry)).toBe(of?.text ?? null);
            if (entry !== null) held.push({ entry, of: of! });
          } else if ('publish' in what) {
            const text = `m${order}`;
            const make = what.persistent ? persistentOf : messageOf;
            queue.publish(make(text, { priority: what.publish }));
            model.push({ text, level: Math.min(what.publish, 10), order: order++ });
            model.sort(byPlace);
          } else if (held.length > 0) {
            const [{ entry, of }] = held.splice(what.settle % held.length, 1) as [(typeof held)[0]];
            settle(entry, what.how as 'ack');
            if (what.how === 'requeue') {
              model.push(of);
              model.sort(byPlace);
            }
          }
          expect(queue.messageCount).toBe(model.length);
          expect(queue.unackedCount).toBe(held.length);
        }
        await kit.close();
      }),
      { numRuns: 25 },
    );
  });
});

// Time in queues: messages that expire anywhere, in memory and on disk, queues that expire, a time to live that changes; and paused queues.

import { afterEach, describe, expect, it } from 'vitest';
import { EMPTY_TABLE, tableOf } from '../../src/protocol/field-table.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { type PolicyKeys, queueOptions } from '../../src/queue/queue-options.ts';
import { StoreError } from '../../src/store/store.ts';
import { messageOf, persistentOf, QueueKit, settle, TestConsumer, textOf } from './kit.ts';

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

const SMALL = { queueMemory: 65_536, totalMemory: 1e9 };

function consume(
  queue: ClassicQueue,
  options: ConstructorParameters<typeof TestConsumer>[1] = {},
): TestConsumer {
  const consumer = new TestConsumer('c', options);
  queue.consume(consumer);
  return consumer;
}

function drain(queue: ClassicQueue): string[] {
  const texts: string[] = [];
  for (let entry = queue.get(true); entry !== null; entry = queue.get(true))
    texts.push(textOf(entry)!.trim());
  return texts;
}

function policy(queue: ClassicQueue, keys: Record<string, string | number>): void {
  const merged: PolicyKeys = new Map(Object.entries(keys));
  queue.applyOptions(queueOptions(queue.declaration.arguments, merged));
}

describe('messages that expire', () => {
  it('leave in the order of their deadlines, not of their places', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    const ttls = [500, 70, 300, 70, 10, 400, 20, 600];
    for (const [i, ttl] of ttls.entries()) queue.publish(messageOf(`${i}`, { expiration: String(ttl) }));
    for (let passed = 0; passed < 700; passed += 10) {
      kit.clock.advance(10);
      kit.run();
    }
    const order = ttls.map((ttl, i) => ({ ttl, i })).sort((a, b) => a.ttl - b.ttl || a.i - b.i);
    expect(kit.deaths).toEqual(order.map(({ i }) => `q1 expired ${i}`));
    expect(kit.memory.used).toBe(0);
    expect(kit.messageWheel.size + kit.wheel.size).toBe(0);
  });

  it('while a consumer holds them are its own; given back, they are gone', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('long'));
    queue.publish(messageOf('short', { expiration: '50' }));
    const [long, short] = [queue.get(false)!, queue.get(false)!];
    kit.clock.advance(100);
    kit.run();
    expect(queue.unackedCount).toBe(2);
    settle(short, 'requeue');
    settle(long, 'requeue');
    queue.catchUp();
    expect(queue.messageCount).toBe(1);
    expect(drain(queue)).toEqual(['long']);
  });

  it('are not counted any more when a client looks, though no timer has fired yet', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('long'));
    queue.publish(messageOf('short', { expiration: '55' }));
    kit.run();
    // A clock that goes on without ticks: the wheel is behind.
    const { now } = kit.clock;
    kit.clock.now = () => now.call(kit.clock) + 56;
    queue.catchUp();
    expect(queue.messageCount).toBe(1);
  });

  it('free their memory at once, though what stands before them stays', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('first'));
    const before = kit.memory.used;
    for (let i = 0; i < 1_000; i++) queue.publish(messageOf('x', { expiration: '10' }));
    kit.run();
    kit.clock.advance(20);
    kit.run();
    expect(queue.messageCount).toBe(1);
    expect(kit.memory.used).toBe(before);
  });

  it('in great number beside living ones are the work of several turns', async () => {
    const kit = await kitOf({ deliveriesPerTurn: 100 });
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('first'));
    for (let i = 0; i < 1_000; i++) queue.publish(messageOf('x', { expiration: '10' }));
    kit.run();
    kit.clock.advance(20);
    kit.run();
    expect(kit.deaths).toHaveLength(100);
    for (let i = 0; i < 12; i++) kit.run();
    expect(kit.deaths).toHaveLength(1_000);
    expect(drain(queue)).toEqual(['first']);
  });

  it('do not fill the memory with deliveries that were settled long ago', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('stays'));
    const stays = queue.get(false)!;
    for (let i = 0; i < 5_000; i++) {
      queue.publish(messageOf('x', { expiration: '86400000' }));
      settle(queue.get(false)!, 'ack');
    }
    settle(stays, 'requeue');
    kit.run();
    expect(queue.messageCount).toBe(1);
  });
});

describe('messages on disk that expire', () => {
  /** A queue with a message that stays in front and others behind it, of which the late ones are on disk only. */
  async function backlog(
    kit: QueueKit,
    args: Record<string, unknown>,
    ttlOf: (i: number) => number,
  ): Promise<ClassicQueue> {
    const queue = kit.queue(args);
    queue.publish(messageOf('stays'));
    for (let i = 0; i < 600; i++)
      queue.publish(messageOf(`${i} `.padEnd(500), { expiration: String(ttlOf(i)) }));
    expect(queue.pagedOutCount).toBeGreaterThan(300);
    kit.run();
    return queue;
  }

  it('are gone on time, though there is only one on disk', async () => {
    for (const args of [{}, { 'x-dead-letter-exchange': 'dlx' }]) {
      const kit = await kitOf(SMALL);
      const queue = kit.queue(args);
      queue.publish(messageOf('stays'.padEnd(60_000)));
      queue.publish(messageOf('goes'.padEnd(10_000), { expiration: '1000' }));
      expect(queue.pagedOutCount).toBe(1);
      kit.run();
      kit.clock.advance(1_100);
      await kit.until(() => queue.messageCount === 1);
      expect(queue.pagedOutCount).toBe(0);
      expect(drain(queue)).toEqual(['stays']);
    }
  });

  it('are gone on time, without a dead-letter exchange', async () => {
    const kit = await kitOf(SMALL);
    const queue = await backlog(kit, {}, (i) => 1_000 + ((i * 7919) % 600) * 10);
    kit.clock.advance(1_000 + 3_000);
    await kit.until(() => queue.messageCount === 1 + 299 || queue.messageCount < 1 + 290);
    expect(queue.messageCount).toBe(1 + 299);
    kit.clock.advance(3_100);
    await kit.until(() => queue.messageCount === 1);
    expect(drain(queue)).toEqual(['stays']);
    expect(kit.memory.used).toBe(0);
    await kit.settle();
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('are dead-lettered in the order of their deadlines', async () => {
    const kit = await kitOf(SMALL);
    const queue = await backlog(
      kit,
      { 'x-dead-letter-exchange': 'dlx' },
      (i) => 1_000 + ((i * 7919) % 600) * 100,
    );
    await kit.until(() => {
      kit.clock.advance(20);
      return queue.messageCount === 1;
    });
    const dead = kit.deaths.map((line) => Number(line.split(' ')[2]));
    expect(dead).toHaveLength(600);
    const ranks = dead.map((i) => (i * 7919) % 600);
    expect(ranks).toEqual(ranks.toSorted((x, y) => x - y));
    expect(drain(queue)).toEqual(['stays']);
    expect(kit.memory.used).toBe(0);
  });

  it('and are being read back at that moment are not handed out', async () => {
    const kit = await kitOf(SMALL);
    const queue = await backlog(kit, {}, (i) => (i % 2 === 0 ? 1_000 : 1_000_000));
    // Room in memory: a read is on its way while the odd half expires.
    const consumer = consume(queue, { noAck: true, limit: 100 });
    kit.run();
    kit.clock.advance(1_020);
    await kit.until(() => queue.messageCount === 0);
    const late = consumer.received.slice(101).filter((text) => Number(text) % 2 === 0);
    // What left before the deadline did so rightly; nothing came after it.
    const firstOdd = consumer.received.findIndex(
      (text, i) => i > 0 && Number(text) - Number(consumer.received[i - 1]) === 2,
    );
    expect(firstOdd).toBeGreaterThan(0);
    expect(consumer.received.slice(firstOdd).every((text) => Number(text) % 2 === 1)).toBe(true);
    expect(late.length).toBeLessThan(300);
    expect(kit.memory.used).toBe(0);
  });

  it('of 0 time to live that would go to disk only are dead at once', async () => {
    const kit = await kitOf(SMALL);
    const queue = await backlog(kit, { 'x-dead-letter-exchange': 'dlx' }, () => 1_000_000);
    const before = queue.messageCount;
    queue.publish(persistentOf('now or never', { expiration: '0' }));
    expect(queue.messageCount).toBe(before);
    expect(kit.deaths).toEqual(['q1 expired now or never']);
  });
});

describe('a time to live that comes with a policy', () => {
  it('has messages that expire by it in one moment leave in the order of the queue', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('a'));
    queue.publish(messageOf('b', { expiration: '1000' }));
    queue.publish(messageOf('c'));
    queue.publish(messageOf('d', { expiration: '900' }));
    policy(queue, { 'message-ttl': 500 });
    kit.clock.advance(500);
    kit.run();
    expect(kit.deaths).toEqual(['a', 'b', 'c', 'd'].map((text) => `q1 expired ${text}`));
  });

  it('counts for what is in the queue already, from then on', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('old'));
    queue.publish(messageOf('older', { expiration: '300' }));
    policy(queue, { 'message-ttl': 500 });
    queue.publish(messageOf('new'));
    kit.run();
    kit.clock.advance(310);
    kit.run();
    expect(queue.messageCount).toBe(2);
    kit.clock.advance(200);
    kit.run();
    expect(queue.messageCount).toBe(0);
  });

  it('counts for what is on disk only, and for what a consumer gives back', async () => {
    const kit = await kitOf(SMALL);
    const queue = kit.queue();
    for (let i = 0; i < 600; i++) queue.publish(messageOf(`${i} `.padEnd(500)));
    const held = queue.get(false)!;
    expect(queue.pagedOutCount).toBeGreaterThan(300);
    policy(queue, { 'message-ttl': 1_000 });
    kit.run();
    kit.clock.advance(990);
    await kit.settle();
    expect(queue.messageCount).toBe(599);
    settle(held, 'requeue');
    kit.clock.advance(20);
    await kit.until(() => queue.messageCount === 0);
    expect(kit.memory.used).toBe(0);
  });

  it('that is longer than before changes nothing for what waits', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    policy(queue, { 'message-ttl': 100 });
    queue.publish(messageOf('a'));
    policy(queue, { 'message-ttl': 10_000 });
    kit.run();
    kit.clock.advance(110);
    kit.run();
    expect(queue.messageCount).toBe(0);
  });

  it('holds for what is on disk, however often it goes and comes again before anything else is published', async () => {
    const kit = await kitOf(SMALL);
    const queue = kit.queue();
    for (let i = 0; i < 10; i++) queue.publish(persistentOf(`m${i}`.padEnd(20_000)));
    expect(queue.pagedOutCount).toBeGreaterThan(0);
    policy(queue, { 'message-ttl': 500 });
    for (let i = 0; i < 20; i++) {
      policy(queue, {});
      policy(queue, { 'message-ttl': 60_000 + i });
    }
    kit.clock.advance(500);
    for (let i = 0; i < 20; i++) await kit.settle();
    expect(queue.messageCount).toBe(0);
  });

  it('and a dead-letter exchange that came before the deadline gets what is on disk', async () => {
    const kit = await kitOf(SMALL);
    const queue = kit.queue();
    queue.publish(messageOf('stays'));
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i} `.padEnd(500), { expiration: '20000' }));
    kit.run();
    policy(queue, { 'dead-letter-exchange': 'dlx' });
    kit.clock.advance(15_000);
    await kit.settle();
    kit.clock.advance(6_000);
    await kit.until(() => queue.messageCount === 1);
    expect(kit.deaths).toHaveLength(300);
  });
});

describe('new limits', () => {
  it('cut what is too long already', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    for (let i = 0; i < 5; i++) queue.publish(messageOf(`${i}`));
    policy(queue, { 'max-length': 2 });
    kit.run();
    expect(kit.deaths).toEqual(['q1 maxlen 0', 'q1 maxlen 1', 'q1 maxlen 2']);
    expect(drain(queue)).toEqual(['3', '4']);
  });

  it('cut a very long queue turn by turn', async () => {
    const kit = await kitOf({ deliveriesPerTurn: 100 });
    const queue = kit.queue();
    for (let i = 0; i < 1_000; i++) queue.publish(messageOf('x'));
    policy(queue, { 'max-length': 1 });
    kit.run();
    expect(queue.messageCount).toBeGreaterThan(500);
    for (let i = 0; i < 12; i++) kit.run();
    expect(queue.messageCount).toBe(1);
  });
});

describe('a queue with x-expires', () => {
  it('goes when nobody used it for so long', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-expires': 1_000 });
    queue.publish(messageOf('publishing is no use'));
    kit.clock.advance(900);
    queue.publish(messageOf('nor now'));
    expect(kit.expired).toEqual([]);
    kit.clock.advance(300);
    kit.run();
    expect(kit.expired).toEqual(['q1']);
  });

  it('stays while it is declared or got from', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-expires': 1_000 });
    kit.clock.advance(800);
    queue.touch();
    kit.clock.advance(800);
    queue.get(true);
    kit.clock.advance(800);
    kit.run();
    expect(kit.expired).toEqual([]);
    kit.clock.advance(400);
    kit.run();
    expect(kit.expired).toEqual(['q1']);
  });

  it('stays while it has a consumer, and has its whole time when the last one leaves', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-expires': 1_000 });
    const consumer = consume(queue);
    kit.clock.advance(10_000);
    kit.run();
    expect(kit.expired).toEqual([]);
    queue.cancel(consumer);
    kit.clock.advance(900);
    kit.run();
    expect(kit.expired).toEqual([]);
    kit.clock.advance(300);
    kit.run();
    expect(kit.expired).toEqual(['q1']);
  });

  it('begins anew when a policy changes the time, and stays for good when it goes', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    policy(queue, { expires: 1_000 });
    kit.clock.advance(900);
    policy(queue, { expires: 2_000 });
    kit.clock.advance(1_900);
    kit.run();
    expect(kit.expired).toEqual([]);
    policy(queue, {});
    kit.clock.advance(10_000);
    kit.run();
    expect(kit.expired).toEqual([]);
  });

  it('leaves no timer behind when it is deleted', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-expires': 1_000 });
    queue.delete();
    kit.clock.advance(5_000);
    kit.run();
    expect(kit.expired).toEqual([]);
    expect(kit.wheel.size).toBe(0);
  });
});

describe('a paused queue', () => {
  it('takes messages and hands none out, to nobody', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    const consumer = consume(queue);
    queue.pause();
    queue.publish(messageOf('a'));
    kit.run();
    expect(consumer.received).toEqual([]);
    expect(queue.whenReady(() => {})).toBe(true);
    expect(queue.get(true)).toBeNull();
    expect(queue.messageCount).toBe(1);
    queue.resume();
    kit.run();
    expect(consumer.received).toEqual(['a']);
  });

  it('keeps to its time to live and its limits', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 2, 'x-dead-letter-exchange': 'dlx' });
    consume(queue);
    queue.pause();
    for (const text of ['a', 'b', 'c']) queue.publish(messageOf(text, { expiration: '50' }));
    kit.run();
    expect(kit.deaths).toEqual(['q1 maxlen a']);
    kit.clock.advance(60);
    kit.run();
    expect(queue.messageCount).toBe(0);
  });

  it('answers a get that was waiting for the disk with nothing', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(persistentOf('a'));
    kit.shard.commit();
    let asked = 0;
    const ask = (): void => {
      asked++;
      if (queue.whenReady(ask)) expect(queue.get(true)).toBeNull();
    };
    ask();
    queue.pause();
    kit.run();
    expect(asked).toBe(2);
    expect(queue.messageCount).toBe(1);
  });
});

describe('messages that cannot be read back', () => {
  it('are an error for a get, which would wait for ever otherwise', async () => {
    const kit = await kitOf(SMALL);
    const queue = kit.queue({}, { name: 'q' });
    for (let i = 0; i < 300; i++) queue.publish(messageOf('x'.padEnd(500)));
    kit.shard.read = (_queue, _from, _bytes, done) =>
      void setImmediate(() => done(new StoreError('io', 'the disk is gone'), []));
    while (queue.pagedOutCount < queue.messageCount) queue.get(true);
    let error: unknown = null;
    const ask = (): void => {
      try {
        if (queue.whenReady(ask)) queue.get(true);
      } catch (e) {
        error = e;
      }
    };
    ask();
    await kit.until(() => error !== null);
    expect(String(error)).toContain("the messages of queue 'q' cannot be read back");
    expect(queue.messageCount).toBeGreaterThan(0);
    // What can be thrown away without reading still can.
    expect(queue.purge()).toBeGreaterThan(0);
    expect(queue.whenReady(() => {})).toBe(true);
    expect(queue.get(true)).toBeNull();
  });
});

it('options of a queue without arguments and policy have no time in them', () => {
  const { messageTtlMs, expiresMs } = queueOptions(EMPTY_TABLE);
  expect([messageTtlMs, expiresMs]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  expect(queueOptions(tableOf({ 'x-message-ttl': 5 })).messageTtlMs).toBe(5);
});

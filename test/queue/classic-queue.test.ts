// The classic queue: what only it does, beyond the suite of all queues.

import { afterEach, describe, expect, it } from 'vitest';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { ACCEPTED, MUST_COMMIT, REJECTED } from '../../src/queue/queue.ts';
import { messageOf, persistentOf, QueueKit, settle, TestConsumer, textOf } from './kit.ts';
import { queueSuite } from './queue-suite.ts';

queueSuite('classic', async () => {
  const kit = await QueueKit.open();
  return { kit, make: () => kit.queue() };
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

function publish(queue: ClassicQueue, ...texts: string[]): number[] {
  return texts.map((text) => queue.publish(messageOf(text)));
}

function consume(queue: ClassicQueue, ...options: ConstructorParameters<typeof TestConsumer>): TestConsumer {
  const consumer = new TestConsumer(...options);
  queue.consume(consumer);
  return consumer;
}

/** Everything that is ready, taken out. */
function drain(queue: ClassicQueue): string[] {
  const texts: string[] = [];
  for (let entry = queue.get(true); entry !== null; entry = queue.get(true)) texts.push(textOf(entry)!);
  return texts;
}

describe('memory', () => {
  it('is counted while messages are ready, and given back when they are taken, purged or deleted', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    publish(queue, 'a', 'b', 'c', 'd');
    const held = queue.get(false)!;
    queue.get(true);
    expect(kit.memory.used).toBe(queue.memoryBytes);
    queue.requeue(held);
    expect(queue.messageBytes).toBe(3);
    queue.purge();
    expect(kit.memory.used).toBe(0);
    publish(queue, 'e');
    queue.delete();
    expect(kit.memory.used).toBe(0);
  });

  it('is not taken by a queue that was deleted before a transaction published to it', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.delete();
    expect(queue.publish(persistentOf('late'))).toBe(ACCEPTED);
    expect(queue.messageCount).toBe(0);
    expect(kit.memory.used).toBe(0);
    await kit.settle();
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('holds no more of a backlog than the share of the queue, whether somebody consumes or not', async () => {
    const kit = await kitOf({ queueMemory: 1e6, totalMemory: 1e9 });
    const queue = kit.queue();
    const body = 'x'.repeat(1_000);
    for (let i = 0; i < 5_000; i++) queue.publish(messageOf(`${i}${body}`));
    await kit.settle();
    expect(queue.messageCount).toBe(5_000);
    expect(queue.memoryBytes).toBeLessThanOrEqual(1e6);
    const consumer = consume(queue, 'c', { limit: 1 });
    await kit.settle();
    expect(queue.memoryBytes).toBeLessThanOrEqual(1e6);
    consumer.limit = Number.POSITIVE_INFINITY;
    queue.unpark(consumer);
    await kit.until(() => {
      expect(queue.memoryBytes).toBeLessThanOrEqual(2e6);
      return queue.messageCount === 0;
    });
    expect(consumer.received.map((text) => Number.parseInt(text, 10))).toEqual(
      Array.from({ length: 5_000 }, (_, i) => i),
    );
    expect(kit.memory.used).toBe(0);
  });

  it('is shared: when all queues together hold too much, each keeps only a little', async () => {
    const kit = await kitOf({ queueMemory: 10e6, totalMemory: 100_000 });
    const body = 'x'.repeat(1_000);
    const queues = [kit.queue(), kit.queue(), kit.queue()];
    for (const queue of queues) for (let i = 0; i < 500; i++) queue.publish(messageOf(`${i}${body}`));
    await kit.settle();
    for (const queue of queues) {
      expect(queue.memoryBytes).toBeLessThanOrEqual(110_000);
      expect(queue.messageCount).toBe(500);
    }
    const first = consume(queues[0]!, 'c', { noAck: true });
    await kit.until(() => queues[0]!.messageCount === 0);
    expect(first.received.length).toBe(500);
  });

  it('is not short for what a consumer can take at once, however much the others hold', async () => {
    const kit = await kitOf({ queueMemory: 10e6, totalMemory: 100_000 });
    const backlog = kit.queue();
    for (let i = 0; i < 200; i++) backlog.publish(messageOf('x'.repeat(1_000)));
    const busy = kit.queue();
    const consumer = consume(busy, 'c', { noAck: true });
    for (let i = 0; i < 500; i++) busy.publish(messageOf('y'.repeat(1_000), { expiration: '0' }));
    expect(busy.pagedOutCount).toBe(0);
    kit.run();
    expect(consumer.received.length).toBe(500);
  });

  it('that a message takes when it comes back from disk is its own, not that of everything read with it', async () => {
    const kit = await kitOf({ queueMemory: 70_000, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 1_000; i++) queue.publish(messageOf(`${i}`.padEnd(300)));
    const consumer = consume(queue, 'c');
    await kit.until(() => queue.messageCount === 0);
    const last = consumer.entry('999'.padEnd(300));
    expect(last.message.buffer.length).toBeLessThanOrEqual(32 * 1024);
  });
});

describe('paging', () => {
  it('keeps order across messages in memory, on disk, and those that come back', async () => {
    const kit = await kitOf({ queueMemory: 70_000, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 600; i++)
      queue.publish(i % 3 === 0 ? persistentOf(`${i}`.padEnd(500)) : messageOf(`${i}`.padEnd(500)));
    expect(queue.pagedOutCount).toBeGreaterThan(0);
    const consumer = consume(queue, 'c', { limit: 10 });
    let n = 0;
    await kit.until(() => {
      for (const entry of [...consumer.held]) {
        settle(entry, n++ % 7 === 0 && !entry.redelivered ? 'requeue' : 'ack');
        queue.unpark(consumer);
      }
      return queue.messageCount + queue.unackedCount === 0;
    });
    const firsts = consumer.received.filter((text) => !text.endsWith('*')).map((text) => Number(text));
    expect(firsts).toEqual(Array.from({ length: 600 }, (_, i) => i));
    expect(kit.memory.used).toBe(0);
    await kit.settle();
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('spares a message that is larger than all of its memory the way over the disk when somebody waits for it', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 65_536 });
    const queue = kit.queue();
    const [first, second] = ['a', 'b'].map((letter) => letter.repeat(200_000)) as [string, string];
    const consumer = consume(queue, 'c', { limit: 1 });
    queue.publish(messageOf(first));
    expect(queue.pagedOutCount).toBe(0);
    // Only one stays beyond what the queue may keep.
    queue.publish(messageOf(second));
    kit.run();
    expect(consumer.received).toEqual([first]);
    expect(queue.pagedOutCount).toBe(1);
    await kit.until(() => queue.pagedOutCount === 0);
    settle(consumer.entry(first), 'ack');
    queue.unpark(consumer);
    await kit.until(() => consumer.received.length === 2);
    expect(consumer.received[1]).toBe(second);
    settle(consumer.entry(second), 'ack');
    expect(kit.memory.used).toBe(0);
  });

  it('puts a message that is larger than its memory on disk when nobody can take it now', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 65_536 });
    for (const state of ['no consumer', 'a busy consumer', 'a paused queue']) {
      const queue = kit.queue();
      if (state !== 'no consumer') consume(queue, 'c', { limit: state === 'a busy consumer' ? 0 : 1 });
      if (state === 'a paused queue') queue.pause();
      queue.publish(messageOf('x'.repeat(200_000)));
      expect(queue.pagedOutCount, state).toBe(1);
    }
  });

  it('puts a new message behind those on disk, though there is room in memory again', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    const taken = drain(queue).length;
    expect(queue.messageCount).toBe(300 - taken);
    publish(queue, 'new');
    const rest: string[] = [];
    await kit.until(() => {
      rest.push(...drain(queue).map((text) => text.trim()));
      return queue.messageCount === 0;
    });
    expect(rest).toEqual([...Array.from({ length: 300 - taken }, (_, i) => `${taken + i}`), 'new']);
  });

  it('answers a basic.get that waits for the disk when the queue is purged under it', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    while ((queue.pagedOutCount === queue.messageCount) === false && queue.get(true) !== null);
    let answers = 0;
    const attempt = (): void => {
      if (queue.whenReady(attempt)) answers++;
    };
    attempt();
    expect(answers).toBe(0);
    queue.purge();
    kit.run();
    expect(answers).toBe(1);
    expect(queue.get(true)).toBeNull();
  });

  it('answers a basic.get that waits for the disk when the queue is deleted', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    while (queue.get(true) !== null);
    let answers = 0;
    const attempt = (): void => {
      if (queue.whenReady(attempt)) answers++;
    };
    attempt();
    expect(answers).toBe(0);
    queue.delete();
    expect(answers).toBe(1);
  });

  it('serves several gets that wait, each with its own message', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    let taken = 0;
    while (queue.get(true) !== null) taken++;
    const got: (string | null)[] = [];
    const ask = (): void => {
      if (queue.whenReady(ask)) got.push(textOf(queue.get(true))!.trim());
    };
    for (let i = 0; i < 5; i++) ask();
    await kit.until(() => got.length === 5);
    expect(got).toEqual([0, 1, 2, 3, 4].map((i) => `${taken + i}`));
  });

  it('ignores what a read brings after a purge', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue();
    for (let i = 0; i < 300; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    while (queue.get(true) !== null);
    queue.whenReady(() => {});
    queue.purge();
    publish(queue, 'new');
    await kit.settle();
    expect(queue.messageCount).toBe(1);
    expect(drain(queue)).toEqual(['new']);
    expect(kit.memory.used).toBe(0);
  });
});

describe('length limits', () => {
  it('drop the oldest when nobody consumes', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 2 });
    expect(publish(queue, 'a', 'b', 'c')).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
    expect(queue.messageCount).toBe(2);
    expect(drain(queue)).toEqual(['b', 'c']);
  });

  it('count body bytes, and drop a message that is too long by itself', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length-bytes': 5, 'x-dead-letter-exchange': 'dlx' });
    publish(queue, 'aa', 'bb', 'cc');
    expect(kit.deaths).toEqual(['q1 maxlen aa']);
    publish(queue, 'dddddd');
    expect(kit.deaths.slice(1)).toEqual(['q1 maxlen bb', 'q1 maxlen cc', 'q1 maxlen dddddd']);
    expect(queue.messageCount).toBe(0);
  });

  it('of 0 still let a waiting consumer have every message', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 0 });
    const consumer = consume(queue, 'c');
    publish(queue, 'a', 'b');
    kit.run();
    expect(consumer.received).toEqual(['a', 'b']);
    queue.cancel(consumer);
    publish(queue, 'c');
    expect(queue.messageCount).toBe(0);
  });

  it('do not count what consumers hold, but cut what comes back before it is delivered again', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 2, 'x-dead-letter-exchange': 'dlx' });
    const consumer = consume(queue, 'c', { limit: 2 });
    publish(queue, 'a', 'b', 'c', 'd');
    kit.run();
    expect(queue.messageCount).toBe(2);
    settle(consumer.entry('a'), 'requeue');
    queue.unpark(consumer);
    kit.run();
    expect(kit.deaths).toEqual(['q1 maxlen a']);
    expect(consumer.received).toEqual(['a', 'b', 'c']);
  });

  it('refuse with reject-publish, and only what does not fit', async () => {
    const kit = await kitOf();
    const queue = kit.queue({
      'x-max-length': 2,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': 'dlx',
    });
    expect(publish(queue, 'a', 'b', 'c')).toEqual([ACCEPTED, ACCEPTED, REJECTED]);
    queue.get(true);
    expect(publish(queue, 'd', 'e')).toEqual([ACCEPTED, REJECTED]);
    expect(drain(queue)).toEqual(['b', 'd']);
    expect(kit.deaths).toEqual([]);
  });

  it('dead-letter what they refuse with reject-publish-dlx', async () => {
    const kit = await kitOf();
    const queue = kit.queue({
      'x-max-length': 1,
      'x-overflow': 'reject-publish-dlx',
      'x-dead-letter-exchange': 'dlx',
    });
    expect(publish(queue, 'a', 'b')).toEqual([ACCEPTED, REJECTED]);
    expect(kit.deaths).toEqual(['q1 maxlen b']);
  });

  it('refuse nothing that a consumer can take at once, however many come in one go', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    const consumer = consume(queue, 'c', { noAck: true });
    const outcomes = publish(queue, ...Array.from({ length: 20 }, (_, i) => `${i}`));
    expect(outcomes.every((outcome) => outcome === ACCEPTED)).toBe(true);
    kit.run();
    expect(consumer.received.length).toBe(20);
  });

  it('refuse what goes beyond the prefetch of the consumers and the length together', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 2, 'x-overflow': 'reject-publish' });
    consume(queue, 'c', { limit: 1 });
    const outcomes = publish(queue, 'a', 'b', 'c', 'd', 'e');
    expect(outcomes).toEqual([ACCEPTED, ACCEPTED, ACCEPTED, REJECTED, REJECTED]);
  });

  it('drop nothing that a consumer can have as soon as its mark is on disk', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 2, 'x-dead-letter-exchange': 'dlx' });
    queue.publish(persistentOf('a'));
    queue.publish(persistentOf('b'));
    // Their batch is sealed: they have to wait for a mark of a later one.
    kit.shard.commit();
    const consumer = consume(queue, 'c');
    kit.run();
    queue.publish(persistentOf('c'));
    queue.publish(persistentOf('d', { expiration: '0' }));
    kit.run();
    expect(consumer.received).toEqual([]);
    await kit.until(() => consumer.received.length === 4);
    expect(consumer.received).toEqual(['a', 'b', 'c', 'd']);
    expect(kit.deaths).toEqual([]);
  });

  it('of 0 with reject-publish refuse everything, consumer or not', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-max-length': 0, 'x-overflow': 'reject-publish' });
    consume(queue, 'c');
    expect(publish(queue, 'a')).toEqual([REJECTED]);
  });

  it('drop from the head on disk too', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue({ 'x-max-length': 500 });
    const consumer = consume(queue, 'c', { limit: 0 });
    for (let i = 0; i < 1_000; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    await kit.until(() => queue.messageCount === 500);
    queue.cancel(consumer);
    const next: string[] = [];
    await kit.until(() => {
      next.push(...drain(queue).map((text) => text.trim()));
      return queue.messageCount === 0;
    });
    expect(next).toEqual(Array.from({ length: 500 }, (_, i) => `${500 + i}`));
    expect(kit.memory.used).toBe(0);
  });
});

describe('time to live', () => {
  it('is the smaller of the message and the queue, counted from the publish', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-message-ttl': 1_000, 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('short', { expiration: '300' }));
    queue.publish(messageOf('long', { expiration: '5000' }));
    kit.run();
    kit.clock.advance(400);
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired short']);
    kit.clock.advance(500);
    kit.run();
    expect(kit.deaths).toHaveLength(1);
    kit.clock.advance(200);
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired short', 'q1 expired long']);
    expect(queue.messageCount).toBe(0);
  });

  it('ends wherever the message stands: a short-lived one behind a long-lived one is gone when its time comes', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    queue.publish(messageOf('long', { expiration: '1000' }));
    queue.publish(messageOf('short', { expiration: '30' }));
    queue.publish(messageOf('shorter', { expiration: '10' }));
    publish(queue, 'forever');
    kit.run();
    kit.clock.advance(50);
    kit.run();
    expect(queue.messageCount).toBe(2);
    expect(queue.messageBytes).toBe('long'.length + 'forever'.length);
    expect(kit.deaths).toEqual(['q1 expired shorter', 'q1 expired short']);
    expect(drain(queue)).toEqual(['long', 'forever']);
    expect(kit.memory.used).toBe(0);
  });

  it('is never overstepped by a delivery, even before the timer fires', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(messageOf('a', { expiration: '50' }));
    queue.publish(messageOf('b'));
    kit.run();
    kit.clock.advance(50);
    expect(textOf(queue.get(true))).toBe('b');
  });

  it('does not end while a consumer holds the message, and has its old end when it comes back', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-message-ttl': 100, 'x-dead-letter-exchange': 'dlx' });
    const consumer = consume(queue, 'c', { limit: 1 });
    publish(queue, 'a');
    kit.run();
    kit.clock.advance(1_000);
    kit.run();
    expect(kit.deaths).toEqual([]);
    settle(consumer.entry('a'), 'requeue');
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired a']);
    expect(consumer.received).toEqual(['a']);
  });

  it('of 0 means now or never', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    const zero = { expiration: '0' };
    queue.publish(messageOf('nobody', zero));
    kit.run();
    expect(kit.deaths).toEqual(['q1 expired nobody']);
    const consumer = consume(queue, 'c', { limit: 1 });
    queue.publish(messageOf('somebody', zero));
    queue.publish(messageOf('too many', zero));
    kit.run();
    expect(consumer.received).toEqual(['somebody']);
    expect(kit.deaths).toEqual(['q1 expired nobody', 'q1 expired too many']);
  });

  it('of 0 is over for a message that stood behind others', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    publish(queue, 'a');
    queue.publish(messageOf('b', { expiration: '0' }));
    kit.run();
    expect(queue.messageCount).toBe(1);
    expect(kit.deaths).toEqual(['q1 expired b']);
    expect(drain(queue)).toEqual(['a']);
  });

  it('of 0 is over for a message that a consumer gave back', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    const consumer = consume(queue, 'c');
    queue.publish(messageOf('a', { expiration: '0' }));
    kit.run();
    settle(consumer.entry('a'), 'requeue');
    kit.run();
    expect(consumer.received).toEqual(['a']);
    expect(queue.messageCount).toBe(0);
  });

  it('goes on for what is on disk only', async () => {
    const kit = await kitOf({ queueMemory: 65_536, totalMemory: 1e9 });
    const queue = kit.queue({ 'x-message-ttl': 1_000 });
    for (let i = 0; i < 400; i++) queue.publish(messageOf(`${i}`.padEnd(500)));
    expect(queue.pagedOutCount).toBeGreaterThan(0);
    kit.run();
    kit.clock.advance(1_200);
    await kit.until(() => queue.messageCount === 0);
    expect(kit.memory.used).toBe(0);
  });

  it('of very many messages that end at once is not the work of one turn, and a get behind them waits', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    for (let i = 0; i < 5_000; i++) queue.publish(messageOf('x', { expiration: '10' }));
    publish(queue, 'last');
    kit.clock.advance(20);
    let got: string | null = null;
    const ask = (): void => {
      if (queue.whenReady(ask)) got = textOf(queue.get(true));
    };
    ask();
    expect(kit.deaths.length).toBeLessThan(5_000);
    expect(got).toBeNull();
    await kit.until(() => got !== null);
    expect(got).toBe('last');
    expect(kit.deaths.length).toBe(5_000);
  });

  it('leaves no timer behind', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-message-ttl': 1_000 });
    publish(queue, 'a');
    kit.run();
    const timers = (): number => kit.wheel.size + kit.messageWheel.size;
    expect(timers()).toBe(1);
    queue.delete();
    expect(timers()).toBe(0);
    kit.run();
    expect(timers()).toBe(0);
  });
});

describe('dead messages', () => {
  it('leave the store in the same batch in which their dead letter is written', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    const target = kit.queue();
    kit.onDeath = (_queue, message) => void target.publish(message);
    queue.publish(persistentOf('a'));
    await kit.settle();
    await kit.until(() => queue.whenReady(() => {}));
    const { ticket } = kit.shard;
    queue.reject(queue.get(false)!);
    expect(kit.shard.ticket).toBe(ticket);
    expect(kit.shard.stats().liveEntries).toBe(1);
    expect(target.messageCount).toBe(1);
  });

  it('are not dead-lettered from a queue that is gone', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': 'dlx' });
    publish(queue, 'a', 'b');
    const entry = queue.get(false)!;
    queue.delete();
    queue.reject(entry);
    expect(kit.deaths).toEqual([]);
  });

  it('may come back to their own queue', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-dead-letter-exchange': '', 'x-max-length': 2 });
    kit.onDeath = (from, message) => {
      kit.context.burying = true;
      from.publish(message);
      kit.context.burying = false;
    };
    publish(queue, 'a', 'b');
    queue.reject(queue.get(false)!);
    kit.run();
    expect(drain(queue)).toEqual(['b', 'a']);
    expect(kit.memory.used).toBe(0);
  });
});

describe('whatever is written to the store', () => {
  it('is followed by a turn that commits it, whoever caused it', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    const other = kit.queue();
    for (const text of ['a', 'b', 'c', 'd', 'e']) queue.publish(persistentOf(text));
    await kit.settle();
    const causes = (act: () => void): boolean => {
      kit.scheduled = 0;
      act();
      const { scheduled } = kit;
      kit.run();
      return scheduled > 0;
    };
    // basic.get asks for the mark first.
    expect(causes(() => queue.whenReady(() => {}))).toBe(true);
    await kit.settle();
    const held = [queue.get(false)!, queue.get(false)!];
    expect(causes(() => queue.get(true))).toBe(true);
    expect(causes(() => queue.ack(held[0]!))).toBe(true);
    expect(causes(() => queue.reject(held[1]!))).toBe(true);
    expect(causes(() => queue.purge())).toBe(true);
    expect(causes(() => other.delete())).toBe(true);
  });
});

describe('the end of a queue', () => {
  it('tells its consumers and makes later settles quiet', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    const consumer = consume(queue, 'c', { limit: 1 });
    queue.publish(persistentOf('a'));
    queue.publish(persistentOf('b'));
    kit.run();
    queue.delete();
    expect(consumer.isCancelled).toBe(true);
    settle(consumer.entry('a'), 'requeue');
    expect(queue.messageCount).toBe(0);
    expect(queue.unackedCount).toBe(0);
    expect(kit.memory.used).toBe(0);
    await kit.settle();
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('is announced when the last consumer leaves, and only then', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    const one = consume(queue, '1');
    const two = consume(queue, '2');
    queue.cancel(one);
    queue.cancel(one);
    expect(kit.abandoned).toEqual([]);
    queue.cancel(two);
    expect(kit.abandoned).toEqual(['q1']);
  });
});

describe('single active consumer', () => {
  it('serves the first, then the one of the highest priority that waits', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-single-active-consumer': true });
    const first = consume(queue, '1');
    const second = consume(queue, '2');
    const third = consume(queue, '3', { priority: 5 });
    publish(queue, 'a', 'b');
    kit.run();
    expect([first.received, second.received, third.received]).toEqual([['a', 'b'], [], []]);
    queue.cancel(first);
    publish(queue, 'c');
    kit.run();
    expect(third.received).toEqual(['c']);
    queue.cancel(third);
    publish(queue, 'd');
    kit.run();
    expect(second.received).toEqual(['d']);
  });

  it('waits for the active one, though others could take more', async () => {
    const kit = await kitOf();
    const queue = kit.queue({ 'x-single-active-consumer': true });
    const active = consume(queue, '1', { limit: 1 });
    const waiting = consume(queue, '2');
    publish(queue, 'a', 'b');
    kit.run();
    settle(active.entry('a'), 'ack');
    queue.unpark(active);
    kit.run();
    expect(active.received).toEqual(['a', 'b']);
    expect(waiting.received).toEqual([]);
  });
});

describe('persistent messages', () => {
  it('that are settled before the commit are never written', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    consume(queue, 'c', { noAck: true });
    expect(queue.publish(persistentOf('a'))).toBe(MUST_COMMIT);
    kit.run();
    await kit.settle();
    expect(kit.shard.stats().storedBytes).toBe(0);
  });

  it('in a queue that is not durable need no disk', async () => {
    const kit = await kitOf();
    const queue = kit.queue({}, { durable: false });
    expect(queue.publish(persistentOf('a'))).toBe(ACCEPTED);
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('of which the mark is on its way to the disk are handed out when it is there', async () => {
    const kit = await kitOf();
    const queue = kit.queue();
    queue.publish(persistentOf('a'));
    // The entry's batch is sealed before the mark is asked for.
    kit.shard.commit();
    const consumer = consume(queue, 'c');
    kit.run();
    expect(consumer.received).toEqual([]);
    await kit.until(() => consumer.received.length === 1);
  });
});

// Queues that are longer than their share of memory: what is beyond waits in the store and comes back ahead of the consumers. Nobody
// may notice, except that memory does not grow.

import { describe, expect, it } from 'vitest';
import { type Broker, type BrokerOptions, FakeClock } from '../../src/index.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import { Session, startBroker, temporaryFolder, texts } from './support.ts';

/** The least memory a queue can have: 64 messages of 1 KiB are already more. */
const LITTLE: BrokerOptions = { queueMemoryBytes: 64 * 1024, pagingMemoryBytes: 1024 * 1024 };
const KIB = 1024;

/** Reads everything of a queue as a consumer does, until `count` messages were acknowledged. */
async function consume(session: Session, queue: string, count: number, prefetch = 50): Promise<string[]> {
  const got: string[] = [];
  const { channel } = session;
  await channel.prefetch(prefetch);
  let tag = '';
  await new Promise<void>((resolve, reject) => {
    channel
      .consume(queue, (message) => {
        if (message === null) return;
        got.push(message.content.toString().replace(/\.+$/, ''));
        channel.ack(message);
        if (got.length === count) resolve();
      })
      .then(({ consumerTag }) => {
        tag = consumerTag;
      }, reject);
  });
  await channel.cancel(tag);
  return got;
}

const grounds: readonly (readonly [string, () => BrokerOptions])[] = [
  ['a store in memory', () => ({ ...LITTLE, store: memoryStore() })],
  ['a folder', () => ({ ...LITTLE, store: 'level', dataDir: temporaryFolder() })],
];

describe.each(grounds)('a queue longer than its memory, on %s', (_name, options) => {
  it('gives its messages in order, also those that are published while it is drained', async () => {
    const broker = await startBroker(options());
    const publisher = await Session.open(broker);
    await publisher.queue('q');
    await publisher.publish('q', ...texts(1_000, KIB));
    expect(await publisher.count('q')).toBe(1_000);
    const consumer = await Session.open(broker);
    const consuming = consume(consumer, 'q', 2_000);
    for (let from = 1_001; from <= 2_000; from += 100) await publisher.publish('q', ...texts(100, KIB, from));
    expect(await consuming).toEqual(texts(2_000));
    expect(await publisher.count('q')).toBe(0);
  });

  it('keeps transient and persistent messages in one order', async () => {
    const broker = await startBroker(options());
    const session = await Session.open(broker);
    await session.queue('q');
    for (const [i, text] of texts(600, KIB).entries())
      session.channel.sendToQueue('q', Buffer.from(text), { persistent: i % 2 === 0 });
    await session.channel.waitForConfirms();
    expect(await consume(session, 'q', 600)).toEqual(texts(600));
  });

  it('is emptied by a purge, and goes on', async () => {
    const broker = await startBroker(options());
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', ...texts(500, KIB));
    const [held] = await session.hold('q', 1);
    expect((await session.channel.purgeQueue('q')).messageCount).toBe(499);
    expect(await session.count('q')).toBe(0);
    await session.publish('q', ...texts(300, KIB, 501));
    session.channel.nack(held!);
    expect(await consume(session, 'q', 301)).toEqual(['m1', ...texts(300, 0, 501)]);
  });

  it('is gone when it is deleted, and a new one of its name is empty', async () => {
    const broker = await startBroker(options());
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', ...texts(500, KIB));
    expect((await session.channel.deleteQueue('q')).messageCount).toBe(500);
    await session.queue('q');
    expect(await session.get('q')).toBeNull();
    await session.publish('q', ...texts(200, KIB));
    expect(await consume(session, 'q', 200)).toEqual(texts(200));
  });

  it('answers basic.get one by one, from the first to the last', async () => {
    const broker = await startBroker(options());
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', ...texts(400, KIB));
    const got = (await session.texts('q')).map((text) => text.replace(/\.+$/, ''));
    expect(got).toEqual(texts(400));
  });

  it('puts what comes back in front of what waits on disk, marked', async () => {
    const broker = await startBroker(options());
    const holder = await Session.open(broker);
    await holder.queue('q');
    await holder.publish('q', ...texts(400, KIB));
    const held = await holder.hold('q', 150);
    holder.channel.ack(held[10]!);
    await holder.count('q');
    // The others go back with their connection.
    await holder.close();
    const session = await Session.open(broker);
    const all = await session.drain('q');
    const expected = texts(400).filter((text) => text !== 'm11');
    expect(all.map(({ text }) => text.replace(/\.+$/, ''))).toEqual(expected);
    expect(all.map(({ redelivered }) => redelivered)).toEqual(expected.map((_, i) => i < 149));
  });

  it('is as long after a restart, and gives everything in order', async () => {
    const settings = options();
    let broker: Broker = await startBroker(settings);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.publish('q', ...texts(800, KIB));
    for (const message of await before.hold('q', 100)) before.channel.ack(message);
    await before.count('q');
    await broker.stop();
    broker = await startBroker(settings);
    const after = await Session.open(broker);
    expect(await after.count('q')).toBe(700);
    await after.publish('q', ...texts(100, KIB, 801));
    expect(await consume(after, 'q', 800)).toEqual(texts(800, 0, 101));
  });

  it('keeps a large message for several long queues, each of which settles it on its own', async () => {
    const broker = await startBroker(options());
    const session = await Session.open(broker);
    const { channel } = session;
    await channel.assertExchange('fan', 'fanout', { durable: true });
    for (const queue of ['a', 'b', 'c']) {
      await session.queue(queue);
      await channel.bindQueue(queue, 'fan', '');
    }
    for (const text of texts(60, 20 * KIB))
      channel.publish('fan', '', Buffer.from(text), { persistent: true });
    await channel.waitForConfirms();
    expect(await consume(session, 'a', 60)).toEqual(texts(60));
    expect((await channel.purgeQueue('b')).messageCount).toBe(60);
    expect(await consume(session, 'c', 60)).toEqual(texts(60));
  });

  it('lets messages expire although they waited on disk', async () => {
    const clock = new FakeClock();
    const broker = await startBroker({ ...options(), clock });
    const session = await Session.open(broker);
    await session.queue('q');
    for (const [i, text] of texts(300, KIB).entries()) {
      const expiration = i % 3 === 0 ? { expiration: '1000' } : {};
      session.channel.sendToQueue('q', Buffer.from(text), { persistent: true, ...expiration });
    }
    await session.channel.waitForConfirms();
    clock.advance(2_000);
    const expected = texts(300).filter((_, i) => i % 3 !== 0);
    expect(await consume(session, 'q', 200)).toEqual(expected);
    expect(await session.get('q')).toBeNull();
  });
});

describe('many long queues together', () => {
  it('stay within the memory for all of them, and none starves', async () => {
    const broker = await startBroker({ ...LITTLE, store: memoryStore() });
    const session = await Session.open(broker);
    const queues = Array.from({ length: 20 }, (_, i) => `q${i}`);
    for (const queue of queues) {
      await session.queue(queue);
      await session.publish(queue, ...texts(70, KIB));
    }
    for (const queue of queues) expect(await consume(session, queue, 70)).toEqual(texts(70));
  });
});

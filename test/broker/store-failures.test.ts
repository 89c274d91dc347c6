// What a broker does when its store is not as it should be: in use, of another version, damaged, not writable, full; and how it holds
// publishers back while the disk is slow.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Broker, type LogFields, StoreError } from '../../src/index.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import type { Shard, ShardListener } from '../../src/store/store.ts';
import { Client } from '../crash/client.ts';
import { type FaultyStore, faultyStore } from '../support/faulty-engine.ts';
import { Session, startBroker, temporaryFolder, texts } from './support.ts';

/** What a start that must fail says. */
async function refusal(start: Promise<Broker>): Promise<StoreError> {
  try {
    await (await start).stop();
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    return error as StoreError;
  }
  throw new Error('the broker started');
}

const hex = (name: string): string => Buffer.from(name, 'latin1').toString('hex');

/** Runs a broker on the store, with five messages in a queue, and stops it. */
async function fill(store: FaultyStore): Promise<void> {
  const broker = await startBroker({ store });
  const session = await Session.open(broker);
  await session.queue('q');
  await session.publish('q', ...texts(5));
  await broker.stop();
}

describe('a store that cannot be used is refused with a text for people', () => {
  it('when another broker uses the folder, which goes on', async () => {
    const dataDir = temporaryFolder();
    const first = await startBroker({ store: 'level', dataDir });
    const { kind, message } = await refusal(Broker.start({ port: 0, store: 'level', dataDir }));
    expect(kind).toBe('locked');
    expect(message).toContain(dataDir);
    expect(message).toMatch(/in use by another broker/);
    const session = await Session.open(first);
    await session.queue('q');
    await session.publish('q', 'still here');
    expect(await session.count('q')).toBe(1);
  });

  it('when two brokers of one process are given the same store', async () => {
    const store = memoryStore();
    await startBroker({ store });
    expect((await refusal(Broker.start({ port: 0, store }))).kind).toBe('locked');
  });

  it('when a newer version wrote it, and nothing of it is changed', async () => {
    const store = faultyStore();
    await fill(store);
    const format = (version: number) => () =>
      Buffer.from(JSON.stringify({ store: 'leveret', format: version }));
    store.engine.tamper(hex('\x01format'), format(99));
    const keys = store.engine.keys();
    const { kind, message } = await refusal(Broker.start({ port: 0, store }));
    expect(kind).toBe('format');
    expect(message).toMatch(/format 99.*reads formats 1 to/);
    expect(store.engine.keys()).toEqual(keys);
    store.engine.tamper(hex('\x01format'), format(1));
    expect(await (await Session.open(await startBroker({ store }))).texts('q')).toEqual(texts(5));
  });

  it.each([
    [
      'a bit of a stored message was turned',
      (value: Buffer) => {
        const turned = Buffer.from(value);
        turned[turned.length - 3]! ^= 1;
        return turned;
      },
    ],
    ['the end of a stored message is missing', (value: Buffer) => value.subarray(0, value.length - 2)],
    ['stored messages are missing', () => null],
  ])('when %s, and nothing of it is changed', async (_what, change) => {
    const store = faultyStore();
    await fill(store);
    const segment = store.engine.keys().find((key) => key.startsWith('04') && key.endsWith('01'))!;
    store.engine.tamper(segment, change);
    const keys = store.engine.keys();
    const written = store.engine.written.length;
    for (let attempt = 0; attempt < 2; attempt++) {
      const { kind, message } = await refusal(Broker.start({ port: 0, store }));
      expect(kind).toBe('damaged');
      expect(message).toMatch(/damaged/);
      expect(message).toMatch(/Restore the folder from a backup/);
    }
    expect(store.engine.keys()).toEqual(keys);
    expect(store.engine.written.length).toBe(written);
  });

  it('when something is damaged behind messages that a restart forgets: they are not forgotten either', async () => {
    const store = faultyStore();
    const broker = await startBroker({ store, queueMemoryBytes: 64 * 1024 });
    const session = await Session.open(broker);
    for (const queue of ['first', 'second']) await session.queue(queue);
    for (const text of texts(200, 1_024)) session.channel.sendToQueue('first', Buffer.from(text));
    await session.publish('second', 'safe');
    await broker.stop();
    const last = store.engine.keys().findLast((key) => key.startsWith('04') && key.endsWith('01'))!;
    store.engine.tamper(last, (value) => value.subarray(0, value.length - 2));
    const keys = store.engine.keys();
    const written = store.engine.written.length;
    expect((await refusal(Broker.start({ port: 0, store }))).kind).toBe('damaged');
    expect(store.engine.keys()).toEqual(keys);
    expect(store.engine.written.length).toBe(written);
  });

  it('when bytes of its files were overwritten', async () => {
    const dataDir = temporaryFolder();
    const broker = await startBroker({ store: 'level', dataDir });
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', ...texts(50, 1_000));
    await broker.stop();
    const log = readdirSync(dataDir).find((name) => name.endsWith('.log'))!;
    const bytes = readFileSync(join(dataDir, log));
    const third = Math.floor(bytes.length / 3);
    bytes.fill(0x55, third, third + 100);
    writeFileSync(join(dataDir, log), bytes);
    const { kind, message } = await refusal(Broker.start({ port: 0, store: 'level', dataDir }));
    expect(kind).toBe('damaged');
    expect(message).toContain(dataDir);
  });

  it('when the folder cannot be made', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, 'in the way');
    const { kind, message } = await refusal(
      Broker.start({ port: 0, store: 'level', dataDir: join(file, 'data') }),
    );
    expect(kind).toBe('unwritable');
    expect(message).toMatch(/cannot be used for the store/);
  });

  it('when the folder holds something else', async () => {
    const store = faultyStore();
    await fill(store);
    store.engine.tamper(hex('\x01format'), () => null);
    const { kind, message } = await refusal(Broker.start({ port: 0, store }));
    expect(kind).toBe('format');
    expect(message).toMatch(/not a store of Leveret/);
  });
});

describe('a disk that refuses a write', () => {
  it.each([
    ['before anything of it was written', false],
    ['after it was written and before it was safe', true],
  ])('ends the broker, %s, and nothing is confirmed any more', async (_when, afterWrite) => {
    const store = faultyStore();
    const lines: string[] = [];
    const note = (text: string, fields?: LogFields): void => {
      lines.push(`${text} ${JSON.stringify(fields)}`);
    };
    const logger = { error: note, warn: () => {}, info: () => {}, debug: () => {} };
    const broker = await startBroker({ store, logger });
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', 'safe');
    const confirmed: (number | boolean)[] = [];
    const publisher = await Client.open(broker.port, {
      confirm: (tag, multiple) => confirmed.push(tag, multiple),
      wrong: () => {},
    });
    await publisher.call('confirm.select', {});
    store.engine.failNext(new Error('no space left on device'), afterWrite);
    for (const text of texts(10)) publisher.publish('', 'q', Buffer.from(text));
    const error = await broker.stopped;
    expect(error?.message).toMatch(/could not be written: no space left on device/);
    expect(lines.join()).toMatch(/store is lost.*no space left on device/);
    await Promise.all([publisher.ended, session.closed]);
    expect(confirmed).toEqual([]);
    await expect(Session.open(broker)).rejects.toThrow();
    // Stopping what has stopped is fine; the store can be used again.
    await broker.stop();
    const after = await Session.open(await startBroker({ store }));
    const found = await after.texts('q');
    expect(found[0]).toBe('safe');
    // Without a confirm a message may be there or not, but only as the whole batch.
    expect([1, 11]).toContain(found.length);
  });

  it('leaves a durable declare and a commit unanswered', async () => {
    const store = faultyStore();
    const broker = await startBroker({ store });
    const client = await Client.open(broker.port, { wrong: () => {} });
    store.engine.failNext(new Error('no space left on device'));
    await expect(client.call('queue.declare', { queue: 'q', durable: true })).rejects.toThrow(/gone/);
    expect(await broker.stopped).not.toBeNull();
  });

  it('during the stop does not keep the broker from stopping', async () => {
    const store = faultyStore();
    const broker = await startBroker({ store });
    const session = await Session.open(broker);
    await session.queue('q');
    store.engine.hold();
    session.channel.sendToQueue('q', Buffer.from('late'), { persistent: true });
    while (!store.engine.flying) await new Promise((resolve) => setImmediate(resolve));
    store.engine.failNext(new Error('no space left on device'));
    const stopping = broker.stop();
    store.engine.release();
    await stopping;
    await broker.stopped;
  });
});

/** A faulty store whose open shard can be looked at. */
function watchedStore(pendingBytesHigh: number): { store: FaultyStore; pendingBytes(): number } {
  const store = faultyStore({ pendingBytesHigh });
  let shard: Shard | null = null;
  const open = store.open.bind(store);
  store.open = async (listener: ShardListener) => {
    shard = await open(listener);
    return shard;
  };
  return { store, pendingBytes: () => shard!.pendingBytes };
}

describe('a disk that is slow', () => {
  it('holds publishers back before memory grows, and lets them go on', async () => {
    const { store, pendingBytes } = watchedStore(256 * 1024);
    const broker = await startBroker({ store, turnReadBytes: 64 * 1024 });
    const session = await Session.open(broker);
    await session.queue('q');
    let confirmed = 0;
    const publisher = await Client.open(broker.port, {
      confirm: (tag) => {
        confirmed = tag;
      },
      wrong: () => {},
    });
    await publisher.call('confirm.select', {});
    store.engine.hold();
    const count = 4_000;
    for (const text of texts(count, 4_096)) publisher.publish('', 'q', Buffer.from(text));
    // The broker stops taking them: what it has not read stays with the client and in the network.
    let before = -1;
    for (let quiet = 0; quiet < 2_000; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (pendingBytes() !== before) quiet = 0;
      before = pendingBytes();
    }
    expect(confirmed).toBe(0);
    expect(pendingBytes()).toBeGreaterThan(256 * 1024);
    expect(pendingBytes()).toBeLessThan(2 * 1024 * 1024);
    expect(publisher.unsent).toBeGreaterThan(0);
    store.engine.release();
    while (confirmed < count) await new Promise((resolve) => setImmediate(resolve));
    expect(await session.count('q')).toBe(count);
  });
});

describe('messages on disk that cannot be read while the broker runs', () => {
  it('stay where they are: the queue says so and gives nothing behind them, others go on', async () => {
    const store = faultyStore();
    const errors: string[] = [];
    const logger = {
      error: (text: string) => void errors.push(text),
      warn: () => {},
      info: () => {},
      debug: () => {},
    };
    const broker = await startBroker({ store, logger, queueMemoryBytes: 64 * 1024 });
    const session = await Session.open(broker);
    await session.queue('q');
    await session.queue('other');
    for (let from = 1; from < 400; from += 50) await session.publish('q', ...texts(50, 1_024, from));
    const segments = store.engine.keys().filter((key) => key.startsWith('04') && key.endsWith('01'));
    for (const key of segments.slice(-3))
      store.engine.tamper(key, (value) => Buffer.from(value).fill(7, 20, 40));
    const got: string[] = [];
    await session.channel.consume('q', (message) => {
      got.push(message!.content.toString().replace(/\.+$/, ''));
      session.channel.ack(message!);
    });
    while (errors.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(errors).toEqual(['a queue cannot read its messages back and stops delivering them']);
    expect(got).toEqual(texts(got.length));
    await session.publish('other', 'fine');
    expect(await session.texts('other')).toEqual(['fine']);
  });
});

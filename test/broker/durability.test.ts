// What outlives a restart and what does not, over the embedding API: on a memory store that is kept between the starts, on a folder,
// and on an engine that loses power.

import { describe, expect, it } from 'vitest';
import { type Broker, type BrokerOptions, FakeClock } from '../../src/index.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import { Client } from '../crash/client.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { exists, routes, Session, startBroker, temporaryFolder, texts } from './support.ts';

/** A place for the broker's data, and how to lose or keep it. */
interface Ground {
  readonly options: BrokerOptions;
}

const grounds: readonly (readonly [string, () => Ground])[] = [
  ['a store in memory', () => ({ options: { store: memoryStore() } })],
  ['a folder', () => ({ options: { store: 'level', dataDir: temporaryFolder() } })],
];

async function restart(broker: Broker, { options }: Ground): Promise<Broker> {
  await broker.stop();
  return await startBroker(options);
}

/** A value of every type that amqplib can put into a table. */
const EVERY_TYPE = {
  text: 'x',
  yes: true,
  no: false,
  byte: { '!': 'int8', value: -7 },
  short: { '!': 'int16', value: -700 },
  int: { '!': 'int32', value: -70_000 },
  long: { '!': 'int64', value: -7_000_000_000 },
  float: { '!': 'float', value: 0.5 },
  double: { '!': 'double', value: 0.1 },
  decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
  time: { '!': 'timestamp', value: 1_700_000_000 },
  bytes: Buffer.from([0, 255, 1]),
  none: null,
  list: ['a', 1, true, { deep: ['er'] }],
  table: { a: { b: 'c' } },
};

describe.each(grounds)('a restart on %s', (_name, newGround) => {
  it('keeps durable exchanges of every type and forgets transient ones', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    for (const type of ['direct', 'fanout', 'topic', 'headers']) {
      await before.channel.assertExchange(`durable-${type}`, type, { durable: true });
      await before.channel.assertExchange(`transient-${type}`, type, { durable: false });
    }
    broker = await restart(broker, ground);
    for (const type of ['direct', 'fanout', 'topic', 'headers']) {
      expect(await exists(broker, 'exchange', `durable-${type}`)).toBe(true);
      expect(await exists(broker, 'exchange', `transient-${type}`)).toBe(false);
    }
    // Type and flags are as they were: a declare with others is refused.
    const after = await Session.open(broker);
    await after.channel.assertExchange('durable-topic', 'topic', { durable: true });
    await expect(after.channel.assertExchange('durable-topic', 'fanout', { durable: true })).rejects.toThrow(
      /406/,
    );
  });

  it('keeps durable queues and forgets transient and exclusive ones', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('durable');
    await before.channel.assertQueue('transient', { durable: false });
    await before.channel.assertQueue('exclusive', { durable: true, exclusive: true });
    broker = await restart(broker, ground);
    expect(await exists(broker, 'queue', 'durable')).toBe(true);
    expect(await exists(broker, 'queue', 'transient')).toBe(false);
    expect(await exists(broker, 'queue', 'exclusive')).toBe(false);
  });

  it('does not bring back what was deleted', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.publish('q', 'gone');
    await before.channel.assertExchange('e', 'fanout', { durable: true });
    await before.channel.bindQueue('q', 'e', '');
    await before.channel.deleteQueue('q');
    await before.channel.deleteExchange('e');
    broker = await restart(broker, ground);
    expect(await exists(broker, 'queue', 'q')).toBe(false);
    expect(await exists(broker, 'exchange', 'e')).toBe(false);
    // A new queue of that name is empty and unbound.
    const after = await Session.open(broker);
    await after.queue('q');
    expect(await after.count('q')).toBe(0);
  });

  it('keeps bindings between durable ends only, to queues and to exchanges', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('durable');
    await before.channel.assertQueue('transient', { durable: false });
    for (const [exchange, durable] of [
      ['source', true],
      ['target', true],
      ['fleeting', false],
    ] as const)
      await before.channel.assertExchange(exchange, 'topic', { durable });
    await before.channel.bindQueue('durable', 'source', 'to.queue');
    await before.channel.bindQueue('durable', 'target', '#');
    await before.channel.bindExchange('target', 'source', 'to.exchange');
    await before.channel.bindQueue('transient', 'source', 'to.transient');
    await before.channel.bindExchange('fleeting', 'source', 'to.fleeting');
    await before.channel.bindQueue('durable', 'fleeting', '#');
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    expect(await routes(after, 'source', 'to.queue')).toBe(true);
    expect(await routes(after, 'source', 'to.exchange')).toBe(true);
    // The other ends exist again, but nobody has bound them.
    await after.channel.assertQueue('transient', { durable: false });
    await after.channel.assertExchange('fleeting', 'topic', { durable: false });
    expect(await routes(after, 'source', 'to.transient')).toBe(false);
    expect(await routes(after, 'source', 'to.fleeting')).toBe(false);
    expect(await routes(after, 'fleeting', 'anything')).toBe(false);
  });

  it('keeps an unbinding', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.channel.assertExchange('e', 'direct', { durable: true });
    for (const key of ['stays', 'goes']) await before.channel.bindQueue('q', 'e', key);
    await before.channel.unbindQueue('q', 'e', 'goes');
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    expect(await routes(after, 'e', 'stays')).toBe(true);
    expect(await routes(after, 'e', 'goes')).toBe(false);
  });

  it('keeps the wire types of arguments, so that the same declares and binds still mean the same', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const queueArguments = { ...EVERY_TYPE, 'x-max-length': { '!': 'int64', value: 1_000 } };
    const exchangeArguments = { ...EVERY_TYPE, 'alternate-exchange': 'amq.fanout' };
    const bindingArguments = { ...EVERY_TYPE, 'x-match': 'any' };
    const declare = async (session: Session): Promise<void> => {
      await session.queue('q', { arguments: queueArguments });
      await session.channel.assertExchange('e', 'headers', { durable: true, arguments: exchangeArguments });
      await session.channel.bindQueue('q', 'e', 'k', bindingArguments);
    };
    await declare(await Session.open(broker));
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    await declare(after);
    expect(await routes(after, 'e', 'k', { text: 'x' })).toBe(true);
    // It is one binding, the one from before: unbinding it leaves none.
    await after.channel.unbindQueue('q', 'e', 'k', bindingArguments);
    expect(await routes(after, 'e', 'k', { text: 'x' })).toBe(false);
    await expect(
      after.queue('q', { arguments: { ...queueArguments, 'x-max-length': { '!': 'int64', value: 1_001 } } }),
    ).rejects.toThrow(/406/);
  });

  it('keeps virtual hosts, users and permissions', async () => {
    const ground = newGround();
    const anna = {
      name: 'anna',
      password: 'secret',
      permissions: [{ vhost: 'shop', configure: '^own-', write: '.*', read: '.*' }],
    };
    let broker = await startBroker({ ...ground.options, vhosts: ['shop'], users: [anna] });
    const url = (port: number, login: string): string => `amqp://${login}@127.0.0.1:${port}/shop`;
    const before = await Session.open(broker, url(broker.port, 'anna:secret'));
    await before.queue('own-queue');
    broker = await restart(broker, ground);
    const after = await Session.open(broker, url(broker.port, 'anna:secret'));
    expect(await after.count('own-queue')).toBe(0);
    await expect(after.queue('other')).rejects.toThrow(/403/);
    await expect(Session.open(broker, url(broker.port, 'anna:wrong'))).rejects.toThrow(/403|ACCESS_REFUSED/);
  });

  it('keeps persistent messages of durable queues, in order, and no others', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('durable');
    await before.channel.assertQueue('transient', { durable: false });
    for (let i = 1; i <= 9; i++) {
      for (const queue of ['durable', 'transient'])
        before.channel.sendToQueue(queue, Buffer.from(`m${i}`), { persistent: i % 3 !== 0 });
    }
    await before.channel.waitForConfirms();
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    expect(await after.count('durable')).toBe(6);
    expect(await after.texts('durable')).toEqual(['m1', 'm2', 'm4', 'm5', 'm7', 'm8']);
    expect(await exists(broker, 'queue', 'transient')).toBe(false);
  });

  it('keeps every property of a message, its address and its bytes', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.channel.assertExchange('e', 'fanout', { durable: true });
    await before.channel.bindQueue('q', 'e', '');
    const content = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7) % 256));
    const properties = {
      contentType: 'application/x-thing',
      contentEncoding: 'gzip',
      headers: EVERY_TYPE,
      deliveryMode: 2,
      priority: 7,
      correlationId: 'c-1',
      replyTo: 'somewhere',
      expiration: '3600000',
      messageId: 'm-1',
      timestamp: 1_700_000_000,
      type: 'thing',
      userId: 'guest',
      appId: 'test',
    };
    before.channel.publish('e', 'some.key', content, properties);
    before.channel.publish('e', 'empty', Buffer.alloc(0), { persistent: true });
    await before.channel.waitForConfirms();
    const original = (await before.get('q'))!;
    before.channel.nack(original);
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    const kept = (await after.get('q'))!;
    expect(kept.content.equals(content)).toBe(true);
    expect(kept.fields.exchange).toBe('e');
    expect(kept.fields.routingKey).toBe('some.key');
    expect(kept.properties).toEqual(original.properties);
    expect(kept.properties.headers).toMatchObject({ text: 'x', yes: true, table: { a: { b: 'c' } } });
    expect(kept.properties.priority).toBe(7);
    expect((await after.get('q'))!.content.length).toBe(0);
  });

  it('brings unacknowledged messages back in their old places, marked, and acknowledged ones not at all', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.publish('q', ...texts(6));
    const held = await before.hold('q', 4);
    before.channel.ack(held[1]!);
    before.channel.nack(held[2]!);
    before.channel.reject(held[3]!, false);
    // Answered behind the settles: they have been read.
    await before.count('q');
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    expect(await after.drain('q')).toEqual([
      { text: 'm1', redelivered: true },
      { text: 'm3', redelivered: true },
      { text: 'm5', redelivered: false },
      { text: 'm6', redelivered: false },
    ]);
  });

  it('marks nothing as redelivered that nobody got, after a clean stop', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('acked');
    await before.queue('untouched');
    for (const queue of ['acked', 'untouched']) await before.publish(queue, ...texts(5));
    for (const message of await before.hold('acked', 2)) before.channel.ack(message);
    await before.count('acked');
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    expect(await after.drain('acked')).toEqual(
      ['m3', 'm4', 'm5'].map((text) => ({ text, redelivered: false })),
    );
    expect((await after.drain('untouched')).every(({ redelivered }) => !redelivered)).toBe(true);
  });

  it('remembers over several restarts that a message was delivered', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    let session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', ...texts(3));
    await session.hold('q', 1);
    for (let i = 0; i < 3; i++) {
      broker = await restart(broker, ground);
      session = await Session.open(broker);
    }
    await session.publish('q', 'new');
    expect(await session.drain('q')).toEqual([
      { text: 'm1', redelivered: true },
      { text: 'm2', redelivered: false },
      { text: 'm3', redelivered: false },
      { text: 'new', redelivered: false },
    ]);
  });

  it('keeps what a transaction committed and nothing of one that was rolled back or left open', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const session = await Session.open(broker);
    await session.queue('q');
    const tx = await Client.open(broker.port, { wrong: () => {} });
    await tx.call('tx.select', {});
    for (const [text, end] of [
      ['committed', 'tx.commit'],
      ['rolled back', 'tx.rollback'],
      ['left open', null],
    ] as const) {
      tx.publish('', 'q', Buffer.from(text));
      if (end !== null) await tx.call(end, {});
    }
    // Answered behind the publishes: they have been read.
    await tx.call('queue.declare', { queue: 'q', passive: true });
    broker = await restart(broker, ground);
    expect(await (await Session.open(broker)).texts('q')).toEqual(['committed']);
  });

  it('goes on with a purged queue as an empty one', async () => {
    const ground = newGround();
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    await before.queue('q');
    await before.publish('q', ...texts(5));
    const [held] = await before.hold('q', 1);
    expect((await before.channel.purgeQueue('q')).messageCount).toBe(4);
    await before.publish('q', 'behind');
    expect(held!.content.toString()).toBe('m1');
    broker = await restart(broker, ground);
    expect(await (await Session.open(broker)).texts('q')).toEqual(['m1', 'behind']);
  });

  it('counts the time to live of a message from its publishing, whatever the restarts', async () => {
    const ground = newGround();
    const clock = new FakeClock();
    const options = { ...ground.options, clock };
    const broker = await startBroker(options);
    const before = await Session.open(broker);
    await before.queue('q');
    before.channel.sendToQueue('q', Buffer.from('short'), { persistent: true, expiration: '1000' });
    before.channel.sendToQueue('q', Buffer.from('long'), { persistent: true, expiration: '5000' });
    await before.channel.waitForConfirms();
    await broker.stop();
    clock.advance(2_000);
    const after = await Session.open(await startBroker(options));
    expect(await after.texts('q')).toEqual(['long']);
  });
});

describe('a restart with much to recover', () => {
  it('changes nothing in the store before all of it was read', async () => {
    // Small segments, so that recovery lets the event loop run while it reads them.
    const ground = { options: { store: memoryStore({ segmentBytesMax: 1_024, mergeSegments: 1_000_000 }) } };
    let broker = await startBroker(ground.options);
    const before = await Session.open(broker);
    const names = ['a', 'b', 'c'];
    for (const name of names) {
      await before.queue(name);
      await before.publish(name, ...texts(400, 2_000));
      await before.hold(name, 1);
    }
    broker = await restart(broker, ground);
    const after = await Session.open(broker);
    for (const name of names) expect(await after.count(name)).toBe(400);
  });
});

describe('a restart after a power cut', () => {
  it('marks everything that was delivered as redelivered, and keeps what was confirmed', async () => {
    const store = faultyStore({ seed: 1 });
    const broker = await startBroker({ store });
    const before = await Session.open(broker);
    await before.queue('q');
    await before.publish('q', ...texts(8));
    const held = await before.hold('q', 3);
    before.channel.ack(held[0]!);
    // A confirm covers everything that its connection sent before, the ack too.
    await before.publish('q', 'm9');
    store.crash();
    await broker.stop();
    const after = await Session.open(await startBroker({ store }));
    const found = await after.drain('q');
    expect(found.map(({ text }) => text)).toEqual(texts(9).slice(1));
    expect(found.slice(0, 2).every(({ redelivered }) => redelivered)).toBe(true);
  });

  it('confirms nothing, answers no durable declare and commits no transaction before the disk has it', async () => {
    const store = faultyStore({ seed: 1 });
    const broker = await startBroker({ store });
    const session = await Session.open(broker);
    await session.queue('q');
    const tx = await Client.open(broker.port, { wrong: () => {} });
    await tx.call('tx.select', {});
    store.engine.hold();
    const answered: string[] = [];
    const note = (what: string) => () => answered.push(what);
    session.channel.sendToQueue('q', Buffer.from('m'), { persistent: true }, note('confirm'));
    const declared = session.queue('late').then(note('declare'));
    tx.publish('', 'q', Buffer.from('in a transaction'));
    const committed = tx.call('tx.commit', {}).then(note('commit'));
    // What needs no disk is answered meanwhile, on other connections.
    const other = await Session.open(broker);
    await other.channel.assertQueue('transient', { durable: false });
    expect(await other.count('q')).toBe(2);
    expect(answered).toEqual([]);
    store.engine.release();
    await Promise.all([declared, committed, session.channel.waitForConfirms()]);
    expect(answered.sort()).toEqual(['commit', 'confirm', 'declare']);
  });
});

// Messages that are like one before: what an exchange remembers of them.

import type * as amqplib from 'amqplib';
import { describe, expect, it } from 'vitest';
import { type BrokerOptions, FakeClock } from '../../src/index.ts';
import { Session, startBroker, temporaryFolder } from './support.ts';

const TYPE = 'x-message-deduplication';

async function scene(options: BrokerOptions = {}) {
  const clock = new FakeClock();
  const broker = await startBroker({ clock, ...options });
  return { clock, broker, session: await Session.open(broker) };
}

async function declare(session: Session, args: Record<string, unknown>, type = TYPE): Promise<void> {
  await session.channel.assertExchange('once', type, { arguments: args });
  await session.queue('q');
  await session.channel.bindQueue('q', 'once', 'q');
}

async function send(
  session: Session,
  text: string,
  key: unknown,
  options: amqplib.Options.Publish = {},
): Promise<void> {
  const headers = {
    ...(options.headers ?? {}),
    ...(key === undefined ? {} : { 'x-deduplication-header': key }),
  };
  session.channel.publish('once', 'q', Buffer.from(text), { persistent: true, ...options, headers });
  await session.channel.waitForConfirms();
}

describe('an exchange that drops duplicates', () => {
  it('routes a message once, whatever its routing key, and confirms what it drops', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 100 });
    await send(session, 'a', 'k1');
    await send(session, 'b', 'k1');
    await send(session, 'c', 'k2');
    session.channel.publish('once', 'anything', Buffer.from('d'), {
      headers: { 'x-deduplication-header': 'k3' },
    });
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['a', 'c', 'd']);
  });

  it('lets everything through that has no such header, or one that cannot be compared', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 100 });
    for (const text of ['a', 'b']) await send(session, text, undefined);
    for (const text of ['c', 'd']) await send(session, text, ['k']);
    for (const text of ['e', 'f']) await send(session, text, { k: 1 });
    expect(await session.texts('q')).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('compares values with their type: 1, "1", 1.5 and true are four', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 100 });
    for (const [text, key] of [
      ['a', 1],
      ['b', '1'],
      ['c', 1.5],
      ['d', true],
      ['e', null],
      ['f', 'x'.repeat(1_000)],
      ['g', `${'x'.repeat(1_000)}y`],
    ] as const) {
      await send(session, text, key);
      await send(session, `${text} again`, key);
    }
    expect(await session.texts('q')).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  });

  it('forgets the oldest when its memory is full', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 2 });
    for (const key of ['k1', 'k2', 'k3', 'k3', 'k1']) await send(session, key, key);
    expect(await session.texts('q')).toEqual(['k1', 'k2', 'k3', 'k1']);
  });

  it('forgets with time: as it was declared, or as the message asks', async () => {
    const { clock, session } = await scene();
    await declare(session, { 'x-cache-size': 100, 'x-cache-ttl': 1_000 });
    await send(session, 'a', 'k');
    await send(session, 'long', 'l', { headers: { 'x-cache-ttl': 5_000 } });
    clock.advance(999);
    await send(session, 'b', 'k');
    clock.advance(1);
    await send(session, 'c', 'k');
    await send(session, 'long again', 'l');
    clock.advance(4_000);
    await send(session, 'long at last', 'l');
    expect(await session.texts('q')).toEqual(['a', 'long', 'c', 'long at last']);
  });

  it('gives a duplicate back to a publisher who insists on a queue', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 100 });
    const returned: string[] = [];
    session.channel.on('return', (message) => returned.push(message.content.toString()));
    await send(session, 'a', 'k', { mandatory: true });
    await send(session, 'b', 'k', { mandatory: true });
    expect(returned).toEqual(['b']);
  });

  it('does not send duplicates to its alternate exchange', async () => {
    const { session } = await scene();
    await declare(session, { 'x-cache-size': 100, 'alternate-exchange': 'amq.fanout' });
    await session.queue('other');
    await session.channel.bindQueue('other', 'amq.fanout', '');
    await send(session, 'a', 'k');
    await send(session, 'b', 'k');
    expect(await session.count('other')).toBe(0);
    expect(await session.count('q')).toBe(1);
  });

  it.each([
    [{}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"],
    [{ 'x-cache-size': 0 }, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"],
    [
      { 'x-cache-size': 'many' },
      "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0",
    ],
    [
      { 'x-cache-size': 1, 'x-cache-ttl': -1 },
      "Invalid argument, 'x-cache-ttl' must be an integer greater than 0",
    ],
    [
      { 'x-cache-size': 1, 'x-cache-persistence': 'tape' },
      "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'",
    ],
    [
      { 'x-cache-size': 1, 'x-deduplication-header': 5 },
      "Invalid argument, 'x-deduplication-header' must be the name of a header",
    ],
  ])('is refused with %j', async (args, text) => {
    const { session } = await scene();
    await expect(session.channel.assertExchange('once', TYPE, { arguments: args })).rejects.toThrow(
      `PRECONDITION_FAILED - ${text}`,
    );
  });

  it('takes numbers as texts', async () => {
    const { clock, session } = await scene();
    await declare(session, { 'x-cache-size': '10', 'x-cache-ttl': '100' });
    await send(session, 'a', 'k');
    await send(session, 'b', 'k');
    clock.advance(100);
    await send(session, 'c', 'k');
    expect(await session.texts('q')).toEqual(['a', 'c']);
  });

  it('may be of any type, and may compare by any header', async () => {
    const { session } = await scene();
    await declare(session, { 'x-message-deduplication': true, 'x-deduplication-header': 'order' }, 'direct');
    for (const text of ['a', 'b']) await send(session, text, undefined, { headers: { order: 7 } });
    for (const text of ['c', 'd']) await send(session, text, 'k');
    session.channel.publish('once', 'nowhere', Buffer.from('e'), { headers: { order: 8 } });
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['a', 'c', 'd']);
  });

  it('drops a duplicate before it would be delayed, and not the message that comes back from its delay', async () => {
    const { clock, session } = await scene();
    await declare(session, { 'x-message-deduplication': true, 'x-delayed-exchange': true }, 'fanout');
    for (const text of ['a', 'b']) await send(session, text, 'k', { headers: { 'x-delay': 500 } });
    for (let i = 0; i < 60; i++) {
      clock.advance(10);
      await session.count('q');
    }
    for (let i = 0; (await session.count('q')) === 0; i++) if (i > 2_000) throw new Error('waited in vain');
    expect(await session.texts('q')).toEqual(['a']);
  });

  it('remembers over a restart what it was told to keep on disk', async () => {
    const dataDir = temporaryFolder();
    const clock = new FakeClock();
    let { broker, session } = await scene({ store: 'level', dataDir, clock });
    const args = { 'x-cache-size': 2, 'x-cache-ttl': 10_000, 'x-cache-persistence': 'disk' };
    await declare(session, args);
    for (const key of ['k1', 'k2', 'k3']) await send(session, key, key);
    await session.channel.assertExchange('memory', TYPE, { arguments: { 'x-cache-size': 5 } });
    await session.channel.bindQueue('q', 'memory', '');
    const toMemory = async (): Promise<void> => {
      const headers = { 'x-deduplication-header': 'k' };
      session.channel.publish('memory', '', Buffer.from('m'), { persistent: true, headers });
      await session.channel.waitForConfirms();
    };
    await toMemory();
    for (let round = 0; round < 2; round++) {
      await broker.stop();
      broker = await startBroker({ store: 'level', dataDir, clock });
      session = await Session.open(broker);
      for (const key of ['k2', 'k3']) await send(session, `${key} again`, key);
      await toMemory();
    }
    clock.advance(10_000);
    await send(session, 'k3 at last', 'k3');
    await send(session, 'k1 at last', 'k1');
    expect(await session.texts('q')).toEqual(['k1', 'k2', 'k3', 'm', 'm', 'm', 'k3 at last', 'k1 at last']);
  });

  it('forgets a message that a full queue refused', async () => {
    const { session } = await scene();
    await session.channel.assertExchange('once', TYPE, { arguments: { 'x-cache-size': 100 } });
    await session.queue('q', { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
    await session.channel.bindQueue('q', 'once', 'q');
    await send(session, 'a', 'a');
    await expect(send(session, 'b', 'b')).rejects.toThrow();
    await send(session, 'a', 'a');
    expect(await session.texts('q')).toEqual(['a']);
    await send(session, 'b', 'b');
    expect(await session.texts('q')).toEqual(['b']);
  });

  it('on disk takes any number for the time that a message asks for', async () => {
    const { broker, session } = await scene();
    await declare(session, {
      'x-cache-size': 100,
      'x-cache-persistence': 'disk',
      'x-cache-ttl': '9'.repeat(20),
    });
    await send(session, 'without', 'k');
    for (const ttl of [2 ** 48, 2 ** 53, -5, -(2 ** 53), 0, 1])
      await send(session, String(ttl), `k${ttl}`, { headers: { 'x-cache-ttl': ttl } });
    await send(session, 'again', `k${2 ** 53}`);
    await send(session, 'again', `k${-(2 ** 53)}`);
    expect(await session.texts('q')).toEqual([
      'without',
      ...[2 ** 48, 2 ** 53, -5, -(2 ** 53), 0, 1].map(String),
      'again',
    ]);
    expect(broker.port).toBeGreaterThan(0);
  });
});

describe('a queue that drops duplicates', () => {
  const ARGS = { 'x-message-deduplication': true };

  async function toQueue(
    session: Session,
    text: string,
    key: unknown,
    options: amqplib.Options.Publish = {},
    queue = 'q',
  ): Promise<void> {
    const headers = {
      ...(options.headers ?? {}),
      ...(key === undefined ? {} : { 'x-deduplication-header': key }),
    };
    session.channel.publish('', queue, Buffer.from(text), { persistent: true, ...options, headers });
    await session.channel.waitForConfirms();
  }

  it('takes a message when none like it is in the queue, and confirms what it drops', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: ARGS });
    await toQueue(session, 'a', 'k1');
    await toQueue(session, 'b', 'k1');
    await toQueue(session, 'c', 'k2');
    await toQueue(session, 'transient', 'k2', { persistent: false });
    for (const text of ['d', 'e']) await toQueue(session, text, undefined);
    expect(await session.texts('q')).toEqual(['a', 'c', 'd', 'e']);
    await toQueue(session, 'a again', 'k1');
    expect(await session.texts('q')).toEqual(['a again']);
  });

  it('remembers a message as long as a consumer holds it, and when it comes back', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: ARGS });
    await toQueue(session, 'a', 'k');
    const held = (await session.get('q'))!;
    await toQueue(session, 'b', 'k');
    session.channel.nack(held, false, true);
    await toQueue(session, 'c', 'k');
    const again = (await session.get('q'))!;
    expect(again.content.toString()).toBe('a');
    expect(await session.count('q')).toBe(0);
    session.channel.ack(again);
    await toQueue(session, 'd', 'k');
    expect(await session.count('q')).toBe(1);
  });

  it('forgets a message that is rejected, expires, is too many or is purged', async () => {
    const { clock, session } = await scene();
    await session.queue('q', { arguments: { ...ARGS, 'x-max-length': 1 } });
    await toQueue(session, 'a', 'k');
    session.channel.reject((await session.get('q'))!, false);
    await toQueue(session, 'b', 'k', { expiration: '100' });
    for (let i = 0; i < 20; i++) {
      clock.advance(10);
      await session.count('q');
    }
    await toQueue(session, 'c', 'k');
    await toQueue(session, 'pushes c out', 'other');
    await toQueue(session, 'd', 'k');
    expect(await session.count('q')).toBe(1);
    await session.channel.purgeQueue('q');
    await toQueue(session, 'e', 'k');
    expect(await session.texts('q')).toEqual(['e']);
  });

  it('does not forget in a purge what a consumer holds', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: ARGS });
    await toQueue(session, 'held', 'k1');
    await toQueue(session, 'purged', 'k2');
    const held = (await session.get('q'))!;
    await session.channel.purgeQueue('q');
    await toQueue(session, 'a', 'k1');
    await toQueue(session, 'b', 'k2');
    expect(await session.texts('q')).toEqual(['b']);
    session.channel.ack(held);
  });

  it('takes the dead letter that comes back to it', async () => {
    const { session } = await scene();
    await session.queue('q', {
      arguments: { ...ARGS, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'q' },
    });
    await toQueue(session, 'a', 'k');
    session.channel.reject((await session.get('q'))!, false);
    for (let i = 0; (await session.count('q')) === 0; i++) if (i > 2_000) throw new Error('waited in vain');
    await toQueue(session, 'b', 'k');
    expect(await session.texts('q')).toEqual(['a']);
    await toQueue(session, 'c', 'k');
    expect(await session.texts('q')).toEqual(['c']);
  });

  it('has its rule for messages that are only on disk too, and after a restart', async () => {
    const dataDir = temporaryFolder();
    const clock = new FakeClock();
    const options = { store: 'level', dataDir, clock, queueMemoryBytes: 65_536 } as const;
    let { broker, session } = await scene(options);
    await session.queue('q', { arguments: { ...ARGS, 'x-message-ttl': 60_000 } });
    const body = 'x'.repeat(10_000);
    for (let i = 0; i < 30; i++) await toQueue(session, body, i);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 30; i++) await toQueue(session, body, i);
      expect(await session.count('q')).toBe(30);
      await broker.stop();
      broker = await startBroker(options);
      session = await Session.open(broker);
    }
    for (let i = 0; i < 15; i++) await session.channel.get('q', { noAck: true });
    for (let i = 0; i < 30; i++) await toQueue(session, body, i);
    expect(await session.count('q')).toBe(30);
    for (let i = 0; i < 130; i++) {
      clock.advance(1_000);
      await session.count('q');
    }
    for (let i = 0; (await session.count('q')) !== 0; i++) if (i > 2_000) throw new Error('waited in vain');
    for (let i = 0; i < 30; i++) await toQueue(session, body, i);
    expect(await session.count('q')).toBe(30);
  });

  it('of any priority is one queue', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: { ...ARGS, 'x-max-priority': 5 } });
    await toQueue(session, 'a', 'k', { priority: 1 });
    await toQueue(session, 'b', 'k', { priority: 3 });
    expect(await session.texts('q')).toEqual(['a']);
  });

  it('may be a quorum queue', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: { ...ARGS, 'x-queue-type': 'quorum' } });
    await toQueue(session, 'a', 'k');
    await toQueue(session, 'b', 'k');
    expect(await session.count('q')).toBe(1);
  });

  it('with a size or a time remembers by that, not by what is in the queue', async () => {
    const { clock, session } = await scene();
    await session.queue('q', { arguments: { ...ARGS, 'x-cache-ttl': 1_000, 'x-cache-size': 2 } });
    await toQueue(session, 'a', 'k');
    await session.texts('q');
    await toQueue(session, 'b', 'k');
    expect(await session.count('q')).toBe(0);
    await toQueue(session, 'long', 'l', { headers: { 'x-cache-ttl': 5_000 } });
    clock.advance(1_000);
    await toQueue(session, 'c', 'k');
    await toQueue(session, 'long again', 'l');
    expect(await session.texts('q')).toEqual(['long', 'c']);
    await toQueue(session, 'd', 'm');
    await toQueue(session, 'e', 'n');
    await toQueue(session, 'f', 'k');
    expect(await session.texts('q')).toEqual(['d', 'e', 'f']);
  });

  it('may compare by another header, and by none when it says false', async () => {
    const { session } = await scene();
    await session.queue('q', { arguments: { ...ARGS, 'x-deduplication-header': 'order' } });
    await session.queue('plain', { arguments: { 'x-message-deduplication': false } });
    for (const text of ['a', 'b']) await toQueue(session, text, 'k', { headers: { order: 1 } });
    await toQueue(session, 'c', 'k', { headers: { order: 2 } });
    for (const text of ['a', 'b']) await toQueue(session, text, 'k', {}, 'plain');
    expect(await session.texts('q')).toEqual(['a', 'c']);
    expect(await session.texts('plain')).toEqual(['a', 'b']);
  });
});

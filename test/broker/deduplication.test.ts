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
});

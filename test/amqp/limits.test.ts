// Limits: on connections, channels, consumers, frames; and what strict mode changes.

import { describe, expect, it } from 'vitest';
import { channelClose, method, openWorld, PROTOCOL_HEADER, publish, startOk } from './world.ts';

const START_OK = startOk(Buffer.from('\0guest\0guest'));
const OPEN = method(0, 'connection.open', { virtualHost: '/' });
const tuneOk = (channelMax: number, frameMax: number) =>
  method(0, 'connection.tune-ok', { channelMax, frameMax, heartbeat: 0 });

describe('connections', () => {
  it('above the limit of the broker are refused, and room is made when one ends', async () => {
    const world = await openWorld({ node: { connectionMax: 2 } });
    const first = await world.client();
    await world.client();
    const third = world.connect();
    await third.send(PROTOCOL_HEADER, START_OK, tuneOk(10, 8192), OPEN);
    const close = third.frames().at(-1)!;
    expect([close.name, close.fields['replyCode'], close.fields['replyText']]).toEqual([
      'connection.close',
      530,
      'NOT_ALLOWED - connection refused: node connection limit (2) is reached',
    ]);
    await first.break();
    await world.client();
    expect(world.node.limits.connections).toBe(2);
  });
});

describe('channels', () => {
  it('above channel_max are refused, counted and not by number', async () => {
    const world = await openWorld();
    const peer = await world.client({ channelMax: 2, channels: [7, 9] });
    await peer.send(channelClose(7));
    await peer.send(method(60_000, 'channel.open'));
    expect(peer.names()).toEqual(['channel.close-ok@7', 'channel.open-ok@60000']);
    const [close] = await peer.ask(1, 'channel.open');
    expect(close!.fields).toMatchObject({
      replyCode: 530,
      replyText: 'NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)',
      classId: 0,
      methodId: 0,
    });
  });

  it('above the limit of the broker are refused, over all connections', async () => {
    const world = await openWorld({ node: { channelMaxPerNode: 3 } });
    const first = await world.client({ channels: [1, 2] });
    const second = await world.client({ channels: [1] });
    const [close] = await second.ask(2, 'channel.open');
    expect(close!.fields).toMatchObject({
      replyCode: 530,
      replyText:
        "NOT_ALLOWED - number of channels opened on node 'test' has reached the maximum allowed limit of 3",
      classId: 0,
      methodId: 0,
    });
    // The refused connection gave its channel back.
    expect(world.node.limits.channels).toBe(2);
    expect((await first.ask(3, 'channel.open')).map(({ name }) => name)).toEqual(['channel.open-ok']);
  });
});

describe('consumers', () => {
  it('above the limit of a channel are refused, and room is made by a cancel', async () => {
    const world = await openWorld({ amqp: { consumersMaxPerChannel: 2 } });
    const peer = await world.client();
    const consume = (consumerTag: string) => method(1, 'basic.consume', { queue: 'q', consumerTag });
    await peer.send(method(1, 'queue.declare', { queue: 'q' }), consume('a'), consume('b'));
    await peer.send(method(1, 'basic.cancel', { consumerTag: 'a' }), consume('c'));
    expect(peer.names().at(-1)).toBe('basic.consume-ok');
    await peer.send(consume('d'));
    const [close] = peer.frames();
    expect(close!.fields).toMatchObject({
      replyCode: 530,
      replyText: 'NOT_ALLOWED - reached maximum (2) of consumers per channel',
    });
  });
});

describe('what is agreed on', () => {
  const refused: readonly (readonly [string, boolean, number, number])[] = [
    ['frame_max above ours', false, 2047, 131_073],
    ['frame_max below the least', false, 2047, 4095],
    ['frame_max without a limit', false, 2047, 0],
    ['channel_max above ours', false, 2048, 8192],
    ['channel_max without a limit', false, 0, 8192],
    ['frame_max of old clients, in strict mode', true, 2047, 4096],
  ];
  it.each(refused)('may not be %s', async (_what, strict, channelMax, frameMax) => {
    const world = await openWorld({ amqp: { strict } });
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, START_OK);
    peer.frames();
    await peer.send(tuneOk(channelMax, frameMax));
    expect(peer.frames()).toEqual([]);
    expect(peer.connection.state).toBe('ending');
    expect(world.lines('warn').at(-1)).toContain('negotiated');
    await world.pass(4_000);
    expect(world.leftovers()).toEqual([]);
  });

  it('may be the frame_max of old clients otherwise', async () => {
    const world = await openWorld();
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, START_OK, tuneOk(1, 4096), OPEN);
    expect(peer.names().at(-1)).toBe('connection.open-ok');
  });

  it('holds for frames behind tune-ok in the same chunk, and the first limit for those before it', async () => {
    const world = await openWorld();
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, START_OK);
    const large = publish(1, '', 'q', Buffer.alloc(100_000));
    await peer.send(tuneOk(10, 131_072), OPEN, method(1, 'channel.open'), large, method(1, 'basic.qos'));
    expect(peer.names().slice(-3)).toEqual(['connection.open-ok', 'channel.open-ok', 'basic.qos-ok']);
    const early = world.connect();
    await early.send(PROTOCOL_HEADER, large);
    expect(early.connection.state).toBe('ending');
  });
});

describe('strict mode', () => {
  it('takes a limit of the whole channel for one of each consumer', async () => {
    const world = await openWorld({ amqp: { strict: true } });
    const peer = await world.client();
    const consume = (consumerTag: string) => method(1, 'basic.consume', { queue: 'q', consumerTag });
    await peer.send(
      method(1, 'queue.declare', { queue: 'q' }),
      method(1, 'basic.qos', { prefetchCount: 1, global: true }),
      consume('a'),
      consume('b'),
      ...['x', 'y', 'z'].map((text) => publish(1, '', 'q', text)),
    );
    expect(peer.names().filter((name) => name === 'basic.deliver').length).toBe(2);
  });
});

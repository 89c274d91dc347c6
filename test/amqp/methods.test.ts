// Every method of the protocol table has its place: those a client may send are handled in the state where it may send them, and the
// others are refused. A method that is added to the table and forgotten in a switch is found here.

import { describe, expect, it } from 'vitest';
import { METHODS } from '../../src/protocol/constants.ts';
import {
  type Fields,
  method,
  openWorld,
  type Peer,
  PROTOCOL_HEADER,
  plainResponse,
  publish,
  startOk,
  type World,
} from './world.ts';

/** Arguments that make sense, for methods that need some. */
const FIELDS: Readonly<Record<string, Fields>> = {
  'connection.close': { replyCode: 200, replyText: '', classId: 0, methodId: 0 },
  'connection.start-ok': {
    clientProperties: {},
    mechanism: 'PLAIN',
    response: Buffer.alloc(0),
    locale: 'en_US',
  },
  'connection.secure-ok': { response: Buffer.alloc(0) },
  'connection.tune-ok': { channelMax: 1, frameMax: 4096, heartbeat: 0 },
  'connection.open': { virtualHost: '/' },
  'connection.update-secret': { newSecret: Buffer.from('guest'), reason: '' },
  'connection.start': {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties: {},
    mechanisms: Buffer.alloc(0),
    locales: Buffer.alloc(0),
  },
  'connection.secure': { challenge: Buffer.alloc(0) },
  'connection.tune': { channelMax: 1, frameMax: 4096, heartbeat: 0 },
  'connection.blocked': { reason: '' },
  'channel.close': { replyCode: 200, replyText: '', classId: 0, methodId: 0 },
  'channel.flow': { active: true },
  'channel.flow-ok': { active: true },
  'access.request-ok': { ticket: 1 },
  'exchange.declare': { exchange: 'e', type: 'direct' },
  'exchange.delete': { exchange: 'e' },
  'exchange.bind': { destination: 'amq.fanout', source: 'amq.direct' },
  'exchange.unbind': { destination: 'amq.fanout', source: 'amq.direct' },
  'queue.declare': { queue: 'q' },
  'queue.declare-ok': { queue: 'q', messageCount: 0, consumerCount: 0 },
  'queue.bind': { queue: 'q', exchange: 'amq.direct' },
  'queue.unbind': { queue: 'q', exchange: 'amq.direct' },
  'queue.purge': { queue: 'q' },
  'queue.purge-ok': { messageCount: 0 },
  'queue.delete': { queue: 'q' },
  'queue.delete-ok': { messageCount: 0 },
  'basic.consume': { queue: 'q', consumerTag: 'c' },
  'basic.consume-ok': { consumerTag: 'c' },
  'basic.cancel': { consumerTag: 'c' },
  'basic.cancel-ok': { consumerTag: 'c' },
  'basic.return': { replyCode: 312, replyText: '', exchange: '', routingKey: '' },
  'basic.deliver': { consumerTag: 'c', deliveryTag: 1, exchange: '', routingKey: '' },
  'basic.get': { queue: 'q' },
  'basic.get-ok': { deliveryTag: 1, exchange: '', routingKey: '', messageCount: 0 },
  'basic.ack': { deliveryTag: 1 },
  'basic.nack': { deliveryTag: 1 },
  'basic.reject': { deliveryTag: 1 },
  'basic.recover': { requeue: true },
  'basic.recover-async': { requeue: true },
};

/** A method that only answers us, which we never ask for: RabbitMQ knows it as little as it knows those of servers. */
const NEVER_ASKED_FOR = new Set(['channel.flow-ok']);

const octets = (channel: number, name: string): Buffer =>
  name === 'basic.publish' ? publish(channel, '', 'q', 'x') : method(channel, name, FIELDS[name] ?? {});

/** An open channel with a queue and one delivery on its way to be acknowledged. */
async function ready(world: World, mode: string | null): Promise<Peer> {
  const peer = await world.client({ channels: [1] });
  await peer.send(
    method(1, 'queue.declare', { queue: 'q' }),
    publish(1, '', 'q', 'x'),
    method(1, 'basic.get', { queue: 'q' }),
  );
  if (mode !== null) await peer.send(method(1, mode));
  peer.frames();
  return peer;
}

/** The code of the close that came, if any. */
function closed(peer: Peer): unknown {
  return peer.frames().find(({ name }) => name.endsWith('.close'))?.fields['replyCode'];
}

describe('on an open channel', () => {
  const onChannels = METHODS.filter(({ name }) => !name.startsWith('connection.'));
  it.each(onChannels.map(({ name, sentBy }) => [name, sentBy] as const))(
    '%s, sent by %s',
    async (name, sentBy) => {
      const world = await openWorld();
      const peer = await ready(world, name === 'tx.commit' || name === 'tx.rollback' ? 'tx.select' : null);
      await peer.send(octets(1, name));
      const code = closed(peer);
      if (name === 'channel.open') expect(code).toBe(504);
      else if (sentBy === 'server' || NEVER_ASKED_FOR.has(name) || name === 'channel.close-ok')
        expect(code).toBe(503);
      else expect(code).toBe(undefined);
      expect(world.lines('error')).toEqual([]);
    },
  );

  it.each(METHODS.filter(({ name }) => name.startsWith('connection.')).map(({ name }) => name))(
    '%s has no business there',
    async (name) => {
      const world = await openWorld();
      const peer = await ready(world, null);
      await peer.send(octets(1, name));
      expect(closed(peer)).toBe(503);
    },
  );
});

describe('on a channel that we have closed', () => {
  it.each(METHODS.filter(({ name }) => !name.startsWith('connection.')).map(({ name }) => name))(
    '%s is swallowed or taken for its end',
    async (name) => {
      const world = await openWorld();
      const peer = await ready(world, null);
      await peer.send(method(1, 'queue.declare', { queue: 'none', passive: true }));
      expect(peer.names()).toEqual(['channel.close']);
      await peer.send(octets(1, name));
      expect(peer.names()).toEqual(name === 'channel.close' ? ['channel.close-ok'] : []);
      await peer.send(method(1, 'channel.close-ok'));
      if (name === 'channel.close-ok') expect(closed(peer)).toBe(504);
      else
        expect((await peer.ask(1, 'channel.open')).map((frame) => frame.name)).toEqual(['channel.open-ok']);
    },
  );

  it('an answered close of the client lets it open the number anew, without a close-ok to ours', async () => {
    const world = await openWorld();
    const peer = await ready(world, null);
    await peer.send(method(1, 'queue.declare', { queue: 'none', passive: true }), octets(1, 'channel.close'));
    expect(peer.names()).toEqual(['channel.close', 'channel.close-ok']);
    expect((await peer.ask(1, 'channel.open')).map(({ name }) => name)).toEqual(['channel.open-ok']);
    expect((await peer.ask(1, 'basic.qos')).map(({ name }) => name)).toEqual(['basic.qos-ok']);
    expect(world.node.limits.channels).toBe(1);
  });
});

describe('on channel 0 of an open connection', () => {
  it.each(METHODS.map(({ name }) => name))('%s', async (name) => {
    const world = await openWorld();
    const peer = await ready(world, null);
    await peer.send(octets(0, name));
    const names = peer.frames();
    if (name === 'connection.close')
      expect(names.map((frame) => frame.name)).toEqual(['connection.close-ok']);
    else if (name === 'connection.update-secret')
      expect(names.map((frame) => frame.name)).toEqual(['connection.update-secret-ok']);
    else expect(names[0]!.fields['replyCode']).toBe(504);
    expect(world.lines('error')).toEqual([]);
  });
});

describe('before a connection is open', () => {
  const START_OK = startOk(plainResponse('guest', 'guest'));
  const TUNE_OK = octets(0, 'connection.tune-ok');
  /** What was sent before, the state it leads to, and the one method that leads on. */
  const states: readonly (readonly [string, readonly Buffer[], string | null])[] = [
    ['starting', [PROTOCOL_HEADER], 'connection.start-ok'],
    ['tuning', [PROTOCOL_HEADER, START_OK], 'connection.tune-ok'],
    ['opening', [PROTOCOL_HEADER, START_OK, TUNE_OK], 'connection.open'],
  ];
  it.each(
    states.flatMap(([state, before, next]) =>
      METHODS.map(({ name }) => [name, state, before, next] as const),
    ),
  )('%s while %s', async (name, state, before, next) => {
    const world = await openWorld();
    const peer = world.connect();
    for (const bytes of before) await peer.send(bytes);
    expect(peer.connection.state).toBe(state);
    peer.frames();
    await peer.send(octets(0, name));
    if (name === next) expect(peer.connection.state).not.toBe(state);
    else if (state === 'opening') expect(closed(peer)).toBe(504);
    else {
      expect(peer.frames()).toEqual([]);
      expect(peer.connection.state).toBe('ending');
    }
    expect(world.lines('error')).toEqual([]);
  });
});

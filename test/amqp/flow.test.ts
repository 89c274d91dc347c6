// What holds back and what lets go: credit, slow sockets, clients that do not read, alarms, pressure, the share of a turn.

import { describe, expect, it } from 'vitest';
import { TURN_SEND_BYTES } from '../../src/amqp/output.ts';
import {
  body,
  connectionClose,
  header,
  method,
  openWorld,
  type Peer,
  publish,
  rawHeader,
  type Seen,
  type World,
} from './world.ts';

const consume = (queue: string, consumerTag: string, noAck = false) =>
  method(1, 'basic.consume', { queue, consumerTag, noAck });
const qos = (prefetchCount: number, global: boolean) => method(1, 'basic.qos', { prefetchCount, global });
const ack = (deliveryTag: number, multiple = false) => method(1, 'basic.ack', { deliveryTag, multiple });

/** Consumer tags of the deliveries that came since the last look. */
function deliveries(peer: Peer): string[] {
  return peer
    .frames()
    .filter(({ name }) => name === 'basic.deliver')
    .map(({ fields }) => String(fields['consumerTag']));
}

async function withQueues(world: World, ...names: readonly string[]): Promise<Peer> {
  const peer = await world.client();
  await peer.send(...names.map((queue) => method(1, 'queue.declare', { queue })));
  peer.frames();
  return peer;
}

describe('credit of a channel', () => {
  it('that one consumer gives back serves a consumer of another queue', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a', 'b');
    await peer.send(qos(1, true), consume('a', 'of a'), consume('b', 'of b'));
    await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(publish(1, '', 'b', 'y'));
    expect(deliveries(peer)).toEqual(['of a']);
    await peer.send(ack(1));
    expect(deliveries(peer)).toEqual(['of b']);
  });

  it.each(['basic.nack', 'basic.reject', 'basic.ack multiple', 'basic.recover', 'queue.delete'])(
    'comes back by %s',
    async (how) => {
      const world = await openWorld();
      const peer = await withQueues(world, 'a', 'b');
      await peer.send(qos(1, true), consume('a', 'of a'), publish(1, '', 'a', 'x'));
      await peer.send(consume('b', 'of b'), publish(1, '', 'b', 'y'));
      expect(deliveries(peer)).toEqual(['of a']);
      if (how === 'queue.delete') {
        // What is left of the delivery still counts until it is acknowledged.
        await peer.send(method(1, 'queue.delete', { queue: 'a' }));
        expect(deliveries(peer)).toEqual([]);
        await peer.send(ack(1));
      } else if (how === 'basic.recover') {
        await peer.send(
          method(1, 'basic.cancel', { consumerTag: 'of a' }),
          method(1, 'basic.recover', { requeue: true }),
        );
      } else if (how === 'basic.ack multiple') await peer.send(ack(0, true));
      else await peer.send(method(1, how, { deliveryTag: 1, requeue: false }));
      expect(deliveries(peer)).toEqual(['of b']);
    },
  );

  it('counts what basic.get had handed out before the limit, and only that', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    const get = method(1, 'basic.get', { queue: 'a' });
    for (const text of ['1', '2', '3', '4', '5', '6']) await peer.send(publish(1, '', 'a', text));
    // Tag 1 counts; tag 2, got after the limit, does not.
    await peer.send(get, qos(2, true), get, consume('a', 'c'));
    expect(deliveries(peer)).toEqual(['c']);
    await peer.send(ack(2));
    expect(deliveries(peer)).toEqual([]);
    await peer.send(ack(1));
    expect(deliveries(peer)).toEqual(['c']);
    await peer.send(ack(3), ack(4));
    expect(deliveries(peer)).toEqual(['c', 'c']);
  });

  it('goes on when the limit is raised, and when it is lifted', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    for (let i = 0; i < 6; i++) await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(qos(1, true), consume('a', 'c'));
    expect(deliveries(peer).length).toBe(1);
    await peer.send(qos(3, true));
    expect(deliveries(peer).length).toBe(2);
    await peer.send(qos(0, false));
    expect(deliveries(peer).length).toBe(3);
  });

  it('that is lowered stops deliveries until enough is acknowledged', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    for (let i = 0; i < 6; i++) await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(qos(4, true), consume('a', 'c'));
    expect(deliveries(peer).length).toBe(4);
    await peer.send(qos(2, true), ack(1), ack(2));
    expect(deliveries(peer)).toEqual([]);
    await peer.send(ack(3));
    expect(deliveries(peer).length).toBe(1);
  });

  it('of a consumer comes back one by one', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    for (let i = 0; i < 4; i++) await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(qos(1, false), consume('a', 'c'));
    for (let tag = 1; tag <= 4; tag++) {
      expect(deliveries(peer)).toEqual(['c']);
      await peer.send(ack(tag));
    }
    expect(world.queue('a').unackedCount).toBe(0);
  });

  it('in a transaction comes back at the commit', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    for (let i = 0; i < 2; i++) await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(method(1, 'tx.select'), qos(1, true), consume('a', 'c'));
    expect(deliveries(peer)).toEqual(['c']);
    await peer.send(ack(1));
    expect(deliveries(peer)).toEqual([]);
    await peer.send(method(1, 'tx.commit'));
    expect(deliveries(peer)).toEqual(['c']);
  });
});

describe('a consumer that does not read', () => {
  it.each([1, 16_384, 4_000_000])(
    'gets the rest when it reads again (buffer of its socket %i)',
    async (highWaterMark) => {
      const world = await openWorld({ amqp: { outgoingBytesMax: 100_000 } });
      const other = await withQueues(world, 'a');
      const peer = await world.client({ highWaterMark });
      await peer.send(consume('a', 'slow', true));
      peer.frames();
      peer.socket.stopReading();
      for (let i = 0; i < 100; i++) await other.send(publish(1, '', 'a', Buffer.alloc(10_000)));
      const waiting = world.queue('a').messageCount;
      // What the system took, what waits in the stream, and one turn's share.
      expect(waiting).toBeGreaterThan(100 - 3 * 10 - 4_000_000 / 10_000);
      if (highWaterMark <= 16_384) expect(waiting).toBeGreaterThan(60);
      peer.socket.goOnReading();
      await world.settle();
      expect(deliveries(peer).length).toBe(100);
      expect(world.queue('a').messageCount).toBe(0);
    },
  );

  it('does not slow another consumer of its queue', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 20_000 } });
    const slow = await withQueues(world, 'a');
    const quick = await world.client();
    await slow.send(consume('a', 'slow', true));
    await quick.send(consume('a', 'quick', true));
    slow.socket.stopReading();
    quick.frames();
    for (let i = 0; i < 200; i++) await quick.send(publish(1, '', 'a', Buffer.alloc(1_000)));
    expect(world.queue('a').messageCount).toBe(0);
    expect(deliveries(quick).length).toBeGreaterThan(150);
  });

  it('is still read from: its acks make room', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 20_000 } });
    const other = await withQueues(world, 'a');
    const peer = await world.client();
    await peer.send(consume('a', 'c'));
    peer.socket.stopReading();
    for (let i = 0; i < 10; i++) await other.send(publish(1, '', 'a', Buffer.alloc(10_000)));
    const { unackedCount } = world.queue('a');
    expect(unackedCount).toBeGreaterThan(0);
    await peer.send(ack(unackedCount, true));
    expect(world.queue('a').unackedCount).toBe(0);
    expect(peer.connection.gate.isOpen).toBe(true);
  });

  it('loses nothing when it goes away with deliveries on their way', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 20_000 } });
    const other = await withQueues(world, 'a');
    const peer = await world.client();
    await peer.send(consume('a', 'c'));
    peer.socket.stopReading();
    for (let i = 0; i < 50; i++) await other.send(publish(1, '', 'a', Buffer.alloc(1_000)));
    await peer.break();
    expect(world.queue('a').messageCount).toBe(50);
    expect(world.queue('a').unackedCount).toBe(0);
  });

  it('gives its memory back to the pool when it has read', async () => {
    const world = await openWorld();
    const other = await withQueues(world, 'a');
    const peer = await world.client();
    await peer.send(consume('a', 'c', true));
    const given: Buffer[] = [];
    const give = world.pool.give.bind(world.pool);
    world.pool.give = (memory) => {
      given.push(memory);
      give(memory);
    };
    peer.socket.stopReading();
    for (let i = 0; i < 100; i++) other.push(publish(1, '', 'a', Buffer.alloc(2_000)));
    await world.settle();
    given.length = 0;
    peer.socket.goOnReading();
    await world.settle();
    expect(given.filter(({ length }) => length === world.pool.chunkBytes).length).toBeGreaterThan(2);
    expect(new Set(given).size).toBe(given.length);
  });
});

describe('a message that is larger than what one turn sends', () => {
  const content = Buffer.from(Uint8Array.from({ length: 7_000_000 }, (_, i) => (i * 7) >>> 3));

  /** Octets of its publish, in frames that anybody takes. */
  function publishing(): Buffer {
    const parts = [method(1, 'basic.publish', { routingKey: 'a' }), header(1, content.length)];
    for (let at = 0; at < content.length; at += 4_000) parts.push(body(1, content.subarray(at, at + 4_000)));
    return Buffer.concat(parts);
  }

  /** Sizes of the writes to this client's socket. */
  function writesTo(peer: Peer): number[] {
    const sizes: number[] = [];
    const { socket } = peer;
    const write = socket._write.bind(socket);
    socket._write = (chunk, encoding, done) => {
      sizes.push(chunk.length);
      write(chunk, encoding, done);
    };
    const writev = socket._writev.bind(socket);
    socket._writev = (chunks, done) => {
      sizes.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0));
      writev(chunks, done);
    };
    return sizes;
  }

  // With the second one a body is a single frame.
  it.each([131_072, 16_000_000])(
    'goes out in shares, whole and in order: frames of up to %i',
    async (frameMax) => {
      const world = await openWorld({ amqp: { frameMax } });
      const other = await withQueues(world, 'a');
      const peer = await world.client({ frameMax });
      await peer.send(consume('a', 'c', true));
      const sizes = writesTo(peer);
      await other.send(publishing(), publish(1, '', 'a', Buffer.from('next')));
      await peer.send(method(1, 'queue.declare', { queue: 'a', passive: true }));
      const frames = peer.frames();
      const bodies = frames.filter(({ type }) => type === 3).map(({ payload }) => payload);
      expect(bodies.pop()!.toString()).toBe('next');
      expect(Buffer.concat(bodies).equals(content)).toBe(true);
      expect(frames.at(-1)!.name).toBe('queue.declare-ok');
      expect(sizes.length).toBeGreaterThanOrEqual(4);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(TURN_SEND_BYTES);
    },
  );

  it('leaves a turn to others between its shares', async () => {
    const world = await openWorld();
    const other = await withQueues(world, 'a', 'quiet');
    const [peer, quiet] = [await world.client(), await world.client()];
    await peer.send(consume('a', 'c', true));
    await quiet.send(consume('quiet', 'c', true));
    quiet.frames();
    peer.frames();
    other.push(publishing(), publish(1, '', 'quiet', Buffer.from('hello')));
    while (quiet.names().length === 0) {
      await world.wait(2);
      world.turn();
    }
    const arrived = peer.socket.arrived.reduce((sum, { length }) => sum + length, 0);
    expect(arrived).toBeLessThan(content.length);
    await world.settle();
  });

  it('waits for the client to take a share before it is given the next', async () => {
    const world = await openWorld();
    const other = await withQueues(world, 'a');
    const peer = await world.client();
    await peer.send(consume('a', 'c', true));
    peer.frames();
    peer.socket.stopReading();
    await other.send(publishing(), publish(1, '', 'a', Buffer.from('next')));
    expect(peer.socket.writableLength).toBeLessThanOrEqual(TURN_SEND_BYTES);
    // Deliveries wait meanwhile.
    expect(world.queue('a').messageCount).toBe(1);
    peer.socket.goOnReading();
    await world.settle();
    const bodies = peer.frames().filter(({ type }) => type === 3);
    expect(Buffer.concat(bodies.map(({ payload }) => payload)).length).toBe(content.length + 4);
  });

  it('arrives whole in front of the close-ok when the client asks for the end meanwhile', async () => {
    const world = await openWorld();
    const other = await withQueues(world, 'a');
    const peer = await world.client();
    await peer.send(consume('a', 'c', true));
    peer.frames();
    other.push(publishing());
    while (peer.socket.arrived.length === 0) {
      await world.wait(2);
      world.turn();
    }
    peer.push(connectionClose());
    peer.socket.push(null);
    await world.settle();
    const frames = peer.frames();
    const bodies = frames.filter(({ type }) => type === 3).map(({ payload }) => payload);
    expect(Buffer.concat(bodies).equals(content)).toBe(true);
    expect(frames.at(-1)!.name).toBe('connection.close-ok');
    expect(peer.socket.endedByUs).toBe(true);
  });
});

describe('a client that asks without reading the answers', () => {
  const asking: Readonly<Record<string, Buffer>> = {
    'queue.declare': method(1, 'queue.declare', { queue: 'a' }),
    'basic.get of an empty queue': method(1, 'basic.get', { queue: 'empty' }),
    'mandatory publishes': publish(1, '', 'nowhere', Buffer.alloc(200), {}, { mandatory: true }),
    'channel.open and close': Buffer.concat([
      method(2, 'channel.open'),
      method(2, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 }),
    ]),
  };
  it.each(Object.keys(asking))('is not read from while too many wait, and then goes on: %s', async (what) => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 50_000 } });
    const peer = await withQueues(world, 'a', 'empty');
    peer.socket.stopReading();
    const piece = asking[what]!;
    const each = Math.ceil(10_000 / piece.length);
    let sent = 0;
    for (let i = 0; i < 100; i++) {
      await peer.send(Buffer.concat(Array.from({ length: each }, () => piece)));
      sent += each;
    }
    expect(peer.connection.gate.has('output')).toBe(true);
    expect(peer.socket.writableLength).toBeLessThan(250_000);
    peer.socket.goOnReading();
    await world.settle();
    const answers = peer.frames().filter(({ type }) => type === 1);
    expect(answers.length).toBe(what.startsWith('channel') ? 2 * sent : sent);
    expect(peer.connection.gate.isOpen).toBe(true);
  });

  it('gets no more than a turn can bear, however much one chunk asks for', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 200_000 } });
    const peer = await withQueues(world, 'a');
    for (let i = 0; i < 100; i++) peer.push(publish(1, '', 'a', Buffer.alloc(100_000)));
    await world.settle();
    let largest = 0;
    const { output } = peer.connection;
    const flush = output.flush.bind(output);
    output.flush = () => {
      largest = Math.max(largest, output.writer.pendingBytes);
      return flush();
    };
    await peer.send(
      Buffer.concat(Array.from({ length: 100 }, () => method(1, 'basic.get', { queue: 'a', noAck: true }))),
    );
    expect(peer.frames().filter(({ name }) => name === 'basic.get-ok').length).toBe(100);
    expect(largest).toBeLessThan(400_000);
  });

  it('that reads confirms now and then is not stopped by deliveries', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 20_000 } });
    const peer = await withQueues(world, 'a');
    await peer.send(consume('a', 'c', true), method(1, 'confirm.select'));
    peer.socket.stopReading();
    for (let i = 0; i < 100; i++) await peer.send(publish(1, '', 'a', Buffer.alloc(2_000)));
    expect(peer.connection.gate.isOpen).toBe(true);
    peer.socket.goOnReading();
    await world.settle();
    const frames = peer.frames();
    expect(frames.filter(({ name }) => name === 'basic.deliver').length).toBe(100);
    expect(frames.filter(({ name }) => name === 'basic.ack').at(-1)!.fields['deliveryTag']).toBe(100);
  });
});

describe('deliveries of a consumer that is cancelled', () => {
  it('end with the cancel-ok, although it was parked', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    await peer.send(qos(1, false), consume('a', 'c'), publish(1, '', 'a', 'x'), publish(1, '', 'a', 'y'));
    await peer.send(method(1, 'basic.cancel', { consumerTag: 'c' }));
    peer.frames();
    await peer.send(ack(1));
    expect(peer.frames()).toEqual([]);
    expect(world.queue('a').messageCount).toBe(1);
  });

  it('end with the cancel-ok for direct replies that were on their way', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'rpc');
    await peer.send(
      method(1, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true }),
      publish(1, '', 'rpc', 'ask', { replyTo: 'amq.rabbitmq.reply-to' }),
    );
    const server = await world.client();
    await server.send(method(1, 'basic.get', { queue: 'rpc', noAck: true }));
    const replyTo = String(server.frames().find(({ type }) => type === 2)!.fields['replyTo']);
    peer.frames();
    // In one turn: the reply comes, and then the requester loses interest.
    server.push(publish(1, '', replyTo, 'answer'));
    peer.push(method(1, 'basic.cancel', { consumerTag: 'r' }));
    await world.settle();
    expect(peer.names()).toEqual(['basic.cancel-ok']);
  });

  it('end with channel.close for direct replies that were on their way', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'rpc');
    await peer.send(
      method(1, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true }),
      publish(1, '', 'rpc', 'ask', { replyTo: 'amq.rabbitmq.reply-to' }),
    );
    const server = await world.client();
    await server.send(method(1, 'basic.get', { queue: 'rpc', noAck: true }));
    const replyTo = String(server.frames().find(({ type }) => type === 2)!.fields['replyTo']);
    peer.frames();
    server.push(publish(1, '', replyTo, 'answer'));
    peer.push(method(1, 'queue.declare', { queue: 'none', passive: true }));
    await world.settle();
    expect(peer.names()).toEqual(['channel.close']);
    expect(world.node.replies.size).toBe(0);
  });

  it('for direct replies go on after the socket was full', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 20_000 } });
    const peer = await withQueues(world, 'rpc');
    await peer.send(
      method(1, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true }),
      publish(1, '', 'rpc', 'ask', { replyTo: 'amq.rabbitmq.reply-to' }),
    );
    const server = await world.client();
    await server.send(method(1, 'basic.get', { queue: 'rpc', noAck: true }));
    const replyTo = String(server.frames().find(({ type }) => type === 2)!.fields['replyTo']);
    peer.frames();
    peer.socket.stopReading();
    for (let i = 0; i < 20; i++) await server.send(publish(1, '', replyTo, Buffer.alloc(5_000)));
    peer.socket.goOnReading();
    await world.settle();
    expect(deliveries(peer).length).toBe(20);
  });
});

describe('an alarm', () => {
  const blocked = (frames: readonly Seen[]): string[] =>
    frames.map(({ name }) => name).filter((name) => name.endsWith('blocked'));

  it('stops a publisher at the first frame of its content, and lets it go on where it was', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    world.node.alarms.set('memory', true);
    await peer.send(method(1, 'basic.publish', { routingKey: 'a' }), header(1, 6));
    expect(blocked(peer.frames())).toEqual(['connection.blocked']);
    await peer.send(body(1, 'abc'));
    await peer.send(body(1, 'def'));
    expect(world.queue('a').messageCount).toBe(0);
    world.node.alarms.set('memory', false);
    await world.settle();
    expect(blocked(peer.frames())).toEqual(['connection.unblocked']);
    expect(world.queue('a').messageCount).toBe(1);
  });

  it('lets a publisher send one message, whatever stands in the same chunk behind it', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    world.node.alarms.set('disk', true);
    await peer.send(...Array.from({ length: 5 }, () => publish(1, '', 'a', 'x')), method(1, 'basic.qos'));
    expect(peer.names()).toEqual(['connection.blocked']);
    expect(world.queue('a').messageCount).toBe(1);
    world.node.alarms.set('disk', false);
    await world.settle();
    // The next publish comes when there is no alarm any more.
    expect(peer.names()).toEqual(['connection.unblocked', 'basic.qos-ok']);
    expect(world.queue('a').messageCount).toBe(5);
  });

  it('that comes and goes while nobody publishes is told to nobody', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    world.node.alarms.set('memory', true);
    world.node.alarms.set('memory', false);
    await peer.send(publish(1, '', 'a', 'x'));
    expect(blocked(peer.frames())).toEqual([]);
  });

  it('is told once, though a second one follows and the first one goes', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    world.node.alarms.set('memory', true);
    await peer.send(publish(1, '', 'a', 'x'));
    world.node.alarms.set('disk', true);
    world.node.alarms.set('memory', false);
    await world.settle();
    expect(blocked(peer.frames())).toEqual(['connection.blocked']);
    world.node.alarms.set('disk', false);
    await world.settle();
    expect(blocked(peer.frames())).toEqual(['connection.unblocked']);
  });

  it('is not told to a client that does not know of it, which is stopped all the same', async () => {
    const world = await openWorld();
    const peer = await world.client({ capabilities: {} });
    await peer.send(method(1, 'queue.declare', { queue: 'a' }));
    world.node.alarms.set('memory', true);
    await peer.send(publish(1, '', 'a', 'x'));
    await peer.send(publish(1, '', 'a', 'y'));
    expect(blocked(peer.frames())).toEqual([]);
    expect(world.queue('a').messageCount).toBe(1);
    world.node.alarms.set('memory', false);
    await world.settle();
    expect(world.queue('a').messageCount).toBe(2);
  });

  it('does not stop consumers: they drain the queue while it is on', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    const consumer = await world.client();
    await peer.send(publish(1, '', 'a', 'x'));
    world.node.alarms.set('memory', true);
    await consumer.send(consume('a', 'c'));
    await consumer.send(ack(1));
    expect(world.queue('a').unackedCount).toBe(0);
  });

  it('with the pressure of the store: both have to go before reading goes on', async () => {
    const world = await openWorld();
    const peer = await withQueues(world, 'a');
    await peer.send(publish(1, '', 'a', 'x'));
    world.node.storeListener.pressure(true);
    world.node.alarms.set('memory', true);
    await world.settle();
    await peer.send(publish(1, '', 'a', 'y'));
    expect(world.queue('a').messageCount).toBe(1);
    world.node.alarms.set('memory', false);
    await world.settle();
    expect(world.queue('a').messageCount).toBe(1);
    world.node.storeListener.pressure(false);
    await world.settle();
    expect(world.queue('a').messageCount).toBe(2);
  });
});

describe('heartbeats', () => {
  it('are sent while the client is blocked, and its silence is not held against it', async () => {
    const world = await openWorld();
    const peer = await world.client({ heartbeat: 2 });
    await peer.send(method(1, 'queue.declare', { queue: 'a' }));
    world.node.alarms.set('memory', true);
    await peer.send(publish(1, '', 'a', 'x'));
    peer.frames();
    await world.pass(20_000);
    expect(peer.socket.destroyed).toBe(false);
    expect(peer.names().filter((name) => name === 'heartbeat').length).toBeGreaterThan(8);
    world.node.alarms.set('memory', false);
    await world.pass(20_000);
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });

  it('end a client that is silent for two intervals, but not one that sends a byte in each', async () => {
    const world = await openWorld();
    const silent = await world.client({ heartbeat: 2 });
    const slow = await world.client({ heartbeat: 2 });
    const octets = publish(1, '', 'a', 'x');
    for (let i = 0; i < 6; i++) {
      await slow.send(octets.subarray(i, i + 1));
      await world.pass(1_500);
    }
    expect(silent.socket.destroyed).toBe(true);
    expect(slow.socket.destroyed).toBe(false);
  });

  it('are not sent while there is something else to say', async () => {
    const world = await openWorld();
    const peer = await world.client({ heartbeat: 2 });
    for (let i = 0; i < 20; i++) {
      await peer.send(method(1, 'basic.qos'));
      await world.pass(500);
    }
    expect(peer.names().filter((name) => name === 'heartbeat')).toEqual([]);
  });
});

describe('the share of a turn', () => {
  it('is what a client may send before another one has its turn', async () => {
    const world = await openWorld({ amqp: { turnReadBytes: 10_000 } });
    const greedy = await withQueues(world, 'a');
    const modest = await world.client();
    for (let i = 0; i < 100; i++) greedy.push(publish(1, '', 'a', Buffer.alloc(5_000)));
    modest.push(publish(1, '', 'a', 'modest'));
    await world.wait(3);
    expect(world.queue('a').messageCount).toBeLessThan(10);
    await world.settle();
    expect(world.queue('a').messageCount).toBe(101);
    expect(greedy.connection.gate.isOpen).toBe(true);
  });
});

describe('contents that are announced and never come', () => {
  it('cost next to nothing, however large and however many', async () => {
    const world = await openWorld();
    const channels = Array.from({ length: 1000 }, (_, i) => i + 1);
    const peer = await world.client({ channels });
    const before = process.memoryUsage().arrayBuffers;
    for (const channel of channels) {
      peer.push(
        method(channel, 'basic.publish', { routingKey: 'a' }),
        rawHeader(channel, { bodySize: 16 * 1024 * 1024 }),
        body(channel, 'a little'),
      );
    }
    await world.settle();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 1024 * 1024);
    await peer.break();
    expect(world.leftovers()).toEqual([]);
  });
});

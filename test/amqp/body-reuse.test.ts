// Memory of large contents is used again: never while anybody can still read the content. The tests attack that from every side on which
// a content outlives its acknowledgement, and look whether any client ever sees octets of another message.

import { describe, expect, it } from 'vitest';
import { Random } from '../../conformance/support/random.ts';
import {
  body,
  type Fields,
  header,
  method,
  openSlowWorld,
  openWorld,
  type Peer,
  type World,
} from './world.ts';

const consume = (queue: string, noAck = false) =>
  method(1, 'basic.consume', { queue, consumerTag: queue, noAck });
const ack = (deliveryTag: number, multiple = false) => method(1, 'basic.ack', { deliveryTag, multiple });

/** The content of message `id`: every four octets say whose they are. */
function contentOf(id: number, length: number): Buffer {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(id);
  return Buffer.alloc(length, mark);
}

/** Octets of a publish in as many frames as it takes. */
function publishing(id: number, length: number, routingKey = 'a', exchange = '', more: Fields = {}): Buffer {
  const content = contentOf(id, length);
  const parts = [
    method(1, 'basic.publish', { exchange, routingKey, ...more }),
    header(1, length, { messageId: String(id) }),
  ];
  for (let at = 0; at < length; at += 131_064) parts.push(body(1, content.subarray(at, at + 131_064)));
  return Buffer.concat(parts);
}

/** Of clients: the content that is arriving, by its id, and the octets of it that came and that are to come. */
const arriving = new WeakMap<Peer, { id: number; came: number; left: number }>();

/** Ids of the contents that ended since the last look; throws when one is not what was published under its id. */
function received(peer: Peer): number[] {
  const ids: number[] = [];
  for (const { type, fields, payload } of peer.frames()) {
    if (type === 2)
      arriving.set(peer, { id: Number(fields['messageId']), came: 0, left: payload.readUInt32BE(8) });
    else if (type === 3) {
      const content = arriving.get(peer)!;
      const end = content.came + payload.length;
      if (!payload.equals(contentOf(content.id, end).subarray(content.came)))
        throw new Error(`message ${content.id} has other octets`);
      content.came = end;
      content.left -= payload.length;
      if (content.left === 0) ids.push(content.id);
    }
  }
  return ids;
}

async function withQueues(world: World, ...names: readonly string[]): Promise<Peer> {
  const peer = await world.client();
  await peer.send(...names.map((queue) => method(1, 'queue.declare', { queue, durable: true })));
  await peer.send(method(1, 'queue.declare', { queue: 'others' }));
  peer.frames();
  return peer;
}

let nextOther = 1_000_000;

/** Other messages come and go, and take all memory that can be had. */
async function others(world: World, length: number): Promise<void> {
  const client = await world.client();
  await client.send(consume('others', true));
  for (let i = 0; i < 3; i++) await client.send(publishing(nextOther++, length, 'others'));
  expect(received(client).length).toBe(3);
  await client.send(method(1, 'basic.cancel', { consumerTag: 'others' }));
  // And some that stay.
  for (let i = 0; i < 3; i++) await client.send(publishing(nextOther++, length, 'others'));
  await client.break();
  await (await world.client()).send(method(1, 'queue.purge', { queue: 'others' }));
}

// One frame that comes whole; several frames.
describe.each([100_000, 500_000])('the memory of a message of %i octets', (length) => {
  it('is used again once its consumer has acknowledged it', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    const consumer = await world.client();
    await consumer.send(consume('a'));
    for (let id = 1; id < 5; id++) {
      await producer.send(publishing(id, length));
      expect(world.node.bodies.idleBytes).toBe(0);
      expect(received(consumer)).toEqual([id]);
      await consumer.send(ack(id));
      expect(world.node.bodies.idleBytes).toBeGreaterThanOrEqual(length);
      expect(world.node.bodies.idleBytes).toBeLessThan(length + 20_000);
    }
  });

  it('is used again once it went to a consumer that acknowledges nothing', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    const consumer = await world.client();
    await consumer.send(consume('a', true));
    await producer.send(publishing(1, length));
    expect(received(consumer)).toEqual([1]);
    expect(world.node.bodies.idleBytes).toBeGreaterThanOrEqual(length);
  });

  it('stays with what a slow socket has not taken, whoever has acknowledged it', async () => {
    const world = await openWorld({ amqp: { outgoingBytesMax: 10_000_000 } });
    const producer = await withQueues(world, 'a');
    for (const noAck of [false, true]) {
      const slow = await world.client();
      await slow.send(consume('a', noAck));
      slow.frames();
      slow.socket.stopReading();
      await producer.send(publishing(1, length), publishing(2, length));
      // It knows the tags without having read them.
      if (!noAck) await slow.send(ack(2, true));
      expect(world.queue('a').unackedCount).toBe(0);
      await others(world, length);
      slow.socket.goOnReading();
      await world.settle();
      expect(received(slow)).toEqual([1, 2]);
      await slow.break();
    }
  });

  it('stays when several queues have the message', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a', 'b');
    for (const queue of ['a', 'b'])
      await producer.send(method(1, 'queue.bind', { queue, exchange: 'amq.fanout' }));
    const consumer = await world.client();
    await consumer.send(consume('a'));
    await producer.send(publishing(1, length, '', 'amq.fanout'));
    expect(received(consumer)).toEqual([1]);
    await consumer.send(ack(1));
    await others(world, length);
    await consumer.send(consume('b'));
    expect(received(consumer)).toEqual([1]);
  });

  it('stays with a message that goes back to its queue, and is used again after that', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    const [first, second] = [await world.client(), await world.client()];
    await first.send(consume('a'));
    await producer.send(publishing(1, length));
    await first.send(method(1, 'basic.cancel', { consumerTag: 'a' }));
    await first.send(method(1, 'basic.nack', { deliveryTag: 1, requeue: true }));
    await others(world, length);
    const before = world.node.bodies.idleBytes;
    await second.send(consume('a'));
    expect(received(second)).toEqual([1]);
    await second.send(ack(1));
    expect(world.node.bodies.idleBytes).toBeGreaterThan(before);
  });

  it('stays when a connection is cut in the middle of its delivery', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    const slow = await world.client();
    await slow.send(consume('a'));
    slow.frames();
    slow.socket.stopReading();
    await producer.send(publishing(1, length));
    await slow.break();
    const consumer = await world.client();
    await consumer.send(consume('a'));
    expect(received(consumer)).toEqual([1]);
    await consumer.send(ack(1));
    await others(world, length);
    // What the broken socket was given it may have still: it was not taken.
    slow.socket.goOnReading();
    received(slow);
    expect(arriving.get(slow)!.id).toBe(1);
  });

  it('stays with a message that was asked for, whose answer may wait', async () => {
    const { world, store } = await openSlowWorld();
    const producer = await withQueues(world, 'a');
    await producer.send(publishing(1, length));
    store.engine.hold();
    // The declare is answered when it is on disk, the get behind it.
    const client = await world.client();
    await client.send(method(1, 'queue.declare', { queue: 'new', durable: true }));
    await client.send(method(1, 'basic.get', { queue: 'a', noAck: false }));
    await client.send(ack(1));
    await others(world, length);
    store.engine.release();
    await world.settle();
    await world.settle();
    const seen = received(client);
    if (seen.length !== 0) expect(seen).toEqual([1]);
  });

  it.each([true, false])('stays with what was got, no-ack %s', async (noAck) => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    await producer.send(publishing(1, length));
    const client = await world.client();
    client.socket.stopReading();
    await client.send(method(1, 'basic.get', { queue: 'a', noAck }));
    if (!noAck) await client.send(ack(1));
    await others(world, length);
    client.socket.goOnReading();
    await world.settle();
    expect(received(client)).toEqual([1]);
  });

  it('stays with what a transaction has not committed', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    await producer.send(method(1, 'tx.select'));
    await producer.send(publishing(1, length), publishing(2, length));
    await others(world, length);
    await producer.send(method(1, 'tx.commit'));
    const consumer = await world.client();
    await consumer.send(method(1, 'tx.select'), consume('a'));
    expect(received(consumer)).toEqual([1, 2]);
    await consumer.send(ack(2, true));
    await others(world, length);
    await consumer.send(method(1, 'tx.rollback'));
    await consumer.break();
    const last = await world.client();
    await last.send(consume('a'));
    expect(received(last)).toEqual([1, 2]);
  });

  it('stays with a dead letter', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'dead');
    const args = {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
      'x-max-length': 1,
    };
    await producer.send(method(1, 'queue.declare', { queue: 'a', arguments: args }));
    // One is dropped for want of room, one is rejected.
    await producer.send(publishing(1, length), publishing(2, length));
    await others(world, length);
    const consumer = await world.client();
    await consumer.send(consume('a'));
    expect(received(consumer)).toEqual([2]);
    await consumer.send(method(1, 'basic.reject', { deliveryTag: 1, requeue: false }));
    await others(world, length);
    await consumer.send(consume('dead'));
    expect(received(consumer)).toEqual([1, 2]);
  });

  it('stays with an exchange that remembers messages', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a', 'b');
    await producer.send(method(1, 'exchange.declare', { exchange: 'h', type: 'x-recent-history' }));
    await producer.send(method(1, 'queue.bind', { queue: 'a', exchange: 'h' }));
    const consumer = await world.client();
    await consumer.send(consume('a'));
    await producer.send(publishing(1, length, '', 'h'));
    expect(received(consumer)).toEqual([1]);
    await consumer.send(ack(1));
    await others(world, length);
    await producer.send(method(1, 'queue.bind', { queue: 'b', exchange: 'h' }));
    await consumer.send(consume('b'));
    expect(received(consumer)).toEqual([1]);
  });

  it('stays with a message that is returned', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    producer.socket.stopReading();
    await producer.send(publishing(1, length, 'nowhere', '', { mandatory: true }));
    await others(world, length);
    producer.socket.goOnReading();
    await world.settle();
    expect(received(producer)).toEqual([1]);
  });

  it('stays with who looks into the queue', async () => {
    const world = await openWorld();
    const producer = await withQueues(world, 'a');
    const consumer = await world.client();
    await consumer.send(consume('a'));
    await producer.send(publishing(1, length));
    const seen: Buffer[] = [];
    const contents = world.queue('a').contents();
    const states = new Set(['ready', 'unacked'] as const);
    contents.walk(
      { after: null, states, bounds: null },
      ({ message }) => {
        seen.push(message.body());
        return true;
      },
      () => {},
    );
    await world.settle();
    await consumer.send(ack(1));
    await others(world, length);
    expect(seen.length).toBe(1);
    expect(seen[0]!.equals(contentOf(1, length))).toBe(true);
  });

  it('is free while the message is only in the store, and the store has it all', async () => {
    const world = await openWorld({ node: { queueMemoryBytes: 65_536 } });
    const producer = await withQueues(world, 'a');
    for (let id = 1; id < 6; id++) {
      await producer.send(publishing(id, length));
      // The head comes back to memory at once.
      if (id > 1) expect(world.node.bodies.idleBytes).toBeGreaterThan(0);
    }
    const consumer = await world.client();
    await consumer.send(consume('a'));
    expect(received(consumer)).toEqual([1, 2, 3, 4, 5]);
    // What was read back is used again too.
    const { idleBytes } = world.node.bodies;
    await consumer.send(ack(2));
    expect(world.node.bodies.idleBytes).toBeGreaterThan(idleBytes);
    await others(world, length);
    await consumer.send(method(1, 'basic.recover', { requeue: true }));
    expect(received(consumer)).toEqual([1, 3, 4, 5]);
  });

  it('may be used again while the commit that writes the message is under way', async () => {
    const { world, store } = await openSlowWorld({ node: { queueMemoryBytes: 65_536 } });
    const producer = await withQueues(world, 'a');
    store.engine.hold();
    await producer.send(publishing(1, length), publishing(2, length), publishing(3, length));
    await world.wait();
    const client = await world.client();
    for (let i = 0; i < 3; i++) await client.send(publishing(nextOther++, length, 'others'));
    store.engine.release();
    await world.settle();
    const consumer = await world.client();
    await consumer.send(consume('a'));
    for (let i = 0; i < 10; i++) await world.settle();
    expect(received(consumer)).toEqual([1, 2, 3]);
  });
});

describe('a message that goes out in shares', () => {
  it('keeps its memory until the last of them is taken', async () => {
    const world = await openWorld({ amqp: { frameMax: 16_000_000 } });
    const producer = await withQueues(world, 'a');
    const slow = await world.client({ frameMax: 16_000_000 });
    await slow.send(consume('a', true));
    slow.frames();
    slow.socket.stopReading();
    await producer.send(publishing(1, 5_000_000));
    await others(world, 5_000_000);
    const before = world.node.bodies.idleBytes;
    slow.socket.goOnReading();
    await world.settle();
    expect(received(slow)).toEqual([1]);
    expect(world.node.bodies.idleBytes).toBeGreaterThan(before);
  });
});

describe('many clients that send, stop reading, go back and break', () => {
  it.each([1, 2, 3, 4, 5, 6])('never see octets of another message (seed %i)', async (seed) => {
    const random = new Random(seed);
    const world = await openWorld({ amqp: { outgoingBytesMax: 400_000 } });
    const queues = ['a', 'b', 'c'];
    const setup = await withQueues(world, ...queues);
    for (const queue of ['a', 'b'])
      await setup.send(method(1, 'queue.bind', { queue, exchange: 'amq.fanout' }));
    let id = 1;
    let seen = 0;
    const live: Peer[] = [];
    for (let step = 0; step < 250; step++) {
      if (live.length < 4) {
        const peer = await world.client({ frameMax: random.chance(0.5) ? 131_072 : 40_000 });
        await peer.send(method(1, 'basic.qos', { prefetchCount: random.below(5), global: false }));
        live.push(peer);
      }
      const at = random.below(live.length);
      const peer = live[at]!;
      const queue = random.pick(queues);
      switch (random.below(10)) {
        case 0:
          await peer.send(consumeAs(queue, `t${step}`, random.chance(0.3)));
          break;
        case 1:
        case 2:
        case 3:
          await setup.send(publishing(id++, 20_000 + random.below(280_000), queue));
          break;
        case 4:
          await setup.send(publishing(id++, 20_000 + random.below(280_000), '', 'amq.fanout'));
          break;
        case 5:
          peer.socket.stopReading();
          break;
        case 6:
          peer.socket.goOnReading();
          break;
        case 7:
          // Everything it holds, read or not; nothing when it holds nothing.
          await peer.send(ack(0, true));
          break;
        case 8:
          await peer.send(method(1, 'basic.nack', { deliveryTag: 0, multiple: true, requeue: true }));
          break;
        default:
          if (random.chance(0.3)) {
            await peer.break();
            peer.socket.goOnReading();
            live.splice(at, 1);
          } else await peer.send(method(1, 'basic.get', { queue, noAck: random.chance(0.5) }));
      }
      seen += received(peer).length;
      await world.settle();
    }
    for (const peer of live) {
      peer.socket.goOnReading();
      await world.settle();
      seen += received(peer).length;
    }
    expect(seen).toBeGreaterThan(20);
    expect(world.lines('error')).toEqual([]);
    expect(world.node.bodies.idleBytes).toBeGreaterThan(0);
  });
});

const consumeAs = (queue: string, consumerTag: string, noAck: boolean) =>
  method(1, 'basic.consume', { queue, consumerTag, noAck });

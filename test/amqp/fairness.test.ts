// How much of others' work stands between a client that asks little and its answer. Counted in messages and bytes, not in time: turns are run
// by hand.

import { describe, expect, it } from 'vitest';
import { QUICK_READ_BYTES } from '../../src/amqp/input.ts';
import { QUICK_SEND_BYTES } from '../../src/amqp/output.ts';
import { QUICK_TURNS } from '../../src/base/turn.ts';
import { QUICK_DELIVERIES } from '../../src/queue/classic-queue.ts';
import { body, header, method, openWorld, type Peer, publish, type World } from './world.ts';

const BODY = Buffer.alloc(100, 'x');
const ONE = publish(1, '', 'much', BODY);
/** As much as the system hands over at once, or a little less. */
const CHUNK = Buffer.concat(Array.from({ length: Math.floor(65_536 / ONE.length) }, () => ONE));

const consume = (queue: string) => method(1, 'basic.consume', { queue, noAck: true });
const published = (world: World) => world.queue('much').counters.published;
const deliveries = (peer: Peer) => peer.names().filter((name) => name === 'basic.deliver').length;

/** Somebody who does much, and somebody who asks little: a message at a time, through a queue of its own. */
async function two(): Promise<{ world: World; greedy: Peer; modest: Peer }> {
  const world = await openWorld();
  const [greedy, modest] = [await world.client(), await world.client()];
  await greedy.send(method(1, 'queue.declare', { queue: 'much' }));
  await modest.send(method(1, 'queue.declare', { queue: 'little' }), consume('little'));
  // Long ago: what was asked until now does not count any more.
  for (let i = 0; i < 2 * QUICK_TURNS; i++) world.node.turn.run();
  modest.frames();
  return { world, greedy, modest };
}

/** One event-loop iteration: what the sockets have, then the turn. */
async function iterate(world: World): Promise<void> {
  await world.wait(2);
  world.turn();
}

describe('a client that asks little', () => {
  it('waits for no more than a small share of what a publisher sends without end', async () => {
    const { world, greedy, modest } = await two();
    const shareMax = Math.ceil(QUICK_READ_BYTES / ONE.length) + 1;
    modest.push(publish(1, '', 'little', 'first'));
    await iterate(world);
    for (let i = 0; i < 20; i++) greedy.push(CHUNK);
    // What had been read already is one share; from now on the stream stands still while some of a chunk is left.
    await iterate(world);
    modest.frames();
    for (let i = 0; i < 40; i++) {
      const before = published(world);
      modest.push(publish(1, '', 'little', 'x'));
      await iterate(world);
      expect(deliveries(modest)).toBe(1);
      expect(published(world) - before).toBeLessThanOrEqual(2 * shareMax);
    }
    await world.settle();
    expect(published(world)).toBe((20 * CHUNK.length) / ONE.length);
    expect(greedy.connection.gate.isOpen).toBe(true);
  });

  it('makes nobody slow when it is gone', async () => {
    const { world, greedy, modest } = await two();
    await modest.send(publish(1, '', 'little', 'x'));
    expect(world.node.turn.isQuick).toBe(true);
    for (let i = 0; i < QUICK_TURNS; i++) world.node.turn.run();
    expect(world.node.turn.isQuick).toBe(false);
    greedy.push(CHUNK);
    await iterate(world);
    expect(published(world)).toBe(CHUNK.length / ONE.length);
    expect(world.node.turn.isQuick).toBe(false);
  });

  it('is not whoever only acknowledges', async () => {
    const { world, modest } = await two();
    await modest.send(method(1, 'basic.ack', { deliveryTag: 0, multiple: true }));
    expect(world.node.turn.isQuick).toBe(false);
  });

  it('waits for few deliveries of a queue that is being drained', async () => {
    const { world, greedy, modest } = await two();
    const count = 5_000;
    for (let sent = 0; sent < count; sent += 100) await greedy.send(Buffer.concat(Array(100).fill(ONE)));
    greedy.push(consume('much'));
    await world.wait(2);
    let seen = 0;
    for (let i = 0; seen < count; i++) {
      expect(i).toBeLessThan(1_000);
      modest.push(publish(1, '', 'little', 'x'));
      await iterate(world);
      expect(deliveries(modest)).toBe(1);
      const came = deliveries(greedy);
      seen += came;
      if (i > 0) expect(came).toBeLessThanOrEqual(QUICK_DELIVERIES);
    }
  });

  it('waits for little of a large message on its way out', async () => {
    const { world, greedy, modest } = await two();
    const parts = [method(1, 'basic.publish', { routingKey: 'much' }), header(1, 3_000_000)];
    for (let i = 0; i < 30; i++) parts.push(body(1, Buffer.alloc(100_000)));
    await greedy.send(...parts);
    modest.push(publish(1, '', 'little', 'x'));
    await iterate(world);
    greedy.push(consume('much'));
    let before = greedy.connection.output.bytesTaken;
    for (let i = 0; greedy.connection.output.bytesTaken < 3_000_000; i++) {
      expect(i).toBeLessThan(1_000);
      modest.push(publish(1, '', 'little', 'x'));
      await iterate(world);
      const taken = greedy.connection.output.bytesTaken;
      expect(taken - before).toBeLessThanOrEqual(QUICK_SEND_BYTES + 1_000);
      before = taken;
    }
  });
});

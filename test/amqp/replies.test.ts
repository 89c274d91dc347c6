// Replies that wait: for the disk, for a message that has to be fetched, behind each other; and what becomes of them when the channel
// or the connection ends meanwhile.

import { expect, it } from 'vitest';
import {
  body,
  channelClose,
  header,
  method,
  openSlowWorld,
  openWorld,
  type Peer,
  publish,
  type World,
} from './world.ts';

const durable = (queue: string) => method(1, 'queue.declare', { queue, durable: true });

/** A durable queue whose messages are only in the store. */
async function coldQueue(world: World, peer: Peer, count: number): Promise<void> {
  await peer.send(durable('cold'));
  for (let i = 0; i < count; i++)
    peer.push(publish(1, '', 'cold', Buffer.alloc(40_000, `m${i} `), { deliveryMode: 2 }));
  await world.settle();
  peer.frames();
  expect(world.queue('cold').pagedOutCount).toBeGreaterThan(0);
}

/** A world whose queues keep next to nothing in memory. */
const COLD = { node: { queueMemoryBytes: 64 * 1024 } };

it('answers in the order of the requests when the first has to wait for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'queue.declare', { queue: 'b' }), method(1, 'basic.qos'));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'queue.declare-ok', 'basic.qos-ok']);
});

it('a channel that waits for the disk does not hold up another one', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client({ channels: [1, 2] });
  store.engine.hold();
  await peer.send(durable('a'), method(2, 'basic.qos'));
  expect(peer.names()).toEqual(['basic.qos-ok@2']);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok']);
});

it('a delivery never comes before the consume-ok that waits for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  await peer.send(method(1, 'queue.declare', { queue: 'q' }), publish(1, '', 'q', 'one'));
  peer.frames();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'basic.consume', { queue: 'q', consumerTag: 'c', noAck: true }));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'basic.consume-ok', 'basic.deliver', 'header', 'body']);
});

it('a confirm never comes before the confirm.select-ok that waits for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'confirm.select'), publish(1, '', 'nowhere', 'x'));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'confirm.select-ok', 'basic.ack']);
});

it('close-ok comes behind the replies that wait for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), channelClose(1));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'channel.close-ok']);
  expect(world.node.limits.channels).toBe(0);
});

it('a channel number is used anew while the old replies still wait for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), channelClose(1), method(1, 'channel.open'), method(1, 'basic.qos'));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'channel.close-ok', 'channel.open-ok', 'basic.qos-ok']);
  expect(world.node.limits.channels).toBe(1);
  await peer.send(channelClose(1));
  expect(peer.names()).toEqual(['channel.close-ok']);
  expect(world.node.limits.channels).toBe(0);
});

it('channels closed and opened again and again while the disk is slow are counted right', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  const expected: string[] = [];
  for (let i = 0; i < 20; i++) {
    await peer.send(durable(`q${i}`), channelClose(1), method(1, 'channel.open'));
    expected.push('queue.declare-ok', 'channel.close-ok', 'channel.open-ok');
  }
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(expected);
  expect(world.node.limits.channels).toBe(1);
});

it('an error on a channel comes behind the replies that wait for the disk', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'queue.declare', { queue: 'none', passive: true }));
  expect(peer.names()).toEqual([]);
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok', 'channel.close']);
});

it('a connection that ends while replies wait for the disk is gone without a trace', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  await peer.send(durable('a'), durable('b'), channelClose(1));
  await peer.break();
  expect(world.node.connections.size).toBe(0);
  expect(world.node.limits.channels).toBe(0);
  store.engine.release();
  await world.settle();
  expect(world.logged.filter(({ level }) => level === 'error')).toEqual([]);
});

it('stops reading from a client with very many replies waiting, and goes on when they are out', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  store.engine.hold();
  for (let i = 0; i < 2_000; i++) peer.push(method(1, 'queue.declare', { queue: `q${i}`, durable: true }));
  await world.settle();
  const taken = world.vhost.queues.size;
  expect(taken).toBeGreaterThan(0);
  expect(taken).toBeLessThan(1_100);
  store.engine.release();
  await world.settle();
  expect(peer.names().length).toBe(2_000);
});

it('counts the replies that wait on all channels of a connection together', async () => {
  const { world, store } = await openSlowWorld();
  const channels = Array.from({ length: 100 }, (_, i) => i + 1);
  const peer = await world.client({ channels });
  store.engine.hold();
  for (let i = 0; i < 100; i++)
    for (const channel of channels)
      peer.push(method(channel, 'queue.declare', { queue: `q${channel}-${i}`, durable: true }));
  await world.settle();
  expect(world.vhost.queues.size).toBeLessThan(1_100);
  store.engine.release();
  await world.settle();
  expect(peer.names().length).toBe(10_000);
});

it('reads on when the channel whose replies filled the line is gone', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client({ channels: [1, 2] });
  store.engine.hold();
  const many = Array.from({ length: 300 }, (_, i) => durable(`q${i}`));
  // An error closes the channel; the close-ok that the client is quick to send ends it before its line is out.
  await peer.send(
    ...many,
    method(1, 'queue.declare', { queue: 'none', passive: true }),
    method(1, 'channel.close-ok'),
  );
  await peer.send(method(2, 'basic.qos'));
  store.engine.release();
  await world.settle();
  expect(peer.names()).toContain('basic.qos-ok@2');
});

it('basic.get waits for a message that is only in the store, and later replies wait for it', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client();
  await coldQueue(world, peer, 10);
  // Everything that is in memory is taken first.
  await peer.send(
    ...Array.from({ length: 10 }, () => method(1, 'basic.get', { queue: 'cold', noAck: true })),
  );
  await peer.send(method(1, 'basic.qos'));
  const names = peer.names().filter((name) => name.startsWith('basic.'));
  expect(names).toEqual([...Array.from({ length: 10 }, () => 'basic.get-ok'), 'basic.qos-ok']);
});

it('several basic.get in one go take the messages in their order', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client();
  await coldQueue(world, peer, 30);
  peer.push(...Array.from({ length: 15 }, () => method(1, 'basic.get', { queue: 'cold' })));
  // One more chunk for every turn, so that some ask while others wait.
  for (let i = 0; i < 15; i++) {
    peer.push(method(1, 'basic.get', { queue: 'cold' }));
    await world.wait(1);
    world.turn();
  }
  await world.settle();
  const frames = peer.frames();
  const tags = frames
    .filter(({ name }) => name === 'basic.get-ok')
    .map(({ fields }) => fields['deliveryTag']);
  expect(tags).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  const bodies = frames
    .filter(({ name }) => name === 'body')
    .map(({ payload }) => payload.toString('latin1', 0, 3));
  expect(bodies.map((text) => text.trim())).toEqual(Array.from({ length: 30 }, (_, i) => `m${i}`));
});

it('delivery tags rise on the wire, also when a get-ok has to wait while a consumer is served', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  await peer.send(
    method(1, 'queue.declare', { queue: 'q' }),
    method(1, 'queue.declare', { queue: 'p' }),
    method(1, 'basic.consume', { queue: 'q' }),
    publish(1, '', 'p', 'of p'),
  );
  peer.frames();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'basic.get', { queue: 'p' }), publish(1, '', 'q', 'of q'));
  store.engine.release();
  await world.settle();
  const tagged = peer.frames().filter(({ fields }) => 'deliveryTag' in fields);
  expect(tagged.map(({ name, fields }) => [name, fields['deliveryTag']])).toEqual([
    ['basic.deliver', 1],
    ['basic.get-ok', 2],
  ]);
});

it('a channel closes although its basic.get still waits for the store', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client();
  await coldQueue(world, peer, 10);
  await peer.send(
    ...Array.from({ length: 8 }, () => method(1, 'basic.get', { queue: 'cold', noAck: true })),
    channelClose(1),
  );
  expect(peer.names().at(-1)).toBe('channel.close-ok');
  expect(world.node.limits.channels).toBe(0);
});

it('an error is told although a basic.get of the channel still waits for the store', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client();
  await coldQueue(world, peer, 10);
  await peer.send(
    ...Array.from({ length: 8 }, () => method(1, 'basic.get', { queue: 'cold', noAck: true })),
    method(1, 'queue.declare', { queue: 'none', passive: true }),
  );
  expect(peer.names().at(-1)).toBe('channel.close');
});

it('basic.get of a queue that is deleted meanwhile is answered', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client({ channels: [1, 2] });
  await coldQueue(world, peer, 10);
  await peer.send(
    ...Array.from({ length: 8 }, () => method(1, 'basic.get', { queue: 'cold', noAck: true })),
    method(2, 'queue.delete', { queue: 'cold' }),
    method(1, 'basic.qos'),
  );
  const names = peer.names();
  expect(names).toContain('queue.delete-ok@2');
  expect(names.filter((name) => !name.endsWith('@2')).at(-1)).toBe('basic.qos-ok');
  expect(names.filter((name) => name.startsWith('basic.get-')).length).toBe(8);
});

it('many basic.get that wait for the store do not pile up without bound', async () => {
  const world = await openWorld(COLD);
  const peer = await world.client();
  await coldQueue(world, peer, 10);
  for (let i = 0; i < 100; i++)
    peer.push(Buffer.concat(Array.from({ length: 100 }, () => method(1, 'basic.get', { queue: 'cold' }))));
  await world.settle();
  const names = peer.names().filter((name) => name.startsWith('basic.get-'));
  expect(names.length).toBe(10_000);
  expect(names.filter((name) => name === 'basic.get-ok').length).toBe(10);
});

it('content that comes while replies wait is not disturbed', async () => {
  const { world, store } = await openSlowWorld();
  const peer = await world.client();
  await peer.send(method(1, 'queue.declare', { queue: 'q' }));
  peer.frames();
  store.engine.hold();
  await peer.send(durable('a'), method(1, 'basic.publish', { routingKey: 'q' }), header(1, 3));
  store.engine.release();
  await world.settle();
  expect(peer.names()).toEqual(['queue.declare-ok']);
  await peer.send(body(1, 'abc'));
  expect(world.queue('q').messageCount).toBe(1);
});

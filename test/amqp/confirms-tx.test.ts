// Confirms and transactions on a disk that takes its time: what is told when, and what becomes of it when the channel ends first.

import { describe, expect, it } from 'vitest';
import { Confirms } from '../../src/amqp/confirms.ts';
import { ChunkPool, FrameWriter } from '../../src/protocol/frame-writer.ts';
import { SeededRandom } from '../support/faulty-engine.ts';
import { channelClose, method, openSlowWorld, openWorld, publish } from './world.ts';

const PERSISTENT = { deliveryMode: 2 };
const durable = method(1, 'queue.declare', { queue: 'q', durable: true });

describe('a confirm', () => {
  it('of a persistent message comes when it is on disk, and not before', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    store.engine.hold();
    await peer.send(publish(1, '', 'q', 'x', PERSISTENT));
    expect(peer.frames()).toEqual([]);
    store.engine.release();
    await world.settle();
    expect(peer.frames().map(({ name, fields }) => [name, fields['deliveryTag']])).toEqual([
      ['basic.ack', 1],
    ]);
  });

  it('of a transient message waits for the persistent one before it', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    store.engine.hold();
    await peer.send(publish(1, '', 'q', 'x', PERSISTENT), publish(1, '', 'q', 'y'));
    expect(peer.frames()).toEqual([]);
    store.engine.release();
    await world.settle();
    const [ack] = peer.frames();
    expect(ack!.fields).toMatchObject({ deliveryTag: 2, multiple: true });
  });

  it('comes behind the return of its message, whatever turn they fall into', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    store.engine.hold();
    await peer.send(
      publish(1, '', 'q', 'x', PERSISTENT),
      publish(1, '', 'nowhere', 'back', {}, { mandatory: true }),
    );
    store.engine.release();
    await world.settle();
    expect(peer.names()).toEqual(['basic.return', 'header', 'body', 'basic.ack']);
    await peer.send(publish(1, '', 'nowhere', 'back', {}, { mandatory: true }));
    expect(peer.names()).toEqual(['basic.return', 'header', 'body', 'basic.ack']);
  });

  it('that is known is told before the close-ok, one that is not is not told at all', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    await peer.send(
      publish(1, '', 'q', 'transient'),
      channelClose(1),
      method(1, 'channel.open'),
      method(1, 'confirm.select'),
    );
    expect(peer.names()).toEqual(['basic.ack', 'channel.close-ok', 'channel.open-ok', 'confirm.select-ok']);
    store.engine.hold();
    await peer.send(publish(1, '', 'q', 'x', PERSISTENT), channelClose(1), method(1, 'channel.open'));
    store.engine.release();
    await world.settle();
    expect(peer.names()).toEqual(['channel.close-ok', 'channel.open-ok']);
  });

  it('is never told on a channel that an error has closed', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    store.engine.hold();
    await peer.send(
      publish(1, '', 'q', 'x', PERSISTENT),
      publish(1, 'none', 'q', 'y'),
      publish(1, '', 'q', 'z'),
    );
    store.engine.release();
    await world.settle();
    expect(peer.names()).toEqual(['channel.close']);
    expect(world.queue('q').messageCount).toBe(1);
  });

  it('waits for nobody when the connection is gone, and what was published stays', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    store.engine.hold();
    await peer.send(publish(1, '', 'q', 'x', PERSISTENT));
    await peer.break();
    store.engine.release();
    await world.settle();
    expect(world.leftovers()).toEqual([]);
    expect(world.queue('q').messageCount).toBe(1);
  });

  it('is never told when the store is lost', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'confirm.select'));
    peer.frames();
    store.engine.failNext(new Error('the disk is full'));
    await peer.send(publish(1, '', 'q', 'x', PERSISTENT));
    await peer.send(publish(1, '', 'q', 'y', PERSISTENT));
    expect(peer.frames()).toEqual([]);
    expect(world.node.lost).toBe(true);
  });

  it('answers refusals and acceptances of one turn in order, each once', async () => {
    const world = await openWorld();
    const peer = await world.client();
    await peer.send(
      method(1, 'queue.declare', {
        queue: 'full',
        arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
      }),
      method(1, 'queue.declare', { queue: 'free' }),
      method(1, 'confirm.select'),
    );
    peer.frames();
    const targets = ['full', 'free', 'full', 'full', 'free', 'free', 'free', 'full'];
    await peer.send(...targets.map((queue) => publish(1, '', queue, 'x')));
    expect(
      peer.frames().map(({ name, fields }) => [name, fields['deliveryTag'], fields['multiple']]),
    ).toEqual([
      ['basic.ack', 2, true],
      ['basic.nack', 3, false],
      ['basic.nack', 4, false],
      ['basic.ack', 7, true],
      ['basic.nack', 8, false],
    ]);
  });
});

describe('the ledger of confirms', () => {
  it('tells every publish once and as it was, in rising order, whatever happens in between', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new SeededRandom(seed);
      const confirms = new Confirms();
      confirms.begin();
      const expected: string[] = [];
      const needs: number[] = [];
      const told: string[] = [];
      let ticket = 1;
      let durableUpTo = 0;
      const flush = (): void => {
        const w = new FrameWriter(new ChunkPool());
        confirms.write(w, 1);
        const octets = Buffer.concat(w.detach().map(({ buffer, length }) => buffer.subarray(0, length)));
        for (let at = 0; at < octets.length; ) {
          const size = octets.readUInt32BE(at + 3);
          const id = octets.readUInt32BE(at + 7);
          const tag = Number(octets.readBigUInt64BE(at + 11));
          const isAck = id === 0x003c0050;
          const multiple = (octets[at + 19]! & 1) !== 0;
          const from = multiple ? told.length + 1 : tag;
          expect(from, `seed ${seed}`).toBe(told.length + 1);
          for (let n = from; n <= tag; n++) told.push(isAck ? 'ack' : 'nack');
          at += size + 8;
        }
        // Nothing is told before it is on disk.
        for (let n = 0; n < told.length; n++) expect(needs[n]! <= durableUpTo, `seed ${seed}`).toBe(true);
      };
      for (let step = 0; step < 60; step++) {
        switch (random.below(6)) {
          case 0:
          case 1:
            confirms.accept();
            expected.push('ack');
            needs.push(0);
            break;
          case 2:
            confirms.acceptAt(ticket);
            expected.push('ack');
            needs.push(ticket);
            break;
          case 3:
            confirms.refuse();
            expected.push('nack');
            needs.push(0);
            break;
          case 4:
            durableUpTo = ticket++;
            confirms.committed(durableUpTo);
            break;
          case 5:
            flush();
        }
      }
      confirms.committed(ticket);
      durableUpTo = ticket;
      flush();
      expect(told, `seed ${seed}`).toEqual(expected);
      expect(confirms.unconfirmed).toBe(0);
    }
  });
});

describe('a transaction', () => {
  it('answers its commit when it is on disk, and lets nothing but a close come before', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client({ channels: [1, 2, 3] });
    const begin = (channel: number) => [
      method(channel, 'queue.declare', { queue: 'q', durable: true }),
      method(channel, 'tx.select'),
      publish(channel, '', 'q', 'x', PERSISTENT),
    ];
    await peer.send(...begin(1), ...begin(2));
    peer.frames();
    store.engine.hold();
    await peer.send(method(1, 'tx.commit'));
    await peer.send(method(2, 'tx.commit'), channelClose(2));
    expect(peer.frames()).toEqual([]);
    // RabbitMQ: whatever comes while a commit is on its way ends the connection.
    await peer.send(publish(1, '', 'q', 'y', PERSISTENT));
    const [close] = peer.frames();
    expect(close!.fields).toMatchObject({
      replyCode: 504,
      replyText: "CHANNEL_ERROR - unexpected command while processing 'tx.commit'",
      classId: 60,
      methodId: 40,
    });
    store.engine.release();
    await world.settle();
    expect(peer.frames()).toEqual([]);
    expect(world.queue('q').messageCount).toBe(2);
  });

  it('that is committed and closed in one go is answered in that order', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'tx.select'), publish(1, '', 'q', 'x', PERSISTENT));
    peer.frames();
    store.engine.hold();
    await peer.send(method(1, 'tx.commit'), channelClose(1));
    store.engine.release();
    await world.settle();
    expect(peer.names()).toEqual(['tx.commit-ok', 'channel.close-ok']);
    expect(world.queue('q').messageCount).toBe(1);
  });

  it('goes on after its commit', async () => {
    const { world } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(durable, method(1, 'tx.select'));
    for (let i = 0; i < 3; i++) {
      await peer.send(publish(1, '', 'q', 'x', PERSISTENT), method(1, 'tx.commit'));
      expect(peer.names().at(-1)).toBe('tx.commit-ok');
    }
    expect(world.queue('q').messageCount).toBe(3);
  });

  it('is undone when the connection ends: publishes are forgotten, deliveries go back', async () => {
    const { world } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(
      durable,
      publish(1, '', 'q', 'x', PERSISTENT),
      method(1, 'tx.select'),
      publish(1, '', 'q', 'y', PERSISTENT),
      method(1, 'basic.get', { queue: 'q' }),
    );
    await peer.send(method(1, 'basic.ack', { deliveryTag: 1 }));
    expect(world.queue('q').unackedCount).toBe(1);
    await peer.break();
    expect(world.queue('q').messageCount).toBe(1);
    expect(world.leftovers()).toEqual([]);
  });

  it('whose connection is lost while it is committed is kept whole', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    await peer.send(
      durable,
      method(1, 'tx.select'),
      publish(1, '', 'q', 'x', PERSISTENT),
      publish(1, '', 'q', 'y', PERSISTENT),
    );
    store.engine.hold();
    await peer.send(method(1, 'tx.commit'));
    await peer.break();
    store.engine.release();
    await world.settle();
    expect(world.queue('q').messageCount).toBe(2);
    expect(world.leftovers()).toEqual([]);
    expect(world.lines('error')).toEqual([]);
  });

  it('drops what was for a queue that is deleted before the commit', async () => {
    const { world } = await openSlowWorld();
    const peer = await world.client({ channels: [1, 2] });
    await peer.send(
      durable,
      method(1, 'queue.declare', { queue: 'other', durable: true }),
      method(1, 'queue.bind', { queue: 'q', exchange: 'amq.fanout' }),
      method(1, 'queue.bind', { queue: 'other', exchange: 'amq.fanout' }),
      method(1, 'tx.select'),
      publish(1, '', 'q', 'only for q', PERSISTENT),
      publish(1, 'amq.fanout', '', 'for both', PERSISTENT),
    );
    await peer.send(method(2, 'queue.delete', { queue: 'q' }));
    const { used } = world.node.memory;
    const { liveEntries } = world.node.shard.stats();
    peer.frames();
    await peer.send(method(1, 'tx.commit'));
    expect(peer.names()).toEqual(['tx.commit-ok']);
    expect(world.queue('other').messageCount).toBe(1);
    // Nothing of the deleted queue is in memory or in the store.
    await peer.send(method(1, 'queue.purge', { queue: 'other' }));
    expect(world.node.memory.used).toBe(used);
    expect(world.node.shard.stats().liveEntries).toBe(liveEntries);
  });

  it('reaches the queue of that name when the one it was published to was deleted and declared anew', async () => {
    const { world } = await openSlowWorld();
    const peer = await world.client({ channels: [1, 2] });
    await peer.send(durable, method(1, 'tx.select'), publish(1, '', 'q', 'for the old one', PERSISTENT));
    await peer.send(
      method(2, 'queue.delete', { queue: 'q' }),
      method(2, 'queue.declare', { queue: 'q', durable: true }),
    );
    await peer.send(method(1, 'tx.commit'));
    expect(world.queue('q').messageCount).toBe(1);
  });

  it('fills a queue that refuses: the channel is closed, what had room is there', async () => {
    const world = await openWorld();
    const peer = await world.client();
    await peer.send(
      method(1, 'queue.declare', {
        queue: 'full',
        arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
      }),
      method(1, 'tx.select'),
      publish(1, '', 'full', 'x'),
      publish(1, '', 'full', 'y'),
      method(1, 'tx.commit'),
    );
    const close = peer.frames().at(-1)!;
    expect(close.fields).toMatchObject({
      replyCode: 406,
      replyText: 'PRECONDITION_FAILED - partial tx completion',
    });
    expect(world.queue('full').messageCount).toBe(1);
  });
});

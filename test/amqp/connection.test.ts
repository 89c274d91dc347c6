// The life of a connection: every way to begin and every way to end, and that nothing is left of it afterwards.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  body,
  channelClose,
  connectionClose,
  type Fields,
  frame,
  header,
  heartbeat,
  method,
  openSlowWorld,
  openWorld,
  type Peer,
  PROTOCOL_HEADER,
  publish,
  rawMethod,
  startOk,
  type World,
} from './world.ts';

const START_OK = startOk(Buffer.from('\0guest\0guest'));
const TUNE_OK = method(0, 'connection.tune-ok', { channelMax: 2047, frameMax: 131_072, heartbeat: 0 });
const OPEN = method(0, 'connection.open', { virtualHost: '/' });
const CLOSE_OK = method(0, 'connection.close-ok');

/** A client that has come so far, and no further. */
const stages: Readonly<Record<string, (world: World) => Promise<Peer>>> = {
  header: async (world) => world.connect(),
  'half a header': async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER.subarray(0, 4));
    return peer;
  },
  starting: async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER);
    return peer;
  },
  'securing, the password is being checked': async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER);
    world.node.login.withPassword = () => new Promise(() => {});
    await peer.send(START_OK);
    expect(peer.connection.state).toBe('securing');
    return peer;
  },
  tuning: async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, START_OK);
    return peer;
  },
  opening: async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, START_OK, TUNE_OK);
    return peer;
  },
  running: (world) => world.client(),
  'running, in the middle of a content': async (world) => {
    const peer = await world.client();
    await peer.send(method(1, 'basic.publish', { routingKey: 'q' }), header(1, 100), body(1, 'x'));
    return peer;
  },
  'running, with everything a connection can hold': async (world) => {
    const peer = await world.client({ channels: [1, 2, 3], heartbeat: 10 });
    await peer.send(
      method(1, 'queue.declare', { queue: 'q' }),
      method(1, 'queue.declare', { queue: 'mine', exclusive: true }),
      method(1, 'queue.declare', { queue: 'auto', autoDelete: true }),
      publish(1, '', 'q', 'one'),
      publish(1, '', 'q', 'two'),
      method(1, 'basic.get', { queue: 'q' }),
      method(1, 'basic.qos', { prefetchCount: 1, global: true }),
      method(1, 'basic.consume', { queue: 'q', consumerTag: 'a' }),
      method(1, 'basic.consume', { queue: 'auto', consumerTag: 'b' }),
      method(1, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true }),
      method(2, 'confirm.select'),
      publish(2, '', 'q', 'three', { deliveryMode: 2 }),
      method(3, 'tx.select'),
      publish(3, '', 'q', 'four'),
    );
    return peer;
  },
  'closing, waiting for close-ok': async (world) => {
    const peer = await world.client();
    await peer.send(rawMethod(0, 10, 10));
    expect(peer.connection.state).toBe('closing');
    return peer;
  },
  'ending, after our close-ok': async (world) => {
    const peer = await world.client();
    await peer.send(connectionClose());
    expect(peer.connection.state).toBe('ending');
    return peer;
  },
  'ending, let go without a word': async (world) => {
    const peer = world.connect();
    await peer.send(PROTOCOL_HEADER, CLOSE_OK);
    expect(peer.connection.state).toBe('ending');
    return peer;
  },
  'ending, of another protocol': async (world) => {
    const peer = world.connect();
    await peer.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(peer.connection.state).toBe('ending');
    return peer;
  },
};

/** Ways in which a connection can come to its end. */
const ends: Readonly<Record<string, (peer: Peer, world: World) => Promise<void>>> = {
  'the stream breaks': (peer) => peer.break(),
  'the stream breaks without an error': async (peer, world) => {
    peer.socket.destroy();
    await world.settle();
  },
  'the client ends its half of the stream': async (peer, world) => {
    await peer.half();
    // While a password is checked nothing is read, not even the end.
    await world.pass(11_000);
  },
  'the client ends its half and takes nothing more': async (peer, world) => {
    peer.socket.stopReading();
    await peer.half();
    await world.pass(60_000);
  },
  'the broker destroys it': async (peer, world) => {
    peer.connection.destroy();
    await world.settle();
  },
  'the broker closes it and the client says nothing': async (peer, world) => {
    peer.connection.close('connection-forced', 'shutdown');
    await world.pass(60_000);
  },
  'the broker closes it and the client answers': async (peer, world) => {
    peer.connection.close('connection-forced', 'shutdown');
    await peer.send(CLOSE_OK);
    peer.socket.push(null);
    await world.settle();
  },
  'the broker closes it twice': async (peer, world) => {
    peer.connection.close('connection-forced', 'shutdown');
    peer.connection.close('connection-forced', 'shutdown');
    await world.pass(60_000);
  },
  'nobody says anything any more, and the peer does not even close': async (peer, world) => {
    peer.connection.close('connection-forced', 'shutdown');
    peer.socket.stopReading();
    await world.pass(60_000);
  },
};

describe.each(Object.keys(stages))('a connection that is %s', (stage) => {
  it.each(Object.keys(ends))('leaves nothing behind when %s', async (end) => {
    const world = await openWorld();
    const peer = await stages[stage]!(world);
    await ends[end]!(peer, world);
    expect(peer.socket.destroyed).toBe(true);
    expect(peer.connection.state).toBe('closed');
    expect(world.leftovers()).toEqual([]);
    expect(world.lines('error')).toEqual([]);
    await peer.connection.gone;
  });
});

describe('a client that does not finish its handshake', () => {
  it.each([
    'header',
    'half a header',
    'starting',
    'securing, the password is being checked',
    'tuning',
    'opening',
  ])('is dropped after the time it has: %s', async (stage) => {
    const world = await openWorld();
    const peer = await stages[stage]!(world);
    await world.pass(9_000);
    expect(peer.socket.destroyed).toBe(false);
    await world.pass(2_000);
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });

  it('is dropped when it sends one byte of its header after the other', async () => {
    const world = await openWorld();
    const peer = world.connect();
    for (const octet of PROTOCOL_HEADER.subarray(0, 7)) {
      await peer.send(Buffer.from([octet]));
      await world.pass(2_000);
    }
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });
});

describe('a connection that is closed', () => {
  it('by its client frees exclusive queues and returns deliveries before close-ok', async () => {
    const world = await openWorld();
    const peer = await world.client();
    await peer.send(method(1, 'queue.declare', { queue: 'mine', exclusive: true }));
    peer.push(connectionClose());
    await world.wait(1);
    expect(world.vhost.queues.has('mine')).toBe(false);
    await world.settle();
    expect(peer.names()).toEqual(['queue.declare-ok', 'connection.close-ok']);
  });

  it('is told nothing behind its close: no delivery, confirm, unblocked or heartbeat', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client({ heartbeat: 1 });
    const other = await world.client();
    await peer.send(
      method(1, 'queue.declare', { queue: 'q', durable: true }),
      method(1, 'basic.consume', { queue: 'q', noAck: true }),
      method(1, 'confirm.select'),
    );
    store.engine.hold();
    world.node.alarms.set('memory', true);
    await peer.send(publish(1, '', 'q', 'x', { deliveryMode: 2 }));
    expect(peer.names()).toContain('connection.blocked');
    peer.connection.close('connection-forced', 'shutdown');
    await other.send(publish(1, '', 'q', 'y'));
    world.node.alarms.set('memory', false);
    store.engine.release();
    await world.pass(5_000);
    expect(peer.names().filter((name) => name !== 'heartbeat')).toEqual(['connection.close']);
    expect(peer.connection.state).toBe('closing');
  });

  it('answers a close that crossed its own, and ends at the close-ok', async () => {
    const world = await openWorld();
    const peer = await world.client();
    peer.connection.close('connection-forced', 'shutdown');
    await peer.send(connectionClose());
    expect(peer.names()).toEqual(['connection.close', 'connection.close-ok']);
    await peer.send(CLOSE_OK);
    expect(peer.socket.endedByUs).toBe(true);
  });

  it('answers a client that closes again and again but once', async () => {
    const world = await openWorld();
    const peer = await world.client();
    peer.connection.close('connection-forced', 'shutdown');
    for (let i = 0; i < 10; i++) await peer.send(connectionClose(), connectionClose());
    expect(peer.names()).toEqual(['connection.close', 'connection.close-ok']);
    const other = await world.client();
    for (let i = 0; i < 10; i++) await other.send(connectionClose(), connectionClose());
    expect(other.names()).toEqual(['connection.close-ok']);
  });

  it('reads the close-ok of a client that was not read from', async () => {
    const world = await openWorld();
    const peer = await world.client();
    await peer.send(method(1, 'queue.declare', { queue: 'q' }));
    world.node.alarms.set('memory', true);
    await peer.send(publish(1, '', 'q', 'x'));
    world.node.storeListener.pressure(true);
    await peer.send(publish(1, '', 'q', 'not read'));
    peer.frames();
    peer.connection.close('connection-forced', 'shutdown');
    // Comes on while the connection is closing: it must not stop the reading again.
    world.node.storeListener.pressure(false);
    world.node.storeListener.pressure(true);
    await peer.send(CLOSE_OK);
    expect(peer.names()).toEqual(['connection.close']);
    expect(peer.socket.endedByUs).toBe(true);
  });

  it('does not grow with what its client goes on sending', async () => {
    const world = await openWorld();
    const peer = await world.client();
    await peer.send(rawMethod(0, 10, 10));
    expect(peer.names()).toEqual(['connection.close']);
    for (let i = 0; i < 50; i++) await peer.send(publish(1, '', 'q', Buffer.alloc(10_000)), channelClose(1));
    expect(peer.names()).toEqual([]);
    expect(world.queue('q')).toBe(undefined);
  });

  it('drops a client that does not read, when the time to close is over', async () => {
    const world = await openWorld();
    const peer = await world.client();
    peer.socket.stopReading();
    peer.connection.close('connection-forced', 'shutdown');
    await world.pass(29_000);
    expect(peer.socket.destroyed).toBe(false);
    await world.pass(2_000);
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });
});

describe('a client that ends only its half of the stream', () => {
  it('still gets the answers to everything it said', async () => {
    const world = await openWorld();
    const peer = world.connect();
    peer.push(
      PROTOCOL_HEADER,
      START_OK,
      TUNE_OK,
      OPEN,
      method(1, 'channel.open'),
      method(1, 'queue.declare', { queue: 'q' }),
      method(1, 'confirm.select'),
      publish(1, '', 'q', 'x'),
    );
    peer.socket.push(null);
    await world.settle();
    expect(peer.names()).toEqual([
      'connection.start',
      'connection.tune',
      'connection.open-ok',
      'channel.open-ok',
      'queue.declare-ok',
      'confirm.select-ok',
      'basic.ack',
    ]);
    expect(peer.connection.state).toBe('closed');
    expect(world.queue('q').messageCount).toBe(1);
  });

  it('gets nothing delivered any more, so that no message is lost on it', async () => {
    const world = await openWorld();
    const other = await world.client();
    const peer = await world.client();
    await peer.send(
      method(1, 'queue.declare', { queue: 'q' }),
      method(1, 'basic.consume', { queue: 'q', noAck: true }),
    );
    // Something is on its way that the client does not take, so that the stream cannot end yet.
    peer.socket.stopReading();
    await peer.send(method(1, 'basic.qos'));
    await peer.half();
    await other.send(publish(1, '', 'q', 'one'), publish(1, '', 'q', 'two'));
    expect(world.queue('q').consumerCount).toBe(0);
    expect(world.queue('q').messageCount).toBe(2);
  });

  it('behind a good-bye and bytes that mean nothing, is let go at once', async () => {
    const world = await openWorld();
    const peer = await world.client();
    peer.push(connectionClose(), frame(8, 1, Buffer.alloc(0)), PROTOCOL_HEADER);
    await peer.half();
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });

  it('while it waits for the end of a password check, is let go', async () => {
    const world = await openWorld();
    const peer = await stages['securing, the password is being checked']!(world);
    peer.socket.push(null);
    // Its end is behind what is not read: the deadline of the handshake ends it.
    await world.pass(11_000);
    expect(world.leftovers()).toEqual([]);
  });
});

describe('a bug of ours', () => {
  it('in a method ends its connection with 541 and no other', async () => {
    const world = await openWorld();
    const peer = await world.client();
    const other = await world.client();
    world.vhost.declareQueue = () => {
      throw new TypeError('cannot read properties of null');
    };
    await peer.send(method(1, 'queue.declare', { queue: 'q' }));
    const [close] = peer.frames();
    expect(close!.name).toBe('connection.close');
    expect(close!.fields).toMatchObject({
      replyCode: 541,
      replyText: 'INTERNAL_ERROR',
      classId: 0,
      methodId: 0,
    });
    expect(world.lines('error').length).toBe(1);
    expect((await other.ask(1, 'basic.qos')).map(({ name }) => name)).toEqual(['basic.qos-ok']);
  });

  it('in the end of a channel does not keep the others from ending', async () => {
    const world = await openWorld();
    const peer = await world.client({ channels: [1, 2] });
    await peer.send(
      method(1, 'queue.declare', { queue: 'q' }),
      method(1, 'basic.consume', { queue: 'q', consumerTag: 'a' }),
      method(2, 'basic.consume', { queue: 'q', consumerTag: 'b' }),
      method(2, 'queue.declare', { queue: 'mine', exclusive: true }),
    );
    const queue = world.queue('q');
    const cancel = queue.cancel.bind(queue);
    queue.cancel = (consumer) => {
      cancel(consumer);
      if (consumer.tag === 'a') throw new TypeError('cannot read properties of null');
    };
    await peer.break();
    expect(world.leftovers()).toEqual([]);
    expect(world.lines('error').length).toBe(1);
  });

  it('while replies are written does not keep others from hearing of the commit', async () => {
    const { world, store } = await openSlowWorld();
    const peer = await world.client();
    const other = await world.client();
    store.engine.hold();
    await peer.send(method(1, 'queue.declare', { queue: 'a', durable: true }));
    await other.send(method(1, 'queue.declare', { queue: 'b', durable: true }));
    Object.defineProperty(peer.connection.writer, 'reserve', {
      value: () => {
        throw new TypeError('cannot read properties of null');
      },
    });
    store.engine.release();
    await world.settle();
    expect(other.names()).toEqual(['queue.declare-ok']);
    expect(peer.socket.destroyed).toBe(true);
    expect(world.node.connections.size).toBe(1);
  });

  it('in a flush drops the connection instead of leaving it deaf', async () => {
    const world = await openWorld();
    const peer = await world.client();
    peer.connection.output.flush = () => {
      throw new TypeError('cannot read properties of null');
    };
    await peer.send(method(1, 'basic.qos'));
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });
});

describe('whatever a client sends', () => {
  const fields: Fields = { queue: 'q', exchange: '', routingKey: 'q' };
  const pieces: readonly Buffer[] = [
    PROTOCOL_HEADER,
    START_OK,
    startOk(Buffer.from('\0guest\0wrong')),
    TUNE_OK,
    OPEN,
    CLOSE_OK,
    connectionClose(),
    heartbeat(),
    heartbeat(),
    method(0, 'connection.update-secret', { newSecret: Buffer.from('guest'), reason: '' }),
    method(0, 'connection.update-secret', { newSecret: Buffer.from('wrong'), reason: '' }),
    frame(8, 1, Buffer.alloc(0)),
    frame(1, 0, Buffer.alloc(2)),
    frame(9, 0, Buffer.alloc(2)),
    frame(1, 1, Buffer.alloc(4), 0x00),
    rawMethod(1, 60, 99),
    rawMethod(0, 60, 40),
    ...[1, 2].flatMap((channel) => [
      method(channel, 'channel.open'),
      method(channel, 'channel.open'),
      method(channel, 'channel.close-ok'),
      channelClose(channel),
      method(channel, 'queue.declare', { queue: 'q' }),
      method(channel, 'queue.declare', { queue: 'durable', durable: true }),
      method(channel, 'queue.declare', { queue: 'none', passive: true }),
      method(channel, 'queue.delete', { queue: 'q' }),
      method(channel, 'basic.consume', { ...fields }),
      method(channel, 'basic.consume', { ...fields, consumerTag: 'c', noAck: true }),
      method(channel, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true }),
      method(channel, 'basic.cancel', { consumerTag: 'c' }),
      method(channel, 'basic.cancel', { consumerTag: 'r' }),
      method(channel, 'basic.get', { queue: 'q' }),
      method(channel, 'basic.get', { queue: 'durable' }),
      method(channel, 'basic.ack', { deliveryTag: 0, multiple: true }),
      method(channel, 'basic.ack', { deliveryTag: 1 }),
      method(channel, 'basic.nack', { deliveryTag: 1, multiple: true }),
      method(channel, 'basic.reject', { deliveryTag: 2, requeue: false }),
      method(channel, 'basic.qos', { prefetchCount: 1, global: true }),
      method(channel, 'basic.qos', { prefetchCount: 1 }),
      method(channel, 'basic.recover', { requeue: true }),
      method(channel, 'confirm.select'),
      method(channel, 'tx.select'),
      method(channel, 'tx.commit'),
      method(channel, 'tx.rollback'),
      publish(channel, '', 'q', 'hello'),
      publish(channel, '', 'durable', 'hello', { deliveryMode: 2 }),
      publish(channel, '', 'nowhere', 'hello', {}, { mandatory: true }),
      publish(channel, '', 'q', 'x', { replyTo: 'amq.rabbitmq.reply-to' }),
      method(channel, 'basic.publish', { routingKey: 'q' }),
      header(channel, 5),
      body(channel, 'hello'),
    ]),
  ];
  const piece = fc.nat({ max: pieces.length - 1 });
  /** Most scripts begin like a client that knows what it does. */
  const opening = fc.constantFrom([], [0], [0, 1], [0, 1, 3], [0, 1, 3, 4, 17], [0, 1, 3, 4, 17, 50]);

  it('nothing is left of it, and nothing goes wrong inside', async () => {
    await fc.assert(
      fc.asyncProperty(
        opening,
        fc.array(piece, { maxLength: 30 }),
        fc.array(fc.nat({ max: 3000 }), { maxLength: 5 }),
        fc.constantFrom(...Object.keys(ends)),
        async (begin, rest, cuts, end) => {
          const { world } = await openSlowWorld();
          const peer = world.connect();
          const octets = Buffer.concat([...begin, ...rest].map((i) => pieces[i]!));
          const places = [0, ...cuts.filter((cut) => cut < octets.length), octets.length].sort(
            (a, b) => a - b,
          );
          for (let i = 1; i < places.length; i++) {
            if (places[i] === places[i - 1]) continue;
            peer.push(octets.subarray(places[i - 1]!, places[i]!));
            await world.wait(1);
            world.turn();
          }
          await world.settle();
          if (!peer.socket.destroyed) await ends[end]!(peer, world);
          expect(world.leftovers()).toEqual([]);
          expect(world.lines('error')).toEqual([]);
          await world.end();
        },
      ),
      { numRuns: Number(process.env['RUNS'] ?? 150) },
    );
  });
});

describe('very many connections', () => {
  it('that come and go leave nothing behind', async () => {
    const world = await openWorld();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const one = async (): Promise<void> => {
      const peers: Peer[] = [];
      for (let i = 0; i < 100; i++) {
        const peer = world.connect();
        peer.push(
          PROTOCOL_HEADER,
          START_OK,
          TUNE_OK,
          OPEN,
          method(1, 'channel.open'),
          method(1, 'queue.declare', { queue: `mine-${i}`, exclusive: true }),
          method(1, 'basic.consume', { queue: `mine-${i}` }),
        );
        peers.push(peer);
      }
      await world.settle();
      expect(world.node.limits.connections).toBe(100);
      for (const peer of peers) peer.socket.destroy();
      await world.settle();
      expect(world.leftovers()).toEqual([]);
    };
    for (let i = 0; i < 10; i++) await one();
    world.logged.length = 0;
    const before = heap();
    for (let i = 0; i < 90; i++) await one();
    world.logged.length = 0;
    // A leak of a kilobyte for each of the 9,000 would show.
    expect(heap() - before).toBeLessThan(8 * 1024 * 1024);
  });
});

// A broker inside a program: start, stop, several at once, what the options do, what is left afterwards.

import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import * as amqplib from 'amqplib';
import { afterEach, describe, expect, it } from 'vitest';
import {
  method,
  openRaw,
  PROTOCOL_HEADER,
  plainResponse,
  type RawClient,
  startOk,
} from '../../conformance/support/raw-client.ts';
import { Broker, FakeClock, ListenError, SettingsError, StoreError } from '../../src/index.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { Session, startBroker, temporaryFolder } from './support.ts';

const clients = new Set<RawClient>();
const sockets = new Set<Socket>();
afterEach(() => {
  for (const client of clients) client.destroy();
  clients.clear();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** An open AMQP connection whose every frame the test sees. */
async function open(broker: Broker): Promise<RawClient> {
  const client = await openRaw(broker.url);
  clients.add(client);
  return client;
}

/** A TCP connection on which nothing is said. */
function silentSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = tcpConnect(port, '127.0.0.1', () => resolve(socket));
    sockets.add(socket);
    socket.on('error', reject);
  });
}

/** Whether a port of this machine takes connections. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tcpConnect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

describe('a broker that is started', () => {
  it('takes a free port and says where it is', async () => {
    const broker = await startBroker();
    expect(broker.port).toBeGreaterThan(0);
    expect(broker.address).toBe(`amqp://127.0.0.1:${broker.port}`);
    expect(broker.url).toBe(`amqp://guest:guest@127.0.0.1:${broker.port}`);
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', 'hello');
    expect(await session.texts('q')).toEqual(['hello']);
  });

  it('tells a url with everything a client needs, whatever the names', async () => {
    const broker = await startBroker({
      defaultUser: 'a/b@c',
      defaultPassword: 'p:w?d',
      defaultVhost: 'my vhost/1',
    });
    expect(broker.url).toBe(`amqp://a%2Fb%40c:p%3Aw%3Fd@127.0.0.1:${broker.port}/my%20vhost%2F1`);
    const session = await Session.open(broker);
    await session.queue('q');
    await session.publish('q', 'hello');
    expect(await session.texts('q')).toEqual(['hello']);
  });

  it('makes the users and vhosts it is told to make', async () => {
    const broker = await startBroker({
      vhosts: ['tenant'],
      users: [
        {
          name: 'reader',
          password: 'secret',
          permissions: [{ vhost: 'tenant', configure: '^$', write: '^$', read: '.*' }],
        },
      ],
    });
    const session = await Session.open(broker, `amqp://reader:secret@127.0.0.1:${broker.port}/tenant`);
    await expect(session.channel.assertQueue('q')).rejects.toThrow(/ACCESS_REFUSED/);
    await expect(amqplib.connect(`amqp://reader:wrong@127.0.0.1:${broker.port}/tenant`)).rejects.toThrow();
    await expect(amqplib.connect(`amqp://reader:secret@127.0.0.1:${broker.port}`)).rejects.toThrow();
    await expect(amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port}/none`)).rejects.toThrow();
  });

  it('keeps users it knows already as they are', async () => {
    const dataDir = temporaryFolder();
    const user = (password: string) => ({
      name: 'alice',
      password,
      permissions: [{ vhost: '/', configure: '.*', write: '.*', read: '.*' }],
    });
    const first = await startBroker({ store: 'level', dataDir, users: [user('first')] });
    await first.stop();
    const second = await startBroker({ store: 'level', dataDir, users: [user('second')] });
    const url = (password: string) => `amqp://alice:${password}@127.0.0.1:${second.port}`;
    await Session.open(second, url('first'));
    await expect(amqplib.connect(url('second'))).rejects.toThrow();
  });

  it('is one of several in the same process that know nothing of each other', async () => {
    const [a, b] = [await startBroker(), await startBroker()];
    expect(a.port).not.toBe(b.port);
    const [ofA, ofB] = [await Session.open(a), await Session.open(b)];
    await ofA.queue('same');
    await ofB.queue('same');
    await ofA.publish('same', 'for a');
    await ofB.publish('same', 'for b');
    a.setAlarm('memory', true);
    await ofB.publish('same', 'b is not blocked');
    await ofA.close();
    await a.stop();
    expect(await ofB.texts('same')).toEqual(['for b', 'b is not blocked']);
  });
});

describe('a broker that cannot start', () => {
  it('says that its port is in use, and holds nothing', async () => {
    const dataDir = temporaryFolder();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    try {
      const starting = Broker.start({ port, store: 'level', dataDir });
      await expect(starting).rejects.toThrow(ListenError);
      await expect(starting).rejects.toThrow(`port ${port} on 127.0.0.1 is in use`);
    } finally {
      other.close();
    }
    // The folder is free again.
    await startBroker({ store: 'level', dataDir });
  });

  it('says which setting is wrong', async () => {
    await expect(Broker.start({ port: 70_000 })).rejects.toThrow(SettingsError);
    await expect(Broker.start({ store: 'memory', frameMax: 1 })).rejects.toThrow(/frameMax/);
  });

  it('says that another one uses its folder', async () => {
    const dataDir = temporaryFolder();
    await startBroker({ store: 'level', dataDir });
    await expect(Broker.start({ port: 0, store: 'level', dataDir })).rejects.toThrow(StoreError);
  });

  it('because its store fails while it starts, stops listening', async () => {
    const store = faultyStore();
    // The first batch holds the default user and vhost; it fails while the port is being opened.
    const open = store.open.bind(store);
    store.open = async (listener) => {
      const shard = await open(listener);
      store.engine.failNext(new Error('the disk is full'));
      return shard;
    };
    const outcome = await Broker.start({ port: 0, store }).then(
      (broker) => broker.stopped,
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(StoreError);
    expect((outcome as Error).message).toContain('the disk is full');
  });
});

describe('a stop', () => {
  it('tells clients why, and waits until they have answered', async () => {
    const broker = await startBroker();
    const client = await open(broker);
    let stopped = false;
    const stopping = broker.stop().then(() => {
      stopped = true;
    });
    const reason = await client.expectConnectionClose(false);
    expect(reason).toEqual({
      code: 320,
      text: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
      classId: 0,
      methodId: 0,
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).toBe(false);
    client.sendMethod(0, 'connection.close-ok');
    await client.closedWithin();
    await stopping;
    expect(await broker.stopped).toBe(null);
  });

  it('passes a reason of one’s own on', async () => {
    const broker = await startBroker();
    const client = await open(broker);
    const stopping = broker.stop('maintenance');
    const { text } = await client.expectConnectionClose();
    expect(text).toBe("CONNECTION_FORCED - broker forced connection closure with reason 'maintenance'");
    await stopping;
  });

  it('cuts clients off that do not answer in time', async () => {
    const broker = await startBroker({ stopGraceMs: 50 });
    const client = await open(broker);
    const reading = await open(broker);
    reading.pauseReading();
    await broker.stop();
    await client.expectConnectionClose(false);
    await client.closedWithin();
  });

  it('does not wait for clients that have not logged in', async () => {
    const broker = await startBroker({ stopGraceMs: 60_000 });
    const socket = await silentSocket(broker.port);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await broker.stop();
    await ended;
  });

  it('does not wait for clients that are blocked', async () => {
    const broker = await startBroker({ stopGraceMs: 60_000 });
    const session = await Session.open(broker);
    await session.queue('q');
    broker.setAlarm('memory', true);
    session.channel.sendToQueue('q', Buffer.from('x'));
    await new Promise((resolve) => session.connection.once('blocked', resolve));
    await broker.stop();
    await session.closed;
  });

  it('may be asked for more than once', async () => {
    const broker = await startBroker();
    await Promise.all([broker.stop(), broker.stop()]);
    await broker.stop();
    expect(await broker.stopped).toBe(null);
  });

  it('gives the port back, and a new broker may take it', async () => {
    const first = await startBroker({ stopGraceMs: 50 });
    await open(first);
    const { port } = first;
    await first.stop();
    expect(await listens(port)).toBe(false);
    const second = await startBroker({ port });
    expect(second.port).toBe(port);
    await open(second);
  });

  it('takes nobody in any more while it waits', async () => {
    const broker = await startBroker();
    const client = await open(broker);
    const stopping = broker.stop();
    await client.expectConnectionClose(false);
    expect(await listens(broker.port)).toBe(false);
    client.sendMethod(0, 'connection.close-ok');
    await stopping;
  });

  it('keeps what was confirmed', async () => {
    const dataDir = temporaryFolder();
    const first = await startBroker({ store: 'level', dataDir });
    const session = await Session.open(first);
    await session.queue('q');
    await session.publish('q', 'a', 'b');
    await first.stop();
    const second = await startBroker({ store: 'level', dataDir });
    expect(await (await Session.open(second)).texts('q')).toEqual(['a', 'b']);
  });

  it('leaves no timer, so that the program can end', async () => {
    const clock = new FakeClock();
    const broker = await startBroker({ clock, stopGraceMs: 50 });
    await open(broker);
    expect(clock.tickerCount).toBeGreaterThan(0);
    await broker.stop();
    expect(clock.tickerCount).toBe(0);
  });
});

describe('an alarm that a test sets', () => {
  it('blocks publishers until the test clears it', async () => {
    const clock = new FakeClock();
    const broker = await startBroker({ clock });
    const session = await Session.open(broker);
    await session.queue('q');
    const reasons: string[] = [];
    session.connection.on('blocked', (reason: string) => reasons.push(reason));
    const unblocked = new Promise((resolve) => session.connection.once('unblocked', resolve));
    broker.setAlarm('memory', true);
    session.channel.sendToQueue('q', Buffer.from('x'));
    session.channel.sendToQueue('q', Buffer.from('y'));
    const confirmed = session.channel.waitForConfirms();
    let isUnblocked = false;
    unblocked.then(() => {
      isUnblocked = true;
    });
    // Longer than the broker takes to look at its memory by itself.
    clock.advance(5_000);
    await (await Session.open(broker)).queue('round trip');
    expect(reasons).toEqual(['low on memory']);
    expect(isUnblocked).toBe(false);
    broker.setAlarm('memory', false);
    await unblocked;
    await confirmed;
    expect(await session.texts('q')).toEqual(['x', 'y']);
  });
});

describe('a broker that loses its store', () => {
  it('stops by itself, says so, and tells clients nothing that could be taken for a confirm', async () => {
    const store = faultyStore();
    const broker = await startBroker({ store });
    const client = await open(broker);
    await client.openChannel(1);
    await client.call(1, 'queue.declare', { queue: 'q', durable: true });
    await client.call(1, 'confirm.select');
    store.engine.failNext(new Error('the disk is gone'));
    client.sendMethod(1, 'queue.declare', { queue: 'p', durable: true });
    expect(await client.drainedWithin()).toEqual([]);
    const error = await broker.stopped;
    expect(error?.message).toContain('the disk is gone');
    expect(await listens(broker.port)).toBe(false);
    // A stop afterwards has nothing left to do.
    await broker.stop();
  });
});

describe('a client that ends its half of the TCP stream behind its last request', () => {
  it('gets every answer, and then the end', async () => {
    const broker = await startBroker();
    const socket = tcpConnect({ port: broker.port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.add(socket);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const ended = new Promise((resolve) => socket.once('end', resolve));
    socket.end(
      Buffer.concat([
        PROTOCOL_HEADER,
        startOk(plainResponse('guest', 'guest')),
        method(0, 'connection.tune-ok', { channelMax: 1, frameMax: 4096, heartbeat: 0 }),
        method(0, 'connection.open', { virtualHost: '/' }),
        method(1, 'channel.open'),
        method(1, 'queue.declare', { queue: 'the last answer' }),
      ]),
    );
    await ended;
    const octets = Buffer.concat(chunks);
    expect(octets.includes('the last answer')).toBe(true);
    // One that stays has the queue that the other one made.
    const session = await Session.open(broker);
    expect(await session.count('the last answer')).toBe(0);
  });
});

describe('a broker whose clients come and go', () => {
  it('holds nothing of those that are gone', async () => {
    const broker = await startBroker();
    const { node } = broker as unknown as {
      node: {
        connections: { size: number };
        limits: { connections: number; channels: number };
        wheel: { size: number };
      };
    };
    for (let round = 0; round < 5; round++) {
      const opened = await Promise.all(Array.from({ length: 40 }, () => open(broker)));
      await Promise.all(
        opened.map(async (client, i) => {
          await client.openChannel(1);
          await client.call(1, 'queue.declare', { queue: '', exclusive: true });
          // Some say good-bye, some end, some break.
          if (i % 3 === 0) await client.close();
          else client.destroy(i % 3 === 1);
        }),
      );
      for (let i = 0; i < 200 && node.connections.size !== 0; i++) await delay(5);
      expect([node.connections.size, node.limits.channels, node.limits.connections, node.wheel.size]).toEqual(
        [0, 0, 0, 0],
      );
    }
  });
});

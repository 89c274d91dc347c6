// What the listener promises to whoever takes its connections over, and the lines it has for people.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import {
  formatAddress,
  ListenError,
  type Listener,
  type ListenOptions,
  listen,
  type PeerFacts,
} from '../../src/net/listener.ts';
import { aimReads } from '../../src/net/read-buffer.ts';

const OPTIONS: ListenOptions = {
  host: '127.0.0.1',
  port: 0,
  backlog: 16,
  noDelay: true,
  keepAlive: true,
  tls: null,
};

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Handed {
  stream: Duplex;
  peer: PeerFacts;
}

/** A listener that collects what it hands over; `next()` waits for one. */
async function open(
  options: Partial<ListenOptions> = {},
): Promise<{ listener: Listener; handed: Handed[]; next(): Promise<Handed> }> {
  const handed: Handed[] = [];
  const waiting: ((handed: Handed) => void)[] = [];
  const listener = await listen({ ...OPTIONS, ...options }, (stream, peer) => {
    stream.on('error', () => {});
    cleanups.push(() => stream.destroy());
    handed.push({ stream, peer });
    waiting.shift()?.({ stream, peer });
  });
  cleanups.push(() => listener.close());
  return { listener, handed, next: () => new Promise((resolve) => waiting.push(resolve)) };
}

function dial(port: number, host = '127.0.0.1'): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host, noDelay: true }, () => resolve(socket));
    socket.on('error', reject);
    cleanups.push(() => socket.destroy());
  });
}

async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('listener', () => {
  it('takes any free port for port 0 and says which', async () => {
    const { listener } = await open();
    expect(listener.port).toBeGreaterThan(0);
    expect(listener.address).toBe('127.0.0.1');
  });

  it('hands over a stream of bytes in both directions, with the facts about both ends', async () => {
    const { listener, next } = await open();
    const handing = next();
    const client = await dial(listener.port);
    const { stream, peer } = await handing;
    expect(peer).toEqual({
      remoteAddress: '127.0.0.1',
      remotePort: client.localPort,
      localAddress: '127.0.0.1',
      localPort: listener.port,
      loopback: true,
      tls: null,
    });
    stream.on('data', (chunk: Buffer) => stream.write(chunk.toString().toUpperCase()));
    client.write('hare');
    const answer = await new Promise<Buffer>((resolve) => client.once('data', resolve));
    expect(answer.toString()).toBe('HARE');
  });

  it('reads all connections into one buffer, and nothing of one is seen on another', async () => {
    const { listener, next } = await open();
    const memory = new Set<ArrayBufferLike>();
    const seen: string[] = ['', '', ''];
    const clients: Socket[] = [];
    for (const i of seen.keys()) {
      const handing = next();
      clients.push(await dial(listener.port));
      const { stream } = await handing;
      stream.on('data', (chunk: Buffer) => {
        memory.add(chunk.buffer);
        seen[i] += chunk.toString();
      });
    }
    for (let round = 0; round < 50; round++)
      for (const [i, client] of clients.entries()) client.write(`${i}`.repeat(round));
    await eventually(() => seen.every((text) => text.length === (50 * 49) / 2));
    for (const [i, text] of seen.entries()) expect(text.replaceAll(`${i}`, '')).toBe('');
    // Node has changed under us when there are more: see read-buffer.ts.
    expect(memory.size).toBe(1);
  });

  it('reads to where it is told, as much as there is room for, and to the common buffer otherwise', async () => {
    const { listener, next } = await open();
    const handing = next();
    const client = await dial(listener.port);
    const { stream } = await handing;
    const own = Buffer.alloc(300_000);
    let at = 0;
    let seen = 0;
    const elsewhere: Buffer[] = [];
    aimReads(stream, () => (at < own.length && seen > 0 ? own.subarray(at, at + 100_000) : null));
    stream.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      if (chunk.buffer !== own.buffer) {
        elsewhere.push(Buffer.from(chunk));
        return;
      }
      expect(chunk.byteOffset).toBe(own.byteOffset + at);
      expect(chunk.length).toBeLessThanOrEqual(100_000);
      at += chunk.length;
    });
    const sent = Buffer.from(Uint8Array.from({ length: 400_000 }, (_, i) => (i * 7) >>> 3));
    client.write(sent);
    await eventually(() => seen === sent.length);
    expect(at).toBe(own.length);
    const first = elsewhere[0]!.length;
    expect(own.equals(sent.subarray(first, first + own.length))).toBe(true);
    expect(Buffer.concat(elsewhere.slice(1)).equals(sent.subarray(first + own.length))).toBe(true);
    // A stream of another kind is left as it is.
    aimReads(client, () => own);
  });

  it('hands over a stream that can be paused and loses nothing, up to the end', async () => {
    const { listener, next } = await open();
    const handing = next();
    const client = await dial(listener.port);
    const { stream } = await handing;
    const sent = Buffer.alloc(3_000_000, 'abcdefgh');
    const got: Buffer[] = [];
    let ended = false;
    let whilePaused = 0;
    stream.on('data', (chunk: Buffer) => {
      if (stream.isPaused()) whilePaused++;
      got.push(Buffer.from(chunk));
      stream.pause();
      setImmediate(() => stream.resume());
    });
    stream.on('end', () => {
      ended = true;
    });
    client.end(sent);
    await eventually(() => ended);
    expect(whilePaused).toBe(0);
    expect(Buffer.concat(got).equals(sent)).toBe(true);
    // Our half is open still.
    stream.end('bye');
    const answer = await new Promise<Buffer>((resolve) => client.once('data', resolve));
    expect(answer.toString()).toBe('bye');
    await new Promise((resolve) => stream.once('close', resolve));
  });

  it('says so when the peer breaks the connection', async () => {
    const { listener, next } = await open();
    const handing = next();
    const client = await dial(listener.port);
    const { stream } = await handing;
    stream.resume();
    const closed = new Promise((resolve) => stream.once('close', resolve));
    client.resetAndDestroy();
    await closed;
    expect(stream.destroyed).toBe(true);
  });

  it('shows an IPv4 peer by its IPv4 address when listening on every address', async () => {
    const { listener, next } = await open({ host: '::' });
    const handing = next();
    await dial(listener.port);
    const { peer } = await handing;
    expect(peer.remoteAddress).toBe('127.0.0.1');
    expect(peer.localAddress).toBe('127.0.0.1');
    expect(peer.loopback).toBe(true);
  });

  it('says in one line that the port is in use, and what to do', async () => {
    const { listener } = await open();
    const failure = await listen({ ...OPTIONS, port: listener.port }, () => {}).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(ListenError);
    expect((failure as ListenError).message).toBe(
      `port ${listener.port} on 127.0.0.1 is in use: another broker may be running; choose another with --port`,
    );
    expect((failure as ListenError).code).toBe('EADDRINUSE');
  });

  it('does not fall back to IPv4 silently when the port is in use on every address', async () => {
    const { listener } = await open({ host: '::' });
    await expect(listen({ ...OPTIONS, host: '::', port: listener.port }, () => {})).rejects.toThrow(
      /^port \d+ is in use/,
    );
  });

  it('says in one line that an address is not one of this machine', async () => {
    // 192.0.2.0/24 is reserved for documentation, so no machine has it.
    await expect(listen({ ...OPTIONS, host: '192.0.2.1' }, () => {})).rejects.toThrow(
      '192.0.2.1 is not an address of this machine; choose another with --host',
    );
  });

  it('gives the port back at once on close while connections go on', async () => {
    const { listener, next } = await open();
    const handing = next();
    const client = await dial(listener.port);
    const { stream } = await handing;
    await listener.close();
    await listener.close();

    const successor = createServer();
    cleanups.push(() => successor.close());
    await new Promise<void>((resolve, reject) => {
      successor.once('error', reject);
      successor.listen(listener.port, '127.0.0.1', resolve);
    });
    expect((successor.address() as AddressInfo).port).toBe(listener.port);

    stream.write('still here');
    const answer = await new Promise<Buffer>((resolve) => client.once('data', resolve));
    expect(answer.toString()).toBe('still here');
  });

  it('writes addresses as people do', () => {
    expect(formatAddress('127.0.0.1', 5672)).toBe('127.0.0.1:5672');
    expect(formatAddress('::', 5672)).toBe('[::]:5672');
    expect(formatAddress('localhost', 5672)).toBe('localhost:5672');
  });
});

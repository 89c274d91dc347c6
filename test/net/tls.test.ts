// A port that speaks TLS: what is handed over, who is refused, and that a stop leaves no handshake behind.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { type Listener, listen, type PeerFacts } from '../../src/net/listener.ts';
import { checkTls, type TlsOptions, type TlsRefusal } from '../../src/net/tls.ts';

const file = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../fixtures/tls/${name}.pem`, import.meta.url)), 'utf8');

const TLS: TlsOptions = {
  certificate: file('broker'),
  key: file('broker-key'),
  passphrase: null,
  authorities: file('ca'),
  clientCertificates: 'ignored',
  minVersion: '1.2',
  handshakeTimeoutMs: 10_000,
};

const CARROT = { cert: file('client'), key: file('client-key') };
const STRANGER = { cert: file('stranger'), key: file('stranger-key') };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Waits for things that come one by one. */
class Inbox<T> {
  private readonly items: T[] = [];
  private readonly waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const waiter = this.waiting.shift();
    if (waiter === undefined) this.items.push(item);
    else waiter(item);
  }

  next(): Promise<T> {
    const item = this.items.shift();
    return item === undefined ? new Promise((resolve) => this.waiting.push(resolve)) : Promise.resolve(item);
  }
}

interface Opened {
  readonly listener: Listener;
  readonly handed: Inbox<{ stream: Duplex; peer: PeerFacts }>;
  readonly refused: Inbox<TlsRefusal>;
}

async function open(tls: Partial<TlsOptions> = {}, host = '127.0.0.1'): Promise<Opened> {
  const handed: Opened['handed'] = new Inbox();
  const refused: Opened['refused'] = new Inbox();
  const listener = await listen(
    { host, port: 0, backlog: 16, noDelay: true, keepAlive: true, tls: { ...TLS, ...tls } },
    (stream, peer) => {
      stream.on('error', () => {});
      cleanups.push(() => stream.destroy());
      handed.put({ stream, peer });
    },
    { onRefused: (refusal) => refused.put(refusal) },
  );
  cleanups.push(() => listener.close());
  return { listener, handed, refused };
}

function dial(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ port, host: '127.0.0.1', ca: file('ca'), ...options });
  socket.on('error', () => {});
  cleanups.push(() => socket.destroy());
  return socket;
}

/** A TCP connection that speaks no TLS. */
async function dialPlain(port: number): Promise<Socket> {
  const socket = connectPlain({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  cleanups.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

describe('a TLS port', () => {
  it('hands over a stream in clear in both directions, with what is known of the session', async () => {
    const { listener, handed } = await open();
    const client = dial(listener.port);
    const { stream, peer } = await handed.next();
    expect(peer).toMatchObject({ remoteAddress: '127.0.0.1', remotePort: client.localPort, loopback: true });
    expect(peer.tls).toEqual({
      protocol: 'TLSv1.3',
      cipher: expect.stringMatching(/^TLS_/),
      subject: null,
    });
    stream.on('data', (chunk: Buffer) => stream.write(chunk.toString().toUpperCase()));
    client.write('hare');
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer.toString()).toBe('HARE');
  });

  it('keeps its half open when the client ends its own', async () => {
    const { listener, handed } = await open();
    const client = dial(listener.port);
    const { stream } = await handed.next();
    stream.on('data', () => {});
    client.end('last word');
    await once(stream, 'end');
    stream.end('and ours');
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer.toString()).toBe('and ours');
  });

  it('speaks TLS 1.2 to those who know nothing newer, unless that is too old', async () => {
    const old: ConnectionOptions = { maxVersion: 'TLSv1.2' };
    const { listener, handed } = await open();
    dial(listener.port, old);
    expect((await handed.next()).peer.tls?.protocol).toBe('TLSv1.2');
    const strict = await open({ minVersion: '1.3' });
    dial(strict.listener.port, old);
    expect(await strict.refused.next()).toEqual({
      remoteAddress: '127.0.0.1',
      reason: 'unsupported protocol',
    });
  });

  it('refuses a client that speaks plainly, and goes on', async () => {
    // Every address: there the system shows IPv4 in its IPv6 form, and people must not see it.
    const { listener, handed, refused } = await open({}, '::');
    const plain = await dialPlain(listener.port);
    plain.write('AMQP\0\0\x09\x01');
    expect(await refused.next()).toEqual({
      remoteAddress: '127.0.0.1',
      reason: expect.stringMatching(/wrong version number|packet length/),
    });
    await once(plain, 'close');
    dial(listener.port);
    expect((await handed.next()).peer.tls).not.toBeNull();
  });

  it('names a client by its certificate, where those are asked for', async () => {
    for (const clientCertificates of ['optional', 'required'] as const) {
      const { listener, handed } = await open({ clientCertificates });
      dial(listener.port, CARROT);
      expect((await handed.next()).peer.tls?.subject).toBe('CN=carrot,O=Field\\, North');
    }
  });

  it('lets a client without a certificate in where it is optional, and none where it is required', async () => {
    const optional = await open({ clientCertificates: 'optional' });
    dial(optional.listener.port);
    expect((await optional.handed.next()).peer.tls?.subject).toBeNull();
    const required = await open({ clientCertificates: 'required' });
    dial(required.listener.port);
    expect((await required.refused.next()).reason).toBe('peer did not return a certificate');
  });

  it('refuses a certificate that nobody signed, also where none is needed', async () => {
    for (const clientCertificates of ['optional', 'required'] as const) {
      const { listener, refused } = await open({ clientCertificates });
      const client = dial(listener.port, STRANGER);
      const { reason } = await refused.next();
      expect(reason).toMatch(/DEPTH_ZERO_SELF_SIGNED_CERT|certificate verify failed|self.signed/i);
      await once(client, 'close');
    }
    const { listener, handed } = await open();
    dial(listener.port, STRANGER);
    expect((await handed.next()).peer.tls?.subject).toBeNull();
  });

  it('ends handshakes that are under way when it closes, and lets go of nobody who is through', async () => {
    const { listener, handed } = await open();
    const through = dial(listener.port);
    const { stream } = await handed.next();
    const halfway = await dialPlain(listener.port);
    // Accepted behind it: once this one is through, the server knows the one before.
    dial(listener.port);
    await handed.next();
    const ended = once(halfway, 'close');
    halfway.resume();
    await listener.close();
    await ended;
    stream.write('still here');
    const [word] = (await once(through, 'data')) as [Buffer];
    expect(word.toString()).toBe('still here');
  });

  it('says nothing of a client that only looks whether the port is open', async () => {
    const { listener, refused } = await open();
    const look = await dialPlain(listener.port);
    look.end();
    await once(look, 'close');
    const plain = await dialPlain(listener.port);
    plain.write('AMQP\0\0\x09\x01');
    // The first refusal is that of the second client.
    expect((await refused.next()).reason).toMatch(/wrong version number|packet length/);
  });

  it('refuses a client that says nothing, when its time is up', async () => {
    const { listener, refused } = await open({ handshakeTimeoutMs: 100 });
    await dialPlain(listener.port);
    expect((await refused.next()).reason).toMatch(/handshake timeout/i);
  });
});

describe('certificates', () => {
  it('are tried before anybody connects', () => {
    checkTls(TLS);
    checkTls({ ...TLS, key: file('broker-key-encrypted'), passphrase: 'burrow' });
    expect(() => checkTls({ ...TLS, key: file('stranger-key') })).toThrow(/key values mismatch/);
    expect(() => checkTls({ ...TLS, certificate: 'no certificate' })).toThrow();
    expect(() => checkTls({ ...TLS, key: file('broker-key-encrypted'), passphrase: 'warren' })).toThrow();
  });
});

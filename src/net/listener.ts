// TCP and TLS accept: binds an address and hands over each connection as a stream of bytes with the facts about its two ends.
// With tls.ts the only place that knows node:net. Knows no protocol: what arrives is a Duplex, so that TLS, a WebSocket or a test
// pair can stand in for a TCP socket without anyone noticing.
// Invariant: once `close()` was called, nobody is handed over any more; connections handed over before live on.

import { createServer, isIPv6, type Server, type ServerOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { ReadBuffer } from './read-buffer.ts';
import { createTlsServer, type TlsFacts, type TlsOptions, type TlsRefusal, tlsFacts } from './tls.ts';

/** What is known of a connection before its first byte. Addresses are plain: IPv4 never appears as `::ffff:1.2.3.4`. */
export interface PeerFacts {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** True when the peer is this machine, which is what loopback-only users are held to. */
  readonly loopback: boolean;
  /** Facts of the TLS session; null on a plain connection. */
  readonly tls: TlsFacts | null;
}

/** Where to listen. */
export interface ListenOptions {
  /** Address or name; `::` is every address, IPv6 and IPv4, and falls back to IPv4 where the system has no IPv6. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Connections the system may hold before they are accepted. */
  readonly backlog: number;
  /** Send small packets at once. */
  readonly noDelay: boolean;
  /** Let the system probe silent peers. */
  readonly keepAlive: boolean;
  /** Certificates of a port that speaks TLS; null for plain TCP. */
  readonly tls: TlsOptions | null;
}

/** What a listener tells besides connections. */
export interface ListenReports {
  /** A connection could not be accepted (no file descriptors left, say); the listener goes on. */
  readonly onError?: (error: Error) => void;
  /** A client did not get through its TLS handshake. */
  readonly onRefused?: (refusal: TlsRefusal) => void;
}

/**
 * Takes a connection over. The stream has flowed nowhere yet; it must get its `data`, `end` and `error` listeners in this call.
 * What a `data` event brings is valid only until its listeners return: whoever keeps bytes copies them.
 * When the peer ends its half, ours stays open until it is ended too.
 */
export type OnSocket = (stream: Duplex, peer: PeerFacts) => void;

/** An open port. */
export interface Listener {
  /** The address really bound. */
  readonly address: string;
  /** The port really bound. */
  readonly port: number;
  /** Stops accepting; fulfilled as soon as the port is free. Connections handed over stay open. May be called twice. */
  close(): Promise<void>;
}

/** The port could not be opened. The message is one line, written for a person. */
export class ListenError extends Error {
  /** The system's code, such as EADDRINUSE. */
  readonly code: string;

  constructor(message: string, code: string, cause: unknown) {
    super(message, { cause });
    this.name = 'ListenError';
    this.code = code;
  }
}

/** Peers that have been silent this long are probed by the system, with `keepAlive`. */
const KEEP_ALIVE_DELAY_MS = 60_000;

/**
 * Opens a port and hands every connection to `onSocket`, one with TLS when its handshake is done.
 * @throws ListenError
 */
export async function listen(
  options: ListenOptions,
  onSocket: OnSocket,
  { onError = () => {}, onRefused = () => {} }: ListenReports = {},
): Promise<Listener> {
  const serverOptions = {
    allowHalfOpen: true,
    noDelay: options.noDelay,
    keepAlive: options.keepAlive,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
  };
  let closed = false;
  const handOver = (accepted: Socket, facts: TlsFacts | null, takeOver: () => Socket): void => {
    const peer = peerFacts(accepted, facts);
    // A peer that is gone already has no address; and one accepted just before close() is not served any more.
    if (peer === null || closed) {
      accepted.on('error', () => {});
      accepted.destroy();
      return;
    }
    onSocket(takeOver(), peer);
  };
  const { server, endUnfinished } =
    options.tls === null
      ? plainServer(serverOptions, handOver)
      : createTlsServer(
          serverOptions,
          options.tls,
          (socket: TLSSocket) => handOver(socket, tlsFacts(socket), () => socket),
          ({ remoteAddress, reason }) => onRefused({ remoteAddress: plainAddress(remoteAddress), reason }),
        );
  await bind(server, options);
  server.on('error', onError);

  const bound = server.address();
  if (bound === null || typeof bound === 'string')
    throw new Error('a TCP server has no address after listen');
  return {
    address: bound.address,
    port: bound.port,
    close: () => {
      if (closed) return Promise.resolve();
      closed = true;
      endUnfinished();
      // The handle, and with it the port, is given back at once; the callback would wait for the connections too.
      server.close();
      return new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** `host:port` as people write it, with brackets around IPv6. */
export function formatAddress(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

type HandOver = (accepted: Socket, facts: null, takeOver: () => Socket) => void;

function plainServer(options: ServerOpts, handOver: HandOver): { server: Server; endUnfinished: () => void } {
  const readBuffer = new ReadBuffer();
  const server = createServer(options);
  server.on('connection', (accepted: Socket) =>
    handOver(accepted, null, () => readBuffer.takeOver(accepted)),
  );
  return { server, endUnfinished: () => {} };
}

async function bind(server: Server, options: ListenOptions): Promise<void> {
  try {
    await listenOnce(server, options.host, options);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const noIPv6 = code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL' || code === 'EINVAL';
    if (options.host !== '::' || !noIPv6)
      throw forPeople(error as NodeJS.ErrnoException, options.host, options);
    try {
      await listenOnce(server, '0.0.0.0', options);
    } catch (second) {
      throw forPeople(second as NodeJS.ErrnoException, '0.0.0.0', options);
    }
  }
}

function listenOnce(server: Server, host: string, { port, backlog }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(error);
    server.once('error', failed);
    server.listen({ host, port, backlog }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** A line that says what to do, instead of `listen EADDRINUSE: address already in use`. */
function forPeople(
  error: NodeJS.ErrnoException,
  host: string,
  { port, tls }: Pick<ListenOptions, 'port' | 'tls'>,
): ListenError {
  const code = error.code ?? 'UNKNOWN';
  const flag = tls === null ? '--port' : '--tls-port';
  const where = host === '::' || host === '0.0.0.0' ? `port ${port}` : `port ${port} on ${host}`;
  const message: Record<string, string> = {
    EADDRINUSE: `${where} is in use: another broker may be running; choose another with ${flag}`,
    EACCES: `${where} may not be opened by this user: ports below 1024 often need rights; choose another with ${flag}`,
    EADDRNOTAVAIL: `${host} is not an address of this machine; choose another with --host`,
    ENOTFOUND: `the host name ${host} is not known; choose another with --host`,
    EAI_AGAIN: `the host name ${host} could not be looked up; choose another with --host`,
    EAFNOSUPPORT: `this machine cannot listen on ${host} (address family not supported); choose another with --host`,
  };
  return new ListenError(message[code] ?? `cannot listen on ${where}: ${error.message}`, code, error);
}

function peerFacts(socket: Socket, tls: TlsFacts | null): PeerFacts | null {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return null;
  const remote = plainAddress(remoteAddress);
  return {
    remoteAddress: remote,
    remotePort,
    localAddress: plainAddress(localAddress ?? ''),
    localPort: localPort ?? 0,
    loopback: isLoopback(remote),
    tls,
  };
}

/** A socket that listens on IPv6 and IPv4 shows IPv4 peers in their IPv6 form. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** 127.0.0.0/8 and ::1. */
function isLoopback(address: string): boolean {
  return address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

// TLS accept: certificates become a server that reports each connection once its handshake is done.
// Knows node:tls, no files and no settings, and nothing of what a connection carries.
// Invariant: a connection whose handshake is not done is known here only, and `endUnfinished` ends all of them.

import type { Server, ServerOpts, Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  type PeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';

/** Certificates and what is demanded of clients. All texts are PEM. */
export interface TlsOptions {
  /** The broker's certificate, followed by those that lead to an authority the clients know. */
  readonly certificate: string;
  readonly key: string;
  /** Of an encrypted key; null for one in clear. */
  readonly passphrase: string | null;
  /** Authorities that sign clients' certificates; null for those that Node trusts. */
  readonly authorities: string | null;
  /** Whether a client shows a certificate. One that it shows, and that no authority signed, is refused where they are asked for. */
  readonly clientCertificates: 'ignored' | 'optional' | 'required';
  /** Oldest version of the protocol that is spoken. */
  readonly minVersion: '1.2' | '1.3';
  /** Time for the handshake. */
  readonly handshakeTimeoutMs: number;
}

/** What TLS tells about a peer. */
export interface TlsFacts {
  /** As `TLSv1.3`. */
  readonly protocol: string;
  /** By its IETF name, as `TLS_AES_256_GCM_SHA384`. */
  readonly cipher: string;
  /** Distinguished name of the client's certificate; null when it showed none. */
  readonly subject: string | null;
}

/** A client that did not get through its handshake. */
export interface TlsRefusal {
  readonly remoteAddress: string;
  /** One line for people. */
  readonly reason: string;
}

/** A server that is not listening yet, and its handshakes. */
export interface TlsServer {
  readonly server: Server;
  /** Ends the connections that are still in their handshake. */
  endUnfinished(): void;
}

/**
 * Looks at certificate, key and authorities before anybody connects.
 * @throws Error when they cannot be used or do not belong together; its message is OpenSSL's
 */
export function checkTls(options: TlsOptions): void {
  createSecureContext(contextOf(options));
}

/** Makes the server; `onSecure` gets every connection whose handshake is done, `onRefused` hears of the others. */
export function createTlsServer(
  net: ServerOpts,
  options: TlsOptions,
  onSecure: (socket: TLSSocket) => void,
  onRefused: (refusal: TlsRefusal) => void,
): TlsServer {
  /** By the peer's address and port: Node does not say which TCP socket is below a TLS socket. */
  const unfinished = new Map<string, Socket>();
  const asks = options.clientCertificates !== 'ignored';
  const server = createServer({
    ...net,
    // Who goes during the handshake is gone; only behind it may a client end its half first.
    allowHalfOpen: false,
    ...contextOf(options),
    handshakeTimeout: options.handshakeTimeoutMs,
    requestCert: asks,
    // An optional one is judged below: Node would take a bad one for none.
    rejectUnauthorized: options.clientCertificates === 'required',
  });
  const refuse = (socket: Socket, why: unknown): void => {
    onRefused({ remoteAddress: socket.remoteAddress ?? '', reason: reasonOf(why) });
    socket.on('error', () => {});
    socket.destroy();
  };
  server.on('connection', (socket: Socket) => {
    const peer = endOf(socket);
    unfinished.set(peer, socket);
    socket.once('close', () => {
      if (unfinished.get(peer) === socket) unfinished.delete(peer);
    });
  });
  server.on('secureConnection', (socket) => {
    unfinished.delete(endOf(socket));
    if (asks && !socket.authorized && subjectOf(socket.getPeerCertificate()) !== null)
      refuse(socket, socket.authorizationError);
    else {
      socket.allowHalfOpen = net.allowHalfOpen ?? false;
      onSecure(socket);
    }
  });
  // A bad certificate is known by its own word; the error of the handshake says only that it ended.
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const why = socket.authorizationError ?? error;
    // Who only looks whether the port is open goes again at once: health checks do, every few seconds.
    if (why === error && error.code === 'ECONNRESET') socket.destroy();
    else refuse(socket, why);
  });
  return {
    server,
    endUnfinished: () => {
      for (const socket of unfinished.values()) socket.destroy();
    },
  };
}

/** What is known of a connection whose handshake is done. */
export function tlsFacts(socket: TLSSocket): TlsFacts {
  return {
    protocol: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    subject: subjectOf(socket.getPeerCertificate()),
  };
}

function contextOf(options: TlsOptions): SecureContextOptions {
  return {
    cert: options.certificate,
    key: options.key,
    ...(options.passphrase === null ? {} : { passphrase: options.passphrase }),
    ...(options.authorities === null ? {} : { ca: options.authorities }),
    minVersion: `TLSv${options.minVersion}`,
    // Ours first: a client that offers everything gets what is strong.
    honorCipherOrder: true,
  };
}

/** RFC 2253 has the most specific part first, as RabbitMQ and OpenSSL's `-nameopt RFC2253` do; Node shows a part a line. */
function subjectOf(certificate: PeerCertificate): string | null {
  // Without a certificate Node gives an empty object.
  const { subject } = certificate as Partial<PeerCertificate>;
  if (subject === undefined) return null;
  const parts: string[] = [];
  for (const [name, value] of Object.entries(subject)) {
    for (const each of [value ?? []].flat()) parts.push(`${name}=${each.replaceAll(/[,+"\\<>;]/g, '\\$&')}`);
  }
  return parts.reverse().join(',');
}

function endOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

/** OpenSSL's own words, without its addresses, file names and line numbers. */
function reasonOf(why: unknown): string {
  const { reason, message } = (why instanceof Error ? why : { message: String(why) }) as {
    reason?: string;
    message: string;
  };
  return (reason ?? message).replaceAll(/\s+/g, ' ').trim();
}

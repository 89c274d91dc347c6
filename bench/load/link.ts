// One connection with one channel, on a raw socket: handshake, set-up methods, counting and acknowledging.
// Owns the socket. Knows no workload: a workload reads the counters and is called once per chunk through `onProgress`.

import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { ConfirmWindow } from './confirms.ts';
import { Scanner, type ScannerSink } from './scanner.ts';
import * as wire from './wire.ts';

/** Where a broker is. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly vhost: string;
  /** Speaks TLS there; whose certificate it is does not matter to a benchmark. */
  readonly tls: boolean;
}

/** Reads `amqp://user:password@host:port/vhost`, or `amqps://…`. @throws Error for other schemes */
export function parseAddress(url: string): Address {
  const parts = new URL(url);
  const tls = parts.protocol === 'amqps:';
  if (parts.protocol !== 'amqp:' && !tls) throw new Error(`${url}: the generator speaks amqp and amqps only`);
  const path = decodeURIComponent(parts.pathname);
  return {
    host: parts.hostname,
    port: parts.port === '' ? (tls ? 5671 : 5672) : Number(parts.port),
    user: parts.username === '' ? 'guest' : decodeURIComponent(parts.username),
    password: parts.password === '' ? 'guest' : decodeURIComponent(parts.password),
    vhost: path.length > 1 ? path.slice(1) : '/',
    tls,
  };
}

/** How a link is opened. */
export interface LinkOptions {
  /** Bytes read at once. Many idle links want little. Default 256 KiB. */
  readonly readBytes?: number;
  /** Called when the broker ends the link or breaks the protocol; without it the error is thrown by the next call. */
  readonly onFailure?: (error: Error) => void;
}

const CHANNEL = 1;

interface Waiter {
  readonly id: number;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** A connection to a broker, with channel 1 open after `openChannel`. */
export class Link implements ScannerSink {
  readonly scanner: Scanner;
  readonly socket: Socket;
  /** Largest frame agreed on. */
  frameMax = 131_072;
  /** What the broker calls itself, for reports. */
  product = '';
  version = '';
  /** True while the broker says that the connection is blocked. */
  blocked = false;
  /** Called once after every chunk that was read. */
  onProgress: (() => void) | null = null;
  onBody: ((bytes: Buffer, at: number, size: number) => void) | null = null;
  /** Confirm numbers of this channel, once `selectConfirms` ran. */
  confirms: ConfirmWindow | null = null;
  /** basic.get that found nothing. */
  empties = 0;
  /** Acknowledge (multiple) after every so many deliveries; 0 for never. */
  ackEvery = 0;
  /** Deliveries that may be acknowledged so far: who holds back keeps a queue at its length. */
  acksMax: () => number = () => Number.POSITIVE_INFINITY;
  private acked = 0;
  private readonly waiters: Waiter[] = [];
  private readonly onFailure: ((error: Error) => void) | null;
  private failure: Error | null = null;
  private closing = false;
  /** Time of the present chunk, read once when it brings a confirm; 0 before. */
  private chunkAt = 0;

  private constructor(address: Address, options: LinkOptions) {
    this.scanner = new Scanner(this);
    this.onFailure = options.onFailure ?? null;
    this.socket = address.tls ? this.dialSecurely(address) : this.dial(address, options.readBytes ?? 262_144);
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('the broker closed the connection')));
  }

  private dial({ host, port }: Address, readBytes: number): Socket {
    const buffer = Buffer.allocUnsafeSlow(readBytes);
    return connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          this.onChunk(buffer, length);
          return true;
        },
      },
    });
  }

  /** TLS gives what it decrypted in buffers of its own. */
  private dialSecurely({ host, port }: Address): Socket {
    const socket = connectSecurely({ host, port, rejectUnauthorized: false });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.onChunk(chunk, chunk.length));
    return socket;
  }

  /** Connects and opens a connection, without a channel. */
  static async connect(address: Address, options: LinkOptions = {}): Promise<Link> {
    const link = new Link(address, options);
    const start = link.expect(wire.CONNECTION_START);
    link.socket.write(wire.PROTOCOL_HEADER);
    link.readIdentity(await start);
    const tune = await link.call(wire.startOk(address.user, address.password), wire.CONNECTION_TUNE);
    const offered = tune.readUInt32BE(6);
    if (offered !== 0 && offered < link.frameMax) link.frameMax = offered;
    // Nothing answers tune-ok, so that both are one write.
    const tuneOk = wire.tuneOk(tune.readUInt16BE(4), link.frameMax);
    await link.call(Buffer.concat([tuneOk, wire.connectionOpen(address.vhost)]), wire.CONNECTION_OPEN_OK);
    return link;
  }

  /** Opens channel 1. */
  async openChannel(): Promise<void> {
    await this.call(wire.channelOpen(CHANNEL), wire.CHANNEL_OPEN_OK);
  }

  async closeChannel(): Promise<void> {
    await this.call(wire.channelClose(CHANNEL), wire.CHANNEL_CLOSE_OK);
  }

  /** Declares a queue; returns how many messages wait in it. */
  async declareQueue(name: string, durable: boolean, args: wire.Table = {}): Promise<number> {
    const declare = wire.queueDeclare(CHANNEL, name, durable, false, args);
    const payload = await this.call(declare, wire.QUEUE_DECLARE_OK);
    return payload.readUInt32BE(5 + payload[4]!);
  }

  /** Declares a queue that goes with this connection. */
  async declareExclusiveQueue(name: string): Promise<void> {
    await this.call(wire.queueDeclare(CHANNEL, name, false, true), wire.QUEUE_DECLARE_OK);
  }

  /** How many messages wait in a queue that exists. */
  async declareQueuePassively(name: string): Promise<number> {
    const payload = await this.call(wire.queueDeclarePassive(CHANNEL, name), wire.QUEUE_DECLARE_OK);
    return payload.readUInt32BE(5 + payload[4]!);
  }

  async deleteQueue(name: string): Promise<void> {
    await this.call(wire.queueDelete(CHANNEL, name), wire.QUEUE_DELETE_OK);
  }

  async declareExchange(name: string, type: string, durable: boolean, args: wire.Table = {}): Promise<void> {
    await this.call(wire.exchangeDeclare(CHANNEL, name, type, durable, args), wire.EXCHANGE_DECLARE_OK);
  }

  async deleteExchange(name: string): Promise<void> {
    await this.call(wire.exchangeDelete(CHANNEL, name), wire.EXCHANGE_DELETE_OK);
  }

  async bindQueue(queue: string, exchange: string, routingKey: string): Promise<void> {
    await this.call(wire.queueBind(CHANNEL, queue, exchange, routingKey), wire.QUEUE_BIND_OK);
  }

  /** Starts consuming. `prefetch` 0 means without limit; `ackEvery` 0 means automatic acknowledgement. */
  async consume(queue: string, prefetch: number, ackEvery: number, tag = 'c'): Promise<void> {
    if (prefetch > 0) await this.call(wire.basicQos(CHANNEL, prefetch), wire.BASIC_QOS_OK);
    this.ackEvery = ackEvery;
    await this.call(wire.basicConsume(CHANNEL, queue, tag, ackEvery === 0), wire.BASIC_CONSUME_OK);
  }

  /** Declares a stream; returns how many messages it has. */
  async declareStream(name: string): Promise<number> {
    const payload = await this.call(wire.streamDeclare(CHANNEL, name), wire.QUEUE_DECLARE_OK);
    return payload.readUInt32BE(5 + payload[4]!);
  }

  /** Reads a stream from 'first', 'last' or 'next' on, with a basic.ack for every `ackEvery` deliveries. */
  async consumeStream(stream: string, offset: string, prefetch: number, ackEvery: number): Promise<void> {
    await this.call(wire.basicQos(CHANNEL, prefetch), wire.BASIC_QOS_OK);
    this.ackEvery = ackEvery;
    await this.call(wire.streamConsume(CHANNEL, stream, 'c', offset), wire.BASIC_CONSUME_OK);
  }

  /** Puts the channel into confirm mode; `confirms` counts from then on. */
  async selectConfirms(window: ConfirmWindow): Promise<void> {
    await this.call(wire.confirmSelect(CHANNEL), wire.CONFIRM_SELECT_OK);
    this.confirms = window;
  }

  /** One message of this link's channel as frames. */
  encode(publish: wire.Publish): Buffer {
    return wire.encodePublish(CHANNEL, this.frameMax, publish);
  }

  /** Closes the connection as a client should and waits for the end of the socket. */
  async close(): Promise<void> {
    if (this.failure !== null || this.closing) return;
    this.closing = true;
    const ended = new Promise<void>((resolve) => {
      if (this.socket.destroyed) resolve();
      else this.socket.once('close', () => resolve());
    });
    this.socket.write(wire.connectionClose());
    // The broker answers close-ok and ends the socket; one that does neither is cut off.
    const timer = setTimeout(() => this.socket.destroy(), 2000);
    await ended;
    clearTimeout(timer);
  }

  /** Cuts the connection. */
  destroy(): void {
    this.closing = true;
    this.socket.destroy();
  }

  onMethod(id: number, bytes: Buffer, at: number, stop: number): void {
    if (id === wire.BASIC_ACK || id === wire.BASIC_NACK) {
      if (this.confirms === null) throw new Error('a confirm on a channel that did not ask for confirms');
      if (this.chunkAt === 0) this.chunkAt = performance.now();
      const tag = bytes.readUInt32BE(at + 4) * 2 ** 32 + bytes.readUInt32BE(at + 8);
      this.confirms.settle(tag, (bytes[at + 12]! & 1) === 1, id === wire.BASIC_NACK, this.chunkAt);
      return;
    }
    if (id === wire.BASIC_GET_OK) return;
    if (id === wire.BASIC_GET_EMPTY) {
      this.empties += 1;
      return;
    }
    const waiter = this.waiters[0];
    if (waiter !== undefined && waiter.id === id) {
      this.waiters.shift();
      waiter.resolve(Buffer.from(bytes.subarray(at, stop)));
      return;
    }
    this.onUnasked(id, bytes, at);
  }

  /** Sends a basic.ack for every full run of `ackEvery` deliveries, as far as `acksMax` lets it. */
  acknowledge(): void {
    if (this.ackEvery === 0) return;
    const upTo = Math.min(this.scanner.contents, this.acksMax());
    const runs = Math.floor((upTo - this.acked) / this.ackEvery);
    if (runs <= 0) return;
    const acks = Buffer.allocUnsafe(runs * wire.ACK_LENGTH);
    for (let i = 0, at = 0; i < runs; i++) {
      this.acked += this.ackEvery;
      at = wire.writeAck(acks, at, CHANNEL, this.acked, true);
    }
    this.socket.write(acks);
  }

  /** Acknowledges and tells the workload. */
  private afterChunk(): void {
    this.chunkAt = 0;
    this.acknowledge();
    if (this.onProgress !== null) this.onProgress();
  }

  private onChunk(buffer: Buffer, length: number): void {
    try {
      this.scanner.push(buffer, length);
      this.afterChunk();
    } catch (error) {
      this.fail(error as Error);
      this.socket.destroy();
    }
  }

  private onUnasked(id: number, bytes: Buffer, at: number): void {
    switch (id) {
      case wire.CONNECTION_BLOCKED:
        this.blocked = true;
        return;
      case wire.CONNECTION_UNBLOCKED:
        this.blocked = false;
        return;
      case wire.CONNECTION_CLOSE_OK:
        this.socket.end();
        return;
      case wire.CONNECTION_CLOSE:
      case wire.CHANNEL_CLOSE: {
        const length = bytes[at + 6]!;
        throw new Error(`${bytes.readUInt16BE(at + 4)} ${bytes.toString('utf8', at + 7, at + 7 + length)}`);
      }
      default:
        throw new Error(`method ${id >>> 16}.${id & 0xffff} that nobody asked for`);
    }
  }

  /** Writes a request and waits for the method that answers it; requests may be sent one behind the other. */
  private call(request: Buffer, answer: number): Promise<Buffer> {
    const answered = this.expect(answer);
    this.socket.write(request);
    return answered;
  }

  private expect(id: number): Promise<Buffer> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => this.waiters.push({ id, resolve, reject }));
  }

  private fail(error: Error): void {
    if (this.failure !== null) return;
    this.failure = error;
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
    if (!this.closing && this.onFailure !== null) this.onFailure(error);
  }

  /** product and version out of the server properties of connection.start. */
  private readIdentity(payload: Buffer): void {
    this.product = stringField(payload, 'product');
    this.version = stringField(payload, 'version');
  }
}

/** Finds a long string field by its encoded name; enough for the two that a report prints. */
function stringField(payload: Buffer, name: string): string {
  const key = Buffer.concat([Buffer.from([name.length]), Buffer.from(`${name}S`, 'latin1')]);
  const at = payload.indexOf(key);
  if (at < 0) return '';
  const start = at + key.length + 4;
  return payload.toString('utf8', start, start + payload.readUInt32BE(start - 4));
}

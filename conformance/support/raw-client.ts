// A raw AMQP 0-9-1 client for black-box tests: one socket, every byte under the test's control.
// Owns the socket, the inbox of received frames and the waiting for them. Must not know our own codec: methods and
// properties go through amqplib's tables, frames are cut by hand, so that a mistake of ours cannot hide itself.
// Invariant: frames leave the inbox in the order in which they arrived; nothing is read past a frame the test did not ask for.
import { createRequire } from 'node:module';
import { connect as connectTcp, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';

/** Named fields of a method or of the basic properties, as amqplib's codec understands them. */
export type Fields = Record<string, unknown>;

interface AmqplibDefs {
  encodeMethod(id: number, channel: number, fields: Fields): Buffer;
  encodeProperties(classId: number, channel: number, size: number, fields: Fields): Buffer;
  decode(id: number, args: Buffer): Fields;
  info(id: number): { name: string };
}

const require = createRequire(import.meta.url);
// amqplib keeps its codec private by an exports map; an absolute path walks past it.
const amqplibLib = join(dirname(require.resolve('amqplib')), 'lib');
const defs = require(join(amqplibLib, 'defs.js')) as AmqplibDefs & Record<string, unknown>;

export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_HEARTBEAT = 8;
export const FRAME_END = 0xce;

/** The eight bytes that open every AMQP 0-9-1 conversation. */
export const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');

/** How long a test waits for something that must come. Generous: it only costs time when a test fails. */
export const PATIENCE_MS = 15_000;

/** A frame as it came off the wire, decoded as far as its kind allows. */
export interface ReceivedFrame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
  /** `class.method` in AMQP's spelling (`queue.declare-ok`), or `header`, `body`, `heartbeat`, `unknown`. */
  readonly name: string;
  /** Method arguments, or the basic properties of a header frame; empty otherwise. Decoded when first asked for. */
  readonly fields: Fields;
}

/** Content that came with `basic.deliver`, `basic.return` or `basic.get-ok`. */
export interface ReceivedContent {
  readonly method: ReceivedFrame;
  readonly header: ReceivedFrame;
  /** Payload of the header frame after class, weight and size: property flags and the properties as sent. */
  readonly rawProperties: Buffer;
  readonly bodySize: number;
  readonly bodyFrames: readonly Buffer[];
  readonly body: Buffer;
}

/** Why the server closed a connection or a channel. */
export interface CloseReason {
  readonly code: number;
  readonly text: string;
  readonly classId: number;
  readonly methodId: number;
}

/** Choices of the opening handshake. */
export interface OpenOptions {
  readonly user?: string;
  readonly password?: string;
  readonly vhost?: string;
  readonly channelMax?: number;
  readonly frameMax?: number;
  readonly heartbeat?: number;
  readonly clientProperties?: Fields;
}

/** Capabilities a modern client declares. */
export const CLIENT_CAPABILITIES: Fields = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
};

/** The URL's parts as AMQP URIs mean them; a missing path is the vhost `/`. */
export function parseUrl(url: string): {
  host: string;
  port: number;
  user: string;
  password: string;
  vhost: string;
  tls: boolean;
} {
  const parsed = new URL(url);
  const tls = parsed.protocol === 'amqps:';
  const path = decodeURIComponent(parsed.pathname.replace(/^\//, ''));
  return {
    host: parsed.hostname,
    port: parsed.port === '' ? (tls ? 5671 : 5672) : Number(parsed.port),
    user: decodeURIComponent(parsed.username || 'guest'),
    password: decodeURIComponent(parsed.password || 'guest'),
    vhost: path === '' ? '/' : path,
    tls,
  };
}

/** `basic.get-ok` to amqplib's `BasicGetOk`. */
function amqplibName(name: string): string {
  return name
    .split(/[.-]/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}

/** `BasicGetOk` to `basic.get-ok`. */
function amqpName(name: string): string {
  const words = name.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
  return `${words[0]}.${words.slice(1).join('-')}`;
}

/** Class and method id of a method name, as one number (class in the upper 16 bits). */
export function methodId(name: string): number {
  const id = defs[amqplibName(name)];
  if (typeof id !== 'number') throw new Error(`no method '${name}'`);
  return id;
}

/** Bytes of one frame, whatever it holds. */
export function frame(type: number, channel: number, payload: Buffer, end: number = FRAME_END): Buffer {
  const bytes = Buffer.alloc(payload.length + 8);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(payload.length, 3);
  payload.copy(bytes, 7);
  bytes.writeUInt8(end, payload.length + 7);
  return bytes;
}

/** Bytes of a method frame, by name: `method(1, 'queue.declare', { queue: 'q' })`. */
export function method(channel: number, name: string, fields: Fields = {}): Buffer {
  return defs.encodeMethod(methodId(name), channel, fields);
}

/** Bytes of a method frame with hand-made arguments, for what amqplib would not encode. */
export function rawMethod(
  channel: number,
  classId: number,
  id: number,
  args: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(classId, 0);
  head.writeUInt16BE(id, 2);
  return frame(FRAME_METHOD, channel, Buffer.concat([head, args]));
}

/** Bytes of a content header frame for class basic. */
export function header(channel: number, bodySize: number, properties: Fields = {}): Buffer {
  return defs.encodeProperties(60, channel, bodySize, properties);
}

/** Bytes of a content header frame with everything chosen by hand. `properties` starts with the flag word. */
export function rawHeader(
  channel: number,
  parts: { classId?: number; weight?: number; bodySize: number | bigint; properties?: Buffer },
): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(parts.classId ?? 60, 0);
  head.writeUInt16BE(parts.weight ?? 0, 2);
  head.writeBigUInt64BE(BigInt(parts.bodySize), 4);
  return frame(FRAME_HEADER, channel, Buffer.concat([head, parts.properties ?? Buffer.alloc(2)]));
}

/** Bytes of a body frame. */
export function body(channel: number, payload: Buffer | string): Buffer {
  return frame(FRAME_BODY, channel, Buffer.from(payload as string));
}

/** Bytes of a whole publish: method, header, and one body frame unless the body is empty. */
export function publish(
  channel: number,
  exchange: string,
  routingKey: string,
  content: Buffer | string,
  properties: Fields = {},
  options: Fields = {},
): Buffer {
  const bytes = Buffer.from(content as string);
  const frames = [
    method(channel, 'basic.publish', { exchange, routingKey, ...options }),
    header(channel, bytes.length, properties),
  ];
  if (bytes.length > 0) frames.push(body(channel, bytes));
  return Buffer.concat(frames);
}

/** Bytes of an empty heartbeat frame. */
export function heartbeat(): Buffer {
  return frame(FRAME_HEARTBEAT, 0, Buffer.alloc(0));
}

/** The SASL PLAIN response. */
export function plainResponse(user: string, password: string, authzid = ''): Buffer {
  return Buffer.from(`${authzid}\0${user}\0${password}`);
}

/** Bytes of `connection.start-ok`. */
export function startOk(
  response: Buffer,
  mechanism = 'PLAIN',
  clientProperties: Fields = { capabilities: CLIENT_CAPABILITIES },
): Buffer {
  return method(0, 'connection.start-ok', { clientProperties, mechanism, response, locale: 'en_US' });
}

/** How a wait ended: with a frame, with the end of the stream, or without anything in time. */
type Outcome = ReceivedFrame | 'ended' | 'timeout';

/** One TCP connection to a broker. Make it with `connectRaw` (nothing sent) or `openRaw` (handshake done). */
export class RawClient {
  /** What `tune` and `tune-ok` agreed on; the protocol's minimum before. */
  frameMax = 4096;
  /** Arguments of the server's `connection.start`, once seen by `openRaw`. */
  start: Fields = {};
  /** Arguments of the server's `connection.tune`, once seen by `openRaw`. */
  tune: Fields = {};
  /** Every byte received so far that is not yet a whole frame. */
  private pending: Buffer = Buffer.alloc(0);
  /** Frames received and not yet asked for. */
  private readonly inbox: ReceivedFrame[] = [];
  /** Wakes the one wait under way; null when nobody waits. */
  private wake: (() => void) | null = null;
  /** True once the server has ended the stream or reset it. */
  private over = false;
  /** What was wrong with the bytes the server sent; null while they make sense. */
  private failure: Error | null = null;
  /** Set by `rawBytes`: incoming bytes stay bytes. */
  private unframed = false;
  /** Set by `keepHeartbeats`: heartbeats are handed out like other frames. */
  private heartbeats = false;
  /** Number of bytes received in total. */
  bytesRead = 0;

  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('error', () => this.onEnd());
    socket.on('end', () => this.onEnd());
    socket.on('close', () => this.onEnd());
  }

  private onData(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    if (!this.unframed && this.failure === null) {
      try {
        this.cutFrames();
      } catch (error) {
        this.failure = error as Error;
      }
    }
    this.wake?.();
  }

  private cutFrames(): void {
    let at = 0;
    // A server that refuses the protocol answers with a bare header instead of a frame.
    while (this.pending.length - at >= 8 && this.pending.toString('latin1', at, at + 4) !== 'AMQP') {
      const size = this.pending.readUInt32BE(at + 3);
      if (this.pending.length - at < size + 8) break;
      const end = this.pending[at + 7 + size];
      if (end !== FRAME_END) throw new Error(`the server sent a frame with end byte ${end}`);
      // Copied, so that a test may keep it.
      const payload = Buffer.from(this.pending.subarray(at + 7, at + 7 + size));
      this.inbox.push(new Frame(this.pending[at]!, this.pending.readUInt16BE(at + 1), payload));
      at += size + 8;
    }
    if (at > 0) this.pending = this.pending.subarray(at);
  }

  private onEnd(): void {
    this.over = true;
    this.wake?.();
  }

  /** From now on incoming bytes are not cut into frames; read them with `readBytes`. */
  rawBytes(): this {
    this.unframed = true;
    return this;
  }

  /** From now on heartbeat frames are handed out by `next` instead of being skipped. */
  keepHeartbeats(): this {
    this.heartbeats = true;
    return this;
  }

  /** True once the server has ended or reset the TCP stream. */
  get ended(): boolean {
    return this.over;
  }

  /** Local address as the server sees it: `host:port`. */
  get localAddress(): string {
    return `${this.socket.localAddress}:${this.socket.localPort}`;
  }

  /** Writes bytes in one go (one segment, unless they are many). */
  send(...chunks: readonly Buffer[]): this {
    if (!this.socket.destroyed) this.socket.write(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    return this;
  }

  /** Writes one method. */
  sendMethod(channel: number, name: string, fields: Fields = {}): this {
    return this.send(method(channel, name, fields));
  }

  /** Writes `bytes` in pieces, each in a write of its own after the previous one left this process. */
  async sendSplit(bytes: Buffer, ...at: readonly number[]): Promise<void> {
    let from = 0;
    for (const to of [...at, bytes.length]) {
      if (to > from) await this.flushed(bytes.subarray(from, to));
      from = to;
    }
  }

  private flushed(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve();
      // The turn of the event loop between two writes keeps the kernel from joining them most of the time.
      this.socket.write(bytes, () => setImmediate(resolve));
    });
  }

  /** Ends our half of the stream, after what was written. */
  endWrites(): void {
    this.socket.end();
  }

  /** Drops the connection without a word; `reset` sends RST instead of FIN. */
  destroy(reset = false): void {
    if (reset) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Stops reading from the socket, so that the server's writes fill up. */
  pauseReading(): void {
    this.socket.pause();
  }

  /** Reads again after `pauseReading`. */
  resumeReading(): void {
    this.socket.resume();
  }

  private async until<T>(probe: () => T | null, ms: number): Promise<T | 'timeout'> {
    const deadline = Date.now() + ms;
    for (;;) {
      const found = probe();
      if (found !== null) return found;
      const left = deadline - Date.now();
      if (left <= 0) return 'timeout';
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left);
        const self = this;
        function done(): void {
          clearTimeout(timer);
          self.wake = null;
          resolve();
        }
        this.wake = done;
      });
    }
  }

  private async outcome(ms: number): Promise<Outcome> {
    return this.until<ReceivedFrame | 'ended'>(() => {
      for (;;) {
        const next = this.inbox.shift();
        if (next === undefined && this.failure !== null) throw this.failure;
        if (next === undefined) return this.over ? 'ended' : null;
        if (next.name !== 'heartbeat' || this.heartbeats) return next;
      }
    }, ms);
  }

  /** The next frame. @throws when the stream ends or nothing comes within `ms`. */
  async next(ms: number = PATIENCE_MS): Promise<ReceivedFrame> {
    const outcome = await this.outcome(ms);
    if (outcome === 'ended') throw new Error('expected a frame, but the server ended the connection');
    if (outcome === 'timeout') throw new Error(`expected a frame, but nothing came within ${ms} ms`);
    return outcome;
  }

  /** The next frame, which must be `name` (and on `channel`, if given). */
  async expectFrame(
    name: string,
    channel: number | null = null,
    ms: number = PATIENCE_MS,
  ): Promise<ReceivedFrame> {
    let frameSeen: ReceivedFrame;
    try {
      frameSeen = await this.next(ms);
    } catch (error) {
      throw new Error(`waiting for ${name}: ${(error as Error).message}`);
    }
    if (frameSeen.name !== name || (channel !== null && frameSeen.channel !== channel)) {
      throw new Error(
        `expected ${name}${channel === null ? '' : ` on channel ${channel}`}, got ${describeFrame(frameSeen)}`,
      );
    }
    return frameSeen;
  }

  /** The arguments of the next frame, which must be the method `name` (and on `channel`, if given). */
  async expect(name: string, channel: number | null = null, ms: number = PATIENCE_MS): Promise<Fields> {
    return (await this.expectFrame(name, channel, ms)).fields;
  }

  /** Sends a method and expects its reply on the same channel; the reply's arguments. */
  async call(channel: number, name: string, fields: Fields = {}, reply = `${name}-ok`): Promise<Fields> {
    this.sendMethod(channel, name, fields);
    return this.expect(reply, channel);
  }

  /** Opens a channel. */
  async openChannel(channel: number): Promise<void> {
    await this.call(channel, 'channel.open');
  }

  /** The next frame must be `channel.close` on `channel`: why. Answers with close-ok unless told not to. */
  async expectChannelClose(channel: number, answer = true): Promise<CloseReason> {
    const reason = closeReason(await this.expect('channel.close', channel));
    if (answer) this.sendMethod(channel, 'channel.close-ok');
    return reason;
  }

  /** The next frame must be `connection.close`: why. Answers with close-ok unless told not to. */
  async expectConnectionClose(answer = true): Promise<CloseReason> {
    const reason = closeReason(await this.expect('connection.close', 0));
    if (answer) this.sendMethod(0, 'connection.close-ok');
    return reason;
  }

  /** Skips frames of other kinds until the next `connection.close`: why. */
  async untilConnectionClose(answer = true): Promise<CloseReason> {
    for (;;) {
      const next = await this.next();
      if (next.name !== 'connection.close') continue;
      if (answer) this.sendMethod(0, 'connection.close-ok');
      return closeReason(next.fields);
    }
  }

  /** The next method `name` (content carrying) on `channel` with its header and bodies. */
  async expectContent(name: string, channel: number): Promise<ReceivedContent> {
    const methodFrame = await this.expectFrame(name, channel);
    const headerFrame = await this.expectFrame('header', channel);
    const bodySize = Number(headerFrame.payload.readBigUInt64BE(4));
    const bodyFrames: Buffer[] = [];
    let received = 0;
    while (received < bodySize) {
      const bodyFrame = await this.expectFrame('body', channel);
      bodyFrames.push(bodyFrame.payload);
      received += bodyFrame.payload.length;
    }
    return {
      method: methodFrame,
      header: headerFrame,
      rawProperties: headerFrame.payload.subarray(12),
      bodySize,
      bodyFrames,
      body: Buffer.concat(bodyFrames),
    };
  }

  /** `basic.get` of a message that must be there. */
  async get(channel: number, queue: string, noAck = true): Promise<ReceivedContent> {
    this.sendMethod(channel, 'basic.get', { queue, noAck });
    return this.expectContent('basic.get-ok', channel);
  }

  /** Asks for the number of ready messages until it is `count`. */
  async untilReady(channel: number, queue: string, count: number): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { messageCount } = await this.call(channel, 'queue.declare', { queue, passive: true });
      if (messageCount === count) return;
      if (Date.now() > deadline)
        throw new Error(`expected ${count} ready messages in ${queue}, there are ${messageCount}`);
    }
  }

  /** Proves that nothing is on its way: a round trip on `channel` whose reply must be the very next frame. */
  async expectQuiet(channel: number): Promise<void> {
    await this.call(channel, 'basic.qos', { prefetchCount: 0, global: false });
  }

  /** The stream must end within `ms` without another frame. Resolves to how long that took, in milliseconds. */
  async closedWithin(ms: number = PATIENCE_MS): Promise<number> {
    const begun = Date.now();
    const outcome = await this.outcome(ms);
    if (outcome === 'timeout') throw new Error(`expected the server to end the connection within ${ms} ms`);
    if (outcome !== 'ended')
      throw new Error(`expected the end of the connection, got ${describeFrame(outcome)}`);
    return Date.now() - begun;
  }

  /** The stream must end within `ms`, whatever comes before. The names of the frames that came. */
  async drainedWithin(ms: number = PATIENCE_MS): Promise<string[]> {
    const deadline = Date.now() + ms;
    const names: string[] = [];
    for (;;) {
      const outcome = await this.outcome(Math.max(1, deadline - Date.now()));
      if (outcome === 'ended') return names;
      if (outcome === 'timeout') throw new Error(`the server did not end the connection within ${ms} ms`);
      names.push(outcome.name);
    }
  }

  /** No frame and no end within `ms`. Use sparingly: it always costs `ms`. */
  async silentFor(ms: number): Promise<void> {
    const outcome = await this.outcome(ms);
    if (outcome === 'ended')
      throw new Error(`expected ${ms} ms of silence, but the server ended the connection`);
    if (outcome !== 'timeout') throw new Error(`expected ${ms} ms of silence, got ${describeFrame(outcome)}`);
  }

  /** Exactly `length` bytes that are not part of a frame (after `rawBytes`, or an answering protocol header). */
  async readBytes(length: number, ms: number = PATIENCE_MS): Promise<Buffer> {
    const outcome = await this.until(() => (this.pending.length >= length || this.over ? true : null), ms);
    if (outcome === 'timeout' || this.pending.length < length) {
      throw new Error(
        `expected ${length} bytes, got ${this.pending.length}${this.over ? ' and the end of the connection' : ''}`,
      );
    }
    const bytes = Buffer.from(this.pending.subarray(0, length));
    this.pending = this.pending.subarray(length);
    return bytes;
  }

  /** Client side of the handshake up to and including `tune` from the server. */
  async authenticate(user: string, password: string, options: OpenOptions = {}): Promise<void> {
    this.send(PROTOCOL_HEADER);
    this.start = await this.expect('connection.start', 0);
    this.send(
      startOk(
        plainResponse(user, password),
        'PLAIN',
        options.clientProperties ?? { capabilities: CLIENT_CAPABILITIES },
      ),
    );
    this.tune = await this.expect('connection.tune', 0);
  }

  /** The rest of the handshake: tune-ok, open, open-ok. */
  async openVhost(vhost: string, options: OpenOptions = {}): Promise<void> {
    this.frameMax = options.frameMax ?? (this.tune['frameMax'] as number);
    this.send(
      method(0, 'connection.tune-ok', {
        channelMax: options.channelMax ?? this.tune['channelMax'],
        frameMax: this.frameMax,
        heartbeat: options.heartbeat ?? 0,
      }),
      method(0, 'connection.open', { virtualHost: vhost }),
    );
    await this.expect('connection.open-ok', 0);
  }

  /** A clean good-bye: close, close-ok, end of stream. */
  async close(): Promise<void> {
    this.sendMethod(0, 'connection.close', { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 });
    for (;;) {
      const next = await this.next();
      if (next.name === 'connection.close-ok') break;
    }
    this.socket.end();
  }
}

/** The arguments of a close method as the reason they give. */
export function closeReason(fields: Fields): CloseReason {
  return {
    code: fields['replyCode'] as number,
    text: fields['replyText'] as string,
    classId: fields['classId'] as number,
    methodId: fields['methodId'] as number,
  };
}

/** A received frame. Decoding waits for the test: amqplib's codec throws on field tags it does not know. */
class Frame implements ReceivedFrame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
  readonly name: string;
  private decoded: Fields | null = null;

  constructor(type: number, channel: number, payload: Buffer) {
    this.type = type;
    this.channel = channel;
    this.payload = payload;
    this.name = frameName(type, payload);
  }

  get fields(): Fields {
    if (this.decoded === null) {
      if (this.type === FRAME_METHOD)
        this.decoded = defs.decode(this.payload.readUInt32BE(0), this.payload.subarray(4));
      else if (this.type === FRAME_HEADER) this.decoded = defs.decode(60, this.payload.subarray(12));
      else this.decoded = {};
    }
    return this.decoded;
  }
}

function frameName(type: number, payload: Buffer): string {
  switch (type) {
    case FRAME_METHOD:
      return amqpName(defs.info(payload.readUInt32BE(0)).name);
    case FRAME_HEADER:
      return 'header';
    case FRAME_BODY:
      return 'body';
    case FRAME_HEARTBEAT:
      return 'heartbeat';
    default:
      return 'unknown';
  }
}

function describeFrame(seen: ReceivedFrame): string {
  const detail =
    seen.type === FRAME_METHOD ? ` ${JSON.stringify(seen.fields)}` : ` of ${seen.payload.length} bytes`;
  return `${seen.name} on channel ${seen.channel}${detail}`;
}

/** A TCP (or TLS) connection on which nothing has been sent. */
export function connectRaw(url: string): Promise<RawClient> {
  const { host, port, tls } = parseUrl(url);
  return new Promise((resolve, reject) => {
    const socket = tls ? connectTls({ host, port, rejectUnauthorized: false }) : connectTcp({ host, port });
    socket.once('error', reject);
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      socket.off('error', reject);
      resolve(new RawClient(socket));
    });
  });
}

/** An open AMQP connection: header, start-ok, tune-ok and open are done, no channel is open. */
export async function openRaw(url: string, options: OpenOptions = {}): Promise<RawClient> {
  const parts = parseUrl(url);
  const client = await connectRaw(url);
  try {
    await client.authenticate(options.user ?? parts.user, options.password ?? parts.password, options);
    await client.openVhost(options.vhost ?? parts.vhost, options);
  } catch (error) {
    client.destroy();
    throw error;
  }
  return client;
}

// One client connection: reads frames and hands them to their channels, gathers what goes out and writes it once per turn, and ends
// things in RabbitMQ's order. Knows a Duplex and the facts of its peer, not what kind of socket it is.
//
// Invariants
// - All output goes through `writer` and leaves in `flush`, once per turn of the broker.
// - After `teardown` the connection holds nothing of the broker: no channel, consumer, exclusive queue or timer.

import type { Duplex } from 'node:stream';
import type { Reason } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { Timer } from '../base/timer-wheel.ts';
import type { Flushable } from '../base/turn.ts';
import type { PeerFacts } from '../net/listener.ts';
import type { Caller, Permission, ResourceKind } from '../node/caller.ts';
import type { ClientConnection } from '../node/connections.ts';
import type { BrokerNode } from '../node/node.ts';
import type { VHost } from '../node/vhost.ts';
import {
  CHANNEL_ERROR,
  CHANNEL_OPEN,
  COMMAND_INVALID,
  CONNECTION_CLOSE,
  CONNECTION_CLOSE_OK,
  CONNECTION_UPDATE_SECRET,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  METHODS,
  NOT_ALLOWED,
  UNEXPECTED_FRAME,
} from '../protocol/constants.ts';
import { DecodeError } from '../protocol/errors.ts';
import { EMPTY_TABLE, type FieldTable } from '../protocol/field-table.ts';
import { FrameReader } from '../protocol/frame-reader.ts';
import { type Chunk, type ChunkPool, FrameWriter } from '../protocol/frame-writer.ts';
import {
  decodeChannelOpen,
  decodeConnectionClose,
  decodeConnectionUpdateSecret,
  encodeChannelCloseOk,
  encodeChannelOpenOk,
  encodeConnectionBlocked,
  encodeConnectionClose,
  encodeConnectionCloseOk,
  encodeConnectionUnblocked,
  encodeConnectionUpdateSecretOk,
} from '../protocol/methods.ts';
import { Channel } from './channel.ts';
import { AmqpError, amqpErrorOf, FramingError, methodIdAt, replyCodeOf } from './errors.ts';
import { type Capabilities, Handshake, HEADER_LENGTH, internalError, NO_CAPABILITIES } from './handshake.ts';
import { Heartbeat, type HeartbeatPeer } from './heartbeat.ts';
import { type AmqpOptions, HANDSHAKE_FRAME_MAX } from './options.ts';
import { PublishTargets } from './publish-targets.ts';

/**
 * header … opening: the handshake. running: open. closing: we sent connection.close. ending: nothing more is said or heard, TCP is to
 * end (we answered a close, or let the client go without a word). closed: TCP is gone.
 */
export type ConnectionState =
  | 'header'
  | 'starting'
  | 'securing'
  | 'tuning'
  | 'opening'
  | 'running'
  | 'closing'
  | 'ending'
  | 'closed';

const EDGES: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  header: ['starting', 'ending', 'closed'],
  starting: ['securing', 'ending', 'closed'],
  securing: ['tuning', 'closing', 'ending', 'closed'],
  tuning: ['opening', 'closing', 'ending', 'closed'],
  opening: ['running', 'closing', 'ending', 'closed'],
  running: ['closing', 'ending', 'closed'],
  closing: ['ending', 'closed'],
  ending: ['closed'],
  closed: [],
};

/** Why a connection is not read from. */
export type PauseReason = 'blocked' | 'pressure' | 'turn' | 'login' | 'replies';

const KNOWN_METHODS: ReadonlySet<number> = new Set(METHODS.map((method) => method.id));

/** RabbitMQ: TCP is dropped so long after close-ok when the client does not end it, unless the heartbeat is shorter. */
const LINGER_MAX_S = 30;

/** A client connection speaking AMQP 0-9-1. */
export class Connection implements ClientConnection, Caller, Flushable, HeartbeatPeer {
  readonly node: BrokerNode;
  readonly options: AmqpOptions;
  readonly peer: PeerFacts;
  readonly log: Logger;
  readonly pool: ChunkPool;
  readonly name: string;
  readonly writer: FrameWriter;
  readonly targets = new PublishTargets();
  readonly gone: Promise<void>;
  readonly connectedAt: number;

  state: ConnectionState = 'header';
  flushPending = false;
  username = '';
  capabilities: Capabilities = NO_CAPABILITIES;
  clientProperties: FieldTable = EMPTY_TABLE;
  /** Negotiated largest frame, for both directions. */
  frameMax: number;
  channelMax: number;
  heartbeatSeconds = 0;
  bytesIn = 0;
  bytesOut = 0;

  private readonly stream: Duplex;
  readonly reader: FrameReader;
  private readonly channels = new Map<number, Channel>();
  /** The channel of the frame before: most often the next one is for it too. */
  private lastChannel: Channel | null = null;
  private handshake: Handshake | null;
  /** Bytes of the protocol header that have come. */
  private header: Buffer = Buffer.alloc(0);
  private openVHost: VHost | null = null;
  private heartbeat: Heartbeat | null = null;
  private readonly deadline = new Timer(() => this.onDeadline());
  private readonly pauses = new Set<PauseReason>();
  /** The client was told that it is blocked. */
  private blockedSent = false;
  /** A message was published since the connection opened: alarms concern it. */
  private isPublisher = false;
  /** Bytes read in this turn. */
  private readThisTurn = 0;
  /** The socket takes more. */
  private writable = true;
  /** A consumer was held back by the socket. */
  private starved = false;
  private readonly confirming: Channel[] = [];
  private tornDown = false;
  /** Method on channel 0 that is being handled, to blame in an error. */
  private controlMethod = 0;
  private onGone: () => void = () => {};

  constructor(stream: Duplex, peer: PeerFacts, node: BrokerNode, options: AmqpOptions, pool: ChunkPool) {
    this.stream = stream;
    this.peer = peer;
    this.node = node;
    this.options = options;
    this.pool = pool;
    this.log = node.log;
    this.connectedAt = node.clock.now();
    this.name = `${peer.remoteAddress}:${peer.remotePort} -> ${peer.localAddress}:${peer.localPort}`;
    this.frameMax = options.frameMax;
    this.channelMax = options.channelMax;
    this.reader = new FrameReader(HANDSHAKE_FRAME_MAX);
    this.writer = new FrameWriter(pool);
    this.handshake = new Handshake(this);
    this.gone = new Promise((resolve) => {
      this.onGone = resolve;
    });
    node.connections.add(this);
    node.wheel.set(this.deadline, options.handshakeTimeoutMs);
    stream.on('data', (chunk: Buffer) => this.onData(chunk));
    stream.on('drain', () => this.onDrain());
    stream.on('error', (error: Error) =>
      this.log.debug('a connection broke', { connection: this.name, error: error.message }),
    );
    stream.on('close', () => this.onStreamClosed());
  }

  // ── facts ──

  get owner(): object {
    return this;
  }

  /** The vhost of an open connection. */
  get vhost(): VHost {
    return this.openVHost!;
  }

  get vhostName(): string {
    return this.openVHost?.name ?? '';
  }

  get readingPaused(): boolean {
    return this.pauses.size !== 0;
  }

  get channelList(): Iterable<Channel> {
    return this.channels.values();
  }

  assertMay(permission: Permission, kind: ResourceKind, name: string): void {
    this.node.access.assertMay(this.username, this.vhost.name, permission, kind, name);
  }

  assertMayKnow(kind: ResourceKind, name: string): void {
    const { access } = this.node;
    const vhost = this.vhost.name;
    if (access.may(this.username, vhost, 'read', name) || access.may(this.username, vhost, 'write', name))
      return;
    access.assertMay(this.username, vhost, 'configure', kind, name);
  }

  assertMayTopic(permission: 'write' | 'read', exchange: string, routingKey: string): void {
    this.node.access.assertMayTopic(this.username, this.vhost.name, exchange, permission, routingKey);
  }

  become(next: ConnectionState): void {
    if (!EDGES[this.state].includes(next))
      throw new Error(`a connection cannot go from ${this.state} to ${next}`);
    this.state = next;
  }

  // ── input ──

  private onData(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    if (this.state === 'ending' || this.state === 'closed') return;
    let rest = chunk;
    if (this.state === 'header') {
      const header = this.header.length === 0 ? chunk : Buffer.concat([this.header, chunk]);
      if (header.length < HEADER_LENGTH) {
        this.header = Buffer.from(header);
        return;
      }
      this.header = Buffer.alloc(0);
      this.handshake!.onHeader(header.subarray(0, HEADER_LENGTH));
      rest = header.subarray(HEADER_LENGTH);
    }
    this.readThisTurn += chunk.length;
    if (this.readThisTurn >= this.options.turnReadBytes) this.pauseReading('turn');
    this.reader.push(rest);
    this.readFrames();
    // What was read may have written to the store, and the turn's read budget has to be given back.
    this.wantsFlush();
  }

  private readFrames(): void {
    const { reader } = this;
    for (;;) {
      try {
        while (!this.pauses.has('login') && this.nextFrame()) {
          this.onFrame(reader.type, reader.channel, reader.buffer, reader.start, reader.stop);
        }
        return;
      } catch (error) {
        this.onFrameError(error, reader.channel);
        if (this.state === 'ending' || this.state === 'closed') return;
      }
    }
  }

  private nextFrame(): boolean {
    try {
      return this.reader.next();
    } catch (error) {
      throw error instanceof DecodeError ? new FramingError(error) : error;
    }
  }

  private onFrame(type: number, number: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state !== 'running') return this.onFrameOutside(type, number, buffer, start, stop);
    if (number === 0) return this.onControlFrame(type, buffer, start, stop);
    let channel = this.lastChannel;
    if (channel === null || channel.number !== number) {
      channel = this.channels.get(number) ?? null;
      if (channel === null) return this.onUnopenedChannel(type, number, buffer, start, stop);
      this.lastChannel = channel;
    }
    channel.onFrame(type, buffer, start, stop);
  }

  /** Frames before the connection is open, or after it began to close. */
  private onFrameOutside(type: number, number: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state === 'closing') {
      // RabbitMQ: everything is ignored now, but for close and close-ok.
      if (type !== FRAME_METHOD || number !== 0) return;
      const id = buffer.readUInt32BE(start);
      if (id === CONNECTION_CLOSE_OK) this.endStream();
      else if (id === CONNECTION_CLOSE) {
        encodeConnectionCloseOk(this.writer, 0);
        this.wantsFlush();
      }
      return;
    }
    if (this.state === 'ending' || this.state === 'closed') return;
    this.handshake!.onFrame(type, number, buffer, start, stop);
  }

  private onControlFrame(type: number, buffer: Buffer, start: number, stop: number): void {
    if (type === FRAME_HEARTBEAT) return;
    if (type !== FRAME_METHOD) throw new AmqpError(UNEXPECTED_FRAME, 'a content frame on channel 0', 0);
    const id = methodIdAt(buffer, start, stop);
    this.controlMethod = id;
    switch (id) {
      case CONNECTION_CLOSE:
        decodeConnectionClose(buffer, start + 4, stop);
        return this.onClose();
      case CONNECTION_UPDATE_SECRET:
        return this.onUpdateSecret(decodeConnectionUpdateSecret(buffer, start + 4, stop).newSecret);
      default:
        if (!KNOWN_METHODS.has(id)) throw new AmqpError(COMMAND_INVALID, 'unimplemented method');
        throw new AmqpError(CHANNEL_ERROR, 'unexpected method in connection state running');
    }
  }

  private onUnopenedChannel(type: number, number: number, buffer: Buffer, start: number, stop: number): void {
    if (type !== FRAME_METHOD)
      throw new AmqpError(UNEXPECTED_FRAME, 'expected method frame, got non method frame instead', 0);
    const id = methodIdAt(buffer, start, stop);
    if (id !== CHANNEL_OPEN) throw new AmqpError(CHANNEL_ERROR, "expected 'channel.open'", id);
    decodeChannelOpen(buffer, start + 4, stop);
    const open = this.channels.size;
    if (open >= this.channelMax) {
      throw new AmqpError(
        NOT_ALLOWED,
        `number of channels opened (${open}) has reached the negotiated channel_max (${this.channelMax})`,
        id,
      );
    }
    const { node } = this;
    const nodeMax = node.options.channelMaxPerNode;
    if (node.connections.channels >= nodeMax) {
      throw new AmqpError(
        NOT_ALLOWED,
        `number of channels opened on node '${node.name}' has reached the maximum allowed limit of ${nodeMax}`,
        id,
      );
    }
    this.channels.set(number, new Channel(this, number));
    node.connections.channels++;
    encodeChannelOpenOk(this.writer, number);
    this.wantsFlush();
  }

  private onFrameError(error: unknown, number: number): void {
    let refusal = amqpErrorOf(error);
    if (refusal === null) {
      this.log.error('an error while a frame was handled', {
        connection: this.name,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      refusal = internalError();
    }
    if (this.state === 'closing' || this.state === 'ending' || this.state === 'closed') return;
    const channel = number === 0 ? undefined : this.channels.get(number);
    if (!refusal.hard && channel !== undefined && this.state === 'running') {
      // A second error on a channel that is closing already would be one too many.
      if (channel.state === 'open') channel.closeWith(refusal);
      return;
    }
    const blamed = refusal.methodId ?? channel?.method ?? this.controlMethod;
    const final = new AmqpError(refusal.code, refusal.message, blamed);
    // RabbitMQ: after a framing error it does not look for a close-ok, TCP ends after the short delay.
    const waitMs =
      error instanceof FramingError ? this.options.authFailureDelayMs : this.options.closeTimeoutMs;
    if (this.state === 'opening' || this.state === 'running') this.closeWith(final, waitMs);
    else {
      // RabbitMQ: while starting, securing and tuning an error is only logged.
      this.log.warn(`handshake failed: ${refusal.replyText}`, { connection: this.name });
      this.closeSilently();
    }
  }

  // ── handshake results ──

  /** tune-ok: what was agreed on. */
  tuned(frameMax: number, channelMax: number, heartbeatSeconds: number): void {
    this.frameMax = frameMax;
    this.reader.frameMax = frameMax;
    this.channelMax = channelMax;
    this.heartbeatSeconds = heartbeatSeconds;
    this.heartbeat = new Heartbeat(this.node.wheel, this, heartbeatSeconds);
    this.heartbeat.start();
  }

  opened(vhost: VHost): void {
    this.become('running');
    this.openVHost = vhost;
    this.handshake = null;
    this.node.openConnections++;
    this.node.wheel.clear(this.deadline);
    this.log.debug('a connection is open', { connection: this.name, user: this.username, vhost: vhost.name });
  }

  /** Reads nothing until `promise` has a result. */
  waitFor<T>(promise: Promise<T>, done: (result: T) => void): void {
    this.pauseReading('login');
    const goOn = (act: () => void): void => {
      if (this.tornDown) return;
      this.resumeReading('login');
      try {
        act();
      } catch (error) {
        this.onFrameError(error, 0);
      }
      this.readFrames();
      this.wantsFlush();
    };
    promise.then(
      (result) => goOn(() => done(result)),
      (error: unknown) => goOn(() => this.onFrameError(error, 0)),
    );
  }

  private onUpdateSecret(secret: Buffer): void {
    const { username, node } = this;
    const refused = (text: string): AmqpError => new AmqpError(NOT_ALLOWED, text, CONNECTION_UPDATE_SECRET);
    this.waitFor(node.login.withPassword(username, secret.toString(), this.peer.remoteAddress), (result) => {
      if (result.user === null || !node.access.mayOpen(username, this.vhost.name)) {
        throw refused('New secret was refused by one of the backends');
      }
      for (const channel of this.channels.values()) channel.dropUnreadable();
      encodeConnectionUpdateSecretOk(this.writer, 0);
    });
  }

  // ── output ──

  /** Has `flush` called at the end of the turn. */
  wantsFlush(): void {
    if (!this.flushPending) this.node.turn.flushLater(this);
  }

  /** Room for one more delivery: the socket takes it and this turn's share is not used up. */
  canWrite(): boolean {
    if (this.writable && this.writer.pendingBytes < this.options.outgoingBytesMax) return true;
    this.starved = true;
    return false;
  }

  /** A channel has confirms to tell at the next flush. */
  queueConfirms(channel: Channel): void {
    channel.confirmsQueued = true;
    this.confirming.push(channel);
    this.wantsFlush();
  }

  flush(): void {
    const { confirming, writer } = this;
    for (let i = 0; i < confirming.length; i++) confirming[i]!.writeConfirms(writer);
    confirming.length = 0;
    this.readThisTurn = 0;
    this.resumeReading('turn');
    if (writer.pendingBytes !== 0) this.send(writer.detach());
    if (this.starved && this.writable) {
      this.starved = false;
      for (const channel of this.channels.values()) channel.resumeConsumers();
    }
  }

  private send(chunks: Chunk[]): void {
    const { stream } = this;
    if (this.state === 'closed' || stream.destroyed || stream.writableEnded) return;
    if (chunks.length > 1) stream.cork();
    for (let i = 0; i < chunks.length; i++) {
      const { buffer, length } = chunks[i]!;
      this.bytesOut += length;
      stream.write(length === buffer.length ? buffer : buffer.subarray(0, length));
    }
    if (chunks.length > 1) stream.uncork();
    // The system took everything: nobody reads the chunks any more.
    if (stream.writableLength === 0) this.pool.giveAll(chunks);
    this.writable = stream.writableLength < this.options.outgoingBytesMax;
  }

  private onDrain(): void {
    this.writable = true;
    if (this.starved) this.wantsFlush();
  }

  sendHeartbeat(): void {
    this.writer.heartbeat();
    this.wantsFlush();
  }

  peerSilent(): void {
    this.log.warn('missed heartbeats from a client, the connection is dropped', {
      connection: this.name,
      heartbeatSeconds: this.heartbeatSeconds,
    });
    this.destroy();
  }

  sendChannelCloseOk(number: number): void {
    encodeChannelCloseOk(this.writer, number);
    this.wantsFlush();
  }

  /** A last word outside of any frame. */
  sendRawAndEnd(bytes: Buffer): void {
    this.become('ending');
    this.node.wheel.clear(this.deadline);
    this.stream.end(bytes);
    this.node.wheel.set(this.deadline, this.options.closeTimeoutMs);
  }

  // ── flow ──

  pauseReading(why: PauseReason): void {
    if (this.pauses.size === 0) this.stream.pause();
    this.pauses.add(why);
  }

  resumeReading(why: PauseReason): void {
    if (this.pauses.size === 0) return;
    this.pauses.delete(why);
    if (this.pauses.size === 0) this.stream.resume();
  }

  /** A publish has come in: alarms and the store's pressure concern this connection. */
  published(): void {
    this.isPublisher = true;
    const { node } = this;
    if (node.pressure) this.pauseReading('pressure');
    if (node.alarms.reason !== null) this.setBlocked(node.alarms.reason);
  }

  setPressure(on: boolean): void {
    if (!on) this.resumeReading('pressure');
    else if (this.isPublisher) this.pauseReading('pressure');
  }

  setBlocked(reason: string | null): void {
    if (reason === null) {
      if (this.blockedSent) {
        encodeConnectionUnblocked(this.writer, 0);
        this.wantsFlush();
      }
      this.blockedSent = false;
      this.isPublisher = false;
      this.resumeReading('blocked');
      return;
    }
    // RabbitMQ: consumers are never blocked, a publisher at its next publish.
    if (!this.isPublisher || this.state !== 'running' || this.pauses.has('blocked')) return;
    this.pauseReading('blocked');
    if (!this.capabilities.connectionBlocked) return;
    this.blockedSent = true;
    encodeConnectionBlocked(this.writer, 0, { reason });
    this.wantsFlush();
  }

  // ── ends ──

  removeChannel(channel: Channel): void {
    if (this.channels.get(channel.number) !== channel) return;
    this.channels.delete(channel.number);
    this.node.connections.channels--;
    if (this.lastChannel === channel) this.lastChannel = null;
  }

  /** The client is told why, then has `waitMs` to answer. */
  closeWith(error: AmqpError, waitMs: number): void {
    this.log.warn(`a connection is closed: ${error.replyText}`, {
      connection: this.name,
      user: this.username,
    });
    this.teardown();
    this.become('closing');
    const methodId = error.methodId ?? 0;
    encodeConnectionClose(this.writer, 0, {
      replyCode: error.code,
      replyText: error.replyText,
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    });
    this.wantsFlush();
    this.node.wheel.set(this.deadline, waitMs);
  }

  close(reason: Reason, explanation: string): void {
    if (this.state === 'running' || this.state === 'opening') {
      this.closeWith(new AmqpError(replyCodeOf(reason), explanation, 0), this.options.closeTimeoutMs);
    } else if (this.state !== 'closing') this.destroy();
  }

  /** RabbitMQ: a client that failed before the connection was open hears nothing; TCP ends after a delay. */
  closeSilently(): void {
    this.teardown();
    this.become('ending');
    this.node.wheel.set(this.deadline, this.options.authFailureDelayMs);
  }

  destroy(): void {
    this.stream.destroy();
  }

  private onClose(): void {
    // RabbitMQ: unacked deliveries are back and exclusive queues are gone before close-ok; clients that reconnect rely on it.
    this.teardown();
    encodeConnectionCloseOk(this.writer, 0);
    this.become('ending');
    this.wantsFlush();
    const lingerSeconds =
      this.heartbeatSeconds > 0 ? Math.min(this.heartbeatSeconds, LINGER_MAX_S) : LINGER_MAX_S;
    this.node.wheel.set(this.deadline, Math.min(lingerSeconds * 1000, this.options.closeTimeoutMs));
  }

  private endStream(): void {
    this.flush();
    this.become('ending');
    this.stream.end();
  }

  private onDeadline(): void {
    if (this.state !== 'ending' && this.state !== 'closing') {
      this.log.warn('a client did not finish its handshake in time', {
        connection: this.name,
        state: this.state,
      });
    }
    this.destroy();
  }

  private onStreamClosed(): void {
    this.teardown();
    if (this.state !== 'closed') this.become('closed');
    this.node.wheel.clear(this.deadline);
    this.node.connections.remove(this);
    this.onGone();
  }

  /** Everything the connection holds goes back. Safe to call twice. */
  private teardown(): void {
    if (this.tornDown) return;
    this.tornDown = true;
    this.heartbeat?.stop();
    this.node.wheel.clear(this.deadline);
    this.confirming.length = 0;
    for (const channel of [...this.channels.values()]) {
      channel.terminate();
      this.removeChannel(channel);
    }
    if (this.openVHost !== null) {
      this.node.openConnections--;
      this.openVHost.removeQueuesOf(this);
      this.node.turn.request();
    }
    // Whatever the pauses were for, an ending connection reads on to see the client's close-ok.
    if (this.pauses.size !== 0) {
      this.pauses.clear();
      this.stream.resume();
    }
  }
}

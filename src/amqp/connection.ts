// One client connection: reads frames and hands them to their channels, and ends things in RabbitMQ's order.
// Owns its state and its deadline; what comes in and what goes out, channels, alarms and heartbeats have files of their own.
// Knows a Duplex and the facts of its peer, not what kind of socket it is.
//
// Invariants
// - All output goes through `writer` and leaves in `flush`, once per turn of the broker.
// - Frames are handled in their order; while the gate is closed they wait in the reader.
// - After `teardown` the connection holds nothing of the broker: no channel, consumer, exclusive queue or timer but its deadline.

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
import { EMPTY_TABLE, type FieldTable } from '../protocol/field-table.ts';
import type { FrameReader } from '../protocol/frame-reader.ts';
import type { ChunkPool, FrameWriter } from '../protocol/frame-writer.ts';
import {
  decodeChannelOpen,
  decodeConnectionClose,
  decodeConnectionUpdateSecret,
  encodeConnectionClose,
  encodeConnectionCloseOk,
  encodeConnectionUpdateSecretOk,
} from '../protocol/methods.ts';
import type { WatchedChannel } from './ack-timeout.ts';
import { Brakes } from './brakes.ts';
import { ChannelTable } from './channel-table.ts';
import { AmqpError, amqpErrorOf, FramingError, methodIdAt, replyCodeOf } from './errors.ts';
import { type Capabilities, Handshake, internalError, NO_CAPABILITIES } from './handshake.ts';
import { Heartbeat, type HeartbeatPeer } from './heartbeat.ts';
import { Input } from './input.ts';
import type { AmqpOptions } from './options.ts';
import { Output } from './output.ts';
import type { PublishTargets, SharedTargets } from './publish-targets.ts';
import type { ReadGate } from './read-gate.ts';

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

const KNOWN_METHODS: ReadonlySet<number> = new Set(METHODS.map((method) => method.id));

/** RabbitMQ: TCP is dropped so long after close-ok when the client does not end it, unless the heartbeat is shorter. */
const LINGER_MAX_S = 30;

/** A client connection speaking AMQP 0-9-1. */
export class Connection implements ClientConnection, Caller, Flushable, HeartbeatPeer {
  readonly node: BrokerNode;
  readonly options: AmqpOptions;
  readonly peer: PeerFacts;
  readonly log: Logger;
  readonly name: string;
  readonly input: Input;
  readonly reader: FrameReader;
  readonly gate: ReadGate;
  readonly output: Output;
  readonly writer: FrameWriter;
  readonly brakes: Brakes;
  readonly channels: ChannelTable;
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

  private readonly stream: Duplex;
  private handshake: Handshake | null;
  private openVHost: VHost | null = null;
  private readonly sharedTargets: SharedTargets;
  /** Null before the connection is open. */
  private joinedTargets: PublishTargets | null = null;
  private heartbeat: Heartbeat | null = null;
  private readonly deadline = new Timer(() => this.onDeadline());
  private tornDown = false;
  /** Our close crossed one of the client's, which was answered. */
  private crossed = false;
  /** Method on channel 0 that is being handled, to blame in an error. */
  private controlMethod = 0;
  private onGone: () => void = () => {};

  constructor(
    stream: Duplex,
    peer: PeerFacts,
    node: BrokerNode,
    options: AmqpOptions,
    pool: ChunkPool,
    targets: SharedTargets,
  ) {
    this.stream = stream;
    this.sharedTargets = targets;
    this.peer = peer;
    this.node = node;
    this.options = options;
    this.log = node.log;
    this.connectedAt = node.clock.now();
    this.name = `${peer.remoteAddress}:${peer.remotePort} -> ${peer.localAddress}:${peer.localPort}`;
    this.frameMax = options.frameMax;
    this.channelMax = options.channelMax;
    this.input = new Input(this, stream);
    this.reader = this.input.reader;
    this.gate = this.input.gate;
    this.output = new Output(stream, pool, this.gate, node.turn, options.outgoingBytesMax, () =>
      this.wantsFlush(),
    );
    this.writer = this.output.writer;
    this.brakes = new Brakes(this);
    this.channels = new ChannelTable(this);
    this.handshake = new Handshake(this);
    this.gone = new Promise((resolve) => {
      this.onGone = resolve;
    });
    node.connections.add(this);
    node.wheel.set(this.deadline, options.handshakeTimeoutMs);
    stream.on('data', (chunk: Buffer) => {
      try {
        this.input.take(chunk);
      } catch (error) {
        this.broken(error);
      }
    });
    stream.on('end', () => this.guarded(() => this.input.end()));
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

  /** What publishes of an open connection mean. */
  get targets(): PublishTargets {
    return this.joinedTargets!;
  }

  get vhostName(): string {
    return this.openVHost?.name ?? '';
  }

  openChannels(): Iterable<WatchedChannel> {
    return this.channels;
  }

  get readingPaused(): boolean {
    return this.gate.isShutByUs;
  }

  get bytesTaken(): number | null {
    return this.gate.has('output') ? this.output.bytesTaken : null;
  }

  get bytesIn(): number {
    return this.input.bytesIn;
  }

  get bytesOut(): number {
    return this.output.bytesOut;
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

  /** Nothing the client says matters any more. */
  get isDeaf(): boolean {
    return this.state === 'ending' || this.state === 'closed';
  }

  become(next: ConnectionState): void {
    if (!EDGES[this.state].includes(next))
      throw new Error(`a connection cannot go from ${this.state} to ${next}`);
    this.state = next;
  }

  // ── input ──

  /** Runs a handler that nobody else guards. */
  guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.broken(error);
    }
  }

  /** Whatever a handler threw is a bug of ours. It costs this connection but not the broker. */
  private broken(error: unknown): void {
    this.logError('an error on a connection, which is dropped', error);
    this.destroy();
  }

  /** The protocol header, or whatever stands in its place. */
  onHeader(bytes: Buffer): void {
    this.handshake!.onHeader(bytes);
  }

  /** One frame, its payload in `buffer[start, stop)`. Whatever is wrong with it is thrown, and comes back to `onFrameError`. */
  onFrame(type: number, number: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state !== 'running') return this.onFrameOutside(type, number, buffer, start, stop);
    if (number === 0) return this.onControlFrame(type, buffer, start, stop);
    const channel = this.channels.find(number);
    if (channel === null) return this.onUnopenedChannel(type, number, buffer, start, stop);
    channel.onFrame(type, buffer, start, stop);
  }

  /** Frames before the connection is open, or after it began to close. */
  private onFrameOutside(type: number, number: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state === 'closing') {
      // RabbitMQ: everything is ignored now, but for close and close-ok.
      if (type !== FRAME_METHOD || number !== 0) return;
      const id = buffer.readUInt32BE(start);
      if (id === CONNECTION_CLOSE_OK) this.endStream();
      else if (id === CONNECTION_CLOSE && !this.crossed) {
        // Once: a client that goes on without reading must not make us gather answers.
        this.crossed = true;
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
    this.channels.open(number);
  }

  /** What a frame of this channel led to: the end of the channel, or of the connection. */
  onFrameError(error: unknown, number: number): void {
    let refusal = amqpErrorOf(error);
    if (refusal === null) {
      this.logError('an error while a frame was handled', error);
      refusal = internalError();
    }
    if (this.state === 'closing' || this.state === 'ending' || this.state === 'closed') return;
    const channel = number === 0 ? null : this.channels.find(number);
    if (!refusal.hard && channel !== null && this.state === 'running') {
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
    this.joinedTargets = this.sharedTargets.join(vhost, this.username);
    this.handshake = null;
    this.node.limits.connectionOpened(this.username, vhost);
    this.node.wheel.clear(this.deadline);
    this.log.debug('a connection is open', { connection: this.name, user: this.username, vhost: vhost.name });
  }

  /** Reads nothing until `promise` has a result. */
  waitFor<T>(promise: Promise<T>, done: (result: T) => void, refused: (why: string) => void): void {
    this.gate.pause('login');
    const goOn = (act: () => void): void => {
      if (this.tornDown) return;
      try {
        act();
      } catch (error) {
        this.onFrameError(error, 0);
      }
      this.wantsFlush();
      this.gate.resume('login');
    };
    promise.then(
      (result) => this.guarded(() => goOn(() => done(result))),
      (error: unknown) =>
        this.guarded(() => goOn(() => refused(error instanceof Error ? error.message : String(error)))),
    );
  }

  private onUpdateSecret(secret: Buffer): void {
    const { username, node } = this;
    const refuse = (text: string): never => {
      throw new AmqpError(NOT_ALLOWED, text, CONNECTION_UPDATE_SECRET);
    };
    this.waitFor(
      node.login.withPassword(username, secret.toString(), this.peer.remoteAddress),
      (result) => {
        if (result.user === null || !node.access.mayOpen(username, this.vhost.name))
          refuse('New secret was refused by one of the backends');
        for (const channel of this.channels) channel.dropUnreadable();
        encodeConnectionUpdateSecretOk(this.writer, 0);
      },
      (why) => {
        this.log.warn(`a new secret could not be checked: ${why}`, { connection: this.name, user: username });
        refuse('Secret update failed');
      },
    );
  }

  // ── output ──

  /** Has `flush` called at the end of the turn. */
  wantsFlush(): void {
    if (!this.flushPending) this.node.turn.flushLater(this);
  }

  flush(): void {
    try {
      this.channels.writeConfirms();
      if (this.output.flush()) this.channels.resumeConsumers();
      this.input.nextTurn();
    } catch (error) {
      this.broken(error);
    }
  }

  sendHeartbeat(): void {
    // Bytes that the client has not taken yet say that we live, if it ever reads them.
    if (!this.output.isIdle) return;
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

  /** A last word outside of any frame. */
  sendRawAndEnd(bytes: Buffer): void {
    this.become('ending');
    this.node.wheel.clear(this.deadline);
    this.stream.end(bytes);
    this.node.wheel.set(this.deadline, this.options.closeTimeoutMs);
  }

  setPressure(on: boolean): void {
    this.brakes.setPressure(on);
  }

  setBlocked(reason: string | null): void {
    this.brakes.setBlocked(reason);
  }

  // ── ends ──

  /** The client is told why, then has `waitMs` to answer. */
  closeWith(error: AmqpError, waitMs: number): void {
    this.log.warn(`a connection is closed: ${error.replyText}`, {
      connection: this.name,
      user: this.username,
    });
    // What is settled is told: a publisher sends again what it has no word of.
    this.channels.writeConfirms();
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

  failed(error: unknown): void {
    this.logError('an error of the broker ends a connection', error);
    if (this.state !== 'running') return this.destroy();
    this.guarded(() => this.closeWith(internalError(), this.options.closeTimeoutMs));
  }

  /** RabbitMQ: a client that failed before the connection was open hears nothing; TCP ends after a delay. */
  closeSilently(): void {
    this.teardown();
    this.become('ending');
    this.node.wheel.set(this.deadline, this.options.authFailureDelayMs);
  }

  /** Ends the connection without a word. */
  destroy(): void {
    if (this.state === 'closed') return;
    this.teardown();
    if (this.state !== 'ending') this.become('ending');
    this.stream.destroy();
  }

  private onClose(): void {
    // RabbitMQ: unacked deliveries are back and exclusive queues are gone before close-ok; clients that reconnect rely on it.
    this.channels.writeConfirms();
    this.teardown();
    encodeConnectionCloseOk(this.writer, 0);
    this.become('ending');
    this.wantsFlush();
    const lingerSeconds =
      this.heartbeatSeconds > 0 ? Math.min(this.heartbeatSeconds, LINGER_MAX_S) : LINGER_MAX_S;
    this.node.wheel.set(this.deadline, Math.min(lingerSeconds * 1000, this.options.closeTimeoutMs));
  }

  /** Nothing more is said; TCP ends when the client has read what was. */
  private endStream(): void {
    this.output.finish();
    if (this.state !== 'ending') this.become('ending');
    this.stream.end();
    if (!this.deadline.isSet) this.node.wheel.set(this.deadline, this.options.closeTimeoutMs);
  }

  /** The client will say nothing more. Whoever ends only its half of the stream still gets the answers to what it said. */
  onInputEnd(): void {
    if (this.state === 'closed') return;
    this.channels.writeConfirms();
    this.teardown();
    this.endStream();
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
    this.channels.end();
    if (this.openVHost !== null) {
      this.node.limits.connectionClosed(this.username, this.openVHost);
      this.openVHost.removeQueuesOf(this);
      this.sharedTargets.leave(this.targets);
      this.node.turn.request();
    }
    this.gate.end();
  }

  logError(text: string, error: unknown): void {
    this.log.error(text, {
      connection: this.name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
}

// A broker node without a network: sockets are Duplex streams that do what the test says, the turn runs when the test says,
// and time is a fake clock. Owns what the tests of the AMQP door share. The client's bytes are made and read by amqplib's tables.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Duplex } from 'node:stream';
import { afterEach } from 'vitest';
import { type Fields, method, PROTOCOL_HEADER } from '../../conformance/support/raw-client.ts';
import { Connection } from '../../src/amqp/connection.ts';
import type { AmqpOptions } from '../../src/amqp/options.ts';
import { SharedTargets } from '../../src/amqp/publish-targets.ts';
import { hashPasswordFast } from '../../src/auth/password.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { LogFields, Logger } from '../../src/base/logger.ts';
import { Turn } from '../../src/base/turn.ts';
import type { PeerFacts } from '../../src/net/listener.ts';
import { BrokerNode, type NodeOptions } from '../../src/node/node.ts';
import type { VHost } from '../../src/node/vhost.ts';
import { ChunkPool } from '../../src/protocol/frame-writer.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import type { Store } from '../../src/store/store.ts';
import { FaultyStore, faultyStore } from '../support/faulty-engine.ts';
import { AMQP_DEFAULTS, NODE_DEFAULTS } from '../support/node-options.ts';

export {
  body,
  type Fields,
  frame,
  header,
  heartbeat,
  method,
  PROTOCOL_HEADER,
  plainResponse,
  publish,
  rawHeader,
  rawMethod,
  startOk,
} from '../../conformance/support/raw-client.ts';

/** Bytes of a channel.close that has nothing to complain of. */
export function channelClose(channel: number): Buffer {
  return method(channel, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
}

/** Bytes of a connection.close that has nothing to complain of. */
export function connectionClose(): Buffer {
  return method(0, 'connection.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
}

interface AmqplibDefs {
  decode(id: number, args: Buffer): Fields;
  info(id: number): { name: string };
}

const require = createRequire(import.meta.url);
const defs = require(join(dirname(require.resolve('amqplib')), 'lib', 'defs.js')) as AmqplibDefs;

/** A frame as the client sees it. */
export interface Seen {
  readonly type: number;
  readonly channel: number;
  readonly name: string;
  readonly fields: Fields;
  readonly payload: Buffer;
}

/** The broker's end of a connection; the test is the peer. What the broker writes is copied, as a network would. */
export class FakeSocket extends Duplex {
  /** Bytes that arrived at the peer and were not looked at. */
  arrived: Buffer[] = [];
  /** The peer does not read: writes stay under way. */
  private stuck = false;
  private held: (() => void)[] = [];
  endedByUs = false;

  constructor(highWaterMark = 16 * 1024) {
    super({ allowHalfOpen: true, highWaterMark });
  }

  override _read(): void {}

  /** What comes is shown in a buffer that others get at once, as the listener's sockets do: whoever looks later finds nonsense. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== 'data') return super.emit(event, ...args);
    const shown = Buffer.from(args[0] as Buffer);
    const heard = super.emit(event, shown);
    shown.fill(0xdd);
    return heard;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.accept([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.accept(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.endedByUs = true;
    done();
  }

  /** From now on the peer reads nothing. */
  stopReading(): void {
    this.stuck = true;
  }

  /** The peer reads again, everything that waits first. */
  goOnReading(): void {
    this.stuck = false;
    for (const done of this.held.splice(0)) done();
  }

  private accept(chunks: readonly Buffer[], done: () => void): void {
    const keep = (): void => {
      for (const chunk of chunks) this.arrived.push(Buffer.from(chunk));
      done();
    };
    if (this.stuck) this.held.push(keep);
    else keep();
  }
}

/** A client on a fake socket. */
export class Peer {
  readonly world: World;
  readonly socket: FakeSocket;
  readonly connection: Connection;
  private pending: Buffer = Buffer.alloc(0);

  constructor(world: World, socket: FakeSocket, connection: Connection) {
    this.world = world;
    this.socket = socket;
    this.connection = connection;
  }

  /** Puts bytes on the wire, in one chunk. */
  push(...parts: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.push(Buffer.concat(parts));
  }

  /** Puts bytes on the wire and lets everything happen that follows. */
  async send(...parts: readonly Buffer[]): Promise<void> {
    this.push(...parts);
    await this.world.settle();
  }

  /** Frames that came since the last look. */
  frames(): Seen[] {
    this.pending = Buffer.concat([this.pending, ...this.socket.arrived.splice(0)]);
    const found: Seen[] = [];
    let at = 0;
    while (this.pending.length - at >= 8) {
      const size = this.pending.readUInt32BE(at + 3);
      const stop = at + 7 + size;
      if (this.pending.length <= stop) break;
      if (this.pending[stop] !== 0xce) throw new Error(`a frame ends with ${this.pending[stop]}`);
      found.push(
        seen(this.pending[at]!, this.pending.readUInt16BE(at + 1), this.pending.subarray(at + 7, stop)),
      );
      at = stop + 1;
    }
    this.pending = this.pending.subarray(at);
    return found;
  }

  /** Names of the frames that came since the last look, in order, `name` or with a channel above 1 `name@channel`. */
  names(): string[] {
    return this.frames().map(({ name, channel }) => (channel > 1 ? `${name}@${channel}` : name));
  }

  /** Sends a method and returns the next frames' names. */
  async ask(channel: number, name: string, fields: Fields = {}): Promise<Seen[]> {
    await this.send(method(channel, name, fields));
    return this.frames();
  }

  /** The peer ends its half of the stream. */
  async half(): Promise<void> {
    this.socket.push(null);
    await this.world.settle();
  }

  /** The stream breaks. */
  async break(error: Error = new Error('ECONNRESET')): Promise<void> {
    this.socket.destroy(error);
    await this.world.settle();
  }
}

function seen(type: number, channel: number, payload: Buffer): Seen {
  if (type === 1) {
    const id = payload.readUInt32BE(0);
    const words = defs
      .info(id)
      .name.split(/(?=[A-Z])/)
      .map((word) => word.toLowerCase());
    return {
      type,
      channel,
      payload,
      name: `${words[0]}.${words.slice(1).join('-')}`,
      fields: defs.decode(id, payload.subarray(4)),
    };
  }
  const name = type === 2 ? 'header' : type === 3 ? 'body' : type === 8 ? 'heartbeat' : `type ${type}`;
  return { type, channel, payload, name, fields: type === 2 ? defs.decode(60, payload.subarray(12)) : {} };
}

export interface WorldOptions {
  readonly amqp?: Partial<AmqpOptions>;
  readonly node?: Partial<NodeOptions>;
  readonly store?: Store;
}

/** What was logged. */
export interface LogLine {
  readonly level: string;
  readonly text: string;
  readonly fields: LogFields | undefined;
}

const worlds = new Set<World>();

afterEach(async () => {
  for (const world of worlds) await world.end();
  worlds.clear();
});

/** A node with its turn, its clock and its clients. */
export class World {
  readonly node: BrokerNode;
  readonly clock: FakeClock;
  readonly amqp: AmqpOptions;
  readonly pool = new ChunkPool();
  readonly targets = new SharedTargets();
  readonly logged: LogLine[];
  /** Runs that the turn has asked for. */
  private readonly scheduled: (() => void)[];
  private readonly store: Store;
  private port = 40_000;

  private constructor(
    node: BrokerNode,
    clock: FakeClock,
    scheduled: (() => void)[],
    logged: LogLine[],
    store: Store,
    amqp: AmqpOptions,
  ) {
    this.node = node;
    this.clock = clock;
    this.scheduled = scheduled;
    this.logged = logged;
    this.store = store;
    this.amqp = amqp;
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const clock = new FakeClock();
    const scheduled: (() => void)[] = [];
    const logged: LogLine[] = [];
    const note =
      (level: string) =>
      (text: string, fields?: LogFields): void => {
        logged.push({ level, text, fields });
      };
    const logger: Logger = {
      error: note('error'),
      warn: note('warn'),
      info: note('info'),
      debug: note('debug'),
    };
    const turn = new Turn((run) => scheduled.push(run));
    const node = new BrokerNode({ ...NODE_DEFAULTS, ...options.node }, clock, logger, turn);
    const store = options.store ?? memoryStore();
    const shard = await store.open(node.storeListener);
    node.attach(shard);
    await shard.recover({ definition: () => {}, queue: () => false, entries: () => {} });
    const world = new World(node, clock, scheduled, logged, store, { ...AMQP_DEFAULTS, ...options.amqp });
    worlds.add(world);
    node.createVHost('/');
    world.user('guest', 'guest');
    // Checking a password takes real time on other threads; here the right one is the user's name.
    const { login } = node;
    login.withKnownPassword = () => null;
    login.withPassword = async (name, password, address) =>
      password === name ? login.withoutPassword(name, address) : { user: null, why: 'wrong password' };
    await world.settle();
    return world;
  }

  get vhost(): VHost {
    return this.node.vhosts.get('/')!;
  }

  queue(name: string): DeclaredQueue {
    return this.vhost.queues.get(name)!;
  }

  /** A user who may do everything. */
  user(name: string, password: string): void {
    this.node.users.put({ name, ...hashPasswordFast(password), tags: ['administrator'], limits: {} });
    this.node.users.setPermissions(name, '/', { configure: '.*', write: '.*', read: '.*' });
  }

  /** Runs the turns asked for so far, without waiting for anything. */
  turn(): void {
    for (const run of this.scheduled.splice(0)) run();
  }

  /** Runs turns and the event loop until nothing happens any more. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 6; ) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (this.scheduled.length === 0) idle++;
      else {
        idle = 0;
        this.turn();
      }
    }
  }

  /** Lets the event loop run without a turn of the broker. */
  async wait(iterations = 6): Promise<void> {
    for (let i = 0; i < iterations; i++) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** Moves time and lets everything happen that follows. */
  async pass(ms: number): Promise<void> {
    // In steps, so that what one timer sets off is done before the next one fires.
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(500, left));
      await this.settle();
    }
  }

  /** A connection on which nothing has been sent. */
  connect(facts: Partial<PeerFacts> = {}, highWaterMark?: number): Peer {
    const socket = new FakeSocket(highWaterMark);
    const peer: PeerFacts = {
      remoteAddress: '127.0.0.1',
      remotePort: this.port++,
      localAddress: '127.0.0.1',
      localPort: 5672,
      loopback: true,
      tls: null,
      ...facts,
    };
    return new Peer(
      this,
      socket,
      new Connection(socket, peer, this.node, this.amqp, this.pool, this.targets),
    );
  }

  /** An open connection with these channels. */
  async client(options: ClientOptions = {}): Promise<Peer> {
    const peer = this.connect({}, options.highWaterMark);
    await peer.send(PROTOCOL_HEADER);
    await peer.send(
      method(0, 'connection.start-ok', {
        clientProperties: { capabilities: options.capabilities ?? CAPABILITIES },
        mechanism: 'PLAIN',
        response: Buffer.from(`\0${options.user ?? 'guest'}\0${options.user ?? 'guest'}`),
        locale: 'en_US',
      }),
    );
    await peer.send(
      method(0, 'connection.tune-ok', {
        channelMax: options.channelMax ?? 2047,
        frameMax: options.frameMax ?? 131_072,
        heartbeat: options.heartbeat ?? 0,
      }),
      method(0, 'connection.open', { virtualHost: '/' }),
    );
    for (const channel of options.channels ?? [1]) await peer.send(method(channel, 'channel.open'));
    peer.frames();
    return peer;
  }

  /** What connections left behind that are gone; empty when all is well. */
  leftovers(): string[] {
    const { node } = this;
    const found: string[] = [];
    const check = (what: string, count: number): void => {
      if (count !== 0) found.push(`${what}: ${count}`);
    };
    check('connections', node.connections.size);
    check('open connections', node.limits.connections);
    check('channels', node.limits.channels);
    check('timers', node.wheel.size);
    check('publish targets', this.targets.count);
    check('reply queues', node.replies.size);
    for (const queue of this.vhost.queues.values()) {
      check(`consumers of ${queue.name}`, queue.consumerCount);
      check(`unacked of ${queue.name}`, queue.unackedCount);
      if (queue.declaration.exclusive) found.push(`exclusive queue ${queue.name}`);
    }
    return found;
  }

  /** Log lines of this level. */
  lines(level: string): string[] {
    return this.logged.filter((line) => line.level === level).map(({ text }) => text);
  }

  /** Every connection is broken off, and everything they left behind is done. */
  async end(): Promise<void> {
    // A test that failed may have left the disk held.
    if (this.store instanceof FaultyStore) this.store.engine.release();
    for (const connection of [...this.node.connections]) connection.destroy();
    await this.settle();
    this.node.stopTimers();
    await this.store.close().catch(() => {});
  }
}

export interface ClientOptions {
  readonly user?: string;
  readonly channels?: readonly number[];
  readonly capabilities?: Fields;
  readonly frameMax?: number;
  readonly channelMax?: number;
  readonly heartbeat?: number;
  readonly highWaterMark?: number;
}

const CAPABILITIES: Fields = {
  publisher_confirms: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
};

/** A node with a memory store, or with what the options say. */
export function openWorld(options: WorldOptions = {}): Promise<World> {
  return World.open(options);
}

/** A node whose disk does what the test says: `store.engine.hold()` keeps every commit in flight. */
export async function openSlowWorld(
  options: WorldOptions = {},
): Promise<{ world: World; store: FaultyStore }> {
  const store = faultyStore({ slowness: 1, readSlowness: 1 });
  return { world: await World.open({ ...options, store }), store };
}

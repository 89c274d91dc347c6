// The open log: the calls of `Shard`, the group commit, what the listener is told. Owns when a batch is sealed and what is durable.
// Where entries go: appender.ts; what a batch becomes on disk: open-batch.ts; reading: reader.ts; tidying: space.ts.
// Invariants: one write at a time; tickets become durable in order; the listener is called from the top of an event-loop iteration
// only; after `lost` nothing is written, kept or reported any more.

import { assert } from '../base/assert.ts';
import type { Ticker } from '../base/clock.ts';
import { Appender } from './appender.ts';
import { SharedMessage } from './body-pack.ts';
import { HEAD_KEY } from './keys.ts';
import type { LogState } from './log-state.ts';
import { OpenBatch } from './open-batch.ts';
import type { QueueLog } from './queue-log.ts';
import { Reader } from './reader.ts';
import { recover } from './recovery.ts';
import { FLIGHT, GONE, OPEN, STORED } from './segment.ts';
import { Space } from './space.ts';
import type {
  EnqueueOptions,
  Lane,
  Position,
  QueueNo,
  RecoverySink,
  RecoveryStats,
  Shard,
  ShardListener,
  ShardStats,
  SharedBytes,
  StoredEntry,
  Ticket,
} from './store.ts';
import { StoreError } from './store.ts';

/** An open segment in which nothing lives any more is let go at once from this size on, so that its memory is used again. */
const DISCARD_BYTES_MIN = 32 * 1024;
/** Ticks without settlements that wait after which the ticker stops. */
const TICKS_IDLE_MAX = 20;

export class LogShard implements Shard {
  readonly #state: LogState;
  readonly #listener: ShardListener;
  readonly #open: OpenBatch;
  readonly #appender: Appender;
  readonly #reader: Reader;
  readonly #space: Space;
  #ticket: Ticket;
  #durableTicket: Ticket;
  /** True from a seal to the end of its write. */
  #flying = false;
  #flightBytes = 0;
  #flightBegan = 0;
  /** Depth of nested `atomic` calls. */
  #atomic = 0;
  #recovered = false;
  #pressure = false;
  /** Set once; then every call is without effect. */
  #ended: StoreError | null = null;
  #onIdle: (() => void) | null = null;
  #commits = 0;
  #bytesWritten = 0;
  #lastCommitMs = 0;
  /** Runs while settlements wait for company, and a little longer; see `commit`. */
  #ticker: Ticker | null = null;
  /** Ticks since settlements began to wait, and since the ticker had anything to do. */
  #waited = 0;
  #idleTicks = 0;
  /** The queue of the latest call; the next one mostly means it too. */
  #latest: QueueLog | null = null;

  /** @param lastCommit number of the newest commit in the engine, 0 for a new store */
  constructor(state: LogState, listener: ShardListener, lastCommit: number) {
    this.#state = state;
    this.#listener = listener;
    this.#open = new OpenBatch(state);
    this.#appender = new Appender(state, this.#open);
    this.#reader = new Reader(state);
    this.#space = new Space(state, this.#open, () => this.commit());
    this.#ticket = lastCommit + 1;
    this.#durableTicket = lastCommit;
  }

  get ticket(): Ticket {
    return this.#ticket;
  }

  get durableTicket(): Ticket {
    return this.#durableTicket;
  }

  get pendingBytes(): number {
    return this.#open.bytes + this.#flightBytes;
  }

  async recover(sink: RecoverySink): Promise<RecoveryStats> {
    assert(!this.#recovered, 'recover() is called once, before anything else');
    const stats = await recover(this.#state, this.#open, sink);
    this.#recovered = true;
    return stats;
  }

  enqueue(
    queue: QueueNo,
    position: Position,
    head: Uint8Array,
    buffer: Uint8Array,
    start: number,
    end: number,
    options: EnqueueOptions | null,
  ): Ticket {
    if (this.#ended !== null) return this.#ticket;
    this.#appender.append(this.#queueOf(queue), position, head, buffer, start, end, options);
    return this.#appended();
  }

  share(head: Uint8Array, buffer: Uint8Array, start: number, end: number): SharedBytes {
    return new SharedMessage(head, buffer.subarray(start, end), this.#ticket);
  }

  enqueueShared(
    queue: QueueNo,
    position: Position,
    shared: SharedBytes,
    options: EnqueueOptions | null,
  ): Ticket {
    if (this.#ended !== null) return this.#ticket;
    assert(
      shared instanceof SharedMessage && shared.commit === this.#ticket,
      'shared bytes are used in the run they come from',
    );
    this.#appender.appendShared(this.#queueOf(queue), position, shared, options);
    return this.#appended();
  }

  remove(queue: QueueNo, position: Position): Ticket {
    if (this.#ended !== null) return this.#ticket;
    const log = this.#known(queue);
    if (log === null) return this.#use();
    const segment = log.find(position);
    if (segment === null || !segment.kill(position)) return this.#use();
    this.#state.liveEntries--;
    this.#open.used = true;
    if (segment.state !== OPEN) {
      if (!segment.dirty) this.#open.removed(log, segment, position);
    } else if (segment.live === 0 && segment.length > DISCARD_BYTES_MIN) {
      this.#open.discardOpen(log, segment);
    }
    return this.#ticket;
  }

  clear(queue: QueueNo, upTo: Position, keep: readonly Position[]): Ticket {
    if (this.#ended !== null) return this.#ticket;
    const log = this.#known(queue);
    if (log === null) return this.#use();
    this.#open.used = true;
    this.#open.urgent = true;
    let kept = 0;
    for (let i = 0; i < log.segments.length; i++) {
      const segment = log.segments[i]!;
      if (segment.first > upTo) break;
      while (kept < keep.length && keep[kept]! < segment.first) kept++;
      const keepsNone = kept === keep.length || keep[kept]! > segment.last;
      if (segment.state === GONE || segment.live === 0) continue;
      const before = segment.live;
      if (keepsNone && segment.last <= upTo) {
        if (segment.state === OPEN) {
          segment.live = 0;
          this.#state.liveEntries -= before;
          this.#open.discardOpen(log, segment);
          continue;
        }
        segment.killAll();
      } else {
        const last = Math.min(segment.last, upTo);
        for (let position = segment.first; position <= last; position++) {
          if (kept < keep.length && keep[kept] === position) kept++;
          else segment.kill(position);
        }
      }
      this.#state.liveEntries -= before - segment.live;
      if (segment.state !== OPEN && segment.live !== before && !segment.dirty)
        this.#open.change(log, segment);
    }
    return this.#ticket;
  }

  dropQueue(queue: QueueNo): Ticket {
    if (this.#ended !== null) return this.#ticket;
    const log = this.#known(queue);
    if (log === null) return this.#use();
    this.#open.used = true;
    this.#open.urgent = true;
    this.#latest = null;
    this.#open.dropQueue(log);
    return this.#ticket;
  }

  returned(queue: QueueNo, position: Position, tries: number, dueAt: number): Ticket {
    if (this.#ended !== null) return this.#ticket;
    const log = this.#known(queue);
    if (log === null) return this.#use();
    const segment = log.find(position);
    if (segment?.isLive(position) !== true) return this.#use();
    this.#open.used = true;
    segment.returned ??= new Map();
    segment.returned.set(position - segment.first, { tries, dueAt });
    if (segment.returned.size >= this.#state.options.returnsFold) this.#space.fold(log, segment);
    if (segment.state !== OPEN && !segment.dirty) this.#open.change(log, segment);
    return this.#ticket;
  }

  delivered(queue: QueueNo, lane: Lane, upTo: Position): Ticket {
    if (this.#ended !== null) return this.#ticket;
    const log = this.#queueOf(queue);
    log.deliveredUpTo ??= new Map();
    if (log.deliveredUpTo.get(lane) !== upTo) {
      log.deliveredUpTo.set(lane, upTo);
      this.#open.mark(log);
    }
    return this.hasten();
  }

  define(key: string, value: Uint8Array | null): Ticket {
    if (this.#ended !== null) return this.#ticket;
    this.#open.define(key, value);
    return this.hasten();
  }

  atomic(fn: () => void): Ticket {
    // All that happens in one synchronous run lands in one batch anyway; only a commit() inside must wait.
    this.#atomic++;
    try {
      fn();
    } finally {
      this.#atomic--;
    }
    return this.#ticket;
  }

  read(
    queue: QueueNo,
    from: Position,
    maxBytes: number,
    done: (error: Error | null, entries: readonly StoredEntry[]) => void,
  ): void {
    if (this.#ended !== null) {
      const ended = this.#ended;
      setImmediate(() => done(ended, []));
      return;
    }
    this.#reader.read(queue, from, maxBytes, done);
  }

  pick(
    queue: QueueNo,
    positions: Float64Array,
    at: number,
    maxBytes: number,
    visit: (entry: StoredEntry) => void,
    done: (error: Error | null, next: number) => void,
  ): void {
    if (this.#ended !== null) {
      const ended = this.#ended;
      setImmediate(() => done(ended, at));
      return;
    }
    this.#reader.pick(queue, positions, at, maxBytes, visit, done);
  }

  commit(): void {
    if (this.#flying || this.#atomic > 0 || this.#ended !== null || !this.#open.used) return;
    if (this.#open.urgent) this.#seal();
    else this.#awaitCompany();
  }

  hasten(): Ticket {
    this.#open.used = true;
    this.#open.urgent = true;
    return this.#ticket;
  }

  stats(): ShardStats {
    return {
      segments: this.#state.segments,
      liveEntries: this.#state.liveEntries,
      liveBytes: this.#state.liveBytes,
      storedBytes: this.#state.heldBytes,
      commits: this.#commits,
      bytesWritten: this.#bytesWritten,
      lastCommitMs: this.#lastCommitMs,
    };
  }

  /** Seals, waits for the last commit and for reads under way; afterwards every call is without effect. */
  async close(): Promise<void> {
    // A store that could not be recovered stays as it was, so that what its message says of it is true.
    if (this.#ended === null && this.#recovered) {
      await this.#space.stop();
      while (this.#ended === null && (this.#flying || this.#open.used)) {
        if (this.#open.used) this.hasten();
        this.commit();
        await new Promise<void>((resolve) => {
          this.#onIdle = resolve;
        });
      }
    }
    this.#stopTicker();
    await this.#reader.idle();
    if (this.#ended !== null) return;
    this.#ended = new StoreError('closed', 'The store is closed.');
    // Without recovery the tally is that of the last commit, and nothing was changed either.
    if (!this.#recovered) return;
    const { engine } = this.#state;
    const batch = engine.batch();
    batch.put(HEAD_KEY, this.#open.head(this.#durableTicket, true));
    await new Promise<void>((resolve, reject) => {
      batch.write(true, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  #appended(): Ticket {
    const open = this.#open;
    open.used = true;
    open.urgent = true;
    if (!this.#pressure && open.bytes + this.#flightBytes > this.#state.options.pendingBytesHigh)
      this.#pressOn();
    return this.#ticket;
  }

  #use(): Ticket {
    this.#open.used = true;
    return this.#ticket;
  }

  #queueOf(queue: QueueNo): QueueLog {
    const latest = this.#latest;
    if (latest !== null && latest.number === queue) return latest;
    const log = this.#state.queueOf(queue);
    this.#latest = log;
    return log;
  }

  #known(queue: QueueNo): QueueLog | null {
    const latest = this.#latest;
    if (latest !== null && latest.number === queue) return latest;
    const log = this.#state.queues.get(queue);
    if (log === undefined) return null;
    this.#latest = log;
    return log;
  }

  #eased(): boolean {
    return this.pendingBytes <= this.#state.options.pendingBytesHigh / 2;
  }

  #pressOn(): void {
    this.#pressure = true;
    setImmediate(() => {
      // It may have eased before anybody was told.
      if (this.#pressure && this.#ended === null) this.#listener.pressure(true);
    });
  }

  #seal(): void {
    const ticket = this.#ticket;
    const open = this.#open;
    const batch = open.seal(ticket);
    this.#waited = 0;
    this.#ticket = ticket + 1;
    this.#flying = true;
    this.#flightBegan = performance.now();
    if (batch === null) {
      setImmediate(() => this.#landed(ticket, null));
      return;
    }
    this.#flightBytes = batch.bytes;
    this.#commits++;
    batch.write(open.flightSync, (error) => this.#landed(ticket, error));
  }

  #landed(ticket: Ticket, error: Error | null): void {
    this.#flying = false;
    if (error !== null) {
      this.#lose(error);
      return;
    }
    if (this.#flightBytes > 0) this.#lastCommitMs = performance.now() - this.#flightBegan;
    this.#bytesWritten += this.#flightBytes;
    this.#flightBytes = 0;
    this.#release();
    this.#durableTicket = ticket;
    // The disk goes on working while the broker confirms.
    if (this.#open.urgent) this.#seal();
    else if (this.#open.used) this.#awaitCompany();
    this.#listener.durable(ticket);
    if (this.#pressure && this.#eased()) {
      this.#pressure = false;
      this.#listener.pressure(false);
    }
    this.#space.look();
    this.#wakeIdle();
  }

  /** Sees to it that a batch of settlements is committed although nothing joins it. */
  #awaitCompany(): void {
    const { clock, settleDelayMs } = this.#state.options;
    this.#ticker ??= clock.every(settleDelayMs, () => this.#tick());
  }

  #tick(): void {
    if (!this.#open.used || this.#flying || this.#atomic > 0) {
      // A busy broker is spared the making of a ticker per batch.
      if (++this.#idleTicks > TICKS_IDLE_MAX) this.#stopTicker();
      return;
    }
    this.#idleTicks = 0;
    if (++this.#waited > 1) this.#seal();
  }

  #stopTicker(): void {
    this.#ticker?.stop();
    this.#ticker = null;
    this.#idleTicks = 0;
  }

  /** What was in flight is in the engine now, and its memory is free. */
  #release(): void {
    const { pool } = this.#state;
    const open = this.#open;
    const segments = open.flightSegments;
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!;
      if (segment.state !== FLIGHT) continue;
      segment.state = STORED;
      if (!segment.exposed) pool.give(segment.buffer!);
      segment.exposed = false;
      segment.buffer = null;
    }
    segments.length = 0;
    const packs = open.flightPacks;
    for (let i = 0; i < packs.length; i++) packs[i]!.release();
    packs.length = 0;
  }

  #lose(cause: Error): void {
    if (this.#ended !== null) return;
    const error =
      cause instanceof StoreError
        ? cause
        : new StoreError('io', `The store could not be written: ${cause.message}`, cause);
    this.#ended = error;
    this.#stopTicker();
    void this.#space.stop();
    this.#listener.lost(error, this.#durableTicket);
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    const wake = this.#onIdle;
    this.#onIdle = null;
    if (wake !== null) wake();
  }
}

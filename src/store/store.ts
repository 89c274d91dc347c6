// The seam between the broker and whatever keeps its bytes. Owns the words: store, shard, ticket, position, lane.
// Knows nothing of TTL, priority rules, limits or AMQP: a message is opaque bytes at a position of a numbered queue,
// a definition is opaque bytes under a key.
//
// What holds for every implementation:
// - Enqueue is synchronous, copies bytes, returns a ticket (a number). No promise, closure or object per message.
// - Group commit clocks itself: the open batch is sealed by `commit()` at the end of the turn when none is in flight; otherwise
//   it goes on filling. A lone message pays one commit. Only a batch of nothing but settlements, for which nobody waits, may stay open for
//   a few milliseconds: what comes next mostly takes it along, and it costs no write of its own.
// - Calls in order = log in order = recovery in order; a prefix of the batches survives a crash, each batch whole or not at all.
// - Everything called in one synchronous run lands in one batch.
// - Removing an entry that is not sealed yet takes it out of the batch: it is never written.
// - Errors come only through `lost`. After it, tickets above `lastDurable` are indeterminate: neither confirm nor nack them.
// - Recovery refuses (StoreError of kind `damaged`) rather than show fewer messages in silence.

/** Number of a queue, u32, allotted with the queue's definition and never reused while anything of it is stored. */
export type QueueNo = number;
/** Integer 1 … 2^48-1, strictly increasing per queue in the order of enqueue; kept for the entry's life. */
export type Position = number;
/** Priority lane 0 … 255; 0 where a queue has no priorities. */
export type Lane = number;
/** Names the batch a call fell into. Never decreases. */
export type Ticket = number;

/** What a shard tells its owner. Always called from the top of an event-loop iteration, never from inside a shard method. */
export interface ShardListener {
  /** One call per commit: every ticket <= upTo is on disk. `upTo` never decreases. */
  durable(upTo: Ticket): void;
  /** Bytes not yet on disk rose above the high-water mark (true) or fell to half of it (false): stop or resume publishers. */
  pressure(on: boolean): void;
  /** Terminal. Tickets above `lastDurable` are indeterminate. The broker must stop and confirm nothing more. */
  lost(error: Error, lastDurable: Ticket): void;
}

/** Optional facts stored with an entry. */
export interface EnqueueOptions {
  /** Priority lane; default 0. */
  readonly lane?: Lane;
  /** Absolute deadline in ms since the epoch; 0 = none. */
  readonly expiresAt?: number;
  /** See `Shard.returned`; default 0. */
  readonly tries?: number;
  /** See `Shard.returned`; default 0. */
  readonly dueAt?: number;
  /** Written only to relieve memory (paging): readable until the process ends, gone at recovery, not waited for by anyone. */
  readonly transient?: boolean;
}

/** One stored entry as it is read back. `bytes` is what was given to `enqueue`; it may share memory with its neighbours. */
export interface StoredEntry {
  readonly position: Position;
  readonly lane: Lane;
  readonly expiresAt: number;
  /** What the queue remembered of the entry's failed deliveries last. */
  readonly tries: number;
  /** Time it was given last, in ms since the epoch; 0 = none. */
  readonly dueAt: number;
  readonly transient: boolean;
  /** Buffer that holds the message, at `start` (inclusive) … `end` (exclusive). Never written to again by the store. */
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/** What recovery hands over, in key order: all definitions first, then queue by queue. */
export interface RecoverySink {
  /** One stored definition. */
  definition(key: string, value: Buffer): void;
  /**
   * Once per queue with stored content, before its entries. Return false when no such queue is defined: its content is
   * then dropped in one of the next batches, counted in `RecoveryStats.orphans`, and `entries` is not called for it.
   */
  queue(queue: QueueNo, facts: RecoveredQueue): boolean;
  /** Live entries of a queue, ascending by position over the calls. A returned promise slows recovery down. */
  entries(queue: QueueNo, run: readonly StoredEntry[]): void;
}

export interface RecoveredQueue {
  /** First position that was never used. */
  readonly nextPosition: Position;
  /** Per lane: everything up to this position may have been delivered before the stop (see `Shard.delivered`). */
  readonly deliveredUpTo: ReadonlyMap<Lane, Position>;
}

export interface RecoveryStats {
  readonly definitions: number;
  readonly queues: number;
  readonly segments: number;
  readonly entries: number;
  readonly bytes: number;
  /** Entries of queues that are not defined any more; removed. */
  readonly orphans: number;
  readonly ms: number;
}

/** The open log of one broker. All methods down to `atomic` are synchronous, do no I/O and never throw for I/O. */
export interface Shard {
  /** Must be called once, before anything else. Calls the sink synchronously, piece by piece. @throws StoreError of kind `damaged` */
  recover(sink: RecoverySink): Promise<RecoveryStats>;

  /**
   * Appends an entry whose bytes are the concatenation of `head` and `buffer[start, end)`. `position` must be greater than every
   * earlier one of the queue. The bytes are copied. Large bytes that go to several queues: see `share`.
   */
  enqueue(
    queue: QueueNo,
    position: Position,
    head: Uint8Array,
    buffer: Uint8Array,
    start: number,
    end: number,
    options: EnqueueOptions | null,
  ): Ticket;
  /**
   * As `enqueue`, for one message that goes to several queues in one synchronous run: the bytes are stored once under a key of their
   * own, counted by the entries that name them. `shared` comes from `share()`; the caller drops it at the end of the run.
   */
  share(head: Uint8Array, buffer: Uint8Array, start: number, end: number): SharedBytes;
  enqueueShared(
    queue: QueueNo,
    position: Position,
    shared: SharedBytes,
    options: EnqueueOptions | null,
  ): Ticket;
  /** Removes an entry for good, in any order. An unknown position is ignored. */
  remove(queue: QueueNo, position: Position): Ticket;
  /** Removes all entries with position <= upTo except those in `keep` (ascending). Costs a key per segment, nothing per entry. */
  clear(queue: QueueNo, upTo: Position, keep: readonly Position[]): Ticket;
  /** Forgets a queue and all of its entries. */
  dropQueue(queue: QueueNo): Ticket;
  /**
   * An entry came back to its queue, or is to wait there; its position does not change. Both numbers replace those stored with it.
   * @param tries what the queue wants to remember of the entry's failed deliveries, u32; the store does not look at it
   * @param dueAt time the entry waits for, in ms since the epoch, below 2^48; 0 = none. The store keeps it and does nothing by it
   */
  returned(queue: QueueNo, position: Position, tries: number, dueAt: number): Ticket;
  /**
   * Everything of the lane with position <= upTo may have been delivered: after a crash it makes the `redelivered` mark.
   * The caller delivers an entry only when the mark that covers it is durable, or is in the same or an earlier batch than the entry.
   * The latest call counts: a caller that marked ahead of its deliveries may set the mark back when it stops.
   */
  delivered(queue: QueueNo, lane: Lane, upTo: Position): Ticket;
  /** Writes (or with null deletes) a definition in the open batch. */
  define(key: string, value: Uint8Array | null): Ticket;
  /** Everything `fn` calls (it must not yield) survives a crash together or not at all. */
  atomic(fn: () => void): Ticket;

  /**
   * Reads live entries of the queue from `from` (inclusive) on, ascending, at most about `maxBytes` and a thousand or two (at least one, whole
   * segments preferred). Entries of batches not yet on disk are read too. `done` is called once, never synchronously; an empty
   * list means that there is nothing at or after `from`. Reads made before a `remove` may still show the removed entry.
   */
  read(
    queue: QueueNo,
    from: Position,
    maxBytes: number,
    done: (error: Error | null, entries: readonly StoredEntry[]) => void,
  ): void;

  /**
   * Reads single live entries of the queue, those at `positions` (ascending) from index `at` on: as many as lie in segments of about
   * `maxBytes` together, at least one segment.
   * @param visit called for each, ascending; its bytes are good until it returns. Not called for what does not live
   * @param done called once, never synchronously and after the last `visit`, with the index to go on from; after an error some entries
   *   may have been shown
   */
  pick(
    queue: QueueNo,
    positions: Float64Array,
    at: number,
    maxBytes: number,
    visit: (entry: StoredEntry) => void,
    done: (error: Error | null, next: number) => void,
  ): void;

  /**
   * Seals the open batch if there is anything in it and none is in flight. Called once at the end of each turn. A batch that holds only
   * `remove` and `returned` waits for company first, a few milliseconds at most, unless `hasten` was called.
   */
  commit(): void;
  /** What was called since the last seal is committed with this turn, even if it is only settlements. */
  hasten(): Ticket;
  /** Ticket of the open batch. */
  readonly ticket: Ticket;
  readonly durableTicket: Ticket;
  /** Bytes given to the shard and not yet on disk. */
  readonly pendingBytes: number;
  /** Facts for people and metrics. */
  stats(): ShardStats;
}

/** A message's bytes on their way to several queues; opaque. */
export interface SharedBytes {
  readonly byteLength: number;
}

export interface ShardStats {
  readonly segments: number;
  readonly liveEntries: number;
  /** Bytes of living entries; estimated per segment from the share of its entries that live. */
  readonly liveBytes: number;
  /** Bytes of all segments, dead entries included; messages in shared packs count once per segment that names them. */
  readonly storedBytes: number;
  readonly commits: number;
  readonly bytesWritten: number;
  readonly lastCommitMs: number;
}

/** Keeps the broker's bytes. */
export interface Store {
  readonly info: {
    readonly engine: 'level' | 'memory' | 'faulty';
    /** Where the bytes are, for people; null where there is no folder. */
    readonly location: string | null;
    /** What `durable` vouches for. */
    readonly durability: 'fsync' | 'none';
  };
  /** Opens the log, takes its lock. @throws StoreError with a text for people (locked, unknown format version, unwritable). */
  open(listener: ShardListener): Promise<Shard>;
  /** Seals, waits for the last commit, gives the lock back. */
  close(): Promise<void>;
}

/** The store could not be opened or has stopped; the message is written for a person. */
export class StoreError extends Error {
  readonly kind: 'locked' | 'format' | 'unwritable' | 'io' | 'damaged' | 'closed';

  constructor(kind: StoreError['kind'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreError';
    this.kind = kind;
  }
}

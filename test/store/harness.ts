// What the store's tests share: a listener that remembers, a sink that collects, waiting without sleeping, reading a queue whole.

import type {
  EnqueueOptions,
  Lane,
  Position,
  QueueNo,
  RecoveredQueue,
  RecoverySink,
  RecoveryStats,
  Shard,
  ShardListener,
  Store,
  StoredEntry,
  Ticket,
} from '../../src/store/store.ts';

/** Event-loop iterations that the tests wait for anything at most. */
const ITERATIONS_MAX = 200_000;

const EMPTY = Buffer.alloc(0);

/** One event-loop iteration. */
export function iteration(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets the event loop run until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < ITERATIONS_MAX; i++) {
    if (condition()) return;
    await iteration();
  }
  throw new Error('waited in vain');
}

/** Remembers what the shard told. */
export class RecordingListener implements ShardListener {
  durableTicket: Ticket = 0;
  readonly durables: Ticket[] = [];
  readonly pressures: boolean[] = [];
  readonly losses: { readonly error: Error; readonly lastDurable: Ticket }[] = [];
  /** Set while a shard method runs, to catch a call from inside one. */
  inside = false;
  calledInside = false;

  durable(upTo: Ticket): void {
    this.calledInside ||= this.inside;
    this.durables.push(upTo);
    this.durableTicket = upTo;
  }

  pressure(on: boolean): void {
    this.calledInside ||= this.inside;
    this.pressures.push(on);
  }

  lost(error: Error, lastDurable: Ticket): void {
    this.calledInside ||= this.inside;
    this.losses.push({ error, lastDurable });
  }
}

/** An entry in a form that tests compare. */
export interface PlainEntry {
  readonly position: Position;
  readonly text: string;
  readonly lane: Lane;
  readonly expiresAt: number;
  readonly tries: number;
  readonly dueAt: number;
}

export function plain(entry: StoredEntry): PlainEntry {
  const { position, buffer, start, end, lane, expiresAt, tries, dueAt } = entry;
  return { position, text: buffer.toString('latin1', start, end), lane, expiresAt, tries, dueAt };
}

/** What recovery handed over. */
export class Recovered implements RecoverySink {
  readonly definitions = new Map<string, string>();
  readonly facts = new Map<QueueNo, RecoveredQueue>();
  readonly entries_ = new Map<QueueNo, PlainEntry[]>();
  /** Queues that are said to be not defined. */
  readonly unknown: ReadonlySet<QueueNo>;
  stats: RecoveryStats | null = null;

  constructor(unknown: readonly QueueNo[] = []) {
    this.unknown = new Set(unknown);
  }

  definition(key: string, value: Buffer): void {
    this.definitions.set(key, value.toString('latin1'));
  }

  queue(queue: QueueNo, facts: RecoveredQueue): boolean {
    this.facts.set(queue, facts);
    return !this.unknown.has(queue);
  }

  entries(queue: QueueNo, run: readonly StoredEntry[]): void {
    const list = this.entries_.get(queue) ?? [];
    for (const entry of run) list.push(plain(entry));
    this.entries_.set(queue, list);
  }

  of(queue: QueueNo): PlainEntry[] {
    return this.entries_.get(queue) ?? [];
  }

  positions(queue: QueueNo): Position[] {
    return this.of(queue).map((entry) => entry.position);
  }
}

/** A shard that is open, with its listener and what it recovered. */
export class OpenShard {
  readonly store: Store;
  readonly shard: Shard;
  readonly listener: RecordingListener;
  readonly recovered: Recovered;

  constructor(store: Store, shard: Shard, listener: RecordingListener, recovered: Recovered) {
    this.store = store;
    this.shard = shard;
    this.listener = listener;
    this.recovered = recovered;
  }

  put(queue: QueueNo, position: Position, text: string, options: EnqueueOptions | null = null): Ticket {
    const bytes = Buffer.from(text, 'latin1');
    return this.shard.enqueue(queue, position, EMPTY, bytes, 0, bytes.length, options);
  }

  /** Puts one text per position `from` … `to`: 'm' and the position, filled up to `bytes`. */
  fill(queue: QueueNo, from: Position, to: Position, bytes = 0): Ticket {
    for (let position = from; position <= to; position++) this.put(queue, position, textOf(position, bytes));
    return this.shard.ticket;
  }

  /** Ends the turn and waits until everything called so far is durable. */
  async settle(): Promise<void> {
    const ticket = this.shard.hasten();
    this.shard.commit();
    await until(() => this.listener.durableTicket >= ticket || this.listener.losses.length > 0);
  }

  /** One read as a promise. */
  read(queue: QueueNo, from: Position, maxBytes = 1e9): Promise<PlainEntry[]> {
    return new Promise((resolve, reject) => {
      this.listener.inside = true;
      let inside = true;
      this.shard.read(queue, from, maxBytes, (error, entries) => {
        if (inside) reject(new Error('answered synchronously'));
        else if (error !== null) reject(error);
        else resolve(entries.map(plain));
      });
      inside = false;
      this.listener.inside = false;
    });
  }

  /** The whole queue, read in pieces. */
  async all(queue: QueueNo, maxBytes = 4096): Promise<PlainEntry[]> {
    const all: PlainEntry[] = [];
    for (let from = 0; ; ) {
      const piece = await this.read(queue, from, maxBytes);
      if (piece.length === 0) return all;
      all.push(...piece);
      from = piece[piece.length - 1]!.position + 1;
    }
  }

  async positions(queue: QueueNo): Promise<Position[]> {
    return (await this.all(queue)).map((entry) => entry.position);
  }
}

export function textOf(position: Position, bytes = 0): string {
  return `m${position}`.padEnd(bytes, '.');
}

/** Opens a store and recovers what is in it. */
export async function openShard(store: Store, unknown: readonly QueueNo[] = []): Promise<OpenShard> {
  const listener = new RecordingListener();
  const shard = await store.open(listener);
  const recovered = new Recovered(unknown);
  recovered.stats = await shard.recover(recovered);
  listener.durableTicket = shard.durableTicket;
  return new OpenShard(store, shard, listener, recovered);
}

/** The integers from … to. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

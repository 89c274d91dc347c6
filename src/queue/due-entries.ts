// Entries that are only in the store and have a time: which of one queue's are due next, and their bytes by then.
// Owns the index (20 bytes an entry, see deadline-heap.ts), the reading ahead and one timer. Knows no message and no rule: what becomes
// of an entry when its time has come, its host says.
//
// What is due together may lie anywhere in the store, and the store reads whole segments. So the entries of the next seconds are fetched
// together: one window, bounded by time, count and bytes, walks the queue's positions once in ascending order and keeps copies of
// what it wanted. A second, small window may run beside a long one for entries that were added late and are due soon.
//
// Invariants: nothing is handed over before its time or out of the order of times (a tie goes by position), except what was added
// behind others that were handed over already; an entry the host does not wait for any more is dropped, at the latest when its time
// comes; no turn does more than its budget; what cannot be read stays and is tried again.

import { DeadlineHeap } from '../base/deadline-heap.ts';
import { Timer } from '../base/timer-wheel.ts';
import type { Wakeable } from '../base/turn.ts';
import { allocate } from '../message/slab.ts';
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';
import type { QueueContext } from './queue-context.ts';

/** Entries handed over in one turn. */
export const DUE_PER_TURN = 1_000;
/** Entries moved from the index into a window in one turn. */
const COLLECT_PER_TURN = 4_000;
/** A window reaches this far ahead, in milliseconds … */
export const AHEAD_MS = 10_000;
/** … and is begun when something that is not in memory is due in less than this. */
export const LOAD_LEAD_MS = 4_000;
/** Windows begin at most this often, unless something is due sooner than URGENT_MS. */
const LOAD_GAP_MS = 200;
const URGENT_MS = 500;
/** Entries fetched ahead at a time. */
export const WINDOW_ENTRIES_MAX = 100_000;
/** Bytes fetched ahead at a time; a queue's share of the message memory when that is less. One entry may always be larger. */
export const WINDOW_BYTES_MAX = 32 * 1024 * 1024;
/** What one fetched entry costs beside its bytes. */
const FETCHED_OVERHEAD_BYTES = 200;
/** Bytes that one read asks the store for. */
const READ_BYTES = 1024 * 1024;
/** Until a failed read is tried again, in milliseconds. */
export const READ_RETRY_MS = 1_000;
/** Windows that are fetched at the same time. */
const LOADS_MAX = 2;

/** Whose entries they are. */
export interface DueEntriesHost {
  /** For log lines. */
  readonly name: string;
  /**
   * False when the entry at this position was taken otherwise: it is forgotten, and this was the last question about it. Asked often;
   * must be quick.
   */
  stillWaits(position: number): boolean;
  /**
   * The entry's time has come. It is not in the index any more; removing it from the store is the host's business.
   * @param stored its bytes, a copy that pins nothing else; null where bytes are not asked for
   */
  due(position: number, bodyLength: number, stored: StoredEntry | null): void;
}

/** An entry in a window. */
interface Fetched {
  readonly deadline: number;
  readonly position: number;
  readonly bodyLength: number;
  stored: StoredEntry | null;
}

/** A window that is being filled. */
class Load {
  /** In the order of deadlines. */
  readonly entries: Fetched[] = [];
  readonly byPosition = new Map<number, Fetched>();
  /** Estimated bytes of all. */
  bytes = 0;
  /** Ascending; empty while entries are collected. */
  positions: Float64Array = NO_POSITIONS;
  /** Next of `positions` to be read. */
  next = 0;
  /** Until when entries are taken in. */
  readonly until: number;
  /** How many, and how many bytes. */
  readonly countMax: number;
  readonly bytesMax: number;
  /** Reads it has asked for in vain, one after the other. */
  failures = 0;

  constructor(until: number, countMax: number, bytesMax: number) {
    this.until = until;
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }
}

const NO_POSITIONS = new Float64Array(0);

/** The entries of one queue number that wait for their time. */
export class DueEntries implements Wakeable {
  woken = false;
  private readonly context: QueueContext;
  private readonly queue: QueueNo;
  private readonly shard: Pick<Shard, 'read'>;
  private readonly host: DueEntriesHost;
  private needsBytes: boolean;
  private readonly heap = new DeadlineHeap();
  /** Body bytes of the entries in the heap, in windows, and those handed over by the present turn. */
  private bytes = 0;
  /** Fetched entries by deadline, from `readyAt` on. */
  private ready: Fetched[] = [];
  private readyAt = 0;
  /** Windows under way: collected or read. */
  private loads: Load[] = [];
  /** Entries in `loads`. */
  private loading = 0;
  /** The window that is being collected; the last of `loads`, or null. */
  private collecting: Load | null = null;
  /** What is held in memory of the store's bytes, as counted in the memory budget. */
  private heldBytes = 0;
  /** No window begins before this time unless it is urgent. */
  private nextLoadAt = 0;
  /** Place of the heap that is looked at next for an entry nobody waits for. */
  private sweepAt = 0;
  /** When the timer fires; Infinity when it is not set. */
  private timerAt = Number.POSITIVE_INFINITY;
  private readonly timer = new Timer(() => {
    this.timerAt = Number.POSITIVE_INFINITY;
    this.wake();
  });
  /** Grows when everything is forgotten, so that reads under way are ignored. */
  private epoch = 0;
  private stopped = false;

  /** @param needsBytes false when the host only wants to know that an entry is due: then nothing is read */
  constructor(
    context: QueueContext,
    queue: QueueNo,
    host: DueEntriesHost,
    needsBytes = true,
    shard: Pick<Shard, 'read'> = context.shard,
  ) {
    this.context = context;
    this.shard = shard;
    this.queue = queue;
    this.host = host;
    this.needsBytes = needsBytes;
  }

  /** Entries whose time has not come, those included that the host has taken otherwise and that were not noticed yet. */
  get count(): number {
    return this.heap.length + this.loading + this.ready.length - this.readyAt;
  }

  /** Their body bytes. */
  get bodyBytes(): number {
    return this.bytes;
  }

  /** Bytes of memory for what was fetched ahead; the index itself takes 20 bytes an entry beside it. */
  get fetchedBytes(): number {
    return this.heldBytes;
  }

  /**
   * One more entry that is in the store at `position`.
   * @param dueAtMs when its time comes, in ms since the epoch; may be past
   */
  add(dueAtMs: number, position: number, bodyLength: number): void {
    if (this.stopped) return;
    this.heap.push(dueAtMs, position, bodyLength);
    this.bytes += bodyLength;
    this.sweep();
    const at = this.wakeFor(dueAtMs);
    if (at < this.timerAt) this.arm(at);
  }

  /** From now on the host wants the bytes of what is due. */
  needBytes(): void {
    if (this.needsBytes) return;
    this.needsBytes = true;
    if (this.heap.length !== 0) this.wake();
  }

  /** As `add` while a store is recovered: nothing happens before `resume`. */
  restore(dueAtMs: number, position: number, bodyLength: number): void {
    this.heap.push(dueAtMs, position, bodyLength);
    this.bytes += bodyLength;
  }

  /** Recovery has ended: what is due goes on. */
  resume(): void {
    if (this.heap.length !== 0) this.wake();
  }

  /** Forgets all entries. */
  clear(): void {
    this.epoch++;
    this.heap.clear();
    this.bytes = 0;
    this.ready = [];
    this.readyAt = 0;
    this.loads = [];
    this.loading = 0;
    this.collecting = null;
    this.context.memory.used -= this.heldBytes;
    this.heldBytes = 0;
    this.context.messageWheel.clear(this.timer);
    this.timerAt = Number.POSITIVE_INFINITY;
  }

  /** Forgets all entries and takes no more. */
  stop(): void {
    this.stopped = true;
    this.clear();
  }

  runTurn(): void {
    if (this.stopped) return;
    const now = this.context.clock.now();
    try {
      if (this.needsBytes) this.handOver(now);
      else this.handOverBare(now);
    } finally {
      if (this.needsBytes) this.fetchMore(now);
      this.arrange(now);
    }
  }

  // ── handing over ──

  /** Hands over what is due of the fetched entries. */
  private handOver(now: number): void {
    const { host } = this;
    const { epoch } = this;
    let budget = DUE_PER_TURN;
    for (let entry = this.next(); entry !== null && entry.deadline <= now; entry = this.next()) {
      // What is handed over may go to very many queues.
      if (budget-- === 0 || ((budget & 7) === 0 && this.context.turn.isLong)) return;
      this.readyAt++;
      this.bytes -= entry.bodyLength;
      this.release(entry);
      if (host.stillWaits(entry.position)) host.due(entry.position, entry.bodyLength, entry.stored);
      if (epoch !== this.epoch) return;
    }
    if (this.readyAt === this.ready.length) {
      this.ready = [];
      this.readyAt = 0;
    } else if (this.readyAt > this.ready.length / 2) {
      this.ready = this.ready.slice(this.readyAt);
      this.readyAt = 0;
    }
  }

  /** The fetched entry whose turn is next; null when there is none, or when one before it is being read. */
  private next(): Fetched | null {
    if (this.readyAt === this.ready.length) return null;
    const entry = this.ready[this.readyAt]!;
    for (let i = 0; i < this.loads.length; i++) {
      const first = this.loads[i]!.entries[0];
      if (first !== undefined && isBefore(first, entry)) return null;
    }
    return entry;
  }

  private handOverBare(now: number): void {
    const { heap, host } = this;
    for (let budget = DUE_PER_TURN; heap.deadline <= now && budget !== 0; budget--) {
      const { id, size } = heap;
      heap.shift();
      this.bytes -= size;
      if (host.stillWaits(id)) host.due(id, size, null);
    }
  }

  /** Drops a few entries that nobody waits for: otherwise a queue that is read all the time would pile them up until they are due. */
  private sweep(): void {
    const { heap } = this;
    for (let i = 0; i < 2 && heap.length !== 0; i++) {
      if (this.sweepAt >= heap.length) this.sweepAt = 0;
      if (this.host.stillWaits(heap.idAt(this.sweepAt))) this.sweepAt++;
      else {
        this.bytes -= heap.sizeAt(this.sweepAt);
        heap.removeAt(this.sweepAt);
      }
    }
  }

  // ── when ──

  private wake(): void {
    if (!this.woken) this.context.turn.wake(this);
  }

  /** Sets the timer, or asks for the next turn, whatever is first. */
  private arrange(now: number): void {
    if (this.stopped) return;
    let at = this.wakeFor(this.heap.deadline);
    const entry = this.next();
    if (entry !== null) at = Math.min(at, entry.deadline);
    if (this.collecting !== null || at <= now) return this.wake();
    this.arm(at);
  }

  private arm(at: number): void {
    if (at === this.timerAt) return;
    this.timerAt = at;
    if (at === Number.POSITIVE_INFINITY) this.context.messageWheel.clear(this.timer);
    else this.context.messageWheel.set(this.timer, at - this.context.clock.now());
  }

  /** When something has to be done for an entry that is in the heap; Infinity while other things come before it. */
  private wakeFor(deadline: number): number {
    if (!this.needsBytes || deadline === Number.POSITIVE_INFINITY) return deadline;
    const { loads } = this;
    if (loads.length === LOADS_MAX || this.collecting !== null) return Number.POSITIVE_INFINITY;
    if (loads.length === 1) {
      // A window under way is worth a second one only for what would come before its end.
      const last = loads[0]!.entries[loads[0]!.entries.length - 1]!;
      return deadline < last.deadline ? deadline - URGENT_MS : Number.POSITIVE_INFINITY;
    }
    const count = this.ready.length - this.readyAt;
    if (count * 2 > WINDOW_ENTRIES_MAX || this.heldBytes * 2 > this.windowBytes()) {
      const last = this.ready[this.ready.length - 1];
      // Nothing else is read before half of what is there has gone.
      return last !== undefined && deadline < last.deadline ? deadline - URGENT_MS : Number.POSITIVE_INFINITY;
    }
    return Math.max(deadline - LOAD_LEAD_MS, Math.min(this.nextLoadAt, deadline - URGENT_MS));
  }

  private windowBytes(): number {
    return Math.min(WINDOW_BYTES_MAX, this.context.memory.share);
  }

  // ── reading ahead ──

  /** Begins a window when it is time for one, and collects its entries; many are collected over several turns. */
  private fetchMore(now: number): void {
    if (this.collecting === null) {
      if (this.wakeFor(this.heap.deadline) > now) return;
      const room = WINDOW_ENTRIES_MAX - (this.ready.length - this.readyAt);
      const load = new Load(
        now + (this.loads.length === 0 ? AHEAD_MS : 2 * URGENT_MS),
        Math.max(room, COLLECT_PER_TURN),
        this.windowBytes() - this.heldBytes,
      );
      this.nextLoadAt = now + LOAD_GAP_MS;
      this.loads.push(load);
      this.collecting = load;
    }
    this.collect(this.collecting);
  }

  private collect(load: Load): void {
    const { heap, host } = this;
    const { entries, byPosition } = load;
    for (let budget = COLLECT_PER_TURN; budget !== 0; budget--) {
      const { deadline } = heap;
      const full = entries.length >= load.countMax || (load.bytes >= load.bytesMax && entries.length !== 0);
      if (deadline > load.until || full) return this.beginReading(load);
      const { id, size } = heap;
      heap.shift();
      if (!host.stillWaits(id)) {
        this.bytes -= size;
        continue;
      }
      const entry: Fetched = { deadline, position: id, bodyLength: size, stored: null };
      entries.push(entry);
      byPosition.set(id, entry);
      load.bytes += size + FETCHED_OVERHEAD_BYTES;
      this.loading++;
    }
  }

  private beginReading(load: Load): void {
    this.collecting = null;
    const { entries } = load;
    if (entries.length === 0) return this.finish(load);
    // What was added while the window was collected may come before what had been taken in.
    for (let i = 1; i < entries.length; i++) {
      if (isBefore(entries[i]!, entries[i - 1]!)) {
        entries.sort(compare);
        break;
      }
    }
    load.positions = new Float64Array(entries.length);
    for (let i = 0; i < entries.length; i++) load.positions[i] = entries[i]!.position;
    load.positions.sort();
    this.read(load);
  }

  /** The next run of the walk through the store. */
  private read(load: Load): void {
    const { epoch } = this;
    const { positions } = load;
    const from = positions[load.next]!;
    // The last one alone: the store need not parse a run for it.
    const bytes = load.next + 1 === positions.length ? 1 : READ_BYTES;
    this.shard.read(this.queue, from, bytes, (error, run) => {
      if (epoch !== this.epoch) return;
      if (error !== null) return this.failed(load, error);
      load.failures = 0;
      this.take(load, run);
      if (load.next < positions.length) this.read(load);
      else this.finish(load);
    });
  }

  /** Copies what is wanted out of a run and goes on behind it. */
  private take(load: Load, run: readonly StoredEntry[]): void {
    const { positions } = load;
    let { next } = load;
    for (let i = 0; i < run.length && next < positions.length; i++) {
      const stored = run[i]!;
      while (next < positions.length && positions[next]! < stored.position)
        this.absent(load, positions[next++]!);
      if (next < positions.length && positions[next] === stored.position) {
        next++;
        this.keep(load.byPosition.get(stored.position)!, stored);
      }
    }
    // Nothing stands at or behind the position that was asked for.
    if (run.length === 0) while (next < positions.length) this.absent(load, positions[next++]!);
    load.next = next;
  }

  private keep(entry: Fetched, stored: StoredEntry): void {
    const length = stored.end - stored.start;
    const { buffer, at } = allocate(length);
    stored.buffer.copy(buffer, at, stored.start, stored.end);
    entry.stored = { ...stored, buffer, start: at, end: at + length };
    this.hold(length + FETCHED_OVERHEAD_BYTES);
  }

  /** An entry that the store does not have. Whoever took it has told the host, or else the store lost it. */
  private absent(load: Load, position: number): void {
    const entry = load.byPosition.get(position)!;
    load.byPosition.delete(position);
    this.bytes -= entry.bodyLength;
    if (!this.host.stillWaits(position)) return;
    this.context.log.error('a message that waited for its time is not in the store', {
      queue: this.host.name,
      position,
    });
  }

  /** Nothing is given up: the same run is asked for again. */
  private failed(load: Load, error: Error): void {
    if (error instanceof StoreError && error.kind === 'closed') return;
    if (load.failures++ === 0) {
      this.context.log.error('messages whose time comes cannot be read and wait; reading is tried again', {
        queue: this.host.name,
        messages: load.positions.length - load.next,
        error: error.message,
      });
    }
    const { epoch } = this;
    this.context.messageWheel.after(READ_RETRY_MS, () => {
      if (epoch === this.epoch) this.read(load);
    });
  }

  /** A window is complete: its entries join those that wait for their time in memory. */
  private finish(load: Load): void {
    this.loads.splice(this.loads.indexOf(load), 1);
    this.loading -= load.entries.length;
    const { entries } = load;
    const whole = load.byPosition.size === entries.length;
    const fetched = whole ? entries : entries.filter((entry) => entry.stored !== null);
    if (fetched.length !== 0) {
      this.ready = merge(this.ready, this.readyAt, fetched);
      this.readyAt = 0;
    }
    this.wake();
  }

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.context.memory.used += bytes;
  }

  private release(entry: Fetched): void {
    const { stored } = entry;
    if (stored !== null) this.hold(stored.start - stored.end - FETCHED_OVERHEAD_BYTES);
  }
}

function isBefore(a: Fetched, b: Fetched): boolean {
  return a.deadline < b.deadline || (a.deadline === b.deadline && a.position < b.position);
}

function compare(a: Fetched, b: Fetched): number {
  return a.deadline - b.deadline || a.position - b.position;
}

/** Two ordered lists become one; of the first, what stands from `at` on. */
function merge(first: readonly Fetched[], at: number, second: Fetched[]): Fetched[] {
  const { length } = first;
  if (at === length) return second;
  const merged: Fetched[] = [];
  let i = at;
  for (let j = 0; j < second.length; j++) {
    const entry = second[j]!;
    while (i < length && isBefore(first[i]!, entry)) merged.push(first[i++]!);
    merged.push(entry);
  }
  while (i < length) merged.push(first[i++]!);
  return merged;
}

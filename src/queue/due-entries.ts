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
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';
import { DueEntry, DueWindow, WINDOW_ENTRIES_MAX } from './due-window.ts';
import type { QueueContext } from './queue-context.ts';

/** Entries handed over in one turn at least … */
export const DUE_PER_TURN = 1_000;
/** … and, as long as it is short, in pieces of so many more. */
export const DUE_PIECE = 64;
/** Entries moved from the index into a window in one turn. */
const COLLECT_PER_TURN = 4_000;
/** A window reaches this far ahead, in milliseconds … */
export const AHEAD_MS = 14_000;
/** … and is begun when something that is not in memory is due in less than this. */
export const LOAD_LEAD_MS = 4_000;
/** Windows begin at most this often, unless something is due sooner than URGENT_MS. */
const LOAD_GAP_MS = 200;
const URGENT_MS = 500;
/** Bytes fetched ahead at a time; a queue's share of the message memory when that is less. One entry may always be larger. */
export const WINDOW_BYTES_MAX = 32 * 1024 * 1024;
/** Bytes of segments that one read asks the store for. */
const READ_BYTES = 2 * 1024 * 1024;
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
   * @param stored its bytes, good until this returns; null where bytes are not asked for
   */
  due(position: number, bodyLength: number, stored: StoredEntry | null): void;
}

/** The entries of one queue number that wait for their time. */
export class DueEntries implements Wakeable {
  woken = false;
  private readonly context: QueueContext;
  private readonly queue: QueueNo;
  private readonly shard: Pick<Shard, 'pick'>;
  private readonly host: DueEntriesHost;
  private needsBytes: boolean;
  private readonly heap = new DeadlineHeap();
  /** Body bytes of the entries in the heap, in windows, and those handed over by the present turn. */
  private bytes = 0;
  /** Windows whose entries are here; none of them is empty. */
  private ready: DueWindow[] = [];
  /** Entries in them. */
  private readyCount = 0;
  /** What is handed over. */
  private readonly shown = new DueEntry();
  /** Windows under way: collected or read. */
  private loads: DueWindow[] = [];
  /** Entries in `loads`. */
  private loading = 0;
  /** The window that is being collected; the last of `loads`, or null. */
  private collecting: DueWindow | null = null;
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
    shard: Pick<Shard, 'pick'> = context.shard,
  ) {
    this.context = context;
    this.shard = shard;
    this.queue = queue;
    this.host = host;
    this.needsBytes = needsBytes;
  }

  /** Entries whose time has not come, those included that the host has taken otherwise and that were not noticed yet. */
  get count(): number {
    return this.heap.length + this.loading + this.readyCount;
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
    this.readyCount = 0;
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
    const { host, shown, epoch } = this;
    let budget = DUE_PER_TURN;
    for (let window = this.next(); window !== null && window.deadline <= now; window = this.next()) {
      if (budget-- === 0) {
        if (!this.context.turn.hasTime) return;
        budget = DUE_PIECE - 1;
      }
      // What is handed over may go to very many queues.
      if ((budget & 7) === 0 && this.context.turn.isLong) return;
      const { position, bodyLength, heldBytes } = window;
      window.show(shown);
      this.readyCount--;
      this.bytes -= bodyLength;
      this.hold(-heldBytes);
      if (window.left === 0) this.ready.splice(this.ready.indexOf(window), 1);
      if (host.stillWaits(position)) host.due(position, bodyLength, shown);
      if (epoch !== this.epoch) return;
    }
  }

  /** The window whose entry is next; null when there is none, or when one before it is being read. */
  private next(): DueWindow | null {
    const { ready, loads } = this;
    if (ready.length === 0) return null;
    let first = ready[0]!;
    for (let i = 1; i < ready.length; i++) if (ready[i]!.isBefore(first)) first = ready[i]!;
    for (let i = 0; i < loads.length; i++) {
      const load = loads[i]!;
      if (load.count !== 0 && load.isBefore(first)) return null;
    }
    return first;
  }

  private handOverBare(now: number): void {
    const { heap, host } = this;
    for (let budget = DUE_PER_TURN; heap.deadline <= now; ) {
      if (budget-- === 0) {
        if (!this.context.turn.hasTime) return;
        budget = DUE_PIECE - 1;
      }
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
    const window = this.next();
    if (window !== null) at = Math.min(at, window.deadline);
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
      return deadline < loads[0]!.lastDeadline ? deadline - URGENT_MS : Number.POSITIVE_INFINITY;
    }
    if (this.readyCount * 2 > WINDOW_ENTRIES_MAX || this.heldBytes * 2 > this.windowBytes()) {
      // Nothing else is read before half of what is there has gone.
      return deadline < this.lastReady() ? deadline - URGENT_MS : Number.POSITIVE_INFINITY;
    }
    return Math.max(deadline - LOAD_LEAD_MS, Math.min(this.nextLoadAt, deadline - URGENT_MS));
  }

  /** The latest deadline of what is here. */
  private lastReady(): number {
    let last = 0;
    for (let i = 0; i < this.ready.length; i++) last = Math.max(last, this.ready[i]!.lastDeadline);
    return last;
  }

  private windowBytes(): number {
    return Math.min(WINDOW_BYTES_MAX, this.context.memory.share);
  }

  // ── reading ahead ──

  /** Begins a window when it is time for one, and collects its entries; many are collected over several turns. */
  private fetchMore(now: number): void {
    if (this.collecting === null) {
      if (this.wakeFor(this.heap.deadline) > now) return;
      const room = WINDOW_ENTRIES_MAX - this.readyCount;
      const load = new DueWindow(
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

  private collect(load: DueWindow): void {
    const { heap, host } = this;
    for (let budget = COLLECT_PER_TURN; budget !== 0; budget--) {
      if (heap.deadline > load.until || load.isFull) return this.beginReading(load);
      const { deadline, id, size } = heap;
      heap.shift();
      if (host.stillWaits(id)) {
        load.push(deadline, id, size);
        this.loading++;
      } else this.bytes -= size;
    }
  }

  private beginReading(load: DueWindow): void {
    this.collecting = null;
    if (load.count === 0) return this.finish(load);
    load.seal();
    this.read(load);
  }

  /** The next piece of the walk through the store. */
  private read(load: DueWindow): void {
    const { epoch } = this;
    const { positions } = load;
    this.shard.pick(
      this.queue,
      positions,
      load.next,
      READ_BYTES,
      (stored) => {
        if (epoch === this.epoch) this.hold(load.take(stored));
      },
      (error, next) => {
        if (epoch !== this.epoch) return;
        if (error !== null) return this.failed(load, error);
        load.failures = 0;
        load.next = next;
        if (next < positions.length) this.read(load);
        else this.finish(load);
      },
    );
  }

  /** An entry that the store does not have. Whoever took it has told the host, or else the store lost it. */
  private absent(position: number, bodyLength: number): void {
    this.bytes -= bodyLength;
    if (!this.host.stillWaits(position)) return;
    this.context.log.error('a message that waited for its time is not in the store', {
      queue: this.host.name,
      position,
    });
  }

  /** Nothing is given up: the same run is asked for again. */
  private failed(load: DueWindow, error: Error): void {
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
  private finish(load: DueWindow): void {
    this.loads.splice(this.loads.indexOf(load), 1);
    this.loading -= load.count;
    load.dropMissing((position, bodyLength) => this.absent(position, bodyLength));
    if (load.count !== 0) this.ready.push(load);
    this.readyCount += load.count;
    this.wake();
  }

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.context.memory.used += bytes;
  }
}

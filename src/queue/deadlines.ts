// The deadlines of one line: which of its entries expire next, wherever they stand.
// Owns an index of the entries that expire before something that stands in front of them. All others need none: when they expire, so has
// everything before them, and the front of the line shows it. So a queue whose messages all live equally long pays two comparisons for
// each. Takes nothing out of the line and decides nothing.
//
// Two indexes: entries in memory in a heap of their own, entries that are only in the store in `DueEntries`, which fetches their bytes
// in time. An entry in memory that is handed out stays in its heap until its time comes or too many such are in it.
//
// Invariants: an entry of the line with a deadline is in an index, or its deadline is no earlier than that of anything before it;
// an entry is in the heap, or in the list of those without time, at most once.

import { Heap } from '../base/heap.ts';
import type { Entry } from '../message/entry.ts';
import type { QueueNo, Shard } from '../store/store.ts';
import { DueEntries, type DueEntriesHost } from './due-entries.ts';
import { EARLY, INDEXED, isWaiting, WAITING } from './place.ts';
import type { QueueContext } from './queue-context.ts';

/** Entries in the heap that do not wait in the line are cleared away when they are more than those that do, and than this. */
const STALE_KEPT = 64;

/** Changes of the time to live that are remembered for entries that come from the store; of more, the next one counts for the first too. */
const CAPS_MAX = 8;

/** Everything up to a position expires at a time, at the latest. */
interface Cap {
  readonly upTo: number;
  readonly at: number;
}

/** The line, as far as its deadlines need it. */
export interface DeadlinesHost extends DueEntriesHost {
  /** What expires has to be read before it is forgotten: it goes to a dead-letter exchange. */
  readonly keepsDead: boolean;
}

/** Deadlines of one line. */
export class Deadlines {
  /** Every entry without time up to this position had its turn to find a consumer. */
  offeredUpTo = 0;
  /** Latest deadline of what came since the line was empty; Infinity once something came that never expires. */
  private latest: number;
  /** The same of what is, or was since memory was empty, in memory. */
  private latestHot: number;
  private heap = new Heap<Entry>(deadlineOf, positionOf);
  /** Entries of the heap that wait in the line. */
  private waiting = 0;
  /** Entries that may be handed out in the turn that comes, and not later. */
  private brief: Entry[] = [];
  private cold: DueEntries | null = null;
  /** Ascending by position. */
  private caps: Cap[] = [];
  private readonly context: QueueContext;
  private readonly shard: Pick<Shard, 'pick'>;
  private readonly number: QueueNo;
  private readonly host: DeadlinesHost;

  /**
   * @param number of the line in the store
   * @param isEmpty nothing without a deadline came before
   */
  constructor(
    context: QueueContext,
    shard: Pick<Shard, 'pick'>,
    number: QueueNo,
    host: DeadlinesHost,
    isEmpty: boolean,
  ) {
    this.context = context;
    this.shard = shard;
    this.number = number;
    this.host = host;
    this.latest = isEmpty ? 0 : Number.POSITIVE_INFINITY;
    this.latestHot = this.latest;
  }

  /** Nothing is ready and nothing unacked. */
  reset(): void {
    this.latest = 0;
    this.latestHot = 0;
  }

  /** Nothing is in memory and nothing unacked. */
  resetHot(): void {
    this.latestHot = 0;
  }

  /** An entry comes to the back of what is in memory; an EARLY one may yet see something come to a place in front of it. */
  pushed(entry: Entry): void {
    const at = entry.expiresAt;
    if (at !== 0) entry.place |= WAITING;
    if (at < 0) return this.addBrief(entry);
    const deadline = at === 0 ? Number.POSITIVE_INFINITY : at;
    if (deadline >= this.latestHot) this.latestHot = deadline;
    if (deadline < this.latestHot || (entry.place & EARLY) !== 0) {
      entry.place |= EARLY;
      this.index(entry);
    }
    if (deadline > this.latest) this.latest = deadline;
  }

  /**
   * An entry that is only in the store comes to the back of the line.
   * @param isRestored recovery has found it: nothing of its kind expires before `resume`
   * @param isEarly something may yet come to a place in front of it
   */
  pushedCold(
    position: number,
    expiresAt: number,
    bodyLength: number,
    isRestored: boolean,
    isEarly: boolean,
  ): void {
    const deadline = expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt;
    if (deadline >= this.latest) this.latest = deadline;
    if (deadline < this.latest || (isEarly && expiresAt !== 0)) {
      const { host } = this;
      this.cold ??= new DueEntries(this.context, this.number, host, host.keepsDead, this.shard);
      if (isRestored) this.cold.restore(deadline, position, bodyLength);
      else this.cold.add(deadline, position, bodyLength);
    }
  }

  /** Recovery has ended. */
  resume(): void {
    this.cold?.resume();
  }

  /** An entry that was handed out is back at its place. */
  cameBack(entry: Entry): void {
    entry.place |= WAITING;
    if ((entry.place & INDEXED) !== 0) {
      if (entry.expiresAt > 0) this.waiting++;
    } else if (entry.expiresAt < 0) this.addBrief(entry);
    else if ((entry.place & EARLY) !== 0) this.index(entry);
  }

  /** An entry that is in none of the lists will come back to a place in front of what comes now. @param expiresAt 0 for never */
  comesBackLater(expiresAt: number): void {
    const deadline = expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt;
    this.latest = Math.max(this.latest, deadline);
    this.latestHot = Math.max(this.latestHot, deadline);
  }

  /** The entry waits beside the list from now on: the front of the line does not show it any more. */
  parked(entry: Entry): void {
    if (entry.expiresAt > 0 && (entry.place & INDEXED) === 0) {
      entry.place |= EARLY;
      this.index(entry);
    }
  }

  /** An entry with a deadline left what is in memory. */
  left(entry: Entry): void {
    entry.place &= ~WAITING;
    if ((entry.place & INDEXED) === 0 || entry.expiresAt < 0) return;
    this.waiting--;
    if (this.heap.length > STALE_KEPT && this.heap.length > 2 * this.waiting) this.sweep();
  }

  /** The entry of the heap that expires first. */
  first(): Entry | null {
    for (let entry = this.heap.peek(); entry !== null; entry = this.heap.peek()) {
      if (isWaiting(entry)) return entry;
      this.heap.shift();
      entry.place &= ~INDEXED;
    }
    return null;
  }

  /** Entries without time that have had their turn, and may not be in the line any more. They are not indexed from now on. */
  takeBrief(): Entry[] {
    const { brief } = this;
    if (brief.length === 0) return brief;
    this.brief = [];
    for (let i = 0; i < brief.length; i++) brief[i]!.place &= ~INDEXED;
    return brief;
  }

  /** Puts one of them back: it has to wait for a later turn. */
  keepBrief(entry: Entry): void {
    this.addBrief(entry);
  }

  get hasBrief(): boolean {
    return this.brief.length !== 0;
  }

  /**
   * Everything up to a position expires at `at` if not before.
   * @param hot what of it is in memory: no deadline that is set here is earlier than that of anything before it that was not. Others are
   * in the store only, will be found there, or come back as the store has them
   */
  cap(upTo: number, at: number, hot: Iterable<Entry>): void {
    for (const entry of hot) if (entry.expiresAt === 0 || entry.expiresAt > at) entry.expiresAt = at;
    // Keys in the heap have changed.
    this.sweep();
    if (this.latest > at) this.latest = at;
    if (this.latestHot > at) this.latestHot = at;
    const { caps } = this;
    while (caps.length !== 0 && caps[caps.length - 1]!.at >= at) caps.pop();
    // Nothing has come since an earlier time was set.
    if (caps.length !== 0 && caps[caps.length - 1]!.upTo >= upTo) return;
    if (caps.length === CAPS_MAX) caps.shift();
    caps.push({ upTo, at });
  }

  /** The deadline of an entry that comes from the store. @param expiresAt as it is stored */
  capped(position: number, expiresAt: number): number {
    const { caps } = this;
    for (let i = 0; i < caps.length; i++) {
      const { upTo, at } = caps[i]!;
      // The first that covers it is the earliest that does.
      if (position <= upTo) return expiresAt === 0 || expiresAt > at ? at : expiresAt;
    }
    return expiresAt;
  }

  /** Dead letters need the bytes of what expires. */
  needBytes(): void {
    this.cold?.needBytes();
  }

  /** Everything ready is forgotten. What is in consumers' hands may come back from the store yet. */
  clear(): void {
    this.cold?.clear();
  }

  stop(): void {
    this.cold?.stop();
    this.cold = null;
    this.heap = new Heap<Entry>(deadlineOf, positionOf);
    this.brief = [];
  }

  private index(entry: Entry): void {
    entry.place |= INDEXED;
    this.heap.push(entry);
    this.waiting++;
  }

  private addBrief(entry: Entry): void {
    entry.place |= INDEXED;
    this.brief.push(entry);
  }

  /** What does not wait in the line leaves the heap; the rest is put in order. */
  private sweep(): void {
    const old = this.heap;
    this.heap = new Heap<Entry>(deadlineOf, positionOf);
    for (const entry of old) {
      if (isWaiting(entry)) this.heap.push(entry);
      else entry.place &= ~INDEXED;
    }
  }
}

function deadlineOf(entry: Entry): number {
  return entry.expiresAt;
}

function positionOf(entry: Entry): number {
  return entry.position;
}

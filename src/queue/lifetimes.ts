// What expires in one queue, and leaves it: at the head before it would be handed out, and wherever else it stands in its time.
// Owns when one looks, and that a look is bounded. Knows no consumers. Who expires next, each line knows (deadlines.ts); what a time to
// live means, expiry.ts; what becomes of the dead, deaths.ts.
//
// Invariants: nothing whose time is over is handed out, however late its timer is; as long as something in memory has a deadline, the
// queue is woken for it.

import type { Entry } from '../message/entry.ts';
import type { Deadlines } from './deadlines.ts';
import type { Deaths } from './deaths.ts';
import { DUE_PIECE } from './due-entries.ts';
import { type Expiry, NOW_OR_NEVER } from './expiry.ts';
import type { Line } from './line.ts';
import { isWaiting } from './place.ts';
import type { QueueContext } from './queue-context.ts';
import type { QueueLines } from './queue-lines.ts';

/** The queue, as far as the lives of its messages need it. */
export interface LifetimesHost {
  wake(): void;
}

/** The lives of one queue's messages. */
export class Lifetimes {
  private readonly queue: LifetimesHost;
  private readonly lines: QueueLines;
  private readonly expiry: Expiry;
  private readonly deaths: Deaths;
  private readonly context: QueueContext;

  constructor(
    queue: LifetimesHost,
    lines: QueueLines,
    expiry: Expiry,
    deaths: Deaths,
    context: QueueContext,
  ) {
    this.queue = queue;
    this.lines = lines;
    this.expiry = expiry;
    this.deaths = deaths;
    this.context = context;
  }

  /**
   * A shorter time to live counts for what is in the queue already, from now on; a longer one for new messages only.
   * @param parked entries that wait beside their lines
   */
  shorten(ttlMs: number, parked: Iterable<Entry>): void {
    const at = this.context.clock.now() + ttlMs;
    const { all } = this.lines;
    for (let i = 0; i < all.length; i++) all[i]!.cap(at, parked);
  }

  /**
   * Drops what has expired, wherever it stands, in the order of deadlines.
   * @returns false when that is more than a turn's work: the rest goes in the turns after it
   */
  expire(): boolean {
    const now = this.context.clock.now();
    let budget = this.context.deliveriesPerTurn;
    const { all } = this.lines;
    for (let i = 0; i < all.length; i++) {
      const line = all[i]!;
      for (let entry = line.nextExpired(now); entry !== null; entry = line.nextExpired(now)) {
        if (budget === 0 && this.context.turn.hasTime) budget = DUE_PIECE;
        if (this.deaths.isTurnOver(budget)) {
          this.queue.wake();
          return false;
        }
        budget--;
        line.take(entry);
        this.deaths.bury(entry, 'expired');
      }
    }
    this.watch();
    return true;
  }

  /**
   * Drops what has expired, if that is at the head: none is handed out, though the wheel has not come round yet.
   * @returns the head that lives; null when there is none in memory, and when so many have expired that the rest has to wait for the
   * next turn
   */
  expireHead(): Entry | null {
    let budget = this.context.deliveriesPerTurn;
    for (let entry = this.lines.top.peek(); entry !== null; entry = this.lines.top.peek()) {
      if (!this.isDue(entry)) return entry;
      if (entry.expiresAt !== NOW_OR_NEVER) {
        if (!this.expire()) return null;
      } else if (this.deaths.isTurnOver(budget)) {
        this.queue.wake();
        return null;
      } else {
        budget--;
        this.lines.top.shift();
        this.deaths.bury(entry, 'expired');
      }
    }
    return null;
  }

  /** Consumers had the chance to take everything that is in the queue now. */
  offered(): void {
    const { all } = this.lines;
    for (let i = 0; i < all.length; i++) {
      const { deadlines, nextPosition } = all[i]!;
      if (deadlines !== null) deadlines.offeredUpTo = nextPosition - 1;
    }
  }

  /** Drops what had to be handed out at once and was not. */
  expireBrief(): void {
    const { all } = this.lines;
    for (let i = 0; i < all.length; i++) {
      const line = all[i]!;
      if (line.deadlines?.hasBrief) this.expireBriefOf(line, line.deadlines);
    }
  }

  /** The queue is woken when the next message expires. */
  watch(): void {
    let next = Number.POSITIVE_INFINITY;
    const { all } = this.lines;
    for (let i = 0; i < all.length; i++) {
      const line = all[i]!;
      if (line.deadlines === null) continue;
      const deadline = line.nextDeadline;
      if (deadline < next) next = deadline;
    }
    this.expiry.watch(next);
    // Past already: no timer has to say so.
    if (this.expiry.isTime) this.queue.wake();
  }

  private isDue(entry: Entry): boolean {
    const { expiresAt } = entry;
    if (expiresAt === 0) return false;
    return expiresAt === NOW_OR_NEVER
      ? entry.position <= (entry.owner as Line).deadlines!.offeredUpTo
      : expiresAt <= this.context.clock.now();
  }

  private expireBriefOf(line: Line, deadlines: Deadlines): void {
    const brief = deadlines.takeBrief();
    let budget = this.context.deliveriesPerTurn;
    for (let i = 0; i < brief.length; i++) {
      const entry = brief[i]!;
      if (!isWaiting(entry)) continue;
      if (this.deaths.isTurnOver(budget)) {
        budget = 0;
        deadlines.keepBrief(entry);
        this.queue.wake();
        continue;
      }
      budget--;
      line.take(entry);
      this.deaths.bury(entry, 'expired');
    }
  }
}

// Time in one queue: when its messages expire, and the timer that wakes the queue for it.
// Owns the meaning of `Entry.expiresAt`. Which message is next, its line knows (deadlines.ts); what becomes of it, the queue decides.
//
// A time to live of 0 means "now or never" (RabbitMQ): the message may be handed out in the first turn after it came, not later.

import type { Clock } from '../base/clock.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';

/** Deadline of a message whose time to live is 0. */
export const NOW_OR_NEVER = -1;

/** A deadline that is farther away than this is waited for on the coarse wheel, which is looked at less often … */
const FAR_MS = 1_000;
/** … up to this long before it. */
const APPROACH_MS = 500;

/** The clock of one queue's messages. */
export class Expiry {
  /** The queue is woken at this time, or not much before; Infinity when nothing expires. */
  private at = Number.POSITIVE_INFINITY;
  /** There is such a time. Asked in every turn, and a number that is no small integer lies in a place of its own. */
  private isSet = false;
  private readonly clock: Clock;
  private readonly coarse: TimerWheel;
  private readonly fine: TimerWheel;
  private readonly coarseTimer: Timer;
  private readonly fineTimer: Timer;

  /**
   * @param coarse for what is far away
   * @param fine keeps to the time
   * @param due called when a deadline that was announced may have come
   */
  constructor(clock: Clock, coarse: TimerWheel, fine: TimerWheel, due: () => void) {
    this.clock = clock;
    this.coarse = coarse;
    this.fine = fine;
    this.coarseTimer = new Timer(() => this.approach());
    this.fineTimer = new Timer(due);
  }

  /**
   * When a message expires: the smaller of its own time to live and the queue's, counted from now (RabbitMQ).
   * @param ttlMs the queue's; Infinity for none
   * @returns milliseconds since the epoch; 0 for never; NOW_OR_NEVER
   */
  deadlineOf(message: Message, ttlMs: number): number {
    const own = message.expirationMs();
    if (own < 0 && ttlMs === Number.POSITIVE_INFINITY) return 0;
    const ttl = own < 0 ? ttlMs : Math.min(own, ttlMs);
    return ttl === 0 ? NOW_OR_NEVER : this.clock.now() + ttl;
  }

  /** The deadline as it is stored: what was not handed out at once and comes back from the store has missed its chance. */
  storedDeadline(entry: Entry): number {
    return entry.expiresAt === NOW_OR_NEVER ? this.clock.now() : entry.expiresAt;
  }

  /** The time that was watched has come. */
  get isTime(): boolean {
    return this.isSet && this.at <= this.clock.now();
  }

  /** The next deadline is this one, in ms since the epoch; Infinity for none. The queue may be woken before it, never after. */
  watch(deadline: number): void {
    // An earlier time that is set already stays: it costs one look in vain, and not a setting for every message that leaves.
    if (deadline >= this.at && !this.isTime) return;
    this.at = deadline;
    this.isSet = deadline !== Number.POSITIVE_INFINITY;
    if (!this.isSet) return;
    this.coarse.clear(this.coarseTimer);
    const left = deadline - this.clock.now();
    if (left > FAR_MS) {
      this.fine.clear(this.fineTimer);
      this.coarse.set(this.coarseTimer, left - APPROACH_MS);
    } else this.fine.set(this.fineTimer, left);
  }

  stop(): void {
    this.at = Number.POSITIVE_INFINITY;
    this.isSet = false;
    this.coarse.clear(this.coarseTimer);
    this.fine.clear(this.fineTimer);
  }

  private approach(): void {
    if (this.isSet) this.fine.set(this.fineTimer, this.at - this.clock.now());
  }
}

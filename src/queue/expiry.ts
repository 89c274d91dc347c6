// Message TTL in one queue: deadlines, who is due, and the timer that wakes the queue when its head expires.
// Owns the meaning of `Entry.expiresAt`. Takes no entry out: the queue asks at its head, where alone messages expire (RabbitMQ).
//
// A time to live of 0 means "now or never" (RabbitMQ): the message may be handed out in the first turn after it came, not later.

import type { Clock } from '../base/clock.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';

/** Deadline of a message whose time to live is 0. */
export const NOW_OR_NEVER = -1;

/** The deadlines of one queue. */
export class Expiry {
  private readonly clock: Clock;
  private readonly wheel: TimerWheel;
  private readonly timer: Timer;
  /** Everything up to this position had its turn to find a consumer. */
  private offeredUpTo = 0;

  /** @param due called when the head that was announced last has expired */
  constructor(clock: Clock, wheel: TimerWheel, due: () => void) {
    this.clock = clock;
    this.wheel = wheel;
    this.timer = new Timer(due);
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

  /** An entry at the head of the queue has expired. */
  isDue(entry: Entry): boolean {
    const { expiresAt } = entry;
    if (expiresAt === 0) return false;
    return expiresAt === NOW_OR_NEVER ? entry.position <= this.offeredUpTo : expiresAt <= this.clock.now();
  }

  /** A turn ended in which everything up to `position` could have been handed out. */
  offered(position: number): void {
    this.offeredUpTo = position;
  }

  /** This entry is at the head now. */
  watch(head: Entry): void {
    if (head.expiresAt > 0) this.wheel.set(this.timer, head.expiresAt - this.clock.now());
  }

  stop(): void {
    this.wheel.clear(this.timer);
  }
}

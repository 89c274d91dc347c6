// Queue expiry (x-expires): a queue that nobody used for so long is deleted.
// Owns when it was used last, and the timer. What counts as use, the queue and its vhost say by `touch`; consumers count as long as they are.
// A use only notes the time: the timer is set anew when it fires too early. Very many queues may expire at one moment, so the timer only
// says so, and the queue asks in its turn.

import type { Clock } from '../base/clock.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';

/** How long one queue may be without use. */
export class IdleLimit {
  private limitMs = Number.POSITIVE_INFINITY;
  private usedAt: number;
  private readonly clock: Clock;
  private readonly wheel: TimerWheel;
  private readonly timer: Timer;
  /** The limit may have passed: `hasPassed` tells. */
  isDue = false;
  private readonly inUse: () => boolean;

  /**
   * @param inUse it has consumers
   * @param due called when the limit may have passed without use
   */
  constructor(clock: Clock, wheel: TimerWheel, inUse: () => boolean, due: () => void) {
    this.clock = clock;
    this.wheel = wheel;
    this.usedAt = clock.now();
    this.inUse = inUse;
    this.timer = new Timer(() => {
      this.isDue = true;
      due();
    });
  }

  /** Whether the limit has passed without use, asked once when it is due. If not, the queue is told again when it may have. */
  hasPassed(): boolean {
    this.isDue = false;
    // When the last consumer leaves, that is a use.
    if (this.limitMs === Number.POSITIVE_INFINITY || this.inUse()) return false;
    const left = this.usedAt + this.limitMs - this.clock.now();
    if (left > 0) this.wheel.set(this.timer, left);
    return left <= 0;
  }

  /** The limit from now on, in milliseconds; Infinity for none. The time without use begins anew. */
  set(limitMs: number): void {
    this.limitMs = limitMs;
    this.stop();
    this.touch();
  }

  /** The queue is used now. */
  touch(): void {
    if (this.limitMs === Number.POSITIVE_INFINITY) return;
    this.usedAt = this.clock.now();
    if (!this.timer.isSet && !this.isDue) this.wheel.set(this.timer, this.limitMs);
  }

  stop(): void {
    this.isDue = false;
    this.wheel.clear(this.timer);
  }
}

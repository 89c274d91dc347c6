// Queue expiry (x-expires): a queue that nobody used for so long is deleted.
// Owns when it was used last, and the timer. What counts as use, the queue and its vhost say by `touch`; consumers count as long as they are.
// A use only notes the time: the timer is set anew when it fires too early.

import type { Clock } from '../base/clock.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';

/** How long one queue may be without use. */
export class IdleLimit {
  private limitMs = Number.POSITIVE_INFINITY;
  private usedAt: number;
  private readonly clock: Clock;
  private readonly wheel: TimerWheel;
  private readonly timer: Timer;

  /**
   * @param inUse it has consumers
   * @param expired called when the limit has passed without use
   */
  constructor(clock: Clock, wheel: TimerWheel, inUse: () => boolean, expired: () => void) {
    this.clock = clock;
    this.wheel = wheel;
    this.usedAt = clock.now();
    this.timer = new Timer(() => {
      // When the last consumer leaves, that is a use.
      if (inUse()) return;
      const left = this.usedAt + this.limitMs - clock.now();
      if (left > 0) wheel.set(this.timer, left);
      else expired();
    });
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
    if (!this.timer.isSet) this.wheel.set(this.timer, this.limitMs);
  }

  stop(): void {
    this.wheel.clear(this.timer);
  }
}

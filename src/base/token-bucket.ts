// How much of something may be done now, at a rate per second. Owns the tokens; time comes from the clock it is given.

import type { Clock } from './clock.ts';

/** Tokens are saved up for this long, in milliseconds, so that a coarse timer does not slow a fast rate down. */
const SAVED_MS = 100;

/** A token bucket. */
export class TokenBucket {
  private readonly clock: Clock;
  private readonly perMs: number;
  private readonly max: number;
  private tokens = 1;
  private at: number;

  /** @param perSecond more than 0; Infinity for no limit */
  constructor(clock: Clock, perSecond: number) {
    this.clock = clock;
    this.perMs = perSecond / 1000;
    this.max = Math.max(1, this.perMs * SAVED_MS);
    this.at = clock.now();
  }

  /** There is a token. */
  has(): boolean {
    if (this.perMs === Number.POSITIVE_INFINITY) return true;
    const now = this.clock.now();
    // A clock that was put back costs no tokens.
    if (now > this.at) this.tokens = Math.min(this.max, this.tokens + (now - this.at) * this.perMs);
    this.at = now;
    return this.tokens >= 1;
  }

  /** Takes one. */
  take(): void {
    if (this.perMs !== Number.POSITIVE_INFINITY) this.tokens--;
  }

  /** Milliseconds until there is one. */
  waitMs(): number {
    return this.has() ? 0 : Math.ceil((1 - this.tokens) / this.perMs);
  }
}

// Plain integer counters and their rates. Owns counting only; who shows the numbers, and when, is decided elsewhere.
// Invariant: `add` is one addition: no time is read and nothing is allocated where things happen.

import type { Clock } from './clock.ts';

/** A rate is taken over at least this long, so that two quick looks do not show noise. */
const WINDOW_MS = 5_000;

/** Counts up; knows how fast. */
export class RateCounter {
  /** Everything counted so far. */
  total = 0;

  readonly #clock: Clock;
  /** Time and total at the start of the stretch a rate is taken over. */
  #fromMs: number;
  #fromTotal = 0;
  /** Time and total at the last look that started a new window; becomes the start of the next stretch. */
  #markMs: number;
  #markTotal = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#fromMs = clock.now();
    this.#markMs = this.#fromMs;
  }

  add(n = 1): void {
    this.total += n;
  }

  /**
   * Events per second over the last five to ten seconds when somebody looks at least every five; over the time since the last
   * looks otherwise.
   */
  get perSecond(): number {
    const now = this.#clock.now();
    if (now - this.#markMs >= WINDOW_MS) {
      this.#fromMs = this.#markMs;
      this.#fromTotal = this.#markTotal;
      this.#markMs = now;
      this.#markTotal = this.total;
    }
    const ms = now - this.#fromMs;
    return ms <= 0 ? 0 : ((this.total - this.#fromTotal) * 1_000) / ms;
  }
}

// A clock that is moved by hand: for our tests and for the tests of those who embed the broker.
// Invariant: time never goes backwards; tickers fire in the order of their times.

import type { Clock, Ticker } from './clock.ts';

/** One repetition on a fake clock. */
class FakeTicker implements Ticker {
  readonly everyMs: number;
  readonly tick: () => void;
  /** Time of the next tick. */
  nextAt: number;
  readonly #tickers: Set<FakeTicker>;

  constructor(everyMs: number, tick: () => void, nextAt: number, tickers: Set<FakeTicker>) {
    this.everyMs = everyMs;
    this.tick = tick;
    this.nextAt = nextAt;
    this.#tickers = tickers;
  }

  stop(): void {
    this.#tickers.delete(this);
  }
}

/** Time stands still until `advance` or `jump` is called. */
export class FakeClock implements Clock {
  #now: number;
  readonly #tickers = new Set<FakeTicker>();

  /** @param now first time shown, in milliseconds since the epoch */
  constructor(now = Date.UTC(2024, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Tickers that run; 0 when whatever uses this clock is idle. */
  get tickerCount(): number {
    return this.#tickers.size;
  }

  every(ms: number, tick: () => void): Ticker {
    const everyMs = Math.max(1, ms);
    const ticker = new FakeTicker(everyMs, tick, this.#now + everyMs, this.#tickers);
    this.#tickers.add(ticker);
    return ticker;
  }

  /** Moves time on by `ms`, and fires every tick on the way at its own time, as if the time had passed. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#nextDue(end); next !== null; next = this.#nextDue(end)) {
      this.#now = Math.max(this.#now, next.nextAt);
      next.nextAt = this.#now + next.everyMs;
      next.tick();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Moves time on by `ms` at once, as a machine that slept does: each ticker fires at most once, afterwards. */
  jump(ms: number): void {
    this.#now += Math.max(0, ms);
    for (const ticker of [...this.#tickers]) {
      if (ticker.nextAt > this.#now || !this.#tickers.has(ticker)) continue;
      ticker.nextAt = this.#now + ticker.everyMs;
      ticker.tick();
    }
  }

  /** The ticker whose turn is next, not later than `end`; the one created first when several are due at once. */
  #nextDue(end: number): FakeTicker | null {
    let found: FakeTicker | null = null;
    for (const ticker of this.#tickers) {
      if (ticker.nextAt <= end && (found === null || ticker.nextAt < found.nextAt)) found = ticker;
    }
    return found;
  }
}

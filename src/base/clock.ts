// Time as a parameter. Owns nothing but the interface and the real clock; tests pass a clock they move by hand.

/** A cancellable repetition. */
export interface Ticker {
  stop(): void;
}

/** All time in the broker comes from one of these. */
export interface Clock {
  /** Milliseconds since the Unix epoch, as an integer. */
  now(): number;
  /** Calls `tick` about every `ms` milliseconds until stopped. Never keeps the process alive by itself. */
  every(ms: number, tick: () => void): Ticker;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  every: (ms, tick) => {
    const timer = setInterval(tick, ms);
    timer.unref();
    return { stop: () => clearInterval(timer) };
  },
};

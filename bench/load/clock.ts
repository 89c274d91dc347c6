// One clock for all processes of a run. Owns nothing.

/** Milliseconds of the system's monotonic clock: the same in every process of a machine, unlike `performance.now()`. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

// Waiting without sleeping. Owns how long a test is patient.
// Invariant: a wait always ends, by what it waits for or, after WAIT_MS, with a sentence that says what was missing.

/** How long a test waits for one thing. Not a pause: only failures take it. */
export const WAIT_MS = 5_000;

/** Whoever waits: told the value, or why there will be none. */
export interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** A promise that is rejected with `what` after WAIT_MS, so that a silent broker fails a test with a clear sentence. */
export function within<T>(what: () => string, start: (waiter: Waiter<T>) => void): Promise<T> {
  const trace = new Error();
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      trace.message = what();
      reject(trace);
    }, WAIT_MS);
    start({
      resolve: (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    });
  });
}

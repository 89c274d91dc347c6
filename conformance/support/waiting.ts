// Waiting without sleeping. Owns how long a test is patient.
// Invariant: a wait always ends, by what it waits for or, after WAIT_MS, with a sentence that says what was missing.

/** How long a test waits for one thing. Not a pause: only failures take it. */
export const WAIT_MS = 5_000;

/** Whoever waits: told the value, or why there will be none. */
export interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** A clock that a test moves. */
interface MovableClock {
  advance(ms: number): void;
}

/** How far a waiting test moves the clock at every look: less than any time that a test tells apart. */
const STEP_MS = 2;

let moving: MovableClock | null = null;

/** While a test of this file waits, time passes on the broker's own clock: nobody waits for real time. A foreign broker has its own. */
export function passTimeWhileWaiting(clock: MovableClock): void {
  moving = clock;
}

/** Moves the clock at every turn of the event loop until the wait is over. */
function moveUntil(isOver: () => boolean): void {
  const clock = moving;
  if (clock === null) return;
  const step = (): void => {
    if (isOver()) return;
    clock.advance(STEP_MS);
    setImmediate(step);
  };
  setImmediate(step);
}

/** A promise that is rejected with `what` after WAIT_MS, so that a silent broker fails a test with a clear sentence. */
export function within<T>(what: () => string, start: (waiter: Waiter<T>) => void): Promise<T> {
  const trace = new Error();
  return new Promise<T>((resolve, reject) => {
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
      trace.message = what();
      reject(trace);
    }, WAIT_MS);
    start({
      resolve: (value) => {
        isOver = true;
        clearTimeout(timer);
        resolve(value);
      },
      reject: (error) => {
        isOver = true;
        clearTimeout(timer);
        reject(error);
      },
    });
    moveUntil(() => isOver);
  });
}

// What a test waits for: items pushed by callbacks, taken one by one in their order.
// Invariant: `next` always ends, with an item or after WAIT_MS with a sentence that says what was missing.

import { WAIT_MS } from './waiting.ts';

/** Items in order of arrival. */
export class Inbox<T> {
  /** Everything that arrived, taken or not. */
  readonly all: T[] = [];
  private readonly what: string;
  private taken = 0;
  private waiting: (() => void) | null = null;

  /** @param what names an item in the failure's text */
  constructor(what: string) {
    this.what = what;
  }

  /** Adds an item; bound, so that it can be handed over as a callback. */
  readonly push = (item: T): void => {
    this.all.push(item);
    this.waiting?.();
  };

  /** The next item; waits for it. */
  async next(): Promise<T> {
    if (this.taken === this.all.length) {
      const missing = new Error(`${this.what} ${this.taken + 1} did not come`);
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(missing), WAIT_MS);
        this.waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.waiting = null;
    }
    return this.all[this.taken++]!;
  }

  /** The next `count` items; waits for them. */
  async take(count: number): Promise<T[]> {
    const items: T[] = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }
}

// A binary heap: the least value first, by a number of its own. For values that come in any order and leave in one.

/** Values by rising key. Adding in rising order, and removing after that, costs next to nothing; anything else is logarithmic. */
export class Heap<T> {
  private values: T[] = [];
  private readonly keyOf: (value: T) => number;

  constructor(keyOf: (value: T) => number) {
    this.keyOf = keyOf;
  }

  get length(): number {
    return this.values.length;
  }

  /** All values, in no order. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.values.values();
  }

  /** The value with the least key, left where it is; null when empty. */
  peek(): T | null {
    return this.values.length === 0 ? null : this.values[0]!;
  }

  push(value: T): void {
    const { values, keyOf } = this;
    const key = keyOf(value);
    let at = values.length;
    values.push(value);
    while (at !== 0) {
      const parent = (at - 1) >>> 1;
      if (keyOf(values[parent]!) <= key) break;
      values[at] = values[parent]!;
      at = parent;
    }
    values[at] = value;
  }

  /** Removes and returns the value with the least key; null when empty. */
  shift(): T | null {
    const { values, keyOf } = this;
    if (values.length === 0) return null;
    const least = values[0]!;
    const last = values.pop()!;
    const { length } = values;
    if (length === 0) {
      // The memory of a burst is given back.
      this.values = [];
      return least;
    }
    const key = keyOf(last);
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && keyOf(values[child + 1]!) < keyOf(values[child]!)) child++;
      if (keyOf(values[child]!) >= key) break;
      values[at] = values[child]!;
      at = child;
    }
    values[at] = last;
    return least;
  }
}

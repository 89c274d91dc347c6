// A binary heap: the least value first, by a number of its own. For values that come in any order and leave in one.

/** Values by rising key. Adding in rising order, and removing after that, costs next to nothing; anything else is logarithmic. */
export class Heap<T> {
  private values: T[] = [];
  private readonly keyOf: (value: T) => number;
  private readonly thenOf: (value: T) => number;

  /** @param thenOf orders values whose keys are equal; without it their order is any */
  constructor(keyOf: (value: T) => number, thenOf: (value: T) => number = noTie) {
    this.keyOf = keyOf;
    this.thenOf = thenOf;
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
    const { values } = this;
    const key = this.keyOf(value);
    let at = values.length;
    values.push(value);
    while (at !== 0) {
      const parent = (at - 1) >>> 1;
      if (!this.isBefore(value, key, values[parent]!)) break;
      values[at] = values[parent]!;
      at = parent;
    }
    values[at] = value;
  }

  /** Removes and returns the value with the least key; null when empty. */
  shift(): T | null {
    const { values } = this;
    if (values.length === 0) return null;
    const least = values[0]!;
    const last = values.pop()!;
    const { length } = values;
    if (length === 0) {
      // The memory of a burst is given back.
      this.values = [];
      return least;
    }
    const key = this.keyOf(last);
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      const right = child + 1;
      if (right < length && this.isBefore(values[right]!, this.keyOf(values[right]!), values[child]!))
        child = right;
      if (!this.isBefore(values[child]!, this.keyOf(values[child]!), last, key)) break;
      values[at] = values[child]!;
      at = child;
    }
    values[at] = last;
    return least;
  }

  private isBefore(value: T, key: number, other: T, otherKey = this.keyOf(other)): boolean {
    return key < otherKey || (key === otherKey && this.thenOf(value) < this.thenOf(other));
  }
}

function noTie(): number {
  return 0;
}

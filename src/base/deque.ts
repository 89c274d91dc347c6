// A double-ended queue in one ring of slots. Owns the order of its values and nothing else.
// Invariants: the number of slots is a power of two; a slot that holds no value holds null, so nothing removed stays reachable.

/** Slots of a new deque. */
const MIN_SLOTS = 16;

/** A deque that has grown does not shrink below this, so that small bursts in a row do not resize it each time. */
const KEEP_SLOTS = 64;

/** A deque shrinks when fewer than one slot in this many is used, so that a burst does not pin its memory. */
const SHRINK_FACTOR = 8;

/** Growable ring, both ends in constant time. Values must not be null. */
export class Deque<T> {
  /** The ring; null where nothing is held. */
  #slots: (T | null)[] = new Array<T | null>(MIN_SLOTS).fill(null);
  /** Number of slots minus one. */
  #mask = MIN_SLOTS - 1;
  /** Slot of the front value. */
  #head = 0;
  /** Values held. */
  #length = 0;

  /** Values held. */
  get length(): number {
    return this.#length;
  }

  /** Slots allocated, for tests and for people who ask where memory went. */
  get capacity(): number {
    return this.#mask + 1;
  }

  /** Adds at the back. */
  push(value: T): void {
    if (this.#length > this.#mask) this.#resize((this.#mask + 1) * 2);
    this.#slots[(this.#head + this.#length) & this.#mask] = value;
    this.#length += 1;
  }

  /** Adds at the front. */
  unshift(value: T): void {
    if (this.#length > this.#mask) this.#resize((this.#mask + 1) * 2);
    this.#head = (this.#head - 1) & this.#mask;
    this.#slots[this.#head] = value;
    this.#length += 1;
  }

  /** Removes and returns the front value; null when empty. */
  shift(): T | null {
    if (this.#length === 0) return null;
    const value = this.#slots[this.#head]!;
    this.#slots[this.#head] = null;
    this.#head = (this.#head + 1) & this.#mask;
    this.#length -= 1;
    this.#shrink();
    return value;
  }

  /** Removes and returns the back value; null when empty. */
  pop(): T | null {
    if (this.#length === 0) return null;
    const slot = (this.#head + this.#length - 1) & this.#mask;
    const value = this.#slots[slot]!;
    this.#slots[slot] = null;
    this.#length -= 1;
    this.#shrink();
    return value;
  }

  /** The front value, left where it is; null when empty. */
  peekFront(): T | null {
    return this.#length === 0 ? null : this.#slots[this.#head]!;
  }

  /** The back value, left where it is; null when empty. */
  peekBack(): T | null {
    return this.#length === 0 ? null : this.#slots[(this.#head + this.#length - 1) & this.#mask]!;
  }

  /** The value at `index` from the front. @throws RangeError outside of 0 … length-1 */
  at(index: number): T {
    if (!(index >= 0 && index < this.#length)) throw new RangeError(`no value at ${index}`);
    return this.#slots[(this.#head + index) & this.#mask]!;
  }

  /** Inserts before the value at `index`; `length` means at the back. Moves the shorter side. @throws RangeError */
  insertAt(index: number, value: T): void {
    if (!(index >= 0 && index <= this.#length)) throw new RangeError(`cannot insert at ${index}`);
    if (this.#length > this.#mask) this.#resize((this.#mask + 1) * 2);
    const slots = this.#slots;
    const mask = this.#mask;
    if (index * 2 < this.#length) {
      this.#head = (this.#head - 1) & mask;
      for (let i = 0; i < index; i++) {
        slots[(this.#head + i) & mask] = slots[(this.#head + i + 1) & mask]!;
      }
    } else {
      for (let i = this.#length; i > index; i--) {
        slots[(this.#head + i) & mask] = slots[(this.#head + i - 1) & mask]!;
      }
    }
    slots[(this.#head + index) & mask] = value;
    this.#length += 1;
  }

  /** Removes and returns the value at `index`. Moves the shorter side. @throws RangeError outside of 0 … length-1 */
  removeAt(index: number): T {
    const value = this.at(index);
    const slots = this.#slots;
    const mask = this.#mask;
    if (index * 2 < this.#length) {
      for (let i = index; i > 0; i--) slots[(this.#head + i) & mask] = slots[(this.#head + i - 1) & mask]!;
      slots[this.#head] = null;
      this.#head = (this.#head + 1) & mask;
    } else {
      for (let i = index; i < this.#length - 1; i++) {
        slots[(this.#head + i) & mask] = slots[(this.#head + i + 1) & mask]!;
      }
      slots[(this.#head + this.#length - 1) & mask] = null;
    }
    this.#length -= 1;
    this.#shrink();
    return value;
  }

  /** Removes everything and gives the memory back. */
  clear(): void {
    this.#slots = new Array<T | null>(MIN_SLOTS).fill(null);
    this.#mask = MIN_SLOTS - 1;
    this.#head = 0;
    this.#length = 0;
  }

  #shrink(): void {
    const capacity = this.#mask + 1;
    // Halving at one eighth leaves room both ways, so that push and shift at the mark do not resize each time.
    if (capacity > KEEP_SLOTS && this.#length * SHRINK_FACTOR < capacity) this.#resize(capacity / 2);
  }

  #resize(capacity: number): void {
    const slots = new Array<T | null>(capacity).fill(null);
    for (let i = 0; i < this.#length; i++) slots[i] = this.#slots[(this.#head + i) & this.#mask]!;
    this.#slots = slots;
    this.#mask = capacity - 1;
    this.#head = 0;
  }
}

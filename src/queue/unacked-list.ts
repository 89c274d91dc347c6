// What of one queue is held by consumers: entries handed out and not settled yet.
// Owns a list through the entries themselves, so that holding and releasing one costs no allocation and no look-up.
// Invariant: an entry is in the list from `hold` to `release`, once.

import type { Entry } from '../message/entry.ts';

/** Unacked entries of one queue. */
export class UnackedList {
  size = 0;
  /** The one held last; the others hang on its `previous`. */
  private last: Entry | null = null;

  hold(entry: Entry): void {
    const { last } = this;
    entry.previous = last;
    if (last !== null) last.next = entry;
    this.last = entry;
    this.size++;
  }

  release(entry: Entry): void {
    const { previous, next } = entry;
    if (previous !== null) previous.next = next;
    if (next !== null) next.previous = previous;
    else this.last = previous;
    entry.previous = null;
    entry.next = null;
    entry.holder = null;
    this.size--;
  }

  /** Every entry held, the one held last first. None may be released meanwhile. */
  *[Symbol.iterator](): IterableIterator<Entry> {
    for (let entry = this.last; entry !== null; entry = entry.previous) yield entry;
  }

  /** Positions of those that are in the store, ascending. */
  storedPositions(): number[] {
    const positions: number[] = [];
    for (let entry = this.last; entry !== null; entry = entry.previous)
      if (entry.stored) positions.push(entry.position);
    return positions.sort((a, b) => a - b);
  }
}

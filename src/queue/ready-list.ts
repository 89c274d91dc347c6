// The order of what waits in the memory of one line: by position, with what was requeued back at its old place.
// Owns entries in their order of arrival, and a heap of those that came back: a connection that ends gives back the deliveries of all
// its channels in any order. The front of the line is the lower of the two fronts.
// An entry that is taken out of the middle leaves a hole, which is passed over when the front reaches it; so taking one costs the same
// wherever it stands. Invariant: at most half of what is kept, and some HOLES_KEPT, are holes.

import { Deque } from '../base/deque.ts';
import { Heap } from '../base/heap.ts';
import type { Entry } from '../message/entry.ts';
import { HOLE, isHole } from './place.ts';

/** Holes that are never worth a clean-up. */
const HOLES_KEPT = 64;

/** Of all lines to which nothing has come back yet, as to most. Never pushed to. */
const NOTHING_RETURNED = new Heap<Entry>(positionOf);

/** Ready entries of one line. */
export class ReadyList {
  private arrived = new Deque<Entry>();
  private returned = NOTHING_RETURNED;
  /** Those of `returned` by position, made when somebody looks for one; null until then. */
  private byPosition: Map<number, Entry> | null = null;
  /** Entries in either that were taken out of the middle. */
  private holes = 0;

  /** Entries that wait. */
  get length(): number {
    return this.arrived.length + this.returned.length - this.holes;
  }

  /** Appends an entry with a higher position than all appended before. */
  push(entry: Entry): void {
    this.arrived.push(entry);
  }

  /** Adds an entry, mostly with a higher position than all appended before. */
  insert(entry: Entry): void {
    const last = this.arrived.peekBack();
    if (last === null || last.position < entry.position) this.arrived.push(entry);
    else this.pushReturned(entry);
  }

  /** Position of the entry so many places behind the front, or of the last one; 0 when there is none. What came back is not counted. */
  positionAhead(places: number): number {
    const { arrived } = this;
    return arrived.length === 0 ? 0 : arrived.at(Math.min(places, arrived.length - 1)).position;
  }

  /** Puts an entry back to its old place. */
  putBack(entry: Entry): void {
    if (isHole(entry)) {
      // Its old place is still there.
      entry.place &= ~HOLE;
      this.holes--;
      return;
    }
    this.pushReturned(entry);
    if (this.byPosition !== null) this.byPosition.set(entry.position, entry);
  }

  private pushReturned(entry: Entry): void {
    if (this.returned === NOTHING_RETURNED) this.returned = new Heap<Entry>(positionOf);
    this.returned.push(entry);
  }

  peek(): Entry | null {
    if (this.holes !== 0) this.passHoles();
    const arrived = this.arrived.peekFront();
    const returned = this.returned.peek();
    if (returned === null) return arrived;
    return arrived === null || returned.position < arrived.position ? returned : arrived;
  }

  shift(): Entry | null {
    return this.returned.length === 0 && this.holes === 0 ? this.arrived.shift() : this.shiftOfBoth();
  }

  /** Takes an entry out, wherever it stands. It must wait here. */
  take(entry: Entry): void {
    entry.place |= HOLE;
    this.holes++;
    if (this.holes > HOLES_KEPT && this.holes > this.length) this.closeHoles();
  }

  /** The entry that waits at a position; null when there is none. */
  find(position: number): Entry | null {
    const { arrived } = this;
    const index = this.arrivedFrom(position);
    if (index < arrived.length) {
      const entry = arrived.at(index);
      if (entry.position === position) return !isHole(entry) ? entry : null;
    }
    const entry = this.returnedAt(position);
    return entry !== null && !isHole(entry) ? entry : null;
  }

  /** Very many may have come back at once, and very many may be looked for. */
  private returnedAt(position: number): Entry | null {
    if (this.returned.length === 0) return null;
    if (this.byPosition === null) {
      this.byPosition = new Map();
      for (const entry of this.returned) this.byPosition.set(entry.position, entry);
    }
    return this.byPosition.get(position) ?? null;
  }

  private shiftReturned(): Entry | null {
    const entry = this.returned.shift();
    // Not kept any longer than it may be of use.
    if (this.returned.length === 0) this.byPosition = null;
    else if (this.byPosition !== null && entry !== null) this.byPosition.delete(entry.position);
    return entry;
  }

  /**
   * What waits at or behind a position, in order. Entries may be taken out meanwhile; what is pushed or put back meanwhile may be missed.
   */
  *from(position: number): IterableIterator<Entry> {
    const returned: Entry[] = [];
    for (const entry of this.returned) if (entry.position >= position && !isHole(entry)) returned.push(entry);
    returned.sort((a, b) => a.position - b.position);
    let next = 0;
    let index = 0;
    let last = position - 1;
    for (;;) {
      index = this.arrivedBehind(last, index);
      const first = index < this.arrived.length ? this.arrived.at(index) : null;
      const back = next < returned.length ? returned[next]! : null;
      if (first === null && back === null) return;
      let entry: Entry;
      if (back !== null && (first === null || back.position < first.position)) {
        entry = back;
        next++;
      } else {
        entry = first!;
        index++;
      }
      last = entry.position;
      if (!isHole(entry)) yield entry;
    }
  }

  /**
   * Where in `arrived` the first entry behind a position stands.
   * @param hint where it would be if nothing had moved
   */
  private arrivedBehind(position: number, hint: number): number {
    const { arrived } = this;
    const holds =
      hint > 0 &&
      hint <= arrived.length &&
      arrived.at(hint - 1).position <= position &&
      (hint === arrived.length || arrived.at(hint).position > position);
    return holds ? hint : this.arrivedFrom(position + 1);
  }

  /** Where in `arrived` the first entry at or behind a position stands. */
  private arrivedFrom(position: number): number {
    const { arrived } = this;
    let low = 0;
    let high = arrived.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (arrived.at(middle).position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private shiftOfBoth(): Entry | null {
    if (this.holes !== 0) this.passHoles();
    const returned = this.returned.peek();
    const arrived = this.arrived.peekFront();
    return returned === null || (arrived !== null && arrived.position < returned.position)
      ? this.arrived.shift()
      : this.shiftReturned();
  }

  private passHoles(): void {
    const { arrived, returned } = this;
    for (let entry = arrived.peekFront(); entry !== null && isHole(entry); ) {
      arrived.shift();
      this.drop(entry);
      entry = arrived.peekFront();
    }
    for (let entry = returned.peek(); entry !== null && isHole(entry); ) {
      this.shiftReturned();
      this.drop(entry);
      entry = returned.peek();
    }
  }

  private closeHoles(): void {
    const { arrived, returned } = this;
    this.arrived = new Deque<Entry>();
    this.returned = NOTHING_RETURNED;
    this.byPosition = null;
    for (let entry = arrived.shift(); entry !== null; entry = arrived.shift()) {
      if (!isHole(entry)) this.arrived.push(entry);
      else this.drop(entry);
    }
    for (let entry = returned.shift(); entry !== null; entry = returned.shift()) {
      if (!isHole(entry)) this.pushReturned(entry);
      else this.drop(entry);
    }
  }

  /** A hole is gone. */
  private drop(entry: Entry): void {
    entry.place &= ~HOLE;
    this.holes--;
  }
}

function positionOf(entry: Entry): number {
  return entry.position;
}

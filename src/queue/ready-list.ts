// The order of what waits in one queue's memory: by position, with what was requeued back at its old place.
// Owns two ascending lines: entries in order of arrival, and entries that came back. The front of the queue is the lower front.

import { Deque } from '../base/deque.ts';
import type { Entry } from '../message/entry.ts';

/** Ready entries of one queue. */
export class ReadyList {
  private readonly arrived = new Deque<Entry>();
  private readonly returned = new Deque<Entry>();

  get length(): number {
    return this.arrived.length + this.returned.length;
  }

  /** Appends an entry with a higher position than all appended before. */
  push(entry: Entry): void {
    this.arrived.push(entry);
  }

  /** Puts an entry back to its old place. Cheap when many come back in order, either way. */
  putBack(entry: Entry): void {
    const line = this.returned;
    const last = line.peekBack();
    if (last === null || last.position < entry.position) line.push(entry);
    else if (line.peekFront()!.position > entry.position) line.unshift(entry);
    else line.insertAt(this.placeOf(entry.position), entry);
  }

  peek(): Entry | null {
    const arrived = this.arrived.peekFront();
    if (this.returned.length === 0) return arrived;
    const returned = this.returned.peekFront()!;
    return arrived === null || returned.position < arrived.position ? returned : arrived;
  }

  shift(): Entry | null {
    if (this.returned.length === 0) return this.arrived.shift();
    const arrived = this.arrived.peekFront();
    return arrived === null || this.returned.peekFront()!.position < arrived.position
      ? this.returned.shift()
      : this.arrived.shift();
  }

  /** First index in `returned` whose position is above `position`. */
  private placeOf(position: number): number {
    let low = 0;
    let high = this.returned.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.returned.at(middle).position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

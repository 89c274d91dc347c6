// The order of what waits in one queue's memory: by position, with what was requeued back at its old place.
// Owns entries in their order of arrival, and a heap of those that came back: a connection that ends gives back the deliveries of all
// its channels in any order. The front of the queue is the lower of the two fronts.

import { Deque } from '../base/deque.ts';
import { Heap } from '../base/heap.ts';
import type { Entry } from '../message/entry.ts';

/** Ready entries of one queue. */
export class ReadyList {
  private readonly arrived = new Deque<Entry>();
  private readonly returned = new Heap<Entry>(positionOf);

  get length(): number {
    return this.arrived.length + this.returned.length;
  }

  /** Appends an entry with a higher position than all appended before. */
  push(entry: Entry): void {
    this.arrived.push(entry);
  }

  /** Puts an entry back to its old place. */
  putBack(entry: Entry): void {
    this.returned.push(entry);
  }

  peek(): Entry | null {
    const arrived = this.arrived.peekFront();
    const returned = this.returned.peek();
    if (returned === null) return arrived;
    return arrived === null || returned.position < arrived.position ? returned : arrived;
  }

  shift(): Entry | null {
    const returned = this.returned.peek();
    if (returned === null) return this.arrived.shift();
    const arrived = this.arrived.peekFront();
    return arrived === null || returned.position < arrived.position
      ? this.returned.shift()
      : this.arrived.shift();
  }
}

function positionOf(entry: Entry): number {
  return entry.position;
}

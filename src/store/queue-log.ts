// What is kept of one queue: its segments in order, its mark, what of both changed in the open batch.
// Owns the order and the search. Knows no engine; nothing here writes.
// Invariants: segments ascend by number and by position and do not overlap, those that are GONE included.

import { GONE, type Segment } from './segment.ts';
import type { Lane, Position, QueueNo } from './store.ts';

/** Segments that may be GONE before it is worth looking whether the list should be tidied. */
const GONE_MIN = 32;

export class QueueLog {
  readonly number: QueueNo;
  /** Ascending; some may be GONE. */
  segments: Segment[] = [];
  /** Segments in the list that are GONE. */
  gone = 0;
  /** First position that was never used. */
  nextPosition: Position = 1;
  /** Positions from here on need a new mark first; see `Mark.horizon`. */
  horizon: Position = 0;
  /** Delivered horizons by lane. */
  deliveredUpTo: Map<Lane, Position> | null = null;
  /** Segment that takes the next entry; null when a new one is due. */
  open: Segment | null = null;
  /** Segments of the open batch. */
  opened: Segment[] = [];
  /** Segments of earlier batches, in which something changed in the open batch. */
  changed: Segment[] = [];
  /** Positions that are to be written as removals with the open batch. */
  scattered: Position[] = [];
  /** What each of its removals in the engine adds to the tally; they have consecutive serials, the first this one. */
  removals: number[] = [];
  removalsFrom = 1;
  /** Entries that those name. */
  removed = 0;
  /** Segments of which removals name something; some may be GONE. */
  unsettled: Segment[] = [];
  /** True when the mark is to be written with the open batch. */
  markChanged = false;
  /** True when the engine has a mark. */
  markStored = false;
  /** What the mark adds to the tally. */
  markHash = 0;
  /** True when the queue is in the open batch's list. */
  touched = false;
  /** Small segments sealed since somebody looked whether they should be merged. */
  smallSealed = 0;
  /** Bytes of its latest segment: the next one is likely to be of that size. */
  sizeHint = 0;
  /** True when the queue was dropped. */
  dropped = false;
  /** Where the last search ended; removals mostly hit the same segment again. */
  #found: Segment | null = null;

  constructor(number: QueueNo) {
    this.number = number;
  }

  /** The segment whose range holds the position, or null. It may have no living entry there. */
  find(position: Position): Segment | null {
    const found = this.#found;
    if (found !== null && found.state !== GONE && position >= found.first && position <= found.last)
      return found;
    const segment = this.segments[this.lowerBound(position)];
    if (segment === undefined || segment.state === GONE || position < segment.first) return null;
    this.#found = segment;
    return segment;
  }

  /** Index of the first segment whose last position is >= `position`; the list's length when there is none. */
  lowerBound(position: Position): number {
    const segments = this.segments;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (segments[middle]!.last < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Marks a segment as dead or replaced. */
  retire(segment: Segment): void {
    segment.state = GONE;
    segment.buffer = null;
    segment.packs = null;
    segment.dead = null;
    segment.returned = null;
    this.gone++;
    if (this.open === segment) this.open = null;
  }

  /** Takes retired segments out of the list once they are the greater part of it. */
  tidy(): void {
    if (this.gone < GONE_MIN || this.gone * 2 < this.segments.length) return;
    this.segments = this.segments.filter((segment) => segment.state !== GONE);
    this.gone = 0;
  }

  /** Puts `merged` in the place of the segments from index `from` on, all of which are GONE by now. */
  replace(from: number, count: number, merged: Segment): void {
    this.segments.splice(from, count, merged);
    this.gone -= count;
  }
}

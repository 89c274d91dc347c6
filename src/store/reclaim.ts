// Gives the room of deleted keys back to the disk. LevelDB keeps what was deleted until it happens to rewrite the tables it stands in,
// which after a drained backlog may be never. Owns the ranges in which much was deleted. Knows no entry.
// Short-lived segments do not come this far: LevelDB drops them with its ordinary work, and `bytesMin` leaves them to it.

import type { KeyValueEngine } from './engine.ts';
import { packKey, segmentKey, settlementKey } from './keys.ts';
import type { QueueNo } from './store.ts';

/** Ranges noted at most between two reclaims; in further queues nothing is noted. */
const RANGES_MAX = 1024;
/** A range is worth the work when at least this share of what is to be reclaimed lies in it. */
const RANGE_SHARE_MIN = 1 / 8;
/** The engine acts when it still holds this share of what was deleted. */
const HELD_SHARE_MIN = 3 / 4;
/** Stands for the body packs among the queues. */
const PACKS = -1;

/** Deleted numbers of one queue's segments, or of the packs. */
interface Range {
  first: number;
  last: number;
  bytes: number;
}

export class Reclaim {
  readonly #engine: KeyValueEngine;
  readonly #bytesMin: number;
  #ranges = new Map<number, Range>();
  #bytes = 0;
  #running = false;
  #stopped = false;

  /** @param bytesMin deleted bytes from which it is worth looking */
  constructor(engine: KeyValueEngine, bytesMin: number) {
    this.#engine = engine;
    this.#bytesMin = bytesMin;
  }

  /** A segment was deleted. */
  noteSegment(queue: QueueNo, segment: number, bytes: number): void {
    this.#note(queue, segment, bytes);
  }

  /** A body pack was deleted. */
  notePack(pack: number, bytes: number): void {
    this.#note(PACKS, pack, bytes);
  }

  /** After a commit: begins to reclaim when there is enough. */
  look(): void {
    if (this.#running || this.#stopped || this.#bytes < this.#bytesMin) return;
    const ranges = [...this.#ranges].filter(([, range]) => range.bytes >= this.#bytes * RANGE_SHARE_MIN);
    this.#ranges = new Map();
    this.#bytes = 0;
    this.#running = true;
    this.#next(ranges);
  }

  /** Begins nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  #note(owner: number, number: number, bytes: number): void {
    this.#bytes += bytes;
    const range = this.#ranges.get(owner);
    if (range === undefined) {
      if (this.#ranges.size < RANGES_MAX) this.#ranges.set(owner, { first: number, last: number, bytes });
      return;
    }
    if (number < range.first) range.first = number;
    if (number > range.last) range.last = number;
    range.bytes += bytes;
  }

  #next(ranges: [number, Range][]): void {
    const next = ranges.pop();
    if (next === undefined) {
      this.#running = false;
      // More may have gathered meanwhile, and perhaps no commit follows.
      this.look();
      return;
    }
    if (this.#stopped) return;
    const [owner, { first, last, bytes }] = next;
    const from = owner === PACKS ? packKey(first) : settlementKey(owner, first);
    const to = owner === PACKS ? packKey(last) : segmentKey(owner, last);
    this.#engine.reclaim(from, to, bytes * HELD_SHARE_MIN, () => this.#next(ranges));
  }
}

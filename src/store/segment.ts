// One segment in memory: the entries that one commit appended to one queue (or what a rewriting made of several), while they are
// collected and afterwards, when only their range, their number and what is dead of them is kept.
// Owns the bitmap of the dead, the counts, the buffer while there is one. Knows no engine and no batch.
// Invariants: positions first … last belong to no other segment of the queue; a clear bit is a living entry, a set bit is a dead
// one or a position that was never stored; `live` is the number of clear bits in first … last.

import type { BodyPack } from './body-pack.ts';
import { RECORDS_AT } from './records.ts';
import type { Position } from './store.ts';
import type { Returned } from './values.ts';

/** In the open batch: entries are still appended to it, or its bytes are complete but not sealed. */
export const OPEN = 0;
/** In the batch that is being written. */
export const FLIGHT = 1;
/** In the engine; its bytes are not in memory. */
export const STORED = 2;
/** Dead or replaced. It stays in its queue's list for a while; nothing may be done with it. */
export const GONE = 3;
export type SegmentState = typeof OPEN | typeof FLIGHT | typeof STORED | typeof GONE;

/** Positions that one segment may span; bounds the bitmap to 8 KiB. */
export const SPAN_MAX = 65_536;

/** A pack that records of this segment name, and how many do. */
export interface PackUse {
  readonly pack: BodyPack;
  readonly records: number;
}

export class Segment {
  readonly number: number;
  readonly first: Position;
  last: Position;
  state: SegmentState = OPEN;
  /** Records in its bytes. */
  count = 0;
  /** Entries alive. */
  live = 0;
  /** Entries alive or dead that are not transient. */
  persistent = 0;
  /** Bytes of its value; while it is open, where the next record goes. */
  length = RECORDS_AT;
  /** Where its records end; meaningful once it is sealed. */
  recordsEnd = RECORDS_AT;
  /** Bytes of the messages that its records name in packs. */
  sharedBytes = 0;
  /** Bit per position from `first` on; null while everything is alive. */
  dead: Uint8Array | null = null;
  /** What was told of entries by `returned`, by offset, as far as the records do not say it. */
  returned: Map<number, Returned> | null = null;
  /** The bytes, while it is open or in flight. */
  buffer: Buffer | null;
  /** True when somebody was handed a view of `buffer`: it may not be moved within nor used again. */
  exposed = false;
  /** True when the engine has its key already, from an earlier batch. */
  stored = false;
  /** True when the engine has a settlement for it. */
  settled = false;
  /** True when removals name entries of it that its settlement may not have; then it is in its queue's list of such segments. */
  unsettled = false;
  /** True when it is in its queue's list of segments changed in the open batch. */
  dirty = false;
  /** True when it is in the tally: one of its entries outlives a restart. Meaningful once it is sealed. */
  counted = true;
  /** What its value adds to the tally. */
  hash = 0;
  /** What its settlement adds to the tally. */
  settlementHash = 0;
  /** Packs that its records name; null for none, and while it is open. */
  packs: PackUse[] | null = null;
  /** True when an open segment has records that name packs. */
  shares = false;
  /** Bytes of its living entries, as they stand in the store's statistics: estimated from the counts. */
  liveBytes = 0;

  constructor(number: number, first: Position, buffer: Buffer | null) {
    this.number = number;
    this.first = first;
    this.last = first - 1;
    this.buffer = buffer;
  }

  isLive(position: Position): boolean {
    const offset = position - this.first;
    if (offset < 0 || position > this.last || this.live === 0) return false;
    const dead = this.dead;
    if (dead === null) return true;
    const at = offset >>> 3;
    return at >= dead.length || (dead[at]! & (1 << (offset & 7))) === 0;
  }

  /** True when the position's bit is set, whatever is known of the rest. */
  isMarked(position: Position): boolean {
    const offset = position - this.first;
    const at = offset >>> 3;
    return this.dead !== null && at < this.dead.length && (this.dead[at]! & (1 << (offset & 7))) !== 0;
  }

  /** Sets the bit of a position. */
  mark(position: Position): void {
    this.#set(position - this.first);
  }

  /** Gives back what the bitmap has too much once the range is final. */
  trim(): void {
    const needed = ((this.last - this.first) >>> 3) + 1;
    if (this.dead !== null && this.dead.length > needed) this.dead = this.dead.slice(0, needed);
  }

  /** Marks an entry dead; false when none lives at the position. */
  kill(position: Position): boolean {
    const offset = position - this.first;
    if (offset < 0 || position > this.last || this.live === 0) return false;
    if (!this.#set(offset)) return false;
    this.live--;
    if (this.returned !== null) this.returned.delete(offset);
    return true;
  }

  /** Positions up to and without `to`, which were never stored, count as dead. Call before `last` moves past them. */
  skipTo(to: Position): void {
    for (let position = this.last + 1; position < to; position++) this.#set(position - this.first);
  }

  /** Everything in it is dead. Not for an open segment that may still grow. */
  killAll(): void {
    this.live = 0;
    this.dead = null;
    this.returned = null;
  }

  /** Bytes that it keeps from being freed, messages in packs included. */
  get weight(): number {
    return this.length + this.sharedBytes;
  }

  /** Brings `liveBytes` up to date and returns by how much it changed. */
  accountLiveBytes(): number {
    const now = this.count === 0 ? 0 : Math.round((this.weight * this.live) / this.count);
    const change = now - this.liveBytes;
    this.liveBytes = now;
    return change;
  }

  #set(offset: number): boolean {
    const at = offset >>> 3;
    let dead = this.dead;
    if (dead === null || at >= dead.length) {
      // A finished segment gets exactly what it needs, an open one may still grow.
      const needed = this.state === OPEN ? Math.max(16, 2 * (at + 1)) : ((this.last - this.first) >>> 3) + 1;
      const grown = new Uint8Array(needed);
      if (dead !== null) grown.set(dead);
      dead = grown;
      this.dead = dead;
    }
    const bit = 1 << (offset & 7);
    const byte = dead[at]!;
    if ((byte & bit) !== 0) return false;
    dead[at] = byte | bit;
    return true;
  }
}

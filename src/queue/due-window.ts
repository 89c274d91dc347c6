// A window of entries whose time comes soon: which they are, in the order of their times, and their bytes once these have been read.
// Owns the order and the memory. Knows no store, no queue and no clock.
//
// Columns instead of objects: a hundred thousand of them that live for some seconds are what a garbage collector is worst at (it took half
// of the processor time of an expiry). All memory goes at once, with the window.
// Invariants: entries are in the order of deadlines, a tie by position, from `seal` on; `positions` names the same ones, ascending.

import type { StoredEntry } from '../store/store.ts';

/** Entries of a window at most: an index among them fits these bits. */
const INDEX_BITS = 17;
export const WINDOW_ENTRIES_MAX = 1 << INDEX_BITS;
/** What an entry costs beside its bytes. */
export const WINDOW_OVERHEAD_BYTES = 56;
/** Properties and address of an ordinary message: before it is read, only the length of its body is known. */
const ENVELOPE_BYTES = 100;
/** Positions farther from each other than this do not fit into a number together with an index. */
const SPAN_MAX = 2 ** (53 - INDEX_BITS);
/** Entries for which there is room in the beginning. */
const FIRST = 16;
/** Bytes of entries share buffers of this size; larger ones have their own. */
const CHUNK_BYTES = 64 * 1024;
const CHUNK_FIRST = 1024;

const HERE = 1;
const TRANSIENT = 2;

const NO_POSITIONS = new Float64Array(0);
const EMPTY = Buffer.alloc(0);

/** An entry as it is handed over. One object for all: it is good until the next. */
export class DueEntry implements StoredEntry {
  position = 0;
  lane = 0;
  expiresAt = 0;
  tries = 0;
  dueAt = 0;
  transient = false;
  buffer: Buffer = EMPTY;
  start = 0;
  end = 0;
}

/** Entries that are fetched together. */
export class DueWindow {
  /** Entries in it, those handed over included. */
  count = 0;
  /** The next one to be handed over. */
  at = 0;
  /** Estimated bytes of all when they are here. */
  bytes = 0;
  /** Ascending, from `seal` on. */
  positions: Float64Array = NO_POSITIONS;
  /** Next of `positions` to be read. */
  next = 0;
  /** Reads it has asked for in vain, one after the other. */
  failures = 0;
  /** Until when entries are taken in. */
  readonly until: number;
  private readonly countMax: number;
  private readonly bytesMax: number;
  private deadlines = new Float64Array(FIRST);
  private places = new Float64Array(FIRST);
  private bodyLengths = new Uint32Array(FIRST);
  /** Index of the entry at each of `positions`. */
  private order = new Uint32Array(0);
  /** Where among `positions` the last one stood that came. */
  private cameAt = 0;
  // What comes with the bytes; made by `seal`.
  private flags = new Uint8Array(0);
  private lanes = new Uint8Array(0);
  private tries = new Uint32Array(0);
  private times = new Float64Array(0);
  private dues = new Float64Array(0);
  private chunkOf = new Uint32Array(0);
  private starts = new Uint32Array(0);
  private lengths = new Uint32Array(0);
  private readonly chunks: Buffer[] = [];
  /** The chunk that takes the next entry, how much of it is used, and the size of the next one. */
  private chunk: Buffer = EMPTY;
  private used = 0;
  private chunkBytes = CHUNK_FIRST;

  /** @param bytesMax one entry may always be larger */
  constructor(until: number, countMax: number, bytesMax: number) {
    this.until = until;
    this.countMax = Math.min(countMax, WINDOW_ENTRIES_MAX);
    this.bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.count >= this.countMax || (this.bytes >= this.bytesMax && this.count !== 0);
  }

  /** Entries that were not handed over. */
  get left(): number {
    return this.count - this.at;
  }

  /** Deadline and position of the next entry. Only when one is left. */
  get deadline(): number {
    return this.deadlines[this.at]!;
  }

  get position(): number {
    return this.places[this.at]!;
  }

  get bodyLength(): number {
    return this.bodyLengths[this.at]!;
  }

  /** Bytes of memory that are given up with the next entry, as `take` counted them; 0 when it never came. */
  get heldBytes(): number {
    return this.isHere ? this.lengths[this.at]! + WINDOW_OVERHEAD_BYTES : 0;
  }

  /** The bytes of the next entry have come. */
  get isHere(): boolean {
    return (this.flags[this.at]! & HERE) !== 0;
  }

  /** Deadline of the last entry. Only when there is one. */
  get lastDeadline(): number {
    return this.deadlines[this.count - 1]!;
  }

  /** The next entry of this window comes before the next one of another. */
  isBefore(other: DueWindow): boolean {
    const { deadline } = this;
    const theirs = other.deadline;
    return deadline < theirs || (deadline === theirs && this.position < other.position);
  }

  push(deadline: number, position: number, bodyLength: number): void {
    const { count } = this;
    if (count === this.deadlines.length) {
      const room = Math.min(2 * count, WINDOW_ENTRIES_MAX);
      this.deadlines = grown(this.deadlines, new Float64Array(room));
      this.places = grown(this.places, new Float64Array(room));
      this.bodyLengths = grown(this.bodyLengths, new Uint32Array(room));
    }
    this.deadlines[count] = deadline;
    this.places[count] = position;
    this.bodyLengths[count] = bodyLength;
    this.count++;
    this.bytes += bodyLength + ENVELOPE_BYTES + WINDOW_OVERHEAD_BYTES;
  }

  /** Nothing more is pushed: the entries are put in order. */
  seal(): void {
    const { count } = this;
    this.sortByTime();
    this.flags = new Uint8Array(count);
    this.lanes = new Uint8Array(count);
    this.tries = new Uint32Array(count);
    this.times = new Float64Array(count);
    this.dues = new Float64Array(count);
    this.chunkOf = new Uint32Array(count);
    this.starts = new Uint32Array(count);
    this.lengths = new Uint32Array(count);
    this.sortPositions();
  }

  /** Copies an entry that was read. Ascending by position. @returns bytes of memory that it takes; 0 when it was here already */
  take(stored: StoredEntry): number {
    const { positions } = this;
    const { position } = stored;
    // A read that failed may have come farther than the next one begins.
    if (this.cameAt >= positions.length || positions[this.cameAt]! > position) this.cameAt = this.next;
    while (positions[this.cameAt]! < position) this.cameAt++;
    const index = this.order[this.cameAt]!;
    if ((this.flags[index]! & HERE) !== 0) return 0;
    const length = stored.end - stored.start;
    if (this.used + length > this.chunk.length || this.chunks.length === 0) this.newChunk(length);
    stored.buffer.copy(this.chunk, this.used, stored.start, stored.end);
    this.flags[index] = HERE | (stored.transient ? TRANSIENT : 0);
    this.lanes[index] = stored.lane;
    this.tries[index] = stored.tries;
    this.times[index] = stored.expiresAt;
    this.dues[index] = stored.dueAt;
    this.chunkOf[index] = this.chunks.length - 1;
    this.starts[index] = this.used;
    this.lengths[index] = length;
    this.used += length;
    return length + WINDOW_OVERHEAD_BYTES;
  }

  /** Writes the next entry, whose bytes are here, to `entry`, and goes on to the one behind it. */
  show(entry: DueEntry): void {
    const index = this.at++;
    const start = this.starts[index]!;
    entry.position = this.places[index]!;
    entry.lane = this.lanes[index]!;
    entry.expiresAt = this.times[index]!;
    entry.tries = this.tries[index]!;
    entry.dueAt = this.dues[index]!;
    entry.transient = (this.flags[index]! & TRANSIENT) !== 0;
    entry.buffer = this.chunks[this.chunkOf[index]!]!;
    entry.start = start;
    entry.end = start + this.lengths[index]!;
  }

  /** Takes out what never came. @param gone told of each */
  dropMissing(gone: (position: number, bodyLength: number) => void): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if ((this.flags[i]! & HERE) === 0) gone(this.places[i]!, this.bodyLengths[i]!);
      else {
        if (kept !== i) this.move(i, kept);
        kept++;
      }
    }
    this.count = kept;
    // Nothing is looked up any more.
    this.positions = NO_POSITIONS;
    this.order = new Uint32Array(0);
  }

  /** What was added to the index while the window was collected may come before what had been taken in. */
  private sortByTime(): void {
    const { count, deadlines, places } = this;
    let i = 1;
    while (i < count && !isAfter(deadlines, places, i - 1, i)) i++;
    if (i >= count) return;
    const order = new Uint32Array(count);
    for (let j = 0; j < count; j++) order[j] = j;
    order.sort((a, b) => deadlines[a]! - deadlines[b]! || places[a]! - places[b]!);
    this.deadlines = picked(deadlines, order, new Float64Array(count));
    this.places = picked(places, order, new Float64Array(count));
    this.bodyLengths = picked(this.bodyLengths, order, new Uint32Array(count));
  }

  /** Numbers are sorted many times faster than by comparing, so each position carries its index along where that fits. */
  private sortPositions(): void {
    const { count, places } = this;
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    for (let i = 0; i < count; i++) {
      if (places[i]! < least) least = places[i]!;
      if (places[i]! > most) most = places[i]!;
    }
    const positions = new Float64Array(count);
    const order = new Uint32Array(count);
    if (most - least < SPAN_MAX) {
      for (let i = 0; i < count; i++) positions[i] = (places[i]! - least) * WINDOW_ENTRIES_MAX + i;
      positions.sort();
      for (let i = 0; i < count; i++) {
        const index = positions[i]! % WINDOW_ENTRIES_MAX;
        order[i] = index;
        positions[i] = places[index]!;
      }
    } else {
      for (let i = 0; i < count; i++) order[i] = i;
      order.sort((a, b) => places[a]! - places[b]!);
      for (let i = 0; i < count; i++) positions[i] = places[order[i]!]!;
    }
    this.positions = positions;
    this.order = order;
  }

  private newChunk(length: number): void {
    this.chunk = Buffer.allocUnsafeSlow(Math.max(length, this.chunkBytes));
    this.chunks.push(this.chunk);
    this.used = 0;
    // A window of one short entry is one short buffer.
    if (this.chunkBytes < CHUNK_BYTES) this.chunkBytes *= 2;
  }

  private move(from: number, to: number): void {
    this.deadlines[to] = this.deadlines[from]!;
    this.places[to] = this.places[from]!;
    this.bodyLengths[to] = this.bodyLengths[from]!;
    this.flags[to] = this.flags[from]!;
    this.lanes[to] = this.lanes[from]!;
    this.tries[to] = this.tries[from]!;
    this.times[to] = this.times[from]!;
    this.dues[to] = this.dues[from]!;
    this.chunkOf[to] = this.chunkOf[from]!;
    this.starts[to] = this.starts[from]!;
    this.lengths[to] = this.lengths[from]!;
  }
}

type Column = Float64Array | Uint32Array;

function grown<T extends Column>(column: T, into: T): T {
  into.set(column);
  return into;
}

function picked<T extends Column>(column: T, order: Uint32Array, into: T): T {
  for (let i = 0; i < order.length; i++) into[i] = column[order[i]!]!;
  return into;
}

function isAfter(deadlines: Float64Array, places: Float64Array, a: number, b: number): boolean {
  return deadlines[a]! > deadlines[b]! || (deadlines[a] === deadlines[b] && places[a]! > places[b]!);
}

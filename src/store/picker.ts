// Reading single entries of a queue that lie anywhere in it: each segment that holds one of them is fetched once and shown entry by entry
// while it is there. Owns the fetches under way and the buffers they go to, which are used again and again: a walk through a queue is
// otherwise a hundred megabytes of garbage. Changes nothing in the log.
// Invariants: entries are shown in ascending order, each at most once per pick; `done` is called once, after the last of them, from the
// top of an event-loop iteration; a position that is passed over had no living entry when it was; what is read from the engine was
// checked against its checksum.
//
// A segment can be rewritten or merged while it is fetched. Then it is GONE and the pick is planned again from where it stands.

import { BLOCK_REQUEST_MIN } from './block-pool.ts';
import { type BodyPack, type PackView, viewPack } from './body-pack.ts';
import { describeKey, packKey, segmentKey } from './keys.ts';
import type { LogState } from './log-state.ts';
import type { QueueLog } from './queue-log.ts';
import { RecordCursor, readSegmentHeader } from './records.ts';
import { GONE, OPEN, type Segment } from './segment.ts';
import type { Position, QueueNo, StoredEntry } from './store.ts';
import { StoreError } from './store.ts';
import { entryOf } from './stored-entry.ts';
import { isIntact } from './values.ts';

/** Segments of one pick at most. */
const PICK_SEGMENTS_MAX = 16;

/** One pick under way. */
class PickRequest {
  readonly log: QueueLog;
  readonly positions: Float64Array;
  readonly visit: (entry: StoredEntry) => void;
  readonly done: (error: Error | null, next: number) => void;
  /** Index of the first position that is not decided. */
  next: number;
  /** Segments that hold some of them, ascending. */
  segments: Segment[] = [];
  /** Their bytes as they were fetched; null for what is in memory. */
  values: (Buffer | null)[] = [];
  /** Buffers to be used again. */
  blocks: Buffer[] = [];
  readonly packs = new Map<number, PackView>();
  waiting = 0;
  error: Error | null = null;

  constructor(
    log: QueueLog,
    positions: Float64Array,
    at: number,
    visit: (entry: StoredEntry) => void,
    done: (error: Error | null, next: number) => void,
  ) {
    this.log = log;
    this.positions = positions;
    this.next = at;
    this.visit = visit;
    this.done = done;
  }
}

export class Picker {
  readonly #state: LogState;
  readonly #cursor = new RecordCursor();

  constructor(state: LogState) {
    this.#state = state;
  }

  /** See `Shard.pick`. */
  pick(
    queue: QueueNo,
    positions: Float64Array,
    at: number,
    maxBytes: number,
    visit: (entry: StoredEntry) => void,
    done: (error: Error | null, next: number) => void,
  ): void {
    const log = this.#state.queues.get(queue);
    if (log === undefined) setImmediate(() => done(null, positions.length));
    else this.#plan(new PickRequest(log, positions, at, visit, done), maxBytes);
  }

  /** Lists the next segments that hold wanted entries, and fetches them. */
  #plan(request: PickRequest, maxBytes: number): void {
    const { log, positions } = request;
    const { segments } = log;
    request.segments = [];
    request.values = [];
    let bytes = 0;
    for (let at = request.next; at < positions.length; ) {
      const segment = segments[log.lowerBound(positions[at]!)];
      if (segment === undefined) break;
      if (segment.state !== GONE && segment.live !== 0 && positions[at]! >= segment.first) {
        if (request.segments.length === PICK_SEGMENTS_MAX || (bytes > 0 && bytes + segment.length > maxBytes))
          break;
        request.segments.push(segment);
        request.values.push(null);
        bytes += segment.length;
        at = behind(positions, at, segment.last);
      } else at++;
    }
    request.packs.clear();
    // One more than there is to wait for, so that nothing ends before everything was asked for.
    request.waiting = 1;
    for (let i = 0; i < request.segments.length; i++) this.#fetch(request, i, maxBytes);
    if (request.waiting > 1) request.waiting--;
    else setImmediate(() => this.#fetched(request, maxBytes));
  }

  #fetch(request: PickRequest, index: number, maxBytes: number): void {
    const { engine, pool } = this.#state;
    const segment = request.segments[index]!;
    const { buffer, packs } = segment;
    if (buffer === null) {
      // What is small comes in a buffer of LevelDB's anyway.
      const block = segment.length < BLOCK_REQUEST_MIN ? null : pool.take(segment.length);
      if (block !== null) request.blocks.push(block);
      request.waiting++;
      engine.get(
        segmentKey(request.log.number, segment.number),
        (error, value) => {
          request.error ??= error;
          request.values[index] = value;
          this.#fetched(request, maxBytes);
        },
        block,
      );
    } else if (segment.shares && packs === null) {
      // An open segment: its table of packs is not written yet.
      const end = segment.state === OPEN ? segment.length : segment.recordsEnd;
      const cursor = this.#cursor;
      cursor.begin(segment.first);
      while (cursor.read(buffer, end))
        if (cursor.pack !== 0) this.#fetchPack(request, this.#state.packs.get(cursor.pack)!, maxBytes);
    }
    if (packs !== null) for (const { pack } of packs) this.#fetchPack(request, pack, maxBytes);
  }

  #fetchPack(request: PickRequest, pack: BodyPack, maxBytes: number): void {
    const { number, view } = pack;
    if (view !== null) request.packs.set(number, view);
    if (request.packs.has(number)) return;
    request.packs.set(number, NOT_YET);
    request.waiting++;
    this.#state.engine.get(packKey(number), (error, value) => {
      request.error ??= error;
      const found = value === null ? null : viewPack(value);
      if (found !== null) request.packs.set(number, found);
      this.#fetched(request, maxBytes);
    });
  }

  #fetched(request: PickRequest, maxBytes: number): void {
    if (--request.waiting > 0) return;
    const { segments, values, positions } = request;
    for (let i = 0; request.error === null && i < segments.length; i++) {
      const segment = segments[i]!;
      const value = values[i]!;
      // A segment that was in memory may have left it; one that was fetched may be elsewhere by now.
      if (segment.state === GONE || (value === null && segment.buffer === null && segment.live !== 0)) {
        this.#giveBack(request);
        return this.#plan(request, maxBytes);
      }
      request.next = firstFrom(positions, request.next, segment.first);
      if (segment.live !== 0 && !this.#show(request, segment, value))
        request.error = damaged(segmentKey(request.log.number, segment.number));
      request.next = behind(positions, request.next, segment.last);
    }
    this.#giveBack(request);
    // Nothing more is there: what is left was gone before.
    if (segments.length === 0) request.next = positions.length;
    request.done(request.error, request.next);
  }

  /** Shows the wanted entries of a segment that live; false when its bytes make no sense. */
  #show(request: PickRequest, segment: Segment, value: Buffer | null): boolean {
    const { positions, visit } = request;
    const bytes = value ?? segment.buffer;
    if (bytes === null || (value !== null && !isIntact(value))) return false;
    const end =
      value === null
        ? segment.state === OPEN
          ? segment.length
          : segment.recordsEnd
        : (readSegmentHeader(value)?.recordsEnd ?? -1);
    const cursor = this.#cursor;
    cursor.begin(segment.first);
    let at = request.next;
    while (at < positions.length && positions[at]! <= segment.last && cursor.read(bytes, end)) {
      const { position } = cursor;
      while (at < positions.length && positions[at]! < position) at++;
      if (at === positions.length || positions[at] !== position) continue;
      at++;
      if (!segment.isLive(position)) continue;
      const pack = cursor.pack === 0 ? null : this.#packOf(request, cursor.pack);
      const entry = entryOf(cursor, segment, bytes, pack);
      if (entry === null) return false;
      visit(entry);
    }
    return end >= 0 && !cursor.broken;
  }

  #packOf(request: PickRequest, number: number): PackView | null {
    const view = request.packs.get(number) ?? this.#state.packs.get(number)?.view ?? null;
    return view === NOT_YET ? null : view;
  }

  #giveBack(request: PickRequest): void {
    const { pool } = this.#state;
    for (let i = 0; i < request.blocks.length; i++) pool.give(request.blocks[i]!);
    request.blocks = [];
    request.values = [];
  }
}

/** A pack that was asked for. */
const NOT_YET: PackView = { buffer: Buffer.alloc(0), starts: [] };

/** Index of the first of `positions` from `at` on that is greater than `last`. */
function behind(positions: Float64Array, at: number, last: Position): number {
  return firstFrom(positions, at, last + 1);
}

/** Index of the first of `positions` from `at` on that is not less than `first`. */
function firstFrom(positions: Float64Array, at: number, first: Position): number {
  let next = at;
  while (next < positions.length && positions[next]! < first) next++;
  return next;
}

function damaged(key: Buffer): StoreError {
  return new StoreError(
    'damaged',
    `The store is damaged: ${describeKey(key)} is missing or not as it was written.`,
  );
}

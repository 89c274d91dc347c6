// Reading entries back: from the open batch and the batch in flight out of memory, everything else segment by segment from the engine.
// Owns the reads under way and a few segments of which only a part was wanted. Changes nothing in the log.
// Invariants: `done` is called once per read, from the top of an event-loop iteration; an empty list is answered only when nothing
// lives at or after `from`; what is read from the engine was checked against its checksum.
//
// A segment can be rewritten or merged while it is fetched. Then it is GONE and the read is planned again: what lives is elsewhere now.

import { type PackView, viewPack } from './body-pack.ts';
import { describeKey, packKey, segmentKey } from './keys.ts';
import type { LogState } from './log-state.ts';
import type { QueueLog } from './queue-log.ts';
import { RecordCursor, readSegmentHeader } from './records.ts';
import { GONE, OPEN, type Segment } from './segment.ts';
import type { Position, QueueNo, StoredEntry } from './store.ts';
import { StoreError } from './store.ts';
import { entryOf } from './stored-entry.ts';
import { isIntact } from './values.ts';

/** Segments that one read asks the engine for at most. */
const READ_SEGMENTS_MAX = 64;
/** Segments kept because a read wanted only a part of them. */
const CUT_SEGMENTS_MAX = 8;

type ReadDone = (error: Error | null, entries: readonly StoredEntry[]) => void;

const NONE: readonly StoredEntry[] = Object.freeze([]);

/** One read under way. */
class ReadRequest {
  readonly queue: QueueNo;
  readonly maxBytes: number;
  readonly done: ReadDone;
  from: Position;
  entries: StoredEntry[] = [];
  bytes = 0;
  /** Stored segments that are fetched, and their values by index. */
  segments: Segment[] = [];
  values: (Buffer | null)[] = [];
  packs = new Map<number, PackView | null>();
  waiting = 0;
  error: Error | null = null;

  constructor(queue: QueueNo, from: Position, maxBytes: number, done: ReadDone) {
    this.queue = queue;
    this.from = from;
    this.maxBytes = maxBytes;
    this.done = done;
  }
}

export class Reader {
  readonly #state: LogState;
  readonly #cursor = new RecordCursor();
  readonly #cut = new Map<Segment, Buffer>();
  /** Reads whose answer is complete and waits for the next event-loop iteration. */
  #ready: ReadRequest[] = [];
  #reading = 0;
  #onIdle: (() => void) | null = null;

  constructor(state: LogState) {
    this.#state = state;
  }

  /** See `Shard.read`. */
  read(queue: QueueNo, from: Position, maxBytes: number, done: ReadDone): void {
    this.#reading++;
    this.#plan(new ReadRequest(queue, from, maxBytes, done), false);
  }

  /** Resolves when no read is under way. */
  async idle(): Promise<void> {
    while (this.#reading > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  /** @param onTop true when this already runs at the top of an event-loop iteration */
  #plan(request: ReadRequest, onTop: boolean): void {
    const log = this.#state.queues.get(request.queue);
    request.segments.length = 0;
    request.values.length = 0;
    if (log !== undefined) this.#gather(request, log);
    if (request.segments.length > 0 && request.error === null) this.#fetch(request, log!);
    else if (onTop) this.#answer(request);
    else this.#later(request);
  }

  /** Takes entries out of memory, or else lists the stored segments to fetch. */
  #gather(request: ReadRequest, log: QueueLog): void {
    const segments = log.segments;
    let planned = 0;
    for (let i = log.lowerBound(request.from); i < segments.length; i++) {
      const segment = segments[i]!;
      if (segment.state === GONE || segment.live === 0) continue;
      if (segment.buffer !== null) {
        if (request.segments.length > 0) return;
        segment.exposed = true;
        // Behind the records of a sealed segment stands its pack table.
        const end = segment.state === OPEN ? segment.length : segment.recordsEnd;
        if (!this.#parse(request, segment, segment.buffer, end)) {
          request.error = damaged(segmentKey(log.number, segment.number));
          return;
        }
        if (request.bytes >= request.maxBytes) return;
      } else {
        if (request.entries.length > 0) return;
        request.segments.push(segment);
        planned += ((segment.length + segment.sharedBytes) * segment.live) / segment.count;
        if (planned >= request.maxBytes || request.segments.length === READ_SEGMENTS_MAX) return;
      }
    }
  }

  #fetch(request: ReadRequest, log: QueueLog): void {
    const { engine } = this.#state;
    request.packs.clear();
    // One more than there is to wait for, so that nothing ends before everything was asked for.
    request.waiting = 1;
    for (let i = 0; i < request.segments.length; i++) {
      const segment = request.segments[i]!;
      const cut = this.#cut.get(segment);
      request.values.push(cut ?? null);
      if (cut === undefined) {
        request.waiting++;
        engine.get(segmentKey(log.number, segment.number), (error, value) => {
          request.error ??= error;
          request.values[i] = value;
          this.#fetched(request, log);
        });
      }
      if (segment.packs !== null) this.#fetchPacks(request, log, segment);
    }
    if (request.waiting > 1) request.waiting--;
    else setImmediate(() => this.#fetched(request, log));
  }

  #fetchPacks(request: ReadRequest, log: QueueLog, segment: Segment): void {
    for (const { pack } of segment.packs!) {
      if (request.packs.has(pack.number)) continue;
      request.packs.set(pack.number, pack.view);
      if (pack.view !== null) continue;
      request.waiting++;
      this.#state.engine.get(packKey(pack.number), (error, value) => {
        request.error ??= error;
        if (value !== null) request.packs.set(pack.number, viewPack(value));
        this.#fetched(request, log);
      });
    }
  }

  #fetched(request: ReadRequest, log: QueueLog): void {
    if (--request.waiting > 0) return;
    if (request.error !== null) {
      this.#answer(request);
      return;
    }
    for (let i = 0; i < request.segments.length; i++) {
      const segment = request.segments[i]!;
      if (segment.state === GONE) {
        request.entries.length = 0;
        request.bytes = 0;
        this.#plan(request, true);
        return;
      }
      const value = request.values[i]!;
      const header = value !== null && isIntact(value) ? readSegmentHeader(value) : null;
      if (header === null || !this.#parse(request, segment, value, header.recordsEnd)) {
        request.error = damaged(segmentKey(log.number, segment.number));
        break;
      }
      if (request.bytes >= request.maxBytes) break;
    }
    if (request.error === null && request.entries.length === 0) {
      // All of it died meanwhile, or stands before `from`: go on behind it.
      request.from = request.segments[request.segments.length - 1]!.last + 1;
      this.#plan(request, true);
      return;
    }
    this.#answer(request);
  }

  /** Adds the living entries of a segment; false when its bytes make no sense. */
  #parse(request: ReadRequest, segment: Segment, bytes: Buffer, recordsEnd: number): boolean {
    const { from, entries, maxBytes } = request;
    const cursor = this.#cursor;
    const mayCut = segment.length + segment.sharedBytes > 2 * maxBytes;
    cursor.begin(segment.first);
    while (cursor.read(bytes, recordsEnd)) {
      if (cursor.position < from || !segment.isLive(cursor.position)) continue;
      if (mayCut && request.bytes >= maxBytes && entries.length > 0) {
        if (segment.buffer === null) this.#keepCut(segment, bytes);
        return true;
      }
      const entry = entryOf(
        cursor,
        segment,
        bytes,
        cursor.pack === 0 ? null : this.#packOf(request, cursor.pack),
      );
      if (entry === null) return false;
      entries.push(entry);
      request.bytes += cursor.length;
    }
    this.#cut.delete(segment);
    return !cursor.broken;
  }

  #packOf(request: ReadRequest, number: number): PackView | null {
    return request.packs.get(number) ?? this.#state.packs.get(number)?.view ?? null;
  }

  #keepCut(segment: Segment, bytes: Buffer): void {
    this.#cut.delete(segment);
    if (this.#cut.size >= CUT_SEGMENTS_MAX) {
      for (const oldest of this.#cut.keys()) {
        this.#cut.delete(oldest);
        break;
      }
    }
    this.#cut.set(segment, bytes);
  }

  #later(request: ReadRequest): void {
    this.#ready.push(request);
    if (this.#ready.length > 1) return;
    setImmediate(() => {
      const ready = this.#ready;
      this.#ready = [];
      for (let i = 0; i < ready.length; i++) this.#answer(ready[i]!);
    });
  }

  #answer(request: ReadRequest): void {
    this.#reading--;
    if (this.#reading === 0 && this.#onIdle !== null) {
      const wake = this.#onIdle;
      this.#onIdle = null;
      wake();
    }
    request.done(request.error, request.error === null ? request.entries : NONE);
  }
}

function damaged(key: Buffer): StoreError {
  return new StoreError(
    'damaged',
    `The store is damaged: ${describeKey(key)} is missing or not as it was written.`,
  );
}

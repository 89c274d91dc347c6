// Reading entries back: from the open batch and the batch in flight out of memory, everything else segment by segment from the engine.
// Owns the reads under way and a few segments of which only a part was wanted. Changes nothing in the log.
// Invariants: `done` is called once per read, from the top of an event-loop iteration; an empty list is answered only when nothing
// lives at or after `from`; what is read from the engine was checked against its checksum.
//
// A segment can be rewritten or merged while it is fetched. Then it is GONE and the read is planned again: what lives is elsewhere now.

import { type BodyPack, type PackView, viewPack } from './body-pack.ts';
import { describeKey, packKey, segmentKey } from './keys.ts';
import type { LogState } from './log-state.ts';
import { Picker } from './picker.ts';
import type { QueueLog } from './queue-log.ts';
import { RecordCursor, readSegmentHeader } from './records.ts';
import { GONE, OPEN, type Segment } from './segment.ts';
import type { Position, QueueNo, StoredEntry } from './store.ts';
import { StoreError } from './store.ts';
import { entryOf } from './stored-entry.ts';
import { isIntact } from './values.ts';

/** Segments that one read asks the engine for at most. */
const READ_SEGMENTS_MAX = 64;
/**
 * Entries that one read answers at most, give or take a segment: an entry costs some 0.6 us until it stands in its queue, all of a run at once,
 * and whoever is not concerned waits meanwhile (bench/load/fairness.ts: 10,000 of them were 4 to 10 ms).
 */
const READ_ENTRIES_MAX = 1_000;
/**
 * Segments kept because a read wanted only a part of them; the next one mostly wants what follows. Each has at most an ordinary segment's
 * bytes: a larger one holds a single entry, and a read takes at least one.
 */
const CUT_SEGMENTS_MAX = 8;

type ReadDone = (error: Error | null, entries: readonly StoredEntry[]) => void;

const NONE: readonly StoredEntry[] = Object.freeze([]);

/** A segment that cannot be answered from memory alone. */
interface Source {
  readonly segment: Segment;
  /** Its bytes: null until they are fetched; there from the beginning when only body packs are missing. */
  bytes: Buffer | null;
  /** Where its records end in bytes that were in memory; null when the fetched header says it. */
  readonly recordsEnd: number | null;
  /** What an earlier read kept of it. */
  readonly cut: Cut | null;
}

/** A stored segment of which a read wanted only a part: its bytes, which were checked, and how far its records were walked. */
interface Cut {
  readonly bytes: Buffer;
  readonly recordsEnd: number;
  /** The last record that was passed, and where the next one begins. */
  readonly position: Position;
  readonly next: number;
}

/** One read under way. */
class ReadRequest {
  readonly queue: QueueNo;
  readonly maxBytes: number;
  readonly done: ReadDone;
  from: Position;
  entries: StoredEntry[] = [];
  bytes = 0;
  /** What is fetched, in order. */
  sources: Source[] = [];
  readonly packs = new Map<number, PackView | null>();
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
  readonly #picker: Picker;
  readonly #cuts = new Map<Segment, Cut>();
  /** Reads whose answer is complete and waits for the next event-loop iteration. */
  #ready: ReadRequest[] = [];
  #reading = 0;
  #onIdle: (() => void) | null = null;

  constructor(state: LogState) {
    this.#state = state;
    this.#picker = new Picker(state);
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
    this.#reading++;
    this.#picker.pick(queue, positions, at, maxBytes, visit, (error, next) => {
      this.#ended();
      done(error, next);
    });
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
    request.sources.length = 0;
    if (log !== undefined) this.#gather(request, log);
    if (request.sources.length > 0 && request.error === null) this.#fetch(request, log!);
    else if (onTop) this.#answer(request);
    else this.#later(request);
  }

  /** Takes entries out of memory, or else lists what to fetch. */
  #gather(request: ReadRequest, log: QueueLog): void {
    const { segments } = log;
    const { sources } = request;
    let planned = 0;
    let plannedEntries = 0;
    for (let i = log.lowerBound(request.from); i < segments.length; i++) {
      const segment = segments[i]!;
      if (segment.state === GONE || segment.live === 0) continue;
      const { buffer } = segment;
      // Behind the records of a sealed segment stands its pack table.
      const end = segment.state === OPEN ? segment.length : segment.recordsEnd;
      if (buffer !== null) segment.exposed = true;
      if (buffer !== null && !(segment.shares && this.#lacksPacks(segment, buffer, end))) {
        if (sources.length > 0) return;
        if (!this.#parse(request, segment, buffer, end, null, false)) {
          request.error = damaged(segmentKey(log.number, segment.number));
          return;
        }
        if (isEnough(request)) return;
      } else {
        if (request.entries.length > 0) return;
        sources.push(
          buffer === null
            ? { segment, bytes: null, recordsEnd: null, cut: this.#cuts.get(segment) ?? null }
            : { segment, bytes: buffer, recordsEnd: end, cut: null },
        );
        planned += (segment.weight * segment.live) / segment.count;
        plannedEntries += segment.live;
        if (
          planned >= request.maxBytes ||
          plannedEntries >= READ_ENTRIES_MAX ||
          sources.length === READ_SEGMENTS_MAX
        )
          return;
      }
    }
  }

  /** True when a segment in memory, as a rewriting leaves it, names packs that are not. */
  #lacksPacks(segment: Segment, bytes: Buffer, recordsEnd: number): boolean {
    let lacks = false;
    this.#eachPack(segment, bytes, recordsEnd, (pack) => {
      if (pack.view === null) lacks = true;
    });
    return lacks;
  }

  #eachPack(segment: Segment, bytes: Buffer, recordsEnd: number, visit: (pack: BodyPack) => void): void {
    const cursor = this.#cursor;
    cursor.begin(segment.first);
    while (cursor.read(bytes, recordsEnd)) if (cursor.pack !== 0) visit(this.#state.packs.get(cursor.pack)!);
  }

  #fetch(request: ReadRequest, log: QueueLog): void {
    const { engine } = this.#state;
    request.packs.clear();
    // One more than there is to wait for, so that nothing ends before everything was asked for.
    request.waiting = 1;
    for (let i = 0; i < request.sources.length; i++) {
      const source = request.sources[i]!;
      const { segment, bytes, cut } = source;
      if (bytes === null && cut === null) {
        request.waiting++;
        engine.get(segmentKey(log.number, segment.number), (error, value) => {
          request.error ??= error;
          source.bytes = value;
          this.#fetched(request, log);
        });
      }
      if (bytes !== null && source.recordsEnd !== null) {
        this.#eachPack(segment, bytes, source.recordsEnd, (pack) => this.#fetchPack(request, log, pack));
      } else if (segment.packs !== null) {
        for (const { pack } of segment.packs) this.#fetchPack(request, log, pack);
      }
    }
    if (request.waiting > 1) request.waiting--;
    else setImmediate(() => this.#fetched(request, log));
  }

  #fetchPack(request: ReadRequest, log: QueueLog, pack: BodyPack): void {
    if (request.packs.has(pack.number)) return;
    request.packs.set(pack.number, pack.view);
    if (pack.view !== null) return;
    request.waiting++;
    this.#state.engine.get(packKey(pack.number), (error, value) => {
      request.error ??= error;
      if (value !== null) request.packs.set(pack.number, viewPack(value));
      this.#fetched(request, log);
    });
  }

  #fetched(request: ReadRequest, log: QueueLog): void {
    if (--request.waiting > 0) return;
    if (request.error !== null) {
      this.#answer(request);
      return;
    }
    const { sources } = request;
    for (let i = 0; i < sources.length; i++) {
      const { segment, recordsEnd, cut } = sources[i]!;
      const bytes = cut === null ? sources[i]!.bytes : cut.bytes;
      if (segment.state === GONE) {
        request.entries.length = 0;
        request.bytes = 0;
        this.#plan(request, true);
        return;
      }
      const end = cut === null ? (recordsEnd ?? recordsEndOf(bytes)) : cut.recordsEnd;
      if (
        bytes === null ||
        end === null ||
        !this.#parse(request, segment, bytes, end, cut, recordsEnd === null)
      ) {
        request.error = damaged(segmentKey(log.number, segment.number));
        break;
      }
      if (isEnough(request)) break;
    }
    if (request.error === null && request.entries.length === 0) {
      // All of it died meanwhile, or stands before `from`: go on behind it.
      request.from = sources[sources.length - 1]!.segment.last + 1;
      this.#plan(request, true);
      return;
    }
    this.#answer(request);
  }

  /**
   * Adds the living entries of a segment; false when its bytes make no sense.
   * @param cut what an earlier read kept of the segment, null for nothing
   * @param fetched true when the bytes are a stored value and not the buffer of an open segment
   */
  #parse(
    request: ReadRequest,
    segment: Segment,
    bytes: Buffer,
    recordsEnd: number,
    cut: Cut | null,
    fetched: boolean,
  ): boolean {
    const { from, entries, maxBytes } = request;
    const cursor = this.#cursor;
    // Many who read in turn would push out each other's cuts, and fetch every segment again and again: then it is better taken whole.
    const isMany =
      segment.live > 2 * READ_ENTRIES_MAX && (cut !== null || this.#cuts.size < CUT_SEGMENTS_MAX);
    const mayCut = segment.length + segment.sharedBytes > 2 * maxBytes || isMany;
    cursor.begin(segment.first);
    // Records have to be walked from an end that is known; reads mostly go forward.
    if (cut !== null && cut.position < from) cursor.resume(cut.position, cut.next);
    let { position, next } = cursor;
    for (; cursor.read(bytes, recordsEnd); position = cursor.position, next = cursor.next) {
      if (cursor.position < from || !segment.isLive(cursor.position)) continue;
      if (mayCut && isEnough(request) && entries.length > 0) {
        if (fetched) this.#keepCut(segment, { bytes, recordsEnd, position, next });
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
    this.#cuts.delete(segment);
    return !cursor.broken;
  }

  #packOf(request: ReadRequest, number: number): PackView | null {
    return request.packs.get(number) ?? this.#state.packs.get(number)?.view ?? null;
  }

  #keepCut(segment: Segment, cut: Cut): void {
    this.#cuts.delete(segment);
    if (this.#cuts.size >= CUT_SEGMENTS_MAX) {
      for (const oldest of this.#cuts.keys()) {
        this.#cuts.delete(oldest);
        break;
      }
    }
    this.#cuts.set(segment, cut);
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
    this.#ended();
    request.done(request.error, request.error === null ? request.entries : NONE);
  }

  #ended(): void {
    this.#reading--;
    if (this.#reading === 0 && this.#onIdle !== null) {
      const wake = this.#onIdle;
      this.#onIdle = null;
      wake();
    }
  }
}

/** A read has as much as it may. */
function isEnough(request: ReadRequest): boolean {
  return request.bytes >= request.maxBytes || request.entries.length >= READ_ENTRIES_MAX;
}

/** Where the records of a fetched segment end; null when it is not as it was written. */
function recordsEndOf(bytes: Buffer | null): number | null {
  if (bytes === null || !isIntact(bytes)) return null;
  const header = readSegmentHeader(bytes);
  return header === null ? null : header.recordsEnd;
}

function damaged(key: Buffer): StoreError {
  return new StoreError(
    'damaged',
    `The store is damaged: ${describeKey(key)} is missing or not as it was written.`,
  );
}

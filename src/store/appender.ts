// Where new entries go: into the last open segment of their queue, in the layout in which they are stored. Owns the choice of
// the segment and of its buffer. Knows nothing of commits and tickets.
// This is the path of every persistent message: it makes no object per message.

import { assert } from '../base/assert.ts';
import type { SharedMessage } from './body-pack.ts';
import type { LogState } from './log-state.ts';
import type { OpenBatch } from './open-batch.ts';
import type { QueueLog } from './queue-log.ts';
import { RECORD_HEAD_MAX, RECORDS_AT, writeRecordHead } from './records.ts';
import { Segment, SPAN_MAX } from './segment.ts';
import type { EnqueueOptions, Position } from './store.ts';

/** The mark of a queue is written once for so many positions: it says how far they may have been used. */
const HORIZON_STEP = 65_536;
/** Smallest buffer of a segment. */
const SEGMENT_BYTES_FIRST = 512;

export class Appender {
  readonly #state: LogState;
  readonly #open: OpenBatch;

  constructor(state: LogState, open: OpenBatch) {
    this.#state = state;
    this.#open = open;
  }

  /** See `Shard.enqueue`. */
  append(
    log: QueueLog,
    position: Position,
    head: Uint8Array,
    buffer: Uint8Array,
    start: number,
    end: number,
    options: EnqueueOptions | null,
  ): void {
    const length = head.length + end - start;
    const segment = this.#roomFor(log, position, length, options);
    const target = segment.buffer!;
    let at = writeRecordHead(target, segment.length, position - segment.last, length, options, 0, 0);
    if (head.length > 0) {
      target.set(head, at);
      at += head.length;
    }
    if (end > start) {
      target.set(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end), at);
      at += end - start;
    }
    this.#appended(segment, position, at);
  }

  /** See `Shard.enqueueShared`. */
  appendShared(
    log: QueueLog,
    position: Position,
    shared: SharedMessage,
    options: EnqueueOptions | null,
  ): void {
    const { byteLength, body } = shared;
    if (byteLength < this.#state.options.sharedBytesMin) {
      this.append(log, position, shared.head, body, 0, body.length, options);
      return;
    }
    // A position that is refused must not leave a message behind that nobody names.
    const segment = this.#roomFor(log, position, 0, options);
    let { pack } = shared;
    if (pack === null) {
      pack = this.#open.packFor(byteLength);
      shared.pack = pack;
      shared.index = pack.append(shared.head, body);
      this.#open.bytes += byteLength;
    }
    pack.name(shared.index);
    segment.shares = true;
    segment.sharedBytes += byteLength;
    const distance = position - segment.last;
    const at = writeRecordHead(
      segment.buffer!,
      segment.length,
      distance,
      byteLength,
      options,
      pack.number,
      shared.index,
    );
    this.#appended(segment, position, at);
  }

  /** The open segment with room for a message of this length at this position. */
  #roomFor(log: QueueLog, position: Position, length: number, options: EnqueueOptions | null): Segment {
    assert(position >= log.nextPosition, 'positions of a queue rise');
    if (position >= log.horizon) {
      log.horizon = position + HORIZON_STEP;
      this.#open.mark(log);
    }
    const need = length + RECORD_HEAD_MAX;
    let segment = log.open;
    if (segment === null || !this.#hasRoom(segment, position, need)) {
      segment = this.#newSegment(log, position, need);
    } else if (segment.length + need > segment.buffer!.length) {
      this.#grow(segment, need);
    }
    if (options === null || options.transient !== true) segment.persistent++;
    if (position !== segment.last + 1) segment.skipTo(position);
    log.nextPosition = position + 1;
    return segment;
  }

  #appended(segment: Segment, position: Position, end: number): void {
    this.#open.bytes += end - segment.length;
    segment.last = position;
    segment.length = end;
    segment.count++;
    segment.live++;
    this.#state.liveEntries++;
  }

  #hasRoom(segment: Segment, position: Position, need: number): boolean {
    const bytesMax = RECORDS_AT + this.#state.options.segmentBytesMax;
    return segment.weight + need <= bytesMax && position - segment.first < SPAN_MAX;
  }

  #newSegment(log: QueueLog, position: Position, need: number): Segment {
    const state = this.#state;
    const likely = Math.min(log.sizeHint, state.options.segmentBytesMax);
    const bytes = Math.max(RECORDS_AT + need, likely, SEGMENT_BYTES_FIRST);
    const segment = new Segment(state.nextSegment++, position, state.pool.take(bytes));
    state.segments++;
    log.segments.push(segment);
    log.opened.push(segment);
    log.open = segment;
    if (!log.touched) this.#open.touch(log);
    return segment;
  }

  #grow(segment: Segment, need: number): void {
    const { pool } = this.#state;
    const before = segment.buffer!;
    const after = pool.take(Math.max(before.length * 2, segment.length + need));
    before.copy(after, 0, 0, segment.length);
    if (!segment.exposed) pool.give(before);
    segment.buffer = after;
    segment.exposed = false;
  }
}

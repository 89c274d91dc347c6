// The batch that is being collected: what the calls since the last seal changed, and how that becomes one atomic write.
// Owns the list of touched queues and the operations; the entries themselves gather in the queues' open segments.
// Invariants: nothing is written before the seal; at the seal an entry that is dead by then is left out; the tally in the head
// speaks of exactly what is stored when the batch is.

import { assert } from '../base/assert.ts';
import { BodyPack } from './body-pack.ts';
import type { WriteBatch } from './engine.ts';
import {
  definitionKey,
  FORMAT_KEY,
  HEAD_KEY,
  markKey,
  packKey,
  removalsKey,
  segmentKey,
  settlementKey,
} from './keys.ts';
import type { LogState } from './log-state.ts';
import type { QueueLog } from './queue-log.ts';
import { PACK_LINE_BYTES, RECORDS_AT, RecordCursor, sealSegment, writeRecordHead } from './records.ts';
import { FLIGHT, GONE, OPEN, type PackUse, type Segment } from './segment.ts';
import type { Position, QueueNo } from './store.ts';
import {
  encodeDefinition,
  encodeFormat,
  encodeHead,
  encodeMark,
  encodeRemovals,
  encodeSettlement,
  tallyHash,
} from './values.ts';

/** Room of the first body pack of a batch; each further one has twice as much, up to a segment's limit. */
const PACK_BYTES_FIRST = 16 * 1024;

/** Removals that a queue has at most; then they go into the settlements, however few entries they name. */
const REMOVALS_MAX = 1024;

export class OpenBatch {
  /** True when anything was called since the last seal, so that somebody may wait for the ticket. */
  used = false;
  /** True when it is used and to be sealed with the turn; false while it holds only settlements, for which nobody waits. */
  urgent = false;
  /** Bytes given to the shard since the last seal, those already dead included. */
  bytes = 0;
  /** Segments and packs of the batch in flight. */
  flightSegments: Segment[] = [];
  flightPacks: BodyPack[] = [];
  /** True when the batch in flight must outlive a power cut. */
  flightSync = false;
  readonly #state: LogState;
  #touched: QueueLog[] = [];
  #touchedPacks: BodyPack[] = [];
  #operations: WriteBatch;
  /** Pack that takes the next shared message. */
  #pack: BodyPack | null = null;
  #packBytes = PACK_BYTES_FIRST;
  readonly #cursor = new RecordCursor();

  constructor(state: LogState) {
    this.#state = state;
    this.#operations = state.engine.batch();
  }

  /** The queue has something for this batch. */
  touch(queue: QueueLog): void {
    queue.touched = true;
    this.#touched.push(queue);
  }

  /** The queue's mark is to be written. */
  mark(queue: QueueLog): void {
    queue.markChanged = true;
    if (!queue.touched) this.touch(queue);
  }

  /** Something in an earlier batch's segment changed. */
  change(queue: QueueLog, segment: Segment): void {
    segment.dirty = true;
    queue.changed.push(segment);
    if (!queue.touched) this.touch(queue);
  }

  /** An entry in an earlier batch's segment died. The segment is not among the changed ones yet. */
  removed(queue: QueueLog, segment: Segment, position: Position): void {
    const { options } = this.#state;
    const few = queue.changed.length < options.scatterSegments && queue.removals.length === 0;
    // What goes as a whole has no settlement, and what is not counted never had one.
    if (few || segment.live === 0 || !segment.counted) return this.change(queue, segment);
    queue.scattered.push(position);
    this.#state.liveBytes += segment.accountLiveBytes();
    this.unsettle(queue, segment);
    if (!queue.touched) this.touch(queue);
  }

  /** Removals name entries of the segment. */
  unsettle(queue: QueueLog, segment: Segment): void {
    if (segment.unsettled) return;
    segment.unsettled = true;
    queue.unsettled.push(segment);
  }

  /** The pack that takes a shared message of this length. */
  packFor(length: number): BodyPack {
    let pack = this.#pack;
    if (pack === null || !pack.fits(length)) {
      const state = this.#state;
      pack = new BodyPack(state.nextPack++);
      pack.open(Math.max(length, this.#packBytes));
      this.#packBytes = Math.min(this.#packBytes * 2, state.options.segmentBytesMax);
      state.packs.set(pack.number, pack);
      this.#pack = pack;
      this.touchPack(pack);
    }
    return pack;
  }

  /** The pack is new, or fewer records name it. */
  touchPack(pack: BodyPack): void {
    if (pack.touched) return;
    pack.touched = true;
    this.#touchedPacks.push(pack);
  }

  define(key: string, bytes: Uint8Array | null): void {
    const { definitions, tally } = this.#state;
    const stored = definitions.get(key);
    if (bytes === null && stored === undefined) return;
    if (stored !== undefined) tally.remove(stored);
    const name = definitionKey(key);
    if (bytes === null) {
      definitions.delete(key);
      this.#operations.remove(name);
      return;
    }
    const value = encodeDefinition(bytes);
    const hash = tallyHash(name, value);
    definitions.set(key, hash);
    tally.add(hash);
    this.bytes += value.length;
    this.#operations.put(name, value);
  }

  /** Takes a segment of an earlier batch out of the engine and out of the queue. */
  removeSegment(queue: QueueLog, segment: Segment): void {
    this.#state.unaccount(segment);
    this.#operations.remove(segmentKey(queue.number, segment.number));
    if (segment.counted) this.#state.tally.remove(segment.hash);
    this.#state.reclaim.noteSegment(queue.number, segment.number, segment.length);
    if (segment.settled) this.#removeSettlement(queue, segment);
    this.unnamePacks(segment);
    this.#retire(queue, segment);
  }

  /** Takes the key of a segment out of the engine that recovery found and did not take over. */
  forget(queue: QueueNo, segment: number): void {
    this.#operations.remove(segmentKey(queue, segment));
    this.used = true;
  }

  /**
   * Puts `merged`, an open segment that holds everything that lives from `first` to `last`, in the place of these stored segments and of
   * those between them. It has the number of the first.
   */
  replaceSegments(queue: QueueLog, first: Segment, last: Segment, merged: Segment): void {
    const { segments } = queue;
    const from = queue.lowerBound(first.last);
    let at = from;
    for (; at < segments.length && segments[at]!.last <= last.last; at++) {
      const segment = segments[at]!;
      if (segment.state === GONE) continue;
      if (segment.state === OPEN) {
        assert(segment.live === 0, 'an open segment between those replaced is empty');
        this.discardOpen(queue, segment);
      } else {
        this.removeSegment(queue, segment);
      }
    }
    queue.replace(from, at - from, merged);
    queue.opened.push(merged);
    this.#state.segments++;
    this.bytes += merged.length - RECORDS_AT;
    this.used = true;
    this.urgent = true;
    if (!queue.touched) this.touch(queue);
  }

  /** The segment's records name their packs no more. */
  unnamePacks(segment: Segment): void {
    const packs = segment.packs;
    if (packs === null) return;
    for (let i = 0; i < packs.length; i++) {
      packs[i]!.pack.named -= packs[i]!.records;
      this.touchPack(packs[i]!.pack);
    }
    segment.packs = null;
  }

  /** Forgets an open segment in which nothing lives. */
  discardOpen(queue: QueueLog, segment: Segment): void {
    if (segment.shares) this.#unnameRecords(segment);
    if (segment.stored) this.#operations.remove(segmentKey(queue.number, segment.number));
    this.bytes -= segment.length - RECORDS_AT;
    if (segment.buffer !== null && !segment.exposed) this.#state.pool.give(segment.buffer);
    this.#retire(queue, segment);
  }

  /** Takes out everything of a queue. */
  dropQueue(queue: QueueLog): void {
    const segments = queue.segments;
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!;
      if (segment.state === GONE) continue;
      this.#state.liveEntries -= segment.live;
      segment.killAll();
      if (segment.state === OPEN) this.discardOpen(queue, segment);
      else this.removeSegment(queue, segment);
    }
    if (queue.markStored) {
      this.#operations.remove(markKey(queue.number));
      this.#state.tally.remove(queue.markHash);
    }
    this.#dropRemovals(queue);
    queue.dropped = true;
    this.#state.queues.delete(queue.number);
  }

  /**
   * Ends the batch. Returns what is to be written, or null when nothing is left of it, and begins the next one.
   * @param commit number of this batch
   */
  seal(commit: number): WriteBatch | null {
    const state = this.#state;
    const touched = this.#touched;
    for (let i = 0; i < touched.length; i++) {
      const queue = touched[i]!;
      queue.touched = false;
      if (!queue.dropped) this.#sealQueue(queue);
    }
    touched.length = 0;
    this.#sealPacks();
    const operations = this.#operations;
    this.used = false;
    this.urgent = false;
    this.bytes = 0;
    if (operations.operations === 0) return null;
    operations.put(HEAD_KEY, this.head(commit, false));
    this.flightSync = state.tally.changed;
    state.tally.changed = false;
    if (state.formatOutdated) {
      this.flightSync = true;
      state.formatOutdated = false;
      operations.put(FORMAT_KEY, encodeFormat());
    }
    this.#operations = state.engine.batch();
    return operations;
  }

  /** The head as it is to stand after commit `commit`. */
  head(commit: number, clean: boolean): Buffer {
    const { tally, nextSegment, nextPack } = this.#state;
    return encodeHead({ commit, nextSegment, nextPack, keys: tally.keys, hash: tally.hash, clean });
  }

  #sealQueue(queue: QueueLog): void {
    const opened = queue.opened;
    for (let i = 0; i < opened.length; i++) {
      const segment = opened[i]!;
      if (segment.state === GONE) continue;
      if (segment.live === 0) this.discardOpen(queue, segment);
      else this.#sealSegment(queue, segment);
    }
    opened.length = 0;
    queue.open = null;
    const changed = queue.changed;
    for (let i = 0; i < changed.length; i++) {
      const segment = changed[i]!;
      segment.dirty = false;
      if (segment.state === GONE) continue;
      if (segment.live === 0) {
        this.removeSegment(queue, segment);
      } else {
        this.#state.liveBytes += segment.accountLiveBytes();
        this.#putSettlement(queue, segment);
      }
    }
    changed.length = 0;
    if (queue.scattered.length !== 0 || queue.removals.length !== 0) this.#sealRemovals(queue);
    if (queue.markChanged) {
      queue.markChanged = false;
      const key = markKey(queue.number);
      const value = encodeMark(queue.horizon, queue.deliveredUpTo);
      const { tally } = this.#state;
      if (queue.markStored) tally.remove(queue.markHash);
      queue.markStored = true;
      queue.markHash = tallyHash(key, value);
      tally.add(queue.markHash);
      this.#operations.put(key, value);
    }
    queue.tidy();
  }

  #sealSegment(queue: QueueLog, segment: Segment): void {
    queue.sizeHint = segment.length;
    if (segment.live < segment.count) this.#compact(segment);
    if (segment.shares) segment.packs = this.#packUses(segment);
    segment.recordsEnd = segment.length;
    segment.counted = segment.persistent > 0;
    const value = this.#writePackTable(segment);
    sealSegment(value, {
      count: segment.count,
      first: segment.first,
      last: segment.last,
      recordsEnd: segment.recordsEnd,
      sharedBytes: segment.sharedBytes,
      packs: segment.packs === null ? 0 : segment.packs.length,
      passing: !segment.counted,
    });
    segment.length = value.length;
    segment.trim();
    const key = segmentKey(queue.number, segment.number);
    segment.hash = tallyHash(key, value);
    if (segment.counted) this.#state.tally.add(segment.hash);
    this.#operations.put(key, value);
    segment.state = FLIGHT;
    segment.stored = true;
    this.#state.account(segment);
    this.flightSegments.push(segment);
    this.#countSmall(queue, segment);
    if (segment.returned !== null) this.#putSettlement(queue, segment);
  }

  #countSmall(queue: QueueLog, segment: Segment): void {
    const { segmentBytesMax, mergeSegments } = this.#state.options;
    if (segment.weight * 2 > segmentBytesMax || ++queue.smallSealed < mergeSegments) return;
    queue.smallSealed = 0;
    this.#state.crowded.add(queue);
  }

  /** Leaves out the records of dead entries. */
  #compact(segment: Segment): void {
    const source = segment.buffer!;
    // A reader may look at the old bytes, which then stay as they are.
    const target = segment.exposed ? Buffer.allocUnsafeSlow(segment.length) : source;
    const cursor = this.#cursor;
    cursor.begin(segment.first);
    let at = RECORDS_AT;
    let previous = segment.first - 1;
    while (cursor.read(source, segment.length)) {
      if (!segment.isLive(cursor.position)) {
        if (cursor.pack !== 0) this.#unname(cursor, segment);
        continue;
      }
      // Going left in place is safe: a record left out was longer than what the next one's distance can grow by.
      at = writeRecordHead(
        target,
        at,
        cursor.position - previous,
        cursor.length,
        cursor,
        cursor.pack,
        cursor.index,
      );
      if (cursor.pack === 0) {
        source.copy(target, at, cursor.start, cursor.next);
        at += cursor.length;
      }
      previous = cursor.position;
    }
    segment.buffer = target;
    segment.exposed = false;
    segment.count = segment.live;
    segment.length = at;
  }

  #unname(record: RecordCursor, segment: Segment): void {
    const pack = this.#state.packs.get(record.pack)!;
    pack.unname(record.index);
    this.touchPack(pack);
    segment.sharedBytes -= record.length;
  }

  #unnameRecords(segment: Segment): void {
    const cursor = this.#cursor;
    cursor.begin(segment.first);
    while (cursor.read(segment.buffer!, segment.length)) if (cursor.pack !== 0) this.#unname(cursor, segment);
  }

  #packUses(segment: Segment): PackUse[] | null {
    const records = new Map<number, number>();
    const cursor = this.#cursor;
    cursor.begin(segment.first);
    while (cursor.read(segment.buffer!, segment.length)) {
      if (cursor.pack !== 0) records.set(cursor.pack, (records.get(cursor.pack) ?? 0) + 1);
    }
    if (records.size === 0) return null;
    const uses: PackUse[] = [];
    for (const [pack, count] of records) uses.push({ pack: this.#state.packs.get(pack)!, records: count });
    return uses;
  }

  #writePackTable(segment: Segment): Buffer {
    const packs = segment.packs;
    if (packs === null) return segment.buffer!.subarray(0, segment.length);
    const length = segment.length + packs.length * PACK_LINE_BYTES;
    if (segment.buffer!.length < length) {
      const longer = Buffer.allocUnsafeSlow(length);
      segment.buffer!.copy(longer, 0, 0, segment.length);
      segment.buffer = longer;
      segment.exposed = false;
    }
    const buffer = segment.buffer!;
    let at = segment.length;
    for (let i = 0; i < packs.length; i++) {
      at = buffer.writeUIntLE(packs[i]!.pack.number, at, 6);
      at = buffer.writeUInt32LE(packs[i]!.records, at);
    }
    return buffer.subarray(0, length);
  }

  #putSettlement(queue: QueueLog, segment: Segment): void {
    // Nobody asks after a restart what happened to entries that are gone then anyway.
    if (!segment.counted) return;
    const key = settlementKey(queue.number, segment.number);
    const value = encodeSettlement(segment);
    const { tally } = this.#state;
    if (segment.settled) tally.remove(segment.settlementHash);
    segment.settled = true;
    segment.settlementHash = tallyHash(key, value);
    tally.add(segment.settlementHash);
    this.#operations.put(key, value);
  }

  #removeSettlement(queue: QueueLog, segment: Segment): void {
    segment.settled = false;
    this.#state.tally.remove(segment.settlementHash);
    this.#operations.remove(settlementKey(queue.number, segment.number));
  }

  #sealRemovals(queue: QueueLog): void {
    const { scattered, removals } = queue;
    const { options, tally } = this.#state;
    const isEmpty = queue.gone === queue.segments.length;
    const count = queue.removed + scattered.length;
    if (isEmpty || count >= options.removalsFold || removals.length === REMOVALS_MAX)
      return this.#foldRemovals(queue);
    if (scattered.length === 0) return;
    const key = removalsKey(queue.number, queue.removalsFrom + removals.length);
    const value = encodeRemovals(scattered);
    const hash = tallyHash(key, value);
    tally.add(hash);
    this.#operations.put(key, value);
    removals.push(hash);
    queue.removed = count;
    scattered.length = 0;
  }

  /** What the removals name goes into the settlements, and they go. */
  #foldRemovals(queue: QueueLog): void {
    const { unsettled } = queue;
    for (let i = 0; i < unsettled.length; i++) {
      const segment = unsettled[i]!;
      segment.unsettled = false;
      if (segment.state !== GONE) this.#putSettlement(queue, segment);
    }
    unsettled.length = 0;
    queue.scattered.length = 0;
    this.#dropRemovals(queue);
  }

  #dropRemovals(queue: QueueLog): void {
    const { removals, removalsFrom } = queue;
    for (let i = 0; i < removals.length; i++) {
      this.#operations.remove(removalsKey(queue.number, removalsFrom + i));
      this.#state.tally.remove(removals[i]!);
    }
    queue.removalsFrom += removals.length;
    removals.length = 0;
    queue.removed = 0;
  }

  #retire(queue: QueueLog, segment: Segment): void {
    queue.retire(segment);
    this.#state.segments--;
  }

  #sealPacks(): void {
    const { packs, tally } = this.#state;
    const touched = this.#touchedPacks;
    for (let i = 0; i < touched.length; i++) {
      const pack = touched[i]!;
      pack.touched = false;
      if (pack.stored) this.#state.judgePack(pack);
      if (pack.named === 0) {
        packs.delete(pack.number);
        if (!pack.stored) continue;
        tally.remove(pack.hash);
        this.#operations.remove(packKey(pack.number));
        this.#state.reclaim.notePack(pack.number, pack.bytes);
      } else if (!pack.stored) {
        const key = packKey(pack.number);
        const value = pack.seal();
        pack.stored = true;
        pack.hash = tallyHash(key, value);
        tally.add(pack.hash);
        this.#operations.put(key, value);
        this.flightPacks.push(pack);
      }
    }
    touched.length = 0;
    this.#pack = null;
    this.#packBytes = PACK_BYTES_FIRST;
  }
}

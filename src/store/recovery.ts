// Recovery: one scan over everything stored, in key order, that fills the log's state and hands definitions and entries over.
// Owns the checks: every value against its checksum, every segment against its header and its neighbours, the whole against the tally.
// Invariant: it either hands over everything that was durable, or throws; it never shows fewer messages in silence.

import { BodyPack, type PackView, viewPack } from './body-pack.ts';
import { decodeKey, describeKey, FIRST_CONTENT_KEY, packKey } from './keys.ts';
import type { LogState } from './log-state.ts';
import type { OpenBatch } from './open-batch.ts';
import type { QueueLog } from './queue-log.ts';
import { PACK_LINE_BYTES, RecordCursor, readSegmentHeader } from './records.ts';
import { Segment, SPAN_MAX, STORED } from './segment.ts';
import type { Position, QueueNo, RecoverySink, RecoveryStats, StoredEntry } from './store.ts';
import { StoreError } from './store.ts';
import { entryOf } from './stored-entry.ts';
import { Tally } from './tally.ts';
import {
  decodeDefinition,
  decodeMark,
  decodeRemovals,
  decodeSettlement,
  isIntact,
  type Returned,
  type Settlement,
  tallyHash,
} from './values.ts';

/** Time between two lines about progress. */
const PROGRESS_MS = 1000;
/** Body packs kept in memory while the segments that name them are handed over. */
const PACK_VIEWS_MAX = 16;

/** See `Shard.recover`. `open` collects what recovery finds to be of no use any more. */
export async function recover(state: LogState, open: OpenBatch, sink: RecoverySink): Promise<RecoveryStats> {
  return await new Recovery(state, open, sink).run();
}

class Recovery {
  readonly #state: LogState;
  readonly #open: OpenBatch;
  readonly #sink: RecoverySink;
  readonly #tally = new Tally(0, 0);
  readonly #cursor = new RecordCursor();
  readonly #packViews = new Map<number, PackView>();
  /** The queue whose keys are passing by, and whether it is defined. */
  #queue: QueueLog | null = null;
  #wanted = false;
  /** Settlement that waits for its segment, which has the next key. */
  #settlement: Settlement | null = null;
  #settlementKey: Buffer | null = null;
  #settlementHash = 0;
  /** What the removals of the queue name, ascending once its first segment comes; those before `#removedAt` are done with. */
  #removed: Position[] = [];
  #removedAt = 0;
  readonly #orphans: QueueLog[] = [];
  #progressAt = 0;
  #definitions = 0;
  #segments = 0;
  #entries = 0;
  #bytes = 0;
  #orphanEntries = 0;

  constructor(state: LogState, open: OpenBatch, sink: RecoverySink) {
    this.#state = state;
    this.#open = open;
    this.#sink = sink;
  }

  async run(): Promise<RecoveryStats> {
    const { clock, logger } = this.#state.options;
    const began = clock.now();
    this.#progressAt = began + PROGRESS_MS;
    await this.#state.engine.scan(FIRST_CONTENT_KEY, (key, value) => this.#visit(key, value));
    this.#noSettlementLeft();
    const expected = this.#state.tally;
    if (expected.keys !== this.#tally.keys || expected.hash !== this.#tally.hash) {
      throw this.#damaged(
        `its last commit left ${expected.keys} keys, found are ${this.#tally.keys}, and their contents do not agree`,
      );
    }
    for (const pack of this.#state.packs.values()) {
      if (pack.named === 0) this.#open.touchPack(pack);
      this.#state.judgePack(pack);
    }
    for (const queue of this.#state.queues.values()) {
      // What they speak of is gone, the last of it because it was transient.
      if (queue.removals.length === 0 || queue.segments.length > 0) continue;
      this.#open.used = true;
      if (!queue.touched) this.#open.touch(queue);
    }
    const queues = this.#state.queues.size - this.#orphans.length;
    for (const queue of this.#orphans) this.#open.dropQueue(queue);
    if (this.#orphans.length > 0) {
      this.#open.used = true;
      this.#open.urgent = true;
      logger.warn('removed the content of queues that are not defined any more', {
        queues: this.#orphans.length,
        entries: this.#orphanEntries,
      });
    }
    return {
      definitions: this.#definitions,
      queues,
      segments: this.#segments,
      entries: this.#entries,
      bytes: this.#bytes,
      orphans: this.#orphanEntries,
      ms: clock.now() - began,
    };
  }

  #visit(key: Buffer, value: Buffer): void | Promise<void> {
    if (!isIntact(value)) throw this.#damagedKey(key, 'does not match its checksum');
    const name = decodeKey(key);
    if (name.kind === 'segment' && readSegmentHeader(value)?.passing === true) {
      // It may stem from a batch that was not synced, whatever became of those around it: nothing is asked of it but to go.
      this.#open.forget(name.queue, name.number);
      return;
    }
    const hash = tallyHash(key, value);
    this.#tally.add(hash);
    switch (name.kind) {
      case 'definition':
        this.#state.definitions.set(name.key, hash);
        this.#definitions++;
        this.#sink.definition(name.key, decodeDefinition(value));
        return;
      case 'pack':
        this.#visitPack(key, value, name.number, hash);
        return;
      case 'mark':
        this.#visitMark(key, value, name.queue, hash);
        return;
      case 'settlement':
        this.#noSettlementLeft();
        this.#settlement = decodeSettlement(value);
        if (this.#settlement === null) throw this.#damagedKey(key, 'is no settlement');
        this.#settlementKey = key;
        this.#settlementHash = hash;
        return;
      case 'removals':
        this.#visitRemovals(key, value, name.queue, name.number, hash);
        return;
      case 'segment':
        return this.#visitSegment(key, value, name.queue, name.number, hash);
      default:
        throw this.#damagedKey(key, 'does not belong to this store');
    }
  }

  #visitPack(key: Buffer, value: Buffer, number: number, hash: number): void {
    const view = viewPack(value);
    if (view === null) throw this.#damagedKey(key, 'is no body pack');
    const pack = new BodyPack(number);
    pack.stored = true;
    pack.count = view.starts.length - 1;
    pack.bytes = value.length;
    pack.hash = hash;
    this.#state.packs.set(number, pack);
  }

  #visitMark(key: Buffer, value: Buffer, number: QueueNo, hash: number): void {
    this.#noSettlementLeft();
    const mark = decodeMark(value);
    if (mark === null) throw this.#damagedKey(key, 'is no mark');
    const queue = this.#state.queueOf(number);
    queue.horizon = mark.horizon;
    queue.nextPosition = mark.horizon;
    queue.deliveredUpTo = mark.deliveredUpTo.size === 0 ? null : new Map(mark.deliveredUpTo);
    for (const upTo of mark.deliveredUpTo.values()) {
      if (upTo >= queue.nextPosition) queue.nextPosition = upTo + 1;
    }
    if (queue.nextPosition < 1) queue.nextPosition = 1;
    queue.markStored = true;
    queue.markHash = hash;
    this.#queue = queue;
    this.#removed = [];
    this.#removedAt = 0;
    this.#wanted = this.#sink.queue(number, {
      nextPosition: queue.nextPosition,
      deliveredUpTo: mark.deliveredUpTo,
    });
    if (!this.#wanted) this.#orphans.push(queue);
  }

  #visitRemovals(key: Buffer, value: Buffer, number: QueueNo, serial: number, hash: number): void {
    const queue = this.#queue;
    if (queue === null || queue.number !== number)
      throw this.#damagedKey(key, 'has no mark of its queue in front of it');
    const positions = decodeRemovals(value);
    if (positions === null) throw this.#damagedKey(key, 'is no list of removals');
    const { removals } = queue;
    if (removals.length === 0) queue.removalsFrom = serial;
    else if (serial !== queue.removalsFrom + removals.length)
      throw this.#damagedKey(key, 'does not follow the removals before it');
    removals.push(hash);
    queue.removed += positions.length;
    for (let i = 0; i < positions.length; i++) this.#removed.push(positions[i]!);
  }

  #visitSegment(
    key: Buffer,
    value: Buffer,
    number: QueueNo,
    segmentNumber: number,
    hash: number,
  ): void | Promise<void> {
    const queue = this.#queue;
    if (queue === null || queue.number !== number)
      throw this.#damagedKey(key, 'has no mark of its queue in front of it');
    const header = readSegmentHeader(value);
    if (header === null || header.last < header.first || header.last - header.first >= SPAN_MAX) {
      throw this.#damagedKey(key, 'is no segment');
    }
    const before = queue.segments[queue.segments.length - 1];
    if (header.last >= queue.nextPosition || (before !== undefined && before.last >= header.first)) {
      throw this.#damagedKey(key, 'holds positions that cannot stand there');
    }
    const segment = new Segment(segmentNumber, header.first, null);
    segment.count = header.count;
    segment.length = value.length;
    segment.recordsEnd = header.recordsEnd;
    segment.sharedBytes = header.sharedBytes;
    segment.stored = true;
    segment.hash = hash;
    this.#takeSettlement(key, queue, segment, segmentNumber);
    this.#takeRemovals(queue, segment, header.last);
    const missing = this.#takePacks(key, value, segment, header.recordsEnd, header.packs);
    if (missing === null) {
      this.#takeEntries(key, value, queue, segment, header.last);
      return;
    }
    return this.#loadPacks(segment, missing).then(() =>
      this.#takeEntries(key, value, queue, segment, header.last),
    );
  }

  #takeSettlement(key: Buffer, queue: QueueLog, segment: Segment, number: number): void {
    const settlement = this.#settlement;
    if (settlement === null) return;
    const name = decodeKey(this.#settlementKey!);
    if (name.kind !== 'settlement' || name.queue !== queue.number || name.number !== number)
      this.#noSettlementLeft();
    if (settlement.first !== segment.first) throw this.#damagedKey(key, 'does not fit its settlement');
    segment.dead = settlement.dead as Uint8Array | null;
    segment.returned = settlement.returned as Map<number, Returned> | null;
    segment.settled = true;
    segment.settlementHash = this.#settlementHash;
    this.#settlement = null;
  }

  /** Marks what of the segment's range removals name. */
  #takeRemovals(queue: QueueLog, segment: Segment, last: Position): void {
    const removed = this.#removed;
    if (this.#removedAt === 0) removed.sort((a, b) => a - b);
    for (; this.#removedAt < removed.length; this.#removedAt++) {
      const position = removed[this.#removedAt]!;
      if (position > last) return;
      // One before it stood in a segment that is gone.
      if (position < segment.first) continue;
      segment.mark(position);
      this.#open.unsettle(queue, segment);
    }
  }

  /** Notes the packs that the segment names; returns those to be read first, or null when none is missing. */
  #takePacks(key: Buffer, value: Buffer, segment: Segment, tableAt: number, lines: number): number[] | null {
    if (lines === 0) return null;
    let missing: number[] | null = null;
    segment.packs = [];
    for (let i = 0, at = tableAt; i < lines; i++, at += PACK_LINE_BYTES) {
      const number = value.readUIntLE(at, 6);
      const records = value.readUInt32LE(at + 6);
      const pack = this.#state.packs.get(number);
      if (pack === undefined) throw this.#damagedKey(key, `names body pack ${number}, which is missing`);
      pack.named += records;
      segment.packs.push({ pack, records });
      if (this.#wanted && !this.#packViews.has(number)) {
        missing ??= [];
        missing.push(number);
      }
    }
    return missing;
  }

  async #loadPacks(segment: Segment, numbers: readonly number[]): Promise<void> {
    if (this.#packViews.size + numbers.length > PACK_VIEWS_MAX) {
      const needed = new Set(segment.packs!.map(({ pack }) => pack.number));
      for (const number of this.#packViews.keys()) if (!needed.has(number)) this.#packViews.delete(number);
    }
    for (const number of numbers) {
      const key = packKey(number);
      const value = await new Promise<Buffer | null>((resolve, reject) => {
        this.#state.engine.get(key, (error, found) => (error === null ? resolve(found) : reject(error)));
      });
      const view = value === null ? null : viewPack(value);
      if (view === null) throw this.#damagedKey(key, 'cannot be read');
      this.#packViews.set(number, view);
    }
  }

  #takeEntries(key: Buffer, value: Buffer, queue: QueueLog, segment: Segment, last: number): void {
    const run: StoredEntry[] = [];
    const cursor = this.#cursor;
    let records = 0;
    let forgotten = 0;
    cursor.begin(segment.first);
    while (cursor.read(value, segment.recordsEnd)) {
      records++;
      if (cursor.position > last) break;
      if (cursor.position !== segment.last + 1) segment.skipTo(cursor.position);
      segment.last = cursor.position;
      if (segment.isMarked(cursor.position)) continue;
      if (cursor.transient) {
        segment.mark(cursor.position);
        forgotten++;
        continue;
      }
      segment.live++;
      segment.persistent++;
      if (!this.#wanted) continue;
      const entry = entryOf(
        cursor,
        segment,
        value,
        cursor.pack === 0 ? null : (this.#packViews.get(cursor.pack) ?? null),
      );
      if (entry === null)
        throw this.#damagedKey(key, `names a message that body pack ${cursor.pack} does not have`);
      run.push(entry);
      this.#bytes += cursor.length;
    }
    if (cursor.broken || cursor.position > last || records !== segment.count)
      throw this.#damagedKey(key, 'has broken records');
    if (segment.last < last) segment.skipTo(last + 1);
    segment.last = last;
    segment.state = STORED;
    segment.trim();
    queue.segments.push(segment);
    this.#state.segments++;
    this.#state.liveEntries += segment.live;
    this.#state.account(segment);
    this.#segments++;
    if (forgotten > 0 || segment.live === 0) {
      this.#open.used = true;
      this.#open.change(queue, segment);
    }
    if (this.#wanted) this.#entries += segment.live;
    else this.#orphanEntries += segment.live;
    if (run.length > 0) this.#sink.entries(queue.number, run);
    this.#reportProgress();
  }

  #reportProgress(): void {
    const { clock, logger } = this.#state.options;
    const now = clock.now();
    if (now < this.#progressAt) return;
    this.#progressAt = now + PROGRESS_MS;
    logger.info('recovering', { entries: this.#entries, bytes: this.#bytes, segments: this.#segments });
  }

  #noSettlementLeft(): void {
    if (this.#settlement !== null)
      throw this.#damagedKey(this.#settlementKey!, 'speaks of a segment that is missing');
  }

  #damagedKey(key: Buffer, what: string): StoreError {
    return this.#damaged(`${describeKey(key)} ${what}`);
  }

  #damaged(what: string): StoreError {
    const { location } = this.#state.engine.info;
    const where = location === null ? 'The store' : `The store in ${location}`;
    return new StoreError(
      'damaged',
      `${where} is damaged: ${what}. Nothing was changed. Restore the folder from a backup; ` +
        'or, if what it held may be lost, move it away and start with an empty one.',
    );
  }
}

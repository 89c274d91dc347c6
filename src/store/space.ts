// Keeps the log small in the background: merges small neighbouring segments, rewrites segments in which little lives, folds remembered
// deliveries into records, and brings messages home from packs that hardly anybody names. Positions never change.
// Owns what is worth doing and one rewriting at a time. The change itself is one open segment that replaces its predecessors, all in
// the open batch, so a crash sees either the old ones or the new one.
// Invariant: what is written is decided in one synchronous step from the bitmaps as they are then; what died while the bytes were
// fetched is left out, what dies afterwards is settled against the new segment.

import { assert } from '../base/assert.ts';
import { type PackView, viewPack } from './body-pack.ts';
import { packKey, segmentKey } from './keys.ts';
import type { LogState } from './log-state.ts';
import type { OpenBatch } from './open-batch.ts';
import type { QueueLog } from './queue-log.ts';
import { RECORD_HEAD_MAX, RECORDS_AT, RecordCursor, readSegmentHeader, writeRecordHead } from './records.ts';
import { GONE, Segment, SPAN_MAX, STORED } from './segment.ts';
import { isIntact } from './values.ts';

/** Crowded queues looked at after one commit. */
const LOOK_QUEUES = 16;
/** Segments looked at after one commit while there is much that is dead. */
const LOOK_SEGMENTS = 256;
/** Segments that wait to have their deliveries folded; further ones come again with their next delivery. */
const FOLDS_MAX = 1024;
/** Segments of up to so many bytes are the smallest tier; each tier is `mergeSegments` times the one before. */
const TIER_BYTES = 512;

/** Neighbours that together fill a segment are merged from so many on. */
const FILLING_SEGMENTS = 4;

/** A rewriting under way. */
interface Job {
  readonly queue: QueueLog;
  readonly run: readonly Segment[];
  readonly values: (Buffer | null)[];
  /** Packs whose messages are brought home. */
  readonly packs: Map<number, PackView | null>;
  waiting: number;
  failed: boolean;
}

export class Space {
  readonly #state: LogState;
  readonly #open: OpenBatch;
  readonly #commit: () => void;
  readonly #cursor = new RecordCursor();
  readonly #folds = new Map<Segment, QueueLog>();
  #job: Job | null = null;
  #stopped = false;
  #onIdle: (() => void) | null = null;
  /** Where the sweep for half-dead segments stands. */
  #sweep: Iterator<QueueLog> | null = null;
  #sweepQueue: QueueLog | null = null;
  #sweepAt = 0;

  /** @param commit seals the open batch when none is in flight: nobody else may do it while the broker is idle */
  constructor(state: LogState, open: OpenBatch, commit: () => void) {
    this.#state = state;
    this.#open = open;
    this.#commit = commit;
  }

  /** After a commit: begins at most one rewriting. Costs next to nothing when there is nothing to do. */
  look(): void {
    if (this.#stopped) return;
    const state = this.#state;
    state.reclaim.look();
    if (this.#job !== null) return;
    if (state.crowded.size > 0 && this.#merge()) return;
    if (this.#folds.size > 0 && this.#foldOne()) return;
    const dead = state.heldBytes - state.liveBytes + state.sparsePackBytes;
    if (dead > state.options.deadBytesMin && dead > state.options.deadShareMin * state.heldBytes)
      this.#sweepSome();
  }

  /** The segment remembers many deliveries: its records should. */
  fold(queue: QueueLog, segment: Segment): void {
    if (this.#folds.size < FOLDS_MAX) this.#folds.set(segment, queue);
  }

  /** Begins nothing more; resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#state.reclaim.stop();
    while (this.#job !== null) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  // ── what is worth doing ──

  #merge(): boolean {
    const { crowded } = this.#state;
    let looks = 0;
    for (const queue of crowded) {
      const run = queue.dropped || this.#hasFew(queue) ? null : this.#smallRun(queue);
      if (run !== null) {
        // The result may complete a run of the next tier, so the queue stays listed.
        this.#begin(queue, run);
        return true;
      }
      crowded.delete(queue);
      if (++looks === LOOK_QUEUES) return false;
    }
    return false;
  }

  /** What the queue has is little enough to stay as it is. It is looked at again when it has got `mergeSegments` more. */
  #hasFew(queue: QueueLog): boolean {
    const { options, segments } = this.#state;
    return segments <= options.segmentsFew && queue.segments.length - queue.gone < options.queueSegmentsFew;
  }

  /**
   * The newest stored neighbours, when so many of them are of one tier that they are worth merging. Smaller ones among them go along.
   * As each merging takes its bytes a tier up, a byte is merged once per tier, and a queue has few segments of each.
   */
  #smallRun(queue: QueueLog): Segment[] | null {
    const { mergeSegments, segmentBytesMax } = this.#state.options;
    for (let tier = TIER_BYTES, below = 0; below * 2 < segmentBytesMax; below = tier, tier *= mergeSegments) {
      const run: Segment[] = [];
      let ofTier = 0;
      let bytes = 0;
      for (let i = queue.segments.length - 1; i >= 0; i--) {
        const segment = queue.segments[i]!;
        if (segment.state === GONE || segment.live === 0) continue;
        if (segment.state !== STORED) {
          // What is in flight comes next time; it only must not stand between.
          if (run.length === 0) continue;
          break;
        }
        if (segment.weight > tier) break;
        bytes += segment.weight;
        if (bytes > segmentBytesMax) break;
        if (run.length > 0 && run[0]!.last - segment.first >= SPAN_MAX) break;
        run.push(segment);
        if (segment.weight > below) ofTier++;
      }
      // Fewer are enough when they fill a segment: then this is their last merging.
      const enough = bytes > segmentBytesMax ? Math.min(FILLING_SEGMENTS, mergeSegments) : mergeSegments;
      if (ofTier >= enough) return run.reverse();
    }
    return null;
  }

  #foldOne(): boolean {
    for (const [segment, queue] of this.#folds) {
      this.#folds.delete(segment);
      if (segment.state !== STORED || segment.live === 0 || segment.returned === null) continue;
      this.#begin(queue, [segment]);
      return true;
    }
    return false;
  }

  #sweepSome(): void {
    for (let looks = 0; looks < LOOK_SEGMENTS; looks++) {
      let queue = this.#sweepQueue;
      if (queue === null || queue.dropped || this.#sweepAt >= queue.segments.length) {
        this.#sweep ??= this.#state.queues.values();
        const next = this.#sweep.next();
        if (next.done === true) {
          this.#sweep = null;
          this.#sweepQueue = null;
          continue;
        }
        queue = next.value;
        this.#sweepQueue = queue;
        this.#sweepAt = 0;
        continue;
      }
      if (!this.#isSparse(queue.segments[this.#sweepAt++]!)) continue;
      this.#begin(queue, this.#sparseRun(queue, this.#sweepAt - 1));
      return;
    }
  }

  #isSparse(segment: Segment): boolean {
    if (segment.state !== STORED || segment.live === 0) return false;
    if (segment.live <= segment.count * this.#state.options.rewriteShareMax) return true;
    return segment.packs?.some(({ pack }) => pack.sparse) === true;
  }

  /** The sparse segment at `index` and those behind it, as far as what lives in them fits into one. */
  #sparseRun(queue: QueueLog, index: number): Segment[] {
    const { segmentBytesMax, rewriteBytesMax } = this.#state.options;
    const run: Segment[] = [queue.segments[index]!];
    let live = run[0]!.liveBytes;
    let bytes = run[0]!.weight;
    for (let i = index + 1; i < queue.segments.length; i++) {
      const segment = queue.segments[i]!;
      if (segment.state === GONE || segment.live === 0) continue;
      live += segment.liveBytes;
      bytes += segment.weight;
      if (!this.#isSparse(segment) || live > segmentBytesMax || bytes > rewriteBytesMax) break;
      if (segment.last - run[0]!.first >= SPAN_MAX) break;
      run.push(segment);
    }
    return run;
  }

  // ── doing it ──

  #begin(queue: QueueLog, run: readonly Segment[]): void {
    const { engine } = this.#state;
    const job: Job = { queue, run, values: [], packs: new Map(), waiting: 0, failed: false };
    this.#job = job;
    for (let i = 0; i < run.length; i++) {
      const segment = run[i]!;
      job.waiting++;
      job.values.push(null);
      engine.get(segmentKey(queue.number, segment.number), (error, value) => {
        job.values[i] = value;
        this.#fetched(job, error);
      });
      for (const { pack } of segment.packs ?? []) {
        if (!pack.sparse || job.packs.has(pack.number)) continue;
        job.packs.set(pack.number, null);
        job.waiting++;
        engine.get(packKey(pack.number), (error, value) => {
          const view = value === null ? null : viewPack(value);
          job.packs.set(pack.number, view);
          if (view === null) job.failed = true;
          this.#fetched(job, error);
        });
      }
    }
  }

  #fetched(job: Job, error: Error | null): void {
    if (error !== null) job.failed = true;
    if (--job.waiting > 0) return;
    this.#job = null;
    // A read that failed is not our business to report: the segments stay as they are, and whoever needs them will see it too.
    if (!this.#stopped && !job.failed) this.#rewrite(job);
    const wake = this.#onIdle;
    this.#onIdle = null;
    if (wake !== null) wake();
  }

  #rewrite(job: Job): void {
    const { queue, run, values } = job;
    const living: Segment[] = [];
    const bytes: Buffer[] = [];
    let room = RECORDS_AT;
    for (let i = 0; i < run.length; i++) {
      const segment = run[i]!;
      if (segment.state === GONE || segment.live === 0) continue;
      const value = values[i]!;
      if (value === null || !isIntact(value) || readSegmentHeader(value) === null) return;
      living.push(segment);
      bytes.push(value);
      // Each record may grow by its distance and its deliveries, and by its message where that comes home.
      room += segment.live * RECORD_HEAD_MAX + value.length + (job.packs.size > 0 ? segment.sharedBytes : 0);
    }
    if (living.length === 0) return;
    const first = living[0]!;
    const merged = new Segment(first.number, first.first, Buffer.allocUnsafeSlow(room));
    for (let i = 0; i < living.length; i++) {
      if (!this.#copy(living[i]!, bytes[i]!, job.packs, merged)) return;
    }
    const last = living[living.length - 1]!;
    merged.skipTo(last.last + 1);
    merged.last = last.last;
    assert(
      merged.live === living.reduce((sum, segment) => sum + segment.live, 0),
      'a rewriting keeps every living entry',
    );
    this.#nameAgain(merged);
    this.#open.replaceSegments(queue, first, last, merged);
    this.#commit();
  }

  /** Appends what lives in `segment` to `merged`; false when its bytes make no sense. */
  #copy(
    segment: Segment,
    bytes: Buffer,
    packs: ReadonlyMap<number, PackView | null>,
    merged: Segment,
  ): boolean {
    const cursor = this.#cursor;
    const target = merged.buffer!;
    cursor.begin(segment.first);
    while (cursor.read(bytes, segment.recordsEnd)) {
      const { position } = cursor;
      if (!segment.isLive(position)) continue;
      const returned = segment.returned === null ? undefined : segment.returned.get(position - segment.first);
      if (returned !== undefined) {
        cursor.tries = returned.tries;
        cursor.dueAt = returned.dueAt;
      }
      const home = cursor.pack === 0 ? null : (packs.get(cursor.pack) ?? null);
      const pack = home === null ? cursor.pack : 0;
      let at = writeRecordHead(
        target,
        merged.length,
        position - merged.last,
        cursor.length,
        cursor,
        pack,
        cursor.index,
      );
      if (home !== null) {
        const start = home.starts[cursor.index]!;
        if (home.starts[cursor.index + 1]! - start !== cursor.length) return false;
        at += home.buffer.copy(target, at, start, start + cursor.length);
      } else if (pack === 0) {
        at += bytes.copy(target, at, cursor.start, cursor.next);
      } else {
        merged.shares = true;
        merged.sharedBytes += cursor.length;
      }
      merged.skipTo(position);
      merged.last = position;
      merged.length = at;
      merged.count++;
      merged.live++;
      if (!cursor.transient) merged.persistent++;
    }
    return !cursor.broken;
  }

  /** The records of the new segment name packs too; those of the old ones are counted out when they are replaced. */
  #nameAgain(merged: Segment): void {
    if (!merged.shares) return;
    const cursor = this.#cursor;
    cursor.begin(merged.first);
    while (cursor.read(merged.buffer!, merged.length)) {
      if (cursor.pack !== 0) this.#state.packs.get(cursor.pack)!.named++;
    }
  }
}

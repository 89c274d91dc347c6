// Everything the log knows while it is open: queues, packs, counters, statistics. Owns these and the small steps that keep them in
// agreement; decides nothing. Recovery fills it, the shard changes it, the open batch writes it.

import { BlockPool } from './block-pool.ts';
import type { BodyPack } from './body-pack.ts';
import type { KeyValueEngine } from './engine.ts';
import type { LogOptions } from './options.ts';
import { QueueLog } from './queue-log.ts';
import { Reclaim } from './reclaim.ts';
import { RECORD_HEAD_MAX, RECORDS_AT } from './records.ts';
import type { Segment } from './segment.ts';
import type { QueueNo } from './store.ts';
import { Tally } from './tally.ts';
import type { Head } from './values.ts';

/** A pack is sparse when at most one in so many of its messages can still be named. */
const PACK_SPARSE_SHARE = 4;

export class LogState {
  readonly engine: KeyValueEngine;
  readonly options: LogOptions;
  readonly queues = new Map<QueueNo, QueueLog>();
  /** Packs by number, open ones included. */
  readonly packs = new Map<number, BodyPack>();
  /** What each stored definition adds to the tally. */
  readonly definitions = new Map<string, number>();
  readonly tally: Tally;
  readonly pool: BlockPool;
  readonly reclaim: Reclaim;
  /** True while the engine says that the content is of an older format than what is written now. */
  formatOutdated: boolean;
  nextSegment: number;
  nextPack: number;
  /** Segments that are not GONE. */
  segments = 0;
  liveEntries = 0;
  /** Bytes of living entries, estimated segment by segment. */
  liveBytes = 0;
  /** Bytes of all segments and of the messages they name. */
  heldBytes = 0;
  /** Bytes of packs that few records name. */
  sparsePackBytes = 0;
  /** Queues with so many new small segments that merging is worth a look. */
  readonly crowded = new Set<QueueLog>();

  constructor(engine: KeyValueEngine, options: LogOptions, head: Head | null, formatOutdated: boolean) {
    this.engine = engine;
    this.options = options;
    this.formatOutdated = formatOutdated;
    this.tally = head === null ? new Tally(0, 0) : new Tally(head.keys, head.hash);
    this.nextSegment = head === null ? 1 : head.nextSegment;
    this.nextPack = head === null ? 1 : head.nextPack;
    this.reclaim = new Reclaim(engine, options.reclaimBytes);
    this.pool = new BlockPool(RECORDS_AT + options.segmentBytesMax + RECORD_HEAD_MAX);
  }

  queueOf(queue: QueueNo): QueueLog {
    let log = this.queues.get(queue);
    if (log === undefined) {
      log = new QueueLog(queue);
      this.queues.set(queue, log);
    }
    return log;
  }

  /** Counts a segment whose bytes are complete. */
  account(segment: Segment): void {
    this.heldBytes += segment.weight;
    this.liveBytes += segment.accountLiveBytes();
  }

  /** Sees whether a stored pack is named by few records. */
  judgePack(pack: BodyPack): void {
    const sparse = pack.named > 0 && pack.named * PACK_SPARSE_SHARE <= pack.count;
    if (sparse === pack.sparse) return;
    pack.sparse = sparse;
    this.sparsePackBytes += sparse ? pack.bytes : -pack.bytes;
  }

  /** Ends a segment that was counted. */
  unaccount(segment: Segment): void {
    this.heldBytes -= segment.weight;
    this.liveBytes -= segment.liveBytes;
    segment.liveBytes = 0;
  }
}

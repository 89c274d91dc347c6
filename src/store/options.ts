// Every setting and limit of the store under its name, with its default. Owns no behaviour.

import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { silentLogger } from '../base/logger.ts';

/** How the log groups, limits and tidies, whatever engine it runs on. */
export interface LogOptions {
  /** Where recovery and tidying say what they do. */
  readonly logger: Logger;
  /** Time, for progress lines and for `settleDelayMs`. */
  readonly clock: Clock;
  /** A segment is closed when its next entry would take it over this many bytes; one entry may always be larger. */
  readonly segmentBytesMax: number;
  /** Bytes from which a message for several queues is stored once under a key of its own instead of once per queue. */
  readonly sharedBytesMin: number;
  /** Bytes not yet on disk above which publishers should pause; they resume at half of it. */
  readonly pendingBytesHigh: number;
  /** So many neighbouring segments of like, small size are merged into one. */
  readonly mergeSegments: number;
  /**
   * A queue with fewer segments than this is not merged: a consumer that acknowledges in runs lets some dozen commits wait at any time, and
   * what it is about to settle need not be written twice …
   */
  readonly queueSegmentsFew: number;
  /** … unless the store has more segments than this: then memory matters more. */
  readonly segmentsFew: number;
  /** Dead bytes in segments and body packs above which segments with few live entries are rewritten … */
  readonly deadBytesMin: number;
  /** … provided they are also more than this share of the bytes stored. */
  readonly deadShareMin: number;
  /** A segment is worth rewriting when at most this share of its entries lives. */
  readonly rewriteShareMax: number;
  /** A segment that remembers of so many entries that they came back is rewritten, which stores them in its records. */
  readonly returnsFold: number;
  /**
   * Entries that go in one batch from more segments of a queue than this are written as removals, in one value, instead of in a settlement
   * of each segment: what expires stands anywhere, and a settlement is some hundred bytes.
   */
  readonly scatterSegments: number;
  /** Removals of a queue go into the settlements once they name so many entries. */
  readonly removalsFold: number;
  /** Deleted bytes from which on the engine is asked to give their room back to the disk. */
  readonly reclaimBytes: number;
  /** Bytes that one rewriting may read; one is under way at a time. */
  readonly rewriteBytesMax: number;
  /** Settlements alone are committed between this time and twice as much after the first of them; see `Shard.commit`. */
  readonly settleDelayMs: number;
}

/** How LevelDB is run. */
export interface LevelOptions {
  /** Folder of the database; made when it is missing. */
  readonly location: string;
  /** Bytes LevelDB collects in memory before it writes a table; up to two such buffers live at a time. */
  readonly writeBufferBytes: number;
  /** Bytes of LevelDB's cache of uncompressed blocks. */
  readonly blockCacheBytes: number;
  /** Bytes of one table file. */
  readonly tableFileBytes: number;
  /** Whether LevelDB compresses its tables with Snappy. */
  readonly compression: boolean;
  /** Values of at least so many bytes go to files of their own (value-files.ts). */
  readonly largeValueBytes: number;
  /** Bytes in those files that are not wanted any more from which on files are emptied, if they are the greater part. */
  readonly largeDeadBytesMin: number;
}

const MIB = 1024 * 1024;

// `queueSegmentsFew` was chosen with bench persistent-1k-single, where a consumer acknowledges every 50: without it every publish was followed
// by a read and a second write of an earlier one (345 s of CPU per million messages against 243; p50 399 us against 363).
/** Defaults of `LogOptions`. */
export const LOG_DEFAULTS: LogOptions = Object.freeze({
  logger: silentLogger,
  clock: systemClock,
  segmentBytesMax: MIB / 2,
  sharedBytesMin: 4096,
  pendingBytesHigh: 16 * MIB,
  mergeSegments: 16,
  queueSegmentsFew: 64,
  segmentsFew: 16_384,
  deadBytesMin: 16 * MIB,
  deadShareMin: 0.5,
  rewriteShareMax: 0.5,
  returnsFold: 256,
  scatterSegments: 8,
  removalsFold: 32_768,
  reclaimBytes: 256 * MIB,
  rewriteBytesMax: 4 * MIB,
  settleDelayMs: 5,
});

// Chosen with bench/micro/store.ts. A larger write buffer costs less processor time a message (1 KiB, whole process: 4 MiB 3.7-5.3 us,
// 16 MiB 3.9-4.8 us, 64 MiB 3.3-3.6 us) but more time at the next start, which replays it. Compression pays for itself: bodies are
// mostly text, LevelDB gives up on blocks that do not shrink, and the disk is what we wait for. Values in files of their own cost half the
// processor time of 1 KiB messages in full segments (1.7 against 3.7 us) and a fifth of that of 1 MiB bodies; below some 256 KiB the two
// further syncs of a commit outweigh that.
/** Defaults of `LevelOptions`; the location has none. */
export const LEVEL_DEFAULTS: Omit<LevelOptions, 'location'> = Object.freeze({
  writeBufferBytes: 32 * MIB,
  blockCacheBytes: 8 * MIB,
  tableFileBytes: 16 * MIB,
  compression: true,
  largeValueBytes: MIB / 4,
  largeDeadBytesMin: 64 * MIB,
});

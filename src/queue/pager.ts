// The cold part of a queue: entries that are only in the store, and the reading ahead that brings them back in runs.
// Owns counts and reads under way. Knows no consumer and makes no entry: runs are handed to the queue.
// Invariant: cold positions are higher than every position the queue holds in memory.

import type { Logger } from '../base/logger.ts';
import type { QueueNo, Shard, StoredEntry } from '../store/store.ts';

/** Bytes that one read of cold entries asks the store for. */
export const READ_RUN_BYTES = 1024 * 1024;
/** Runs that are read ahead at most. */
export const RUNS_AHEAD = 2;

/** The queue, as far as its pager needs it. */
export interface PagerHost {
  readonly name: string;
  /** Room in memory for another run. */
  hasRoom(): boolean;
  /** Takes a run; returns the body bytes in it. */
  takeRun(run: readonly StoredEntry[]): number;
}

/** Cold entries of one queue. */
export class Pager {
  /** Entries that are only in the store. */
  count = 0;
  /** Their body bytes. */
  bodyBytes = 0;
  /** First position that no read has asked for. */
  private from = 1;
  /** Runs that were read ahead, in order. */
  private readonly runs: (readonly StoredEntry[])[] = [];
  private reading = false;
  /** Grows when cold entries are thrown away, so that a read under way is ignored. */
  private epoch = 0;
  private readonly shard: Shard;
  private readonly queue: QueueNo;
  private readonly host: PagerHost;
  private readonly log: Logger;

  constructor(shard: Shard, queue: QueueNo, host: PagerHost, log: Logger) {
    this.shard = shard;
    this.queue = queue;
    this.host = host;
    this.log = log;
  }

  /** First position that is cold and not read. */
  get firstUnread(): number {
    return this.runs[0]?.[0]?.position ?? this.from;
  }

  /** One more entry that is only in the store. */
  add(position: number, bodyLength: number): void {
    if (this.count === 0) this.from = position;
    this.count++;
    this.bodyBytes += bodyLength;
  }

  /** Forgets everything cold. */
  clear(): void {
    this.epoch++;
    this.reading = false;
    this.runs.length = 0;
    this.count = 0;
    this.bodyBytes = 0;
  }

  /** Hands runs to the queue while it has room, and reads the next ones. */
  bringBack(): void {
    while (this.runs.length !== 0 && this.host.hasRoom()) {
      const run = this.runs.shift()!;
      this.count -= run.length;
      this.bodyBytes -= this.host.takeRun(run);
    }
    if (this.count === 0 || this.reading || this.runs.length >= RUNS_AHEAD) return;
    // A queue with room waits for this run; one without has it ready when it needs it.
    this.read();
  }

  private read(): void {
    const { epoch } = this;
    this.reading = true;
    this.shard.read(this.queue, this.from, READ_RUN_BYTES, (error, entries) => {
      if (epoch !== this.epoch) return;
      this.reading = false;
      // The store reports its own end through `lost`; the queue has nothing to add.
      if (error !== null) return;
      if (entries.length === 0) return this.missing();
      this.from = entries[entries.length - 1]!.position + 1;
      this.runs.push(entries);
      this.bringBack();
    });
  }

  private missing(): void {
    if (this.runs.length !== 0) return;
    this.log.error('a queue has fewer stored messages than it counted', {
      queue: this.host.name,
      missing: this.count,
    });
    this.clear();
  }
}

// The cold part of a queue: entries that are only in the store, and the reading ahead that brings them back in runs.
// Owns counts and reads under way. Knows no consumer and makes no entry: runs are handed to the queue.
// Invariants: cold positions are higher than every position the queue holds in memory; a read is under way only for something that
// is there, so that its answer is never empty and `from` does not move meanwhile.

import type { Logger } from '../base/logger.ts';
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';

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
  /** How many of them no run has brought yet. */
  private unread = 0;
  /** Position from which the next read begins. */
  private from = 1;
  /** Runs that were read ahead, in order. */
  private readonly runs: (readonly StoredEntry[])[] = [];
  private reading = false;
  /** A read failed: what is cold stays where it is until a restart. */
  private failed = false;
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

  /** One more entry that is only in the store. */
  add(position: number, bodyLength: number): void {
    if (this.unread === 0) this.from = position;
    this.unread++;
    this.count++;
    this.bodyBytes += bodyLength;
  }

  /** Forgets everything cold. */
  clear(): void {
    this.epoch++;
    this.reading = false;
    this.failed = false;
    this.runs.length = 0;
    this.unread = 0;
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
    if (this.unread === 0 || this.reading || this.failed || this.runs.length >= RUNS_AHEAD) return;
    // A queue with room waits for this run; one without has it ready when it needs it.
    this.read();
  }

  private read(): void {
    const { epoch } = this;
    this.reading = true;
    this.shard.read(this.queue, this.from, READ_RUN_BYTES, (error, entries) => {
      if (epoch !== this.epoch) return;
      this.reading = false;
      if (error instanceof StoreError && error.kind === 'closed') return;
      if (error !== null) return this.fail(error.message);
      if (entries.length === 0) return this.fail('the store has nothing more of it');
      this.from = entries[entries.length - 1]!.position + 1;
      this.unread -= entries.length;
      this.runs.push(entries);
      this.bringBack();
    });
  }

  /** Nothing is skipped and nothing is given up: the messages are in the store, and a restart will say what is wrong with them. */
  private fail(error: string): void {
    this.failed = true;
    this.log.error('a queue cannot read its messages back and stops delivering them', {
      queue: this.host.name,
      messages: this.count,
      error,
    });
  }
}

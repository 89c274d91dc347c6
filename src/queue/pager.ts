// The cold part of a queue: entries that are only in the store, and the reads that bring them back in runs.
// Owns counts and the read under way. Knows no consumer and makes no entry: runs are handed to the queue.
// Invariants: cold positions are higher than every position the queue holds in memory; what is read goes into the queue's memory at
// once, and is only asked for while there is room, so that a backlog costs no more than the queue's share; a read is under way only for
// something that is there, so that its answer is never empty.

import type { Logger } from '../base/logger.ts';
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';

/** Bytes that one read of cold entries asks the store for at most. */
export const READ_RUN_BYTES = 1024 * 1024;

/** The queue, as far as its pager needs it. */
export interface PagerHost {
  readonly name: string;
  /** Bytes of cold entries that have room in memory; 0 when there is none worth a read. */
  room(): number;
  /** Takes a run; returns the body bytes in it. */
  takeRun(run: readonly StoredEntry[]): number;
}

/** Cold entries of one queue. */
export class Pager {
  /** Entries that are only in the store. */
  count = 0;
  /** Their body bytes. */
  bodyBytes = 0;
  /** Position from which the next read begins. */
  private from = 1;
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
    if (this.count === 0) this.from = position;
    this.count++;
    this.bodyBytes += bodyLength;
  }

  /** Forgets everything cold. */
  clear(): void {
    this.epoch++;
    this.reading = false;
    this.failed = false;
    this.count = 0;
    this.bodyBytes = 0;
  }

  /** Reads the next run if the queue has room for it. */
  bringBack(): void {
    if (this.count === 0 || this.reading || this.failed) return;
    const room = this.host.room();
    if (room > 0) this.read(Math.min(room, READ_RUN_BYTES));
  }

  private read(bytes: number): void {
    const { epoch } = this;
    this.reading = true;
    this.shard.read(this.queue, this.from, bytes, (error, run) => {
      if (epoch !== this.epoch) return;
      this.reading = false;
      if (error instanceof StoreError && error.kind === 'closed') return;
      if (error !== null) return this.fail(error.message);
      if (run.length === 0) return this.fail('the store has nothing more of it');
      if (run.length > this.count) return this.fail('the store has more of it than was counted');
      this.from = run[run.length - 1]!.position + 1;
      this.count -= run.length;
      this.bodyBytes -= this.host.takeRun(run);
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

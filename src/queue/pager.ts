// The cold part of a line: entries that are only in the store, and the reads that bring them back in runs.
// Owns counts, the read under way, and which of them were taken out of their order. Knows no consumer and makes no entry: runs are
// handed to the line.
// Invariants: what is read goes into the line's memory at once, and is only asked for while there is room, so that a backlog costs no
// more than the line's share; a read is under way only for something that is there, so that its answer is never empty; what was taken is
// never handed over.

import type { Logger } from '../base/logger.ts';
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';
import { isHeldBack } from './tries.ts';

/** Bytes that one read of cold entries asks the store for at most. */
export const READ_RUN_BYTES = 1024 * 1024;

/** The line, as far as its pager needs it. */
export interface PagerHost {
  /** Of its queue, for log lines. */
  readonly name: string;
  /** Bytes of cold entries that have room in memory; 0 when there is none worth a read. */
  room(): number;
  /** Takes a run, all of it or all but what was taken since it was asked for; returns the body bytes in it. */
  takeRun(run: readonly StoredEntry[]): number;
  /** What is cold cannot be read. */
  readFailed(): void;
}

/** Cold entries of one line. */
export class Pager {
  /** Entries that are only in the store. */
  count = 0;
  /** Their body bytes. */
  bodyBytes = 0;
  /** No cold entry stands before this position; Infinity when there is none. */
  from = Number.POSITIVE_INFINITY;
  /** A read failed: what is cold stays where it is until a restart. */
  failed = false;
  private reading = false;
  /** Grows when cold entries are thrown away, so that a read under way is ignored. */
  private epoch = 0;
  /** Positions at or behind `from` that are not cold any more, and may still be read. */
  private readonly taken = new Set<number>();
  /** Reads of others under way, of people who look into the queue. */
  private lookers = 0;
  /** Those of `taken` that left the store while a read was under way. */
  private readonly settledMeanwhile: number[] = [];
  private readonly shard: Pick<Shard, 'read'>;
  private readonly queue: QueueNo;
  private readonly host: PagerHost;
  private readonly log: Logger;

  constructor(shard: Pick<Shard, 'read'>, queue: QueueNo, host: PagerHost, log: Logger) {
    this.shard = shard;
    this.queue = queue;
    this.host = host;
    this.log = log;
  }

  /** One more entry that is only in the store, behind all others of the line; recovery finds them in any order. */
  add(position: number, bodyLength: number): void {
    if (position < this.from) this.from = position;
    this.count++;
    this.bodyBytes += bodyLength;
  }

  /** A run is on its way. */
  get isReading(): boolean {
    return this.reading;
  }

  /** The entry at this position, which the line had put here, is cold. */
  has(position: number): boolean {
    return position >= this.from && !this.taken.has(position);
  }

  /** Takes a cold entry out of its order; it is never handed over. */
  take(position: number, bodyLength: number): void {
    this.count--;
    this.bodyBytes -= bodyLength;
    if (this.count === 0) this.becomeEmpty();
    else this.taken.add(position);
  }

  /** An entry left the store: if it was taken from here, it cannot be read again. */
  settled(position: number): void {
    if (this.taken.size === 0) return;
    if (this.reading || this.lookers !== 0) this.settledMeanwhile.push(position);
    else this.taken.delete(position);
  }

  /** Somebody else reads of the store: until `lookEnds` what he may find although it left is remembered, and `has` tells the truth. */
  lookBegins(): void {
    this.lookers++;
  }

  lookEnds(): void {
    this.lookers--;
    if (!this.reading) this.forgetSettled();
  }

  /** Forgets everything cold. */
  clear(): void {
    this.failed = false;
    this.count = 0;
    this.bodyBytes = 0;
    this.becomeEmpty();
  }

  /** Reads the next run if the line has room for it. */
  bringBack(): void {
    if (this.count === 0 || this.reading || this.failed) return;
    const room = this.host.room();
    if (room > 0) this.read(Math.min(room, READ_RUN_BYTES));
  }

  /** What is added from now on stands behind everything that was ever here; a read under way has nothing for us. */
  private becomeEmpty(): void {
    this.epoch++;
    this.reading = false;
    this.from = Number.POSITIVE_INFINITY;
    this.taken.clear();
    this.settledMeanwhile.length = 0;
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
      const last = run[run.length - 1]!.position;
      const ours = run.every((stored) => this.isOurs(stored))
        ? run
        : run.filter((stored) => this.isOurs(stored));
      if (ours.length > this.count) return this.fail('the store has more of it than was counted');
      this.count -= ours.length;
      if (this.count === 0) this.becomeEmpty();
      else this.passTo(last + 1);
      this.bodyBytes -= this.host.takeRun(ours);
      this.bringBack();
    });
  }

  /** It is cold: nobody took it, and it is not held back. */
  private isOurs(stored: StoredEntry): boolean {
    return !isHeldBack(stored) && !(this.taken.size !== 0 && this.taken.has(stored.position));
  }

  private passTo(position: number): void {
    this.from = position;
    const { taken } = this;
    if (taken.size !== 0) for (const each of taken) if (each < position) taken.delete(each);
    this.forgetSettled();
  }

  private forgetSettled(): void {
    if (this.lookers !== 0) return;
    const { taken, settledMeanwhile } = this;
    for (let i = 0; i < settledMeanwhile.length; i++) taken.delete(settledMeanwhile[i]!);
    settledMeanwhile.length = 0;
  }

  /** Nothing is skipped and nothing is given up: the messages are in the store, and a restart will say what is wrong with them. */
  private fail(error: string): void {
    this.failed = true;
    this.log.error('a queue cannot read its messages back and stops delivering them', {
      queue: this.host.name,
      messages: this.count,
      error,
    });
    this.host.readFailed();
  }
}

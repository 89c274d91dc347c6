// Older messages of a stream, read from the store in runs of about 1 MiB for the readers that want them.
// Owns the runs that are kept, the reads under way, and who waits for which. Knows no consumer: a reader is told to go on.
// Invariants: at most READS_MAX reads are under way and RUNS_KEPT runs are kept beside those that readers hold, so that memory does not
// depend on the length of the stream; the messages of a run follow each other, and all of them are committed.

import { AddressReader } from '../message/address.ts';
import { MESSAGE_OVERHEAD_BYTES, type Message, messageInPlace } from '../message/message.ts';
import type { QueueNo, Shard, StoredEntry } from '../store/store.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { filterValueOf } from './stream-filter.ts';

/** Bytes that one read asks the store for at most … */
export const RUN_BYTES_MAX = 1024 * 1024;
/** … and at least, when many readers share the queue's memory. */
export const RUN_BYTES_MIN = 64 * 1024;
/** Runs kept for readers that come by later. */
export const RUNS_KEPT = 8;
/** Reads of one stream that are under way at the same time; further readers wait for their turn. */
export const READS_MAX = 4;

/** Messages read together. */
export class StreamRun {
  readonly first: number;
  readonly messages: readonly Message[];
  /** Memory it takes. */
  readonly bytes: number;
  /** Readers that hold it, and one more while it is kept. */
  users = 0;
  /** Filter values beside the messages, undefined where nobody asked; null until somebody filters. */
  private values: (string | null | undefined)[] | null = null;

  constructor(first: number, messages: readonly Message[], bytes: number) {
    this.first = first;
    this.messages = messages;
    this.bytes = bytes;
  }

  /** Position behind its last message. */
  get end(): number {
    return this.first + this.messages.length;
  }

  /** The filter value of the message at a position of the run; null for a message without one. */
  filterValueAt(position: number): string | null {
    this.values ??= new Array<string | null | undefined>(this.messages.length).fill(undefined);
    const index = position - this.first;
    let value = this.values[index];
    if (value === undefined) {
      value = filterValueOf(this.messages[index]!);
      this.values[index] = value;
    }
    return value;
  }
}

/** A reader, as far as its runs go. */
export interface RunReader {
  /** Position that it wants to read. */
  readonly position: number;
  /** What it asked for is there, or another place is free: it asks again. */
  runReady(): void;
}

/** The stream, as far as its runs need it. */
export interface RunHost {
  /** Position of the oldest message. */
  readonly firstPosition: number;
  /** Position behind the last message that readers may see. */
  readonly committedEnd: number;
  /** Readers. */
  readonly consumerCount: number;
  /** Those that read from the store, or are about to. */
  readonly coldReaders: number;
  /** A read failed: the stream delivers no more of what is on disk. */
  readFailed(error: Error): void;
}

/** Runs of one stream. */
export class StreamRuns {
  /** Memory of all runs, those included that only readers hold. */
  bytes = 0;
  private readonly shard: Shard;
  private readonly queue: QueueNo;
  private readonly memory: MemoryBudget;
  private readonly host: RunHost;
  private readonly addresses = new AddressReader();
  /** The one used last at the end. */
  private readonly kept: StreamRun[] = [];
  /** Positions from which reads are under way. */
  private readonly reading = new Set<number>();
  private waiting: RunReader[] = [];
  private stopped = false;

  constructor(shard: Shard, queue: QueueNo, memory: MemoryBudget, host: RunHost) {
    this.shard = shard;
    this.queue = queue;
    this.memory = memory;
    this.host = host;
  }

  /**
   * The run with the message at the reader's position, or the first one behind it; the reader holds it until `release`.
   * Null: it is being read, and the reader is told when to ask again.
   */
  take(reader: RunReader): StreamRun | null {
    const run = this.find(reader.position);
    if (run !== null) {
      run.users++;
      this.readAhead(run.end);
      return run;
    }
    this.waiting.push(reader);
    this.read(reader.position);
    return null;
  }

  /** A reader has done with a run. */
  release(run: StreamRun): void {
    if (--run.users > 0) return;
    this.bytes -= run.bytes;
    this.memory.used -= run.bytes;
  }

  /** Nobody reads any more. */
  forgetKept(): void {
    this.waiting = [];
    for (const run of this.kept.splice(0)) this.release(run);
  }

  /** The stream is gone. */
  stop(): void {
    this.stopped = true;
    this.forgetKept();
  }

  private find(position: number): StreamRun | null {
    const { kept } = this;
    for (let i = kept.length - 1; i >= 0; i--) {
      const run = kept[i]!;
      if (position < run.first || position >= run.end) continue;
      kept.splice(i, 1);
      kept.push(run);
      return run;
    }
    return null;
  }

  /** What follows is wanted next, mostly: it is fetched while the readers are busy with this run. */
  private readAhead(position: number): void {
    // With many readers at many places, what is read early is thrown away before it is used.
    if (this.host.coldReaders > RUNS_KEPT / 2 || this.reading.size !== 0) return;
    if (this.memory.exceededBy(this.bytes + RUN_BYTES_MAX)) return;
    if (position < this.host.committedEnd && this.find(position) === null) this.read(position);
  }

  private read(from: number): void {
    const { reading, host, memory } = this;
    if (reading.has(from) || reading.size >= READS_MAX) return;
    reading.add(from);
    const share = Math.floor(memory.share / Math.max(1, host.coldReaders));
    const bytes = Math.min(RUN_BYTES_MAX, Math.max(RUN_BYTES_MIN, share));
    this.shard.read(this.queue, from, bytes, (error, entries) => {
      reading.delete(from);
      if (this.stopped) return;
      if (error !== null) return host.readFailed(error);
      // It was read ahead for readers that have left.
      if (host.consumerCount === 0) return;
      const run = this.runOf(from, entries);
      if (run.messages.length !== 0) this.keep(run);
      // What is not there any more was dropped meanwhile, or else it should be there.
      else if (from >= host.firstPosition)
        return host.readFailed(new Error('the store has nothing more of it'));
      const { waiting } = this;
      this.waiting = [];
      for (let i = 0; i < waiting.length; i++) waiting[i]!.runReady();
    });
  }

  /** Messages as far as they follow each other and are committed. */
  private runOf(from: number, entries: readonly StoredEntry[]): StreamRun {
    const { committedEnd } = this.host;
    const messages: Message[] = [];
    const first = entries[0]?.position ?? from;
    let bytes = 0;
    for (let i = 0; i < entries.length; i++) {
      const { position, buffer, start, end } = entries[i]!;
      if (position !== first + i || position >= committedEnd) break;
      messages.push(messageInPlace(buffer, start, end, this.addresses.at));
      bytes += end - start + MESSAGE_OVERHEAD_BYTES;
    }
    return new StreamRun(first, messages, bytes);
  }

  private keep(run: StreamRun): void {
    const { kept } = this;
    run.users++;
    this.bytes += run.bytes;
    this.memory.used += run.bytes;
    kept.push(run);
    // The latest one stays until those who asked for it have taken it.
    while (kept.length > RUNS_KEPT || (kept.length > READS_MAX && this.memory.exceededBy(this.bytes)))
      this.release(kept.shift()!);
  }
}

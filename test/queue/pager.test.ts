// The cold part of a queue against a store that answers when it is told to.

import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import { Pager, type PagerHost, READ_RUN_BYTES } from '../../src/queue/pager.ts';
import { type Shard, type StoredEntry, StoreError } from '../../src/store/store.ts';

type Answer = (error: Error | null, entries: readonly StoredEntry[]) => void;

function stored(position: number): StoredEntry {
  const buffer = Buffer.from('x');
  return { position, lane: 0, expiresAt: 0, tries: 0, dueAt: 0, transient: false, buffer, start: 0, end: 1 };
}

/** A queue with room or without, and a store whose reads are answered by hand. */
class Bench implements PagerHost {
  readonly name = 'q';
  /** Bytes for which there is room. */
  free = 100;
  readonly taken: number[] = [];
  failures = 0;
  /** Reads under way, oldest first. */
  readonly reads: { readonly found: readonly number[]; readonly bytes: number; readonly answer: Answer }[] =
    [];
  readonly errors: string[] = [];
  readonly pager: Pager;
  /** Everything the store has, ascending. */
  readonly positions: number[] = [];

  constructor() {
    const shard = {
      read: (_queue: number, from: number, bytes: number, answer: Answer) => {
        // As the store does: what is there when it is asked.
        this.reads.push({ found: this.positions.filter((position) => position >= from), bytes, answer });
      },
    } as Partial<Shard> as Shard;
    const log = { ...silentLogger, error: (text: string) => this.errors.push(text) };
    this.pager = new Pager(shard, 1, this, log);
  }

  room(): number {
    return this.free;
  }

  takeRun(run: readonly StoredEntry[]): number {
    for (const { position } of run) this.taken.push(position);
    return run.length;
  }

  readFailed(): void {
    this.failures++;
  }

  add(...positions: number[]): void {
    for (const position of positions) {
      this.positions.push(position);
      this.pager.add(position, 1);
    }
  }

  /** Answers the oldest read with at most `most` entries. */
  answer(most = 100): void {
    const { found, answer } = this.reads.shift()!;
    answer(null, found.slice(0, most).map(stored));
  }
}

describe('what a queue keeps on disk only', () => {
  it('comes back in order, run by run', () => {
    const bench = new Bench();
    bench.add(1, 2, 3, 4, 5);
    bench.pager.bringBack();
    while (bench.reads.length > 0) bench.answer(2);
    expect(bench.taken).toEqual([1, 2, 3, 4, 5]);
    expect(bench.pager.count).toBe(0);
    expect(bench.pager.bodyBytes).toBe(0);
  });

  it('is not read while the queue has no room for it', () => {
    const bench = new Bench();
    bench.free = 0;
    bench.add(1, 2);
    bench.pager.bringBack();
    expect(bench.reads).toHaveLength(0);
    bench.free = 100;
    bench.pager.bringBack();
    bench.pager.bringBack();
    expect(bench.reads).toHaveLength(1);
    bench.answer();
    expect(bench.taken).toEqual([1, 2]);
  });

  it('is asked for in runs that fit into the room there is, and never in very long ones', () => {
    const bench = new Bench();
    bench.free = 5_000;
    bench.add(1, 2);
    bench.pager.bringBack();
    expect(bench.reads[0]!.bytes).toBe(5_000);
    bench.free = 1e9;
    bench.answer(1);
    expect(bench.reads[0]!.bytes).toBe(READ_RUN_BYTES);
  });

  it('is kept when messages arrive while a read is under way, or right after everything before them was taken', () => {
    const bench = new Bench();
    bench.add(1, 2);
    bench.pager.bringBack();
    bench.add(3);
    bench.answer();
    bench.add(4);
    bench.answer();
    bench.pager.bringBack();
    while (bench.reads.length > 0) bench.answer();
    expect(bench.pager.count).toBe(0);
    bench.add(7, 8);
    bench.pager.bringBack();
    while (bench.reads.length > 0) bench.answer();
    expect(bench.taken).toEqual([1, 2, 3, 4, 7, 8]);
    expect(bench.errors).toEqual([]);
  });

  it('stays where it is when the store cannot read it, which is said once', () => {
    const bench = new Bench();
    bench.add(1, 2);
    bench.pager.bringBack();
    bench.reads.shift()!.answer(new Error('the disk is gone'), []);
    bench.add(3);
    bench.pager.bringBack();
    expect(bench.pager.count).toBe(3);
    expect(bench.reads).toHaveLength(0);
    expect(bench.errors).toEqual(['a queue cannot read its messages back and stops delivering them']);
  });

  it('stays where it is when the store shows more than was counted', () => {
    const bench = new Bench();
    bench.add(1);
    bench.positions.push(2);
    bench.pager.bringBack();
    bench.answer();
    expect(bench.taken).toEqual([]);
    expect(bench.errors).toHaveLength(1);
  });

  it('is not handed over when it was taken out of its order meanwhile, before or during the read', () => {
    const bench = new Bench();
    bench.add(1, 2, 3, 4, 5, 6);
    bench.pager.take(2, 1);
    bench.pager.bringBack();
    bench.pager.take(4, 1);
    expect(bench.pager.has(4)).toBe(false);
    expect(bench.pager.has(5)).toBe(true);
    expect(bench.pager.count).toBe(4);
    bench.answer(3);
    expect(bench.taken).toEqual([1, 3]);
    bench.pager.take(6, 1);
    while (bench.reads.length > 0) bench.answer();
    expect(bench.taken).toEqual([1, 3, 5]);
    expect(bench.pager.count).toBe(0);
    expect(bench.pager.bodyBytes).toBe(0);
    expect(bench.errors).toEqual([]);
  });

  it('is read no more when the last of it was taken, and goes on with what comes then', () => {
    const bench = new Bench();
    bench.add(1, 2);
    bench.pager.bringBack();
    bench.pager.take(1, 1);
    bench.pager.take(2, 1);
    bench.positions.length = 0;
    bench.add(3);
    bench.pager.bringBack();
    while (bench.reads.length > 0) bench.answer();
    expect(bench.taken).toEqual([3]);
    expect(bench.errors).toEqual([]);
  });

  it('and was taken is remembered only as long as it can still be read', () => {
    const bench = new Bench();
    bench.add(1, 2, 3, 4);
    bench.pager.take(2, 1);
    bench.pager.settled(2);
    bench.positions.splice(1, 1);
    bench.pager.bringBack();
    bench.pager.take(4, 1);
    bench.pager.settled(4);
    // The read was asked before 4 left the store.
    bench.answer();
    expect(bench.taken).toEqual([1, 3]);
    expect(bench.pager.count).toBe(0);
    expect(bench.errors).toEqual([]);
  });

  it('says nothing when the store was closed under it', () => {
    const bench = new Bench();
    bench.add(1);
    bench.pager.bringBack();
    bench.reads.shift()!.answer(new StoreError('closed', 'The store is closed.'), []);
    expect(bench.errors).toEqual([]);
    expect(bench.pager.count).toBe(1);
  });

  it('is forgotten by a purge, and a read from before the purge brings nothing back', () => {
    const bench = new Bench();
    bench.add(1, 2, 3);
    bench.pager.bringBack();
    bench.pager.clear();
    bench.add(9);
    bench.pager.bringBack();
    expect(bench.reads).toHaveLength(2);
    bench.answer();
    expect(bench.pager.count).toBe(1);
    bench.answer();
    expect(bench.taken).toEqual([9]);
    expect(bench.errors).toEqual([]);
  });
});

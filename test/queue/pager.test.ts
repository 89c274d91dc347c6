// The cold part of a queue against a store that answers when it is told to.

import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import { Pager, type PagerHost } from '../../src/queue/pager.ts';
import type { Shard, StoredEntry } from '../../src/store/store.ts';

type Answer = (error: Error | null, entries: readonly StoredEntry[]) => void;

function stored(position: number): StoredEntry {
  const buffer = Buffer.from('x');
  return { position, lane: 0, expiresAt: 0, returns: 0, transient: false, buffer, start: 0, end: 1 };
}

/** A queue that takes runs while it has room, and a store whose reads are answered by hand. */
class Bench implements PagerHost {
  readonly name = 'q';
  room = true;
  readonly taken: number[] = [];
  /** Reads under way, oldest first. */
  readonly reads: { readonly found: readonly number[]; readonly answer: Answer }[] = [];
  readonly errors: string[] = [];
  readonly pager: Pager;
  /** Everything the store has, ascending. */
  readonly positions: number[] = [];

  constructor() {
    const shard = {
      read: (_queue: number, from: number, _maxBytes: number, answer: Answer) => {
        // As the store does: what is there when it is asked.
        this.reads.push({ found: this.positions.filter((position) => position >= from), answer });
      },
    } as Partial<Shard> as Shard;
    const log = { ...silentLogger, error: (text: string) => this.errors.push(text) };
    this.pager = new Pager(shard, 1, this, log);
  }

  hasRoom(): boolean {
    return this.room;
  }

  takeRun(run: readonly StoredEntry[]): number {
    for (const { position } of run) this.taken.push(position);
    return run.length;
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

  it('is not read twice, and nothing is read when all of it waits in memory already', () => {
    const bench = new Bench();
    bench.room = false;
    bench.add(1, 2);
    bench.pager.bringBack();
    bench.answer();
    expect(bench.pager.count).toBe(2);
    expect(bench.reads).toHaveLength(0);
  });

  it('is kept when messages arrive right after everything before them was taken', () => {
    const bench = new Bench();
    bench.room = false;
    bench.add(1, 2);
    bench.pager.bringBack();
    bench.answer();
    bench.pager.bringBack();
    bench.room = true;
    bench.pager.bringBack();
    expect(bench.taken).toEqual([1, 2]);
    bench.add(7, 8);
    while (bench.reads.length > 0) bench.answer();
    bench.pager.bringBack();
    while (bench.reads.length > 0) bench.answer();
    expect(bench.taken).toEqual([1, 2, 7, 8]);
    expect(bench.errors).toEqual([]);
  });

  it('is read on while the runs before it wait for room', () => {
    const bench = new Bench();
    bench.room = false;
    bench.add(1, 2, 3, 4, 5, 6);
    bench.pager.bringBack();
    bench.answer(2);
    bench.answer(2);
    expect(bench.reads).toHaveLength(0);
    bench.room = true;
    bench.pager.bringBack();
    bench.answer();
    expect(bench.taken).toEqual([1, 2, 3, 4, 5, 6]);
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

  it('is forgotten by a purge, and a read from before the purge brings nothing back', () => {
    const bench = new Bench();
    bench.add(1, 2, 3);
    bench.pager.bringBack();
    bench.pager.clear();
    bench.add(9);
    bench.pager.bringBack();
    expect(bench.reads).toHaveLength(2);
    bench.answer();
    bench.answer();
    expect(bench.taken).toEqual([9]);
  });
});

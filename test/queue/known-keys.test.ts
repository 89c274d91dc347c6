// What deduplication remembers: for how long, how much, and where it is written down.

import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { type KeyLog, KnownKeys } from '../../src/queue/known-keys.ts';

const EVER = Number.POSITIVE_INFINITY;

/** Remembers what was written and removed. */
class TestLog implements KeyLog {
  readonly there = new Map<number, string>();
  private position = 0;

  write(key: string, expiresAt: number): number {
    this.there.set(++this.position, `${key} ${expiresAt}`);
    return this.position;
  }

  remove(position: number): void {
    this.there.delete(position);
  }
}

describe('known keys', () => {
  it('are known once they were seen, until they are forgotten', () => {
    const keys = new KnownKeys(10, new FakeClock());
    expect(keys.add('a', EVER)).toBe(true);
    expect(keys.add('a', EVER)).toBe(false);
    keys.delete('a');
    keys.delete('b');
    expect(keys.add('a', EVER)).toBe(true);
    keys.clear();
    expect(keys.add('a', EVER)).toBe(true);
  });

  it('cost no more when there are very many', () => {
    const keys = new KnownKeys(100_000, new FakeClock());
    const began = process.cpuUsage();
    for (let i = 0; i < 200_000; i++) keys.add(`k${i}`, EVER);
    // Some 0.2 s; many times that when every key walks past all that have left.
    expect(process.cpuUsage(began).user / 1e6).toBeLessThan(2);
    expect(keys.size).toBe(100_000);
    expect(keys.add('k100000', EVER)).toBe(false);
    expect(keys.add('k99999', EVER)).toBe(true);
  });

  it('are no more than asked for: the oldest goes', () => {
    const keys = new KnownKeys(3, new FakeClock());
    for (const key of ['a', 'b', 'c', 'd']) keys.add(key, EVER);
    expect(keys.size).toBe(3);
    expect(keys.add('b', EVER)).toBe(false);
    expect(keys.add('a', EVER)).toBe(true);
    expect(keys.add('b', EVER)).toBe(true);
  });

  it('are known for their time only, each for its own', () => {
    const clock = new FakeClock();
    const keys = new KnownKeys(10, clock);
    keys.add('short', 100);
    keys.add('long', 1_000);
    clock.advance(99);
    expect(keys.add('short', 100)).toBe(false);
    clock.advance(1);
    expect(keys.add('short', 100)).toBe(true);
    expect(keys.add('long', 1_000)).toBe(false);
    clock.advance(900);
    expect(keys.add('long', 1_000)).toBe(true);
  });

  it('that have expired make room by and by, although there is enough', () => {
    const clock = new FakeClock();
    const keys = new KnownKeys(1_000, clock);
    for (let i = 0; i < 100; i++) keys.add(`a${i}`, 100);
    clock.advance(100);
    for (let i = 0; i < 100; i++) keys.add(`b${i}`, EVER);
    expect(keys.size).toBe(100);
  });

  it('are written down where that is asked for, and removed there when they go', () => {
    const clock = new FakeClock();
    const log = new TestLog();
    const keys = new KnownKeys(2, clock, log);
    keys.add('a', EVER);
    keys.add('b', 50);
    keys.add('c', EVER);
    expect([...log.there.values()]).toEqual([`b ${clock.now() + 50}`, 'c 0']);
    clock.advance(50);
    keys.add('b', EVER);
    expect([...log.there.values()]).toEqual(['c 0', 'b 0']);
  });

  it('that were written down are known again after a restart', () => {
    const clock = new FakeClock();
    const log = new TestLog();
    const keys = new KnownKeys(2, clock, log);
    keys.restore('a', 0, 5);
    keys.restore('b', clock.now() - 1, 6);
    expect(keys.add('a', EVER)).toBe(false);
    expect(keys.add('b', EVER)).toBe(true);
  });
});

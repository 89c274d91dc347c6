// Buffers of segments: which are used again, and how many are kept.

import { describe, expect, it } from 'vitest';
import { BlockPool } from '../../src/store/block-pool.ts';

const BLOCK = 512 * 1024;
const MIB = 1024 * 1024;

// Buffers are compared by identity, and never handed to `expect`, which would look into them.
describe('buffers of segments', () => {
  it('are used again, ordinary and large ones', () => {
    const pool = new BlockPool(BLOCK);
    for (const bytes of [100_000, BLOCK, BLOCK + 1, MIB, 3 * MIB]) {
      const first = pool.take(bytes);
      expect(first.length).toBeGreaterThanOrEqual(bytes);
      expect(pool.take(bytes) === first).toBe(false);
      pool.give(first);
      expect(pool.take(bytes) === first).toBe(true);
    }
  });

  it('of one large message serve messages of about its size', () => {
    const pool = new BlockPool(BLOCK);
    const first = pool.take(MIB + 50);
    pool.give(first);
    const other = pool.take(MIB + 5_000);
    expect(other === first).toBe(true);
    expect(pool.take(MIB) === other).toBe(false);
  });

  it('are kept up to 24 MiB of large ones, and none above 20 MiB', () => {
    const pool = new BlockPool(BLOCK);
    const huge = pool.take(21 * MIB);
    pool.give(huge);
    expect(pool.take(21 * MIB) === huge).toBe(false);
    const many = Array.from({ length: 30 }, () => pool.take(MIB));
    for (const each of many) pool.give(each);
    const again = Array.from({ length: 30 }, () => pool.take(MIB));
    expect(again.filter((each) => many.includes(each)).length).toBe(24);
  });

  it('of large segments are not used up by small ones', () => {
    const pool = new BlockPool(BLOCK);
    const large = pool.take(16 * MIB);
    pool.give(large);
    expect(pool.take(MIB) === large).toBe(false);
    expect(pool.take(15 * MIB) === large).toBe(true);
  });

  it('of a size that nobody asks for any more make room for others', () => {
    const pool = new BlockPool(BLOCK);
    for (const each of Array.from({ length: 20 }, () => pool.take(600_000))) pool.give(each);
    const large = Array.from({ length: 4 }, () => pool.take(4 * MIB));
    for (const each of large) pool.give(each);
    expect(large.includes(pool.take(4 * MIB))).toBe(true);
    expect(large.includes(pool.take(600_000))).toBe(true);
  });
});

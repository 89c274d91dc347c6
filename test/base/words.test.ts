// Copies by words are copies, whatever their length and wherever they lie.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyWords, LITTLE_ENDIAN, viewOf } from '../../src/base/words.ts';

describe('copying by words', () => {
  it('copies what it is asked for and touches nothing else', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.nat(40),
        fc.nat(40),
        fc.nat(300),
        (octets, before, at, length) => {
          // In the middle of memory, as slices of a pool lie.
          const from = Buffer.concat([Buffer.alloc(before, 1), octets]).subarray(before);
          const end = Math.min(length, from.length);
          const start = Math.min(before, end);
          const to = Buffer.alloc(at + 400, 0xee).subarray(7);
          const expected = Buffer.from(to);
          from.copy(expected, at, start, end);
          copyWords(viewOf(to), at, viewOf(from), start, end);
          expect(to.equals(expected)).toBe(true);
        },
      ),
    );
  });

  it('does not read or write outside of its buffers, though they lie in larger memory', () => {
    const memory = Buffer.alloc(64);
    const small = viewOf(memory.subarray(8, 16));
    const large = viewOf(memory.subarray(16, 64));
    expect(() => copyWords(small, 5, large, 0, 8)).toThrow(RangeError);
    expect(() => copyWords(large, 0, small, 0, 9)).toThrow(RangeError);
    expect(memory.subarray(0, 8).equals(Buffer.alloc(8))).toBe(true);
  });

  it('knows how this machine keeps words', () => {
    const words = new Int32Array([1]);
    expect(new DataView(words.buffer).getInt32(0, LITTLE_ENDIAN)).toBe(1);
  });
});

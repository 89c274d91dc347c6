import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SPARSE_FACTOR, TagRing } from '../../src/base/tag-ring.ts';

describe('TagRing', () => {
  it('counts tags up from 1 and gives each value back once', () => {
    const ring = new TagRing<string>();
    expect(ring.nextTag).toBe(1);
    expect(ring.add('a')).toBe(1);
    expect(ring.add('b')).toBe(2);
    expect(ring.peek(2)).toBe('b');
    expect(ring.take(2)).toBe('b');
    expect(ring.take(2)).toBeNull();
    expect(ring.size).toBe(1);
    expect(ring.first()).toBe(1);
  });

  it('knows nothing of tags that were never given', () => {
    const ring = new TagRing<string>();
    ring.add('a');
    for (const tag of [0, -1, 2, 1e18, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(ring.take(tag)).toBeNull();
      expect(ring.peek(tag)).toBeNull();
    }
    expect(ring.size).toBe(1);
  });

  it('uses up a tag without a value when told to skip', () => {
    const ring = new TagRing<string>();
    expect(ring.skip()).toBe(1);
    expect(ring.first()).toBe(0);
    expect(ring.add('b')).toBe(2);
    expect(ring.skip()).toBe(3);
    expect(ring.take(3)).toBeNull();
    expect(ring.nextTag).toBe(4);
    expect(ring.first()).toBe(2);
  });

  it('settles everything up to a tag in ascending order', () => {
    const ring = new TagRing<number>();
    for (let i = 1; i <= 10; i++) ring.add(i * 10);
    ring.take(3);
    const out: number[] = [];
    ring.takeUpTo(5, out);
    expect(out).toEqual([10, 20, 40, 50]);
    ring.takeAll(out);
    expect(out.slice(4)).toEqual([60, 70, 80, 90, 100]);
    expect(ring.size).toBe(0);
    expect(ring.add(1)).toBe(11);
  });

  it('behaves as a sorted map under any mix of operations', () => {
    const step = fc.record({
      what: fc.integer({ min: 0, max: 9 }),
      near: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: 1, max: 20 }), (steps, repeat) => {
        const ring = new TagRing<number>();
        const model = new Map<number, number>();
        let next = 1;
        for (const { what, near } of steps) {
          const tag = Math.floor(near * next);
          if (what <= 3) {
            for (let i = 0; i < repeat; i++) {
              expect(ring.add(next * 7)).toBe(next);
              model.set(next, next * 7);
              next += 1;
            }
          } else if (what === 4) {
            expect(ring.skip()).toBe(next++);
          } else if (what <= 7) {
            expect(ring.take(tag)).toBe(model.get(tag) ?? null);
            model.delete(tag);
          } else if (what === 8) {
            expect(ring.peek(tag)).toBe(model.get(tag) ?? null);
          } else {
            const out: number[] = [];
            ring.takeUpTo(tag - repeat, out);
            const wanted = [...model.keys()].filter((t) => t <= tag - repeat);
            expect(out).toEqual(wanted.map((t) => t * 7));
            for (const t of wanted) model.delete(t);
          }
          expect(ring.size).toBe(model.size);
          expect(ring.nextTag).toBe(next);
          expect(ring.first()).toBe(model.size === 0 ? 0 : model.keys().next().value);
        }
        const rest: number[] = [];
        ring.takeAll(rest);
        expect(rest).toEqual([...model.values()]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('stays small when one delivery is never acknowledged while millions are', () => {
    const ring = new TagRing<number>();
    ring.add(-1);
    for (let i = 0; i < 3_000_000; i++) {
      const tag = ring.add(i);
      if (ring.take(tag) !== i) throw new Error('lost a value');
    }
    expect(ring.capacity).toBeLessThanOrEqual(128);
    expect(ring.first()).toBe(1);
    expect(ring.take(1)).toBe(-1);
    expect(ring.size).toBe(0);
  });

  it('costs a bounded number of slots per straggler, and finds every one', () => {
    const ring = new TagRing<number>();
    for (let i = 1; i <= 1_000_000; i++) {
      const tag = ring.add(i);
      if (i % 1_000 !== 0) ring.take(tag);
    }
    expect(ring.size).toBe(1_000);
    expect(ring.capacity).toBeLessThanOrEqual(1_000 * SPARSE_FACTOR + 64);
    for (let i = 1_000_000; i > 500_000; i -= 1_000) expect(ring.take(i)).toBe(i);
    const out: number[] = [];
    ring.takeAll(out);
    expect(out).toEqual(Array.from({ length: 500 }, (_, i) => (i + 1) * 1_000));
  });

  it('returns memory after a burst, in whatever order it is settled', () => {
    for (const order of ['oldest first', 'newest first', 'all but one'] as const) {
      const ring = new TagRing<number>();
      for (let i = 1; i <= 100_000; i++) ring.add(i);
      if (order === 'oldest first') for (let i = 1; i <= 100_000; i++) ring.take(i);
      if (order === 'newest first') for (let i = 100_000; i > 0; i--) ring.take(i);
      if (order === 'all but one') for (let i = 2; i <= 100_000; i++) ring.take(i);
      expect(ring.size).toBe(order === 'all but one' ? 1 : 0);
      expect(ring.capacity).toBeLessThanOrEqual(128);
    }
  });
});

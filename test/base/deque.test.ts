import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deque } from '../../src/base/deque.ts';

function contents<T>(deque: Deque<T>): T[] {
  const out: T[] = [];
  for (let i = 0; i < deque.length; i++) out.push(deque.at(i));
  return out;
}

describe('Deque', () => {
  it('gives values back in the order they came, from either end', () => {
    const deque = new Deque<number>();
    for (let i = 0; i < 100; i++) deque.push(i);
    deque.unshift(-1);
    expect(deque.peekFront()).toBe(-1);
    expect(deque.peekBack()).toBe(99);
    expect(deque.shift()).toBe(-1);
    expect(deque.pop()).toBe(99);
    expect(deque.length).toBe(99);
  });

  it('answers null when it is empty and refuses an index outside', () => {
    const deque = new Deque<string>();
    expect([deque.shift(), deque.pop(), deque.peekFront(), deque.peekBack()]).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect(() => deque.at(0)).toThrow(RangeError);
    expect(() => deque.insertAt(1, 'a')).toThrow(RangeError);
    expect(() => deque.removeAt(0)).toThrow(RangeError);
    expect(() => deque.at(Number.NaN)).toThrow(RangeError);
  });

  it('behaves as a plain array under any mix of operations', () => {
    const step = fc.record({ what: fc.integer({ min: 0, max: 6 }), at: fc.nat(), value: fc.integer() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const deque = new Deque<number>();
        const model: number[] = [];
        for (const { what, at, value } of steps) {
          if (what <= 1) {
            deque.push(value);
            model.push(value);
          } else if (what === 2) {
            deque.unshift(value);
            model.unshift(value);
          } else if (what === 3) {
            expect(deque.shift()).toBe(model.shift() ?? null);
          } else if (what === 4) {
            expect(deque.pop()).toBe(model.pop() ?? null);
          } else if (what === 5) {
            const index = at % (model.length + 1);
            deque.insertAt(index, value);
            model.splice(index, 0, value);
          } else if (model.length > 0) {
            const index = at % model.length;
            expect(deque.removeAt(index)).toBe(model.splice(index, 1)[0]);
          }
        }
        expect(contents(deque)).toEqual(model);
      }),
      { numRuns: 1_000 },
    );
  });

  it('returns memory after a burst', () => {
    const deque = new Deque<number>();
    for (let i = 0; i < 100_000; i++) deque.push(i);
    expect(deque.capacity).toBe(131_072);
    for (let i = 0; i < 99_990; i++) deque.shift();
    expect(deque.capacity).toBeLessThanOrEqual(128);
    expect(contents(deque)).toEqual([
      99_990, 99_991, 99_992, 99_993, 99_994, 99_995, 99_996, 99_997, 99_998, 99_999,
    ]);
    deque.clear();
    expect(deque.length).toBe(0);
    expect(deque.capacity).toBe(16);
  });
});

// The heap against sorting.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Heap } from '../../src/base/heap.ts';

const heapOf = (values: readonly number[]): Heap<{ key: number }> => {
  const heap = new Heap<{ key: number }>((value) => value.key);
  for (const key of values) heap.push({ key });
  return heap;
};

it('gives values back in the order of their keys, whatever the order they came in', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (values) => {
      const heap = heapOf(values);
      const out: number[] = [];
      for (let value = heap.shift(); value !== null; value = heap.shift()) out.push(value.key);
      expect(out).toEqual([...values].sort((a, b) => a - b));
      expect(heap.length).toBe(0);
      expect(heap.peek()).toBeNull();
    }),
  );
});

it('shows the least value while others are added and removed', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.integer({ min: 0, max: 99 }), fc.constant(null))), (steps) => {
      const heap = heapOf([]);
      const model: number[] = [];
      for (const step of steps) {
        if (step === null) {
          expect(heap.shift()?.key).toBe(model.shift());
        } else {
          heap.push({ key: step });
          model.push(step);
          model.sort((a, b) => a - b);
        }
        expect(heap.peek()?.key).toBe(model[0]);
        expect(heap.length).toBe(model.length);
      }
    }),
  );
});

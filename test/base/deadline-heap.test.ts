// The heap of deadlines against a plain sorted list.

import { describe, expect, it } from 'vitest';
import { DEADLINE_BYTES, DeadlineHeap } from '../../src/base/deadline-heap.ts';

/** Numbers from a seed. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function drain(heap: DeadlineHeap): string[] {
  const out: string[] = [];
  while (heap.length > 0) {
    out.push(`${heap.deadline} ${heap.id} ${heap.size}`);
    heap.shift();
  }
  return out;
}

describe('the heap of deadlines', () => {
  it('is empty in the beginning and takes no memory', () => {
    const heap = new DeadlineHeap();
    expect(heap.deadline).toBe(Number.POSITIVE_INFINITY);
    expect(heap.byteLength).toBe(0);
  });

  it('gives values by deadline, those of one deadline by id', () => {
    const heap = new DeadlineHeap();
    heap.push(5, 3, 30);
    heap.push(4, 9, 90);
    heap.push(5, 1, 10);
    heap.push(2 ** 45, 2 ** 47, 2 ** 32 - 1);
    expect(drain(heap)).toEqual(['4 9 90', '5 1 10', '5 3 30', `${2 ** 45} ${2 ** 47} ${2 ** 32 - 1}`]);
  });

  it.each([1, 2, 3])('agrees with a sorted list, whatever is added and taken away (seed %i)', (seed) => {
    const random = seeded(seed);
    const heap = new DeadlineHeap();
    const model = new Map<number, { deadline: number; size: number }>();
    for (let id = 1; id <= 30_000; id++) {
      const deadline = random(1_000);
      heap.push(deadline, id, id % 100);
      model.set(id, { deadline, size: id % 100 });
      if (random(3) === 0) {
        const at = random(heap.length);
        model.delete(heap.idAt(at));
        heap.removeAt(at);
      }
    }
    const expected = [...model]
      .sort(([a, x], [b, y]) => x.deadline - y.deadline || a - b)
      .map(([id, { deadline, size }]) => `${deadline} ${id} ${size}`);
    expect(drain(heap)).toEqual(expected);
  });

  it('takes 20 bytes a value, and gives memory back', () => {
    const heap = new DeadlineHeap();
    for (let id = 0; id < 200_000; id++) heap.push(-id, id, 0);
    expect(heap.byteLength).toBeLessThan(210_000 * DEADLINE_BYTES);
    while (heap.length > 10) heap.shift();
    expect(heap.byteLength).toBeLessThanOrEqual(64 * DEADLINE_BYTES);
    expect(heap.id).toBe(9);
    heap.clear();
    expect(heap.byteLength).toBe(0);
  });
});

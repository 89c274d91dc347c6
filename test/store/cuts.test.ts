// Many long queues that are read in turn.
import { expect, it } from 'vitest';
import { faultyStore } from '../support/faulty-engine.ts';
import { openShard } from './harness.ts';

it.each([4, 12])('reads each segment of %i queues once', async (queues) => {
  const store = faultyStore({ slowness: 1, readSlowness: 1 });
  const open = await openShard(store);
  const count = 6_000;
  for (let q = 1; q <= queues; q++) {
    open.fill(q, 1, count, 40);
    await open.settle();
  }
  let gets = 0;
  const get = store.engine.get.bind(store.engine);
  store.engine.get = (key, done) => {
    gets++;
    get(key, done);
  };
  const at = new Array<number>(queues + 1).fill(1);
  for (let left = queues; left > 0; ) {
    left = 0;
    for (let q = 1; q <= queues; q++) {
      const run = await open.read(q, at[q]!, 1024 * 1024);
      if (run.length === 0) continue;
      at[q] = run[run.length - 1]!.position + 1;
      left++;
    }
  }
  expect(at.slice(1).every((n) => n === count + 1)).toBe(true);
  expect(gets).toBeLessThanOrEqual(2 * queues);
});

// What the ring of unacknowledged deliveries costs (src/base/tag-ring.ts), by how many are held and in which order they are settled, next
// to a Map. Run: npm run bench:micro -- tags. Prints nanoseconds per delivery, added and settled, the best of five rounds.

import { TagRing } from '../../src/base/tag-ring.ts';
import { QUICK } from './quick.ts';

const ROUNDS = QUICK ? 1 : 5;
const DELIVERIES = QUICK ? 2_000 : 1_000_000;
const HELD = QUICK ? [1, 100] : [1, 10, 100, 1_000, 10_000, 100_000];
/** What stands under a tag. */
const ENTRY = { position: 1 };

interface Case {
  readonly name: string;
  /** Adds and settles `DELIVERIES` tags, `held` of them outstanding at a time. */
  run(held: number): void;
}

const CASES: readonly Case[] = [
  {
    name: 'ring, one by one in order',
    run: (held) => {
      const ring = new TagRing<object>();
      for (let i = 1; i <= DELIVERIES; i++) {
        ring.add(ENTRY);
        if (i > held) ring.take(i - held);
      }
    },
  },
  {
    name: 'ring, one by one, pairs swapped',
    run: (held) => {
      const ring = new TagRing<object>();
      for (let i = 1; i <= DELIVERIES; i++) {
        ring.add(ENTRY);
        const tag = i - held - 1;
        if (tag > 0) ring.take(tag % 2 === 1 ? tag + 1 : tag - 1);
      }
    },
  },
  {
    name: 'ring, all held at once (multiple)',
    run: (held) => {
      const ring = new TagRing<object>();
      const taken: object[] = [];
      for (let i = 1; i <= DELIVERIES; i++) {
        ring.add(ENTRY);
        if (i % held !== 0) continue;
        ring.takeUpTo(i, taken);
        taken.length = 0;
      }
    },
  },
  {
    name: 'ring, the first one stays for ever',
    run: (held) => {
      const ring = new TagRing<object>();
      ring.add(ENTRY);
      for (let i = 2; i <= DELIVERIES; i++) {
        ring.add(ENTRY);
        if (i > held + 1) ring.take(i - held);
      }
    },
  },
  {
    name: 'Map, one by one in order',
    run: (held) => {
      const map = new Map<number, object>();
      for (let i = 1; i <= DELIVERIES; i++) {
        map.set(i, ENTRY);
        if (i > held) map.delete(i - held);
      }
    },
  },
];

console.log(`${'ns'.padEnd(36)}${HELD.map((n) => String(n).padStart(9)).join('')}  held`);
for (const { name, run } of CASES) {
  const cells = HELD.map((held) => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now();
      run(held);
      best = Math.min(best, performance.now() - began);
    }
    return ((best * 1e6) / DELIVERIES).toFixed(1).padStart(9);
  });
  console.log(`${name.padEnd(36)}${cells.join('')}`);
}

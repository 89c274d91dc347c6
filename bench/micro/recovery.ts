// What opening a queue log costs, by how many entries wait in it: microseconds an entry, from the open folder to the last entry handed over.
// In this process, on a temporary folder (LEVERET_BENCH_DIR says where). Run: npm run bench:micro -- recovery
// Prints the best of three rounds; what the system has in its cache counts as read.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLevelStore } from '../../src/store/log-store.ts';
import type { RecoverySink, ShardListener } from '../../src/store/store.ts';
import { QUICK } from './quick.ts';

const ROUNDS = QUICK ? 1 : 3;
const COUNTS = QUICK ? [100, 1_000] : [1_000, 10_000, 100_000, 1_000_000];
const SIZES = QUICK ? [100] : [16, 100, 1024];
/** Entries that one commit appends, as a busy broker does. */
const COMMIT = 500;
const HEAD = Buffer.alloc(24, 'h');

interface Case {
  readonly name: string;
  /** One queue, or so many that each has a few entries. */
  readonly queues: number;
  /** Every second entry was acknowledged. */
  readonly holes: boolean;
}

const CASES: readonly Case[] = [
  { name: 'one queue', queues: 1, holes: false },
  { name: 'one queue, every second one settled', queues: 1, holes: true },
  { name: '1,000 queues', queues: 1_000, holes: false },
];

/** Tells when everything written is on disk. */
class Listener implements ShardListener {
  upTo = 0;
  wake: (() => void) | null = null;

  durable(upTo: number): void {
    this.upTo = upTo;
    this.wake?.();
  }

  pressure(): void {}

  lost(error: Error): void {
    throw error;
  }
}

const NOTHING: RecoverySink = { definition: () => {}, queue: () => true, entries: () => {} };

async function write(location: string, test: Case, count: number, size: number): Promise<void> {
  const listener = new Listener();
  const store = openLevelStore({ location });
  const shard = await store.open(listener);
  await shard.recover(NOTHING);
  const body = Buffer.alloc(size, 'x');
  const position = (i: number): number => Math.floor(i / test.queues) + 1;
  for (let i = 0; i < count; i++) {
    let ticket = shard.enqueue((i % test.queues) + 1, position(i), HEAD, body, 0, size, null);
    if (i % COMMIT !== COMMIT - 1 && i !== count - 1) continue;
    // What was written before is settled once it is on disk, or it would never be written.
    if (test.holes)
      for (let done = i - COMMIT - (i % 2); done >= 0 && done > i - 2 * COMMIT; done -= 2)
        ticket = shard.remove(1, position(done));
    shard.commit();
    while (listener.upTo < ticket)
      await new Promise<void>((resolve) => {
        listener.wake = resolve;
        shard.hasten();
        shard.commit();
      });
  }
  await store.close();
}

/** Milliseconds for the opening, and the entries that it found. */
async function recover(location: string): Promise<{ ms: number; entries: number }> {
  let entries = 0;
  const began = performance.now();
  const store = openLevelStore({ location });
  const shard = await store.open(new Listener());
  await shard.recover({
    definition: () => {},
    queue: () => true,
    entries: (_queue, run) => {
      entries += run.length;
    },
  });
  const ms = performance.now() - began;
  await store.close();
  return { ms, entries };
}

console.log(
  `${'us an entry that is left'.padEnd(48)}${COUNTS.map((n) => n.toLocaleString('en').padStart(12)).join('')}  written`,
);
for (const test of CASES)
  for (const size of SIZES) {
    const cells: string[] = [];
    for (const count of COUNTS) {
      const folder = mkdtempSync(join(process.env['LEVERET_BENCH_DIR'] ?? tmpdir(), 'leveret-bench-'));
      try {
        const location = join(folder, 'store');
        await write(location, test, count, size);
        let best = Number.POSITIVE_INFINITY;
        for (let round = 0; round < ROUNDS; round++) {
          const { ms, entries } = await recover(location);
          best = Math.min(best, (ms * 1000) / entries);
        }
        cells.push(best.toFixed(2).padStart(12));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
    console.log(`${`${test.name}, ${size} B`.padEnd(48)}${cells.join('')}`);
  }

// One level's view of the store, against plain lists: positions of two numbers as one line, beside another level that uses the same.

import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import { LevelStore, ownPosition, positionOfShared } from '../../src/queue/level-store.ts';
import type { StoredEntry } from '../../src/store/store.ts';
import { QueueKit } from './kit.ts';

const HEAD = Buffer.alloc(0);
const open: QueueKit[] = [];

afterEach(async () => {
  for (const kit of open.splice(0)) await kit.close();
});

/** Two levels of a queue. */
class Bench {
  readonly levels: LevelStore[];
  /** Texts by position, of each level. */
  readonly known: Map<number, string>[] = [new Map(), new Map()];
  private place = 1;
  private readonly next = [2, 2];
  private numbers = 1;

  constructor(kit: QueueKit) {
    const numberFor = (): number => ++this.numbers;
    this.levels = [0, 7].map((lane) => new LevelStore(kit.shard, 1, lane, null, numberFor));
  }

  add(level: number, isOwn: boolean, size: number): void {
    const next = this.next[level]!;
    let position: number;
    if (isOwn) position = ownPosition(next);
    else {
      this.place = Math.max(this.place, Math.ceil(next / 2));
      position = positionOfShared(this.place++);
    }
    this.next[level] = position + 1;
    const text = `${level}.${position}`.padEnd(size);
    const bytes = Buffer.from(text);
    this.levels[level]!.enqueue(0, position, HEAD, bytes, 0, bytes.length, null);
    this.known[level]!.set(position, text);
  }

  removeOne(level: number, seed: number): void {
    const positions = [...this.known[level]!.keys()];
    if (positions.length === 0) return;
    const position = positions[seed % positions.length]!;
    this.levels[level]!.remove(0, position);
    this.known[level]!.delete(position);
  }

  read(level: number, from: number, bytes: number): Promise<readonly StoredEntry[]> {
    return new Promise((resolve, reject) => {
      this.levels[level]!.read(0, from, bytes, (error, run) =>
        error === null ? resolve(run) : reject(error),
      );
    });
  }
}

/** Positions and texts of the entries at these positions, ascending. */
async function picked(level: LevelStore, positions: readonly number[]): Promise<[number, string][]> {
  const found: [number, string][] = [];
  const asked = Float64Array.from(positions);
  for (let at = 0; at < asked.length; ) {
    at = await new Promise<number>((resolve, reject) => {
      level.pick(
        0,
        asked,
        at,
        500,
        ({ position, buffer, start, end }) => found.push([position, buffer.toString('utf8', start, end)]),
        (error, next) => (error === null ? resolve(next) : reject(error)),
      );
    });
  }
  return found.sort(([a], [b]) => a - b);
}

const STEP = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constant('add'), fc.nat(1), fc.nat(), fc.integer({ min: 8, max: 400 })),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('remove'), fc.nat(1), fc.nat(), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('commit'), fc.nat(1), fc.nat(), fc.constant(0)) },
);

it('a level reads what it wrote, in order, wherever it stands, and nothing of another level', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(STEP, { maxLength: 60 }),
      fc.integer({ min: 2, max: 3_000 }),
      async (steps, bytes) => {
        const kit = await QueueKit.open();
        open.push(kit);
        const bench = new Bench(kit);
        for (const [what, level, seed, size] of steps) {
          if (what === 'add') bench.add(level, seed % 3 === 0, size);
          else if (what === 'remove') bench.removeOne(level, seed);
          else await kit.settle();
        }
        for (const level of [0, 1]) {
          const expected = [...bench.known[level]!].map(([position, text]) => [position, text]);
          const found: unknown[] = [];
          for (let from = 0; ; ) {
            const run = await bench.read(level, from, bytes);
            if (run.length === 0) break;
            for (const { position, buffer, start, end } of run)
              found.push([position, buffer.toString('utf8', start, end)]);
            from = run[run.length - 1]!.position + 1;
          }
          expect(found).toEqual(expected);
          const some = Array.from({ length: 130 }, (_, i) => i + 2).filter((position) => position % 3 !== 0);
          expect(await picked(bench.levels[level]!, some)).toEqual(
            expected.filter(([position]) => some.includes(position as number)),
          );
          for (let position = 2; position < 20; position++) {
            const run = await bench.read(level, position, 1);
            expect(run.map((stored) => stored.position)).toEqual(
              bench.known[level]!.has(position) ? [position] : [],
            );
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

// Large values in files: they come and go with the batches that name them, whatever is left of a crash.

import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLevelStore } from '../../src/store/log-store.ts';
import type { LevelOptions } from '../../src/store/options.ts';
import type { Store, StoreError } from '../../src/store/store.ts';
import { type OpenShard, openShard, range, textOf, until } from './harness.ts';

const LARGE = 5000;

describe('a large value', () => {
  let folder: string;
  let location: string;
  let store: Store;
  let open: OpenShard;

  const start = async (options: Partial<LevelOptions> = {}): Promise<void> => {
    store = openLevelStore({ location, largeValueBytes: 1000, largeDeadBytesMin: 20_000, ...options });
    open = await openShard(store);
  };
  const files = (): string[] => readdirSync(join(location, 'large')).sort();
  /** A start on what a killed process leaves. */
  const crash = async (): Promise<void> => {
    const copy = join(folder, 'copy');
    cpSync(location, copy, { recursive: true });
    await store.close();
    location = copy;
    await start();
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leveret-values-'));
    location = join(folder, 'store');
    await start();
  });

  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('stands in a file of its own, which goes when the last of what is in it is gone', async () => {
    open.put(1, 1, textOf(1, LARGE));
    open.put(2, 1, textOf(1, LARGE));
    open.put(3, 1, 'small');
    await open.settle();
    expect(files()).toHaveLength(1);
    open.shard.remove(1, 1);
    await open.settle();
    expect(files()).toHaveLength(1);
    await crash();
    expect(open.recovered.of(2).map(({ text }) => text)).toEqual([textOf(1, LARGE)]);
    expect(open.recovered.of(1)).toEqual([]);
    open.shard.remove(2, 1);
    await open.settle();
    await until(() => files().length === 0);
    expect(open.shard.stats().liveEntries).toBe(1);
  });

  it('of a batch that never came to be is swept away at the next start', async () => {
    open.put(1, 1, textOf(1, LARGE));
    await open.settle();
    const [wanted] = files();
    writeFileSync(join(location, 'large', '77.values'), 'half of a batch');
    writeFileSync(join(location, 'large', 'notes.txt'), 'of somebody else');
    await crash();
    await until(() => files().length === 2);
    expect(files()).toEqual([wanted, 'notes.txt']);
    expect(open.recovered.positions(1)).toEqual([1]);
    open.put(1, 2 ** 17, textOf(2, LARGE));
    await open.settle();
    expect(files()).toContain('78.values');
  });

  it.each([
    ['missing', (file: string) => rmSync(file)],
    ['cut off', (file: string) => truncateSync(file, 100)],
    ['not what was written', (file: string) => writeFileSync(file, 'x'.repeat(20_000))],
  ])('whose file is %s makes the store refuse to open, and name it', async (_what, damage) => {
    open.put(1, 1, textOf(1, LARGE));
    await open.settle();
    await store.close();
    damage(join(location, 'large', files()[0]!));
    const error = await openShard(openLevelStore({ location })).then(
      () => null,
      (refused: StoreError) => refused,
    );
    expect(error?.kind).toBe('damaged');
    expect(error?.message).toContain('segment 1 of queue 1');
    expect(existsSync(join(location, 'large'))).toBe(true);
    await start().catch(() => {});
  });

  it('moves on when little else of its file is wanted, and is found meanwhile', async () => {
    for (const queue of range(1, 20)) open.put(queue, 1, textOf(queue, LARGE));
    await open.settle();
    const [crowded] = files();
    for (const queue of range(2, 20)) open.shard.remove(queue, 1);
    await open.settle();
    for (let i = 2; files().includes(crowded!); i++) {
      expect((await open.all(1))[0]!.text).toBe(textOf(1, LARGE));
      open.put(99, i, 'something that is synced');
      await open.settle();
      if (i > 50) throw new Error('it never moves');
    }
    expect((await open.all(1))[0]!.text).toBe(textOf(1, LARGE));
    await crash();
    expect(open.recovered.of(1).map(({ text }) => text)).toEqual([textOf(1, LARGE)]);
    open.shard.remove(1, 1);
    await open.settle();
    await until(() => files().length === 0);
  });

  it('that only relieves memory stays in the database, which need not sync it', async () => {
    open.put(1, 1, 'first');
    await open.settle();
    open.put(1, 2, textOf(2, LARGE), { transient: true });
    await open.settle();
    expect(files()).toEqual([]);
    expect((await open.all(1)).map(({ text }) => text)).toEqual(['first', textOf(2, LARGE)]);
  });

  it('is read by a store that makes no files any more', async () => {
    open.put(1, 1, textOf(1, LARGE));
    await open.settle();
    await store.close();
    await start({ largeValueBytes: Number.POSITIVE_INFINITY });
    expect(open.recovered.of(1).map(({ text }) => text)).toEqual([textOf(1, LARGE)]);
    open.shard.remove(1, 1);
    await open.settle();
    await until(() => files().length === 0);
  });
});

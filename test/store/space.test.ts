// The log stays small by itself: small segments are merged, half-dead ones rewritten, and what nobody needs is gone.

import { describe, expect, it } from 'vitest';
import type { LogOptions } from '../../src/store/options.ts';
import { type FaultyStore, faultyStore } from '../support/faulty-engine.ts';
import { iteration, type OpenShard, openShard, range, textOf } from './harness.ts';

async function opened(options: Partial<LogOptions> = {}): Promise<{ store: FaultyStore; open: OpenShard }> {
  const store = faultyStore({ seed: 11, ...options });
  return { store, open: await openShard(store) };
}

/** Lets the tidying in the background come to its end. */
async function quiet({ shard }: OpenShard): Promise<void> {
  for (let calm = 0, seen = -1; calm < 20; calm++) {
    const { commits } = shard.stats();
    if (commits !== seen) calm = 0;
    seen = commits;
    await iteration();
  }
}

/** Segment keys of a queue. */
function segmentsOf(store: FaultyStore, queue: number): string[] {
  const prefix = `04${queue.toString(16).padStart(8, '0')}`;
  return store.engine.keys().filter((key) => key.startsWith(prefix) && key.endsWith('01'));
}

describe('a slow publisher', () => {
  it('with a commit for every message does not leave a segment for every message', async () => {
    const { store, open } = await opened();
    for (const position of range(1, 3000)) {
      open.fill(1, position, position, 100);
      await open.settle();
      if (position % 500 === 0) expect(open.shard.stats().segments).toBeLessThan(70);
    }
    await quiet(open);
    const { segments, bytesWritten } = open.shard.stats();
    expect(segments).toBeLessThan(50);
    expect(segmentsOf(store, 1)).toHaveLength(segments);
    // Every byte was written once and merged at most once per tier, of which these sizes pass through three.
    expect(bytesWritten).toBeLessThan(3000 * (110 * 4 + 100));
    expect(await open.positions(1)).toEqual(range(1, 3000));
    await store.close();
    const again = await openShard(store);
    expect(again.recovered.of(1).map((entry) => entry.text)).toEqual(
      range(1, 3000).map((p) => textOf(p, 100)),
    );
    await store.close();
  });

  /** Bytes written while one message a commit is published and all but the latest are settled in runs of fifty. */
  async function settledInRuns(options: Partial<LogOptions>): Promise<number> {
    const { store, open } = await opened(options);
    for (const position of range(1, 600)) {
      open.fill(1, position, position, 100);
      if (position % 50 === 0)
        for (const settled of range(position - 49, position)) open.shard.remove(1, settled);
      await open.settle();
    }
    await quiet(open);
    const { bytesWritten } = open.shard.stats();
    await store.close();
    return bytesWritten;
  }

  it('whose consumer keeps up has no message written twice', async () => {
    expect(await settledInRuns({})).toBe(await settledInRuns({ mergeSegments: 1_000_000 }));
  });

  it('is merged all the same where a store has very many segments', async () => {
    const written = await settledInRuns({});
    expect(await settledInRuns({ segmentsFew: 0 })).toBeGreaterThan(written);
  });

  it('of larger messages leaves segments that are nearly full', async () => {
    const { store, open } = await opened({ segmentBytesMax: 20_000, mergeSegments: 8, queueSegmentsFew: 0 });
    for (const position of range(1, 1500)) {
      open.fill(1, position, position, 150);
      await open.settle();
    }
    await quiet(open);
    const { segments, storedBytes } = open.shard.stats();
    expect(storedBytes / segments).toBeGreaterThan(5000);
    expect(await open.positions(1)).toEqual(range(1, 1500));
    await store.close();
  });

  it('whose messages are settled while they are merged gets none of them back', async () => {
    const { store, open } = await opened({ mergeSegments: 4, queueSegmentsFew: 0 });
    const left: number[] = [];
    for (const position of range(1, 400)) {
      open.fill(1, position, position, 30);
      await open.settle();
      if (position % 3 === 0) left.push(position);
      else
        for (const settled of [position, position - 5]) if (settled % 3 !== 0) open.shard.remove(1, settled);
    }
    expect(await open.positions(1)).toEqual(left);
    store.crash();
    const again = await openShard(store);
    expect(again.recovered.positions(1).filter((position) => position < 390)).toEqual(
      left.filter((p) => p < 390),
    );
  });
});

describe('survivors of a drained backlog', () => {
  it('do not keep the room of the dead', async () => {
    const { store, open } = await opened({ deadBytesMin: 100_000 });
    open.fill(1, 1, 20_000, 200);
    await open.settle();
    const before = open.shard.stats();
    expect(before.storedBytes).toBeGreaterThan(4_000_000);
    const left = range(1, 20_000).filter((position) => position % 500 === 7);
    for (const position of range(1, 20_000)) if (position % 500 !== 7) open.shard.remove(1, position);
    await open.settle();
    await quiet(open);
    const after = open.shard.stats();
    expect(after.liveEntries).toBe(left.length);
    expect(after.storedBytes).toBeLessThan(200_000);
    expect(after.segments).toBeLessThan(before.segments);
    expect(await open.positions(1)).toEqual(left);
    await store.close();
    const again = await openShard(store);
    expect(again.recovered.positions(1)).toEqual(left);
    await store.close();
  });

  it('take their messages out of packs that hardly anybody else names', async () => {
    const { store, open } = await opened({ deadBytesMin: 50_000, sharedBytesMin: 1000 });
    const body = Buffer.alloc(2000, 's');
    for (const position of range(1, 300)) {
      const shared = open.shard.share(Buffer.from(`${position}:`), body, 0, body.length);
      for (const queue of [1, 2, 3]) open.shard.enqueueShared(queue, position, shared, null);
    }
    await open.settle();
    const packs = (): number => store.engine.keys().filter((key) => key.startsWith('03')).length;
    const before = packs();
    expect(before).toBeGreaterThan(1);
    for (const queue of [1, 2]) open.shard.clear(queue, 300, []);
    for (const position of range(1, 300)) if (position % 100 !== 50) open.shard.remove(3, position);
    await open.settle();
    await quiet(open);
    expect(packs()).toBe(0);
    const texts = (await open.all(3)).map((entry) => entry.text.slice(0, 6));
    expect(texts).toEqual(['50:sss', '150:ss', '250:ss']);
    await store.close();
  });
});

describe('a drained backlog', () => {
  it('gives its room back to the disk', async () => {
    const { store, open } = await opened({ reclaimBytes: 1_000_000, segmentBytesMax: 10_000 });
    open.fill(1, 1, 9000, 200);
    open.fill(2, 1, 10, 200);
    await open.settle();
    expect(store.engine.reclaimed).toEqual([]);
    for (const position of range(1, 9000)) open.shard.remove(1, position);
    await open.settle();
    await quiet(open);
    const [reclaimed, ...more] = store.engine.reclaimed;
    expect(more).toEqual([]);
    expect(reclaimed!.from).toBe('040000000100000000000100');
    expect(reclaimed!.to > reclaimed!.from && reclaimed!.to.startsWith('0400000001')).toBe(true);
    expect(reclaimed!.bytesMin).toBeGreaterThan(1_000_000);
    await store.close();
  });
});

describe('deliveries that came back', () => {
  it('move into the records when a segment remembers many', async () => {
    const { store, open } = await opened({ returnsFold: 50 });
    open.fill(1, 1, 200);
    await open.settle();
    for (const position of range(1, 100)) open.shard.returned(1, position, position % 7, 0);
    await open.settle();
    await quiet(open);
    // A settlement has the segment's key with 00 at the end.
    expect(
      store.engine.keys().filter((key) => /^0400000001.{12}00$/.test(key) && !/0{14}$/.test(key)),
    ).toEqual([]);
    const expected = range(1, 200).map((position) => (position <= 100 ? position % 7 : 0));
    expect((await open.all(1)).map((entry) => entry.tries)).toEqual(expected);
    await store.close();
    const again = await openShard(store);
    expect(again.recovered.of(1).map((entry) => entry.tries)).toEqual(expected);
    await store.close();
  });
});

describe('entries that go all over a queue', () => {
  const SEGMENTS = 20;
  const ALL = range(1, SEGMENTS * 10);

  /** Twenty segments of ten entries. */
  async function filled(options: Partial<LogOptions> = {}): Promise<{ store: FaultyStore; open: OpenShard }> {
    const both = await opened({ mergeSegments: 1_000, ...options });
    for (let i = 0; i < SEGMENTS; i++) {
      both.open.fill(1, i * 10 + 1, i * 10 + 10, 50);
      await both.open.settle();
    }
    return both;
  }

  /** Removes the entry at this place of every segment, in one batch. @returns the keys that it wrote */
  async function removeEach({ store, open }: { store: FaultyStore; open: OpenShard }, place: number) {
    for (let i = SEGMENTS - 1; i >= 0; i--) open.shard.remove(1, i * 10 + place);
    await open.settle();
    return store.engine.written[store.engine.written.length - 1]!.keys;
  }

  const left = (...places: number[]): number[] => ALL.filter((p) => !places.includes(((p - 1) % 10) + 1));
  const removalsIn = (store: FaultyStore): string[] =>
    store.engine.keys().filter((key) => key.startsWith('040000000100000000000001'));

  it('are told in one value for most of its segments, and stay away after a restart', async () => {
    const both = await filled();
    // Eight settlements, the removals, the head.
    expect(await removeEach(both, 3)).toHaveLength(10);
    expect(await removeEach(both, 5)).toHaveLength(2);
    expect(removalsIn(both.store)).toHaveLength(2);
    expect(await both.open.positions(1)).toEqual(left(3, 5));
    await both.store.close();
    const again = await openShard(both.store);
    expect(again.recovered.positions(1)).toEqual(left(3, 5));
    expect(await removeEach({ store: both.store, open: again }, 4)).toHaveLength(2);
    expect(removalsIn(both.store)).toHaveLength(3);
    await both.store.close();
    expect((await openShard(both.store)).recovered.positions(1)).toEqual(left(3, 4, 5));
    await both.store.close();
  });

  it('go into the settlements once they are many, those of before a restart too', async () => {
    const { store, open } = await filled({ removalsFold: 50 });
    await removeEach({ store, open }, 3);
    await removeEach({ store, open }, 5);
    await store.close();
    const again = await openShard(store);
    await removeEach({ store, open: again }, 6);
    expect(removalsIn(store)).toEqual([]);
    await removeEach({ store, open: again }, 7);
    expect(removalsIn(store)).toHaveLength(1);
    await store.close();
    expect((await openShard(store)).recovered.positions(1)).toEqual(left(3, 5, 6, 7));
    await store.close();
  });

  it('leave nothing behind when everything has gone', async () => {
    const { store, open } = await filled();
    for (const place of range(1, 10)) await removeEach({ store, open }, place);
    await open.settle();
    // The mark.
    expect(store.engine.keys().filter((key) => key.startsWith('0400000001'))).toHaveLength(1);
    await store.close();
  });

  it('leave nothing behind when the queue goes', async () => {
    const { store, open } = await filled();
    await removeEach({ store, open }, 1);
    open.shard.dropQueue(1);
    await open.settle();
    expect(store.engine.keys().filter((key) => key.startsWith('04'))).toEqual([]);
    await store.close();
    expect((await openShard(store)).recovered.positions(1)).toEqual([]);
    await store.close();
  });
});

describe('commits', () => {
  it('wait for the disk only when they hold something that must outlive a power cut', async () => {
    const { store, open } = await opened();
    const synced = (): boolean => store.engine.written[store.engine.written.length - 1]!.sync;
    open.put(1, 1, 'durable');
    await open.settle();
    expect(synced()).toBe(true);
    open.put(1, 2, 'paged out', { transient: true });
    await open.settle();
    expect(synced()).toBe(false);
    open.shard.remove(1, 2);
    await open.settle();
    expect(synced()).toBe(false);
    open.shard.remove(1, 1);
    await open.settle();
    expect(synced()).toBe(true);
    open.shard.delivered(1, 0, 2);
    await open.settle();
    expect(synced()).toBe(true);
    await store.close();
  });

  it('write nothing of a segment that dies together with its settlements', async () => {
    const { store, open } = await opened();
    open.fill(1, 1, 10);
    await open.settle();
    for (const position of range(1, 10)) open.shard.remove(1, position);
    await open.settle();
    const { keys } = store.engine.written[store.engine.written.length - 1]!;
    // One deletion and the head.
    expect(keys).toEqual(['040000000100000000000101', '0168656164']);
    await store.close();
  });
});

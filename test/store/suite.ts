// The behaviour that every store has, whatever keeps its bytes. A new store passes this before anything imports it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { LogOptions } from '../../src/store/options.ts';
import type { SharedBytes, Store, StoredEntry } from '../../src/store/store.ts';
import { iteration, type OpenShard, openShard, range, textOf, until } from './harness.ts';

/** A store under test and what its kind can be put through. */
export interface StoreCase {
  readonly store: Store;
  /** Stops as a killed process does and returns a store that finds what is left; null when nothing outlives the process. */
  readonly crash: (() => Promise<Store>) | null;
  /** Keys in the engine, as hexadecimal, the store's own facts left out; null when they cannot be seen. */
  readonly keys: (() => string[]) | null;
  /** Takes a key away behind the store's back, as if its batch had not reached the disk; null when that cannot be done. */
  readonly lose: ((key: string) => void) | null;
  readonly dispose: () => Promise<void>;
}

const EMPTY = Buffer.alloc(0);
const LARGE = 'L'.repeat(6000);

/** Runs the suite. `makeStore` is called for every test. */
export function storeSuite(
  name: string,
  makeStore: (options?: Partial<LogOptions>) => Promise<StoreCase>,
): void {
  describe(`${name} store`, () => {
    let kit: StoreCase;
    let open: OpenShard;

    beforeEach(async () => {
      kit = await makeStore();
      open = await openShard(kit.store);
    });

    afterEach(async () => {
      expect(open.listener.calledInside, 'the listener was called from inside a shard method').toBe(false);
      await kit.dispose();
    });

    async function use(options: Partial<LogOptions>): Promise<void> {
      await kit.store.close();
      await kit.dispose();
      kit = await makeStore(options);
      open = await openShard(kit.store);
    }

    async function reopen(unknown: readonly number[] = []): Promise<OpenShard> {
      await open.store.close();
      open = await openShard(open.store, unknown);
      return open;
    }

    function share(text: string): SharedBytes {
      const bytes = Buffer.from(text, 'latin1');
      return open.shard.share(EMPTY, bytes, 0, bytes.length);
    }

    describe('entries', () => {
      it('come back in the order of their positions, with the bytes and facts they were given', async () => {
        const bytes = Buffer.from('--body--');
        open.shard.enqueue(7, 1, Buffer.from('head '), bytes, 2, 6, null);
        open.put(7, 2, '', { lane: 5, expiresAt: 1_700_000_000_123, tries: 3, dueAt: 1_800_000_000_456 });
        open.put(7, 9, 'x'.repeat(200), { lane: 255 });
        open.put(8, 4, 'other queue');
        const expected = [
          { position: 1, text: 'head body', lane: 0, expiresAt: 0, tries: 0, dueAt: 0 },
          {
            position: 2,
            text: '',
            lane: 5,
            expiresAt: 1_700_000_000_123,
            tries: 3,
            dueAt: 1_800_000_000_456,
          },
          { position: 9, text: 'x'.repeat(200), lane: 255, expiresAt: 0, tries: 0, dueAt: 0 },
        ];
        expect(await open.all(7)).toEqual(expected);
        await open.settle();
        expect(await open.all(7)).toEqual(expected);
        await reopen();
        expect(open.recovered.of(7)).toEqual(expected);
        expect(await open.all(7)).toEqual(expected);
        expect(open.recovered.positions(8)).toEqual([4]);
      });

      it('do not change when the caller uses its buffers again', async () => {
        const bytes = Buffer.from('first');
        open.shard.enqueue(1, 1, EMPTY, bytes, 0, 5, null);
        bytes.fill('#');
        await open.settle();
        expect((await open.all(1))[0]!.text).toBe('first');
      });

      it('larger than a segment are kept whole', async () => {
        const text = 'big'.repeat(700_000);
        open.put(1, 1, 'small');
        open.put(1, 2, text);
        open.put(1, 3, 'small');
        await open.settle();
        await reopen();
        expect(open.recovered.of(1).map((entry) => entry.text)).toEqual(['small', text, 'small']);
      });

      it('are refused when a position does not rise', async () => {
        open.put(1, 5, 'a');
        expect(() => open.put(1, 5, 'b')).toThrow(/positions/);
        expect(() => open.put(1, 4, 'b')).toThrow(/positions/);
      });
    });

    describe('commit', () => {
      it('makes tickets durable in order, one call per batch', async () => {
        const first = open.put(1, 1, 'a');
        open.shard.commit();
        const second = open.put(1, 2, 'b');
        open.shard.commit();
        expect(second).toBeGreaterThan(first);
        await until(() => open.listener.durableTicket >= second);
        expect(open.listener.durables).toEqual([first, second]);
        expect(open.shard.durableTicket).toBe(second);
      });

      it('writes what gathered meanwhile at once, without waiting for the next turn', async () => {
        open.put(1, 1, 'a');
        open.shard.commit();
        const ticket = open.put(1, 2, 'b');
        await until(() => open.listener.durableTicket >= ticket);
        expect(open.shard.stats().commits).toBe(2);
      });

      it('lets settlements wait for company, but not for long', async () => {
        const clock = new FakeClock();
        await use({ clock, settleDelayMs: 5 });
        open.fill(1, 1, 3);
        await open.settle();
        const { commits } = open.shard.stats();
        const passes = async (): Promise<void> => {
          open.shard.commit();
          for (let i = 0; i < 20; i++) await iteration();
        };
        const alone = open.shard.remove(1, 1);
        await passes();
        expect(open.shard.stats().commits).toBe(commits);
        const together = open.put(1, 4, 'd');
        expect(together).toBe(alone);
        open.shard.commit();
        await until(() => open.listener.durableTicket >= together);
        expect(open.shard.stats().commits).toBe(commits + 1);

        open.shard.returned(1, 2, 1, 0);
        const second = open.shard.remove(1, 3);
        await passes();
        clock.advance(4);
        await passes();
        expect(open.listener.durableTicket).toBeLessThan(second);
        clock.advance(6);
        await until(() => open.listener.durableTicket >= second);
        expect(open.shard.stats().commits).toBe(commits + 2);
        clock.advance(1000);
        expect(clock.tickerCount).toBe(0);
      });

      it('takes settlements along at once when it is told to', async () => {
        const clock = new FakeClock();
        await use({ clock });
        open.put(1, 1, 'a');
        await open.settle();
        open.shard.remove(1, 1);
        const ticket = open.shard.hasten();
        open.shard.commit();
        await until(() => open.listener.durableTicket >= ticket);
        expect(open.shard.stats().liveEntries).toBe(0);
        expect(clock.tickerCount).toBe(0);
      });

      it('of settlements that wait happens before close returns', async () => {
        const clock = new FakeClock();
        await use({ clock });
        open.fill(1, 1, 2);
        await open.settle();
        open.shard.remove(1, 1);
        open.shard.commit();
        await reopen();
        expect(open.recovered.positions(1)).toEqual([2]);
        expect(clock.tickerCount).toBe(0);
      });

      it('calls nobody when nothing was done', async () => {
        open.shard.commit();
        for (let i = 0; i < 5; i++) await iteration();
        expect(open.listener.durables).toEqual([]);
      });

      it('says durable without writing when everything in the batch was removed again', async () => {
        open.put(1, 1, 'its queue has a mark from now on');
        await open.settle();
        open.shard.remove(1, 1);
        open.put(1, 2, 'short-lived');
        open.shard.remove(1, 2);
        await open.settle();
        const before = open.shard.stats();
        open.put(1, 3, 'short-lived');
        const ticket = open.shard.remove(1, 3);
        open.shard.commit();
        expect(open.listener.durableTicket).toBeLessThan(ticket);
        await until(() => open.listener.durableTicket >= ticket);
        expect(open.shard.stats()).toMatchObject({
          commits: before.commits,
          bytesWritten: before.bytesWritten,
        });
      });

      it('inside an atomic call waits for its end', async () => {
        const ticket = open.shard.atomic(() => {
          open.put(1, 1, 'a');
          open.shard.commit();
          open.put(2, 1, 'b');
        });
        expect(open.shard.ticket).toBe(ticket);
        open.shard.commit();
        expect(open.shard.ticket).toBe(ticket + 1);
        await until(() => open.listener.durableTicket >= ticket);
      });

      it('happens before close returns', async () => {
        open.put(1, 1, 'a');
        open.shard.commit();
        open.put(1, 2, 'b');
        await reopen();
        expect(open.recovered.positions(1)).toEqual([1, 2]);
      });

      it('never gives out a ticket again after a restart', async () => {
        const ticket = open.put(1, 1, 'a');
        await open.settle();
        await reopen();
        expect(open.shard.ticket).toBeGreaterThan(ticket);
      });
    });

    describe('removing', () => {
      it('takes entries out for good, in any order', async () => {
        open.fill(1, 1, 10);
        await open.settle();
        for (const position of [7, 1, 2, 10, 5]) open.shard.remove(1, position);
        expect(await open.positions(1)).toEqual([3, 4, 6, 8, 9]);
        await open.settle();
        expect(await open.positions(1)).toEqual([3, 4, 6, 8, 9]);
        await reopen();
        expect(open.recovered.positions(1)).toEqual([3, 4, 6, 8, 9]);
      });

      it('before the batch is sealed leaves the entry out', async () => {
        open.fill(1, 1, 6, 300);
        for (const position of [1, 3, 6]) open.shard.remove(1, position);
        await open.settle();
        expect(open.shard.stats().bytesWritten).toBeLessThan(3 * 300 + 300);
        expect(await open.positions(1)).toEqual([2, 4, 5]);
        await reopen();
        expect(open.recovered.of(1).map((entry) => entry.text)).toEqual([2, 4, 5].map((p) => textOf(p, 300)));
      });

      it('while the batch is in flight works as well', async () => {
        open.fill(1, 1, 6);
        open.shard.commit();
        open.shard.remove(1, 2);
        open.shard.remove(1, 6);
        await open.settle();
        await reopen();
        expect(open.recovered.positions(1)).toEqual([1, 3, 4, 5]);
      });

      it('ignores what is not there', async () => {
        open.put(1, 5, 'a');
        open.put(1, 9, 'b');
        await open.settle();
        for (const position of [0, 1, 4, 6, 8, 10, 1e9]) open.shard.remove(1, position);
        open.shard.remove(99, 1);
        open.shard.remove(1, 5);
        open.shard.remove(1, 5);
        await open.settle();
        expect(await open.positions(1)).toEqual([9]);
        expect(open.shard.stats().liveEntries).toBe(1);
        await reopen();
        expect(open.recovered.positions(1)).toEqual([9]);
        open.shard.remove(1, 9);
        await open.settle();
        expect(open.shard.stats()).toMatchObject({
          liveEntries: 0,
          segments: 0,
          liveBytes: 0,
          storedBytes: 0,
        });
      });

      it('leaves no garbage behind once everything is gone', async () => {
        const large = share(LARGE);
        open.shard.enqueueShared(1, 1, large, null);
        open.shard.enqueueShared(2, 1, large, null);
        open.fill(1, 2, 50);
        await open.settle();
        for (const position of range(1, 50)) {
          open.shard.remove(1, position);
          if (position % 7 === 0) await open.settle();
        }
        open.shard.returned(2, 1, 4, 0);
        await open.settle();
        open.shard.remove(2, 1);
        await open.settle();
        await open.settle();
        expect(open.shard.stats()).toMatchObject({
          segments: 0,
          liveEntries: 0,
          liveBytes: 0,
          storedBytes: 0,
        });
        // What stays is the mark of each queue, which keeps its positions from being used again.
        const marks = ['040000000100000000000000', '040000000200000000000000'];
        if (kit.keys !== null) expect(kit.keys()).toEqual(marks);
        open.shard.dropQueue(1);
        open.shard.dropQueue(2);
        open.shard.commit();
        await until(() => open.shard.durableTicket === open.shard.ticket - 1);
        if (kit.keys !== null) expect(kit.keys()).toEqual([]);
      });
    });

    describe('clearing a queue', () => {
      it('removes everything up to a position except what is to be kept', async () => {
        await use({ segmentBytesMax: 100 });
        open.fill(1, 1, 30, 20);
        open.fill(2, 1, 3);
        await open.settle();
        open.fill(1, 31, 40, 20);
        open.shard.clear(1, 35, [2, 17, 33]);
        const left = [2, 17, 33, 36, 37, 38, 39, 40];
        expect(await open.positions(1)).toEqual(left);
        await open.settle();
        expect(open.shard.stats().liveEntries).toBe(left.length + 3);
        await reopen();
        expect(open.recovered.positions(1)).toEqual(left);
        expect(open.recovered.positions(2)).toEqual([1, 2, 3]);
      });

      it('that is unknown or empty does nothing', async () => {
        open.shard.clear(1, 100, []);
        open.put(1, 1, 'a');
        open.shard.clear(1, 0, []);
        await open.settle();
        expect(await open.positions(1)).toEqual([1]);
      });

      it('in the open batch leaves later entries alone', async () => {
        open.fill(1, 1, 5);
        open.shard.clear(1, 5, []);
        open.fill(1, 6, 8);
        await open.settle();
        await reopen();
        expect(open.recovered.positions(1)).toEqual([6, 7, 8]);
      });
    });

    describe('dropping a queue', () => {
      it('forgets all of it and nothing else', async () => {
        open.fill(1, 1, 5);
        open.fill(2, 1, 5);
        await open.settle();
        open.fill(1, 6, 8);
        open.shard.dropQueue(1);
        expect(await open.positions(1)).toEqual([]);
        await open.settle();
        await reopen();
        expect(open.recovered.facts.has(1)).toBe(false);
        expect(open.recovered.positions(2)).toEqual([1, 2, 3, 4, 5]);
      });

      it('that has a batch in flight works too', async () => {
        open.fill(1, 1, 5);
        open.shard.commit();
        open.shard.dropQueue(1);
        await open.settle();
        await reopen();
        expect(open.recovered.facts.has(1)).toBe(false);
      });

      it('lets its number be used anew', async () => {
        open.fill(1, 1, 5);
        await open.settle();
        open.shard.dropQueue(1);
        open.put(1, 1, 'new');
        await open.settle();
        await reopen();
        expect(open.recovered.of(1).map((entry) => entry.text)).toEqual(['new']);
      });
    });

    describe('entries that came back', () => {
      const told = ({ tries, dueAt }: { tries: number; dueAt: number }): [number, number] => [tries, dueAt];
      const LATER = 2 ** 48 - 1;

      it('keep the tries and the time that were told last', async () => {
        open.fill(1, 1, 4);
        open.put(1, 5, 'due', { tries: 2, dueAt: 1000 });
        open.shard.returned(1, 1, 1, 0);
        await open.settle();
        open.shard.returned(1, 2, 2, 5000);
        open.shard.returned(1, 2, 2 ** 32 - 1, LATER);
        open.shard.returned(1, 5, 3, 0);
        open.shard.returned(1, 99, 9, 9);
        const expected = [
          [1, 0],
          [2 ** 32 - 1, LATER],
          [0, 0],
          [0, 0],
          [3, 0],
        ];
        expect((await open.all(1)).map(told)).toEqual(expected);
        await open.settle();
        await reopen();
        expect(open.recovered.of(1).map(told)).toEqual(expected);
        expect(await open.positions(1)).toEqual([1, 2, 3, 4, 5]);
        open.shard.returned(1, 2, 7, 0);
        await open.settle();
        await reopen();
        expect(told(open.recovered.of(1)[1]!)).toEqual([7, 0]);
      });

      it('keep them when their segment is rewritten', async () => {
        await use({ returnsFold: 2 });
        open.fill(1, 1, 3);
        await open.settle();
        open.shard.returned(1, 1, 1, 1000);
        open.shard.returned(1, 3, 0, 2000);
        for (let i = 0; i < 3; i++) await open.settle();
        await until(() => open.shard.stats().commits >= 3);
        await open.settle();
        const expected = [
          [1, 1000],
          [0, 0],
          [0, 2000],
        ];
        expect((await open.all(1)).map(told)).toEqual(expected);
        await reopen();
        expect(open.recovered.of(1).map(told)).toEqual(expected);
      });
    });

    describe('the delivered mark', () => {
      it('comes back per queue and lane as it was last set', async () => {
        open.fill(1, 1, 9);
        open.shard.delivered(1, 0, 4);
        open.shard.delivered(1, 9, 7);
        await open.settle();
        open.shard.delivered(1, 0, 1006);
        await open.settle();
        await reopen();
        const marks = (): unknown => [...open.recovered.facts.get(1)!.deliveredUpTo];
        expect(marks()).toEqual([
          [0, 1006],
          [9, 7],
        ]);
        expect(open.recovered.facts.get(1)!.nextPosition).toBeGreaterThan(1006);
        open.shard.delivered(1, 0, 6);
        await reopen();
        expect(marks()).toEqual([
          [0, 6],
          [9, 7],
        ]);
      });
    });

    describe('positions', () => {
      it('are never used again, although everything is gone', async () => {
        open.fill(1, 1, 20);
        await open.settle();
        open.shard.clear(1, 20, []);
        await open.settle();
        await reopen();
        const next = open.recovered.facts.get(1)!.nextPosition;
        expect(next).toBeGreaterThan(20);
        open.put(1, next, 'a');
        await open.settle();
        await reopen();
        expect(open.recovered.facts.get(1)!.nextPosition).toBeGreaterThan(next);
        expect(open.recovered.positions(1)).toEqual([next]);
      });

      it('may have gaps of any size', async () => {
        const positions = [1, 2, 100, 70_000, 70_001, 5_000_000_000, 2 ** 47];
        for (const position of positions) open.put(1, position, textOf(position));
        open.shard.remove(1, 101);
        open.shard.remove(1, 70_000);
        await open.settle();
        open.shard.remove(1, 70_002);
        const left = positions.filter((position) => position !== 70_000);
        expect(await open.positions(1)).toEqual(left);
        await reopen();
        expect(open.recovered.positions(1)).toEqual(left);
      });
    });

    describe('definitions', () => {
      it('come back as they were last written, deleted ones do not', async () => {
        open.shard.define('vhost//', Buffer.from('1'));
        open.shard.define('queue/ä', Buffer.from('2'));
        open.shard.define('gone', Buffer.from('3'));
        await open.settle();
        open.shard.define('vhost//', Buffer.from('new'));
        open.shard.define('gone', null);
        open.shard.define('never there', null);
        open.shard.define('short', Buffer.from('4'));
        open.shard.define('short', null);
        await open.settle();
        await reopen();
        expect([...open.recovered.definitions].sort()).toEqual([
          ['queue/ä', '2'],
          ['vhost//', 'new'],
        ]);
        expect(open.recovered.stats!.definitions).toBe(2);
      });

      it('may be changed and deleted after a restart', async () => {
        open.shard.define('a', Buffer.from('1'));
        open.shard.define('b', Buffer.from('1'));
        await open.settle();
        await reopen();
        open.shard.define('a', null);
        open.shard.define('b', Buffer.from('2'));
        await open.settle();
        await reopen();
        expect([...open.recovered.definitions]).toEqual([['b', '2']]);
      });
    });

    describe('shared bytes', () => {
      for (const [size, text] of [
        ['small', 'tiny'],
        ['large', LARGE],
      ] as const) {
        it(`(${size}) reach every queue`, async () => {
          const shared = share(text);
          expect(shared.byteLength).toBe(text.length);
          for (const queue of [1, 2, 3]) open.shard.enqueueShared(queue, 1, shared, { lane: queue });
          for (const queue of [1, 2, 3]) expect((await open.all(queue))[0]!.text).toBe(text);
          await open.settle();
          for (const queue of [1, 2, 3]) expect((await open.all(queue))[0]!.text).toBe(text);
          await reopen();
          for (const queue of [1, 2, 3])
            expect(open.recovered.of(queue)[0]).toMatchObject({ text, lane: queue });
        });
      }

      it('are stored once, and go with the last entry that names them', async () => {
        const [first, second] = [share(LARGE), share(LARGE)];
        for (const queue of range(1, 10)) open.shard.enqueueShared(queue, 1, first, null);
        for (const queue of range(1, 10)) open.shard.enqueueShared(queue, 2, second, null);
        for (const queue of range(1, 10)) open.shard.remove(queue, 2);
        await open.settle();
        expect(open.shard.stats().bytesWritten).toBeLessThan(2 * LARGE.length);
        for (const queue of range(1, 9)) open.shard.remove(queue, 1);
        await open.settle();
        await reopen();
        expect(open.recovered.of(10)[0]!.text).toBe(LARGE);
        open.shard.remove(10, 1);
        await open.settle();
        if (kit.keys !== null) expect(kit.keys().filter((key) => key.startsWith('03'))).toEqual([]);
      });

      it('stand among other entries of the queue', async () => {
        open.fill(1, 1, 3);
        const shared = share(LARGE);
        open.shard.enqueueShared(1, 4, shared, null);
        open.shard.enqueueShared(2, 1, shared, null);
        open.fill(1, 5, 6);
        open.shard.remove(1, 2);
        await open.settle();
        const expected = ['m1', 'm3', LARGE, 'm5', 'm6'];
        expect((await open.all(1)).map((entry) => entry.text)).toEqual(expected);
        await reopen();
        expect(open.recovered.of(1).map((entry) => entry.text)).toEqual(expected);
      });

      it('die with a dropped queue that was never written', async () => {
        open.shard.enqueueShared(1, 1, share(LARGE), null);
        open.shard.dropQueue(1);
        await open.settle();
        if (kit.keys !== null) expect(kit.keys().filter((key) => key.startsWith('03'))).toEqual([]);
      });
    });

    describe('reading', () => {
      it('goes across the disk, the batch in flight and the open batch', async () => {
        await use({ segmentBytesMax: 200 });
        open.fill(1, 1, 20, 40);
        await open.settle();
        open.fill(1, 21, 30, 40);
        open.shard.commit();
        open.fill(1, 31, 40, 40);
        open.shard.remove(1, 5);
        open.shard.remove(1, 25);
        open.shard.remove(1, 35);
        const expected = range(1, 40).filter((position) => position % 10 !== 5 || position === 15);
        expect(await open.positions(1)).toEqual(expected);
        await open.settle();
        expect(await open.positions(1)).toEqual(expected);
      });

      it('of very many small entries answers some of them at a time, and leaves none out', async () => {
        await use({});
        const read = (from: number): Promise<readonly StoredEntry[]> =>
          new Promise((resolve, reject) => {
            open.shard.read(1, from, 2 ** 30, (error, run) =>
              error === null ? resolve(run) : reject(error),
            );
          });
        open.fill(1, 1, 9_000, 10);
        for (const settled of [false, true]) {
          if (settled) await open.settle();
          let next = 1;
          for (let run = await read(next); run.length !== 0; run = await read(next)) {
            // Nobody else is served while a run goes into its queue.
            expect(run.length).toBeLessThanOrEqual(2_000);
            for (const { position } of run) expect(position).toBe(next++);
          }
          expect(next).toBe(9_001);
        }
      });

      it('of single entries shows those that live, wherever they are', async () => {
        await use({ segmentBytesMax: 200 });
        open.fill(1, 1, 20, 40);
        await open.settle();
        open.fill(1, 21, 30, 40);
        open.shard.commit();
        open.fill(1, 31, 40, 40);
        for (const gone of [5, 25, 35]) open.shard.remove(1, gone);
        const picked = async (queue: number, ...positions: number[]): Promise<string[]> => {
          const texts: string[] = [];
          for (let at = 0; at < positions.length; ) {
            at = await new Promise<number>((resolve, reject) => {
              open.shard.pick(
                queue,
                Float64Array.from(positions),
                at,
                100,
                ({ buffer, start, end }) => texts.push(buffer.toString('latin1', start, end)),
                (error, next) => (error === null ? resolve(next) : reject(error)),
              );
            });
          }
          return texts;
        };
        const expected = [1, 7, 8, 22, 39].map((position) => textOf(position, 40));
        expect(await picked(1, 1, 5, 7, 8, 22, 25, 35, 39, 41, 1_000)).toEqual(expected);
        await open.settle();
        expect(await picked(1, 1, 5, 7, 8, 22, 25, 35, 39, 41, 1_000)).toEqual(expected);
        expect(await picked(1, 5, 25, 35)).toEqual([]);
        expect(await picked(99, 1)).toEqual([]);
      });

      it('starts in the middle and answers an empty list at the end', async () => {
        open.fill(1, 1, 10);
        await open.settle();
        expect((await open.read(1, 8)).map((entry) => entry.position)).toEqual([8, 9, 10]);
        expect(await open.read(1, 11)).toEqual([]);
        expect(await open.read(99, 1)).toEqual([]);
      });

      it('keeps to about the bytes it was asked for, but gives at least one entry', async () => {
        open.fill(1, 1, 1000, 100);
        await open.settle();
        const some = await open.read(1, 1, 5000);
        expect(some.length).toBeGreaterThanOrEqual(50);
        expect(some.length).toBeLessThan(110);
        expect((await open.read(1, 1, 1)).length).toBeGreaterThanOrEqual(1);
        expect((await open.all(1, 3000)).length).toBe(1000);
      });

      it('keeps what it handed out, whatever happens to the log afterwards', async () => {
        open.fill(1, 1, 5, 50);
        const read = new Promise<readonly { buffer: Buffer; start: number; end: number }[]>((resolve) => {
          open.shard.read(1, 1, 1e9, (_error, entries) => resolve(entries));
        });
        for (const position of [1, 2, 3]) open.shard.remove(1, position);
        open.fill(1, 6, 3000, 300);
        const entries = await read;
        await open.settle();
        open.fill(2, 1, 3000, 300);
        await open.settle();
        open.fill(3, 1, 3000, 300);
        await open.settle();
        const texts = entries.map(({ buffer, start, end }) => buffer.toString('latin1', start, end));
        expect(texts).toEqual([1, 2, 3, 4, 5].map((position) => textOf(position, 50)));
      });

      it('finds single entries far apart, going forward and back, also when some of them are gone', async () => {
        open.fill(1, 1, 2000, 100);
        await open.settle();
        for (const position of [9, 300, 301, 302, 1999]) open.shard.remove(1, position);
        const expected = new Map([
          [9, 10],
          [300, 303],
          [1999, 2000],
        ]);
        for (const position of [1, 2, 9, 40, 300, 1000, 999, 1000, 1998, 1999, 2000, 7, 2000, 1, 1500])
          expect((await open.read(1, position, 1))[0]).toMatchObject({
            position: expected.get(position) ?? position,
            text: textOf(expected.get(position) ?? position, 100),
          });
        expect(await open.read(1, 2001, 1)).toEqual([]);
      });

      it('answers many at a time, in any mixture', async () => {
        open.fill(1, 1, 200, 30);
        await open.settle();
        open.fill(2, 1, 200, 30);
        const reads = await Promise.all(range(1, 40).map((i) => open.read(1 + (i % 2), i * 5, 200)));
        for (const [i, entries] of reads.entries()) expect(entries[0]!.position).toBe((i + 1) * 5);
      });
    });

    describe('transient entries', () => {
      it('alone are not synced, and may be lost by themselves in a power cut', async () => {
        open.fill(1, 1, 2);
        await open.settle();
        const before = kit.keys?.() ?? [];
        for (const position of [3, 4]) {
          open.put(1, position, textOf(position), { transient: true });
          await open.settle();
        }
        open.shard.remove(1, 3);
        await open.settle();
        open.fill(1, 5, 5);
        await open.settle();
        if (kit.lose === null || kit.keys === null) return;
        const lost = kit.keys().filter((key) => !before.includes(key))[0]!;
        kit.lose(lost);
        open = await openShard(await kit.crash!());
        expect(open.recovered.positions(1)).toEqual([1, 2, 5]);
      });

      it('can be read until the end, and are gone afterwards', async () => {
        for (const position of range(1, 6))
          open.put(1, position, textOf(position), { transient: position % 2 === 0 });
        open.put(2, 1, 'only', { transient: true });
        await open.settle();
        expect(await open.positions(1)).toEqual([1, 2, 3, 4, 5, 6]);
        await reopen();
        expect(open.recovered.positions(1)).toEqual([1, 3, 5]);
        expect(open.recovered.positions(2)).toEqual([]);
        expect(await open.positions(1)).toEqual([1, 3, 5]);
        await open.settle();
        await reopen();
        expect(open.recovered.positions(1)).toEqual([1, 3, 5]);
        expect(open.recovered.stats!.segments).toBe(1);
      });
    });

    describe('content of queues that are not defined', () => {
      it('is removed, counted and never seen again', async () => {
        const shared = share(LARGE);
        open.fill(1, 1, 5);
        open.shard.enqueueShared(1, 6, shared, null);
        open.fill(2, 1, 3);
        open.shard.enqueueShared(2, 4, shared, null);
        await open.settle();
        await reopen([1]);
        expect(open.recovered.positions(1)).toEqual([]);
        expect(open.recovered.positions(2)).toEqual([1, 2, 3, 4]);
        expect(open.recovered.stats).toMatchObject({ orphans: 6, entries: 4, queues: 1 });
        await open.settle();
        await reopen();
        expect(open.recovered.facts.has(1)).toBe(false);
        expect(open.recovered.of(2)[3]!.text).toBe(LARGE);
      });
    });

    describe('pressure', () => {
      it('rises when more waits for the disk than may, and falls when half of it is written', async () => {
        await use({ pendingBytesHigh: 10_000 });
        open.fill(1, 1, 100, 200);
        expect(open.shard.pendingBytes).toBeGreaterThan(10_000);
        expect(open.listener.pressures).toEqual([]);
        await until(() => open.listener.pressures.length === 1);
        await open.settle();
        await until(() => open.listener.pressures.length === 2);
        expect(open.listener.pressures).toEqual([true, false]);
        expect(open.shard.pendingBytes).toBe(0);
      });
    });

    describe('statistics', () => {
      it('count what lives, over a restart too', async () => {
        open.fill(1, 1, 100, 100);
        await open.settle();
        expect(open.shard.stats()).toMatchObject({ segments: 1, liveEntries: 100 });
        for (const position of range(1, 50)) open.shard.remove(1, position);
        await open.settle();
        const stats = open.shard.stats();
        expect(stats.liveEntries).toBe(50);
        expect(stats.liveBytes).toBeGreaterThan(50 * 100);
        expect(stats.liveBytes).toBeLessThan(50 * 120);
        await reopen();
        expect(open.shard.stats()).toMatchObject({
          segments: 1,
          liveEntries: 50,
          liveBytes: stats.liveBytes,
        });
      });
    });

    describe('after close', () => {
      it('calls are without effect', async () => {
        const { shard } = open;
        open.put(1, 1, 'a');
        await open.store.close();
        open.put(1, 2, 'b');
        shard.remove(1, 1);
        shard.define('a', EMPTY);
        shard.commit();
        await expect(open.read(1, 1)).rejects.toMatchObject({ kind: 'closed' });
        open = await openShard(open.store);
        expect(open.recovered.positions(1)).toEqual([1]);
      });
    });

    describe('a crash', () => {
      it('keeps everything that was durable', async () => {
        if (kit.crash === null) return;
        open.fill(1, 1, 10);
        open.shard.define('q', Buffer.from('1'));
        await open.settle();
        open.shard.remove(1, 3);
        open.shard.delivered(1, 0, 5);
        await open.settle();
        open.fill(1, 11, 12);
        const store = await kit.crash();
        open = await openShard(store);
        expect(open.recovered.positions(1).slice(0, 9)).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10]);
        expect(open.recovered.facts.get(1)!.deliveredUpTo.get(0)).toBe(5);
        expect(open.recovered.definitions.get('q')).toBe('1');
      });

      it('keeps a move between queues whole', async () => {
        if (kit.crash === null) return;
        open.put(1, 1, 'moves');
        await open.settle();
        open.shard.atomic(() => {
          open.shard.remove(1, 1);
          open.put(2, 1, 'moves');
          open.shard.define('moved', Buffer.from('yes'));
        });
        open.shard.commit();
        const store = await kit.crash();
        open = await openShard(store);
        const moved = open.recovered.definitions.has('moved');
        expect(open.recovered.positions(1)).toEqual(moved ? [] : [1]);
        expect(open.recovered.positions(2)).toEqual(moved ? [1] : []);
      });
    });
  });
}

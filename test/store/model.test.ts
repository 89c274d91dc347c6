// Random calls with crashes between any two steps, against plain lists. STORE_SEEDS sets how many seeds are run; a failure names its
// seed, and `STORE_SEED=n` runs that one alone.

import { expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { EnqueueOptions, QueueNo } from '../../src/store/store.ts';
import { type FaultyStore, faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { iteration, type OpenShard, openShard, type PlainEntry, plain } from './harness.ts';
import { describeRecovered, Model, plainOf } from './model.ts';

const SEEDS = Number(process.env['STORE_SEEDS'] ?? 40);
const ONLY = process.env['STORE_SEED'];
const STEPS = 400;
const EMPTY = Buffer.alloc(0);

type Change = (model: Model) => void;

class Run {
  readonly random: SeededRandom;
  readonly store: FaultyStore;
  readonly clock = new FakeClock();
  open!: OpenShard;
  /** As the store was recovered, and every change since with its ticket. */
  base = new Model();
  changes: { readonly ticket: number; readonly change: Change }[] = [];
  model = new Model();
  texts = 0;
  reads = 0;
  /** Counts the queues that were dropped: their positions may come again. */
  drops = 0;
  /** Counts the crashes: what was asked before one may be answered or not. */
  life = 0;
  /** What went wrong where nobody could catch it. */
  failure: unknown = null;
  readonly queues: number;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    const { random } = this;
    this.queues = 1 + random.below(4);
    this.store = faultyStore({
      seed,
      slowness: 1 + random.below(6),
      readSlowness: random.below(4),
      segmentBytesMax: 100 + random.below(2000),
      sharedBytesMin: 20 + random.below(60),
      pendingBytesHigh: 500 + random.below(2000),
      mergeSegments: 2 + random.below(4),
      queueSegmentsFew: random.chance(0.5) ? 0 : 64,
      segmentsFew: random.chance(0.7) ? 16_384 : 1 + random.below(40),
      deadBytesMin: random.below(300),
      deadShareMin: random.chance(0.5) ? 0 : 0.5,
      rewriteShareMax: random.chance(0.5) ? 0.5 : 0.9,
      returnsFold: 1 + random.below(4),
      scatterSegments: random.below(3),
      removalsFold: 1 + random.below(30),
      rewriteBytesMax: 4000,
      clock: this.clock,
    });
  }

  async run(): Promise<void> {
    this.open = await openShard(this.store);
    for (let step = 0; step < STEPS; step++) {
      const turn = 1 + this.random.below(5);
      for (let i = 0; i < turn; i++) this.call();
      if (this.random.chance(0.1)) this.open.shard.hasten();
      if (this.random.chance(0.8)) this.open.shard.commit();
      if (this.random.chance(0.2)) this.clock.advance(this.random.below(10));
      const what = this.random.below(100);
      if (what < 2) await this.crash();
      else if (what < 3) await this.restart();
      else if (what < 10) await this.compareQueue();
      else if (what < 17) this.readMeanwhile();
      else if (what < 24) this.pickMeanwhile();
      else for (let i = this.random.below(4); i > 0; i--) await iteration();
      if (this.failure !== null) throw this.failure;
    }
    // A restart counts everything anew, so what was miscounted shows only without one.
    if (this.random.chance(0.3)) await this.restart();
    await this.drain();
    if (this.failure !== null) throw this.failure;
    expect(this.reads).toBe(0);
  }

  change(ticket: number, change: Change): void {
    change(this.model);
    this.changes.push({ ticket, change });
  }

  someQueue(): QueueNo {
    return 1 + this.random.below(this.queues);
  }

  somePosition(queue: QueueNo): number {
    const entries = this.model.entries(queue);
    if (entries.length === 0 || this.random.chance(0.05)) return this.random.below(100_000);
    // Mostly from the front, as consumers do.
    const index = this.random.chance(0.7)
      ? this.random.below(Math.min(3, entries.length))
      : this.random.below(entries.length);
    return entries[index]!.position;
  }

  someText(): string {
    const length = this.random.chance(0.1) ? this.random.below(3000) : this.random.below(90);
    return `${this.texts++}`.padEnd(length, '-');
  }

  nextPosition(queue: QueueNo): number {
    const gap = this.random.chance(0.02) ? 100_000 : this.random.chance(0.2) ? this.random.below(20) : 0;
    const recovered = this.open.recovered.facts.get(queue)?.nextPosition ?? 1;
    const used = this.model.queues.get(queue)?.used ?? 0;
    return Math.max(used + 1, recovered) + gap;
  }

  someOptions(): EnqueueOptions | null {
    if (this.random.chance(0.5)) return null;
    return {
      lane: this.random.below(3),
      expiresAt: this.someTime(),
      tries: this.random.below(3),
      dueAt: this.someTime(),
      transient: this.random.chance(0.2),
    };
  }

  /** Mostly none. */
  someTime(): number {
    return this.random.chance(0.3) ? 1_700_000_000_000 + this.random.below(1e9) : 0;
  }

  call(): void {
    const { shard } = this.open;
    const queue = this.someQueue();
    const what = this.random.below(100);
    if (what < 40) {
      this.enqueue(queue);
    } else if (what < 75) {
      const position = this.somePosition(queue);
      this.change(shard.remove(queue, position), (model) => model.remove(queue, position));
    } else if (what < 82) {
      this.fanOut();
    } else if (what < 88) {
      const [position, tries, dueAt] = [this.somePosition(queue), this.random.below(9), this.someTime()];
      this.change(shard.returned(queue, position, tries, dueAt), (model) =>
        model.returned(queue, position, tries, dueAt),
      );
    } else if (what < 92) {
      const used = this.model.queues.get(queue)?.used ?? 0;
      const [lane, upTo] = [this.random.below(3), Math.max(0, used + this.random.below(2000) - 1000)];
      this.change(shard.delivered(queue, lane, upTo), (model) => model.delivered(queue, lane, upTo));
    } else if (what < 96) {
      const key = `key${this.random.below(5)}`;
      const value = this.random.chance(0.4) ? null : this.someText();
      const ticket = shard.define(key, value === null ? null : Buffer.from(value));
      this.change(ticket, ({ definitions }) =>
        value === null ? definitions.delete(key) : definitions.set(key, value),
      );
    } else if (what < 98) {
      this.move(queue);
    } else if (what < 99) {
      this.clear(queue);
    } else {
      this.drops++;
      this.change(shard.dropQueue(queue), (model) => model.queues.delete(queue));
      this.open.recovered.facts.delete(queue);
    }
  }

  enqueue(queue: QueueNo): void {
    const [position, text, options] = [this.nextPosition(queue), this.someText(), this.someOptions()];
    const bytes = Buffer.from(`..${text}..`);
    const half = this.random.below(text.length + 1);
    const head = Buffer.from(text.slice(0, half));
    const ticket = this.open.shard.enqueue(queue, position, head, bytes, 2 + half, bytes.length - 2, options);
    this.change(ticket, (model) => model.enqueue(queue, position, text, options));
  }

  fanOut(): void {
    const text = this.someText();
    const bytes = Buffer.from(text);
    const shared = this.open.shard.share(EMPTY, bytes, 0, bytes.length);
    for (let queue = 1; queue <= this.queues; queue++) {
      if (this.random.chance(0.3)) continue;
      const [position, options] = [this.nextPosition(queue), this.someOptions()];
      const ticket = this.open.shard.enqueueShared(queue, position, shared, options);
      this.change(ticket, (model) => model.enqueue(queue, position, text, options));
    }
  }

  move(from: QueueNo): void {
    const to = this.someQueue();
    const entry = this.model.entries(from)[0];
    if (entry === undefined) return;
    const position = this.nextPosition(to);
    const ticket = this.open.shard.atomic(() => {
      this.open.shard.remove(from, entry.position);
      this.open.put(to, position, entry.text);
      this.open.shard.commit();
    });
    this.change(ticket, (model) => {
      model.remove(from, entry.position);
      model.enqueue(to, position, entry.text, null);
    });
  }

  clear(queue: QueueNo): void {
    const entries = this.model.entries(queue);
    const upTo = this.random.chance(0.5) ? 2 ** 47 : this.somePosition(queue);
    const keep = entries.filter(() => this.random.chance(0.1)).map((entry) => entry.position);
    this.change(this.open.shard.clear(queue, upTo, keep), (model) => model.clear(queue, upTo, keep));
  }

  /** The store's view of a queue is the model's, wherever its entries are at the moment. */
  async compareQueue(): Promise<void> {
    const queue = this.someQueue();
    expect(await this.open.all(queue, 1 + this.random.below(500))).toEqual(
      this.model.entries(queue).map(plainOf),
    );
  }

  /** A read that goes on while other things happen shows nothing false and leaves nothing out. */
  readMeanwhile(): void {
    const queue = this.someQueue();
    const from = this.random.chance(0.5) ? 0 : this.somePosition(queue);
    const before = new Set(this.model.entries(queue).map((entry) => entry.position));
    const { open, life } = this;
    const dropped = (): boolean => !this.model.queues.has(queue);
    let wasDropped = dropped();
    this.reads++;
    open.shard.read(queue, from, 1 + this.random.below(400), (error, run) => {
      if (life !== this.life) return;
      this.reads--;
      if (this.failure !== null) return;
      wasDropped ||= dropped();
      try {
        expect(error).toBeNull();
        this.checkRun(queue, from, run.map(plain), wasDropped ? new Set() : before);
      } catch (failure) {
        this.failure = failure;
      }
    });
  }

  /** Single entries that are read while other things happen: all that were there all the time, in order, and none that was not asked for. */
  pickMeanwhile(): void {
    const queue = this.someQueue();
    const texts = new Map(this.model.entries(queue).map(({ position, text }) => [position, text]));
    const asked = new Set([...texts.keys()].filter(() => this.random.chance(0.3)));
    for (let i = this.random.below(4); i > 0; i--) asked.add(1 + this.random.below(100_000));
    const positions = Float64Array.from(asked).sort();
    const maxBytes = 1 + this.random.below(4_000);
    const { open, life } = this;
    const { drops } = this;
    const seen: number[] = [];
    const pick = (at: number): void => {
      this.reads++;
      open.shard.pick(
        queue,
        positions,
        at,
        maxBytes,
        ({ position, buffer, start, end }) => {
          if (life !== this.life || this.failure !== null) return;
          seen.push(position);
          const text = buffer.toString('latin1', start, end);
          if (drops === this.drops && text !== texts.get(position))
            this.failure ??= new Error(`${position} is shown as ${text}`);
        },
        (error, next) => {
          if (life !== this.life) return;
          this.reads--;
          if (error !== null) this.failure ??= error;
          else if (next <= at && positions.length > 0) this.failure ??= new Error(`a pick stands at ${at}`);
          else if (next < positions.length) return pick(next);
          if (this.failure !== null) return;
          try {
            expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
            expect(seen.filter((position) => !asked.has(position))).toEqual([]);
            if (drops !== this.drops) return;
            const there = this.model.entries(queue).map((entry) => entry.position);
            const missing = there.filter(
              (position) => asked.has(position) && texts.has(position) && !seen.includes(position),
            );
            expect(missing).toEqual([]);
          } catch (failure) {
            this.failure = failure;
          }
        },
      );
    };
    pick(0);
  }

  /** A run is in order, and has everything between its ends that was there all the time. */
  checkRun(queue: QueueNo, from: number, run: readonly PlainEntry[], before: ReadonlySet<number>): void {
    const positions = run.map((entry) => entry.position);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
    const last = positions[positions.length - 1] ?? Number.POSITIVE_INFINITY;
    for (const { position } of this.model.entries(queue)) {
      if (position < from || position > last || !before.has(position)) continue;
      expect(positions, `queue ${queue} from ${from}`).toContain(position);
    }
  }

  async restart(): Promise<void> {
    await this.store.close();
    await this.reopen(this.model.persistent());
  }

  async crash(): Promise<void> {
    const durable = this.open.shard.durableTicket;
    this.store.crash();
    this.reads = 0;
    this.life++;
    const open = await openShard(this.store);
    const kept = open.shard.durableTicket;
    const after = (ticket: number): Model => {
      const model = this.base.clone();
      for (const { ticket: made, change } of this.changes) if (made <= ticket) change(model);
      return model.persistent();
    };
    // What was reported durable is there; only batches of nothing but transient entries may be missing.
    if (kept < durable) expect(after(kept).describe()).toEqual(after(durable).describe());
    this.adopt(open, after(kept));
  }

  async reopen(expected: Model): Promise<void> {
    this.adopt(await openShard(this.store), expected);
  }

  adopt(open: OpenShard, expected: Model): void {
    this.open = open;
    expect(describeRecovered(open.recovered)).toEqual(expected.describe());
    for (const [number, queue] of expected.queues) {
      const facts = open.recovered.facts.get(number);
      const used = Math.max(
        0,
        ...queue.entries.map((entry) => entry.position),
        ...queue.deliveredUpTo.values(),
      );
      if (used > 0) expect(facts!.nextPosition).toBeGreaterThan(used);
      if (queue.deliveredUpTo.size > 0) expect(new Map(facts!.deliveredUpTo)).toEqual(queue.deliveredUpTo);
    }
    this.base = expected;
    this.model = expected.clone();
    this.changes = [];
  }

  /** When everything is removed, nothing but marks and definitions stays. */
  async drain(): Promise<void> {
    for (const [number, queue] of this.model.queues) {
      for (const { position } of queue.entries) {
        this.change(this.open.shard.remove(number, position), (model) => model.remove(number, position));
      }
    }
    for (let i = 0; i < 3; i++) await this.open.settle();
    expect(this.open.shard.stats()).toMatchObject({
      segments: 0,
      liveEntries: 0,
      liveBytes: 0,
      storedBytes: 0,
    });
    const left = this.store.engine.keys().filter((key) => !/^0[12]|^04.{8}0{14}$/.test(key));
    expect(left).toEqual([]);
    expect(this.open.listener.calledInside).toBe(false);
    await this.store.close();
  }
}

it('keeps what plain lists would keep, through any calls and crashes', { timeout: 3_600_000 }, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await new Run(seed).run();
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
});

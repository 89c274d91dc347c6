// A store engine that fails as disks, kernels and power supplies do, but by a seed or by hand, so that every failure can be had again.
// Owns what is "on disk" and survives `crash()`. Knows no log: it sees keys, values and batches.
//
// The model: a write is first in flight, then written (readers see it), and with `sync` durable together with everything written
// before it. A crash loses the batch in flight, or keeps it whole although nobody was told; of the written but not durable batches it
// loses any, whole: not only the newest. (The system writes back what was not synced in any order, and LevelDB goes on behind a hole in its
// log, as it does in the next log when the end of the one before is missing.) It never loses a durable one.

import type { GetDone, KeyValueEngine, WriteBatch, WriteDone } from '../../src/store/engine.ts';
import { LogStore } from '../../src/store/log-store.ts';
import type { LogOptions } from '../../src/store/options.ts';
import type { Shard, ShardListener, Store } from '../../src/store/store.ts';
import { StoreError } from '../../src/store/store.ts';

/** A random number generator by seed (mulberry32). */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** An integer in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

/** How a faulty engine misbehaves by itself; everything else is done by hand. */
export interface FaultyOptions {
  readonly seed: number;
  /** A commit takes up to so many event-loop iterations. */
  readonly slowness: number;
  /** A read takes up to so many event-loop iterations. */
  readonly readSlowness: number;
  /** Probability that a write fails. */
  readonly failure: number;
}

const FAULTY_DEFAULTS: FaultyOptions = { seed: 1, slowness: 1, readSlowness: 1, failure: 0 };

/** `given` is what the caller has to leave alone until the write has ended. */
type Operation = { readonly name: string; readonly value: Buffer | null; readonly given: Buffer | null };

/** A batch on its way. */
interface Flight {
  readonly operations: readonly Operation[];
  readonly sync: boolean;
  readonly done: WriteDone;
}

export class FaultyEngine implements KeyValueEngine {
  readonly info = { engine: 'faulty', location: null, durability: 'fsync' } as const;
  readonly random: SeededRandom;
  /** Operations and syncs of every batch that was written, for tests that look at them. */
  readonly written: { readonly keys: readonly string[]; readonly sync: boolean }[] = [];
  /** What it was asked to reclaim. */
  readonly reclaimed: { readonly from: string; readonly to: string; readonly bytesMin: number }[] = [];
  readonly #options: FaultyOptions;
  readonly #durable = new Map<string, Buffer>();
  /** Written, not durable yet, oldest first. */
  #unsynced: (readonly Operation[])[] = [];
  #visible = new Map<string, Buffer>();
  #flight: Flight | null = null;
  #held = false;
  #failure: Error | null = null;
  #failureAfterWrite = false;
  #open = false;
  /** Counts the crashes; what began in an earlier life never ends. */
  #life = 0;

  constructor(options: Partial<FaultyOptions> = {}) {
    this.#options = { ...FAULTY_DEFAULTS, ...options };
    this.random = new SeededRandom(this.#options.seed);
  }

  async open(): Promise<void> {
    if (this.#open) throw new StoreError('locked', 'The faulty engine is already open.');
    this.#open = true;
  }

  async close(): Promise<void> {
    this.#open = false;
    // An orderly stop writes back what the kernel holds.
    this.#sync();
  }

  batch(): WriteBatch {
    return new FaultyBatch(this, this.#life);
  }

  get(key: Buffer, done: GetDone): void {
    const life = this.#life;
    this.#after(this.random.below(this.#options.readSlowness + 1) + 1, () => {
      if (life !== this.#life) return;
      const value = this.#visible.get(key.toString('latin1'));
      done(null, value === undefined ? null : Buffer.from(value));
    });
  }

  reclaim(from: Buffer, to: Buffer, bytesMin: number, done: () => void): void {
    const life = this.#life;
    this.reclaimed.push({ from: from.toString('hex'), to: to.toString('hex'), bytesMin });
    this.#after(this.random.below(5) + 1, () => {
      if (life === this.#life) done();
    });
  }

  async scan(from: Buffer, visit: (key: Buffer, value: Buffer) => void | Promise<void>): Promise<void> {
    const begin = from.toString('latin1');
    const names = [...this.#visible.keys()].filter((name) => name >= begin).sort();
    for (const name of names) {
      const value = this.#visible.get(name);
      if (value !== undefined) await visit(Buffer.from(name, 'latin1'), Buffer.from(value));
    }
  }

  /** Every commit from now on stays in flight until `release` or `landOne`. */
  hold(): void {
    this.#held = true;
  }

  /** Ends `hold`; a commit in flight ends soon. */
  release(): void {
    this.#held = false;
    if (this.#flight !== null) this.#schedule(this.#flight);
  }

  /** True when a batch is in flight. */
  get flying(): boolean {
    return this.#flight !== null;
  }

  /** The next write fails: before anything was written, or after it was written and before it was durable. */
  failNext(error: Error, afterWrite = false): void {
    this.#failure = error;
    this.#failureAfterWrite = afterWrite;
  }

  /** The machine stops. Nothing that is under way ever answers; `open` finds what was durable and perhaps a little more. */
  crash(): void {
    this.#life++;
    this.#open = false;
    this.#held = false;
    this.#failure = null;
    const tail = this.#unsynced;
    if (this.#flight !== null && this.random.chance(0.5)) tail.push(this.#flight.operations);
    this.#flight = null;
    const kept = this.random.next();
    for (const operations of tail) if (this.random.chance(kept)) apply(this.#durable, operations);
    this.#unsynced = [];
    this.#visible = new Map(this.#durable);
  }

  /** Keys that readers see, as hexadecimal. */
  keys(): string[] {
    return [...this.#visible.keys()].sort().map((name) => Buffer.from(name, 'latin1').toString('hex'));
  }

  /** Changes or (with null) deletes a stored value behind the log's back. */
  tamper(hexKey: string, change: (value: Buffer) => Buffer | null): void {
    const name = Buffer.from(hexKey, 'hex').toString('latin1');
    const value = change(Buffer.from(this.#visible.get(name) ?? Buffer.alloc(0)));
    for (const map of [this.#durable, this.#visible]) {
      if (value === null) map.delete(name);
      else map.set(name, value);
    }
  }

  /** For the batch: begins a write. */
  begin(life: number, operations: readonly Operation[], sync: boolean, done: WriteDone): void {
    if (life !== this.#life) return;
    if (this.#flight !== null) throw new Error('two writes at a time');
    this.#flight = { operations, sync, done };
    if (!this.#held) this.#schedule(this.#flight);
  }

  #schedule(flight: Flight): void {
    const life = this.#life;
    this.#after(this.random.below(this.#options.slowness) + 1, () => {
      if (life === this.#life && this.#flight === flight && !this.#held) this.#land(flight);
    });
  }

  #land(flight: Flight): void {
    this.#flight = null;
    for (const { value, given } of flight.operations)
      if (value !== null && !value.equals(given!))
        throw new Error('a value was changed while its batch was written');
    let failure = this.#failure;
    this.#failure = null;
    if (failure === null && this.random.chance(this.#options.failure)) failure = new Error('the disk failed');
    if (failure === null || this.#failureAfterWrite) {
      apply(this.#visible, flight.operations);
      this.#unsynced.push(flight.operations);
      this.written.push({
        keys: flight.operations.map((operation) => Buffer.from(operation.name, 'latin1').toString('hex')),
        sync: flight.sync,
      });
    }
    if (failure === null && flight.sync) this.#sync();
    flight.done(failure);
  }

  #sync(): void {
    for (const operations of this.#unsynced) apply(this.#durable, operations);
    this.#unsynced = [];
  }

  #after(iterations: number, then: () => void): void {
    if (iterations <= 0) then();
    else setImmediate(() => this.#after(iterations - 1, then));
  }
}

function apply(map: Map<string, Buffer>, operations: readonly Operation[]): void {
  for (const { name, value } of operations) {
    if (value === null) map.delete(name);
    else map.set(name, value);
  }
}

class FaultyBatch implements WriteBatch {
  operations = 0;
  bytes = 0;
  readonly #engine: FaultyEngine;
  readonly #life: number;
  readonly #list: { key: Buffer; value: Buffer | null }[] = [];

  constructor(engine: FaultyEngine, life: number) {
    this.#engine = engine;
    this.#life = life;
  }

  put(key: Buffer, value: Buffer): void {
    this.#add(key, value);
  }

  remove(key: Buffer): void {
    this.#add(key, null);
  }

  write(sync: boolean, done: WriteDone): void {
    const operations = this.#list.map(({ key, value }) => ({
      name: key.toString('latin1'),
      value: value === null ? null : Buffer.from(value),
      given: value,
    }));
    this.#engine.begin(this.#life, operations, sync, done);
  }

  #add(key: Buffer, value: Buffer | null): void {
    this.operations++;
    this.bytes += key.length + (value === null ? 0 : value.length);
    this.#list.push({ key, value });
  }
}

/** A store on a faulty engine. After `crash()` it can be opened again, as after the restart of a machine. */
export class FaultyStore implements Store {
  readonly info: Store['info'];
  readonly engine: FaultyEngine;
  readonly #options: Partial<LogOptions>;
  #store: LogStore | null = null;

  constructor(engine: FaultyEngine, options: Partial<LogOptions>) {
    this.engine = engine;
    this.info = engine.info;
    this.#options = options;
  }

  async open(listener: ShardListener): Promise<Shard> {
    const store = new LogStore(this.engine, this.#options);
    const shard = await store.open(listener);
    this.#store = store;
    return shard;
  }

  async close(): Promise<void> {
    const store = this.#store;
    this.#store = null;
    await store?.close();
  }

  /** Stops the machine; the shard and its listener hear nothing more. */
  crash(): void {
    this.#store = null;
    this.engine.crash();
  }
}

/** A store that fails by the seed and by hand. */
export function faultyStore(options: Partial<FaultyOptions> & Partial<LogOptions> = {}): FaultyStore {
  return new FaultyStore(new FaultyEngine(options), options);
}

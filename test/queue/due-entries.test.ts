// Entries that wait in the store for their time: order, punctuality, what a turn does, reads that fail.

import { afterEach, describe, expect, it } from 'vitest';
import {
  AHEAD_MS,
  DUE_PER_TURN,
  DUE_PIECE,
  DueEntries,
  type DueEntriesHost,
  LOAD_LEAD_MS,
  READ_RETRY_MS,
} from '../../src/queue/due-entries.ts';
import type { QueueContext } from '../../src/queue/queue-context.ts';
import { type Shard, type StoredEntry, StoreError } from '../../src/store/store.ts';
import { iteration } from '../store/harness.ts';
import { QueueKit } from './kit.ts';

const QUEUE = 7;
const EMPTY = Buffer.alloc(0);

let kit: QueueKit | null = null;

afterEach(async () => {
  await kit?.close();
  kit = null;
});

/** A host that remembers, with reads that can be counted, delayed and failed. */
class Bench implements DueEntriesHost {
  readonly name = 'q';
  readonly kit: QueueKit;
  readonly entries: DueEntries;
  /** What was handed over: body text, or the position where bytes are not asked for. */
  readonly given: string[] = [];
  /** Milliseconds behind its time of each. */
  readonly lateness: number[] = [];
  readonly taken = new Set<number>();
  readonly errors: string[] = [];
  reads = 0;
  /** Answers of the next reads. */
  readonly failures: Error[] = [];
  private readonly dueAt = new Map<number, number>();
  private position = 0;

  constructor(kit: QueueKit, needsBytes = true) {
    this.kit = kit;
    const { shard } = kit;
    const watched = {
      pick: (...args: Parameters<Shard['pick']>) => {
        this.reads++;
        const failure = this.failures.shift();
        if (failure === undefined) shard.pick(...args);
        else setImmediate(() => args[5](failure, args[2]));
      },
    } as Partial<Shard> as Shard;
    const context: QueueContext = {
      ...kit.context,
      shard: watched,
      log: { ...kit.context.log, error: (text: string) => this.errors.push(text) },
    };
    this.entries = new DueEntries(context, QUEUE, this, needsBytes);
  }

  stillWaits(position: number): boolean {
    return !this.taken.has(position);
  }

  due(position: number, bodyLength: number, stored: StoredEntry | null): void {
    const text =
      stored === null ? String(position) : stored.buffer.toString('latin1', stored.start, stored.end);
    this.given.push(text);
    this.lateness.push(this.kit.clock.now() - this.dueAt.get(position)!);
    if (stored !== null) expect(stored.end - stored.start).toBe(bodyLength);
    this.taken.add(position);
    this.kit.shard.remove(QUEUE, position);
  }

  /** Stores an entry that is due in `inMs`. @returns its position */
  add(inMs: number, text = `m${this.position + 1}`): number {
    const position = ++this.position;
    const bytes = Buffer.from(text, 'latin1');
    this.kit.shard.enqueue(QUEUE, position, EMPTY, bytes, 0, bytes.length, null);
    const at = this.kit.clock.now() + inMs;
    this.dueAt.set(position, at);
    this.entries.add(at, position, bytes.length);
    return position;
  }

  private async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.kit.run();
      await iteration();
    }
  }

  /** Time goes on in small steps, with turns and reads in between. */
  async pass(ms: number, step = 10): Promise<void> {
    for (let done = 0; done < ms; done += step) {
      this.kit.clock.advance(step);
      await this.turns(2);
    }
    await this.turns(10);
  }
}

async function bench(needsBytes = true): Promise<Bench> {
  kit = await QueueKit.open();
  return new Bench(kit, needsBytes);
}

describe('entries that wait for their time', () => {
  it('are handed over in the order of their times, whatever the order in which they came, and never early', async () => {
    const b = await bench();
    b.add(300, 'third');
    b.add(100, 'first');
    b.add(200, 'second');
    await b.pass(90);
    expect(b.given).toEqual([]);
    await b.pass(110);
    expect(b.given).toEqual(['first', 'second']);
    await b.pass(200);
    expect(b.given).toEqual(['first', 'second', 'third']);
    expect(b.entries.count).toBe(0);
    expect(b.entries.bodyBytes).toBe(0);
    expect(b.entries.fetchedBytes).toBe(0);
    for (const late of b.lateness) expect(late).toBeLessThanOrEqual(20);
    for (const late of b.lateness) expect(late).toBeGreaterThanOrEqual(0);
  });

  it('that are due together keep the order in which they came', async () => {
    const b = await bench();
    for (let i = 0; i < 100; i++) b.add(1_000);
    await b.pass(1_010);
    expect(b.given).toEqual(Array.from({ length: 100 }, (_, i) => `m${i + 1}`));
  });

  it('of the past are handed over at once', async () => {
    const b = await bench();
    b.add(-5_000);
    b.add(0);
    await b.pass(20);
    expect(b.given).toEqual(['m1', 'm2']);
  });

  it('that come back after a restart wait until recovery has ended', async () => {
    const b = await bench();
    const bytes = Buffer.from('old');
    b.kit.shard.enqueue(QUEUE, 1, EMPTY, bytes, 0, 3, null);
    b.entries.restore(1, 1, 3);
    await b.pass(50);
    expect(b.given).toEqual([]);
    expect(b.entries.count).toBe(1);
    b.entries.resume();
    await b.pass(20);
    expect(b.given).toEqual(['old']);
  });

  it('are counted with their bytes, and forgotten by a clear, reads under way included', async () => {
    const b = await bench();
    b.add(100, 'abc');
    b.add(60_000, 'defg');
    expect(b.entries.count).toBe(2);
    expect(b.entries.bodyBytes).toBe(7);
    b.kit.clock.advance(10);
    b.kit.run();
    expect(b.reads).toBe(1);
    expect(b.entries.count).toBe(2);
    b.entries.clear();
    expect(b.entries.count).toBe(0);
    expect(b.entries.bodyBytes).toBe(0);
    await b.pass(70_000, 1_000);
    expect(b.given).toEqual([]);
    expect(b.kit.messageWheel.size).toBe(0);
    b.add(10, 'later');
    await b.pass(50);
    expect(b.given).toEqual(['later']);
  });

  it('are never handed over after a stop', async () => {
    const b = await bench();
    b.add(100);
    b.entries.stop();
    b.add(100);
    await b.pass(200);
    expect(b.given).toEqual([]);
    expect(b.kit.messageWheel.size).toBe(0);
  });

  it('need one timer, however many they are', async () => {
    const b = await bench();
    for (let i = 0; i < 1_000; i++) b.add(60_000 + ((i * 7_919) % 1_000));
    expect(b.kit.messageWheel.size).toBe(1);
    expect(b.reads).toBe(0);
  });

  it('are not read long before their time, and are in memory when it comes', async () => {
    const b = await bench();
    b.add(60_000);
    await b.pass(60_000 - LOAD_LEAD_MS - 20, 60);
    expect(b.reads).toBe(0);
    expect(b.entries.fetchedBytes).toBe(0);
    await b.pass(40);
    expect(b.reads).toBe(1);
    expect(b.entries.fetchedBytes).toBeGreaterThan(0);
    const { memory } = b.kit;
    expect(memory.used).toBe(b.entries.fetchedBytes);
    await b.pass(LOAD_LEAD_MS);
    expect(b.given).toEqual(['m1']);
    expect(memory.used).toBe(0);
  });

  it('are read together: one walk through the store for the seconds to come', async () => {
    const b = await bench();
    for (let i = 0; i < 5_000; i++) b.add(5_000 + ((i * 7_919) % 4_000));
    await b.pass(9_050);
    expect(b.given).toHaveLength(5_000);
    expect(b.reads).toBeLessThan(10);
    for (const late of b.lateness) expect(late).toBeLessThanOrEqual(20);
  });

  it('that were added late and are due soon do not wait for the long read of others', async () => {
    const b = await bench();
    // The first read answers late.
    b.failures.push(new Error('slow'));
    b.add(3_000, 'long');
    await b.pass(20);
    b.add(200, 'short');
    await b.pass(250);
    expect(b.given).toEqual(['short']);
    await b.pass(3_000);
    expect(b.given).toEqual(['short', 'long']);
  });

  it('that the host took otherwise are not handed over', async () => {
    const b = await bench();
    const first = b.add(100);
    b.add(100);
    const third = b.add(8_000);
    b.taken.add(first);
    await b.pass(150);
    // Fetched by now.
    b.taken.add(third);
    await b.pass(AHEAD_MS);
    expect(b.given).toEqual(['m2']);
    expect(b.errors).toEqual([]);
    expect(b.entries.count).toBe(0);
    expect(b.entries.bodyBytes).toBe(0);
  });

  it('that the host took otherwise do not pile up until their time', async () => {
    const b = await bench();
    for (let i = 0; i < 20_000; i++) {
      b.taken.add(i - 10);
      b.add(1e9);
    }
    expect(b.entries.count).toBeLessThan(2_000);
  });

  it('are worked through turn by turn when very many are due at once', async () => {
    const b = await bench();
    for (let i = 0; i < 10 * DUE_PER_TURN; i++) b.add(5_000 - (i % 5_000));
    b.kit.clock.advance(20_000);
    let most = 0;
    await b.kit.until(() => {
      const before = b.given.length;
      b.kit.run();
      most = Math.max(most, b.given.length - before);
      return b.given.length === 10 * DUE_PER_TURN;
    });
    expect(most).toBeLessThanOrEqual(DUE_PER_TURN);
    expect(new Set(b.given).size).toBe(10 * DUE_PER_TURN);
  });

  it('are worked through in one turn as long as it is short, however many they are', async () => {
    const b = await bench();
    let looks = 0;
    Object.defineProperty(b.kit.turn, 'hasTime', { get: () => looks-- > 0 });
    for (let i = 0; i < 10 * DUE_PER_TURN; i++) b.add(5_000 - (i % 5_000));
    b.kit.clock.advance(4_000);
    await b.pass(10);
    b.kit.clock.advance(10_000);
    const before = b.given.length;
    looks = 4;
    b.kit.run();
    expect(b.given.length - before).toBe(DUE_PER_TURN + 4 * DUE_PIECE);
    looks = 1_000;
    await b.kit.until(() => {
      b.kit.run();
      return b.given.length === 10 * DUE_PER_TURN;
    });
    expect(new Set(b.given).size).toBe(10 * DUE_PER_TURN);
  });

  it('do not fill the memory: what is fetched ahead keeps within the share of the queue', async () => {
    kit = await QueueKit.open({ queueMemory: 100_000 });
    const b = new Bench(kit);
    const body = 'x'.repeat(1_000);
    for (let i = 0; i < 2_000; i++) b.add(1_000 + i, body);
    let most = 0;
    for (let i = 0; i < 400; i++) {
      await b.pass(10);
      most = Math.max(most, b.entries.fetchedBytes);
    }
    expect(b.given).toHaveLength(2_000);
    expect(most).toBeLessThanOrEqual(102_000);
    for (const late of b.lateness) expect(late).toBeLessThanOrEqual(30);
  });

  it('wait when they cannot be read, which is said once, and are read again', async () => {
    const b = await bench();
    b.failures.push(new Error('the disk is gone'), new Error('the disk is gone'));
    b.add(100);
    b.add(200);
    await b.pass(500);
    expect(b.given).toEqual([]);
    expect(b.entries.count).toBe(2);
    expect(b.errors).toEqual(['messages whose time comes cannot be read and wait; reading is tried again']);
    await b.pass(2 * READ_RETRY_MS);
    expect(b.given).toEqual(['m1', 'm2']);
    expect(b.errors).toHaveLength(1);
  });

  it('say nothing when the store was closed under them', async () => {
    const b = await bench();
    b.failures.push(new StoreError('closed', 'The store is closed.'));
    b.add(100);
    await b.pass(2_000);
    expect(b.errors).toEqual([]);
    expect(b.reads).toBe(1);
  });

  it('are told to the log when the store does not have them, and the others go on', async () => {
    const b = await bench();
    b.add(100);
    const lost = b.add(100);
    b.add(100);
    const last = b.add(100);
    b.kit.shard.remove(QUEUE, lost);
    b.kit.shard.remove(QUEUE, last);
    await b.pass(200);
    expect(b.given).toEqual(['m1', 'm3']);
    expect(b.errors).toHaveLength(2);
    expect(b.entries.count).toBe(0);
    expect(b.entries.bodyBytes).toBe(0);
  });

  it('go on when what the host does with one of them fails', async () => {
    const b = await bench();
    const failed: unknown[] = [];
    b.kit.turn.onError = (error) => failed.push(error);
    const { due } = b;
    b.due = (position, bodyLength, stored) => {
      if (position === 1) throw new Error('a bad day');
      due.call(b, position, bodyLength, stored);
    };
    b.add(100);
    b.add(100);
    await b.pass(200);
    expect(failed).toHaveLength(1);
    expect(b.given).toEqual(['m2']);
  });

  it('are not read where only their time matters', async () => {
    const b = await bench(false);
    for (let i = 0; i < 3 * DUE_PER_TURN; i++) b.add(i % 3);
    b.add(60_000);
    await b.pass(20);
    expect(b.given).toHaveLength(3 * DUE_PER_TURN);
    expect(b.reads).toBe(0);
    await b.pass(59_900, 100);
    expect(b.given).toHaveLength(3 * DUE_PER_TURN);
    await b.pass(100);
    expect(b.given).toHaveLength(3 * DUE_PER_TURN + 1);
  });

  it('are read from the moment on in which their bytes are asked for', async () => {
    const b = await bench(false);
    b.add(100);
    b.add(60_000, 'text');
    await b.pass(110);
    b.entries.needBytes();
    b.add(100, 'more');
    await b.pass(59_900, 100);
    expect(b.given).toEqual(['1', 'more', 'text']);
  });
});

// Random publishes, readers, acknowledgements, retention, restarts and crashes against a plain list. STREAM_SEEDS sets how many seeds are
// run; a failure names its seed, and `STREAM_SEED=n` runs that one alone.

import { expect, it } from 'vitest';
import { tableOf } from '../../src/protocol/field-table.ts';
import { iteration } from '../store/harness.ts';
import { faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { messageOf } from './kit.ts';
import { type Reader, StreamKit } from './stream-kit.ts';

const SEEDS = Number(process.env['STREAM_SEEDS'] ?? 12);
const ONLY = process.env['STREAM_SEED'];
const STEPS = 150;
const FILTERS = ['a', 'b', null] as const;

/** What was published, by offset; the same for ever once somebody has seen it. */
interface Published {
  readonly text: string;
  readonly filter: string | null;
  readonly time: number;
}

/** A reader with what it must get. */
interface Reading {
  readonly reader: Reader;
  readonly filter: string | null;
  /** Offset from which on it must get everything that matches and was not dropped. */
  readonly from: number;
  /** Deliveries looked at so far. */
  checked: number;
  /** The latest offset looked at. */
  latest: number;
}

class Run {
  readonly random: SeededRandom;
  kit!: StreamKit;
  /** By offset; what was lost in a crash is cut off. */
  messages: Published[] = [];
  /** Everything before this offset was dropped at some time. */
  dropped = 0;
  readings: Reading[] = [];
  texts = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  async run(): Promise<void> {
    const { random } = this;
    const limits: Record<string, unknown> = {};
    if (random.chance(0.5)) {
      limits['x-stream-max-segment-size-bytes'] = 200 + random.below(3_000);
      if (random.chance(0.7)) limits['x-max-length-bytes'] = random.below(20_000);
      if (random.chance(0.4)) limits['x-max-age'] = `${1 + random.below(100)}s`;
    }
    const store = faultyStore({
      seed: random.below(1e9),
      slowness: 1 + random.below(5),
      readSlowness: random.below(5),
      segmentBytesMax: 200 + random.below(20_000),
      mergeSegments: 2 + random.below(4),
      queueSegmentsFew: random.chance(0.5) ? 0 : 64,
      segmentsFew: random.chance(0.7) ? 16_384 : 1 + random.below(40),
    });
    this.kit = await StreamKit.open(limits, {
      store,
      deliveriesPerTurn: 1 + random.below(300),
      queueMemory: random.chance(0.3) ? 70_000 : 1e9,
      totalMemory: random.chance(0.2) ? 50_000 : 1e9,
    });
    for (let step = 0; step < STEPS; step++) {
      await this.step();
      this.check();
    }
    await this.finish();
    await this.kit.close();
    expect(this.kit.errors).toEqual([]);
  }

  async step(): Promise<void> {
    const { random, kit } = this;
    const what = random.below(100);
    if (what < 40) this.publish(1 + random.below(random.chance(0.1) ? 400 : 20));
    else if (what < 55) this.join();
    else if (what < 60) this.leave();
    else if (what < 75) this.settleSome();
    else if (what < 80) kit.clock.advance(random.below(20_000));
    else if (what < 83) await this.restart(false);
    else if (what < 86) await this.restart(true);
    else if (what < 90) {
      await kit.settle();
      this.complete();
    }
    for (let i = random.below(4); i > 0; i--) {
      kit.run();
      await iteration();
    }
  }

  publish(count: number): void {
    const { random, kit } = this;
    for (let i = 0; i < count; i++) {
      const filter = FILTERS[random.below(3)]!;
      const text = `t${this.texts++}`.padEnd(random.below(300), '.');
      const headers = tableOf(filter === null ? { other: 1 } : { 'x-stream-filter-value': filter });
      expect(kit.stream.nextOffset).toBe(this.messages.length);
      kit.stream.publish(messageOf(text, { headers }));
      this.messages.push({ text, filter, time: kit.clock.now() });
    }
  }

  join(): void {
    const { random, kit, messages } = this;
    const filter = random.chance(0.3) ? 'a' : null;
    const args: Record<string, unknown> = filter === null ? {} : { 'x-stream-filter': filter };
    let from = messages.length;
    const how = random.below(5);
    if (how === 0) {
      args['x-stream-offset'] = 'first';
      from = 0;
    } else if (how === 1) {
      const offset = random.below(messages.length + 5);
      args['x-stream-offset'] = offset;
      from = Math.min(offset, messages.length);
    } else if (how === 2) {
      const seconds = 1 + random.below(60);
      args['x-stream-offset'] = `${seconds}s`;
      const time = kit.clock.now() - seconds * 1000;
      from = messages.findIndex((each) => each.time >= time);
      if (from < 0) from = messages.length;
    } else if (how === 3) args['x-stream-offset'] = 'next';
    const reader = kit.consume(args, { limit: random.chance(0.5) ? 1 + random.below(50) : 1e9 });
    this.readings.push({ reader, filter, from, checked: 0, latest: from - 1 });
  }

  leave(): void {
    const { random, kit } = this;
    if (this.readings.length === 0) return;
    const [reading] = this.readings.splice(random.below(this.readings.length), 1);
    kit.stream.cancel(reading!.reader);
    if (random.chance(0.5)) reading!.reader.settle('ack');
  }

  settleSome(): void {
    const { random, kit } = this;
    for (const { reader } of this.readings) {
      if (random.chance(0.4)) continue;
      const how = (['ack', 'ack', 'reject', 'requeue'] as const)[random.below(4)]!;
      reader.settle(how, random.below(reader.held.length + 1));
      kit.stream.unpark(reader);
    }
  }

  async restart(crash: boolean): Promise<void> {
    const { kit } = this;
    this.check();
    const committed = kit.stream.committedOffset;
    this.readings = [];
    if (crash) await kit.crash();
    else await kit.restart();
    const { nextOffset } = kit.stream;
    expect(nextOffset).toBeLessThanOrEqual(this.messages.length);
    expect(nextOffset).toBeGreaterThanOrEqual(crash ? committed : this.messages.length);
    this.messages.length = nextOffset;
    // What was dropped for a message that is lost is back.
    this.dropped = kit.stream.firstOffset;
    expect(kit.stream.firstOffset + kit.stream.messageCount).toBe(nextOffset);
  }

  /** What was delivered since the last look is in order, whole and right. */
  check(): void {
    const { messages } = this;
    const { firstOffset } = this.kit.stream;
    expect(firstOffset).toBeGreaterThanOrEqual(this.dropped);
    for (const reading of this.readings) {
      const { reader, filter } = reading;
      for (; reading.checked < reader.received.length; reading.checked++) {
        const [offset, text] = split(reader.received[reading.checked]!);
        expect(text).toBe(messages[offset]!.text);
        expect(offset).toBeGreaterThan(reading.latest);
        // What was passed over did not match, or was dropped.
        for (let passed = reading.latest + 1; passed < offset; passed++)
          expect(passed < firstOffset || (filter !== null && messages[passed]!.filter !== filter)).toBe(true);
        if (filter !== null) expect(messages[offset]!.filter).toBe(filter);
        reading.latest = offset;
      }
    }
    this.dropped = firstOffset;
  }

  /** Nothing moves any more: every reader that may take more has everything. */
  complete(): void {
    this.check();
    const { stream } = this.kit;
    expect(stream.firstOffset + stream.messageCount).toBe(this.messages.length);
    for (const { reader, filter, latest } of this.readings) {
      if (reader.held.length >= reader.limit) continue;
      for (let offset = latest + 1; offset < this.messages.length; offset++)
        expect(
          offset < stream.firstOffset || (filter !== null && this.messages[offset]!.filter !== filter),
        ).toBe(true);
    }
  }

  async finish(): Promise<void> {
    const { kit } = this;
    await kit.settle();
    this.complete();
    for (const { reader } of this.readings) {
      kit.stream.cancel(reader);
      reader.settle('ack');
    }
    expect(kit.stream.memoryBytes).toBe(0);
    expect(kit.memory.used).toBe(0);
    expect(kit.stream.consumerCount).toBe(0);
  }
}

function split(received: string): [number, string] {
  const at = received.indexOf(' ');
  return [Number(received.slice(0, at)), received.slice(at + 1)];
}

const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONLY)];
it.each(seeds)('a stream does what a list does, seed %i', async (seed) => {
  await new Run(seed).run();
});

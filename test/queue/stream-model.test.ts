// Random publishes, readers with and without names, acknowledgements, retention, policies, restarts and crashes against a plain list. STREAM_SEEDS sets how many seeds are
// run; a failure names its seed, and `STREAM_SEED=n` runs that one alone.

import { expect, it } from 'vitest';
import { tableOf } from '../../src/protocol/field-table.ts';
import { NO_POLICY, type PolicyKeys, queueOptions } from '../../src/queue/queue-options.ts';
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
  readonly name: string | null;
  /** Offsets that it was given and has not done with, of a named one. */
  readonly open: Set<number>;
}

/** How far a name has come: to an offset of this range, of which nothing is to be delivered. */
interface Place {
  least: number;
  most: number;
  /** The least that was written, and that survives a crash; null when the name itself may be forgotten. */
  written: number;
  durable: number | null;
  /** Who moves it. */
  owner: Reading | null;
}

/** Names, and what each of them reads by. */
const NAMES: ReadonlyMap<string, string | null> = new Map([
  ['all', null],
  ['some', 'a'],
]);
/** Acknowledgements are written no later than this, in milliseconds. */
const WRITTEN_MS = 2_000;

class Run {
  readonly random: SeededRandom;
  kit!: StreamKit;
  /** By offset; what was lost in a crash is cut off. */
  messages: Published[] = [];
  /** Everything before this offset was dropped at some time. */
  dropped = 0;
  readings: Reading[] = [];
  readonly places = new Map<string, Place>();
  texts = 0;
  /** Names and policies are drawn apart. */
  readonly beside: SeededRandom;
  policy: PolicyKeys = NO_POLICY;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.beside = new SeededRandom(seed ^ 0x5eed);
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
    const { random, kit, beside } = this;
    if (beside.chance(0.08)) this.joinAs(beside.chance(0.5) ? 'all' : 'some');
    if (beside.chance(0.04)) this.changePolicy();
    const what = random.below(100);
    if (what < 40) this.publish(1 + random.below(random.chance(0.1) ? 400 : 20));
    else if (what < 55) this.join();
    else if (what < 60) this.leave();
    else if (what < 75) this.settleSome();
    else if (what < 80) {
      const ms = random.below(20_000);
      kit.clock.advance(ms);
      if (ms >= WRITTEN_MS) for (const place of this.places.values()) place.written = place.least;
    } else if (what < 83) await this.restart(false);
    else if (what < 86) await this.restart(true);
    else if (what < 90) {
      await kit.settle();
      for (const place of this.places.values()) place.durable = place.written;
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
    this.readings.push(readingOf(reader, filter, from, null));
  }

  /** A reader with a name goes on where the name has come to. */
  joinAs(name: string): void {
    const { beside, kit, messages } = this;
    this.check();
    const filter = NAMES.get(name)!;
    const offset = beside.below(messages.length + 5);
    const args: Record<string, unknown> = { 'x-stream-consumer-name': name, 'x-stream-offset': offset };
    if (filter !== null) args['x-stream-filter'] = filter;
    let place = this.places.get(name);
    if (place === undefined) {
      const from = Math.max(Math.min(offset, messages.length), kit.stream.firstOffset);
      place = { least: from, most: from, written: from, durable: null, owner: null };
      this.places.set(name, place);
    }
    const reader = kit.consume(args, { limit: 1 + beside.below(50) });
    const reading = readingOf(reader, filter, place.least, name);
    place.owner = reading;
    this.readings.push(reading);
  }

  /** Settles the oldest ones of what a reader holds. */
  settle(reading: Reading, how: 'ack' | 'reject' | 'requeue', count: number): void {
    this.check();
    const { reader, open, name, latest } = reading;
    // Always the oldest are settled, so what is held came last.
    const { received, held } = reader;
    const first = received.length - held.length;
    const offsets = received.slice(first, first + count).map((each) => split(each)[0]);
    reader.settle(how, count);
    if (name === null || offsets.length === 0) return;
    // What is given back is never done.
    if (how !== 'requeue') for (const offset of offsets) open.delete(offset);
    const place = this.places.get(name)!;
    if (place.owner !== reading) return;
    // It may have passed over what it does not want.
    const [least, most] =
      open.size === 0 ? [latest + 1, this.messages.length] : [Math.min(...open), Math.min(...open)];
    place.least = Math.max(place.least, least);
    place.most = Math.max(place.most, most);
  }

  /** What a stream remembers of names after its start. */
  comparePlaces(crash: boolean): void {
    const known = new Map([...this.kit.stream.consumerOffsets()].map(({ name, offset }) => [name, offset]));
    for (const [name, place] of [...this.places]) {
      const offset = known.get(name);
      if (offset === undefined) {
        expect([name, crash && place.durable === null]).toEqual([name, true]);
        this.places.delete(name);
        continue;
      }
      expect(offset).toBeGreaterThanOrEqual(crash ? (place.durable ?? 0) : place.least);
      // Of what was dropped, nothing is to be delivered.
      expect(offset).toBeLessThanOrEqual(Math.max(place.most, this.kit.stream.firstOffset));
      this.places.set(name, { least: offset, most: offset, written: offset, durable: offset, owner: null });
    }
  }

  changePolicy(): void {
    const { beside } = this;
    this.check();
    const keys = new Map<string, string | number>();
    if (beside.chance(0.5)) keys.set('max-length-bytes', beside.below(20_000));
    if (beside.chance(0.4)) keys.set('max-age', `${1 + beside.below(100)}s`);
    if (beside.chance(0.5)) keys.set('stream-max-segment-size-bytes', 200 + beside.below(3_000));
    this.policy = keys;
    this.applyPolicy();
  }

  applyPolicy(): void {
    const { stream } = this.kit;
    stream.applyOptions(queueOptions(stream.declaration.arguments, this.policy));
  }

  leave(): void {
    const { random, kit } = this;
    if (this.readings.length === 0) return;
    const [reading] = this.readings.splice(random.below(this.readings.length), 1);
    this.check();
    kit.stream.cancel(reading!.reader);
    this.checkReading(reading!);
    if (random.chance(0.5)) this.settle(reading!, 'ack', reading!.reader.held.length);
    if (reading!.name === null) return;
    // Nothing moves it any more.
    const place = this.places.get(reading!.name)!;
    if (place.owner === reading) place.owner = null;
  }

  settleSome(): void {
    const { random, kit } = this;
    for (const reading of this.readings) {
      // What is drawn for others must not depend on those with names.
      const draws = reading.name === null ? random : this.beside;
      if (draws.chance(0.4)) continue;
      const { reader } = reading;
      // A name that has something given back stands still: not too often.
      const isBack = reading.name === null || this.beside.chance(0.1);
      const how = (['ack', 'ack', 'reject', isBack ? 'requeue' : 'ack'] as const)[draws.below(4)]!;
      this.settle(reading, how, draws.below(reader.held.length + 1));
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
    this.comparePlaces(crash);
    this.applyPolicy();
    expect(kit.stream.firstOffset + kit.stream.messageCount).toBe(nextOffset);
  }

  /** What was delivered since the last look is in order, whole and right. */
  check(): void {
    const { firstOffset, options } = this.kit.stream;
    expect(firstOffset).toBeGreaterThanOrEqual(this.dropped);
    // Nothing is dropped without a reason.
    if (options.bytesMax === Number.POSITIVE_INFINITY)
      for (let offset = this.dropped; offset < firstOffset; offset++)
        expect(this.messages[offset]!.time + options.maxAgeMs).toBeLessThan(this.kit.clock.now());
    for (const reading of this.readings) this.checkReading(reading);
    this.dropped = firstOffset;
  }

  checkReading(reading: Reading): void {
    const { messages } = this;
    const { firstOffset } = this.kit.stream;
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
      if (reading.name !== null) reading.open.add(offset);
    }
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

function readingOf(reader: Reader, filter: string | null, from: number, name: string | null): Reading {
  return { reader, filter, from, checked: 0, latest: from - 1, name, open: new Set() };
}

function split(received: string): [number, string] {
  const at = received.indexOf(' ');
  return [Number(received.slice(0, at)), received.slice(at + 1)];
}

const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONLY)];
it.each(seeds)('a stream does what a list does, seed %i', async (seed) => {
  await new Run(seed).run();
});

import { afterEach, describe, expect, it } from 'vitest';
import { tableOf } from '../../src/protocol/field-table.ts';
import { ACCEPTED, MUST_COMMIT } from '../../src/queue/queue.ts';
import { READER_SLICE, TAIL_BYTES_MAX } from '../../src/queue/stream-queue.ts';
import { RUN_BYTES_MIN } from '../../src/queue/stream-runs.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { messageOf } from './kit.ts';
import { StreamKit } from './stream-kit.ts';

let kit: StreamKit;

async function open(...given: Parameters<typeof StreamKit.open>): Promise<StreamKit> {
  kit = await StreamKit.open(...given);
  return kit;
}

afterEach(async () => {
  expect(kit.errors).toEqual([]);
  await kit.close();
});

/** The integers from … to-1. */
function upTo(to: number, from = 0): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}

describe('a stream', () => {
  it('makes every publisher wait for the disk, whatever the delivery mode', async () => {
    const { stream } = await open();
    expect(stream.publish(messageOf('transient'))).toBe(MUST_COMMIT);
    await kit.restart();
    expect((await kit.read({ 'x-stream-offset': 'first' })).received).toEqual(['0 transient']);
  });

  it('shows a message to readers and counts it only when it is committed', async () => {
    const { stream } = await open();
    const reader = kit.consume();
    await kit.settle();
    kit.publish('a');
    expect(stream.messageCount).toBe(0);
    stream.wake();
    kit.run();
    expect(reader.received).toEqual([]);
    await kit.settle();
    expect(reader.received).toEqual(['0 a']);
    expect(stream.messageCount).toBe(1);
  });

  it('gives every reader every message, in order, with its offset in a header', async () => {
    await open();
    const one = kit.consume();
    const two = kit.consume();
    await kit.add('a', 'b');
    await kit.add('c');
    expect(one.received).toEqual(['0 a', '1 b', '2 c']);
    expect(two.received).toEqual(one.received);
    expect(kit.stream.messageCount).toBe(3);
    expect(kit.stream.counters).toMatchObject({ published: 3, delivered: 6 });
  });

  it('puts its own offset in place of one that came with a message from another stream', async () => {
    await open();
    await kit.add('a');
    const from = kit.consume({ 'x-stream-offset': 'first' });
    await kit.settle();
    expect(from.received).toEqual(['0 a']);
    const again = messageOf('b', { headers: tableOf({ 'x-stream-offset': 77, other: 1 }) });
    kit.stream.publish(again);
    await kit.settle();
    expect(from.received).toEqual(['0 a', '1 b']);
  });

  it('keeps messages whatever becomes of their deliveries: settling returns credit only', async () => {
    const { stream } = await open();
    const reader = kit.consume({}, { limit: 3 });
    await kit.add('a', 'b', 'c', 'd', 'e', 'f');
    expect(reader.offsets).toEqual([0, 1, 2]);
    reader.settle('reject', 1);
    reader.settle('requeue', 1);
    reader.settle('ack', 1);
    stream.unpark(reader);
    await kit.settle();
    expect(reader.offsets).toEqual([0, 1, 2, 3, 4, 5]);
    expect(stream.messageCount).toBe(6);
    expect(stream.unackedCount).toBe(3);
    expect(stream.counters).toMatchObject({ acked: 1, redelivered: 0 });
    expect((await kit.read({ 'x-stream-offset': 'first' })).offsets).toEqual(upTo(6));
  });

  it('delivers nothing to a reader that has left, and takes its late acknowledgements', async () => {
    const { stream } = await open();
    const reader = kit.consume();
    await kit.add('a');
    stream.cancel(reader);
    await kit.add('b');
    expect(reader.received).toEqual(['0 a']);
    reader.settle('ack');
    expect(stream.unackedCount).toBe(0);
    expect(stream.consumerCount).toBe(0);
  });

  it('serves others when one reader is slow', async () => {
    await open();
    const slow = kit.consume({}, { limit: 1 });
    const fast = kit.consume();
    kit.fill(2_000);
    await kit.settle();
    expect(slow.offsets).toEqual([0]);
    expect(fast.offsets).toEqual(upTo(2_000));
  });

  it('shares a turn among readers and leaves the rest for the next turns', async () => {
    await open({}, { deliveriesPerTurn: 1_000 });
    kit.fill(3_000);
    await kit.settle();
    const readers = upTo(6).map(() => kit.consume({ 'x-stream-offset': 'first' }));
    await kit.until(() => readers.some((each) => each.received.length > 0));
    const most = Math.max(...readers.map((each) => each.received.length));
    expect(most).toBeLessThanOrEqual(READER_SLICE);
    await kit.settle();
    for (const reader of readers) expect(reader.offsets).toEqual(upTo(3_000));
  });

  it('goes on where it was for a reader that published or left in the middle of a delivery', async () => {
    const { stream } = await open();
    const reader = kit.consume();
    reader.onDelivery = () => {
      if (reader.received.length === 2) stream.cancel(reader);
      else kit.publish(`more${reader.received.length}`);
    };
    await kit.add('a', 'b', 'c');
    expect(reader.offsets).toEqual([0, 1]);
  });

  it('has an end: readers are told, messages are gone, publishes are accepted and forgotten', async () => {
    const { stream } = await open();
    const reader = kit.consume();
    await kit.add('a');
    stream.delete();
    expect(reader.isCancelled).toBe(true);
    expect(stream.consumerCount).toBe(0);
    reader.settle('ack');
    expect(stream.publish(messageOf('b'))).toBe(ACCEPTED);
    expect(kit.memory.used).toBe(0);
    await kit.settle();
    await kit.restart();
    expect(kit.stream.messageCount).toBe(0);
  });

  it('may end in the middle of a delivery', async () => {
    const { stream } = await open();
    const one = kit.consume();
    const two = kit.consume();
    one.onDelivery = () => stream.delete();
    await kit.add('a', 'b');
    expect(one.received).toEqual(['0 a']);
    expect(two.received).toEqual([]);
  });

  it('has no head to get from and nothing to purge', async () => {
    const { stream } = await open();
    await kit.add('a');
    expect(stream.get()).toBeNull();
    expect(stream.whenReady()).toBe(true);
    expect(stream.purge()).toBe(0);
    expect(stream.messageCount).toBe(1);
  });

  it('knows its exclusive reader as long as it is there', async () => {
    const { stream } = await open();
    const reader = kit.consume({}, { exclusive: true });
    expect(stream.exclusiveConsumer).toBe(reader);
    expect([...stream.consumers]).toEqual([reader]);
    stream.cancel(reader);
    expect(stream.exclusiveConsumer).toBeNull();
  });

  it('serves nobody while it is paused, and takes messages all the same', async () => {
    const { stream } = await open();
    const reader = kit.consume();
    stream.pause();
    expect(stream.paused).toBe(true);
    await kit.add('a');
    expect(reader.received).toEqual([]);
    expect(stream.messageCount).toBe(1);
    stream.resume();
    await kit.settle();
    expect(reader.received).toEqual(['0 a']);
  });

  it('delivers to a consumer that acknowledges nothing by being sent to', async () => {
    const { stream } = await open();
    const reader = kit.consume({}, { noAck: true });
    await kit.add('a', 'b');
    expect(reader.received).toEqual(['0 a', '1 b']);
    expect(stream.unackedCount).toBe(0);
    expect(stream.counters).toMatchObject({ delivered: 0, deliveredNoAck: 2 });
  });
});

describe('where a reader begins', () => {
  async function filled(): Promise<void> {
    await open();
    await kit.add('a');
    kit.clock.advance(10_000);
    await kit.add('b', 'c');
    kit.clock.advance(10_000);
    await kit.add('d', 'e');
  }

  const starts: [unknown, number[]][] = [
    ['first', [0, 1, 2, 3, 4]],
    ['last', [3, 4]],
    ['next', []],
    [0, [0, 1, 2, 3, 4]],
    [2, [2, 3, 4]],
    [-7, [0, 1, 2, 3, 4]],
    [4, [4]],
    [5, []],
    [1_000_000, []],
    ['20s', [0, 1, 2, 3, 4]],
    ['19s', [1, 2, 3, 4]],
    ['10s', [1, 2, 3, 4]],
    ['9s', [3, 4]],
    ['1h', [0, 1, 2, 3, 4]],
  ];
  for (const [start, offsets] of starts) {
    it(`x-stream-offset ${JSON.stringify(start)}`, async () => {
      await filled();
      const reader = await kit.read({ 'x-stream-offset': start });
      expect(reader.offsets).toEqual(offsets);
      await kit.add('f');
      expect(reader.offsets).toEqual([...offsets, 5]);
    });
  }

  it('behind everything published when it says nothing, committed or not', async () => {
    await filled();
    kit.publish('f');
    const reader = kit.consume();
    kit.publish('g');
    await kit.settle();
    expect(reader.offsets).toEqual([6]);
  });

  it('at the first message of a timestamp or later', async () => {
    await open();
    const began = Math.floor(kit.clock.now() / 1000);
    for (let i = 0; i < 50; i++) {
      await kit.add(`m${i}`);
      kit.clock.advance(1000);
    }
    for (const second of [-5, 0, 1, 17, 49, 50, 99]) {
      const reader = await kit.read({ 'x-stream-offset': new Date((began + second) * 1000) });
      expect(reader.offsets, `second ${second}`).toEqual(upTo(50, Math.max(0, second)));
      kit.stream.cancel(reader);
    }
  });

  it('at the next message of an empty stream, whatever it asks for', async () => {
    await open();
    const readers = ['first', 'last', 'next', 0, 7, '1h'].map((start) =>
      kit.consume({ 'x-stream-offset': start }),
    );
    await kit.add('a');
    for (const reader of readers) expect(reader.offsets).toEqual([0]);
  });

  it('may leave while its place is looked for', async () => {
    await filled();
    const reader = kit.consume({ 'x-stream-offset': '19s' });
    kit.stream.cancel(reader);
    await kit.settle();
    expect(reader.received).toEqual([]);
  });
});

describe('filters', () => {
  async function filled(): Promise<void> {
    await open();
    for (const value of ['eu', 'us', null, 'eu', 5]) {
      const headers = value === null ? {} : { 'x-stream-filter-value': value };
      kit.stream.publish(messageOf(String(value), { headers: tableOf(headers) }));
    }
    await kit.settle();
  }

  const cases: [string, Record<string, unknown>, number[]][] = [
    ['one value', { 'x-stream-filter': 'eu' }, [0, 3]],
    ['several values', { 'x-stream-filter': ['eu', 'us'] }, [0, 1, 3]],
    ['a value nobody gave', { 'x-stream-filter': 'asia' }, []],
    ['unfiltered ones too', { 'x-stream-filter': 'us', 'x-stream-match-unfiltered': true }, [1, 2, 4]],
    ['unfiltered ones alone', { 'x-stream-filter': [], 'x-stream-match-unfiltered': true }, [2, 4]],
    ['no filter', { 'x-stream-match-unfiltered': false }, [0, 1, 2, 3, 4]],
  ];
  for (const [title, args, offsets] of cases) {
    it(`let through exactly what matches: ${title}`, async () => {
      await filled();
      const cold = await kit.read({ ...args, 'x-stream-offset': 'first' });
      expect(cold.offsets).toEqual(offsets);
    });
  }

  it('work at the tail as well', async () => {
    await open();
    const reader = kit.consume({ 'x-stream-filter': 'eu' });
    for (const value of ['us', 'eu', 'us'])
      kit.stream.publish(messageOf(value, { headers: tableOf({ 'x-stream-filter-value': value }) }));
    await kit.settle();
    expect(reader.received).toEqual(['1 eu']);
  });

  it('do not look at more than their share of a turn', async () => {
    await open({}, { deliveriesPerTurn: 100 });
    kit.fill(1_000);
    await kit.settle();
    const reader = kit.consume({ 'x-stream-filter': 'x', 'x-stream-offset': 'first' });
    const other = kit.consume({ 'x-stream-offset': 990 });
    await kit.until(() => other.received.length === 10);
    expect(reader.received).toEqual([]);
  });
});

describe('memory', () => {
  it('holds nothing of a stream whose readers have everything', async () => {
    const { stream } = await open();
    kit.fill(1_000);
    expect(stream.memoryBytes).toBe(0);
    const reader = kit.consume();
    kit.fill(1_000);
    expect(stream.memoryBytes).toBeGreaterThan(0);
    await kit.settle();
    expect(reader.received.length).toBe(1_000);
    expect(stream.memoryBytes).toBe(0);
    expect(kit.memory.used).toBe(0);
  });

  it('does not grow with the stream while a reader is far behind', async () => {
    const { stream } = await open();
    const slow = kit.consume({}, { limit: 1 });
    for (let i = 0; i < 40; i++) {
      kit.fill(100, 10_000);
      await kit.settle();
      expect(stream.memoryBytes).toBeLessThanOrEqual(TAIL_BYTES_MAX);
    }
    expect(kit.memory.used).toBe(stream.memoryBytes);
    slow.limit = Number.POSITIVE_INFINITY;
    kit.ack(slow);
    let most = 0;
    await kit.until(() => {
      most = Math.max(most, stream.memoryBytes);
      slow.settle('ack');
      return slow.received.length === 4_000;
    });
    expect(slow.offsets).toEqual(upTo(4_000));
    // The tail, what is kept of runs, and the run the reader holds.
    expect(most).toBeLessThan(TAIL_BYTES_MAX + 12 * 1024 * 1024);
    await kit.settle();
    stream.cancel(slow);
    expect(stream.memoryBytes).toBe(0);
    expect(kit.memory.used).toBe(0);
  });

  it('keeps a short tail when the broker has little memory left', async () => {
    const { stream } = await open({}, { queueMemory: 100_000, totalMemory: 1e9 });
    const reader = kit.consume({}, { limit: 1 });
    for (let i = 0; i < 5; i++) {
      kit.fill(100, 1_000);
      // What was read back for the reader comes on top.
      expect(stream.tail.bytes).toBeLessThanOrEqual(100_000);
      expect(stream.memoryBytes).toBeLessThanOrEqual(100_000 + 3 * RUN_BYTES_MIN);
      await kit.settle();
    }
    reader.limit = Number.POSITIVE_INFINITY;
    kit.ack(reader);
    await kit.settle();
    expect(reader.offsets).toEqual(upTo(500));
  });

  it('serves many readers at many places', async () => {
    await open({}, { store: faultyStore({ readSlowness: 5, segmentBytesMax: 20_000 }) });
    kit.fill(3_000, 500);
    await kit.settle();
    const readers = upTo(40).map((i) => kit.consume({ 'x-stream-offset': i * 75 }));
    await kit.settle();
    await kit.until(() => readers.every((each) => each.offsets.at(-1) === 2_999));
    readers.forEach((reader, i) => {
      expect(reader.offsets).toEqual(upTo(3_000, i * 75));
    });
    for (const reader of readers) kit.stream.cancel(reader);
    expect(kit.memory.used).toBe(0);
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { messageOf } from './kit.ts';
import { STREAM, StreamKit } from './stream-kit.ts';

let kit: StreamKit;

async function open(...given: Parameters<typeof StreamKit.open>): Promise<StreamKit> {
  kit = await StreamKit.open(...given);
  return kit;
}

afterEach(async () => {
  expect(kit.errors).toEqual([]);
  await kit.close();
});

function upTo(to: number, from = 0): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}

async function offsets(start: unknown = 'first'): Promise<number[]> {
  const reader = await kit.read({ 'x-stream-offset': start });
  kit.stream.cancel(reader);
  return reader.offsets;
}

describe('after a restart', () => {
  it('offsets go on where they were', async () => {
    await open();
    await kit.add('a', 'b');
    await kit.restart();
    expect(kit.stream.messageCount).toBe(2);
    expect(kit.stream.nextOffset).toBe(2);
    await kit.add('c');
    await kit.restart();
    await kit.restart();
    await kit.add('d', 'e');
    const reader = await kit.read({ 'x-stream-offset': 'first' });
    expect(reader.received).toEqual(['0 a', '1 b', '2 c', '3 d', '4 e']);
    expect(await offsets(2)).toEqual([2, 3, 4]);
    expect(await offsets(3)).toEqual([3, 4]);
    expect(kit.stream.messageCount).toBe(5);
  });

  it('offsets of messages that were never committed are given to others, for nobody has seen them', async () => {
    await open();
    const reader = kit.consume();
    await kit.add('a');
    kit.publish('lost');
    await kit.crash();
    expect(reader.received).toEqual(['0 a']);
    await kit.add('b');
    expect((await kit.read({ 'x-stream-offset': 'first' })).received).toEqual(['0 a', '1 b']);
  });

  it('a reader that waits at the end gets what comes then', async () => {
    await open();
    await kit.add('a', 'b');
    await kit.restart();
    const next = kit.consume();
    const beyond = kit.consume({ 'x-stream-offset': 2 });
    const last = kit.consume({ 'x-stream-offset': 'last' });
    await kit.settle();
    expect(last.offsets).toEqual([0, 1]);
    await kit.add('c');
    expect(next.offsets).toEqual([2]);
    expect(beyond.offsets).toEqual([2]);
    expect(last.offsets).toEqual([0, 1, 2]);
  });

  it('times are still known', async () => {
    await open();
    await kit.add('a');
    kit.clock.advance(60_000);
    await kit.add('b');
    await kit.restart();
    kit.clock.advance(60_000);
    await kit.add('c');
    expect(await offsets('10m')).toEqual([0, 1, 2]);
    expect(await offsets('90s')).toEqual([1, 2]);
    expect(await offsets('30s')).toEqual([2]);
  });

  it('the latest chunk is what was stored together', async () => {
    await open();
    await kit.add('a');
    await kit.add('b', 'c');
    await kit.restart();
    expect((await offsets('last')).at(-1)).toBe(2);
  });

  it('a deleted stream leaves nothing behind, its bookmarks included', async () => {
    await open();
    const reader = kit.consume({ 'x-stream-consumer-name': 'n' });
    await kit.add('a');
    kit.ack(reader);
    kit.clock.advance(2_000);
    await kit.settle();
    kit.stream.delete();
    await kit.settle();
    const left: number[] = [];
    await kit.restart();
    for (const number of [STREAM, ...kit.lines.values()])
      await new Promise<void>((resolve) =>
        kit.shard.read(number, 1, 1000, (_error, entries) => {
          left.push(entries.length);
          resolve();
        }),
      );
    expect(left).toEqual([0, 0]);
  });
});

describe('retention', () => {
  it('drops the oldest segments when there are too many bytes, and never the last one', async () => {
    await open({ 'x-max-length-bytes': 3_000, 'x-stream-max-segment-size-bytes': 1_000 });
    for (let i = 0; i < 100; i++) {
      kit.fill(1, 100);
      await kit.settle();
    }
    const { stream } = kit;
    expect(stream.messageBytes).toBeLessThanOrEqual(3_000);
    expect(stream.firstOffset).toBeGreaterThan(75);
    expect(stream.messageCount).toBe(100 - stream.firstOffset);
    expect(await offsets()).toEqual(upTo(100, stream.firstOffset));
    expect(await offsets(3)).toEqual(upTo(100, stream.firstOffset));
    const { firstOffset } = stream;
    await kit.restart();
    expect(kit.stream.firstOffset).toBe(firstOffset);
    expect(kit.stream.nextOffset).toBe(100);
    expect(await offsets()).toEqual(upTo(100, firstOffset));
  });

  it('keeps one segment whatever the limit', async () => {
    await open({ 'x-max-length-bytes': 0, 'x-stream-max-segment-size-bytes': 1_000 });
    kit.fill(5, 100);
    await kit.settle();
    expect(kit.stream.messageCount).toBe(5);
    kit.fill(5, 100);
    await kit.settle();
    expect(kit.stream.messageCount).toBeLessThan(6);
    expect(kit.stream.messageCount).toBeGreaterThan(0);
  });

  it('is told by length at once', async () => {
    await open({ 'x-max-length-bytes': 0, 'x-stream-max-segment-size-bytes': 0 });
    kit.fill(3, 10);
    await kit.settle();
    kit.fill(2, 10);
    kit.stream.catchUp();
    await kit.settle();
    expect(kit.stream.messageCount).toBe(1);
    expect(await offsets()).toEqual([4]);
  });

  it('drops segments by age, in time and without a publish', async () => {
    await open({ 'x-max-age': '8s', 'x-stream-max-segment-size-bytes': 1_000_000 });
    for (let second = 0; second < 20; second++) {
      await kit.add(`m${second}`);
      kit.clock.advance(1_000);
    }
    // Segments of a second each, of which the youngest stays.
    expect(kit.stream.firstOffset).toBeGreaterThanOrEqual(10);
    expect(kit.stream.firstOffset).toBeLessThanOrEqual(12);
    kit.clock.advance(60_000);
    await kit.settle();
    expect(kit.stream.messageCount).toBe(1);
    expect(await offsets()).toEqual([19]);
  });

  it('goes on by age after a restart, with what became too old meanwhile', async () => {
    const clock = new FakeClock();
    await open({ 'x-max-age': '8s' }, { clock });
    for (let i = 0; i < 5; i++) {
      await kit.add(`m${i}`);
      clock.advance(2_000);
    }
    await kit.restart();
    clock.advance(5_000);
    await kit.settle();
    expect(kit.stream.firstOffset).toBe(4);
    expect(kit.stream.nextOffset).toBe(5);
  });

  it('follows a policy that changes', async () => {
    await open({ 'x-stream-max-segment-size-bytes': 1_000 });
    kit.fill(100, 100);
    await kit.settle();
    expect(kit.stream.messageCount).toBe(100);
    kit.stream.applyOptions({ ...kit.stream.options, bytesMax: 2_000 });
    await kit.settle();
    expect(kit.stream.messageCount).toBeLessThan(30);
    expect(kit.stream.options.bytesMax).toBe(2_000);
  });

  it('moves a reader on whose next message is gone', async () => {
    await open({ 'x-max-length-bytes': 2_000, 'x-stream-max-segment-size-bytes': 500 });
    const slow = kit.consume({}, { limit: 1 });
    kit.fill(10, 100);
    await kit.settle();
    for (let i = 0; i < 20; i++) {
      kit.fill(10, 100);
      await kit.settle();
    }
    slow.limit = Number.POSITIVE_INFINITY;
    kit.ack(slow);
    await kit.settle();
    const rest = slow.offsets.slice(1);
    // What lay in the tail already is delivered; what did not is skipped, and nothing twice.
    expect(rest.at(-1)).toBe(209);
    expect(rest).toEqual(upTo(210, rest[0]!));
    expect(rest[0]).toBeGreaterThanOrEqual(kit.stream.firstOffset);
  });

  it('tells a bounded number of segments apart, whatever was asked for', async () => {
    await open({ 'x-stream-max-segment-size-bytes': 1 });
    for (let i = 0; i < 10; i++) {
      kit.fill(1_000);
      kit.clock.advance(1_000);
      await kit.settle();
    }
    expect(kit.stream.segmentCount).toBeLessThanOrEqual(4_096);
    const times = (await kit.read({ 'x-stream-offset': '5s' })).offsets;
    expect(times[0]).toBe(5_000);
    expect(await offsets(9_990)).toEqual(upTo(10_000, 9_990));
  });
});

describe('the place of a named consumer', () => {
  const named = (extra: Record<string, unknown> = {}) => ({ 'x-stream-consumer-name': 'billing', ...extra });

  it('is there after a crash from its first message on, though nothing was acknowledged yet', async () => {
    await open();
    await kit.add('before');
    kit.consume(named());
    await kit.add('a', 'b');
    await kit.crash();
    expect((await kit.read(named())).offsets).toEqual([1, 2]);
  });

  it('is behind what it acknowledged, after a restart too', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b', 'c', 'd');
    kit.ack(reader, 2);
    await kit.restart();
    const again = await kit.read(named());
    expect(again.offsets).toEqual([2, 3]);
    expect([...kit.stream.consumerOffsets()]).toEqual([{ name: 'billing', offset: 2 }]);
  });

  it('is known at once to the next consumer of that name, on the same broker', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b', 'c');
    kit.ack(reader, 1);
    kit.stream.cancel(reader);
    expect((await kit.read(named())).offsets).toEqual([1, 2]);
  });

  it('is where x-stream-offset says when the name is new, and not after that', async () => {
    await open();
    await kit.add('a', 'b', 'c');
    const reader = await kit.read(named({ 'x-stream-offset': 1 }), { limit: 1 });
    expect(reader.offsets).toEqual([1]);
    kit.ack(reader);
    kit.stream.cancel(reader);
    expect((await kit.read(named({ 'x-stream-offset': 'first' }))).offsets).toEqual([2]);
  });

  it('stays before a delivery that is not acknowledged, whatever came behind it', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b', 'c', 'd');
    kit.ack(reader, 1, 2);
    kit.ack(reader, 1, 0);
    kit.stream.cancel(reader);
    expect((await kit.read(named())).offsets).toEqual([1, 2, 3]);
  });

  it('stays before a delivery that was given back', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b', 'c');
    reader.settle('ack', 1);
    reader.settle('requeue', 1);
    reader.settle('ack', 1);
    kit.stream.cancel(reader);
    expect((await kit.read(named())).offsets).toEqual([1, 2]);
  });

  it('moves with a rejected delivery as with an acknowledged one', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b');
    reader.settle('reject', 1);
    kit.stream.cancel(reader);
    expect((await kit.read(named())).offsets).toEqual([1]);
  });

  it('moves with late acknowledgements of a consumer that was cancelled', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b');
    kit.stream.cancel(reader);
    reader.settle('ack', 1);
    expect((await kit.read(named())).offsets).toEqual([1]);
  });

  it('belongs to the latest consumer of the name', async () => {
    await open();
    const old = kit.consume(named());
    await kit.add('a', 'b', 'c');
    const young = await kit.read(named());
    expect(young.offsets).toEqual([0, 1, 2]);
    kit.ack(old);
    kit.ack(young, 1);
    kit.stream.cancel(old);
    kit.stream.cancel(young);
    expect((await kit.read(named())).offsets).toEqual([1, 2]);
  });

  it('is written a second later at the latest, and survives a crash then', async () => {
    await open();
    const reader = kit.consume(named());
    await kit.add('a', 'b', 'c');
    kit.ack(reader, 2);
    await kit.settle();
    kit.clock.advance(2_000);
    await kit.settle();
    kit.ack(reader, 1);
    await kit.settle();
    await kit.crash();
    expect((await kit.read(named())).offsets).toEqual([2]);
  });

  it('is the first message there is when retention has dropped what it points at', async () => {
    await open({ 'x-max-length-bytes': 1_000, 'x-stream-max-segment-size-bytes': 300 });
    const reader = kit.consume(named(), { limit: 1 });
    kit.fill(1, 100);
    await kit.settle();
    kit.ack(reader);
    kit.stream.cancel(reader);
    kit.fill(50, 100);
    await kit.settle();
    const again = await kit.read(named());
    expect(again.offsets).toEqual(upTo(51, kit.stream.firstOffset));
  });

  it('is forgotten, the oldest first, when there are too many names', async () => {
    await open();
    await kit.add('a', 'b');
    for (let i = 0; i < 1_002; i++) {
      const reader = kit.consume({ 'x-stream-consumer-name': `n${i}`, 'x-stream-offset': 0 }, { limit: 1 });
      if (i === 0) {
        await kit.settle();
        kit.ack(reader);
        // Written before all others.
        kit.stream.settleMark();
      }
      kit.stream.cancel(reader);
    }
    expect([...kit.stream.consumerOffsets()].length).toBe(1_000);
    expect([...kit.stream.consumerOffsets()].some(({ name }) => name === 'n0')).toBe(false);
    expect(kit.errors.splice(0).length).toBe(2);
    await kit.restart();
    expect([...kit.stream.consumerOffsets()].length).toBe(1_000);
  });
});

describe('a store that fails', () => {
  it('stops readers of what cannot be read, says so once, and serves the others', async () => {
    const store = faultyStore();
    await open({}, { store });
    kit.fill(10, 100);
    await kit.settle();
    await kit.restart();
    for (const key of store.engine.keys())
      store.engine.tamper(key, (value) => (value.length > 500 ? Buffer.alloc(value.length) : value));
    const cold = await kit.read({ 'x-stream-offset': 'first' });
    const hot = kit.consume();
    kit.stream.publish(messageOf('new'));
    await kit.settle();
    expect(cold.received).toEqual([]);
    expect(hot.offsets).toEqual([10]);
    expect(kit.errors.splice(0).length).toBe(1);
    // What was changed makes every later start fail.
    for (const key of store.engine.keys()) store.engine.tamper(key, () => null);
  });
});

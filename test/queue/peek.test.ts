// Looking into a queue and taking single messages out: what is found, in which order, and that a look leaves no trace.

import { afterEach, describe, expect, it } from 'vitest';
import { tableOf } from '../../src/protocol/field-table.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import {
  type Found,
  idOf,
  idText,
  type MessageId,
  type MessageState,
  WALK_MESSAGES_MAX,
} from '../../src/queue/peek.ts';
import { type MessageFilter, messageTest } from '../../src/queue/peek-filter.ts';
import { peeked } from '../../src/queue/peek-view.ts';
import { SeededRandom } from '../support/faulty-engine.ts';
import { messageOf, persistentOf, QueueKit, settle, TestConsumer, textOf } from './kit.ts';

const ALL: readonly MessageState[] = ['ready', 'unacked', 'retry', 'dead'];

let kit: QueueKit;

afterEach(async () => {
  await kit.close();
});

interface Walked {
  readonly texts: string[];
  readonly next: MessageId | null;
}

/** One walk: bodies without their padding, with a mark of the state (`u` unacked, `r` retry) and of the place (`p` parked, `s` store). */
async function walk(
  queue: ClassicQueue,
  given: {
    after?: MessageId | null;
    states?: readonly MessageState[];
    max?: number;
    visit?: (found: Found) => void;
    bounds?: Map<number, number>;
  } = {},
): Promise<Walked> {
  const { after = null, states = ['ready'], max = Number.POSITIVE_INFINITY, bounds = null } = given;
  const texts: string[] = [];
  let end: Walked | null = null;
  queue.contents().walk(
    { after, states: new Set(states), bounds },
    (found) => {
      const state = found.state === 'ready' ? '' : `/${found.state[0]}`;
      const place = found.place === 'memory' ? '' : `/${found.place[0]}`;
      texts.push(`${found.message.body().toString().replaceAll('.', '')}${state}${place}`);
      given.visit?.(found);
      return texts.length < max;
    },
    (error, { next }) => {
      if (error !== null) throw error;
      end = { texts, next };
    },
  );
  await kit.until(() => end !== null);
  return end!;
}

function publish(queue: ClassicQueue, ...texts: string[]): void {
  for (const text of texts) queue.publish(persistentOf(text));
}

describe('a look into a queue', () => {
  it('shows what is ready in its order, page by page', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a', 'b', 'c', 'd', 'e');
    kit.run();
    const first = await walk(queue, { max: 2 });
    expect(first.texts).toEqual(['a', 'b']);
    const second = await walk(queue, { max: 2, after: first.next });
    expect(second.texts).toEqual(['c', 'd']);
    expect(await walk(queue, { after: second.next })).toEqual({ texts: ['e'], next: null });
  });

  it('leaves no trace: no mark, no other order, nothing written', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a', 'b');
    await kit.settle();
    const { ticket } = kit.shard;
    await walk(queue, { states: ALL });
    expect(kit.shard.ticket).toBe(ticket);
    await kit.until(() => queue.whenReady(() => {}));
    const entry = queue.get(false)!;
    expect([textOf(entry), entry.redelivered]).toEqual(['a', false]);
  });

  it('shows what consumers hold only when asked, and marks it', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a', 'b', 'c', 'd');
    const consumer = new TestConsumer('t', { limit: 2 });
    queue.consume(consumer);
    kit.run();
    settle(consumer.entry('a'), 'requeue');
    consumer.limit = 1;
    expect((await walk(queue)).texts).toEqual(['a', 'c', 'd']);
    expect((await walk(queue, { states: ALL })).texts).toEqual(['a', 'b/u', 'c', 'd']);
  });

  it('shows priorities in the order in which they would be delivered', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue({ 'x-max-priority': 5 });
    for (const [text, priority] of [
      ['low', 1],
      ['high', 5],
      ['none', 0],
      ['high2', 5],
    ] as const)
      queue.publish(messageOf(text, { priority }));
    const first = await walk(queue, { max: 3 });
    expect(first.texts).toEqual(['high', 'high2', 'low']);
    expect((await walk(queue, { after: first.next })).texts).toEqual(['none']);
  });

  it('shows what waits for its ordering key as parked, in its place', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue({ 'x-ordering-key': 'k' });
    const consumer = new TestConsumer('t', { limit: 1 });
    const other = new TestConsumer('u', { limit: 1 });
    queue.consume(consumer);
    queue.consume(other);
    const headers = tableOf({ k: 'x' });
    for (const text of ['a', 'b', 'c']) queue.publish(messageOf(text, { headers }));
    kit.run();
    other.limit = 0;
    publish(queue, 'free');
    kit.run();
    expect((await walk(queue, { states: ALL })).texts).toEqual(['a/u', 'b/p', 'c/p', 'free']);
  });

  it('shows what is only in the store, without bringing it back', async () => {
    kit = await QueueKit.open({ queueMemory: 20_000 });
    const queue = kit.queue();
    const texts = Array.from({ length: 200 }, (_, i) => `m${i}`.padEnd(500, '.'));
    publish(queue, ...texts);
    await kit.settle();
    const cold = queue.pagedOutCount;
    expect(cold).toBeGreaterThan(100);
    const all: string[] = [];
    let after: MessageId | null = null;
    do {
      const page: Walked = await walk(queue, { after, max: 17 });
      all.push(...page.texts);
      after = page.next;
    } while (after !== null);
    expect(all.map((text) => text.split('/')[0])).toEqual(texts.map((text) => text.replaceAll('.', '')));
    expect(all.filter((text) => text.endsWith('/s')).length).toBe(cold);
    expect(queue.pagedOutCount).toBe(cold);
  });

  it('shows what waits for a retry, and when it is over', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue({ 'x-retry-limit': 3, 'x-retry-delay': 5_000 });
    publish(queue, 'a', 'b');
    const entry = queue.get(false)!;
    settle(entry, 'reject');
    await kit.settle();
    let view: ReturnType<typeof peeked> | null = null;
    const { texts } = await walk(queue, {
      states: ['retry'],
      visit: (found) => {
        view = peeked(found, 100);
      },
    });
    expect(texts).toEqual(['a/r/s']);
    expect(view).toMatchObject({ state: 'retry', retryCount: 1, dueAt: kit.clock.now() + 5_000 });
    expect((await walk(queue)).texts).toEqual(['b']);
  });

  it('stops where it was told to, so that what comes from then on is not seen', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a', 'b');
    const bounds = queue.contents().bounds();
    publish(queue, 'c');
    expect(await walk(queue, { bounds })).toEqual({ texts: ['a', 'b'], next: null });
  });

  it('looks at a bounded number of messages in one go, and says where to go on', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue({}, { durable: false });
    for (let i = 0; i < WALK_MESSAGES_MAX + 5; i++) queue.publish(messageOf('x'));
    const first = await walk(queue);
    expect(first.texts.length).toBe(WALK_MESSAGES_MAX);
    expect((await walk(queue, { after: first.next })).texts.length).toBe(5);
  });
});

describe('single messages', () => {
  it('have ids that stay the same over a requeue, and are found by them', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a', 'b', 'c');
    const ids = new Map<string, string>();
    await walk(queue, { visit: (found) => ids.set(found.message.body().toString(), idText(found)) });
    expect(idOf(ids.get('b')!)).toEqual({ number: queue.number, position: 2 });
    await kit.until(() => queue.whenReady(() => {}));
    settle(queue.get(false)!, 'requeue');
    const found: string[] = [];
    const wanted = [ids.get('a')!, ids.get('c')!, `${queue.number}-99`].map((id) => idOf(id)!);
    queue.contents().find(
      wanted,
      (each) => found.push(idText(each)),
      () => found.push('done'),
    );
    expect(found).toEqual([ids.get('a'), ids.get('c'), 'done']);
  });

  it('are found quickly beside very many that consumers hold or have given back', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    const held = [];
    for (let i = 0; i < 40_000; i++) {
      queue.publish(messageOf('x'));
      held.push(queue.get(false)!);
    }
    const find = (from: number): number => {
      const ids = Array.from({ length: 1_000 }, (_, i) => ({ number: queue.number, position: from + i }));
      let found = 0;
      queue.contents().find(
        ids,
        () => found++,
        () => {},
      );
      return found;
    };
    const began = performance.now();
    expect([find(1), find(39_501), find(90_000)]).toEqual([1_000, 500, 0]);
    for (let i = held.length; i > 0; i--) settle(held[i - 1]!, 'requeue');
    expect([find(1), find(39_501), find(90_000)]).toEqual([1_000, 500, 0]);
    // Some 0.1 s; many seconds when each id is a way through all of them.
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it('are refused as ids when they are none', () => {
    for (const text of ['', '1', '1-', '-1', 'a-b', '1-2-3', '1-9999999999999999'])
      expect(idOf(text)).toBeNull();
  });

  it('are taken out wherever they are, once, in the store too', async () => {
    kit = await QueueKit.open({ queueMemory: 20_000 });
    const queue = kit.queue();
    const texts = Array.from({ length: 100 }, (_, i) => `m${i}`.padEnd(500, '.'));
    publish(queue, ...texts);
    await kit.settle();
    const taken: string[] = [];
    await walk(queue, {
      visit: (found) => {
        const name = found.message.body().toString();
        if (Number(/\d+/.exec(name)![0]) % 3 !== 0) return;
        const message = queue.contents().take(found);
        taken.push(message!.body().toString());
        expect(queue.contents().take(found)).toBeNull();
      },
    });
    expect(taken.length).toBe(34);
    expect(queue.messageCount).toBe(66);
    const left: string[] = [];
    for (;;) {
      await kit.until(() => queue.whenReady(() => {}));
      const entry = queue.get(true);
      if (entry === null) break;
      left.push(textOf(entry)!);
    }
    expect(left).toEqual(texts.filter((_, i) => i % 3 !== 0));
    await kit.settle();
    expect(kit.shard.stats().liveEntries).toBe(0);
  });

  it('are not taken from a consumer', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    publish(queue, 'a');
    const entry = queue.get(false)!;
    await walk(queue, { states: ALL, visit: (found) => expect(queue.contents().take(found)).toBeNull() });
    settle(entry, 'requeue');
    expect(queue.messageCount).toBe(1);
  });

  it('give their ordering key free when they are taken', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue({ 'x-ordering-key': 'k' });
    const consumer = new TestConsumer('t', { limit: 1 });
    queue.consume(consumer);
    const headers = tableOf({ k: 'x' });
    for (const text of ['a', 'b', 'c']) queue.publish(messageOf(text, { headers }));
    queue.consume(new TestConsumer('u', { limit: 1 }));
    kit.run();
    await walk(queue, {
      visit: (found) => {
        if (found.message.body().toString() === 'b') expect(queue.contents().take(found)).not.toBeNull();
      },
    });
    settle(consumer.entry('a'), 'ack');
    queue.unpark(consumer);
    kit.run();
    const received = [...queue.consumers].flatMap((each) => (each as TestConsumer).received);
    expect(received).toEqual(['a', 'c']);
    expect(queue.messageCount).toBe(0);
  });
});

describe('random looks into a queue', () => {
  it('see exactly what is there, in order, whatever happens between two pages', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const random = new SeededRandom(seed);
      kit = await QueueKit.open({ queueMemory: 8_000 });
      const queue = kit.queue({ 'x-retry-limit': 2, 'x-retry-delay': 1_000_000 });
      let number = 0;
      for (let round = 0; round < 12; round++) {
        for (let i = random.below(30); i > 0; i--) {
          const build = random.chance(0.7) ? persistentOf : messageOf;
          queue.publish(build(`m${number++}`.padEnd(20 + random.below(400), '.')));
        }
        for (let i = random.below(10); i > 0; i--) {
          if (!queue.whenReady(() => {})) await kit.settle();
          const entry = queue.get(false);
          if (entry !== null && random.chance(0.8))
            settle(entry, (['ack', 'requeue', 'reject'] as const)[random.below(3)]!);
        }
        if (random.chance(0.5)) await kit.settle();
        const seen: MessageId[] = [];
        let after: MessageId | null = null;
        do {
          const page: Walked = await walk(queue, {
            after,
            states: ALL,
            max: 1 + random.below(20),
            visit: ({ number, position }) => seen.push({ number, position }),
          });
          after = page.next;
        } while (after !== null);
        const positions = seen.map(({ position }) => position);
        expect(positions, `seed ${seed}`).toEqual([...new Set(positions)].sort((a, b) => a - b));
        const retries = queue.linesInOrder()[0]!.held?.waitingCount ?? 0;
        expect(seen.length, `seed ${seed}`).toBe(queue.messageCount + queue.unackedCount + retries);
      }
      if (seed < 4) await kit.close();
    }
  });
});

describe('a filter', () => {
  const message = messageOf('the quick brown fox', {
    headers: tableOf({ tenant: 'a', n: 7, big: 12345678901n, on: true, half: 0.5 }),
    messageId: 'id-1',
    priority: 4,
    timestamp: 5,
  });
  const passes = (filter: MessageFilter): boolean => messageTest(filter)?.(message) ?? true;

  afterEach(async () => {
    kit ??= await QueueKit.open();
  });

  it('compares headers and properties by value, and all that is given must hold', () => {
    expect(passes({ headers: { tenant: 'a', n: 7, on: true, half: 0.5, big: 12345678901 } })).toBe(true);
    expect(passes({ headers: { tenant: 'b' } })).toBe(false);
    expect(passes({ headers: { missing: 'a' } })).toBe(false);
    expect(passes({ headers: { n: '7' } })).toBe(false);
    expect(passes({ properties: { messageId: 'id-1', priority: 4, timestamp: 5 } })).toBe(true);
    expect(passes({ properties: { messageId: 'id-2' } })).toBe(false);
    expect(passes({ headers: { tenant: 'a' }, bodyContains: 'brown' })).toBe(true);
    expect(passes({ headers: { tenant: 'a' }, bodyContains: 'green' })).toBe(false);
  });

  it('reads routing keys as a topic binding does', () => {
    const matches = (pattern: string, key: string): boolean => {
      const test = messageTest({ routingKey: pattern })!;
      return test({ address: { routingKey: key } } as never);
    };
    expect(matches('q', 'q')).toBe(true);
    expect(matches('*', 'a.b')).toBe(false);
    expect(matches('a.*.c', 'a.b.c')).toBe(true);
    expect(matches('#', '')).toBe(true);
    expect(matches('a.#', 'a')).toBe(true);
    expect(matches('#.c', 'a.b.c')).toBe(true);
    expect(matches('a.#.d.#.z', 'a.b.d.c.d.z')).toBe(true);
    expect(matches('a.#.d', 'a.b.c')).toBe(false);
    expect(matches('#.a.#.b', 'a.c.b.c')).toBe(false);
  });

  it('is refused when it has a part that does not exist', () => {
    expect(() => messageTest({ rountingKey: 'x' } as MessageFilter)).toThrow("unknown filter 'rountingKey'");
  });
});

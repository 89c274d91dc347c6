// What operators do with queues: looks, pauses, moves, deletes, listings. Redrives: redrive.test.ts.

import { afterEach, describe, expect, it } from 'vitest';
import { Operations, type PeekPage, type QueueOperator } from '../../src/node/operations.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import { settle as settleEntry, TestConsumer } from '../queue/kit.ts';
import { faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { NodeKit, refusal } from './kit.ts';

let kit: NodeKit;

afterEach(async () => {
  kit.node.stopTimers();
  await kit.store.close();
});

function operator(name: string): QueueOperator {
  return new Operations(kit.node).queue('/', name);
}

/** What a promise comes to, with turns run meanwhile. */
async function done<T>(promise: Promise<T>): Promise<T> {
  let ended = false;
  const result = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  void result.then(() => {
    ended = true;
  });
  await kit.until(() => ended);
  const outcome = await result;
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

function texts(page: PeekPage): string[] {
  return page.messages.map(({ payload }) => payload.toString());
}

async function ids(name: string, ...wanted: string[]): Promise<string[]> {
  const { messages } = await done(operator(name).peek({ max: 1_000, states: ['ready', 'unacked', 'retry'] }));
  return wanted.map((text) => messages.find(({ payload }) => payload.toString() === text)!.id);
}

describe('a look into a queue', () => {
  it('shows a message as plain values, its body cut where it is long', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    kit.publish('', 'q', 'x'.repeat(100), {
      headers: tableOf({ tenant: 'a', nested: { on: true } }),
      contentType: 'text/plain',
      deliveryMode: 2,
      expiration: '60000',
      timestamp: 12,
    });
    const { messages, next } = await done(operator('q').peek({ payloadMax: 10 }));
    const { number } = kit.vhost.queues.get('q')!;
    expect(next).toBeNull();
    expect(messages).toEqual([
      {
        id: `${number}-1`,
        state: 'ready',
        place: 'memory',
        position: 1,
        exchange: '',
        routingKey: 'q',
        redelivered: false,
        properties: { contentType: 'text/plain', deliveryMode: 2, expiration: '60000', timestamp: 12 },
        headers: { tenant: 'a', nested: { on: true } },
        payload: Buffer.from('x'.repeat(10)),
        payloadBytes: 100,
        truncated: true,
        expiresAt: kit.clock.now() + 60_000,
        dueAt: null,
        publishedAt: null,
        deliveryCount: 0,
        acquiredCount: 0,
        retryCount: 0,
        deaths: [],
      },
    ]);
  });

  it('goes page by page through what a filter lets pass', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    for (let i = 0; i < 10; i++) kit.publish('', 'q', `m${i}`, { headers: tableOf({ even: i % 2 === 0 }) });
    const filter = { headers: { even: true } };
    const first = await done(operator('q').peek({ filter, max: 2 }));
    expect(texts(first)).toEqual(['m0', 'm2']);
    expect(texts(await done(operator('q').peek({ filter, after: first.next })))).toEqual(['m4', 'm6', 'm8']);
  });

  it('tells of deaths', async () => {
    kit = await NodeKit.open();
    kit.queue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
    kit.queue('dead');
    kit.publish('', 'q', 'a');
    const entry = kit.vhost.queues.get('q')!.get(false)!;
    entry.owner.reject(entry);
    const { messages } = await done(operator('dead').peek());
    expect(messages[0]!.deaths).toEqual([
      {
        queue: 'q',
        reason: 'rejected',
        count: 1,
        time: Math.floor(kit.clock.now() / 1_000),
        exchange: '',
        routingKeys: ['q'],
      },
    ]);
  });

  it('reads streams', async () => {
    kit = await NodeKit.open();
    kit.queue('s', { 'x-queue-type': 'stream' });
    for (let i = 0; i < 50; i++) kit.publish('', 's', `m${i}`);
    await kit.settle();
    const first = await done(operator('s').peek({ max: 20 }));
    expect(texts(first).slice(0, 2)).toEqual(['m0', 'm1']);
    expect(first.messages[1]).toMatchObject({
      headers: { 'x-stream-offset': 1 },
      place: 'store',
      publishedAt: kit.clock.now(),
      expiresAt: null,
    });
    const second = await done(operator('s').peek({ after: first.next, max: 100 }));
    expect([second.messages.length, second.next]).toEqual([30, null]);
    const third = await done(operator('s').peek({ filter: { bodyContains: 'm33' } }));
    expect(texts(third)).toEqual(['m33']);
  });

  it('refuses what is no queue, no page and no filter', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    await expect(operator('no').peek()).rejects.toThrow("no queue 'no' in vhost '/'");
    await expect(operator('q').peek({ max: 0 })).rejects.toThrow('max must be a whole number from 1 to 1000');
    await expect(operator('q').peek({ max: 1_001 })).rejects.toThrow('from 1 to 1000');
    await expect(operator('q').peek({ after: 'x' })).rejects.toThrow("'x' is no message id");
    await expect(operator('q').peek({ filter: { color: 'red' } as never })).rejects.toThrow(
      "unknown filter 'color'",
    );
  });
});

describe('single messages', () => {
  it('are all deleted though one of them lets the next one of its ordering key go on', async () => {
    kit = await NodeKit.open();
    const queue = kit.queue('q', { 'x-ordering-key': 'account' });
    const busy = new TestConsumer('busy', { limit: 1 });
    queue.consume(busy);
    const headers = tableOf({ account: 'anna' });
    for (const body of ['first', 'second', 'third']) kit.publish('', 'q', body, { headers });
    await kit.settle();
    queue.consume(new TestConsumer('other', { limit: 1 }));
    await kit.settle();
    queue.pause();
    settleEntry(busy.entry('first'), 'ack');
    expect(await done(operator('q').delete({ filter: {} }))).toEqual({ done: 2, skipped: [] });
    expect(queue.messageCount).toBe(0);
  });

  it('that could not be moved through an exchange that drops duplicates can be moved later', async () => {
    kit = await NodeKit.open();
    const from = kit.queue('from');
    const to = kit.queue('to', { 'x-max-length': 0, 'x-overflow': 'reject-publish' });
    kit.exchange('once', 'x-message-deduplication', { 'x-cache-size': 10 });
    kit.bind('once', to, '#');
    kit.publish('', 'from', 'a', { headers: tableOf({ 'x-deduplication-header': 'k' }), deliveryMode: 2 });
    const move = () => done(operator('from').move({ filter: {} }, { exchange: 'once' }));
    expect(await move()).toMatchObject({ done: 0, skipped: [{ reason: 'target-full' }] });
    expect(await move()).toMatchObject({ done: 0, skipped: [{ reason: 'target-full' }] });
    kit.bind('once', kit.queue('room'), '#');
    kit.unbind('once', to, '#');
    expect(await move()).toMatchObject({ done: 1 });
    expect([from.messageCount, kit.vhost.queues.get('room')!.messageCount]).toEqual([0, 1]);
  });

  it('that cannot be moved are not forgotten by the exchange that they came through', async () => {
    kit = await NodeKit.open();
    const from = kit.queue('from');
    kit.queue('to');
    kit.exchange('once', 'x-message-deduplication', { 'x-cache-size': 10 });
    kit.exchange('other', 'fanout');
    kit.bind('once', from, '#');
    const publish = () =>
      kit.publish('once', 'k', 'a', { headers: tableOf({ 'x-deduplication-header': 'k' }), deliveryMode: 2 });
    publish();
    await kit.until(() => from.whenReady(() => {}));
    from.get(false);
    const selection = { ids: await ids('from', 'a') };
    for (const target of [{ queue: 'to' }, { exchange: 'other' }, { exchange: 'once' }]) {
      expect(await done(operator('from').move(selection, target))).toMatchObject({ done: 0 });
      publish();
      expect(from.messageCount).toBe(0);
    }
  });

  it('that cannot be moved are not forgotten, though other exchanges have remembered others since', async () => {
    kit = await NodeKit.open();
    const from = kit.queue('from');
    const full = kit.queue('full', { 'x-max-length': 0, 'x-overflow': 'reject-publish' });
    const once = kit.exchange('once', 'x-message-deduplication', { 'x-cache-size': 10 });
    kit.exchange('once too', 'x-message-deduplication', { 'x-cache-size': 10 });
    kit.exchange('both', 'fanout');
    kit.bind('once', from, '');
    kit.bind('both', once, '');
    kit.bind('both', full, '');
    const headers = tableOf({ 'x-deduplication-header': 'k' });
    for (const exchange of ['once', 'once too']) kit.publish(exchange, '', 'a', { headers });
    const selection = { ids: await ids('from', 'a') };
    expect(await done(operator('from').move(selection, { exchange: 'both' }))).toMatchObject({ done: 0 });
    kit.publish('once', '', 'a', { headers });
    expect(from.messageCount).toBe(1);
  });

  it('are moved to another queue by their ids, as they are', async () => {
    kit = await NodeKit.open();
    kit.queue('from');
    kit.queue('to');
    kit.exchange('e', 'topic');
    kit.bind('e', kit.vhost.queues.get('from')!, '#');
    for (const text of ['a', 'b', 'c'])
      kit.publish('e', 'k', text, { headers: tableOf({ n: text }), deliveryMode: 2 });
    const wanted = await ids('from', 'a', 'c');
    await kit.until(() => kit.vhost.queues.get('from')!.whenReady(() => {}));
    const held = kit.vhost.queues.get('from')!.get(false)!;
    expect(await done(operator('from').move({ ids: [...wanted, '9-9'] }, { queue: 'to' }))).toEqual({
      done: 1,
      skipped: [
        { id: wanted[0], reason: 'not-ready' },
        { id: '9-9', reason: 'not-found' },
      ],
    });
    const { messages } = await done(operator('to').peek());
    expect(messages).toMatchObject([
      { exchange: 'e', routingKey: 'k', headers: { n: 'c' }, redelivered: false },
    ]);
    held.owner.requeue(held);
    expect(await kit.drain('from')).toEqual(['a*', 'b']);
  });

  it('are moved to an exchange, under their own routing keys or another', async () => {
    kit = await NodeKit.open();
    kit.queue('from');
    kit.queue('left');
    kit.queue('right');
    kit.exchange('e', 'direct');
    kit.bind('e', kit.vhost.queues.get('left')!, 'from');
    kit.bind('e', kit.vhost.queues.get('right')!, 'r');
    for (const text of ['a', 'b', 'c']) kit.publish('', 'from', text);
    await done(operator('from').move({ ids: await ids('from', 'a') }, { exchange: 'e' }));
    await done(operator('from').move({ ids: await ids('from', 'b') }, { exchange: 'e', routingKey: 'r' }));
    const lost = await done(operator('from').move({ filter: {} }, { exchange: 'e', routingKey: 'nowhere' }));
    expect(lost).toMatchObject({ done: 0, skipped: [{ reason: 'no-route' }] });
    const { messages } = await done(operator('right').peek());
    expect(messages).toMatchObject([{ exchange: 'e', routingKey: 'r' }]);
    expect(await kit.drain('left')).toEqual(['a']);
    expect(await kit.drain('from')).toEqual(['c']);
  });

  it('are moved to the back of their own queue, each once', async () => {
    kit = await NodeKit.open();
    kit.queue('q', { 'x-max-length': 3 });
    for (const text of ['a', 'b', 'c']) kit.publish('', 'q', text);
    expect(await done(operator('q').move({ filter: {}, max: 2 }, { queue: 'q' }))).toMatchObject({ done: 2 });
    expect(await kit.drain('q')).toEqual(['c', 'a', 'b']);
  });

  it('are moved and deleted by a filter, a bounded number when told so', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    kit.queue('other');
    for (let i = 0; i < 2_000; i++) kit.publish('', 'q', `${i % 2 === 0 ? 'even' : 'odd'} ${i}`);
    expect(await done(operator('q').move({ filter: { bodyContains: 'even' } }, { queue: 'other' }))).toEqual({
      done: 1_000,
      skipped: [],
    });
    expect(await done(operator('q').delete({ filter: { bodyContains: 'odd' }, max: 900 }))).toMatchObject({
      done: 900,
    });
    expect((await kit.drain('q')).length).toBe(100);
    expect((await kit.drain('other')).length).toBe(1_000);
  });

  it('are not moved to a queue that would refuse them', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    kit.queue('full', { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    for (const text of ['a', 'b']) kit.publish('', 'q', text);
    const result = await done(operator('q').move({ filter: {} }, { queue: 'full' }));
    expect(result).toMatchObject({ done: 1, skipped: [{ reason: 'target-full' }] });
    expect(await kit.drain('q')).toEqual(['b']);
  });

  it('are deleted wherever they are kept, without a dead letter', async () => {
    kit = await NodeKit.open({ queueMemoryBytes: 20_000 });
    kit.queue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
    kit.queue('dead');
    const all = Array.from({ length: 100 }, (_, i) => `m${i}`.padEnd(500, '.'));
    for (const text of all) kit.publish('', 'q', text, { deliveryMode: 2 });
    await kit.settle();
    const wanted = await ids('q', all[0]!, all[60]!, all[99]!);
    expect(await done(operator('q').delete({ ids: wanted }))).toEqual({ done: 3, skipped: [] });
    expect(await done(operator('q').delete({ ids: wanted }))).toMatchObject({ done: 0 });
    expect(await kit.drain('q')).toEqual(all.filter((_, i) => ![0, 60, 99].includes(i)));
    expect(await kit.drain('dead')).toEqual([]);
  });

  it('stay in a stream', async () => {
    kit = await NodeKit.open();
    kit.queue('s', { 'x-queue-type': 'stream' });
    kit.queue('q');
    kit.publish('', 's', 'a');
    await kit.settle();
    await expect(operator('s').move({ filter: {} }, { queue: 'q' })).rejects.toThrow('stay where they are');
    await expect(operator('s').delete({ filter: {} })).rejects.toThrow('stay where they are');
    kit.publish('', 'q', 'b');
    expect(await done(operator('q').move({ filter: {} }, { queue: 's' }))).toMatchObject({ done: 1 });
  });

  it('are refused when the selection or the target is none', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    const q = operator('q');
    await expect(q.delete({})).rejects.toThrow('either ids or a filter');
    await expect(q.delete({ ids: [], filter: {} })).rejects.toThrow('either ids or a filter');
    await expect(q.delete({ ids: new Array<string>(1_001).fill('1-1') })).rejects.toThrow('at most 1000 ids');
    await expect(q.move({ ids: [] }, {})).rejects.toThrow('either a queue or an exchange');
    await expect(q.move({ ids: [] }, { queue: 'x' })).rejects.toThrow("no queue 'x' in vhost '/'");
    await expect(q.move({ ids: [] }, { exchange: 'x' })).rejects.toThrow("no exchange 'x' in vhost '/'");
    await expect(q.move({ ids: [] }, { queue: 'q', vhost: 'x' })).rejects.toThrow("vhost 'x' not found");
  });

  it('are neither lost nor doubled when the power goes while they are moved', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = new SeededRandom(seed);
      const store = faultyStore({ seed, slowness: 3, segmentBytesMax: 4_096 });
      kit = await NodeKit.open({ store, queueMemoryBytes: random.chance(0.5) ? 20_000 : 1e9 });
      kit.queue('from');
      kit.queue('to');
      const all = Array.from({ length: 80 }, (_, i) => `m${i}`.padEnd(300, '.'));
      for (const text of all) kit.publish('', 'from', text, { deliveryMode: 2 });
      await kit.settle();
      let told = 0;
      const move = async (): Promise<void> => {
        for (let i = 0; i < 8; i++)
          told += (await operator('from').move({ filter: {}, max: 10 }, { queue: 'to' })).done;
      };
      void move().catch(() => {});
      for (let i = random.below(200); i > 0; i--) {
        kit.run();
        await new Promise((resolve) => setImmediate(resolve));
      }
      store.crash();
      kit.node.stopTimers();
      kit = await NodeKit.open({ store, clock: kit.clock });
      const moved = await kit.drain('to');
      const left = await kit.drain('from');
      // What somebody was told of is moved; the rest is where it was, in its order.
      expect(moved.length, `seed ${seed}`).toBeGreaterThanOrEqual(told);
      expect([...moved, ...left], `seed ${seed}`).toEqual(all);
      if (seed < 8) {
        kit.node.stopTimers();
        await store.close();
      }
    }
  });
});

describe('a paused queue', () => {
  it('delivers nothing until it is resumed, and stays paused over a restart', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    await done(operator('q').pause());
    kit.publish('', 'q', 'a', { deliveryMode: 2 });
    kit.run();
    const before = kit.vhost.queues.get('q')!;
    expect(before.whenReady(() => {})).toBe(true);
    expect(before.get(true)).toBeNull();
    expect(operator('q').info()).toMatchObject({ paused: true, ready: 1 });
    await kit.settle();
    kit = await kit.restart();
    expect(operator('q').info()).toMatchObject({ paused: true, ready: 1 });
    await done(operator('q').resume());
    expect(await kit.drain('q')).toEqual(['a']);
    kit = await kit.restart();
    expect(operator('q').info().paused).toBe(false);
  });

  it('may be looked into, purged, and its messages moved', async () => {
    kit = await NodeKit.open();
    kit.queue('q');
    kit.queue('to');
    for (const text of ['a', 'b', 'c']) kit.publish('', 'q', text);
    await done(operator('q').pause());
    expect(texts(await done(operator('q').peek()))).toEqual(['a', 'b', 'c']);
    expect(await done(operator('q').move({ filter: {}, max: 1 }, { queue: 'to' }))).toMatchObject({
      done: 1,
    });
    expect(await done(operator('q').purge())).toBe(2);
    expect(await done(operator('q').purge())).toBe(0);
    expect(await kit.drain('to')).toEqual(['a']);
  });
});

describe('a listing', () => {
  it('tells what every queue is and has', async () => {
    kit = await NodeKit.open();
    kit.queue('a', { 'x-max-length': 10 });
    kit.queue('b', {}, { durable: false });
    kit.publish('', 'a', 'xyz');
    kit.publish('', 'a', 'uvw');
    kit.vhost.queues.get('a')!.get(false);
    kit.node.parameters.setPolicy({
      vhost: '/',
      name: 'short',
      pattern: '^a$',
      definition: { 'message-ttl': 60_000 },
      priority: 0,
      applyTo: 'queues',
    });
    const all = new Operations(kit.node).queues();
    expect(all).toEqual(new Operations(kit.node).queues('/'));
    expect(all).toMatchObject([
      {
        vhost: '/',
        name: 'a',
        type: 'classic',
        durable: true,
        arguments: { 'x-max-length': 10 },
        ready: 1,
        unacked: 1,
        readyBytes: 3,
        consumers: 0,
        paused: false,
        policy: 'short',
        policyDefinition: { 'message-ttl': 60_000 },
        counters: { published: 2, got: 1 },
      },
      { name: 'b', durable: false, ready: 0, policy: null },
    ]);
    expect(refusal(() => new Operations(kit.node).queues('no'))).toBe("not-found: vhost 'no' not found");
  });
});

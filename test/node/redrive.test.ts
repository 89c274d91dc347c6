// Dead letters on their way back: where to, how fast, what stays and why, and that a crash neither loses nor doubles one.

import { afterEach, describe, expect, it } from 'vitest';
import { BrokerError } from '../../src/base/errors.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { TokenBucket } from '../../src/base/token-bucket.ts';
import { Operations, type RedriveHandle, type RedriveRequest } from '../../src/node/operations.ts';
import { MOVES_PER_TURN } from '../../src/node/redrive.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import { faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { NodeKit } from './kit.ts';

let kit: NodeKit;

afterEach(async () => {
  kit.node.stopTimers();
  await kit.store.close();
});

/** Queue `work`, bound to `orders`, whose rejected messages go to `dead`. */
async function open(given: Parameters<typeof NodeKit.open>[0] = {}): Promise<void> {
  kit = await NodeKit.open(given);
  kit.queue('work', { 'x-dead-letter-exchange': 'dlx' });
  kit.queue('dead');
  kit.exchange('dlx', 'fanout');
  kit.exchange('orders', 'topic');
  kit.bind('dlx', kit.vhost.queues.get('dead')!, '');
  kit.bind('orders', kit.vhost.queues.get('work')!, '#');
}

const PERSISTENT = { deliveryMode: 2 };

/** Publishes and rejects, so that they die. */
function kill(...texts: string[]): void {
  const work = kit.vhost.queues.get('work')!;
  for (const text of texts) kit.publish('orders', 'order.new', text);
  for (const _ of texts) {
    const entry = work.get(false)!;
    entry.owner.reject(entry);
  }
  kit.run();
}

function redrive(request: RedriveRequest = {}, queue = 'dead'): RedriveHandle {
  return new Operations(kit.node).queue('/', queue).redrive(request);
}

async function over(handle: RedriveHandle): Promise<RedriveHandle['progress']> {
  let progress: RedriveHandle['progress'] | null = null;
  handle.finished.then((last) => {
    progress = last;
  });
  await kit.until(() => progress !== null);
  return progress!;
}

describe('a redrive', () => {
  it('brings dead letters back to the queue they died in, as they were', async () => {
    await open();
    kill('a', 'b');
    expect(kit.vhost.queues.get('dead')!.messageCount).toBe(2);
    expect(await over(redrive())).toMatchObject({ state: 'finished', moved: 2, left: 0, skipped: {} });
    const entry = kit.vhost.queues.get('work')!.get(false)!;
    expect(entry.message.address).toMatchObject({ exchange: 'orders', routingKey: 'order.new' });
    expect(entry.message.headers()?.size).toBe(0);
    expect(entry.redelivered).toBe(false);
    expect(await kit.drain('dead')).toEqual([]);
  });

  it('keeps the headers of deaths when told to, but counts the next death as the first', async () => {
    await open();
    kill('a');
    await over(redrive({ keepDeathHeaders: true }));
    const work = kit.vhost.queues.get('work')!;
    const entry = work.get(false)!;
    expect([...entry.message.headers()!.keys()]).toContain('x-death');
    entry.owner.reject(entry);
    kit.run();
    const dead = kit.vhost.queues.get('dead')!.get(false)!;
    const deaths = dead.message.headers()!.get('x-death')!;
    expect(deaths.tag === 'A' && deaths.value.length).toBe(1);
    expect(JSON.stringify(deaths, (_, value) => (value instanceof Map ? [...value] : value))).toContain(
      '["count",{"tag":"l","value":1}]',
    );
  });

  it('publishes to the exchange they came through, when told to, under their routing keys', async () => {
    await open();
    kill('a');
    kit.queue('audit');
    kit.bind('orders', kit.vhost.queues.get('audit')!, 'order.*');
    expect(await over(redrive({ to: 'exchange' }))).toMatchObject({ moved: 1 });
    expect(await kit.drain('work')).toEqual(['a']);
    expect(await kit.drain('audit')).toEqual(['a']);
  });

  it('leaves what cannot go back where it is, and says why', async () => {
    await open();
    kill('a', 'b');
    kit.publish('', 'dead', 'stranger');
    const forged = tableOf({ 'x-death': [{ queue: 'work', exchange: '', 'routing-keys': ['work'] }] });
    kit.publish('', 'dead', 'forged', { headers: forged });
    kit.vhost.removeQueue(kit.vhost.queues.get('work')!);
    const progress = await over(redrive());
    expect(progress).toMatchObject({
      moved: 0,
      skipped: { 'no-such-queue': 2, 'not-dead-lettered': 2 },
      left: 0,
    });
    const { number } = kit.vhost.queues.get('dead')!;
    expect(progress.skippedMessages).toContainEqual({ id: `${number}-1`, reason: 'no-such-queue' });
    expect((await over(redrive({ to: 'exchange' }))).skipped).toMatchObject({ 'no-route': 2 });
    expect(await kit.drain('dead')).toEqual(['a', 'b', 'stranger', 'forged']);
  });

  it('leaves what its queue would refuse', async () => {
    await open();
    kit.queue('small', {
      'x-dead-letter-exchange': 'dlx',
      'x-max-length': 1,
      'x-overflow': 'reject-publish-dlx',
    });
    kit.publish('', 'small', 'a');
    kit.publish('', 'small', 'refused');
    expect(kit.vhost.queues.get('dead')!.messageCount).toBe(1);
    expect(await over(redrive())).toMatchObject({ moved: 0, skipped: { 'target-full': 1 } });
    expect(await kit.drain('small')).toEqual(['a']);
    expect(await over(redrive())).toMatchObject({ moved: 1 });
    expect(await kit.drain('small')).toEqual(['refused']);
  });

  it('does not go round for ever with messages that die again at once', async () => {
    await open();
    kit.queue('short', { 'x-dead-letter-exchange': 'dlx', 'x-message-ttl': 0 });
    kit.publish('', 'short', 'a');
    kit.publish('', 'short', 'b');
    kit.run();
    expect(kit.vhost.queues.get('dead')!.messageCount).toBe(2);
    expect(await over(redrive())).toMatchObject({ state: 'finished', moved: 2, left: 0 });
    kit.run();
    expect(await kit.drain('dead')).toEqual(['a', 'b']);
  });

  it('moves only what passes the filter, and no more than it was told', async () => {
    await open();
    kill('red 1', 'blue 1', 'red 2', 'red 3');
    const request = { filter: { bodyContains: 'red', diedOf: 'rejected', diedIn: 'work' }, max: 2 };
    expect(await over(redrive(request))).toMatchObject({ moved: 2, notMatching: 1, left: 1 });
    expect(await kit.drain('work')).toEqual(['red 1', 'red 2']);
    expect(await kit.drain('dead')).toEqual(['blue 1', 'red 3']);
  });

  it('keeps to its rate', async () => {
    await open();
    kill(...Array.from({ length: 100 }, (_, i) => `m${i}`));
    const handle = redrive({ messagesPerSecond: 20 });
    for (let i = 0; i < 20; i++) kit.run();
    expect(handle.progress.moved).toBe(1);
    for (let i = 0; i < 100; i++) {
      kit.clock.advance(10);
      kit.run();
    }
    expect(handle.progress.moved).toBeGreaterThanOrEqual(19);
    expect(handle.progress.moved).toBeLessThanOrEqual(21);
    handle.stop();
    expect(await over(handle)).toMatchObject({ state: 'stopped', left: 100 - handle.progress.moved });
  });

  it('goes in turns, and stops at once when told to', async () => {
    await open();
    kill(...Array.from({ length: MOVES_PER_TURN + 100 }, (_, i) => `m${i}`));
    const handle = redrive();
    expect(handle.progress).toMatchObject({ state: 'running', moved: 0, left: MOVES_PER_TURN + 100 });
    kit.run();
    expect(handle.progress.moved).toBe(MOVES_PER_TURN);
    handle.stop();
    kit.run();
    expect(handle.progress).toMatchObject({ state: 'stopped', moved: MOVES_PER_TURN, left: 100 });
    expect(kit.vhost.queues.get('dead')!.messageCount).toBe(100);
  });

  it('fails when its queue is deleted, and is not to be had twice or on a stream', async () => {
    await open();
    kill('a');
    const operations = new Operations(kit.node);
    const dead = operations.queue('/', 'dead');
    const handle = dead.redrive();
    expect(() => dead.redrive()).toThrow('are being sent back already');
    kit.vhost.removeQueue(kit.vhost.queues.get('dead')!);
    kit.run();
    expect(handle.progress).toMatchObject({ state: 'failed', error: "the queue 'dead' was deleted" });
    expect(operations.redrives()).toEqual([handle]);
    kit.queue('stream', { 'x-queue-type': 'stream' });
    expect(() => operations.queue('/', 'stream').redrive()).toThrow(BrokerError);
    expect(() => operations.queue('/', 'work').redrive({ messagesPerSecond: 0 })).toThrow('more than 0');
  });

  it('brings back what is only in the store, too', async () => {
    await open({ queueMemoryBytes: 20_000 });
    const texts = Array.from({ length: 150 }, (_, i) => `m${i}`.padEnd(400, '.'));
    for (const text of texts) {
      kit.publish('orders', 'k', text, PERSISTENT);
      await kit.until(() => kit.vhost.queues.get('work')!.whenReady(() => {}));
      const entry = kit.vhost.queues.get('work')!.get(false)!;
      entry.owner.reject(entry);
    }
    await kit.settle();
    expect(kit.vhost.queues.get('dead')!.pagedOutCount).toBeGreaterThan(50);
    expect(await over(redrive())).toMatchObject({ moved: 150, left: 0 });
    expect(await kit.drain('work')).toEqual(texts);
    await kit.settle();
    expect(kit.node.shard.stats().liveEntries).toBe(0);
  });

  it('neither loses nor doubles a message when the power goes in the middle', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = new SeededRandom(seed);
      const store = faultyStore({ seed, slowness: 3, segmentBytesMax: 4_096 });
      await open({ store, queueMemoryBytes: random.chance(0.5) ? 20_000 : 1e9 });
      const texts = Array.from({ length: 60 }, (_, i) => `m${i}`.padEnd(300, '.'));
      for (const text of texts) kit.publish('orders', 'k', text, PERSISTENT);
      for (let left = texts.length; left > 0; left--) {
        await kit.until(() => kit.vhost.queues.get('work')!.whenReady(() => {}));
        const entry = kit.vhost.queues.get('work')!.get(false)!;
        entry.owner.reject(entry);
      }
      await kit.settle();
      const handle = redrive({ messagesPerSecond: 100 + random.below(3_000) });
      const cutAfter = random.below(60);
      for (let i = 0; i < 1_000 && handle.progress.moved < cutAfter; i++) {
        kit.clock.advance(10);
        kit.run();
        if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
      }
      store.crash();
      kit.node.stopTimers();
      kit = await NodeKit.open({ store, clock: kit.clock });
      const all = [...(await kit.drain('work')), ...(await kit.drain('dead'))].map((text) =>
        text.replace('*', ''),
      );
      expect(all.length, `seed ${seed}`).toBe(60);
      expect(new Set(all), `seed ${seed}`).toEqual(new Set(texts));
      if (seed < 8) {
        kit.node.stopTimers();
        await store.close();
      }
    }
  });
});

describe('a rate', () => {
  it('gives what it says, saves up little, and does not mind a clock that is put back', async () => {
    kit = await NodeKit.open();
    const clock = new FakeClock();
    const bucket = new TokenBucket(clock, 10);
    const takeAll = (): number => {
      let taken = 0;
      while (bucket.has()) {
        bucket.take();
        taken++;
      }
      return taken;
    };
    expect(takeAll()).toBe(1);
    expect(bucket.waitMs()).toBe(100);
    clock.advance(100);
    expect(takeAll()).toBe(1);
    clock.advance(10_000);
    expect(takeAll()).toBe(1);
    const unlimited = new TokenBucket(clock, Number.POSITIVE_INFINITY);
    unlimited.take();
    expect([unlimited.has(), unlimited.waitMs()]).toEqual([true, 0]);
  });
});

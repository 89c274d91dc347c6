// Where dead messages go: through the vhost, from queue to queue.

import { describe, expect, it } from 'vitest';
import { DEAD_LETTERS_CAUSED_MAX } from '../../src/node/dead-letters.ts';
import { plainOf, tableOf } from '../../src/protocol/field-table.ts';
import { REJECTED } from '../../src/queue/queue.ts';
import { settle, TestConsumer } from '../queue/kit.ts';
import { NodeKit } from './kit.ts';

/** Arguments that send dead messages to a queue by its name. */
function to(queue: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue, ...more };
}

function reject(kit: NodeKit, name: string): void {
  const queue = kit.vhost.queues.get(name)!;
  queue.reject(queue.get(false)!);
}

describe('a dead message', () => {
  it('goes to the dead-letter exchange under its own key, and where CC says', async () => {
    const kit = await NodeKit.open();
    kit.exchange('dlx', 'direct');
    kit.bind('dlx', kit.queue('dead'), 'q');
    kit.bind('dlx', kit.queue('copy'), 'cc');
    kit.queue('q', { 'x-dead-letter-exchange': 'dlx' });
    const headers = new Map([['CC', { tag: 'A', value: [{ tag: 'S', value: 'cc' }] } as const]]);
    kit.publish('', 'q', 'a', { headers });
    reject(kit, 'q');
    const entry = kit.vhost.queues.get('dead')!.get(true)!;
    expect(entry.message.address).toMatchObject({ exchange: 'dlx', routingKey: 'q' });
    expect(await kit.drain('copy')).toEqual(['a']);
    expect(plainOf(entry.message.headers()!)).toMatchObject({ CC: ['cc'], 'x-first-death-queue': 'q' });
  });

  it('goes under the key of the queue alone when it has one', async () => {
    const kit = await NodeKit.open();
    kit.queue('cc');
    kit.queue('dead');
    kit.queue('q', to('dead'));
    const headers = new Map([['CC', { tag: 'A', value: [{ tag: 'S', value: 'cc' }] } as const]]);
    kit.publish('', 'q', 'a', { headers });
    reject(kit, 'q');
    expect(await kit.drain('dead')).toEqual(['a']);
    expect(await kit.drain('cc')).toEqual([]);
  });

  it('is dropped where the exchange is missing or leads nowhere', async () => {
    const kit = await NodeKit.open();
    kit.queue('q', { 'x-dead-letter-exchange': 'missing' });
    kit.queue('r', { 'x-dead-letter-exchange': 'amq.direct' });
    for (const name of ['q', 'r']) {
      kit.publish('', name, 'a');
      reject(kit, name);
    }
    expect(kit.node.memory.used).toBe(0);
  });

  it('has a new time to live: that of the queue it comes to, not its own', async () => {
    const kit = await NodeKit.open();
    kit.queue('dead', { 'x-message-ttl': 1_000 });
    kit.queue('q', to('dead'));
    kit.publish('', 'q', 'a', { expiration: '100' });
    kit.run();
    kit.clock.advance(200);
    kit.run();
    const dead = kit.vhost.queues.get('dead')!;
    expect(dead.messageCount).toBe(1);
    kit.run();
    kit.clock.advance(900);
    kit.run();
    expect(dead.messageCount).toBe(1);
    kit.clock.advance(200);
    kit.run();
    expect(dead.messageCount).toBe(0);
  });

  it('is not the purged, the deleted or the requeued one', async () => {
    const kit = await NodeKit.open();
    kit.queue('dead');
    const queue = kit.queue('q', to('dead'));
    for (const text of ['a', 'b', 'c']) kit.publish('', 'q', text);
    queue.requeue(queue.get(false)!);
    queue.purge();
    kit.publish('', 'q', 'd');
    kit.vhost.removeQueue(queue);
    expect(await kit.drain('dead')).toEqual([]);
  });

  it('survives a restart with its history', async () => {
    let kit = await NodeKit.open();
    kit.queue('back', to('work'));
    kit.queue('work', to('back'));
    kit.publish('', 'work', 'a', { deliveryMode: 2 });
    reject(kit, 'work');
    await kit.settle();
    kit = await kit.restart();
    await kit.until(() => kit.vhost.queues.get('back')!.whenReady(() => {}));
    reject(kit, 'back');
    await kit.settle();
    kit = await kit.restart();
    const work = kit.vhost.queues.get('work')!;
    await kit.until(() => work.whenReady(() => {}));
    const headers = plainOf(work.get(true)!.message.headers()!) as { 'x-death': { queue: string }[] };
    expect(headers['x-death'].map(({ queue }) => queue)).toEqual(['back', 'work']);
  });
});

describe('loops of dead letters', () => {
  it('without a reject in them end when they close', async () => {
    const kit = await NodeKit.open();
    kit.queue('a', to('b', { 'x-message-ttl': 100 }));
    kit.queue('b', to('a', { 'x-message-ttl': 100 }));
    kit.publish('', 'a', 'x');
    for (let i = 0; i < 10; i++) {
      kit.run();
      kit.clock.advance(300);
    }
    expect(kit.vhost.queues.get('a')!.messageCount + kit.vhost.queues.get('b')!.messageCount).toBe(0);
    expect(kit.vhost.queues.get('a')!.counters.published).toBe(1);
    expect(kit.vhost.queues.get('b')!.counters.published).toBe(1);
  });

  it('with a reject in them go on and count: retry later', async () => {
    const kit = await NodeKit.open();
    const work = kit.queue('work', to('wait'));
    kit.queue('wait', to('work', { 'x-message-ttl': 1_000 }));
    const consumer = new TestConsumer('c');
    work.consume(consumer);
    kit.publish('', 'work', 'job');
    for (let i = 1; i <= 5; i++) {
      kit.run();
      const entry = consumer.entry('job');
      const deaths = (plainOf(entry.message.headers() ?? tableOf({}))['x-death'] ?? []) as {
        count: number;
      }[];
      expect(deaths.map(({ count }) => count)).toEqual(i === 1 ? [] : [i - 1, i - 1]);
      settle(entry, 'reject');
      kit.run();
      kit.clock.advance(1_100);
      kit.run();
    }
  });

  it('of a queue into itself: rejects go on, what is too long or expired ends', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { 'x-dead-letter-exchange': '', 'x-max-length': 1 });
    kit.publish('', 'q', 'a');
    for (let i = 0; i < 3; i++) reject(kit, 'q');
    expect(queue.messageCount).toBe(1);
    kit.publish('', 'q', 'b');
    expect(await kit.drain('q')).toEqual(['b']);
  });

  it('between full queues that drop end by themselves', async () => {
    const kit = await NodeKit.open();
    kit.queue('a', to('b', { 'x-max-length': 10 }));
    kit.queue('b', to('a', { 'x-max-length': 10 }));
    for (let i = 0; i < 100; i++) kit.publish('', i % 2 === 0 ? 'a' : 'b', `${i}`);
    for (let i = 0; i < 100; i++) kit.run();
    expect(kit.vhost.queues.get('a')!.messageCount).toBe(10);
    expect(kit.vhost.queues.get('b')!.messageCount).toBe(10);
    expect(kit.node.turn.turns).toBe(100);
  });
});

describe('a dead message of a queue with ordering keys that comes back to it', () => {
  const ordered = (length: number, more: Record<string, unknown> = {}): Record<string, unknown> =>
    to('q', { 'x-ordering-key': 'key', 'x-max-length': length, 'x-overflow': 'reject-publish', ...more });
  const keyed = (key: string) => ({ headers: new Map([['key', { tag: 'S', value: key } as const]]) });

  it('does not hold its key any more: a consumer that waits for the key makes room for it', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', ordered(1));
    kit.publish('', 'q', 'x1', keyed('x'));
    const got = queue.get(false)!;
    const consumer = new TestConsumer('c');
    queue.consume(consumer);
    kit.publish('', 'q', 'x2', keyed('x'));
    kit.run();
    expect(consumer.received).toEqual([]);
    queue.reject(got);
    kit.run();
    expect(consumer.received).toEqual(['x2', 'x1']);
  });

  it('leaves the order to the queue when another takes over from the single active consumer', async () => {
    const kit = await NodeKit.open();
    const args = { 'x-queue-type': 'quorum', 'x-single-active-consumer': true };
    const queue = kit.queue('q', ordered(2, args));
    const [active, higher] = [new TestConsumer('active'), new TestConsumer('higher', { priority: 1 })];
    queue.consume(active);
    for (const [key, text] of [
      ['x', 'x1'],
      ['y', 'y1'],
      ['x', 'x2'],
    ] as const) {
      kit.publish('', 'q', text, keyed(key));
      await kit.settle();
    }
    queue.consume(higher);
    for (const text of ['x1', 'y1', 'x2']) settle(active.entry(text), 'reject');
    await kit.settle();
    expect(higher.received).toEqual(['x1', 'y1', 'x2']);
  });
});

describe('full queues that refuse and dead-letter', () => {
  const full = (next: string): Record<string, unknown> =>
    to(next, { 'x-max-length': 0, 'x-overflow': 'reject-publish-dlx' });

  it('hand a message on through a long chain', async () => {
    const kit = await NodeKit.open();
    const length = DEAD_LETTERS_CAUSED_MAX - 1;
    for (let i = 0; i < length; i++) kit.queue(`q${i}`, full(`q${i + 1}`), { durable: false });
    const last = kit.queue(`q${length}`);
    expect(kit.publish('', 'q0', 'x')).toBe(REJECTED);
    expect(last.messageCount).toBe(1);
    kit.publish('', 'q0', 'y');
    expect(last.messageCount).toBe(2);
  });

  it('do not keep the broker busy for ever when each hands on to all others', async () => {
    const kit = await NodeKit.open();
    kit.exchange('all', 'fanout');
    for (let i = 0; i < 12; i++) {
      const args = { 'x-max-length': 0, 'x-overflow': 'reject-publish-dlx', 'x-dead-letter-exchange': 'all' };
      kit.bind('all', kit.queue(`q${i}`, args, { durable: false }), '');
    }
    const began = performance.now();
    kit.publish('all', '', 'x');
    // Twelve factorial ways would take days.
    expect(performance.now() - began).toBeLessThan(10_000);
    kit.queue('after', {}, { durable: false });
    kit.publish('', 'after', 'all is well');
    expect(await kit.drain('after')).toEqual(['all is well']);
  });
});

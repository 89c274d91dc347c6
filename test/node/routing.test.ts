// Where messages go: walks over exchanges, alternate exchanges, cycles, and what is remembered of them.

import { describe, expect, it } from 'vitest';
import { ROUTE_CACHE_MAX, ROUTE_CACHE_QUEUES_MAX } from '../../src/node/exchange.ts';
import { HELD_ROUTE_MAX } from '../../src/node/vhost.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import type { Queue } from '../../src/queue/queue.ts';
import { REPLY_TO_PREFIX, ReplyQueue } from '../../src/queue/reply-queue.ts';
import { TestConsumer } from '../queue/kit.ts';
import { messageTo, NodeKit, TestCaller } from './kit.ts';

const REPLY_NAME = `${REPLY_TO_PREFIX}${'a'.repeat(22)}.${'b'.repeat(22)}`;

describe('a walk', () => {
  it('finds each queue once, however many ways lead to it', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    const inner = kit.exchange('inner', 'fanout');
    kit.bind('amq.topic', queue, '#');
    kit.bind('amq.topic', queue, 'a.*');
    kit.bind('amq.topic', inner, 'a.b');
    kit.bind('inner', queue, '');
    kit.publish('amq.topic', 'a.b', 'once');
    expect(queue.messageCount).toBe(1);
  });

  it('visits exchanges that lead in circles once', async () => {
    const kit = await NodeKit.open();
    const [a, b] = [kit.exchange('a', 'fanout'), kit.exchange('b', 'fanout')];
    kit.bind('a', b, '');
    kit.bind('b', a, '');
    kit.bind('b', b, '');
    kit.bind('b', kit.queue('q'), '');
    expect(kit.routed('a', 'k')).toEqual(['q']);
    expect(kit.routed('b', 'k')).toEqual(['q']);
  });

  it('goes to the alternate exchange only when the exchange itself leads nowhere', async () => {
    const kit = await NodeKit.open();
    kit.exchange('main', 'direct', { 'alternate-exchange': 'spare' });
    kit.exchange('spare', 'fanout');
    kit.bind('spare', kit.queue('rest'), '');
    kit.bind('main', kit.queue('q'), 'k');
    kit.bind('main', kit.exchange('dead end', 'fanout'), 'e');
    expect(kit.routed('main', 'k')).toEqual(['q']);
    expect(kit.routed('main', 'other')).toEqual(['rest']);
    // RabbitMQ: a bound exchange counts, even when it leads nowhere.
    expect(kit.routed('main', 'e')).toEqual([]);
  });

  it('ends where alternate exchanges lead in circles, are missing, or are the default exchange, which RabbitMQ does not take for one', async () => {
    const kit = await NodeKit.open();
    kit.exchange('a', 'fanout', { 'alternate-exchange': 'b' });
    kit.exchange('b', 'fanout', { 'alternate-exchange': 'a' });
    kit.exchange('c', 'fanout', { 'alternate-exchange': 'missing' });
    kit.exchange('d', 'fanout', { 'alternate-exchange': '' });
    kit.queue('q');
    expect(kit.routed('a', 'q')).toEqual([]);
    expect(kit.routed('c', 'q')).toEqual([]);
    expect(kit.routed('d', 'q')).toEqual([]);
    kit.exchange('missing', 'fanout');
    kit.bind('missing', kit.queue('q'), '');
    expect(kit.routed('c', 'q')).toEqual(['q']);
  });

  it('follows several keys at once', async () => {
    const kit = await NodeKit.open();
    for (const name of ['a', 'b', 'c']) kit.bind('amq.direct', kit.queue(name), name);
    const { vhost } = kit;
    const route = vhost.routeAll(vhost.exchange('amq.direct'), messageTo('amq.direct', 'a', ''), [
      'a',
      'c',
      'a',
      'x',
    ]);
    expect(route.map(({ name }) => name)).toEqual(['a', 'c']);
    const byName = vhost.routeAll(vhost.exchange(''), messageTo('', 'a', ''), ['b', 'b', 'c']);
    expect(byName.map(({ name }) => name)).toEqual(['b', 'c']);
  });
});

describe('a remembered route', () => {
  it('holds until the topology changes', async () => {
    const kit = await NodeKit.open();
    const { vhost } = kit;
    const exchange = vhost.exchange('amq.direct');
    const message = messageTo('amq.direct', 'k', '');
    const queue = kit.queue('q');
    kit.bind('amq.direct', queue, 'k');
    const route = vhost.route(exchange, message, 'k');
    expect(vhost.route(exchange, message, 'k')).toBe(route);
    expect(vhost.routeHolds).toBe(true);
    const { generation } = vhost;
    kit.unbind('amq.direct', queue, 'k');
    expect(vhost.generation).toBeGreaterThan(generation);
    expect(vhost.route(exchange, message, 'k')).toEqual([]);
  });

  it('knows of a change behind an exchange it leads through', async () => {
    const kit = await NodeKit.open();
    const inner = kit.exchange('inner', 'direct');
    kit.bind('amq.fanout', inner, '');
    expect(kit.routed('amq.fanout', 'k')).toEqual([]);
    kit.bind('inner', kit.queue('q'), 'k');
    expect(kit.routed('amq.fanout', 'k')).toEqual(['q']);
  });

  it('is not kept where more than the key decides', async () => {
    const kit = await NodeKit.open();
    kit.bind('amq.headers', kit.queue('q'), '', { a: 1 });
    kit.bind('amq.fanout', kit.vhost.exchange('amq.headers'), '');
    const { vhost } = kit;
    expect(kit.routed('amq.fanout', 'k', { headers: tableOf({ a: 1 }) })).toEqual(['q']);
    expect(vhost.routeHolds).toBe(false);
    expect(kit.routed('amq.fanout', 'k', { headers: tableOf({ a: 2 }) })).toEqual([]);
  });

  it('is not kept for reply queues, which come and go without a change', async () => {
    const kit = await NodeKit.open();
    const { vhost, node } = kit;
    const exchange = vhost.exchange('');
    const message = messageTo('', REPLY_NAME, '');
    const late = vhost.route(exchange, message, REPLY_NAME);
    expect(late.length).toBe(1);
    expect(vhost.routeHolds).toBe(false);
    const queue = new ReplyQueue(REPLY_NAME, node.turn);
    node.replies.set(REPLY_NAME, queue);
    expect(vhost.route(exchange, message, REPLY_NAME)).toEqual([queue]);
    node.replies.delete(REPLY_NAME);
    expect(vhost.route(exchange, message, REPLY_NAME)).toEqual(late);
    expect(kit.routed('', `${REPLY_TO_PREFIX}nonsense`)).toEqual([]);
  });

  it('of very many queues is kept once, not by every publisher', async () => {
    const kit = await NodeKit.open();
    for (let i = 0; i <= HELD_ROUTE_MAX; i++)
      kit.bind('amq.fanout', kit.queue(`q${i}`, {}, { durable: false }), '');
    expect(kit.routed('amq.fanout', 'k').length).toBe(HELD_ROUTE_MAX + 1);
    expect(kit.vhost.routeHolds).toBe(false);
    kit.routed('amq.fanout', 'k');
    expect(kit.vhost.routeHolds).toBe(false);
  });

  it('never makes the memory grow without end: neither many keys nor long routes do', async () => {
    const kit = await NodeKit.open();
    const exchange = kit.vhost.exchange('amq.fanout');
    const long: Queue[] = Array.from({ length: 10_000 }, () => kit.queue('q'));
    let kept = 0;
    for (let i = 0; i < 100; i++) exchange.remember(`k${i}`, 1, long);
    for (let i = 0; i < 100; i++) if (exchange.cached(`k${i}`, 1) !== undefined) kept++;
    expect(kept * long.length).toBeLessThanOrEqual(ROUTE_CACHE_QUEUES_MAX);
    for (let i = 0; i < ROUTE_CACHE_MAX + 10; i++) exchange.remember(`s${i}`, 1, []);
    expect(exchange.cached('s0', 1)).toBeUndefined();
    expect(exchange.cached(`s${ROUTE_CACHE_MAX + 9}`, 1)).toEqual([]);
    expect(exchange.cached(`s${ROUTE_CACHE_MAX + 9}`, 2)).toBeUndefined();
  });
});

describe('a reply queue', () => {
  it('is found from every vhost, whatever was routed in the others before', async () => {
    const kit = await NodeKit.open();
    const other = kit.node.createVHost('other');
    const queue = new ReplyQueue(REPLY_NAME, kit.node.turn);
    const consumer = new TestConsumer('c', { noAck: true });
    queue.consume(consumer);
    kit.node.replies.set(REPLY_NAME, queue);
    const message = messageTo('', REPLY_NAME, 'reply');
    for (let i = 0; i < 5; i++) {
      for (const vhost of [kit.vhost, other]) {
        const route = vhost.route(vhost.exchange(''), message, REPLY_NAME);
        expect(route).toEqual([queue]);
        vhost.publish(route, message);
      }
    }
    kit.run();
    expect(consumer.received.length).toBe(10);
  });
});

describe('a large message for several queues', () => {
  it('is stored once', async () => {
    const kit = await NodeKit.open();
    for (let i = 0; i < 5; i++) kit.bind('amq.fanout', kit.queue(`q${i}`), '');
    kit.publish('amq.fanout', '', 'x'.repeat(50_000), { deliveryMode: 2 });
    await kit.settle();
    expect(kit.node.shard.stats().bytesWritten).toBeLessThan(60_000);
    let restarted = await kit.restart();
    for (let i = 0; i < 5; i++) expect((await restarted.drain(`q${i}`))[0]).toHaveLength(50_000);
    await restarted.settle();
    restarted = await restarted.restart();
    for (let i = 0; i < 5; i++) expect(restarted.vhost.queues.get(`q${i}`)!.messageCount).toBe(0);
  });

  it('is not mixed up with the dead letters that it causes on its way', async () => {
    const kit = await NodeKit.open();
    const large = (letter: string): string => letter.repeat(10_000);
    const last = kit.queue('dead');
    for (const name of ['a', 'b']) {
      const args = { 'x-max-length': 1, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
      kit.bind('amq.fanout', kit.queue(name, args), '');
    }
    for (const letter of ['1', '2', '3']) kit.publish('amq.fanout', '', large(letter), { deliveryMode: 2 });
    expect(last.messageCount).toBe(4);
    await kit.settle();
    const again = await kit.restart();
    expect((await again.drain('a')).map((text) => text[0])).toEqual(['3']);
    expect((await again.drain('b')).map((text) => text[0])).toEqual(['3']);
    expect((await again.drain('dead')).map((text) => text[0])).toEqual(['1', '1', '2', '2']);
  });
});

describe('an exchange that remembers', () => {
  it('sends persistent messages to a new queue so that a restart keeps them, under their own key', async () => {
    const kit = await NodeKit.open();
    kit.exchange('history', 'x-recent-history', { 'x-recent-history-length': 2 });
    for (const body of ['1', '2', '3']) kit.publish('history', `key ${body}`, body, { deliveryMode: 2 });
    kit.bind('history', kit.queue('q'), 'any');
    await kit.settle();
    const again = await kit.restart();
    const queue = again.vhost.queues.get('q')!;
    expect(queue.messageCount).toBe(2);
    await again.until(() => queue.whenReady(() => {}));
    const first = queue.get(true)!;
    expect([first.message.address.exchange, first.message.address.routingKey]).toEqual(['history', 'key 2']);
    expect(await again.drain('q')).toEqual(['3']);
    again.bind('history', again.queue('late'), '');
    expect(await again.drain('late')).toEqual([]);
  });

  it('routes what it remembers through an exchange that is bound, under all keys of each message', async () => {
    const kit = await NodeKit.open();
    kit.exchange('history', 'x-recent-history');
    const headers = tableOf({ CC: ['copy'] });
    kit.publish('history', 'key', '1', { headers });
    kit.publish('history', 'other', '2');
    const inner = kit.exchange('inner', 'direct');
    for (const key of ['key', 'copy']) kit.bind('inner', kit.queue(`for ${key}`), key);
    kit.bind('history', inner, '');
    expect(await kit.drain('for key')).toEqual(['1']);
    expect(await kit.drain('for copy')).toEqual(['1']);
  });

  it('is asked at every message, while its route depends on more than the key', async () => {
    const kit = await NodeKit.open();
    kit.exchange('front', 'fanout');
    kit.bind('front', kit.exchange('history', 'x-recent-history'), '');
    kit.bind('history', kit.queue('q'), '');
    for (const body of ['1', '2', '3']) kit.publish('front', 'k', body);
    expect(kit.vhost.routeHolds).toBe(false);
    kit.bind('history', kit.queue('late'), '');
    expect(await kit.drain('late')).toEqual(['1', '2', '3']);
  });
});

it('a message in a transaction finds a queue that was deleted meanwhile without harm', async () => {
  const kit = await NodeKit.open();
  const { vhost } = kit;
  const queue = kit.queue('q');
  const message = messageTo('', 'q', 'late', { deliveryMode: 2 });
  const route = vhost.route(vhost.exchange(''), message, 'q');
  vhost.deleteQueue('q', false, false, new TestCaller());
  vhost.publish(route, message);
  expect(queue.messageCount).toBe(0);
  expect(kit.node.memory.used).toBe(0);
  await kit.settle();
  expect(kit.node.shard.stats().liveEntries).toBe(0);
});

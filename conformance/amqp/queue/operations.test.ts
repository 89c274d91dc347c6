// What clients see of operators' work: pauses, looks, moves, redrives.
import { expect } from 'vitest';
import type { Broker } from '../../../src/index.ts';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const OWN = { ownOnly: 'asked of the broker itself' };

function brokerOf(target: Target): Broker {
  return target.broker!;
}

rule(
  '5.6.pause',
  'until it is resumed',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const operator = brokerOf(target).queue(queue);
    const consumer = await t.channel.consume(queue);
    t.channel.publishAll(queue, ['held']);
    const held = await consumer.next();
    await operator.pause();
    t.channel.publishAll(queue, ['a', 'b']);
    expect(await t.channel.settle(queue)).toMatchObject({ messageCount: 2, consumerCount: 1 });
    t.channel.ack(held);
    expect(await t.channel.get(queue)).toBeNull();
    expect(consumer.bodies).toEqual(['held']);
    await operator.resume();
    await consumer.take(2);
    expect(consumer.bodies).toEqual(['held', 'a', 'b']);
  },
  OWN,
);

rule(
  '5.6.peek',
  'not with a consumer, not without',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['a', 'b', 'c']);
    const held = await t.channel.get(queue);
    const operator = brokerOf(target).queue(queue);
    const { messages } = await operator.peek({ states: ['ready', 'unacked'] });
    expect(messages.map(({ payload, state }) => `${payload} ${state}`)).toEqual([
      'a unacked',
      'b ready',
      'c ready',
    ]);
    const next = await t.channel.get(queue);
    expect([next?.body, next?.redelivered]).toEqual(['b', false]);
    expect(held?.body).toBe('a');
  },
  OWN,
);

rule(
  '5.6.move',
  'whole',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout');
    const from = await t.boundQueue(exchange);
    const to = await t.queue();
    t.channel.publish(exchange, 'k', 'a', { headers: { n: 1 }, messageId: 'id', priority: 3 });
    t.channel.publish(exchange, 'k', 'b');
    await t.channel.untilReady(from, 2);
    const operator = brokerOf(target).queue(from);
    const [message] = (await operator.peek({ filter: { properties: { messageId: 'id' } } })).messages;
    expect(await operator.move({ ids: [message!.id] }, { queue: to })).toEqual({ done: 1, skipped: [] });
    const moved = await t.channel.get(to);
    expect(moved).toMatchObject({
      body: 'a',
      exchange,
      routingKey: 'k',
      redelivered: false,
      properties: { headers: { n: 1 }, messageId: 'id', priority: 3 },
    });
    expect(await t.channel.drain(from)).toEqual(['b']);
  },
  OWN,
);

rule(
  '5.6.redrive',
  'as they were, but for their expiration',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('topic');
    const dead = await t.queue();
    const work = await t.queue({
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
    });
    await t.channel.call('queue.bind', { queue: work, exchange, routingKey: '#' });
    t.channel.publish(exchange, 'order.new', 'a', { headers: { n: 1 } });
    t.channel.reject((await t.channel.get(work))!, false);
    await t.channel.untilReady(dead, 1);
    const operator = brokerOf(target).queue(dead);
    expect(await operator.redrive().finished).toMatchObject({ moved: 1 });
    const back = await t.channel.get(work);
    expect(back).toMatchObject({
      body: 'a',
      exchange,
      routingKey: 'order.new',
      redelivered: false,
      properties: { headers: { n: 1 } },
    });
    t.channel.reject(back!, false);
    await t.channel.untilReady(dead, 1);
    const other = await t.boundQueue(exchange, 'order.*');
    expect(await operator.redrive({ to: 'exchange', keepDeathHeaders: true }).finished).toMatchObject({
      moved: 1,
    });
    expect(await t.channel.drain(work)).toEqual(['a']);
    const copy = await t.channel.get(other);
    expect(copy?.properties.headers).toMatchObject({ n: 1, 'x-first-death-queue': work });
  },
  OWN,
);

// basic.qos: how much a consumer or a channel may hold unacknowledged.
import { expect } from 'vitest';
import type { Channel, Consumer } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const TEN = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'];

/** A queue with ten ready messages. */
async function tenReady(t: Scene): Promise<string> {
  const queue = await t.queue();
  t.channel.publishAll(queue, TEN);
  await t.channel.untilReady(queue, 10);
  return queue;
}

rule(
  '6.7.per-consumer',
  'a consumer gets as many as its limit, and one more for each ack',
  async (target) => {
    const t = await scene(target);
    const queue = await tenReady(t);
    await t.channel.qos(3);
    const consumer = await t.channel.consume(queue);
    const [first, second] = await consumer.take(3);
    await t.channel.untilReady(queue, 7);
    expect(consumer.bodies).toEqual(['1', '2', '3']);
    t.channel.ack(second!);
    expect((await consumer.next()).body).toBe('4');
    await t.channel.untilReady(queue, 6);
    t.channel.ack(first!);
    expect((await consumer.next()).body).toBe('5');
    await t.channel.untilReady(queue, 5);
    expect(consumer.bodies).toEqual(['1', '2', '3', '4', '5']);
  },
);

rule('6.7.per-consumer', 'nack, reject and ack multiple make room too', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2);
  const consumer = await t.channel.consume(queue);
  const [first, second] = await consumer.take(2);
  t.channel.nack(first!, { requeue: false });
  const third = await consumer.next();
  t.channel.reject(second!, false);
  const fourth = await consumer.next();
  expect([third.body, fourth.body]).toEqual(['3', '4']);
  t.channel.ack(fourth, true);
  expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['5', '6']);
  await t.channel.untilReady(queue, 4);
});

rule('6.7.per-consumer', 'every consumer of the channel has its own', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2);
  const first = await t.channel.consume(queue);
  const second = await t.channel.consume(queue);
  await first.take(2);
  await second.take(2);
  await t.channel.untilReady(queue, 6);
});

rule('6.7.per-consumer', 'only consumers started after the call are limited', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const early = await t.channel.consume(queue);
  await t.channel.qos(1);
  t.channel.publishAll(queue, TEN);
  await early.take(10);
  await early.cancel();
  await t.channel.call('basic.recover', { requeue: true });
  const late = await t.channel.consume(queue);
  await late.next();
  await t.channel.untilReady(queue, 9);
});

rule('6.7.per-consumer', 'a later call does not change a running consumer', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2);
  const consumer = await t.channel.consume(queue);
  await consumer.take(2);
  await t.channel.qos(5);
  await t.channel.fence();
  expect((await t.channel.settle(queue)).messageCount).toBe(8);
  const second = await t.channel.consume(queue);
  await second.take(5);
  await t.channel.untilReady(queue, 3);
});

rule('6.7.per-consumer', 'zero means no limit', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(1);
  await t.channel.qos(0);
  const consumer = await t.channel.consume(queue);
  await consumer.take(10);
});

rule('6.7.per-consumer', 'another channel is not concerned', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(1);
  const other = await t.newChannel();
  const consumer = await other.consume(queue);
  await consumer.take(10);
});

rule('6.7.per-consumer', 'what a cancelled consumer holds does not count for a new one', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2);
  const first = await t.channel.consume(queue);
  await first.take(2);
  await first.cancel();
  const second = await t.channel.consume(queue);
  expect((await second.take(2)).map(({ body }) => body)).toEqual(['3', '4']);
});

rule('6.7.global', 'all consumers of the channel share it', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  const other = await tenReady(t);
  await t.channel.qos(3, true);
  const first = await t.channel.consume(queue);
  await first.take(3);
  const second = await t.channel.consume(other);
  await t.channel.settle(other);
  expect(second.bodies).toEqual([]);
  t.channel.ack(first.received[0]!);
  await t.channel.until(() => first.received.length + second.received.length === 4, 'a fourth delivery');
  t.channel.ack(0, true);
  await t.channel.until(() => t.channel.seen('basic.deliver').length === 7, 'three more deliveries');
  await t.channel.settle(queue);
  await t.channel.settle(other);
  expect(t.channel.seen('basic.deliver').length).toBe(7);
});

rule('6.7.global', 'it holds for running consumers at once', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue);
  await t.channel.qos(2, true);
  const publisher = await t.newChannel();
  await publisher.confirms();
  await publisher.publishConfirmed('', queue, TEN);
  await consumer.take(2);
  await t.channel.untilReady(queue, 8);
  expect(consumer.bodies).toEqual(['1', '2']);
});

rule('6.7.global', 'a limit below what is held stops deliveries until acks bring it down', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(4, true);
  const consumer = await t.channel.consume(queue);
  const held = await consumer.take(4);
  await t.channel.qos(2, true);
  const publisher = await t.newChannel();
  await publisher.confirms();
  for (const message of held.slice(0, 2)) {
    t.channel.ack(message);
    await t.channel.fence();
    // A confirmed publish stands behind the ack in the queue: had it delivered, the delivery would be here.
    await publisher.publishConfirmed('', queue, ['later']);
    await t.channel.fence();
    expect(consumer.received.length).toBe(4);
  }
  t.channel.ack(held[2]!);
  expect((await consumer.next()).body).toBe('5');
});

rule('6.7.global', 'raising it lets deliveries go on', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(1, true);
  const consumer = await t.channel.consume(queue);
  await consumer.next();
  await t.channel.qos(3, true);
  expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['2', '3']);
  await t.channel.untilReady(queue, 7);
  await t.channel.qos(0, true);
  await consumer.take(7);
});

rule('6.7.global', 'a later per-consumer call removes it', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(1, true);
  const consumer = await t.channel.consume(queue);
  await consumer.next();
  await t.channel.qos(7, false);
  await consumer.take(9);
});

rule('6.7.both', 'the smaller of the two holds', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2, false);
  await t.channel.qos(3, true);
  const first = await t.channel.consume(queue);
  await first.take(2);
  const second = await t.channel.consume(queue);
  await second.next();
  await t.channel.untilReady(queue, 7);
  t.channel.ack(first.received[0]!);
  await t.channel.until(() => t.channel.seen('basic.deliver').length === 4, 'a fourth delivery');
  await t.channel.untilReady(queue, 6);
});

rule('6.7.no-ack', 'a no-ack consumer gets everything under any limit', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(1);
  await t.channel.qos(1, true);
  const consumer = await t.channel.consume(queue, { noAck: true });
  await consumer.take(10);
});

rule('6.7.get', 'gets after the limit was set do not count', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.qos(2, true);
  await t.channel.get(queue);
  await t.channel.get(queue);
  const consumer = await t.channel.consume(queue);
  expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['3', '4']);
  await t.channel.untilReady(queue, 6);
});

rule('6.7.get', 'gets that were unacknowledged when the limit was set count', async (target) => {
  const t = await scene(target);
  const queue = await tenReady(t);
  await t.channel.get(queue);
  await t.channel.get(queue);
  await t.channel.qos(3, true);
  const consumer = await t.channel.consume(queue);
  expect((await consumer.next()).body).toBe('3');
  await t.channel.untilReady(queue, 7);
  expect(consumer.bodies).toEqual(['3']);
});

/** Two gets fill a limit of two; then one of them is acknowledged while a consumer waits. */
async function getAcknowledged(t: Scene): Promise<{ consumer: Consumer; publisher: Channel; queue: string }> {
  const queue = await tenReady(t);
  const first = await t.channel.get(queue);
  await t.channel.get(queue);
  await t.channel.qos(2, true);
  const consumer = await t.channel.consume(queue);
  await t.channel.settle(queue);
  expect(consumer.bodies).toEqual([]);
  t.channel.ack(first!);
  await t.channel.fence();
  const publisher = await t.newChannel();
  await publisher.confirms();
  return { consumer, publisher, queue };
}
rule(
  '6.7.get-settled',
  'the ack of such a get lets a consumer go on',
  async (target) => {
    const { consumer } = await getAcknowledged(await scene(target));
    expect((await consumer.next()).body).toBe('3');
  },
  {
    onRabbitMQ: async (target) => {
      const { consumer, publisher, queue } = await getAcknowledged(await scene(target));
      await publisher.publishConfirmed('', queue, ['behind the ack']);
      await consumer.channel.fence();
      expect(consumer.bodies).toEqual([]);
    },
  },
);

rule('6.7.size', 'a limit in bytes ends the connection', async (target) => {
  const t = await scene(target);
  const channel = await t.stranger();
  await channel.refused(() => channel.call('basic.qos', { prefetchSize: 1024, prefetchCount: 1 }), {
    code: 540,
    text: 'prefetch_size!=0 (1024)',
    method: 'basic.qos',
  });
});

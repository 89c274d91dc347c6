// Publisher confirms: when, in which order, and each exactly once.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

/** What became of publishes 1..n on a confirm channel, and whether any was settled twice. */
function outcomes(
  channel: Channel,
  published: number,
): { settled: Map<number, 'ack' | 'nack'>; twice: number[] } {
  const settled = new Map<number, 'ack' | 'nack'>();
  const twice: number[] = [];
  let low = 1;
  for (const { method, fields } of channel.journal) {
    if (method !== 'basic.ack' && method !== 'basic.nack') continue;
    const { deliveryTag, multiple } = fields as { deliveryTag: number; multiple: boolean };
    const outcome = method === 'basic.ack' ? 'ack' : 'nack';
    if (multiple) {
      // A multiple settles what is outstanding; that some below are settled already is no mistake, that none is left would be.
      let any = false;
      for (; low <= deliveryTag; low++) {
        if (settled.has(low)) continue;
        settled.set(low, outcome);
        any = true;
      }
      if (!any) twice.push(deliveryTag);
    } else if (settled.has(deliveryTag)) twice.push(deliveryTag);
    else settled.set(deliveryTag, outcome);
  }
  for (const tag of settled.keys()) if (tag < 1 || tag > published) twice.push(tag);
  return { settled, twice };
}

/** Waits until all `published` publishes are settled; their outcomes in order. */
async function settledAll(channel: Channel, published: number): Promise<('ack' | 'nack')[]> {
  await channel.until(() => channel.settled() >= published, `${published} settled publishes`);
  await channel.fence();
  const { settled, twice } = outcomes(channel, published);
  expect(twice).toEqual([]);
  return Array.from({ length: published }, (_unused, i) => settled.get(i + 1)!);
}

const acks = (count: number): 'ack'[] => Array<'ack'>(count).fill('ack');

rule(
  '7.1.select',
  'numbers begin with the first publish after it, and a second select does not reset them',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['before', 'before too']);
    await t.channel.confirms();
    t.channel.publish('', queue, '1');
    expect((await t.channel.next('basic.ack')).fields).toMatchObject({ deliveryTag: 1 });
    await t.channel.confirms();
    t.channel.publish('', queue, '2');
    expect((await t.channel.next('basic.ack')).fields).toMatchObject({ deliveryTag: 2 });
  },
);

rule('7.1.select', 'with no-wait it is not answered and works', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.send('confirm.select', { nowait: true });
  t.channel.publish('', queue, 'x');
  await t.channel.next('basic.ack');
  expect(t.channel.seen('confirm.select-ok')).toEqual([]);
});

rule('7.1.select', 'each channel counts for itself; a channel without it hears nothing', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const [second, plain] = [await t.newChannel(), await t.newChannel()];
  await t.channel.confirms();
  await second.confirms();
  for (const channel of [t.channel, second, plain]) channel.publish('', queue, 'x');
  expect((await t.channel.next('basic.ack')).fields).toMatchObject({ deliveryTag: 1 });
  expect((await second.next('basic.ack')).fields).toMatchObject({ deliveryTag: 1 });
  await plain.untilReady(queue, 3);
  expect(plain.seen('basic.ack')).toEqual([]);
});

for (const durable of [false, true]) {
  for (const deliveryMode of [1, 2]) {
    const what = `${deliveryMode === 2 ? 'persistent' : 'transient'} message to a ${durable ? 'durable' : 'transient'} queue`;
    rule('7.1.enqueued', `a ${what}`, async (target) => {
      const t = await scene(target);
      const queue = await t.queue({ durable });
      await t.channel.confirms();
      await t.channel.publishConfirmed('', queue, ['1', '2', '3'], { deliveryMode });
      expect(await settledAll(t.channel, 3)).toEqual(acks(3));
      expect(await t.channel.drain(queue)).toEqual(['1', '2', '3']);
    });
  }
}

rule('7.1.enqueued', 'a message for many queues is confirmed once, and all have it then', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const queues: string[] = [];
  for (let i = 0; i < 5; i++) {
    const queue = await t.queue({ durable: i % 2 === 0 });
    await t.channel.call('queue.bind', { queue, exchange, routingKey: '' });
    queues.push(queue);
  }
  await t.channel.confirms();
  await t.channel.publishConfirmed(exchange, '', ['x'], { deliveryMode: 2 });
  expect(await settledAll(t.channel, 1)).toEqual(acks(1));
  for (const queue of queues) expect((await t.channel.settle(queue)).messageCount).toBe(1);
});

rule('7.1.no-route', 'an unroutable message is acked', async (target) => {
  const t = await scene(target);
  await t.channel.confirms();
  t.channel.publish('', t.queueName(), 'x', { deliveryMode: 2 });
  expect(await settledAll(t.channel, 1)).toEqual(acks(1));
  expect(t.channel.seen('basic.return')).toEqual([]);
});

rule('7.1.no-route', 'each return comes before the ack of its message', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  await t.channel.confirms();
  const unroutable = new Set<number>();
  for (let number = 1; number <= 40; number++) {
    if (number % 3 === 0) {
      unroutable.add(number);
      t.channel.publish('', 'nobody', String(number), { deliveryMode: 2 }, { mandatory: true });
    } else t.channel.publish('', queue, String(number), { deliveryMode: 2 }, { mandatory: true });
  }
  expect(await settledAll(t.channel, 40)).toEqual(acks(40));
  const returned = new Set<number>();
  let low = 0;
  for (const { method, fields, body } of t.channel.journal) {
    if (method === 'basic.return') returned.add(Number(body!.toString()));
    if (method !== 'basic.ack') continue;
    const { deliveryTag, multiple } = fields as { deliveryTag: number; multiple: boolean };
    for (let number = multiple ? low + 1 : deliveryTag; number <= deliveryTag; number++) {
      if (unroutable.has(number))
        expect(returned.has(number), `return of ${number} before its ack`).toBe(true);
    }
    if (multiple) low = deliveryTag;
  }
  expect(returned).toEqual(unroutable);
});

rule('7.1.rejected', 'a full queue that rejects answers with a nack', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  await t.channel.confirms();
  t.channel.publishAll(queue, ['fits']);
  await settledAll(t.channel, 1);
  t.channel.publishAll(queue, ['too much']);
  expect(await settledAll(t.channel, 2)).toEqual(['ack', 'nack']);
  expect(await t.channel.drain(queue)).toEqual(['fits']);
});

rule('7.1.rejected', 'one queue that rejects is enough, the others keep the message', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const open = await t.boundQueue(exchange);
  const full = await t.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  await t.channel.call('queue.bind', { queue: full, exchange, routingKey: '' });
  await t.channel.confirms();
  for (const body of ['1', '2', '3']) {
    t.channel.publish(exchange, '', body);
    await settledAll(t.channel, Number(body));
  }
  expect(await settledAll(t.channel, 3)).toEqual(['ack', 'nack', 'nack']);
  expect(await t.channel.drain(open)).toEqual(['1', '2', '3']);
  expect(await t.channel.drain(full)).toEqual(['1']);
});

rule('7.1.dropped', 'drop-head: the old one goes, the new one is acked', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true, arguments: { 'x-max-length': 2 } });
  await t.channel.confirms();
  t.channel.publishAll(queue, ['1', '2', '3', '4', '5'], { deliveryMode: 2 });
  expect(await settledAll(t.channel, 5)).toEqual(acks(5));
  expect(await t.channel.drain(queue)).toEqual(['4', '5']);
});

rule('7.1.dropped', 'a queue of length 0 and an expiration of 0', async (target) => {
  const t = await scene(target);
  const none = await t.queue({ durable: true, arguments: { 'x-max-length': 0 } });
  const queue = await t.queue({ durable: true });
  await t.channel.confirms();
  t.channel.publish('', none, 'no room', { deliveryMode: 2 });
  t.channel.publish('', queue, 'no time', { deliveryMode: 2, expiration: '0' });
  expect(await settledAll(t.channel, 2)).toEqual(acks(2));
  expect(await t.channel.drain(none)).toEqual([]);
  expect(await t.channel.drain(queue)).toEqual([]);
});

for (const noAck of [true, false]) {
  rule('7.1.consumed', `by a consumer ${noAck ? 'with no-ack' : 'that acknowledges'}`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ durable: true });
    const other = await t.stranger();
    const consumer = await other.consume(queue, { noAck });
    await t.channel.confirms();
    const bodies = Array.from({ length: 50 }, (_unused, i) => String(i));
    t.channel.publishAll(queue, bodies, { deliveryMode: 2 });
    for (const message of await consumer.take(50)) if (!noAck) other.ack(message);
    expect(await settledAll(t.channel, 50)).toEqual(acks(50));
    expect(consumer.bodies).toEqual(bodies);
  });
}

rule('7.1.deleted', 'publishes right before the delete', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  await t.channel.confirms();
  t.channel.publishAll(queue, ['1', '2', '3'], { deliveryMode: 2 });
  await t.channel.call('queue.delete', { queue });
  expect(await settledAll(t.channel, 3)).toEqual(acks(3));
});

rule('7.1.refused', 'a missing exchange', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.confirms();
  t.channel.publish('', queue, 'good');
  await settledAll(t.channel, 1);
  await t.channel.refused(() => t.channel.publish('missing-exchange', 'k', 'bad'), {
    code: 404,
    text: `no exchange 'missing-exchange' in vhost '${t.vhost}'`,
    method: 'basic.publish',
  });
  expect(outcomes(t.channel, 2).settled.size).toBe(1);
});

rule('7.2.once', 'two thousand publishes to durable, transient and missing queues', async (target) => {
  const t = await scene(target);
  const queues = [await t.queue({ durable: true }), await t.queue(), 'nobody'];
  await t.channel.confirms();
  for (let i = 0; i < 2000; i++)
    t.channel.publish('', queues[i % 3]!, String(i), { deliveryMode: 1 + (i % 2) });
  expect(await settledAll(t.channel, 2000)).toEqual(acks(2000));
});

rule('7.2.once', 'several channels at once do not disturb each other', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  const channels = [t.channel, await t.newChannel(), await t.stranger()];
  for (const channel of channels) await channel.confirms();
  for (let i = 0; i < 200; i++)
    for (const channel of channels) channel.publish('', queue, 'x', { deliveryMode: 2 });
  for (const channel of channels) expect(await settledAll(channel, 200)).toEqual(acks(200));
  await t.channel.untilReady(queue, 600);
});

rule('7.2.multiple', 'a single confirm does not say multiple', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  await t.channel.confirms();
  for (const deliveryTag of [1, 2, 3]) {
    t.channel.publish('', queue, 'x', { deliveryMode: 2 });
    expect((await t.channel.next('basic.ack')).fields).toEqual({ deliveryTag, multiple: false });
  }
});

rule('7.2.multiple', 'accepted and rejected messages in turn', async (target) => {
  const t = await scene(target);
  const open = await t.queue({ durable: true });
  const full = await t.queue({ arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } });
  await t.channel.confirms();
  const expected: ('ack' | 'nack')[] = [];
  for (let i = 0; i < 200; i++) {
    const rejected = i % 7 === 3 || i % 11 === 0;
    t.channel.publish('', rejected ? full : open, 'x', { deliveryMode: 2 });
    expected.push(rejected ? 'nack' : 'ack');
  }
  expect(await settledAll(t.channel, 200)).toEqual(expected);
});

rule('7.2.nack', 'of one message', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } });
  await t.channel.confirms();
  t.channel.publishAll(queue, ['1']);
  expect((await t.channel.next('basic.nack')).fields).toMatchObject({ deliveryTag: 1 });
});

/** The bits of the nack of a message that is the only one under way. */
async function loneNack(target: Target): Promise<unknown> {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } });
  await t.channel.confirms();
  t.channel.publishAll(queue, ['1']);
  return (await t.channel.next('basic.nack')).fields;
}

rule(
  '7.2.nack-bits',
  'of one message',
  async (target) => {
    expect(await loneNack(target)).toMatchObject({ deliveryTag: 1, multiple: false, requeue: false });
  },
  {
    onRabbitMQ: async (target) => {
      expect(await loneNack(target)).toMatchObject({ deliveryTag: 1, multiple: true, requeue: true });
    },
  },
);

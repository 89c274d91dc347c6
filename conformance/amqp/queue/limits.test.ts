// Limits of length, priorities of messages, and queues with a single active consumer.
import { expect } from 'vitest';
import type { Channel, Message } from '../../support/channel.ts';
import { scene } from '../../support/scene.ts';
import { type RuleTest, rule, useTarget } from '../../support/target.ts';

useTarget();

type Table = Record<string, unknown>;

/** Publishes with these priorities; bodies say which, and how many came before. */
function publishAt(channel: Channel, queue: string, priorities: readonly (number | null)[]): string[] {
  return priorities.map((priority, i) => {
    const body = `${i} at ${priority ?? 'none'}`;
    channel.publish('', queue, body, priority === null ? {} : { priority });
    return body;
  });
}

async function take(channel: Channel, queue: string): Promise<Message> {
  const message = await channel.get(queue);
  expect(message).not.toBeNull();
  return message!;
}

const priorities = (max: number, more: Table = {}): Table => ({
  arguments: { 'x-max-priority': max, ...more },
});
const single: Table = { arguments: { 'x-single-active-consumer': true } };

/** What a quorum queue makes of one message without, one of low and one of high priority. */
const quorumOrder =
  (expected: readonly string[]): RuleTest =>
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ durable: true, arguments: { 'x-queue-type': 'quorum' } });
    const [none, low, high] = publishAt(t.channel, queue, [null, 1, 9]);
    await t.channel.untilReady(queue, 3);
    expect(await t.channel.drain(queue)).toEqual(
      expected.map((which) => ({ none, low, high })[which as 'none']),
    );
  };

// ── length ──

rule('9.3.drop-head', 'by length', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 3 } });
  t.channel.publishAll(queue, ['a', 'b', 'c', 'd', 'e']);
  await t.channel.untilReady(queue, 3);
  expect(await t.channel.drain(queue)).toEqual(['c', 'd', 'e']);
});

rule('9.3.ready', 'a queue whose messages are all out takes as many again', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' } });
  await t.channel.confirms();
  await t.channel.publishConfirmed('', queue, ['a', 'b']);
  await take(t.channel, queue);
  await take(t.channel, queue);
  await t.channel.publishConfirmed('', queue, ['c', 'd', 'e']);
  expect(t.channel.seen('basic.nack')).toHaveLength(1);
  expect(await t.channel.drain(queue)).toEqual(['c', 'd']);
});

rule('9.3.bytes', 'headers cost nothing', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length-bytes': 10 } });
  const headers = { big: 'x'.repeat(1_000) };
  t.channel.publishAll(queue, ['12345', '67890'], { headers });
  await t.channel.untilReady(queue, 2);
  t.channel.publishAll(queue, ['x'], { headers });
  await t.channel.fence();
  expect(await t.channel.drain(queue)).toEqual(['67890', 'x']);
});

rule('9.3.both', 'length first, then bytes', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 3, 'x-max-length-bytes': 10 } });
  t.channel.publishAll(queue, ['a', 'b', 'c', 'd']);
  await t.channel.untilReady(queue, 3);
  t.channel.publishAll(queue, ['123456789']);
  await t.channel.untilReady(queue, 2);
  expect(await t.channel.drain(queue)).toEqual(['d', '123456789']);
});

rule('9.3.zero', 'with a consumer and without', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 0 } });
  t.channel.publishAll(queue, ['nobody']);
  await t.channel.fence();
  expect((await t.channel.settle(queue)).messageCount).toBe(0);
  const consumer = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['somebody']);
  expect((await consumer.next()).body).toBe('somebody');
});

rule('9.3.reject', 'with confirms and without', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  t.channel.publishAll(queue, ['a', 'b']);
  await t.channel.untilReady(queue, 1);
  const confirming = await t.newChannel();
  await confirming.confirms();
  await confirming.publishConfirmed('', queue, ['c']);
  expect(confirming.seen('basic.nack')).toHaveLength(1);
  expect(await t.channel.drain(queue)).toEqual(['a']);
});

rule('9.3.requeue', 'the oldest goes, which is the one that came back', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 2 } });
  t.channel.publishAll(queue, ['a']);
  await t.channel.untilReady(queue, 1);
  const held = await take(t.channel, queue);
  t.channel.publishAll(queue, ['b', 'c']);
  await t.channel.untilReady(queue, 2);
  t.channel.reject(held, true);
  await t.channel.fence();
  expect((await t.channel.settle(queue)).messageCount).toBe(2);
  expect(await t.channel.drain(queue)).toEqual(['b', 'c']);
});

rule('9.3.quorum', 'two that nobody takes', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-max-length': 2,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': t.queueName('nowhere'),
      'x-dead-letter-strategy': 'at-least-once',
    },
  });
  await t.channel.confirms();
  await t.channel.publishConfirmed('', queue, ['a', 'b']);
  for (let i = 0; i < 2; i++) t.channel.reject(await take(t.channel, queue), false);
  // RabbitMQ tells publishers behind time that a queue is full.
  while (t.channel.seen('basic.nack').length === 0) await t.channel.publishConfirmed('', queue, ['more']);
  expect(await t.channel.drain(queue)).toEqual(target.isRabbitMQ ? expect.anything() : []);
});

rule('9.3.priority', 'though lower ones are older', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(5, { 'x-max-length': 3 }));
  const [low, , high, none] = publishAt(t.channel, queue, [1, 5, 5, null]);
  await t.channel.untilReady(queue, 3);
  expect(await t.channel.drain(queue)).toEqual([high, low, none]);
});

// ── priorities ──

rule('9.4.quorum', 'whatever they say', quorumOrder(['none', 'low', 'high']), {
  onRabbitMQ: quorumOrder(['high', 'none', 'low']),
});

rule('9.4.order', 'by get', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(9));
  const bodies = publishAt(t.channel, queue, [1, 9, 0, 9, 4, 1]);
  await t.channel.untilReady(queue, 6);
  expect(await t.channel.drain(queue)).toEqual([1, 3, 4, 0, 5, 2].map((i) => bodies[i]));
});

rule('9.4.order', 'by a consumer that comes later', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(255));
  const bodies = publishAt(t.channel, queue, [0, 255, 31, 32, 255, 128]);
  await t.channel.untilReady(queue, 6);
  const consumer = await t.channel.consume(queue, { noAck: true });
  for (const i of [1, 4, 5, 3, 2, 0]) expect((await consumer.next()).body).toBe(bodies[i]);
});

rule('9.4.absent', 'beside one of priority 0', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(3));
  const bodies = publishAt(t.channel, queue, [null, 0, null, 1]);
  await t.channel.untilReady(queue, 4);
  expect(await t.channel.drain(queue)).toEqual([3, 0, 1, 2].map((i) => bodies[i]));
});

rule('9.4.capped', 'two that differ above it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(3));
  const bodies = publishAt(t.channel, queue, [2, 3, 200, 3]);
  await t.channel.untilReady(queue, 4);
  expect(await t.channel.drain(queue)).toEqual([1, 2, 3, 0].map((i) => bodies[i]));
});

rule('9.4.plain', 'they come as they came', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const bodies = publishAt(t.channel, queue, [1, 9, 0]);
  await t.channel.untilReady(queue, 3);
  expect(await t.channel.drain(queue)).toEqual(bodies);
});

rule('9.4.held', 'with a prefetch of one', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(9));
  await t.channel.qos(1);
  const consumer = await t.channel.consume(queue);
  const [first] = publishAt(t.channel, queue, [0]);
  const held = await consumer.next();
  expect(held.body).toBe(first);
  const bodies = publishAt(t.channel, queue, [1, 9]);
  await t.channel.untilReady(queue, 2);
  t.channel.ack(held);
  expect((await consumer.next()).body).toBe(bodies[1]);
});

rule('9.4.requeue', 'in front of others of its priority, behind higher ones', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(9));
  const bodies = publishAt(t.channel, queue, [5, 5, 1]);
  await t.channel.untilReady(queue, 3);
  const held = await take(t.channel, queue);
  const [higher] = publishAt(t.channel, queue, [6]);
  await t.channel.untilReady(queue, 3);
  t.channel.reject(held, true);
  await t.channel.untilReady(queue, 4);
  expect(await t.channel.drain(queue)).toEqual([higher, bodies[0], bodies[1], bodies[2]]);
});

rule('9.4.purge', 'and a delete too', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(priorities(9));
  publishAt(t.channel, queue, [5, 0, 9, 5]);
  await t.channel.untilReady(queue, 4);
  expect(await t.channel.call('queue.purge', { queue })).toEqual({ messageCount: 4 });
  publishAt(t.channel, queue, [1, 2]);
  await t.channel.untilReady(queue, 2);
  expect(await t.channel.call('queue.delete', { queue })).toEqual({ messageCount: 2 });
});

async function levelsOfZero(channel: Channel, queue: string): Promise<string[]> {
  publishAt(channel, queue, [0, 1]);
  await channel.untilReady(queue, 2);
  return channel.drain(queue);
}

rule(
  '9.4.zero',
  'one above the other',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue(priorities(0));
    expect(await levelsOfZero(t.channel, queue)).toEqual(['1 at 1', '0 at 0']);
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await t.queue(priorities(0));
      expect(await levelsOfZero(t.channel, queue)).toEqual(['0 at 0', '1 at 1']);
    },
  },
);

// ── single active consumer ──

rule('9.5.active', 'of three', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  const consumers = [
    await t.channel.consume(queue),
    await t.channel.consume(queue),
    await t.channel.consume(queue),
  ];
  t.channel.publishAll(queue, ['a', 'b', 'c', 'd']);
  for (const body of ['a', 'b', 'c', 'd']) expect((await consumers[0]!.next()).body).toBe(body);
  expect(consumers.slice(1).map(({ bodies }) => bodies)).toEqual([[], []]);
});

rule('9.5.order', 'by priority, then by age', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  const consume = async (priority: number) =>
    t.channel.consume(queue, { noAck: true, arguments: { 'x-priority': priority } });
  const first = await consume(0);
  const low = await consume(1);
  const older = await consume(5);
  const younger = await consume(5);
  let last = first;
  for (const next of [older, younger, low]) {
    await t.channel.call('basic.cancel', { consumerTag: last.tag });
    t.channel.publishAll(queue, [`for ${next.tag}`]);
    expect((await next.next()).body).toBe(`for ${next.tag}`);
    last = next;
  }
});

rule('9.5.newcomer', 'it waits like the others', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  const active = await t.channel.consume(queue, { noAck: true });
  const newcomer = await t.channel.consume(queue, { noAck: true, arguments: { 'x-priority': 10 } });
  t.channel.publishAll(queue, ['a', 'b']);
  await active.next();
  await active.next();
  expect(newcomer.bodies).toEqual([]);
});

const quorumNewcomer =
  (takesOver: boolean): RuleTest =>
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-single-active-consumer': true },
    });
    await t.channel.confirms();
    const active = await t.channel.consume(queue);
    await t.channel.publishConfirmed('', queue, ['a', 'b']);
    const held = [await active.next(), await active.next()];
    const newcomer = await t.channel.consume(queue, { arguments: { 'x-priority': 10 } });
    await t.channel.publishConfirmed('', queue, ['c']);
    t.channel.ack(held[0]!);
    await t.channel.settle(queue);
    expect(newcomer.bodies).toEqual([]);
    t.channel.ack(held[1]!);
    await t.channel.publishConfirmed('', queue, ['d']);
    const next = takesOver ? newcomer : active;
    expect([(await next.next()).body, (await next.next()).body]).toEqual(['c', 'd']);
  };
rule('9.5.quorum-newcomer', 'after the last ack', quorumNewcomer(true), {
  onRabbitMQ: quorumNewcomer(false),
});

rule('9.5.cancelled', 'while it holds a delivery', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  const other = await t.newChannel();
  const active = await other.consume(queue);
  const next = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['a']);
  const held = await active.next();
  await other.call('basic.cancel', { consumerTag: active.tag });
  t.channel.publishAll(queue, ['b']);
  expect((await next.next()).body).toBe('b');
  // What it held is its own until it says otherwise.
  other.nack(held);
  const back = await next.next();
  expect([back.body, back.redelivered]).toEqual(['a', true]);
});

rule('9.5.full', 'until it acknowledges', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  await t.channel.qos(1);
  const active = await t.channel.consume(queue);
  const waiting = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['a', 'b']);
  const held = await active.next();
  await t.channel.untilReady(queue, 1);
  expect(waiting.bodies).toEqual([]);
  t.channel.ack(held);
  expect((await active.next()).body).toBe('b');
  expect(waiting.bodies).toEqual([]);
});

rule('9.5.back', 'and before what had not been delivered', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  const other = await t.newChannel();
  await other.qos(2);
  const active = await other.consume(queue);
  const next = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['a', 'b', 'c']);
  await active.next();
  await active.next();
  await other.close();
  const got = [await next.next(), await next.next(), await next.next()];
  expect(got.map(({ body, redelivered }) => [body, redelivered])).toEqual([
    ['a', true],
    ['b', true],
    ['c', false],
  ]);
});

rule('9.5.count', 'three of them', async (target) => {
  const t = await scene(target);
  const queue = await t.queue(single);
  for (let i = 0; i < 3; i++) await t.channel.consume(queue);
  await t.channel.untilCounts(queue, { messageCount: 0, consumerCount: 3 });
});

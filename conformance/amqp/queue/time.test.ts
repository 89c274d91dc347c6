// Time to live of messages and of queues.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

const clock = new FakeClock();
useTarget({ clock });

/** A time that is long enough to be told from nothing, and short enough to wait for on a foreign broker. */
const SHORT_MS = 120;

/** Lets time pass, on the broker's own clock where it has one. */
async function pass(target: Target, ms: number): Promise<void> {
  if (target.broker !== null) clock.advance(ms);
  else await new Promise((resolve) => setTimeout(resolve, ms));
}

async function counts(channel: Channel, queue: string): Promise<number> {
  return (await channel.settle(queue)).messageCount;
}

/** Whether the queue is there; asked on a channel of its own. */
async function exists(t: Scene, queue: string): Promise<boolean> {
  const channel = await t.newChannel();
  try {
    await channel.call('queue.declare', { queue, passive: true });
    return true;
  } catch {
    return false;
  }
}

rule('9.1.queue', 'a queue forgets its messages in time', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-message-ttl': SHORT_MS } });
  t.channel.publishAll(queue, ['a', 'b']);
  await t.channel.untilReady(queue, 2);
  await pass(target, SHORT_MS + 80);
  expect(await t.channel.get(queue)).toBeNull();
  expect(await counts(t.channel, queue)).toBe(0);
});

rule('9.1.own', 'those with an expiration go, the others stay', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'goes', { expiration: `${SHORT_MS}` });
  t.channel.publish('', queue, 'stays');
  await t.channel.untilReady(queue, 2);
  await pass(target, SHORT_MS + 80);
  expect(await t.channel.drain(queue)).toEqual(['stays']);
});

rule('9.1.smaller', 'either of them', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-message-ttl': 60_000 } });
  t.channel.publish('', queue, 'own', { expiration: `${SHORT_MS}` });
  const other = await t.queue({ arguments: { 'x-message-ttl': SHORT_MS } });
  t.channel.publish('', other, 'queue', { expiration: '60000' });
  await t.channel.untilReady(queue, 1);
  await t.channel.untilReady(other, 1);
  await pass(target, SHORT_MS + 80);
  expect(await t.channel.get(queue)).toBeNull();
  expect(await t.channel.get(other)).toBeNull();
});

rule(
  '9.1.anywhere',
  'short lives behind a long one',
  async (target) => {
    const t = await scene(target);
    const dead = await t.queue();
    const queue = await t.queue({
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
    });
    t.channel.publish('', queue, 'stays');
    t.channel.publish('', queue, 'second', { expiration: `${SHORT_MS + 40}` });
    t.channel.publish('', queue, 'first', { expiration: `${SHORT_MS}` });
    await t.channel.untilReady(queue, 3);
    await pass(target, SHORT_MS + 80);
    await t.channel.untilReady(dead, 2);
    expect(await counts(t.channel, queue)).toBe(1);
    expect(await t.channel.drain(dead)).toEqual(['first', 'second']);
    expect(await t.channel.drain(queue)).toEqual(['stays']);
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      t.channel.publish('', queue, 'stays');
      t.channel.publish('', queue, 'goes', { expiration: `${SHORT_MS}` });
      await t.channel.untilReady(queue, 2);
      await pass(target, SHORT_MS + 80);
      expect(await counts(t.channel, queue)).toBe(2);
      expect(await t.channel.drain(queue)).toEqual(['stays']);
    },
  },
);

rule('9.1.unacked', 'it can be acknowledged after its time', async (target) => {
  const t = await scene(target);
  const dead = await t.queue();
  const queue = await t.queue({
    arguments: {
      'x-message-ttl': SHORT_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    },
  });
  t.channel.publishAll(queue, ['a']);
  await t.channel.untilReady(queue, 1);
  const message = (await t.channel.get(queue))!;
  await pass(target, SHORT_MS + 80);
  t.channel.ack(message);
  expect(await counts(t.channel, queue)).toBe(0);
  expect(await t.channel.get(dead)).toBeNull();
});

rule('9.1.requeued', 'after the deadline, and before it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'late', { expiration: `${SHORT_MS}` });
  t.channel.publish('', queue, 'early', { expiration: '60000' });
  await t.channel.untilReady(queue, 2);
  const [late, early] = [(await t.channel.get(queue))!, (await t.channel.get(queue))!];
  await pass(target, SHORT_MS + 80);
  t.channel.reject(late, true);
  t.channel.reject(early, true);
  await t.channel.untilReady(queue, 1);
  expect(await t.channel.drain(queue)).toEqual(['early']);
});

rule('9.1.zero', 'by the message and by the queue', async (target) => {
  const t = await scene(target);
  const own = await t.queue();
  const byQueue = await t.queue({ arguments: { 'x-message-ttl': 0 } });
  for (const queue of [own, byQueue]) {
    const expiration = queue === own ? { expiration: '0' } : {};
    t.channel.publish('', queue, 'nobody waits', expiration);
    expect(await counts(t.channel, queue)).toBe(0);
    expect(await t.channel.get(queue)).toBeNull();
    const consumer = await t.channel.consume(queue, { noAck: true });
    t.channel.publish('', queue, 'somebody waits', expiration);
    expect((await consumer.next()).body).toBe('somebody waits');
  }
});

rule('9.1.zero', 'a consumer whose prefetch is full cannot take it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.qos(1);
  const consumer = await t.channel.consume(queue);
  t.channel.publish('', queue, 'fills');
  const first = await consumer.next();
  t.channel.publish('', queue, 'too late', { expiration: '0' });
  expect(await counts(t.channel, queue)).toBe(0);
  t.channel.ack(first);
  t.channel.publish('', queue, 'next');
  expect((await consumer.next()).body).toBe('next');
});

rule('9.1.anew', 'a chain of two queues', async (target) => {
  const t = await scene(target);
  const second = await t.queue({ arguments: { 'x-message-ttl': 3 * SHORT_MS } });
  const first = await t.queue({
    arguments: {
      'x-message-ttl': SHORT_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': second,
    },
  });
  t.channel.publishAll(first, ['a']);
  await t.channel.fence();
  await pass(target, SHORT_MS + 40);
  await t.channel.untilReady(second, 1);
  await pass(target, SHORT_MS);
  expect(await counts(t.channel, second)).toBe(1);
  await pass(target, 2 * SHORT_MS + 60);
  expect(await counts(t.channel, second)).toBe(0);
});

rule('9.2.unused', 'a queue with messages', async (target) => {
  const t = await scene(target);
  const dead = await t.queue();
  const queue = await t.queue({
    arguments: {
      'x-expires': 2 * SHORT_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    },
  });
  t.channel.publishAll(queue, ['a']);
  await t.channel.fence();
  // Own queues may go up to a tick of the coarse wheel later.
  await pass(target, 2 * SHORT_MS + 160);
  expect(await exists(t, queue)).toBe(false);
  expect(await t.channel.get(dead)).toBeNull();
});

rule('9.2.use', 'every use begins the time anew', async (target) => {
  const t = await scene(target);
  const args = { 'x-expires': 3 * SHORT_MS };
  const queue = await t.queue({ arguments: args });
  for (let i = 0; i < 2; i++) {
    await pass(target, 2 * SHORT_MS);
    await t.channel.call('queue.declare', { queue, arguments: args });
    await pass(target, 2 * SHORT_MS);
    await t.channel.call('queue.declare', { queue, passive: true });
    await pass(target, 2 * SHORT_MS);
    expect(await t.channel.get(queue)).toBeNull();
  }
  await pass(target, 3 * SHORT_MS + 160);
  expect(await exists(t, queue)).toBe(false);
});

rule('9.2.no-use', 'a queue that is published to all the time', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-expires': 3 * SHORT_MS } });
  for (let i = 0; i < 5; i++) {
    t.channel.publishAll(queue, [`${i}`]);
    await t.channel.fence();
    await pass(target, SHORT_MS);
  }
  expect(await exists(t, queue)).toBe(false);
});

rule('9.2.consumer', 'as long as there is one, and for the whole time after it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-expires': 2 * SHORT_MS } });
  const consumer = await t.channel.consume(queue);
  await pass(target, 4 * SHORT_MS);
  await t.channel.call('basic.cancel', { consumerTag: consumer.tag });
  await pass(target, SHORT_MS);
  // Publishing is no use, and tells whether there is a queue.
  t.channel.publish('', queue, 'still there', {}, { mandatory: true });
  await t.channel.fence();
  expect(t.channel.seen('basic.return')).toEqual([]);
  await pass(target, SHORT_MS + 160);
  expect(await exists(t, queue)).toBe(false);
});

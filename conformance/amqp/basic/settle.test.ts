// Delivery tags, ack, nack and reject; where a requeued message goes; what ends a channel.
import { expect } from 'vitest';
import type { Channel, Message } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

/** A queue holding the bodies, all of them delivered to a consumer on the scene's channel and unacknowledged. */
async function delivered(
  t: Scene,
  bodies: readonly string[],
): Promise<{ queue: string; messages: Message[] }> {
  const queue = await t.queue();
  t.channel.publishAll(queue, bodies);
  const consumer = await t.channel.consume(queue);
  const messages = await consumer.take(bodies.length);
  await consumer.cancel();
  return { queue, messages };
}

/** Bodies of the ready messages once there are `count`, all of them and in their order. */
async function returned(channel: Channel, queue: string, count: number): Promise<string[]> {
  await channel.untilReady(queue, count);
  return channel.drain(queue);
}

/**
 * What an empty queue holds once the scene's channel has given everything back.
 * RabbitMQ may do so after close-ok: a last message, held until then, tells when.
 */
async function leftOver(t: Scene, queue: string): Promise<string[]> {
  t.channel.publish('', queue, 'last');
  expect((await t.channel.get(queue))!.body).toBe('last');
  await t.channel.close();
  const consumer = await (await t.newChannel()).consume(queue, { noAck: true });
  const bodies: string[] = [];
  for (;;) {
    const { body } = await consumer.next();
    if (body === 'last') return bodies;
    bodies.push(body);
  }
}

rule(
  '6.5.tags',
  'deliveries and gets of all queues count together from 1, with no-ack and without',
  async (target) => {
    const t = await scene(target);
    const [first, second] = [await t.queue(), await t.queue()];
    t.channel.publishAll(first, ['a', 'b', 'c']);
    t.channel.publishAll(second, ['d', 'e']);
    expect((await t.channel.get(first))!.tag).toBe(1);
    expect((await t.channel.get(second, { noAck: true }))!.tag).toBe(2);
    const consumer = await t.channel.consume(first, { noAck: true });
    expect((await consumer.take(2)).map(({ tag }) => tag)).toEqual([3, 4]);
    const other = await t.channel.consume(second);
    expect((await other.next()).tag).toBe(5);
  },
);

rule('6.5.tags', 'every channel counts for itself, and a reopened one from 1', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['a', 'b', 'c']);
  const other = await t.newChannel();
  expect((await t.channel.get(queue))!.tag).toBe(1);
  expect((await other.get(queue))!.tag).toBe(1);
  await other.close();
  const again = await t.newChannel();
  expect((await again.get(queue))!.tag).toBe(1);
});

rule('6.5.ack', 'one tag: exactly that delivery, in any order', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3', '4']);
  for (const at of [2, 0]) t.channel.ack(messages[at]!);
  expect(await leftOver(t, queue)).toEqual(['2', '4']);
});

rule('6.5.ack', 'multiple: all up to and with it', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3', '4']);
  t.channel.ack(messages[2]!, true);
  expect(await leftOver(t, queue)).toEqual(['4']);
});

rule('6.5.ack', 'multiple passes over what is settled already', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3', '4', '5']);
  t.channel.ack(messages[1]!);
  t.channel.ack(messages[3]!, true);
  expect(await leftOver(t, queue)).toEqual(['5']);
});

rule('6.5.ack', 'tag 0 with multiple: all, and that may be none', async (target) => {
  const t = await scene(target);
  t.channel.ack(0, true);
  const { queue } = await delivered(t, ['1', '2', '3']);
  t.channel.ack(0, true);
  t.channel.ack(0, true);
  expect(await leftOver(t, queue)).toEqual([]);
});

rule('6.5.ack', 'multiple covers deliveries of all queues and consumers of the channel', async (target) => {
  const t = await scene(target);
  const [first, second] = [await t.queue(), await t.queue()];
  t.channel.publishAll(first, ['a', 'c', 'e']);
  t.channel.publishAll(second, ['b', 'd']);
  for (const queue of [first, second, first, second, first]) await t.channel.get(queue);
  t.channel.ack(3, true);
  await t.channel.close();
  const other = await t.newChannel();
  expect([await returned(other, first, 1), await returned(other, second, 1)]).toEqual([['e'], ['d']]);
});

rule('6.5.nack', 'with requeue the message comes back, without it is gone', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3']);
  t.channel.nack(messages[0]!);
  t.channel.nack(messages[1]!, { requeue: false });
  t.channel.ack(messages[2]!);
  expect(await t.channel.drain(queue)).toEqual(['1']);
});

rule('6.5.nack', 'multiple: all up to and with it, in their order', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3', '4']);
  t.channel.nack(messages[2]!, { multiple: true });
  expect(await t.channel.drain(queue)).toEqual(['1', '2', '3']);
});

rule('6.5.nack', 'tag 0 with multiple: all', async (target) => {
  const t = await scene(target);
  const { queue } = await delivered(t, ['1', '2', '3']);
  t.channel.nack(0, { multiple: true });
  expect(await t.channel.drain(queue)).toEqual(['1', '2', '3']);
  t.channel.nack(0, { multiple: true, requeue: false });
  await t.channel.fence();
  expect(t.channel.closing).toBeNull();
});

rule('6.5.nack', 'a dropped message goes to the dead-letter exchange if there is one', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const dead = await t.boundQueue(exchange);
  const queue = await t.queue({ arguments: { 'x-dead-letter-exchange': exchange } });
  t.channel.publishAll(queue, ['nacked', 'rejected', 'acked', 'requeued']);
  const got: Message[] = [];
  for (let i = 0; i < 4; i++) got.push((await t.channel.get(queue))!);
  t.channel.nack(got[0]!, { requeue: false });
  t.channel.reject(got[1]!, false);
  t.channel.ack(got[2]!);
  t.channel.nack(got[3]!);
  const consumer = await t.channel.consume(dead, { noAck: true });
  expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['nacked', 'rejected']);
  expect(await t.channel.drain(queue)).toEqual(['requeued']);
});

rule('6.5.reject', 'with requeue the message comes back, without it is gone', async (target) => {
  const t = await scene(target);
  const { queue, messages } = await delivered(t, ['1', '2', '3']);
  t.channel.reject(messages[0]!);
  t.channel.reject(messages[1]!, false);
  t.channel.ack(messages[2]!);
  expect(await t.channel.drain(queue)).toEqual(['1']);
});

rule('6.5.reject', 'a requeued message goes to the next consumer', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.stranger();
  const first = await t.channel.consume(queue, { arguments: { 'x-priority': 1 } });
  t.channel.publish('', queue, 'x');
  const message = await first.next();
  const second = await other.consume(queue, { arguments: { 'x-priority': 2 } });
  t.channel.reject(message);
  expect(await second.next()).toMatchObject({ body: 'x', redelivered: true });
});

const SETTLES: readonly (readonly [string, string, (channel: Channel, tag: number) => void])[] = [
  ['ack', 'basic.ack', (channel, tag) => channel.ack(tag)],
  ['ack multiple', 'basic.ack', (channel, tag) => channel.ack(tag, true)],
  ['nack', 'basic.nack', (channel, tag) => channel.nack(tag)],
  ['nack without requeue', 'basic.nack', (channel, tag) => channel.nack(tag, { requeue: false })],
  ['nack multiple', 'basic.nack', (channel, tag) => channel.nack(tag, { multiple: true })],
  ['reject', 'basic.reject', (channel, tag) => channel.reject(tag)],
];
for (const [what, method, settle] of SETTLES) {
  rule('6.5.unknown-tag', `${what} of a tag never given`, async (target) => {
    const t = await scene(target);
    const { queue } = await delivered(t, ['1', '2']);
    await t.channel.refused(() => settle(t.channel, 17), {
      code: 406,
      text: 'unknown delivery tag 17',
      method,
    });
    expect(await returned(await t.newChannel(), queue, 2)).toEqual(['1', '2']);
  });

  rule(
    '6.5.unknown-tag',
    `${what} of a tag acknowledged before, though a lower one is outstanding`,
    async (target) => {
      const t = await scene(target);
      const { queue, messages } = await delivered(t, ['1', '2', '3']);
      t.channel.ack(messages[1]!);
      await t.channel.refused(() => settle(t.channel, 2), {
        code: 406,
        text: 'unknown delivery tag 2',
        method,
      });
      expect(await returned(await t.newChannel(), queue, 2)).toEqual(['1', '3']);
    },
  );
}

for (const [what, method, settle] of SETTLES.filter(([name]) => !name.includes('multiple'))) {
  rule('6.5.unknown-tag', `${what} of tag 0`, async (target) => {
    const t = await scene(target);
    await delivered(t, ['1']);
    await t.channel.refused(() => settle(t.channel, 0), {
      code: 406,
      text: 'unknown delivery tag 0',
      method,
    });
  });
}

rule('6.5.unknown-tag', 'an ack behind an ack multiple of the same tag', async (target) => {
  const t = await scene(target);
  const { messages } = await delivered(t, ['1', '2']);
  t.channel.ack(messages[1]!, true);
  await t.channel.refused(() => t.channel.ack(messages[0]!), {
    code: 406,
    text: 'unknown delivery tag 1',
    method: 'basic.ack',
  });
});

rule('6.5.unknown-tag', 'the tag of another channel is unknown here', async (target) => {
  const t = await scene(target);
  const { queue } = await delivered(t, ['1', '2']);
  const other = await t.newChannel();
  await other.refused(() => other.ack(1), { code: 406, text: 'unknown delivery tag 1', method: 'basic.ack' });
  expect(await leftOver(t, queue)).toEqual(['1', '2']);
});

rule('6.5.unknown-tag', 'the tag of a no-ack delivery cannot be acknowledged', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'x');
  const message = await t.channel.get(queue, { noAck: true });
  await t.channel.refused(() => t.channel.ack(message!), {
    code: 406,
    text: 'unknown delivery tag 1',
    method: 'basic.ack',
  });
});

rule('6.5.requeue-position', 'the middle one of three goes back between the others', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3', '4']);
  const got = [await t.channel.get(queue), await t.channel.get(queue), await t.channel.get(queue)];
  t.channel.nack(got[1]!);
  t.channel.nack(got[2]!);
  t.channel.nack(got[0]!);
  expect(await t.channel.drain(queue)).toEqual(['1', '2', '3', '4']);
});

rule(
  '6.5.requeue-position',
  'a message goes back before younger ones that were published meanwhile',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2']);
    const first = await t.channel.get(queue);
    t.channel.publishAll(queue, ['3']);
    t.channel.reject(first!);
    expect(await t.channel.drain(queue)).toEqual(['1', '2', '3']);
  },
);

rule('6.5.requeue-position', 'messages of two consumers are merged by age', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  t.channel.publishAll(queue, ['1', '2', '3', '4', '5', '6']);
  await t.channel.untilReady(queue, 6);
  for (let i = 0; i < 6; i++) await (i % 2 === 0 ? t.channel : other).get(queue);
  await t.channel.close();
  await other.close();
  expect(await returned(await t.newChannel(), queue, 6)).toEqual(['1', '2', '3', '4', '5', '6']);
});

rule(
  '6.5.requeue-position',
  'a single consumer that requeues gets the same message again',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2', '3']);
    await t.channel.qos(1);
    const consumer = await t.channel.consume(queue);
    for (let i = 0; i < 3; i++) {
      const message = await consumer.next();
      expect(message).toMatchObject({ body: '1', redelivered: i > 0 });
      t.channel.nack(message);
    }
  },
);

rule('6.5.redelivered', 'not set at first, set after a requeue, whoever gets it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2']);
  const first = await t.channel.get(queue);
  expect(first!.redelivered).toBe(false);
  t.channel.nack(first!);
  await t.channel.untilReady(queue, 2);
  const other = await t.stranger();
  const consumer = await other.consume(queue);
  expect(await consumer.next()).toMatchObject({ body: '1', redelivered: true });
  expect(await consumer.next()).toMatchObject({ body: '2', redelivered: false });
});

rule('6.5.redelivered', 'only what was delivered is marked, not what waited', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  await t.channel.qos(2);
  const consumer = await t.channel.consume(queue);
  await consumer.take(2);
  await t.channel.close();
  const other = await t.newChannel();
  const marks: [string, boolean][] = [];
  for (let i = 0; i < 3; i++) {
    const message = (await other.get(queue))!;
    marks.push([message.body, message.redelivered]);
  }
  expect(marks).toEqual([
    ['1', true],
    ['2', true],
    ['3', false],
  ]);
});

for (const how of ['channel.close', 'connection.close', 'cut', 'error'] as const) {
  rule('6.5.channel-end', `everything comes back after ${how}, in its order`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2', '3', '4']);
    const peer = await t.connect();
    const channel = await peer.channel();
    const consumer = await channel.consume(queue);
    const messages = await consumer.take(4);
    channel.ack(messages[1]!);
    await channel.fence();
    if (how === 'channel.close') await channel.close();
    else if (how === 'connection.close') await peer.close();
    else if (how === 'cut') peer.cut();
    else
      await channel.refused(() => channel.ack(99), {
        code: 406,
        text: 'unknown delivery tag 99',
        method: 'basic.ack',
      });
    const next = await t.channel.consume(queue);
    expect((await next.take(3)).map(({ body, redelivered }) => [body, redelivered])).toEqual([
      ['1', true],
      ['3', true],
      ['4', true],
    ]);
  });
}

for (const how of ['consumer', 'basic.get'] as const) {
  rule('6.5.channel-end', `what a ${how} took is back before close-ok`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2']);
    await t.channel.untilReady(queue, 2);
    for (let round = 0; round < 3; round++) {
      const channel = await t.newChannel();
      const consumer = how === 'consumer' ? await channel.consume(queue) : null;
      for (const body of ['1', '2'])
        expect(await (consumer === null ? channel.get(queue) : consumer.next())).toMatchObject({ body });
      await channel.close();
      // RabbitMQ's close-ok waits for the queues of the channel's consumers, not for those it got from.
      if (target.isRabbitMQ && consumer === null) await t.channel.untilReady(queue, 2);
      else expect((await t.channel.settle(queue)).messageCount).toBe(2);
    }
    expect(await returned(t.channel, queue, 2)).toEqual(['1', '2']);
  });
}

// Direct reply-to: answers without a queue of one's own.
import { expect } from 'vitest';
import type { Channel, Consumer } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const REPLY_TO = 'amq.rabbitmq.reply-to';

/** A requester on the scene's channel and a server that has received its request. */
async function requested(t: Scene): Promise<{ replies: Consumer; server: Channel; replyName: string }> {
  const queue = await t.queue();
  const replies = await t.channel.consume(REPLY_TO, { noAck: true });
  t.channel.publish('', queue, 'request', { replyTo: REPLY_TO, correlationId: '1' });
  const server = await t.stranger();
  const consumer = await server.consume(queue, { noAck: true });
  const request = await consumer.next();
  expect(request.properties.correlationId).toBe('1');
  return { replies, server, replyName: request.properties.replyTo as string };
}

rule('6.9.consume', 'with acknowledgements it is refused', async (target) => {
  const { channel } = await scene(target);
  await channel.refused(() => channel.consume(REPLY_TO), {
    code: 406,
    text: 'reply consumer cannot acknowledge',
    method: 'basic.consume',
  });
});

rule('6.9.consume', 'a second time on the channel it is refused', async (target) => {
  const { channel } = await scene(target);
  await channel.consume(REPLY_TO, { noAck: true });
  await channel.refused(() => channel.consume(REPLY_TO, { noAck: true }), {
    code: 406,
    text: 'reply consumer already set',
    method: 'basic.consume',
  });
});

rule('6.9.consume', 'after cancel it may be consumed again', async (target) => {
  const { channel } = await scene(target);
  const first = await channel.consume(REPLY_TO, { noAck: true });
  await first.cancel();
  await channel.consume(REPLY_TO, { noAck: true });
});

rule(
  '6.9.request',
  'the name is the same for all requests of the channel, another for another channel',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const other = await t.newChannel();
    await t.channel.consume(REPLY_TO, { noAck: true });
    await other.consume(REPLY_TO, { noAck: true });
    t.channel.publish('', queue, '1', { replyTo: REPLY_TO });
    t.channel.publish('', queue, '2', { replyTo: REPLY_TO });
    await t.channel.fence();
    await t.channel.untilReady(queue, 2);
    other.publish('', queue, '3', { replyTo: REPLY_TO });
    const consumer = await t.channel.consume(queue, { noAck: true });
    const names = (await consumer.take(3)).map(({ properties }) => properties.replyTo as string);
    for (const name of names) expect(name).toMatch(/^amq\.rabbitmq\.reply-to\.[^.]+\.[^.]+$/);
    expect(names[1]).toBe(names[0]);
    expect(names[2]).not.toBe(names[0]);
  },
);

rule('6.9.request', 'the other properties and the headers of the request stay', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.consume(REPLY_TO, { noAck: true });
  const properties = {
    correlationId: 'c',
    contentType: 'text/plain',
    headers: { a: 1 },
    deliveryMode: 2,
    messageId: 'm',
  };
  t.channel.publish('', queue, 'x', { ...properties, replyTo: REPLY_TO });
  const got = await t.channel.get(queue);
  expect(got!.properties).toMatchObject(properties);
});

rule('6.9.request', 'any other reply-to is left alone', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  for (const replyTo of ['my-queue', 'amq.rabbitmq.reply', `${REPLY_TO}.x`]) {
    t.channel.publish('', queue, 'x', { replyTo });
    expect((await t.channel.get(queue))!.properties.replyTo).toBe(replyTo);
  }
});

rule('6.9.no-consumer', 'a request on a channel without a reply consumer is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  await other.consume(REPLY_TO, { noAck: true });
  await t.channel.refused(() => t.channel.publish('', queue, 'x', { replyTo: REPLY_TO }), {
    code: 406,
    text: 'fast reply consumer does not exist',
    method: 'basic.publish',
  });
});

rule(
  '6.9.reply',
  'it arrives with the name as its key, from the default exchange, not redelivered',
  async (target) => {
    const t = await scene(target);
    const { replies, server, replyName } = await requested(t);
    server.publish('', replyName, 'answer', { correlationId: '1', headers: { a: 1 } });
    const reply = await replies.next();
    expect(reply).toMatchObject({ body: 'answer', exchange: '', routingKey: replyName, redelivered: false });
    expect(reply.properties).toMatchObject({ correlationId: '1', headers: { a: 1 } });
  },
);

rule(
  '6.9.reply',
  'several replies to one request arrive in order, from several servers too',
  async (target) => {
    const t = await scene(target);
    const { replies, server, replyName } = await requested(t);
    server.publish('', replyName, '1');
    server.publish('', replyName, '2');
    expect((await replies.take(2)).map(({ body }) => body)).toEqual(['1', '2']);
    const other = await t.stranger();
    other.publish('', replyName, '3');
    expect((await replies.next()).body).toBe('3');
  },
);

rule('6.9.reply', 'on a confirm channel it is confirmed', async (target) => {
  const t = await scene(target);
  const { replies, server, replyName } = await requested(t);
  await server.confirms();
  await server.publishConfirmed('', replyName, ['answer']);
  expect((await replies.next()).body).toBe('answer');
});

rule('6.9.reply', 'a big reply arrives whole', async (target) => {
  const t = await scene(target);
  const { replies, server, replyName } = await requested(t);
  const body = Buffer.alloc(400_000, 'reply');
  server.publish('', replyName, body);
  expect((await replies.next()).bytes.equals(body)).toBe(true);
});

rule('6.9.declare', 'while the requester lives: no messages, one consumer', async (target) => {
  const t = await scene(target);
  const { server, replyName } = await requested(t);
  const ok = { queue: replyName, messageCount: 0, consumerCount: 1 };
  expect(await server.call('queue.declare', { queue: replyName, passive: true })).toEqual(ok);
  expect(await server.call('queue.declare', { queue: replyName })).toEqual(ok);
});

rule('6.9.declare', 'the name that is consumed can always be declared', async (target) => {
  const { channel } = await scene(target);
  const ok = { queue: REPLY_TO, messageCount: 0, consumerCount: 1 };
  expect(await channel.call('queue.declare', { queue: REPLY_TO, passive: true })).toEqual(ok);
  expect(await channel.call('queue.declare', { queue: REPLY_TO })).toEqual(ok);
});

for (const passive of [true, false]) {
  rule(
    '6.9.declare',
    `when the requester is gone a ${passive ? 'passive' : 'plain'} declare is refused`,
    async (target) => {
      const t = await scene(target);
      const { replies, server, replyName } = await requested(t);
      await replies.cancel();
      await server.refused(() => server.call('queue.declare', { queue: replyName, passive }), {
        code: 404,
        text: `no queue '${replyName}' in vhost '${t.vhost}'`,
        method: 'queue.declare',
      });
    },
  );
}

for (const how of ['cancel', 'channel close'] as const) {
  rule('6.9.gone', `after ${how} the reply vanishes and the server goes on`, async (target) => {
    const t = await scene(target);
    const { replies, server, replyName } = await requested(t);
    if (how === 'cancel') await replies.cancel();
    else await t.channel.close();
    await server.confirms();
    await server.publishConfirmed('', replyName, ['too late']);
    expect(server.closing).toBeNull();
    expect(replies.bodies).toEqual([]);
  });
}

/** How many mandatory replies of two are returned: one that arrives, and one to a requester that is gone. */
async function repliesReturned(target: Target): Promise<string[]> {
  const t = await scene(target);
  const { replies, server, replyName } = await requested(t);
  await server.confirms();
  server.publish('', replyName, 'in time', {}, { mandatory: true });
  expect((await replies.next()).body).toBe('in time');
  await replies.cancel();
  server.publish('', replyName, 'too late', {}, { mandatory: true });
  await server.until(() => server.settled() === 2, 'two confirms');
  return server.seen('basic.return').map(({ body }) => body!.toString());
}
rule(
  '6.9.mandatory',
  'neither the reply that arrives nor the one that comes too late is returned',
  async (target) => {
    expect(await repliesReturned(target)).toEqual([]);
  },
  {
    onRabbitMQ: async (target) => {
      expect(await repliesReturned(target)).toEqual(['in time', 'too late']);
    },
  },
);

rule(
  '6.9.opaque',
  'made-up names lead nowhere and harm nobody',
  async (target) => {
    const t = await scene(target);
    for (const name of [`${REPLY_TO}.x.y`, `${REPLY_TO}.`, `${REPLY_TO}.!!!`, `${REPLY_TO}.g2dkAA==.AAAA`]) {
      t.channel.publish('', name, 'x', {}, { mandatory: true });
      expect(await t.channel.nextReturn()).toMatchObject({ replyCode: 312, routingKey: name });
    }
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const channel = await t.stranger();
      channel.publish('', `${REPLY_TO}.x.y`, 'x');
      expect(await channel.closed()).toMatchObject({
        scope: 'connection',
        code: 541,
        text: 'INTERNAL_ERROR',
      });
    },
  },
);

// basic.get.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('6.4.get', 'an empty queue is told', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  expect(await t.channel.get(queue)).toBeNull();
  expect(await t.channel.get(queue, { noAck: true })).toBeNull();
});

rule('6.4.get', 'message after message, with the number left', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  expect(await t.channel.get(queue)).toMatchObject({
    body: '1',
    messageCount: 2,
    redelivered: false,
    exchange: '',
  });
  expect(await t.channel.get(queue)).toMatchObject({ body: '2', messageCount: 1, routingKey: queue });
  expect(await t.channel.get(queue)).toMatchObject({ body: '3', messageCount: 0 });
  expect(await t.channel.get(queue)).toBeNull();
});

rule('6.4.get', 'what was got waits for its ack, or goes back', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2']);
  t.channel.ack((await t.channel.get(queue))!);
  await t.channel.get(queue);
  await t.channel.close();
  const other = await t.newChannel();
  await other.untilReady(queue, 1);
  expect(await other.get(queue)).toMatchObject({ body: '2', redelivered: true, messageCount: 0 });
});

rule('6.4.get', 'with no-ack the message is gone at once', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1']);
  expect(await t.channel.get(queue, { noAck: true })).toMatchObject({ body: '1' });
  await t.channel.close();
  const other = await t.newChannel();
  expect(await other.get(queue)).toBeNull();
});

rule('6.4.get', 'two channels get different messages', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.stranger();
  t.channel.publishAll(queue, ['1', '2']);
  expect(await t.channel.get(queue)).toMatchObject({ body: '1' });
  expect(await other.get(queue)).toMatchObject({ body: '2' });
});

rule('6.4.get', 'several gets may be pipelined', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  const got = await Promise.all([1, 2, 3, 4].map(() => t.channel.get(queue)));
  expect(got.map((message) => message?.body)).toEqual(['1', '2', '3', undefined]);
});

rule('6.4.missing', 'a missing queue is refused', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.refused(() => t.channel.get(queue), {
    code: 404,
    text: `no queue '${queue}' in vhost '${t.vhost}'`,
    method: 'basic.get',
  });
});

for (const global of [false, true]) {
  rule(
    '6.4.prefetch',
    `a ${global ? 'channel-wide' : 'per-consumer'} limit of one does not stop gets`,
    async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      await t.channel.qos(1, global);
      t.channel.publishAll(queue, ['1', '2', '3']);
      for (const body of ['1', '2', '3']) expect(await t.channel.get(queue)).toMatchObject({ body });
    },
  );
}

// basic.recover and basic.recover-async.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('6.6.recover', 'everything unacknowledged goes back, then the answer comes', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  for (let i = 0; i < 3; i++) await t.channel.get(queue);
  t.channel.ack(2);
  await t.channel.call('basic.recover', { requeue: true });
  const other = await t.newChannel();
  expect(await other.get(queue)).toMatchObject({ body: '1', redelivered: true });
  expect(await other.get(queue)).toMatchObject({ body: '3', redelivered: true });
  expect(await other.get(queue)).toBeNull();
});

rule('6.6.recover', 'the old tags are unknown afterwards', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'x');
  await t.channel.get(queue);
  await t.channel.call('basic.recover', { requeue: true });
  await t.channel.refused(() => t.channel.ack(1), {
    code: 406,
    text: 'unknown delivery tag 1',
    method: 'basic.ack',
  });
});

rule('6.6.recover', 'the consumer of the channel gets its messages again with new tags', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['1', '2']);
  await consumer.take(2);
  await t.channel.call('basic.recover', { requeue: true });
  expect((await consumer.take(2)).map(({ body, tag, redelivered }) => [body, tag, redelivered])).toEqual([
    ['1', 3, true],
    ['2', 4, true],
  ]);
});

rule('6.6.recover', 'other channels keep what they hold', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  t.channel.publishAll(queue, ['mine', 'theirs']);
  await t.channel.get(queue);
  const theirs = await other.get(queue);
  await t.channel.call('basic.recover', { requeue: true });
  expect(await t.channel.drain(queue)).toEqual(['mine']);
  other.ack(theirs!);
  await other.fence();
  expect(other.closing).toBeNull();
});

rule('6.6.recover', 'with nothing outstanding it is answered all the same', async (target) => {
  const { channel } = await scene(target);
  await channel.call('basic.recover', { requeue: true });
});

rule('6.6.recover-async', 'the same, without an answer', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2']);
  for (let i = 0; i < 2; i++) await t.channel.get(queue);
  t.channel.send('basic.recover-async', { requeue: true });
  expect(await t.channel.drain(queue)).toEqual(['1', '2']);
  expect(t.channel.seen('basic.recover-ok')).toEqual([]);
});

for (const method of ['basic.recover', 'basic.recover-async']) {
  rule('6.6.recover-false', `${method} without requeue ends the connection`, async (target) => {
    const t = await scene(target);
    const channel = await t.stranger();
    await channel.refused(() => channel.send(method, { requeue: false }), {
      code: 540,
      text: 'requeue=false',
      method,
    });
  });
}

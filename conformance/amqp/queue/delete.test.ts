// Passive declare, purge, delete, and everything that follows from the end of a queue.
import { expect } from 'vitest';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const noQueue = (queue: string, t: Scene): string => `no queue '${queue}' in vhost '${t.vhost}'`;

/** A queue with a dead-letter exchange, and the queue that catches what dies. */
async function mortalQueue(t: Scene): Promise<{ queue: string; dead: string }> {
  const exchange = await t.exchange('fanout');
  const dead = await t.boundQueue(exchange);
  const queue = await t.queue({ arguments: { 'x-dead-letter-exchange': exchange } });
  return { queue, dead };
}

rule('5.4.passive', 'a missing queue is refused', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.refused(() => t.channel.call('queue.declare', { queue, passive: true }), {
    code: 404,
    text: noQueue(queue, t),
    method: 'queue.declare',
  });
});

rule('5.4.passive', 'flags and arguments are ignored', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  const fields = {
    queue,
    passive: true,
    exclusive: true,
    autoDelete: true,
    arguments: { 'x-message-ttl': 1 },
  };
  expect(await t.channel.call('queue.declare', fields)).toEqual({ queue, messageCount: 0, consumerCount: 0 });
});

rule('5.4.purge', 'all ready messages go and are counted', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  expect(await t.channel.call('queue.purge', { queue })).toEqual({ messageCount: 3 });
  expect(await t.channel.call('queue.purge', { queue })).toEqual({ messageCount: 0 });
  expect(await t.channel.get(queue)).toBeNull();
});

rule('5.4.purge', 'unacknowledged messages stay and can be requeued', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['held', 'purged', 'purged too']);
  const held = await t.channel.get(queue);
  expect(held).toMatchObject({ body: 'held' });
  expect(await t.channel.call('queue.purge', { queue })).toEqual({ messageCount: 2 });
  t.channel.nack(held!);
  expect(await t.channel.drain(queue)).toEqual(['held']);
});

rule('5.4.purge', 'messages that come after the purge are delivered', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['old']);
  await t.channel.call('queue.purge', { queue });
  const consumer = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['new']);
  expect(await consumer.next()).toMatchObject({ body: 'new' });
});

rule('5.4.purge-missing', 'purging a missing queue is refused', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.refused(() => t.channel.call('queue.purge', { queue }), {
    code: 404,
    text: noQueue(queue, t),
    method: 'queue.purge',
  });
});

rule('5.4.purge-dead-letter', 'the dead-letter exchange hears nothing of a purge', async (target) => {
  const t = await scene(target);
  const { queue, dead } = await mortalQueue(t);
  t.channel.publishAll(queue, ['purged']);
  await t.channel.call('queue.purge', { queue });
  t.channel.publishAll(queue, ['rejected']);
  t.channel.reject((await t.channel.get(queue))!, false);
  const consumer = await t.channel.consume(dead, { noAck: true });
  expect((await consumer.next()).body).toBe('rejected');
});

rule('5.4.delete', 'the ready messages are counted, the unacknowledged are not', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  await t.channel.get(queue);
  expect(await t.channel.call('queue.delete', { queue })).toEqual({ messageCount: 2 });
});

rule('5.4.delete', 'deleting a queue that is not there succeeds, with its conditions too', async (target) => {
  const t = await scene(target);
  expect(await t.channel.call('queue.delete', { queue: t.queueName() })).toEqual({ messageCount: 0 });
  const conditions = { ifUnused: true, ifEmpty: true };
  expect(await t.channel.call('queue.delete', { queue: t.queueName(), ...conditions })).toEqual({
    messageCount: 0,
  });
});

rule(
  '5.4.delete',
  'a deleted queue is gone, and its name can be declared with other properties',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ durable: true });
    t.channel.publishAll(queue, ['old']);
    await t.channel.call('queue.delete', { queue });
    const other = await t.newChannel();
    await other.refused(() => other.get(queue), { code: 404, text: noQueue(queue, t), method: 'basic.get' });
    const ok = await t.channel.call('queue.declare', {
      queue,
      autoDelete: true,
      arguments: { 'x-max-length': 5 },
    });
    expect(ok).toEqual({ queue, messageCount: 0, consumerCount: 0 });
  },
);

rule('5.4.delete', 'a publish to the name of a deleted queue is unroutable', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'while it is there');
  await t.channel.call('queue.delete', { queue });
  t.channel.publish('', queue, 'too late', {}, { mandatory: true });
  expect(await t.channel.nextReturn()).toMatchObject({ body: 'too late', replyCode: 312 });
});

rule('5.4.if-unused', 'a queue with a consumer is in use', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  const consumer = await other.consume(queue);
  await t.channel.refused(() => t.channel.call('queue.delete', { queue, ifUnused: true }), {
    code: 406,
    text: `queue '${queue}' in vhost '${t.vhost}' in use`,
    method: 'queue.delete',
  });
  await consumer.cancel();
  expect(await other.call('queue.delete', { queue, ifUnused: true })).toEqual({ messageCount: 0 });
});

rule('5.4.if-unused', 'messages do not make a queue used', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2']);
  await t.channel.get(queue);
  expect(await t.channel.call('queue.delete', { queue, ifUnused: true })).toEqual({ messageCount: 1 });
});

rule('5.4.if-empty', 'a queue with a ready message is not empty', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['x']);
  await t.channel.refused(() => t.channel.call('queue.delete', { queue, ifEmpty: true }), {
    code: 406,
    text: `queue '${queue}' in vhost '${t.vhost}' not empty`,
    method: 'queue.delete',
  });
});

rule('5.4.if-empty', 'unacknowledged messages and consumers do not count', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['x']);
  const consumer = await t.channel.consume(queue);
  await consumer.next();
  expect(await t.channel.call('queue.delete', { queue, ifEmpty: true })).toEqual({ messageCount: 0 });
});

rule('5.4.if-empty', 'both conditions: not empty is told first', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  await other.qos(1);
  const consumer = await other.consume(queue);
  await t.channel.confirms();
  await t.channel.publishConfirmed('', queue, ['1', '2']);
  await consumer.next();
  await t.channel.refused(() => t.channel.call('queue.delete', { queue, ifUnused: true, ifEmpty: true }), {
    code: 406,
    text: `queue '${queue}' in vhost '${t.vhost}' not empty`,
    method: 'queue.delete',
  });
});

rule('5.4.bindings', 'a new queue of the name has none of the old bindings', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const queue = await t.boundQueue(exchange);
  await t.channel.call('queue.delete', { queue });
  await t.channel.call('queue.declare', { queue });
  t.channel.publish(exchange, '', 'lost');
  expect(await t.channel.drain(queue)).toEqual([]);
  await t.channel.call('exchange.delete', { exchange, ifUnused: true });
});

rule('5.4.cancel', 'all its consumers are told, each by its tag, with no-wait', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.stranger();
  await t.channel.consume(queue, { consumerTag: 'mine' });
  await other.consume(queue, { consumerTag: 'first' });
  await other.consume(queue, { consumerTag: 'second' });
  await t.channel.call('queue.delete', { queue });
  expect((await t.channel.next('basic.cancel')).fields).toEqual({ consumerTag: 'mine', nowait: true });
  const tags = [await other.next('basic.cancel'), await other.next('basic.cancel')].map(
    ({ fields }) => fields['consumerTag'],
  );
  expect(tags.sort()).toEqual(['first', 'second']);
});

rule(
  '5.4.cancel',
  'the tag of a cancelled consumer is free again, and cancelling it is answered',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    await t.channel.consume(queue, { consumerTag: 'tag' });
    await t.channel.call('queue.delete', { queue });
    await t.channel.next('basic.cancel');
    await t.channel.call('queue.declare', { queue });
    const again = await t.channel.consume(queue, { consumerTag: 'tag' });
    t.channel.publishAll(queue, ['x']);
    expect(await again.next()).toMatchObject({ body: 'x' });
    await again.cancel();
    await again.cancel();
  },
);

rule(
  '5.4.cancel',
  'the end of an exclusive or auto-delete queue cancels its consumers too',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ autoDelete: true });
    await t.channel.consume(queue, { consumerTag: 'watcher' });
    const other = await t.newChannel();
    await other.call('queue.delete', { queue });
    expect((await t.channel.next('basic.cancel')).fields).toMatchObject({ consumerTag: 'watcher' });
  },
);

rule('5.4.cancel', 'a client without the capability hears nothing', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const quiet = await t.stranger({
    clientProperties: { capabilities: { authentication_failure_close: true } },
  });
  const watcher = await t.newChannel();
  await watcher.consume(queue);
  await quiet.consume(queue, { consumerTag: 'deaf' });
  await quiet.call('queue.delete', { queue });
  // Channels hear of the end behind delete-ok, and until then the tag is taken. Only the others are told.
  await watcher.next('basic.cancel');
  const next = await t.queue({}, quiet);
  const consumer = await quiet.consume(next, { consumerTag: 'deaf' });
  quiet.publish('', next, 'x');
  expect(await consumer.next()).toMatchObject({ body: 'x' });
  expect(quiet.seen('basic.cancel')).toEqual([]);
});

for (const how of ['ack', 'nack', 'reject', 'ack multiple'] as const) {
  rule('5.4.late-ack', `${how} after the queue is gone`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2']);
    const consumer = await t.channel.consume(queue);
    const [, second] = await consumer.take(2);
    await t.channel.call('queue.delete', { queue });
    if (how === 'ack') t.channel.ack(second!);
    else if (how === 'nack') t.channel.nack(second!);
    else if (how === 'reject') t.channel.reject(second!);
    else t.channel.ack(second!, true);
    await t.channel.fence();
    expect(t.channel.closing).toBeNull();
  });
}

rule('5.4.late-ack', 'a requeue after the end does not reach a new queue of the name', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['old']);
  const message = await t.channel.get(queue);
  await t.channel.call('queue.delete', { queue });
  await t.channel.call('queue.declare', { queue });
  t.channel.nack(message!);
  t.channel.publishAll(queue, ['new']);
  expect(await t.channel.drain(queue)).toEqual(['new']);
});

rule('5.4.delete-dead-letter', 'the dead-letter exchange hears nothing of a delete', async (target) => {
  const t = await scene(target);
  const { queue, dead } = await mortalQueue(t);
  t.channel.publishAll(queue, ['held', 'ready']);
  const held = await t.channel.get(queue);
  await t.channel.call('queue.delete', { queue });
  t.channel.nack(held!, { requeue: false });
  expect(await t.channel.drain(dead)).toEqual([]);
});

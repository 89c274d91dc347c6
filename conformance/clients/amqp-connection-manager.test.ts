// The same stories through amqp-connection-manager, which keeps channels alive over reconnects.
import type { Socket } from 'node:net';
import { type AmqpConnectionManager, type ChannelWrapper, connect } from 'amqp-connection-manager';
import type { Channel, ConsumeMessage } from 'amqplib';
import { expect, onTestFinished, test } from 'vitest';
import { Inbox } from '../support/inbox.ts';
import { useTarget } from '../support/target.ts';

const target = useTarget();

/** A managed connection; closed when the test ends. */
function open(): AmqpConnectionManager {
  const manager = connect([target.url], { reconnectTimeInSeconds: 0.01 });
  onTestFinished(() => manager.close());
  return manager;
}

/** A managed channel that declares one queue whenever it connects. */
async function withQueue(
  manager: AmqpConnectionManager,
  queue: string,
  options: object,
): Promise<ChannelWrapper> {
  const wrapper = manager.createChannel({
    setup: async (channel: Channel) => {
      await channel.assertQueue(queue, options);
    },
  });
  await wrapper.waitForConnect();
  return wrapper;
}

test('what is sent before the connection stands arrives, confirmed', async () => {
  const manager = open();
  const queue = target.name('early');
  const channel = manager.createChannel({
    json: true,
    setup: (raw: Channel) => raw.assertQueue(queue, { exclusive: true }).then(() => undefined),
  });
  expect(await channel.sendToQueue(queue, { hello: 'world' })).toBe(true);
  const got = await channel.get(queue, { noAck: true });
  expect(got === false ? null : JSON.parse(got.content.toString())).toEqual({ hello: 'world' });
});

test('tasks are shared under a prefetch of one, and a nacked one comes again', async () => {
  const manager = open();
  const queue = target.name('tasks');
  const channel = await withQueue(manager, queue, { exclusive: true });
  const received = new Inbox<ConsumeMessage>('task');
  await channel.consume(queue, received.push, { prefetch: 1 });
  for (const task of ['1', '2']) await channel.sendToQueue(queue, task);
  const first = await received.next();
  channel.nack(first);
  const again = await received.next();
  expect([again.content.toString(), again.fields.redelivered]).toEqual(['1', true]);
  channel.ack(again);
  expect((await received.next()).content.toString()).toBe('2');
});

test('publish/subscribe over a topic exchange', async () => {
  const manager = open();
  const exchange = target.name('events');
  const channel = manager.createChannel({
    setup: (raw: Channel) =>
      raw.assertExchange(exchange, 'topic', { durable: false, autoDelete: true }).then(() => undefined),
  });
  await channel.waitForConnect();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, '*.created');
  const received = new Inbox<string>('event');
  await channel.consume(queue, (message) => received.push(message.fields.routingKey), { noAck: true });
  for (const key of ['user.created', 'user.deleted', 'order.created'])
    await channel.publish(exchange, key, Buffer.from('x'));
  expect(await received.take(2)).toEqual(['user.created', 'order.created']);
});

test('after a broken connection channel, queue and consumer are there again, and unacknowledged work returns', async () => {
  const manager = open();
  const queue = target.name('survivor');
  const channel = await withQueue(manager, queue, { durable: true });
  const received = new Inbox<ConsumeMessage>('message');
  const connected = new Inbox<null>('new connection');
  await channel.consume(queue, received.push, { prefetch: 5 });
  await channel.sendToQueue(queue, 'held', { persistent: true });
  expect((await received.next()).content.toString()).toBe('held');

  channel.on('connect', () => connected.push(null));
  const { connection } = manager.connection as unknown as { connection: { stream: Socket } };
  const lost = new Promise<void>((resolve) => manager.once('disconnect', () => resolve()));
  connection.stream.destroy(new Error('cut by the test'));
  await lost;
  const sent = channel.sendToQueue(queue, 'sent meanwhile', { persistent: true });
  await connected.next();
  expect(await sent).toBe(true);
  // The broker may notice the loss, and give back what was held, only after the new connection is at work.
  const messages = await received.take(2);
  expect(messages.map(({ content, fields }) => `${content} ${fields.redelivered}`).sort()).toEqual([
    'held true',
    'sent meanwhile false',
  ]);
  for (const message of messages) channel.ack(message);
  // It would begin anew when the server cancels it.
  await channel.cancelAll();
  await channel.deleteQueue(queue);
});

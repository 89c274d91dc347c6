// What a client sees that sends several requests in one go, as if each had been done before the next was looked at (RabbitMQ).

import type * as amqplib from 'amqplib';
import { expect, it } from 'vitest';
import { method, openRaw, publish } from '../../conformance/support/raw-client.ts';
import { Session, startBroker } from './support.ts';

/** A session on a new broker, and an exclusive queue. */
async function scene(args: Record<string, unknown> = {}) {
  const broker = await startBroker();
  const session = await Session.open(broker);
  const { queue } = await session.channel.assertQueue('', { exclusive: true, arguments: args });
  return { broker, session, channel: session.channel, queue };
}

/** Consumes without acknowledging; the bodies that came. */
async function consumeInto(
  channel: amqplib.Channel,
  queue: string,
  options: amqplib.Options.Consume = { noAck: true },
) {
  const bodies: string[] = [];
  await channel.consume(
    queue,
    (message) => message !== null && bodies.push(message.content.toString()),
    options,
  );
  return bodies;
}

const send = (channel: amqplib.Channel, queue: string, body: string, options: amqplib.Options.Publish = {}) =>
  channel.sendToQueue(queue, Buffer.from(body), options);

it('a purge right behind a publish does not take what a consumer waits for', async () => {
  const { channel, queue } = await scene();
  const bodies = await consumeInto(channel, queue);
  send(channel, queue, 'wanted');
  expect(await channel.purgeQueue(queue)).toEqual({ messageCount: 0 });
  await channel.checkQueue(queue);
  expect(bodies).toEqual(['wanted']);
});

it('a get, a count and a deletion right behind a publish find what the consumer has left', async () => {
  const { channel, queue } = await scene();
  const bodies = await consumeInto(channel, queue);
  send(channel, queue, 'first');
  expect(await channel.get(queue)).toBe(false);
  send(channel, queue, 'second');
  expect((await channel.checkQueue(queue)).messageCount).toBe(0);
  send(channel, queue, 'third');
  expect(await channel.deleteQueue(queue, { ifEmpty: true })).toEqual({ messageCount: 0 });
  expect(bodies).toEqual(['first', 'second', 'third']);
});

it('a message that lives for 0 ms is gone for the get and the consumer right behind it', async () => {
  const { channel, queue } = await scene();
  send(channel, queue, 'too late', { expiration: '0' });
  expect(await channel.get(queue)).toBe(false);
  send(channel, queue, 'too late again', { expiration: '0' });
  const bodies = await consumeInto(channel, queue);
  expect((await channel.checkQueue(queue)).messageCount).toBe(0);
  expect(bodies).toEqual([]);
});

it('a count right behind publishes is within the limit of the queue', async () => {
  const { channel, queue } = await scene({ 'x-max-length': 1 });
  await channel.prefetch(1);
  await consumeInto(channel, queue, { noAck: false });
  for (const body of ['a', 'b', 'c']) send(channel, queue, body);
  expect((await channel.checkQueue(queue)).messageCount).toBe(1);
});

it('what is confirmed is told before a channel is closed over an error', async () => {
  const { broker, session } = await scene();
  const channel = await session.connection.createConfirmChannel();
  channel.on('error', () => {});
  const told: (Error | null)[] = [];
  channel.publish('', 'nowhere', Buffer.from('a'), {}, (error) => told.push(error));
  channel.publish('', 'nowhere', Buffer.from('b'), {}, (error) => told.push(error));
  const closed = new Promise((resolve) => channel.once('close', resolve));
  channel.publish('no such exchange', 'k', Buffer.from('c'));
  await closed;
  expect(told.slice(0, 2)).toEqual([null, null]);
  await broker.stop();
});

it('what a transaction has acknowledged is not requeued by a recover before the commit', async () => {
  const broker = await startBroker();
  const client = await openRaw(broker.url);
  await client.openChannel(1);
  client.send(method(1, 'queue.declare', { queue: 'q' }), publish(1, '', 'q', 'x'), method(1, 'tx.select'));
  await client.expect('queue.declare-ok', 1);
  await client.expect('tx.select-ok', 1);
  client.send(method(1, 'basic.get', { queue: 'q' }));
  await client.expectContent('basic.get-ok', 1);
  client.send(
    method(1, 'basic.ack', { deliveryTag: 1 }),
    method(1, 'basic.recover', { requeue: true }),
    method(1, 'tx.commit'),
  );
  await client.expect('basic.recover-ok', 1);
  await client.expect('tx.commit-ok', 1);
  client.send(method(1, 'basic.get', { queue: 'q' }));
  await client.expect('basic.get-empty', 1);
  client.destroy();
});

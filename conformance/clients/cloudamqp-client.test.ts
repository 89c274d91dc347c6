// The same stories through @cloudamqp/amqp-client over TCP: its channels and its session.
import { AMQPClient, type AMQPMessage, AMQPSession } from '@cloudamqp/amqp-client';
import { expect, onTestFinished, test } from 'vitest';
import { Inbox } from '../support/inbox.ts';
import { useTarget } from '../support/target.ts';

const target = useTarget();

/** A channel of a new connection, which is closed when the test ends. */
async function open(): ReturnType<Awaited<ReturnType<AMQPClient['connect']>>['channel']> {
  const client = new AMQPClient(target.url);
  const connection = await client.connect();
  onTestFinished(() => connection.close().catch(() => undefined));
  return connection.channel();
}

test('publish, consume, ack, with all properties', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true, autoDelete: false });
  expect(name).toMatch(/^amq\.gen-/);
  const received = new Inbox<AMQPMessage>('message');
  const consumer = await channel.basicConsume(name, { noAck: false }, received.push);
  const properties = {
    contentType: 'text/plain',
    contentEncoding: 'identity',
    headers: { text: 'ü', number: 42, yes: true, list: [1, 'two'], deep: { er: null } },
    deliveryMode: 2,
    priority: 3,
    correlationId: 'c',
    replyTo: 'r',
    expiration: '60000',
    messageId: 'm',
    timestamp: new Date(1_700_000_000_000),
    type: 't',
    appId: 'a',
  };
  await channel.basicPublish('', name, 'Hello World', properties);
  const message = await received.next();
  expect(message.bodyString()).toBe('Hello World');
  expect(message.properties).toEqual(properties);
  await message.ack();
  await consumer.cancel();
  expect(await channel.queueDeclare(name, { passive: true })).toEqual({
    name,
    messageCount: 0,
    consumerCount: 0,
  });
});

test('get, nack, reject and recover', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.confirmSelect();
  for (const body of ['1', '2', '3']) await channel.basicPublish('', name, body);
  const first = await channel.basicGet(name, { noAck: false });
  expect([first?.bodyString(), first?.redelivered, first?.messageCount]).toEqual(['1', false, 2]);
  await first?.nack(true);
  const again = await channel.basicGet(name, { noAck: false });
  expect([again?.bodyString(), again?.redelivered]).toEqual(['1', true]);
  await again?.reject(false);
  const second = await channel.basicGet(name, { noAck: false });
  expect(second?.bodyString()).toBe('2');
  await channel.basicRecover(true);
  const recovered = await channel.basicGet(name, { noAck: true });
  expect([recovered?.bodyString(), recovered?.redelivered]).toEqual(['2', true]);
  expect(await channel.queuePurge(name)).toEqual({ messageCount: 1 });
  expect(await channel.basicGet(name, { noAck: true })).toBeNull();
});

test('a big body crosses in many frames', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  const body = Buffer.alloc(1_000_000, 'leveret');
  await channel.basicPublish('', name, body);
  const message = await channel.basicGet(name, { noAck: true });
  expect(Buffer.from(message!.body as Uint8Array).equals(body)).toBe(true);
});

test('exchanges of all types, bound to queues and to each other', async () => {
  const channel = await open();
  const names = { fanout: '', direct: '', topic: '', headers: '' };
  for (const type of ['fanout', 'direct', 'topic', 'headers'] as const) {
    names[type] = target.name(type);
    await channel.exchangeDeclare(names[type], type, { autoDelete: true, durable: false });
  }
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.queueBind(name, names.direct, 'key');
  await channel.queueBind(name, names.topic, 'a.#');
  await channel.queueBind(name, names.headers, '', { 'x-match': 'any', colour: 'blue' });
  await channel.exchangeBind(names.topic, names.fanout, '#');
  await channel.confirmSelect();
  await channel.basicPublish(names.direct, 'key', 'direct');
  await channel.basicPublish(names.direct, 'other', 'lost');
  await channel.basicPublish(names.fanout, 'a.b.c', 'fanout, then topic');
  await channel.basicPublish(names.headers, '', 'headers', { headers: { colour: 'blue' } });
  await channel.basicPublish(names.headers, '', 'lost', { headers: { colour: 'red' } });
  const bodies: (string | null)[] = [];
  for (let i = 0; i < 4; i++)
    bodies.push((await channel.basicGet(name, { noAck: true }))?.bodyString() ?? null);
  expect(bodies).toEqual(['direct', 'fanout, then topic', 'headers', null]);
  await channel.exchangeUnbind(names.topic, names.fanout, '#');
  await channel.queueUnbind(name, names.direct, 'key');
});

test('confirms number the publishes, and a return comes before its confirm', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.confirmSelect();
  const returned = new Inbox<AMQPMessage>('return');
  channel.onReturn = returned.push;
  const numbers = await Promise.all(
    Array.from({ length: 50 }, (_unused, i) => channel.basicPublish('', name, String(i))),
  );
  expect(numbers).toEqual(Array.from({ length: 50 }, (_unused, i) => i + 1));
  await channel.basicPublish('', target.name('nobody'), 'come back', {}, true);
  expect(returned.all.length).toBe(1);
  expect(await returned.next()).toMatchObject({ replyCode: 312, replyText: 'NO_ROUTE' });
});

test('transactions commit and roll back', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.txSelect();
  await channel.basicPublish('', name, 'dropped');
  await channel.txRollback();
  await channel.basicPublish('', name, 'kept');
  expect(await channel.basicGet(name, { noAck: true })).toBeNull();
  await channel.txCommit();
  expect((await channel.basicGet(name, { noAck: true }))?.bodyString()).toBe('kept');
});

test('prefetch limits an iterating consumer, and breaking off cancels it', async () => {
  const channel = await open();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.confirmSelect();
  for (const body of ['1', '2', '3']) await channel.basicPublish('', name, body);
  await channel.prefetch(1);
  const bodies: (string | null)[] = [];
  const consumer = await channel.basicConsume(name, { noAck: false });
  for await (const message of consumer.messages) {
    bodies.push(message.bodyString());
    await message.ack();
    if (bodies.length === 3) break;
  }
  expect(bodies).toEqual(['1', '2', '3']);
});

test('a refusal ends the channel with its text, the connection opens another', async () => {
  const client = new AMQPClient(target.url);
  const connection = await client.connect();
  onTestFinished(() => connection.close().catch(() => undefined));
  const missing = target.name('missing');
  const channel = await connection.channel();
  await expect(channel.queueDeclare(missing, { passive: true })).rejects.toThrow(
    `NOT_FOUND - no queue '${missing}'`,
  );
  const next = await connection.channel();
  expect((await next.queueDeclare('', { exclusive: true })).name).toMatch(/^amq\.gen-/);
});

test('its session publishes, subscribes and calls procedures', async () => {
  const session = await AMQPSession.connect(target.url);
  onTestFinished(() => session.stop());
  const exchange = target.name('events');
  const topic = await session.topicExchange(exchange, { durable: false, autoDelete: true });
  const queue = await session.queue(target.name('listener'), { durable: false, autoDelete: true });
  await queue.bind(topic, 'a.*');
  const received = new Inbox<string | null>('event');
  const subscription = await queue.subscribe((message) => received.push(message.bodyString()));
  await topic.publish('first', { routingKey: 'a.b' });
  await topic.publish('lost', { routingKey: 'b.b' });
  await topic.publish('second', { routingKey: 'a.c' });
  expect(await received.take(2)).toEqual(['first', 'second']);
  await subscription.cancel();

  const procedure = target.name('procedure');
  const server = await session.rpcServer(procedure, (message) => `echo ${message.bodyString()}`);
  expect((await session.rpcCall(procedure, 'hello', { timeout: 5_000 })).bodyString()).toBe('echo hello');
  await server.close();
  await (await session.queue(procedure)).delete();
});

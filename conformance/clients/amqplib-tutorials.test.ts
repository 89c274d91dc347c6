// The seven tutorials everybody begins with, each told to its end with amqplib.
import * as amqplib from 'amqplib';
import { expect, onTestFinished, test } from 'vitest';
import { Inbox } from '../support/inbox.ts';
import { useTarget } from '../support/target.ts';

const target = useTarget();

/** A program's connection; closed when the test ends. */
async function connect(): Promise<amqplib.ChannelModel> {
  const connection = await amqplib.connect(target.url, { noDelay: true });
  connection.on('error', () => undefined);
  onTestFinished(() => connection.close().catch(() => undefined));
  return connection;
}

/** Removes a shared queue or exchange when the test ends. */
function removeAtEnd(kind: 'queue' | 'exchange', name: string): string {
  onTestFinished(async () => {
    const connection = await amqplib.connect(target.url, { noDelay: true });
    const channel = await connection.createChannel();
    await (kind === 'queue' ? channel.deleteQueue(name) : channel.deleteExchange(name));
    await connection.close();
  });
  return name;
}

/** Consumes with no-ack into an inbox of texts. */
async function texts(channel: amqplib.Channel, queue: string): Promise<Inbox<string>> {
  const inbox = new Inbox<string>('message');
  await channel.consume(queue, (message) => inbox.push(message!.content.toString()), { noAck: true });
  return inbox;
}

test('1, Hello World: one program sends, another receives, whoever comes first', async () => {
  const queue = removeAtEnd('queue', target.name('hello'));
  const sender = await (await connect()).createChannel();
  await sender.assertQueue(queue, { durable: false });
  sender.sendToQueue(queue, Buffer.from('Hello World!'));

  const receiver = await (await connect()).createChannel();
  await receiver.assertQueue(queue, { durable: false });
  const received = await texts(receiver, queue);
  expect(await received.next()).toBe('Hello World!');
  sender.sendToQueue(queue, Buffer.from('Hello again!'));
  expect(await received.next()).toBe('Hello again!');
});

test('2, Work queues: tasks are shared fairly, and a dying worker loses none', async () => {
  const queue = removeAtEnd('queue', target.name('task_queue'));
  const boss = await (await connect()).createChannel();
  await boss.assertQueue(queue, { durable: true });

  async function worker(): Promise<{
    connection: amqplib.ChannelModel;
    channel: amqplib.Channel;
    tasks: Inbox<amqplib.ConsumeMessage>;
  }> {
    const connection = await connect();
    const channel = await connection.createChannel();
    await channel.assertQueue(queue, { durable: true });
    await channel.prefetch(1);
    const tasks = new Inbox<amqplib.ConsumeMessage>('task');
    await channel.consume(queue, (message) => tasks.push(message!), { noAck: false });
    return { connection, channel, tasks };
  }
  const first = await worker();
  const second = await worker();
  for (const task of ['A...', 'B.', 'C.', 'D.'])
    boss.sendToQueue(queue, Buffer.from(task), { persistent: true });

  // The first worker is busy with a long task; the second does the short ones.
  const long = await first.tasks.next();
  expect(long.content.toString()).toBe('A...');
  expect(long.properties.deliveryMode).toBe(2);
  for (const task of ['B.', 'C.', 'D.']) {
    const message = await second.tasks.next();
    expect(message.content.toString()).toBe(task);
    second.channel.ack(message);
  }

  // It dies before its ack; the task goes to the other one.
  await first.connection.close();
  const again = await second.tasks.next();
  expect(again.content.toString()).toBe('A...');
  expect(again.fields.redelivered).toBe(true);
  second.channel.ack(again);
  const { messageCount, consumerCount } = await second.channel.checkQueue(queue);
  expect({ messageCount, consumerCount }).toEqual({ messageCount: 0, consumerCount: 1 });
});

test('3, Publish/subscribe: every listener hears the log, and only from when it listens', async () => {
  const exchange = removeAtEnd('exchange', target.name('logs'));
  const emitter = await (await connect()).createChannel();
  await emitter.assertExchange(exchange, 'fanout', { durable: false });
  emitter.publish(exchange, '', Buffer.from('nobody hears this'));
  // Behind this answer it has been routed.
  await emitter.checkExchange(exchange);

  async function listener(): Promise<Inbox<string>> {
    const channel = await (await connect()).createChannel();
    await channel.assertExchange(exchange, 'fanout', { durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, '');
    return texts(channel, queue);
  }
  const screen = await listener();
  emitter.publish(exchange, '', Buffer.from('one'));
  expect(await screen.next()).toBe('one');
  const file = await listener();
  emitter.publish(exchange, '', Buffer.from('two'));
  expect(await screen.next()).toBe('two');
  expect(await file.next()).toBe('two');
  expect(file.all).toEqual(['two']);
});

test('4, Routing: a listener gets the severities it asked for', async () => {
  const exchange = removeAtEnd('exchange', target.name('direct_logs'));
  const emitter = await (await connect()).createChannel();
  await emitter.assertExchange(exchange, 'direct', { durable: false });

  async function listener(severities: readonly string[]): Promise<Inbox<string>> {
    const channel = await (await connect()).createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const severity of severities) await channel.bindQueue(queue, exchange, severity);
    const inbox = new Inbox<string>('log line');
    await channel.consume(
      queue,
      (message) => inbox.push(`${message!.fields.routingKey}: ${message!.content}`),
      {
        noAck: true,
      },
    );
    return inbox;
  }
  const errors = await listener(['error']);
  const everything = await listener(['info', 'warning', 'error']);
  for (const [severity, text] of [
    ['info', 'started'],
    ['warning', 'slow'],
    ['error', 'broken'],
    ['debug', 'nobody asks'],
  ] as const) {
    emitter.publish(exchange, severity, Buffer.from(text));
  }
  expect(await everything.take(3)).toEqual(['info: started', 'warning: slow', 'error: broken']);
  expect(await errors.next()).toBe('error: broken');
  expect([errors.all.length, everything.all.length]).toEqual([1, 3]);
});

test('5, Topics: facility and severity are matched by patterns', async () => {
  const exchange = removeAtEnd('exchange', target.name('topic_logs'));
  const emitter = await (await connect()).createChannel();
  await emitter.assertExchange(exchange, 'topic', { durable: false });

  async function listener(...patterns: readonly string[]): Promise<Inbox<string>> {
    const channel = await (await connect()).createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const pattern of patterns) await channel.bindQueue(queue, exchange, pattern);
    return texts(channel, queue);
  }
  const all = await listener('#');
  const kernel = await listener('kern.*');
  const critical = await listener('*.critical');
  const both = await listener('kern.*', '*.critical');
  const keys = ['kern.critical', 'kern.info', 'cron.critical', 'cron.info', 'kern', 'end'];
  for (const key of keys) emitter.publish(exchange, key, Buffer.from(key));
  expect(await all.take(6)).toEqual(keys);
  expect(await kernel.take(2)).toEqual(['kern.critical', 'kern.info']);
  expect(await critical.take(2)).toEqual(['kern.critical', 'cron.critical']);
  expect(await both.take(3)).toEqual(['kern.critical', 'kern.info', 'cron.critical']);
  expect([kernel.all.length, critical.all.length, both.all.length]).toEqual([2, 2, 3]);
});

/** The server of the sixth tutorial: Fibonacci numbers on request. */
async function fibonacciServer(queue: string): Promise<void> {
  const channel = await (await connect()).createChannel();
  await channel.assertQueue(queue, { durable: false });
  await channel.prefetch(1);
  await channel.consume(queue, (message) => {
    let [a, b] = [0, 1];
    for (let n = Number(message!.content.toString()); n > 0; n--) [a, b] = [b, a + b];
    const { replyTo, correlationId } = message!.properties as { replyTo: string; correlationId: string };
    channel.sendToQueue(replyTo, Buffer.from(String(a)), { correlationId });
    channel.ack(message!);
  });
}

for (const replies of ['a queue of its own', 'direct reply-to'] as const) {
  test(`6, RPC: answers find their questions by correlation id, over ${replies}`, async () => {
    const queue = removeAtEnd('queue', target.name('rpc_queue'));
    await fibonacciServer(queue);
    const client = await (await connect()).createChannel();
    const replyTo =
      replies === 'direct reply-to'
        ? 'amq.rabbitmq.reply-to'
        : (await client.assertQueue('', { exclusive: true })).queue;
    const answers = new Inbox<[string, string]>('answer');
    await client.consume(
      replyTo,
      (message) => answers.push([message!.properties.correlationId as string, message!.content.toString()]),
      { noAck: true },
    );
    for (const n of [30, 1, 10]) {
      client.sendToQueue(queue, Buffer.from(String(n)), { correlationId: `fib(${n})`, replyTo });
    }
    expect(await answers.take(3)).toEqual([
      ['fib(30)', '832040'],
      ['fib(1)', '1'],
      ['fib(10)', '55'],
    ]);
  });
}

test('7, Publisher confirms: one by one, in batches, and as they come', async () => {
  const queue = removeAtEnd('queue', target.name('confirmed'));
  const channel = await (await connect()).createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });

  for (let i = 0; i < 10; i++) {
    channel.sendToQueue(queue, Buffer.from(`single ${i}`), { persistent: true });
    await channel.waitForConfirms();
  }
  for (let i = 0; i < 100; i++) {
    channel.sendToQueue(queue, Buffer.from(`batch ${i}`), { persistent: true });
    if (i % 25 === 24) await channel.waitForConfirms();
  }
  let outstanding = 0;
  let refused = 0;
  const done = new Inbox<null>('last confirm');
  for (let i = 0; i < 500; i++) {
    outstanding++;
    channel.sendToQueue(queue, Buffer.from(`async ${i}`), { persistent: true }, (error) => {
      if (error !== null) refused++;
      if (--outstanding === 0) done.push(null);
    });
  }
  await done.next();
  expect(refused).toBe(0);
  expect((await channel.checkQueue(queue)).messageCount).toBe(610);
  await channel.waitForConfirms();
});

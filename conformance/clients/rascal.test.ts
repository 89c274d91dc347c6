// The same stories through rascal, which is all configuration.
import { createRequire } from 'node:module';
import { expect, onTestFinished, test } from 'vitest';
import { Inbox } from '../support/inbox.ts';
import { useTarget } from '../support/target.ts';

const target = useTarget();

interface Events {
  on(event: string, listener: (...args: never[]) => void): this;
}
interface RascalBroker extends Events {
  publish(name: string, content: unknown, overrides?: object): Promise<Events>;
  subscribe(name: string): Promise<Events & { cancel(): Promise<void> }>;
  shutdown(): Promise<void>;
}
type AckOrNack = (error?: Error | null, recovery?: object | object[]) => void;

const rascal = createRequire(import.meta.url)('rascal') as {
  BrokerAsPromised: { create(config: object): Promise<RascalBroker> };
  withDefaultConfig(config: object): object;
};

/** Connects with this topology; shut down when the test ends. */
async function create(vhost: object): Promise<RascalBroker> {
  const broker = await rascal.BrokerAsPromised.create(
    rascal.withDefaultConfig({
      vhosts: { '/': { connection: { url: target.url, options: { heartbeat: 10 } }, ...vhost } },
    }),
  );
  broker.on('error', () => undefined);
  onTestFinished(() => broker.shutdown());
  return broker;
}

/** Publishes and waits for the outcome. */
async function published(
  broker: RascalBroker,
  name: string,
  content: unknown,
  overrides: object = {},
): Promise<string> {
  const publication = await broker.publish(name, content, overrides);
  const outcome = new Inbox<string>('outcome of a publication');
  for (const event of ['success', 'return', 'error']) publication.on(event, () => outcome.push(event));
  return outcome.next();
}

test('a publication reaches a subscription, parsed', async () => {
  const queue = target.name('demo_q');
  const exchange = target.name('demo_ex');
  const broker = await create({
    exchanges: { [exchange]: { type: 'topic', options: { durable: false, autoDelete: true } } },
    queues: { [queue]: { options: { durable: false, exclusive: true } } },
    bindings: [`${exchange}[a.b] -> ${queue}`],
    publications: { demo: { exchange, routingKey: 'a.b', confirm: true } },
    subscriptions: { demo: { queue, prefetch: 3 } },
  });
  const received = new Inbox<unknown>('message');
  const subscription = await broker.subscribe('demo');
  subscription.on('message', ((_message: object, content: unknown, ackOrNack: AckOrNack) => {
    received.push(content);
    ackOrNack();
  }) as never);
  expect(await published(broker, 'demo', { hello: 'world' })).toBe('success');
  expect(await published(broker, 'demo', 'text')).toBe('success');
  expect(await received.take(2)).toEqual([{ hello: 'world' }, 'text']);
});

test('a failing handler gets the message again, and in the end it is dead-lettered', async () => {
  const queue = target.name('work');
  const dead = target.name('dead');
  const broker = await create({
    exchanges: { '': {} },
    queues: {
      [dead]: { options: { durable: false, exclusive: true } },
      [queue]: {
        options: {
          durable: false,
          exclusive: true,
          arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
        },
      },
    },
    publications: { work: { queue, confirm: true } },
    subscriptions: { work: { queue, prefetch: 1 }, dead: { queue: dead } },
  });
  const attempts = new Inbox<boolean>('attempt');
  const work = await broker.subscribe('work');
  work.on('message', ((
    message: { fields: { redelivered: boolean } },
    _content: unknown,
    ackOrNack: AckOrNack,
  ) => {
    attempts.push(message.fields.redelivered);
    if (message.fields.redelivered) ackOrNack(new Error('twice'), { strategy: 'nack' });
    else ackOrNack(new Error('once'), { strategy: 'nack', requeue: true });
  }) as never);
  const buried = new Inbox<unknown>('dead letter');
  const funeral = await broker.subscribe('dead');
  funeral.on('message', ((_message: object, content: unknown, ackOrNack: AckOrNack) => {
    buried.push(content);
    ackOrNack();
  }) as never);
  expect(await published(broker, 'work', 'hopeless')).toBe('success');
  expect(await attempts.take(2)).toEqual([false, true]);
  expect(await buried.next()).toBe('hopeless');
});

test('an unroutable mandatory publication is returned', async () => {
  const exchange = target.name('nowhere');
  const broker = await create({
    exchanges: { [exchange]: { type: 'direct', options: { durable: false, autoDelete: true } } },
    publications: { lost: { exchange, routingKey: 'k', confirm: true, options: { mandatory: true } } },
  });
  const publication = await broker.publish('lost', 'x');
  const events = new Inbox<string>('event');
  for (const event of ['return', 'success']) publication.on(event, () => events.push(event));
  expect(await events.next()).toBe('return');
  const forgotten = await create({ exchanges: { [exchange]: { assert: false, check: true } } });
  await forgotten.shutdown();
});

test('a declaration that differs fails with the text of the broker', async () => {
  const exchange = target.name('fixed');
  await create({
    exchanges: { [exchange]: { type: 'direct', options: { durable: false, autoDelete: true } } },
    queues: {},
  });
  await expect(
    create({ exchanges: { [exchange]: { type: 'fanout', options: { durable: false, autoDelete: true } } } }),
  ).rejects.toThrow(/inequivalent arg 'type' for exchange/);
});

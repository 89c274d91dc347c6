// Reading a stream: what deliveries look like, what settling does, where readers begin.
import { expect } from 'vitest';
import type { Consumer } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { filled, publisher, reader, shown, stream } from './support.ts';

useTarget();

const ABC = ['a', 'b', 'c'];
const ABC_SHOWN = ['0 a', '1 b', '2 c'];

rule('10.publish', 'persistent and transient messages are confirmed and there', async (target) => {
  const t = await scene(target);
  const name = await stream(t);
  const channel = await publisher(t);
  await channel.publishConfirmed('', name, ABC, { persistent: true });
  await channel.publishConfirmed('', name, ['d'], { persistent: false });
  const { received } = await (async () => {
    const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
    await consumer.take(4);
    return consumer;
  })();
  expect(shown(received)).toEqual([...ABC_SHOWN, '3 d']);
});

rule('10.count', 'messages that were read and acknowledged count', async (target) => {
  const t = await scene(target);
  const name = await filled(t, ABC);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  const messages = await consumer.take(3);
  consumer.channel.ack(messages[2]!, true);
  await t.channel.untilReady(name, 3);
});

/** Declares a stream that is read; the consumers that it tells. */
async function consumersTold(target: Target): Promise<number> {
  const t = await scene(target);
  const name = await stream(t);
  await reader(t, name);
  await reader(t, name);
  return (await t.channel.settle(name)).consumerCount;
}

rule('10.consumers', 'two', async (target) => expect(await consumersTold(target)).toBe(2), {
  onRabbitMQ: async (target) => expect(await consumersTold(target)).toBe(0),
});

rule('10.delivery', 'offset, exchange and routing key', async (target) => {
  const t = await scene(target);
  const name = await stream(t);
  const exchange = await t.exchange('topic');
  await t.channel.call('queue.bind', { queue: name, exchange, routingKey: 'a.#' });
  const consumer = await reader(t, name);
  const channel = await publisher(t);
  await channel.publishConfirmed(exchange, 'a.b', ['one']);
  await channel.publishConfirmed('', name, ['two']);
  const [one, two] = await consumer.take(2);
  expect(one).toMatchObject({ exchange, routingKey: 'a.b', redelivered: false, body: 'one' });
  expect(two).toMatchObject({ exchange: '', routingKey: name, redelivered: false });
  expect(shown([one!, two!])).toEqual(['0 one', '1 two']);
});

rule('10.headers', 'properties, other headers, an empty body', async (target) => {
  const t = await scene(target);
  const name = await stream(t);
  const channel = await publisher(t);
  const properties = {
    contentType: 'text/plain',
    headers: { a: 'x', n: 7 },
    correlationId: 'c',
    messageId: 'm',
    type: 't',
    appId: 'app',
    priority: 3,
    timestamp: 1_700_000_000,
  };
  await channel.publishConfirmed('', name, [''], properties);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  const message = await consumer.next();
  expect(message.body).toBe('');
  expect(message.properties).toMatchObject({
    ...properties,
    headers: { ...properties.headers, 'x-stream-offset': 0 },
  });
});

async function nested(target: Target): Promise<unknown> {
  const t = await scene(target);
  const name = await stream(t);
  const channel = await publisher(t);
  const headers = { a: 'x', table: { b: true }, list: [1, 'two'] };
  await channel.publishConfirmed('', name, ['m'], { headers });
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  return (await consumer.next()).properties.headers;
}

rule(
  '10.headers-nested',
  'one of each',
  async (target) =>
    expect(await nested(target)).toEqual({
      a: 'x',
      table: { b: true },
      list: [1, 'two'],
      'x-stream-offset': 0,
    }),
  {
    onRabbitMQ: async (target) => expect(await nested(target)).toEqual({ a: 'x', 'x-stream-offset': 0 }),
  },
);

rule('10.headers', 'a body of many frames', async (target) => {
  const t = await scene(target);
  const body = 'x'.repeat(500_000);
  const name = await filled(t, ['a', body]);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  const [, large] = await consumer.take(2);
  expect(large!.bytes.length).toBe(500_000);
  expect(large!.body).toBe(body);
});

rule('10.readers', 'two of one connection and one of another, from places of their own', async (target) => {
  const t = await scene(target);
  const name = await filled(t, ABC);
  const first = await reader(t, name, { 'x-stream-offset': 'first' });
  const second = await reader(t, name, { 'x-stream-offset': 1 });
  const stranger = await t.stranger();
  await stranger.qos(10);
  const third = await stranger.consume(name, { arguments: { 'x-stream-offset': 2 } });
  const channel = await publisher(t);
  await channel.publishConfirmed('', name, ['d']);
  expect(shown(await first.take(4))).toEqual([...ABC_SHOWN, '3 d']);
  expect(shown(await second.take(3))).toEqual(['1 b', '2 c', '3 d']);
  expect(shown(await third.take(2))).toEqual(['2 c', '3 d']);
});

rule('10.readers', 'one behind another on the same channel', async (target) => {
  const t = await scene(target);
  const name = await filled(t, ABC);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  await consumer.take(3);
  await consumer.cancel();
  const again = await consumer.channel.consume(name, { arguments: { 'x-stream-offset': 'first' } });
  expect(shown(await again.take(3))).toEqual(ABC_SHOWN);
});

rule('10.ack', 'each makes room for one more, and removes nothing', async (target) => {
  const t = await scene(target);
  const name = await filled(t, ABC);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' }, 1);
  for (let i = 0; i < 3; i++) {
    const message = await consumer.next();
    await consumer.channel.fence();
    expect(consumer.received.length).toBe(i + 1);
    consumer.channel.ack(message);
  }
  expect(shown(consumer.received)).toEqual(ABC_SHOWN);
  await t.channel.untilReady(name, 3);
});

/** Two deliveries that may still be settled. */
async function two(target: Target): Promise<{ t: Scene; name: string; consumer: Consumer }> {
  const t = await scene(target);
  const name = await filled(t, ABC);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' }, 2);
  await consumer.take(2);
  return { t, name, consumer };
}

for (const method of ['nack', 'reject'] as const) {
  for (const requeue of [false, true]) {
    rule(
      '10.settle',
      `${method} with requeue ${requeue}`,
      async (target) => {
        const { t, name, consumer } = await two(target);
        const [first] = consumer.received;
        if (method === 'nack') consumer.channel.nack(first!, { requeue });
        else consumer.channel.reject(first!, requeue);
        const next = await consumer.next();
        expect(shown([next])).toEqual(['2 c']);
        expect(next.redelivered).toBe(false);
        await consumer.channel.settle(name);
        expect(consumer.received.length).toBe(3);
        await t.channel.untilReady(name, 3);
      },
      {
        onRabbitMQ: async (target) => {
          const { t, name, consumer } = await two(target);
          const { channel } = consumer;
          const tag = consumer.received[0]!;
          await channel.refused(
            () => (method === 'nack' ? channel.nack(tag, { requeue }) : channel.reject(tag, requeue)),
            {
              code: 540,
              text: `basic.nack and basic.reject not supported by stream queues queue '${name}' in vhost '${t.vhost}'`,
              method: `basic.${method}`,
            },
          );
        },
      },
    );
  }
}

rule(
  '10.recover',
  'with requeue',
  async (target) => {
    const { name, consumer } = await two(target);
    await consumer.channel.call('basic.recover', { requeue: true });
    expect(shown([await consumer.next()])).toEqual(['2 c']);
    await consumer.channel.settle(name);
    expect(consumer.received.length).toBe(3);
  },
  {
    onRabbitMQ: async (target) => {
      const { consumer } = await two(target);
      consumer.channel.send('basic.recover', { requeue: true });
      expect(await consumer.channel.closed()).toMatchObject({ scope: 'connection', code: 541 });
    },
  },
);

/** What a reader with that start gets of a, b, c and of d that is published then. */
async function begins(t: Scene, start: unknown, expected: readonly string[]): Promise<void> {
  const name = await filled(t, ABC);
  const args = start === undefined ? {} : { 'x-stream-offset': start };
  const consumer = await reader(t, name, args);
  const channel = await publisher(t);
  await channel.publishConfirmed('', name, ['d']);
  expect(shown(await consumer.take(expected.length))).toEqual(expected);
}

const ALL = [...ABC_SHOWN, '3 d'];
const timestamp = (value: number): unknown => ({ '!': 'timestamp', value });
const nowSeconds = (): number => Math.floor(Date.now() / 1000);

rule('10.first', 'first', async (target) => begins(await scene(target), 'first', ALL));
rule('10.next', 'next', async (target) => begins(await scene(target), 'next', ['3 d']));
rule('10.next', 'no argument', async (target) => begins(await scene(target), undefined, ['3 d']));
rule('10.last', 'last', async (target) => begins(await scene(target), 'last', ['2 c', '3 d']));
rule('10.offset', '0', async (target) => begins(await scene(target), 0, ALL));
rule('10.offset', '1', async (target) => begins(await scene(target), 1, ALL.slice(1)));
rule('10.offset', '2, as 64 bits', async (target) =>
  begins(await scene(target), { '!': 'int64', value: 2 }, ALL.slice(2)),
);
rule('10.offset', 'a negative one', async (target) => begins(await scene(target), -1, ALL));
rule('10.offset-beyond', 'the next one', async (target) => begins(await scene(target), 3, ['3 d']));
rule('10.timestamp', 'long ago', async (target) => begins(await scene(target), timestamp(0), ALL));
rule('10.timestamp', 'a minute ago', async (target) =>
  begins(await scene(target), timestamp(nowSeconds() - 60), ALL),
);
rule('10.timestamp', 'to come', async (target) =>
  begins(await scene(target), timestamp(nowSeconds() + 3_600), ['3 d']),
);
for (const age of ['30s', '10m', '1h', '7D', '1M', '1Y'])
  rule('10.interval', age, async (target) => begins(await scene(target), age, ALL));

rule('10.first', 'an empty stream', async (target) => {
  const t = await scene(target);
  const name = await stream(t);
  const readers = [];
  for (const start of ['first', 'last', 'next', 0, '1h'])
    readers.push(await reader(t, name, { 'x-stream-offset': start }));
  const channel = await publisher(t);
  await channel.publishConfirmed('', name, ['a']);
  for (const consumer of readers) expect(shown([await consumer.next()])).toEqual(['0 a']);
});

// The largest message.
import { expect } from 'vitest';
import { expectReason, expectServes } from '../../support/checks.ts';
import { body, header, method, publish, type RawClient } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const LIMIT = 16_777_216;

function sendLarge(client: RawClient, routingKey: string, size: number): Buffer {
  const content = Buffer.alloc(size, 'large ');
  client.send(method(1, 'basic.publish', { exchange: '', routingKey }), header(1, size));
  for (let at = 0; at < size; at += 131_064) client.send(body(1, content.subarray(at, at + 131_064)));
  return content;
}

rule('14.largest-message', 'a message of 16 MiB arrives whole', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('large');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const content = sendLarge(client, queue, LIMIT);
  const got = await client.get(1, queue);
  expect(got.body.equals(content)).toBe(true);
});

rule(
  '14.message-size',
  'one byte more is refused',
  async (target) => {
    const client = await target.openWithChannel();
    sendLarge(client, 'nowhere', LIMIT + 1);
    expectReason(await client.expectChannelClose(1), {
      code: 406,
      text: `message size ${LIMIT + 1} is larger than configured max size ${LIMIT}`,
      method: [60, 40],
    });
  },
  {
    onRabbitMQ: async (target) => {
      const client = await target.openWithChannel();
      sendLarge(client, 'nowhere', LIMIT + 1);
      await client.expectQuiet(1);
    },
  },
);

rule(
  '14.message-size-soft',
  'the refusal of a large message leaves other channels alone',
  async (target) => {
    const client = await target.openWithChannel();
    await client.openChannel(2);
    sendLarge(client, 'nowhere', LIMIT + 1);
    await client.expectChannelClose(1);
    await client.expectQuiet(2);
    await client.openChannel(1);
    await client.expectQuiet(1);
  },
  {
    onRabbitMQ: async (target) => {
      const client = await target.openWithChannel();
      sendLarge(client, 'nowhere', LIMIT + 1);
      await client.expectQuiet(1);
    },
  },
);

rule('14.slow-consumer', 'a consumer that does not read delays nobody and loses nothing', async (target) => {
  const [queue, count] = [target.name('slow'), 3_000];
  const publisher = await target.openWithChannel();
  await publisher.call(1, 'queue.declare', { queue });
  const slow = await target.openWithChannel();
  await slow.call(1, 'basic.consume', { queue, consumerTag: 'slow', noAck: true });
  slow.pauseReading();
  // 12 MB: more than the sockets hold.
  const message = publish(1, '', queue, Buffer.alloc(4_096, 's'));
  for (let i = 0; i < count; i++) publisher.send(message);
  await publisher.expectQuiet(1);
  const other = await target.openWithChannel();
  await expectServes(target);
  await other.expectQuiet(1);
  slow.resumeReading();
  for (let i = 1; i <= count; i++) {
    const { method: deliver } = await slow.expectContent('basic.deliver', 1);
    expect(deliver.fields['deliveryTag']).toBe(i);
  }
  await slow.call(1, 'basic.cancel', { consumerTag: 'slow' });
  await publisher.call(1, 'queue.delete', { queue });
});

rule(
  '14.slow-consumer',
  'a consumer that stopped reading can be dropped, and its messages go to another',
  async (target) => {
    const [queue, count] = [target.name('stuck'), 3_000];
    const publisher = await target.openWithChannel();
    await publisher.call(1, 'queue.declare', { queue });
    const stuck = await target.openWithChannel();
    await stuck.call(1, 'basic.consume', { queue, consumerTag: 'stuck' });
    stuck.pauseReading();
    const message = publish(1, '', queue, Buffer.alloc(4_096, 's'));
    for (let i = 0; i < count; i++) publisher.send(message);
    await publisher.expectQuiet(1);
    stuck.destroy(true);
    await publisher.call(1, 'basic.consume', { queue, consumerTag: 'next', noAck: true });
    for (let i = 0; i < count; i++) await publisher.expectContent('basic.deliver', 1);
    await publisher.call(1, 'basic.cancel', { consumerTag: 'next' });
    expect(await publisher.call(1, 'queue.delete', { queue })).toEqual({ messageCount: 0 });
  },
);

rule('14.flood', 'others are served while one client publishes without a pause', async (target) => {
  const queue = target.name('flood');
  const flooder = await target.openWithChannel();
  await flooder.call(1, 'queue.declare', { queue, exclusive: true });
  const batch = Buffer.concat(Array.from({ length: 500 }, () => publish(1, '', queue, 'a small message')));
  for (let i = 0; i < 40; i++) flooder.send(batch);
  for (let i = 0; i < 5; i++) await expectServes(target);
  expect(await flooder.call(1, 'queue.purge', { queue })).toEqual({ messageCount: 20_000 });
});

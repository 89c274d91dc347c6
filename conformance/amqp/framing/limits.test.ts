// The largest message.
import { expect } from 'vitest';
import { expectReason } from '../../support/checks.ts';
import { body, header, method, type RawClient } from '../../support/raw-client.ts';
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

// Deliveries that nobody acknowledges in time. Time is moved by hand; a RabbitMQ looks only once a minute, and is not asked.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { expectServes } from '../../support/checks.ts';
import { method, openRaw, publish, type RawClient } from '../../support/raw-client.ts';
import { rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';

const TIMEOUT_MS = 20_000;
const clock = new FakeClock();
useTarget({ clock, consumerTimeoutMs: TIMEOUT_MS });

const OWN_ONLY = { ownOnly: 'takes minutes elsewhere' };
const TIMED_OUT = (channel: number, timeoutMs: number): string =>
  `PRECONDITION_FAILED - delivery acknowledgement on channel ${channel} timed out. Timeout value used: ${timeoutMs} ms. ` +
  'This timeout value can be configured, see consumers doc guide to learn more';

/** Lets time pass in steps in which every timer can act, and everything sent before be read. */
async function pass(target: Target, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 1_000) clock.advance(1_000);
  await expectServes(target);
}

/** A connection without heartbeats whose channel 1 has a queue with that many messages. */
async function withMessages(target: Target, count: number): Promise<{ client: RawClient; queue: string }> {
  const client = await target.openWithChannel({ heartbeat: 0 });
  const queue = target.name('slow');
  await client.call(1, 'queue.declare', { queue });
  for (let i = 1; i <= count; i++) client.send(publish(1, '', queue, String(i)));
  await client.expectQuiet(1);
  return { client, queue };
}

/** Consumes on `channel` and takes that many deliveries. */
async function consume(client: RawClient, channel: number, queue: string, count: number): Promise<void> {
  await client.call(channel, 'basic.consume', { queue, consumerTag: `c${channel}` });
  for (let i = 0; i < count; i++) await client.expectContent('basic.deliver', channel);
}

async function expectTimedOut(client: RawClient, channel: number): Promise<void> {
  const reason = await client.expectChannelClose(channel);
  expect(reason).toMatchObject({ code: 406, text: TIMED_OUT(channel, TIMEOUT_MS), classId: 0, methodId: 0 });
}

rule(
  '6.8.closes',
  'not before the timeout, and within another one',
  async (target) => {
    const { client, queue } = await withMessages(target, 1);
    await consume(client, 1, queue, 1);
    await pass(target, TIMEOUT_MS - 1_000);
    await client.expectQuiet(1);
    await pass(target, TIMEOUT_MS + 2_000);
    await expectTimedOut(client, 1);
  },
  OWN_ONLY,
);

rule(
  '6.8.closes',
  'one old delivery is enough, whatever was settled after it',
  async (target) => {
    const { client, queue } = await withMessages(target, 3);
    await consume(client, 1, queue, 3);
    client.sendMethod(1, 'basic.ack', { deliveryTag: 3 });
    client.sendMethod(1, 'basic.ack', { deliveryTag: 2 });
    await client.expectQuiet(1);
    await pass(target, 2 * TIMEOUT_MS + 1_000);
    await expectTimedOut(client, 1);
  },
  OWN_ONLY,
);

rule(
  '6.8.requeues',
  'in their order, for the next consumer',
  async (target) => {
    const { client, queue } = await withMessages(target, 2);
    await consume(client, 1, queue, 2);
    await pass(target, 2 * TIMEOUT_MS + 1_000);
    await expectTimedOut(client, 1);
    await client.openChannel(1);
    for (const body of ['1', '2']) {
      const content = await client.get(1, queue);
      expect(content.body.toString()).toBe(body);
      expect(content.method.fields['redelivered']).toBe(true);
    }
  },
  OWN_ONLY,
);

rule(
  '6.8.others',
  'only the channel that is late ends',
  async (target) => {
    const { client, queue } = await withMessages(target, 1);
    await client.openChannel(2);
    await consume(client, 2, queue, 1);
    await pass(target, 2 * TIMEOUT_MS + 1_000);
    await expectTimedOut(client, 2);
    await client.expectQuiet(1);
    expect((await client.get(1, queue)).body.toString()).toBe('1');
  },
  OWN_ONLY,
);

rule(
  '6.8.settled',
  'acknowledged, rejected, or delivered without acknowledgement',
  async (target) => {
    const { client, queue } = await withMessages(target, 2);
    await consume(client, 1, queue, 2);
    await pass(target, TIMEOUT_MS - 5_000);
    client.send(
      method(1, 'basic.ack', { deliveryTag: 1 }),
      method(1, 'basic.reject', { deliveryTag: 2, requeue: false }),
    );
    await client.expectQuiet(1);
    await client.openChannel(2);
    await client.call(2, 'basic.consume', { queue, consumerTag: 'no-ack', noAck: true });
    client.sendMethod(1, 'basic.cancel', { consumerTag: 'c1' });
    await client.expect('basic.cancel-ok', 1);
    client.send(publish(1, '', queue, 'x'));
    await client.expectContent('basic.deliver', 2);
    await pass(target, 3 * TIMEOUT_MS);
    await client.expectQuiet(1);
    await client.expectQuiet(2);
  },
  OWN_ONLY,
);

rule(
  '6.8.settled',
  'a consumer that acknowledges slowly but in time goes on for ever',
  async (target) => {
    const { client, queue } = await withMessages(target, 1);
    await consume(client, 1, queue, 1);
    for (let tag = 1; tag <= 5; tag++) {
      await pass(target, TIMEOUT_MS - 2_000);
      client.send(method(1, 'basic.ack', { deliveryTag: tag }), publish(1, '', queue, 'next'));
      await client.expectContent('basic.deliver', 1);
    }
  },
  OWN_ONLY,
);

rule(
  '6.8.get',
  'no consumer is needed',
  async (target) => {
    const { client, queue } = await withMessages(target, 1);
    await client.get(1, queue, false);
    await pass(target, 2 * TIMEOUT_MS + 1_000);
    await expectTimedOut(client, 1);
  },
  OWN_ONLY,
);

rule(
  '6.8.off',
  'a day later the delivery can still be acknowledged',
  async (target) => {
    const broker = await startOwnBroker({ clock, consumerTimeoutMs: null });
    try {
      const client = target.keep(await openRaw(broker.url, { heartbeat: 0 }));
      await client.openChannel(1);
      await client.call(1, 'queue.declare', { queue: 'q' });
      client.send(publish(1, '', 'q', 'x'));
      await consume(client, 1, 'q', 1);
      for (let hour = 0; hour < 24; hour++) clock.advance(3_600_000);
      client.sendMethod(1, 'basic.ack', { deliveryTag: 1 });
      await client.expectQuiet(1);
    } finally {
      target.dropClients();
      await broker.stop();
    }
  },
  OWN_ONLY,
);

for (const [whose, ofQueue, ofConsumer] of [
  ['of the queue', 5_000, null],
  ['of the consumer', null, 5_000],
  ['of the consumer before that of the queue', 200_000, 5_000],
] as const) {
  rule(
    '6.8.own',
    `a shorter one ${whose}`,
    async (target) => {
      const client = await target.openWithChannel({ heartbeat: 0 });
      const queue = target.name('own');
      const args = (ms: number | null) => (ms === null ? {} : { 'x-consumer-timeout': ms });
      await client.call(1, 'queue.declare', { queue, arguments: args(ofQueue) });
      client.send(publish(1, '', queue, 'a'));
      await client.call(1, 'basic.consume', { queue, consumerTag: 'c', arguments: args(ofConsumer) });
      await client.expectContent('basic.deliver', 1);
      // The first look notes it; the next ones come as often as it asks for.
      await pass(target, TIMEOUT_MS + 12_000);
      const reason = await client.expectChannelClose(1);
      expect(reason).toMatchObject({ code: 406, text: TIMED_OUT(1, 5_000) });
    },
    OWN_ONLY,
  );
}

rule(
  '6.8.own',
  'a longer one, for a consumer and for basic.get',
  async (target) => {
    const client = await target.openWithChannel({ heartbeat: 0 });
    const queue = target.name('own');
    await client.call(1, 'queue.declare', { queue, arguments: { 'x-consumer-timeout': 10 * TIMEOUT_MS } });
    for (const body of ['a', 'b']) client.send(publish(1, '', queue, body));
    client.send(method(1, 'basic.get', { queue }));
    await client.expectContent('basic.get-ok', 1);
    await consume(client, 1, queue, 1);
    await pass(target, 4 * TIMEOUT_MS);
    await client.expectQuiet(1);
    await pass(target, 8 * TIMEOUT_MS);
    const reason = await client.expectChannelClose(1);
    expect(reason).toMatchObject({ code: 406, text: TIMED_OUT(1, 10 * TIMEOUT_MS) });
  },
  OWN_ONLY,
);

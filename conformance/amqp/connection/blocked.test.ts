// connection.blocked: what an alarm does to those who publish, and does not do to others.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { CLIENT_CAPABILITIES, publish, type RawClient } from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

// Time stands still, so that no measurement ends an alarm that a test has set.
useTarget({ clock: new FakeClock() });

const OWN_ONLY = 'an alarm cannot be raised over the wire';

/** Runs `body` with alarms raised; they are cleared whatever happens. */
async function during(
  target: Target,
  kinds: readonly ('memory' | 'disk')[],
  body: () => Promise<void>,
): Promise<void> {
  for (const kind of kinds) target.broker!.setAlarm(kind, true);
  try {
    await body();
  } finally {
    for (const kind of ['memory', 'disk'] as const) target.broker!.setAlarm(kind, false);
  }
}

async function queueFor(client: RawClient, target: Target): Promise<string> {
  const queue = target.name('blocked');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  return queue;
}

for (const [kinds, reason] of [
  [['memory'], 'low on memory'],
  [['disk'], 'low on disk'],
  [['memory', 'disk'], 'low on memory & low on disk'],
  [['disk', 'memory'], 'low on memory & low on disk'],
] as const) {
  rule(
    '1.10.blocked',
    `a publisher is told when the broker is ${reason} (${kinds.join(', then ')})`,
    async (target) => {
      const client = await target.openWithChannel();
      const queue = await queueFor(client, target);
      await during(target, kinds, async () => {
        client.send(publish(1, '', queue, 'one'));
        expect(await client.expect('connection.blocked', 0)).toEqual({ reason });
      });
      await client.expect('connection.unblocked', 0);
      client.send(publish(1, '', queue, 'two'));
      expect((await client.get(1, queue)).body.toString()).toBe('one');
      expect((await client.get(1, queue)).body.toString()).toBe('two');
    },
    { ownOnly: OWN_ONLY },
  );
}

rule(
  '1.10.blocked',
  'while blocked nothing of the client is read; all of it is done afterwards',
  async (target) => {
    const client = await target.openWithChannel();
    const queue = await queueFor(client, target);
    const other = await target.openWithChannel();
    await during(target, ['memory'], async () => {
      client.send(publish(1, '', queue, 'x'));
      await client.expect('connection.blocked', 0);
      client.sendMethod(1, 'basic.qos', {});
      for (let i = 0; i < 5; i++) await other.expectQuiet(1);
      await client.silentFor(50);
    });
    await client.expect('connection.unblocked', 0);
    await client.expect('basic.qos-ok', 1);
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '1.10.blocked',
  'two alarms, of which one clears, keep the client blocked',
  async (target) => {
    const client = await target.openWithChannel();
    const queue = await queueFor(client, target);
    await during(target, ['memory', 'disk'], async () => {
      client.send(publish(1, '', queue, 'x'));
      await client.expect('connection.blocked', 0);
      target.broker!.setAlarm('disk', false);
      client.sendMethod(1, 'basic.qos', {});
      await client.silentFor(50);
    });
    await client.expect('connection.unblocked', 0);
    await client.expect('basic.qos-ok', 1);
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '1.10.consumer-free',
  'a consumer goes on consuming and acknowledging, so that queues drain',
  async (target) => {
    const publisher = await target.openWithChannel();
    const consumer = await target.openWithChannel();
    const queue = target.name('drain');
    await consumer.call(1, 'queue.declare', { queue });
    for (let i = 0; i < 3; i++) publisher.send(publish(1, '', queue, String(i)));
    await publisher.expectQuiet(1);
    await during(target, ['memory'], async () => {
      publisher.send(publish(1, '', queue, 'blocked'));
      await publisher.expect('connection.blocked', 0);
      await consumer.call(1, 'basic.qos', { prefetchCount: 1 });
      await consumer.call(1, 'basic.consume', { queue, consumerTag: 'c' });
      for (let i = 0; i < 3; i++) {
        const content = await consumer.expectContent('basic.deliver', 1);
        expect(content.body.toString()).toBe(String(i));
        consumer.sendMethod(1, 'basic.ack', { deliveryTag: i + 1 });
      }
    });
    await publisher.expect('connection.unblocked', 0);
    await consumer.expectContent('basic.deliver', 1);
    await consumer.call(1, 'basic.cancel', { consumerTag: 'c' });
    await consumer.call(1, 'queue.delete', { queue });
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '1.10.capability',
  'a client without the capability is blocked in silence',
  async (target) => {
    const clientProperties = { capabilities: { ...CLIENT_CAPABILITIES, 'connection.blocked': false } };
    const client = await target.openWithChannel({ clientProperties });
    const queue = await queueFor(client, target);
    await during(target, ['disk'], async () => {
      client.send(publish(1, '', queue, 'x'));
      // Two round trips of another client: by then the publish has been read.
      const other = await target.openWithChannel();
      await other.expectQuiet(1);
      client.sendMethod(1, 'basic.qos', {});
      await client.silentFor(50);
    });
    await client.expect('basic.qos-ok', 1);
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '1.10.new-connection',
  'a connection opened during an alarm works until it publishes',
  async (target) => {
    let client: RawClient | null = null;
    await during(target, ['memory'], async () => {
      client = await target.openWithChannel();
      const queue = await queueFor(client, target);
      client.send(publish(1, '', queue, 'x'));
      await client.expect('connection.blocked', 0);
    });
    await client!.expect('connection.unblocked', 0);
    await client!.expectQuiet(1);
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '1.10.blocked',
  'an alarm that comes and goes unnoticed by a publisher is not mentioned',
  async (target) => {
    const client = await target.openWithChannel();
    await during(target, ['memory'], async () => {
      await client.expectQuiet(1);
    });
    await client.expectQuiet(1);
  },
  { ownOnly: OWN_ONLY },
);

rule(
  '14.alarm-no-error',
  'declares, gets and acks go on during both alarms; what is published waits',
  async (target) => {
    const reader = await target.openWithChannel();
    const publisher = await target.openWithChannel();
    const queue = await queueFor(reader, target);
    publisher.send(publish(1, '', queue, 'before'));
    await publisher.expectQuiet(1);
    const other = await target.openWithChannel();
    await during(target, ['memory', 'disk'], async () => {
      publisher.send(publish(1, '', queue, 'during'));
      await publisher.expect('connection.blocked', 0);
      await other.call(1, 'queue.declare', { queue: target.name('more'), exclusive: true });
      expect((await reader.get(1, queue)).body.toString()).toBe('before');
      await other.expectQuiet(1);
    });
    await publisher.expect('connection.unblocked', 0);
    await publisher.expectQuiet(1);
    expect((await reader.get(1, queue)).body.toString()).toBe('during');
  },
  { ownOnly: OWN_ONLY },
);

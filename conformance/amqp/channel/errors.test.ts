// Errors in general: what a close says, and how far it reaches.
import { expect } from 'vitest';
import { expectReason, expectSoftError } from '../../support/checks.ts';
import { method, publish } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('0.reply-text', 'the text begins with the name of its code', async (target) => {
  const client = await target.openWithChannel();
  const missing = target.name('missing');
  client.sendMethod(1, 'queue.declare', { queue: missing, passive: true });
  expect(await client.expectChannelClose(1)).toEqual({
    code: 404,
    text: `NOT_FOUND - no queue '${missing}' in vhost '/'`,
    classId: 50,
    methodId: 10,
  });
  await client.openChannel(1);
  client.sendMethod(1, 'exchange.declare', { exchange: missing, type: 'direct', passive: true });
  expect(await client.expectChannelClose(1)).toEqual({
    code: 404,
    text: `NOT_FOUND - no exchange '${missing}' in vhost '/'`,
    classId: 40,
    methodId: 10,
  });
});

rule('0.reply-text-cut', 'names that are too long for the text are cut, not refused', async (target) => {
  const client = await target.openWithChannel();
  for (const queue of ['q'.repeat(255), 'é'.repeat(127), `${'q'.repeat(200)}${'€'.repeat(18)}`]) {
    client.sendMethod(1, 'queue.declare', { queue, passive: true });
    const frame = await client.expectFrame('channel.close', 1);
    expect(frame.payload[6]).toBeGreaterThan(200);
    expect(String(frame.fields['replyText'])).toMatch(/^NOT_FOUND - no queue '[qé€]{100}/);
    client.sendMethod(1, 'channel.close-ok');
    await client.openChannel(1);
  }
});

rule('0.failed-method', 'the close names the method that failed', async (target) => {
  const client = await target.openWithChannel();
  const missing = target.name('missing');
  const bind = { queue: missing, exchange: missing, routingKey: '' };
  for (const [name, fields, ids, code] of [
    ['queue.declare', { queue: missing, passive: true }, [50, 10], 404],
    ['queue.bind', bind, [50, 20], 404],
    ['queue.purge', { queue: missing }, [50, 30], 404],
    ['exchange.bind', { source: missing, destination: missing, routingKey: '' }, [40, 30], 404],
    ['basic.consume', { queue: missing }, [60, 20], 404],
    ['basic.get', { queue: missing }, [60, 70], 404],
    ['basic.ack', { deliveryTag: 1 }, [60, 80], 406],
    ['basic.reject', { deliveryTag: 1 }, [60, 90], 406],
    ['basic.nack', { deliveryTag: 1 }, [60, 120], 406],
    ['tx.commit', {}, [90, 20], 406],
    ['tx.rollback', {}, [90, 30], 406],
  ] as const) {
    client.sendMethod(1, name, fields);
    await expectSoftError(client, 1, { code, method: ids });
  }
  client.send(publish(1, missing, '', 'x'));
  await expectSoftError(client, 1, { code: 404, method: [60, 40] });
});

rule('0.soft', 'a soft error leaves other channels and the connection alone', async (target) => {
  const client = await target.openWithChannel();
  await client.openChannel(2);
  const queue = target.name('soft');
  await client.call(2, 'queue.declare', { queue, exclusive: true });
  await client.call(2, 'basic.consume', { queue, consumerTag: 'c' });
  client.sendMethod(1, 'queue.declare', { queue: target.name('missing'), passive: true });
  await client.expectChannelClose(1);
  client.send(publish(2, '', queue, 'still there'));
  expect((await client.expectContent('basic.deliver', 2)).body.toString()).toBe('still there');
  await client.openChannel(1);
  client.send(publish(1, '', queue, 'again'));
  expect((await client.expectContent('basic.deliver', 2)).body.toString()).toBe('again');
});

rule('0.soft', 'soft errors of several channels do not mix', async (target) => {
  const client = await target.open();
  const channels = [1, 2, 3, 4, 5];
  const missing = target.name('missing');
  for (const channel of channels) await client.openChannel(channel);
  client.send(
    ...channels.map((channel) =>
      method(channel, 'queue.declare', { queue: `${missing}.${channel}`, passive: true }),
    ),
  );
  const seen = new Map<number, unknown>();
  for (const _ of channels) {
    const frame = await client.expectFrame('channel.close');
    seen.set(frame.channel, frame.fields['replyText']);
  }
  for (const channel of channels) {
    expect(seen.get(channel)).toBe(`NOT_FOUND - no queue '${missing}.${channel}' in vhost '/'`);
  }
});

rule('0.wording', 'resources are named with their vhost', async (target) => {
  const client = await target.openWithChannel();
  const other = await target.openWithChannel();
  const queue = target.name('locked');
  await other.call(1, 'queue.declare', { queue, exclusive: true });
  client.sendMethod(1, 'queue.declare', { queue, passive: true });
  expectReason(await client.expectChannelClose(1), {
    code: 405,
    text: new RegExp(
      `^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'`,
    ),
  });
  await client.openChannel(1);
  const exchange = target.name('exchange');
  await client.call(1, 'exchange.declare', { exchange, type: 'direct', autoDelete: true });
  client.sendMethod(1, 'exchange.declare', { exchange, type: 'fanout', autoDelete: true });
  expectReason(await client.expectChannelClose(1), {
    code: 406,
    text: `inequivalent arg 'type' for exchange '${exchange}' in vhost '/': received 'fanout' but current is 'direct'`,
    method: [40, 10],
  });
  await client.openChannel(1);
  await client.call(1, 'exchange.delete', { exchange });
});

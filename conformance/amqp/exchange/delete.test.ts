// exchange.delete, internal exchanges, auto-delete exchanges.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

/** Whether an exchange exists; asked on a channel of its own, which the answer may cost. */
async function exists(t: Scene, exchange: string): Promise<boolean> {
  const channel = await t.newChannel();
  try {
    await channel.call('exchange.declare', { exchange, passive: true });
    await channel.close();
    return true;
  } catch {
    expect(channel.closing).toMatchObject({ code: 404 });
    return false;
  }
}

function bind(channel: Channel, destination: string, source: string, routingKey = 'k'): Promise<object> {
  return channel.call('exchange.bind', { destination, source, routingKey });
}

rule(
  '4.3.delete-missing',
  'deleting an exchange that is not there succeeds, with if-unused too',
  async (target) => {
    const t = await scene(target);
    await t.channel.call('exchange.delete', { exchange: t.exchangeName() });
    await t.channel.call('exchange.delete', { exchange: t.exchangeName(), ifUnused: true });
  },
);

rule('4.3.delete-missing', 'deleting twice succeeds', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  await t.channel.call('exchange.delete', { exchange });
  await t.channel.call('exchange.delete', { exchange });
});

rule('4.3.if-unused', 'an exchange that feeds a queue is in use', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  await t.boundQueue(exchange, 'k');
  await t.channel.refused(() => t.channel.call('exchange.delete', { exchange, ifUnused: true }), {
    code: 406,
    text: `exchange '${exchange}' in vhost '${t.vhost}' in use`,
    method: 'exchange.delete',
  });
});

rule('4.3.if-unused', 'an exchange that feeds an exchange is in use', async (target) => {
  const t = await scene(target);
  const source = await t.exchange('direct');
  const destination = await t.exchange('fanout');
  await bind(t.channel, destination, source);
  await t.channel.refused(() => t.channel.call('exchange.delete', { exchange: source, ifUnused: true }), {
    code: 406,
    text: `exchange '${source}' in vhost '${t.vhost}' in use`,
    method: 'exchange.delete',
  });
});

rule(
  '4.3.if-unused',
  'an exchange that is only a destination, or has lost its bindings, is not in use',
  async (target) => {
    const t = await scene(target);
    const source = await t.exchange('direct');
    const destination = await t.exchange('fanout');
    await bind(t.channel, destination, source);
    await t.channel.call('exchange.delete', { exchange: destination, ifUnused: true });
    expect(await exists(t, destination)).toBe(false);
    await t.channel.call('exchange.delete', { exchange: source, ifUnused: true });
    expect(await exists(t, source)).toBe(false);
  },
);

rule('4.3.if-unused', 'without the flag a used exchange is deleted', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  await t.boundQueue(exchange, 'k');
  await t.channel.call('exchange.delete', { exchange });
  expect(await exists(t, exchange)).toBe(false);
});

for (const exchange of [
  'amq.direct',
  'amq.fanout',
  'amq.topic',
  'amq.headers',
  'amq.match',
  'amq.rabbitmq.trace',
]) {
  rule('4.3.delete-system', `${exchange} cannot be deleted`, async (target) => {
    const { channel, vhost } = await scene(target);
    await channel.refused(() => channel.call('exchange.delete', { exchange }), {
      code: 403,
      text: `deletion of system exchange '${exchange}' in vhost '${vhost}' not allowed`,
      method: 'exchange.delete',
    });
  });
}

rule('4.3.internal', 'a client cannot publish to an internal exchange', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout', { internal: true });
  await t.channel.refused(() => t.channel.publish(exchange, '', 'no'), {
    code: 403,
    text: `cannot publish to internal exchange '${exchange}' in vhost '${t.vhost}'`,
    method: 'basic.publish',
  });
});

rule('4.3.internal', 'an internal exchange passes on what a bound exchange sends it', async (target) => {
  const t = await scene(target);
  const front = await t.exchange('direct');
  const inner = await t.exchange('fanout', { internal: true });
  const queue = await t.boundQueue(inner);
  await bind(t.channel, inner, front, 'in');
  t.channel.publish(front, 'in', 'through');
  expect(await t.channel.drain(queue)).toEqual(['through']);
});

rule(
  '4.3.publish-missing',
  'publishing to an exchange that is not there closes the channel',
  async (target) => {
    const t = await scene(target);
    const exchange = t.exchangeName();
    await t.channel.refused(() => t.channel.publish(exchange, 'k', 'lost'), {
      code: 404,
      text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
      method: 'basic.publish',
    });
  },
);

rule(
  '4.3.publish-missing',
  'what follows on the closed channel vanishes, other channels go on',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const other = await t.newChannel();
    t.channel.publish('', queue, 'before');
    t.channel.publish(t.exchangeName(), 'k', 'lost');
    t.channel.publish('', queue, 'after');
    expect(await t.channel.closed()).toMatchObject({ code: 404 });
    expect(await other.drain(queue)).toEqual(['before']);
  },
);

rule(
  '4.3.publish-missing',
  'an exchange is missing again after its delete, for a channel that published to it before',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout');
    const queue = await t.boundQueue(exchange);
    t.channel.publish(exchange, '', 'one');
    t.channel.publish(exchange, '', 'two');
    expect(await t.channel.drain(queue)).toEqual(['one', 'two']);
    const other = await t.newChannel();
    await other.call('exchange.delete', { exchange });
    await t.channel.refused(() => t.channel.publish(exchange, '', 'three'), {
      code: 404,
      text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
      method: 'basic.publish',
    });
  },
);

rule('4.3.auto-delete', 'it goes with the last of its bindings to queues', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct', { autoDelete: true });
  const first = await t.boundQueue(exchange, 'a');
  const second = await t.boundQueue(exchange, 'b');
  await t.channel.call('queue.unbind', { queue: first, exchange, routingKey: 'a' });
  expect(await exists(t, exchange)).toBe(true);
  await t.channel.call('queue.unbind', { queue: second, exchange, routingKey: 'b' });
  expect(await exists(t, exchange)).toBe(false);
});

rule('4.3.auto-delete', 'it goes when its last bound queue is deleted', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout', { autoDelete: true });
  const queue = await t.boundQueue(exchange);
  await t.channel.call('queue.delete', { queue });
  expect(await exists(t, exchange)).toBe(false);
});

rule(
  '4.3.auto-delete',
  'it goes when its last bound exclusive queue ends with its connection',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout', { autoDelete: true });
    const peer = await t.connect();
    const channel = await peer.channel();
    const queue = await t.queue({ exclusive: true }, channel);
    await channel.call('queue.bind', { queue, exchange, routingKey: '' });
    await peer.close();
    expect(await exists(t, exchange)).toBe(false);
  },
);

rule('4.3.auto-delete', 'it goes when the exchange it fed is unbound or deleted', async (target) => {
  const t = await scene(target);
  const source = await t.exchange('fanout', { autoDelete: true });
  const sink = await t.exchange('fanout');
  await bind(t.channel, sink, source);
  await t.channel.call('exchange.unbind', { destination: sink, source, routingKey: 'k' });
  expect(await exists(t, source)).toBe(false);

  const again = await t.exchange('fanout', { autoDelete: true });
  await bind(t.channel, sink, again);
  await t.channel.call('exchange.delete', { exchange: sink });
  expect(await exists(t, again)).toBe(false);
});

rule(
  '4.3.auto-delete',
  'it stays while nothing was ever bound, and while it is only a destination',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout', { autoDelete: true });
    expect(await exists(t, exchange)).toBe(true);
    const source = await t.exchange('fanout');
    await bind(t.channel, exchange, source);
    await t.channel.call('exchange.unbind', { destination: exchange, source, routingKey: 'k' });
    expect(await exists(t, exchange)).toBe(true);
  },
);

rule('4.3.auto-delete', 'unbinding what was never bound does not remove it', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct', { autoDelete: true });
  const queue = await t.queue();
  await t.channel.call('queue.unbind', { queue, exchange, routingKey: 'k' });
  expect(await exists(t, exchange)).toBe(true);
});

rule(
  '4.3.delete-bindings',
  'a queue bound to a deleted exchange gets nothing from a new one of that name',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout');
    const queue = await t.boundQueue(exchange);
    await t.channel.call('exchange.delete', { exchange });
    await t.channel.call('exchange.declare', { exchange, type: 'fanout' });
    t.channel.publish(exchange, '', 'lost');
    expect(await t.channel.drain(queue)).toEqual([]);
  },
);

rule('4.3.delete-bindings', 'a deleted destination takes its bindings along', async (target) => {
  const t = await scene(target);
  const source = await t.exchange('fanout');
  const destination = await t.exchange('fanout');
  await bind(t.channel, destination, source);
  await t.channel.call('exchange.delete', { exchange: destination });
  await t.channel.call('exchange.declare', { exchange: destination, type: 'fanout' });
  const queue = await t.boundQueue(destination);
  t.channel.publish(source, '', 'lost');
  expect(await t.channel.drain(queue)).toEqual([]);
  await t.channel.call('exchange.delete', { exchange: source, ifUnused: true });
});

rule(
  '4.3.delete-bindings',
  'the removal of auto-delete exchanges cascades along their bindings',
  async (target) => {
    const t = await scene(target);
    const first = await t.exchange('fanout', { autoDelete: true });
    const second = await t.exchange('fanout', { autoDelete: true });
    const third = await t.exchange('fanout', { autoDelete: true });
    await bind(t.channel, second, first);
    await bind(t.channel, third, second);
    const queue = await t.boundQueue(third);
    t.channel.publish(first, '', 'all the way');
    expect(await t.channel.drain(queue)).toEqual(['all the way']);
    await t.channel.call('queue.delete', { queue });
    expect([await exists(t, third), await exists(t, second), await exists(t, first)]).toEqual([
      false,
      false,
      false,
    ]);
  },
);

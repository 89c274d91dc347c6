// Bindings: what may be bound, what makes two bindings the same, cycles.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('4.4.bind-missing', 'queue.bind to a missing exchange is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const exchange = t.exchangeName();
  await t.channel.refused(() => t.channel.call('queue.bind', { queue, exchange, routingKey: 'k' }), {
    code: 404,
    text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
    method: 'queue.bind',
  });
});

rule('4.4.bind-missing', 'queue.bind of a missing queue is refused', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.refused(
    () => t.channel.call('queue.bind', { queue, exchange: 'amq.direct', routingKey: 'k' }),
    {
      code: 404,
      text: `no queue '${queue}' in vhost '${t.vhost}'`,
      method: 'queue.bind',
    },
  );
});

for (const missing of ['source', 'destination'] as const) {
  rule('4.4.bind-missing', `exchange.bind with a missing ${missing} is refused`, async (target) => {
    const t = await scene(target);
    const exchange = t.exchangeName();
    const fields = { destination: 'amq.fanout', source: 'amq.direct', routingKey: 'k', [missing]: exchange };
    await t.channel.refused(() => t.channel.call('exchange.bind', fields), {
      code: 404,
      text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
      method: 'exchange.bind',
    });
  });
}

rule(
  '4.4.bind-again',
  'a second equal binding makes no second copy, and one unbind removes it',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct');
    const queue = await t.boundQueue(exchange, 'k');
    await t.channel.call('queue.bind', { queue, exchange, routingKey: 'k' });
    t.channel.publish(exchange, 'k', 'once');
    expect(await t.channel.drain(queue)).toEqual(['once']);
    await t.channel.call('queue.unbind', { queue, exchange, routingKey: 'k' });
    t.channel.publish(exchange, 'k', 'lost');
    expect(await t.channel.drain(queue)).toEqual([]);
  },
);

rule('4.4.bind-again', 'the order of the arguments makes no difference', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('headers');
  const queue = await t.boundQueue(exchange, '', { a: 1, b: 2 });
  await t.channel.call('queue.bind', { queue, exchange, routingKey: '', arguments: { b: 2, a: 1 } });
  await t.channel.call('queue.unbind', { queue, exchange, routingKey: '', arguments: { b: 2, a: 1 } });
  t.channel.publish(exchange, '', 'lost', { headers: { a: 1, b: 2 } });
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('4.4.bind-again', 'an exchange binding made twice is one', async (target) => {
  const t = await scene(target);
  const source = await t.exchange('direct');
  const destination = await t.exchange('fanout');
  const queue = await t.boundQueue(destination);
  const binding = { destination, source, routingKey: 'k' };
  await t.channel.call('exchange.bind', binding);
  await t.channel.call('exchange.bind', binding);
  t.channel.publish(source, 'k', 'once');
  expect(await t.channel.drain(queue)).toEqual(['once']);
  await t.channel.call('exchange.unbind', binding);
  t.channel.publish(source, 'k', 'lost');
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule(
  '4.4.unbind-missing',
  'unbinding a binding, a queue or an exchange that is not there succeeds',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const { channel } = t;
    await channel.call('queue.unbind', { queue, exchange: 'amq.direct', routingKey: 'never' });
    await channel.call('queue.unbind', { queue: t.queueName(), exchange: 'amq.direct', routingKey: 'k' });
    await channel.call('queue.unbind', { queue, exchange: t.exchangeName(), routingKey: 'k' });
    await channel.call('queue.unbind', { queue: t.queueName(), exchange: t.exchangeName(), routingKey: 'k' });
    await channel.call('exchange.unbind', {
      destination: 'amq.fanout',
      source: 'amq.direct',
      routingKey: 'never',
    });
    await channel.call('exchange.unbind', {
      destination: t.exchangeName(),
      source: 'amq.direct',
      routingKey: 'k',
    });
    await channel.call('exchange.unbind', {
      destination: 'amq.fanout',
      source: t.exchangeName(),
      routingKey: 'k',
    });
  },
);

rule('4.4.identity', 'unbinding one key leaves the other keys bound', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queue = await t.boundQueue(exchange, 'a');
  await t.channel.call('queue.bind', { queue, exchange, routingKey: 'b' });
  await t.channel.call('queue.unbind', { queue, exchange, routingKey: 'a' });
  t.channel.publish(exchange, 'a', 'for a');
  t.channel.publish(exchange, 'b', 'for b');
  expect(await t.channel.drain(queue)).toEqual(['for b']);
});

rule(
  '4.4.identity',
  'bindings that differ in their arguments are two, and unbind must name the same arguments',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct');
    const queue = await t.boundQueue(exchange, 'k', { note: 'one' });
    const binding = { queue, exchange, routingKey: 'k' };
    await t.channel.call('queue.bind', { ...binding, arguments: { note: 'two' } });
    await t.channel.call('queue.unbind', binding);
    await t.channel.call('queue.unbind', { ...binding, arguments: { note: 'one' } });
    t.channel.publish(exchange, 'k', 'still bound');
    expect(await t.channel.drain(queue)).toEqual(['still bound']);
    await t.channel.call('queue.unbind', { ...binding, arguments: { note: 'two' } });
    t.channel.publish(exchange, 'k', 'lost');
    expect(await t.channel.drain(queue)).toEqual([]);
  },
);

rule('4.4.identity', 'unbinding one of two queues leaves the other bound', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const first = await t.boundQueue(exchange, 'k');
  const second = await t.boundQueue(exchange, 'k');
  await t.channel.call('queue.unbind', { queue: first, exchange, routingKey: 'k' });
  t.channel.publish(exchange, 'k', 'x');
  expect([await t.channel.drain(first), await t.channel.drain(second)]).toEqual([[], ['x']]);
});

rule(
  '4.4.shorthand',
  'no queue name means the last declared queue, no key either means its name',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct');
    const queue = await t.queue();
    await t.channel.call('queue.bind', { queue: '', exchange, routingKey: '' });
    t.channel.publish(exchange, queue, 'by its name');
    t.channel.publish(exchange, '', 'by the empty key');
    expect(await t.channel.drain(queue)).toEqual(['by its name']);
  },
);

rule(
  '4.4.shorthand',
  'no queue name with a key binds the last declared queue with that key',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct');
    const queue = await t.queue();
    await t.channel.call('queue.bind', { queue: '', exchange, routingKey: 'k' });
    t.channel.publish(exchange, queue, 'by its name');
    t.channel.publish(exchange, 'k', 'by the key');
    expect(await t.channel.drain(queue)).toEqual(['by the key']);
  },
);

rule('4.4.shorthand', 'a queue name with an empty key binds with the empty key', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queue = await t.boundQueue(exchange, '');
  t.channel.publish(exchange, queue, 'by its name');
  t.channel.publish(exchange, '', 'by the empty key');
  expect(await t.channel.drain(queue)).toEqual(['by the empty key']);
});

rule('4.4.shorthand', 'queue.unbind knows the same shorthand', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queue = await t.boundQueue(exchange, 'k');
  await t.channel.call('queue.bind', { queue: '', exchange, routingKey: '' });
  await t.channel.call('queue.unbind', { queue: '', exchange, routingKey: 'k' });
  await t.channel.call('queue.unbind', { queue: '', exchange, routingKey: '' });
  t.channel.publish(exchange, queue, 'lost');
  t.channel.publish(exchange, 'k', 'lost');
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('4.4.cycle', 'two exchanges bound to each other route a message once', async (target) => {
  const t = await scene(target);
  const a = await t.exchange('fanout');
  const b = await t.exchange('fanout');
  await t.channel.call('exchange.bind', { destination: b, source: a });
  await t.channel.call('exchange.bind', { destination: a, source: b });
  const atA = await t.boundQueue(a);
  const atB = await t.boundQueue(b);
  t.channel.publish(a, '', 'into a');
  t.channel.publish(b, '', 'into b');
  expect(await t.channel.drain(atA)).toEqual(['into a', 'into b']);
  expect(await t.channel.drain(atB)).toEqual(['into a', 'into b']);
});

rule('4.4.cycle', 'an exchange may be bound to itself', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  await t.channel.call('exchange.bind', { destination: exchange, source: exchange, routingKey: '#' });
  const queue = await t.boundQueue(exchange, '*');
  t.channel.publish(exchange, 'k', 'once');
  expect(await t.channel.drain(queue)).toEqual(['once']);
});

rule('4.4.cycle', 'a ring of three with a way out delivers one copy', async (target) => {
  const t = await scene(target);
  const ring = [await t.exchange('direct'), await t.exchange('fanout'), await t.exchange('topic')];
  for (const [i, source] of ring.entries()) {
    const destination = ring[(i + 1) % ring.length]!;
    await t.channel.call('exchange.bind', { destination, source, routingKey: i === 2 ? '#' : 'k' });
  }
  const queue = await t.boundQueue(ring[2]!, 'k');
  for (const [i, exchange] of ring.entries()) t.channel.publish(exchange, 'k', String(i));
  expect(await t.channel.drain(queue)).toEqual(['0', '1', '2']);
});

const REPLY_NAME = 'amq.rabbitmq.reply-to.aaaa.bbbb';
rule(
  '4.4.reply-queue',
  'a reply name cannot be bound',
  async (target) => {
    const { channel } = await scene(target);
    await channel.refused(() => channel.call('queue.bind', { queue: REPLY_NAME, exchange: 'amq.fanout' }), {
      code: 403,
      text: 'cannot bind or unbind to a volatile (direct reply-to) queue',
      method: 'queue.bind',
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { channel, vhost } = await scene(target);
      await channel.refused(() => channel.call('queue.bind', { queue: REPLY_NAME, exchange: 'amq.fanout' }), {
        code: 404,
        text: `no queue '${REPLY_NAME}' in vhost '${vhost}'`,
        method: 'queue.bind',
      });
    },
  },
);

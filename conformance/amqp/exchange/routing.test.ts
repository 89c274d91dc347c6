// Routing by direct and fanout exchanges, through bound exchanges and to alternate exchanges.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('4.5.once', 'a queue bound with two matching keys gets one copy', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const queue = await t.boundQueue(exchange, '#');
  await t.channel.call('queue.bind', { queue, exchange, routingKey: 'a.*' });
  await t.channel.call('queue.bind', { queue, exchange, routingKey: 'a.b' });
  t.channel.publish(exchange, 'a.b', 'one copy');
  expect(await t.channel.drain(queue)).toEqual(['one copy']);
});

rule('4.5.once', 'a queue reached directly and through two bound exchanges gets one copy', async (target) => {
  const t = await scene(target);
  const front = await t.exchange('fanout');
  const left = await t.exchange('fanout');
  const right = await t.exchange('direct');
  for (const destination of [left, right]) {
    await t.channel.call('exchange.bind', { destination, source: front, routingKey: '' });
  }
  const queue = await t.boundQueue(front);
  await t.channel.call('queue.bind', { queue, exchange: left, routingKey: 'x' });
  await t.channel.call('queue.bind', { queue, exchange: right, routingKey: 'k' });
  t.channel.publish(front, 'k', 'one copy');
  expect(await t.channel.drain(queue)).toEqual(['one copy']);
});

rule(
  '4.5.direct',
  'only equal keys match; letters count, the empty key is a key, and wildcards mean nothing',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct');
    const keys = ['', 'a', 'A', 'a.b', '#', '*', 'ü'];
    const queues = new Map<string, string>();
    for (const key of keys) queues.set(key, await t.boundQueue(exchange, key));
    for (const key of [...keys, 'nobody']) t.channel.publish(exchange, key, `to ${key}`);
    for (const [key, queue] of queues) expect(await t.channel.drain(queue)).toEqual([`to ${key}`]);
  },
);

rule('4.5.direct', 'all queues bound with the key get a copy', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queues = [
    await t.boundQueue(exchange, 'k'),
    await t.boundQueue(exchange, 'k'),
    await t.boundQueue(exchange, 'k'),
  ];
  t.channel.publish(exchange, 'k', 'x');
  for (const queue of queues) expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('4.5.direct', 'a routing key of 255 bytes works', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const key = 'k'.repeat(255);
  const queue = await t.boundQueue(exchange, key);
  t.channel.publish(exchange, key, 'long');
  expect(await t.channel.get(queue)).toMatchObject({ body: 'long', routingKey: key });
});

rule('4.5.fanout', 'every binding gets the message, whatever its key and the message key', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const queues = [
    await t.boundQueue(exchange, ''),
    await t.boundQueue(exchange, 'other'),
    await t.boundQueue(exchange, 'k'),
  ];
  t.channel.publish(exchange, 'k', 'x');
  for (const queue of queues) {
    expect(await t.channel.get(queue, { noAck: true })).toMatchObject({
      body: 'x',
      exchange,
      routingKey: 'k',
    });
  }
});

rule(
  '4.5.exchange-to-exchange',
  'a chain of topic, direct and fanout routes with the published key at every step',
  async (target) => {
    const t = await scene(target);
    const topic = await t.exchange('topic');
    const direct = await t.exchange('direct');
    const fanout = await t.exchange('fanout');
    await t.channel.call('exchange.bind', { destination: direct, source: topic, routingKey: 'a.#' });
    await t.channel.call('exchange.bind', { destination: fanout, source: direct, routingKey: 'a.b' });
    const atDirect = await t.boundQueue(direct, 'a.c');
    const atFanout = await t.boundQueue(fanout);
    for (const key of ['a.b', 'a.c', 'b.b']) t.channel.publish(topic, key, key);
    expect(await t.channel.drain(atDirect)).toEqual(['a.c']);
    expect(await t.channel.drain(atFanout)).toEqual(['a.b']);
  },
);

rule(
  '4.5.exchange-to-exchange',
  'the delivery names the exchange the client published to',
  async (target) => {
    const t = await scene(target);
    const front = await t.exchange('fanout');
    const back = await t.exchange('fanout');
    await t.channel.call('exchange.bind', { destination: back, source: front });
    const queue = await t.boundQueue(back);
    t.channel.publish(front, 'k', 'x');
    expect(await t.channel.get(queue)).toMatchObject({ exchange: front, routingKey: 'k' });
  },
);

rule('4.5.exchange-to-exchange', 'an unbound exchange passes nothing on any more', async (target) => {
  const t = await scene(target);
  const front = await t.exchange('fanout');
  const back = await t.exchange('fanout');
  const queue = await t.boundQueue(back);
  await t.channel.call('exchange.bind', { destination: back, source: front });
  await t.channel.call('exchange.unbind', { destination: back, source: front });
  t.channel.publish(front, '', 'lost');
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule(
  '4.5.alternate',
  'what the exchange cannot route goes to the alternate exchange, the rest does not',
  async (target) => {
    const t = await scene(target);
    const alternate = await t.exchange('fanout');
    const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': alternate } });
    const routed = await t.boundQueue(exchange, 'k');
    const rest = await t.boundQueue(alternate);
    t.channel.publish(exchange, 'k', 'known');
    t.channel.publish(exchange, 'other', 'unknown');
    expect(await t.channel.drain(routed)).toEqual(['known']);
    expect(await t.channel.get(rest, { noAck: true })).toMatchObject({
      body: 'unknown',
      exchange,
      routingKey: 'other',
    });
    expect(await t.channel.drain(rest)).toEqual([]);
  },
);

rule('4.5.alternate', 'the alternate exchange may itself have an alternate exchange', async (target) => {
  const t = await scene(target);
  const last = await t.exchange('fanout');
  const middle = await t.exchange('direct', { arguments: { 'alternate-exchange': last } });
  const first = await t.exchange('direct', { arguments: { 'alternate-exchange': middle } });
  const atMiddle = await t.boundQueue(middle, 'm');
  const atLast = await t.boundQueue(last);
  t.channel.publish(first, 'm', 'm');
  t.channel.publish(first, 'z', 'z');
  expect(await t.channel.drain(atMiddle)).toEqual(['m']);
  expect(await t.channel.drain(atLast)).toEqual(['z']);
});

rule('4.5.alternate', 'alternate exchanges that name each other end without a route', async (target) => {
  const t = await scene(target);
  const a = t.exchangeName('a');
  const b = t.exchangeName('b');
  await t.channel.call('exchange.declare', {
    exchange: a,
    type: 'direct',
    arguments: { 'alternate-exchange': b },
  });
  await t.channel.call('exchange.declare', {
    exchange: b,
    type: 'direct',
    arguments: { 'alternate-exchange': a },
  });
  t.channel.publish(a, 'k', 'nowhere', {}, { mandatory: true });
  expect(await t.channel.nextReturn()).toMatchObject({ body: 'nowhere', replyCode: 312 });
});

rule(
  '4.5.alternate',
  'an exchange behind a binding that routes nowhere uses its own alternate exchange',
  async (target) => {
    const t = await scene(target);
    const alternate = await t.exchange('fanout');
    const back = await t.exchange('direct', { arguments: { 'alternate-exchange': alternate } });
    const front = await t.exchange('fanout');
    await t.channel.call('exchange.bind', { destination: back, source: front });
    const direct = await t.boundQueue(front);
    const rest = await t.boundQueue(alternate);
    t.channel.publish(front, 'k', 'x');
    expect(await t.channel.drain(direct)).toEqual(['x']);
    expect(await t.channel.drain(rest)).toEqual(['x']);
  },
);

rule(
  '4.5.alternate',
  'a binding to an exchange that leads nowhere still counts as a result',
  async (target) => {
    const t = await scene(target);
    const alternate = await t.exchange('fanout');
    const front = await t.exchange('fanout', { arguments: { 'alternate-exchange': alternate } });
    const deadEnd = await t.exchange('fanout');
    await t.channel.call('exchange.bind', { destination: deadEnd, source: front });
    const rest = await t.boundQueue(alternate);
    t.channel.publish(front, 'k', 'x', {}, { mandatory: true });
    expect(await t.channel.nextReturn()).toMatchObject({ body: 'x' });
    expect(await t.channel.drain(rest)).toEqual([]);
  },
);

rule('4.5.alternate', 'a fanout and a headers exchange use their alternate exchange too', async (target) => {
  const t = await scene(target);
  const alternate = await t.exchange('fanout');
  const rest = await t.boundQueue(alternate);
  for (const type of ['fanout', 'headers', 'topic']) {
    const exchange = await t.exchange(type, { arguments: { 'alternate-exchange': alternate } });
    t.channel.publish(exchange, 'k', type);
  }
  expect(await t.channel.drain(rest)).toEqual(['fanout', 'headers', 'topic']);
});

rule(
  '4.2.alternate-missing',
  'a missing alternate exchange loses the message and is used once it exists',
  async (target) => {
    const t = await scene(target);
    const alternate = t.exchangeName('later');
    const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': alternate } });
    t.channel.publish(exchange, 'k', 'too early', {}, { mandatory: true });
    expect(await t.channel.nextReturn()).toMatchObject({ body: 'too early', replyCode: 312 });
    await t.channel.call('exchange.declare', { exchange: alternate, type: 'fanout' });
    const queue = await t.boundQueue(alternate);
    t.channel.publish(exchange, 'k', 'in time');
    expect(await t.channel.drain(queue)).toEqual(['in time']);
    await t.channel.call('exchange.delete', { exchange: alternate });
    t.channel.publish(exchange, 'k', 'too late', {}, { mandatory: true });
    expect(await t.channel.nextReturn()).toMatchObject({ body: 'too late', replyCode: 312 });
  },
);

rule(
  '4.2.alternate-missing',
  'the alternate exchange of an internal exchange may be used, and may be internal itself',
  async (target) => {
    const t = await scene(target);
    const alternate = await t.exchange('fanout', { internal: true });
    const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': alternate } });
    const queue = await t.boundQueue(alternate);
    t.channel.publish(exchange, 'k', 'x');
    expect(await t.channel.drain(queue)).toEqual(['x']);
  },
);

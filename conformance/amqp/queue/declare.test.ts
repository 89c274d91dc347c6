// queue.declare: names, flags, counts, and the shorthand for the last declared queue.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'queue.declare';
interface DeclareOk {
  queue: string;
  messageCount: number;
  consumerCount: number;
}

rule('5.1.server-name', 'the server names a queue that has no name, each time anew', async (target) => {
  const { channel } = await scene(target);
  const first = await channel.call<DeclareOk>(DECLARE, { queue: '', exclusive: true });
  const second = await channel.call<DeclareOk>(DECLARE, { queue: '', exclusive: true });
  for (const { queue } of [first, second]) expect(queue).toMatch(/^amq\.gen-[A-Za-z0-9_-]{22}$/);
  expect(first.queue).not.toBe(second.queue);
});

rule('5.1.server-name', 'the given name can be used like any other', async (target) => {
  const { channel } = await scene(target);
  const { queue } = await channel.call<DeclareOk>(DECLARE, { queue: '', exclusive: true });
  await channel.call('queue.bind', { queue, exchange: 'amq.direct', routingKey: queue });
  channel.publish('amq.direct', queue, 'x');
  expect(await channel.get(queue)).toMatchObject({ body: 'x', routingKey: queue });
  expect(await channel.call(DECLARE, { queue, passive: true })).toEqual({
    queue,
    messageCount: 0,
    consumerCount: 0,
  });
});

rule('5.1.server-name', 'a quorum queue cannot be named by the server', async (target) => {
  const { channel } = await scene(target);
  const declare = { queue: '', durable: true, arguments: { 'x-queue-type': 'quorum' } };
  await channel.refused(() => channel.call(DECLARE, declare), {
    code: 406,
    text: /^Cannot declare a server-named queue for type (rabbit_quorum_queue|quorum)$/,
    method: DECLARE,
  });
});

rule('5.1.reserved-prefix', 'a new queue must not take a name that begins with amq.', async (target) => {
  const { channel } = await scene(target);
  await channel.refused(() => channel.call(DECLARE, { queue: 'amq.mine', exclusive: true }), {
    code: 403,
    text: "queue name 'amq.mine' contains reserved prefix 'amq.*'",
    method: DECLARE,
  });
});

rule('5.1.reserved-prefix', 'only a passive declare may name a server-named queue', async (target) => {
  const { channel } = await scene(target);
  const { queue } = await channel.call<DeclareOk>(DECLARE, { queue: '', exclusive: true });
  await channel.refused(() => channel.call(DECLARE, { queue, exclusive: true }), {
    code: 403,
    text: `queue name '${queue}' contains reserved prefix 'amq.*'`,
    method: DECLARE,
  });
});

rule('5.1.names', 'CR and LF vanish from the name, in the answer too', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  const ok = await t.channel.call<DeclareOk>(DECLARE, {
    queue: `\r\n${queue.slice(0, 5)}\n${queue.slice(5)}`,
  });
  expect(ok.queue).toBe(queue);
  await t.channel.call(DECLARE, { queue, passive: true });
});

rule('5.1.names', 'a name may hold spaces, accents, slashes and 255 bytes', async (target) => {
  const { channel } = await scene(target);
  const long = `ü ${Date.now()}/`.padEnd(254, 'q');
  expect(Buffer.byteLength(long)).toBe(255);
  const ok = await channel.call<DeclareOk>(DECLARE, { queue: long, exclusive: true });
  expect(ok.queue).toBe(long);
  channel.publish('', long, 'x');
  expect(await channel.drain(long)).toEqual(['x']);
});

rule(
  '5.1.counts',
  'declare-ok counts ready messages and consumers; unacknowledged messages are not ready',
  async (target) => {
    const t = await scene(target);
    const queue = t.queueName();
    expect(await t.channel.call(DECLARE, { queue })).toEqual({ queue, messageCount: 0, consumerCount: 0 });
    await t.channel.confirms();
    await t.channel.publishConfirmed('', queue, ['1', '2', '3']);
    expect(await t.channel.call(DECLARE, { queue })).toEqual({ queue, messageCount: 3, consumerCount: 0 });
    await t.channel.get(queue);
    expect(await t.channel.call(DECLARE, { queue })).toEqual({ queue, messageCount: 2, consumerCount: 0 });
    const other = await t.stranger();
    await other.qos(1);
    const consumer = await other.consume(queue);
    await consumer.next();
    await other.consume(queue);
    await t.channel.untilCounts(queue, { messageCount: 0, consumerCount: 2 });
  },
);

rule(
  '5.1.no-wait',
  'declare, bind, purge and delete with no-wait work and are not answered',
  async (target) => {
    const t = await scene(target);
    const queue = t.queueName();
    const { channel } = t;
    channel.send(DECLARE, { queue, nowait: true });
    channel.send('queue.bind', { queue, exchange: 'amq.direct', routingKey: queue, nowait: true });
    channel.publish('amq.direct', queue, 'bound');
    expect(await channel.drain(queue)).toEqual(['bound']);
    channel.publish('', queue, 'purged');
    channel.send('queue.purge', { queue, nowait: true });
    expect(await channel.drain(queue)).toEqual([]);
    channel.send('queue.delete', { queue, nowait: true });
    await channel.refused(() => channel.call(DECLARE, { queue, passive: true }), {
      code: 404,
      text: `no queue '${queue}' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
  },
);

rule('5.1.exclusive', 'the durable flag makes no difference to an exclusive queue', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true, durable: true });
  await t.channel.call(DECLARE, { queue, exclusive: true, durable: false });
  await t.channel.call(DECLARE, { queue, exclusive: true, durable: true });
});

rule('5.1.exclusive', 'the name is free as soon as the owner sees close-ok', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  for (let round = 0; round < 5; round++) {
    const peer = await t.connect();
    const channel = await peer.channel();
    await channel.call(DECLARE, { queue, exclusive: true });
    channel.publish('', queue, `round ${round}`);
    await peer.close();
    const other = await t.newChannel();
    await other.refused(() => other.call(DECLARE, { queue, passive: true }), {
      code: 404,
      text: `no queue '${queue}' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
  }
});

rule('5.1.exclusive', 'it goes too when its connection is cut', async (target) => {
  const t = await scene(target);
  const peer = await t.connect();
  const owner = await peer.channel();
  const queue = await t.queue({ exclusive: true }, owner);
  const fanout = await t.exchange('fanout', { autoDelete: true });
  await owner.call('queue.bind', { queue, exchange: fanout, routingKey: '' });
  peer.cut();
  // The auto-delete exchange ends with the queue: as long as it is there, the server has not noticed.
  const deadline = Date.now() + 5_000;
  for (let gone = false; !gone; ) {
    const channel = await t.newChannel();
    gone = await channel.call('exchange.declare', { exchange: fanout, passive: true }).then(
      () => false,
      () => true,
    );
    if (!gone) await channel.close();
    if (Date.now() > deadline) throw new Error('the exclusive queue outlives its connection');
  }
  const channel = await t.newChannel();
  expect(await channel.call('queue.delete', { queue })).toEqual({ messageCount: 0 });
});

rule('5.1.exclusive', 'closing the channel that declared it does not end it', async (target) => {
  const t = await scene(target);
  const first = await t.newChannel();
  const queue = await t.queue({ exclusive: true }, first);
  await first.close();
  await t.channel.call(DECLARE, { queue, passive: true });
});

for (const how of ['basic.cancel', 'channel.close', 'connection.close'] as const) {
  rule('5.1.auto-delete', `the queue goes with its last consumer: ${how}`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ autoDelete: true });
    const peer = await t.connect();
    const channel = await peer.channel();
    const first = await t.channel.consume(queue);
    const second = await channel.consume(queue);
    await first.cancel();
    await t.channel.call(DECLARE, { queue, passive: true });
    if (how === 'basic.cancel') await second.cancel();
    else if (how === 'channel.close') await channel.close();
    else await peer.close();
    await t.channel.refused(() => t.channel.call(DECLARE, { queue, passive: true }), {
      code: 404,
      text: `no queue '${queue}' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
  });
}

rule('5.1.auto-delete', 'the queue goes with its messages, ready and unacknowledged', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ autoDelete: true });
  t.channel.publishAll(queue, ['1', '2']);
  await t.channel.qos(1);
  const consumer = await t.channel.consume(queue);
  const message = await consumer.next();
  await consumer.cancel();
  t.channel.ack(message);
  await t.channel.fence();
  expect(await t.channel.call(DECLARE, { queue, autoDelete: true })).toMatchObject({ messageCount: 0 });
});

rule(
  '5.1.auto-delete',
  'basic.get and declaring again do not end a queue that never had a consumer',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ autoDelete: true });
    t.channel.publish('', queue, 'x');
    expect(await t.channel.drain(queue)).toEqual(['x']);
    const visitor = await t.newChannel();
    await visitor.call(DECLARE, { queue, autoDelete: true });
    await visitor.close();
    await t.channel.call(DECLARE, { queue, passive: true });
  },
);

rule(
  '5.1.transient',
  'a shared queue that is not durable outlives the connection that declared it',
  async (target) => {
    const t = await scene(target);
    const peer = await t.connect();
    const queue = await t.queue({}, await peer.channel());
    await peer.close();
    await t.channel.call(DECLARE, { queue, passive: true });
  },
);

rule(
  '5.1.default-type',
  'no x-queue-type and x-queue-type classic are the same declaration',
  async (target) => {
    const t = await scene(target);
    const plain = await t.queue({ durable: true });
    await t.channel.call(DECLARE, { queue: plain, durable: true, arguments: { 'x-queue-type': 'classic' } });
    const classic = await t.queue({ durable: true, arguments: { 'x-queue-type': 'classic' } });
    await t.channel.call(DECLARE, { queue: classic, durable: true });
  },
);

rule(
  '5.1.last-declared',
  'bind, unbind, get, consume, purge and delete take an empty name for the last declared queue',
  async (target) => {
    const t = await scene(target);
    const { channel } = t;
    const bystander = await t.queue();
    const queue = await t.queue();
    const exchange = await t.exchange('direct');
    await channel.call('queue.bind', { queue: '', exchange, routingKey: 'k' });
    channel.publish(exchange, 'k', 'got');
    expect(await channel.get('', { noAck: true })).toMatchObject({ body: 'got' });
    channel.publish(exchange, 'k', 'consumed');
    const consumer = await channel.consume('', { noAck: true });
    expect(await consumer.next()).toMatchObject({ body: 'consumed' });
    await consumer.cancel();
    channel.publish(exchange, 'k', 'purged');
    expect(await channel.call('queue.purge', { queue: '' })).toEqual({ messageCount: 1 });
    await channel.call('queue.unbind', { queue: '', exchange, routingKey: 'k' });
    channel.publish(exchange, 'k', 'lost');
    channel.publish('', queue, 'deleted');
    expect(await channel.call('queue.delete', { queue: '' })).toEqual({ messageCount: 1 });
    await channel.call(DECLARE, { queue: bystander, passive: true });
    await channel.refused(() => channel.call(DECLARE, { queue, passive: true }), {
      code: 404,
      text: `no queue '${queue}' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
  },
);

rule('5.1.last-declared', 'a passive declare and a redeclare set it too', async (target) => {
  const t = await scene(target);
  const first = await t.queue();
  const second = await t.queue();
  t.channel.publish('', first, 'first');
  t.channel.publish('', second, 'second');
  await t.channel.call(DECLARE, { queue: first, passive: true });
  expect(await t.channel.get('')).toMatchObject({ body: 'first' });
  await t.channel.call(DECLARE, { queue: second });
  expect(await t.channel.get('')).toMatchObject({ body: 'second' });
});

rule('5.1.last-declared', 'a server-named queue is the last declared one', async (target) => {
  const { channel } = await scene(target);
  const { queue } = await channel.call<DeclareOk>(DECLARE, { queue: '', exclusive: true });
  await channel.call('queue.bind', { queue: '', exchange: 'amq.direct', routingKey: '' });
  channel.publish('amq.direct', queue, 'x');
  expect(await channel.get('')).toMatchObject({ body: 'x', routingKey: queue });
});

rule('5.1.last-declared', 'each channel remembers its own', async (target) => {
  const t = await scene(target);
  const other = await t.newChannel();
  const mine = await t.queue();
  const theirs = await t.queue({}, other);
  t.channel.publishAll(mine, ['mine']);
  t.channel.publishAll(theirs, ['theirs']);
  expect(await t.channel.get('')).toMatchObject({ body: 'mine' });
  await t.channel.fence();
  expect(await other.get('')).toMatchObject({ body: 'theirs' });
});

const needName: readonly (readonly [string, Record<string, unknown>])[] = [
  ['queue.bind', { exchange: 'amq.fanout' }],
  ['queue.unbind', { exchange: 'amq.fanout' }],
  ['queue.purge', {}],
  ['queue.delete', {}],
  ['basic.get', {}],
  ['basic.consume', {}],
];
for (const [method, fields] of needName) {
  rule(
    '5.1.last-declared-none',
    `${method} without a name on a channel that declared nothing`,
    async (target) => {
      const { channel } = await scene(target);
      await channel.refused(() => channel.call(method, { queue: '', ...fields }), {
        code: 404,
        text: 'no previously declared queue',
        method,
      });
    },
  );
}

rule(
  '5.1.last-declared-passive',
  'it asks for the queue without a name, which never exists',
  async (target) => {
    const t = await scene(target);
    await t.queue();
    await t.channel.refused(() => t.channel.call(DECLARE, { queue: '', passive: true }), {
      code: 404,
      text: `no queue '' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
  },
);

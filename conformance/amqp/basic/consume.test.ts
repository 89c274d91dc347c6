// basic.consume: tags, exclusive consumers, priorities, whose turn it is.
import { expect, onTestFinished } from 'vitest';
import type { Channel, Consumer } from '../../support/channel.ts';
import { Peer } from '../../support/peer.ts';
import { scene } from '../../support/scene.ts';
import { rule, startOwnBroker, useTarget } from '../../support/target.ts';

useTarget();

const CONSUME = 'basic.consume';

rule('6.2.tag', 'the server names a consumer that has no tag, each time anew', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const tags = [(await t.channel.consume(queue)).tag, (await t.channel.consume(queue)).tag];
  for (const tag of tags) expect(tag).toMatch(/^amq\.ctag-[A-Za-z0-9_-]{22}$/);
  expect(tags[0]).not.toBe(tags[1]);
});

rule('6.2.tag', 'a given tag is kept, with accents, spaces and 255 bytes', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  for (const tag of ['ü b/c', 'x'.repeat(255), 'amq.mine']) {
    const consumer = await t.channel.consume(queue, { consumerTag: tag, noAck: true });
    expect(consumer.tag).toBe(tag);
    t.channel.publish('', queue, 'x');
    expect((await consumer.next()).consumerTag).toBe(tag);
    await consumer.cancel();
  }
});

rule('6.2.tag-reuse', 'a tag in use on the channel ends the connection', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const second = await t.queue();
  const channel = await t.stranger();
  await channel.consume(queue, { consumerTag: 'taken' });
  await channel.refused(() => channel.consume(second, { consumerTag: 'taken' }), {
    code: 530,
    text: "attempt to reuse consumer tag 'taken'",
    method: CONSUME,
  });
});

rule(
  '6.2.tag-reuse',
  'another channel of the connection may use it, and so may this one after cancel',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const other = await t.newChannel();
    const mine = await t.channel.consume(queue, { consumerTag: 'tag', noAck: true });
    const theirs = await other.consume(queue, { consumerTag: 'tag', noAck: true });
    t.channel.publishAll(queue, ['1', '2']);
    expect([(await mine.next()).body, (await theirs.next()).body].sort()).toEqual(['1', '2']);
    await mine.cancel();
    await t.channel.consume(queue, { consumerTag: 'tag', noAck: true });
  },
);

rule('6.2.missing', 'a missing queue is refused', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.refused(() => t.channel.consume(queue), {
    code: 404,
    text: `no queue '${queue}' in vhost '${t.vhost}'`,
    method: CONSUME,
  });
});

rule('6.2.exclusive', 'it is refused while another consumer is there', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.newChannel();
  await other.consume(queue);
  await t.channel.refused(() => t.channel.consume(queue, { exclusive: true }), {
    code: 403,
    text: `queue '${queue}' in vhost '${t.vhost}' in exclusive use`,
    method: CONSUME,
  });
});

for (const exclusive of [false, true]) {
  rule(
    '6.2.exclusive',
    `beside it ${exclusive ? 'a second exclusive' : 'an ordinary'} consumer is refused`,
    async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      const other = await t.stranger();
      await other.consume(queue, { exclusive: true });
      await t.channel.refused(() => t.channel.consume(queue, { exclusive }), {
        code: 403,
        text: `queue '${queue}' in vhost '${t.vhost}' in exclusive use`,
        method: CONSUME,
      });
    },
  );
}

for (const how of ['cancel', 'channel close', 'connection close'] as const) {
  rule('6.2.exclusive', `after its ${how} the queue is open again`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const peer = await t.connect();
    const channel = await peer.channel();
    const consumer = await channel.consume(queue, { exclusive: true, noAck: true });
    t.channel.publish('', queue, 'to it');
    expect((await consumer.next()).body).toBe('to it');
    if (how === 'cancel') await consumer.cancel();
    else if (how === 'channel close') await channel.close();
    else await peer.close();
    const next = await t.channel.consume(queue, { exclusive: true });
    t.channel.publish('', queue, 'to the next');
    expect((await next.next()).body).toBe('to the next');
  });
}

rule('6.2.exclusive', 'basic.get and declare are not consumers', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.stranger();
  await other.consume(queue, { exclusive: true });
  expect(await t.channel.get(queue)).toBeNull();
  expect(await t.channel.call('queue.declare', { queue })).toMatchObject({ consumerCount: 1 });
});

rule('6.2.exclusive', 'a queue with a single active consumer takes no exclusive one', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-single-active-consumer': true } });
  await t.channel.refused(() => t.channel.consume(queue, { exclusive: true }), {
    code: 403,
    text: `queue '${queue}' in vhost '${t.vhost}' in exclusive use`,
    method: CONSUME,
  });
});

rule(
  '6.2.limit',
  'a third consumer where two are allowed; another channel has its own two',
  async () => {
    const broker = await startOwnBroker({ consumerMaxPerChannel: 2 });
    onTestFinished(() => broker.stop());
    const peer = await Peer.connect(broker);
    const [channel, other] = [await peer.channel(), await peer.channel()];
    await channel.call('queue.declare', { queue: 'q' });
    for (const each of [channel, other]) {
      await each.consume('q');
      const second = await each.consume('q');
      await second.cancel();
      await each.consume('q');
    }
    await channel.refused(() => channel.consume('q'), {
      code: 530,
      text: 'reached maximum (2) of consumers per channel',
      method: CONSUME,
    });
  },
  { ownOnly: 'the limit is a setting of the broker' },
);

/** A consumer of some priority on a channel of its own. */
async function prioritised(
  channel: Channel,
  queue: string,
  priority: unknown,
  prefetch = 0,
): Promise<Consumer> {
  if (prefetch > 0) await channel.qos(prefetch);
  return channel.consume(queue, { arguments: priority === undefined ? {} : { 'x-priority': priority } });
}

rule('6.2.priority', 'the highest with room is served, then the next', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const low = await prioritised(await t.newChannel(), queue, -5, 10);
  const middle = await prioritised(await t.newChannel(), queue, undefined, 1);
  const high = await prioritised(await t.newChannel(), queue, 7, 2);
  t.channel.publishAll(queue, ['1', '2', '3', '4', '5']);
  expect((await high.take(2)).map(({ body }) => body)).toEqual(['1', '2']);
  expect((await middle.next()).body).toBe('3');
  expect((await low.take(2)).map(({ body }) => body)).toEqual(['4', '5']);
});

rule('6.2.priority', 'a consumer that acknowledges comes before lower ones again', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const low = await prioritised(await t.newChannel(), queue, 0);
  const high = await prioritised(await t.newChannel(), queue, { '!': 'int64', value: 1 }, 1);
  await t.channel.confirms();
  await t.channel.publishConfirmed('', queue, ['1', '2']);
  const first = await high.next();
  expect((await low.next()).body).toBe('2');
  high.channel.ack(first);
  await high.channel.fence();
  await t.channel.publishConfirmed('', queue, ['3', '4']);
  expect((await high.next()).body).toBe('3');
  expect((await low.next()).body).toBe('4');
});

rule('6.2.priority', 'a late consumer of higher priority takes what comes next', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const early = await prioritised(t.channel, queue, 1);
  t.channel.publishAll(queue, ['1', '2']);
  await early.take(2);
  const late = await prioritised(await t.newChannel(), queue, 2);
  t.channel.publishAll(queue, ['3', '4']);
  expect((await late.take(2)).map(({ body }) => body)).toEqual(['3', '4']);
  expect(early.bodies).toEqual(['1', '2']);
});

rule('6.2.priority-invalid', 'a priority that is a string is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.refused(() => t.channel.consume(queue, { arguments: { 'x-priority': 'high' } }), {
    code: 406,
    text: `invalid arg 'x-priority' for queue '${queue}' in vhost '${t.vhost}': "expected integer, got longstr"`,
    method: CONSUME,
  });
});

rule('6.2.round-robin', 'three consumers get nine messages in turn', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumers: Consumer[] = [];
  for (let i = 0; i < 3; i++) consumers.push(await (await t.newChannel()).consume(queue, { noAck: true }));
  t.channel.publishAll(queue, ['1', '2', '3', '4', '5', '6', '7', '8', '9']);
  for (const consumer of consumers) await consumer.take(3);
  expect(consumers.map(({ bodies }) => bodies.join(' ')).sort()).toEqual(['1 4 7', '2 5 8', '3 6 9']);
});

rule(
  '6.2.round-robin',
  'consumers of one channel and of several connections take turns alike',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const other = await t.stranger();
    const consumers = [
      await t.channel.consume(queue, { noAck: true }),
      await t.channel.consume(queue),
      await other.consume(queue, { noAck: true }),
      await other.consume(queue),
    ];
    const bodies = Array.from({ length: 40 }, (_unused, i) => String(i));
    t.channel.publishAll(queue, bodies);
    for (const consumer of consumers) await consumer.take(10);
    expect(consumers.flatMap((consumer) => consumer.bodies).sort()).toEqual([...bodies].sort());
  },
);

rule(
  '6.2.round-robin',
  'with a prefetch of one a backlog goes to whoever has acknowledged',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publishAll(queue, ['1', '2', '3', '4', '5', '6']);
    await t.channel.untilReady(queue, 6);
    const slowChannel = await t.newChannel();
    const fastChannel = await t.newChannel();
    await slowChannel.qos(1);
    await fastChannel.qos(1);
    const slow = await slowChannel.consume(queue);
    const held = await slow.next();
    const fast = await fastChannel.consume(queue);
    for (const body of ['2', '3', '4', '5', '6']) {
      const message = await fast.next();
      expect(message.body).toBe(body);
      fastChannel.ack(message);
    }
    expect(slow.bodies).toEqual(['1']);
    slowChannel.ack(held);
  },
);

rule('6.2.consume-ok', 'it comes first though messages wait', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  await t.channel.untilReady(queue, 3);
  const channel = await t.newChannel();
  const consumer = await channel.consume(queue);
  await consumer.take(3);
  const methods = channel.journal.map(({ method }) => method);
  expect(methods).toEqual([
    'channel.open-ok',
    'basic.consume-ok',
    'basic.deliver',
    'basic.deliver',
    'basic.deliver',
  ]);
});

rule('6.2.no-local', 'a consumer gets what its own connection published', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue, { noLocal: true, noAck: true });
  t.channel.publish('', queue, 'mine');
  expect((await consumer.next()).body).toBe('mine');
});

rule('6.2.no-wait', 'no answer, but deliveries', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.send(CONSUME, { queue, consumerTag: 'quiet', noAck: true, nowait: true });
  t.channel.publish('', queue, 'x');
  expect((await t.channel.next('basic.deliver')).fields).toMatchObject({ consumerTag: 'quiet' });
  expect(t.channel.seen('basic.consume-ok')).toEqual([]);
});

rule('6.2.no-wait', 'without a tag the first delivery tells it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.send(CONSUME, { queue, noAck: true, nowait: true });
  t.channel.publish('', queue, 'x');
  expect((await t.channel.next('basic.deliver')).fields['consumerTag']).toMatch(/^amq\.ctag-/);
});

rule('6.2.arguments', 'unknown arguments of any type are accepted', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const args = { 'x-cancel-on-ha-failover': true, 'x-mine': [1, { a: null }], note: 'hello' };
  const consumer = await t.channel.consume(queue, { arguments: args });
  t.channel.publish('', queue, 'x');
  expect((await consumer.next()).body).toBe('x');
});

rule('6.2.deliver', 'tag, exchange and key tell where a message came from', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const first = await t.boundQueue(exchange, 'a.#');
  const second = await t.boundQueue(exchange, '#.b');
  const one = await t.channel.consume(first, { consumerTag: 'one' });
  const two = await t.channel.consume(second, { consumerTag: 'two' });
  t.channel.publish(exchange, 'a.b', 'x');
  expect(await one.next()).toMatchObject({
    consumerTag: 'one',
    exchange,
    routingKey: 'a.b',
    redelivered: false,
  });
  expect(await two.next()).toMatchObject({
    consumerTag: 'two',
    exchange,
    routingKey: 'a.b',
    redelivered: false,
  });
});

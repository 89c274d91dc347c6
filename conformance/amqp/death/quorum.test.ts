// Quorum queues: what they count, when they give a message up, and what they refuse.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel, Message } from '../../support/channel.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { type RuleTest, rule, useTarget } from '../../support/target.ts';
import { passTimeWhileWaiting } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });
passTimeWhileWaiting(clock);

type Table = Record<string, unknown>;
const DELETE = 'queue.delete';

function quorum(t: Scene, args: Table = {}): Promise<string> {
  return t.queue({ durable: true, arguments: { 'x-queue-type': 'quorum', ...args } });
}

/** Gets the message that has to be there, and leaves it unacknowledged. */
async function take(channel: Channel, queue: string): Promise<Message> {
  await channel.untilReady(queue, 1);
  return (await channel.get(queue))!;
}

const countOf = (message: Message): unknown => message.properties.headers?.['x-delivery-count'];

// ── counters ──

rule(
  '8.5.absent',
  'on the first delivery',
  async (target) => {
    const t = await scene(target);
    const queue = await quorum(t);
    t.channel.publish('', queue, 'a');
    expect(countOf(await take(t.channel, queue))).toBeUndefined();
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await quorum(t);
      t.channel.publish('', queue, 'a');
      expect(countOf(await take(t.channel, queue))).toBe(0);
    },
  },
);

rule('8.5.count', 'nack, reject, recover and the end of a channel', async (target) => {
  const t = await scene(target);
  const queue = await quorum(t);
  t.channel.publish('', queue, 'a');
  t.channel.nack(await take(t.channel, queue));
  const second = await take(t.channel, queue);
  expect([second.redelivered, countOf(second)]).toEqual([true, 1]);
  t.channel.reject(second);
  expect(countOf(await take(t.channel, queue))).toBe(2);
  await t.channel.call('basic.recover', { requeue: true });
  const other = await t.newChannel();
  expect(countOf(await take(other, queue))).toBe(3);
  await other.close();
  expect(countOf(await take(t.channel, queue))).toBe(4);
});

rule(
  '8.5.acquired',
  'after two returns',
  async (target) => {
    const t = await scene(target);
    const queue = await quorum(t);
    t.channel.publish('', queue, 'a');
    for (let i = 0; i < 2; i++) t.channel.nack(await take(t.channel, queue));
    expect((await take(t.channel, queue)).properties.headers).toMatchObject({ 'x-acquired-count': 2 });
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await quorum(t);
      t.channel.publish('', queue, 'a');
      t.channel.nack(await take(t.channel, queue));
      expect((await take(t.channel, queue)).properties.headers!['x-acquired-count']).toBeUndefined();
    },
  },
);

rule('8.5.limit', 'a limit of 2', async (target) => {
  const t = await scene(target);
  const dead = await t.queue();
  const queue = await quorum(t, {
    'x-delivery-limit': 2,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': dead,
  });
  t.channel.publish('', queue, 'a');
  for (let i = 0; i < 3; i++) t.channel.nack(await take(t.channel, queue));
  const message = await take(t.channel, dead);
  expect((message.properties.headers!['x-death'] as unknown as Table[])[0]).toMatchObject({
    reason: 'delivery_limit',
    queue,
    count: 1,
  });
});

/** Returns a message 25 times; how often it could be. */
async function returns(t: Scene, queue: string): Promise<number> {
  t.channel.publish('', queue, 'a');
  let count = 0;
  while (count < 25) {
    await t.channel.settle(queue);
    const message = count === 0 ? await take(t.channel, queue) : await t.channel.get(queue);
    if (message === null) return count;
    t.channel.nack(message);
    count++;
  }
  return count;
}

rule(
  '8.5.default',
  'none said, and a negative one',
  async (target) => {
    const t = await scene(target);
    expect(await returns(t, await quorum(t))).toBe(21);
    expect(await returns(t, await quorum(t, { 'x-delivery-limit': -1 }))).toBe(25);
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await quorum(t);
      t.channel.publish('', queue, 'a');
      for (let i = 0; i < 22; i++) t.channel.nack(await take(t.channel, queue));
      await take(t.channel, queue);
    },
  },
);

rule(
  '8.5.persistent',
  'a transient message',
  () =>
    acrossRestart(
      async (channel) => {
        const args = { 'x-queue-type': 'quorum' };
        await channel.call('queue.declare', { queue: 'q', durable: true, arguments: args });
        await channel.confirms();
        await channel.publishConfirmed('', 'q', ['a'], { deliveryMode: 1 } as Table);
      },
      async (channel) => {
        expect(await channel.drain('q')).toEqual(['a']);
      },
    ),
  OWN_ONLY,
);

rule('8.2.at-least-once', 'the queue it goes to comes later', async (target) => {
  const t = await scene(target);
  const dead = t.queueName();
  const queue = await quorum(t, {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': dead,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  });
  const there = await t.queue();
  const other = await quorum(t, {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': there,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  });
  for (const each of [queue, other]) {
    t.channel.publish('', each, 'a');
    t.channel.reject(await take(t.channel, each), false);
  }
  await t.channel.untilReady(there, 1);
  // RabbitMQ tries again after three minutes; here it is soon.
  if (target.isRabbitMQ) return;
  await t.channel.call('queue.declare', { queue: dead });
  await t.channel.untilReady(dead, 1);
});

rule('8.2.at-least-once-overflow', 'drop-head, and none', async (target) => {
  const t = await scene(target);
  for (const overflow of [{ 'x-overflow': 'drop-head' }, {}]) {
    const dead = t.queueName();
    const queue = await quorum(t, {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
      'x-dead-letter-strategy': 'at-least-once',
      ...overflow,
    });
    t.channel.publish('', queue, 'lost');
    t.channel.reject(await take(t.channel, queue), false);
    t.channel.publish('', queue, 'kept');
    const next = await take(t.channel, queue);
    // The first one is dead by now; nobody kept it for a queue that comes later.
    await t.channel.call('queue.declare', { queue: dead });
    t.channel.reject(next, false);
    await t.channel.untilReady(dead, 1);
    expect(await t.channel.drain(dead)).toEqual(['kept']);
  }
});

/** Waits grow with the count of deliveries, up to the largest. */
const RETRY_DELAY = { 'x-delayed-retry-type': 'all', 'x-delayed-retry-min': 60, 'x-delayed-retry-max': 90 };

rule(
  '8.5.retry-delay',
  'three times, longer and longer',
  async (target) => {
    const now = (): number => (target.broker === null ? Date.now() : clock.now());
    const t = await scene(target);
    const queue = await quorum(t, RETRY_DELAY);
    t.channel.publish('', queue, 'a');
    for (const least of [60, 90, 90]) {
      const message = await take(t.channel, queue);
      const from = now();
      t.channel.nack(message);
      await t.channel.untilReady(queue, 1);
      expect(now() - from).toBeGreaterThanOrEqual(least);
    }
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const hour = { 'x-delayed-retry-min': 3_600_000, 'x-delayed-retry-max': 3_600_000 };
      const queue = await quorum(t, { ...RETRY_DELAY, ...hour });
      t.channel.publish('', queue, 'a');
      for (let i = 0; i < 3; i++) t.channel.nack(await take(t.channel, queue));
      await t.channel.untilReady(queue, 1);
    },
  },
);

/** The order of three messages of which the first came back. */
async function afterReturn(t: Scene, args: Table): Promise<string[]> {
  const queue = await quorum(t, args);
  t.channel.publishAll(queue, ['a', 'b', 'c']);
  await t.channel.untilReady(queue, 3);
  t.channel.nack((await t.channel.get(queue))!);
  await t.channel.untilReady(queue, 3);
  return t.channel.drain(queue);
}

rule('6.5.quorum-position', 'with a delivery limit', async (target) => {
  expect(await afterReturn(await scene(target), { 'x-delivery-limit': 5 })).toEqual(['a', 'b', 'c']);
});
rule(
  '6.5.quorum-position-unlimited',
  'with a negative limit',
  async (target) => {
    expect(await afterReturn(await scene(target), { 'x-delivery-limit': -1 })).toEqual(['a', 'b', 'c']);
  },
  {
    onRabbitMQ: async (target) => {
      expect(await afterReturn(await scene(target), {})).toEqual(['b', 'c', 'a']);
    },
  },
);

// ── refusals ──

const quorumRefuses =
  (fields: Table, flag: string): RuleTest =>
  async (target) => {
    const t = await scene(target);
    const queue = await quorum(t);
    const stranger = await t.stranger();
    await stranger.refused(() => stranger.call(DELETE, { queue, ...fields }), {
      code: 540,
      text: `cannot delete queue '${queue}' in vhost '${t.vhost}'. queue.delete operations with ${flag} flag set are not supported by quorum queues`,
      method: DELETE,
    });
  };
rule('5.4.quorum-delete', 'if-unused', quorumRefuses({ ifUnused: true }, 'if-unused'));
rule('5.4.quorum-delete', 'if-empty', quorumRefuses({ ifEmpty: true }, 'if-empty'));
rule('5.4.quorum-delete', 'both', quorumRefuses({ ifUnused: true, ifEmpty: true }, 'if-unused'));

rule('6.2.quorum-global-qos', 'a prefetch of the channel', async (target) => {
  const t = await scene(target);
  const queue = await quorum(t);
  const stranger = await t.stranger();
  await stranger.qos(5, true);
  await stranger.refused(() => stranger.consume(queue), {
    code: 540,
    text: `queue '${queue}' in vhost '${t.vhost}' does not support global qos`,
    method: 'basic.consume',
  });
});

rule('6.2.quorum-global-qos', 'one of zero, or one that comes later', async (target) => {
  const t = await scene(target);
  const queue = await quorum(t);
  await t.channel.qos(0, true);
  await t.channel.consume(queue);
  await t.channel.qos(5, true);
  await t.channel.fence();
});

rule('6.4.quorum-sac', 'with a consumer or without', async (target) => {
  const t = await scene(target);
  const queue = await quorum(t, { 'x-single-active-consumer': true });
  const channel = await t.newChannel();
  await channel.refused(() => channel.get(queue), {
    code: 405,
    text: `cannot obtain access to locked queue '${queue}' in vhost '${t.vhost}'. basic.get operations are not supported by quorum queues with single active consumer`,
    method: 'basic.get',
  });
});

for (const type of ['classic', 'quorum']) {
  rule('6.2.foreign-argument', `x-stream-offset on a ${type} queue`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ durable: true, arguments: { 'x-queue-type': type } });
    const channel = await t.newChannel();
    await channel.refused(() => channel.consume(queue, { arguments: { 'x-stream-offset': 'first' } }), {
      code: 406,
      text: `invalid arg 'x-stream-offset' for queue '${queue}' in vhost '${t.vhost}' of queue type rabbit_${type}_queue`,
      method: 'basic.consume',
    });
  });
}

const exclusiveBeside: RuleTest = async (target) => {
  const t = await scene(target);
  const queue = await quorum(t);
  await t.channel.consume(queue);
  const channel = await t.newChannel();
  await channel.refused(() => channel.consume(queue, { exclusive: true }), {
    code: 403,
    text: `queue '${queue}' in vhost '${t.vhost}' in exclusive use`,
    method: 'basic.consume',
  });
};
rule('6.2.quorum-exclusive', 'beside another consumer', exclusiveBeside, {
  onRabbitMQ: async (target) => {
    const t = await scene(target);
    const queue = await quorum(t);
    await t.channel.consume(queue);
    await t.channel.consume(queue, { exclusive: true });
  },
});

// ── retries ──

rule(
  '8.6.retry',
  'twice, then to the dead letters',
  async (target) => {
    const t = await scene(target);
    const dead = await t.queue();
    const queue = await t.queue({
      arguments: {
        'x-retry-limit': 2,
        'x-retry-delay': 20,
        'x-retry-multiplier': 1.5,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': dead,
      },
    });
    t.channel.publish('', queue, 'a');
    const seen: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const message = await take(t.channel, queue);
      seen.push([message.redelivered, message.properties.headers?.['x-retry-count']]);
      t.channel.reject(message, false);
    }
    expect(seen).toEqual([
      [false, undefined],
      [true, 1],
      [true, 2],
    ]);
    const message = await take(t.channel, dead);
    expect((message.properties.headers!['x-death'] as unknown as Table[])[0]).toMatchObject({
      reason: 'rejected',
      queue,
    });
  },
  { ownOnly: 'only Leveret has it' },
);

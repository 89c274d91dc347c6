// What the keys of a policy do to queues and exchanges that live, and what holds beside an argument of the same name.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel } from '../../support/channel.ts';
import { useOperator } from '../../support/operator.ts';
import type { Scene } from '../../support/scene.ts';
import { rule, type Target } from '../../support/target.ts';

const clock = new FakeClock();
const operator = useOperator({ clock });

/** A time that is long enough to be told from nothing, and short enough to wait for on a foreign broker. */
const SHORT_MS = 100;

/** Lets time pass, on the broker's own clock where it has one. */
async function pass(target: Target, ms: number): Promise<void> {
  if (target.broker !== null) clock.advance(ms);
  else await new Promise((resolve) => setTimeout(resolve, ms + 100));
}

async function start(): Promise<{ scene: Scene; channel: Channel }> {
  const scene = await operator.scene();
  return { scene, channel: scene.channel };
}

/** A policy for one queue or exchange. */
function policyFor(
  name: string,
  definition: Readonly<Record<string, string | number>>,
): {
  name: string;
  pattern: string;
  definition: Readonly<Record<string, string | number>>;
} {
  return { name: `policy-${name}`, pattern: `^${name}$`, definition };
}

rule('12.1.max-length', 'the oldest go', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  channel.publishAll(queue, ['a', 'b', 'c', 'd']);
  await channel.untilReady(queue, 4);
  const name = await operator.setPolicy(policyFor(queue, { 'max-length': 2 }));
  await channel.untilReady(queue, 2);
  expect(await channel.drain(queue)).toEqual(['c', 'd']);
  await operator.deletePolicy(name);
  channel.publishAll(queue, ['e', 'f', 'g']);
  await channel.untilReady(queue, 3);
});

rule('12.1.max-length-bytes', 'the oldest go', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  channel.publishAll(queue, ['aaaa', 'bbbb', 'cccc']);
  await channel.untilReady(queue, 3);
  await operator.setPolicy(policyFor(queue, { 'max-length-bytes': 8 }));
  await channel.untilReady(queue, 2);
  expect(await channel.drain(queue)).toEqual(['bbbb', 'cccc']);
});

rule('12.1.overflow', 'a full queue refuses while the policy is there', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue({ arguments: { 'x-max-length': 1 } });
  await channel.confirms();
  const name = await operator.setPolicy(policyFor(queue, { overflow: 'reject-publish' }));
  await channel.publishConfirmed('', queue, ['a', 'b']);
  expect(channel.seen('basic.nack')).toHaveLength(1);
  await operator.deletePolicy(name);
  await channel.publishConfirmed('', queue, ['c']);
  expect(channel.seen('basic.nack')).toHaveLength(1);
  expect(await channel.drain(queue)).toEqual(['c']);
});

rule(
  '12.1.message-ttl',
  'a message that comes later expires, one that comes after the policy does not',
  async (target) => {
    const { channel, scene } = await start();
    const queue = await scene.queue();
    const name = await operator.setPolicy(policyFor(queue, { 'message-ttl': SHORT_MS }));
    await channel.confirms();
    await channel.publishConfirmed('', queue, ['short']);
    await pass(target, SHORT_MS);
    await channel.untilReady(queue, 0);
    await operator.deletePolicy(name);
    await channel.publishConfirmed('', queue, ['long']);
    await pass(target, SHORT_MS);
    expect(await channel.drain(queue)).toEqual(['long']);
  },
);

/** What is left of a message that was there before a policy brought a time to live, when that is over. */
async function leftOver(target: Target): Promise<string[]> {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  await channel.confirms();
  await channel.publishConfirmed('', queue, ['waits']);
  await operator.setPolicy(policyFor(queue, { 'message-ttl': SHORT_MS }));
  await pass(target, 3 * SHORT_MS);
  return channel.drain(queue);
}

rule(
  '12.1.message-ttl-waiting',
  'a message from before the policy',
  async (target) => {
    expect(await leftOver(target)).toEqual([]);
  },
  {
    onRabbitMQ: async (target) => {
      expect(await leftOver(target)).toEqual(['waits']);
    },
  },
);

rule('12.1.expires', 'a queue goes, one whose policy went in time stays', async (target) => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  const spared = await scene.queue();
  const name = await operator.setPolicy(policyFor(spared, { expires: 20_000 }));
  await operator.setPolicy(policyFor(queue, { expires: 5 * SHORT_MS }));
  await operator.deletePolicy(name);
  // Timers of queues are coarse.
  await pass(target, target.broker === null ? 6 * SHORT_MS : 30_000);
  await channel.refused(() => channel.call('queue.declare', { queue, passive: true }), {
    code: 404,
    text: `no queue '${queue}' in vhost '${operator.vhost}'`,
    method: 'queue.declare',
  });
  const other = await scene.newChannel();
  await other.call('queue.declare', { queue: spared, passive: true });
});

rule('12.1.dead-letter', 'messages rejected after the policy came, and after it went', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  const dead = await scene.queue();
  channel.publishAll(queue, ['a', 'b']);
  await channel.untilReady(queue, 2);
  const name = await operator.setPolicy(
    policyFor(queue, { 'dead-letter-exchange': '', 'dead-letter-routing-key': dead }),
  );
  channel.reject((await channel.get(queue))!, false);
  await channel.untilReady(dead, 1);
  await operator.deletePolicy(name);
  channel.reject((await channel.get(queue))!, false);
  await channel.untilReady(queue, 0);
  expect(await channel.drain(dead)).toEqual(['a']);
});

rule('12.1.alternate', 'what is unroutable goes there until the policy goes', async () => {
  const { channel, scene } = await start();
  const exchange = await scene.exchange('direct');
  const fanout = await scene.exchange('fanout');
  const lost = await scene.boundQueue(fanout);
  channel.publish(exchange, 'k', 'before', {}, { mandatory: true });
  await channel.nextReturn();
  const name = await operator.setPolicy(policyFor(exchange, { 'alternate-exchange': fanout }));
  channel.publish(exchange, 'k', 'during', {}, { mandatory: true });
  await channel.untilReady(lost, 1);
  await operator.deletePolicy(name);
  channel.publish(exchange, 'k', 'after', {}, { mandatory: true });
  expect((await channel.nextReturn()).body).toBe('after');
  expect(await channel.drain(lost)).toEqual(['during']);
});

for (const [key, small, large] of [
  ['max-length', 1, 3],
  ['max-length-bytes', 1, 3],
] as const) {
  rule('12.1.argument-smaller', `${key}: either way round`, async () => {
    const { channel, scene } = await start();
    const strict = await scene.queue({ arguments: { [`x-${key}`]: small } });
    const loose = await scene.queue({ arguments: { [`x-${key}`]: large } });
    await operator.setPolicy(policyFor(strict, { [key]: large }));
    await operator.setPolicy(policyFor(loose, { [key]: small }));
    for (const queue of [strict, loose]) {
      channel.publishAll(queue, ['a', 'b', 'c']);
      await channel.untilReady(queue, small);
    }
  });
}

rule('12.1.argument-smaller', 'message-ttl: either way round', async (target) => {
  const { channel, scene } = await start();
  const strict = await scene.queue({ arguments: { 'x-message-ttl': SHORT_MS } });
  const loose = await scene.queue({ arguments: { 'x-message-ttl': 60_000 } });
  await operator.setPolicy(policyFor(strict, { 'message-ttl': 60_000 }));
  await operator.setPolicy(policyFor(loose, { 'message-ttl': SHORT_MS }));
  await channel.confirms();
  for (const queue of [strict, loose]) await channel.publishConfirmed('', queue, ['a']);
  await pass(target, SHORT_MS);
  for (const queue of [strict, loose]) await channel.untilReady(queue, 0);
});

rule('12.1.argument-dead-letter', 'exchange, key and alternate exchange', async () => {
  const { channel, scene } = await start();
  const [own, other] = [await scene.queue(), await scene.queue()];
  const queue = await scene.queue({
    arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': own },
  });
  await operator.setPolicy(
    policyFor(queue, { 'dead-letter-exchange': 'nowhere', 'dead-letter-routing-key': other }),
  );
  channel.publishAll(queue, ['a']);
  await channel.untilReady(queue, 1);
  channel.reject((await channel.get(queue))!, false);
  await channel.untilReady(own, 1);
  const fanout = await scene.exchange('fanout');
  const lost = await scene.boundQueue(fanout);
  const exchange = await scene.exchange('direct', { arguments: { 'alternate-exchange': fanout } });
  await operator.setPolicy(policyFor(exchange, { 'alternate-exchange': 'nowhere' }));
  channel.publish(exchange, 'k', 'b');
  await channel.untilReady(lost, 1);
});

rule('12.1.argument-overflow', 'the queue goes on refusing', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  await operator.setPolicy(policyFor(queue, { overflow: 'drop-head' }));
  await channel.confirms();
  await channel.publishConfirmed('', queue, ['a', 'b']);
  expect(channel.seen('basic.nack')).toHaveLength(1);
  expect(await channel.drain(queue)).toEqual(['a']);
});

rule('12.1.quorum-overflow', 'the queue drops', async () => {
  const { channel, scene } = await start();
  const queue = scene.queueName();
  await channel.call('queue.declare', {
    queue,
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-max-length': 1, 'x-overflow': 'reject-publish' },
  });
  await operator.setPolicy(policyFor(queue, { overflow: 'drop-head' }));
  await channel.confirms();
  await channel.publishConfirmed('', queue, ['a', 'b', 'c', 'd']);
  expect(channel.seen('basic.nack')).toHaveLength(0);
  await channel.untilReady(queue, 1);
  expect(await channel.drain(queue)).toEqual(['d']);
});

for (const [argument, policy] of [
  [5, 1],
  [1, 5],
] as const) {
  rule('12.1.argument-delivery-limit', `${argument} by argument, ${policy} by policy`, async () => {
    const { channel, scene } = await start();
    const queue = scene.queueName();
    await channel.call('queue.declare', {
      queue,
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': argument },
    });
    await operator.setPolicy(policyFor(queue, { 'delivery-limit': policy }));
    await channel.confirms();
    await channel.publishConfirmed('', queue, ['poison']);
    // A consumer sees every delivery; the second return is one too many.
    const consumer = await channel.consume(queue);
    for (let i = 0; i < 2; i++) channel.nack(await consumer.next());
    await channel.untilReady(queue, 0);
    await channel.settle(queue);
    expect(consumer.bodies).toEqual(['poison', 'poison']);
  });
}

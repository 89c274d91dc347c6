// Which policy applies to what: patterns, priorities, kinds of objects, operator policies.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { useOperator } from '../../support/operator.ts';
import { type Scene, uniqueName } from '../../support/scene.ts';
import { rule } from '../../support/target.ts';

const operator = useOperator();

/** A scene in the operator's vhost. */
async function start(): Promise<{ scene: Scene; channel: Channel }> {
  const scene = await operator.scene();
  return { scene, channel: scene.channel };
}

/** Publishes `count` messages and waits until `left` of them are there: what a length limit leaves. */
async function leaves(channel: Channel, queue: string, count: number, left: number): Promise<void> {
  await channel.call('queue.purge', { queue });
  channel.publishAll(queue, Array.from({ length: count }, String));
  await channel.untilReady(queue, left);
}

rule('12.1.living', 'queues from before and from after a policy, until it is deleted', async () => {
  const { channel, scene } = await start();
  const before = await scene.queue();
  const later = scene.queueName('later');
  channel.publishAll(before, ['a', 'b', 'c']);
  const name = await operator.setPolicy({
    pattern: `^(${before}|${later})$`,
    definition: { 'max-length': 1 },
  });
  await channel.untilReady(before, 1);
  await channel.call('queue.declare', { queue: later });
  await leaves(channel, later, 3, 1);
  await operator.deletePolicy(name);
  await leaves(channel, before, 3, 3);
  await leaves(channel, later, 3, 3);
});

rule('12.1.pattern', 'a part of the name is enough, the start must be asked for', async () => {
  const { channel, scene } = await start();
  const word = uniqueName('word');
  const inside = scene.queueName(`inside-${word}-name`);
  await channel.call('queue.declare', { queue: inside });
  await operator.setPolicy({ pattern: word, definition: { 'max-length': 2 } });
  await operator.setPolicy({ pattern: `^${word}`, definition: { 'max-length': 1 }, priority: 5 });
  await leaves(channel, inside, 4, 2);
});

rule('12.1.priority', 'the highest that matches, alone', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  const dead = await scene.queue();
  await operator.setPolicy({
    pattern: `^${queue}$`,
    definition: { 'max-length': 2, 'dead-letter-exchange': '', 'dead-letter-routing-key': dead },
    priority: 1,
  });
  await leaves(channel, queue, 3, 2);
  await channel.untilReady(dead, 1);
  await operator.setPolicy({ pattern: `^${queue}$`, definition: { 'max-length': 1 }, priority: 2 });
  // Its dead letters went with the policy that is not the highest any more.
  await leaves(channel, queue, 4, 1);
  await channel.untilReady(dead, 1);
});

rule(
  '12.1.tie',
  'the first by name',
  async () => {
    const { channel, scene } = await start();
    const queue = await scene.queue();
    const pattern = `^${queue}$`;
    const name = uniqueName('tie');
    await operator.setPolicy({ name: `${name}-b`, pattern, definition: { 'max-length': 2 } });
    await operator.setPolicy({ name: `${name}-a`, pattern, definition: { 'max-length': 1 } });
    await operator.setPolicy({ name: `${name}-c`, pattern, definition: { 'max-length': 3 } });
    await leaves(channel, queue, 5, 1);
    await operator.deletePolicy(`${name}-a`);
    await leaves(channel, queue, 5, 2);
  },
  { ownOnly: 'RabbitMQ takes any of them' },
);

rule('12.1.apply-to', 'a name that a queue and an exchange share', async () => {
  const { channel, scene } = await start();
  const name = await scene.queue();
  const lost = await scene.queue();
  await channel.call('exchange.declare', { exchange: name, type: 'direct' });
  const fanout = await scene.exchange('fanout');
  await channel.call('queue.bind', { queue: lost, exchange: fanout });
  // Both keys in both policies: a queue knows nothing of alternate exchanges, an exchange nothing of lengths.
  const definition = { 'alternate-exchange': fanout, 'max-length': 1 };
  const policy = { name: uniqueName('policy'), pattern: `^${name}$`, definition };
  await operator.setPolicy({ ...policy, applyTo: 'queues' });
  await leaves(channel, name, 2, 1);
  channel.publish(name, 'k', 'x', {}, { mandatory: true });
  await channel.nextReturn();
  await operator.setPolicy({ ...policy, applyTo: 'exchanges' });
  channel.publish(name, 'k', 'y');
  await channel.untilReady(lost, 1);
  await leaves(channel, name, 2, 2);
  await operator.setPolicy({ ...policy, applyTo: 'all' });
  channel.publish(name, 'k', 'z');
  await channel.untilReady(lost, 2);
  await leaves(channel, name, 2, 1);
  await channel.call('exchange.delete', { exchange: name });
});

for (const [applyTo, type] of [
  ['classic_queues', 'classic'],
  ['quorum_queues', 'quorum'],
] as const) {
  rule(
    '12.1.apply-to-type',
    `${applyTo} are of type ${type}`,
    async () => {
      const { channel, scene } = await start();
      const word = uniqueName('types');
      await operator.setPolicy({ pattern: `^${word}`, definition: { 'max-length': 1 }, applyTo });
      for (const declared of ['classic', 'quorum']) {
        const queue = `${word}-${declared}`;
        await channel.call('queue.declare', {
          queue,
          durable: true,
          arguments: { 'x-queue-type': declared },
        });
        await leaves(channel, queue, 3, declared === type ? 1 : 3);
        await channel.call('queue.delete', { queue });
      }
      await scene.close();
    },
    {
      onRabbitMQ: async () => {
        const policy = { pattern: '^x$', definition: { 'max-length': 1 }, applyTo };
        expect(await operator.refusal(() => operator.setPolicy(policy))).toMatch(
          `apply-to '${applyTo}' unrecognised`,
        );
      },
    },
  );
}

rule('12.1.unsupported-key', 'a delivery limit on a classic queue', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  const pattern = `^${queue}$`;
  await operator.setPolicy({ pattern, definition: { 'max-length': 1, 'delivery-limit': 3 }, priority: 9 });
  await leaves(channel, queue, 3, 3);
  await operator.setPolicy({ pattern, definition: { 'max-length': 2 }, priority: 1 });
  await leaves(channel, queue, 3, 2);
});

rule('12.1.operator', 'the smaller length, and what one of them says alone', async () => {
  const { channel, scene } = await start();
  const queue = await scene.queue();
  const dead = await scene.queue();
  const pattern = `^${queue}$`;
  const policy = {
    name: uniqueName('policy'),
    pattern,
    definition: { 'max-length': 3, 'dead-letter-exchange': '', 'dead-letter-routing-key': dead },
  };
  await operator.setPolicy(policy);
  const limits = { pattern, definition: { 'max-length': 2 }, operator: true };
  const name = await operator.setPolicy(limits);
  await leaves(channel, queue, 5, 2);
  await channel.untilReady(dead, 3);
  await operator.setPolicy({ ...policy, definition: { ...policy.definition, 'max-length': 1 } });
  await leaves(channel, queue, 5, 1);
  await operator.deletePolicy(policy.name);
  await leaves(channel, queue, 5, 2);
  await operator.deletePolicy(name, true);
  await leaves(channel, queue, 5, 5);
});

rule(
  '12.1.operator-overflow',
  'the operator has publishes refused',
  async () => {
    const { channel, scene } = await start();
    const queue = await scene.queue();
    const pattern = `^${queue}$`;
    await operator.setPolicy({ pattern, definition: { 'max-length': 1, overflow: 'drop-head' } });
    await operator.setPolicy({ pattern, definition: { overflow: 'reject-publish' }, operator: true });
    await channel.confirms();
    await channel.publishConfirmed('', queue, ['first', 'second']);
    expect(channel.seen('basic.nack')).toHaveLength(1);
    expect(await channel.drain(queue)).toEqual(['first']);
  },
  {
    onRabbitMQ: async () => {
      const policy = { pattern: '^x$', definition: { overflow: 'reject-publish' }, operator: true };
      expect(await operator.refusal(() => operator.setPolicy(policy))).toBe(
        '[{<<"overflow">>,<<"reject-publish">>}] are not recognised policy settings',
      );
    },
  },
);

rule('12.1.default-exchange', 'what it cannot route is returned', async () => {
  const { channel, scene } = await start();
  const fanout = await scene.exchange('fanout');
  const name = await operator.setPolicy({
    pattern: '^$',
    definition: { 'alternate-exchange': fanout },
    applyTo: 'exchanges',
  });
  await scene.boundQueue(fanout);
  channel.publish('', uniqueName('nowhere'), 'x', {}, { mandatory: true });
  await channel.nextReturn();
  await operator.deletePolicy(name);
});

// What the keys of a policy do to queues and exchanges that live, and what holds beside an argument of the same name.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel } from '../../support/channel.ts';
import { useOperator } from '../../support/operator.ts';
import type { Scene } from '../../support/scene.ts';
import { type RuleTest, rule, type Target } from '../../support/target.ts';
import { oldest, untilOldest } from '../stream/support.ts';

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
  const { scene } = await start();
  const queue = await scene.queue();
  const spared = await scene.queue();
  const name = await operator.setPolicy(policyFor(spared, { expires: 20_000 }));
  await operator.setPolicy(policyFor(queue, { expires: 5 * SHORT_MS }));
  await operator.deletePolicy(name);
  if (target.broker !== null) clock.advance(30_000);
  await expectGone(target, scene, [queue], 5 * SHORT_MS);
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

/** RabbitMQ 3 knows no policy without a limit. */
const refusesUnlimited: RuleTest = async () => {
  const policy = policyFor('nothing', { 'delivery-limit': -1 });
  expect(await operator.refusal(() => operator.setPolicy(policy))).toBe('-1 is not a valid delivery limit');
};

for (const [argument, policy] of [
  [-1, 1],
  [1, -1],
] as const) {
  rule(
    '12.1.argument-unlimited',
    `${argument} by argument, ${policy} by policy`,
    async () => {
      const { channel, scene } = await start();
      const queue = scene.queueName();
      const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': argument };
      await channel.call('queue.declare', { queue, durable: true, arguments: args });
      await operator.setPolicy(policyFor(queue, { 'delivery-limit': policy }));
      expect(await deliveriesOf(channel, queue, 4)).toBe(2);
    },
    { onRabbitMQ: refusesUnlimited },
  );
}

/** Deliveries of a message with a limit of a policy and one of an operator policy. */
async function deliveriesWith(given: number, byOperator: number): Promise<number> {
  const { channel, scene } = await start();
  const queue = scene.queueName();
  await channel.call('queue.declare', { queue, durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await operator.setPolicy(policyFor(queue, { 'delivery-limit': given }));
  await operator.setPolicy({ ...policyFor(queue, { 'delivery-limit': byOperator }), operator: true });
  return deliveriesOf(channel, queue, 4);
}

rule('12.1.operator-limits', 'delivery-limit: either way round', async () => {
  expect(await deliveriesWith(1, 3)).toBe(2);
  expect(await deliveriesWith(3, 1)).toBe(2);
});

rule(
  '12.1.operator-unlimited',
  'either way round',
  async () => {
    expect(await deliveriesWith(1, -1)).toBe(2);
    expect(await deliveriesWith(-1, 1)).toBe(2);
  },
  { onRabbitMQ: refusesUnlimited },
);

/** How often a message that is given back every time is delivered, `most` times at most. */
async function deliveriesOf(channel: Channel, queue: string, most: number): Promise<number> {
  await channel.confirms();
  await channel.publishConfirmed('', queue, ['poison', 'next']);
  await channel.qos(1);
  const consumer = await channel.consume(queue);
  for (let count = 0; ; count++) {
    const message = await consumer.next();
    if (message.body === 'next' || count === most) return count;
    channel.nack(message);
  }
}

for (const [given, byOperator] of [
  [1, 3],
  [3, 1],
] as const) {
  rule('12.1.operator-limits', `max-length-bytes: ${given} and ${byOperator}`, async () => {
    const { channel, scene } = await start();
    const queue = await scene.queue();
    await operator.setPolicy(policyFor(queue, { 'max-length-bytes': given }));
    await operator.setPolicy({ ...policyFor(queue, { 'max-length-bytes': byOperator }), operator: true });
    channel.publishAll(queue, ['a', 'b', 'c']);
    await channel.untilReady(queue, 1);
  });
}

rule('12.1.operator-limits', 'message-ttl: either way round', async (target) => {
  const { channel, scene } = await start();
  const queues = [await scene.queue(), await scene.queue()];
  await channel.confirms();
  for (const [i, queue] of queues.entries()) {
    const [given, byOperator] = i === 0 ? [60_000, SHORT_MS] : [SHORT_MS, 60_000];
    await operator.setPolicy(policyFor(queue, { 'message-ttl': given }));
    await operator.setPolicy({ ...policyFor(queue, { 'message-ttl': byOperator }), operator: true });
    await channel.publishConfirmed('', queue, ['a']);
  }
  await pass(target, SHORT_MS);
  for (const queue of queues) await channel.untilReady(queue, 0);
});

/** Queues that ought to be gone when the time is over. */
async function expectGone(
  target: Target,
  scene: Scene,
  queues: readonly string[],
  ms: number,
): Promise<void> {
  // Timers of queues are coarse.
  const patience = ms + 5 * SHORT_MS;
  await pass(target, patience);
  for (const queue of queues) {
    // RabbitMQ takes a queue away when it gets to it; to ask for the queue gives it its whole time again.
    for (let tries = target.broker === null ? 3 : 1; ; tries--) {
      const channel = await scene.newChannel();
      let isThere = false;
      const declared = async (): Promise<void> => {
        await channel.call('queue.declare', { queue, passive: true });
        isThere = true;
      };
      const refused = channel.refused(declared, {
        code: 404,
        text: `no queue '${queue}' in vhost '${operator.vhost}'`,
        method: 'queue.declare',
      });
      await refused.catch((error) => {
        if (!isThere || tries === 1) throw error;
      });
      if (!isThere) break;
      await pass(target, patience);
    }
  }
}

rule('12.1.operator-limits', 'expires: either way round', async (target) => {
  const { scene } = await start();
  const queues = [await scene.queue(), await scene.queue()];
  for (const [i, queue] of queues.entries()) {
    const [given, byOperator] = i === 0 ? [60_000, SHORT_MS] : [SHORT_MS, 60_000];
    await operator.setPolicy({ ...policyFor(queue, { expires: byOperator }), operator: true });
    await operator.setPolicy(policyFor(queue, { expires: given }));
  }
  await expectGone(target, scene, queues, SHORT_MS);
});

rule('12.1.argument-expires', 'either way round', async (target) => {
  const { scene } = await start();
  const strict = await scene.queue({ arguments: { 'x-expires': 30 * SHORT_MS } });
  const loose = await scene.queue({ arguments: { 'x-expires': 60_000 } });
  await operator.setPolicy(policyFor(strict, { expires: 60_000 }));
  await operator.setPolicy(policyFor(loose, { expires: 30 * SHORT_MS }));
  await expectGone(target, scene, [strict, loose], 30 * SHORT_MS);
});

rule('12.1.argument-stream', 'a policy that keeps more than the argument', async () => {
  const { channel, scene } = await start();
  const queues = [scene.queueName('kept'), scene.queueName('cut')];
  await channel.confirms();
  for (const [i, queue] of queues.entries()) {
    const [argument, byPolicy] = i === 0 ? [200_000, 100_000_000] : [100_000_000, 200_000];
    await operator.setPolicy(policyFor(queue, { 'max-length-bytes': byPolicy }));
    const args = {
      'x-queue-type': 'stream',
      'x-stream-max-segment-size-bytes': 50_000,
      'x-max-length-bytes': argument,
    };
    await channel.call('queue.declare', { queue, durable: true, arguments: args });
    const bodies = Array.from({ length: 50 }, () => 'x'.repeat(1_000));
    for (let n = 0; n < 20; n++) await channel.publishConfirmed('', queue, bodies);
    if (i === 0) expect(await oldest(scene, queue)).toBe(0);
    else await untilOldest(scene, queue, 1);
  }
});

/** Keys that RabbitMQ 3.10 has, with values at their bounds. */
const KEYS: Readonly<Record<string, readonly (string | number)[]>> = {
  'alternate-exchange': ['', 'e'],
  'dead-letter-exchange': ['', 'e'],
  'dead-letter-routing-key': ['', 'k'],
  'dead-letter-strategy': ['at-most-once', 'at-least-once'],
  'message-ttl': [0, 315_360_000_000],
  expires: [1, 315_360_000_000],
  'max-length': [0, 2_147_483_648],
  'max-length-bytes': [0, 2_147_483_648],
  'max-in-memory-length': [0],
  'max-in-memory-bytes': [0],
  'queue-mode': ['default', 'lazy'],
  'queue-version': [1, 2],
  overflow: ['drop-head', 'reject-publish', 'reject-publish-dlx'],
  'delivery-limit': [0, 20],
  'max-age': ['1Y', '30D', '5s'],
  'stream-max-segment-size-bytes': [0, 3_000_000_000],
  'queue-leader-locator': ['client-local', 'balanced'],
  'initial-cluster-size': [1],
};
const LATER_KEYS: Readonly<Record<string, readonly (string | number)[]>> = {
  'delivery-limit': [-1],
  'stream-filter-size-bytes': [16, 255],
  'consumer-timeout': [0, 60_000],
  'consumer-disconnected-timeout': [0],
  'target-group-size': [1],
  'member-placement-tag': ['rack'],
  'delayed-retry-type': ['disabled'],
};
const OPERATOR_KEYS = ['message-ttl', 'expires', 'max-length', 'max-length-bytes', 'delivery-limit'];

/** What becomes of a policy of each key and value that nothing matches. */
async function answers(
  keys: Readonly<Record<string, readonly (string | number)[]>>,
  byOperator: boolean,
): Promise<Record<string, string>> {
  const refusalOf = (definition: Record<string, string | number>): Promise<string> =>
    operator.refusal(() =>
      operator.setPolicy({ name: 'keys', pattern: '^nothing at all$', definition, operator: byOperator }),
    );
  const refusals: Record<string, string> = {};
  const most = Math.max(...Object.values(keys).map((values) => values.length));
  for (let i = 0; i < most; i++) {
    const definition: Record<string, string | number> = {};
    for (const [key, values] of Object.entries(keys)) {
      if (values[i] !== undefined) definition[key] = values[i]!;
    }
    // All of them at once, which saves calls of rabbitmqctl; one by one when that is refused.
    if ((await refusalOf(definition)) === 'accepted') continue;
    for (const [key, value] of Object.entries(definition)) {
      const refusal = await refusalOf({ [key]: value });
      if (refusal !== 'accepted') refusals[`${key} ${value}`] = refusal;
    }
    expect(Object.keys(refusals), 'keys refused one by one').not.toEqual([]);
  }
  return refusals;
}
const entriesOf = (values: Readonly<Record<string, readonly (string | number)[]>>): number =>
  Object.values(values).flat().length;

const SLOW = { timeoutMs: 180_000 };
rule(
  '12.1.keys',
  'each with its least and its largest value',
  async () => expect(await answers(KEYS, false)).toEqual({}),
  SLOW,
);
rule('12.1.later-keys', 'each of them', async () => expect(await answers(LATER_KEYS, false)).toEqual({}), {
  ...SLOW,
  onRabbitMQ: async () => expect(Object.keys(await answers(LATER_KEYS, false)).length).toBeGreaterThan(0),
});
rule(
  '12.1.operator-keys',
  'each with its least and its largest value',
  async () => {
    const keys = Object.fromEntries(OPERATOR_KEYS.map((key) => [key, KEYS[key]!]));
    expect(await answers(keys, true)).toEqual({});
  },
  SLOW,
);
const OPERATOR_LATER = {
  overflow: ['reject-publish'],
  'target-group-size': [3],
  'member-placement-tag': ['rack'],
};
rule(
  '12.1.operator-later-keys',
  'each of them',
  async () => expect(await answers(OPERATOR_LATER, true)).toEqual({}),
  {
    ...SLOW,
    onRabbitMQ: async () =>
      expect(Object.keys(await answers(OPERATOR_LATER, true))).toHaveLength(entriesOf(OPERATOR_LATER)),
  },
);

// Declaring a queue that exists: what must be equal, and the words for what is not.
import { expect, onTestFinished } from 'vitest';
import { Peer } from '../../support/peer.ts';
import { scene } from '../../support/scene.ts';
import { type RuleTest, rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'queue.declare';
type Table = Record<string, unknown>;
const typed = (type: string, value: number): Table => ({ '!': type, value });

/** One redeclare that must be refused. */
interface Row {
  readonly rule: string;
  readonly what: string;
  readonly first: Table;
  readonly again: Table;
  /** Argument and the two sides of the text. */
  readonly argument: string;
  readonly says: string;
}

const rows: readonly Row[] = [
  {
    rule: '5.2.flags',
    what: 'durable became transient',
    first: { durable: true },
    again: {},
    argument: 'durable',
    says: "received 'false' but current is 'true'",
  },
  {
    rule: '5.2.flags',
    what: 'transient became durable',
    first: {},
    again: { durable: true },
    argument: 'durable',
    says: "received 'true' but current is 'false'",
  },
  {
    rule: '5.2.flags',
    what: 'auto-delete was added',
    first: {},
    again: { autoDelete: true },
    argument: 'auto_delete',
    says: "received 'true' but current is 'false'",
  },
  {
    rule: '5.2.flags',
    what: 'auto-delete was left out',
    first: { autoDelete: true },
    again: {},
    argument: 'auto_delete',
    says: "received 'false' but current is 'true'",
  },
  {
    rule: '5.2.flags',
    what: 'durable is named before auto_delete and arguments',
    first: { durable: true },
    again: { autoDelete: true, arguments: { 'x-max-length': 1 } },
    argument: 'durable',
    says: "received 'false' but current is 'true'",
  },
  {
    rule: '5.2.flags',
    what: 'auto_delete is named before arguments',
    first: {},
    again: { autoDelete: true, arguments: { 'x-max-length': 1 } },
    argument: 'auto_delete',
    says: "received 'true' but current is 'false'",
  },
  {
    rule: '5.2.argument-missing',
    what: 'a time to live',
    first: { arguments: { 'x-message-ttl': typed('int', 60000) } },
    again: {},
    argument: 'x-message-ttl',
    says: "received none but current is the value '60000' of type 'signedint'",
  },
  {
    rule: '5.2.argument-missing',
    what: 'a dead-letter exchange',
    first: { arguments: { 'x-dead-letter-exchange': 'dlx' } },
    again: {},
    argument: 'x-dead-letter-exchange',
    says: "received none but current is the value 'dlx' of type 'longstr'",
  },
  {
    rule: '5.2.argument-missing',
    what: 'an overflow behaviour',
    first: { arguments: { 'x-overflow': 'reject-publish' } },
    again: {},
    argument: 'x-overflow',
    says: "received none but current is the value 'reject-publish' of type 'longstr'",
  },
  {
    rule: '5.2.argument-new',
    what: 'a dead-letter exchange',
    first: {},
    again: { arguments: { 'x-dead-letter-exchange': 'x' } },
    argument: 'x-dead-letter-exchange',
    says: "received the value 'x' of type 'longstr' but current is none",
  },
  {
    rule: '5.2.argument-new',
    what: 'a priority range',
    first: {},
    again: { arguments: { 'x-max-priority': typed('int', 5) } },
    argument: 'x-max-priority',
    says: "received the value '5' of type 'signedint' but current is none",
  },
  {
    rule: '5.2.argument-new',
    what: 'a single active consumer',
    first: {},
    again: { arguments: { 'x-single-active-consumer': true } },
    argument: 'x-single-active-consumer',
    says: "received the value 'true' of type 'bool' but current is none",
  },
  {
    rule: '5.2.argument-value',
    what: 'another time to live',
    first: { arguments: { 'x-message-ttl': 60000 } },
    again: { arguments: { 'x-message-ttl': 1000 } },
    argument: 'x-message-ttl',
    says: "received '1000' but current is '60000'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another expiry',
    first: { arguments: { 'x-expires': 60000 } },
    again: { arguments: { 'x-expires': 70000 } },
    argument: 'x-expires',
    says: "received '70000' but current is '60000'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another length limit',
    first: { arguments: { 'x-max-length': 10 } },
    again: { arguments: { 'x-max-length': 11 } },
    argument: 'x-max-length',
    says: "received '11' but current is '10'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another byte limit',
    first: { arguments: { 'x-max-length-bytes': 10 } },
    again: { arguments: { 'x-max-length-bytes': 11 } },
    argument: 'x-max-length-bytes',
    says: "received '11' but current is '10'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another overflow behaviour',
    first: { arguments: { 'x-overflow': 'drop-head' } },
    again: { arguments: { 'x-overflow': 'reject-publish' } },
    argument: 'x-overflow',
    says: "received 'reject-publish' but current is 'drop-head'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another dead-letter exchange',
    first: { arguments: { 'x-dead-letter-exchange': 'a' } },
    again: { arguments: { 'x-dead-letter-exchange': 'b' } },
    argument: 'x-dead-letter-exchange',
    says: "received 'b' but current is 'a'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another dead-letter key',
    first: { arguments: { 'x-dead-letter-exchange': 'a', 'x-dead-letter-routing-key': 'k' } },
    again: { arguments: { 'x-dead-letter-exchange': 'a', 'x-dead-letter-routing-key': 'l' } },
    argument: 'x-dead-letter-routing-key',
    says: "received 'l' but current is 'k'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another priority range',
    first: { arguments: { 'x-max-priority': 5 } },
    again: { arguments: { 'x-max-priority': 6 } },
    argument: 'x-max-priority',
    says: "received '6' but current is '5'",
  },
  {
    rule: '5.2.argument-value',
    what: 'another answer to single active consumer',
    first: { arguments: { 'x-single-active-consumer': true } },
    again: { arguments: { 'x-single-active-consumer': false } },
    argument: 'x-single-active-consumer',
    says: "received 'false' but current is 'true'",
  },
  {
    rule: '5.2.type-names',
    what: 'I is signedint',
    first: {},
    again: { arguments: { 'x-max-length': typed('int', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'signedint' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 'l is long',
    first: {},
    again: { arguments: { 'x-max-length': typed('int64', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'long' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 's is short',
    first: {},
    again: { arguments: { 'x-max-length': typed('short', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'short' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 'b is byte',
    first: {},
    again: { arguments: { 'x-max-length': typed('byte', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'byte' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 'i is unsignedint',
    first: {},
    again: { arguments: { 'x-max-length': typed('unsignedint', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'unsignedint' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 'u is unsignedshort',
    first: {},
    again: { arguments: { 'x-max-length': typed('unsignedshort', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'unsignedshort' but current is none",
  },
  {
    rule: '5.2.type-names',
    what: 'B is unsignedbyte',
    first: {},
    again: { arguments: { 'x-max-length': typed('unsignedbyte', 7) } },
    argument: 'x-max-length',
    says: "received the value '7' of type 'unsignedbyte' but current is none",
  },
];
/** The test of one row. */
function check(row: Row): RuleTest {
  return async (target) => {
    const t = await scene(target);
    const queue = await t.queue(row.first);
    await t.channel.refused(() => t.channel.call(DECLARE, { queue, ...row.again }), {
      code: 406,
      text: `inequivalent arg '${row.argument}' for queue '${queue}' in vhost '${t.vhost}': ${row.says}`,
      method: DECLARE,
    });
  };
}

const rowsOf = (id: string): readonly Row[] => rows.filter((row) => row.rule === id);
const title = (row: Row): string => `${row.what}: ${row.says}`;
for (const row of rowsOf('5.2.flags')) rule('5.2.flags', title(row), check(row));
for (const row of rowsOf('5.2.argument-missing')) rule('5.2.argument-missing', title(row), check(row));
for (const row of rowsOf('5.2.argument-new')) rule('5.2.argument-new', title(row), check(row));
for (const row of rowsOf('5.2.argument-value')) rule('5.2.argument-value', title(row), check(row));
for (const row of rowsOf('5.2.type-names')) rule('5.2.type-names', title(row), check(row));

/** Redeclares a classic queue as a quorum queue and expects a refusal that ends in `says`. */
async function becomesQuorum(target: Target, says: string): Promise<void> {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  const again = { queue, durable: true, arguments: { 'x-queue-type': 'quorum' } };
  await t.channel.refused(() => t.channel.call(DECLARE, again), {
    code: 406,
    text: `inequivalent arg 'x-queue-type' for queue '${queue}' in vhost '${t.vhost}': ${says}`,
    method: DECLARE,
  });
}

rule(
  '5.2.queue-type',
  'a classic queue cannot be redeclared as a quorum queue',
  (target) => becomesQuorum(target, "received 'quorum' but current is 'classic'"),
  {
    onRabbitMQ: (target) =>
      becomesQuorum(target, "received the value 'quorum' of type 'longstr' but current is none"),
  },
);

rule(
  '5.2.equal',
  'flags and arguments as before: the counts are answered, the messages stay',
  async (target) => {
    const t = await scene(target);
    const fields = {
      durable: true,
      autoDelete: true,
      arguments: {
        'x-message-ttl': 600_000,
        'x-expires': 600_000,
        'x-max-length': 10,
        'x-max-length-bytes': 1000,
        'x-overflow': 'reject-publish',
        'x-dead-letter-exchange': 'dlx',
        'x-dead-letter-routing-key': 'dlk',
        'x-max-priority': 3,
        'x-queue-mode': 'lazy',
      },
    };
    const queue = await t.queue(fields);
    t.channel.publish('', queue, 'x');
    await t.channel.untilReady(queue, 1);
    expect(await t.channel.call(DECLARE, { queue, ...fields })).toEqual({
      queue,
      messageCount: 1,
      consumerCount: 0,
    });
    expect(await t.channel.drain(queue)).toEqual(['x']);
  },
);

rule('5.2.equal', 'the order of the arguments does not matter', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-max-length': 10, 'x-message-ttl': 60000 } });
  await t.channel.call(DECLARE, { queue, arguments: { 'x-message-ttl': 60000, 'x-max-length': 10 } });
});

for (const type of ['byte', 'short', 'int', 'int64', 'unsignedbyte', 'unsignedshort', 'unsignedint']) {
  rule('5.2.integer-width', `100 as ${type} equals 100 as int`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ arguments: { 'x-max-length': typed('int', 100) } });
    await t.channel.call(DECLARE, { queue, arguments: { 'x-max-length': typed(type, 100) } });
  });
}

rule('5.2.unknown-arguments', 'unknown arguments may have any type, come, change and go', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({
    arguments: {
      'x-mine': 1,
      note: 'first',
      list: [1, 'two', { three: 3 }],
      table: { deep: { er: true } },
      nothing: null,
    },
  });
  await t.channel.call(DECLARE, { queue, arguments: { 'x-mine': 'two', other: 1.5 } });
  await t.channel.call(DECLARE, { queue });
});

rule('5.2.order', 'the owner, then durable, then auto_delete, then an argument', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true, arguments: { 'x-max-length': 5 } });
  const other = await t.stranger();
  const wrong = { queue, durable: true, autoDelete: true, arguments: { 'x-max-length': 6 } };
  await other.refused(() => other.call(DECLARE, wrong), {
    code: 405,
    text: /^cannot obtain exclusive access to locked queue/,
    method: DECLARE,
  });
  const shared = await t.queue({ arguments: { 'x-max-length': 5 } });
  for (const [given, argument] of [
    [{ exclusive: true, durable: true, autoDelete: true, arguments: {} }, ''],
    [{ durable: true, autoDelete: true, arguments: {} }, 'durable'],
    [{ autoDelete: true, arguments: {} }, 'auto_delete'],
    [{ arguments: {} }, 'x-max-length'],
  ] as const) {
    const channel = await t.newChannel();
    await channel.refused(() => channel.call(DECLARE, { queue: shared, ...given }), {
      code: argument === '' ? 405 : 406,
      text:
        argument === '' ? /^cannot obtain exclusive access/ : new RegExp(`^inequivalent arg '${argument}'`),
      method: DECLARE,
    });
  }
});

rule(
  '5.2.relaxed',
  'by a program that knows nothing of quorum queues',
  async () => {
    const again = { queue: 'q', durable: true, arguments: { 'x-max-length': 5, 'x-max-priority': 3 } };
    for (const quorumRelaxedChecks of [true, false]) {
      const broker = await startOwnBroker({ quorumRelaxedChecks });
      onTestFinished(() => broker.stop());
      const channel = await (await Peer.connect(broker)).channel();
      const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 3, 'x-max-length': 5 };
      await channel.call(DECLARE, { queue: 'q', durable: true, arguments: args });
      const redeclare = channel.call(DECLARE, again);
      if (quorumRelaxedChecks) await redeclare;
      else await expect(redeclare).rejects.toThrow("inequivalent arg 'x-queue-type'");
      if (!quorumRelaxedChecks) continue;
      const longer = { ...again, arguments: { 'x-max-length': 6 } };
      await channel.refused(() => channel.call(DECLARE, longer), {
        code: 406,
        text: "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '6' but current is '5'",
        method: DECLARE,
      });
    }
  },
  { ownOnly: 'a setting of the broker' },
);

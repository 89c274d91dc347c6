// What streams refuse: consumers, gets, purges, starts that mean nothing.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { filled, reader, stream } from './support.ts';

useTarget();

type Fields = Record<string, unknown>;
const CONSUME = 'basic.consume';

/** A stream and a channel on which it is consumed, with what the texts call it. */
async function prepared(
  target: Target,
): Promise<{ t: Scene; name: string; channel: Channel; where: string }> {
  const t = await scene(target);
  const name = await stream(t);
  const channel = await t.newChannel();
  return { t, name, channel, where: `queue '${name}' in vhost '${t.vhost}'` };
}

async function refusesPrefetch(target: Target, text: (where: string) => string): Promise<void> {
  const { name, channel, where } = await prepared(target);
  await channel.refused(() => channel.consume(name), { code: 406, text: text(where), method: CONSUME });
}

rule(
  '6.2.stream-prefetch',
  'none is set',
  (target) => refusesPrefetch(target, (where) => `consumer prefetch count is not set for stream ${where}`),
  {
    onRabbitMQ: (target) =>
      refusesPrefetch(target, (where) => `consumer prefetch count is not set for '${where}'`),
  },
);
rule(
  '6.2.stream-prefetch',
  'one of the whole channel is not enough',
  async (target) => {
    const { name, channel, where } = await prepared(target);
    await channel.qos(10, true);
    await channel.refused(() => channel.consume(name), {
      code: 406,
      text: `consumer prefetch count is not set for stream ${where}`,
      method: CONSUME,
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { name, channel, where } = await prepared(target);
      await channel.qos(10, true);
      await channel.refused(() => channel.consume(name), {
        code: 406,
        text: `consumer prefetch count is not set for '${where}'`,
        method: CONSUME,
      });
    },
  },
);

async function refusesNoAck(target: Target, what: string): Promise<void> {
  const { name, channel, where } = await prepared(target);
  await channel.qos(10);
  await channel.refused(() => channel.consume(name, { noAck: true }), {
    code: 540,
    text: `automatic acknowledgement not supported by stream ${what}${where}`,
    method: CONSUME,
  });
}

rule('6.2.stream-no-ack', 'no-ack', (target) => refusesNoAck(target, ''), {
  onRabbitMQ: (target) => refusesNoAck(target, 'queues '),
});

rule('6.2.stream-global-prefetch', 'beside one of the consumer', async (target) => {
  const { name, channel, where } = await prepared(target);
  await channel.qos(10);
  await channel.qos(10, true);
  await channel.refused(() => channel.consume(name), {
    code: 540,
    text: `${where} does not support global qos`,
    method: CONSUME,
  });
});

for (const priority of [1, -5, 'high']) {
  rule('6.2.stream-priority', `x-priority ${priority}`, async (target) => {
    const { name, channel, where } = await prepared(target);
    await channel.qos(10);
    await channel.refused(() => channel.consume(name, { arguments: { 'x-priority': priority } }), {
      code: 406,
      text: `invalid arg 'x-priority' for ${where} of queue type rabbit_stream_queue`,
      method: CONSUME,
    });
  });
}

rule(
  '6.2.stream-exclusive',
  'a second consumer beside an exclusive one',
  async (target) => {
    const { t, name, channel, where } = await prepared(target);
    await channel.qos(10);
    await channel.consume(name, { exclusive: true });
    const other = await t.stranger();
    await other.qos(10);
    await other.refused(() => other.consume(name), {
      code: 403,
      text: `${where} in exclusive use`,
      method: CONSUME,
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { t, name, channel } = await prepared(target);
      await channel.qos(10);
      await channel.consume(name, { exclusive: true });
      const other = await t.stranger();
      await other.qos(10);
      await other.consume(name);
      await other.fence();
    },
  },
);

rule('6.4.stream', 'basic.get', async (target) => {
  const { name, channel, where } = await prepared(target);
  await channel.refused(() => channel.get(name), {
    code: 540,
    text: `basic.get not supported by stream queues ${where}`,
    method: 'basic.get',
  });
});

rule('5.4.stream-purge', 'queue.purge', async (target) => {
  const { name, channel, where } = await prepared(target);
  await channel.refused(() => channel.call('queue.purge', { queue: name }), {
    code: 540,
    text: `queue.purge not supported by stream queues ${where}`,
    method: 'queue.purge',
  });
});

rule('5.4.stream-delete', 'with a reader', async (target) => {
  const t = await scene(target);
  const name = await filled(t, ['a', 'b']);
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
  const messages = await consumer.take(2);
  await t.channel.call('queue.delete', { queue: name });
  const cancel = await consumer.channel.next('basic.cancel');
  expect(cancel.fields).toMatchObject({ consumerTag: consumer.tag });
  consumer.channel.ack(messages[1]!, true);
  await consumer.channel.fence();
});

for (const flag of ['ifUnused', 'ifEmpty'] as const) {
  rule(
    '5.4.stream-if',
    flag,
    async (target) => {
      const t = await scene(target);
      const name = await filled(t, ['a']);
      await reader(t, name);
      await t.channel.untilCounts(name, { messageCount: 1, consumerCount: 1 });
      await t.channel.refused(() => t.channel.call('queue.delete', { queue: name, [flag]: true }), {
        code: 406,
        text: `queue '${name}' in vhost '${t.vhost}' ${flag === 'ifUnused' ? 'in use' : 'not empty'}`,
        method: 'queue.delete',
      });
    },
    {
      onRabbitMQ: async (target) => {
        const t = await scene(target);
        const name = await filled(t, ['a']);
        await reader(t, name);
        await t.channel.call('queue.delete', { queue: name, [flag]: true });
      },
    },
  );
}

/** Consumes with that x-stream-offset and expects to be refused. */
async function refusesStart(target: Target, start: unknown, term: string): Promise<void> {
  const { name, channel, where } = await prepared(target);
  await channel.qos(10);
  await channel.refused(() => channel.consume(name, { arguments: { 'x-stream-offset': start } }), {
    code: 406,
    text: `invalid arg 'x-stream-offset' for ${where}: {invalid_stream_offset_arg,${term}}`,
    method: CONSUME,
  });
}

/** RabbitMQ gives up the connection. */
async function breaks(target: Target, args: Fields): Promise<void> {
  const { name, channel } = await prepared(target);
  await channel.qos(10);
  channel.send('basic.consume', { queue: name, arguments: args });
  expect(await channel.closed()).toMatchObject({ scope: 'connection', code: 541, text: 'INTERNAL_ERROR' });
}

for (const age of ['1x', '0h', '1W', '5', '1s1h', '2026-01-01', '1H', '1.5h'])
  rule('10.offset-age', age, (target) => refusesStart(target, age, `{longstr,<<"${age}">>}`));

for (const word of ['foo', 'First', ' first', '-1h']) {
  rule('10.offset-word', word, (target) => refusesStart(target, word, `{longstr,<<"${word}">>}`), {
    onRabbitMQ: (target) => breaks(target, { 'x-stream-offset': word }),
  });
}
rule('10.offset-word', 'an empty one', (target) => refusesStart(target, '', '{longstr,<<>>}'), {
  onRabbitMQ: (target) => breaks(target, { 'x-stream-offset': '' }),
});

const TYPES: [unknown, string][] = [
  [true, '{bool,true}'],
  [null, '{void,undefined}'],
  [{ '!': 'double', value: 1.5 }, '{double,1.5}'],
  [['first'], '{array,[{longstr,<<"first">>}]}'],
];
for (const [value, term] of TYPES) {
  rule('10.offset-type', JSON.stringify(value), (target) => refusesStart(target, value, term), {
    onRabbitMQ: (target) => breaks(target, { 'x-stream-offset': value }),
  });
}

const WRONG: [string, unknown, string][] = [
  ['x-stream-filter', 5, 'byte'],
  ['x-stream-filter', true, 'bool'],
  ['x-stream-match-unfiltered', 'yes', 'longstr'],
];
for (const [argument, value, type] of WRONG) {
  rule(
    '10.filter-type',
    `${argument} ${JSON.stringify(value)}`,
    async (target) => {
      const { name, channel, where } = await prepared(target);
      await channel.qos(10);
      await channel.refused(() => channel.consume(name, { arguments: { [argument]: value } }), {
        code: 406,
        text: `invalid arg '${argument}' for ${where}: {unacceptable_type,${type}}`,
        method: CONSUME,
      });
    },
    {
      onRabbitMQ: async (target) => {
        const { name, channel } = await prepared(target);
        await channel.qos(10);
        await channel.consume(name, { arguments: { [argument]: value } });
        await channel.fence();
      },
    },
  );
}

const OURS = { ownOnly: 'RabbitMQ does not know the argument' };
for (const [value, reason] of [
  [7, '{unacceptable_type,byte}'],
  ['', 'invalid_consumer_name'],
  ['n'.repeat(256), 'invalid_consumer_name'],
] as const) {
  rule(
    '10.consumer-name-type',
    typeof value === 'string' ? `${value.length} bytes` : 'a number',
    async (target) => {
      const { name, channel, where } = await prepared(target);
      await channel.qos(10);
      await channel.refused(() => channel.consume(name, { arguments: { 'x-stream-consumer-name': value } }), {
        code: 406,
        text: `invalid arg 'x-stream-consumer-name' for ${where}: ${reason}`,
        method: CONSUME,
      });
    },
    OURS,
  );
}

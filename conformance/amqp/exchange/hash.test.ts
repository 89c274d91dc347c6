// Exchanges that hash: consistent hash and modulus hash. RabbitMQ has them as plugins.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { bound, counts, expectAbout } from '../../support/spread.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'exchange.declare';
const HASH = { exchangeType: 'x-consistent-hash' };
const MODULUS = { exchangeType: 'x-modulus-hash' };

rule(
  '4.6.declare',
  'an existing exchange may be declared with arguments a new one may not have',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-consistent-hash');
    await t.channel.call(DECLARE, {
      exchange,
      type: 'x-consistent-hash',
      arguments: { 'hash-property': 'nonsense' },
    });
  },
  HASH,
);

rule(
  '4.6.declare',
  'a reserved name and a wrong alternate exchange are named first',
  async (target) => {
    const t = await scene(target);
    const wrong = { 'hash-property': 'nonsense' };
    await t.channel.refused(
      () => t.channel.call(DECLARE, { exchange: 'amq.hash', type: 'x-consistent-hash', arguments: wrong }),
      { code: 403, text: "exchange name 'amq.hash' contains reserved prefix 'amq.*'", method: DECLARE },
    );
    const channel = await t.newChannel();
    const exchange = t.exchangeName();
    const args = { ...wrong, 'alternate-exchange': true };
    await channel.refused(
      () => channel.call(DECLARE, { exchange, type: 'x-consistent-hash', arguments: args }),
      {
        code: 406,
        text: `invalid type 'bool' for arg 'alternate-exchange' in exchange '${exchange}' in vhost '${t.vhost}'`,
        method: DECLARE,
      },
    );
  },
  HASH,
);

for (const type of [
  'x-consistent-hash',
  'x-modulus-hash',
  'x-random',
  'x-local-random',
  'x-recent-history',
]) {
  rule(
    '4.6.alternate',
    `a ${type} exchange without bindings leads to its alternate exchange`,
    async (target) => {
      const t = await scene(target);
      const rest = await t.exchange('fanout');
      const queue = await t.boundQueue(rest);
      const exchange = await t.exchange(type, { arguments: { 'alternate-exchange': rest } });
      t.channel.publish(exchange, 'k', 'for nobody');
      expect(await t.channel.drain(queue)).toEqual(['for nobody']);
    },
    { exchangeType: type },
  );
}

rule(
  '4.6.hash-weight',
  'a queue gets keys by its weight, and the same key always comes to it',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '3', '+4']);
    for (let i = 0; i < 4_000; i++) t.channel.publish(exchange, `key${i}`, `key${i}`);
    const once = await counts(t, queues, 4_000);
    expectAbout(once, [500, 1_500, 2_000]);
    for (let i = 0; i < 4_000; i++) t.channel.publish(exchange, `key${i}`, `key${i}`);
    expect(await counts(t, queues, 8_000)).toEqual(once.map((count) => 2 * count));
    // Eight thousand gets would take a slow machine longer than a test may.
    for (const [i, queue] of queues.entries()) {
      const consumer = await t.channel.consume(queue, { noAck: true });
      await consumer.take(2 * once[i]!);
      const got = consumer.bodies;
      expect(got.slice(once[i])).toEqual(got.slice(0, once[i]));
    }
  },
  HASH,
);

rule(
  '4.6.hash-assignment',
  'ten thousand keys are spread exactly like this',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '2', '3', '4']);
    for (let i = 0; i < 10_000; i++) t.channel.publish(exchange, `key${i}`, '');
    expect(await counts(t, queues, 10_000)).toEqual([1059, 1950, 2970, 4021]);
  },
  HASH,
);

rule(
  '4.6.hash-assignment',
  'a queue that is gone leaves its keys to the others',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['5', '5', '5']);
    await t.channel.call('queue.unbind', { queue: queues[1], exchange, routingKey: '5' });
    for (let i = 0; i < 100; i++) t.channel.publish(exchange, `key${i}`, `key${i}`);
    const [first, second, third] = await Promise.all(queues.map((queue) => t.channel.drain(queue)));
    expect(second).toEqual([]);
    const again = await bound(t, 'x-consistent-hash', ['5', '5']);
    for (let i = 0; i < 100; i++) t.channel.publish(again.exchange, `key${i}`, `key${i}`);
    expect(await t.channel.drain(again.queues[0]!)).toEqual(first);
    expect(await t.channel.drain(again.queues[1]!)).toEqual(third);
  },
  HASH,
);

const fields: readonly (readonly [Record<string, string>, (i: number) => Record<string, unknown>])[] = [
  [{ 'hash-header': 'customer' }, (i) => ({ headers: { customer: `c${i}` } })],
  [{ 'hash-property': 'message_id' }, (i) => ({ messageId: `m${i}` })],
  [{ 'hash-property': 'correlation_id' }, (i) => ({ correlationId: `c${i}` })],
  [{ 'hash-property': 'timestamp' }, (i) => ({ timestamp: 1_700_000_000 + i })],
];
for (const [args, properties] of fields) {
  rule(
    '4.6.hash-field',
    `${JSON.stringify(args)}: its values are spread, messages without it stay together`,
    async (target) => {
      const t = await scene(target);
      const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '1', '1'], args);
      for (let i = 0; i < 900; i++) t.channel.publish(exchange, 'same', '', properties(i));
      expectAbout(await counts(t, queues, 900), [300, 300, 300]);
      for (const queue of queues) await t.channel.call('queue.purge', { queue });
      for (let i = 0; i < 50; i++) t.channel.publish(exchange, `key${i}`, '', properties(7));
      expect((await counts(t, queues, 50)).sort()).toEqual([0, 0, 50]);
      for (const queue of queues) await t.channel.call('queue.purge', { queue });
      for (let i = 0; i < 50; i++) t.channel.publish(exchange, `key${i}`, '');
      expect((await counts(t, queues, 50)).sort()).toEqual([0, 0, 50]);
    },
    HASH,
  );
}

rule(
  '4.6.hash-field',
  'a message id goes where the same text as a key goes',
  async (target) => {
    const t = await scene(target);
    const args = { 'hash-property': 'message_id' };
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '2', '3', '4'], args);
    for (let i = 0; i < 10_000; i++) t.channel.publish(exchange, '', '', { messageId: `key${i}` });
    expect(await counts(t, queues, 10_000)).toEqual([1059, 1950, 2970, 4021]);
  },
  HASH,
);

rule(
  '4.6.hash-copies',
  'CC and BCC change nothing',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '1', '1', '1']);
    for (let i = 0; i < 20; i++) {
      t.channel.publish(exchange, 'k', '', { CC: [`a${i}`, `b${i}`, `c${i}`], BCC: [`d${i}`] });
    }
    expect((await counts(t, queues, 20)).sort()).toEqual([0, 0, 0, 20]);
  },
  HASH,
);

rule(
  '4.6.hash-second-binding',
  'a queue bound twice has the weight of its first binding',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '1']);
    await t.channel.call('queue.bind', { queue: queues[0], exchange, routingKey: '9' });
    for (let i = 0; i < 1_000; i++) t.channel.publish(exchange, `k${i}`, '');
    expect(await counts(t, queues, 1_000)).toEqual([506, 494]);
  },
  HASH,
);

/** Two queues, the first one bound a second time, and that binding taken away again; what each of them gets of 1,000 keys. */
async function afterSecondUnbind(t: Scene): Promise<number[]> {
  const { exchange, queues } = await bound(t, 'x-consistent-hash', ['1', '1']);
  await t.channel.call('queue.bind', { queue: queues[0], exchange, routingKey: '9' });
  await t.channel.call('queue.unbind', { queue: queues[0], exchange, routingKey: '9' });
  for (let i = 0; i < 1_000; i++) t.channel.publish(exchange, `k${i}`, '');
  return counts(t, queues, 1_000);
}

rule(
  '4.6.hash-second-unbind',
  'the ignored binding can go without harm',
  async (target) => {
    expect(await afterSecondUnbind(await scene(target))).toEqual([506, 494]);
  },
  {
    ...HASH,
    onRabbitMQ: async (target) => expect(await afterSecondUnbind(await scene(target))).toEqual([0, 1_000]),
  },
);

rule(
  '4.6.hash-arguments',
  'header and property together, and other properties, are refused',
  async (target) => {
    const t = await scene(target);
    const refusals = [
      [
        { 'hash-header': 'h', 'hash-property': 'message_id' },
        'hash-header and hash-property are mutually exclusive',
      ],
      [{ 'hash-property': 'app_id' }, 'Unsupported property: app_id'],
      [{ 'hash-property': '' }, 'Unsupported property: '],
    ] as const;
    for (const [args, text] of refusals) {
      const channel = await t.newChannel();
      const declare = { exchange: t.exchangeName(), type: 'x-consistent-hash', arguments: args };
      await channel.refused(() => channel.call(DECLARE, declare), { code: 406, text, method: DECLARE });
    }
  },
  HASH,
);

for (const name of ['hash-header', 'hash-property']) {
  const declaration = (t: Scene): Record<string, unknown> => ({
    exchange: t.exchangeName(),
    type: 'x-consistent-hash',
    arguments: { [name]: 5 },
  });
  rule(
    '4.6.hash-argument-type',
    `${name} with a number is refused`,
    async (target) => {
      const t = await scene(target);
      await t.channel.refused(() => t.channel.call(DECLARE, declaration(t)), {
        code: 406,
        text: `Invalid argument 5, '${name}' must be a string`,
        method: DECLARE,
      });
    },
    {
      ...HASH,
      onRabbitMQ: async (target) => {
        const t = await scene(target);
        await expect(t.channel.call(DECLARE, declaration(t))).rejects.toThrow();
        expect(await t.peer.closed()).toMatchObject({ scope: 'connection', code: 541 });
      },
    },
  );
}

rule(
  '4.6.hash-key',
  'words, fractions, spaces, zero and less are refused',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-consistent-hash');
    const queue = await t.queue();
    const refusals = [
      ['', 'The binding key must be an integer: <<>>'],
      ['abc', 'The binding key must be an integer: <<"abc">>'],
      ['1.5', 'The binding key must be an integer: <<"1.5">>'],
      [' 1', 'The binding key must be an integer: <<" 1">>'],
      ['a\x01', 'The binding key must be an integer: <<97,1>>'],
      ['0', 'The binding key must be greater than 0'],
      ['-3', 'The binding key must be greater than 0'],
    ] as const;
    for (const [routingKey, text] of refusals) {
      const channel = await t.newChannel();
      await channel.refused(() => channel.call('queue.bind', { queue, exchange, routingKey }), {
        code: 406,
        text,
        method: 'queue.bind',
      });
    }
    for (const routingKey of ['+5', '007', '10000'])
      await t.channel.call('queue.bind', { queue, exchange, routingKey });
  },
  HASH,
);

rule(
  '4.6.hash-weight-max',
  '10001 is too much',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-consistent-hash');
    const queue = await t.queue();
    await t.channel.refused(() => t.channel.call('queue.bind', { queue, exchange, routingKey: '10001' }), {
      code: 406,
      text: 'The binding key must not exceed 10000',
      method: 'queue.bind',
    });
  },
  {
    ...HASH,
    onRabbitMQ: async (target) => {
      await bound(await scene(target), 'x-consistent-hash', ['10001']);
    },
  },
);

rule(
  '4.6.hash-restart',
  'the same keys come to the same queues, and new bindings come behind the old ones',
  async () => {
    // Neither the names nor the weights are in the order of the bindings.
    const weights = [
      ['z', '3'],
      ['a', '1'],
      ['m', '12'],
      ['b', '2'],
    ] as const;
    const spread = async (channel: Channel): Promise<string[][]> => {
      for (let i = 0; i < 500; i++) channel.publish('hash', `key${i}`, `key${i}`);
      const got: string[][] = [];
      for (const [queue] of weights) got.push(await channel.drain(queue));
      return got;
    };
    let first: string[][] = [];
    await acrossRestart(
      async (channel) => {
        await channel.call(DECLARE, { exchange: 'hash', type: 'x-consistent-hash', durable: true });
        for (const [queue, routingKey] of weights) {
          await channel.call('queue.declare', { queue, durable: true });
          await channel.call('queue.bind', { queue, exchange: 'hash', routingKey });
        }
        first = await spread(channel);
      },
      async (channel) => {
        expect(await spread(channel)).toEqual(first);
        expect(first.every((keys) => keys.length > 0)).toBe(true);
        await channel.call('queue.declare', { queue: '0' });
        await channel.call('queue.bind', { queue: '0', exchange: 'hash', routingKey: '5' });
        const later = await spread(channel);
        for (const [i, keys] of later.entries()) expect(first[i]).toEqual(expect.arrayContaining(keys));
        expect((await channel.drain('0')).length).toBeGreaterThan(50);
      },
    );
  },
  OWN_ONLY,
);

rule(
  '4.6.modulus',
  'keys are spread exactly like this, and stay where they are',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-modulus-hash', ['b', 'b', 'b', 'b']);
    for (let i = 0; i < 4_000; i++) t.channel.publish(exchange, `k${i}`, `k${i}`);
    // The order of queues is that of their names.
    const names = [...queues].sort();
    expect(await counts(t, names, 4_000)).toEqual([1045, 989, 997, 969]);
    const before = await t.channel.drain(queues[0]!);
    for (let i = 0; i < 4_000; i++) t.channel.publish(exchange, `k${i}`, `k${i}`);
    expect(await t.channel.drain(queues[0]!)).toEqual(before);
  },
  MODULUS,
);

rule(
  '4.6.modulus',
  'one queue gets a message with further keys',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-modulus-hash', ['', '', '', '']);
    for (let i = 0; i < 20; i++) t.channel.publish(exchange, 'k', '', { CC: ['a', 'b'] });
    expect((await counts(t, queues, 20)).sort()).toEqual([0, 0, 0, 20]);
  },
  MODULUS,
);

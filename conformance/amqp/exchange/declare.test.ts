// exchange.declare: the predeclared exchanges, what is refused and with which words.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'exchange.declare';
const DEFAULT_REFUSED = 'operation not permitted on the default exchange';

for (const [name, type] of [
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
] as const) {
  rule('4.1.predeclared', `${name} is a durable ${type} exchange from the start`, async (target) => {
    const { channel, vhost } = await scene(target);
    await channel.call(DECLARE, { exchange: name, passive: true });
    await channel.call(DECLARE, { exchange: name, type, durable: true });
    await channel.refused(() => channel.call(DECLARE, { exchange: name, type, durable: false }), {
      code: 406,
      text: `inequivalent arg 'durable' for exchange '${name}' in vhost '${vhost}': received 'false' but current is 'true'`,
      method: DECLARE,
    });
  });
}

rule(
  '4.1.trace',
  'amq.rabbitmq.trace is an internal topic exchange that clients may bind but not publish to',
  async (target) => {
    const t = await scene(target);
    await t.channel.call(DECLARE, {
      exchange: 'amq.rabbitmq.trace',
      type: 'topic',
      durable: true,
      internal: true,
    });
    await t.boundQueue('amq.rabbitmq.trace', '#');
    await t.channel.refused(() => t.channel.publish('amq.rabbitmq.trace', 'publish.x', 'no'), {
      code: 403,
      text: `cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '${t.vhost}'`,
      method: 'basic.publish',
    });
  },
);

rule(
  '4.1.default',
  'a message to the default exchange reaches the queue of that name without a binding',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    t.channel.publish('', queue, 'hello');
    const got = await t.channel.get(queue);
    expect(got).toMatchObject({ body: 'hello', exchange: '', routingKey: queue });
  },
);

rule(
  '4.1.default',
  'the default exchange routes nowhere when no queue has that name, bindings of other exchanges notwithstanding',
  async (target) => {
    const t = await scene(target);
    const fanout = await t.exchange('fanout');
    const queue = await t.boundQueue(fanout);
    t.channel.publish('', `${queue}-other`, 'lost');
    expect(await t.channel.drain(queue)).toEqual([]);
  },
);

const onDefault: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ['an active declare', DECLARE, { exchange: '', type: 'direct', durable: true }],
  ['a passive declare', DECLARE, { exchange: '', passive: true }],
  ['a delete', 'exchange.delete', { exchange: '' }],
  ['exchange.bind from it', 'exchange.bind', { destination: 'amq.fanout', source: '', routingKey: 'k' }],
  ['exchange.bind to it', 'exchange.bind', { destination: '', source: 'amq.fanout', routingKey: 'k' }],
  ['exchange.unbind from it', 'exchange.unbind', { destination: 'amq.fanout', source: '', routingKey: 'k' }],
  ['exchange.unbind to it', 'exchange.unbind', { destination: '', source: 'amq.fanout', routingKey: 'k' }],
];
for (const [what, method, fields] of onDefault) {
  rule('4.2.default-exchange', `${what} is refused`, async (target) => {
    const { channel } = await scene(target);
    const type = method === DECLARE ? { type: 'direct' } : {};
    await channel.refused(() => channel.call(method, { ...type, ...fields }), {
      code: 403,
      text: DEFAULT_REFUSED,
      method,
    });
  });
}
for (const method of ['queue.bind', 'queue.unbind']) {
  rule('4.2.default-exchange', `${method} with it is refused`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    await t.channel.refused(() => t.channel.call(method, { queue, exchange: '', routingKey: queue }), {
      code: 403,
      text: DEFAULT_REFUSED,
      method,
    });
  });
}

rule('4.2.reserved-prefix', 'a new exchange must not take a name that begins with amq.', async (target) => {
  const { channel } = await scene(target);
  await channel.refused(() => channel.call(DECLARE, { exchange: 'amq.mine', type: 'direct' }), {
    code: 403,
    text: "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    method: DECLARE,
  });
});

rule('4.2.reserved-prefix', 'amq without the dot is an ordinary beginning', async (target) => {
  const t = await scene(target);
  const name = `amqx-${t.exchangeName()}`;
  await t.channel.call(DECLARE, { exchange: name, type: 'direct', autoDelete: true });
  await t.channel.call('exchange.delete', { exchange: name });
});

for (const type of ['direct', 'fanout', 'topic', 'headers']) {
  rule('4.2.redeclare', `a ${type} exchange can be declared again with equal properties`, async (target) => {
    const t = await scene(target);
    const flags = {
      durable: true,
      autoDelete: true,
      internal: true,
      arguments: { 'alternate-exchange': 'elsewhere' },
    };
    const exchange = await t.exchange(type, flags);
    await t.channel.call(DECLARE, { exchange, type, ...flags });
  });
}

rule(
  '4.2.unknown-type',
  'an unknown exchange type is refused',
  async (target) => {
    const { channel } = await scene(target);
    await channel.refused(() => channel.call(DECLARE, { exchange: 'odd', type: 'x-nonsense' }), {
      code: 406,
      text: "unknown exchange type 'x-nonsense'",
      method: DECLARE,
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { channel } = await scene(target);
      await channel.refused(() => channel.call(DECLARE, { exchange: 'odd', type: 'x-nonsense' }), {
        code: 503,
        text: "unknown exchange type 'x-nonsense'",
        method: DECLARE,
      });
    },
  },
);

/** What a declare is refused with. */
async function reasonAgainst(target: Target, fields: Record<string, unknown>): Promise<string> {
  const stranger = await (await scene(target)).stranger();
  const { code, text } = await stranger.call(DECLARE, fields).then(
    () => ({ code: 0, text: 'accepted' }),
    () => stranger.closed(),
  );
  return `${code} ${text}`;
}

/** Each reason beside the next one. */
async function orderOfReasons(target: Target, ofType: number): Promise<void> {
  const t = await scene(target);
  const there = await t.exchange('direct');
  const [odd, wrong] = ['x-nonsense', { 'alternate-exchange': 5 }];
  const name: string = ofType === 406 ? 'PRECONDITION_FAILED' : 'COMMAND_INVALID';
  for (const exchange of ['', there, 'amq.new'])
    expect(await reasonAgainst(target, { exchange, type: odd, arguments: wrong })).toBe(
      `${ofType} ${name} - unknown exchange type 'x-nonsense'`,
    );
  expect(await reasonAgainst(target, { exchange: '', type: 'fanout', arguments: wrong })).toMatch(/^403 /);
  expect(await reasonAgainst(target, { exchange: there, type: 'fanout', arguments: wrong })).toContain(
    "inequivalent arg 'type'",
  );
  expect(await reasonAgainst(target, { exchange: 'amq.new', type: 'fanout', arguments: wrong })).toMatch(
    /^403 .*contains reserved prefix/,
  );
}

rule('4.2.order', 'each reason beside those behind it', (target) => orderOfReasons(target, 406), {
  onRabbitMQ: (target) => orderOfReasons(target, 503),
});

const base = { type: 'direct', durable: true, autoDelete: false, internal: false };
const changes: readonly (readonly [string, Record<string, unknown>, string, string])[] = [
  ['type', { type: 'fanout' }, 'fanout', 'direct'],
  ['durable', { durable: false }, 'false', 'true'],
  ['auto_delete', { autoDelete: true }, 'true', 'false'],
  ['internal', { internal: true }, 'true', 'false'],
];
for (const [argument, change, received, current] of changes) {
  rule('4.2.inequivalent', `another value of ${argument} is refused and named`, async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct', base);
    await t.channel.refused(() => t.channel.call(DECLARE, { exchange, ...base, ...change }), {
      code: 406,
      text: `inequivalent arg '${argument}' for exchange '${exchange}' in vhost '${t.vhost}': received '${received}' but current is '${current}'`,
      method: DECLARE,
    });
  });
}

rule(
  '4.2.inequivalent',
  'of several differences the first in the order type, durable, auto_delete, internal is named',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct', base);
    const from = [
      ['type', { type: 'topic', durable: false, autoDelete: true, internal: true }],
      ['durable', { durable: false, autoDelete: true, internal: true }],
      ['auto_delete', { autoDelete: true, internal: true }],
    ] as const;
    for (const [argument, change] of from) {
      const channel = await t.newChannel();
      await channel.refused(() => channel.call(DECLARE, { exchange, ...base, ...change }), {
        code: 406,
        text: new RegExp(`^inequivalent arg '${argument}' for exchange `),
        method: DECLARE,
      });
    }
  },
);

const exchangeText = (argument: string, exchange: string, vhost: string): string =>
  `inequivalent arg '${argument}' for exchange '${exchange}' in vhost '${vhost}': `;

rule(
  '4.2.inequivalent-alternate',
  'another alternate exchange is refused and both are named',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': 'a' } });
    await t.channel.refused(
      () => t.channel.call(DECLARE, { exchange, type: 'direct', arguments: { 'alternate-exchange': 'b' } }),
      {
        code: 406,
        text: `${exchangeText('alternate-exchange', exchange, t.vhost)}received 'b' but current is 'a'`,
        method: DECLARE,
      },
    );
  },
);

rule('4.2.inequivalent-alternate', 'leaving the alternate exchange out is refused', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': 'a' } });
  await t.channel.refused(() => t.channel.call(DECLARE, { exchange, type: 'direct' }), {
    code: 406,
    text: `${exchangeText('alternate-exchange', exchange, t.vhost)}received none but current is the value 'a' of type 'longstr'`,
    method: DECLARE,
  });
});

rule('4.2.inequivalent-alternate', 'adding an alternate exchange is refused', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  await t.channel.refused(
    () => t.channel.call(DECLARE, { exchange, type: 'direct', arguments: { 'alternate-exchange': 'b' } }),
    {
      code: 406,
      text: `${exchangeText('alternate-exchange', exchange, t.vhost)}received the value 'b' of type 'longstr' but current is none`,
      method: DECLARE,
    },
  );
});

rule('4.2.arguments-not-compared', 'other arguments may come, go and change', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic', { arguments: { 'x-mine': 1, note: 'first' } });
  await t.channel.call(DECLARE, { exchange, type: 'topic', arguments: { 'x-mine': 'two', other: true } });
  await t.channel.call(DECLARE, { exchange, type: 'topic' });
});

rule(
  '4.2.passive',
  'a passive declare finds the exchange whatever type, flags and arguments say',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('topic', { durable: true });
    await t.channel.call(DECLARE, {
      exchange,
      type: 'fanout',
      passive: true,
      durable: false,
      autoDelete: true,
      internal: true,
      arguments: { 'alternate-exchange': 'x' },
    });
  },
);

rule('4.2.passive', 'a passive declare creates nothing', async (target) => {
  const t = await scene(target);
  const exchange = t.exchangeName();
  const other = await t.newChannel();
  await other.refused(() => other.call(DECLARE, { exchange, type: 'direct', passive: true }), {
    code: 404,
    text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
    method: DECLARE,
  });
  await t.channel.call(DECLARE, { exchange, type: 'fanout' });
});

rule(
  '4.2.passive-missing',
  'a passive declare of a missing exchange is refused, even of an amq. name',
  async (target) => {
    const t = await scene(target);
    for (const exchange of [t.exchangeName(), 'amq.not-there']) {
      const channel = await t.newChannel();
      await channel.refused(() => channel.call(DECLARE, { exchange, type: 'direct', passive: true }), {
        code: 404,
        text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
        method: DECLARE,
      });
    }
  },
);

rule('4.2.alternate-type', 'an alternate exchange that is a number is refused', async (target) => {
  const t = await scene(target);
  const exchange = t.exchangeName();
  const args = { 'alternate-exchange': { '!': 'int64', value: 5 } };
  await t.channel.refused(() => t.channel.call(DECLARE, { exchange, type: 'direct', arguments: args }), {
    code: 406,
    text: `invalid type 'long' for arg 'alternate-exchange' in exchange '${exchange}' in vhost '${t.vhost}'`,
    method: DECLARE,
  });
});

rule('4.2.names', 'CR and LF vanish from the name', async (target) => {
  const t = await scene(target);
  const exchange = t.exchangeName();
  const half = exchange.length >> 1;
  await t.channel.call(DECLARE, {
    exchange: `${exchange.slice(0, half)}\r\n${exchange.slice(half)}\n`,
    type: 'direct',
  });
  await t.channel.call(DECLARE, { exchange, type: 'direct', passive: true });
});

rule(
  '4.2.no-wait',
  'declare, bind, unbind and delete with no-wait work and are not answered',
  async (target) => {
    const t = await scene(target);
    const exchange = t.exchangeName();
    const queue = await t.queue();
    const { channel } = t;
    channel.send(DECLARE, { exchange, type: 'direct', nowait: true });
    channel.send('queue.bind', { queue, exchange, routingKey: 'a', nowait: true });
    channel.send('exchange.bind', {
      destination: exchange,
      source: 'amq.fanout',
      routingKey: exchange,
      nowait: true,
    });
    channel.publish(exchange, 'a', 'through');
    expect(await channel.drain(queue)).toEqual(['through']);
    channel.send('exchange.unbind', {
      destination: exchange,
      source: 'amq.fanout',
      routingKey: exchange,
      nowait: true,
    });
    channel.send('exchange.delete', { exchange, nowait: true });
    await channel.refused(() => channel.call(DECLARE, { exchange, type: 'direct', passive: true }), {
      code: 404,
      text: `no exchange '${exchange}' in vhost '${t.vhost}'`,
      method: DECLARE,
    });
    expect(
      channel.journal.map((entry) => entry.method).filter((method) => method.startsWith('exchange.')),
    ).toEqual([]);
  },
);

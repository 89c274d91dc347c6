// basic.publish: what is refused, what arrives, what comes back.
import { expect } from 'vitest';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const PUBLISH = 'basic.publish';
const MIB = 1024 * 1024;

rule(
  '6.1.size',
  'one byte more than 16 MiB is refused',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    await t.channel.refused(() => t.channel.publish('', queue, Buffer.alloc(16 * MIB + 1)), {
      code: 406,
      text: `message size ${16 * MIB + 1} is larger than configured max size ${16 * MIB}`,
      method: PUBLISH,
    });
    const other = await t.newChannel();
    expect(await other.get(queue)).toBeNull();
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      t.channel.publish('', queue, Buffer.alloc(16 * MIB + 1));
      expect((await t.channel.get(queue, { noAck: true }))?.bytes.length).toBe(16 * MIB + 1);
    },
  },
);

rule('6.1.size-allowed', '16 MiB pass, in many frames', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const body = Buffer.alloc(16 * MIB, 'leveret');
  t.channel.publish('', queue, body);
  const got = await t.channel.get(queue, { noAck: true });
  expect(got?.bytes.equals(body)).toBe(true);
});

for (const [expiration, reason] of [
  ['abc', 'no_integer'],
  ['', 'no_integer'],
  [' 5', 'no_integer'],
  ['10s', '{leftover_string,"s"}'],
  ['1.5', '{leftover_string,".5"}'],
  ['-1', '{value_negative,-1}'],
  ['99999999999999', '{value_too_large,99999999999999}'],
] as const) {
  rule('6.1.expiration', `'${expiration}' is refused`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    await t.channel.refused(() => t.channel.publish('', queue, 'x', { expiration }), {
      code: 406,
      text: `invalid expiration '${expiration}': ${reason}`,
      method: PUBLISH,
    });
  });
}

rule('6.1.expiration', 'zero and a minute are accepted and arrive as sent', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue);
  t.channel.publish('', queue, 'now or never', { expiration: '0' });
  t.channel.publish('', queue, 'soon', { expiration: '60000' });
  expect((await consumer.take(2)).map(({ properties }) => properties.expiration)).toEqual(['0', '60000']);
});

rule('6.1.expiration-limit', 'ten years pass, one millisecond more is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'x', { expiration: '315360000000' });
  expect(await t.channel.drain(queue)).toEqual(['x']);
  await t.channel.refused(() => t.channel.publish('', queue, 'x', { expiration: '315360000001' }), {
    code: 406,
    text: "invalid expiration '315360000001': {value_too_large,315360000001}",
    method: PUBLISH,
  });
});

rule('6.1.cc', 'the queues of all CC and BCC keys get a copy', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queues = [
    await t.boundQueue(exchange, 'a'),
    await t.boundQueue(exchange, 'b'),
    await t.boundQueue(exchange, 'c'),
  ];
  const stranger = await t.boundQueue(exchange, 'd');
  t.channel.publish(exchange, 'a', 'x', { headers: { CC: ['b'], BCC: ['c'], other: 1 } });
  for (const queue of queues) {
    const got = await t.channel.get(queue, { noAck: true });
    expect(got).toMatchObject({ body: 'x', exchange, routingKey: 'a' });
    expect(got!.properties.headers).toEqual({ CC: ['b'], other: 1 });
  }
  expect(await t.channel.drain(stranger)).toEqual([]);
});

rule('6.1.cc', 'they work for the default exchange, where the key is a queue', async (target) => {
  const t = await scene(target);
  const [first, second, third] = [await t.queue(), await t.queue(), await t.queue()];
  t.channel.publish('', first, 'x', { headers: { CC: [second], BCC: [third] } });
  for (const queue of [first, second, third]) {
    expect(await t.channel.get(queue, { noAck: true })).toMatchObject({ body: 'x', routingKey: first });
  }
});

rule('6.1.cc', 'a topic exchange matches every key; a queue hit twice gets one copy', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const both = await t.boundQueue(exchange, '#.end');
  const carbon = await t.boundQueue(exchange, 'two.*');
  t.channel.publish(exchange, 'one.end', 'x', { headers: { CC: ['two.end', 'one.end'] } });
  expect(await t.channel.drain(both)).toEqual(['x']);
  expect(await t.channel.drain(carbon)).toEqual(['x']);
});

rule('6.1.cc', 'the keys go along through exchange bindings', async (target) => {
  const t = await scene(target);
  const front = await t.exchange('fanout');
  const back = await t.exchange('direct');
  await t.channel.call('exchange.bind', { destination: back, source: front });
  const queue = await t.boundQueue(back, 'carbon');
  t.channel.publish(front, 'k', 'x', { headers: { BCC: ['carbon'] } });
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('6.1.cc', 'an empty list adds nothing', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'x', { headers: { CC: [], BCC: [] } });
  expect((await t.channel.get(queue))!.properties.headers).toEqual({ CC: [] });
});

for (const header of ['CC', 'BCC']) {
  rule('6.1.cc-type', `${header} as a string is refused`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    await t.channel.refused(
      () => t.channel.publish('', queue, 'x', { headers: { [header]: 'not a list' } }),
      {
        code: 406,
        text: `invalid message: {unacceptable_type_in_header,"${header}",longstr}`,
        method: PUBLISH,
      },
    );
  });
}

rule('6.1.cc-type', 'items that are no strings are skipped', async (target) => {
  const t = await scene(target);
  const first = await t.queue();
  const second = await t.queue();
  t.channel.publish('', first, 'x', { headers: { CC: [1, true, second, null] } });
  expect(await t.channel.drain(second)).toEqual(['x']);
});

rule('6.1.user-id', 'the own name passes and arrives', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const userId = t.user;
  t.channel.publish('', queue, 'x', { userId });
  expect((await t.channel.get(queue))!.properties.userId).toBe(userId);
});

rule('6.1.user-id', 'another name is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const userId = t.user;
  await t.channel.refused(() => t.channel.publish('', queue, 'x', { userId: 'somebody' }), {
    code: 406,
    text: `user_id property set to 'somebody' but authenticated user was '${userId}'`,
    method: PUBLISH,
  });
});

const badCc = { headers: { CC: 'no list' } };
const orders: readonly {
  what: string;
  to: (t: Scene) => Promise<string>;
  properties: Record<string, unknown>;
  code: number;
  text: RegExp;
}[] = [
  {
    what: 'a missing exchange before the reply-to',
    to: async (t) => t.exchangeName(),
    properties: { replyTo: 'amq.rabbitmq.reply-to' },
    code: 404,
    text: /^no exchange /,
  },
  {
    what: 'an internal exchange before the expiration',
    to: (t) => t.exchange('fanout', { internal: true }),
    properties: { expiration: 'x' },
    code: 403,
    text: /^cannot publish to internal exchange /,
  },
  {
    what: 'the reply-to before the expiration',
    to: async () => '',
    properties: { replyTo: 'amq.rabbitmq.reply-to', expiration: 'x' },
    code: 406,
    text: /^fast reply consumer does not exist$/,
  },
  {
    what: 'the expiration before CC',
    to: async () => '',
    properties: { expiration: 'x', ...badCc },
    code: 406,
    text: /^invalid expiration /,
  },
];
for (const { what, to, properties, code, text } of orders) {
  rule('6.1.order', what, async (target) => {
    const t = await scene(target);
    const exchange = await to(t);
    await t.channel.refused(() => t.channel.publish(exchange, 'k', 'x', properties), {
      code,
      text,
      method: PUBLISH,
    });
  });
}

/** Publishes with a wrong CC header and a wrong user, and expects the text of the refusal. */
async function bothWrong(target: Target, text: RegExp): Promise<void> {
  const { channel } = await scene(target);
  const properties = { userId: 'somebody', ...badCc };
  await channel.refused(() => channel.publish('', 'k', 'x', properties), {
    code: 406,
    text,
    method: PUBLISH,
  });
}
rule('6.1.order-cc', 'CC before the user', (target) => bothWrong(target, /^invalid message: /), {
  onRabbitMQ: (target) => bothWrong(target, /^user_id property set to /),
});

rule('6.1.immediate', 'the flag ends the connection', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const other = await t.stranger();
  await other.refused(() => other.publish('', queue, 'x', {}, { immediate: true }), {
    code: 540,
    text: 'immediate=true',
    method: PUBLISH,
  });
});

rule('6.1.properties', 'all fourteen arrive unchanged', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const properties = {
    contentType: 'text/plain',
    contentEncoding: 'gzip',
    deliveryMode: 2,
    priority: 200,
    correlationId: 'corr ü',
    replyTo: 'somewhere',
    expiration: '60000',
    messageId: 'id-1',
    timestamp: 1_700_000_000,
    type: 'kind',
    userId: t.user,
    appId: 'app',
    clusterId: 'cluster',
  };
  t.channel.publish('', queue, 'x', { ...properties, headers: { a: 1 } });
  const got = (await t.channel.get(queue))!.properties;
  expect(got).toEqual({ ...properties, headers: { a: 1 } });
});

rule('6.1.properties', 'absent properties stay absent, empty ones stay empty', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', queue, 'bare');
  t.channel.publish('', queue, 'empty', { contentType: '', headers: {}, messageId: '', type: '' });
  expect(
    Object.values((await t.channel.get(queue))!.properties).filter((value) => value !== undefined),
  ).toEqual([]);
  const empty: Record<string, unknown> = { ...(await t.channel.get(queue))!.properties };
  expect(Object.fromEntries(Object.entries(empty).filter(([, value]) => value !== undefined))).toEqual({
    contentType: '',
    headers: {},
    messageId: '',
    type: '',
  });
});

rule(
  '6.1.delivery-mode',
  'odd delivery modes pass through',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    for (const deliveryMode of [0, 1, 2, 3, 255]) t.channel.publish('', queue, 'x', { deliveryMode });
    for (const deliveryMode of [0, 1, 2, 3, 255]) {
      expect((await t.channel.get(queue))!.properties.deliveryMode).toBe(deliveryMode);
    }
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      await t.channel.refused(() => t.channel.publish('', queue, 'x', { deliveryMode: 3 }), {
        code: 406,
        text: 'invalid message: {delivery_mode_unknown,3}',
        method: PUBLISH,
      });
    },
  },
);

rule('6.1.properties', 'every priority passes through a queue without priorities', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const priorities = [0, 1, 9, 10, 255];
  for (const priority of priorities) t.channel.publish('', queue, 'x', { priority });
  for (const priority of priorities) expect((await t.channel.get(queue))!.properties.priority).toBe(priority);
});

rule('6.1.properties', 'header values of every kind arrive as they were sent', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const headers = {
    text: 'ü',
    empty: '',
    yes: true,
    no: false,
    nothing: null,
    tiny: -128,
    small: 30_000,
    middle: -2_000_000_000,
    large: 9_000_000_000,
    half: 0.5,
    when: { '!': 'timestamp', value: 1_700_000_000 },
    bytes: Buffer.from([0, 255, 10]),
    list: [1, 'two', [3, { four: 4 }]],
    table: { deep: { deeper: ['x', null, false] } },
  };
  t.channel.publish('', queue, 'x', { headers });
  expect((await t.channel.get(queue))!.properties.headers).toEqual(headers);
});

rule('6.1.properties', 'a big header table arrives whole', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const headers = Object.fromEntries(
    Array.from({ length: 500 }, (_unused, i) => [`key-${i}`, `value ${i}`.repeat(8)]),
  );
  t.channel.publish('', queue, 'x', { headers });
  expect((await t.channel.get(queue))!.properties.headers).toEqual(headers);
});

for (const size of [0, 1, 131_063, 131_064, 131_065, 262_128, 1_000_003]) {
  rule('6.1.body', `a body of ${size} bytes`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const body = Buffer.alloc(size);
    for (let i = 0; i < size; i++) body[i] = (i * 31 + (i >> 8)) & 0xff;
    t.channel.publish('', queue, body);
    const got = await t.channel.get(queue, { noAck: true });
    expect(got!.bytes.length).toBe(size);
    expect(got!.bytes.equals(body)).toBe(true);
    t.channel.publish('', queue, body);
    const consumer = await t.channel.consume(queue, { noAck: true });
    expect((await consumer.next()).bytes.equals(body)).toBe(true);
  });
}

rule('6.1.order-kept', 'a thousand messages arrive in order', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const bodies = Array.from({ length: 1000 }, (_unused, i) => String(i));
  t.channel.publishAll(queue, bodies);
  const consumer = await t.channel.consume(queue, { noAck: true });
  expect((await consumer.take(1000)).map(({ body }) => body)).toEqual(bodies);
});

rule('6.1.order-kept', 'through different exchanges too', async (target) => {
  const t = await scene(target);
  const fanout = await t.exchange('fanout');
  const queue = await t.boundQueue(fanout);
  for (let i = 0; i < 20; i++) t.channel.publish(i % 3 === 0 ? fanout : '', queue, String(i));
  expect(await t.channel.drain(queue)).toEqual(Array.from({ length: 20 }, (_unused, i) => String(i)));
});

rule('6.1.mandatory', 'the returned message is the published one', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const properties = { contentType: 'text/plain', headers: { a: [1, 'b'] }, messageId: 'm', deliveryMode: 2 };
  t.channel.publish(exchange, 'no.such.key', 'come back', properties, { mandatory: true });
  const back = await t.channel.nextReturn();
  expect(back).toMatchObject({
    replyCode: 312,
    replyText: 'NO_ROUTE',
    exchange,
    routingKey: 'no.such.key',
    body: 'come back',
  });
  expect(back.properties).toMatchObject(properties);
});

rule(
  '6.1.mandatory',
  'the default exchange returns what no queue is named for, a body of many frames too',
  async (target) => {
    const t = await scene(target);
    const body = Buffer.alloc(300_000, 'abc');
    t.channel.publish('', t.queueName(), body, {}, { mandatory: true });
    const back = await t.channel.nextReturn();
    expect(back.bytes.equals(body)).toBe(true);
    t.channel.publish('', t.queueName(), '', {}, { mandatory: true });
    expect((await t.channel.nextReturn()).bytes.length).toBe(0);
  },
);

rule(
  '6.1.mandatory',
  'returns come in the order of the publishes, and only for those that ask',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout');
    const queue = await t.queue();
    t.channel.publish(exchange, '', '1', {}, { mandatory: true });
    t.channel.publish(exchange, '', '2');
    t.channel.publish('', queue, '3', {}, { mandatory: true });
    t.channel.publish(exchange, '', '4', {}, { mandatory: true });
    await t.channel.fence();
    expect(t.channel.seen('basic.return').map(({ body }) => body!.toString())).toEqual(['1', '4']);
    expect(await t.channel.drain(queue)).toEqual(['3']);
  },
);

rule('6.1.mandatory-routed', 'the alternate exchange takes it', async (target) => {
  const t = await scene(target);
  const alternate = await t.exchange('fanout');
  const exchange = await t.exchange('direct', { arguments: { 'alternate-exchange': alternate } });
  const queue = await t.boundQueue(alternate);
  t.channel.publish(exchange, 'k', 'x', {}, { mandatory: true });
  await t.channel.fence();
  expect(t.channel.seen('basic.return')).toEqual([]);
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('6.1.mandatory-routed', 'a CC key matches', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publish('', t.queueName(), 'x', { headers: { CC: [queue] } }, { mandatory: true });
  await t.channel.fence();
  expect(t.channel.seen('basic.return')).toEqual([]);
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

for (const overflow of ['drop-head', 'reject-publish']) {
  rule('6.1.mandatory-routed', `a full queue with ${overflow} is still a route`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ arguments: { 'x-max-length': 1, 'x-overflow': overflow } });
    await t.channel.confirms();
    t.channel.publish('', queue, '1', {}, { mandatory: true });
    t.channel.publish('', queue, '2', {}, { mandatory: true });
    await t.channel.until(() => t.channel.settled() === 2, 'two confirms');
    expect(t.channel.seen('basic.return')).toEqual([]);
    expect(await t.channel.drain(queue)).toEqual(overflow === 'drop-head' ? ['2'] : ['1']);
  });
}

// Exchanges that hold messages back. RabbitMQ has them as a community plugin.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';
import { passTimeWhileWaiting } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });
passTimeWhileWaiting(clock);

const DELAYED = 'x-delayed-message';
const DECLARE = 'exchange.declare';
// Delays are above 127 ms: the plugin does not know integers of one signed octet, and amqplib sends small ones so.
const PLUGIN = { exchangeType: DELAYED };
const OURS = { ownOnly: 'the argument is ours' };
/** Far longer than any test takes. */
const LONG_MS = 600_000;

async function delaying(t: Scene, type = 'direct', args: Record<string, unknown> = {}): Promise<string> {
  return t.exchange(DELAYED, { arguments: { 'x-delayed-type': type, ...args } });
}

function delayed(t: Scene, exchange: string, body: string, delay: unknown, headers: object = {}): void {
  t.channel.publish(exchange, 'k', body, { headers: { ...headers, 'x-delay': delay } });
}

rule(
  '4.6.delayed',
  'the order is that of the times, not that of the publishes',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const consumer = await t.channel.consume(await t.boundQueue(exchange, 'k'), { noAck: true });
    const now = (): number => (target.broker === null ? Date.now() : clock.now());
    const began = now();
    delayed(t, exchange, 'last', 350);
    delayed(t, exchange, 'first', 150);
    delayed(t, exchange, 'second', 250);
    delayed(t, exchange, 'never in this test', LONG_MS);
    await consumer.take(1);
    // Clocks of two machines may run apart a little; nobody is early by more than that.
    expect(now() - began).toBeGreaterThanOrEqual(148);
    await consumer.take(2);
    expect(consumer.bodies).toEqual(['first', 'second', 'last']);
  },
  PLUGIN,
);

rule(
  '4.6.delayed-header',
  'the header is negated, the others stay',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const consumer = await t.channel.consume(await t.boundQueue(exchange, 'k'), { noAck: true });
    for (const [i, delay] of [
      150,
      '170',
      { '!': 'int64', value: 190 },
      { '!': 'double', value: 210.9 },
    ].entries()) {
      delayed(t, exchange, String(i), delay, { other: 'kept' });
    }
    const seen = [];
    for (const message of await consumer.take(4)) seen.push([message.body, message.properties.headers]);
    expect(seen).toEqual([
      ['0', { other: 'kept', 'x-delay': -150 }],
      ['1', { other: 'kept', 'x-delay': -170 }],
      ['2', { other: 'kept', 'x-delay': -190 }],
      ['3', { other: 'kept', 'x-delay': -210 }],
    ]);
  },
  PLUGIN,
);

for (const delay of [0, -1, { '!': 'int64', value: 2 ** 32 }]) {
  rule(
    '4.6.delayed-at-once',
    `${JSON.stringify(delay)} is no delay, and the header stays as it is`,
    async (target) => {
      const t = await scene(target);
      const exchange = await delaying(t);
      const queue = await t.boundQueue(exchange, 'k');
      await t.channel.confirms();
      await t.channel.publishConfirmed(exchange, 'k', ['now'], { headers: { 'x-delay': delay } });
      const message = await t.channel.get(queue, { noAck: true });
      expect(message?.body).toBe('now');
      expect(message?.properties.headers?.['x-delay']).toBe(typeof delay === 'number' ? delay : delay.value);
    },
    PLUGIN,
  );
}

rule(
  '4.6.delayed-at-once',
  'no header is no delay',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const queue = await t.boundQueue(exchange, 'k');
    await t.channel.confirms();
    await t.channel.publishConfirmed(exchange, 'k', ['a', 'b']);
    expect(await t.channel.drain(queue)).toEqual(['a', 'b']);
  },
  PLUGIN,
);

rule(
  '4.6.delayed-at-once',
  'what is no number is no delay',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const queue = await t.boundQueue(exchange, 'k');
    await t.channel.confirms();
    for (const delay of ['soon', '1.5', '', true, { a: 1 }])
      await t.channel.publishConfirmed(exchange, 'k', ['m'], { headers: { 'x-delay': delay } });
    expect(await t.channel.drain(queue)).toHaveLength(5);
  },
  { ownOnly: 'the plugin fails inside over a string that is no number' },
);

for (const [what, args, text] of [
  ['none', {}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"],
  [
    'a number',
    { 'x-delayed-type': 1 },
    "Invalid argument, 'x-delayed-type' must be an existing exchange type",
  ],
  [
    'its own type',
    { 'x-delayed-type': DELAYED },
    "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
  ],
] as const) {
  rule(
    '4.6.delayed-type',
    `${what} is refused`,
    async (target) => {
      const t = await scene(target);
      const exchange = t.exchangeName();
      await t.channel.refused(() => t.channel.call(DECLARE, { exchange, type: DELAYED, arguments: args }), {
        code: 406,
        text,
        method: DECLARE,
      });
    },
    PLUGIN,
  );
}

rule(
  '4.6.delayed-type',
  'bindings follow the inner type, its errors too',
  async (target) => {
    const t = await scene(target);
    const topic = await delaying(t, 'topic');
    const queue = await t.boundQueue(topic, 'a.#');
    const consumer = await t.channel.consume(queue, { noAck: true });
    for (const key of ['b.c', 'a.b']) t.channel.publish(topic, key, key, { headers: { 'x-delay': 150 } });
    await consumer.take(1);
    expect(consumer.bodies).toEqual(['a.b']);
    const headers = await delaying(t, 'headers');
    await t.channel.refused(
      () => t.channel.call('queue.bind', { queue, exchange: headers, arguments: { 'x-match': 'some' } }),
      {
        code: 406,
        text: 'Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x',
        method: 'queue.bind',
      },
    );
  },
  PLUGIN,
);

rule(
  '4.6.delayed-keys',
  'CC and BCC count, BCC is not seen, and later bindings hold',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const queues = [await t.boundQueue(exchange, 'k'), await t.boundQueue(exchange, 'cc'), await t.queue()];
    // In real time long enough for the binding that has to come before it is over.
    const delay = target.broker === null ? 2_000 : 150;
    delayed(t, exchange, 'm', delay, { CC: ['cc'], BCC: ['bcc'] });
    await t.channel.call('queue.bind', { queue: queues[2], exchange, routingKey: 'bcc' });
    for (const queue of queues) {
      const consumer = await t.channel.consume(queue, { noAck: true });
      const { properties, routingKey } = await consumer.next();
      expect(properties.headers).toEqual({ 'x-delay': -delay, CC: ['cc'] });
      expect(routingKey).toBe('k');
    }
  },
  PLUGIN,
);

rule(
  '4.6.delayed-mandatory',
  'returned and confirmed at once, delivered later',
  async (target) => {
    const t = await scene(target);
    const exchange = await delaying(t);
    const consumer = await t.channel.consume(await t.boundQueue(exchange, 'k'), { noAck: true });
    await t.channel.confirms();
    t.channel.publish(exchange, 'k', 'm', { headers: { 'x-delay': 200 } }, { mandatory: true });
    const returned = await t.channel.nextReturn();
    expect([returned.replyCode, returned.replyText, returned.body]).toEqual([312, 'NO_ROUTE', 'm']);
    await t.channel.until(() => t.channel.settled() === 1, 'a confirm');
    expect((await consumer.next()).body).toBe('m');
  },
  PLUGIN,
);

rule(
  '4.6.delayed-chain',
  'behind another exchange, and before another delaying one',
  async (target) => {
    const t = await scene(target);
    const first = await t.exchange('fanout');
    const second = await delaying(t, 'fanout');
    const third = await delaying(t, 'fanout');
    await t.channel.call('exchange.bind', { destination: second, source: first, routingKey: '' });
    await t.channel.call('exchange.bind', { destination: third, source: second, routingKey: '' });
    const atOnce = await t.boundQueue(first);
    const consumer = await t.channel.consume(await t.boundQueue(third), { noAck: true });
    await t.channel.confirms();
    await t.channel.publishConfirmed(first, 'k', ['m'], { headers: { 'x-delay': 150 } });
    expect(await t.channel.drain(atOnce)).toEqual(['m']);
    expect((await consumer.next()).properties.headers).toEqual({ 'x-delay': -150 });
  },
  PLUGIN,
);

rule(
  '4.6.delayed-alternate',
  'only at its time',
  async (target) => {
    const t = await scene(target);
    const alternate = await t.exchange('fanout');
    const consumer = await t.channel.consume(await t.boundQueue(alternate), { noAck: true });
    const exchange = await delaying(t, 'direct', { 'alternate-exchange': alternate });
    delayed(t, exchange, 'later', 100);
    t.channel.publish(exchange, 'k', 'now');
    expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['now', 'later']);
    expect(consumer.received[1]!.properties.headers).toEqual({ 'x-delay': -100 });
  },
  { ownOnly: 'the plugin hands a delayed message to the alternate exchange twice' },
);

rule(
  '4.6.delayed-restart',
  'what waits, waits on; what is due, comes',
  async () => {
    await acrossRestart(
      async (channel) => {
        const args = { 'x-delayed-type': 'direct' };
        await channel.call(DECLARE, { exchange: 'later', type: DELAYED, durable: true, arguments: args });
        await channel.call('queue.declare', { queue: 'q', durable: true });
        await channel.call('queue.bind', { queue: 'q', exchange: 'later', routingKey: 'k' });
        await channel.confirms();
        for (const [body, delay] of [
          ['due', 1],
          ['soon', 400],
          ['late', LONG_MS],
        ] as const) {
          const headers = { 'x-delay': delay };
          await channel.publishConfirmed('later', 'k', [body], { deliveryMode: 2, headers });
          await channel.publishConfirmed('later', 'k', ['transient'], { headers: { 'x-delay': LONG_MS } });
        }
      },
      async (channel, _peer, broker) => {
        const consumer = await channel.consume('q', { noAck: true });
        expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['due', 'soon']);
        expect(broker.delayedCounts('/', 'later').messages).toBe(1);
      },
    );
  },
  OWN_ONLY,
);

rule(
  '4.6.delayed-any-type',
  'a fanout exchange with the argument',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('fanout', { arguments: { 'x-delayed-exchange': true } });
    const consumer = await t.channel.consume(await t.boundQueue(exchange), { noAck: true });
    delayed(t, exchange, 'later', 50);
    t.channel.publish(exchange, 'k', 'now');
    expect((await consumer.take(2)).map(({ body }) => body)).toEqual(['now', 'later']);
  },
  OURS,
);

rule(
  '4.6.delayed-any-type',
  'has to be a boolean',
  async (target) => {
    const t = await scene(target);
    const exchange = t.exchangeName();
    await t.channel.refused(
      () => t.channel.call(DECLARE, { exchange, type: 'fanout', arguments: { 'x-delayed-exchange': 1 } }),
      {
        code: 406,
        text: `invalid arg 'x-delayed-exchange' for exchange '${exchange}' in vhost '${t.vhost}': {unacceptable_type,byte}`,
        method: DECLARE,
      },
    );
  },
  OURS,
);

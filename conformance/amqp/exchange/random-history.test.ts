// Random exchanges, and exchanges with a history. RabbitMQ has them as plugins.
import { expect } from 'vitest';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { bound, counts, expectAbout } from '../../support/spread.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'exchange.declare';
const RANDOM = { exchangeType: 'x-random' };
const LOCAL_RANDOM = { exchangeType: 'x-local-random' };
const HISTORY = { exchangeType: 'x-recent-history' };

rule(
  '4.6.random',
  'every binding has the same chance, so a queue with three has three',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-random', ['a', 'z']);
    await t.channel.call('queue.bind', { queue: queues[0], exchange, routingKey: 'b' });
    await t.channel.call('queue.bind', { queue: queues[0], exchange, routingKey: 'c' });
    for (let i = 0; i < 4_000; i++)
      t.channel.publish(exchange, 'same', '', i % 2 === 0 ? {} : { CC: ['x', 'y'] });
    const found = await counts(t, queues, 4_000);
    expectAbout(found, [3_000, 1_000]);
    expect(found[0]! + found[1]!).toBe(4_000);
  },
  RANDOM,
);

rule(
  '4.6.local-random',
  'every queue has the same chance',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-local-random', ['', '']);
    for (let i = 0; i < 2_000; i++) t.channel.publish(exchange, 'any', '');
    expectAbout(await counts(t, queues, 2_000), [1_000, 1_000]);
  },
  LOCAL_RANDOM,
);

rule(
  '4.6.local-random',
  'a key or an exchange cannot be bound',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-local-random');
    const queue = await t.queue();
    await t.channel.refused(() => t.channel.call('queue.bind', { queue, exchange, routingKey: 'k' }), {
      code: 406,
      text: "Non empty binding 'k' key not permitted",
      method: 'queue.bind',
    });
    const channel = await t.newChannel();
    const destination = await t.exchange('fanout', {}, channel);
    await channel.refused(
      () => channel.call('exchange.bind', { destination, source: exchange, routingKey: '' }),
      {
        code: 406,
        text: 'Destination not found',
        method: 'exchange.bind',
      },
    );
  },
  LOCAL_RANDOM,
);

rule(
  '4.6.history',
  'everybody gets a message, and who comes later gets the last ones',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-recent-history', ['a', 'b'], {
      'x-recent-history-length': 3,
    });
    for (let i = 1; i <= 5; i++) t.channel.publish(exchange, `k${i}`, `m${i}`);
    for (const queue of queues) expect(await t.channel.drain(queue)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5']);
    const late = await t.boundQueue(exchange, 'x');
    expect(await t.channel.drain(late)).toEqual(['m3', 'm4', 'm5']);
    t.channel.publish(exchange, '', 'm6', { CC: ['y'] });
    expect(await t.channel.drain(late)).toEqual(['m6']);
    const later = await t.boundQueue(exchange);
    const first = (await t.channel.get(later, { noAck: true }))!;
    expect(first.body).toBe('m4');
    expect(first).toMatchObject({ exchange, routingKey: 'k4', redelivered: false });
    expect(await t.channel.drain(later)).toEqual(['m5', 'm6']);
  },
  HISTORY,
);

rule(
  '4.6.history',
  'the same binding again brings nothing, another one brings the messages again',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-recent-history');
    t.channel.publish(exchange, '', 'm');
    const queue = await t.boundQueue(exchange, 'a');
    await t.channel.call('queue.bind', { queue, exchange, routingKey: 'a' });
    expect(await t.channel.drain(queue)).toEqual(['m']);
    await t.channel.call('queue.bind', { queue, exchange, routingKey: 'b' });
    expect(await t.channel.drain(queue)).toEqual(['m']);
    t.channel.publish(exchange, '', 'once');
    expect(await t.channel.drain(queue)).toEqual(['once']);
  },
  HISTORY,
);

rule(
  '4.6.history-length',
  'twenty by default',
  async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('x-recent-history');
    for (let i = 1; i <= 25; i++) t.channel.publish(exchange, '', `m${i}`);
    const expected = Array.from({ length: 20 }, (_, i) => `m${i + 6}`);
    expect(await t.channel.drain(await t.boundQueue(exchange))).toEqual(expected);
  },
  HISTORY,
);

rule(
  '4.6.history-length',
  'zero, less, text and fractions are refused',
  async (target) => {
    const t = await scene(target);
    for (const [value, term] of [
      [0, '0'],
      [-1, '-1'],
      ['5', '<<"5">>'],
      [true, 'true'],
      [1.5, '1.5'],
    ] as const) {
      const channel = await t.newChannel();
      const args = { 'x-recent-history-length': value };
      const declare = { exchange: t.exchangeName(), type: 'x-recent-history', arguments: args };
      await channel.refused(() => channel.call(DECLARE, declare), {
        code: 406,
        text: `Invalid argument ${term}, 'x-recent-history-length' must be a positive integer`,
        method: DECLARE,
      });
    }
  },
  HISTORY,
);

rule(
  '4.6.history-no-store',
  'only the boolean true counts',
  async (target) => {
    const t = await scene(target);
    const { exchange, queues } = await bound(t, 'x-recent-history', ['']);
    for (const value of [true, false, 'true']) {
      t.channel.publish(exchange, '', `${typeof value} ${value}`, {
        headers: { 'x-recent-history-no-store': value },
      });
    }
    expect(await t.channel.drain(queues[0]!)).toEqual(['boolean true', 'boolean false', 'string true']);
    expect(await t.channel.drain(await t.boundQueue(exchange))).toEqual(['boolean false', 'string true']);
  },
  HISTORY,
);

/** Three messages in a history, then a fanout exchange bound to it that leads to a queue; what came there. */
async function throughExchange(t: Scene): Promise<string[]> {
  const source = await t.exchange('x-recent-history');
  for (let i = 1; i <= 3; i++) t.channel.publish(source, 'k', `m${i}`);
  const destination = await t.exchange('fanout');
  const queue = await t.boundQueue(destination);
  await t.channel.call('exchange.bind', { destination, source, routingKey: '' });
  return t.channel.drain(queue);
}

rule(
  '4.6.history-exchange',
  'a queue behind a bound exchange gets them',
  async (target) => {
    expect(await throughExchange(await scene(target))).toEqual(['m1', 'm2', 'm3']);
  },
  {
    ...HISTORY,
    onRabbitMQ: async (target) =>
      expect(await throughExchange(await scene(target))).toEqual(['m3', 'm2', 'm1']),
  },
);

rule(
  '4.6.history-exchange',
  'an exchange that leads nowhere may be bound',
  async (target) => {
    const t = await scene(target);
    const source = await t.exchange('x-recent-history');
    t.channel.publish(source, 'k', 'for nobody');
    const destination = await t.exchange('fanout');
    await t.channel.call('exchange.bind', { destination, source, routingKey: '' });
  },
  {
    ...HISTORY,
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const source = await t.exchange('x-recent-history');
      t.channel.publish(source, 'k', 'for nobody');
      const destination = await t.exchange('fanout');
      await expect(
        t.channel.call('exchange.bind', { destination, source, routingKey: '' }),
      ).rejects.toThrow();
      expect(await t.peer.closed()).toMatchObject({ scope: 'connection', code: 541 });
    },
  },
);

rule(
  '4.6.history-restart',
  'what was sent to queues is kept, what was only remembered is not',
  () =>
    acrossRestart(
      async (channel) => {
        await channel.call(DECLARE, { exchange: 'history', type: 'x-recent-history', durable: true });
        channel.publish('history', '', 'persistent', { deliveryMode: 2 });
        await channel.call('queue.declare', { queue: 'q', durable: true });
        await channel.call('queue.bind', { queue: 'q', exchange: 'history', routingKey: '' });
      },
      async (channel) => {
        expect(await channel.drain('q')).toEqual(['persistent']);
        await channel.call('queue.declare', { queue: 'late' });
        await channel.call('queue.bind', { queue: 'late', exchange: 'history', routingKey: '' });
        expect(await channel.drain('late')).toEqual([]);
        channel.publish('history', '', 'live');
        expect(await channel.drain('q')).toEqual(['live']);
      },
    ),
  OWN_ONLY,
);

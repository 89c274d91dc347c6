// Duplicates that an exchange or a queue drops. RabbitMQ has both with a community plugin.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';
import { passTimeWhileWaiting } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });
passTimeWhileWaiting(clock);

const TYPE = 'x-message-deduplication';
const HEADER = 'x-deduplication-header';
const DECLARE = 'exchange.declare';
const PLUGIN = { exchangeType: TYPE };
const OURS = { ownOnly: 'the argument is ours' };

/** Publishes each body under its key and waits for the confirms. The channel must be in confirm mode. */
async function send(t: Scene, exchange: string, key: string, messages: readonly [string, unknown][]) {
  for (const [body, value] of messages)
    await t.channel.publishConfirmed(exchange, key, [body], {
      headers: value === undefined ? {} : { [HEADER]: value },
    });
}

async function deduplicating(t: Scene, args: Record<string, unknown> = {}): Promise<[string, string]> {
  const exchange = await t.exchange(TYPE, { arguments: { 'x-cache-size': 100, ...args } });
  const queue = await t.boundQueue(exchange, 'k');
  await t.channel.confirms();
  return [exchange, queue];
}

async function deduplicatingQueue(t: Scene, args: Record<string, unknown> = {}): Promise<string> {
  const queue = await t.queue({ arguments: { 'x-message-deduplication': true, ...args } });
  await t.channel.confirms();
  return queue;
}

rule(
  '4.6.dedup',
  'once, whatever the routing key, and a duplicate is confirmed',
  async (target) => {
    const t = await scene(target);
    const [exchange, queue] = await deduplicating(t);
    await send(t, exchange, 'another', [
      ['a', 'x'],
      ['b', 'x'],
      ['c', 'y'],
    ]);
    expect(await t.channel.drain(queue)).toEqual(['a', 'c']);
  },
  PLUGIN,
);

rule(
  '4.6.dedup-key',
  '1, "1" and true differ, widths do not',
  async (target) => {
    const t = await scene(target);
    const [exchange, queue] = await deduplicating(t);
    await send(t, exchange, 'k', [
      ['a', 1],
      ['b', '1'],
      ['c', true],
      ['d', { '!': 'int64', value: 1 }],
      ['e', undefined],
      ['f', undefined],
    ]);
    expect(await t.channel.drain(queue)).toEqual(['a', 'b', 'c', 'e', 'f']);
  },
  PLUGIN,
);

rule(
  '4.6.dedup-cache',
  'time of the exchange and of the message',
  async (target) => {
    const t = await scene(target);
    const [exchange, queue] = await deduplicating(t, { 'x-cache-ttl': 50 });
    await send(t, exchange, 'k', [['a', 'x']]);
    const headers = { [HEADER]: 'long', 'x-cache-ttl': 600_000 };
    await t.channel.publishConfirmed(exchange, 'k', ['long'], { headers });
    // Until the time is over and one of them comes through.
    while ((await t.channel.settle(queue)).messageCount < 3) await send(t, exchange, 'k', [['again', 'x']]);
    await send(t, exchange, 'k', [['long again', 'long']]);
    expect(await t.channel.drain(queue)).toEqual(['a', 'long', 'again']);
  },
  PLUGIN,
);

rule(
  '4.6.dedup-cache',
  'the oldest is forgotten first',
  async (target) => {
    const t = await scene(target);
    const [exchange, queue] = await deduplicating(t, { 'x-cache-size': 2 });
    await send(
      t,
      exchange,
      'k',
      ['x', 'y', 'z', 'y', 'x'].map((key) => [key, key]),
    );
    expect(await t.channel.drain(queue)).toEqual(['x', 'y', 'z', 'x']);
  },
  { ownOnly: 'the plugin forgets any of them' },
);

for (const [args, text] of [
  [{}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"],
  [{ 'x-cache-size': 0 }, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"],
  [
    { 'x-cache-size': 1, 'x-cache-ttl': 0 },
    "Invalid argument, 'x-cache-ttl' must be an integer greater than 0",
  ],
  [
    { 'x-cache-size': 1, 'x-cache-persistence': 'x' },
    "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'",
  ],
] as const) {
  rule(
    '4.6.dedup-arguments',
    `${JSON.stringify(args)} is refused`,
    async (target) => {
      const t = await scene(target);
      const exchange = t.exchangeName();
      await t.channel.refused(() => t.channel.call(DECLARE, { exchange, type: TYPE, arguments: args }), {
        code: 406,
        text,
        method: DECLARE,
      });
    },
    { ownOnly: "the plugin's words have blanks in them that are an accident" },
  );
}

rule(
  '4.6.dedup-any-type',
  'a direct exchange that compares by a header of its own',
  async (target) => {
    const t = await scene(target);
    const args = { 'x-message-deduplication': true, 'x-deduplication-header': 'order' };
    const exchange = await t.exchange('direct', { arguments: args });
    const queue = await t.boundQueue(exchange, 'k');
    await t.channel.confirms();
    for (const order of [1, 1, 2])
      await t.channel.publishConfirmed(exchange, 'k', [`${order}`], { headers: { order } });
    await t.channel.publishConfirmed(exchange, 'other', ['3'], { headers: { order: 3 } });
    expect(await t.channel.drain(queue)).toEqual(['1', '2']);
  },
  OURS,
);

rule(
  '4.6.dedup-restart',
  'on disk',
  async () => {
    const args = { 'x-cache-size': 10, 'x-cache-persistence': 'disk' };
    const once = { headers: { [HEADER]: 'x' }, deliveryMode: 2 };
    await acrossRestart(
      async (channel) => {
        await channel.call(DECLARE, { exchange: 'once', type: TYPE, durable: true, arguments: args });
        await channel.call('queue.declare', { queue: 'q', durable: true });
        await channel.call('queue.bind', { queue: 'q', exchange: 'once', routingKey: '' });
        await channel.confirms();
        await channel.publishConfirmed('once', '', ['a'], once);
      },
      async (channel) => {
        await channel.confirms();
        await channel.publishConfirmed('once', '', ['b'], once);
        expect(await channel.drain('q')).toEqual(['a']);
      },
    );
  },
  OWN_ONLY,
);

rule(
  '5.6.dedup',
  'while it is in the queue',
  async (target) => {
    const t = await scene(target);
    const queue = await deduplicatingQueue(t);
    await send(t, '', queue, [
      ['a', 'x'],
      ['b', 'x'],
      ['c', 'y'],
      ['d', undefined],
      ['e', undefined],
    ]);
    expect(await t.channel.drain(queue)).toEqual(['a', 'c', 'd', 'e']);
    await send(t, '', queue, [['f', 'x']]);
    expect(await t.channel.drain(queue)).toEqual(['f']);
  },
  PLUGIN,
);

rule(
  '5.6.dedup-unacked',
  'delivered, requeued, acknowledged',
  async (target) => {
    const t = await scene(target);
    const queue = await deduplicatingQueue(t);
    await send(t, '', queue, [['a', 'x']]);
    const first = (await t.channel.get(queue))!;
    await send(t, '', queue, [['b', 'x']]);
    t.channel.nack(first, { requeue: true });
    await t.channel.untilReady(queue, 1);
    await send(t, '', queue, [['c', 'x']]);
    const again = (await t.channel.get(queue))!;
    expect([again.body, again.redelivered]).toEqual(['a', true]);
    t.channel.ack(again);
    await t.channel.fence();
    await t.channel.untilReady(queue, 0);
    await send(t, '', queue, [['d', 'x']]);
    expect(await t.channel.drain(queue)).toEqual(['d']);
  },
  PLUGIN,
);

rule(
  '5.6.dedup-cache',
  'what has left is remembered',
  async (target) => {
    const t = await scene(target);
    const queue = await deduplicatingQueue(t, { 'x-cache-size': 2 });
    await send(t, '', queue, [['a', 'x']]);
    expect(await t.channel.drain(queue)).toEqual(['a']);
    await send(t, '', queue, [
      ['b', 'x'],
      ['c', 'y'],
      ['d', 'z'],
      ['e', 'x'],
    ]);
    expect(await t.channel.drain(queue)).toEqual(['c', 'd', 'e']);
  },
  OURS,
);

rule(
  '5.6.dedup-restart',
  'of what is in the queue',
  async () => {
    const message = (value: string) => ({ headers: { [HEADER]: value }, deliveryMode: 2 });
    await acrossRestart(
      async (channel) => {
        const args = { 'x-message-deduplication': true };
        await channel.call('queue.declare', { queue: 'q', durable: true, arguments: args });
        await channel.confirms();
        await channel.publishConfirmed('', 'q', ['gone'], message('x'));
        await channel.drain('q');
        await channel.publishConfirmed('', 'q', ['a'], message('y'));
      },
      async (channel) => {
        await channel.confirms();
        await channel.publishConfirmed('', 'q', ['b'], message('y'));
        await channel.publishConfirmed('', 'q', ['c'], message('x'));
        expect(await channel.drain('q')).toEqual(['a', 'c']);
      },
    );
  },
  OWN_ONLY,
);

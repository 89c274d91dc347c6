// Ordering keys: who is given what, and in which order.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

const clock = new FakeClock();
useTarget({ clock });

/** RabbitMQ takes the argument, and knows nothing of it. */
const OWN = { ownOnly: 'ordering keys are ours' };

/** A scene with a queue whose key is the header `k`. */
async function ordered(target: Target, args: object = {}): Promise<{ t: Scene; queue: string }> {
  const t = await scene(target);
  return { t, queue: await t.queue({ arguments: { 'x-ordering-key': 'k', ...args } }) };
}

/** Publishes `<key><number>` for each, with the key in the header; `-` is none. */
async function publish(channel: Channel, queue: string, ...bodies: string[]): Promise<void> {
  for (const body of bodies) {
    const headers = body.startsWith('-') ? {} : { k: body[0] };
    channel.publish('', queue, body, { headers });
  }
  await channel.fence();
}

rule(
  '5.6.ordering-holder',
  'the second consumer is given another key',
  async (target) => {
    const { t, queue } = await ordered(target);
    await publish(t.channel, queue, 'a1', 'a2', 'b1', 'a3', '-1');
    const other = await t.newChannel();
    await t.channel.qos(1);
    await other.qos(1);
    const first = await t.channel.consume(queue);
    const a1 = await first.next();
    const second = await other.consume(queue);
    const b1 = await second.next();
    expect([a1.body, b1.body]).toEqual(['a1', 'b1']);
    other.ack(b1);
    const free = await second.next();
    other.ack(free);
    await other.fence();
    expect([free.body, second.bodies.length]).toEqual(['-1', 2]);
    expect((await t.channel.settle(queue)).messageCount).toBe(2);
    t.channel.ack(a1);
    await t.channel.settle(queue);
    await other.fence();
    expect([...first.bodies, ...second.bodies]).toContain('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-prefetch',
  'as many as it may hold, none for another',
  async (target) => {
    const { t, queue } = await ordered(target);
    const other = await t.newChannel();
    await t.channel.qos(3);
    const first = await t.channel.consume(queue);
    await publish(t.channel, queue, 'a1');
    await first.next();
    const second = await other.consume(queue);
    await publish(t.channel, queue, 'a2', 'a3', 'a4');
    await first.take(2);
    await other.fence();
    expect([first.bodies, second.bodies]).toEqual([['a1', 'a2', 'a3'], []]);
    t.channel.ack(first.received[0]!);
    await first.next();
    expect(first.bodies).toEqual(['a1', 'a2', 'a3', 'a4']);
  },
  OWN,
);

for (const how of ['ack', 'reject', 'requeue', 'channel', 'connection'] as const) {
  rule(
    '5.6.ordering-release',
    `by ${how}`,
    async (target) => {
      const { t, queue } = await ordered(target);
      const peer = await t.connect();
      const holder = await peer.channel();
      const consumer = await holder.consume(queue);
      await publish(t.channel, queue, 'a1');
      const held = await consumer.next();
      await consumer.cancel();
      const next = await t.channel.consume(queue);
      await publish(t.channel, queue, 'a2', 'b1');
      expect((await next.next()).body).toBe('b1');
      if (how === 'ack') holder.ack(held);
      else if (how === 'reject') holder.reject(held, false);
      else if (how === 'requeue') holder.reject(held, true);
      else if (how === 'channel') await holder.close();
      else await peer.close();
      const after = await next.next();
      expect(after.body).toBe(how === 'ack' || how === 'reject' ? 'a2' : 'a1');
    },
    OWN,
  );
}

rule(
  '5.6.ordering-requeue',
  'before what was published after it',
  async (target) => {
    const { t, queue } = await ordered(target);
    await t.channel.qos(1);
    await publish(t.channel, queue, 'a1', 'a2');
    const consumer = await t.channel.consume(queue);
    t.channel.reject(await consumer.next(), true);
    const again = await consumer.next();
    expect([again.body, again.redelivered]).toEqual(['a1', true]);
    t.channel.ack(again);
    expect((await consumer.next()).body).toBe('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-cancel',
  'until the ack',
  async (target) => {
    const { t, queue } = await ordered(target);
    const other = await t.newChannel();
    const consumer = await t.channel.consume(queue);
    await publish(t.channel, queue, 'a1');
    const held = await consumer.next();
    await consumer.cancel();
    await publish(t.channel, queue, 'a2');
    const next = await other.consume(queue);
    await other.fence();
    expect(next.bodies).toEqual([]);
    t.channel.ack(held);
    expect((await next.next()).body).toBe('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-get',
  'one key after the other',
  async (target) => {
    const { t, queue } = await ordered(target);
    await publish(t.channel, queue, 'a1', 'a2', 'b1');
    const first = await t.channel.get(queue);
    const second = await t.channel.get(queue);
    expect([first?.body, second?.body]).toEqual(['a1', 'b1']);
    expect(await t.channel.get(queue)).toBeNull();
    t.channel.ack(first!);
    expect((await t.channel.get(queue))?.body).toBe('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-no-ack',
  'only what nobody holds',
  async (target) => {
    const { t, queue } = await ordered(target);
    await publish(t.channel, queue, 'a1');
    const held = await t.channel.get(queue);
    const consumer = await t.channel.consume(queue, { noAck: true });
    await publish(t.channel, queue, 'a2', 'b1', 'b2');
    await consumer.take(2);
    expect(consumer.bodies).toEqual(['b1', 'b2']);
    t.channel.ack(held!);
    expect((await consumer.next()).body).toBe('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-value',
  'a number is the same in every width, and no text',
  async (target) => {
    const { t, queue } = await ordered(target);
    const values: [string, unknown][] = [
      ['int', 7],
      ['long', { '!': 'int64', value: 7 }],
      ['double', { '!': 'double', value: 7 }],
      ['text', '7'],
      ['true', true],
      ['list', [7]],
      ['list again', [7]],
    ];
    for (const [body, k] of values) t.channel.publish('', queue, body, { headers: { k } });
    await t.channel.fence();
    const got: (string | undefined)[] = [];
    for (let i = 0; i < 6; i++) got.push((await t.channel.get(queue))?.body);
    expect(got).toEqual(['int', 'text', 'true', 'list', 'list again', undefined]);
  },
  OWN,
);

rule(
  '5.6.ordering-priority',
  'a key is held whatever the priority',
  async (target) => {
    const { t, queue } = await ordered(target, { 'x-max-priority': 5 });
    const send = (body: string, priority: number): void =>
      t.channel.publish('', queue, body, { headers: { k: body[0] }, priority });
    send('a low 1', 1);
    send('a low 2', 1);
    await t.channel.fence();
    const held = await t.channel.get(queue);
    send('a high', 5);
    send('b low', 1);
    await t.channel.fence();
    expect((await t.channel.get(queue))?.body).toBe('b low');
    expect(await t.channel.get(queue)).toBeNull();
    t.channel.ack(held!);
    const next = await t.channel.get(queue);
    expect(next?.body).toBe('a high');
    t.channel.ack(next!);
    expect((await t.channel.get(queue))?.body).toBe('a low 2');
  },
  OWN,
);

rule(
  '5.6.ordering-expire',
  'in time, by length, by a purge',
  async (target) => {
    const { t, queue } = await ordered(target, { 'x-max-length': 2 });
    await publish(t.channel, queue, 'a1');
    const held = await t.channel.get(queue);
    t.channel.publish('', queue, 'a2', { headers: { k: 'a' }, expiration: '1000' });
    await publish(t.channel, queue, 'a3');
    expect(await t.channel.get(queue)).toBeNull();
    clock.advance(1_200);
    await t.channel.untilReady(queue, 1);
    await publish(t.channel, queue, 'a4', 'a5');
    await t.channel.untilReady(queue, 2);
    const purged = await t.channel.call<{ messageCount: number }>('queue.purge', { queue });
    expect(purged.messageCount).toBe(2);
    await publish(t.channel, queue, 'a6');
    expect(await t.channel.get(queue)).toBeNull();
    t.channel.ack(held!);
    expect((await t.channel.get(queue))?.body).toBe('a6');
  },
  OWN,
);

rule(
  '5.6.ordering-retry',
  'until the retry was acked',
  async (target) => {
    const { t, queue } = await ordered(target, { 'x-retry-limit': 3, 'x-retry-delay': 5_000 });
    await publish(t.channel, queue, 'a1', 'a2', 'b1');
    t.channel.reject((await t.channel.get(queue))!, false);
    expect((await t.channel.get(queue))?.body).toBe('b1');
    expect(await t.channel.get(queue)).toBeNull();
    clock.advance(5_100);
    await t.channel.untilReady(queue, 2);
    const again = await t.channel.get(queue);
    expect(again?.body).toBe('a1');
    expect(await t.channel.get(queue)).toBeNull();
    t.channel.ack(again!);
    expect((await t.channel.get(queue))?.body).toBe('a2');
  },
  OWN,
);

rule(
  '5.6.ordering-single-active',
  'the successor waits for the keys',
  async (target) => {
    const { t, queue } = await ordered(target, { 'x-single-active-consumer': true });
    const other = await t.newChannel();
    const first = await t.channel.consume(queue);
    const second = await other.consume(queue);
    await publish(t.channel, queue, 'a1', 'b1');
    const [a1, b1] = await first.take(2);
    await first.cancel();
    await publish(t.channel, queue, 'a2', 'c1');
    expect((await second.next()).body).toBe('c1');
    t.channel.ack(a1!);
    expect((await second.next()).body).toBe('a2');
    t.channel.ack(b1!);
  },
  OWN,
);

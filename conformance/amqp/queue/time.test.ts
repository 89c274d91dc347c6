// Time to live of messages and of queues.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { WAIT_MS } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });

/** A time that is long enough to be told from nothing, and short enough to wait for on a foreign broker. */
const SHORT_MS = 120;

/** Real time is measured by two clocks that may run apart a little: this part of a time has to have passed at least. */
const SURELY = 0.95;

/** Milliseconds, on the broker's own clock where it has one. */
function now(target: Target): number {
  return target.broker === null ? performance.now() : clock.now();
}

/** Lets time pass, on the broker's own clock where it has one. */
async function pass(target: Target, ms: number): Promise<void> {
  if (target.broker !== null) clock.advance(ms);
  else await new Promise((resolve) => setTimeout(resolve, ms));
}

async function counts(channel: Channel, queue: string): Promise<number> {
  return (await channel.settle(queue)).messageCount;
}

/** Messages as `mortal` publishes them. */
type Given = readonly (readonly [body: string, expiration?: number])[];

/**
 * Publishes messages that live for SHORT_MS, in front of others that live on: they must be there for that time, and then no more.
 * The channel must be in confirm mode: a count may overtake publishes, and would not see them.
 */
async function mortal(
  target: Target,
  t: Scene,
  queue: string,
  dying: Given,
  living: Given = [],
): Promise<void> {
  const began = now(target);
  for (const [body, expiration] of [...dying, ...living])
    await t.channel.publishConfirmed(
      '',
      queue,
      [body],
      expiration === undefined ? {} : { expiration: `${expiration}` },
    );
  // Real time may be over before anybody can count.
  if (target.broker !== null) {
    expect(await counts(t.channel, queue)).toBe(dying.length + living.length);
    await pass(target, SHORT_MS + 80);
    expect(await counts(t.channel, queue)).toBe(living.length);
  }
  await t.channel.untilReady(queue, living.length);
  expect(now(target) - began).toBeGreaterThanOrEqual(SHORT_MS * SURELY);
  expect(await t.channel.drain(queue)).toEqual(living.map(([body]) => body));
}

/** Waits until there is no queue of that name. Publishing is no use of a queue, and tells whether there is one. */
async function untilGone(t: Scene, queue: string): Promise<void> {
  const returned = (): number => t.channel.seen('basic.return').length;
  const before = returned();
  for (const deadline = Date.now() + WAIT_MS; returned() === before; ) {
    if (Date.now() > deadline) throw new Error(`${queue} does not expire`);
    t.channel.publish('', queue, 'anybody there?', {}, { mandatory: true });
    await t.channel.fence();
  }
}

/** What failed may have failed because the machine was too slow to tell times apart. */
class TooSlow extends Error {}

/** Runs what has to succeed before `deadline`; a failure after it proves nothing. */
async function before<T>(target: Target, deadline: number, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw now(target) < deadline ? error : new TooSlow(`too slow: ${(error as Error).message}`);
  }
}

/** Runs a story of which things have to happen in time; in a slower measure again if the machine was too slow for it. */
async function inTime(story: (unit: number) => Promise<void>): Promise<void> {
  for (let unit = SHORT_MS; ; unit *= 3) {
    try {
      return await story(unit);
    } catch (error) {
      if (!(error instanceof TooSlow) || unit > 1_000) throw error;
    }
  }
}
/** Enough for every measure of `inTime`. */
const PATIENT = { timeoutMs: 60_000 };

rule('9.1.queue', 'a queue forgets its messages in time', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-message-ttl': SHORT_MS } });
  await t.channel.confirms();
  await mortal(target, t, queue, [['a'], ['b']]);
});

rule('9.1.own', 'those with an expiration go, the others stay', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.confirms();
  await mortal(target, t, queue, [['goes', SHORT_MS]], [['stays']]);
});

rule('9.1.smaller', 'either of them', async (target) => {
  const t = await scene(target);
  await t.channel.confirms();
  const queue = await t.queue({ arguments: { 'x-message-ttl': 60_000 } });
  await mortal(target, t, queue, [['own', SHORT_MS]]);
  const other = await t.queue({ arguments: { 'x-message-ttl': SHORT_MS } });
  await mortal(target, t, other, [['queue', 60_000]]);
});

rule(
  '9.1.anywhere',
  'short lives behind a long one',
  async (target) => {
    const t = await scene(target);
    const dead = await t.queue();
    const queue = await t.queue({
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
    });
    t.channel.publish('', queue, 'stays');
    t.channel.publish('', queue, 'second', { expiration: `${SHORT_MS + 40}` });
    t.channel.publish('', queue, 'first', { expiration: `${SHORT_MS}` });
    await t.channel.untilReady(queue, 3);
    await pass(target, SHORT_MS + 80);
    await t.channel.untilReady(dead, 2);
    expect(await counts(t.channel, queue)).toBe(1);
    expect(await t.channel.drain(dead)).toEqual(['first', 'second']);
    expect(await t.channel.drain(queue)).toEqual(['stays']);
  },
  {
    onRabbitMQ: async (target) => {
      const t = await scene(target);
      const queue = await t.queue();
      t.channel.publish('', queue, 'stays');
      t.channel.publish('', queue, 'goes', { expiration: `${SHORT_MS}` });
      await t.channel.untilReady(queue, 2);
      await pass(target, SHORT_MS + 80);
      expect(await counts(t.channel, queue)).toBe(2);
      expect(await t.channel.drain(queue)).toEqual(['stays']);
    },
  },
);

rule('9.1.unacked', 'it can be acknowledged after its time', async (target) => {
  const t = await scene(target);
  const dead = await t.queue();
  const queue = await t.queue({
    arguments: {
      'x-message-ttl': SHORT_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    },
  });
  // Who waits for it has it in time.
  const consumer = await t.channel.consume(queue);
  t.channel.publishAll(queue, ['a']);
  const message = await consumer.next();
  await pass(target, SHORT_MS + 80);
  t.channel.ack(message);
  expect(await counts(t.channel, queue)).toBe(0);
  expect(await t.channel.get(dead)).toBeNull();
});

rule('9.1.requeued', 'after the deadline, and before it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  // Who waits for them has them in time.
  const consumer = await t.channel.consume(queue);
  t.channel.publish('', queue, 'late', { expiration: `${SHORT_MS}` });
  t.channel.publish('', queue, 'early', { expiration: '60000' });
  const [late, early] = await consumer.take(2);
  await consumer.cancel();
  await pass(target, SHORT_MS + 80);
  t.channel.reject(late!, true);
  t.channel.reject(early!, true);
  await t.channel.untilReady(queue, 1);
  expect(await t.channel.drain(queue)).toEqual(['early']);
});

rule('9.1.zero', 'by the message and by the queue', async (target) => {
  const t = await scene(target);
  const own = await t.queue();
  const byQueue = await t.queue({ arguments: { 'x-message-ttl': 0 } });
  for (const queue of [own, byQueue]) {
    const expiration = queue === own ? { expiration: '0' } : {};
    t.channel.publish('', queue, 'nobody waits', expiration);
    expect(await counts(t.channel, queue)).toBe(0);
    expect(await t.channel.get(queue)).toBeNull();
    const consumer = await t.channel.consume(queue, { noAck: true });
    t.channel.publish('', queue, 'somebody waits', expiration);
    expect((await consumer.next()).body).toBe('somebody waits');
  }
});

rule('9.1.zero', 'a consumer whose prefetch is full cannot take it', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.qos(1);
  const consumer = await t.channel.consume(queue);
  t.channel.publish('', queue, 'fills');
  const first = await consumer.next();
  t.channel.publish('', queue, 'too late', { expiration: '0' });
  // Counts and acks may overtake a publish, a get does not.
  expect(await t.channel.get(queue)).toBeNull();
  expect(await counts(t.channel, queue)).toBe(0);
  t.channel.ack(first);
  t.channel.publish('', queue, 'next');
  expect((await consumer.next()).body).toBe('next');
});

rule('9.1.anew', 'a chain of two queues', async (target) => {
  const t = await scene(target);
  const living = (ms: number, heir: string) =>
    t.queue({
      arguments: { 'x-message-ttl': ms, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': heir },
    });
  const end = await t.queue();
  const second = await living(3 * SHORT_MS, end);
  const first = await living(SHORT_MS, second);
  const began = now(target);
  t.channel.publishAll(first, ['a']);
  await t.channel.fence();
  // Real time may be over before anybody can count.
  if (target.broker !== null) {
    await pass(target, SHORT_MS + 40);
    await t.channel.untilReady(second, 1);
    await pass(target, SHORT_MS);
    expect(await counts(t.channel, second)).toBe(1);
    await pass(target, 2 * SHORT_MS + 60);
    expect(await counts(t.channel, second)).toBe(0);
  }
  await t.channel.untilReady(end, 1);
  expect(now(target) - began).toBeGreaterThanOrEqual(4 * SHORT_MS * SURELY);
});

rule('9.2.unused', 'a queue with messages', async (target) => {
  const t = await scene(target);
  const dead = await t.queue();
  const queue = await t.queue({
    arguments: {
      'x-expires': 2 * SHORT_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    },
  });
  t.channel.publishAll(queue, ['a']);
  await t.channel.fence();
  // Own queues may go up to a tick of the coarse wheel later.
  await pass(target, 2 * SHORT_MS + 160);
  await untilGone(t, queue);
  expect(await t.channel.get(dead)).toBeNull();
});

rule(
  '9.2.use',
  'every use begins the time anew',
  (target) =>
    inTime(async (unit) => {
      const t = await scene(target);
      const args = { 'x-expires': 3 * unit };
      let used = now(target);
      const queue = await t.queue({ arguments: args });
      const uses = [
        () => t.channel.call('queue.declare', { queue, arguments: args }),
        () => t.channel.call('queue.declare', { queue, passive: true }),
        async () => expect(await t.channel.get(queue)).toBeNull(),
      ];
      for (const use of [...uses, ...uses]) {
        await pass(target, 2 * unit);
        const until = used + 3 * unit;
        used = now(target);
        await before<unknown>(target, until, use);
      }
      await pass(target, 3 * unit + 160);
      await untilGone(t, queue);
    }),
  PATIENT,
);

rule('9.2.no-use', 'a queue that is published to all the time', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ arguments: { 'x-expires': 3 * SHORT_MS } });
  for (let i = 0; i < 5; i++) {
    t.channel.publishAll(queue, [`${i}`]);
    await t.channel.fence();
    await pass(target, SHORT_MS);
  }
  await untilGone(t, queue);
});

rule(
  '9.2.consumer',
  'as long as there is one, and for the whole time after it',
  (target) =>
    inTime(async (unit) => {
      const t = await scene(target);
      const declared = now(target);
      const queue = await t.queue({ arguments: { 'x-expires': 2 * unit } });
      const consumer = await before(target, declared + 2 * unit, () => t.channel.consume(queue));
      await pass(target, 4 * unit);
      const left = now(target);
      await t.channel.call('basic.cancel', { consumerTag: consumer.tag });
      await pass(target, unit);
      // Publishing is no use, and tells whether there is a queue.
      await before(target, left + 2 * unit, async () => {
        t.channel.publish('', queue, 'still there', {}, { mandatory: true });
        await t.channel.fence();
        expect(t.channel.seen('basic.return')).toEqual([]);
      });
      await pass(target, unit + 160);
      await untilGone(t, queue);
    }),
  PATIENT,
);

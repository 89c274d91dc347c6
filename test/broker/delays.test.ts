// Messages that an exchange holds back: when they come, how they look, what becomes of them over restarts, deletions and cancels.

import type * as amqplib from 'amqplib';
import { describe, expect, it } from 'vitest';
import { type Broker, type BrokerOptions, FakeClock } from '../../src/index.ts';
import { Session, startBroker, temporaryFolder } from './support.ts';

const DELAYED = 'x-delayed-message';

async function scene(options: BrokerOptions = {}) {
  const clock = new FakeClock();
  const broker = await startBroker({ clock, ...options });
  const session = await Session.open(broker);
  return { clock, broker, session, channel: session.channel };
}

/** A durable delayed exchange 'later', and a queue bound to it by its own name. */
async function declare(session: Session, type = 'direct', queue = 'q'): Promise<void> {
  await session.channel.assertExchange('later', DELAYED, { arguments: { 'x-delayed-type': type } });
  await session.queue(queue);
  await session.channel.bindQueue(queue, 'later', queue);
}

function send(
  session: Session,
  text: string,
  delay: unknown,
  options: amqplib.Options.Publish = {},
  key = 'q',
): void {
  const headers = { ...(options.headers ?? {}), ...(delay === undefined ? {} : { 'x-delay': delay }) };
  session.channel.publish('later', key, Buffer.from(text), { persistent: true, ...options, headers });
}

/** Round trips until the queue holds so many messages. */
async function arrived(session: Session, count: number, queue = 'q'): Promise<void> {
  for (let i = 0; (await session.count(queue)) < count; i++) if (i > 2_000) throw new Error('waited in vain');
}

/** Time passes in steps, as it does for a broker that runs. */
async function pass(clock: FakeClock, session: Session, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 50) {
    clock.advance(50);
    await session.channel.checkExchange('amq.direct');
  }
}

describe('a delayed message', () => {
  it('comes when its time has come, the earliest first', async () => {
    const { clock, session } = await scene();
    await declare(session);
    send(session, 'slow', 3_000);
    send(session, 'quick', 1_000);
    send(session, 'at once', undefined);
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['at once']);
    await pass(clock, session, 950);
    expect(await session.count('q')).toBe(0);
    await pass(clock, session, 100);
    await arrived(session, 1);
    expect(await session.texts('q')).toEqual(['quick']);
    await pass(clock, session, 2_000);
    await arrived(session, 1);
    expect(await session.texts('q')).toEqual(['slow']);
  });

  it('says by how much it was delayed: the header comes back negated', async () => {
    const { clock, session } = await scene();
    await declare(session);
    send(session, 'number', 100, { headers: { other: 'kept' }, contentType: 'text/plain' });
    send(session, 'text', '200');
    await pass(clock, session, 300);
    await arrived(session, 2);
    const first = (await session.get('q'))!;
    expect(first.properties.headers).toEqual({ other: 'kept', 'x-delay': -100 });
    expect(first.properties.contentType).toBe('text/plain');
    expect(first.fields.exchange).toBe('later');
    expect(first.fields.routingKey).toBe('q');
    expect((await session.get('q'))!.properties.headers).toEqual({ 'x-delay': -200 });
  });

  it.each([
    ['0', 0],
    ['a negative number', -5],
    ['more than 2^32 - 1', 2 ** 32],
    ['no number', 'soon'],
    ['a boolean', true],
    ['nothing', undefined],
  ])('is not delayed at all when it asks for %s', async (_what, delay) => {
    const { session } = await scene();
    await declare(session);
    send(session, 'now', delay);
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['now']);
  });

  it.each([
    ['a fraction', 100.9, -100],
    ['a long', 4_000_000_000, -4_000_000_000],
  ])('may ask for %s', async (_what, delay, shown) => {
    const { clock, session } = await scene();
    await declare(session);
    send(session, 'later', delay);
    await session.channel.waitForConfirms();
    expect(await session.count('q')).toBe(0);
    clock.jump(delay + 20);
    await arrived(session, 1);
    expect((await session.get('q'))!.properties.headers!['x-delay']).toBe(shown);
  });

  it('is routed by the bindings that stand when it comes', async () => {
    const { clock, session } = await scene();
    await declare(session, 'topic');
    send(session, 'm', 500, {}, 'a.b');
    await session.channel.waitForConfirms();
    await session.channel.bindQueue('q', 'later', 'a.#');
    await pass(clock, session, 550);
    await arrived(session, 1);
    expect(await session.texts('q')).toEqual(['m']);
  });

  it('goes to the alternate exchange only when nothing takes it in the end', async () => {
    const { clock, session } = await scene();
    await session.channel.assertExchange('later', DELAYED, {
      arguments: { 'x-delayed-type': 'direct', 'alternate-exchange': 'amq.fanout' },
    });
    await session.queue('lost');
    await session.channel.bindQueue('lost', 'amq.fanout', '');
    send(session, 'm', 500);
    await session.channel.waitForConfirms();
    expect(await session.count('lost')).toBe(0);
    await pass(clock, session, 550);
    await arrived(session, 1, 'lost');
  });

  it('keeps the keys of CC and BCC, and nobody sees the BCC', async () => {
    const { clock, session } = await scene();
    await declare(session);
    for (const queue of ['cc', 'bcc']) {
      await session.queue(queue);
      await session.channel.bindQueue(queue, 'later', queue);
    }
    send(session, 'm', 500, { CC: ['cc'], BCC: ['bcc'] });
    await session.channel.waitForConfirms();
    await pass(clock, session, 550);
    for (const queue of ['q', 'cc', 'bcc']) {
      await arrived(session, 1, queue);
      expect((await session.get(queue))!.properties.headers).toEqual({ 'x-delay': -500, CC: ['cc'] });
    }
  });

  it('is confirmed when it is safe, long before it is delivered', async () => {
    const { session } = await scene();
    await declare(session);
    send(session, 'm', 3_600_000);
    send(session, 'transient', 3_600_000, { persistent: false });
    await session.channel.waitForConfirms();
  });

  it('comes back at once to a publisher who insists on a queue, and is delivered all the same', async () => {
    const { clock, session } = await scene();
    await declare(session);
    const returned: string[] = [];
    session.channel.on('return', (message) => returned.push(message.content.toString()));
    send(session, 'm', 500, { mandatory: true });
    send(session, 'at once', undefined, { mandatory: true });
    await session.channel.waitForConfirms();
    expect(returned).toEqual(['m']);
    await pass(clock, session, 550);
    await arrived(session, 2);
  });

  it('is held back by an exchange that another exchange leads to', async () => {
    const { clock, session } = await scene();
    await declare(session);
    await session.queue('direct');
    await session.channel.assertExchange('first', 'fanout');
    await session.channel.bindExchange('later', 'first', '');
    await session.channel.bindQueue('direct', 'first', '');
    session.channel.publish('first', 'q', Buffer.from('m'), { headers: { 'x-delay': 500 } });
    await session.channel.waitForConfirms();
    expect(await session.texts('direct')).toEqual(['m']);
    expect(await session.count('q')).toBe(0);
    await pass(clock, session, 550);
    await arrived(session, 1);
  });

  it('is not delayed again by the next delaying exchange on its way', async () => {
    const { clock, session } = await scene();
    await declare(session);
    await session.channel.assertExchange('second', 'fanout', { arguments: { 'x-delayed-exchange': true } });
    await session.channel.bindExchange('second', 'later', 'q');
    await session.queue('far');
    await session.channel.bindQueue('far', 'second', '');
    send(session, 'm', 500);
    await session.channel.waitForConfirms();
    await pass(clock, session, 550);
    await arrived(session, 1, 'far');
  });
});

describe('an exchange that delays', () => {
  it.each([
    ['no inner type', {}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"],
    [
      'a number as its inner type',
      { 'x-delayed-type': 5 },
      "Invalid argument, 'x-delayed-type' must be an existing exchange type",
    ],
    [
      'itself as its inner type',
      { 'x-delayed-type': DELAYED },
      "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
    ],
    ['an inner type that is none', { 'x-delayed-type': 'nosuch' }, "unknown exchange type 'nosuch'"],
  ])('is refused with %s', async (_what, args, text) => {
    const { session } = await scene();
    await expect(session.channel.assertExchange('later', DELAYED, { arguments: args })).rejects.toThrow(
      `PRECONDITION_FAILED - ${text}`,
    );
  });

  it('may be of any type with x-delayed-exchange', async () => {
    const { clock, session } = await scene();
    await session.channel.assertExchange('later', 'direct', { arguments: { 'x-delayed-exchange': true } });
    await session.queue('q');
    await session.channel.bindQueue('q', 'later', 'q');
    send(session, 'm', 100);
    send(session, 'now', undefined);
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['now']);
    await pass(clock, session, 150);
    await arrived(session, 1);
  });

  it('wants a boolean for x-delayed-exchange, and false is as good as nothing', async () => {
    const { session } = await scene();
    await session.channel.assertExchange('later', 'direct', { arguments: { 'x-delayed-exchange': false } });
    await session.queue('q');
    await session.channel.bindQueue('q', 'later', 'q');
    send(session, 'm', 100);
    await session.channel.waitForConfirms();
    expect(await session.texts('q')).toEqual(['m']);
    await expect(
      session.channel.assertExchange('other', 'direct', { arguments: { 'x-delayed-exchange': 'yes' } }),
    ).rejects.toThrow(
      "PRECONDITION_FAILED - invalid arg 'x-delayed-exchange' for exchange 'other' in vhost '/': {unacceptable_type,longstr}",
    );
  });

  it('takes the messages that wait with it when it is deleted', async () => {
    const { clock, session } = await scene();
    await declare(session);
    send(session, 'm', 500);
    await session.channel.waitForConfirms();
    await session.channel.deleteExchange('later');
    await declare(session);
    await pass(clock, session, 1_000);
    expect(await session.count('q')).toBe(0);
  });
});

describe('after a restart', () => {
  async function restart(broker: Broker, dataDir: string, clock: FakeClock) {
    await broker.stop();
    const next = await startBroker({ store: 'level', dataDir, clock });
    return { broker: next, session: await Session.open(next) };
  }

  it('delays go on, and what came due meanwhile comes at once', async () => {
    const dataDir = temporaryFolder();
    const first = await scene({ store: 'level', dataDir });
    await declare(first.session);
    send(first.session, 'due', 1_000);
    send(first.session, 'later', 60_000);
    send(first.session, 'transient', 1_000, { persistent: false });
    await first.session.channel.waitForConfirms();
    first.clock.jump(30_000 - 40);
    // Not in this run.
    const { session } = await restart(first.broker, dataDir, new FakeClock(first.clock.now()));
    await arrived(session, 1);
    expect(await session.texts('q')).toEqual(['due']);
    await session.close();
  });

  it('what was delivered does not come again, and positions go on', async () => {
    const dataDir = temporaryFolder();
    const clock = new FakeClock();
    let { broker, session } = await scene({ store: 'level', dataDir, clock });
    await declare(session);
    for (let round = 0; round < 3; round++) {
      send(session, `m${round}`, 1_000);
      send(session, `n${round}`, 500);
      await session.channel.waitForConfirms();
      await pass(clock, session, 550);
      await arrived(session, round * 2 + 1);
      ({ broker, session } = await restart(broker, dataDir, clock));
      expect(await session.count('q')).toBe(round * 2 + 1);
      await pass(clock, session, 550);
      await arrived(session, round * 2 + 2);
    }
    expect(await session.texts('q')).toEqual(['n0', 'm0', 'n1', 'm1', 'n2', 'm2']);
  });

  it('messages of an exchange that is not durable are gone with it', async () => {
    const dataDir = temporaryFolder();
    const clock = new FakeClock();
    const first = await scene({ store: 'level', dataDir, clock });
    await first.session.channel.assertExchange('later', DELAYED, {
      durable: false,
      arguments: { 'x-delayed-type': 'fanout' },
    });
    await first.session.queue('q');
    await first.session.channel.bindQueue('q', 'later', '');
    send(first.session, 'm', 1_000);
    await first.session.channel.waitForConfirms();
    const { session } = await restart(first.broker, dataDir, clock);
    await pass(clock, session, 1_100);
    expect(await session.count('q')).toBe(0);
  });
});

describe('delayed messages that wait', () => {
  it('can be counted and listed page by page', async () => {
    const { broker, clock, session } = await scene();
    await declare(session);
    for (let i = 1; i <= 5; i++) send(session, `m${i}`, i * 60_000, { BCC: ['other'], messageId: `id${i}` });
    await session.channel.waitForConfirms();
    expect(broker.delayedCounts('/', 'later')).toEqual({ messages: 5, bytes: 10 });
    const first = await broker.delayedMessages('/', 'later', { limit: 2 });
    expect(first.messages.map(({ body }) => body.toString())).toEqual(['m1', 'm2']);
    const [message] = first.messages;
    expect(message).toMatchObject({
      dueAt: clock.now() + 60_000,
      durable: true,
      exchange: 'later',
      routingKeys: ['q', 'other'],
    });
    expect({ ...message!.headers }).toEqual({ 'x-delay': -60_000 });
    expect(message!.properties.messageId).toBe('id1');
    const second = await broker.delayedMessages('/', 'later', { after: first.next!, limit: 2 });
    const third = await broker.delayedMessages('/', 'later', { after: second.next!, limit: 2 });
    expect([...second.messages, ...third.messages].map(({ body }) => body.toString())).toEqual([
      'm3',
      'm4',
      'm5',
    ]);
    expect(third.next).toBe(null);
  });

  it('can be taken back one by one, and are never routed then', async () => {
    const dataDir = temporaryFolder();
    const { broker, clock, session } = await scene({ store: 'level', dataDir });
    await declare(session);
    for (const text of ['a', 'b', 'c']) send(session, text, 1_000);
    await session.channel.waitForConfirms();
    const { messages } = await broker.delayedMessages('/', 'later');
    const id = messages[1]!.id;
    const twice = [
      broker.cancelDelayedMessage('/', 'later', id),
      broker.cancelDelayedMessage('/', 'later', id),
    ];
    expect(await Promise.all(twice)).toEqual([true, false]);
    expect(await broker.cancelDelayedMessage('/', 'later', id)).toBe(false);
    expect(await broker.cancelDelayedMessage('/', 'later', 99)).toBe(false);
    expect(broker.delayedCounts('/', 'later')).toEqual({ messages: 2, bytes: 2 });
    expect((await broker.delayedMessages('/', 'later')).messages).toHaveLength(2);
    await pass(clock, session, 1_100);
    await arrived(session, 2);
    expect(await session.texts('q')).toEqual(['a', 'c']);
    expect(broker.delayedCounts('/', 'later')).toEqual({ messages: 0, bytes: 0 });
  });

  it('that are due while they are looked for are delivered or cancelled, never both', async () => {
    const { broker, clock, session } = await scene();
    await declare(session);
    for (let i = 0; i < 50; i++) send(session, `m${i}`, 1_000);
    await session.channel.waitForConfirms();
    await pass(clock, session, 900);
    const { messages } = await broker.delayedMessages('/', 'later');
    const cancels = messages.map(({ id }) => broker.cancelDelayedMessage('/', 'later', id));
    clock.advance(200);
    const cancelled = (await Promise.all(cancels)).filter((done) => done).length;
    await pass(clock, session, 100);
    await arrived(session, 50 - cancelled);
    expect(await session.count('q')).toBe(50 - cancelled);
    expect(broker.delayedCounts('/', 'later').messages).toBe(0);
  });

  it('can be taken back all at once', async () => {
    const { broker, clock, session } = await scene();
    await declare(session);
    for (let i = 0; i < 10; i++) send(session, `m${i}`, 1_000);
    await session.channel.waitForConfirms();
    expect(await broker.cancelDelayedMessages('/', 'later')).toBe(10);
    expect(await broker.cancelDelayedMessages('/', 'later')).toBe(0);
    send(session, 'new', 100);
    await pass(clock, session, 1_200);
    await arrived(session, 1);
    expect(await session.texts('q')).toEqual(['new']);
  });

  it('are asked for in vain where nothing delays', async () => {
    const { broker } = await scene();
    expect(() => broker.delayedCounts('/', 'amq.direct')).toThrow(
      "exchange 'amq.direct' in vhost '/' delays no messages",
    );
    await expect(broker.delayedMessages('/', 'nosuch')).rejects.toThrow("no exchange 'nosuch' in vhost '/'");
    await expect(broker.cancelDelayedMessage('nosuch', 'e', 1)).rejects.toThrow("vhost 'nosuch' not found");
  });
});

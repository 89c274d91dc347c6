// Ordering keys and operators' calls as real clients and an embedding program see them.

import { expect, test } from 'vitest';
import { FakeClock } from '../../src/index.ts';
import { Session, startBroker, temporaryFolder } from './support.ts';

/** Deliveries of one consumer; acknowledged when the test says so. */
class Worker {
  readonly texts: string[] = [];
  private readonly unacked: (() => void)[] = [];
  private awaited: { count: number; resolve: () => void } | null = null;

  static async start(session: Session, queue: string, prefetch: number): Promise<Worker> {
    const worker = new Worker();
    const channel = await session.connection.createChannel();
    await channel.prefetch(prefetch);
    await channel.consume(queue, (message) => {
      worker.texts.push(message!.content.toString());
      worker.unacked.push(() => channel.ack(message!));
      if (worker.awaited !== null && worker.texts.length >= worker.awaited.count) worker.awaited.resolve();
    });
    return worker;
  }

  ackNext(): void {
    this.unacked.shift()!();
  }

  async has(count: number): Promise<void> {
    if (this.texts.length >= count) return;
    await new Promise<void>((resolve) => {
      this.awaited = { count, resolve };
    });
  }
}

test('two consumers never work on the same account at once, and see each account in order', async () => {
  const broker = await startBroker();
  const session = await Session.open(broker);
  await session.queue('payments', { arguments: { 'x-ordering-key': 'account' } });
  const publish = (account: string, text: string): boolean =>
    session.channel.sendToQueue('payments', Buffer.from(text), { headers: { account }, persistent: true });
  for (const [account, text] of [
    ['anna', 'anna 1'],
    ['anna', 'anna 2'],
    ['bert', 'bert 1'],
    ['anna', 'anna 3'],
    ['bert', 'bert 2'],
  ] as const)
    publish(account, text);
  await session.channel.waitForConfirms();
  const left = await Worker.start(session, 'payments', 1);
  await left.has(1);
  const right = await Worker.start(session, 'payments', 1);
  await right.has(1);
  expect([left.texts, right.texts]).toEqual([['anna 1'], ['bert 1']]);
  expect(broker.queue('payments').info()).toMatchObject({ ready: 3, unacked: 2, parked: 1 });
  left.ackNext();
  await left.has(2);
  expect(left.texts).toEqual(['anna 1', 'anna 2']);
  right.ackNext();
  await right.has(2);
  expect(right.texts).toEqual(['bert 1', 'bert 2']);
  right.ackNext();
  left.ackNext();
  await Promise.race([left.has(3), right.has(3)]);
  expect([...left.texts, ...right.texts]).toContain('anna 3');
});

test('messages of a key come back in order when the client that held them is gone', async () => {
  const broker = await startBroker();
  const session = await Session.open(broker);
  await session.queue('q', { arguments: { 'x-ordering-key': 'k' } });
  for (let i = 1; i <= 6; i++) session.channel.sendToQueue('q', Buffer.from(`m${i}`), { headers: { k: 7 } });
  await session.channel.waitForConfirms();
  const crashing = await Session.open(broker);
  const first = await Worker.start(crashing, 'q', 3);
  await first.has(3);
  const second = await Worker.start(session, 'q', 10);
  await crashing.close();
  await second.has(6);
  expect(second.texts).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6']);
});

test('a paused queue delivers nothing, over a restart too, until somebody resumes it', async () => {
  const dataDir = temporaryFolder();
  let broker = await startBroker({ store: 'level', dataDir });
  let session = await Session.open(broker);
  await session.queue('q');
  await session.publish('q', 'a', 'b');
  await broker.queue('q').pause();
  expect(await session.get('q')).toBeNull();
  await session.close();
  await broker.stop();
  broker = await startBroker({ store: 'level', dataDir });
  session = await Session.open(broker);
  const worker = await Worker.start(session, 'q', 10);
  expect(await session.get('q')).toBeNull();
  expect(broker.queues()).toMatchObject([{ name: 'q', ready: 2, unacked: 0, consumers: 1, paused: true }]);
  await broker.queue('q').resume();
  await worker.has(2);
  expect(worker.texts).toEqual(['a', 'b']);
});

test('dead letters are looked at, sorted out and sent back while clients work', async () => {
  const broker = await startBroker();
  const session = await Session.open(broker);
  const { channel } = session;
  await session.queue('work', { deadLetterExchange: '', deadLetterRoutingKey: 'dead' });
  await session.queue('dead');
  await session.queue('hopeless');
  await session.publish('work', 'good 1', 'bad 1', 'good 2');
  for (const message of await session.hold('work', 3)) channel.nack(message, false, false);
  await expect.poll(() => broker.queue('dead').info().ready).toBe(3);

  const page = await broker.queue('dead').peek({ filter: { diedIn: 'work' }, max: 10 });
  expect(page.messages.map(({ payload }) => payload.toString())).toEqual(['good 1', 'bad 1', 'good 2']);
  expect(page.messages[0]!.deaths).toMatchObject([{ queue: 'work', reason: 'rejected', count: 1 }]);
  const bad = page.messages.filter(({ payload }) => payload.toString().startsWith('bad'));
  await broker.queue('dead').move({ ids: bad.map(({ id }) => id) }, { queue: 'hopeless' });

  const redrive = broker.queue('dead').redrive();
  expect(await redrive.finished).toMatchObject({ state: 'finished', moved: 2, left: 0 });
  const back = await session.hold('work', 2);
  expect(back.map(({ content }) => content.toString())).toEqual(['good 1', 'good 2']);
  expect(back[0]!.properties.headers).toEqual({});
  expect(back[0]!.fields).toMatchObject({ exchange: '', routingKey: 'work', redelivered: false });
  expect(await session.texts('hopeless')).toEqual(['bad 1']);
});

test('a redrive keeps to its rate by the clock of the broker', async () => {
  const clock = new FakeClock();
  const broker = await startBroker({ clock });
  const session = await Session.open(broker);
  await session.queue('work', { deadLetterExchange: '', deadLetterRoutingKey: 'dead' });
  await session.queue('dead');
  await session.publish('work', ...Array.from({ length: 10 }, (_, i) => `m${i}`));
  for (const message of await session.hold('work', 10)) session.channel.nack(message, false, false);
  await expect.poll(() => broker.queue('dead').info().ready).toBe(10);
  const redrive = broker.queue('dead').redrive({ messagesPerSecond: 2 });
  await expect.poll(() => redrive.progress.moved).toBe(1);
  for (let second = 1; second <= 3; second++) {
    clock.advance(500);
    await expect.poll(() => redrive.progress.moved).toBe(1 + second);
  }
  redrive.stop();
  expect(await redrive.finished).toMatchObject({ state: 'stopped', moved: 4, left: 6 });
  expect(broker.redrives()).toEqual([redrive]);
});

test('a look at a queue changes nothing for its consumers', async () => {
  const broker = await startBroker();
  const session = await Session.open(broker);
  await session.queue('q');
  await session.publish('q', 'a', 'b');
  await broker.queue('q').peek({ states: ['ready', 'unacked'] });
  expect(await session.drain('q')).toEqual([
    { text: 'a', redelivered: false },
    { text: 'b', redelivered: false },
  ]);
});

test('messages of a stream are shown with their offsets, and stay', async () => {
  const broker = await startBroker();
  const session = await Session.open(broker);
  await session.queue('s', { arguments: { 'x-queue-type': 'stream' } });
  await session.publish('s', 'a', 'b');
  const { messages } = await broker.queue('s').peek();
  expect(messages.map(({ headers }) => headers['x-stream-offset'])).toEqual([0, 1]);
  await expect(broker.queue('s').delete({ ids: [messages[0]!.id] })).rejects.toThrow('stay where they are');
  await expect(broker.queue('none', 'nowhere').peek()).rejects.toThrow("vhost 'nowhere' not found");
});

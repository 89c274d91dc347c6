// How connections end: by the client, by the server, by the network.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { expectReason } from '../../support/checks.ts';
import {
  frame,
  header,
  method,
  openRaw,
  publish,
  type RawClient,
  rawMethod,
} from '../../support/raw-client.ts';
import { rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';
import { WAIT_MS } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });

const CLOSE = method(0, 'connection.close', { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 });
const CLOSE_OK = method(0, 'connection.close-ok');
/** A body frame on a channel that expects a method: a hard error that needs nothing else. */
const OFFENCE = header(1, 0);

rule('1.9.close', 'close is answered with close-ok', async (target) => {
  const client = await target.openWithChannel();
  client.send(CLOSE);
  const { payload } = await client.expectFrame('connection.close-ok', 0);
  expect([...payload]).toEqual([0, 10, 0, 51]);
  client.endWrites();
  await client.closedWithin();
});

rule('1.9.close', 'close is answered before any channel was opened', async (target) => {
  const client = await target.open();
  await client.close();
  await client.closedWithin();
});

rule('1.9.close', 'close is answered in the middle of a message', async (target) => {
  const client = await target.openWithChannel();
  client.send(method(1, 'basic.publish', { exchange: '', routingKey: 'q' }), header(1, 100), CLOSE);
  await client.expect('connection.close-ok', 0);
});

rule('1.9.close', 'frames behind close are ignored', async (target) => {
  const client = await target.openWithChannel();
  client.send(
    CLOSE,
    method(1, 'basic.qos', {}),
    method(2, 'channel.open'),
    publish(1, 'no such exchange', 'q', 'x'),
  );
  await client.expect('connection.close-ok', 0);
  client.endWrites();
  await client.closedWithin();
});

/** Asks for the number of ready messages until it is `count`. */
async function untilReady(client: RawClient, queue: string, count: number): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { messageCount } = await client.call(1, 'queue.declare', { queue, passive: true });
    if (messageCount === count) return;
    if (Date.now() > deadline) expect(messageCount).toBe(count);
  }
}

rule('1.9.close-requeues', 'unacked messages are back at close-ok', async (target) => {
  const queue = target.name('back');
  const keeper = await target.openWithChannel();
  await keeper.call(1, 'queue.declare', { queue });
  const client = await target.openWithChannel();
  await client.openChannel(2);
  for (const text of ['a', 'b', 'c']) client.send(publish(1, '', queue, text));
  await client.get(1, queue, false);
  await client.call(2, 'basic.consume', { queue, consumerTag: 'c' });
  await client.expectContent('basic.deliver', 2);
  await client.expectContent('basic.deliver', 2);
  client.send(CLOSE);
  await client.expect('connection.close-ok', 0);
  // A RabbitMQ has given back by then what consumers held; what was got follows when the queue learns of the channel's end.
  if (target.isRabbitMQ) await untilReady(keeper, queue, 3);
  const seen: string[] = [];
  for (let i = 0; i < 3; i++) {
    const content = await keeper.get(1, queue);
    expect(content.method.fields['redelivered']).toBe(true);
    seen.push(content.body.toString());
  }
  expect(seen).toEqual(['a', 'b', 'c']);
  await keeper.call(1, 'queue.delete', { queue });
});

rule('1.9.close-exclusive', 'the names of exclusive queues are free at close-ok', async (target) => {
  const queue = target.name('mine');
  const other = await target.openWithChannel();
  for (let round = 0; round < 10; round++) {
    const client = await target.openWithChannel();
    await client.call(1, 'queue.declare', { queue, exclusive: true });
    client.send(publish(1, '', queue, 'x'), CLOSE);
    await client.expect('connection.close-ok', 0);
    expect(await other.call(1, 'queue.declare', { queue, exclusive: true })).toMatchObject({
      messageCount: 0,
    });
    await other.call(1, 'queue.delete', { queue });
  }
});

rule(
  '1.9.close-tcp',
  'a client that closed but keeps TCP open is cut off after the heartbeat interval',
  async (target) => {
    const client = await target.open({ heartbeat: 1 });
    client.send(CLOSE);
    await client.expect('connection.close-ok', 0);
    if (target.broker !== null) clock.advance(2_000);
    await client.closedWithin(4_000);
  },
);

rule(
  '1.9.close-tcp',
  'without heartbeats it is cut off after 30 seconds',
  async (target) => {
    const client = await target.open({ heartbeat: 0 });
    client.send(CLOSE);
    await client.expect('connection.close-ok', 0);
    clock.advance(20_000);
    await client.silentFor(30);
    clock.advance(11_000);
    await client.closedWithin();
  },
  { ownOnly: 'takes 30 seconds of real time' },
);

rule('1.9.server-close-ends', 'TCP ends when the client answers the close', async (target) => {
  const client = await target.openWithChannel();
  client.send(OFFENCE);
  await client.expectConnectionClose();
  // Without the answer it would take 30 seconds.
  await client.closedWithin();
});

rule('1.9.server-close-ignores', 'nothing the client sends after the close is looked at', async (target) => {
  const client = await target.openWithChannel();
  client.send(OFFENCE);
  await client.expectConnectionClose(false);
  client.send(
    method(1, 'basic.qos', {}),
    method(2, 'channel.open'),
    method(0, 'channel.open'),
    publish(1, 'no such exchange', 'q', 'x'),
    header(3, 5),
    frame(8, 5, Buffer.alloc(0)),
    method(0, 'connection.open', { virtualHost: '/' }),
  );
  client.send(CLOSE_OK);
  expect(await client.drainedWithin()).toEqual([]);
});

rule('1.9.server-close-ignores', 'work pipelined behind the offence is not done', async (target) => {
  const queue = target.name('never');
  const client = await target.openWithChannel();
  client.send(OFFENCE, method(1, 'queue.declare', { queue, durable: true }), publish(1, '', queue, 'x'));
  await client.expectConnectionClose();
  await client.closedWithin();
  const other = await target.openWithChannel();
  other.sendMethod(1, 'queue.declare', { queue, passive: true });
  expectReason(await other.expectChannelClose(1), { code: 404 });
});

rule('1.9.crossing', 'a close that crosses the server’s is answered', async (target) => {
  const client = await target.openWithChannel();
  client.send(OFFENCE);
  await client.expectConnectionClose(false);
  client.send(CLOSE);
  await client.expect('connection.close-ok', 0);
  client.send(CLOSE_OK);
  await client.closedWithin();
});

/** What a lost connection held: all of it must be back. */
async function expectGivenBack(target: Target, reset: boolean): Promise<void> {
  const [shared, mine] = [target.name('shared'), target.name('mine')];
  const keeper = await target.openWithChannel();
  await keeper.call(1, 'queue.declare', { queue: shared });
  const client = await target.openWithChannel();
  await client.call(1, 'queue.declare', { queue: mine, exclusive: true });
  client.send(publish(1, '', shared, 'x'));
  await client.get(1, shared, false);
  await keeper.call(1, 'basic.consume', { queue: shared, consumerTag: 'c', noAck: true });
  client.destroy(reset);
  // The delivery is the event that tells when the broker has noticed.
  const content = await keeper.expectContent('basic.deliver', 1);
  expect([content.body.toString(), content.method.fields['redelivered']]).toEqual(['x', true]);
  await keeper.call(1, 'basic.cancel', { consumerTag: 'c' });
  await keeper.call(1, 'queue.delete', { queue: shared });
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    keeper.sendMethod(1, 'queue.declare', { queue: mine, passive: true });
    const reason = await keeper.expectChannelClose(1);
    await keeper.openChannel(1);
    if (reason.code === 404) break;
    // The queue goes with its connection, perhaps soon after the messages went back.
    expectReason(reason, { code: 405 });
    expect(Date.now(), 'time when the queue is still there').toBeLessThan(deadline);
  }
}

rule('1.9.lost', 'a connection that ends without a word gives everything back', (target) =>
  expectGivenBack(target, false),
);

rule('1.9.lost-reset', 'a connection that is reset gives everything back', (target) =>
  expectGivenBack(target, true),
);

rule(
  '1.9.shutdown',
  'a stopping broker says so to every client',
  async (target) => {
    const broker = await startOwnBroker();
    const clients = [await openRaw(broker.url), await openRaw(broker.url)];
    for (const client of clients) target.keep(client);
    const stopped = broker.stop();
    for (const client of clients) {
      expectReason(await client.expectConnectionClose(), {
        code: 320,
        text: "broker forced connection closure with reason 'shutdown'",
        method: [0, 0],
      });
      await client.closedWithin();
    }
    await stopped;
  },
  { ownOnly: 'stops the broker' },
);

rule('0.hard', 'a hard error on one channel ends all of them', async (target) => {
  const client = await target.openWithChannel();
  await client.openChannel(2);
  client.send(rawMethod(2, 20, 20, Buffer.from([0])));
  expectReason(await client.expectConnectionClose(), { code: 540, text: 'active=false', method: [20, 20] });
  client.send(method(1, 'basic.qos', {}));
  expect(await client.drainedWithin()).toEqual([]);
});

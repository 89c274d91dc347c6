// connection.open, what may be sent behind it without waiting, and how a conversation may be cut into segments.
import { expect } from 'vitest';
import { expectHardError, expectReason } from '../../support/checks.ts';
import {
  connectRaw,
  type Fields,
  method,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  publish,
  type RawClient,
  startOk,
} from '../../support/raw-client.ts';
import { rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';

useTarget();

async function opening(target: Target, open: Fields, ...behind: readonly Buffer[]): Promise<RawClient> {
  const { user, password } = parseUrl(target.url);
  const client = await target.connect();
  await client.authenticate(user, password);
  return client.send(
    method(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 }),
    method(0, 'connection.open', open),
    ...behind,
  );
}

rule('1.2.pipelined-open', 'tune-ok and open in one segment', async (target) => {
  const client = await opening(target, { virtualHost: parseUrl(target.url).vhost });
  await client.expect('connection.open-ok', 0);
});

rule('1.2.reserved', 'insist and the reserved string of open are ignored', async (target) => {
  const client = await opening(target, {
    virtualHost: parseUrl(target.url).vhost,
    capabilities: 'anything',
    insist: true,
  });
  const { payload } = await client.expectFrame('connection.open-ok', 0);
  expect([...payload]).toEqual([0, 10, 0, 41, 0]);
});

rule('1.2.vhost-literal', 'the vhost is not decoded like a part of a URL', async (target) => {
  const client = await opening(target, { virtualHost: '%2F' });
  await expectHardError(client, { code: 530, text: 'vhost %2F not found', method: [10, 40] });
});

for (const vhost of ['no such vhost', '', 'ünïcode', '__proto__', 'x'.repeat(200)]) {
  rule('1.6.vhost-missing', `the vhost '${vhost.slice(0, 20)}' does not exist`, async (target) => {
    const client = await opening(target, { virtualHost: vhost });
    await expectHardError(client, { code: 530, text: `vhost ${vhost} not found`, method: [10, 40] });
  });
}

rule(
  '1.6.node-limit',
  'one connection more than the node allows is refused',
  async (target) => {
    const broker = await startOwnBroker({ connectionMax: 2 });
    try {
      const { host, port } = parseUrl(broker.url);
      const url = `amqp://guest:guest@${host}:${port}`;
      const first = target.keep(await connectRaw(url));
      const second = target.keep(await connectRaw(url));
      for (const client of [first, second]) {
        await client.authenticate('guest', 'guest');
        await client.openVhost('/');
      }
      const third = target.keep(await connectRaw(url));
      await third.authenticate('guest', 'guest');
      third.send(
        method(0, 'connection.tune-ok', { ...third.tune, heartbeat: 0 }),
        method(0, 'connection.open', { virtualHost: '/' }),
      );
      expectReason(await third.expectConnectionClose(), {
        code: 530,
        text: 'connection refused: node connection limit (2) is reached',
        method: [10, 40],
      });
      await first.close();
      await first.closedWithin();
      const next = target.keep(await connectRaw(url));
      await next.authenticate('guest', 'guest');
      await next.openVhost('/');
    } finally {
      target.dropClients();
      await broker.stop();
    }
  },
  { ownOnly: 'the limit is a setting of the broker' },
);

/** What a client in a hurry sends behind open: enough to see the order in the answers. */
function hurry(queue: string): Buffer {
  return Buffer.concat([
    method(1, 'channel.open'),
    method(1, 'queue.declare', { queue, exclusive: true }),
    publish(1, '', queue, 'first', { messageId: 'a' }),
    publish(1, '', queue, ''),
    publish(1, '', queue, 'third'),
    method(2, 'channel.open'),
    method(1, 'basic.get', { queue, noAck: true }),
    method(1, 'basic.get', { queue, noAck: true }),
    method(1, 'queue.purge', { queue }),
    method(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 }),
  ]);
}

/** Everything that must come back for `hurry`. */
async function expectHurried(client: RawClient, queue: string): Promise<void> {
  await client.expect('connection.open-ok', 0);
  // Channels are independent, so channel 2 may answer at any time.
  let secondOpened = false;
  const onFirst = async (name: string): Promise<Fields> => {
    for (;;) {
      const next = await client.next();
      if (next.channel === 2 && !secondOpened) {
        expect(next.name).toBe('channel.open-ok');
        secondOpened = true;
        continue;
      }
      expect([next.channel, next.name]).toEqual([1, name]);
      return name === 'body' ? { payload: next.payload.toString() } : next.fields;
    }
  };
  await onFirst('channel.open-ok');
  expect(await onFirst('queue.declare-ok')).toEqual({ queue, messageCount: 0, consumerCount: 0 });
  expect(await onFirst('basic.get-ok')).toMatchObject({ deliveryTag: 1, messageCount: 2 });
  expect(await onFirst('header')).toMatchObject({ messageId: 'a' });
  expect(await onFirst('body')).toEqual({ payload: 'first' });
  expect(await onFirst('basic.get-ok')).toMatchObject({ deliveryTag: 2, messageCount: 1 });
  await onFirst('header');
  expect(await onFirst('queue.purge-ok')).toEqual({ messageCount: 1 });
  await onFirst('channel.close-ok');
  if (!secondOpened) await client.expect('channel.open-ok', 2);
  await client.close();
}

rule('1.2.pipelined-all', 'channels, declares and publishes may be sent behind open', async (target) => {
  const queue = target.name('hurry');
  const client = await opening(target, { virtualHost: parseUrl(target.url).vhost }, hurry(queue));
  await expectHurried(client, queue);
});

/** A whole conversation from the header on. */
function wholeConversation(target: Target, queue: string): Buffer {
  const { user, password, vhost } = parseUrl(target.url);
  return Buffer.concat([
    PROTOCOL_HEADER,
    startOk(plainResponse(user, password), 'PLAIN', {}),
    method(0, 'connection.tune-ok', { channelMax: 2047, frameMax: 131072, heartbeat: 0 }),
    method(0, 'connection.open', { virtualHost: vhost }),
    hurry(queue),
  ]);
}

async function expectWholeConversation(client: RawClient, queue: string): Promise<void> {
  await client.expect('connection.start', 0);
  await client.expect('connection.tune', 0);
  await expectHurried(client, queue);
}

rule('1.2.pipelined-from-header', 'a client that never waits is served all the same', async (target) => {
  const queue = target.name('never-waits');
  const client = await target.connect();
  client.send(wholeConversation(target, queue));
  await expectWholeConversation(client, queue);
});

rule(
  '1.2.any-split',
  'a conversation cut in two at each of its bytes',
  async (target) => {
    const length = wholeConversation(target, target.name('split')).length;
    const cuts = Array.from({ length: length - 1 }, (_, i) => i + 1);
    // Several at a time: each is mostly waiting.
    const lanes = Array.from({ length: 8 }, async () => {
      for (let cut = cuts.shift(); cut !== undefined; cut = cuts.shift()) {
        const queue = target.name('split');
        const bytes = wholeConversation(target, queue);
        const client = await connectRaw(target.url);
        try {
          await client.sendSplit(bytes, Math.min(cut, bytes.length - 1));
          await expectWholeConversation(client, queue);
        } catch (error) {
          throw new Error(`cut at byte ${cut}: ${(error as Error).message}`);
        } finally {
          client.destroy();
        }
      }
    });
    await Promise.all(lanes);
  },
  { timeoutMs: 120_000 },
);

rule('1.2.one-byte-segments', 'a conversation that arrives byte by byte', async (target) => {
  const queue = target.name('bytes');
  const bytes = wholeConversation(target, queue);
  const client = await target.connect();
  const sending = client.sendSplit(bytes, ...Array.from({ length: bytes.length - 1 }, (_, i) => i + 1));
  await expectWholeConversation(client, queue);
  await sending;
});

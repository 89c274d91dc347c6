// Limits of vhosts, users and the node: who is refused, with which words, and when there is room again.
import { expect } from 'vitest';
import { DEFAULTS } from '../../../src/index.ts';
import { expectChannelRefused, expectReason } from '../../support/checks.ts';
import { useOperator } from '../../support/operator.ts';
import {
  closeReason,
  connectRaw,
  type Fields,
  method,
  openRaw,
  parseUrl,
  type RawClient,
} from '../../support/raw-client.ts';
import { uniqueName } from '../../support/scene.ts';
import { rule, startOwnBroker, type Target } from '../../support/target.ts';
import { WAIT_MS } from '../../support/waiting.ts';

const operator = useOperator();
const OPEN: readonly [number, number] = [10, 40];
/** No method is to blame. */
const NONE: readonly [number, number] = [0, 0];

const vhostLimit = (limit: number): string =>
  `access to vhost '${operator.vhost}' refused for user '${operator.user}': connection limit (${limit}) is reached`;
const userLimit = (limit: number): string =>
  `connection refused for user '${operator.user}': user connection limit (${limit}) is reached`;

/** A connection up to connection.open, which is sent. */
async function knock(target: Target, vhost = operator.vhost): Promise<RawClient> {
  const { user, password } = parseUrl(operator.url);
  const client = target.keep(await connectRaw(operator.url));
  await client.authenticate(user, password);
  const fields: Fields = { virtualHost: vhost };
  return client.send(
    method(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 }),
    method(0, 'connection.open', fields),
  );
}

/** An open connection to the operator's vhost. */
async function enter(target: Target): Promise<RawClient> {
  return target.keep(await openRaw(operator.url));
}

/** A further connection must be refused so. */
async function refused(target: Target, text: string, vhost?: string): Promise<void> {
  const early: RawClient[] = [];
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    const client = await knock(target, vhost);
    const reply = await client.next();
    if (reply.name === 'connection.close') {
      client.sendMethod(0, 'connection.close-ok');
      expectReason(closeReason(reply.fields), { code: 530, text, method: OPEN });
      break;
    }
    // A RabbitMQ counts who has entered a little later.
    expect([reply.name, target.isRabbitMQ && Date.now() < deadline]).toEqual(['connection.open-ok', true]);
    early.push(client);
  }
  for (const client of early) await client.close();
}

/** Tries until there is room for a connection and that many channels: RabbitMQ counts those who leave a little later. */
async function entersAgain(target: Target, channels = 0): Promise<RawClient> {
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    let client: RawClient | null = null;
    try {
      client = await enter(target);
      for (let number = 1; number <= channels; number++) await client.openChannel(number);
      return client;
    } catch (error) {
      client?.destroy();
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

rule('1.6.vhost-limit', 'the second connection', async (target) => {
  await operator.setVhostLimits({ 'max-connections': 1 });
  const first = await entersAgain(target);
  await refused(target, vhostLimit(1));
  await first.close();
  await entersAgain(target);
});

rule('1.6.user-limit', 'the second connection', async (target) => {
  await operator.setUserLimits({ 'max-connections': 1 });
  const first = await entersAgain(target);
  await refused(target, userLimit(1));
  await first.close();
  await entersAgain(target);
});

rule('1.6.limits-order', 'vhost, user, permission', async (target) => {
  await operator.setUserLimits({ 'max-connections': 0 });
  await operator.setVhostLimits({ 'max-connections': 0 });
  await refused(target, vhostLimit(0));
  await operator.liftVhostLimits();
  await refused(target, userLimit(0));
  // A vhost that the user may not use.
  await refused(target, userLimit(0), '/');
  await operator.setUserLimits({ 'max-connections': -1 });
  await refused(target, `access to vhost '/' refused for user '${operator.user}'`, '/');
});

/** The third channel of a user who may have two. */
async function thirdChannel(target: Target, limit: string): Promise<void> {
  await operator.setUserLimits({ 'max-channels': 2 });
  const first = await enter(target);
  const second = await enter(target);
  await first.openChannel(1);
  await second.openChannel(1);
  expectReason(await expectChannelRefused(target, first, 2), {
    code: 530,
    text: `number of channels opened for user '${operator.user}' has reached the maximum allowed user limit of ${limit}`,
    method: NONE,
  });
  await first.closedWithin();
}

rule('1.13.user-limit', 'channels of two connections', (target) => thirdChannel(target, '2'), {
  onRabbitMQ: (target) => thirdChannel(target, '(2)'),
});

rule(
  '4.2.exchange-limit',
  'one more than the node may have',
  async (target) => {
    const broker = await startOwnBroker({ exchangeMax: 8 });
    try {
      const client = target.keep(await openRaw(broker.url));
      await client.openChannel(1);
      await client.call(1, 'exchange.declare', { exchange: 'a', type: 'direct' });
      await client.call(1, 'exchange.declare', { exchange: 'a', type: 'direct' });
      client.sendMethod(1, 'exchange.declare', { exchange: 'b', type: 'direct' });
      expectReason(await client.expectChannelClose(1), {
        code: 406,
        text: "cannot declare exchange 'b' in vhost '/': exchange limit of 8 is reached",
        method: [40, 10],
      });
    } finally {
      target.dropClients();
      await broker.stop();
    }
  },
  { ownOnly: 'the limit is a setting of the broker' },
);

rule('5.4.vhost-queue-limit', 'the second queue', async () => {
  await operator.setVhostLimits({ 'max-queues': 1 });
  const scene = await operator.scene();
  const { channel } = scene;
  const queue = await scene.queue();
  await channel.call('queue.declare', { queue });
  const more = uniqueName('more');
  await channel.refused(() => channel.call('queue.declare', { queue: more }), {
    code: 406,
    text: `cannot declare queue '${more}': queue limit in vhost '${operator.vhost}' (1) is reached`,
    method: 'queue.declare',
  });
  const other = await scene.newChannel();
  await other.call('queue.delete', { queue });
  await other.call('queue.declare', { queue: more });
  await other.call('queue.delete', { queue: more });
});

rule('12.2.zero', 'connections, channels and queues', async (target) => {
  const client = await enter(target);
  await client.openChannel(1);
  await operator.setVhostLimits({ 'max-connections': 0, 'max-queues': 0 });
  await refused(target, vhostLimit(0));
  client.sendMethod(1, 'queue.declare', { queue: 'none' });
  expectReason(await client.expectChannelClose(1), {
    code: 406,
    text: `cannot declare queue 'none': queue limit in vhost '${operator.vhost}' (0) is reached`,
  });
  await operator.setUserLimits({ 'max-channels': 0 });
  client.sendMethod(2, 'channel.open');
  expectReason(await client.expectConnectionClose(), {
    code: 530,
    text: /has reached the maximum allowed user limit of \(?0\)?$/,
  });
});

rule('12.2.negative', 'connections, channels and queues', async (target) => {
  await operator.setVhostLimits({ 'max-connections': -1, 'max-queues': -5 });
  await operator.setUserLimits({ 'max-connections': -1, 'max-channels': -1 });
  for (let i = 0; i < 3; i++) {
    const client = await enter(target);
    await client.openChannel(1);
    await client.call(1, 'queue.declare', { queue: uniqueName('any'), exclusive: true });
  }
});

rule('12.2.counts', 'closed, cut off, refused for an error', async (target) => {
  await operator.setVhostLimits({ 'max-connections': 1 });
  await operator.setUserLimits({ 'max-connections': 1, 'max-channels': 2 });
  const ends: ((client: RawClient) => Promise<void>)[] = [
    (client) => client.close(),
    async (client) => client.destroy(),
    async (client) => client.destroy(true),
    async (client) => {
      // A frame that nobody may send.
      client.sendMethod(1, 'channel.open');
      await client.expectConnectionClose();
      client.destroy();
    },
  ];
  for (const end of ends) {
    await end(await entersAgain(target, 2));
  }
  await entersAgain(target, 2);
});

rule('12.2.validation', 'unknown ones and wrong types, of vhosts and users', async () => {
  const vhost = (limits: Record<string, number | string>): Promise<string> =>
    operator.refusal(() => operator.setVhostLimits(limits));
  const user = (limits: Record<string, number | string>): Promise<string> =>
    operator.refusal(() => operator.setUserLimits(limits));
  expect(await vhost({ foo: 1 })).toBe('Unrecognised terms [{<<"foo">>,1}] in limits');
  expect(await vhost({ 'max-queues': 'x' })).toBe('max-queues should be a number, actually was <<"x">>');
  expect(await user({ foo: 1 })).toBe('Unrecognised terms [{<<"foo">>,1}] in user-limits');
  expect(await user({ 'max-channels': 'x' })).toBe('max-channels should be a number, actually was <<"x">>');
});

rule(
  '12.2.vhosts',
  'the start with one too many fails',
  async () => {
    await expect(startOwnBroker({ vhostMax: 2, vhosts: ['a', 'b'] })).rejects.toThrow(
      "cannot create vhost 'b': vhost limit of 2 is reached",
    );
  },
  { ownOnly: 'the limit is a setting of the broker' },
);

rule(
  '14.defaults',
  'as they are set when nobody says otherwise',
  () => {
    expect(DEFAULTS).toMatchObject({
      memoryHighWatermark: 0.6,
      diskFreeLimitBytes: 50_000_000,
      maxMessageSize: 16_777_216,
      channelMax: 2047,
      frameMax: 131_072,
      heartbeat: 60,
      handshakeTimeoutMs: 10_000,
      consumerTimeoutMs: 1_800_000,
      connectionMax: null,
      channelMaxPerNode: null,
      consumerMaxPerChannel: null,
      queueMax: null,
      exchangeMax: null,
      vhostMax: null,
    });
  },
  { ownOnly: 'settings cannot be asked for over the wire' },
);

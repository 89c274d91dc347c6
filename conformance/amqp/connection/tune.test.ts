// Negotiation of limits, and what may arrive before they are agreed on.
import { expect } from 'vitest';
import { together } from '../../support/checks.ts';
import {
  CLIENT_CAPABILITIES,
  type Fields,
  method,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  type RawClient,
  startOk,
} from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget({ authFailureDelayMs: 20 });

async function tuned(target: Target): Promise<RawClient> {
  const { user, password } = parseUrl(target.url);
  const client = await target.connect();
  await client.authenticate(user, password);
  return client;
}

async function expectRefusedSilently(target: Target, tuneOk: Fields): Promise<void> {
  const client = await tuned(target);
  client.send(
    method(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0, ...tuneOk }),
    method(0, 'connection.open', { virtualHost: parseUrl(target.url).vhost }),
  );
  await client.closedWithin(6_000);
}

rule('1.5.proposal', 'the server proposes its limits', async (target) => {
  const client = await tuned(target);
  expect(client.tune).toEqual({ channelMax: 2047, frameMax: 131072, heartbeat: 60 });
});

rule('1.5.lower', 'a client may ask for less', async (target) => {
  for (const limits of [
    { channelMax: 1 },
    { channelMax: 2046 },
    { frameMax: 8192 },
    { frameMax: 131071 },
    { channelMax: 1, frameMax: 8192, heartbeat: 1 },
  ]) {
    const client = await target.openWithChannel(limits);
    await client.close();
  }
});

rule(
  '1.5.frame-max-4096',
  'old clients that propose 4096 bytes get in',
  async (target) => {
    const client = await target.openWithChannel({ frameMax: 4096 });
    await client.close();
  },
  { onRabbitMQ: (target) => expectRefusedSilently(target, { frameMax: 4096 }) },
);

rule('1.5.frame-max-low', 'a frame_max that is too small is refused silently', (target) =>
  together({ zero: 0, one: 1, 'one below the minimum': 4095 }, (frameMax) =>
    expectRefusedSilently(target, { frameMax }),
  ),
);

rule('1.5.frame-max-high', 'a frame_max above the proposal is refused silently', (target) =>
  together({ 'one above': 131073, largest: 0xffff_ffff }, (frameMax) =>
    expectRefusedSilently(target, { frameMax }),
  ),
);

rule('1.5.channel-max-bad', 'a channel_max of 0 or above the proposal is refused silently', (target) =>
  together({ 'no limit': 0, 'one above': 2048, largest: 65535 }, (channelMax) =>
    expectRefusedSilently(target, { channelMax }),
  ),
);

rule('1.5.heartbeat-any', 'any heartbeat interval is accepted', async (target) => {
  for (const heartbeat of [0, 1, 59, 60, 61, 580, 65535]) {
    const client = await target.openWithChannel({ heartbeat });
    await client.close();
  }
});

function startOkWithToken(target: Target, length: number): Buffer {
  const { user, password } = parseUrl(target.url);
  const clientProperties = { capabilities: CLIENT_CAPABILITIES, token: 't'.repeat(length) };
  return startOk(plainResponse(user, password), 'PLAIN', clientProperties);
}

async function sendStartOk(target: Target, startOkBytes: Buffer): Promise<RawClient> {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start', 0);
  return client.send(startOkBytes);
}

rule(
  '1.5.initial-frame',
  'a start-ok of up to 8192 bytes is accepted',
  async (target) => {
    for (const length of [4_096, 5_000, 7_800]) {
      const client = await sendStartOk(target, startOkWithToken(target, length));
      await client.expect('connection.tune', 0);
    }
  },
  {
    onRabbitMQ: async (target) => {
      const client = await sendStartOk(target, startOkWithToken(target, 4_096));
      await client.closedWithin(6_000);
    },
  },
);

rule('1.5.initial-frame-limit', 'a larger frame before tune-ok is refused silently', (target) =>
  together(
    { 'just above': 8_200, 'far above': 16_000, 'several times the limit': 60_000 },
    async (length) => {
      const client = await sendStartOk(target, startOkWithToken(target, length));
      await client.closedWithin(6_000);
    },
  ),
);

rule(
  '1.5.initial-frame-limit',
  'a frame is refused by its announced size, before its bytes arrive',
  async (target) => {
    const client = await target.connect();
    client.send(PROTOCOL_HEADER);
    await client.expect('connection.start', 0);
    client.send(Buffer.from([1, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    await client.closedWithin(6_000);
  },
);

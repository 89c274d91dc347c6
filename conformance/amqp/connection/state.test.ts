// Methods and frames that come at the wrong time, before and after the connection is open.
import { expectFramingError, expectHardError, together } from '../../support/checks.ts';
import {
  body,
  frame,
  header,
  heartbeat,
  method,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  publish,
  type RawClient,
  rawMethod,
  startOk,
} from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget({ authFailureDelayMs: 20 });

const CLOSE = method(0, 'connection.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
const OPEN = method(0, 'connection.open', { virtualHost: '/' });
const SILENT_MS = 6_000;

async function starting(target: Target): Promise<RawClient> {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start', 0);
  return client;
}

async function tuning(target: Target): Promise<RawClient> {
  const { user, password } = parseUrl(target.url);
  const client = await target.connect();
  await client.authenticate(user, password);
  return client;
}

async function openingState(target: Target): Promise<RawClient> {
  const client = await tuning(target);
  return client.sendMethod(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 });
}

rule('1.8.silent', 'wrong input while the login is awaited ends in a silent close', (target) =>
  together(
    {
      'tune-ok': method(0, 'connection.tune-ok', { channelMax: 1, frameMax: 8192, heartbeat: 0 }),
      open: OPEN,
      close: CLOSE,
      'close-ok': method(0, 'connection.close-ok'),
      'secure-ok': method(0, 'connection.secure-ok', { response: Buffer.from('x') }),
      'channel.open on channel 0': method(0, 'channel.open'),
      'header frame': header(0, 0),
      'body frame': body(0, 'x'),
      'unknown frame type': frame(77, 0, Buffer.from('x')),
      'wrong end byte': frame(1, 0, Buffer.from([0, 10, 0, 11]), 0),
      'start-ok cut off': rawMethod(0, 10, 11, Buffer.from([0, 0])),
    },
    async (bytes) => {
      const client = await starting(target);
      client.send(bytes);
      await client.closedWithin(SILENT_MS);
    },
  ),
);

rule('1.8.silent', 'wrong input while tune-ok is awaited ends in a silent close', (target) =>
  together(
    {
      'open before tune-ok': OPEN,
      'start-ok again': startOk(plainResponse('guest', 'guest')),
      close: CLOSE,
      'secure-ok': method(0, 'connection.secure-ok', { response: Buffer.from('x') }),
      'queue.declare on channel 0': method(0, 'queue.declare', { queue: 'q' }),
      'wrong end byte': frame(1, 0, Buffer.from([0, 10, 0, 31]), 0),
    },
    async (bytes) => {
      const client = await tuning(target);
      client.send(bytes);
      await client.closedWithin(SILENT_MS);
    },
  ),
);

rule('1.8.channel-early', 'a channel cannot be used before the login', (target) =>
  together(
    { 'channel.open': method(1, 'channel.open'), publish: publish(9, '', 'q', 'x'), body: body(1, 'x') },
    async (bytes, name) => {
      const client = name === 'publish' ? await tuning(target) : await starting(target);
      client.send(bytes);
      await client.closedWithin(SILENT_MS);
    },
  ),
);

for (const [name, bytes, ids] of [
  [
    'tune-ok again',
    method(0, 'connection.tune-ok', { channelMax: 1, frameMax: 8192, heartbeat: 0 }),
    [10, 31],
  ],
  ['connection.close', CLOSE, [10, 50]],
  ['channel.open on channel 0', method(0, 'channel.open'), [20, 10]],
  [
    'update-secret',
    method(0, 'connection.update-secret', { newSecret: Buffer.from('x'), reason: '' }),
    [10, 70],
  ],
  ['queue.declare on channel 0', method(0, 'queue.declare', { queue: 'q' }), [50, 10]],
] as const) {
  rule('1.8.opening', `${name} instead of open is refused`, async (target) => {
    const client = await openingState(target);
    client.send(bytes);
    await expectHardError(client, {
      code: 504,
      text: 'unexpected method in connection state opening',
      method: ids,
    });
  });
}

rule('1.8.opening-channel', 'a channel cannot be used before open', async (target) => {
  const client = await openingState(target);
  client.sendMethod(1, 'channel.open');
  await expectHardError(client, { code: 505 });
});

rule('1.8.opening-framing', 'a broken frame before open is named', async (target) => {
  const client = await openingState(target);
  client.send(frame(1, 0, Buffer.from([0, 10, 0, 40, 1]), 7));
  await expectFramingError(client, {
    code: 501,
    text: /^FRAME_ERROR - type 1, all octets = <<.*>>: \{invalid_frame_end_marker,7\}$/,
    method: [0, 0],
  });
});

rule('1.7.ignored', 'heartbeats are accepted at every step of the handshake', async (target) => {
  const { user, password, vhost } = parseUrl(target.url);
  const client = await starting(target);
  client.send(heartbeat(), startOk(plainResponse(user, password)));
  const tune = await client.expect('connection.tune', 0);
  client.send(heartbeat(), method(0, 'connection.tune-ok', tune), heartbeat());
  client.send(method(0, 'connection.open', { virtualHost: vhost }), heartbeat());
  await client.expect('connection.open-ok', 0);
  await client.openChannel(1);
});

for (const [name, bytes, ids] of [
  ['start-ok', startOk(plainResponse('guest', 'guest')), [10, 11]],
  ['secure-ok', method(0, 'connection.secure-ok', { response: Buffer.from('x') }), [10, 21]],
  ['tune-ok', method(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 }), [10, 31]],
  ['open', OPEN, [10, 40]],
  ['open-ok', method(0, 'connection.open-ok'), [10, 41]],
  ['close-ok', method(0, 'connection.close-ok'), [10, 51]],
  ['blocked', method(0, 'connection.blocked', { reason: 'x' }), [10, 60]],
  ['unblocked', method(0, 'connection.unblocked'), [10, 61]],
  ['update-secret-ok', method(0, 'connection.update-secret-ok'), [10, 71]],
  ['channel.open', method(0, 'channel.open'), [20, 10]],
  [
    'channel.close',
    method(0, 'channel.close', { replyCode: 0, replyText: '', classId: 0, methodId: 0 }),
    [20, 40],
  ],
  ['queue.declare', method(0, 'queue.declare', { queue: 'q' }), [50, 10]],
  ['basic.publish', publish(0, '', 'q', 'x'), [60, 40]],
  ['confirm.select', method(0, 'confirm.select'), [85, 10]],
  ['tx.select', method(0, 'tx.select'), [90, 10]],
] as const) {
  rule('1.8.running', `${name} on channel 0 of an open connection is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.send(bytes);
    await expectHardError(client, {
      code: 504,
      text: 'unexpected method in connection state running',
      method: ids,
    });
  });
}

// The first eight bytes of a connection.
import { expect } from 'vitest';
import { expectServes } from '../../support/checks.ts';
import { PROTOCOL_HEADER } from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget({ handshakeTimeoutMs: 150, authFailureDelayMs: 0 });

/** `AMQP` and four version octets. */
function amqp(...version: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from('AMQP'), Buffer.from(version)]);
}

const AMQP_1_0_ANSWER = amqp(3, 1, 0, 0);

async function expectRefused(target: Target, header: Buffer, answer: Buffer): Promise<void> {
  const client = (await target.connect()).rawBytes();
  client.send(header);
  expect(await client.readBytes(8)).toEqual(answer);
  await client.closedWithin();
  expect(client.bytesRead).toBe(8);
}

rule('1.1.header', 'the header of 0-9-1 is answered with connection.start', async (target) => {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start', 0);
});

rule('1.1.old-header', 'the old form of the header opens the same conversation', async (target) => {
  const client = await target.connect();
  client.send(amqp(1, 1, 0, 9));
  const start = await client.expect('connection.start', 0);
  expect([start['versionMajor'], start['versionMinor']]).toEqual([0, 9]);
});

for (const version of [
  [1, 1, 8, 0],
  [1, 1, 9, 1],
]) {
  rule(
    '1.1.legacy-header',
    `AMQP ${version.join(' ')} is told which version to speak`,
    (target) => expectRefused(target, amqp(...version), PROTOCOL_HEADER),
    {
      onRabbitMQ: async (target) => {
        if (!target.isRabbitMQBelow('4.0')) return expectRefused(target, amqp(...version), AMQP_1_0_ANSWER);
        const client = (await target.connect()).rawBytes();
        client.send(amqp(...version));
        const start = await client.readBytes(13);
        expect(start[0]).toBe(1);
        expect([...start.subarray(7)]).toEqual([0, 10, 0, 10, 8, 0]);
      },
    },
  );
}

for (const version of [
  [0, 0, 9, 0],
  [0, 0, 9, 2],
  [0, 0, 10, 0],
  [0, 0, 255, 255],
]) {
  rule('1.1.later-header', `AMQP ${version.join(' ')} is told which version to speak`, (target) =>
    expectRefused(target, amqp(...version), PROTOCOL_HEADER),
  );
}

for (const version of [
  [0, 1, 0, 0],
  [2, 1, 0, 0],
  [3, 1, 0, 0],
]) {
  rule(
    '1.1.amqp-1.0-header',
    `AMQP ${version.join(' ')} is told which version to speak`,
    (target) => expectRefused(target, amqp(...version), PROTOCOL_HEADER),
    {
      onRabbitMQ: async (target) => {
        const client = (await target.connect()).rawBytes();
        client.send(amqp(...version));
        expect(await client.readBytes(8)).toEqual(AMQP_1_0_ANSWER);
      },
    },
  );
}

const JUNK: Readonly<Record<string, Buffer>> = {
  'an HTTP request': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  'a TLS hello on the plain port': Buffer.from([0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3, 0]),
  'lower-case amqp': Buffer.from('amqp\x00\x00\x09\x01', 'latin1'),
  'a frame without a header': Buffer.from([1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 11, 0xce]),
  'eight zero bytes': Buffer.alloc(8),
  'text that begins like a header': Buffer.from('AMQPAMQP'),
};

for (const [name, bytes] of Object.entries(JUNK)) {
  rule(
    '1.1.junk',
    `${name} is answered with the header of 0-9-1`,
    (target) => expectRefused(target, bytes, PROTOCOL_HEADER),
    { onRabbitMQ: (target) => expectRefused(target, bytes, AMQP_1_0_ANSWER) },
  );
}

rule('1.1.split-header', 'the header may arrive byte by byte', async (target) => {
  const client = await target.connect();
  await client.sendSplit(PROTOCOL_HEADER, 1, 2, 3, 4, 5, 6, 7);
  await client.expect('connection.start', 0);
});

rule('1.1.split-header', 'a wrong header byte by byte is refused all the same', async (target) => {
  const client = (await target.connect()).rawBytes();
  await client.sendSplit(amqp(0, 0, 9, 9), 1, 2, 3, 4, 5, 6, 7);
  expect(await client.readBytes(8)).toEqual(PROTOCOL_HEADER);
  await client.closedWithin();
});

rule(
  '1.1.health-check',
  'a connection that ends without a byte is taken for a health check',
  async (target) => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('A'), PROTOCOL_HEADER.subarray(0, 7)]) {
      const client = await target.connect();
      client.send(bytes).endWrites();
      await client.closedWithin();
      expect(client.bytesRead).toBe(0);
    }
    await expectServes(target);
  },
);

rule('1.1.health-check', 'a connection that is reset at once disturbs nobody', async (target) => {
  for (let i = 0; i < 20; i++) (await target.connect()).destroy(true);
  await expectServes(target);
});

rule(
  '1.1.handshake-timeout',
  'whoever does not finish the handshake in time is dropped without a word',
  async (target) => {
    const limitMs = target.broker === null ? 15_000 : 2_000;
    const silent = await target.connect();
    const half = (await target.connect()).send(PROTOCOL_HEADER.subarray(0, 5));
    const started = (await target.connect()).send(PROTOCOL_HEADER);
    const tuned = await target.connect();
    await started.expect('connection.start', 0);
    await tuned.authenticate('guest', 'guest');
    await Promise.all([silent, half, started, tuned].map((client) => client.closedWithin(limitMs)));
  },
  { slowOnForeign: true },
);

rule('1.1.handshake-timeout', 'a connection that opened in time lives on', async (target) => {
  const client = await target.openWithChannel();
  // Long enough to pass the limit of this file's broker.
  if (target.broker !== null) await client.silentFor(300);
  await client.expectQuiet(1);
});

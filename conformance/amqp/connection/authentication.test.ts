// Mechanisms, good and bad logins, and the delay that makes guessing slow.
import { networkInterfaces } from 'node:os';
import { expect } from 'vitest';
import { expectReason, expectServes, together } from '../../support/checks.ts';
import {
  CLIENT_CAPABILITIES,
  connectRaw,
  type Fields,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  type RawClient,
  startOk,
} from '../../support/raw-client.ts';
import { rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';
import { encodeTable, entry, long, longstr } from '../../support/typed-table.ts';

const OUR_DELAY_MS = 40;
useTarget({ authFailureDelayMs: OUR_DELAY_MS, anonymousUser: 'guest' });

/** RabbitMQ's delay is 3 s and not configurable. */
function delayMs(target: Target): number {
  return target.broker === null ? 3_000 : OUR_DELAY_MS;
}

/** The body of a table without its length, as AMQPLAIN sends it. */
function amqplain(...entries: Parameters<typeof encodeTable>[0]): Buffer {
  return encodeTable(entries).subarray(4);
}

async function started(target: Target): Promise<RawClient> {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start', 0);
  return client;
}

async function expectAccepted(target: Target, mechanism: string, response: Buffer): Promise<void> {
  const client = await started(target);
  client.send(startOk(response, mechanism));
  await client.expect('connection.tune', 0);
}

/** Nothing is sent, and TCP ends after the delay. */
async function expectSilentClose(target: Target, bytes: Buffer): Promise<void> {
  const client = await started(target);
  const sentAt = Date.now();
  client.send(bytes);
  await client.closedWithin(delayMs(target) + 3_000);
  // Timers may fire a little early against another clock.
  expect(Date.now() - sentAt).toBeGreaterThanOrEqual(delayMs(target) - 5);
}

function refusedText(mechanism: string): string {
  return `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`;
}

rule('1.4.plain', 'a client logs in with PLAIN', async (target) => {
  const { user, password } = parseUrl(target.url);
  await expectAccepted(target, 'PLAIN', plainResponse(user, password));
});

rule(
  '1.4.plain-malformed',
  'malformed PLAIN responses end in a silent close after the delay',
  async (target) => {
    const { user, password } = parseUrl(target.url);
    await together(
      {
        empty: Buffer.alloc(0),
        'no NUL': Buffer.from('garbage'),
        'one NUL': Buffer.from(`\0${user}`),
        'with an authorisation identity': plainResponse(user, password, user),
        'of another identity': plainResponse(user, password, 'other'),
      },
      (response) => expectSilentClose(target, startOk(response)),
    );
  },
);

rule('1.4.amqplain', 'a client logs in with AMQPLAIN', async (target) => {
  const { user, password } = parseUrl(target.url);
  const login = entry('LOGIN', 'S', longstr(user));
  const secret = entry('PASSWORD', 'S', longstr(password));
  await expectAccepted(target, 'AMQPLAIN', amqplain(login, secret));
  await expectAccepted(target, 'AMQPLAIN', amqplain(secret, login));
  await expectAccepted(target, 'AMQPLAIN', amqplain(entry('other', 'I', long(1)), secret, login));
});

rule(
  '1.4.amqplain-malformed',
  'malformed AMQPLAIN responses end in a silent close after the delay',
  async (target) => {
    const { user, password } = parseUrl(target.url);
    const login = entry('LOGIN', 'S', longstr(user));
    const secret = entry('PASSWORD', 'S', longstr(password));
    await together(
      {
        empty: Buffer.alloc(0),
        'without PASSWORD': amqplain(login),
        'without LOGIN': amqplain(secret),
        'that is no table': Buffer.from('garbage'),
        'that is cut off': amqplain(login, secret).subarray(0, -1),
        'with its length in front': encodeTable([login, secret]),
      },
      (response) => expectSilentClose(target, startOk(response, 'AMQPLAIN')),
    );
  },
);

const WRONG_TYPES: Readonly<Record<string, Buffer>> = {
  'a number for a password': amqplain(entry('LOGIN', 'S', longstr('guest')), entry('PASSWORD', 'I', long(1))),
  'a table for a login': amqplain(entry('LOGIN', 'F', long(0)), entry('PASSWORD', 'S', longstr('guest'))),
};

rule(
  '1.4.amqplain-type',
  'AMQPLAIN entries of another type end in a silent close after the delay',
  (target) => together(WRONG_TYPES, (response) => expectSilentClose(target, startOk(response, 'AMQPLAIN'))),
  {
    onRabbitMQ: (target) =>
      together(WRONG_TYPES, async (response) => {
        const client = await started(target);
        client.send(startOk(response, 'AMQPLAIN'));
        expectReason(await client.expectConnectionClose(), { code: 403, text: refusedText('AMQPLAIN') });
      }),
  },
);

rule(
  '1.4.anonymous',
  'an anonymous client becomes the configured user',
  async (target) => {
    const client = await started(target);
    client.send(startOk(Buffer.from('anything at all'), 'ANONYMOUS'));
    client.tune = await client.expect('connection.tune', 0);
    await client.openVhost('/');
    await client.openChannel(1);
  },
  { onRabbitMQ: (target) => expectSilentClose(target, startOk(Buffer.alloc(0), 'ANONYMOUS')) },
);

rule('1.4.unknown-mechanism', 'a mechanism that was not offered ends in a silent close', async (target) => {
  const { user, password } = parseUrl(target.url);
  const good = plainResponse(user, password);
  await together(
    {
      'EXTERNAL without TLS': startOk(Buffer.alloc(0), 'EXTERNAL'),
      'RABBIT-CR-DEMO, off by default': startOk(Buffer.from(user), 'RABBIT-CR-DEMO'),
      'one that does not exist': startOk(good, 'SCRAM-SHA-256'),
      'lower case': startOk(good, 'plain'),
      'no name': startOk(good, ''),
      'several names': startOk(good, 'PLAIN AMQPLAIN'),
      'a name no list has': startOk(good, 'constructor'),
    },
    (bytes) => expectSilentClose(target, bytes),
  );
});

rule('1.4.refused-403', 'a client that understands it is told that its login was refused', async (target) => {
  const { user } = parseUrl(target.url);
  const wrong = 'not the password';
  const responses: Readonly<Record<string, Buffer>> = {
    PLAIN: plainResponse(user, wrong),
    AMQPLAIN: amqplain(entry('LOGIN', 'S', longstr(user)), entry('PASSWORD', 'S', longstr(wrong))),
  };
  for (const [mechanism, response] of Object.entries(responses)) {
    const client = await started(target);
    client.send(startOk(response, mechanism));
    const reason = await client.expectConnectionClose();
    expectReason(reason, { code: 403, text: refusedText(mechanism), method: [0, 0] });
  }
});

rule('1.4.refused-403-end', 'the refused connection ends at close-ok', async (target) => {
  const client = await started(target);
  client.send(startOk(plainResponse('guest', 'wrong')));
  await client.expectConnectionClose();
  expect(await client.closedWithin()).toBeLessThan(2_500);
});

rule(
  '1.4.refused-403-end',
  'the refused connection ends after the delay without close-ok',
  async (target) => {
    const client = await started(target);
    client.send(startOk(plainResponse('guest', 'wrong')));
    await client.expectConnectionClose(false);
    await client.closedWithin(delayMs(target) + 3_000);
  },
);

rule('1.4.refused-403-end', 'nothing the refused client sends afterwards lets it in', async (target) => {
  const { user, password, vhost } = parseUrl(target.url);
  const client = await started(target);
  client.send(startOk(plainResponse('guest', 'wrong')));
  await client.expectConnectionClose(false);
  client.send(startOk(plainResponse(user, password)));
  client.sendMethod(0, 'connection.tune-ok', { channelMax: 2047, frameMax: 131072, heartbeat: 0 });
  client.sendMethod(0, 'connection.open', { virtualHost: vhost });
  expect(await client.drainedWithin(delayMs(target) + 3_000)).toEqual([]);
});

rule('1.4.refused-silent', 'a client that did not ask for it is told nothing', async (target) => {
  const without: Readonly<Record<string, Fields>> = {
    'no capabilities': {},
    'capability false': { capabilities: { ...CLIENT_CAPABILITIES, authentication_failure_close: false } },
    'other capabilities': { capabilities: { 'basic.nack': true } },
    'capability at the wrong place': { authentication_failure_close: true },
  };
  await together(without, (clientProperties) =>
    expectSilentClose(target, startOk(plainResponse('guest', 'wrong'), 'PLAIN', clientProperties)),
  );
});

rule('1.4.unknown-user', 'an unknown user cannot be told from a wrong password', async (target) => {
  for (const [name, password] of [
    ['nobody-of-this-name', 'x'],
    ['', ''],
    ['nobody-of-this-name', ''],
    ['guest', ''],
    ['__proto__', 'x'],
    ['constructor', 'x'],
  ] as const) {
    const client = await started(target);
    client.send(startOk(plainResponse(name, password)));
    expectReason(await client.expectConnectionClose(), {
      code: 403,
      text: refusedText('PLAIN'),
      method: [0, 0],
    });
  }
});

rule('1.4.delay', 'refused clients leave the broker serving others meanwhile', async (target) => {
  const waiting = await started(target);
  waiting.send(startOk(Buffer.from('garbage')));
  await expectServes(target);
  await waiting.closedWithin(delayMs(target) + 3_000);
});

/** An address of this machine that is not loopback; null when there is none. */
function outerAddress(): string | null {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address, family, internal } of addresses ?? []) {
      if (family === 'IPv4' && !internal) return address;
    }
  }
  return null;
}

rule(
  '1.4.loopback',
  'guest may log in from this machine only, unless the list is empty',
  async (target) => {
    const address = outerAddress();
    if (address === null) return;
    for (const loopbackUsers of [['guest'], []]) {
      const broker = await startOwnBroker({ host: '0.0.0.0', loopbackUsers });
      try {
        const client = target.keep(await connectRaw(`amqp://guest:guest@${address}:${broker.port}`));
        client.send(PROTOCOL_HEADER);
        await client.expect('connection.start', 0);
        client.send(startOk(plainResponse('guest', 'guest')));
        if (loopbackUsers.length > 0) {
          expectReason(await client.expectConnectionClose(), {
            code: 403,
            text: refusedText('PLAIN'),
            method: [0, 0],
          });
        } else {
          await client.expect('connection.tune', 0);
        }
        const local = target.keep(await connectRaw(`amqp://guest:guest@127.0.0.1:${broker.port}`));
        await local.authenticate('guest', 'guest');
      } finally {
        target.dropClients();
        await broker.stop();
      }
    }
  },
  { ownOnly: 'needs a broker that listens on every address' },
);

// What the broker says first: version, server-properties, mechanisms, locales.
import { expect } from 'vitest';
import {
  method,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  type ReceivedFrame,
} from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { decodeTable, type TypedEntry } from '../../support/typed-table.ts';

useTarget();

const CAPABILITIES = [
  'publisher_confirms',
  'exchange_exchange_bindings',
  'basic.nack',
  'consumer_cancel_notify',
  'connection.blocked',
  'consumer_priorities',
  'authentication_failure_close',
  'per_consumer_qos',
  'direct_reply_to',
];

async function startFrame(target: Target): Promise<ReceivedFrame> {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  return client.expectFrame('connection.start', 0);
}

async function serverProperties(target: Target): Promise<TypedEntry[]> {
  return decodeTable((await startFrame(target)).payload, 6);
}

rule('1.3.version', 'the server speaks 0.9', async (target) => {
  const { payload } = await startFrame(target);
  expect([...payload.subarray(0, 6)]).toEqual([0, 10, 0, 10, 0, 9]);
});

rule('1.3.mechanisms', 'PLAIN and AMQPLAIN are offered', async (target) => {
  const { fields } = await startFrame(target);
  const mechanisms = String(fields['mechanisms']).split(' ');
  expect(mechanisms).toContain('PLAIN');
  expect(mechanisms).toContain('AMQPLAIN');
  expect(mechanisms).not.toContain('');
});

rule('1.3.locales', 'the only locale is en_US', async (target) => {
  const { fields } = await startFrame(target);
  expect(String(fields['locales'])).toBe('en_US');
});

rule('1.3.locale-unchecked', 'a client may name any locale', async (target) => {
  const { user, password } = parseUrl(target.url);
  for (const locale of ['', 'de_DE', 'x'.repeat(255)]) {
    const client = await target.connect();
    client.send(PROTOCOL_HEADER);
    await client.expect('connection.start', 0);
    client.sendMethod(0, 'connection.start-ok', {
      clientProperties: {},
      mechanism: 'PLAIN',
      response: plainResponse(user, password),
      locale,
    });
    await client.expect('connection.tune', 0);
  }
});

rule('1.3.capabilities', 'the capabilities are a table of booleans, all true', async (target) => {
  const capabilities = (await serverProperties(target)).find((entry) => entry.key === 'capabilities');
  expect(capabilities?.tag).toBe('F');
  const entries = decodeTable(capabilities!.bytes);
  const seen = new Map(entries.map((entry) => [entry.key, `${entry.tag}${entry.bytes[0]}`]));
  for (const name of CAPABILITIES) expect([name, seen.get(name)]).toEqual([name, 't1']);
});

rule('1.3.properties', 'the server says who it is, in long strings', async (target) => {
  const entries = await serverProperties(target);
  for (const key of ['cluster_name', 'copyright', 'information', 'platform', 'product', 'version']) {
    const entry = entries.find((candidate) => candidate.key === key);
    expect([key, entry?.tag]).toEqual([key, 'S']);
    expect(entry!.bytes.length).toBeGreaterThan(4);
  }
});

rule('1.3.sorted', 'the keys of server-properties are sorted', async (target) => {
  const keys = (await serverProperties(target)).map((entry) => entry.key);
  expect(keys).toEqual([...keys].sort());
});

rule('1.3.product', 'product and version are what client libraries compare with', async (target) => {
  const { fields } = await startFrame(target);
  const properties = fields['serverProperties'] as Record<string, unknown>;
  expect(properties['product']).toBe('RabbitMQ');
  expect(properties['version']).toMatch(/^\d+\.\d+\.\d+/);
});

rule(
  '1.3.real-product',
  'keys of our own name the real product',
  async (target) => {
    const keys = (await serverProperties(target)).map((entry) => entry.key);
    expect(keys).toContain('leveret_version');
  },
  {
    onRabbitMQ: async (target) => {
      const keys = (await serverProperties(target)).map((entry) => entry.key);
      expect(keys.filter((key) => key.startsWith('leveret'))).toEqual([]);
    },
  },
);

rule('1.12.free-form', 'client properties may be empty, large in number, and of any type', async (target) => {
  const many: Record<string, unknown> = {};
  for (let i = 0; i < 100; i++) many[`key ${i}`] = i;
  const odd = {
    '': null,
    capabilities: 'not a table',
    connection_name: 5,
    product: true,
    nested: { array: [1, 'two', { three: 3.5 }, null], bytes: Buffer.from([0, 255]) },
  };
  for (const clientProperties of [{}, many, odd, { capabilities: { authentication_failure_close: 'yes' } }]) {
    const client = await target.open({ clientProperties });
    await client.close();
  }
});

rule('1.2.sequence', 'a whole handshake, step by step', async (target) => {
  const { user, password, vhost } = parseUrl(target.url);
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start', 0);
  client.sendMethod(0, 'connection.start-ok', {
    clientProperties: {},
    mechanism: 'PLAIN',
    response: plainResponse(user, password),
    locale: 'en_US',
  });
  const tune = await client.expect('connection.tune', 0);
  client.sendMethod(0, 'connection.tune-ok', { ...tune, heartbeat: 0 });
  client.sendMethod(0, 'connection.open', { virtualHost: vhost });
  await client.expect('connection.open-ok', 0);
  await client.openChannel(1);
});

rule('1.2.open-ok', 'open-ok carries an empty short string', async (target) => {
  const client = await target.connect();
  const { user, password, vhost } = parseUrl(target.url);
  await client.authenticate(user, password);
  client.send(
    method(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 }),
    method(0, 'connection.open', { virtualHost: vhost }),
  );
  const { payload } = await client.expectFrame('connection.open-ok', 0);
  expect([...payload]).toEqual([0, 10, 0, 41, 0]);
});

// Definitions files: what an export holds, what an import does with what is there already, and what it says when something is wrong.

import { readFileSync } from 'node:fs';
import * as amqplib from 'amqplib';
import { describe, expect, it } from 'vitest';
import { type Broker, memoryStore } from '../../src/index.ts';
import { BROKER } from '../../src/node/caller.ts';
import { definitionsText } from '../../src/node/definitions-export.ts';
import { DefinitionReader, type JsonObject, readDefinitions } from '../../src/node/definitions-file.ts';
import type { FieldValue } from '../../src/protocol/field-table.ts';
import { routes, Session, startBroker } from '../broker/support.ts';
import { NodeKit } from './kit.ts';

type Row = Record<string, unknown>;

/** An export as plain lists of rows. */
function exported(broker: Broker, vhost: string | null = null): Record<string, Row[]> {
  return JSON.parse(JSON.stringify(broker.exportDefinitions(vhost)));
}

/** The row of that name. */
function named(rows: readonly Row[] | undefined, name: string): Row {
  return rows!.find((row) => row['name'] === name)!;
}

/** What an import is refused with. */
async function refusal(broker: Broker, definitions: unknown, vhost: string | null = null): Promise<string> {
  try {
    await broker.importDefinitions(definitions, vhost);
    return 'ok';
  } catch (error) {
    expect((error as Error).name).toBe('BrokerError');
    return (error as Error).message;
  }
}

const QUEUE = { name: 'q', vhost: '/', durable: true, auto_delete: false, arguments: {} };
const EXCHANGE = { name: 'e', vhost: '/', type: 'topic', durable: true, auto_delete: false, arguments: {} };
const BINDING = {
  source: 'e',
  vhost: '/',
  destination: 'q',
  destination_type: 'queue',
  routing_key: 'k',
  arguments: {},
};

describe('an export', () => {
  it('of a new broker holds its user, its vhost, and none of what stands there from the start', async () => {
    const broker = await startBroker({ serverVersion: '4.2.1', clusterName: 'hares' });
    const file = exported(broker);
    expect(Object.keys(file).sort()).toEqual([
      'bindings',
      'exchanges',
      'explanation',
      'global_parameters',
      'original_cluster_name',
      'parameters',
      'permissions',
      'policies',
      'product_name',
      'product_version',
      'queues',
      'rabbit_version',
      'rabbitmq_definition_format',
      'rabbitmq_version',
      'topic_permissions',
      'users',
      'vhosts',
    ]);
    expect(file).toMatchObject({
      rabbit_version: '4.2.1',
      rabbitmq_version: '4.2.1',
      rabbitmq_definition_format: 'cluster',
      original_cluster_name: 'hares',
      explanation: "Definitions of cluster 'hares'",
      vhosts: [{ name: '/', description: '', tags: [], metadata: { description: '', tags: [] }, limits: {} }],
      permissions: [{ user: 'guest', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
      topic_permissions: [],
      parameters: [],
      policies: [],
      queues: [],
      exchanges: [],
      bindings: [],
    });
    expect(file['users']).toEqual([
      {
        name: 'guest',
        password_hash: expect.any(String),
        hashing_algorithm: 'rabbit_password_hashing_sha256',
        tags: ['administrator'],
        limits: {},
      },
    ]);
  });

  it('leaves out exclusive queues with their bindings, and keeps transient and internal things', async () => {
    const broker = await startBroker();
    const { channel } = await Session.open(broker);
    await channel.assertExchange('inner', 'fanout', { internal: true, durable: false });
    await channel.assertQueue('mine', { exclusive: true });
    await channel.assertQueue('transient', { durable: false });
    await channel.bindQueue('mine', 'amq.topic', 'a');
    await channel.bindQueue('transient', 'amq.topic', 'b');
    await channel.bindExchange('inner', 'amq.topic', 'c', { n: 1 });
    const { queues, exchanges, bindings } = exported(broker);
    expect(queues).toEqual([
      {
        name: 'transient',
        vhost: '/',
        durable: false,
        auto_delete: false,
        type: 'classic',
        arguments: { 'x-queue-type': 'classic' },
      },
    ]);
    expect(exchanges).toEqual([
      {
        name: 'inner',
        vhost: '/',
        type: 'fanout',
        durable: false,
        auto_delete: false,
        internal: true,
        arguments: {},
      },
    ]);
    expect(bindings).toEqual([
      {
        source: 'amq.topic',
        vhost: '/',
        destination: 'transient',
        destination_type: 'queue',
        routing_key: 'b',
        arguments: {},
      },
      {
        source: 'amq.topic',
        vhost: '/',
        destination: 'inner',
        destination_type: 'exchange',
        routing_key: 'c',
        arguments: { n: 1 },
      },
    ]);
  });

  it('of one vhost says no vhost in its objects and has no users', async () => {
    const broker = await startBroker({ vhosts: ['other'] });
    await broker.importDefinitions({
      vhosts: [
        {
          name: 'other',
          metadata: { description: 'the other one', tags: ['a'] },
          limits: { 'max-queues': 9 },
        },
      ],
      queues: [QUEUE, { ...QUEUE, vhost: 'other', name: 'p' }],
      exchanges: [{ ...EXCHANGE, vhost: 'other' }],
      bindings: [{ ...BINDING, vhost: 'other', destination: 'p' }],
      policies: [{ vhost: 'other', name: 'all', pattern: '', definition: { 'max-length': 5 } }],
    });
    const file = exported(broker, 'other');
    expect(file).toMatchObject({
      rabbitmq_definition_format: 'single_virtual_host',
      original_vhost_name: 'other',
      explanation: "Definitions of virtual host 'other'",
      metadata: { description: 'the other one', tags: ['a'] },
      description: 'the other one',
      limits: { 'max-queues': 9 },
      queues: [{ name: 'p', durable: true, type: 'classic' }],
      exchanges: [{ name: 'e', type: 'topic' }],
      bindings: [{ source: 'e', destination: 'p', routing_key: 'k' }],
      parameters: [{ component: 'vhost-limits', name: 'limits', value: { 'max-queues': 9 } }],
      policies: [
        { name: 'all', pattern: '', 'apply-to': 'all', priority: 0, definition: { 'max-length': 5 } },
      ],
    });
    for (const key of ['users', 'vhosts', 'permissions', 'topic_permissions', 'global_parameters'])
      expect(file).not.toHaveProperty(key);
    for (const list of Object.values(file).filter(Array.isArray)) {
      for (const row of list) expect(row).not.toHaveProperty('vhost');
    }

    const third = await startBroker({ vhosts: ['third'] });
    await third.importDefinitions(file, 'third');
    const again = exported(third, 'third');
    for (const list of ['queues', 'exchanges', 'bindings', 'parameters', 'policies'])
      expect(again[list]).toEqual(file[list]);
    expect(exported(third)['queues']).toMatchObject([{ vhost: 'third' }]);
  });

  it('of a vhost that is not there is refused', async () => {
    const broker = await startBroker();
    expect(() => broker.exportDefinitions('nowhere')).toThrow("vhost 'nowhere' not found");
    expect(await refusal(broker, {}, 'nowhere')).toBe("vhost 'nowhere' not found");
  });

  it('is the same each time, and bindings stand in the order in which they were made', async () => {
    const broker = await startBroker();
    const { channel } = await Session.open(broker);
    await channel.assertExchange('hash', 'x-consistent-hash');
    for (const queue of ['z', 'a', 'm']) {
      await channel.assertQueue(queue);
      await channel.bindQueue(queue, 'hash', '1');
    }
    const file = exported(broker);
    expect(file['queues']!.map((row) => row['name'])).toEqual(['a', 'm', 'z']);
    expect(file['bindings']!.map((row) => row['destination'])).toEqual(['z', 'a', 'm']);
    const other = await startBroker();
    await other.importDefinitions(file);
    expect(exported(other)['bindings']).toEqual(file['bindings']);
  });
});

describe('argument tables', () => {
  it('get the types that RabbitMQ gives JSON: long, double, longstr, bool, table, array', async () => {
    const broker = await startBroker();
    const text = `{"queues":[{"name":"q","vhost":"/","arguments":{"x-message-ttl":60000,"a":1.5,"b":2.0,"c":"text","d":true,
      "e":{"deep":[1,"two",{}]},"f":9007199254740993}}]}`;
    await broker.importDefinitions(text);
    const { channel, connection } = await Session.open(broker);
    await channel.assertQueue('q', { arguments: { 'x-message-ttl': 60000 } });
    expect(named(exported(broker)['queues'], 'q')['arguments']).toEqual({
      'x-message-ttl': 60000,
      a: 1.5,
      b: 2,
      c: 'text',
      d: true,
      e: { deep: [1, 'two', {}] },
      f: 9007199254740992,
      'x-queue-type': 'classic',
    });
    // The type shows in the words of a refusal.
    const other = await connection.createChannel();
    other.on('error', () => {});
    await expect(other.assertQueue('q')).rejects.toThrow("current is the value '60000' of type 'long'");
  });

  it('written as text keep what JavaScript numbers would lose', async () => {
    const kit = await NodeKit.open();
    const args = new Map<string, FieldValue>([
      ['whole', { tag: 'd', value: 2 }],
      ['float', { tag: 'f', value: -0 }],
      ['big', { tag: 'l', value: 9007199254740993n }],
      ['far', { tag: 'd', value: 1e300 }],
      ['cents', { tag: 'D', value: { scale: 2, value: 300 } }],
      ['nothing', { tag: 'V', value: null }],
      ['nan', { tag: 'd', value: Number.NaN }],
    ]);
    const declared = { name: 'q', durable: true, exclusive: false, autoDelete: false, arguments: args };
    kit.vhost.declareQueue(declared, BROKER);
    const identity = { rabbitVersion: '4.2.1', productName: 'x', productVersion: '1', clusterName: 'c' };
    const text = definitionsText(kit.node, identity);
    expect(text).toContain(
      '"arguments":{"whole":2.0,"float":-0.0,"big":9007199254740993,"far":1e+300,"cents":3.0,"nothing":"undefined","nan":"NaN","x-queue-type":"classic"}',
    );
    const row = readDefinitions(text).queues![0]!;
    const table = new DefinitionReader('queues[0]', row).arguments();
    expect([...table].map(([name, { tag, value }]) => [name, tag, value])).toEqual([
      ['whole', 'd', 2],
      ['float', 'd', -0],
      ['big', 'l', 9007199254740993n],
      ['far', 'd', 1e300],
      ['cents', 'd', 3],
      ['nothing', 'S', 'undefined'],
      ['nan', 'S', 'NaN'],
      ['x-queue-type', 'S', 'classic'],
    ]);
    await kit.close();
  });

  it('lose of other types what RabbitMQ loses, and no more', async () => {
    const broker = await startBroker();
    const { channel } = await Session.open(broker);
    const args = {
      time: { '!': 'timestamp', value: 1700000000 },
      decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
      bytes: Buffer.from([255, 254, 0]),
      text: Buffer.from('text'),
      float: { '!': 'float', value: 0.5 },
      none: undefined,
    };
    await channel.assertQueue('q', { arguments: args });
    expect(named(exported(broker)['queues'], 'q')['arguments']).toEqual({
      time: 1700000000,
      decimal: 3.14,
      bytes: '//4A',
      text: 'text',
      float: 0.5,
      'x-queue-type': 'classic',
    });
  });

  it.each([
    [{ a: null }, 'queues[0].arguments.a: null_not_allowed'],
    [{ a: [1, null] }, 'queues[0].arguments.a[1]: null_not_allowed'],
    [{ a: 1e300 }, 'queues[0].arguments.a: the number does not fit 64 bits'],
    [{ ['x'.repeat(256)]: 1 }, 'queues[0].arguments: a name is longer than 255 octets'],
    ['text', 'queues[0].arguments: not an object'],
    [[1], 'queues[0].arguments: not an object'],
    [
      { 'x-message-ttl': '1' },
      `queues[0]: invalid arg 'x-message-ttl' for queue 'q' in vhost '/': "expected integer, got longstr"`,
    ],
    [
      { 'x-max-length': 1.5 },
      `queues[0]: invalid arg 'x-max-length' for queue 'q' in vhost '/': "expected integer, got double"`,
    ],
    [
      { 'x-queue-type': 'foo' },
      `queues[0]: invalid arg 'x-queue-type' for queue 'q' in vhost '/': "unsupported queue type 'foo'"`,
    ],
  ])('%j are refused: %s', async (args, text) => {
    const broker = await startBroker();
    expect(await refusal(broker, { queues: [{ ...QUEUE, arguments: args }] })).toBe(text);
    expect(exported(broker)['queues']).toEqual([]);
  });

  it('may be an empty list, as old versions wrote them, or not there', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({
      queues: [
        { name: 'q', vhost: '/', arguments: [] },
        { name: 'r', vhost: '/' },
      ],
      exchanges: [{ name: 'e', vhost: '/', type: 'fanout', arguments: [] }],
      bindings: [{ source: 'e', vhost: '/', destination: 'q', destination_type: 'queue' }],
    });
    expect(exported(broker)['queues']).toMatchObject([
      { name: 'q', durable: true },
      { name: 'r', durable: true },
    ]);
    expect(exported(broker)['bindings']).toMatchObject([{ source: 'e', destination: 'q', routing_key: '' }]);
  });
});

describe('an import', () => {
  it('leaves queues, exchanges and bindings that exist as they are', async () => {
    const broker = await startBroker();
    const { channel } = await Session.open(broker);
    await channel.assertQueue('q', { durable: false, arguments: { 'x-max-length': 3 } });
    await channel.assertExchange('e', 'fanout', { durable: false });
    await channel.bindQueue('q', 'e', 'k');
    channel.sendToQueue('q', Buffer.from('kept'));
    await channel.waitForConfirms();
    const before = exported(broker);
    await broker.importDefinitions({
      queues: [{ ...QUEUE, arguments: { 'x-max-length': 99 } }],
      exchanges: [EXCHANGE],
      bindings: [BINDING],
    });
    const after = exported(broker);
    expect({ ...after, users: [] }).toEqual({ ...before, users: [] });
    expect((await channel.checkQueue('q')).messageCount).toBe(1);
  });

  it('overwrites users, permissions and policies, and keeps those that the file does not name', async () => {
    const broker = await startBroker({
      users: [
        {
          name: 'anna',
          password: 'old',
          tags: ['monitoring'],
          permissions: [{ vhost: '/', configure: '', write: '', read: '' }],
        },
        { name: 'ben', password: 'b' },
      ],
    });
    const policy = { vhost: '/', name: 'p', pattern: 'a', definition: { 'max-length': 1 } };
    await broker.importDefinitions({ policies: [policy] });
    await broker.importDefinitions({
      users: [{ name: 'anna', password: 'new', tags: 'administrator, team' }],
      permissions: [{ user: 'anna', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
      topic_permissions: [{ user: 'anna', vhost: '/', exchange: 'amq.topic', write: '^a', read: '' }],
      policies: [{ ...policy, pattern: 'b', priority: 7, 'apply-to': 'queues' }],
    });
    const file = exported(broker);
    expect(file['users']!.map((user) => [user['name'], user['tags']])).toEqual([
      ['anna', ['administrator', 'team']],
      ['ben', []],
      ['guest', ['administrator']],
    ]);
    expect(file['permissions']).toContainEqual({
      user: 'anna',
      vhost: '/',
      configure: '.*',
      write: '.*',
      read: '.*',
    });
    expect(file['topic_permissions']).toEqual([
      { user: 'anna', vhost: '/', exchange: 'amq.topic', write: '^a', read: '' },
    ]);
    expect(file['policies']).toEqual([
      {
        vhost: '/',
        name: 'p',
        pattern: 'b',
        'apply-to': 'queues',
        priority: 7,
        definition: { 'max-length': 1 },
      },
    ]);
    const port = broker.port;
    await expect(amqplib.connect(`amqp://anna:old@127.0.0.1:${port}`)).rejects.toThrow();
    const connection = await amqplib.connect(`amqp://anna:new@127.0.0.1:${port}`);
    await connection.close();
  });

  it('passes over the default exchange and names that begin with amq.', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({
      exchanges: [
        { ...EXCHANGE, name: '' },
        { ...EXCHANGE, name: 'amq.direct' },
        { ...EXCHANGE, name: 'amq.mine' },
      ],
      queues: [{ ...QUEUE, name: 'amq.gen-1' }, QUEUE],
      bindings: [
        { ...BINDING, source: '' },
        { ...BINDING, source: 'amq.direct', destination: 'amq.gen-1' },
        { ...BINDING, source: 'amq.direct' },
      ],
    });
    const { queues, exchanges, bindings } = exported(broker);
    expect(queues).toHaveLength(1);
    expect(exchanges).toEqual([]);
    expect(bindings).toMatchObject([{ source: 'amq.direct', destination: 'q' }]);
  });

  it('passes over bindings from or to what is not there, as rabbitmqctl writes them, and logs it once', async () => {
    const warnings: unknown[] = [];
    const logger = {
      error() {},
      info() {},
      debug() {},
      warn: (text: string, fields: unknown) => warnings.push([text, fields]),
    };
    const broker = await startBroker({ logger: logger as never });
    await broker.importDefinitions({
      queues: [QUEUE],
      bindings: [
        BINDING,
        { ...BINDING, source: 'amq.topic', destination: 'exclusive' },
        { ...BINDING, source: 'amq.topic' },
      ],
    });
    expect(exported(broker)['bindings']).toMatchObject([{ source: 'amq.topic', destination: 'q' }]);
    expect(warnings).toEqual([
      [
        'bindings in the definitions lead from or to what is not there, and are left out',
        { count: 2, first: "bindings[0]: no exchange 'e' in vhost '/'" },
      ],
    ]);
  });

  it('stops at the first error; what came before it stays, over a restart too', async () => {
    const store = memoryStore();
    const broker = await startBroker({ store });
    const text = await refusal(broker, {
      users: [{ name: 'new', tags: [] }],
      vhosts: [{ name: 'made' }],
      permissions: [{ user: 'new', vhost: 'made', configure: '.*', write: '(', read: '.*' }],
      queues: [{ ...QUEUE, vhost: 'made' }],
    });
    expect(text).toMatch(/^permissions\[0\]: /);
    expect(exported(broker)).toMatchObject({
      vhosts: [{ name: '/' }, { name: 'made' }],
      queues: [],
      users: [{ name: 'guest' }, { name: 'new' }],
    });
    await broker.stop();
    const again = await startBroker({ store });
    expect(exported(again)).toMatchObject({
      vhosts: [{ name: '/' }, { name: 'made' }],
      users: [{ name: 'guest' }, { name: 'new' }],
    });
  });

  it('is in force at once: queues take messages, policies hold, limits count', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({
      parameters: [{ vhost: '/', component: 'vhost-limits', name: 'limits', value: { 'max-queues': 2 } }],
      policies: [{ vhost: '/', name: 'short', pattern: '^q$', definition: { 'max-length': 1 } }],
      queues: [QUEUE, { ...QUEUE, name: 'r' }],
      exchanges: [EXCHANGE, { ...EXCHANGE, name: 'f', type: 'fanout' }],
      bindings: [
        { ...BINDING, routing_key: 'a.*' },
        { ...BINDING, source: 'f', destination: 'e', destination_type: 'exchange' },
      ],
    });
    const session = await Session.open(broker);
    expect(await routes(session, 'e', 'a.b')).toBe(true);
    expect(await routes(session, 'f', 'a.c')).toBe(true);
    expect(await routes(session, 'e', 'b')).toBe(false);
    expect(await session.count('q')).toBe(1);
    await expect(session.channel.assertQueue('third')).rejects.toThrow('queue limit in vhost');
  });

  it('that would bring a vhost more queues than it may have is refused before any of them is made', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({ vhosts: [{ name: '/', limits: { 'max-queues': 2 } }], queues: [QUEUE] });
    const more = { queues: [QUEUE, { ...QUEUE, name: 'r' }, { ...QUEUE, name: 's' }], exchanges: [EXCHANGE] };
    const text =
      'Adding 2 queue(s) to virtual host "/" would exceed the limit of 2 queue(s).\n\n' +
      'This virtual host currently has 1 queue(s) defined.\n\nImport aborted!';
    expect(await refusal(broker, more)).toBe(text);
    expect(await refusal(broker, more, '/')).toBe(text);
    expect(exported(broker)).toMatchObject({ queues: [{ name: 'q' }], exchanges: [] });
  });

  it('takes a text with a byte order mark, and an empty one', async () => {
    const broker = await startBroker();
    await broker.importDefinitions(Buffer.from(`\uFEFF${JSON.stringify({ queues: [QUEUE] })}`));
    await broker.importDefinitions('');
    await broker.importDefinitions(' \n');
    expect(exported(broker)['queues']).toHaveLength(1);
  });

  it('keeps the type that a queue says beside its arguments, whatever the default of the vhost', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({
      vhosts: [{ name: '/', metadata: { default_queue_type: 'quorum' } }],
      queues: [
        { ...QUEUE, type: 'classic' },
        { ...QUEUE, name: 'r' },
        { ...QUEUE, name: 's', auto_delete: true },
      ],
    });
    expect(exported(broker)['queues']!.map((row) => [row['name'], row['type']])).toEqual([
      ['q', 'classic'],
      ['r', 'quorum'],
      ['s', 'classic'],
    ]);
  });

  it('of ten thousand queues leaves the broker time for its clients, and ends when they are stored', async () => {
    const store = memoryStore();
    const broker = await startBroker({ store });
    const session = await Session.open(broker);
    await session.queue('other');
    const queues = Array.from({ length: 10_000 }, (_, i) => ({ ...QUEUE, name: `q${i}` }));
    const bindings = queues.map(({ name }, i) => ({
      ...BINDING,
      source: 'amq.topic',
      destination: name,
      routing_key: `k.${i}`,
    }));
    let ended = false;
    const done = broker.importDefinitions(JSON.stringify({ queues, bindings })).then((counts) => {
      ended = true;
      return counts;
    });
    let rounds = 0;
    while (!ended) {
      await session.publish('other', 'x');
      rounds++;
    }
    expect(await done).toMatchObject({ queues: 10_000, bindings: 10_000 });
    expect(rounds).toBeGreaterThan(3);
    await broker.stop();
    const again = await startBroker({ store });
    expect(exported(again)['queues']).toHaveLength(10_001);
    expect(exported(again)['bindings']).toHaveLength(10_000);
  });
});

describe('users in a file', () => {
  it.each([
    ['3.5.7', 'rabbit_password_hashing_md5'],
    ['3.6.1', 'rabbit_password_hashing_sha256'],
    ['4.2.0', 'rabbit_password_hashing_sha256'],
  ])('of version %s without a hashing algorithm have %s', async (version, algorithm) => {
    const broker = await startBroker();
    const length = algorithm.endsWith('md5') ? 20 : 36;
    await broker.importDefinitions({
      rabbit_version: version,
      users: [{ name: 'u', password_hash: Buffer.alloc(length).toString('base64'), tags: '' }],
    });
    expect(named(exported(broker)['users'], 'u')['hashing_algorithm']).toBe(algorithm);
  });

  it('keep the limits that the file does not mention', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({ users: [{ name: 'u', tags: '', limits: { 'max-channels': 3 } }] });
    await broker.importDefinitions({ users: [{ name: 'u', tags: 'management' }] });
    expect(named(exported(broker)['users'], 'u')).toMatchObject({
      tags: ['management'],
      limits: { 'max-channels': 3 },
    });
    await broker.importDefinitions({ users: [{ name: 'u', tags: '', limits: {} }] });
    expect(named(exported(broker)['users'], 'u')).toMatchObject({ tags: [], limits: {} });
  });

  it('may come without a password, and then cannot log in by one', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({ users: [{ name: 'u', tags: 'management' }] });
    expect(named(exported(broker)['users'], 'u')).toMatchObject({ password_hash: '', tags: ['management'] });
  });

  it.each([
    [{ tags: [] }, ': user: name is missing or not a string'],
    [{ name: 'u', tags: 5 }, " 'u': tags must be a list of strings or a string with commas"],
    [
      { name: 'u', password: 'a', password_hash: 'b', tags: '' },
      ": user 'u': give password or password_hash, not both",
    ],
    [{ name: 'u', password_hash: '???', tags: '' }, ": user 'u': password_hash is not base64"],
    [
      { name: 'u', password_hash: 'AAAA', tags: '' },
      " 'u': password hash is not one of rabbit_password_hashing_sha256",
    ],
    [{ name: 'u', hashing_algorithm: 'rot13', tags: '' }, ": user 'u': unknown hashing_algorithm 'rot13'"],
    [
      { name: 'u', tags: '', limits: { 'max-channels': 'x' } },
      ' \'u\': max-channels should be a number, actually was <<"x">>',
    ],
  ])('%j are refused', async (user, text) => {
    expect(await refusal(await startBroker(), { users: [user] })).toBe(`users[0]${text}`);
  });
});

describe('vhosts in a file', () => {
  it.each([
    [
      'metadata',
      {
        metadata: {
          description: 'd',
          tags: ['a', 'b'],
          default_queue_type: 'quorum',
          protected_from_deletion: true,
        },
      },
    ],
    [
      'tags with commas',
      {
        metadata: {
          description: 'd',
          tags: 'a,b',
          default_queue_type: 'quorum',
          protected_from_deletion: true,
        },
      },
    ],
    [
      'flat keys',
      {
        description: 'd',
        tags: 'a, b',
        default_queue_type: 'quorum',
        protected_from_deletion: true,
        tracing: false,
      },
    ],
  ])('have %s', async (_, rest) => {
    const store = memoryStore();
    const broker = await startBroker({ store });
    await broker.importDefinitions({ vhosts: [{ name: 'v', ...rest, limits: { 'max-queues': 5 } }] });
    const wanted = {
      name: 'v',
      description: 'd',
      tags: ['a', 'b'],
      metadata: {
        description: 'd',
        tags: ['a', 'b'],
        default_queue_type: 'quorum',
        protected_from_deletion: true,
      },
      limits: { 'max-queues': 5 },
    };
    expect(named(exported(broker)['vhosts'], 'v')).toEqual(wanted);
    await broker.stop();
    expect(named(exported(await startBroker({ store }))['vhosts'], 'v')).toEqual(wanted);
  });

  it('keep what a file does not say', async () => {
    const broker = await startBroker();
    await broker.importDefinitions({
      vhosts: [{ name: '/', metadata: { description: 'mine', tags: ['t'] } }],
    });
    await broker.importDefinitions({
      vhosts: [{ name: '/', metadata: { default_queue_type: 'undefined' }, limits: [] }],
    });
    expect(exported(broker)['vhosts']).toMatchObject([{ description: 'mine', tags: ['t'], limits: {} }]);
  });

  it.each([
    [{ name: '' }, 'a virtual host must have a name'],
    [{ name: 'é'.repeat(128) }, 'name is longer than 255 octets'],
    [{ name: 'v', metadata: { default_queue_type: 'lifo' } }, 'lifo is not a valid queue type'],
    [{ name: 'v', metadata: [] }, 'metadata is not an object'],
    [{ name: 'v', description: 5 }, 'description is not a string'],
    [{ name: 'v', limits: { 'max-queues': 'x' } }, expect.stringContaining('max-queues')],
    [{}, 'name is missing'],
  ])('%j are refused', async (vhost, text) => {
    const message = await refusal(await startBroker(), { vhosts: [vhost] });
    expect(message).toMatch(/^vhosts\[0\]( '.*')?: /);
    expect(message.replace(/^.*?: /, '')).toEqual(text);
  });
});

describe('a file that is wrong', () => {
  it.each<[unknown, string]>([
    ['{', expect.stringMatching(/^not JSON: /) as never],
    ['[]', 'a definitions file must hold one JSON object'],
    ['"text"', 'a definitions file must hold one JSON object'],
    [null, 'a definitions file must hold one JSON object'],
    [5, 'a definitions file must hold one JSON object'],
    [{ queues: {} }, 'queues: not a list'],
    [{ queues: [QUEUE, 5] }, 'queues[1]: not an object'],
    [
      { queues: [{ name: 'q' }] },
      "queues[0] 'q': vhost is missing: a file of a single virtual host has to be imported into a virtual host",
    ],
    [
      { bindings: [BINDING, { source: 'e' }] },
      'bindings[1]: vhost is missing: a file of a single virtual host has to be imported into a virtual host',
    ],
    [
      { queues: [{ ...QUEUE, vhost: 'nowhere' }] },
      'queues[0] \'q\': Please create virtual host "nowhere" prior to importing definitions.',
    ],
    [{ exchanges: [{ ...EXCHANGE, vhost: 7 }] }, "exchanges[0] 'e': vhost is not a string"],
    [{ queues: [{ ...QUEUE, name: '' }] }, 'queues[0]: name is empty'],
    [
      { queues: [{ ...QUEUE, name: 'n'.repeat(256) }] },
      `queues[0] '${'n'.repeat(80)}': name is longer than 255 octets`,
    ],
    [{ queues: [{ ...QUEUE, durable: 'yes' }] }, "queues[0] 'q': durable is not true or false"],
    [{ exchanges: [{ ...EXCHANGE, type: 'circle' }] }, "exchanges[0] 'e': unknown exchange type 'circle'"],
    [
      { bindings: [{ ...BINDING, destination_type: 'x' }] },
      'bindings[0]: destination_type is neither queue nor exchange',
    ],
    [
      { permissions: [{ user: 'guest', vhost: 'x', configure: '', write: '', read: '' }] },
      'permissions[0]: Please create virtual host "x" prior to importing definitions.',
    ],
    [
      { permissions: [{ user: 'nobody', vhost: '/', configure: '', write: '', read: '' }] },
      "permissions[0]: no user 'nobody'",
    ],
    [
      { permissions: [{ user: 'guest', vhost: '/', configure: '', write: '' }] },
      'permissions[0]: permission: read is missing or not a string',
    ],
    [
      { policies: [{ vhost: '/', name: 'p', pattern: 'x', definition: { colour: 'red' } }] },
      'policies[0]: Validation failed\n\n[{<<"colour">>,<<"red">>}] are not recognised policy settings (vhost: "/" key: "p")',
    ],
    [
      { parameters: [{ vhost: '/', component: 'weather', name: 'x', value: 1 }] },
      'parameters[0]: Validation failed\n\ncomponent weather not found (vhost: "/" / component: "weather" / key: "x")',
    ],
  ])('%j is refused', async (file, text) => {
    const broker = await startBroker();
    const before = exported(broker);
    expect(await refusal(broker, file)).toEqual(text);
    expect(exported(broker)).toEqual(before);
  });

  it('is looked over before anything of it is done', async () => {
    const broker = await startBroker();
    expect(await refusal(broker, { vhosts: [{ name: 'v' }], bindings: ['x'] })).toBe(
      'bindings[0]: not an object',
    );
    expect(exported(broker)['vhosts']).toHaveLength(1);
  });
});

describe('the definitions of a real RabbitMQ', () => {
  const FILE = readFileSync(
    new URL('../fixtures/definitions-of-rabbitmq-3.10.json', import.meta.url),
    'utf8',
  );
  const SHOP = 'definitions-shop';

  /** What the file says, in the form of our exports. */
  function expected(): Record<string, Row[]> {
    const file = JSON.parse(FILE) as Record<string, Row[]>;
    // rabbitmqctl writes bindings of exclusive queues and internal exchanges, but not these themselves.
    const bindings = file['bindings']!.filter(
      (it) => ![it['source'], it['destination']].some((end) => end === 'only-mine' || end === 'inner'),
    );
    return {
      ...file,
      bindings,
      vhosts: file['vhosts']!.map((it) => {
        const { description, tags } = it['metadata'] as { description: string; tags: string };
        const list = tags === '' ? [] : tags.split(',');
        const limits = Array.isArray(it['limits']) ? {} : it['limits'];
        return { name: it['name'], description, tags: list, metadata: { description, tags: list }, limits };
      }),
      queues: file['queues']!.map((it) => ({
        ...it,
        arguments: { 'x-queue-type': it['type'], ...(it['arguments'] as JsonObject) },
      })),
      exchanges: file['exchanges']!.map((it) => ({ ...it, internal: false })),
    };
  }

  const LISTS = [
    'users',
    'vhosts',
    'permissions',
    'topic_permissions',
    'parameters',
    'global_parameters',
    'policies',
    'queues',
    'exchanges',
    'bindings',
  ];

  function sorted(rows: readonly Row[]): Row[] {
    const canonical = (_: string, value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value;
    const key = (row: Row): string => JSON.stringify(row, canonical);
    return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  function assertComplete(broker: Broker, wanted = expected()): void {
    const file = exported(broker);
    for (const list of LISTS) {
      const rows = file[list]!.filter((row) => JSON.stringify(row).includes('definitions-'));
      expect(sorted(rows), list).toEqual(sorted(wanted[list]!));
    }
  }

  it('are imported and exported again without loss, over a restart, and over a second broker', async () => {
    const store = memoryStore();
    const broker = await startBroker({ store });
    await broker.importDefinitions(FILE);
    assertComplete(broker);
    const own = exported(broker);
    await broker.stop();
    const lasting = expected();
    for (const list of ['queues', 'exchanges'])
      lasting[list] = lasting[list]!.filter((row) => row['durable'] === true);
    lasting['bindings'] = lasting['bindings']!.filter((row) => row['source'] !== 'short-lived');
    assertComplete(await startBroker({ store }), lasting);
    const second = await startBroker();
    await second.importDefinitions(own);
    assertComplete(second);
  });

  it('may be imported twice', async () => {
    const broker = await startBroker();
    await broker.importDefinitions(FILE);
    const once = exported(broker);
    await broker.importDefinitions(FILE);
    expect(exported(broker)).toEqual(once);
  });

  it('let their users in with the passwords that they had', async () => {
    const broker = await startBroker({ authFailureDelayMs: 0 });
    await broker.importDefinitions(FILE);
    const login = async (user: string, password: string): Promise<void> => {
      const at = `127.0.0.1:${broker.port}/${SHOP}`;
      const connection = await amqplib.connect(`amqp://${user}:${encodeURIComponent(password)}@${at}`);
      await connection.close();
    };
    await login('definitions-sha256', 'two hundred and fifty-six');
    await login('definitions-sha512', 'five hundred');
    await login('definitions-md5', 'old');
    await expect(login('definitions-sha512', 'two hundred and fifty-six')).rejects.toThrow();
    await expect(login('definitions-none', 'anything')).rejects.toThrow();
  });

  it('route as they did there', async () => {
    const broker = await startBroker();
    await broker.importDefinitions(FILE);
    const url = `amqp://definitions-sha256:${encodeURIComponent('two hundred and fifty-six')}@127.0.0.1:${broker.port}/${SHOP}`;
    const session = await Session.open(broker, url);
    const { channel } = session;
    channel.publish('by-header', '', Buffer.from('all'), {
      headers: { type: 'order', size: 3, express: true },
    });
    channel.publish('by-header', '', Buffer.from('some'), {
      headers: { type: 'order', size: 4, express: true },
    });
    channel.publish('events', 'order.x', Buffer.from('topic'));
    await channel.waitForConfirms();
    expect(await session.texts('plain')).toEqual(['all', 'topic']);
  });
});

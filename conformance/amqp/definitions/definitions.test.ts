// Definitions files: what an import makes, what an export holds, and what becomes of clients whose vhost or user is deleted.
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { expectChannelRefused, expectSoftError } from '../../support/checks.ts';
import { useDefinitions } from '../../support/definitions.ts';
import { publish as publishFrames, type RawClient } from '../../support/raw-client.ts';
import { type RuleOptions, type RuleTest, rule as ruleOf, useTarget } from '../../support/target.ts';

const broker = useTarget({ authFailureDelayMs: 0 });
const definitions = useDefinitions(broker);

type Row = Record<string, unknown>;

const EVERYTHING = { configure: '.*', write: '.*', read: '.*' };
const queue = (vhost: string, name: string, rest: Row = {}): Row => ({
  name,
  vhost,
  durable: true,
  auto_delete: false,
  arguments: {},
  ...rest,
});
const exchange = (vhost: string, name: string, type: string, rest: Row = {}): Row => ({
  name,
  vhost,
  type,
  durable: true,
  auto_delete: false,
  internal: false,
  arguments: {},
  ...rest,
});
const binding = (vhost: string, source: string, destination: string, rest: Row = {}): Row => ({
  source,
  vhost,
  destination,
  destination_type: 'queue',
  routing_key: 'k',
  arguments: {},
  ...rest,
});
const names = (rows: readonly Row[] | undefined): unknown[] => (rows ?? []).map(({ name }) => name).sort();

/** Registers a test that has the time for a few calls of rabbitmqctl, which takes a second each. */
function rule(id: string, title: string, body: RuleTest, options: RuleOptions = {}): void {
  ruleOf(id, title, body, { timeoutMs: 60_000, ...options });
}

/** A client in the vhost, with channel 1 open. */
function enter(vhost: string, user: string | null = null, password = ''): Promise<RawClient> {
  return broker.openWithChannel({ vhost, ...(user === null ? {} : { user, password }) });
}

/** A passive declare: ready messages of the queue. */
async function count(client: RawClient, name: string): Promise<number> {
  const { messageCount } = await client.call(1, 'queue.declare', { queue: name, passive: true });
  return messageCount as number;
}

/** Publishes on a confirm channel, and waits until the broker has the message where it belongs. */
async function publish(
  client: RawClient,
  to: string,
  routingKey: string,
  properties: Row = {},
): Promise<void> {
  client.send(publishFrames(1, to, routingKey, 'x', properties));
  await client.expect('basic.ack', 1);
}

rule('12.4.number-types', 'imported numbers are long and double', async () => {
  const vhost = await definitions.vhost('types');
  await definitions.take(
    `{"queues":[{"name":"q","vhost":${JSON.stringify(vhost)},"durable":true,"auto_delete":false,"arguments":
      {"x-message-ttl":60000,"a":1.5,"b":2.0,"c":9007199254740993,"d":true,"e":{"f":[1,"g"]}}}]}`,
  );
  const client = await enter(vhost);
  // Integers of any width are equal.
  await client.call(1, 'queue.declare', { queue: 'q', durable: true, arguments: { 'x-message-ttl': 60000 } });
  client.sendMethod(1, 'queue.declare', { queue: 'q', durable: true });
  await expectSoftError(client, 1, {
    code: 406,
    text: `inequivalent arg 'x-message-ttl' for queue 'q' in vhost '${vhost}': received none but current is the value '60000' of type 'long'`,
    method: [50, 10],
  });
  const { queues } = await definitions.exported(vhost);
  expect(queues![0]!['arguments']).toMatchObject({ a: 1.5, b: 2, d: true, e: { f: [1, 'g'] } });
});

rule('12.4.null', 'a null is refused', async () => {
  const vhost = await definitions.vhost('null');
  for (const args of [{ a: null }, { a: [null] }, { a: { b: null } }]) {
    expect(await definitions.refusal({ queues: [queue(vhost, 'q', { arguments: args })] })).toContain(
      'null_not_allowed',
    );
  }
  expect((await definitions.exported(vhost))['queues']).toEqual([]);
});

rule('12.4.existing', 'what exists stays as it is', async () => {
  const vhost = await definitions.vhost('existing');
  const client = await enter(vhost);
  await client.call(1, 'queue.declare', { queue: 'q', arguments: { 'x-max-length': 3 } });
  await client.call(1, 'exchange.declare', { exchange: 'e', type: 'fanout' });
  await client.call(1, 'queue.bind', { queue: 'q', exchange: 'e', routingKey: 'k' });
  await client.call(1, 'confirm.select');
  await publish(client, 'e', '');
  const before = await definitions.exported(vhost);
  await definitions.take({
    queues: [queue(vhost, 'q', { arguments: { 'x-max-length': 99 } })],
    exchanges: [exchange(vhost, 'e', 'topic')],
    bindings: [binding(vhost, 'e', 'q')],
  });
  expect(await definitions.exported(vhost)).toEqual(before);
  expect(await count(client, 'q')).toBe(1);
});

rule('12.4.overwrite', 'users, permissions and policies are overwritten', async () => {
  const vhost = await definitions.vhost('overwrite');
  const user = definitions.user('anna');
  const policy = {
    vhost,
    name: 'p',
    pattern: 'a',
    'apply-to': 'all',
    priority: 0,
    definition: { 'max-length': 5 },
  };
  await definitions.take({
    users: [{ name: user, password: 'old', tags: '' }],
    permissions: [{ user, vhost, ...EVERYTHING }],
    policies: [policy],
  });
  await definitions.take({
    users: [{ name: user, password: 'new', tags: '' }],
    permissions: [{ user, vhost, configure: '^mine', write: '', read: '' }],
    policies: [{ ...policy, pattern: 'b', priority: 4, definition: { 'max-length': 6 } }],
  });
  const client = await enter(vhost, user, 'new');
  await client.call(1, 'queue.declare', { queue: 'mine' });
  client.sendMethod(1, 'queue.declare', { queue: 'other' });
  expect((await client.expect('channel.close', 1))['replyCode']).toBe(403);
  expect((await definitions.exported(vhost))['policies']).toEqual([
    { ...policy, pattern: 'b', priority: 4, definition: { 'max-length': 6 } },
  ]);
});

rule('12.4.reserved', 'names of the broker are passed over', async () => {
  const vhost = await definitions.vhost('reserved');
  await definitions.take({
    exchanges: [
      exchange(vhost, '', 'direct'),
      exchange(vhost, 'amq.direct', 'fanout'),
      exchange(vhost, 'amq.mine', 'fanout'),
    ],
    queues: [queue(vhost, 'amq.mine'), queue(vhost, 'q')],
    bindings: [binding(vhost, 'amq.direct', 'q')],
  });
  const { queues, exchanges, bindings } = await definitions.exported(vhost);
  expect(names(queues)).toEqual(['q']);
  expect(exchanges).toEqual([]);
  expect(bindings).toEqual([binding(vhost, 'amq.direct', 'q')]);
  const client = await enter(vhost);
  client.sendMethod(1, 'exchange.declare', { exchange: 'amq.mine', passive: true });
  await expectSoftError(client, 1, {
    code: 404,
    text: `no exchange 'amq.mine' in vhost '${vhost}'`,
    method: [40, 10],
  });
});

rule('12.4.first-error', 'an error stops the import and undoes nothing', async () => {
  const vhost = await definitions.vhost('error');
  const refusal = await definitions.refusal({
    exchanges: [exchange(vhost, 'e', 'direct')],
    queues: [queue(vhost, 'q', { arguments: { 'x-message-ttl': 'soon' } })],
    bindings: [binding(vhost, 'e', 'e', { destination_type: 'exchange' })],
  });
  expect(refusal).toContain(
    `invalid arg 'x-message-ttl' for queue 'q' in vhost '${vhost}': "expected integer, got longstr"`,
  );
  expect(await definitions.exported(vhost)).toMatchObject({
    exchanges: [{ name: 'e' }],
    queues: [],
    bindings: [],
  });
});

rule(
  '12.4.no-vhost',
  'a vhost must be there',
  async (target) => {
    await definitions.vhost('there');
    const missing = target.name('missing');
    const refusal = await definitions.refusal({ queues: [queue(missing, 'q')] });
    expect(refusal).toContain(
      target.isRabbitMQ
        ? `Please create virtual host \\"${missing}\\" prior to importing definitions.`
        : `Please create virtual host "${missing}" prior to importing definitions.`,
    );
  },
  {
    onRabbitMQ: async (target) => {
      const missing = target.name('missing');
      const refusal = await definitions.refusal({ queues: [queue(missing, 'q')] });
      expect(refusal).toContain(`{no_such_vhost,<<"${missing}">>}`);
    },
  },
);

const orphan = (vhost: string): Row => {
  const { vhost: _, ...rest } = queue(vhost, 'orphan');
  return { exchanges: [exchange(vhost, 'e', 'direct')], queues: [rest] };
};
rule('12.4.orphan', 'an object without a vhost spoils the file', async (target) => {
  const vhost = await definitions.vhost('orphan');
  const refusal = await definitions.refusal(orphan(vhost));
  if (target.isRabbitMQ) expect(refusal).not.toBeNull();
  else expect(refusal).toContain("queues[0] 'orphan': vhost is missing");
  expect((await definitions.exported(vhost))['exchanges']).toEqual([]);
});

const dangling = (vhost: string): Row => ({
  queues: [queue(vhost, 'q')],
  bindings: [
    binding(vhost, 'nowhere', 'q'),
    binding(vhost, 'amq.direct', 'nowhere'),
    binding(vhost, 'amq.direct', 'nowhere', { destination_type: 'exchange' }),
  ],
});
rule(
  '12.4.dangling',
  'a binding needs both ends',
  async () => {
    const vhost = await definitions.vhost('dangling');
    await definitions.take(dangling(vhost));
    expect((await definitions.exported(vhost))['bindings']).toEqual([]);
  },
  {
    onRabbitMQ: async () => {
      const vhost = await definitions.vhost('dangling');
      expect(await definitions.refusal(dangling(vhost))).not.toBeNull();
    },
  },
);

rule('12.4.single-vhost', 'one virtual host takes a file without vhosts', async (target) => {
  const vhost = await definitions.vhost('single');
  const user = target.name('nobody');
  const without = ({ vhost: _, ...rest }: Row): Row => rest;
  await definitions.take(
    {
      users: [{ name: user, password: 'x', tags: '' }],
      vhosts: [{ name: user }],
      permissions: [{ user, vhost, ...EVERYTHING }],
      queues: [without(queue(vhost, 'q'))],
      exchanges: [without(exchange(vhost, 'e', 'topic'))],
      bindings: [without(binding(vhost, 'e', 'q'))],
      policies: [{ name: 'p', pattern: '', 'apply-to': 'all', priority: 0, definition: { 'max-length': 5 } }],
    },
    vhost,
  );
  const exported = await definitions.exported(vhost);
  expect(names(exported['queues'])).toEqual(['q']);
  expect(names(exported['exchanges'])).toEqual(['e']);
  expect(exported['bindings']).toEqual([binding(vhost, 'e', 'q')]);
  expect(names(exported['policies'])).toEqual(['p']);
  expect((exported['permissions'] ?? []).filter((row) => row['user'] === user)).toEqual([]);
});

rule('12.4.queue-limit', 'the limit of queues is looked at first', async () => {
  const vhost = await definitions.vhost('limit');
  await definitions.take({
    parameters: [{ vhost, component: 'vhost-limits', name: 'limits', value: { 'max-queues': 2 } }],
    queues: [queue(vhost, 'a')],
  });
  const refusal = await definitions.refusal({
    queues: [queue(vhost, 'a'), queue(vhost, 'b'), queue(vhost, 'c')],
  });
  expect(refusal).toContain(
    `Adding 2 queue(s) to virtual host "${vhost}" would exceed the limit of 2 queue(s).`,
  );
  expect(names((await definitions.exported(vhost))['queues'])).toEqual(['a']);
  await definitions.take({ queues: [queue(vhost, 'a'), queue(vhost, 'b')] });
});

rule('12.4.password-hash', 'passwords are good after an import', async () => {
  const vhost = await definitions.vhost('hashes');
  for (const algorithm of ['sha256', 'sha512', 'md5']) {
    const user = definitions.user(algorithm);
    const salt = Buffer.from([1, 2, 3, 4]);
    const hash = createHash(algorithm).update(salt).update('påss').digest();
    await definitions.take({
      users: [
        {
          name: user,
          password_hash: Buffer.concat([salt, hash]).toString('base64'),
          hashing_algorithm: `rabbit_password_hashing_${algorithm}`,
          tags: [],
        },
      ],
      permissions: [{ user, vhost, ...EVERYTHING }],
    });
    const client = await enter(vhost, user, 'påss');
    client.destroy();
  }
});

rule('12.4.password', 'a password in clear text is taken', async () => {
  const vhost = await definitions.vhost('password');
  const user = definitions.user('clear');
  await definitions.take({
    users: [{ name: user, password: 'plain words', tags: 'impersonator, other' }],
    permissions: [{ user, vhost, ...EVERYTHING }],
  });
  const client = await enter(vhost, user, 'plain words');
  // An impersonator may name anybody as the sender.
  await client.call(1, 'confirm.select');
  await publish(client, '', 'nowhere', { userId: 'somebody' });
});

rule('12.4.in-force', 'imported things work', async () => {
  const vhost = await definitions.vhost('force');
  await definitions.take({
    queues: [queue(vhost, 'q'), queue(vhost, 'alternate')],
    exchanges: [
      exchange(vhost, 'e', 'topic', { arguments: { 'alternate-exchange': 'a' } }),
      exchange(vhost, 'a', 'fanout'),
      exchange(vhost, 'h', 'headers'),
    ],
    bindings: [
      binding(vhost, 'e', 'q', { routing_key: 'a.*' }),
      binding(vhost, 'a', 'alternate'),
      binding(vhost, 'h', 'e', {
        destination_type: 'exchange',
        arguments: { 'x-match': 'all', size: 3, kind: 'big' },
      }),
    ],
    policies: [
      {
        vhost,
        name: 'p',
        pattern: '^q$',
        'apply-to': 'queues',
        priority: 0,
        definition: { 'max-length': 2 },
      },
    ],
  });
  const client = await enter(vhost);
  await client.call(1, 'confirm.select');
  for (let i = 0; i < 3; i++) await publish(client, 'e', 'a.b');
  await publish(client, 'e', 'b');
  await publish(client, 'h', 'c', { headers: { size: 3, kind: 'big' } });
  await publish(client, 'h', 'c', { headers: { size: 4, kind: 'big' } });
  expect(await count(client, 'q')).toBe(2);
  expect(await count(client, 'alternate')).toBe(2);
});

/** A vhost with one thing of each kind, and a client that owns an exclusive queue. */
async function furnished(): Promise<{ vhost: string; lists: Record<string, Row[]> }> {
  const vhost = await definitions.vhost('furnished');
  const client = await enter(vhost);
  await client.call(1, 'queue.declare', { queue: 'durable', durable: true });
  await client.call(1, 'queue.declare', { queue: 'transient' });
  await client.call(1, 'queue.declare', { queue: 'exclusive', exclusive: true });
  await client.call(1, 'exchange.declare', { exchange: 'e', type: 'fanout' });
  await client.call(1, 'exchange.declare', { exchange: 'internal', type: 'fanout', internal: true });
  for (const name of ['durable', 'transient', 'exclusive']) {
    await client.call(1, 'queue.bind', { queue: name, exchange: 'amq.direct', routingKey: 'k' });
  }
  return { vhost, lists: await definitions.exported(vhost) };
}

rule('12.4.export-own', 'an export has what clients declared', async () => {
  const { vhost, lists } = await furnished();
  expect(names(lists['queues'])).toEqual(['durable', 'transient']);
  expect(lists['queues']!.find(({ name }) => name === 'transient')).toMatchObject({
    vhost,
    durable: false,
    type: 'classic',
  });
  expect(names(lists['exchanges'])).toContain('e');
  expect(names(lists['exchanges'])).not.toContain('amq.direct');
  expect(lists['bindings']).toContainEqual(binding(vhost, 'amq.direct', 'durable'));
  expect(lists['bindings']).not.toContainEqual(expect.objectContaining({ source: '' }));
  expect(lists['permissions']).toEqual([expect.objectContaining({ vhost, ...EVERYTHING })]);
});

rule('12.4.export-exclusive', 'an exclusive queue is not exported', async () => {
  const { lists } = await furnished();
  expect(names(lists['queues'])).not.toContain('exclusive');
});

const exportsBindingsOfExclusive =
  (does: boolean): RuleTest =>
  async () => {
    const { vhost, lists } = await furnished();
    expect(
      lists['bindings']!.some((row) => row['destination'] === 'exclusive' && row['vhost'] === vhost),
    ).toBe(does);
  };
rule('12.4.export-bindings', 'the bindings of an exclusive queue', exportsBindingsOfExclusive(false), {
  onRabbitMQ: exportsBindingsOfExclusive(true),
});

const exportsInternal =
  (does: boolean): RuleTest =>
  async () => {
    const { lists } = await furnished();
    expect(names(lists['exchanges']).includes('internal')).toBe(does);
  };
rule('12.4.export-internal', 'an internal exchange', exportsInternal(true), {
  onRabbitMQ: exportsInternal(false),
});

rule('12.4.round-trip', 'an import and an export give the same lists', async (target) => {
  const vhost = await definitions.vhost('round');
  const arguments_ = {
    'x-queue-type': 'classic',
    'x-max-length': 10,
    'x-own': { list: [1, 'two', true, 2.5] },
  };
  const file = {
    queues: [
      queue(vhost, 'q', { type: 'classic', arguments: arguments_ }),
      queue(vhost, 't', {
        type: 'classic',
        durable: false,
        auto_delete: true,
        arguments: { 'x-queue-type': 'classic' },
      }),
    ],
    exchanges: [
      exchange(vhost, 'e', 'headers', { auto_delete: true }),
      exchange(vhost, 'f', 'topic', { durable: false, arguments: { 'alternate-exchange': 'e' } }),
    ],
    bindings: [
      binding(vhost, 'e', 'q', { arguments: { 'x-match': 'any', n: 1, s: 'x' } }),
      binding(vhost, 'f', 'e', { destination_type: 'exchange', routing_key: '#.é' }),
      binding(vhost, 'amq.topic', 't', { routing_key: '' }),
    ],
    policies: [
      {
        vhost,
        name: 'p',
        pattern: '^x',
        'apply-to': 'queues',
        priority: 3,
        definition: { 'max-length': 5, overflow: 'drop-head' },
      },
    ],
    parameters: [
      {
        vhost,
        component: 'operator_policy',
        name: 'o',
        value: { pattern: '', 'apply-to': 'queues', priority: 0, definition: { 'max-length': 50 } },
      },
      { vhost, component: 'vhost-limits', name: 'limits', value: { 'max-queues': 9, 'max-connections': 99 } },
    ],
  };
  await definitions.take(file);
  const lists = await definitions.exported(vhost);
  const sorted = (rows: readonly Row[]): string[] =>
    rows.map((row) => JSON.stringify(Object.entries(row).sort())).sort();
  for (const [list, rows] of Object.entries(file)) {
    const shown = (lists[list] ?? []).map((row) => {
      // rabbitmqctl does not show the flag.
      if (list === 'exchanges' && target.isRabbitMQ) return { ...row, internal: false };
      return row;
    });
    expect(canonical(shown), list).toEqual(canonical(rows));
  }
  expect(sorted(lists['vhosts'] ?? [])).toHaveLength(1);
});

/** Rows whatever their order and that of their keys. */
function canonical(rows: readonly Row[]): string[] {
  const byKey = (_: string, value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return rows.map((row) => JSON.stringify(row, byKey)).sort();
}

rule('12.4.default-type', 'a queue gets the default type', async () => {
  const vhost = await definitions.vhost('quorum', { metadata: { default_queue_type: 'quorum' } });
  const client = await enter(vhost);
  await client.call(1, 'queue.declare', { queue: 'a', durable: true });
  await client.call(1, 'queue.declare', { queue: 'c', exclusive: true });
  await client.call(1, 'queue.declare', {
    queue: 'd',
    durable: true,
    arguments: { 'x-queue-type': 'classic' },
  });
  const { queues } = await definitions.exported(vhost);
  const types = Object.fromEntries(queues!.map((row) => [row['name'], row['type']]));
  expect(types).toEqual({ a: 'quorum', d: 'classic' });
  await client.call(1, 'queue.declare', {
    queue: 'a',
    durable: true,
    arguments: { 'x-queue-type': 'quorum' },
  });
});

/** The close that a client is told. */
async function closing(client: RawClient): Promise<unknown> {
  for (;;) {
    const { name, fields } = await client.next();
    if (name === 'connection.close') return `${fields['replyCode']} ${fields['replyText']}`;
  }
}

rule('12.4.vhost-deleted', 'a deleted vhost tells its clients', async () => {
  const vhost = await definitions.vhost('deleted');
  const client = await enter(vhost);
  await client.call(1, 'queue.declare', { queue: 'q', durable: true });
  await definitions.deleteVhost(vhost);
  expect(await closing(client)).toMatch(`320 CONNECTION_FORCED - vhost '${vhost}' is d`);
  // A vhost of that name is a new one.
  const permission = { user: new URL(broker.url).username, vhost, ...EVERYTHING };
  await definitions.take({ vhosts: [{ name: vhost }], permissions: [permission] });
  const again = await enter(vhost);
  again.sendMethod(1, 'queue.declare', { queue: 'q', passive: true });
  expect((await again.expect('channel.close', 1))['replyCode']).toBe(404);
  again.destroy();
  await definitions.deleteVhost(vhost);
});

rule('12.4.user-deleted', 'a deleted user is told', async () => {
  const vhost = await definitions.vhost('users');
  const user = definitions.user('gone');
  await definitions.take({
    users: [{ name: user, password: 'x', tags: '' }],
    permissions: [{ user, vhost, ...EVERYTHING }],
  });
  const client = await enter(vhost, user, 'x');
  await definitions.deleteUser(user);
  expect(await closing(client)).toBe(`320 CONNECTION_FORCED - user '${user}' is deleted`);
});

rule('12.4.metadata', 'in either place', async (target) => {
  // RabbitMQ has default types since 3.11.
  const hasTypes = !target.isRabbitMQ || !target.isRabbitMQBelow('3.11.0');
  const about = {
    description: 'of a test',
    tags: ['a', 'b'],
    ...(hasTypes ? { default_queue_type: 'quorum' } : {}),
  };
  for (const rest of [{ metadata: about }, about]) {
    const vhost = await definitions.vhost('metadata', rest);
    const { vhosts } = await definitions.exported(vhost);
    expect(vhosts![0]).toMatchObject({ name: vhost, metadata: about });
    if (!hasTypes) continue;
    const client = await enter(vhost);
    await client.call(1, 'queue.declare', { queue: 'q', durable: true });
    client.sendMethod(1, 'queue.delete', { queue: 'q', ifUnused: true });
    expect((await client.expect('connection.close', 0))['replyCode']).toBe(540);
  }
});

rule('12.4.limits', 'of a user and of a vhost', async () => {
  const vhost = await definitions.vhost('limits');
  const user = definitions.user('limited');
  await definitions.take({
    users: [{ name: user, password: 'p', tags: '', limits: { 'max-channels': 1 } }],
    permissions: [{ user, vhost, ...EVERYTHING }],
    parameters: [{ vhost, component: 'vhost-limits', name: 'limits', value: { 'max-queues': 1 } }],
  });
  const limited = await enter(vhost, user, 'p');
  expect((await expectChannelRefused(broker, limited, 2)).code).toBe(530);
  const client = await enter(vhost);
  await client.call(1, 'queue.declare', { queue: 'one' });
  client.sendMethod(1, 'queue.declare', { queue: 'two' });
  await expectSoftError(client, 1, {
    code: 406,
    text: `cannot declare queue 'two': queue limit in vhost '${vhost}' (1) is reached`,
    method: [50, 10],
  });
  expect((await definitions.exported(vhost))['parameters']).toEqual([
    { vhost, component: 'vhost-limits', name: 'limits', value: { 'max-queues': 1 } },
  ]);
  expect(await definitions.exportedUser(user)).toMatchObject({ name: user, limits: { 'max-channels': 1 } });
});

rule('12.4.topic-permissions', 'of a user without any other key', async () => {
  const vhost = await definitions.vhost('topics');
  const user = definitions.user('topical');
  const topic = { user, vhost, exchange: 'amq.topic', write: '^mine\\.', read: '' };
  await definitions.take({
    users: [{ name: user, password: 'p', tags: '' }],
    permissions: [{ user, vhost, ...EVERYTHING }],
    topic_permissions: [topic],
  });
  expect((await definitions.exported(vhost))['topic_permissions']).toEqual([topic]);
  const client = await enter(vhost, user, 'p');
  await client.call(1, 'confirm.select');
  await publish(client, 'amq.topic', 'mine.a');
  client.send(publishFrames(1, 'amq.topic', 'yours.a', 'x', {}));
  expect((await client.expect('channel.close', 1))['replyCode']).toBe(403);
});

rule('12.4.parameters', 'whatever their values', async (target) => {
  const vhost = await definitions.vhost('parameters');
  const name = definitions.globalParameter('global');
  const value = { text: 'ü', list: [1, 2.5, true], nested: { empty: {} } };
  const rows = [
    { vhost, component: 'operator_policy', name: 'o', value: { ...OPERATOR_POLICY } },
    ...(target.isRabbitMQ
      ? []
      : [{ vhost, component: 'federation-upstream', name: 'u', value: { uri: 'amqp://elsewhere' } }]),
  ];
  await definitions.take({ global_parameters: [{ name, value }], parameters: rows });
  const sorted = [...((await definitions.exported(vhost))['parameters'] ?? [])].sort((a, b) =>
    String(a['name']).localeCompare(String(b['name'])),
  );
  expect(sorted).toEqual(rows);
  const { global_parameters: globals } = await definitions.exportedWhole();
  expect((globals as Row[]).find((row) => row['name'] === name)).toEqual({ name, value });
});

const OPERATOR_POLICY = {
  pattern: '^o',
  'apply-to': 'queues',
  priority: 0,
  definition: { 'max-length': 50 },
};

rule('12.4.form', 'of the whole broker', async (target) => {
  await definitions.vhost('form');
  const whole = await definitions.exportedWhole();
  expect(whole).toMatchObject({
    rabbit_version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    rabbitmq_version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    // Distributions do not always name it.
    ...(target.isRabbitMQ ? {} : { product_name: expect.any(String), product_version: expect.any(String) }),
  });
  for (const list of LISTS) expect(Array.isArray(whole[list]), list).toBe(true);
  expect((whole['users'] as Row[])[0]).toMatchObject({
    name: expect.any(String),
    password_hash: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/),
    hashing_algorithm: expect.stringMatching(/^rabbit_password_hashing_/),
    tags: expect.any(Array),
    limits: expect.any(Object),
  });
});

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

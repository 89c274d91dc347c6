// Permissions of resources and topics: which operation asks for which, and the words of the refusal.
import { expect } from 'vitest';
import { type Account, useAccounts } from '../../support/accounts.ts';
import type { Channel } from '../../support/channel.ts';
import { type Scene, scene, uniqueName } from '../../support/scene.ts';
import { type RuleTest, rule, type Target } from '../../support/target.ts';

const run = uniqueName('run');
const TOPICS = `${run}-topics`;
const OWN_TOPICS = `${run}-own-topics`;
const OTHER_VHOST = `${run}-vhost`;
const all = { configure: '.*', write: '.*', read: '.*' };

/** May do what the name of a thing says: `.c` configure, `.w` write, `.r` read. */
const LIMITED: Account = {
  name: `${run}-limited`,
  password: 'secret',
  permissions: [{ vhost: '/', configure: '\\.c', write: '\\.w', read: '\\.r' }],
};
const NOTHING: Account = {
  name: `${run}-nothing`,
  password: 'secret',
  permissions: [{ vhost: '/', configure: '', write: '', read: '' }],
};
const DEFAULT_ONLY: Account = {
  name: `${run}-default`,
  password: 'secret',
  permissions: [{ vhost: '/', configure: '', write: '^amq\\.default$', read: '' }],
};
const NOWHERE: Account = { name: `${run}-nowhere`, password: 'secret' };
const ELSEWHERE: Account = {
  name: `${run}-elsewhere`,
  password: 'secret',
  permissions: [{ vhost: OTHER_VHOST, ...all }],
};
const IMPERSONATOR: Account = {
  name: `${run}-impersonator`,
  password: 'secret',
  tags: ['impersonator'],
  permissions: [{ vhost: '/', ...all }],
};
const TOPICAL: Account = {
  name: `${run}-topical`,
  password: 'secret',
  permissions: [{ vhost: '/', ...all }],
  topicPermissions: [
    { vhost: '/', exchange: TOPICS, write: '^mine\\.', read: '^yours\\.' },
    { vhost: '/', exchange: OWN_TOPICS, write: '^{username}\\.', read: '.*' },
  ],
};

const { target: broker, accounts } = useAccounts(
  [LIMITED, NOTHING, DEFAULT_ONLY, NOWHERE, ELSEWHERE, IMPERSONATOR, TOPICAL],
  [OTHER_VHOST],
);

type Permission = 'configure' | 'write' | 'read';
type Kind = 'exchange' | 'queue';

/** A scene and a channel of one of the accounts. */
async function as(target: Target, { name, password }: Account): Promise<{ t: Scene; channel: Channel }> {
  accounts.need();
  const t = await scene(target);
  return { t, channel: await t.stranger({ user: name, password }) };
}

/** One thing an operation touches, with the permissions it needs there. */
interface Need {
  readonly kind: Kind;
  readonly permissions: readonly Permission[];
  /** Whether it must exist before the operation. */
  readonly exists: boolean;
}

interface Operation {
  readonly rule: string;
  readonly what: string;
  readonly method: string;
  readonly needs: readonly Need[];
  readonly fields: (names: readonly string[]) => Record<string, unknown>;
}

const operations: readonly Operation[] = [
  {
    rule: '11.1.exchange-declare',
    what: 'declare an exchange',
    method: 'exchange.declare',
    needs: [{ kind: 'exchange', permissions: ['configure'], exists: false }],
    fields: ([exchange]) => ({ exchange, type: 'fanout' }),
  },
  {
    rule: '11.1.exchange-declare',
    what: 'redeclare an exchange',
    method: 'exchange.declare',
    needs: [{ kind: 'exchange', permissions: ['configure'], exists: true }],
    fields: ([exchange]) => ({ exchange, type: 'fanout' }),
  },
  {
    rule: '11.1.exchange-declare',
    what: 'delete an exchange',
    method: 'exchange.delete',
    needs: [{ kind: 'exchange', permissions: ['configure'], exists: true }],
    fields: ([exchange]) => ({ exchange }),
  },
  {
    rule: '11.1.alternate',
    what: 'declare with an alternate exchange',
    method: 'exchange.declare',
    needs: [
      { kind: 'exchange', permissions: ['configure', 'read'], exists: false },
      { kind: 'exchange', permissions: ['write'], exists: true },
    ],
    fields: ([exchange, alternate]) => ({
      exchange,
      type: 'fanout',
      arguments: { 'alternate-exchange': alternate },
    }),
  },
  {
    rule: '11.1.queue-declare',
    what: 'declare a queue',
    method: 'queue.declare',
    needs: [{ kind: 'queue', permissions: ['configure'], exists: false }],
    fields: ([queue]) => ({ queue }),
  },
  {
    rule: '11.1.queue-declare',
    what: 'redeclare a queue',
    method: 'queue.declare',
    needs: [{ kind: 'queue', permissions: ['configure'], exists: true }],
    fields: ([queue]) => ({ queue }),
  },
  {
    rule: '11.1.queue-declare',
    what: 'delete a queue',
    method: 'queue.delete',
    needs: [{ kind: 'queue', permissions: ['configure'], exists: true }],
    fields: ([queue]) => ({ queue }),
  },
  {
    rule: '11.1.dead-letter',
    what: 'declare with a dead-letter exchange',
    method: 'queue.declare',
    needs: [
      { kind: 'queue', permissions: ['configure', 'read'], exists: false },
      { kind: 'exchange', permissions: ['write'], exists: true },
    ],
    fields: ([queue, dlx]) => ({ queue, arguments: { 'x-dead-letter-exchange': dlx } }),
  },
  {
    rule: '11.1.queue-bind',
    what: 'bind a queue',
    method: 'queue.bind',
    needs: [
      { kind: 'queue', permissions: ['write'], exists: true },
      { kind: 'exchange', permissions: ['read'], exists: true },
    ],
    fields: ([queue, exchange]) => ({ queue, exchange, routingKey: 'k' }),
  },
  {
    rule: '11.1.queue-bind',
    what: 'unbind a queue',
    method: 'queue.unbind',
    needs: [
      { kind: 'queue', permissions: ['write'], exists: true },
      { kind: 'exchange', permissions: ['read'], exists: true },
    ],
    fields: ([queue, exchange]) => ({ queue, exchange, routingKey: 'k' }),
  },
  {
    rule: '11.1.exchange-bind',
    what: 'bind an exchange',
    method: 'exchange.bind',
    needs: [
      { kind: 'exchange', permissions: ['write'], exists: true },
      { kind: 'exchange', permissions: ['read'], exists: true },
    ],
    fields: ([destination, source]) => ({ destination, source, routingKey: 'k' }),
  },
  {
    rule: '11.1.exchange-bind',
    what: 'unbind an exchange',
    method: 'exchange.unbind',
    needs: [
      { kind: 'exchange', permissions: ['write'], exists: true },
      { kind: 'exchange', permissions: ['read'], exists: true },
    ],
    fields: ([destination, source]) => ({ destination, source, routingKey: 'k' }),
  },
  {
    rule: '11.1.purge',
    what: 'purge a queue',
    method: 'queue.purge',
    needs: [{ kind: 'queue', permissions: ['read'], exists: true }],
    fields: ([queue]) => ({ queue }),
  },
  {
    rule: '11.1.consume',
    what: 'consume',
    method: 'basic.consume',
    needs: [{ kind: 'queue', permissions: ['read'], exists: true }],
    fields: ([queue]) => ({ queue }),
  },
  {
    rule: '11.1.consume',
    what: 'get',
    method: 'basic.get',
    needs: [{ kind: 'queue', permissions: ['read'], exists: true }],
    fields: ([queue]) => ({ queue }),
  },
];

/** Names with exactly the needed permissions, but for one that is left out; the things that must exist are made. */
async function prepare(
  t: Scene,
  needs: readonly Need[],
  leftOut: { at: number; permission: Permission } | null,
): Promise<string[]> {
  const names: string[] = [];
  for (const [at, { kind, permissions, exists }] of needs.entries()) {
    const granted = permissions.filter(
      (permission) => leftOut?.at !== at || leftOut.permission !== permission,
    );
    const label = `thing${granted.map((permission) => `.${permission[0]}`).join('')}`;
    const name = kind === 'queue' ? t.queueName(label) : t.exchangeName(label);
    if (exists && kind === 'queue') await t.channel.call('queue.declare', { queue: name });
    if (exists && kind === 'exchange')
      await t.channel.call('exchange.declare', { exchange: name, type: 'fanout' });
    names.push(name);
  }
  return names;
}

/** The first words of a refusal; see rule 11.1.text. */
const accessTo = (permission: Permission): string =>
  broker.isRabbitMQBelow('3.12.0') ? 'access to' : `${permission} access to`;
const refusal = (permission: Permission, kind: Kind, name: string, user: Account): string =>
  `${accessTo(permission)} ${kind} '${name}' in vhost '/' refused for user '${user.name}'`;

/** The tests of one rule's operations: allowed with what they need, refused when any of it is missing. */
function casesOf(id: string): { title: string; body: RuleTest }[] {
  return operations
    .filter((operation) => operation.rule === id)
    .flatMap(({ what, method, needs, fields }) => {
      const needed = needs
        .map(({ kind, permissions }) => `${permissions.join(' and ')} on the ${kind}`)
        .join(', ');
      const allowed = {
        title: `${what}: allowed with ${needed}`,
        body: async (target: Target) => {
          const { t, channel } = await as(target, LIMITED);
          await channel.call(method, fields(await prepare(t, needs, null)));
        },
      };
      const refused = needs.flatMap(({ kind, permissions }, at) =>
        permissions.map((permission) => ({
          title: `${what}: refused without ${permission} on the ${kind} (${at + 1})`,
          body: async (target: Target) => {
            const { t, channel } = await as(target, LIMITED);
            const names = await prepare(t, needs, { at, permission });
            await channel.refused(() => channel.call(method, fields(names)), {
              code: 403,
              text: refusal(permission, kind, names[at]!, LIMITED),
              method,
            });
          },
        })),
      );
      return [allowed, ...refused];
    });
}
for (const { title, body } of casesOf('11.1.exchange-declare')) rule('11.1.exchange-declare', title, body);
for (const { title, body } of casesOf('11.1.alternate')) rule('11.1.alternate', title, body);
for (const { title, body } of casesOf('11.1.queue-declare')) rule('11.1.queue-declare', title, body);
for (const { title, body } of casesOf('11.1.dead-letter')) rule('11.1.dead-letter', title, body);
for (const { title, body } of casesOf('11.1.queue-bind')) rule('11.1.queue-bind', title, body);
for (const { title, body } of casesOf('11.1.exchange-bind')) rule('11.1.exchange-bind', title, body);
for (const { title, body } of casesOf('11.1.purge')) rule('11.1.purge', title, body);
for (const { title, body } of casesOf('11.1.consume')) rule('11.1.consume', title, body);

rule('11.1.publish', 'publish: allowed with write on the exchange', async (target) => {
  const { t, channel } = await as(target, LIMITED);
  const exchange = t.exchangeName('x.w');
  await t.channel.call('exchange.declare', { exchange, type: 'fanout' });
  const queue = await t.boundQueue(exchange);
  await channel.confirms();
  await channel.publishConfirmed(exchange, '', ['x']);
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('11.1.publish', 'publish: refused without write on the exchange', async (target) => {
  const { t, channel } = await as(target, LIMITED);
  const exchange = t.exchangeName('x.c.r');
  await t.channel.call('exchange.declare', { exchange, type: 'fanout' });
  await channel.refused(() => channel.publish(exchange, '', 'x'), {
    code: 403,
    text: refusal('write', 'exchange', exchange, LIMITED),
    method: 'basic.publish',
  });
});

rule(
  '11.1.default-exchange',
  'without write on amq.default nothing can be published to a queue by its name',
  async (target) => {
    const { t, channel } = await as(target, LIMITED);
    const queue = t.queueName('q.c.w.r');
    await t.channel.call('queue.declare', { queue });
    await channel.refused(() => channel.publish('', queue, 'x'), {
      code: 403,
      text: refusal('write', 'exchange', 'amq.default', LIMITED),
      method: 'basic.publish',
    });
  },
);

rule('11.1.default-exchange', 'write on amq.default is enough for any queue, and no more', async (target) => {
  const { t, channel } = await as(target, DEFAULT_ONLY);
  const queue = await t.queue();
  await channel.confirms();
  await channel.publishConfirmed('', queue, ['x']);
  expect(await t.channel.drain(queue)).toEqual(['x']);
  await channel.refused(() => channel.publish('amq.fanout', '', 'x'), {
    code: 403,
    text: refusal('write', 'exchange', 'amq.fanout', DEFAULT_ONLY),
    method: 'basic.publish',
  });
});

rule('11.1.default-exchange', 'a direct reply needs write on amq.default only', async (target) => {
  const { channel } = await as(target, DEFAULT_ONLY);
  const replies = await channel.consume('amq.rabbitmq.reply-to', { noAck: true });
  const asked = await as(target, DEFAULT_ONLY);
  const queue = await asked.t.queue();
  channel.publish('', queue, 'request', { replyTo: 'amq.rabbitmq.reply-to' });
  const request = await asked.t.channel.consume(queue, { noAck: true });
  asked.channel.publish('', (await request.next()).properties.replyTo as string, 'reply');
  expect((await replies.next()).body).toBe('reply');
});

/** Publishes where it is not allowed and expects exactly this text. */
async function refusedWith(target: Target, first: string): Promise<void> {
  const { channel } = await as(target, NOTHING);
  await channel.refused(() => channel.publish('amq.topic', 'k', 'x'), {
    code: 403,
    text: `${first} to exchange 'amq.topic' in vhost '/' refused for user '${NOTHING.name}'`,
    method: 'basic.publish',
  });
}
rule('11.1.text', 'for a publish', (target) => refusedWith(target, 'write access'), {
  onRabbitMQ: (target) => refusedWith(target, 'access'),
});

rule('11.1.pattern', 'an empty pattern allows nothing, but connecting', async (target) => {
  const { t, channel } = await as(target, NOTHING);
  const queue = t.queueName('q.c.w.r');
  await channel.refused(() => channel.call('queue.declare', { queue }), {
    code: 403,
    text: refusal('configure', 'queue', queue, NOTHING),
    method: 'queue.declare',
  });
});

rule('11.1.pattern', 'a pattern that matches in the middle of the name is enough', async (target) => {
  const { t, channel } = await as(target, LIMITED);
  const queue = t.queueName('before.cafter');
  await channel.call('queue.declare', { queue });
});

rule('11.1.pattern', 'a server-named queue is checked by its name', async (target) => {
  const { channel } = await as(target, LIMITED);
  await channel.refused(() => channel.call('queue.declare', { queue: '', exclusive: true }), {
    code: 403,
    text: /access to queue 'amq\.gen-[A-Za-z0-9_-]{22}' in vhost '\/' refused for user /,
    method: 'queue.declare',
  });
});

rule(
  '11.1.free',
  'a user without any permission may set limits, select modes, recover and cancel',
  async (target) => {
    const { t, channel } = await as(target, NOTHING);
    await channel.qos(5);
    await channel.qos(5, true);
    await channel.call('basic.recover', { requeue: true });
    await channel.call('basic.cancel', { consumerTag: 'none' });
    await channel.call('confirm.select');
    const tx = await t.stranger({ user: NOTHING.name, password: NOTHING.password });
    await tx.call('tx.select');
    await tx.call('tx.commit');
    await tx.call('tx.rollback');
  },
);

rule('11.1.free', 'read on the queue is all that acknowledging needs', async (target) => {
  const { t, channel } = await as(target, LIMITED);
  const queue = t.queueName('q.r');
  await t.channel.call('queue.declare', { queue });
  t.channel.publishAll(queue, ['1', '2', '3']);
  const consumer = await channel.consume(queue);
  const [first, second, third] = await consumer.take(3);
  channel.ack(first!);
  channel.nack(second!, { requeue: false });
  channel.reject(third!, false);
  await channel.fence();
  expect(channel.closing).toBeNull();
});

const blind: readonly (readonly [string, Permission, Kind, Record<string, unknown>])[] = [
  ['queue.bind', 'write', 'queue', { exchange: 'amq.fanout' }],
  ['queue.purge', 'read', 'queue', {}],
  ['queue.delete', 'configure', 'queue', {}],
  ['basic.get', 'read', 'queue', {}],
  ['basic.consume', 'read', 'queue', {}],
];
for (const [method, permission, kind, fields] of blind) {
  rule(
    '11.1.order',
    `${method} of a queue that is not there tells nothing but the refusal`,
    async (target) => {
      const { t, channel } = await as(target, LIMITED);
      const queue = t.queueName('secret');
      await channel.refused(() => channel.call(method, { queue, ...fields }), {
        code: 403,
        text: refusal(permission, kind, queue, LIMITED),
        method,
      });
    },
  );
}

rule(
  '11.1.order',
  'publish to an exchange that is not there, and a redeclare that differs',
  async (target) => {
    const { t, channel } = await as(target, LIMITED);
    const exchange = t.exchangeName('secret');
    await channel.refused(() => channel.publish(exchange, '', 'x'), {
      code: 403,
      text: refusal('write', 'exchange', exchange, LIMITED),
      method: 'basic.publish',
    });
    const queue = await t.queue({ durable: true });
    const other = await t.stranger({ user: LIMITED.name, password: LIMITED.password });
    await other.refused(() => other.call('queue.declare', { queue, autoDelete: true }), {
      code: 403,
      text: refusal('configure', 'queue', queue, LIMITED),
      method: 'queue.declare',
    });
  },
);

for (const kind of ['queue', 'exchange'] as const) {
  const method = `${kind}.declare`;
  rule(
    '11.1.passive',
    `of ${kind === 'queue' ? 'a queue' : 'an exchange'}: any of the three is enough, none is too little`,
    async (target) => {
      const { t, channel } = await as(target, LIMITED);
      for (const label of ['x.c', 'x.w', 'x.r']) {
        const name = kind === 'queue' ? t.queueName(label) : t.exchangeName(label);
        await t.channel.call(method, { [kind]: name, type: 'fanout' });
        await channel.call(method, { [kind]: name, type: 'fanout', passive: true });
      }
      const name = kind === 'queue' ? await t.queue() : await t.exchange('fanout');
      await channel.refused(() => channel.call(method, { [kind]: name, type: 'fanout', passive: true }), {
        code: 403,
        text: new RegExp(`access to ${kind} '${name}' in vhost '/' refused for user '${LIMITED.name}'$`),
        method,
      });
    },
    {
      onRabbitMQ: async (target) => {
        const { t, channel } = await as(target, NOTHING);
        const name = kind === 'queue' ? await t.queue() : await t.exchange('fanout');
        await channel.call(method, { [kind]: name, type: 'fanout', passive: true });
      },
    },
  );
}

for (const [what, user, vhost] of [
  ['a user without any permission entry', NOWHERE, '/'],
  ['a user with an entry for another vhost only', ELSEWHERE, '/'],
  ['a user with an entry for the default vhost only', LIMITED, OTHER_VHOST],
] as const) {
  rule('11.1.vhost', `${what} is refused at open`, async (target) => {
    accounts.need();
    const client = await target.connect();
    await client.authenticate(user.name, user.password);
    client.sendMethod(0, 'connection.tune-ok', { channelMax: 10, frameMax: 131_072, heartbeat: 0 });
    client.sendMethod(0, 'connection.open', { virtualHost: vhost });
    expect(await client.expectConnectionClose()).toEqual({
      code: 530,
      text: `NOT_ALLOWED - access to vhost '${vhost}' refused for user '${user.name}'`,
      classId: 10,
      methodId: 40,
    });
  });
}

rule('11.1.vhost', 'vhosts share no names', async (target) => {
  accounts.need();
  const t = await scene(target);
  const there = await t.stranger({ user: ELSEWHERE.name, password: ELSEWHERE.password, vhost: OTHER_VHOST });
  const queue = await t.queue();
  await there.call('queue.declare', { queue, exclusive: true });
  t.channel.publish('', queue, 'here');
  there.publish('', queue, 'there');
  expect(await t.channel.drain(queue)).toEqual(['here']);
  expect(await there.drain(queue)).toEqual(['there']);
  await there.refused(() => there.call('queue.bind', { queue: 'none', exchange: 'amq.fanout' }), {
    code: 404,
    text: `no queue 'none' in vhost '${OTHER_VHOST}'`,
    method: 'queue.bind',
  });
});

rule(
  '11.1.impersonator',
  'a tagged user publishes in the name of another, an ordinary one does not',
  async (target) => {
    const { t, channel } = await as(target, IMPERSONATOR);
    const queue = await t.queue();
    await channel.confirms();
    await channel.publishConfirmed('', queue, ['x'], { userId: 'somebody' });
    expect((await t.channel.get(queue))!.properties.userId).toBe('somebody');
    const ordinary = await t.stranger({ user: DEFAULT_ONLY.name, password: DEFAULT_ONLY.password });
    await ordinary.refused(() => ordinary.publish('', queue, 'x', { userId: 'somebody' }), {
      code: 406,
      text: `user_id property set to 'somebody' but authenticated user was '${DEFAULT_ONLY.name}'`,
      method: 'basic.publish',
    });
  },
);

/** The scene's first user declares the topic exchange of a name the permissions speak of. */
async function topical(target: Target, exchange: string): Promise<{ t: Scene; channel: Channel }> {
  const { t, channel } = await as(target, TOPICAL);
  await t.channel.call('exchange.declare', { exchange, type: 'topic' });
  return { t, channel };
}
const topicRefusal = (permission: Permission, key: string, exchange: string): string =>
  `${accessTo(permission)} topic '${key}' in exchange '${exchange}' in vhost '/' refused for user '${TOPICAL.name}'`;

rule('11.1.topic', 'publish: an allowed key passes, another is refused', async (target) => {
  const { t, channel } = await topical(target, TOPICS);
  const queue = await t.boundQueue(TOPICS, '#');
  await channel.confirms();
  await channel.publishConfirmed(TOPICS, 'mine.x', ['x']);
  expect(await t.channel.drain(queue)).toEqual(['x']);
  await channel.refused(() => channel.publish(TOPICS, 'other.x', 'no'), {
    code: 403,
    text: topicRefusal('write', 'other.x', TOPICS),
    method: 'basic.publish',
  });
});

rule(
  '11.1.topic-cc',
  'a forbidden key in CC or BCC is refused',
  async (target) => {
    const { t, channel } = await topical(target, TOPICS);
    await channel.refused(
      () => channel.publish(TOPICS, 'mine.x', 'no', { headers: { CC: ['mine.y', 'other.y'] } }),
      { code: 403, text: topicRefusal('write', 'other.y', TOPICS), method: 'basic.publish' },
    );
    const second = await t.stranger({ user: TOPICAL.name, password: TOPICAL.password });
    await second.refused(() => second.publish(TOPICS, 'mine.x', 'no', { headers: { BCC: ['secret'] } }), {
      code: 403,
      text: topicRefusal('write', 'secret', TOPICS),
      method: 'basic.publish',
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { channel } = await topical(target, TOPICS);
      await channel.confirms();
      await channel.publishConfirmed(TOPICS, 'mine.x', ['x'], { headers: { CC: ['other.y'] } });
    },
  },
);

for (const method of ['queue.bind', 'queue.unbind'] as const) {
  rule('11.1.topic', `${method}: an allowed key passes, another is refused`, async (target) => {
    const { t, channel } = await topical(target, TOPICS);
    const queue = await t.queue();
    await channel.call(method, { queue, exchange: TOPICS, routingKey: 'yours.#' });
    await channel.refused(() => channel.call(method, { queue, exchange: TOPICS, routingKey: '#' }), {
      code: 403,
      text: topicRefusal('read', '#', TOPICS),
      method,
    });
  });
}

rule('11.1.topic', 'a pattern may name the user', async (target) => {
  const { channel } = await topical(target, OWN_TOPICS);
  await channel.confirms();
  await channel.publishConfirmed(OWN_TOPICS, `${TOPICAL.name}.x`, ['x']);
  await channel.refused(() => channel.publish(OWN_TOPICS, `${LIMITED.name}.x`, 'no'), {
    code: 403,
    text: topicRefusal('write', `${LIMITED.name}.x`, OWN_TOPICS),
    method: 'basic.publish',
  });
});

rule(
  '11.1.topic',
  'a topic exchange without an entry, and other users, are not restricted',
  async (target) => {
    const { t, channel } = await topical(target, TOPICS);
    const exchange = await t.exchange('topic');
    const queue = await t.queue();
    await channel.call('queue.bind', { queue, exchange, routingKey: '#' });
    await channel.confirms();
    await channel.publishConfirmed(exchange, 'any.key', ['x']);
    await t.channel.confirms();
    await t.channel.publishConfirmed(TOPICS, 'any.key', ['y']);
    expect(await t.channel.drain(queue)).toEqual(['x']);
  },
);

rule('8.2.permission', 'a reject of somebody who may only read', async (target) => {
  const { t, channel } = await as(target, LIMITED);
  const dead = await t.queue();
  const queue = t.queueName('source.r');
  await t.channel.call('queue.declare', {
    queue,
    arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
  });
  t.channel.publish('', queue, 'a');
  await t.channel.untilReady(queue, 1);
  channel.reject((await channel.get(queue))!, false);
  await t.channel.untilReady(dead, 1);
});

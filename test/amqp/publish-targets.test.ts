// What is remembered of a publish holds only as long as permissions and topology stand; and a login that changes under way.

import { describe, expect, it } from 'vitest';
import {
  PublishTargets,
  SharedTargets,
  TARGETS_MAX,
  TARGETS_MIN,
  TARGETS_OF_ALL_MAX,
} from '../../src/amqp/publish-targets.ts';
import type { VHost } from '../../src/node/vhost.ts';
import { SeededRandom } from '../support/faulty-engine.ts';
import { type Fields, method, openWorld, type Peer, publish, type World } from './world.ts';

const ALL = { configure: '.*', write: '.*', read: '.*' };

async function publisher(world: World): Promise<Peer> {
  world.user('alice', 'alice');
  const peer = await world.client({ user: 'alice', channels: [1, 2, 3, 4] });
  await peer.send(
    method(1, 'queue.declare', { queue: 'q' }),
    method(1, 'queue.declare', { queue: 'p' }),
    method(1, 'exchange.declare', { exchange: 'e', type: 'direct' }),
    method(1, 'exchange.declare', { exchange: 't', type: 'topic' }),
    method(1, 'queue.bind', { queue: 'q', exchange: 'e', routingKey: 'k' }),
    method(1, 'queue.bind', { queue: 'q', exchange: 't', routingKey: '#' }),
  );
  peer.frames();
  return peer;
}

/** The reply code of the close that a publish earns; null for none. */
async function refused(peer: Peer, channel: number, exchange: string, key: string): Promise<unknown> {
  await peer.send(publish(channel, exchange, key, 'x'));
  const close = peer.frames().find(({ name }) => name === 'channel.close');
  if (close !== undefined)
    await peer.send(method(channel, 'channel.close-ok'), method(channel, 'channel.open'));
  peer.frames();
  return close?.fields['replyCode'] ?? null;
}

describe('a publish that was seen before', () => {
  it('is refused when the permission to write was taken away, and taken when it is given back', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    expect(await refused(peer, 1, 'e', 'k')).toBe(null);
    world.node.users.setPermissions('alice', '/', { ...ALL, write: '^$' });
    expect(await refused(peer, 1, 'e', 'k')).toBe(403);
    world.node.users.setPermissions('alice', '/', ALL);
    expect(await refused(peer, 1, 'e', 'k')).toBe(null);
    expect(world.queue('q').messageCount).toBe(2);
  });

  it('is refused when the permission for its topic was taken away', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    expect(await refused(peer, 1, 't', 'news.uk')).toBe(null);
    world.node.users.setTopicPermissions('alice', '/', 't', { write: '^sport', read: '.*' });
    expect(await refused(peer, 1, 't', 'news.uk')).toBe(403);
    expect(await refused(peer, 1, 't', 'sport.uk')).toBe(null);
  });

  it('is refused when its exchange is gone, and reaches the one that takes its place', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    expect(await refused(peer, 1, 'e', 'k')).toBe(null);
    await peer.send(method(2, 'exchange.delete', { exchange: 'e' }));
    expect(await refused(peer, 1, 'e', 'k')).toBe(404);
    await peer.send(
      method(2, 'exchange.declare', { exchange: 'e', type: 'fanout' }),
      method(2, 'queue.bind', { queue: 'p', exchange: 'e' }),
    );
    expect(await refused(peer, 1, 'e', 'k')).toBe(null);
    expect([world.queue('q').messageCount, world.queue('p').messageCount]).toEqual([1, 1]);
    await peer.send(
      method(2, 'exchange.delete', { exchange: 'e' }),
      method(2, 'exchange.declare', { exchange: 'e', type: 'direct', internal: true }),
    );
    expect(await refused(peer, 1, 'e', 'k')).toBe(403);
  });

  it('follows bindings that come and go', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    const counts = () => [world.queue('q').messageCount, world.queue('p').messageCount];
    const bind = (name: string) => method(2, name, { queue: 'p', exchange: 'e', routingKey: 'k' });
    await refused(peer, 1, 'e', 'k');
    expect(counts()).toEqual([1, 0]);
    await peer.send(bind('queue.bind'));
    await refused(peer, 1, 'e', 'k');
    expect(counts()).toEqual([2, 1]);
    await peer.send(bind('queue.unbind'));
    await refused(peer, 1, 'e', 'k');
    expect(counts()).toEqual([3, 1]);
    await peer.send(method(2, 'queue.delete', { queue: 'q' }), method(2, 'queue.declare', { queue: 'q' }));
    await refused(peer, 1, 'e', 'k');
    expect(counts()).toEqual([0, 1]);
    // The default exchange knows the new queue of the old name.
    await refused(peer, 1, '', 'q');
    expect(counts()).toEqual([1, 1]);
  });

  it('is one of many, and each goes where it should', async () => {
    const random = new SeededRandom(5);
    const world = await openWorld();
    const peer = await world.client();
    const queues = Array.from({ length: 700 }, (_, i) => `queue-${i}`);
    for (const queue of queues) peer.push(method(1, 'queue.declare', { queue }));
    await world.settle();
    const expected = new Map<string, number>();
    for (let i = 0; i < 3000; i++) {
      const queue = queues[random.below(queues.length)]!;
      expected.set(queue, (expected.get(queue) ?? 0) + 1);
      peer.push(publish(1, '', queue, 'x'));
    }
    await world.settle();
    for (const queue of queues) expect(world.queue(queue).messageCount).toBe(expected.get(queue) ?? 0);
  });

  it('differs from another one in flags, exchange or key, however alike their bytes are', () => {
    const targets = new PublishTargets();
    const seen = new Map<string, object>();
    const find = (fields: Fields) => {
      const octets = method(1, 'basic.publish', fields);
      return targets.find(octets, 7, octets.length - 1);
    };
    const cases: Fields[] = [
      { exchange: 'a', routingKey: 'bc' },
      { exchange: 'ab', routingKey: 'c' },
      { exchange: '', routingKey: 'abc' },
      { exchange: 'abc', routingKey: '' },
      { exchange: 'a', routingKey: 'bc', mandatory: true },
      { exchange: 'a', routingKey: 'bc', immediate: true },
      { exchange: 'a', routingKey: 'bc', mandatory: true, immediate: true },
    ];
    for (const fields of cases) {
      const target = find(fields);
      expect(target.address.exchange).toBe(fields['exchange']);
      expect(target.address.routingKey).toBe(fields['routingKey']);
      expect([target.mandatory, target.immediate]).toEqual([
        fields['mandatory'] ?? false,
        fields['immediate'] ?? false,
      ]);
      expect([...seen.values()]).not.toContain(target);
      seen.set(JSON.stringify(fields), target);
    }
    // The ticket is no part of what a publish means.
    expect(find({ exchange: 'a', routingKey: 'bc', ticket: 7 })).toBe(
      find({ exchange: 'a', routingKey: 'bc' }),
    );
  });
});

describe('what is remembered of publishes', () => {
  const vhost = (): VHost => ({ generation: 1 }) as unknown as VHost;
  const octetsOf = (routingKey: string): Buffer => method(1, 'basic.publish', { exchange: '', routingKey });
  const find = (targets: PublishTargets, octets: Buffer) => targets.find(octets, 7, octets.length - 1);
  const publishOf = (targets: PublishTargets, routingKey: string) => find(targets, octetsOf(routingKey));
  /** From the second time on. */
  const remember = (targets: PublishTargets, routingKey: string) => {
    publishOf(targets, routingKey);
    return publishOf(targets, routingKey);
  };

  it('is there again for as many keys as the limit says, whatever their order', () => {
    const targets = new PublishTargets();
    const keys = Array.from({ length: TARGETS_MAX }, (_, i) => octetsOf(`site${i % 100}.unit${i}.state`));
    for (let round = 0; round < 2; round++) for (const key of keys) find(targets, key);
    // Of those that share a place with others when they come for the first time, some are known some rounds later.
    for (let round = 0; round < 8; round++) for (const key of keys) find(targets, key);
    const known = keys.map((key) => find(targets, key));
    const again = keys.filter((key, i) => find(targets, key) === known[i]).length;
    expect(again).toBeGreaterThan(keys.length * 0.98);
    for (const key of keys) expect(find(targets, key).address.wire).toEqual(key.subarray(13, -2));
  });

  it('takes no memory for keys that come once each', () => {
    const targets = new PublishTargets();
    for (let i = 0; i < 5_000; i++) publishOf(targets, `reply-${i}`);
    expect(targets.count).toBeLessThan(10);
  });

  it('is never more than the limit for one user, and little for each of very many', () => {
    const shared = new SharedTargets();
    const host = vhost();
    const keys = Array.from({ length: 2.5 * TARGETS_MAX }, (_, i) => octetsOf(`key-${i}`));
    for (let user = 0; user < 10; user++) {
      const targets = shared.join(host, `user ${user}`);
      for (const key of keys) {
        find(targets, key);
        find(targets, key);
      }
      expect(targets.count).toBeLessThanOrEqual(2 * TARGETS_MAX);
    }
    expect(shared.count).toBeGreaterThan(TARGETS_OF_ALL_MAX / 2);
    expect(shared.count).toBeLessThanOrEqual(TARGETS_OF_ALL_MAX + 10 * 2 * TARGETS_MIN);
  });

  it('keeps what is used while others come and go', () => {
    const targets = new PublishTargets();
    const used = remember(targets, 'used');
    const passing = Array.from({ length: 3 * TARGETS_MAX }, (_, i) => octetsOf(`passing-${i}`));
    passing.forEach((octets, i) => {
      find(targets, octets);
      find(targets, octets);
      if (i % 1_000 === 0) expect(publishOf(targets, 'used')).toBe(used);
    });
    expect(publishOf(targets, 'used')).toBe(used);
  });

  it('is shared by the connections of one user in one vhost, and forgotten with the last of them', () => {
    const shared = new SharedTargets();
    const host = vhost();
    const first = shared.join(host, 'alice');
    const second = shared.join(host, 'alice');
    expect(second).toBe(first);
    expect(shared.join(host, 'bob')).not.toBe(first);
    expect(shared.join(vhost(), 'alice')).not.toBe(first);
    const target = remember(first, 'k');
    shared.leave(first);
    expect(publishOf(second, 'k')).toBe(target);
    shared.leave(second);
    expect(shared.count).toBe(0);
    expect(publishOf(shared.join(host, 'alice'), 'k')).not.toBe(target);
  });

  it('lets go of queues that are gone, though nobody publishes to them any more', async () => {
    const world = await openWorld();
    const peer = await world.client();
    const other = await world.client();
    await other.send(method(1, 'queue.declare', { queue: 'brief', exclusive: true }));
    await peer.send(method(1, 'queue.declare', { queue: 'q' }));
    for (let i = 0; i < 3; i++) await peer.send(publish(1, '', 'brief', 'x'), publish(1, '', 'q', 'x'));
    const targets = world.targets.join(world.vhost, 'guest');
    const routes = () =>
      ['brief', 'q'].map((key) => publishOf(targets, key)).filter(({ route }) => route !== null).length;
    expect(routes()).toBe(2);
    await other.break();
    await world.settle();
    expect(routes()).toBe(0);
    await peer.send(publish(1, '', 'q', 'x'));
    expect(routes()).toBe(1);
    expect(world.queue('q').messageCount).toBe(4);
    world.targets.leave(targets);
  });
});

describe('connection.update-secret', () => {
  const update = (newSecret: string) =>
    method(0, 'connection.update-secret', { newSecret: Buffer.from(newSecret), reason: 'refresh' });

  it('keeps requests that come behind it in order', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    await peer.send(method(1, 'basic.qos'), update('alice'), method(1, 'basic.qos'));
    expect(peer.names()).toEqual(['basic.qos-ok', 'connection.update-secret-ok', 'basic.qos-ok']);
  });

  it('cancels consumers that may not read any more, and no others', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    await peer.send(
      method(1, 'basic.consume', { queue: 'q', consumerTag: 'of q' }),
      method(2, 'basic.consume', { queue: 'p', consumerTag: 'of p' }),
      method(2, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'replies', noAck: true }),
    );
    peer.frames();
    world.node.users.setPermissions('alice', '/', { ...ALL, read: '^p$' });
    await peer.send(update('alice'));
    const frames = peer.frames();
    expect(frames.map(({ name }) => name)).toEqual(['basic.cancel', 'connection.update-secret-ok']);
    expect(frames[0]!.fields['consumerTag']).toBe('of q');
    expect([world.queue('q').consumerCount, world.queue('p').consumerCount]).toEqual([0, 1]);
  });

  it.each([
    ['a wrong secret', 'wrong', 'New secret was refused by one of the backends'],
    ['a user who may not use the vhost any more', 'alice', 'New secret was refused by one of the backends'],
  ])('with %s ends the connection', async (what, secret, text) => {
    const world = await openWorld();
    const peer = await publisher(world);
    if (secret === 'alice') world.node.users.clearPermissions('alice', '/');
    await peer.send(update(secret));
    const [close] = peer.frames();
    expect(close!.fields, what).toMatchObject({
      replyCode: 530,
      replyText: `NOT_ALLOWED - ${text}`,
      classId: 10,
      methodId: 70,
    });
  });

  it('that cannot be checked is refused in RabbitMQ’s words, and is no bug', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    world.node.login.withPassword = () => Promise.reject(new Error('too many password checks are waiting'));
    await peer.send(update('alice'));
    const [close] = peer.frames();
    expect(close!.fields).toMatchObject({ replyCode: 530, replyText: 'NOT_ALLOWED - Secret update failed' });
    expect(world.lines('error')).toEqual([]);
  });

  it('that is still being checked when the connection ends is forgotten', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    let answer: () => void = () => {};
    const { login } = world.node;
    login.withPassword = (name) =>
      new Promise((resolve) => {
        answer = () => resolve(login.withoutPassword(name, '127.0.0.1'));
      });
    await peer.send(update('alice'), method(1, 'queue.declare', { queue: 'behind it' }));
    await peer.break();
    answer();
    await world.settle();
    expect(world.leftovers()).toEqual([]);
    expect(world.queue('behind it')).toBe(undefined);
  });

  it('that is still being checked when the broker closes the connection says nothing more', async () => {
    const world = await openWorld();
    const peer = await publisher(world);
    let answer: () => void = () => {};
    const { login } = world.node;
    login.withPassword = (name) =>
      new Promise((resolve) => {
        answer = () => resolve(login.withoutPassword(name, '127.0.0.1'));
      });
    await peer.send(update('alice'));
    peer.connection.close('connection-forced', 'shutdown');
    answer();
    await world.settle();
    expect(peer.names()).toEqual(['connection.close']);
    await peer.send(method(0, 'connection.close-ok'));
    expect(peer.socket.endedByUs).toBe(true);
  });
});

describe('a login', () => {
  it('with a password that is known to be right is over at once, and reading never stops for it', async () => {
    const world = await openWorld();
    const { login } = world.node;
    login.withPassword = () => Promise.reject(new Error('nobody should ask'));
    login.withKnownPassword = (name) => login.withoutPassword(name, '127.0.0.1');
    const peer = await world.client();
    expect(peer.connection.state).toBe('running');
    expect(world.lines('warn')).toEqual([]);
  });

  it('that cannot be checked is refused like a wrong one, and is no bug', async () => {
    const world = await openWorld();
    world.node.login.withPassword = () => Promise.reject(new Error('too many password checks are waiting'));
    const peer = await world.client();
    expect(world.lines('error')).toEqual([]);
    expect(world.lines('warn').some((line) => line.includes('too many password checks'))).toBe(true);
    await world.pass(10_000);
    expect(peer.socket.destroyed).toBe(true);
    expect(world.leftovers()).toEqual([]);
  });
});

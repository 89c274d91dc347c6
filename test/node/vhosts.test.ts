// Virtual hosts and users as people manage them.

import { describe, expect, it } from 'vitest';
import { hashPasswordFast } from '../../src/auth/password.ts';
import type { Reason } from '../../src/base/errors.ts';
import {
  clearPassword,
  clearPermissions,
  clearTopicPermissions,
  deleteUser,
  putUser,
  setPassword,
  setPermissions,
  setTopicPermissions,
  setUserTags,
} from '../../src/node/accounts.ts';
import type { ClientConnection } from '../../src/node/connections.ts';
import { deleteVHost, putVHost } from '../../src/node/vhosts.ts';
import { NodeKit, refusal } from './kit.ts';

const ALL = { configure: '.*', write: '.*', read: '.*' };

/** A connection that remembers what it was told. */
class FakeConnection implements ClientConnection {
  readonly name = 'fake';
  readonly username: string;
  readonly vhostName: string;
  readonly gone = Promise.resolve();
  said: string | null = null;

  constructor(username: string, vhostName: string) {
    this.username = username;
    this.vhostName = vhostName;
  }

  setBlocked(): void {}
  setPressure(): void {}
  close(reason: Reason, explanation: string): void {
    this.said = `${reason}: ${explanation}`;
  }
  destroy(): void {}
}

function addUser(kit: NodeKit, name: string): void {
  putUser(kit.node, { name, ...hashPasswordFast('secret'), tags: [], limits: {} });
}

describe('a virtual host', () => {
  it('has a description, tags, a default queue type and protection, over a restart', async () => {
    let kit = await NodeKit.open();
    const metadata = {
      description: 'd',
      tags: ['a'],
      defaultQueueType: 'quorum',
      protectedFromDeletion: true,
    } as const;
    putVHost(kit.node, 'v', metadata);
    expect(kit.node.vhost('v').metadata).toEqual(metadata);
    putVHost(kit.node, 'v', { description: 'other' });
    kit = await kit.restart();
    expect(kit.node.vhost('v').metadata).toEqual({ ...metadata, description: 'other' });
    await kit.close();
  });

  it('needs a name that a client can give', async () => {
    const kit = await NodeKit.open();
    expect(refusal(() => putVHost(kit.node, ''))).toBe(
      'precondition-failed: a virtual host must have a name',
    );
    expect(refusal(() => putVHost(kit.node, 'é'.repeat(128)))).toContain('255 octets');
    await kit.close();
  });

  it('that is protected is not deleted, until it is no more', async () => {
    const kit = await NodeKit.open();
    putVHost(kit.node, 'v', { protectedFromDeletion: true });
    expect(refusal(() => deleteVHost(kit.node, 'v'))).toBe(
      "precondition-failed: Refusing to delete virtual host 'v' because it is protected from deletion",
    );
    putVHost(kit.node, 'v', { protectedFromDeletion: false });
    deleteVHost(kit.node, 'v');
    expect(refusal(() => deleteVHost(kit.node, 'v'))).toBe("not-found: vhost 'v' not found");
    await kit.close();
  });

  it('goes with its connections, permissions, policies, queues, messages, and nothing of it comes back', async () => {
    let kit = await NodeKit.open();
    const { node } = kit;
    addUser(kit, 'anna');
    putVHost(node, 'v');
    setPermissions(node, 'anna', 'v', ALL);
    setTopicPermissions(node, 'anna', 'v', 'amq.topic', { write: 'a', read: 'b' });
    setPermissions(node, 'anna', '/', ALL);
    node.parameters.setPolicy({ vhost: 'v', name: 'p', pattern: '', definition: { 'max-length': 1 } });
    node.parameters.setVHostLimits('v', { 'max-queues': 10 });
    const inside = new FakeConnection('anna', 'v');
    const outside = new FakeConnection('anna', '/');
    node.connections.add(inside);
    node.connections.add(outside);
    const vhost = node.vhost('v');
    const queue = vhost.declareQueue(
      { name: 'q', durable: true, exclusive: false, autoDelete: false, arguments: new Map() },
      { username: 'anna', owner: null, assertMay() {}, assertMayKnow() {}, assertMayTopic() {} },
    );
    vhost.bind(vhost.exchange('amq.topic'), queue, 'k', new Map());
    kit.queue('stays');
    await kit.settle();

    deleteVHost(node, 'v');
    expect(inside.said).toBe("connection-forced: vhost 'v' is deleted");
    expect(outside.said).toBeNull();
    expect(queue.deleted).toBe(true);
    expect(node.users.listPermissions()).toEqual([{ user: 'anna', vhost: '/', ...ALL }]);
    expect(node.users.listTopicPermissions()).toEqual([]);
    expect(node.access.mayOpen('anna', 'v')).toBe(false);

    kit = await kit.restart();
    expect([...kit.node.vhosts.keys()]).toEqual(['/']);
    expect(kit.node.users.listPermissions()).toEqual([{ user: 'anna', vhost: '/', ...ALL }]);
    const again = putVHost(kit.node, 'v');
    expect(again.queues.size).toBe(0);
    expect(kit.node.parameters.policies('v')).toEqual([]);
    expect(kit.node.parameters.vhostLimits('v')).toEqual({});
    expect(kit.vhost.queues.has('stays')).toBe(true);
    await kit.close();
  });

  it('of ten thousand queues is deleted in one batch', async () => {
    let kit = await NodeKit.open();
    kit.node.createVHost('v');
    const caller = { username: 'u', owner: null, assertMay() {}, assertMayKnow() {}, assertMayTopic() {} };
    const vhost = kit.node.vhost('v');
    for (let i = 0; i < 10_000; i++) {
      vhost.declareQueue(
        { name: `q${i}`, durable: true, exclusive: false, autoDelete: false, arguments: new Map() },
        caller,
      );
    }
    await kit.settle();
    const { ticket } = kit.node.shard;
    deleteVHost(kit.node, 'v');
    expect(kit.node.shard.ticket).toBe(ticket);
    kit = await kit.restart();
    expect(kit.node.vhosts.size).toBe(1);
    await kit.close();
  });
});

describe('the default queue type of a virtual host', () => {
  it.each([
    [{}, 'quorum'],
    [{ autoDelete: true }, 'classic'],
    [{ exclusive: true }, 'classic'],
    [{ durable: false }, 'classic'],
  ])('is stored with a queue declared as %j: %s', async (flags, type) => {
    const kit = await NodeKit.open();
    putVHost(kit.node, '/', { defaultQueueType: 'quorum' });
    const queue = kit.queue('q', {}, flags);
    expect(queue.declaration.arguments.get('x-queue-type')).toEqual({ tag: 'S', value: type });
    expect(queue.options.type).toBe(type);
    await kit.close();
  });

  it('counts for queues that name none, those from now on', async () => {
    const kit = await NodeKit.open();
    kit.queue('before');
    putVHost(kit.node, '/', { defaultQueueType: 'quorum' });
    expect(kit.queue('named', { 'x-queue-type': 'classic' }).options.type).toBe('classic');
    expect(kit.queue('after').options.type).toBe('quorum');
    expect(kit.vhost.queues.get('before')!.options.type).toBe('classic');
    expect(refusal(() => kit.queue('before'))).toBe(
      "precondition-failed: inequivalent arg 'x-queue-type' for queue 'before' in vhost '/': received 'quorum' but current is 'classic'",
    );
    expect(refusal(() => kit.queue(''))).toBe(
      'precondition-failed: Cannot declare a server-named queue for type rabbit_quorum_queue',
    );
    await kit.close();
  });
});

describe('a user', () => {
  it('is changed in parts, each stored at once', async () => {
    let kit = await NodeKit.open();
    addUser(kit, 'anna');
    setUserTags(kit.node, 'anna', ['monitoring']);
    setPermissions(kit.node, 'anna', '/', ALL);
    setTopicPermissions(kit.node, 'anna', '/', 'amq.topic', { write: 'a', read: 'b' });
    await setPassword(kit.node, 'anna', 'new', 'rabbit_password_hashing_sha512');
    kit = await kit.restart();
    const { node } = kit;
    expect(node.users.get('anna')).toMatchObject({
      tags: ['monitoring'],
      hashingAlgorithm: 'rabbit_password_hashing_sha512',
    });
    expect((await node.login.withPassword('anna', 'new', null)).user?.name).toBe('anna');
    expect(node.users.permissions('anna', '/')).toEqual(ALL);
    expect(node.users.topicPermissions('anna', '/', 'amq.topic')).toEqual({ write: 'a', read: 'b' });
    expect(clearTopicPermissions(node, 'anna', '/', 'amq.topic')).toBe(true);
    expect(clearTopicPermissions(node, 'anna', '/', null)).toBe(false);
    expect(clearPermissions(node, 'anna', '/')).toBe(true);
    expect(clearPermissions(node, 'anna', '/')).toBe(false);
    clearPassword(node, 'anna');
    kit = await kit.restart();
    expect(kit.node.users.get('anna')).toMatchObject({ passwordHash: null });
    expect(kit.node.users.listPermissions()).toEqual([]);
    expect(kit.node.users.listTopicPermissions()).toEqual([]);
    await kit.close();
  });

  it('that is deleted loses its connections and its permissions', async () => {
    let kit = await NodeKit.open();
    addUser(kit, 'anna');
    addUser(kit, 'ben');
    setPermissions(kit.node, 'anna', '/', ALL);
    const hers = new FakeConnection('anna', '/');
    const his = new FakeConnection('ben', '/');
    kit.node.connections.add(hers);
    kit.node.connections.add(his);
    const { generation } = kit.node.access;
    deleteUser(kit.node, 'anna');
    expect(kit.node.access.generation).toBeGreaterThan(generation);
    expect(hers.said).toBe("connection-forced: user 'anna' is deleted");
    expect(his.said).toBeNull();
    kit = await kit.restart();
    expect(kit.node.users.list().map(({ name }) => name)).toEqual(['ben']);
    expect(kit.node.users.listPermissions()).toEqual([]);
    await kit.close();
  });

  it('and its vhost must be there', async () => {
    const kit = await NodeKit.open();
    addUser(kit, 'anna');
    const { node } = kit;
    expect(refusal(() => setPermissions(node, 'ben', '/', ALL))).toBe("not-found: no user 'ben'");
    expect(refusal(() => setPermissions(node, 'anna', 'x', ALL))).toBe("not-found: vhost 'x' not found");
    expect(refusal(() => setTopicPermissions(node, 'anna', 'x', 'e', { write: '', read: '' }))).toBe(
      "not-found: vhost 'x' not found",
    );
    expect(refusal(() => setUserTags(node, 'ben', []))).toBe("not-found: no user 'ben'");
    expect(refusal(() => deleteUser(node, 'ben'))).toBe("not-found: no user 'ben'");
    await expect(setPassword(node, 'ben', 'x')).rejects.toThrow("no user 'ben'");
    await kit.close();
  });
});

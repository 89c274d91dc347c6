import { describe, expect, it } from 'vitest';
import { Access, isLoopback } from '../../src/auth/access.ts';
import { BrokerError } from '../../src/base/errors.ts';
import { usersNamed } from './support.ts';

function setUp() {
  const users = usersNamed('u', 'guest');
  return { users, access: new Access(users, { loopbackUsers: ['guest'] }) };
}

function refusal(ask: () => void): string {
  try {
    ask();
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError);
    expect((error as BrokerError).reason).toBe('access-refused');
    return (error as BrokerError).message;
  }
  return 'allowed';
}

describe('permissions', () => {
  it('let a user into a vhost only with an entry for it', () => {
    const { users, access } = setUp();
    expect(access.mayOpen('u', '/')).toBe(false);
    expect(access.may('u', '/', 'read', 'q')).toBe(false);
    users.setPermissions('u', '/', { configure: '', write: '', read: '' });
    expect(access.mayOpen('u', '/')).toBe(true);
    expect(access.mayOpen('u', 'other')).toBe(false);
    expect(access.mayOpen('nobody', '/')).toBe(false);
    users.clearPermissions('u', '/');
    expect(access.mayOpen('u', '/')).toBe(false);
  });

  it('are searched anywhere in the name, and mean nothing when empty', () => {
    const { users, access } = setUp();
    users.setPermissions('u', '/', { configure: '', write: 'task', read: '^(a|b\\.)$' });
    expect(access.may('u', '/', 'configure', 'q')).toBe(false);
    expect(access.may('u', '/', 'configure', '')).toBe(false);
    expect(access.may('u', '/', 'write', 'my-tasks')).toBe(true);
    expect(access.may('u', '/', 'write', 'Tasks')).toBe(false);
    expect(access.may('u', '/', 'read', 'a')).toBe(true);
    expect(access.may('u', '/', 'read', 'b.')).toBe(true);
    expect(access.may('u', '/', 'read', 'ab')).toBe(false);
  });

  it('know the default exchange as amq.default', () => {
    const { users, access } = setUp();
    users.setPermissions('u', '/', { configure: '.*', write: '^amq\\.default$', read: '^$' });
    expect(access.may('u', '/', 'write', '')).toBe(true);
    expect(access.may('u', '/', 'write', 'amq.direct')).toBe(false);
    expect(access.may('u', '/', 'read', '')).toBe(false);
  });

  it('are refused in the words RabbitMQ uses', () => {
    const { users, access } = setUp();
    users.setPermissions('u', 'v', { configure: '', write: '', read: '' });
    expect(refusal(() => access.assertMay('u', 'v', 'configure', 'queue', 'q'))).toBe(
      "configure access to queue 'q' in vhost 'v' refused for user 'u'",
    );
    expect(refusal(() => access.assertMay('u', 'v', 'write', 'exchange', ''))).toBe(
      "write access to exchange 'amq.default' in vhost 'v' refused for user 'u'",
    );
    users.setTopicPermissions('u', 'v', 'e', { write: '^a', read: '' });
    expect(refusal(() => access.assertMayTopic('u', 'v', 'e', 'write', 'b.c'))).toBe(
      "write access to topic 'b.c' in exchange 'e' in vhost 'v' refused for user 'u'",
    );
    expect(refusal(() => access.assertMayTopic('u', 'v', 'e', 'write', 'a.c'))).toBe('allowed');
  });

  it('take effect at once, and show by their generation that old verdicts are stale', () => {
    const { users, access } = setUp();
    users.setPermissions('u', '/', { configure: '', write: 'a', read: '' });
    const generation = access.generation;
    expect(access.may('u', '/', 'write', 'a')).toBe(true);
    expect(access.generation).toBe(generation);
    users.setPermissions('u', '/', { configure: '', write: 'b', read: '' });
    expect(access.generation).toBeGreaterThan(generation);
    expect(access.may('u', '/', 'write', 'a')).toBe(false);
    users.delete('u');
    expect(access.may('u', '/', 'write', 'b')).toBe(false);
  });

  it('restrict routing keys only at exchanges that have a topic permission', () => {
    const { users, access } = setUp();
    users.setTopicPermissions('u', '/', 'amq.topic', { write: '^{username}\\.', read: '^x-{vhost}\\.' });
    expect(access.mayTopic('u', '/', 'amq.topic', 'write', 'u.a')).toBe(true);
    expect(access.mayTopic('u', '/', 'amq.topic', 'write', 'v.a')).toBe(false);
    expect(access.mayTopic('u', '/', 'amq.topic', 'read', 'x-/.a')).toBe(true);
    expect(access.mayTopic('u', '/', 'amq.topic', 'read', 'y')).toBe(false);
    expect(access.mayTopic('u', '/', 'other', 'write', 'v.a')).toBe(true);
    expect(access.mayTopic('u', 'other', 'amq.topic', 'write', 'v.a')).toBe(true);
    users.setTopicPermissions('u', '/', 'amq.topic', { write: '', read: '' });
    expect(access.mayTopic('u', '/', 'amq.topic', 'write', 'u.a')).toBe(false);
    users.clearTopicPermissions('u', '/', 'amq.topic');
    expect(access.mayTopic('u', '/', 'amq.topic', 'write', 'v.a')).toBe(true);
  });

  it('give a user with an odd name no more than its own topics', () => {
    const users = usersNamed('.*', 'a|b');
    const access = new Access(users, { loopbackUsers: [] });
    for (const name of ['.*', 'a|b']) {
      users.setTopicPermissions(name, '/', 'e', { write: '^{username}$', read: '' });
      expect(access.mayTopic(name, '/', 'e', 'write', name)).toBe(true);
      expect(access.mayTopic(name, '/', 'e', 'write', 'other')).toBe(false);
      expect(access.mayTopic(name, '/', 'e', 'write', 'ab')).toBe(false);
    }
  });

  it('keep loopback-only users on this machine', () => {
    const { access } = setUp();
    for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1']) {
      expect(access.mayConnectFrom('guest', address)).toBe(true);
      expect(isLoopback(address)).toBe(true);
    }
    for (const address of ['10.0.0.1', '1.127.0.0', '127.0.0.1.example.org', '::2', '::ffff:10.0.0.1', '']) {
      expect(access.mayConnectFrom('guest', address)).toBe(false);
      expect(access.mayConnectFrom('u', address)).toBe(true);
    }
    expect(access.mayConnectFrom('guest', null)).toBe(true);
  });
});

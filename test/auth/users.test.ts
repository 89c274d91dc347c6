import { describe, expect, it } from 'vitest';
import { usersToDefinition } from '../../src/auth/definitions.ts';
import { Users } from '../../src/auth/users.ts';
import { BrokerError } from '../../src/base/errors.ts';
import { user, usersNamed } from './support.ts';

const ALL = { configure: '.*', write: '.*', read: '.*' };

describe('users', () => {
  it('are listed by name, replaced under the same name, and gone when deleted', () => {
    const users = usersNamed('zoe', 'adam');
    users.put(user('adam', 'other', ['management']));
    expect(users.list().map((u) => u.name)).toEqual(['adam', 'zoe']);
    expect(users.get('adam')?.tags).toEqual(['management']);
    expect(users.delete('adam')).toBe(true);
    expect(users.delete('adam')).toBe(false);
    expect(users.get('adam')).toBeNull();
    expect(users.size).toBe(1);
  });

  it('need a name and a sound password hash', () => {
    const users = new Users();
    expect(() => users.put(user(''))).toThrow('a user must have a name');
    expect(() => users.put({ ...user('u'), passwordHash: Buffer.alloc(3) })).toThrow(BrokerError);
  });

  it('keep their permissions when they get a new password, and lose them when deleted', () => {
    const users = usersNamed('u');
    users.setPermissions('u', '/', ALL);
    users.setTopicPermissions('u', '/', 'amq.topic', { write: 'a', read: 'b' });
    users.put(user('u', 'new'));
    expect(users.permissions('u', '/')).toEqual(ALL);
    users.delete('u');
    users.put(user('u'));
    expect(users.permissions('u', '/')).toBeNull();
    expect(users.topicPermissions('u', '/', 'amq.topic')).toBeNull();
  });

  it('cannot be given permissions that are no regular expressions, or before they exist', () => {
    const users = usersNamed('u');
    expect(() => users.setPermissions('u', '/', { ...ALL, read: '(' })).toThrow(
      /invalid regular expression '\('/,
    );
    expect(() => users.setTopicPermissions('u', '/', 'e', { write: '[', read: '' })).toThrow(BrokerError);
    expect(() => users.setPermissions('nobody', '/', ALL)).toThrow("no user 'nobody'");
    expect(users.listPermissions()).toEqual([]);
  });

  it('show their permissions by user and by vhost', () => {
    const users = usersNamed('a', 'b');
    users.setPermissions('b', 'v', ALL);
    users.setPermissions('a', 'v', ALL);
    users.setPermissions('a', '/', { configure: '', write: 'w', read: 'r' });
    users.setTopicPermissions('a', '/', 'e2', { write: '1', read: '2' });
    users.setTopicPermissions('a', '/', 'e1', { write: '3', read: '4' });
    expect(users.listPermissions().map((p) => `${p.user}@${p.vhost}`)).toEqual(['a@/', 'a@v', 'b@v']);
    expect(users.listPermissions('a', '/')).toEqual([
      { user: 'a', vhost: '/', configure: '', write: 'w', read: 'r' },
    ]);
    expect(users.listTopicPermissions().map((p) => p.exchange)).toEqual(['e1', 'e2']);
    expect(users.listTopicPermissions(null, 'v')).toEqual([]);
    expect(users.clearTopicPermissions('a', '/', 'e1')).toBe(true);
    expect(users.clearTopicPermissions('a', '/', 'e1')).toBe(false);
    expect(users.listTopicPermissions('a').map((p) => p.exchange)).toEqual(['e2']);
  });

  it('lose what they had in a vhost or at an exchange that is deleted', () => {
    const users = usersNamed('u');
    users.setPermissions('u', 'v', ALL);
    users.setPermissions('u', '/', ALL);
    users.setTopicPermissions('u', '/', 'e', { write: '', read: '' });
    users.setTopicPermissions('u', '/', 'f', { write: '', read: '' });
    users.setTopicPermissions('u', 'v', 'e', { write: '', read: '' });
    users.forgetExchange('/', 'e');
    expect(users.listTopicPermissions().map((p) => p.vhost + p.exchange)).toEqual(['/f', 've']);
    users.forgetVhost('v');
    expect(users.listPermissions().map((p) => p.vhost)).toEqual(['/']);
    expect(users.listTopicPermissions().map((p) => p.vhost + p.exchange)).toEqual(['/f']);
  });

  it('tell whoever listens what has changed, after it holds', () => {
    const users = new Users();
    const heard: string[] = [];
    const listener = {
      userChanged: (name: string) => heard.push(`${name} ${users.get(name) === null ? 'gone' : 'there'}`),
      permissionsChanged: (name: string, vhost: string) =>
        heard.push(`${name}@${vhost} ${users.permissions(name, vhost) === null ? 'shut' : 'open'}`),
    };
    users.addListener(listener);
    let generation = users.generation;
    const change = (what: () => void) => {
      what();
      expect(users.generation).toBeGreaterThan(generation);
      generation = users.generation;
    };
    change(() => users.put(user('u')));
    change(() => users.setPermissions('u', '/', ALL));
    change(() => users.setTopicPermissions('u', '/', 'e', { write: '', read: '' }));
    change(() => users.clearPermissions('u', '/'));
    change(() => users.clearTopicPermissions('u', '/'));
    change(() => users.delete('u'));
    expect(heard).toEqual(['u there', 'u@/ open', 'u@/ open', 'u@/ shut', 'u@/ shut', 'u gone']);
    users.removeListener(listener);
    users.put(user('u'));
    expect(heard.length).toBe(6);
    expect(users.clearPermissions('u', '/')).toBe(false);
    expect(users.clearTopicPermissions('u', '/')).toBe(false);
  });

  it('start empty', () => {
    expect(usersToDefinition(new Users())).toEqual({ users: [], permissions: [], topic_permissions: [] });
  });
});

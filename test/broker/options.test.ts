// Options that only a program can give, and what is said of wrong ones.

import { expect, it } from 'vitest';
import { Broker, type BrokerOptions, SettingsError } from '../../src/index.ts';

const permissions = [{ vhost: '/', configure: '.*', write: '.*', read: '.*' }];

it.each([
  [
    'a store that does not exist',
    { store: 'Memory' },
    /store must be 'memory', 'level' or a store, not "Memory"/,
  ],
  ['a name where a list of vhosts belongs', { vhosts: 'shop' }, /vhosts must be a list of names/],
  ['a vhost without a name', { vhosts: [''] }, /vhosts must be a list of names/],
  ['users that are no list', { users: {} }, /users must be a list of users/],
  ['a user without a password', { users: [{ name: 'a' }] }, /must have a name and a password/],
  [
    'a permission on a vhost that is not there',
    { users: [{ name: 'a', password: 'b', permissions: [{ ...permissions[0], vhost: 'nowhere' }] }] },
    /user 'a': .*nowhere/,
  ],
  [
    'a pattern that is none',
    { users: [{ name: 'a', password: 'b', permissions: [{ ...permissions[0], read: '(' }] }] },
    /user 'a': /,
  ],
])('%s is refused in one line', async (_what, options, message) => {
  const start = Broker.start({ port: 0, store: 'memory', ...options } as unknown as BrokerOptions);
  const error = await start.then(
    (broker) => broker.stop().then(() => null),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SettingsError);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).not.toContain('\n');
});

// What the tests of users share.
import { hashPasswordFast } from '../../src/auth/password.ts';
import type { User } from '../../src/auth/users.ts';
import { Users } from '../../src/auth/users.ts';

export function user(name: string, password = 'secret', tags: readonly string[] = []): User {
  return { name, ...hashPasswordFast(password), tags, limits: {} };
}

/** Users of these names, with no permissions. */
export function usersNamed(...names: string[]): Users {
  const users = new Users();
  for (const name of names) users.put(user(name));
  return users;
}

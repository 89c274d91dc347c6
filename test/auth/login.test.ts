import { describe, expect, it } from 'vitest';
import { Access } from '../../src/auth/access.ts';
import { Login } from '../../src/auth/login.ts';
import { PasswordVerifier } from '../../src/auth/password.ts';
import { user, usersNamed } from './support.ts';

function setUp() {
  const users = usersNamed('u');
  users.put(user('guest', 'guest'));
  const access = new Access(users, { loopbackUsers: ['guest'] });
  return { users, login: new Login(users, access, new PasswordVerifier()) };
}

describe('login', () => {
  it('lets a user in with the right password, and tells the log why not otherwise', async () => {
    const { users, login } = setUp();
    expect(await login.withPassword('u', 'secret', '10.0.0.1')).toEqual({ user: users.get('u'), why: null });
    const why = "user 'u' - invalid credentials";
    expect(await login.withPassword('u', 'wrong', '10.0.0.1')).toEqual({ user: null, why });
    expect((await login.withPassword('nobody', 'secret', null)).why).toBe(
      "user 'nobody' - invalid credentials",
    );
  });

  it('keeps guest on this machine', async () => {
    const { login } = setUp();
    expect((await login.withPassword('guest', 'guest', '127.0.0.1')).user?.name).toBe('guest');
    expect(await login.withPassword('guest', 'guest', '10.0.0.1')).toEqual({
      user: null,
      why: "user 'guest' can only connect via localhost",
    });
    // A wrong password must not tell a stranger that there is such a user.
    expect((await login.withPassword('guest', 'wrong', '10.0.0.1')).why).toBe(
      "user 'guest' - invalid credentials",
    );
    expect(login.withoutPassword('guest', '10.0.0.1').user).toBeNull();
    expect(login.withoutPassword('guest', null).user?.name).toBe('guest');
  });

  it('lets a known password in at once, by the same rules, and says nothing of others', () => {
    const { users, login } = setUp();
    expect(login.withKnownPassword('u', 'secret', '10.0.0.1')).toEqual({ user: users.get('u'), why: null });
    expect(login.withKnownPassword('u', 'wrong', '10.0.0.1')).toBeNull();
    expect(login.withKnownPassword('nobody', 'secret', null)).toBeNull();
    expect(login.withKnownPassword('guest', 'guest', '10.0.0.1')).toEqual({
      user: null,
      why: "user 'guest' can only connect via localhost",
    });
  });

  it('does not let in a user that was deleted while its password was checked', async () => {
    const { users, login } = setUp();
    const pending = login.withPassword('u', 'secret', null);
    users.delete('u');
    expect((await pending).user).toBeNull();
  });
});

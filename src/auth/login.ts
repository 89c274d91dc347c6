// One login, the same for every door: is it the right password, and may this user come from there?
// Owns the order of the checks and the words for the log. What the client is told is the door's business.

import type { Access } from './access.ts';
import type { PasswordVerifier } from './password.ts';
import type { User, Users } from './users.ts';

/** Who has logged in, or why nobody has. `why` is for the log: a client must not learn it. */
export type LoginResult =
  | { readonly user: User; readonly why: null }
  | { readonly user: null; readonly why: string };

/** Lets users in. One per broker. */
export class Login {
  readonly #users: Users;
  readonly #access: Access;
  readonly #verifier: PasswordVerifier;

  constructor(users: Users, access: Access, verifier: PasswordVerifier) {
    this.#users = users;
    this.#access = access;
    this.#verifier = verifier;
  }

  /** As `withPassword`, at once: null when the password is not known to be right without a slow check. */
  withKnownPassword(name: string, password: string, address: string | null): LoginResult | null {
    if (!this.#verifier.isKnownRight(this.#users.get(name), password)) return null;
    return this.withoutPassword(name, address);
  }

  /** By name and password, from `address` (null = from within this process). Rejects only when too many checks wait already. */
  async withPassword(name: string, password: string, address: string | null): Promise<LoginResult> {
    const right = await this.#verifier.verifyPassword(this.#users.get(name), password);
    if (!right) return { user: null, why: `user '${name}' - invalid credentials` };
    // This looks the user up again: it may have been deleted while the check ran.
    return this.withoutPassword(name, address);
  }

  /** By a name that is proven some other way (an anonymous login, a certificate). */
  withoutPassword(name: string, address: string | null): LoginResult {
    const user = this.#users.get(name);
    if (user === null) return { user: null, why: `user '${name}' - invalid credentials` };
    if (!this.#access.mayConnectFrom(name, address)) {
      return { user: null, why: `user '${name}' can only connect via localhost` };
    }
    return { user, why: null };
  }
}

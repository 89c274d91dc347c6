// Users and what they are allowed: names, password hashes, tags, permissions per vhost, topic permissions per exchange.
// Owns the set in memory. Knows nothing of where it is stored: whoever changes it writes it down.
// Invariants: permissions belong to a user that exists; every stored pattern compiles; `generation` grows with each change,
// after the change holds, so that a cached verdict of the current generation is right.

import { BrokerError } from '../base/errors.ts';
import { anInteger, type Json, type Member, memberErrors } from '../base/terms.ts';
import { checkPasswordHash, type HashingAlgorithm } from './password.ts';
import { type CompiledPattern, compilePattern } from './pattern.ts';

/** Limits that a user can have. */
const LIMITS: readonly Member[] = [
  { key: 'max-connections', needed: false, check: anInteger },
  { key: 'max-channels', needed: false, check: anInteger },
];

/** One user. */
export interface User {
  readonly name: string;
  /** Null: this user cannot log in by password. */
  readonly passwordHash: Buffer | null;
  readonly hashingAlgorithm: HashingAlgorithm;
  /** `administrator`, `monitoring`, ..., or free text. */
  readonly tags: readonly string[];
  /** `max-connections`, `max-channels`: integers; absent or negative: no limit. */
  readonly limits: Readonly<Record<string, number>>;
}

/** What a user may do in a vhost: regular expressions, searched unanchored in resource names; the empty one matches nothing. */
export interface Permissions {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** What a user may publish to and bind at one topic exchange: patterns for routing keys. */
export interface TopicPermissions {
  readonly write: string;
  readonly read: string;
}

/** A row of the listing of permissions. */
export interface PermissionsRow extends Permissions {
  readonly user: string;
  readonly vhost: string;
}

/** A row of the listing of topic permissions. */
export interface TopicPermissionsRow extends TopicPermissions {
  readonly user: string;
  readonly vhost: string;
  readonly exchange: string;
}

/** Permissions with their patterns ready to use. */
export interface CompiledPermissions {
  readonly source: Permissions;
  readonly configure: CompiledPattern;
  readonly write: CompiledPattern;
  readonly read: CompiledPattern;
}

/** Told after each change, so that caches are dropped and what is stored is brought up to date. */
export interface UsersListener {
  /** The user was added, replaced or deleted. */
  userChanged(name: string): void;
  /** What the user may do in the vhost has changed; topic permissions count. */
  permissionsChanged(user: string, vhost: string): void;
}

/** All users of one broker. */
export class Users {
  /** Grows with each change. */
  generation = 1;

  readonly #users = new Map<string, User>();
  /** User, then vhost. */
  readonly #permissions = new Map<string, Map<string, CompiledPermissions>>();
  /** User, then vhost, then exchange. */
  readonly #topicPermissions = new Map<string, Map<string, Map<string, TopicPermissions>>>();
  readonly #listeners = new Set<UsersListener>();

  /** Number of users. */
  get size(): number {
    return this.#users.size;
  }

  /** From now on `listener` hears of changes. */
  addListener(listener: UsersListener): void {
    this.#listeners.add(listener);
  }

  removeListener(listener: UsersListener): void {
    this.#listeners.delete(listener);
  }

  get(name: string): User | null {
    return this.#users.get(name) ?? null;
  }

  /** All users by name. */
  list(): User[] {
    return [...this.#users.values()].sort((a, b) => compare(a.name, b.name));
  }

  /** Adds a user, or replaces the one of that name; permissions stay. @throws BrokerError when the hash has the wrong layout */
  put(user: User): void {
    if (user.name === '') throw new BrokerError('precondition-failed', 'a user must have a name');
    if (user.passwordHash !== null) {
      checkPasswordHash({ passwordHash: user.passwordHash, hashingAlgorithm: user.hashingAlgorithm });
    }
    this.#users.set(user.name, user);
    this.#userChanged(user.name);
  }

  /** Deletes a user with all permissions. False when there is none of that name. */
  delete(name: string): boolean {
    if (!this.#users.delete(name)) return false;
    this.#permissions.delete(name);
    this.#topicPermissions.delete(name);
    this.#userChanged(name);
    return true;
  }

  /** Lets a user into a vhost. @throws BrokerError not-found (no such user), precondition-failed (a pattern that does not compile) */
  setPermissions(user: string, vhost: string, permissions: Permissions): void {
    this.#mustExist(user);
    const compiled: CompiledPermissions = {
      source: { configure: permissions.configure, write: permissions.write, read: permissions.read },
      configure: compilePattern(permissions.configure),
      write: compilePattern(permissions.write),
      read: compilePattern(permissions.read),
    };
    child(this.#permissions, user).set(vhost, compiled);
    this.#permissionsChanged(user, vhost);
  }

  /** Shuts a user out of a vhost; topic permissions stay. False when there was no entry. */
  clearPermissions(user: string, vhost: string): boolean {
    if (this.#permissions.get(user)?.delete(vhost) !== true) return false;
    this.#permissionsChanged(user, vhost);
    return true;
  }

  /** What the user may do in the vhost; null: not even open it. */
  permissions(user: string, vhost: string): Permissions | null {
    return this.#permissions.get(user)?.get(vhost)?.source ?? null;
  }

  /** As `permissions`, ready to use. */
  compiledPermissions(user: string, vhost: string): CompiledPermissions | null {
    return this.#permissions.get(user)?.get(vhost) ?? null;
  }

  /** All permissions, by user and vhost; of one user or one vhost where given. */
  listPermissions(user: string | null = null, vhost: string | null = null): PermissionsRow[] {
    const rows: PermissionsRow[] = [];
    for (const [name, byVhost] of this.#permissions) {
      if (user !== null && user !== name) continue;
      for (const [place, { source }] of byVhost) {
        if (vhost === null || vhost === place) rows.push({ user: name, vhost: place, ...source });
      }
    }
    return rows.sort((a, b) => compare(a.user, b.user) || compare(a.vhost, b.vhost));
  }

  /** Restricts routing keys at one topic exchange. @throws BrokerError as `setPermissions` */
  setTopicPermissions(user: string, vhost: string, exchange: string, permissions: TopicPermissions): void {
    this.#mustExist(user);
    compilePattern(permissions.write);
    compilePattern(permissions.read);
    const byExchange = child(child(this.#topicPermissions, user), vhost);
    byExchange.set(exchange, { write: permissions.write, read: permissions.read });
    this.#permissionsChanged(user, vhost);
  }

  /** Lifts the restriction at one exchange, or with null at all exchanges of the vhost. False when there was none. */
  clearTopicPermissions(user: string, vhost: string, exchange: string | null = null): boolean {
    const byVhost = this.#topicPermissions.get(user);
    const byExchange = byVhost?.get(vhost);
    if (byVhost === undefined || byExchange === undefined) return false;
    if (exchange !== null && !byExchange.delete(exchange)) return false;
    if (exchange === null || byExchange.size === 0) byVhost.delete(vhost);
    this.#permissionsChanged(user, vhost);
    return true;
  }

  /** The restriction at an exchange; null: none, every routing key is allowed. */
  topicPermissions(user: string, vhost: string, exchange: string): TopicPermissions | null {
    return this.#topicPermissions.get(user)?.get(vhost)?.get(exchange) ?? null;
  }

  /** All topic permissions, by user, vhost and exchange; of one user or one vhost where given. */
  listTopicPermissions(user: string | null = null, vhost: string | null = null): TopicPermissionsRow[] {
    const rows: TopicPermissionsRow[] = [];
    for (const [name, byVhost] of this.#topicPermissions) {
      if (user !== null && user !== name) continue;
      for (const [place, byExchange] of byVhost) {
        if (vhost !== null && vhost !== place) continue;
        for (const [exchange, it] of byExchange) rows.push({ user: name, vhost: place, exchange, ...it });
      }
    }
    return rows.sort(
      (a, b) => compare(a.user, b.user) || compare(a.vhost, b.vhost) || compare(a.exchange, b.exchange),
    );
  }

  /** Removes every permission in a vhost that is being deleted. */
  forgetVhost(vhost: string): void {
    for (const name of this.#users.keys()) {
      this.clearPermissions(name, vhost);
      this.clearTopicPermissions(name, vhost);
    }
  }

  /** Removes the topic permissions at an exchange that is being deleted. */
  forgetExchange(vhost: string, exchange: string): void {
    for (const name of this.#topicPermissions.keys()) this.clearTopicPermissions(name, vhost, exchange);
  }

  /** Sets limits of a user, those that are named. @throws BrokerError not-found; precondition-failed with RabbitMQ's texts */
  setLimits(name: string, limits: Json): void {
    const user = this.#mustExist(name);
    checkUserLimits(limits);
    this.put({ ...user, limits: { ...user.limits, ...(limits as Readonly<Record<string, number>>) } });
  }

  /** Lifts one limit of a user, or with null all of them. @throws BrokerError not-found */
  clearLimits(name: string, limit: string | null = null): void {
    const user = this.#mustExist(name);
    const { [limit ?? '']: _lifted, ...left } = user.limits;
    this.put({ ...user, limits: limit === null ? {} : left });
  }

  #mustExist(user: string): User {
    if (!this.#users.has(user)) throw new BrokerError('not-found', `no user '${user}'`);
    return this.#users.get(user)!;
  }

  #userChanged(name: string): void {
    this.generation += 1;
    for (const listener of this.#listeners) listener.userChanged(name);
  }

  #permissionsChanged(user: string, vhost: string): void {
    this.generation += 1;
    for (const listener of this.#listeners) listener.permissionsChanged(user, vhost);
  }
}

/** @throws BrokerError precondition-failed with RabbitMQ's texts for limits that there are not */
export function checkUserLimits(limits: Json): void {
  const errors = memberErrors('user-limits', LIMITS, limits);
  if (errors.length > 0) throw new BrokerError('precondition-failed', errors.join('\n'));
}

/** The map under `key`, made when it is not there. */
function child<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let found = map.get(key);
  if (found === undefined) {
    found = new Map();
    map.set(key, found);
  }
  return found;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

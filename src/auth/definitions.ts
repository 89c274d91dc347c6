// Users and permissions as they stand in RabbitMQ's definitions files: plain objects for JSON, out and in.
// Owns that form. Knows nothing of where it is stored.

import { BrokerError } from '../base/errors.ts';
import {
  type HashingAlgorithm,
  hashPassword,
  isHashingAlgorithm,
  type PasswordHash,
  SHA256,
} from './password.ts';
import type { PermissionsRow, TopicPermissionsRow, User, Users } from './users.ts';

/** An element of `users`. */
export interface UserDefinition {
  readonly name: string;
  /** Base64; empty for a user without a password. */
  readonly password_hash: string;
  readonly hashing_algorithm: string;
  readonly tags: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** The parts of a definitions file that are about users. */
export interface UsersDefinition {
  readonly users: readonly UserDefinition[];
  readonly permissions: readonly PermissionsRow[];
  readonly topic_permissions: readonly TopicPermissionsRow[];
}

/** All users with all permissions. */
export function usersToDefinition(users: Users): UsersDefinition {
  return {
    users: users.list().map(userToDefinition),
    permissions: users.listPermissions(),
    topic_permissions: users.listTopicPermissions(),
  };
}

/** One user. */
export function userToDefinition(user: User): UserDefinition {
  return {
    name: user.name,
    password_hash: user.passwordHash?.toString('base64') ?? '',
    hashing_algorithm: user.hashingAlgorithm,
    tags: user.tags,
    limits: user.limits,
  };
}

/** Reads one user as we or RabbitMQ wrote it. @throws BrokerError precondition-failed that says what is wrong */
export function userFromDefinition(plain: unknown): User {
  const it = object(plain, 'user');
  const name = text(it, 'name', 'user');
  const algorithm = it['hashing_algorithm'] ?? SHA256;
  if (typeof algorithm !== 'string' || !isHashingAlgorithm(algorithm)) {
    const shown = typeof algorithm === 'string' ? algorithm : JSON.stringify(algorithm);
    throw wrong(`user '${name}': unknown hashing_algorithm '${shown}'`);
  }
  return makeUser(name, it, readHash(name, it['password_hash']), algorithm);
}

/**
 * As `userFromDefinition`, and takes a `password` in clear text too, which is hashed with `algorithm`.
 * @throws BrokerError (as a rejection)
 */
export async function userFromImport(plain: unknown, algorithm?: HashingAlgorithm): Promise<User> {
  const it = object(plain, 'user');
  const password = it['password'];
  if (password === undefined || password === null || password === '') return userFromDefinition(plain);
  const name = text(it, 'name', 'user');
  if (typeof password !== 'string') throw wrong(`user '${name}': password is not a string`);
  if (it['password_hash'] !== undefined) {
    throw wrong(`user '${name}': give password or password_hash, not both`);
  }
  const made: PasswordHash = await hashPassword(password, algorithm);
  return makeUser(name, it, made.passwordHash, made.hashingAlgorithm);
}

/** Reads an element of `permissions`. @throws BrokerError precondition-failed that says what is wrong */
export function permissionsFromDefinition(plain: unknown): PermissionsRow {
  const it = object(plain, 'permission');
  return {
    user: text(it, 'user', 'permission'),
    vhost: text(it, 'vhost', 'permission'),
    configure: text(it, 'configure', 'permission'),
    write: text(it, 'write', 'permission'),
    read: text(it, 'read', 'permission'),
  };
}

/** Reads an element of `topic_permissions`. @throws BrokerError precondition-failed that says what is wrong */
export function topicPermissionsFromDefinition(plain: unknown): TopicPermissionsRow {
  const it = object(plain, 'topic permission');
  return {
    user: text(it, 'user', 'topic permission'),
    vhost: text(it, 'vhost', 'topic permission'),
    exchange: text(it, 'exchange', 'topic permission'),
    write: text(it, 'write', 'topic permission'),
    read: text(it, 'read', 'topic permission'),
  };
}

/**
 * Adds what a definitions file says of users to `users`: users and permissions of the same name are overwritten, others stay.
 * The first error stops; what was added stays. @throws BrokerError (as a rejection)
 */
export async function importUsers(users: Users, plain: unknown, algorithm?: HashingAlgorithm): Promise<void> {
  const it = object(plain, 'definitions');
  for (const user of list(it, 'users')) users.put(await userFromImport(user, algorithm));
  for (const entry of list(it, 'permissions')) {
    const row = permissionsFromDefinition(entry);
    users.setPermissions(row.user, row.vhost, row);
  }
  for (const entry of list(it, 'topic_permissions')) {
    const row = topicPermissionsFromDefinition(entry);
    users.setTopicPermissions(row.user, row.vhost, row.exchange, row);
  }
}

/** Tags as RabbitMQ takes them: a list, or a text with commas. */
export function readTags(plain: unknown): readonly string[] {
  const parts = typeof plain === 'string' ? plain.split(',') : (plain ?? []);
  if (!Array.isArray(parts) || !parts.every((tag) => typeof tag === 'string')) {
    throw wrong('tags must be a list of strings or a string with commas');
  }
  return [...new Set(parts.map((tag: string) => tag.trim()).filter((tag) => tag !== ''))];
}

function makeUser(
  name: string,
  it: Readonly<Record<string, unknown>>,
  passwordHash: Buffer | null,
  hashingAlgorithm: HashingAlgorithm,
): User {
  return {
    name,
    passwordHash,
    hashingAlgorithm,
    tags: readTags(it['tags']),
    limits: readLimits(name, it['limits']),
  };
}

function readHash(name: string, plain: unknown): Buffer | null {
  if (plain === undefined || plain === null || plain === '') return null;
  if (typeof plain !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(plain)) {
    throw wrong(`user '${name}': password_hash is not base64`);
  }
  return Buffer.from(plain, 'base64');
}

function readLimits(name: string, plain: unknown): Readonly<Record<string, number>> {
  // RabbitMQ's older exports write an empty list for no limits.
  if (plain === undefined || plain === null || Array.isArray(plain)) return {};
  const limits: Record<string, number> = {};
  for (const [key, value] of Object.entries(object(plain, 'limits'))) {
    if (typeof value !== 'number' || !Number.isInteger(value)) {
      throw wrong(`user '${name}': limit ${key} is not an integer`);
    }
    limits[key] = value;
  }
  return limits;
}

function object(plain: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain))
    throw wrong(`${what} is not an object`);
  return plain as Readonly<Record<string, unknown>>;
}

function text(it: Readonly<Record<string, unknown>>, key: string, what: string): string {
  const value = it[key];
  if (typeof value !== 'string') throw wrong(`${what}: ${key} is missing or not a string`);
  return value;
}

function list(it: Readonly<Record<string, unknown>>, key: string): readonly unknown[] {
  const value = it[key] ?? [];
  if (!Array.isArray(value)) throw wrong(`${key} is not a list`);
  return value;
}

function wrong(explanation: string): BrokerError {
  return new BrokerError('precondition-failed', explanation);
}

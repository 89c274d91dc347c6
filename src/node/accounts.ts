// Users as people manage them: made, changed, deleted, let into vhosts.
// Owns what a change means beyond the set of users itself: it is stored at once, and the connections of a deleted user end. Knows no door:
// whoever calls has asked whether this person may.
// Invariant: a permission is never given for a vhost that is not there.

import type { HashingAlgorithm } from '../auth/password.ts';
import { hashPassword } from '../auth/password.ts';
import type { Permissions, TopicPermissions, User } from '../auth/users.ts';
import { BrokerError } from '../base/errors.ts';
import type { BrokerNode } from './node.ts';

/** Adds a user or replaces the one of that name; permissions stay. @throws BrokerError precondition-failed */
export function putUser(node: BrokerNode, user: User): void {
  node.users.put(user);
  node.saveUsers();
}

/** Gives a user another password. @throws BrokerError not-found (as a rejection) */
export async function setPassword(
  node: BrokerNode,
  name: string,
  password: string,
  algorithm?: HashingAlgorithm,
): Promise<void> {
  userOf(node, name);
  const hash = await hashPassword(password, algorithm);
  // The user may have been changed, or deleted, while the password was hashed.
  putUser(node, { ...userOf(node, name), ...hash });
}

/** From now on the user cannot log in by password. @throws BrokerError not-found */
export function clearPassword(node: BrokerNode, name: string): void {
  putUser(node, { ...userOf(node, name), passwordHash: null });
}

/** @throws BrokerError not-found */
export function setUserTags(node: BrokerNode, name: string, tags: readonly string[]): void {
  putUser(node, { ...userOf(node, name), tags });
}

/** Deletes a user with all permissions; its connections are closed (320, RabbitMQ's text). @throws BrokerError not-found */
export function deleteUser(node: BrokerNode, name: string): void {
  userOf(node, name);
  node.users.delete(name);
  node.saveUsers();
  for (const connection of [...node.connections]) {
    if (connection.username === name) connection.close('connection-forced', `user '${name}' is deleted`);
  }
}

/** Lets a user into a vhost, or changes what it may do there. @throws BrokerError not-found, precondition-failed for a pattern that is none */
export function setPermissions(
  node: BrokerNode,
  user: string,
  vhost: string,
  permissions: Permissions,
): void {
  userOf(node, user);
  node.vhost(vhost);
  node.users.setPermissions(user, vhost, permissions);
  node.saveUsers();
}

/** Shuts a user out of a vhost; connections that are in stay, and are refused what they ask for. False when there was no entry. */
export function clearPermissions(node: BrokerNode, user: string, vhost: string): boolean {
  const cleared = node.users.clearPermissions(user, vhost);
  if (cleared) node.saveUsers();
  return cleared;
}

/** Restricts the routing keys of a user at one topic exchange. @throws BrokerError as `setPermissions` */
export function setTopicPermissions(
  node: BrokerNode,
  user: string,
  vhost: string,
  exchange: string,
  permissions: TopicPermissions,
): void {
  userOf(node, user);
  node.vhost(vhost);
  node.users.setTopicPermissions(user, vhost, exchange, permissions);
  node.saveUsers();
}

/** Lifts the restriction at one exchange, or with null at all of the vhost. False when there was none. */
export function clearTopicPermissions(
  node: BrokerNode,
  user: string,
  vhost: string,
  exchange: string | null,
): boolean {
  const cleared = node.users.clearTopicPermissions(user, vhost, exchange);
  if (cleared) node.saveUsers();
  return cleared;
}

/** The user of that name. @throws BrokerError not-found */
export function userOf(node: BrokerNode, name: string): User {
  const user = node.users.get(name);
  if (user === null) throw new BrokerError('not-found', `no user '${name}'`);
  return user;
}

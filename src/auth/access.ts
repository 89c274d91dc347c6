// May this user do this? Permissions of resources, of topics, of vhosts, and from where users may come.
// Owns the rules; the users are handed in. Knows no protocol: doors ask, and translate a refusal.
// Invariant: a verdict depends on nothing but its arguments and the state of the users at `generation`; doors may keep
// verdicts until `generation` changes.

import { BrokerError } from '../base/errors.ts';
import { type CompiledPattern, compilePattern, escapePattern } from './pattern.ts';
import type { Users } from './users.ts';

/** What is asked of a resource. */
export type Permission = 'configure' | 'write' | 'read';
/** What is asked of a topic. */
export type TopicPermission = 'write' | 'read';
/** What permissions are about. */
export type ResourceKind = 'exchange' | 'queue';

/** Settings of `Access`. */
export interface AccessOptions {
  /** Users that may connect from this machine only. RabbitMQ's default: `guest`. */
  readonly loopbackUsers: readonly string[];
}

/** Compiled topic patterns that are kept; then all are forgotten. */
const TOPIC_PATTERNS_MAX = 10_000;

/** Answers questions about permissions. One per broker. */
export class Access {
  readonly #users: Users;
  readonly #loopbackUsers: ReadonlySet<string>;
  /** Topic patterns with the names filled in. */
  readonly #topicPatterns = new Map<string, CompiledPattern>();

  constructor(users: Users, options: AccessOptions) {
    this.#users = users;
    this.#loopbackUsers = new Set(options.loopbackUsers);
  }

  /** Grows with each change of users or permissions: a verdict kept with another generation is stale. */
  get generation(): number {
    return this.#users.generation;
  }

  /** Whether the user may connect from `address` (IPv4 or IPv6; null = from within this process). */
  mayConnectFrom(user: string, address: string | null): boolean {
    return !this.#loopbackUsers.has(user) || address === null || isLoopback(address);
  }

  /** Whether the user may open the vhost: any permission entry will do, even one that allows nothing. */
  mayOpen(user: string, vhost: string): boolean {
    return this.#users.compiledPermissions(user, vhost) !== null;
  }

  /** Whether the user may configure, write to or read from the resource of that name. The default exchange's name is empty. */
  may(user: string, vhost: string, permission: Permission, name: string): boolean {
    const permissions = this.#users.compiledPermissions(user, vhost);
    if (permissions === null) return false;
    return permissions[permission].test(name === '' ? DEFAULT_EXCHANGE : name);
  }

  /** @throws BrokerError access-refused with RabbitMQ's text when the user may not */
  assertMay(user: string, vhost: string, permission: Permission, kind: ResourceKind, name: string): void {
    if (this.may(user, vhost, permission, name)) return;
    const shown = name === '' && kind === 'exchange' ? DEFAULT_EXCHANGE : name;
    throw new BrokerError(
      'access-refused',
      `${permission} access to ${kind} '${shown}' in vhost '${vhost}' refused for user '${user}'`,
    );
  }

  /** Whether the user may use the routing key at the topic exchange; without an entry for the exchange every key is allowed. */
  mayTopic(
    user: string,
    vhost: string,
    exchange: string,
    permission: TopicPermission,
    routingKey: string,
  ): boolean {
    const permissions = this.#users.topicPermissions(user, vhost, exchange);
    if (permissions === null) return true;
    return this.#topicPattern(permissions[permission], user, vhost).test(routingKey);
  }

  /** @throws BrokerError access-refused with RabbitMQ's text when the user may not */
  assertMayTopic(
    user: string,
    vhost: string,
    exchange: string,
    permission: TopicPermission,
    routingKey: string,
  ): void {
    if (this.mayTopic(user, vhost, exchange, permission, routingKey)) return;
    throw new BrokerError(
      'access-refused',
      `${permission} access to topic '${routingKey}' in exchange '${exchange}' in vhost '${vhost}' refused for user '${user}'`,
    );
  }

  #topicPattern(pattern: string, user: string, vhost: string): CompiledPattern {
    // Escaped, so that a user called `.*` gets no more than its own topics.
    const filled = pattern.replace(/\{(username|vhost)\}/g, (_, variable) =>
      escapePattern(variable === 'username' ? user : vhost),
    );
    let compiled = this.#topicPatterns.get(filled);
    if (compiled === undefined) {
      if (this.#topicPatterns.size >= TOPIC_PATTERNS_MAX) this.#topicPatterns.clear();
      compiled = compilePattern(filled);
      this.#topicPatterns.set(filled, compiled);
    }
    return compiled;
  }
}

/** RabbitMQ: permissions know the default exchange by this name. */
const DEFAULT_EXCHANGE = 'amq.default';

/** True for addresses of this machine's loopback interface, IPv4 in IPv6 included. */
export function isLoopback(address: string): boolean {
  const plain = address.toLowerCase().startsWith('::ffff:') ? address.slice(7) : address;
  return plain === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain);
}

// Limits on connections and channels: of the node, of a vhost, of a user. Owns the counts they are held against, and RabbitMQ's texts.
// Knows no protocol: doors ask before they let someone in, and tell who came and went.
// Invariant: whoever was counted in is counted out exactly once, however a connection ends; a user of whom nothing is open has no count.

import type { Users } from '../auth/users.ts';

/** Limits of the node; Infinity for none. */
export interface NodeLimits {
  readonly name: string;
  readonly connectionMax: number;
  readonly channelMaxPerNode: number;
}

/** A vhost, as far as limits need it. */
export interface LimitedVHost {
  readonly name: string;
  /** Connections it may have (vhost limit max-connections); Infinity for no limit. */
  readonly connectionsMax: number;
  /** Connections that are open. Written by `Limits`. */
  connectionCount: number;
}

/** What a user has open. */
interface Open {
  connections: number;
  channels: number;
}

/** The counts of one broker. */
export class Limits {
  /** Connections that have opened a vhost. */
  connections = 0;
  /** Channels open on all of them. */
  channels = 0;
  private readonly node: NodeLimits;
  private readonly users: Users;
  private readonly byUser = new Map<string, Open>();

  constructor(node: NodeLimits, users: Users) {
    this.node = node;
    this.users = users;
  }

  /** Why the node takes no further connection; null when it does. Asked before anything else (RabbitMQ). */
  nodeRefusal(): string | null {
    const { connectionMax } = this.node;
    if (this.connections < connectionMax) return null;
    return `connection refused: node connection limit (${connectionMax}) is reached`;
  }

  /** Why the user may not open a further connection to the vhost; null when it may. */
  connectionRefusal(user: string, vhost: LimitedVHost): string | null {
    const { name, connectionsMax, connectionCount } = vhost;
    if (connectionCount >= connectionsMax)
      return `access to vhost '${name}' refused for user '${user}': connection limit (${connectionsMax}) is reached`;
    const limit = this.limitOf(user, 'max-connections');
    if (this.openOf(user).connections >= limit)
      return `connection refused for user '${user}': user connection limit (${limit}) is reached`;
    return null;
  }

  /** Why the user may not open a further channel; null when it may. */
  channelRefusal(user: string): string | null {
    const limit = this.limitOf(user, 'max-channels');
    if (limit !== Number.POSITIVE_INFINITY && this.openOf(user).channels >= limit)
      return `number of channels opened for user '${user}' has reached the maximum allowed user limit of ${limit}`;
    const { name, channelMaxPerNode } = this.node;
    if (this.channels >= channelMaxPerNode)
      return `number of channels opened on node '${name}' has reached the maximum allowed limit of ${channelMaxPerNode}`;
    return null;
  }

  connectionOpened(user: string, vhost: LimitedVHost): void {
    this.connections++;
    vhost.connectionCount++;
    this.entryOf(user).connections++;
  }

  connectionClosed(user: string, vhost: LimitedVHost): void {
    this.connections--;
    vhost.connectionCount--;
    const open = this.entryOf(user);
    open.connections--;
    this.forgetIdle(user, open);
  }

  channelOpened(user: string): void {
    this.channels++;
    this.entryOf(user).channels++;
  }

  channelClosed(user: string): void {
    this.channels--;
    const open = this.entryOf(user);
    open.channels--;
    this.forgetIdle(user, open);
  }

  /** Connections and channels that a user has open. */
  openOf(user: string): Readonly<Open> {
    return this.byUser.get(user) ?? { connections: 0, channels: 0 };
  }

  /** Users that have anything open. */
  get usersOpen(): number {
    return this.byUser.size;
  }

  private entryOf(user: string): Open {
    let open = this.byUser.get(user);
    if (open === undefined) {
      open = { connections: 0, channels: 0 };
      this.byUser.set(user, open);
    }
    return open;
  }

  private forgetIdle(user: string, open: Open): void {
    if (open.connections === 0 && open.channels === 0) this.byUser.delete(user);
  }

  private limitOf(user: string, key: 'max-connections' | 'max-channels'): number {
    return limitOf(this.users.get(user)?.limits[key]);
  }
}

/** What a stored limit means. RabbitMQ: a negative number is no limit, 0 allows nothing. */
export function limitOf(value: number | undefined): number {
  return value === undefined || value < 0 ? Number.POSITIVE_INFINITY : value;
}

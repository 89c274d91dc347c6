// Who asks: the view that a vhost has of the client behind a request. Doors implement it; the vhost asks it at the moment that
// RabbitMQ would, so that the order of refusals is the same whichever door a request came through.

/** Permissions of AMQP resources (RabbitMQ access control). */
export type Permission = 'configure' | 'write' | 'read';
export type ResourceKind = 'exchange' | 'queue';

/** One client as a vhost sees it. */
export interface Caller {
  readonly username: string;
  /** Identity that exclusive queues belong to: the connection. Null for callers that can own none. */
  readonly owner: object | null;
  /** @throws BrokerError access-refused */
  assertMay(permission: Permission, kind: ResourceKind, name: string): void;
  /** Any of the three permissions will do: passive declares (RabbitMQ 4.2.7). @throws BrokerError access-refused */
  assertMayKnow(kind: ResourceKind, name: string): void;
  /** Second layer, topic exchanges only. @throws BrokerError access-refused */
  assertMayTopic(permission: 'write' | 'read', exchange: string, routingKey: string): void;
}

/** The broker itself: may everything, owns nothing. */
export const BROKER: Caller = {
  username: 'broker',
  owner: null,
  assertMay: () => {},
  assertMayKnow: () => {},
  assertMayTopic: () => {},
};

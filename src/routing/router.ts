// The seam of routing: one router per exchange type decides which destinations a message goes to.
// Knows nothing of queues, vhosts or transport: a destination is opaque.

import type { FieldTable } from '../protocol/field-table.ts';

/** What a binding points at: a queue or an exchange. Routers compare it by identity only. */
export interface Destination {
  /** Name, used only where an order that survives restarts is needed (hash exchanges). */
  readonly name: string;
}

/** One binding as a router sees it. The caller guarantees that the same binding is bound once, and unbinds the same object. */
export interface Binding {
  readonly destination: Destination;
  /** True when the destination is an exchange. */
  readonly toExchange: boolean;
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

/** The little that routing may ask of a message. */
export interface Routable {
  /** The headers table, decoded at the first call and kept; null when the message has none. */
  headers(): FieldTable | null;
  /** The properties that hash exchanges may be told to look at. */
  properties(): RoutableProperties;
  /** What the message costs in memory, in bytes. */
  readonly footprint: number;
}

/** The properties that routing may ask for; null where a message has none. */
export interface RoutableProperties {
  readonly correlationId: string | null;
  readonly messageId: string | null;
  /** Seconds. */
  readonly timestamp: number | bigint | null;
}

/** Routes for one exchange. */
export interface Router {
  /** True when `route` depends on the keys alone, so that the caller may cache its result by key. */
  readonly byKeyOnly: boolean;
  /** Messages that a queue gets when it is bound, oldest first; only what `route` was given. */
  readonly history: readonly Routable[];
  /** Refuses a binding that this type does not allow. @throws BrokerError precondition-failed with RabbitMQ's text */
  check(binding: Binding): void;
  bind(binding: Binding): void;
  unbind(binding: Binding): void;
  /**
   * Appends the destinations of a message to `out`; one may be appended more than once. Called once per message.
   * @param keys the routing key, then the further ones (CC, BCC)
   */
  route(message: Routable, keys: readonly string[], out: Destination[]): void;
}

/** The history of exchanges that keep none. */
export const NO_HISTORY: readonly Routable[] = [];

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
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

/** The little that routing may ask of a message. */
export interface Routable {
  /** The headers table, decoded at the first call and kept; null when the message has none. */
  headers(): FieldTable | null;
}

/** Routes for one exchange. */
export interface Router {
  /** True when `route` depends on the key alone, so that the caller may cache its result by key. */
  readonly byKeyOnly: boolean;
  /** Refuses a binding that this type does not allow. @throws BrokerError precondition-failed with RabbitMQ's text */
  check(routingKey: string, args: FieldTable): void;
  bind(binding: Binding): void;
  unbind(binding: Binding): void;
  /** Appends the destinations of `key` to `out`; one may be appended more than once. */
  route(message: Routable, key: string, out: Destination[]): void;
}

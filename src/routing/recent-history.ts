// Recent history: fanout that remembers the last messages, for queues that are bound later.
// Owns what is remembered, in memory only: a restart forgets it. Knows nothing of queues: a destination is opaque.
// Invariant: no more messages than the exchange's argument says and, above one message, no more bytes than HISTORY_BYTES_MAX.

import { Deque } from '../base/deque.ts';
import { BrokerError } from '../base/errors.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import { DestinationList } from './destination-list.ts';
import { erlangTerm } from './erlang-term.ts';
import type { Binding, Destination, Routable, Router } from './router.ts';

/** Messages that are remembered unless the exchange says otherwise (RabbitMQ). */
const LENGTH_DEFAULT = 20;
/** Memory that the messages of one exchange may take: the oldest are forgotten before their time. */
export const HISTORY_BYTES_MAX = 64 * 1024 * 1024;

export class RecentHistoryRouter implements Router {
  readonly byKeyOnly = false;
  readonly #destinations = new DestinationList();
  readonly #messages = new Deque<Routable>();
  readonly #lengthMax: number;
  #bytes = 0;

  /** @throws BrokerError precondition-failed when `x-recent-history-length` is not a positive integer */
  constructor(args: FieldTable) {
    this.#lengthMax = lengthOf(args);
  }

  get history(): readonly Routable[] {
    const messages: Routable[] = [];
    for (let i = 0; i < this.#messages.length; i++) messages.push(this.#messages.at(i));
    return messages;
  }

  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    this.#destinations.add(binding.destination);
  }

  unbind(binding: Binding): void {
    this.#destinations.remove(binding.destination);
  }

  route(message: Routable, _keys: readonly string[], out: Destination[]): void {
    const refused = message.headers()?.get('x-recent-history-no-store');
    if (refused?.tag !== 't' || !refused.value) this.#remember(message);
    this.#destinations.appendTo(out);
  }

  #remember(message: Routable): void {
    const messages = this.#messages;
    messages.push(message);
    this.#bytes += message.footprint;
    while (messages.length > this.#lengthMax || (this.#bytes > HISTORY_BYTES_MAX && messages.length > 1)) {
      this.#bytes -= messages.shift()!.footprint;
    }
  }
}

/** RabbitMQ takes the signed integer types only. */
function lengthOf(args: FieldTable): number {
  const value = args.get('x-recent-history-length');
  if (value === undefined) return LENGTH_DEFAULT;
  if (value.tag === 'b' || value.tag === 's' || value.tag === 'I' || value.tag === 'l' || value.tag === 'L') {
    const length = Number(value.value);
    if (length > 0) return length;
  }
  throw new BrokerError(
    'precondition-failed',
    `Invalid argument ${erlangTerm(value)}, 'x-recent-history-length' must be a positive integer`,
  );
}

// Fanout routing: every destination, whatever the key and the headers.
// Knows nothing of queues: a destination is opaque.

import type { FieldTable } from '../protocol/field-table.ts';
import { DestinationList } from './destination-list.ts';
import type { Binding, Destination, Routable, Router } from './router.ts';

export class FanoutRouter implements Router {
  readonly byKeyOnly = true;
  readonly #destinations = new DestinationList();

  check(_routingKey: string, _args: FieldTable): void {}

  bind(binding: Binding): void {
    this.#destinations.add(binding.destination);
  }

  unbind(binding: Binding): void {
    this.#destinations.remove(binding.destination);
  }

  route(_message: Routable, _key: string, out: Destination[]): void {
    this.#destinations.appendTo(out);
  }
}

// Fanout routing: every destination, whatever the key and the headers.
// Knows nothing of queues: a destination is opaque.

import { DestinationList } from './destination-list.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

export class FanoutRouter implements Router {
  readonly byKeyOnly = true;
  readonly history = NO_HISTORY;
  readonly #destinations = new DestinationList();

  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    this.#destinations.add(binding.destination);
  }

  unbind(binding: Binding): void {
    this.#destinations.remove(binding.destination);
  }

  route(_message: Routable, _keys: readonly string[], out: Destination[]): void {
    this.#destinations.appendTo(out);
  }
}

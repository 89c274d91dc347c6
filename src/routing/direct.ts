// Direct routing: a binding key equals the routing key, byte for byte.
// Owns the map from key to destinations. Knows nothing of queues: a destination is opaque.
// Invariant: no key maps to an empty list.

import { DestinationList } from './destination-list.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

export class DirectRouter implements Router {
  readonly byKeyOnly = true;
  readonly history = NO_HISTORY;
  readonly #byKey = new Map<string, DestinationList>();

  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    let list = this.#byKey.get(binding.routingKey);
    if (list === undefined) {
      list = new DestinationList();
      this.#byKey.set(binding.routingKey, list);
    }
    list.add(binding.destination);
  }

  unbind(binding: Binding): void {
    const list = this.#byKey.get(binding.routingKey);
    if (list === undefined) return;
    list.remove(binding.destination);
    if (list.isEmpty) this.#byKey.delete(binding.routingKey);
  }

  route(_message: Routable, keys: readonly string[], out: Destination[]): void {
    for (let i = 0; i < keys.length; i++) this.#byKey.get(keys[i]!)?.appendTo(out);
  }
}

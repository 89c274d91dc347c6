// Direct routing: a binding key equals the routing key, byte for byte.
// Owns the map from key to destinations. Knows nothing of queues: a destination is opaque.
// Invariant: no key maps to an empty list.

import type { FieldTable } from '../protocol/field-table.ts';
import { DestinationList } from './destination-list.ts';
import type { Binding, Destination, Routable, Router } from './router.ts';

export class DirectRouter implements Router {
  readonly byKeyOnly = true;
  readonly #byKey = new Map<string, DestinationList>();

  check(_routingKey: string, _args: FieldTable): void {}

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

  route(_message: Routable, key: string, out: Destination[]): void {
    this.#byKey.get(key)?.appendTo(out);
  }
}

// Modulus hashing: the hash of a message's keys, divided by the number of bindings, says which one it follows.
// Knows nothing of queues: a destination is opaque.
// Invariant: the order of destinations follows from their names alone, so that a restart keeps every assignment.

import { hashOfTexts, octetsOf } from './erlang-hash.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

export class ModulusHashRouter implements Router {
  readonly byKeyOnly = true;
  readonly history = NO_HISTORY;
  readonly #bindings = new Set<Binding>();
  /** One destination per binding, sorted; null when bindings have changed since. */
  #sorted: readonly Destination[] | null = null;

  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    this.#bindings.add(binding);
    this.#sorted = null;
  }

  unbind(binding: Binding): void {
    if (this.#bindings.delete(binding)) this.#sorted = null;
  }

  route(_message: Routable, keys: readonly string[], out: Destination[]): void {
    this.#sorted ??= sorted(this.#bindings);
    const { length } = this.#sorted;
    if (length !== 0) out.push(this.#sorted[hashOfTexts(keys) % length]!);
  }
}

/** RabbitMQ 4.3: exchanges before queues, then by name, octet by octet. A destination that is bound twice counts twice. */
function sorted(bindings: ReadonlySet<Binding>): readonly Destination[] {
  const named = [...bindings].map(({ destination, toExchange }) => ({
    destination,
    kind: toExchange ? 0 : 1,
    octets: octetsOf(destination.name),
  }));
  named.sort((a, b) => a.kind - b.kind || Buffer.compare(a.octets, b.octets));
  return named.map(({ destination }) => destination);
}

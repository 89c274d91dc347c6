// Random routing: one of the bindings, each as likely as the others; key and headers play no part.
// Knows nothing of queues: a destination is opaque. Invariant: `indexes` says where in `bindings` each of them is.

import { BrokerError } from '../base/errors.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

export class RandomRouter implements Router {
  readonly byKeyOnly = false;
  readonly history = NO_HISTORY;
  readonly #bindings: Binding[] = [];
  readonly #indexes = new Map<Binding, number>();
  /** The next random number, 0 … 1. */
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    this.#indexes.set(binding, this.#bindings.length);
    this.#bindings.push(binding);
  }

  unbind(binding: Binding): void {
    const at = this.#indexes.get(binding);
    if (at === undefined) return;
    this.#indexes.delete(binding);
    const last = this.#bindings.pop()!;
    if (last === binding) return;
    this.#bindings[at] = last;
    this.#indexes.set(last, at);
  }

  route(_message: Routable, _keys: readonly string[], out: Destination[]): void {
    const { length } = this.#bindings;
    if (length !== 0) out.push(this.#bindings[Math.floor(this.#random() * length)]!.destination);
  }
}

/** As `RandomRouter`, for queues of the node that the publisher is connected to: on one machine all of them. */
export class LocalRandomRouter extends RandomRouter {
  override check({ routingKey, toExchange }: Binding): void {
    if (routingKey !== '') {
      throw new BrokerError('precondition-failed', `Non empty binding '${routingKey}' key not permitted`);
    }
    // RabbitMQ 4.0 looks for a queue of that name only.
    if (toExchange) throw new BrokerError('precondition-failed', 'Destination not found');
  }
}

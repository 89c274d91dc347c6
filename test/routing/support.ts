// What the routing tests share: destinations, bindings and messages in one line each.
import { EMPTY_TABLE, type FieldTable } from '../../src/protocol/field-values.ts';
import type { Binding, Destination, Routable, RoutableProperties, Router } from '../../src/routing/router.ts';

export const plainMessage: Routable = messageWith(null);

export function messageWith(
  headers: FieldTable | null,
  properties: Partial<RoutableProperties> = {},
  footprint = 100,
): Routable {
  const all = { correlationId: null, messageId: null, timestamp: null, ...properties };
  return { headers: () => headers, properties: () => all, footprint };
}

export function binding(
  destination: Destination,
  routingKey: string,
  args: FieldTable = EMPTY_TABLE,
): Binding {
  return { destination, toExchange: false, routingKey, arguments: args };
}

/** Binds a destination of the same name to each key, and returns the bindings. */
export function bindAll(router: Router, keys: readonly string[]): Binding[] {
  return keys.map((key) => {
    const made = binding({ name: key }, key);
    router.bind(made);
    return made;
  });
}

/** Names of the destinations, each once, sorted. */
export function routed(router: Router, key: string, message: Routable = plainMessage): string[] {
  const out: Destination[] = [];
  router.route(message, [key], out);
  return [...new Set(out.map((d) => d.name))].sort();
}

/** Names of the destinations as often as the router gave them. */
export function routedRaw(router: Router, key: string, message: Routable = plainMessage): string[] {
  const out: Destination[] = [];
  router.route(message, [key], out);
  return out.map((d) => d.name).sort();
}

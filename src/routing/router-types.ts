// Which exchange types there are, and the router of each. A new type is one file and one line here.

import { BrokerError } from '../base/errors.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import { ConsistentHashRouter } from './consistent-hash.ts';
import { DirectRouter } from './direct.ts';
import { FanoutRouter } from './fanout.ts';
import { HeadersRouter } from './headers.ts';
import { ModulusHashRouter } from './modulus-hash.ts';
import { LocalRandomRouter, RandomRouter } from './random.ts';
import { RecentHistoryRouter } from './recent-history.ts';
import type { Router } from './router.ts';
import { TopicRouter } from './topic.ts';

/** Makes the router of one exchange from the exchange's arguments. @throws BrokerError precondition-failed on bad arguments */
type RouterMaker = (args: FieldTable) => Router;

const MAKERS: ReadonlyMap<string, RouterMaker> = new Map<string, RouterMaker>([
  ['direct', () => new DirectRouter()],
  ['fanout', () => new FanoutRouter()],
  ['headers', () => new HeadersRouter()],
  ['topic', () => new TopicRouter()],
  ['x-delayed-message', delayedRouter],
  ['x-consistent-hash', (args) => new ConsistentHashRouter(args)],
  ['x-local-random', () => new LocalRandomRouter()],
  // Message deduplication plugin: what is no duplicate goes to all destinations.
  ['x-message-deduplication', () => new FanoutRouter()],
  ['x-modulus-hash', () => new ModulusHashRouter()],
  ['x-random', () => new RandomRouter()],
  ['x-recent-history', (args) => new RecentHistoryRouter(args)],
]);

/** The exchange types that may be declared, sorted. */
export const ROUTER_TYPES: readonly string[] = [...MAKERS.keys()].sort();

/** Is there such an exchange type? */
export function isRouterType(type: string): boolean {
  return MAKERS.has(type);
}

/** A new router for an exchange of `type`; null when there is no such type. @throws BrokerError precondition-failed on bad arguments */
export function createRouter(type: string, args: FieldTable): Router | null {
  return MAKERS.get(type)?.(args) ?? null;
}

/** An exchange that holds messages back routes them by the type that its argument names (delayed message plugin). */
function delayedRouter(args: FieldTable): Router {
  const type = args.get('x-delayed-type')?.value;
  if (type === 'x-delayed-message') {
    throw new BrokerError(
      'precondition-failed',
      "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
    );
  }
  if (typeof type !== 'string') {
    throw new BrokerError(
      'precondition-failed',
      "Invalid argument, 'x-delayed-type' must be an existing exchange type",
    );
  }
  const router = createRouter(type, args);
  if (router === null) throw new BrokerError('precondition-failed', `unknown exchange type '${type}'`);
  return router;
}

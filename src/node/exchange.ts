// One exchange: what was declared, its router, its bindings in both roles, and the cache of routes by key.
// Knows no queue: what it routes to is a Destination.

import { encodeTable, type FieldTable, type FieldValue } from '../protocol/field-table.ts';
import type { Queue } from '../queue/queue.ts';
import type { Binding, Destination, Router } from '../routing/router.ts';
import type { Intake } from './intake.ts';

/** Routes kept per exchange; the cache starts anew when it is full. */
export const ROUTE_CACHE_MAX = 20_000;
/** Queues that the kept routes of one exchange may name together: many keys that lead to thousands of queues must not fill the memory. */
export const ROUTE_CACHE_QUEUES_MAX = 200_000;

/** What a client declares. */
export interface ExchangeDeclaration {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: FieldTable;
}

/** A binding from an exchange to a queue or another exchange. */
export class BindingRecord implements Binding {
  readonly source: Exchange;
  readonly destination: Queue | Exchange;
  readonly toExchange: boolean;
  readonly routingKey: string;
  readonly arguments: FieldTable;
  /** Identity among the bindings of its source. */
  readonly id: string;
  /** Rises from binding to binding of the source, restarts included: hash exchanges assign by the order of bindings. */
  readonly order: number;

  constructor(
    source: Exchange,
    destination: Queue | Exchange,
    routingKey: string,
    args: FieldTable,
    order: number,
  ) {
    this.source = source;
    this.destination = destination;
    this.toExchange = destination instanceof Exchange;
    this.routingKey = routingKey;
    this.arguments = args;
    this.id = bindingId(destination, routingKey, args);
    this.order = order;
  }

  /** Survives a restart: both ends do (RabbitMQ: a binding to a transient end is transient). */
  get durable(): boolean {
    return this.source.declaration.durable && this.destination.declaration.durable;
  }
}

/** Identity of a binding within its source: destination, routing key and arguments, whatever the order of the arguments. */
export function bindingId(destination: Queue | Exchange, routingKey: string, args: FieldTable): string {
  const kind = destination instanceof Exchange ? 'exchange' : 'queue';
  const { name } = destination;
  // Names may hold any octet, NUL too: then a length says where the name ends.
  const length =
    name.includes('\0') || routingKey.includes('\0') ? `:${name.length}:${routingKey.length}` : '';
  return `${kind}${length}\0${name}\0${routingKey}\0${argumentsId(args)}`;
}

function argumentsId(args: FieldTable): string {
  if (args.size === 0) return '';
  const sorted = new Map<string, FieldValue>([...args].sort(([a], [b]) => (a < b ? -1 : 1)));
  return encodeTable(sorted).toString('latin1');
}

/** A declared exchange. */
export class Exchange implements Destination {
  readonly name: string;
  readonly declaration: ExchangeDeclaration;
  /** Decides destinations; the default exchange has none, it routes by queue name. */
  readonly router: Router | null;
  /** Name of the alternate exchange, from the arguments or else from a policy; null when there is none. */
  alternate: string | null;
  /** What is done with a message before it is routed; null for nothing. Written by the vhost, once. */
  intake: Intake | null = null;
  /** Bindings with this exchange as source. */
  readonly outgoing = new Map<string, BindingRecord>();
  /** Bindings with this exchange as destination. */
  readonly incoming = new Set<BindingRecord>();
  /** Order of the next binding from this exchange. Written by the vhost. */
  nextOrder = 0;
  deleted = false;
  /** Last routing run that visited it, so that cycles end. Written by the vhost. */
  visitStamp = 0;
  /** Messages that were published to it. */
  publishedIn = 0;

  /** Routes by key, computed at `cacheGeneration` of the vhost's topology. */
  private readonly cache = new Map<string, readonly Queue[]>();
  private cacheGeneration = 0;
  /** Queues that the routes in the cache name. */
  private cachedQueues = 0;

  constructor(declaration: ExchangeDeclaration, router: Router | null) {
    this.name = declaration.name;
    this.declaration = declaration;
    this.router = router;
    const alternate = declaration.arguments.get('alternate-exchange');
    // RabbitMQ: the default exchange, whose name is empty, is no alternate exchange.
    this.alternate =
      alternate?.tag === 'S' && typeof alternate.value === 'string' && alternate.value !== ''
        ? alternate.value
        : null;
  }

  /**
   * What a policy says of the alternate exchange from now on; null for nothing. @returns true when messages may go elsewhere than before:
   * the caller starts a new generation of routes
   */
  setPolicyAlternate(name: string | null): boolean {
    // RabbitMQ: an argument goes before policies, and the default exchange, which has no router, has no alternate.
    if (this.router === null || this.declaration.arguments.has('alternate-exchange')) return false;
    const alternate = name === '' ? null : name;
    if (alternate === this.alternate) return false;
    this.alternate = alternate;
    return true;
  }

  cached(key: string, generation: number): readonly Queue[] | undefined {
    return this.cacheGeneration === generation ? this.cache.get(key) : undefined;
  }

  remember(key: string, generation: number, route: readonly Queue[]): void {
    const full =
      this.cache.size >= ROUTE_CACHE_MAX || this.cachedQueues + route.length > ROUTE_CACHE_QUEUES_MAX;
    if (full || this.cacheGeneration !== generation) {
      this.cache.clear();
      this.cachedQueues = 0;
      this.cacheGeneration = generation;
    }
    this.cache.set(key, route);
    this.cachedQueues += route.length;
  }
}

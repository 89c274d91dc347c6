// From the store to a standing topology: definitions first, through the same vhost calls that clients cause, then queue contents.
// Owns the order. Nothing is written while it runs, except the removal of what belongs to no queue: the store compares what it reads
// with what its last commit left. So no queue has a turn before it has ended.

import { importUsers } from '../auth/definitions.ts';
import { BrokerError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { DeclaredQueue } from '../queue/queue.ts';
import { createRouter } from '../routing/router-types.ts';
import {
  type RecoveredQueue,
  type RecoverySink,
  type RecoveryStats,
  type StoredEntry,
  StoreError,
} from '../store/store.ts';
import { readDefinition, type StoredDefinition, tableFromText } from './definitions.ts';
import { BindingRecord, Exchange } from './exchange.ts';
import type { StoredContent } from './intake.ts';
import type { BrokerNode } from './node.ts';
import { queueTypeOf } from './vhost-metadata.ts';

/** What recovery found. */
export interface Recovered extends RecoveryStats {
  /** False in an empty store: the default user and vhost are to be made. */
  readonly hasUsers: boolean;
}

/** Fills an attached node from its store. @throws StoreError of kind damaged */
export async function recover(node: BrokerNode): Promise<Recovered> {
  const sink = new Sink(node, node.log);
  node.definitions.muted = true;
  const stats = await node.shard.recover(sink);
  sink.buildTopology();
  node.definitions.muted = false;
  for (const queue of sink.paused) queue.pause();
  // Messages may have expired meanwhile.
  for (const vhost of node.vhosts.values()) {
    for (const queue of vhost.queues.values()) queue.wake();
    for (const exchange of vhost.exchanges.values()) exchange.intake?.resume();
  }
  if (sink.users !== null) await importUsers(node.users, sink.users);
  return { ...stats, hasUsers: sink.users !== null };
}

/** Kinds of definitions in the order in which they are built. */
const KINDS = ['vhost', 'global-parameter', 'parameter', 'exchange', 'queue', 'binding', 'users'] as const;
type StoredParameter = Extract<StoredDefinition, { kind: 'parameter' }>;

class Sink implements RecoverySink {
  /** The stored users; null in an empty store. */
  users: unknown = null;
  private readonly node: BrokerNode;
  private readonly log: Logger;
  private readonly records: StoredDefinition[] = [];
  private built = false;
  /** Queues that were paused. A paused queue is woken, so it has to wait until everything is there. */
  readonly paused: DeclaredQueue[] = [];
  private readonly queues = new Map<number, StoredContent>();

  constructor(node: BrokerNode, log: Logger) {
    this.node = node;
    this.log = log;
  }

  definition(key: string, value: Buffer): void {
    try {
      this.records.push(readDefinition(value));
    } catch (error) {
      throw new StoreError('damaged', `the definition ${key} in the store is not readable`, error);
    }
  }

  queue(number: number, facts: RecoveredQueue): boolean {
    this.buildTopology();
    this.node.sawQueueNumber(number);
    const queue = this.queues.get(number);
    if (queue === undefined) return false;
    queue.restoreFacts(number, facts.nextPosition, facts.deliveredUpTo);
    return true;
  }

  entries(number: number, run: readonly StoredEntry[]): void {
    this.queues.get(number)!.restore(number, run);
  }

  /** Vhosts with their policies, so that what follows has them; exchanges and queues, then the bindings between them. */
  buildTopology(): void {
    if (this.built) return;
    this.built = true;
    this.records.sort(byOrder);
    for (const kind of KINDS) {
      for (const record of this.records) if (record.kind === kind) this.build(record);
    }
    this.records.length = 0;
  }

  private build(record: StoredDefinition): void {
    const { node } = this;
    if (record.kind === 'users') {
      this.users = record.definition;
      return;
    }
    if (record.kind === 'vhost') {
      const { name, description, tags, defaultQueueType, protectedFromDeletion = false } = record;
      const type = defaultQueueType === undefined ? null : queueTypeOf(defaultQueueType);
      node.addVHost(name, { description, tags, defaultQueueType: type, protectedFromDeletion });
      return;
    }
    if (record.kind === 'global-parameter') {
      node.parameters.setGlobal(record.name, record.value);
      return;
    }
    const vhost = node.vhosts.get(record.vhost);
    if (vhost === undefined) return this.dangling(record.kind, record.vhost);
    if (record.kind === 'parameter') return this.buildParameter(record);
    const args = tableFromText(record.arguments);
    if (record.kind === 'exchange') {
      const { name, type, autoDelete, internal } = record;
      const declaration = { name, type, durable: true, autoDelete, internal, arguments: args };
      const router = createRouter(type, args);
      if (router === null) {
        throw new StoreError(
          'format',
          `The store has the exchange '${name}' of type '${type}', which this version of Leveret does not know. ` +
            'Start the version that wrote it. Nothing was changed.',
        );
      }
      const exchange = new Exchange(declaration, router);
      vhost.addExchange(exchange, linesIn(record));
      for (const [number, content] of exchange.intake?.contents ?? []) this.put(number, content);
    } else if (record.kind === 'queue') {
      const { name, number, autoDelete } = record;
      const declaration = { name, durable: true, exclusive: false, autoDelete, arguments: args, owner: null };
      const lines = linesIn(record);
      const queue = vhost.addQueue(declaration, number, lines);
      for (const own of [number, ...lines.values()]) this.put(own, queue);
      if (record.paused === true) this.paused.push(queue);
    } else {
      const source = vhost.exchanges.get(record.source);
      const destination =
        record.destinationKind === 'queue'
          ? vhost.queues.get(record.destination)
          : vhost.exchanges.get(record.destination);
      if (source === undefined || destination === undefined) return this.dangling('binding', record.vhost);
      vhost.addBinding(new BindingRecord(source, destination, record.routingKey, args, record.order ?? 0));
    }
  }

  private put(number: number, owner: StoredContent): void {
    this.queues.set(number, owner);
    this.node.sawQueueNumber(number);
  }

  /** A parameter that was taken once is taken again; should this version know better, the broker starts without it. */
  private buildParameter({ vhost, component, name, value }: StoredParameter): void {
    try {
      this.node.parameters.put(vhost, component, name, value);
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.log.warn('a stored parameter is not one that this version takes, and is left out', {
        vhost,
        component,
        name,
        error: error.message,
      });
    }
  }

  /** A record whose surroundings are gone. Batches are atomic, so only a store that was edited by hand has one. */
  private dangling(kind: string, vhost: string): void {
    this.log.warn('a stored definition belongs to nothing that exists and is left out', { kind, vhost });
  }
}

/** Numbers of content in the store that a record names, by line. */
function linesIn({ lines = {} }: { lines?: Record<string, number> }): Map<number, number> {
  return new Map(Object.entries(lines).map(([line, number]) => [Number(line), number]));
}

/** Bindings in the order in which they were made; what else there is has no order. */
function byOrder(a: StoredDefinition, b: StoredDefinition): number {
  return orderOf(a) - orderOf(b);
}

function orderOf(record: StoredDefinition): number {
  return record.kind === 'binding' ? (record.order ?? 0) : 0;
}

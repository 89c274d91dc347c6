// One virtual host: its exchanges, queues and bindings, and where a message goes.
// Owns declare, delete, bind, unbind with RabbitMQ's order of checks and texts, and the routing walk. Knows no protocol: callers
// are seen through `Caller`, consumers through `Consumer`.
// Invariant: `generation` grows with every change that can change a route, so that a route computed at one generation holds until the next.

import { BrokerError } from '../base/errors.ts';
import { serverName } from '../base/random-ids.ts';
import { addressOf } from '../message/address.ts';
import { closesCycle, copies, type DeathReason, deadMessage } from '../message/death.ts';
import type { Message } from '../message/message.ts';
import { EMPTY_TABLE, type FieldTable, fieldTypeName } from '../protocol/field-table.ts';
import { ClassicQueue } from '../queue/classic-queue.ts';
import {
  assertEquivalentQueue,
  assertSameArgument,
  assertSameFlag,
  checkQueueArguments,
  type QueueDeclaration,
} from '../queue/declaration.ts';
import type { Queue } from '../queue/queue.ts';
import type { QueueContext, QueueHost } from '../queue/queue-context.ts';
import { isReplyName, REPLY_TO_PREFIX, ReplyQueue } from '../queue/reply-queue.ts';
import type { Destination } from '../routing/router.ts';
import { createRouter } from '../routing/router-types.ts';
import type { Caller } from './caller.ts';
import type { Definitions } from './definitions.ts';
import { BindingRecord, bindingId, Exchange, type ExchangeDeclaration } from './exchange.ts';

/** Exchanges that stand in every vhost from the start (RabbitMQ). All durable; the default exchange has the empty name. */
const PREDECLARED: readonly { name: string; type: string; internal: boolean }[] = [
  { name: '', type: 'direct', internal: false },
  { name: 'amq.direct', type: 'direct', internal: false },
  { name: 'amq.fanout', type: 'fanout', internal: false },
  { name: 'amq.topic', type: 'topic', internal: false },
  { name: 'amq.headers', type: 'headers', internal: false },
  { name: 'amq.match', type: 'headers', internal: false },
  { name: 'amq.rabbitmq.trace', type: 'topic', internal: true },
];

const RESERVED = 'amq.';
/** Contents above this many bytes that go to several queues are stored once and named by each of them. */
export const SHARED_BYTES_MIN = 4096;

const NOWHERE: readonly Queue[] = [];

/** What a vhost needs around it. */
export interface VHostContext {
  readonly queues: QueueContext;
  readonly definitions: Definitions;
  /** Reply queues of all channels of the broker, by name. */
  readonly replies: ReadonlyMap<string, ReplyQueue>;
  /** A number for a new queue. */
  nextQueueNumber(): number;
  /** Queue limit of the vhost; Infinity when there is none. */
  queuesMax(vhost: string): number;
}

/** A virtual host. */
export class VHost implements QueueHost {
  readonly name: string;
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, ClassicQueue>();
  /** Grows with every change of topology. */
  generation = 1;
  deleted = false;

  private readonly context: VHostContext;
  /** Bindings by the queue they lead to. */
  private readonly boundTo = new Map<Queue, Set<BindingRecord>>();
  /** Number of the routing run, for stamps. */
  private run = 0;
  /** A visited exchange routes by more than the key: the route must not be cached. */
  private uncacheable = false;
  private readonly found: Destination[] = [];
  /** Takes replies whose requester is gone. */
  private readonly nobody: ReplyQueue;

  constructor(name: string, context: VHostContext) {
    this.name = name;
    this.context = context;
    this.nobody = new ReplyQueue('', context.queues.turn);
    for (const { name: exchange, type, internal } of PREDECLARED) {
      const declaration = {
        name: exchange,
        type,
        durable: true,
        autoDelete: false,
        internal,
        arguments: EMPTY_TABLE,
      };
      this.exchanges.set(
        exchange,
        new Exchange(declaration, exchange === '' ? null : createRouter(type, EMPTY_TABLE)),
      );
    }
  }

  // ── exchanges ──

  /** @throws BrokerError not-found */
  exchange(name: string): Exchange {
    const exchange = this.exchanges.get(name);
    if (exchange === undefined)
      throw new BrokerError('not-found', `no exchange '${name}' in vhost '${this.name}'`);
    return exchange;
  }

  /** exchange.declare. Finds an equivalent exchange or makes a new one. */
  declareExchange(wanted: ExchangeDeclaration, caller: Caller): Exchange {
    const router = createRouter(wanted.type, wanted.arguments);
    if (router === null)
      throw new BrokerError('precondition-failed', `unknown exchange type '${wanted.type}'`);
    assertNotDefault(wanted.name);
    caller.assertMay('configure', 'exchange', wanted.name);
    const current = this.exchanges.get(wanted.name);
    if (current !== undefined) {
      this.assertEquivalentExchange(current.declaration, wanted);
      return current;
    }
    if (wanted.name.startsWith(RESERVED)) {
      throw new BrokerError(
        'access-refused',
        `exchange name '${wanted.name}' contains reserved prefix 'amq.*'`,
      );
    }
    const alternate = wanted.arguments.get('alternate-exchange');
    if (alternate !== undefined) {
      if (alternate.tag !== 'S' || typeof alternate.value !== 'string') {
        throw new BrokerError(
          'precondition-failed',
          `invalid type '${fieldTypeName(alternate)}' for arg 'alternate-exchange' in exchange '${wanted.name}' in vhost '${this.name}'`,
        );
      }
      caller.assertMay('read', 'exchange', wanted.name);
      caller.assertMay('write', 'exchange', alternate.value);
    }
    const exchange = new Exchange(wanted, router);
    this.exchanges.set(wanted.name, exchange);
    this.generation++;
    if (wanted.durable) this.context.definitions.saveExchange(this.name, wanted);
    return exchange;
  }

  /** exchange.delete. A missing exchange is fine (RabbitMQ: delete is idempotent). */
  deleteExchange(name: string, ifUnused: boolean, caller: Caller): void {
    assertNotDefault(name);
    caller.assertMay('configure', 'exchange', name);
    if (name.startsWith(RESERVED)) {
      throw new BrokerError(
        'access-refused',
        `deletion of system exchange '${name}' in vhost '${this.name}' not allowed`,
      );
    }
    const exchange = this.exchanges.get(name);
    if (exchange === undefined) return;
    if (ifUnused && exchange.outgoing.size !== 0) {
      throw new BrokerError('precondition-failed', `exchange '${name}' in vhost '${this.name}' in use`);
    }
    this.removeExchange(exchange);
  }

  // ── queues ──

  /** @throws BrokerError not-found, or resource-locked for another connection's exclusive queue */
  queue(name: string, caller: Caller): ClassicQueue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new BrokerError('not-found', `no queue '${name}' in vhost '${this.name}'`);
    this.assertOwner(queue, caller);
    return queue;
  }

  /** queue.declare, not passive. Finds an equivalent queue or makes a new one; an empty name asks for a generated one. */
  declareQueue(declared: Omit<QueueDeclaration, 'owner'>, caller: Caller): ClassicQueue {
    if (declared.name === '') assertServerNamed(declared.arguments);
    // RabbitMQ: not even an existing server-named queue may be declared again, only passively.
    if (declared.name.startsWith(RESERVED)) {
      throw new BrokerError(
        'access-refused',
        `queue name '${declared.name}' contains reserved prefix 'amq.*'`,
      );
    }
    const name = declared.name === '' ? serverName('amq.gen-') : declared.name;
    const wanted: QueueDeclaration = {
      ...declared,
      name,
      // RabbitMQ: an exclusive queue is never durable, whatever the flag says.
      durable: declared.durable && !declared.exclusive,
      owner: declared.exclusive ? caller.owner : null,
    };
    caller.assertMay('configure', 'queue', name);
    const current = this.queues.get(name);
    if (current !== undefined) {
      this.assertOwner(current, caller);
      if (current.declaration.exclusive !== wanted.exclusive) throw this.locked(current);
      assertEquivalentQueue(current.declaration, wanted, this.name);
      return current;
    }
    checkQueueArguments(name, this.name, wanted.arguments);
    const deadLetterExchange = wanted.arguments.get('x-dead-letter-exchange');
    if (deadLetterExchange !== undefined) {
      caller.assertMay('read', 'queue', name);
      caller.assertMay('write', 'exchange', String(deadLetterExchange.value));
    }
    const limit = this.context.queuesMax(this.name);
    if (this.queues.size >= limit) {
      throw new BrokerError(
        'precondition-failed',
        `cannot declare queue '${name}': queue limit in vhost '${this.name}' (${limit}) is reached`,
      );
    }
    const queue = this.addQueue(wanted, this.context.nextQueueNumber());
    if (wanted.durable) this.context.definitions.saveQueue(this.name, wanted, queue.number);
    return queue;
  }

  /** Puts a queue in place: a new one, or a recovered one under its old number. */
  addQueue(declaration: QueueDeclaration, number: number): ClassicQueue {
    const queue = new ClassicQueue(declaration, number, this.context.queues, this);
    this.queues.set(declaration.name, queue);
    this.generation++;
    return queue;
  }

  /** queue.delete. A missing queue is fine. @returns ready messages that went with it */
  deleteQueue(name: string, ifUnused: boolean, ifEmpty: boolean, caller: Caller): number {
    caller.assertMay('configure', 'queue', name);
    const queue = this.queues.get(name);
    if (queue === undefined) return 0;
    this.assertOwner(queue, caller);
    if (ifEmpty && queue.messageCount !== 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' not empty`);
    }
    if (ifUnused && queue.consumerCount !== 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' in use`);
    }
    return this.removeQueue(queue);
  }

  /** Takes a queue out: delete, auto-delete, or the end of its owner. @returns ready messages that went with it */
  removeQueue(queue: ClassicQueue): number {
    if (queue.deleted) return 0;
    const count = queue.messageCount;
    this.queues.delete(queue.name);
    this.generation++;
    for (const binding of this.boundTo.get(queue) ?? []) this.removeBinding(binding);
    this.boundTo.delete(queue);
    queue.delete();
    if (queue.durable) this.context.definitions.deleteQueue(this.name, queue.name);
    return count;
  }

  consumersGone(queue: ClassicQueue): void {
    // RabbitMQ: an auto-delete queue goes with its last consumer, never before it had one.
    if (queue.declaration.autoDelete) this.removeQueue(queue);
  }

  deadLetter(queue: ClassicQueue, message: Message, reason: DeathReason): void {
    const { deadLetterExchange, deadLetterRoutingKey } = queue.options;
    // RabbitMQ: a dead-letter exchange that does not exist drops the message; the default exchange is named by the empty string.
    const exchange = this.exchanges.get(deadLetterExchange!);
    if (exchange === undefined) return;
    const key = deadLetterRoutingKey ?? message.address.routingKey;
    const keys = [key];
    if (deadLetterRoutingKey === null) for (const copy of copies(message)) keys.push(String(copy.value));
    const { clock } = this.context.queues;
    const dead = deadMessage(message, queue.name, reason, clock.now(), addressOf(exchange.name, key));
    const targets = this.walk(exchange, dead, keys).filter((target) => !closesCycle(dead, target.name));
    const { queues } = this.context;
    queues.burying = true;
    this.publish(targets, dead);
    queues.burying = false;
  }

  /** The exclusive queues of a connection that is ending. */
  removeQueuesOf(owner: object): void {
    for (const queue of [...this.queues.values()])
      if (queue.declaration.owner === owner) this.removeQueue(queue);
  }

  /** Bindings that lead to the queue, without the implicit one of the default exchange. */
  bindingsTo(queue: Queue): Iterable<BindingRecord> {
    return this.boundTo.get(queue) ?? [];
  }

  // ── bindings ──

  /** queue.bind and exchange.bind, after the destination was found. Binding twice is fine. */
  bind(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): void {
    const id = bindingId(destination, routingKey, args);
    if (source.outgoing.has(id)) return;
    source.router!.check(routingKey, args);
    const binding = this.addBinding(source, destination, routingKey, args);
    if (binding.durable) this.context.definitions.saveBinding(this.name, binding);
  }

  /** Puts a binding in place without asking or storing. */
  addBinding(
    source: Exchange,
    destination: Queue | Exchange,
    routingKey: string,
    args: FieldTable,
  ): BindingRecord {
    const binding = new BindingRecord(source, destination, routingKey, args);
    source.outgoing.set(binding.id, binding);
    source.everBound = true;
    if (destination instanceof Exchange) destination.incoming.add(binding);
    else {
      let bound = this.boundTo.get(destination);
      if (bound === undefined) {
        bound = new Set();
        this.boundTo.set(destination, bound);
      }
      bound.add(binding);
    }
    source.router!.bind(binding);
    this.generation++;
    return binding;
  }

  isBound(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): boolean {
    return source.outgoing.has(bindingId(destination, routingKey, args));
  }

  /** queue.unbind and exchange.unbind. A missing binding is fine. */
  unbind(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): void {
    const binding = source.outgoing.get(bindingId(destination, routingKey, args));
    if (binding !== undefined) this.removeBinding(binding);
  }

  // ── routing ──

  /** Queues that a message published to `exchange` under `key` reaches, each once. Do not change the result. */
  route(exchange: Exchange, message: Message, key: string): readonly Queue[] {
    const cached = exchange.cached(key, this.generation);
    if (cached !== undefined) {
      this.uncacheable = false;
      return cached;
    }
    const out = this.walk(exchange, message, [key]);
    // A reply queue comes and goes without a change of topology.
    if (key.startsWith(REPLY_TO_PREFIX)) this.uncacheable = true;
    if (!this.uncacheable) exchange.remember(key, this.generation, out);
    return out;
  }

  /** As `route`, for a message with further keys (CC, BCC). */
  routeAll(exchange: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    return this.walk(exchange, message, keys);
  }

  /** The last `route` may be kept by the caller as long as `generation` stands. */
  get routeHolds(): boolean {
    return !this.uncacheable;
  }

  /** Hands a message to the queues of its route. @returns their outcome flags together */
  publish(queues: readonly Queue[], message: Message): number {
    const several = queues.length > 1 && message.contentLength > SHARED_BYTES_MIN;
    const context = this.context.queues;
    // A queue that drops or refuses a message dead-letters it right here, in the middle of another message's publish.
    const outer = context.shared;
    context.shared = null;
    if (several) {
      const { at } = message;
      context.shared = context.shard.share(
        message.address.wire,
        message.buffer,
        at,
        at + message.contentLength,
      );
    }
    let outcome = 0;
    for (let i = 0; i < queues.length; i++) outcome |= queues[i]!.publish(message);
    context.shared = outer;
    return outcome;
  }

  private walk(exchange: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    this.run++;
    this.uncacheable = false;
    const out: Queue[] = [];
    this.visit(exchange, message, keys, out);
    return out.length === 0 ? NOWHERE : out;
  }

  private visit(exchange: Exchange, message: Message, keys: readonly string[], out: Queue[]): void {
    if (exchange.visitStamp === this.run) return;
    exchange.visitStamp = this.run;
    const before = this.found.length;
    const { found } = this;
    const { router } = exchange;
    if (router === null) {
      for (const key of keys) {
        const queue = this.queues.get(key) ?? this.replyQueue(key);
        if (queue !== undefined) found.push(queue);
      }
    } else {
      if (!router.byKeyOnly) this.uncacheable = true;
      for (const key of keys) router.route(message, key, found);
    }
    const after = found.length;
    if (after === before && exchange.alternate !== null) {
      const alternate = this.exchanges.get(exchange.alternate);
      if (alternate !== undefined) this.visit(alternate, message, keys, out);
    }
    for (let i = before; i < after; i++) {
      const destination = found[i]!;
      if (destination instanceof Exchange) this.visit(destination, message, keys, out);
      else {
        const queue = destination as Queue;
        if (queue.routeStamp !== this.run) {
          queue.routeStamp = this.run;
          out.push(queue);
        }
      }
    }
    found.length = before;
  }

  /** RabbitMQ 4.2: a reply that comes too late is dropped, but counts as routed. */
  private replyQueue(key: string): Queue | undefined {
    if (!key.startsWith(REPLY_TO_PREFIX)) return undefined;
    return this.context.replies.get(key) ?? (isReplyName(key) ? this.nobody : undefined);
  }

  // ── removal ──

  private removeExchange(exchange: Exchange): void {
    if (exchange.deleted) return;
    exchange.deleted = true;
    this.exchanges.delete(exchange.name);
    this.generation++;
    for (const binding of [...exchange.outgoing.values()]) this.removeBinding(binding);
    for (const binding of [...exchange.incoming]) this.removeBinding(binding);
    if (exchange.declaration.durable) this.context.definitions.deleteExchange(this.name, exchange.name);
  }

  private removeBinding(binding: BindingRecord): void {
    const { source, destination } = binding;
    if (!source.outgoing.delete(binding.id)) return;
    source.router!.unbind(binding);
    if (destination instanceof Exchange) destination.incoming.delete(binding);
    else this.boundTo.get(destination)?.delete(binding);
    this.generation++;
    if (binding.durable) this.context.definitions.deleteBinding(this.name, binding);
    if (source.declaration.autoDelete && source.everBound && source.outgoing.size === 0)
      this.removeExchange(source);
  }

  private assertEquivalentExchange(current: ExchangeDeclaration, wanted: ExchangeDeclaration): void {
    const where = `for exchange '${current.name}' in vhost '${this.name}'`;
    assertSameFlag('type', current.type, wanted.type, where);
    assertSameFlag('durable', current.durable, wanted.durable, where);
    assertSameFlag('auto_delete', current.autoDelete, wanted.autoDelete, where);
    assertSameFlag('internal', current.internal, wanted.internal, where);
    assertSameArgument('alternate-exchange', current.arguments, wanted.arguments, where);
  }

  private assertOwner(queue: ClassicQueue, caller: Caller): void {
    const { owner, exclusive } = queue.declaration;
    if (exclusive && owner !== caller.owner) throw this.locked(queue);
  }

  private locked(queue: ClassicQueue): BrokerError {
    return new BrokerError(
      'resource-locked',
      `cannot obtain exclusive access to locked queue '${queue.name}' in vhost '${this.name}'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
    );
  }
}

/** RabbitMQ: only classic queues may be named by the server. @throws BrokerError precondition-failed */
function assertServerNamed(args: FieldTable): void {
  const type = args.get('x-queue-type')?.value;
  if (type === 'quorum' || type === 'stream') {
    throw new BrokerError('precondition-failed', `Cannot declare a server-named queue for type ${type}`);
  }
}

/** @throws BrokerError access-refused for the default exchange */
export function assertNotDefault(exchange: string): void {
  if (exchange === '')
    throw new BrokerError('access-refused', 'operation not permitted on the default exchange');
}

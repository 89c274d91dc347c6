// One virtual host: its exchanges, queues and bindings.
// Owns declare, delete, bind, unbind with RabbitMQ's order of checks and texts, and publishing to the queues of a route. Knows no
// protocol: callers are seen through `Caller`, consumers through `Consumer`. Where a message goes: route-walk.ts.
// Invariant: `generation` grows with every change that can change a route, so that a route computed at one generation holds until the next.

import { BrokerError } from '../base/errors.ts';
import { serverName } from '../base/random-ids.ts';
import { copies, type DeathReason } from '../message/death.ts';
import type { Message } from '../message/message.ts';
import { EMPTY_TABLE, type FieldTable, fieldTypeName } from '../protocol/field-table.ts';
import {
  assertEquivalentQueue,
  assertMayBeServerNamed,
  assertSameArgument,
  assertSameFlag,
  checkQueueDeclaration,
  deadLetterExchangeOf,
  type QueueDeclaration,
} from '../queue/declaration.ts';
import type { DeclaredQueue, Queue } from '../queue/queue.ts';
import type { QueueContext, QueueHost } from '../queue/queue-context.ts';
import { createQueue } from '../queue/queue-types.ts';
import { ReplyQueue } from '../queue/reply-queue.ts';
import { createRouter, isRouterType } from '../routing/router-types.ts';
import type { SharedBytes } from '../store/store.ts';
import type { Caller } from './caller.ts';
import { DeadLetters } from './dead-letters.ts';
import type { Definitions } from './definitions.ts';
import { BindingRecord, bindingId, Exchange, type ExchangeDeclaration } from './exchange.ts';
import { createIntake } from './intake.ts';
import { VHostPolicies } from './policies.ts';
import { RouteWalk } from './route-walk.ts';
import { NO_METADATA, type VHostMetadata, withQueueType } from './vhost-metadata.ts';

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
const NO_LINES: ReadonlyMap<number, number> = new Map();
/** Contents above this many bytes that go to several queues are stored once and named by each of them. */
export const SHARED_BYTES_MIN = 4096;

/** Routes longer than this are kept by their exchange only, not by every publisher beside it. */
export const HELD_ROUTE_MAX = 256;

/** What a vhost needs around it. */
export interface VHostContext {
  readonly queues: QueueContext;
  readonly definitions: Definitions;
  /** Reply queues of all channels of the broker, by name. */
  readonly replies: ReadonlyMap<string, ReplyQueue>;
  /** A number for a new queue. */
  nextQueueNumber(): number;
  /** Queues that all vhosts together may have; Infinity for no limit. */
  readonly queuesMax: number;
  /** Queues that they have. Written by the vhosts. */
  queueCount: number;
  /** The same for exchanges, those that stand there from the start included. */
  readonly exchangesMax: number;
  exchangeCount: number;
  /** A quorum queue may be declared again as a classic one. */
  readonly quorumRelaxedChecks: boolean;
}

/** A virtual host. */
export class VHost implements QueueHost {
  readonly name: string;
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, DeclaredQueue>();
  /** Grows with every change of topology. */
  generation = 1;
  deleted = false;
  /** What people say of it. Written by vhosts.ts. */
  metadata: VHostMetadata;
  readonly policies: VHostPolicies;
  /** Limits of this vhost; Infinity for none. Written by parameters.ts. */
  connectionsMax = Number.POSITIVE_INFINITY;
  queuesMax = Number.POSITIVE_INFINITY;
  /** Connections that have opened it. Written by limits.ts. */
  connectionCount = 0;

  private readonly context: VHostContext;
  /** Bindings by the queue they lead to. */
  private readonly boundTo = new Map<Queue, Set<BindingRecord>>();
  /** Exclusive queues by the connection that owns them. */
  private readonly owned = new Map<object, Set<DeclaredQueue>>();
  /** Numbers of further content that queues have in the store. */
  private readonly lines = new Map<DeclaredQueue, Map<number, number>>();
  private readonly walk: RouteWalk;
  private readonly deadLetters: DeadLetters;
  /** The last `route` may be kept by whoever asked for it. */
  private holds = false;

  constructor(name: string, context: VHostContext, metadata: VHostMetadata = NO_METADATA) {
    this.name = name;
    this.metadata = metadata;
    this.context = context;
    const { queues, replies } = context;
    this.walk = new RouteWalk(this.exchanges, this.queues, replies, new ReplyQueue('', queues.turn));
    this.deadLetters = new DeadLetters(this, queues.clock, queues);
    this.policies = new VHostPolicies(this, queues.clock, queues.turn);
    for (const { name: exchange, type, internal } of PREDECLARED) {
      const declaration = {
        name: exchange,
        type,
        durable: true,
        autoDelete: false,
        internal,
        arguments: EMPTY_TABLE,
      };
      this.addExchange(new Exchange(declaration, exchange === '' ? null : createRouter(type, EMPTY_TABLE)));
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
    if (!isRouterType(wanted.type))
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
    const { exchangeCount, exchangesMax } = this.context;
    if (exchangeCount >= exchangesMax) {
      throw new BrokerError(
        'precondition-failed',
        `cannot declare exchange '${wanted.name}' in vhost '${this.name}': exchange limit of ${exchangesMax} is reached`,
      );
    }
    // RabbitMQ: what the type asks of the arguments is asked last, and never of an exchange that exists.
    const exchange = new Exchange(wanted, createRouter(wanted.type, wanted.arguments));
    this.addExchange(exchange);
    if (wanted.durable)
      this.context.definitions.saveExchange(this.name, wanted, exchange.intake?.lines ?? NO_LINES);
    return exchange;
  }

  /** Puts an exchange in place: a new one or a recovered one, with the numbers of its content in the store. */
  addExchange(exchange: Exchange, lines: ReadonlyMap<number, number> = NO_LINES): void {
    exchange.intake = createIntake(exchange, lines, this, this.context);
    this.exchanges.set(exchange.name, exchange);
    this.context.exchangeCount++;
    this.generation++;
    this.policies.exchangeAdded(exchange);
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

  /** The queue was deleted. */
  isGone(queue: Queue): boolean {
    return (queue as Partial<DeclaredQueue>).deleted === true;
  }

  /** @throws BrokerError not-found, or resource-locked for another connection's exclusive queue */
  queue(name: string, caller: Caller): DeclaredQueue {
    const queue = this.queues.get(name);
    if (queue !== undefined) {
      this.assertOwner(queue, caller);
      queue.catchUp();
    }
    if (queue === undefined || queue.deleted)
      throw new BrokerError('not-found', `no queue '${name}' in vhost '${this.name}'`);
    return queue;
  }

  /** queue.declare, not passive. Finds an equivalent queue or makes a new one; an empty name asks for a generated one. */
  declareQueue(asked: Omit<QueueDeclaration, 'owner'>, caller: Caller): DeclaredQueue {
    const declared = { ...asked, arguments: withQueueType(asked.arguments, asked, this.metadata) };
    if (declared.name === '') assertMayBeServerNamed(declared.arguments);
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
    // A queue whose time is over goes before it is looked at.
    current?.catchUp();
    if (current !== undefined && !current.deleted) {
      this.assertOwner(current, caller);
      if (current.declaration.exclusive !== wanted.exclusive) throw this.locked(current);
      assertEquivalentQueue(current.declaration, wanted, this.name, this.context.quorumRelaxedChecks);
      current.touch();
      return current;
    }
    const deadLetterExchange = deadLetterExchangeOf(name, this.name, wanted.arguments);
    if (deadLetterExchange !== null) {
      caller.assertMay('read', 'queue', name);
      caller.assertMay('write', 'exchange', deadLetterExchange);
    }
    checkQueueDeclaration(wanted, this.name);
    this.assertRoomForQueue(name);
    const queue = this.addQueue(wanted, this.context.nextQueueNumber());
    if (wanted.durable) this.context.definitions.saveQueue(this.name, wanted, queue.number, NO_LINES, false);
    return queue;
  }

  private assertRoomForQueue(name: string): void {
    const { queueCount, queuesMax } = this.context;
    // RabbitMQ's words for its limit of a whole cluster: ours too is not of the vhost alone.
    const full =
      this.queues.size >= this.queuesMax
        ? `queue limit in vhost '${this.name}' (${this.queuesMax}) is reached`
        : queueCount >= queuesMax
          ? `queue limit in cluster (${queuesMax}) is reached`
          : null;
    if (full !== null)
      throw new BrokerError('precondition-failed', `cannot declare queue '${name}': ${full}`);
  }

  /** Puts a queue in place: a new one, or a recovered one under its old number. */
  addQueue(
    declaration: QueueDeclaration,
    number: number,
    lines: ReadonlyMap<number, number> = NO_LINES,
  ): DeclaredQueue {
    const policy = this.policies.forNewQueue(declaration);
    const queue = createQueue(declaration, number, lines, policy.keys, this.context.queues, this);
    this.policies.queueAdded(queue, policy);
    this.lines.set(queue, new Map(lines));
    this.queues.set(declaration.name, queue);
    this.context.queueCount++;
    this.generation++;
    const { owner } = declaration;
    if (owner !== null) {
      const owned = this.owned.get(owner);
      if (owned === undefined) this.owned.set(owner, new Set([queue]));
      else owned.add(queue);
    }
    return queue;
  }

  /** queue.delete. A missing queue is fine. @returns ready messages that went with it */
  deleteQueue(name: string, ifUnused: boolean, ifEmpty: boolean, caller: Caller): number {
    caller.assertMay('configure', 'queue', name);
    const queue = this.queues.get(name);
    if (queue === undefined) return 0;
    this.assertOwner(queue, caller);
    if (queue.options.type === 'quorum' && (ifUnused || ifEmpty)) {
      throw new BrokerError(
        'not-implemented',
        `cannot delete queue '${name}' in vhost '${this.name}'. queue.delete operations with ${ifUnused ? 'if-unused' : 'if-empty'} flag set are not supported by quorum queues`,
      );
    }
    queue.catchUp();
    if (ifEmpty && queue.messageCount !== 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' not empty`);
    }
    if (ifUnused && queue.consumerCount !== 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' in use`);
    }
    return this.removeQueue(queue);
  }

  /** Takes a queue out: delete, auto-delete, or the end of its owner. @returns ready messages that went with it */
  removeQueue(queue: DeclaredQueue): number {
    if (queue.deleted) return 0;
    const count = queue.messageCount;
    this.queues.delete(queue.name);
    this.lines.delete(queue);
    this.context.queueCount--;
    this.generation++;
    const { owner } = queue.declaration;
    if (owner !== null) this.disown(owner, queue);
    const bindings = this.boundTo.get(queue);
    this.boundTo.delete(queue);
    if (bindings !== undefined) this.removeBindings(bindings);
    queue.delete();
    if (queue.durable) this.context.definitions.deleteQueue(this.name, queue.name);
    return count;
  }

  private disown(owner: object, queue: DeclaredQueue): void {
    const owned = this.owned.get(owner);
    if (owned?.delete(queue) && owned.size === 0) this.owned.delete(owner);
  }

  numberFor(queue: DeclaredQueue, line: number): number {
    const lines = this.lines.get(queue)!;
    const number = this.context.nextQueueNumber();
    lines.set(line, number);
    this.saveQueue(queue);
    return number;
  }

  /** Stops the deliveries of a queue, or lets them go on; a durable queue remembers it over a restart. */
  setPaused(queue: DeclaredQueue, paused: boolean): void {
    if (queue.deleted || queue.paused === paused) return;
    if (paused) queue.pause();
    else queue.resume();
    this.saveQueue(queue);
  }

  private saveQueue(queue: DeclaredQueue): void {
    if (!queue.durable) return;
    const { declaration, number, paused } = queue;
    const lines = this.lines.get(queue)!;
    this.context.definitions.saveQueue(this.name, declaration, number, lines, paused);
  }

  expired(queue: DeclaredQueue): void {
    this.removeQueue(queue);
  }

  consumersGone(queue: DeclaredQueue): void {
    // RabbitMQ: an auto-delete queue goes with its last consumer, never before it had one.
    if (queue.declaration.autoDelete) this.removeQueue(queue);
  }

  deadLetter(queue: DeclaredQueue, message: Message, reason: DeathReason): boolean {
    return this.deadLetters.bury(queue, message, reason);
  }

  /** The exclusive queues of a connection that is ending. */
  removeQueuesOf(owner: object): void {
    for (const queue of [...(this.owned.get(owner) ?? [])]) this.removeQueue(queue);
  }

  /** Bindings that lead to the queue, without the implicit one of the default exchange. */
  bindingsTo(queue: Queue): Iterable<BindingRecord> {
    return this.boundTo.get(queue) ?? [];
  }

  // ── bindings ──

  /** queue.bind and exchange.bind, after the destination was found. Binding twice is fine. */
  bind(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): void {
    const binding = new BindingRecord(source, destination, routingKey, args, source.nextOrder);
    if (source.outgoing.has(binding.id)) return;
    const router = source.router!;
    router.check(binding);
    this.addBinding(binding);
    if (binding.durable) this.context.definitions.saveBinding(this.name, binding);
    const { history } = router;
    // A vhost gives its routers nothing but messages.
    for (let i = 0; i < history.length; i++) this.replay(history[i] as Message, destination);
  }

  /** Sends a message that the source of a new binding has kept to where the binding leads. */
  private replay(message: Message, destination: Queue | Exchange): void {
    if (!(destination instanceof Exchange)) {
      this.publish([destination], message);
      return;
    }
    const keys = [message.address.routingKey];
    for (const { value } of copies(message)) keys.push(String(value));
    this.publish(this.routeAll(destination, message, keys), message);
  }

  /** Puts a binding in place without asking or storing. */
  addBinding(binding: BindingRecord): void {
    const { source, destination } = binding;
    source.outgoing.set(binding.id, binding);
    if (binding.order >= source.nextOrder) source.nextOrder = binding.order + 1;
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
  }

  isBound(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): boolean {
    return source.outgoing.has(bindingId(destination, routingKey, args));
  }

  /** queue.unbind and exchange.unbind. A missing binding is fine. */
  unbind(source: Exchange, destination: Queue | Exchange, routingKey: string, args: FieldTable): void {
    const binding = source.outgoing.get(bindingId(destination, routingKey, args));
    if (binding !== undefined) this.removeBindings([binding]);
  }

  // ── routing ──

  /** Queues that a message published to `exchange` under `key` reaches, each once. Do not change the result. */
  route(exchange: Exchange, message: Message, key: string): readonly Queue[] {
    let route = exchange.cached(key, this.generation);
    if (route !== undefined) {
      this.holds = route.length <= HELD_ROUTE_MAX;
      return route;
    }
    route = this.walk.from(exchange, message, [key]);
    const { isRepeatable } = this.walk;
    if (isRepeatable) exchange.remember(key, this.generation, route);
    this.holds = isRepeatable && route.length <= HELD_ROUTE_MAX;
    return route;
  }

  /** As `route`, for a message with further keys (CC, BCC). */
  routeAll(exchange: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    return this.walk.from(exchange, message, keys);
  }

  /** The last `route` may be kept by the caller as long as `generation` stands. */
  get routeHolds(): boolean {
    return this.holds;
  }

  /** Hands a message to the queues of its route. @returns their outcome flags together */
  publish(queues: readonly Queue[], message: Message): number {
    const several = queues.length > 1 && message.contentLength > SHARED_BYTES_MIN;
    const context = this.context.queues;
    // A queue that drops or refuses a message dead-letters it right here, in the middle of another message's publish.
    const outer = context.shared;
    let outcome = 0;
    try {
      context.shared = several ? this.share(message) : null;
      for (let i = 0; i < queues.length; i++) outcome |= queues[i]!.publish(message);
    } finally {
      context.shared = outer;
    }
    return outcome;
  }

  /** As `routeAll`, for a message that has had its place already: `refused` means this way only. */
  routeAgain(exchange: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    this.walk.placed();
    return this.walk.from(exchange, message, keys);
  }

  /** A message that was routed just now was refused by a queue: nothing remembers it. */
  refused(message: Message): void {
    this.walk.refused(message);
  }

  /** A message that `exchange` held back is routed by it at last. */
  release(exchange: Exchange, message: Message, keys: readonly string[]): void {
    this.publish(this.walk.fromPast(exchange, message, keys), message);
  }

  private share(message: Message): SharedBytes {
    const { at } = message;
    const { shard } = this.context.queues;
    return shard.share(message.address.wire, message.buffer, at, at + message.contentLength);
  }

  // ── removal ──

  /** Takes everything out: the vhost itself is going. Its connections were told before. */
  removeEverything(): void {
    this.deleted = true;
    for (const queue of [...this.queues.values()]) this.removeQueue(queue);
    for (const exchange of [...this.exchanges.values()]) this.removeExchange(exchange);
  }

  private removeExchange(exchange: Exchange): void {
    const doomed = [exchange];
    this.removeAll(doomed);
  }

  private removeBindings(bindings: Iterable<BindingRecord>): void {
    const doomed: Exchange[] = [];
    for (const binding of bindings) this.removeBinding(binding, doomed);
    this.removeAll(doomed);
  }

  /** Removes exchanges with their bindings in both roles, and those that go with them. The list grows while it is worked through. */
  private removeAll(doomed: Exchange[]): void {
    for (let i = 0; i < doomed.length; i++) {
      const exchange = doomed[i]!;
      if (exchange.deleted) continue;
      exchange.deleted = true;
      this.exchanges.delete(exchange.name);
      this.context.exchangeCount--;
      this.generation++;
      for (const binding of exchange.outgoing.values()) this.removeBinding(binding, doomed);
      for (const binding of exchange.incoming) this.removeBinding(binding, doomed);
      exchange.intake?.delete();
      if (exchange.declaration.durable) this.context.definitions.deleteExchange(this.name, exchange.name);
    }
  }

  private removeBinding(binding: BindingRecord, doomed: Exchange[]): void {
    const { source, destination } = binding;
    if (!source.outgoing.delete(binding.id)) return;
    source.router!.unbind(binding);
    if (destination instanceof Exchange) destination.incoming.delete(binding);
    else this.boundTo.get(destination)?.delete(binding);
    this.generation++;
    if (binding.durable) this.context.definitions.deleteBinding(this.name, binding);
    // RabbitMQ: an auto-delete exchange goes with the last binding it is the source of.
    if (source.declaration.autoDelete && source.outgoing.size === 0) doomed.push(source);
  }

  private assertEquivalentExchange(current: ExchangeDeclaration, wanted: ExchangeDeclaration): void {
    const where = `for exchange '${current.name}' in vhost '${this.name}'`;
    assertSameFlag('type', current.type, wanted.type, where);
    assertSameFlag('durable', current.durable, wanted.durable, where);
    assertSameFlag('auto_delete', current.autoDelete, wanted.autoDelete, where);
    assertSameFlag('internal', current.internal, wanted.internal, where);
    assertSameArgument('alternate-exchange', current.arguments, wanted.arguments, where);
  }

  private assertOwner(queue: DeclaredQueue, caller: Caller): void {
    const { owner, exclusive } = queue.declaration;
    if (exclusive && owner !== caller.owner) throw this.locked(queue);
  }

  private locked(queue: DeclaredQueue): BrokerError {
    return new BrokerError(
      'resource-locked',
      `cannot obtain exclusive access to locked queue '${queue.name}' in vhost '${this.name}'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
    );
  }
}

/** @throws BrokerError access-refused for the default exchange */
export function assertNotDefault(exchange: string): void {
  if (exchange === '')
    throw new BrokerError('access-refused', 'operation not permitted on the default exchange');
}

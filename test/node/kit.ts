// What the tests of the node room share: a node without doors on a store, its turn run by hand, callers with and without permissions.

import { BrokerError } from '../../src/base/errors.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { type Logger, silentLogger } from '../../src/base/logger.ts';
import { Turn } from '../../src/base/turn.ts';
import { addressOf } from '../../src/message/address.ts';
import { buildMessage, type Message } from '../../src/message/message.ts';
import { BROKER, type Caller, type Permission, type ResourceKind } from '../../src/node/caller.ts';
import type { Exchange } from '../../src/node/exchange.ts';
import { BrokerNode, type NodeOptions } from '../../src/node/node.ts';
import { recover } from '../../src/node/recovery.ts';
import type { VHost } from '../../src/node/vhost.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';
import type { DeclaredQueue, Queue } from '../../src/queue/queue.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import type { Store } from '../../src/store/store.ts';
import { until } from '../store/harness.ts';
import { NODE_DEFAULTS } from '../support/node-options.ts';

/** A node that has memory enough and lets everybody in from everywhere. */
export const NODE_OPTIONS: NodeOptions = {
  ...NODE_DEFAULTS,
  queueMemoryBytes: 1e9,
  pagingMemoryBytes: 1e9,
  loopbackUsers: [],
};

/** A client that may do what it is said to, and remembers what was asked of it. */
export class TestCaller implements Caller {
  readonly username = 'tester';
  readonly owner: object | null = {};
  readonly asked: string[] = [];
  /** `configure queue q` and so on: refused. */
  readonly refused = new Set<string>();

  assertMay(permission: Permission, kind: ResourceKind, name: string): void {
    const what = `${permission} ${kind} ${name}`;
    this.asked.push(what);
    if (this.refused.has(what)) throw new BrokerError('access-refused', what);
  }

  assertMayKnow(): void {}

  assertMayTopic(): void {}
}

/** Whatever text a refusal has: `reason: text`; `ok` when there is none. */
export function refusal(action: () => unknown): string {
  try {
    action();
    return 'ok';
  } catch (error) {
    if (error instanceof BrokerError) return `${error.reason}: ${error.message}`;
    throw error;
  }
}

/** A node on a store, with its vhost `/`. */
export class NodeKit {
  readonly node: BrokerNode;
  readonly clock: FakeClock;
  readonly store: Store;
  /** Errors that turns threw, and what `onLost` was told. */
  readonly errors: unknown[] = [];

  private constructor(node: BrokerNode, clock: FakeClock, store: Store) {
    this.node = node;
    this.clock = clock;
    this.store = store;
    node.turn.onError = (error) => this.errors.push(error);
    node.onLost = (error) => this.errors.push(error);
  }

  /** Opens the store, recovers, makes `/` when it is new. */
  static async open(
    given: Partial<NodeOptions> & { store?: Store; clock?: FakeClock; log?: Logger; turn?: Turn } = {},
  ): Promise<NodeKit> {
    // Nothing schedules a turn unless a test brings one that does: tests run it.
    const {
      clock = new FakeClock(),
      store = memoryStore({ clock }),
      log = silentLogger,
      turn = new Turn(() => {}),
      ...options
    } = given;
    const node = new BrokerNode({ ...NODE_OPTIONS, ...options }, clock, log, turn);
    const shard = await store.open(node.storeListener);
    node.attach(shard);
    await recover(node);
    if (!node.vhosts.has('/')) node.createVHost('/');
    return new NodeKit(node, clock, store);
  }

  get vhost(): VHost {
    return this.node.vhost('/');
  }

  /** Declares a durable queue, or another as the flags say. */
  queue(
    name: string,
    args: Record<string, unknown> = {},
    flags: { durable?: boolean; exclusive?: boolean; autoDelete?: boolean } = {},
    caller: Caller = BROKER,
  ): DeclaredQueue {
    const declared = { name, durable: true, exclusive: false, autoDelete: false, ...flags };
    return this.vhost.declareQueue({ ...declared, arguments: tableOf(args) }, caller);
  }

  exchange(
    name: string,
    type: string,
    args: Record<string, unknown> = {},
    flags: { durable?: boolean; autoDelete?: boolean; internal?: boolean } = {},
    caller: Caller = BROKER,
  ): Exchange {
    const declared = { name, type, durable: true, autoDelete: false, internal: false, ...flags };
    return this.vhost.declareExchange({ ...declared, arguments: tableOf(args) }, caller);
  }

  bind(source: string, destination: Queue | Exchange, key: string, args: Record<string, unknown> = {}): void {
    this.vhost.bind(this.vhost.exchange(source), destination, key, tableOf(args));
  }

  unbind(
    source: string,
    destination: Queue | Exchange,
    key: string,
    args: Record<string, unknown> = {},
  ): void {
    this.vhost.unbind(this.vhost.exchange(source), destination, key, tableOf(args));
  }

  /** Names of the queues that a message under this key reaches, sorted. */
  routed(exchange: string, key: string, properties: Partial<BasicProperties> = {}): string[] {
    const route = this.vhost.route(
      this.vhost.exchange(exchange),
      messageTo(exchange, key, 'x', properties),
      key,
    );
    return route.map(({ name }) => name).sort();
  }

  /** Routes and publishes. @returns the outcome flags */
  publish(exchange: string, key: string, body: string, properties: Partial<BasicProperties> = {}): number {
    const message = messageTo(exchange, key, body, properties);
    return this.vhost.publish(this.vhost.route(this.vhost.exchange(exchange), message, key), message);
  }

  run(): void {
    this.node.turn.run();
    if (this.errors.length > 0) throw this.errors[0];
  }

  /** Turns until everything written so far is on disk. */
  async settle(): Promise<void> {
    const { shard } = this.node;
    for (let i = 0; i < 3; i++) {
      this.run();
      const ticket = shard.hasten();
      shard.commit();
      await until(() => shard.durableTicket >= ticket);
    }
    this.run();
  }

  /** Turns and event-loop iterations until the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    await until(() => {
      this.run();
      return condition();
    });
  }

  /** A clean stop, as the broker does it. */
  async close(): Promise<void> {
    for (const vhost of this.node.vhosts.values())
      for (const queue of vhost.queues.values()) queue.settleMark();
    this.run();
    this.node.stopTimers();
    await this.store.close();
  }

  /** A clean stop and a start on the same store. */
  async restart(given: Partial<NodeOptions> & { log?: Logger } = {}): Promise<NodeKit> {
    await this.close();
    return await NodeKit.open({ ...given, store: this.store, clock: this.clock });
  }

  /** Everything that is ready in a queue, taken out: bodies, redelivered ones with a star. */
  async drain(name: string): Promise<string[]> {
    const queue = this.vhost.queues.get(name)!;
    const texts: string[] = [];
    for (;;) {
      await this.until(() => queue.whenReady(() => {}));
      const entry = queue.get(true);
      if (entry === null) return texts;
      texts.push(`${entry.message.body().toString()}${entry.redelivered ? '*' : ''}`);
    }
  }
}

export function messageTo(
  exchange: string,
  key: string,
  body: string,
  properties: Partial<BasicProperties> = {},
): Message {
  return buildMessage(addressOf(exchange, key), { ...NO_PROPERTIES, ...properties }, Buffer.from(body));
}

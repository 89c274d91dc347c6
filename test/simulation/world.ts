// A broker without doors on a faulty store, and the model beside it. Every step is done to both, and they are compared when all is at rest.
// Owns the operations and the comparison; which ones are done, and with what, comes from a seed (script.ts).

import { FakeClock } from '../../src/base/fake-clock.ts';
import { Turn } from '../../src/base/turn.ts';
import type { Entry } from '../../src/message/entry.ts';
import { BROKER } from '../../src/node/caller.ts';
import type { FieldValue } from '../../src/protocol/field-table.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { MUST_COMMIT, REJECTED } from '../../src/queue/queue.ts';
import { messageTo, NodeKit } from '../node/kit.ts';
import { settle as settleEntry, TestConsumer, textOf } from '../queue/kit.ts';
import { iteration } from '../store/harness.ts';
import { type FaultyStore, faultyStore, type SeededRandom } from '../support/faulty-engine.ts';
import { type Delivery, Model, type ModelConsumer, ModelEntry, ModelQueue, type QueueSpec } from './model.ts';

/** Event-loop iterations without any work after which everything is at rest: more than the slowest read takes. */
const IDLE_ITERATIONS = 8;
/** Iterations that coming to rest may take. */
const ITERATIONS_MAX = 50_000;

/** A consumer that writes down what it is handed. */
class LoggingConsumer extends TestConsumer {
  log: Delivery[] | null = null;
  queue: DeclaredQueue | null = null;

  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }

  override deliver(entry: Entry): void {
    this.log?.push({ consumer: this.tag, text: textOf(entry)!, redelivered: entry.redelivered });
    super.deliver(entry);
  }
}

/** A consumer on both sides. */
export interface WorldConsumer {
  readonly real: LoggingConsumer;
  readonly model: ModelConsumer;
  readonly realQueue: DeclaredQueue;
  readonly queue: ModelQueue;
}

/** An unacked entry on both sides. */
export interface Held {
  readonly queue: ModelQueue;
  readonly model: ModelEntry;
  readonly real: Entry;
}

export interface Publish {
  readonly exchange: string;
  readonly key: string;
  readonly persistent: boolean;
  readonly bytes: number;
  readonly expiration: number | null;
  readonly copies: readonly string[];
}

export class World {
  readonly random: SeededRandom;
  readonly consumers: WorldConsumer[] = [];
  /** Taken by basic.get, not settled. */
  readonly got: Held[] = [];
  /** Durable and transient exchanges that were declared: name to type. */
  readonly exchanges = new Map<string, { type: string; durable: boolean; autoDelete: boolean }>();
  /** Bindings as they should be: source, queue or exchange, key. */
  readonly bindings: { source: string; to: string; isQueue: boolean; key: string }[] = [];
  model: Model;
  kit!: NodeKit;
  private readonly store: FaultyStore;
  private readonly clock = new FakeClock();
  private readonly queueMemoryBytes: number;
  private scheduled: (() => void) | null = null;
  private deliveries = new Map<string, Delivery[]>();
  private texts = 0;
  private tags = 0;

  constructor(random: SeededRandom, seed: number) {
    this.random = random;
    const memory = [65_536, 65_536, 200_000, 1e9];
    this.queueMemoryBytes = memory[random.below(memory.length)]!;
    this.store = faultyStore({
      seed,
      slowness: 1 + random.below(3),
      readSlowness: 1 + random.below(2),
      segmentBytesMax: [2_000, 20_000, 500_000][random.below(3)]!,
      clock: this.clock,
    });
    this.model = new Model(this.clock.now());
  }

  async open(): Promise<void> {
    this.scheduled = null;
    const turn = new Turn((run) => {
      this.scheduled = run;
    });
    const { store, clock, queueMemoryBytes } = this;
    this.kit = await NodeKit.open({ store, clock, turn, queueMemoryBytes });
  }

  // ── topology ──

  async declareQueue(name: string, spec: QueueSpec): Promise<void> {
    const args: Record<string, unknown> = {};
    if (spec.ttl !== null) args['x-message-ttl'] = spec.ttl;
    if (spec.lengthMax !== null) args['x-max-length'] = spec.lengthMax;
    if (spec.bytesMax !== null) args['x-max-length-bytes'] = spec.bytesMax;
    if (spec.overflow !== 'drop-head') args['x-overflow'] = spec.overflow;
    if (spec.deadLetterKey !== null) args['x-dead-letter-exchange'] = '';
    if (spec.deadLetterKey) args['x-dead-letter-routing-key'] = spec.deadLetterKey;
    if (spec.singleActive) args['x-single-active-consumer'] = true;
    this.kit.queue(name, args, { durable: spec.durable, autoDelete: spec.autoDelete });
    this.model.queues.set(name, new ModelQueue(name, spec));
    await this.rest();
  }

  async deleteQueue(name: string): Promise<void> {
    const count = this.kit.vhost.deleteQueue(name, false, false, BROKER);
    this.same(count, this.model.queues.get(name)!.ready.length, `messages deleted with ${name}`);
    this.model.remove(name);
    this.forgetQueue(name);
    await this.rest();
  }

  async purge(name: string): Promise<void> {
    const queue = this.model.queues.get(name)!;
    this.same(this.queue(name).purge(), queue.ready.length, `messages purged from ${name}`);
    queue.ready.length = 0;
    await this.rest();
  }

  async declareExchange(name: string, type: string, durable: boolean, autoDelete: boolean): Promise<void> {
    this.kit.exchange(name, type, {}, { durable, autoDelete });
    this.exchanges.set(name, { type, durable, autoDelete });
    await this.rest();
  }

  async deleteExchange(name: string): Promise<void> {
    this.kit.vhost.deleteExchange(name, false, BROKER);
    this.exchanges.delete(name);
    this.unbindWhere((binding) => binding.source === name || (!binding.isQueue && binding.to === name));
    await this.rest();
  }

  async bind(source: string, to: string, isQueue: boolean, key: string): Promise<void> {
    this.kit.bind(source, isQueue ? this.queue(to) : this.kit.vhost.exchange(to), key);
    if (
      !this.bindings.some((b) => b.source === source && b.to === to && b.isQueue === isQueue && b.key === key)
    )
      this.bindings.push({ source, to, isQueue, key });
    await this.rest();
  }

  async unbind(at: number): Promise<void> {
    const binding = this.bindings[at]!;
    const { source, to, isQueue, key } = binding;
    this.kit.unbind(source, isQueue ? this.queue(to) : this.kit.vhost.exchange(to), key);
    this.unbindWhere((each) => each === binding);
    await this.rest();
  }

  // ── messages ──

  /** Publishes and brings everything to rest. */
  async publish(what: Publish): Promise<void> {
    this.publishNow(what);
    await this.rest();
  }

  /** Publishes many in one go to one queue. */
  async publishMany(what: Publish, times: number): Promise<void> {
    for (let i = 0; i < times; i++) this.publishNow(what);
    await this.rest();
  }

  consume(name: string, noAck: boolean, priority: number, limit: number): Promise<void> {
    const realQueue = this.queue(name);
    const queue = this.model.queues.get(name)!;
    const tag = `c${++this.tags}`;
    const real = new LoggingConsumer(tag, { noAck, priority, limit });
    real.log = this.logOf(name);
    real.queue = realQueue;
    const model: ModelConsumer = { tag, noAck, priority, limit, held: [] };
    realQueue.consume(real);
    queue.consumers.push(model);
    if (queue.spec.singleActive) queue.active ??= model;
    this.consumers.push({ real, model, realQueue, queue });
    return this.rest();
  }

  /** Ends a consumer, as basic.cancel does; or with `back` as the end of its channel does: what it holds goes back first. */
  async cancel(consumer: WorldConsumer, back: boolean): Promise<void> {
    const held = this.heldBy(consumer);
    if (back) for (const each of held) this.settleNow(each, 'requeue');
    else for (const each of held) this.got.push(each);
    this.consumers.splice(this.consumers.indexOf(consumer), 1);
    consumer.realQueue.cancel(consumer.real);
    if (!consumer.queue.deleted) {
      this.model.cancel(consumer.queue, consumer.model);
      if (consumer.queue.deleted) this.forgetQueue(consumer.queue.name);
    }
    await this.rest();
  }

  async setLimit(consumer: WorldConsumer, limit: number): Promise<void> {
    consumer.real.limit = limit;
    consumer.model.limit = limit;
    if (consumer.real.hasCapacity()) consumer.realQueue.unpark(consumer.real);
    await this.rest();
  }

  async settle(held: readonly Held[], how: 'ack' | 'requeue' | 'reject'): Promise<void> {
    for (const each of held) this.settleNow(each, how);
    await this.rest();
  }

  async get(name: string, noAck: boolean): Promise<void> {
    const real = this.queue(name);
    for (let i = 0; !real.whenReady(() => {}); i++) {
      if (i > ITERATIONS_MAX) throw new Error(`${name} never answers a get`);
      await this.step();
    }
    const queue = this.model.queues.get(name)!;
    const expected = this.model.get(queue, noAck);
    const entry = real.get(noAck);
    this.same(textOf(entry), expected?.text ?? null, `the message got from ${name}`);
    if (entry !== null && expected !== null) {
      if (expected.redelivered !== null)
        this.same(entry.redelivered, expected.redelivered, `redelivered of what was got from ${name}`);
      expected.redelivered = true;
      if (!noAck) this.got.push({ queue, model: expected, real: entry });
    }
    await this.rest();
  }

  async advance(ms: number): Promise<void> {
    // Step by step, so that timers, the turns they cause and their dead letters have their own times on both sides.
    for (let passed = 0; passed < ms; passed += 100) {
      const next = this.clock.now() + 100;
      const due = [...this.model.queues.values()].filter(({ ready }) =>
        ready.some(({ expiresAt }) => expiresAt <= next),
      );
      // Whether a full queue loses a message of its own before it is offered the dead one of another is a matter of chance.
      for (const { name, spec } of due)
        if (due.length > 1 && spec.overflow !== 'drop-head') await this.purge(name);
      this.clock.advance(100);
      this.model.now = this.clock.now();
      await this.rest();
    }
  }

  /** Everything that somebody holds. */
  held(): Held[] {
    return [...this.got, ...this.consumers.flatMap((consumer) => this.heldBy(consumer))];
  }

  // ── the end of a life ──

  /** A clean stop, and a start. */
  async restart(): Promise<void> {
    while (this.consumers.length > 0) await this.cancel(this.consumers[0]!, true);
    await this.settle([...this.got], 'requeue');
    await this.kit.close();
    this.loseTransient(false);
    await this.open();
    await this.rest();
  }

  /** Steps that are not brought to rest, then the machine stops. What comes back must be what stood between two batches. */
  async crash(steps: number): Promise<void> {
    // What would be gone at once after the restart makes the comparison needlessly hard.
    await this.settle(
      this.held().filter(({ model }) => model.nowOrNever || model.expiresAt <= this.clock.now()),
      'ack',
    );
    // Expired messages behind others would go while the content is looked at.
    for (const [name, { ready }] of this.model.queues)
      if (ready.some(({ expiresAt }) => expiresAt <= this.clock.now())) await this.purge(name);
    const plain = [...this.model.queues.values()].filter((queue) => this.isPlain(queue));
    for (const consumer of [...this.consumers])
      if (!plain.includes(consumer.queue)) await this.cancel(consumer, true);
    await this.settle(
      this.got.filter(({ queue }) => !plain.includes(queue)),
      'requeue',
    );
    // Settlements may still wait for company; what they speak of would be there again.
    this.kit.node.shard.hasten();
    this.kit.node.turn.request();
    await this.rest();
    const states: { ticket: number; content: Map<string, ModelEntry[]> }[] = [];
    const remember = (): void => {
      const content = new Map(plain.map((queue) => [queue.name, contentOf(queue)]));
      states.push({ ticket: this.kit.node.shard.ticket, content });
    };
    states.push({ ticket: 0, content: new Map(plain.map((queue) => [queue.name, contentOf(queue)])) });
    for (let i = 0; i < steps; i++) {
      await this.restlessStep(plain);
      remember();
    }
    const { durableTicket } = this.kit.node.shard;
    this.kit.node.stopTimers();
    this.store.crash();
    this.scheduled = null;
    this.loseTransient(true);
    await this.open();
    await this.settleReal();
    const found = new Map<string, Found[]>();
    for (const name of this.kit.vhost.queues.keys()) found.set(name, await this.takeAll(name));
    this.adopt(states, durableTicket, plain, found);
    for (const [name, list] of found) {
      const queue = this.model.queues.get(name);
      if (queue === undefined) throw new Error(`${name} came back, though it was not durable`);
      this.same(
        list.map(({ text }) => text.slice(0, 12)).join(' '),
        queue.ready.map(({ text }) => text.slice(0, 12)).join(' '),
        `content of ${name} after a crash`,
      );
      for (const [i, { redelivered }] of list.entries()) {
        const entry = queue.ready[i]!;
        if (entry.redelivered === true && !redelivered)
          throw new Error(
            `'${entry.text}' of ${name} was handed out before the crash and came back unmarked`,
          );
        entry.redelivered = true;
      }
      for (const { entry } of list) this.queue(name).requeue(entry);
    }
    await this.rest();
  }

  /** Everything is taken away: nothing may be left in memory, on the wheel or in the store. */
  async finish(): Promise<void> {
    for (const consumer of [...this.consumers]) await this.cancel(consumer, false);
    await this.settle([...this.got], 'ack');
    for (const name of [...this.model.queues.keys()]) await this.deleteQueue(name);
    const { node } = this.kit;
    this.same(node.memory.used, 0, 'memory in use at the end');
    this.same(node.wheel.size, 0, 'timers at the end');
    this.same(node.shard.stats().liveEntries, 0, 'stored entries at the end');
    await this.kit.close();
  }

  // ── inside ──

  /** Both sides come to rest, and are compared. */
  private async rest(): Promise<void> {
    await this.settleReal();
    this.model.begin(this.deliveries);
    this.model.end();
    this.compare();
  }

  private async settleReal(): Promise<void> {
    let idle = 0;
    for (let i = 0; idle < IDLE_ITERATIONS; i++) {
      if (i > ITERATIONS_MAX) throw new Error('the broker never comes to rest');
      idle = (await this.step()) ? 0 : idle + 1;
    }
  }

  /** One event-loop iteration. @returns false when there was nothing to do in it */
  private async step(): Promise<boolean> {
    const run = this.scheduled;
    this.scheduled = null;
    run?.();
    await iteration();
    if (this.kit.errors.length > 0) throw this.kit.errors[0];
    return run !== null || this.scheduled !== null || this.store.engine.flying;
  }

  private compare(): void {
    const { vhost, node } = this.kit;
    this.same([...vhost.queues.keys()].sort().join(), [...this.model.queues.keys()].sort().join(), 'queues');
    let memory = 0;
    for (const [name, queue] of this.model.queues) {
      const real = this.queue(name);
      this.same(real.messageCount, queue.ready.length, `ready messages of ${name}`);
      this.same(real.messageBytes, queue.bytes, `ready bytes of ${name}`);
      this.same(real.unackedCount, queue.unacked.length, `unacked messages of ${name}`);
      this.same(real.consumerCount, queue.consumers.length, `consumers of ${name}`);
      memory += real.memoryBytes;
    }
    this.same(node.memory.used, memory, 'memory in use');
    const exchanges = [...vhost.exchanges.keys()].filter((name) => name.startsWith('x')).sort();
    this.same(exchanges.join(), [...this.exchanges.keys()].sort().join(), 'exchanges');
    let bindings = 0;
    for (const { outgoing } of vhost.exchanges.values()) bindings += outgoing.size;
    this.same(bindings, this.bindings.length, 'bindings');
  }

  private publishNow({ exchange, key, persistent, bytes, expiration, copies }: Publish): void {
    const text = `m${++this.texts}`.padEnd(bytes, '.');
    const headers =
      copies.length === 0
        ? null
        : new Map<string, FieldValue>([
            ['CC', { tag: 'A', value: copies.map((value) => ({ tag: 'S', value }) as const) }],
          ]);
    const message = messageTo(exchange, key, text, {
      deliveryMode: persistent ? 2 : 1,
      expiration: expiration === null ? null : String(expiration),
      headers,
    });
    const { vhost } = this.kit;
    const source = vhost.exchange(exchange);
    const route =
      copies.length === 0
        ? vhost.route(source, message, key)
        : vhost.routeAll(source, message, [key, ...copies]);
    const names = route.map(({ name }) => name);
    this.same(
      [...names].sort().join(),
      this.expectedRoute(exchange, [key, ...copies]).join(),
      `route of ${exchange} ${key}`,
    );
    // The message is published before the model is told, so what is handed out early is known to it.
    const outcome = vhost.publish(route, message);
    this.model.begin(this.deliveries);
    const refused = this.model.publish(
      names,
      () => new ModelEntry(text, persistent, [key, ...copies], []),
      expiration,
    );
    this.same((outcome & REJECTED) !== 0, refused, `refusal by one of ${names.join()}`);
    if (!persistent) this.same(outcome & MUST_COMMIT, 0, 'a transient message asks for a commit');
  }

  private settleNow(held: Held, how: 'ack' | 'requeue' | 'reject'): void {
    const at = this.got.indexOf(held);
    if (at !== -1) this.got.splice(at, 1);
    settleEntry(held.real, how);
    this.model.begin(this.deliveries);
    this.model.settleEntry(held.queue, held.model, how);
  }

  private heldBy({ real, model, queue }: WorldConsumer): Held[] {
    return real.held.map((entry, i) => ({ queue, model: model.held[i]!, real: entry }));
  }

  /** A queue whose durable content only changes by what a client does to it: no limits, no time to live, nothing taken unacked. */
  private isPlain({ spec, consumers }: ModelQueue): boolean {
    const { durable, autoDelete, ttl, lengthMax, bytesMax } = spec;
    return (
      durable &&
      !autoDelete &&
      ttl === null &&
      lengthMax === null &&
      bytesMax === null &&
      consumers.every(({ noAck }) => !noAck)
    );
  }

  /** A small step of the kind that a crash can come into. */
  private async restlessStep(plain: readonly ModelQueue[]): Promise<void> {
    const { random, model } = this;
    const what = random.below(10);
    if (what < 4 && plain.length > 0) {
      const { name } = plain[random.below(plain.length)]!;
      const bytes = 10 + random.below(800);
      this.publishNow({ exchange: '', key: name, persistent: true, bytes, expiration: null, copies: [] });
      return;
    }
    if (what < 7) {
      const staysPlain = ({ queue, model: entry }: Held): boolean => {
        const { deadLetterKey } = queue.spec;
        if (deadLetterKey === null) return true;
        const targets = (deadLetterKey === '' ? entry.keys : [deadLetterKey]).map((key) =>
          model.queues.get(key),
        );
        return targets.every((target) => target === undefined || plain.includes(target));
      };
      const held = this.held().filter((each) => plain.includes(each.queue) && staysPlain(each));
      if (held.length > 0) {
        this.settleNow(
          held[random.below(held.length)]!,
          (['ack', 'requeue', 'reject'] as const)[random.below(3)]!,
        );
        return;
      }
    }
    if (what < 9) {
      const run = this.scheduled;
      this.scheduled = null;
      run?.();
    } else await iteration();
    model.observe(this.deliveries);
  }

  /** What the end of the process takes along on the model's side. */
  private loseTransient(crashed: boolean): void {
    this.consumers.length = 0;
    this.got.length = 0;
    this.deliveries = new Map();
    for (const queue of [...this.model.queues.values()]) {
      if (!queue.spec.durable) {
        this.model.remove(queue.name);
        continue;
      }
      const content = contentOf(queue);
      queue.ready.length = 0;
      queue.got.length = 0;
      queue.consumers.length = 0;
      queue.active = null;
      for (const entry of content) {
        // The mark runs ahead of the deliveries, and only a clean stop sets it back.
        if (crashed && entry.redelivered === false) entry.redelivered = null;
        if (entry.nowOrNever) entry.expiresAt = 0;
        queue.append(entry);
      }
    }
    for (const [name, { durable }] of [...this.exchanges]) if (!durable) this.exchanges.delete(name);
    // RabbitMQ: a durable auto-delete exchange outlives transient bindings that a restart took away.
    for (let i = this.bindings.length - 1; i >= 0; i--) {
      const { source, to, isQueue } = this.bindings[i]!;
      const stays = this.exchanges.has(source) && (isQueue ? this.model.queues : this.exchanges).has(to);
      if (!stays) this.bindings.splice(i, 1);
    }
  }

  /** The model takes over what came back in plain queues, if it is what stood there between two batches. */
  private adopt(
    states: readonly { ticket: number; content: Map<string, ModelEntry[]> }[],
    durableTicket: number,
    plain: readonly ModelQueue[],
    found: ReadonlyMap<string, Found[]>,
  ): void {
    const wrong: string[] = [];
    for (let i = 0; i < states.length; i++) {
      const { ticket, content } = states[i]!;
      const next = states[i + 1];
      // Batches are whole: the state after the last step of a batch.
      if (next !== undefined && next.ticket === ticket) continue;
      // What was told to be on disk is there.
      if (next !== undefined && next.ticket <= durableTicket) continue;
      const differing = plain.find(({ name }) => {
        const is = found.get(name)?.map(({ text }) => text) ?? [];
        return (
          is.join() !==
          content
            .get(name)!
            .map(({ text }) => text)
            .join()
        );
      });
      if (differing === undefined) {
        for (const queue of plain) {
          queue.ready.length = 0;
          for (const entry of content.get(queue.name)!) queue.append(entry);
        }
        return;
      }
      const { name } = differing;
      wrong.push(
        `batch ${ticket}: ${name} had ${brief(content.get(name)!)}, found ${brief(found.get(name) ?? [])}`,
      );
    }
    throw new Error(`what came back never stood there (durable ${durableTicket}):\n${wrong.join('\n')}`);
  }

  private async takeAll(name: string): Promise<Found[]> {
    const queue = this.queue(name);
    const found: Found[] = [];
    for (;;) {
      for (let i = 0; !queue.whenReady(() => {}); i++) {
        if (i > ITERATIONS_MAX) throw new Error(`${name} never answers a get`);
        await this.step();
      }
      const entry = queue.get(false);
      if (entry === null) return found;
      found.push({ text: textOf(entry)!, redelivered: entry.redelivered, entry });
    }
  }

  private queue(name: string): DeclaredQueue {
    return this.kit.vhost.queues.get(name)!;
  }

  private logOf(name: string): Delivery[] {
    let log = this.deliveries.get(name);
    if (log === undefined) {
      log = [];
      this.deliveries.set(name, log);
    }
    return log;
  }

  private forgetQueue(name: string): void {
    this.deliveries.delete(name);
    for (let i = this.consumers.length - 1; i >= 0; i--) {
      const consumer = this.consumers[i]!;
      if (consumer.queue.name !== name || !consumer.queue.deleted) continue;
      this.consumers.splice(i, 1);
      // Its deliveries can still be settled, and mean nothing.
      this.got.push(...this.heldBy(consumer));
    }
    this.unbindWhere((binding) => binding.isQueue && binding.to === name);
  }

  private unbindWhere(gone: (binding: World['bindings'][number]) => boolean): void {
    const sources = new Set<string>();
    for (let i = this.bindings.length - 1; i >= 0; i--) {
      if (!gone(this.bindings[i]!)) continue;
      sources.add(this.bindings[i]!.source);
      this.bindings.splice(i, 1);
    }
    for (const source of sources) {
      if (!this.exchanges.get(source)?.autoDelete || this.bindings.some((each) => each.source === source))
        continue;
      this.exchanges.delete(source);
      this.unbindWhere((each) => !each.isQueue && each.to === source);
    }
  }

  /** Names of the queues that keys reach from an exchange, sorted. */
  expectedRoute(exchange: string, keys: readonly string[]): string[] {
    const found = new Set<string>();
    const seen = new Set<string>();
    const visit = (name: string): void => {
      if (seen.has(name)) return;
      seen.add(name);
      if (name === '') {
        for (const key of keys) if (this.model.queues.has(key)) found.add(key);
        return;
      }
      const type = this.exchanges.get(name)?.type;
      for (const { source, to, isQueue, key } of this.bindings) {
        if (source !== name || !keys.some((each) => matches(type!, key, each))) continue;
        if (isQueue) found.add(to);
        else visit(to);
      }
    };
    visit(exchange);
    return [...found].sort();
  }

  private same(is: unknown, expected: unknown, what: string): void {
    if (is !== expected) throw new Error(`${what}: ${String(is)} instead of ${String(expected)}`);
  }
}

interface Found {
  readonly text: string;
  readonly redelivered: boolean;
  readonly entry: Entry;
}

/** Persistent messages of a queue in their order, wherever they are. */
function contentOf(queue: ModelQueue): ModelEntry[] {
  return [...queue.ready, ...queue.unacked]
    .filter(({ persistent }) => persistent)
    .sort((a, b) => a.place - b.place);
}

function brief(entries: readonly { readonly text: string }[]): string {
  return entries.map(({ text }) => text.replaceAll('.', '')).join(' ');
}

function matches(type: string, bindingKey: string, key: string): boolean {
  if (type === 'fanout') return true;
  if (type === 'direct') return bindingKey === key;
  // The keys of the script have one word each.
  return bindingKey === '#' || bindingKey === '*' || bindingKey === key;
}

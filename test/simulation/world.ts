// A broker without doors on a faulty store, and the model beside it. Every step is done to both, and they are compared when all is at rest.
// Owns the operations and the comparison; which ones are done, and with what, comes from a seed (script.ts).

import { FakeClock } from '../../src/base/fake-clock.ts';
import { Turn } from '../../src/base/turn.ts';
import { hasDied } from '../../src/message/death.ts';
import { deathsOf } from '../../src/message/death-history.ts';
import type { Entry } from '../../src/message/entry.ts';
import type { Message } from '../../src/message/message.ts';
import { BROKER } from '../../src/node/caller.ts';
import { Operations, type RedriveHandle } from '../../src/node/operations.ts';
import type { RedriveProgress } from '../../src/node/redrive.ts';
import type { FieldValue } from '../../src/protocol/field-table.ts';
import type { Found, MessageId, MessageState } from '../../src/queue/peek.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { MUST_COMMIT, REJECTED } from '../../src/queue/queue.ts';
import { deliveriesOf, retriesOf } from '../../src/queue/tries.ts';
import { messageTo, NodeKit } from '../node/kit.ts';
import { settle as settleEntry, TestConsumer, textOf } from '../queue/kit.ts';
import { iteration } from '../store/harness.ts';
import { type FaultyStore, faultyStore, type SeededRandom } from '../support/faulty-engine.ts';
import {
  type Delivery,
  DROPPED,
  holder,
  inOrder,
  Model,
  type ModelConsumer,
  type ModelEntry,
  ModelMemory,
  type ModelMessage,
  ModelQueue,
  type ModelWay,
  type QueueSpec,
  type Stay,
  type UniqueSpec,
  type Waiting,
} from './model.ts';
import type { PolicyRule } from './policy-model.ts';

/** Event-loop iterations without any work after which everything is at rest: more than the slowest read takes. */
const IDLE_ITERATIONS = 8;
/** Memory that no script fills. */
const UNBOUNDED = 1e9;
/** Iterations that coming to rest may take. */
const ITERATIONS_MAX = 50_000;
/** Time between two looks at the clock, in milliseconds. */
export const STEP_MS = 100;
/** The header that is the ordering key. */
const KEY_HEADER = 'account';
/** A deadline of what was held back may be so much later: it is counted from when the message is read, after the clock has moved. */
const LATE_MS = STEP_MS / 2;
/** A queue that nobody uses may stay so much longer: the coarse timers' ticks. */
const EXPIRES_LATE_MS = 200;

/** A consumer that writes down what it is handed. */
class LoggingConsumer extends TestConsumer {
  log: Delivery[] | null = null;
  queue: DeclaredQueue | null = null;

  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }

  override deliver(entry: Entry): void {
    this.log?.push({ consumer: this.tag, ...seen(entry) });
    super.deliver(entry);
  }
}

function seen(entry: Entry): Omit<Delivery, 'consumer'> {
  const { redelivered, tries, message } = entry;
  return { text: textOf(entry)!, redelivered, ...told(message, tries) };
}

function told(message: Message, tries: number): Pick<Delivery, 'failures' | 'retries' | 'deaths'> {
  const deaths = hasDied(message) ? deathsOf(message).length : 0;
  return { failures: deliveriesOf(tries), retries: retriesOf(tries), deaths };
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

/** Where an operator moves messages. */
export type MoveTo = { readonly queue: string } | { readonly exchange: string };

/** A message that somebody has looked at. */
interface Seen extends Omit<Delivery, 'consumer'> {
  readonly id: string;
  readonly expiresAt: number;
}

export interface Publish {
  readonly exchange: string;
  readonly key: string;
  readonly persistent: boolean;
  readonly bytes: number;
  readonly expiration: number | null;
  readonly copies: readonly string[];
  readonly priority: number;
  /** How long an exchange that can is to hold it back, in milliseconds; 0 for not at all. */
  readonly delayMs: number;
}

/** What a message says of itself for queues that look at it. */
export type Marks = Pick<ModelMessage, 'key' | 'likeness' | 'rememberMs'>;

const NO_MARKS: Marks = { key: null, likeness: null, rememberMs: null };

/** An exchange as it was declared. */
export interface WorldExchange {
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** It holds messages back that ask for it. */
  readonly delays: boolean;
  /** It drops what is like a message before. */
  readonly unique: (UniqueSpec & { readonly disk: boolean }) | null;
}

/** A walk through exchanges that is more than a question: those that drop duplicates take note. */
interface Passing {
  readonly message: Marks;
  /** The exchange that has held it back until now. */
  readonly past: string | null;
}

export class World {
  readonly random: SeededRandom;
  readonly consumers: WorldConsumer[] = [];
  /** Taken by basic.get, not settled. */
  readonly got: Held[] = [];
  /** Durable and transient exchanges that were declared. */
  readonly exchanges = new Map<string, WorldExchange>();
  /** Bindings as they should be: source, queue or exchange, key. */
  readonly bindings: { source: string; to: string; isQueue: boolean; key: string }[] = [];
  /** What exchanges remember, by their names; and those of them that remembered the last message. */
  readonly memories = new Map<string, ModelMemory>();
  private admittedBy: ModelMemory[] = [];
  private admitted = '';
  /** Queues have to send messages to the store for want of memory. */
  readonly pages: boolean;
  model: Model;
  kit!: NodeKit;
  /** What the next message says of itself. */
  marks: () => Marks = () => NO_MARKS;
  /** A policy for the queue of this name that leaves its limits and times to live alone; null in a world without. */
  mildPolicy: ((name: string) => PolicyRule) | null = null;
  private readonly store: FaultyStore;
  private readonly clock = new FakeClock();
  private readonly queueMemoryBytes: number;
  /** The disk has failed, or is about to. */
  private failing = false;
  private scheduled: (() => void) | null = null;
  private deliveries = new Map<string, Delivery[]>();
  private texts = 0;
  private tags = 0;

  /** @param paging queues may have to send messages to the store for want of memory */
  constructor(random: SeededRandom, seed: number, paging: boolean) {
    this.random = random;
    const memory = [65_536, 65_536, 200_000, UNBOUNDED];
    this.queueMemoryBytes = paging ? memory[random.below(memory.length)]! : UNBOUNDED;
    this.pages = this.queueMemoryBytes < UNBOUNDED;
    this.store = faultyStore({
      seed,
      slowness: 1 + random.below(3),
      readSlowness: 1 + random.below(2),
      segmentBytesMax: [2_000, 20_000, 500_000][random.below(3)]!,
      clock: this.clock,
    });
    this.model = new Model(this.clock.now());
    this.model.isShort = (name) => (this.kit.vhost.queues.get(name)?.pagedOutCount ?? 0) > 0;
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
    if (spec.quorum) args['x-queue-type'] = 'quorum';
    if (spec.priorityMax > 0) args['x-max-priority'] = spec.priorityMax;
    if (spec.deliveryLimit !== null) args['x-delivery-limit'] = spec.deliveryLimit;
    if (spec.expires !== null) args['x-expires'] = spec.expires;
    if (spec.ordered) args['x-ordering-key'] = KEY_HEADER;
    if (spec.unique !== null) {
      const { sizeMax, ttl } = spec.unique;
      args['x-message-deduplication'] = true;
      if (sizeMax !== null) args['x-cache-size'] = sizeMax;
      if (ttl !== null) args['x-cache-ttl'] = ttl;
    }
    if (spec.retry !== null) {
      args['x-retry-limit'] = spec.retry.limit;
      args['x-retry-delay'] = spec.retry.delayMs;
      args['x-retry-multiplier'] = spec.retry.multiplier;
    }
    this.kit.queue(name, args, { durable: spec.durable, autoDelete: spec.autoDelete });
    this.model.declare(name, spec);
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
    this.same(this.queue(name).purge(), this.model.purge(queue), `messages purged from ${name}`);
    await this.rest();
  }

  async pause(name: string, on: boolean): Promise<void> {
    this.kit.vhost.setPaused(this.queue(name), on);
    this.model.queues.get(name)!.paused = on;
    await this.rest();
  }

  /** A policy comes, or takes the place of one of the same name and kind. */
  async setPolicy(rule: PolicyRule): Promise<void> {
    if (rule.keys['message-ttl'] === 0) {
      const due = rule.queues
        .map((name) => this.model.queues.get(name))
        .filter((queue) => queue !== undefined);
      for (const name of this.uncertain(due, 0)) await this.deleteQueue(name);
    }
    this.setPolicyNow(rule);
    await this.rest();
  }

  async deletePolicy(rule: PolicyRule): Promise<void> {
    this.kit.node.parameters.deletePolicy('/', rule.name, kindOf(rule));
    this.model.applyPolicies(this.model.policies.filter((each) => each !== rule));
    await this.rest();
  }

  private setPolicyNow(rule: PolicyRule): void {
    const { name, operator, priority, queues, keys } = rule;
    const pattern = `^(${queues.join('|')})$`;
    const policy = { vhost: '/', name, pattern, priority, 'apply-to': 'queues', definition: keys } as const;
    this.kit.node.parameters.setPolicy(policy, kindOf(rule));
    const others = this.model.policies.filter((each) => each.name !== name || each.operator !== operator);
    this.model.applyPolicies([...others, rule]);
  }

  async declareExchange(name: string, exchange: WorldExchange): Promise<void> {
    const { type, durable, autoDelete, delays, unique } = exchange;
    const args: Record<string, unknown> = delays ? { 'x-delayed-type': type } : {};
    if (unique !== null) {
      args['x-message-deduplication'] = true;
      if (unique.sizeMax !== null) args['x-cache-size'] = unique.sizeMax;
      if (unique.ttl !== null) args['x-cache-ttl'] = unique.ttl;
      if (unique.disk) args['x-cache-persistence'] = 'disk';
      this.memories.set(name, new ModelMemory(unique));
    }
    this.kit.exchange(name, delays ? 'x-delayed-message' : type, args, { durable, autoDelete });
    this.exchanges.set(name, exchange);
    if (delays) this.model.holders.set(name, durable);
    await this.rest();
  }

  async deleteExchange(name: string): Promise<void> {
    this.kit.vhost.deleteExchange(name, false, BROKER);
    this.forgetExchange(name);
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
    const entry = real.get(noAck);
    const expected = this.model.get(queue, noAck, textOf(entry));
    this.same(textOf(entry), expected?.text ?? null, `the message got from ${name}`);
    if (entry !== null && expected !== null) {
      this.model.checkDelivery(queue, expected, seen(entry));
      if (!noAck) this.got.push({ queue, model: expected, real: entry });
    }
    await this.rest();
  }

  /** An operator moves the first messages of a queue to another one, or to an exchange under their own keys. */
  async move(name: string, to: MoveTo, max: number): Promise<void> {
    const operator = new Operations(this.kit.node).queue('/', name);
    const result = await this.until(operator.move({ filter: {}, max }, to));
    const queue = this.model.queues.get(name)!;
    this.model.begin(this.deliveries);
    let [moved, stayed] = [0, 0];
    for (const entry of [...queue.ready]) {
      if (moved === max) break;
      this.admittedBy = [];
      if (this.model.move(queue, entry, this.wayTo(entry, to)) === null) moved++;
      else {
        stayed++;
        this.refused();
      }
    }
    this.same(result.done, moved, `messages moved from ${name}`);
    this.same(result.skipped.length, stayed, `messages of ${name} that could not be moved`);
    await this.rest();
  }

  /** An operator deletes the first messages of a queue. */
  async remove(name: string, max: number): Promise<void> {
    const operator = new Operations(this.kit.node).queue('/', name);
    const result = await this.until(operator.delete({ filter: {}, max }));
    this.model.begin(this.deliveries);
    const gone = this.model.queues.get(name)!.ready.splice(0, max);
    this.same(result.done, gone.length, `messages deleted from ${name}`);
    await this.rest();
  }

  /** An operator moves single messages, or deletes them (null), whoever has them; some that are not there too. */
  async pickOut(name: string, texts: readonly string[], to: MoveTo | null): Promise<void> {
    const found = await this.contentsOf(name, ['ready', 'unacked']);
    const ids = texts.map((text) => found.find((each) => each.text === text)?.id ?? '1-999999999');
    const operator = new Operations(this.kit.node).queue('/', name);
    const result = await this.until(to === null ? operator.delete({ ids }) : operator.move({ ids }, to));
    const queue = this.model.queues.get(name)!;
    this.model.begin(this.deliveries);
    const stays: string[] = [];
    for (const text of texts) {
      this.admittedBy = [];
      const entry = queue.ready.find((each) => each.text === text);
      let reason: string | null = null;
      if (entry === undefined) {
        const held = queue.unacked.find((each) => each.text === text);
        reason = held === undefined ? 'not-found' : 'not-ready';
        // It is asked where it would go all the same.
        if (held !== undefined && to !== null) this.wayTo(held, to);
      } else if (to === null) queue.take(entry);
      else reason = this.model.move(queue, entry, this.wayTo(entry, to));
      if (reason === null) continue;
      stays.push(reason);
      if (to !== null && 'exchange' in to) this.refused();
    }
    this.same(
      result.skipped.map(({ reason }) => reason).join(),
      stays.join(),
      `messages that stay in ${name}`,
    );
    this.same(result.done, texts.length - stays.length, `messages taken out of ${name}`);
    await this.rest();
  }

  private wayTo({ message }: ModelEntry, to: MoveTo): ModelWay {
    if ('queue' in to) return { targets: [to.queue], message };
    return {
      targets: this.expectedRoute(to.exchange, message.keys, message.delayMs, { message, past: null }),
      message: { ...message, exchange: to.exchange },
    };
  }

  /** An operator sends dead letters back to where they died, or to where they had been published. */
  async redrive(name: string, to: 'queue' | 'exchange', max: number): Promise<void> {
    const handle = new Operations(this.kit.node).queue('/', name).redrive({ to, max });
    const progress = await this.until(handle.finished);
    const queue = this.model.queues.get(name)!;
    this.model.begin(this.deliveries);
    this.followRedrive(queue, [...queue.ready], to, max, progress);
    await this.rest();
  }

  private followRedrive(
    queue: ModelQueue,
    entries: readonly ModelEntry[],
    to: 'queue' | 'exchange',
    max: number,
    progress: RedriveProgress,
  ): void {
    const skipped = new Map<Stay, number>();
    let moved = 0;
    for (const entry of entries) {
      if (moved === max) break;
      this.admittedBy = [];
      const stay = this.model.move(queue, entry, this.wayBack(entry, to));
      if (stay !== null) this.refused();
      if (stay === null) moved++;
      else skipped.set(stay, (skipped.get(stay) ?? 0) + 1);
    }
    const { name } = queue;
    this.same(progress.state, 'finished', `the redrive of ${name}`);
    this.same(progress.moved, moved, `messages of ${name} that went back`);
    const told = (counts: Iterable<[string, number]>): string => JSON.stringify([...counts].sort());
    this.same(
      told(Object.entries(progress.skipped)),
      told(skipped),
      `messages of ${name} that could not go back`,
    );
  }

  private wayBack({ message }: ModelEntry, to: 'queue' | 'exchange'): ModelWay | Stay {
    return this.model.wayBack(message, to === 'exchange', (exchange, keys) =>
      exchange === '' || this.exchanges.has(exchange)
        ? this.expectedRoute(exchange, keys, message.delayMs, { message, past: null })
        : null,
    );
  }

  /** Looks into every queue: what is there, and in which order; where that was not known, it is from now on. */
  async look(): Promise<void> {
    for (const [name, queue] of this.model.queues) {
      const found = await this.contentsOf(name);
      const test = new ModelQueue(name, queue.spec, 0);
      const originals = new Map<ModelEntry, ModelEntry>();
      for (const entry of queue.ready) {
        const copy: ModelEntry = Object.create(entry);
        originals.set(copy, entry);
        test.ready.push(copy);
      }
      const inThisOrder: ModelEntry[] = [];
      for (const { text, redelivered, expiresAt, failures, retries, deaths } of found) {
        const entry = test.front(text);
        const has = `${name} has ${brief(text)}`;
        if (entry?.text !== text) throw new Error(`${has} where ${entry?.text ?? 'nothing'} should be`);
        test.ready.shift();
        const original = originals.get(entry)!;
        original.place = entry.place;
        inThisOrder.push(original);
        if (entry.redelivered !== null) this.same(redelivered, entry.redelivered, `${has} with redelivered`);
        if (queue.spec.deliveryLimit !== null) this.same(failures, entry.failures, `${has} with failures`);
        this.same(retries, entry.retries, `${has} with retries`);
        this.same(deaths, entry.message.deaths.length, `${has} with deaths`);
        const deadline = expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt;
        if (expiresAt >= 0 && Math.abs(deadline - entry.expiresAt) > LATE_MS)
          throw new Error(`${has} until ${deadline} instead of ${entry.expiresAt}`);
      }
      this.same(test.ready.length, 0, `messages that ${name} lacks`);
      queue.ready.splice(0, queue.ready.length, ...inThisOrder);
    }
  }

  private async contentsOf(name: string, kinds: readonly MessageState[] = ['ready']): Promise<Seen[]> {
    const seenThere: Seen[] = [];
    const contents = this.queue(name).contents();
    const states = new Set(kinds);
    let after: MessageId | null = null;
    do {
      const page = (visit: (found: Found) => boolean): Promise<MessageId | null> =>
        new Promise((resolve, reject) => {
          contents.walk({ after, states, bounds: null }, visit, (error, { next }) =>
            error === null ? resolve(next) : reject(error),
          );
        });
      after = await this.until(
        page(({ number, position, message, redelivered, tries, expiresAt }) => {
          const text = message.body().toString();
          const id = `${number}-${position}`;
          seenThere.push({ id, text, redelivered, expiresAt, ...told(message, tries) });
          return true;
        }),
      );
    } while (after !== null);
    return seenThere;
  }

  async advance(ms: number): Promise<void> {
    // Step by step, so that timers, the turns they cause and their dead letters have their own times on both sides.
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      const next = this.clock.now() + STEP_MS;
      const due = [...this.model.queues.values()].filter(
        ({ ready, waiting }) =>
          ready.some(({ expiresAt }) => expiresAt <= next) ||
          waiting.some(({ entry, dueAt }) => dueAt <= next && entry.expiresAt <= next),
      );
      // Whether a full queue loses a message of its own before it is offered the dead one of another is a matter of chance.
      if (due.length > 1)
        for (const name of this.gravesOf(due))
          if (this.model.queues.get(name)!.isBounded) await this.deleteQueue(name);
      for (const name of this.uncertain(due, next)) await this.deleteQueue(name);
      this.clock.advance(STEP_MS);
      await this.settleReal();
      this.expireQueues();
      this.model.begin(this.deliveries);
      this.model.timePasses(this.clock.now(), (exchange, message) =>
        this.expectedRoute(exchange, message.keys, 0, { message, past: exchange }),
      );
      await this.rest();
    }
  }

  /**
   * Queues that drop what is like a message before, of which nobody knows which is the one before: several things reach or leave them by
   * time at the same look at the clock.
   */
  private uncertain(due: readonly ModelQueue[], now: number): string[] {
    const causes = new Map<string, number>();
    const cause = (name: string, times = 1): void => void causes.set(name, (causes.get(name) ?? 0) + times);
    for (const queue of due) {
      cause(queue.name);
      // What expires together in a queue with priorities goes in no order.
      const times = queue.spec.priorityMax > 0 ? 2 : 1;
      for (const other of this.gravesOf([queue])) if (other !== queue.name) cause(other, times);
      // Its own dead letters, behind one of its own.
      if (queue.spec.deadLetterKey === '' || queue.spec.deadLetterKey === queue.name) cause(queue.name);
    }
    for (const { exchange, message, dueAt } of this.model.delayed)
      if (dueAt <= now) for (const name of this.expectedRoute(exchange, message.keys)) cause(name);
    return [...causes]
      .filter(([name, times]) => times > 1 && (this.model.queues.get(name)?.spec.unique ?? null) !== null)
      .map(([name]) => name);
  }

  /** These queues, and those that what dies there may come to. */
  private gravesOf(queues: readonly ModelQueue[]): Set<string> {
    const found = new Set<string>();
    const visit = (name: string): void => {
      const queue = this.model.queues.get(name);
      if (queue === undefined || found.has(name)) return;
      found.add(name);
      const { deadLetterKey } = queue.spec;
      if (deadLetterKey === '') for (const each of this.model.queues.keys()) visit(each);
      else if (deadLetterKey !== null) visit(deadLetterKey);
    };
    for (const { name } of queues) visit(name);
    return found;
  }

  /** Everything that somebody holds. */
  held(): Held[] {
    return [...this.got, ...this.consumers.flatMap((consumer) => this.heldBy(consumer))];
  }

  // ── the end of a life ──

  /** A clean stop, and a start. */
  async restart(): Promise<void> {
    for (const [name, { paused }] of this.model.queues) if (paused) await this.pause(name, false);
    while (this.consumers.length > 0) await this.cancel(this.consumers[0]!, true);
    await this.settle([...this.got], 'requeue');
    await this.kit.close();
    this.loseTransient(false);
    await this.open();
    await this.rest();
  }

  /** Steps that are not brought to rest, then the machine stops. What comes back must be what stood between two batches. */
  async crash(steps: number): Promise<void> {
    for (const [name, { paused }] of this.model.queues) if (paused) await this.pause(name, false);
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
    const states: State[] = [];
    const remember = (from: number, to: number): void => {
      const content = new Map(plain.map((queue) => [queue.name, snapshot(queue)]));
      const seen = new Map([...this.memories].map(([name, memory]) => [name, [...memory.seen]]));
      states.push({ from, to, content, policies: this.model.policies, seen });
    };
    remember(0, 0);
    if (this.random.chance(0.2)) {
      this.failing = true;
      this.store.engine.failNext(new Error('the disk refuses'), this.random.chance(0.5));
    }
    const redrive = this.random.chance(0.4) ? this.beginRedrive(plain) : null;
    for (let i = 0; i < steps; i++) {
      const { ticket } = this.kit.node.shard;
      await this.restlessStep(plain, redrive);
      remember(ticket, this.kit.node.shard.ticket);
    }
    const { durableTicket } = this.kit.node.shard;
    this.kit.node.stopTimers();
    this.store.crash();
    this.failing = false;
    this.scheduled = null;
    this.loseTransient(true);
    await this.open();
    await this.settleReal();
    const found = new Map<string, CameBack[]>();
    for (const name of this.kit.vhost.queues.keys()) found.set(name, await this.takeAll(name));
    this.adopt(states, durableTicket, plain, found);
    for (const [name, list] of found) this.match(name, list);
    await this.settle([...this.got], 'requeue');
  }

  /** What came back in a queue is what the model has there; it is in our hands now. */
  private match(name: string, list: readonly CameBack[]): void {
    const queue = this.model.queues.get(name);
    if (queue === undefined) throw new Error(`${name} came back, though it was not durable`);
    const expected = queue.ready.map(({ text }) => text);
    const free: ModelEntry[] = [];
    for (const [i, back] of list.entries()) {
      const { entry, text, redelivered } = back;
      const model = queue.front(text);
      if (model?.text !== text)
        throw new Error(
          `${name} came back with ${list.map((each) => brief(each.text)).join(' ')} instead of ` +
            `${expected.map(brief).join(' ')}, at ${i}`,
        );
      queue.ready.shift();
      // The mark may have run ahead.
      if (model.redelivered !== true || redelivered) model.redelivered = null;
      this.model.checkDelivery(queue, model, back);
      if (entry === null) {
        model.redelivered = redelivered;
        free.push(model);
        continue;
      }
      queue.got.push(model);
      model.holder = model;
      this.got.push({ queue, model, real: entry });
    }
    this.same(queue.ready.length, 0, `messages of ${name} that did not come back after a crash`);
    queue.ready.push(...free);
  }

  /** Everything is taken away: nothing may be left in memory, on the wheel or in the store. */
  async finish(): Promise<void> {
    for (const consumer of [...this.consumers]) await this.cancel(consumer, false);
    await this.settle([...this.got], 'ack');
    for (const name of [...this.model.queues.keys()]) await this.deleteQueue(name);
    for (const [name, { delays, unique }] of [...this.exchanges])
      if ((delays || unique !== null) && this.exchanges.has(name)) await this.deleteExchange(name);
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
    // As every door does before it looks: what came back too late goes with the next tick otherwise.
    for (const queue of this.kit.vhost.queues.values()) queue.catchUp();
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

  /** Works until the promise is settled. */
  private async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    for (let i = 0; !isSettled; i++) {
      if (i > ITERATIONS_MAX) throw new Error('an operation never ends');
      await this.step();
    }
    return await promise;
  }

  /** One event-loop iteration. @returns false when there was nothing to do in it */
  private async step(): Promise<boolean> {
    const run = this.scheduled;
    this.scheduled = null;
    run?.();
    await iteration();
    this.checkErrors();
    return run !== null || this.scheduled !== null || this.store.engine.flying;
  }

  private checkErrors(): void {
    if (this.kit.errors.length > 0 && !this.failing) throw this.kit.errors[0];
  }

  /** Queues that nobody used for long go, a little sooner or later. */
  private expireQueues(): void {
    const now = this.clock.now();
    for (const [name, { spec, usedAt, consumers }] of [...this.model.queues]) {
      if (spec.expires === null || consumers.length > 0) continue;
      const isThere = this.kit.vhost.queues.has(name);
      if (isThere && now > usedAt + spec.expires + EXPIRES_LATE_MS)
        throw new Error(`${name} was not used for ${now - usedAt} ms and is still there`);
      if (isThere || now < usedAt + spec.expires) continue;
      this.model.remove(name);
      this.forgetQueue(name);
    }
  }

  private compare(): void {
    const { vhost, node } = this.kit;
    this.same([...vhost.queues.keys()].sort().join(), [...this.model.queues.keys()].sort().join(), 'queues');
    let memory = 0;
    for (const [name, queue] of this.model.queues) {
      const real = this.queue(name);
      this.same(real.messageCount, queue.ready.length, `ready messages of ${name}`);
      this.same(real.waitingCount, queue.waiting.length, `messages of ${name} that wait for a retry`);
      this.same(real.messageBytes, queue.bytes, `ready bytes of ${name}`);
      this.same(real.unackedCount, queue.unacked.length, `unacked messages of ${name}`);
      this.same(real.consumerCount, queue.consumers.length, `consumers of ${name}`);
      memory += real.memoryBytes;
    }
    // What is fetched because its time comes soon is no queue's.
    if (node.memory.used < memory) this.same(node.memory.used, memory, 'memory in use');
    for (const [name, { delays }] of this.exchanges) {
      if (!delays) continue;
      const waiting = this.model.delayed.filter(({ exchange }) => exchange === name).length;
      const { messageCount } = vhost.exchange(name).intake!.delays!;
      this.same(messageCount, waiting, `messages that ${name} holds back`);
    }
    const exchanges = [...vhost.exchanges.keys()].filter((name) => name.startsWith('x')).sort();
    this.same(exchanges.join(), [...this.exchanges.keys()].sort().join(), 'exchanges');
    let bindings = 0;
    for (const { outgoing } of vhost.exchanges.values()) bindings += outgoing.size;
    this.same(bindings, this.bindings.length, 'bindings');
    this.compareMemories();
  }

  private publishNow(what: Publish): void {
    const { exchange, key, persistent, bytes, expiration, copies, priority, delayMs } = what;
    const text = `m${++this.texts}`.padEnd(bytes, '.');
    const headers = new Map<string, FieldValue>();
    if (copies.length > 0)
      headers.set('CC', { tag: 'A', value: copies.map((value) => ({ tag: 'S', value }) as const) });
    if (delayMs > 0) headers.set('x-delay', { tag: 'l', value: delayMs });
    const marks = this.marks();
    if (marks.key !== null) headers.set(KEY_HEADER, { tag: 'S', value: marks.key });
    if (marks.likeness !== null) headers.set('x-deduplication-header', { tag: 'S', value: marks.likeness });
    if (marks.rememberMs !== null) headers.set('x-cache-ttl', { tag: 'l', value: marks.rememberMs });
    const real = messageTo(exchange, key, text, {
      deliveryMode: persistent ? 2 : 1,
      expiration: expiration === null ? null : String(expiration),
      priority: priority === 0 ? null : priority,
      headers: headers.size === 0 ? null : headers,
    });
    const { vhost } = this.kit;
    const source = vhost.exchange(exchange);
    const keys = [key, ...copies];
    const route = copies.length === 0 ? vhost.route(source, real, key) : vhost.routeAll(source, real, keys);
    const facts = { persistent, exchange, keys, expiration, delayMs, priority, ...marks };
    const message: ModelMessage = { text, deaths: [], ...facts };
    const names = route.map(({ name }) => name);
    const expected = this.expectedRoute(exchange, keys, delayMs, { message: marks, past: null });
    this.same([...names].sort().join(), expected.join(), `route of ${exchange} ${key}`);
    // The message is published before the model is told, so what is handed out early is known to it.
    const outcome = vhost.publish(route, real);
    this.model.begin(this.deliveries);
    const written = this.model.writes(names, message);
    const refused = this.model.publish(names, message);
    this.same((outcome & REJECTED) !== 0, refused, `refusal by one of ${names.join()}`);
    if (refused) {
      // As every door does.
      vhost.refused(real);
      this.refused();
    }
    if (!written) this.same(outcome & MUST_COMMIT, 0, 'a message that is not written asks for a commit');
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
  private isPlain({ spec, consumers, isBounded }: ModelQueue): boolean {
    const { durable, autoDelete, ttl, expires } = spec;
    return (
      durable &&
      !autoDelete &&
      ttl === null &&
      expires === null &&
      !isBounded &&
      consumers.every(({ noAck }) => !noAck)
    );
  }

  /** A small step of the kind that a crash can come into. */
  private async restlessStep(plain: readonly ModelQueue[], redrive: RunningRedrive | null): Promise<void> {
    const { random, model, mildPolicy } = this;
    if (mildPolicy !== null && plain.length > 0 && random.chance(0.15)) {
      const queue = plain[random.below(plain.length)]!;
      if (random.chance(0.2))
        this.same(this.queue(queue.name).purge(), model.purge(queue), 'messages purged');
      else this.setPolicyNow(mildPolicy(queue.name));
      return;
    }
    const what = random.below(10);
    if (what < 4 && plain.length > 0) {
      const { name } = plain[random.below(plain.length)]!;
      const bytes = 10 + random.below(800);
      const priority = random.below(4);
      const exchange = this.memories.size === 0 ? '' : this.plainExchange(plain, name);
      this.publishNow({ ...PLAIN, exchange, key: name, persistent: true, bytes, priority });
      return;
    }
    if (what < 7) {
      const staysPlain = ({ queue, model: entry }: Held): boolean => {
        const { deadLetterKey } = queue.spec;
        if (deadLetterKey === null) return true;
        const targets = (deadLetterKey === '' ? entry.message.keys : [deadLetterKey]).map((key) =>
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
    this.checkErrors();
    if (redrive !== null) this.followSteps(redrive);
    model.observe(this.deliveries);
  }

  /** An exchange that remembers, if messages with this key go from it to these queues alone; else the default one. */
  private plainExchange(plain: readonly ModelQueue[], key: string): string {
    const names = plain.map(({ name }) => name);
    for (const name of this.memories.keys())
      if (this.expectedRoute(name, [key]).every((each) => names.includes(each))) return name;
    return '';
  }

  /** Dead letters of one of these queues begin to go back, if all of them go to one of these. */
  private beginRedrive(plain: readonly ModelQueue[]): RunningRedrive | null {
    const queue = plain.find(({ ready }) => ready.some(({ message }) => message.deaths.length > 0));
    if (queue === undefined) return null;
    const names = plain.map(({ name }) => name);
    for (const entry of queue.ready) {
      const way = this.wayBack(entry, 'queue');
      if (typeof way !== 'string' && !way.targets.every((name) => names.includes(name))) return null;
    }
    const handle = new Operations(this.kit.node).queue('/', queue.name).redrive();
    return { queue, entries: [...queue.ready], handle, moved: 0 };
  }

  /** What it has moved since we looked last. */
  private followSteps(redrive: RunningRedrive): void {
    const { queue, entries, handle } = redrive;
    const taken = new Set(this.logOf(queue.name).map(({ text }) => text));
    while (redrive.moved < handle.progress.moved) {
      const entry = entries.shift();
      if (entry === undefined) throw new Error(`more went back from ${queue.name} than was there`);
      // What was handed out in between does not move.
      if (!queue.ready.includes(entry) || taken.has(entry.text)) continue;
      if (this.model.move(queue, entry, this.wayBack(entry, 'queue')) === null) redrive.moved++;
    }
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
      const { ready, waiting } = snapshot(queue);
      queue.ready.length = 0;
      queue.waiting.length = 0;
      queue.got.length = 0;
      queue.consumers.length = 0;
      queue.active = null;
      queue.paused = false;
      queue.usedAt = this.clock.now();
      this.refill(queue, ready, waiting);
      for (const entry of queue.ready) {
        // The mark runs ahead of the deliveries, and only a clean stop sets it back.
        // Where deliveries are not in order, it covers what was passed over too.
        if ((crashed || queue.spec.ordered) && entry.redelivered === false) entry.redelivered = null;
        if (entry.nowOrNever) entry.expiresAt = 0;
      }
    }
    this.model.delayed = this.model.delayed.filter(({ lasting }) => lasting);
    for (const [name, { durable, unique }] of [...this.exchanges]) {
      if (!durable) this.forgetExchange(name);
      else if (unique?.disk === false) this.memories.get(name)!.seen = [];
    }
    // RabbitMQ: a durable auto-delete exchange outlives transient bindings that a restart took away.
    for (let i = this.bindings.length - 1; i >= 0; i--) {
      const { source, to, isQueue } = this.bindings[i]!;
      const stays = this.exchanges.has(source) && (isQueue ? this.model.queues : this.exchanges).has(to);
      if (!stays) this.bindings.splice(i, 1);
    }
  }

  /** The queue's content is this, in its old order. */
  private refill(queue: ModelQueue, ready: readonly Kept[], waiting: readonly (Kept & Waiting)[]): void {
    if (queue.memory !== null) queue.memory.seen = [];
    const all = [...ready, ...waiting].sort((a, b) => a.place - b.place);
    for (const kept of all) {
      const { entry, failures, retries } = kept;
      entry.failures = failures;
      entry.retries = retries;
      entry.holder = null;
      if (queue.memory !== null && entry.message.likeness !== null)
        queue.memory.add(entry.message.likeness, null, this.clock.now());
      // What a policy has capped lies in the store as it came; a policy that is in force counts from now.
      entry.expiresAt = Math.min(
        entry.firstExpiresAt,
        this.clock.now() + (queue.spec.ttl ?? Number.POSITIVE_INFINITY),
      );
      if ('dueAt' in kept) {
        entry.place = queue.nextPlace();
        queue.waiting.push({ entry, dueAt: kept.dueAt as number });
      } else queue.append(entry);
    }
    queue.waiting.sort((a, b) => a.dueAt - b.dueAt);
  }

  /** The model takes over what came back in plain queues, if it is what stood there between two batches. */
  private adopt(
    states: readonly State[],
    durableTicket: number,
    plain: readonly ModelQueue[],
    found: ReadonlyMap<string, CameBack[]>,
  ): void {
    const wrong: string[] = [];
    for (let i = 0; i < states.length; i++) {
      const { from, to, content, policies, seen } = states[i]!;
      const next = states[i + 1];
      // Batches are whole: the state after the last step of a batch.
      if (next !== undefined && from === next.to) continue;
      // What was told to be on disk is there.
      if (next !== undefined && next.to <= durableTicket) continue;
      const differing = plain.find((queue) => !this.isFound(queue, content.get(queue.name)!, found));
      if (!this.arePolicies(policies)) {
        wrong.push(`batch ${to}: other policies: ${JSON.stringify(policies)}`);
        continue;
      }
      const forgetful = [...this.memories.keys()].find(
        (name) => this.exchanges.get(name)!.unique!.disk && !this.remembers(name, seen.get(name)!),
      );
      if (forgetful !== undefined) {
        wrong.push(`batch ${to}: ${forgetful} remembered ${JSON.stringify(seen.get(forgetful))}`);
        continue;
      }
      if (differing === undefined) {
        this.model.applyPolicies(policies);
        for (const [name, memory] of this.memories)
          if (this.exchanges.get(name)!.unique!.disk) memory.seen = seen.get(name)!;
        for (const queue of plain) {
          queue.ready.length = 0;
          queue.waiting.length = 0;
          const { ready, waiting } = content.get(queue.name)!;
          this.refill(queue, ready, waiting);
        }
        return;
      }
      const { name } = differing;
      const had = content.get(name)!;
      wrong.push(
        `batch ${to}: ${name} had ${had.ready.map((each) => described(each)).join(' ')} and ${had.waiting.length} that wait, found ` +
          `${(found.get(name) ?? []).map((each) => describedReal(each)).join(' ')} and ${this.queue(name)?.waitingCount}`,
      );
    }
    throw new Error(`what came back never stood there (durable ${durableTicket}):\n${wrong.join('\n')}`);
  }

  /** The exchange remembers these, and what is over besides. */
  private remembers(name: string, seen: ModelMemory['seen']): boolean {
    const { time } = this.model;
    const known = this.kit.vhost.exchange(name).intake!.duplicates!.known();
    const is = [...known].filter(({ expiresAt }) => expiresAt > time).map(({ key }) => key);
    const expected = seen.filter(({ until }) => until > time).map(({ likeness }) => `s${likeness}`);
    return is.join() === expected.join();
  }

  private compareMemories(): void {
    for (const [name, { seen }] of this.memories)
      if (!this.remembers(name, seen)) throw new Error(`${name} does not remember ${JSON.stringify(seen)}`);
  }

  private arePolicies(policies: readonly PolicyRule[]): boolean {
    const { parameters } = this.kit.node;
    const there = (['policy', 'operator_policy'] as const).flatMap((kind) =>
      parameters.policies('/', kind).map(({ name, definition }) => `${kind} ${name} ${keysText(definition)}`),
    );
    const expected = policies.map((rule) => `${kindOf(rule)} ${rule.name} ${keysText(rule.keys)}`);
    return there.sort().join() === expected.sort().join();
  }

  private isFound(queue: ModelQueue, had: Content, found: ReadonlyMap<string, CameBack[]>): boolean {
    const real = this.kit.vhost.queues.get(queue.name);
    if (real === undefined || real.waitingCount !== had.waiting.length) return false;
    const counted = queue.spec.deliveryLimit !== null;
    const is = found.get(queue.name)!;
    if (is.length !== had.ready.length) return false;
    // Where an order is not known, any will do.
    const test = new ModelQueue(queue.name, queue.spec, 0);
    const facts = new Map<ModelEntry, string>();
    for (const kept of had.ready) {
      const entry: ModelEntry = Object.assign(Object.create(kept.entry), { place: kept.place });
      test.ready.push(entry);
      facts.set(entry, described(kept, counted));
    }
    for (const back of is) {
      const front = test.front(back.text)!;
      test.ready.shift();
      if (facts.get(front) !== describedReal(back, counted)) return false;
    }
    return true;
  }

  private async takeAll(name: string): Promise<CameBack[]> {
    const queue = this.queue(name);
    const found: CameBack[] = [];
    // Each get would hold a key: the rest of it could not be had.
    if (queue.options.orderingKey !== null)
      return (await this.contentsOf(name)).map((each) => ({ ...each, entry: null }));
    for (;;) {
      for (let i = 0; !queue.whenReady(() => {}); i++) {
        if (i > ITERATIONS_MAX) throw new Error(`${name} never answers a get`);
        await this.step();
      }
      const entry = queue.get(false);
      if (entry === null) return found;
      found.push({ ...seen(entry), entry });
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

  private forgetExchange(name: string): void {
    this.exchanges.delete(name);
    this.memories.delete(name);
    this.model.holders.delete(name);
    this.model.delayed = this.model.delayed.filter(({ exchange }) => exchange !== name);
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
      this.forgetExchange(source);
      this.unbindWhere((each) => !each.isQueue && each.to === source);
    }
  }

  /** Names of the queues, and of exchanges that hold it back, that a message with these keys reaches from an exchange, sorted. */
  expectedRoute(
    exchange: string,
    keys: readonly string[],
    delayMs = 0,
    passing: Passing | null = null,
  ): string[] {
    if (passing !== null) this.admittedBy = [];
    const found = new Set<string>();
    const seen = new Set<string>();
    const visit = (name: string): void => {
      if (seen.has(name)) return;
      seen.add(name);
      if (name === '') {
        for (const key of keys) if (this.model.queues.has(key)) found.add(key);
        return;
      }
      const { type, delays } = this.exchanges.get(name)!;
      const memory = this.memories.get(name);
      if (memory !== undefined && passing !== null && name !== passing.past && !this.notes(memory, passing)) {
        found.add(DROPPED);
        return;
      }
      if (delays && delayMs > 0) {
        found.add(holder(name));
        return;
      }
      for (const { source, to, isQueue, key } of this.bindings) {
        if (source !== name || !keys.some((each) => matches(type, key, each))) continue;
        if (isQueue) found.add(to);
        else visit(to);
      }
    };
    visit(exchange);
    return [...found].sort();
  }

  /** @returns false when the message is like one that is remembered */
  private notes(memory: ModelMemory, { message: { likeness, rememberMs } }: Passing): boolean {
    if (likeness === null) return true;
    const { time } = this.model;
    if (memory.has(likeness, time)) return false;
    memory.add(likeness, rememberMs, time);
    this.admittedBy.push(memory);
    this.admitted = likeness;
    return true;
  }

  /** The last message found no place: exchanges forget it. */
  private refused(): void {
    for (const memory of this.admittedBy.splice(0)) memory.forget(this.admitted);
  }

  private same(is: unknown, expected: unknown, what: string): void {
    if (is !== expected) throw new Error(`${what}: ${String(is)} instead of ${String(expected)}`);
  }
}

interface CameBack extends Omit<Delivery, 'consumer'> {
  /** In our hands now; null for one that was only looked at. */
  readonly entry: Entry | null;
}

/** A redrive that goes on while other things happen. */
interface RunningRedrive {
  readonly queue: ModelQueue;
  /** What was there at its start and has not been looked at. */
  readonly entries: ModelEntry[];
  readonly handle: RedriveHandle;
  moved: number;
}

/** An entry and what was known of it at some time. */
interface Kept {
  readonly entry: ModelEntry;
  readonly place: number;
  readonly failures: number;
  readonly retries: number;
}

/** What a restart leaves of a queue. */
interface Content {
  readonly ready: readonly Kept[];
  readonly waiting: readonly (Kept & Waiting)[];
}

/** What stood in the plain queues after a step whose writes are in one of these batches or in earlier ones. */
interface State {
  readonly from: number;
  readonly to: number;
  readonly content: ReadonlyMap<string, Content>;
  readonly policies: readonly PolicyRule[];
  /** What exchanges remembered. */
  readonly seen: ReadonlyMap<string, ModelMemory['seen']>;
}

/** A message as a client would publish it to a queue. */
export const PLAIN: Publish = {
  exchange: '',
  key: '',
  persistent: false,
  bytes: 10,
  expiration: null,
  copies: [],
  priority: 0,
  delayMs: 0,
};

/** What a restart would leave of a queue now, wherever it is. */
function snapshot(queue: ModelQueue): Content {
  const ready = [...queue.ready, ...queue.unacked].filter(({ lasting }) => lasting).sort(inOrder);
  const waiting = queue.waiting.filter(({ entry }) => entry.lasting);
  return { ready: ready.map(keptOf), waiting: waiting.map((each) => ({ ...each, ...keptOf(each.entry) })) };
}

function keptOf(entry: ModelEntry): Kept {
  const { place, failures, retries } = entry;
  return { entry, place, failures, retries };
}

function described({ entry, failures, retries }: Kept, counted = true): string {
  return `${brief(entry.text)}${counted ? `/${failures}` : ''}/${retries}/${entry.message.deaths.length}`;
}

function describedReal({ text, failures, retries, deaths }: CameBack, counted = true): string {
  return `${brief(text)}${counted ? `/${failures}` : ''}/${retries}/${deaths}`;
}

function keysText(keys: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(Object.entries(keys).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function kindOf({ operator }: PolicyRule): 'policy' | 'operator_policy' {
  return operator ? 'operator_policy' : 'policy';
}

function brief(text: string): string {
  return text.replaceAll('.', '');
}

function matches(type: string, bindingKey: string, key: string): boolean {
  if (type === 'fanout') return true;
  if (type === 'direct') return bindingKey === key;
  // The keys of the script have one word each.
  return bindingKey === '#' || bindingKey === '*' || bindingKey === key;
}

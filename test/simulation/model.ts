// What a broker should do, as plain as can be: arrays per queue, no store, no memory, no turns.
// Owns the rules as RabbitMQ has them, and ours where RabbitMQ has none. Knows nothing of the broker's code: the two are compared by
// comparison.ts. Where there is a choice (which consumer of equals gets a message, in which order a message enters several queues), the model
// is told what was chosen and checks that it was allowed.

import { type PolicyRule, specUnder } from './policy-model.ts';

/** Deaths of a message, newest first. */
export interface Death {
  readonly queue: string;
  readonly reason: string;
  /** Where and under which keys the message had been published when it died of this there for the first time. */
  readonly exchange: string;
  readonly keys: readonly string[];
}

/** What a message is, wherever it goes. */
export interface ModelMessage {
  readonly text: string;
  readonly persistent: boolean;
  readonly exchange: string;
  /** Keys it was published under: its own, then those of CC. */
  readonly keys: readonly string[];
  /** Its own time to live; null for none. */
  readonly expiration: number | null;
  /** How long an exchange that can is to hold it back, in milliseconds; 0 for not at all, and once it was. */
  readonly delayMs: number;
  readonly priority: number;
  /** Value of its ordering key; null for none. */
  readonly key: string | null;
  /** Messages with the same are the same; null for a message that is like none. */
  readonly likeness: string | null;
  /** For how long its likeness is to be remembered, where that is a matter of time; null for what the memory says. */
  readonly rememberMs: number | null;
  readonly deaths: readonly Death[];
}

/** What a message says of itself for queues and exchanges that look at it. */
export type Marks = Pick<ModelMessage, 'key' | 'likeness' | 'rememberMs'>;

/** A message in one queue. */
export class ModelEntry {
  readonly message: ModelMessage;
  readonly text: string;
  readonly bytes: number;
  /** Survives a restart. */
  readonly lasting: boolean;
  /** Its priority, as far as the queue tells priorities apart. */
  readonly level: number;
  /** Place in the order of its level. */
  place = 0;
  /** Entries side by side that came by different causes at the same moment: their order is not known. 0 for none. */
  moment = 0;
  /** True, false, or null for what may be either: undelivered messages behind a mark that ran ahead. */
  redelivered: boolean | null = false;
  /** Time it expires; Infinity for never. */
  expiresAt = Number.POSITIVE_INFINITY;
  /** The same as it was when it came: a restart goes by that. */
  firstExpiresAt = Number.POSITIVE_INFINITY;
  /** Time to live of 0: to be handed out before the queue comes to rest, or never. */
  nowOrNever = false;
  /** Deliveries that came back, where they are counted. */
  failures = 0;
  /** Retries after a reject. */
  retries = 0;
  /** Who holds it, and its ordering key with it: a consumer, or itself when it was got. */
  holder: ModelConsumer | ModelEntry | null = null;

  constructor(message: ModelMessage, lasting: boolean, level: number) {
    this.message = message;
    this.text = message.text;
    this.bytes = message.text.length;
    this.lasting = lasting;
    this.level = level;
  }
}

export interface ModelConsumer {
  readonly tag: string;
  readonly noAck: boolean;
  readonly priority: number;
  limit: number;
  /** Entries it holds unacked, oldest first. */
  readonly held: ModelEntry[];
}

export interface RetrySpec {
  readonly limit: number;
  readonly delayMs: number;
  readonly multiplier: number;
}

export interface QueueSpec {
  readonly quorum: boolean;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly ttl: number | null;
  readonly lengthMax: number | null;
  readonly bytesMax: number | null;
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Key under which the default exchange gets dead messages; null for no dead-lettering, '' for the message's own key. */
  readonly deadLetterKey: string | null;
  readonly singleActive: boolean;
  /** Highest priority told apart; 0 for none. */
  readonly priorityMax: number;
  /** Deliveries that may come back; null where they are not counted. */
  readonly deliveryLimit: number | null;
  readonly retry: RetrySpec | null;
  /** Wait before what was given back is delivered again, in milliseconds; null for none. */
  readonly returnDelayMs: number | null;
  /** The queue goes when it is not used for so long; null for never. */
  readonly expires: number | null;
  /** Messages of one key are in one consumer's hands at a time. */
  readonly ordered: boolean;
  /** Messages that are like one before are dropped; null where they are not. */
  readonly unique: UniqueSpec | null;
}

/** What is remembered of messages. */
export interface UniqueSpec {
  /** Those that were there too, so many, the latest; null for what is in the queue alone. */
  readonly sizeMax: number | null;
  /** For so long; null for as long as there is room. */
  readonly ttl: number | null;
}

/** What really happened to a queue's messages in one step: who was handed what. */
export interface Delivery {
  readonly consumer: string;
  readonly text: string;
  readonly redelivered: boolean;
  readonly failures: number;
  readonly retries: number;
  /** Deaths that it tells of. */
  readonly deaths: number;
}

/** Why an operator's move leaves a message where it is. */
export type Stay = 'no-route' | 'target-full' | 'not-dead-lettered' | 'no-such-queue' | 'no-such-exchange';

/** Where an operator sends a message, and how it is published there. */
export interface ModelWay {
  /** Names of queues, and of exchanges that hold it back (`holder`). */
  readonly targets: readonly string[];
  readonly message: ModelMessage;
}

/** An entry that waits for its retry. */
export interface Waiting {
  readonly entry: ModelEntry;
  readonly dueAt: number;
}

/** A message that an exchange holds back. */
export interface Delayed {
  readonly exchange: string;
  readonly message: ModelMessage;
  readonly dueAt: number;
  /** Survives a restart. */
  readonly lasting: boolean;
}

/** Likenesses that were seen, oldest first: so many of them at most, and each for a time. */
export class ModelMemory {
  seen: { readonly likeness: string; readonly until: number }[] = [];
  readonly spec: UniqueSpec;

  constructor(spec: UniqueSpec) {
    this.spec = spec;
  }

  /** It is remembered. */
  has(likeness: string, now: number): boolean {
    return this.seen.some((each) => each.likeness === likeness && each.until > now);
  }

  add(likeness: string, rememberMs: number | null, now: number): void {
    const { sizeMax, ttl } = this.spec;
    this.forget(likeness);
    while (this.seen.length >= (sizeMax ?? Number.POSITIVE_INFINITY)) this.seen.shift();
    this.seen.push({ likeness, until: now + (rememberMs ?? ttl ?? Number.POSITIVE_INFINITY) });
  }

  forget(likeness: string): void {
    this.seen = this.seen.filter((each) => each.likeness !== likeness);
  }
}

export class ModelQueue {
  readonly name: string;
  /** As it was declared. */
  readonly declared: QueueSpec;
  /** What holds: that, and what policies say. */
  spec: QueueSpec;
  /** In the order in which they are handed out. */
  readonly ready: ModelEntry[] = [];
  readonly consumers: ModelConsumer[] = [];
  /** Entries taken by basic.get and not settled. */
  readonly got: ModelEntry[] = [];
  /** Entries that wait for their retry, in the order in which they began to. */
  readonly waiting: Waiting[] = [];
  active: ModelConsumer | null = null;
  deleted = false;
  paused = false;
  /** Time of the last use, for x-expires. */
  usedAt: number;
  /** What it remembers whether it is there or not; null where that is nothing. */
  readonly memory: ModelMemory | null;
  /** What messages were like that have left, in the present step, with consumers that acknowledge nothing. */
  readonly justLeft = new Set<string>();
  private places = 0;

  constructor(name: string, declared: QueueSpec, now: number) {
    this.name = name;
    this.declared = declared;
    this.spec = declared;
    this.usedAt = now;
    const { unique } = declared;
    const isMemory = unique !== null && (unique.sizeMax !== null || unique.ttl !== null);
    this.memory = isMemory ? new ModelMemory(unique) : null;
  }

  /** Takes note of a message that comes. @returns false when it is like one before, and has to go */
  admits({ likeness, rememberMs }: ModelMessage, now: number): boolean {
    if (this.spec.unique === null || likeness === null) return true;
    if (this.memory === null) {
      const all = [...this.ready, ...this.unacked, ...this.waiting.map(({ entry }) => entry)];
      return all.every(({ message }) => message.likeness !== likeness);
    }
    if (this.memory.has(likeness, now)) return false;
    this.memory.add(likeness, rememberMs, now);
    return true;
  }

  get bytes(): number {
    return this.ready.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  get unacked(): ModelEntry[] {
    return [...this.got, ...this.consumers.flatMap(({ held }) => held)];
  }

  get isBounded(): boolean {
    return this.spec.lengthMax !== null || this.spec.bytesMax !== null;
  }

  /** Something else holds from now on. */
  applySpec(spec: QueueSpec, now: number): void {
    const before = this.spec;
    this.spec = spec;
    if (spec.expires !== before.expires) this.usedAt = now;
    const ttl = spec.ttl ?? Number.POSITIVE_INFINITY;
    if (ttl >= (before.ttl ?? Number.POSITIVE_INFINITY)) return;
    // What is there lives no longer than what comes now.
    for (const entry of [...this.ready, ...this.unacked, ...this.waiting.map((each) => each.entry)])
      if (!entry.nowOrNever) entry.expiresAt = Math.min(entry.expiresAt, now + ttl);
  }

  /** A message on its way in. */
  entryOf(message: ModelMessage): ModelEntry {
    const { durable, quorum, priorityMax } = this.spec;
    const lasting = durable && (message.persistent || quorum);
    return new ModelEntry(message, lasting, Math.min(message.priority, priorityMax));
  }

  append(entry: ModelEntry): void {
    entry.place = ++this.places;
    this.insert(entry);
  }

  /** Where the next message of the queue would stand. */
  nextPlace(): number {
    return ++this.places;
  }

  putBack(entry: ModelEntry): void {
    if (entry.nowOrNever) entry.expiresAt = 0;
    this.insert(entry);
  }

  private insert(entry: ModelEntry): void {
    const at = this.ready.findIndex((other) => inOrder(other, entry) > 0);
    this.ready.splice(at === -1 ? this.ready.length : at, 0, entry);
  }

  isTooLong(more = 0, moreBytes = 0): boolean {
    const { lengthMax, bytesMax } = this.spec;
    return (
      (lengthMax !== null && this.ready.length + more > lengthMax) ||
      (bytesMax !== null && this.bytes + moreBytes > bytesMax)
    );
  }

  /** Consumers that may be handed the next message. */
  takers(): ModelConsumer[] {
    if (this.paused || !this.makeRoom()) return [];
    const able = (this.spec.singleActive ? [this.active] : this.consumers).filter(
      (consumer): consumer is ModelConsumer => consumer !== null && consumer.held.length < consumer.limit,
    );
    const best = Math.max(...able.map(({ priority }) => priority));
    return able.filter(({ priority }) => priority === best);
  }

  /** The consumer that is served alone makes room for one of higher priority, in a quorum queue. @returns false until it has */
  private makeRoom(): boolean {
    const { active, consumers } = this;
    if (!this.spec.quorum || !this.spec.singleActive || active === null) return true;
    if (!consumers.some(({ priority }) => priority > active.priority)) return true;
    if (active.held.length > 0) return false;
    this.active = this.successor();
    return true;
  }

  /** Of those who wait to be served alone, the first of the highest priority. */
  successor(): ModelConsumer | null {
    let next: ModelConsumer | null = null;
    for (const each of this.consumers) if (next === null || each.priority > next.priority) next = each;
    return next;
  }

  /** Who may be handed this one, if `takers` may be handed something: whoever holds its key, or any of them. */
  takersOf(entry: ModelEntry, takers: readonly ModelConsumer[]): readonly ModelConsumer[] {
    if (takers.length === 0 || !this.isFirstOfKey(entry)) return [];
    const holder = this.holderOf(entry.message.key);
    if (holder === null) return takers;
    const able = this.spec.singleActive ? [this.active] : this.consumers;
    return able.filter(
      (each): each is ModelConsumer => each !== null && each === holder && each.held.length < each.limit,
    );
  }

  /** Somebody who holds the key; what waits for a retry holds it itself. Null when it is free. */
  holderOf(key: string | null): ModelConsumer | ModelEntry | null {
    if (!this.spec.ordered || key === null) return null;
    const waiting = this.waiting.find(({ entry }) => entry.message.key === key);
    if (waiting !== undefined) return waiting.entry;
    const held = this.unacked.filter(({ message }) => message.key === key);
    if (held.some(({ holder }) => holder !== held[0]!.holder))
      throw new Error(`several hold messages of ${this.name} with the key ${key}`);
    return held[0]?.holder ?? null;
  }

  isFirstOfKey(entry: ModelEntry): boolean {
    const { key } = entry.message;
    return (
      !this.spec.ordered || key === null || this.ready.find(({ message }) => message.key === key) === entry
    );
  }

  /** The first one whose key is free; of entries whose order is not known, the one with this text if it is among them. */
  firstFree(text: string | null): ModelEntry | null {
    if (!this.spec.ordered) return this.front(text);
    this.bringForward(text);
    const isFree = (entry: ModelEntry): boolean =>
      this.isFirstOfKey(entry) && this.holderOf(entry.message.key) === null;
    return this.ready.find(isFree) ?? null;
  }

  /** Of entries whose order is not known, the one with this text is the first from now on. */
  bringForward(text: string | null): void {
    const { ready } = this;
    const at = ready.findIndex((entry) => entry.text === text);
    if (at === -1 || ready[at]!.moment === 0) return;
    let from = at;
    while (from > 0 && isLike(ready[from - 1]!, ready[at]!)) from--;
    const places = ready.slice(from, at + 1).map(({ place }) => place);
    ready.splice(from, 0, ready.splice(at, 1)[0]!);
    for (const [i, place] of places.entries()) ready[from + i]!.place = place;
  }

  take(entry: ModelEntry): void {
    this.ready.splice(this.ready.indexOf(entry), 1);
  }

  /** The entry at the front; of entries whose order is not known, the one with this text if it is among them. */
  front(text: string | null): ModelEntry | null {
    const { ready } = this;
    const first = ready[0];
    if (first === undefined) return null;
    if (first.text !== text && first.moment !== 0) {
      for (let i = 1; i < ready.length && isLike(ready[i]!, first); i++) {
        if (ready[i]!.text !== text) continue;
        const places = ready.slice(0, i + 1).map(({ place }) => place);
        ready.unshift(ready.splice(i, 1)[0]!);
        for (const [at, place] of places.entries()) ready[at]!.place = place;
        break;
      }
    }
    return ready[0]!;
  }
}

/** Which of two entries goes first: below 0 the first. */
export function inOrder(a: ModelEntry, b: ModelEntry): number {
  return b.level - a.level || a.place - b.place;
}

function isLike(a: ModelEntry, b: ModelEntry): boolean {
  return a.moment === b.moment && a.level === b.level;
}

const HOLDER = '\0delayed\0';

/** What stands in a route for an exchange that drops the message as a duplicate. */
export const DROPPED = '\0duplicates';

/** What stands in a route for an exchange that holds the message back. */
export function holder(exchange: string): string {
  return HOLDER + exchange;
}

export class Model {
  now: number;
  policies: readonly PolicyRule[] = [];
  readonly queues = new Map<string, ModelQueue>();
  /** Exchanges that hold messages back; true for durable ones. */
  readonly holders = new Map<string, boolean>();
  /** What exchanges hold back, in the order in which it came. */
  delayed: Delayed[] = [];
  /** What was handed out in the present step and not yet accounted for, by queue. */
  private deliveries = new Map<string, Delivery[]>();
  /** Counts the steps. */
  private step = 0;
  /** Time has passed in this step: things happen that have no order among each other. */
  private timePassed = false;
  /** What the broker's clock shows while things happen that were due before. */
  private clock: number;

  constructor(now: number) {
    this.now = now;
    this.clock = now;
  }

  /** What the broker's clock shows. */
  get time(): number {
    return Math.max(this.now, this.clock);
  }

  /** Something of the queue is on disk only, and waits there until what is parked leaves room for it. */
  isShort: (name: string) => boolean = () => false;

  /** Begins a step: what the broker did in it. */
  begin(deliveries: Map<string, Delivery[]>): void {
    this.deliveries = deliveries;
  }

  /** Ends a step: everything comes to rest, and nothing that the broker did is left over. */
  end(): void {
    this.settle();
    for (const [queue, rest] of this.deliveries)
      if (rest.length > 0) throw new Error(`${queue} handed out ${JSON.stringify(rest)}, which was not due`);
    for (const { justLeft } of this.queues.values()) justLeft.clear();
    this.step++;
    this.timePassed = false;
  }

  /** Publishes along a route, in this order. @returns true when a queue refused */
  publish(names: readonly string[], message: ModelMessage): boolean {
    let refused = false;
    for (const name of names) {
      if (name === DROPPED) continue;
      if (name.startsWith(HOLDER)) this.hold(name.slice(HOLDER.length), message);
      else if (!this.enter(this.queues.get(name)!, message, false, false)) refused = true;
    }
    return refused;
  }

  private hold(exchange: string, message: ModelMessage): void {
    const lasting = this.holders.get(exchange)! && message.persistent;
    this.delayed.push({ exchange, message, dueAt: this.now + message.delayMs, lasting });
  }

  /** The message is written to disk on this route. */
  writes(names: readonly string[], message: ModelMessage): boolean {
    return names.some((name) =>
      name === DROPPED
        ? message.persistent
        : name.startsWith(HOLDER)
          ? this.holders.get(name.slice(HOLDER.length))! && message.persistent
          : this.queues.get(name)?.entryOf(message).lasting === true,
    );
  }

  declare(name: string, declared: QueueSpec): void {
    const queue = new ModelQueue(name, declared, this.now);
    queue.spec = specUnder(this.policies, name, declared);
    this.queues.set(name, queue);
  }

  /** These policies are in force from now on. */
  applyPolicies(policies: readonly PolicyRule[]): void {
    this.policies = policies;
    for (const queue of this.queues.values())
      queue.applySpec(specUnder(policies, queue.name, queue.declared), this.now);
  }

  remove(name: string): void {
    const queue = this.queues.get(name)!;
    queue.deleted = true;
    this.queues.delete(name);
  }

  cancel(queue: ModelQueue, consumer: ModelConsumer): void {
    queue.consumers.splice(queue.consumers.indexOf(consumer), 1);
    // What it holds stays out, and can be settled still.
    queue.got.push(...consumer.held);
    if (queue.active === consumer) queue.active = queue.successor();
    if (queue.consumers.length > 0) return;
    queue.usedAt = this.now;
    if (queue.spec.autoDelete && !queue.deleted) this.remove(queue.name);
  }

  /** One settle of an entry that somebody holds. */
  settleEntry(queue: ModelQueue, entry: ModelEntry, how: 'ack' | 'requeue' | 'reject'): void {
    entry.holder = null;
    for (const list of [queue.got, ...queue.consumers.map(({ held }) => held)]) {
      const at = list.indexOf(entry);
      if (at !== -1) list.splice(at, 1);
    }
    if (queue.deleted || how === 'ack') return;
    if (how === 'requeue') this.requeue(queue, entry);
    else this.reject(queue, entry);
  }

  private requeue(queue: ModelQueue, entry: ModelEntry): void {
    const { deliveryLimit } = queue.spec;
    if (deliveryLimit !== null && ++entry.failures > deliveryLimit) {
      this.die(queue, entry, 'delivery_limit');
      return;
    }
    const { returnDelayMs } = queue.spec;
    if (returnDelayMs !== null) {
      queue.waiting.push({ entry, dueAt: this.now + returnDelayMs });
      return;
    }
    queue.putBack(entry);
    this.dropHead(queue);
  }

  private reject(queue: ModelQueue, entry: ModelEntry): void {
    const { retry } = queue.spec;
    if (retry === null || entry.retries >= retry.limit) {
      this.die(queue, entry, 'rejected');
      return;
    }
    const dueAt = this.now + retry.delayMs * retry.multiplier ** entry.retries;
    entry.retries++;
    // What was never written is written now, behind everything that is there. Not where the order is what matters.
    if (!entry.lasting && !queue.spec.ordered) entry.place = queue.nextPlace();
    queue.waiting.push({ entry, dueAt });
  }

  /** basic.get. @param found what came @returns what must come */
  get(queue: ModelQueue, noAck: boolean, found: string | null): ModelEntry | null {
    queue.usedAt = this.now;
    if (queue.paused) return null;
    this.expire(queue);
    const entry = queue.firstFree(found);
    if (entry === null || (found === null && queue.spec.ordered && this.isShort(queue.name))) return null;
    queue.take(entry);
    if (!noAck) {
      queue.got.push(entry);
      entry.holder = entry;
    }
    return entry;
  }

  purge(queue: ModelQueue): number {
    const count = queue.ready.length + queue.waiting.length;
    queue.ready.length = 0;
    queue.waiting.length = 0;
    return count;
  }

  /**
   * It is `now`: what waited for this time goes on.
   * @param route names of the queues that a message reaches from an exchange that has held it back
   */
  timePasses(now: number, route: (exchange: string, message: ModelMessage) => readonly string[]): void {
    this.timePassed = true;
    this.clock = now;
    for (const queue of this.queues.values()) {
      for (const { entry } of takeDue(queue.waiting, now)) {
        entry.redelivered = true;
        queue.putBack(entry);
      }
    }
    for (const { exchange, message, dueAt } of takeDue(this.delayed, now)) {
      this.now = dueAt;
      this.publish(route(exchange, message), { ...message, delayMs: 0 });
    }
    this.now = now;
  }

  /** What was handed out while things were not at rest: in order, and nothing else is asked. */
  observe(deliveries: Map<string, Delivery[]>): void {
    for (const [name, list] of deliveries) {
      const queue = this.queues.get(name)!;
      for (const delivery of list.splice(0)) {
        const { text } = delivery;
        const consumer = queue.consumers.find(({ tag }) => tag === delivery.consumer)!;
        const entry = this.deliveredEntry(queue, text);
        const holder = queue.holderOf(entry.message.key);
        if (holder !== null && holder !== consumer)
          throw new Error(`${name} handed out '${brief(text)}', whose key somebody else holds`);
        queue.take(entry);
        this.checkDelivery(queue, entry, delivery);
        consumer.held.push(entry);
        entry.holder = consumer;
      }
    }
  }

  /** The entry with this text, which was handed out: it must be its turn. */
  private deliveredEntry(queue: ModelQueue, text: string): ModelEntry {
    queue.bringForward(text);
    const entry = queue.ready.find((each) => each.text === text);
    // Of keys that are held, one goes after the other as its holder has room, in no order.
    const isHeld = entry !== undefined && queue.holderOf(entry.message.key) !== null;
    const next = isHeld ? entry : queue.firstFree(text);
    if (next !== entry || entry === undefined || !queue.isFirstOfKey(entry))
      throw new Error(
        `'${next === null ? 'nothing' : brief(next.text)}' of ${queue.name} was due, and '${brief(text)}' was handed out`,
      );
    return entry;
  }

  /** An entry is handed out like this. */
  checkDelivery(queue: ModelQueue, entry: ModelEntry, seen: Omit<Delivery, 'consumer'>): void {
    const what = `'${brief(entry.text)}' of ${queue.name} was handed out with`;
    if (entry.redelivered !== null && entry.redelivered !== seen.redelivered)
      throw new Error(`${what} redelivered ${seen.redelivered}`);
    if (queue.spec.deliveryLimit !== null && entry.failures !== seen.failures)
      throw new Error(`${what} ${seen.failures} failures instead of ${entry.failures}`);
    if (entry.message.deaths.length !== seen.deaths)
      throw new Error(`${what} ${seen.deaths} deaths instead of ${entry.message.deaths.length}`);
    if (entry.retries !== seen.retries)
      throw new Error(`${what} ${seen.retries} retries instead of ${entry.retries}`);
    entry.redelivered = true;
  }

  /** Until nothing changes any more: hands out, expires, drops. */
  settle(): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (const queue of [...this.queues.values()]) {
        if (this.deliverAll(queue)) changed = true;
        for (const entry of queue.ready) if (entry.nowOrNever) entry.expiresAt = 0;
        if (this.dropHead(queue)) changed = true;
        if (this.expire(queue)) changed = true;
      }
    }
  }

  private enter(queue: ModelQueue, message: ModelMessage, dead: boolean, unordered: boolean): boolean {
    const { spec } = queue;
    const entry = queue.entryOf(message);
    if (this.refuses(queue, entry.bytes)) {
      if (spec.overflow === 'reject-publish-dlx') this.die(queue, entry, 'maxlen');
      return false;
    }
    if (dead && this.cameTooSoon(queue, message)) return true;
    if (!queue.admits(message, this.time)) return true;
    const ttl = Math.min(
      spec.ttl ?? Number.POSITIVE_INFINITY,
      message.expiration ?? Number.POSITIVE_INFINITY,
    );
    entry.expiresAt = ttl === 0 ? Number.POSITIVE_INFINITY : this.now + ttl;
    entry.nowOrNever = ttl === 0;
    entry.firstExpiresAt = this.now + ttl;
    if (unordered || this.timePassed) entry.moment = this.step + 1;
    queue.append(entry);
    if (!dead && queue.consumers.length === 0) this.dropHead(queue);
    return true;
  }

  /**
   * In one step a dead letter may come before a message that is like it is handed out, or after: which queue has its turn first is not
   * said. What the broker handed out tells; with ordering keys it does not, as what is not handed out may wait for its key.
   */
  private cameTooSoon(
    { name, memory, justLeft, spec }: ModelQueue,
    { likeness, text }: ModelMessage,
  ): boolean {
    if (spec.unique === null || memory !== null || spec.ordered) return false;
    if (likeness === null || !justLeft.has(likeness)) return false;
    return this.deliveries.get(name)?.every((delivery) => delivery.text !== text) ?? true;
  }

  private refuses(queue: ModelQueue, bytes: number): boolean {
    if (queue.spec.overflow === 'drop-head' || !queue.isTooLong(1, bytes)) return false;
    this.deliverAll(queue);
    return queue.isTooLong(1, bytes);
  }

  /** An operator sends one message elsewhere. @returns why it stays; null when it went */
  move(queue: ModelQueue, entry: ModelEntry, way: ModelWay | Stay): Stay | null {
    if (typeof way === 'string') return way;
    if (way.targets.length === 0) return 'no-route';
    for (const name of way.targets)
      if (this.queues.has(name) && this.refuses(this.queues.get(name)!, entry.bytes)) return 'target-full';
    queue.ready.splice(queue.ready.indexOf(entry), 1);
    this.publish(way.targets, way.message);
    return null;
  }

  /**
   * How a dead letter goes back.
   * @param route where a message goes from an exchange; null when there is no such exchange
   */
  wayBack(
    message: ModelMessage,
    toExchange: boolean,
    route: (exchange: string, keys: readonly string[]) => readonly string[] | null,
  ): ModelWay | Stay {
    const death = message.deaths[0];
    if (death === undefined) return 'not-dead-lettered';
    const keys = [death.keys[0]!, ...message.keys.slice(1)];
    const revived = { ...message, exchange: death.exchange, keys, deaths: [] };
    if (!toExchange)
      return this.queues.has(death.queue) ? { targets: [death.queue], message: revived } : 'no-such-queue';
    const targets = route(death.exchange, death.keys);
    return targets === null ? 'no-such-exchange' : { targets, message: revived };
  }

  private deliverAll(queue: ModelQueue): boolean {
    let any = false;
    for (;;) {
      if (queue.consumers.length > 0 && !queue.paused && this.expire(queue)) any = true;
      const takers = queue.ready.length === 0 ? [] : queue.takers();
      const due = queue.ready.find((entry) => queue.takersOf(entry, takers).length > 0);
      if (due === undefined) return any;
      const delivery = this.deliveries.get(queue.name)?.shift();
      if (delivery === undefined && queue.spec.ordered && this.isShort(queue.name)) return any;
      if (delivery === undefined)
        throw new Error(`'${brief(due.text)}' of ${queue.name} was due and not handed out`);
      any = true;
      const entry = this.deliveredEntry(queue, delivery.text);
      const taker = queue.takersOf(entry, takers).find(({ tag }) => tag === delivery.consumer);
      if (taker === undefined)
        throw new Error(
          `'${brief(entry.text)}' of ${queue.name} was handed to ${delivery.consumer}, whose turn it was not`,
        );
      queue.take(entry);
      this.checkDelivery(queue, entry, delivery);
      if (taker.noAck) {
        if (entry.message.likeness !== null) queue.justLeft.add(entry.message.likeness);
        continue;
      }
      taker.held.push(entry);
      entry.holder = taker;
    }
  }

  /** Messages expire wherever they stand, in the order of their deadlines. */
  private expire(queue: ModelQueue): boolean {
    let any = false;
    for (;;) {
      const { ready } = queue;
      let first: ModelEntry | null = null;
      for (const entry of ready)
        if (entry.expiresAt <= this.now && (first === null || entry.expiresAt < first.expiresAt))
          first = entry;
      if (first === null) return any;
      ready.splice(ready.indexOf(first), 1);
      this.die(queue, first, 'expired');
      any = true;
    }
  }

  private dropHead(queue: ModelQueue): boolean {
    if (queue.spec.overflow !== 'drop-head') return false;
    let any = false;
    while (queue.ready.length > 0 && queue.isTooLong()) {
      this.die(queue, queue.ready.shift()!, 'maxlen');
      any = true;
    }
    return any;
  }

  private die(queue: ModelQueue, entry: ModelEntry, reason: string): void {
    const { deadLetterKey, priorityMax } = queue.spec;
    if (deadLetterKey === null) return;
    const { message } = entry;
    const isSame = (death: Death): boolean => death.queue === queue.name && death.reason === reason;
    const { exchange } = message;
    const death = message.deaths.find(isSame) ?? { queue: queue.name, reason, exchange, keys: message.keys };
    const deaths = [death, ...message.deaths.filter((each) => !isSame(each))];
    const keys = deadLetterKey === '' ? message.keys : [deadLetterKey, ...message.keys.slice(1)];
    // Messages of several priorities that expire together go in no order.
    const unordered = reason === 'expired' && priorityMax > 0;
    // A key of the queue stands alone; the CC keys stay with the message.
    for (const key of deadLetterKey === '' ? new Set(keys) : [deadLetterKey]) {
      const target = this.queues.get(key);
      if (target === undefined || closesCycle(deaths, key)) continue;
      const dead = { ...message, exchange: '', keys, deaths, expiration: null };
      this.enter(target, dead, true, unordered);
    }
  }
}

/** Takes what is due out of a list, what is due first before the rest. */
function takeDue<T extends { readonly dueAt: number }>(list: T[], now: number): T[] {
  const due = list.filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt);
  list.splice(0, list.length, ...list.filter(({ dueAt }) => dueAt > now));
  return due;
}

function closesCycle(deaths: readonly Death[], target: string): boolean {
  for (const { queue, reason } of deaths) {
    if (reason === 'rejected') return false;
    if (queue === target) return true;
  }
  return false;
}

function brief(text: string): string {
  return text.replaceAll('.', '');
}

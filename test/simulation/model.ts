// What a broker should do, as plain as can be: arrays per queue, no store, no memory, no turns.
// Owns the rules as RabbitMQ has them. Knows nothing of the broker's code: the two are compared by world.ts.
// Where RabbitMQ leaves a choice (which consumer of equals gets a message, in which order a message enters several queues), the model is
// told what was chosen and checks that it was allowed.

/** Deaths of a message, newest first. */
export interface Death {
  readonly queue: string;
  readonly reason: string;
}

/** A message in one queue. */
export class ModelEntry {
  readonly text: string;
  readonly bytes: number;
  readonly persistent: boolean;
  readonly deaths: readonly Death[];
  /** Keys it was published under: its own, then those of CC. */
  readonly keys: readonly string[];
  /** Place in the order of its queue. */
  place = 0;
  /** True, false, or null for what may be either: undelivered messages behind a mark that ran ahead. */
  redelivered: boolean | null = false;
  /** Time it expires; Infinity for never. */
  expiresAt = Number.POSITIVE_INFINITY;
  /** Time to live of 0: to be handed out before the queue comes to rest, or never. */
  nowOrNever = false;

  constructor(text: string, persistent: boolean, keys: readonly string[], deaths: readonly Death[]) {
    this.text = text;
    this.bytes = text.length;
    this.persistent = persistent;
    this.keys = keys;
    this.deaths = deaths;
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

export interface QueueSpec {
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly ttl: number | null;
  readonly lengthMax: number | null;
  readonly bytesMax: number | null;
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Key under which the default exchange gets dead messages; null for no dead-lettering, '' for the message's own key. */
  readonly deadLetterKey: string | null;
  readonly singleActive: boolean;
}

/** What really happened to a queue's messages in one step: who was handed what. */
export interface Delivery {
  readonly consumer: string;
  readonly text: string;
  readonly redelivered: boolean;
}

export class ModelQueue {
  readonly name: string;
  readonly spec: QueueSpec;
  readonly ready: ModelEntry[] = [];
  readonly consumers: ModelConsumer[] = [];
  /** Entries taken by basic.get and not settled. */
  readonly got: ModelEntry[] = [];
  active: ModelConsumer | null = null;
  deleted = false;
  private places = 0;

  constructor(name: string, spec: QueueSpec) {
    this.name = name;
    this.spec = spec;
  }

  get bytes(): number {
    return this.ready.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  get unacked(): ModelEntry[] {
    return [...this.got, ...this.consumers.flatMap(({ held }) => held)];
  }

  append(entry: ModelEntry): void {
    entry.place = ++this.places;
    this.ready.push(entry);
  }

  putBack(entry: ModelEntry): void {
    if (entry.nowOrNever) entry.expiresAt = 0;
    const at = this.ready.findIndex(({ place }) => place > entry.place);
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
    const able = (this.spec.singleActive ? [this.active] : this.consumers).filter(
      (consumer): consumer is ModelConsumer => consumer !== null && consumer.held.length < consumer.limit,
    );
    const best = Math.max(...able.map(({ priority }) => priority));
    return able.filter(({ priority }) => priority === best);
  }
}

export class Model {
  now: number;
  readonly queues = new Map<string, ModelQueue>();
  /** What was handed out in the present step and not yet accounted for, by queue. */
  private deliveries = new Map<string, Delivery[]>();

  constructor(now: number) {
    this.now = now;
  }

  /** Begins a step: what the broker did in it. */
  begin(deliveries: Map<string, Delivery[]>): void {
    this.deliveries = deliveries;
  }

  /** Ends a step: everything comes to rest, and nothing that the broker did is left over. */
  end(): void {
    this.settle();
    for (const [queue, rest] of this.deliveries)
      if (rest.length > 0) throw new Error(`${queue} handed out ${JSON.stringify(rest)}, which was not due`);
  }

  /** Publishes to queues in this order. @returns true when one of them refused */
  publish(names: readonly string[], make: () => ModelEntry, expiration: number | null): boolean {
    let refused = false;
    for (const name of names)
      if (!this.enter(this.queues.get(name)!, make(), expiration, false)) refused = true;
    return refused;
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
    if (queue.active === consumer) {
      let next: ModelConsumer | null = null;
      for (const each of queue.consumers) if (next === null || each.priority > next.priority) next = each;
      queue.active = next;
    }
    if (queue.consumers.length === 0 && queue.spec.autoDelete && !queue.deleted) this.remove(queue.name);
  }

  /** One settle of an entry that somebody holds. */
  settleEntry(queue: ModelQueue, entry: ModelEntry, how: 'ack' | 'requeue' | 'reject'): void {
    for (const list of [queue.got, ...queue.consumers.map(({ held }) => held)]) {
      const at = list.indexOf(entry);
      if (at !== -1) list.splice(at, 1);
    }
    if (queue.deleted) return;
    if (how === 'requeue') {
      queue.putBack(entry);
      this.dropHead(queue);
    } else if (how === 'reject') this.die(queue, entry, 'rejected');
  }

  /** basic.get. @returns what must come */
  get(queue: ModelQueue, noAck: boolean): ModelEntry | null {
    this.expire(queue);
    const entry = queue.ready.shift() ?? null;
    if (entry !== null && !noAck) queue.got.push(entry);
    return entry;
  }

  /** What was handed out while things were not at rest: in order, and nothing else is asked. */
  observe(deliveries: Map<string, Delivery[]>): void {
    for (const [name, list] of deliveries) {
      const queue = this.queues.get(name)!;
      for (const { consumer, text, redelivered } of list.splice(0)) {
        const entry = queue.ready.shift();
        if (entry?.text !== text)
          throw new Error(`${name} handed out '${text.slice(0, 20)}' before its turn`);
        if (entry.redelivered !== null && entry.redelivered !== redelivered)
          throw new Error(`'${text.slice(0, 20)}' of ${name} was handed out with redelivered ${redelivered}`);
        entry.redelivered = true;
        queue.consumers.find(({ tag }) => tag === consumer)!.held.push(entry);
      }
    }
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

  private enter(queue: ModelQueue, entry: ModelEntry, expiration: number | null, dead: boolean): boolean {
    const { spec } = queue;
    if (spec.overflow !== 'drop-head' && queue.isTooLong(1, entry.bytes)) {
      this.deliverAll(queue);
      if (queue.isTooLong(1, entry.bytes)) {
        if (spec.overflow === 'reject-publish-dlx') this.die(queue, entry, 'maxlen');
        return false;
      }
    }
    const ttl = Math.min(spec.ttl ?? Number.POSITIVE_INFINITY, expiration ?? Number.POSITIVE_INFINITY);
    entry.expiresAt = ttl === 0 ? Number.POSITIVE_INFINITY : this.now + ttl;
    entry.nowOrNever = ttl === 0;
    queue.append(entry);
    if (!dead && queue.consumers.length === 0) this.dropHead(queue);
    return true;
  }

  private deliverAll(queue: ModelQueue): boolean {
    let any = false;
    for (;;) {
      if (queue.consumers.length > 0 && this.expire(queue)) any = true;
      const entry = queue.ready[0];
      const takers = queue.takers();
      if (entry === undefined || takers.length === 0) return any;
      any = true;
      queue.ready.shift();
      const delivery = this.deliveries.get(queue.name)?.shift();
      const what = `'${entry.text.slice(0, 20)}' of ${queue.name}`;
      if (delivery === undefined) throw new Error(`${what} was due and not handed out`);
      if (delivery.text !== entry.text)
        throw new Error(`${what} was due, and '${delivery.text.slice(0, 20)}' was handed out`);
      if (entry.redelivered !== null && entry.redelivered !== delivery.redelivered)
        throw new Error(`${what} was handed out with redelivered ${delivery.redelivered}`);
      const taker = takers.find(({ tag }) => tag === delivery.consumer);
      if (taker === undefined)
        throw new Error(`${what} was handed to ${delivery.consumer}, whose turn it was not`);
      entry.redelivered = true;
      if (!taker.noAck) taker.held.push(entry);
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
    const { deadLetterKey } = queue.spec;
    if (deadLetterKey === null) return;
    const rest = entry.deaths.filter((death) => death.queue !== queue.name || death.reason !== reason);
    const deaths = [{ queue: queue.name, reason }, ...rest];
    const keys = deadLetterKey === '' ? entry.keys : [deadLetterKey, ...entry.keys.slice(1)];
    // A key of the queue stands alone; the CC keys stay with the message.
    for (const key of deadLetterKey === '' ? new Set(keys) : [deadLetterKey]) {
      const target = this.queues.get(key);
      if (target === undefined || closesCycle(deaths, key)) continue;
      this.enter(target, new ModelEntry(entry.text, entry.persistent, keys, deaths), null, true);
    }
  }
}

function closesCycle(deaths: readonly Death[], target: string): boolean {
  for (const { queue, reason } of deaths) {
    if (reason === 'rejected') return false;
    if (queue === target) return true;
  }
  return false;
}

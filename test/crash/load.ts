// What keeps the broker busy until it dies: publishers, transactions, consumers that acknowledge, give back, hold and leave, movers from
// queue to queue, and somebody who makes and deletes topology. Owns what each of them does, by the seed; what it means is the ledger's.
// Invariant: whatever is about to be sent is told to the ledger first.

import type { SeededRandom } from '../support/faulty-engine.ts';
import { Client, type ClientEvents, type Content, Gone } from './client.ts';
import type { Copy, Ledger, Message, Publisher, QueueModel, Taker } from './ledger.ts';
import { BODY_MIN } from './ledger.ts';
import type { PassingQueue, Target, Thing, World } from './world.ts';

/** How much of everything there is. */
export interface LoadOptions {
  readonly publishers: number;
  /** Copies and bytes that may wait in a queue before publishers leave it alone. */
  readonly waitingMax: number;
  readonly waitingBytesMax: number;
  /** Largest body. */
  readonly bodyMax: number;
}

export const FULL_LOAD: LoadOptions = {
  publishers: 4,
  waitingMax: 4_000,
  waitingBytesMax: 12 * 1024 * 1024,
  bodyMax: 64 * 1024,
};

/** Bytes that one publisher has on their way to the broker at most. */
const UNSENT_MAX = 1024 * 1024;
/** Messages a publisher sends before others have their turn. */
const BURST = 64;
/** How often those who may have nothing to wait for look again. */
const TICK_MS = 4;

/** Everything that loads one life of the broker. */
export class Load {
  readonly ledger: Ledger;
  readonly world: World;
  readonly random: SeededRandom;
  readonly options: LoadOptions;
  readonly port: number;
  /** Rejected with the first thing that went wrong. */
  readonly failed: Promise<never>;
  #fail: (error: Error) => void = () => {};
  readonly #clients = new Set<Client>();
  readonly #tickers = new Set<() => void>();
  #timer: NodeJS.Timeout | null = null;
  readonly #actors: Promise<void>[] = [];
  over = false;
  /** What `failed` was rejected with. */
  error: Error | null = null;

  constructor(port: number, ledger: Ledger, world: World, random: SeededRandom, options: LoadOptions) {
    this.port = port;
    this.ledger = ledger;
    this.world = world;
    this.random = random;
    this.options = options;
    this.failed = new Promise((_, reject) => {
      this.#fail = (error) => {
        this.error ??= error;
        reject(error);
      };
    });
    this.failed.catch(() => {});
  }

  /** Everybody begins. */
  begin(): void {
    const { options, world, random } = this;
    this.#timer = setInterval(() => {
      for (const tick of this.#tickers) tick();
    }, TICK_MS);
    for (let i = 0; i < options.publishers; i++) this.#act(() => publish(this, `publisher ${i}`));
    this.#act(() => publishInTransactions(this));
    for (const queue of [...world.work, ...world.fans, world.moves[1], world.covers]) {
      // Some queues have nobody, and grow.
      const consumers = queue === world.covers ? 1 : random.below(4);
      for (let i = 0; i < consumers; i++) this.#act(() => consumeAgainAndAgain(this, queue, i));
    }
    this.#act(() => get(this, random.chance(0.5) ? world.work[2]! : world.fans[0]!));
    this.#act(() => move(this));
    this.#act(() => changeTopology(this));
  }

  /** The broker is dead (or about to be cut off): waits until everybody has noticed. */
  async end(): Promise<void> {
    this.over = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all([...this.#clients].map((client) => client.ended));
    await Promise.all(this.#actors);
  }

  /** Cuts all clients off at once, as a machine that loses power does: nothing that is on its way arrives. */
  cut(): void {
    this.over = true;
    for (const client of this.#clients) client.destroy();
  }

  async open(events: Omit<ClientEvents, 'wrong'>): Promise<Client> {
    const client = await Client.open(this.port, {
      ...events,
      wrong: (error) => this.#fail(error),
    });
    this.#clients.add(client);
    void client.ended.then(() => this.#clients.delete(client));
    // It may be over while the connection was being opened.
    if (this.over) client.destroy();
    return client;
  }

  /** Calls `tick` every few milliseconds until the returned function is called. */
  every(tick: () => void): () => void {
    this.#tickers.add(tick);
    return () => this.#tickers.delete(tick);
  }

  /** Resolves after about so many milliseconds, or when it is over. */
  pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!this.over && performance.now() < until) return;
        clearInterval(timer);
        resolve();
      }, TICK_MS);
    });
  }

  bodyLength(large: boolean): number {
    const { random } = this;
    const { bodyMax } = this.options;
    if (large) return 4096 + random.below(bodyMax - 4096 + 1);
    if (random.chance(0.7)) return BODY_MIN + random.below(100);
    if (random.chance(0.8)) return BODY_MIN + random.below(4096);
    return BODY_MIN + random.below(bodyMax - BODY_MIN + 1);
  }

  /** One of the targets whose queues have room, or null. */
  target(): Target | null {
    const { targets } = this.world;
    const first = this.random.below(targets.length);
    for (let i = 0; i < targets.length; i++) {
      const target = targets[(first + i) % targets.length]!;
      // Large ones are few, or they are all there is.
      if (target.large && !this.random.chance(0.1)) continue;
      if (target.queues.every((queue) => this.#hasRoom(queue))) return target;
    }
    return null;
  }

  #hasRoom(queue: QueueModel): boolean {
    return queue.waiting < this.options.waitingMax && queue.waitingBytes < this.options.waitingBytesMax;
  }

  #act(actor: () => Promise<void>): void {
    this.#actors.push(
      actor().catch((error: unknown) => {
        if (!(error instanceof Gone)) this.#fail(error as Error);
      }),
    );
  }
}

/** Publishes that wait for their confirms, in the order of their numbers on the channel. */
class Unconfirmed {
  readonly #ledger: Ledger;
  readonly #waiting: { readonly message: Message; readonly then: (() => void) | null }[] = [];
  #first = 0;
  /** Number of the oldest unconfirmed publish. */
  #tag = 1;
  #bytes = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  get count(): number {
    return this.#waiting.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(message: Message, then: (() => void) | null = null): void {
    this.#waiting.push({ message, then });
    this.#bytes += message.length;
  }

  readonly confirm = (tag: number, multiple: boolean, nack: boolean): void => {
    if (nack) throw new Error(`publish ${tag} was refused`);
    if (!multiple && tag !== this.#tag) throw new Error(`publish ${tag} was confirmed before ${this.#tag}`);
    if (tag >= this.#tag + this.count) throw new Error(`publish ${tag}, which was never sent, was confirmed`);
    for (; this.#tag <= tag; this.#tag++) {
      const { message, then } = this.#waiting[this.#first++]!;
      this.#bytes -= message.length;
      this.#ledger.confirm(message);
      then?.();
    }
    if (this.#first > 1024 && this.#first * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#first);
      this.#first = 0;
    }
  };
}

/** Publishes as fast as its window allows, until the end. */
async function publish(load: Load, name: string): Promise<void> {
  const { ledger, random } = load;
  const window = 1 + Math.floor(random.next() ** 3 * 2_000);
  const unconfirmed = new Unconfirmed(ledger);
  const publisher = ledger.publisher(`${name} of life ${ledger.life}`);
  let client: Client | null = null;
  const pump = (): void => {
    if (client === null || client.gone) return;
    for (let i = 0; i < BURST; i++) {
      if (unconfirmed.count >= window || unconfirmed.bytes > 2 * UNSENT_MAX || client.unsent > UNSENT_MAX)
        return;
      const target = load.target();
      if (target === null) return;
      const { message, body } = ledger.send(publisher, target.queues, load.bodyLength(target.large));
      unconfirmed.add(message);
      client.publish(target.exchange, target.key, body);
    }
  };
  client = await load.open({
    confirm: (tag, multiple, nack) => {
      unconfirmed.confirm(tag, multiple, nack);
      pump();
    },
  });
  await client.call('confirm.select', {});
  const stop = load.every(pump);
  await client.ended;
  stop();
}

/** Publishes to several queues in transactions: all of one, or nothing of it. */
async function publishInTransactions(load: Load): Promise<void> {
  const { ledger, random } = load;
  const client = await load.open({});
  const publisher = ledger.publisher(`transactions of life ${ledger.life}`);
  await client.call('tx.select', {});
  while (!load.over) {
    const messages: Message[] = [];
    for (let n = 1 + random.below(20); n > 0; n--) {
      const target = load.target();
      if (target === null) break;
      const { message, body } = ledger.send(publisher, target.queues, load.bodyLength(target.large));
      client.publish(target.exchange, target.key, body);
      messages.push(message);
    }
    if (messages.length === 0) {
      await load.pause(TICK_MS);
      continue;
    }
    ledger.group(messages);
    if (random.chance(0.1)) {
      for (const message of messages) ledger.lose(message);
      await client.call('tx.rollback', {});
      continue;
    }
    await client.call('tx.commit', {});
    for (const message of messages) ledger.confirm(message);
  }
}

/** What a taker of messages does with them; learns from time to time that its acks are on disk. */
class Hands {
  readonly taker: Taker;
  client: Client | null = null;
  /** It has begun to leave: what still comes was given back before it was looked at. */
  leaving = false;
  readonly #load: Load;
  readonly #publisher: Publisher;
  readonly #unconfirmed: Unconfirmed;
  readonly #queue: QueueModel;
  /** Deliveries kept for later, in the order in which they came. */
  #kept: { readonly copy: Copy; readonly tag: number }[] = [];
  /** Acknowledges runs of deliveries. */
  readonly #inRuns: boolean;
  readonly #keepMax: number;
  readonly #coverAfter: number;

  constructor(load: Load, queue: QueueModel, name: string, keepMax: number) {
    const { ledger, random } = load;
    this.#load = load;
    this.#queue = queue;
    this.taker = ledger.taker(name);
    this.#publisher = ledger.publisher(`${name}, covering its acks,`);
    this.#unconfirmed = new Unconfirmed(ledger);
    this.#inRuns = random.chance(0.4);
    this.#keepMax = keepMax;
    // Whoever takes the covering messages must not make new ones for each.
    this.#coverAfter = queue === load.world.covers ? Number.POSITIVE_INFINITY : 1 + random.below(200);
  }

  get events(): Omit<ClientEvents, 'wrong'> {
    return { content: (content) => this.take(content), confirm: this.#unconfirmed.confirm };
  }

  take({ body, redelivered, deliveryTag: tag }: Content): void {
    const { ledger, random } = this.#load;
    if (this.leaving) return;
    const client = this.client!;
    const copy = ledger.deliver(this.taker, this.#queue, body, redelivered);
    if (copy === null) return client.ack(tag);
    if (this.#inRuns) {
      this.#kept.push({ copy, tag });
      if (this.#kept.length > random.below(this.#keepMax + 1)) this.#ackRun();
    } else {
      const choice = random.next();
      if (choice < 0.75) this.#ack(copy, tag);
      else if (choice < 0.85 && copy.requeues < 5) {
        ledger.requeue(this.taker, copy);
        client.nack(tag, true);
      } else if (choice < 0.87) {
        ledger.ack(this.taker, copy, true);
        client.nack(tag, false);
      } else {
        this.#kept.push({ copy, tag });
        if (this.#kept.length > this.#keepMax) {
          const [late] = this.#kept.splice(random.below(this.#kept.length), 1);
          this.#ack(late!.copy, late!.tag);
        }
      }
    }
    if (this.taker.acks.length - this.taker.covered >= this.#coverAfter && this.#unconfirmed.count === 0)
      this.cover();
  }

  /** What it holds goes back. `politely`: everything it sent is read before. */
  leave(politely: boolean): void {
    this.leaving = true;
    this.#load.ledger.release(this.taker, politely);
  }

  /** Publishes something: once that is confirmed, the acks before it are on disk. */
  cover(): void {
    const { ledger, world } = this.#load;
    const { message, body } = ledger.send(this.#publisher, [world.covers], BODY_MIN);
    const upTo = this.taker.acks.length;
    this.#unconfirmed.add(message, () => ledger.cover(this.taker, upTo));
    this.client!.publish('', world.covers.name, body);
  }

  #ack(copy: Copy, tag: number): void {
    this.#load.ledger.ack(this.taker, copy);
    this.client!.ack(tag);
  }

  /** Acknowledges everything kept up to some delivery. */
  #ackRun(): void {
    const count = 1 + this.#load.random.below(this.#kept.length);
    const run = this.#kept.splice(0, count);
    for (const { copy } of run) this.#load.ledger.ack(this.taker, copy);
    this.client!.ack(run[count - 1]!.tag, true);
  }
}

/** Consumers of one queue, one after the other: each leaves in its own way after a while, until the end. */
async function consumeAgainAndAgain(load: Load, queue: QueueModel, slot: number): Promise<void> {
  const { ledger, random } = load;
  for (let turn = 0; !load.over; turn++) {
    const prefetch = 2 + random.below(random.chance(0.5) ? 20 : 400);
    const name = `consumer ${slot}.${turn} of ${queue.name} in life ${ledger.life}`;
    const hands = new Hands(load, queue, name, random.below(prefetch));
    const client = await load.open(hands.events);
    hands.client = client;
    await client.call('confirm.select', {});
    await client.call('basic.qos', { prefetchCount: prefetch, prefetchSize: 0, global: false });
    await client.call('basic.consume', { queue: queue.name, consumerTag: 'c' });
    await load.pause(50 + random.below(1_500));
    if (load.over) return;
    const way = random.next();
    if (way < 0.3) {
      hands.leave(false);
      client.destroy();
      continue;
    }
    if (way < 0.6) {
      await client.call('basic.cancel', { consumerTag: 'c' });
      await load.pause(random.below(100));
      if (load.over) return;
    }
    hands.leave(true);
    await client.close();
  }
}

/** Takes messages one by one. */
async function get(load: Load, queue: QueueModel): Promise<void> {
  const { ledger, random } = load;
  const hands = new Hands(
    load,
    queue,
    `the getter of ${queue.name} in life ${ledger.life}`,
    random.below(50),
  );
  const client = await load.open(hands.events);
  hands.client = client;
  await client.call('confirm.select', {});
  while (!load.over) if ((await client.get(queue.name)) === null) await load.pause(TICK_MS);
}

/** Moves messages from one queue to another: taken, published again and acknowledged in one transaction. */
async function move(load: Load): Promise<void> {
  const { ledger, random, world } = load;
  const [from, to] = world.moves;
  const taker = ledger.taker(`the mover of life ${ledger.life}`);
  const publisher = ledger.publisher(`the mover of life ${ledger.life}`);
  let taken: Copy | null = null;
  const client = await load.open({
    content: ({ body, redelivered }) => {
      taken = ledger.deliver(taker, from, body, redelivered);
    },
  });
  await client.call('tx.select', {});
  while (!load.over) {
    taken = null;
    const content = await client.get(from.name);
    const copy = taken as Copy | null;
    if (content === null || copy === null) {
      await load.pause(TICK_MS);
      continue;
    }
    if (random.chance(0.2)) {
      const { message, body } = ledger.send(publisher, [to], 32);
      client.publish('', to.name, body);
      client.ack(content.deliveryTag);
      ledger.lose(message);
      await client.call('tx.rollback', {});
    }
    const { message, body } = ledger.send(publisher, [to], copy.message.length);
    ledger.ack(taker, copy);
    ledger.move(copy, message.copies[0]!);
    client.publish('', to.name, body);
    client.ack(content.deliveryTag);
    await client.call('tx.commit', {});
    ledger.confirm(message);
    ledger.cover(taker, taker.acks.length);
  }
}

/** Makes and deletes durable queues, exchanges and bindings, some of them several at a time. */
async function changeTopology(load: Load): Promise<void> {
  const { ledger, random } = load;
  const unconfirmed = new Unconfirmed(ledger);
  const client = await load.open({ confirm: unconfirmed.confirm });
  await client.call('confirm.select', {});
  const topology = new Topology(load, client, unconfirmed);
  while (!load.over) {
    await Promise.all(Array.from({ length: 1 + random.below(3) }, () => topology.change()));
    if (random.chance(0.2)) await load.pause(random.below(20));
  }
}

class Topology {
  readonly #load: Load;
  readonly #client: Client;
  readonly #unconfirmed: Unconfirmed;
  readonly #publisher: Publisher;
  /** Stands for the purges: what they remove is as if acknowledged. */
  readonly #purger: Taker;

  constructor(load: Load, client: Client, unconfirmed: Unconfirmed) {
    const { ledger } = load;
    this.#load = load;
    this.#client = client;
    this.#unconfirmed = unconfirmed;
    this.#publisher = ledger.publisher(`the publisher to passing queues of life ${ledger.life}`);
    this.#purger = ledger.taker(`the purges of life ${ledger.life}`);
  }

  /** One change of something that no other change is under way for. */
  async change(): Promise<void> {
    const { random, world } = this.#load;
    const client = this.#client;
    const choice = random.next();
    if (choice < 0.5) return await this.#changeQueue(this.#pick(world.passingQueues));
    if (choice < 0.65) {
      const exchange = this.#pick(world.passingExchanges);
      if (exchange === null) return;
      const { name } = exchange;
      const type = ['direct', 'fanout', 'topic', 'headers'][random.below(4)];
      return await toggle(
        exchange,
        () => client.call('exchange.declare', { exchange: name, type, durable: true }),
        () => client.call('exchange.delete', { exchange: name }),
      );
    }
    if (choice < 0.85) {
      const binding = this.#pick(world.queueBindings);
      if (binding === null) return;
      const fields = { queue: 'sink', exchange: 'topo', routingKey: binding.name };
      return await toggle(
        binding,
        () => client.call('queue.bind', fields),
        () => client.call('queue.unbind', fields),
      );
    }
    const binding = this.#pick(world.exchangeBindings);
    if (binding === null) return;
    const fields = { destination: 'relay', source: 'topo', routingKey: binding.name };
    await toggle(
      binding,
      () => client.call('exchange.bind', fields),
      () => client.call('exchange.unbind', fields),
    );
  }

  #pick<T extends Thing>(things: readonly T[]): T | null {
    const thing = things[this.#load.random.below(things.length)]!;
    return thing.isBusy ? null : thing;
  }

  async #changeQueue(queue: PassingQueue | null): Promise<void> {
    if (queue === null) return;
    const { ledger, random } = this.#load;
    const client = this.#client;
    const { name, binding } = queue;
    if (queue.state === 'absent') {
      queue.state = 'creating';
      binding.state = 'creating';
      queue.begin();
      const declared = client.call('queue.declare', { queue: name, durable: true });
      const bound = client.call('queue.bind', { queue: name, exchange: 'topo', routingKey: name });
      bound.catch(() => {});
      await declared;
      queue.state = 'present';
      await bound;
      binding.state = 'present';
    } else if (random.chance(0.6)) {
      const byBinding = binding.state !== 'absent' && random.chance(0.5);
      for (let n = random.below(30); n > 0; n--) {
        const { message, body } = ledger.send(this.#publisher, [queue.model], this.#load.bodyLength(false));
        this.#unconfirmed.add(message);
        client.publish(byBinding ? 'topo' : '', name, body);
      }
    } else if (random.chance(0.3)) {
      this.#purge(queue.model);
      await client.call('queue.purge', { queue: name });
    } else {
      queue.state = 'deleting';
      binding.state = 'deleting';
      await client.call('queue.delete', { queue: name });
      ledger.dropQueue(queue.model);
      queue.state = 'absent';
      binding.state = 'absent';
    }
  }

  /** A purge is about to be sent. */
  #purge(queue: QueueModel): void {
    const { ledger, world } = this.#load;
    for (const copy of queue.copies!) if (copy.state === 'live') ledger.ack(this.#purger, copy, true);
    const upTo = this.#purger.acks.length;
    // Sent behind the purge by the caller's next write; the confirm covers both.
    queueMicrotask(() => {
      const { message, body } = ledger.send(this.#publisher, [world.covers], BODY_MIN);
      this.#unconfirmed.add(message, () => ledger.cover(this.#purger, upTo));
      this.#client.publish('', world.covers.name, body);
    });
  }
}

async function toggle(
  thing: Thing,
  create: () => Promise<unknown>,
  remove: () => Promise<unknown>,
): Promise<void> {
  if (thing.state === 'absent') {
    thing.state = 'creating';
    await create();
    thing.state = 'present';
  } else {
    thing.state = 'deleting';
    await remove();
    thing.state = 'absent';
  }
}

// Who takes messages: consumers that acknowledge, give back, hold and leave, a getter, and a mover from queue to queue.
// Owns what they do with what they get, by the seed.

import { BODY_MIN } from './bodies.ts';
import type { Client, ClientEvents, Content } from './client.ts';
import type { Copy, Publisher, QueueModel, Taker } from './copies.ts';
import { type Load, TICK_MS } from './load.ts';
import { Unconfirmed } from './publishers.ts';

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
export async function consumeAgainAndAgain(load: Load, queue: QueueModel, slot: number): Promise<void> {
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
export async function get(load: Load, queue: QueueModel): Promise<void> {
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
export async function move(load: Load): Promise<void> {
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

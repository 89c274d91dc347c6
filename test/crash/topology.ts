// Who makes and deletes durable queues, exchanges and bindings under load. Owns which change comes next, by the seed.

import { BODY_MIN } from './bodies.ts';
import type { Client } from './client.ts';
import type { Publisher, QueueModel, Taker } from './copies.ts';
import type { Load } from './load.ts';
import { Unconfirmed } from './publishers.ts';
import type { PassingQueue, Thing } from './world.ts';

/** Makes and deletes durable queues, exchanges and bindings, some of them several at a time. */
export async function changeTopology(load: Load): Promise<void> {
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

// The queues, exchanges and bindings of the harness: those that stay, and those that come and go under load.
// Owns what the broker has promised about each of them. A change that was asked for and not answered may have happened or not; what is
// found after the crash then counts.

import type { Client } from './client.ts';
import { QueueModel } from './copies.ts';
import { Broken, type Ledger } from './ledger.ts';

/** Something durable that is made and deleted again and again. */
export class Thing {
  readonly name: string;
  state: 'absent' | 'creating' | 'present' | 'deleting' = 'absent';

  constructor(name: string) {
    this.name = name;
  }

  get isBusy(): boolean {
    return this.state === 'creating' || this.state === 'deleting';
  }

  /** After a crash: is it there? @throws Broken */
  resolve(there: boolean, what: string): void {
    if (this.state === 'present' && !there)
      throw new Broken(`the ${what} ${this.name} was declared, which was answered, and is not there`);
    if (this.state === 'absent' && there)
      throw new Broken(`the ${what} ${this.name} was deleted, which was answered, and is there`);
    this.state = there ? 'present' : 'absent';
  }
}

/** A queue that comes and goes, bound to `topo` under its own name. */
export class PassingQueue extends Thing {
  /** Its content in its present life. */
  model: QueueModel;
  readonly binding: Thing;

  constructor(name: string) {
    super(name);
    this.model = new QueueModel(name, false);
    this.binding = new Thing(name);
  }

  /** It is about to be declared anew. */
  begin(): void {
    this.model = new QueueModel(this.name, false);
  }
}

/** Where a publisher sends to: an address, and the queues behind it. */
export interface Target {
  readonly exchange: string;
  readonly key: string;
  readonly queues: readonly QueueModel[];
  /** Bodies that go here are large. */
  readonly large: boolean;
}

function staying(...names: string[]): QueueModel[] {
  return names.map((name) => new QueueModel(name, true));
}

function passing(prefix: string, count: number): Thing[] {
  return Array.from({ length: count }, (_, i) => new Thing(`${prefix}${i}`));
}

export class World {
  readonly work = staying('work-0', 'work-1', 'work-2', 'work-3', 'work-4');
  readonly fans = staying('fan-0', 'fan-1', 'fan-2');
  /** Messages are moved from the first to the second in transactions. */
  readonly moves = staying('move-from', 'move-to') as [QueueModel, QueueModel];
  /** Takes what consumers publish to learn that their acks are on disk. */
  readonly covers = new QueueModel('covers', true);
  readonly sink = new QueueModel('sink', true);
  readonly queues: readonly QueueModel[] = [
    ...this.work,
    ...this.fans,
    ...this.moves,
    this.covers,
    this.sink,
  ];
  readonly passingQueues = Array.from({ length: 8 }, (_, i) => new PassingQueue(`passing-${i}`));
  readonly passingExchanges = passing('exchange-', 4);
  /** Bindings from `topo` to the queue `sink`. */
  readonly queueBindings = passing('bound-', 8);
  /** Bindings from `topo` to the exchange `relay`. */
  readonly exchangeBindings = passing('relayed-', 4);
  readonly targets: readonly Target[] = [
    ...[...this.work, this.moves[0]].map((queue) => ({
      exchange: '',
      key: queue.name,
      queues: [queue],
      large: false,
    })),
    { exchange: 'fan', key: '', queues: this.fans, large: true },
    { exchange: 'topics', key: 'a.b', queues: [this.work[0]!, this.work[1]!], large: false },
    { exchange: 'topics', key: 'a.c', queues: [this.work[0]!], large: false },
  ];

  /** Declares what stays. Also when it is there already: a declare that finds an equal is answered too. */
  async declare(client: Client): Promise<void> {
    for (const { name } of this.queues) await client.call('queue.declare', { queue: name, durable: true });
    for (const [exchange, type] of [
      ['fan', 'fanout'],
      ['topics', 'topic'],
      ['topo', 'direct'],
      ['relay', 'fanout'],
    ])
      await client.call('exchange.declare', { exchange, type, durable: true });
    for (const { name } of this.fans) await this.#bind(client, name, 'fan', '');
    await this.#bind(client, 'work-0', 'topics', 'a.#');
    await this.#bind(client, 'work-1', 'topics', '*.b');
    await this.#bind(client, 'sink', 'relay', '');
  }

  /**
   * Compares what comes and goes with what is there; `counts` says how many messages each queue has, null for one that does not exist.
   * @throws Broken
   */
  resolveQueues(ledger: Ledger, counts: ReadonlyMap<string, number | null>): void {
    for (const queue of this.passingQueues) {
      const there = counts.get(queue.name) !== null;
      // Its bindings go with it, not before it.
      if (there && queue.state === 'deleting') queue.binding.state = 'present';
      queue.resolve(there, 'queue');
      if (!there) {
        queue.binding.state = 'absent';
        if (!queue.model.deleted) ledger.dropQueue(queue.model);
      }
    }
    for (const { name } of this.queues)
      if (counts.get(name) === null) throw new Broken(`the queue ${name} is not there`);
  }

  async #bind(client: Client, queue: string, exchange: string, routingKey: string): Promise<void> {
    await client.call('queue.bind', { queue, exchange, routingKey });
  }
}

// Looks at everything a restarted broker has and compares it with what was promised. Owns the reading; the rules are the ledger's.

import { Client, Gone } from './client.ts';
import type { Copy, QueueModel, Taker } from './copies.ts';
import { Broken, type Ledger } from './ledger.ts';
import type { World } from './world.ts';

/**
 * What becomes of the messages that were looked at: `look` when the broker is thrown away afterwards, so that its clients never saw
 * them; `peek` gives all of them back; `drain` acknowledges all of them.
 */
export type Way = 'look' | 'peek' | 'drain';

interface Reading {
  readonly queue: QueueModel;
  readonly expected: number;
  got: number;
  /** Newest message of each publisher. */
  readonly last: Map<number, number>;
  done(): void;
}

/** @throws Broken when a promise was broken, Gone when the broker ended meanwhile */
export async function verify(port: number, ledger: Ledger, world: World, way: Way): Promise<void> {
  await new Verification(ledger, world, way).run(port);
}

class Verification {
  readonly #ledger: Ledger;
  readonly #world: World;
  readonly #way: Way;
  readonly #readings = new Map<string, Reading>();
  readonly #taker: Taker;
  readonly #copies: Copy[] = [];
  readonly #unroutable = new Set<string>();
  #confirmed = 0;
  #onConfirm: () => void = () => {};
  #fail: (error: Error) => void = () => {};

  constructor(ledger: Ledger, world: World, way: Way) {
    this.#ledger = ledger;
    this.#world = world;
    this.#way = way;
    this.#taker = ledger.taker(`the verification of life ${ledger.life}`);
  }

  async run(port: number): Promise<void> {
    const failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    const client = await Client.open(port, {
      content: ({ kind, consumerTag, body, redelivered, routingKey }) => {
        if (kind === 'return') this.#unroutable.add(routingKey);
        else this.#take(consumerTag, body, redelivered);
      },
      confirm: (tag) => {
        this.#confirmed = tag;
        this.#onConfirm();
      },
      wrong: (error) => this.#fail(error),
    });
    const ended = client.ended.then(() => {
      throw new Gone('the broker ended while it was looked at');
    });
    ended.catch(() => {});
    await Promise.race([this.#look(client), failed, ended]);
    if (this.#way === 'look') client.destroy();
    else await client.close();
  }

  async #look(client: Client): Promise<void> {
    const ledger = this.#ledger;
    ledger.beginVerification();
    const queues = await this.#queues(client);
    // One after the other: with all at once a reading of one queue could hide that another has stopped.
    for (const [queue, count] of queues) await this.#read(client, queue, count);
    await this.#exchanges(client);
    await this.#bindings(client);
    ledger.endVerification();
    if (this.#way === 'look') return;
    for (const copy of this.#copies) ledger.hold(this.#taker, copy);
    if (this.#way === 'drain') await this.#drain(client);
    ledger.release(this.#taker, true);
  }

  async #queues(client: Client): Promise<[QueueModel, number][]> {
    const world = this.#world;
    const counts = new Map<string, number | null>();
    const names = [...world.queues, ...world.passingQueues].map(({ name }) => name);
    for (const queue of names) {
      const answer = await client.attempt('queue.declare', { queue, passive: true });
      counts.set(queue, answer === null ? null : messageCount(answer));
    }
    world.resolveQueues(this.#ledger, counts);
    const present = world.passingQueues.filter(({ state }) => state === 'present').map(({ model }) => model);
    return [...world.queues, ...present].map((queue) => [queue, counts.get(queue.name)!]);
  }

  async #read(client: Client, queue: QueueModel, expected: number): Promise<void> {
    await new Promise<void>((done, reject) => {
      const reading = { queue, expected, got: 0, last: new Map<number, number>(), done };
      this.#readings.set(queue.name, reading);
      client.call('basic.consume', { queue: queue.name, consumerTag: queue.name }).then(() => {
        if (expected === 0) done();
      }, reject);
    });
    await client.call('basic.cancel', { consumerTag: queue.name });
    const { payload } = await client.call('queue.declare', { queue: queue.name, passive: true });
    const more = messageCount(payload);
    if (more !== 0)
      throw new Broken(`${queue.name} said it had ${expected} messages, gave them, and has ${more} more`);
  }

  #take(tag: string, body: Buffer, redelivered: boolean): void {
    const reading = this.#readings.get(tag)!;
    const copy = this.#ledger.find(reading.queue, body, redelivered, reading.last);
    if (copy === null) throw new Broken(`${tag} has a message that is not persistent`);
    this.#copies.push(copy);
    reading.got++;
    if (reading.got > reading.expected)
      throw new Broken(`${tag} said it had ${reading.expected} messages and gave more`);
    if (reading.got === reading.expected) reading.done();
  }

  async #exchanges(client: Client): Promise<void> {
    for (const exchange of this.#world.passingExchanges) {
      const answer = await client.attempt('exchange.declare', { exchange: exchange.name, passive: true });
      exchange.resolve(answer !== null, 'exchange');
    }
  }

  /** A binding has no passive declare: a mandatory message comes back when there is none. */
  async #bindings(client: Client): Promise<void> {
    const world = this.#world;
    const passing = world.passingQueues.map(({ binding }) => binding);
    const bindings = [...world.queueBindings, ...world.exchangeBindings, ...passing];
    await client.call('confirm.select', {});
    const all = new Promise<void>((resolve) => {
      this.#onConfirm = () => {
        if (this.#confirmed >= bindings.length) resolve();
      };
    });
    for (const { name } of bindings) client.publish('topo', name, PROBE, false, true);
    await all;
    for (const binding of bindings) binding.resolve(!this.#unroutable.has(binding.name), 'binding');
    await client.call('queue.purge', { queue: world.sink.name });
  }

  async #drain(client: Client): Promise<void> {
    const ledger = this.#ledger;
    client.ack(0, true);
    for (const copy of this.#copies) ledger.ack(this.#taker, copy);
    // What is confirmed now was sent behind the ack.
    const publisher = ledger.publisher(`the verification of life ${ledger.life}`);
    const { message, body } = ledger.send(publisher, [this.#world.covers], 16);
    const before = this.#confirmed;
    await new Promise<void>((resolve) => {
      this.#onConfirm = () => {
        if (this.#confirmed > before) resolve();
      };
      client.publish('', this.#world.covers.name, body);
    });
    ledger.confirm(message);
    ledger.cover(this.#taker, this.#taker.acks.length);
  }
}

const PROBE = Buffer.from('probe');

/** The count in the arguments of queue.declare-ok, behind the name. */
function messageCount(declareOk: Buffer): number {
  return declareOk.readUInt32BE(1 + declareOk[0]!);
}

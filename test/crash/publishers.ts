// Who publishes: with confirms as fast as a window allows, and in transactions. Owns the reckoning of confirms on a channel.

import type { Client } from './client.ts';
import type { Message } from './copies.ts';
import type { Ledger } from './ledger.ts';
import { type Load, TICK_MS } from './load.ts';

/** Bytes that one publisher has on their way to the broker at most. */
const UNSENT_MAX = 1024 * 1024;
/** Messages a publisher sends before others have their turn. */
const BURST = 64;

/** Publishes that wait for their confirms, in the order of their numbers on the channel. */
export class Unconfirmed {
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
export async function publish(load: Load, name: string): Promise<void> {
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
export async function publishInTransactions(load: Load): Promise<void> {
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

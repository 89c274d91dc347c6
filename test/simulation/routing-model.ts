// Exchanges and bindings as plain lists: where a message should go, and which duplicates should be dropped on the way.
// Owns what exchanges remember, and which of them go with their last binding. Shares nothing with the broker's code: the two are compared
// by comparison.ts; what queues do with what reaches them is the model's (model.ts).

import { DROPPED, holder, type Marks, type Model, ModelMemory, type UniqueSpec } from './model.ts';

/** An exchange as it was declared. */
export interface ModelExchange {
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** It holds messages back that ask for it. */
  readonly delays: boolean;
  /** It drops what is like a message before. */
  readonly unique: (UniqueSpec & { readonly disk: boolean }) | null;
}

/** A walk through exchanges that is more than a question: those that drop duplicates take note. */
export interface Passing {
  readonly message: Marks;
  /** The exchange that has held it back until now. */
  readonly past: string | null;
}

/** A binding as it should be. */
export interface ModelBinding {
  readonly source: string;
  /** A queue or an exchange. */
  readonly to: string;
  readonly isQueue: boolean;
  readonly key: string;
}

/** The exchanges of a vhost. */
export class ModelRouting {
  /** Durable and transient exchanges that were declared. */
  readonly exchanges = new Map<string, ModelExchange>();
  readonly bindings: ModelBinding[] = [];
  /** What exchanges remember, by their names. */
  readonly memories = new Map<string, ModelMemory>();
  private readonly model: Model;
  /** Those that remembered the last message, and what they did. */
  private admittedBy: ModelMemory[] = [];
  private admitted = '';

  constructor(model: Model) {
    this.model = model;
  }

  /** An exchange is there from now on. */
  declare(name: string, exchange: ModelExchange): void {
    const { durable, delays, unique } = exchange;
    if (unique !== null) this.memories.set(name, new ModelMemory(unique));
    this.exchanges.set(name, exchange);
    if (delays) this.model.holders.set(name, durable);
  }

  /** A binding is there, if it was not already. */
  bind(binding: ModelBinding): void {
    const { source, to, isQueue, key } = binding;
    if (
      !this.bindings.some((b) => b.source === source && b.to === to && b.isQueue === isQueue && b.key === key)
    )
      this.bindings.push(binding);
  }

  /** Bindings go, and exchanges that lose their last one by that and were to go then. */
  unbindWhere(gone: (binding: ModelBinding) => boolean): void {
    const sources = new Set<string>();
    for (let i = this.bindings.length - 1; i >= 0; i--) {
      if (!gone(this.bindings[i]!)) continue;
      sources.add(this.bindings[i]!.source);
      this.bindings.splice(i, 1);
    }
    for (const source of sources) {
      if (!this.exchanges.get(source)?.autoDelete || this.bindings.some((each) => each.source === source))
        continue;
      this.forget(source);
      this.unbindWhere((each) => !each.isQueue && each.to === source);
    }
  }

  /** The exchange is gone, with what it held back; its bindings are not. */
  forget(name: string): void {
    this.exchanges.delete(name);
    this.memories.delete(name);
    this.model.holders.delete(name);
    this.model.delayed = this.model.delayed.filter(({ exchange }) => exchange !== name);
  }

  /** Names of the queues, and of exchanges that hold it back, that a message with these keys reaches from an exchange, sorted. */
  route(exchange: string, keys: readonly string[], delayMs = 0, passing: Passing | null = null): string[] {
    if (passing !== null) this.nextMessage();
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

  /** What was remembered of the message before stays. */
  nextMessage(): void {
    this.admittedBy = [];
  }

  /** The last message found no place: exchanges forget it. */
  refused(): void {
    for (const memory of this.admittedBy.splice(0)) memory.forget(this.admitted);
  }
}

function matches(type: string, bindingKey: string, key: string): boolean {
  if (type === 'fanout') return true;
  if (type === 'direct') return bindingKey === key;
  // The keys of the script have one word each.
  return bindingKey === '#' || bindingKey === '*' || bindingKey === key;
}

// A broker without doors and the model beside it: what is done to one is done to the other, and they are compared when all is at rest.
// Owns the two sides, who consumes, and what is held. Must not know the operations, which are functions of it (topology.ts, messages.ts,
// operators.ts, passing-time.ts, clean-stop.ts, crash.ts), nor which of them are done: that comes from a seed (script.ts).

import type { Entry } from '../../src/message/entry.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import type { SeededRandom } from '../support/faulty-engine.ts';
import { compare, look } from './comparison.ts';
import {
  type Delivery,
  type Marks,
  Model,
  type ModelConsumer,
  type ModelEntry,
  type ModelQueue,
} from './model.ts';
import type { PolicyRule } from './policy-model.ts';
import { type LoggingConsumer, RealSide } from './real-side.ts';
import { ModelRouting } from './routing-model.ts';

const NO_MARKS: Marks = { key: null, likeness: null, rememberMs: null };

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

/** Both sides, and what goes on between them and their clients. */
export class World {
  readonly random: SeededRandom;
  readonly real: RealSide;
  readonly model: Model;
  readonly routing: ModelRouting;
  readonly consumers: WorldConsumer[] = [];
  /** Taken by basic.get, not settled. */
  readonly got: Held[] = [];
  /** What the next message says of itself. */
  marks: () => Marks = () => NO_MARKS;
  /** A policy for the queue of this name that leaves its limits and times to live alone; null in a world without. */
  mildPolicy: ((name: string) => PolicyRule) | null = null;
  /** What the broker handed out and the model has not accounted for, by queue. */
  deliveries = new Map<string, Delivery[]>();
  private texts = 0;
  private tags = 0;

  /** @param paging queues may have to send messages to the store for want of memory */
  constructor(random: SeededRandom, seed: number, paging: boolean) {
    this.random = random;
    this.real = new RealSide(random, seed, paging);
    this.model = new Model(this.real.clock.now());
    this.model.isShort = (name) => (this.real.kit.vhost.queues.get(name)?.pagedOutCount ?? 0) > 0;
    this.routing = new ModelRouting(this.model);
  }

  /** Both sides come to rest, and are compared. */
  async rest(): Promise<void> {
    await this.real.settle();
    // As every door does before it looks: what came back too late goes with the next tick otherwise.
    for (const queue of this.real.kit.vhost.queues.values()) queue.catchUp();
    await this.real.settle();
    this.model.begin(this.deliveries);
    this.model.end();
    compare(this);
  }

  /** Looks into every queue: what is there, and in which order; where that was not known, it is from now on. */
  look(): Promise<void> {
    return look(this);
  }

  /** Everything that somebody holds. */
  held(): Held[] {
    return [...this.got, ...this.consumers.flatMap((consumer) => heldBy(consumer))];
  }

  /** A beginning that no other message's text has. */
  nextText(): string {
    return `m${++this.texts}`;
  }

  /** A tag that no other consumer has. */
  nextTag(): string {
    return `c${++this.tags}`;
  }

  /** Where the consumers of a queue write down what they are handed. */
  logOf(name: string): Delivery[] {
    let log = this.deliveries.get(name);
    if (log === undefined) {
      log = [];
      this.deliveries.set(name, log);
    }
    return log;
  }

  /** The queue is gone on both sides: so are its bindings, and its consumers where they do not outlive it. */
  forgetQueue(name: string): void {
    this.deliveries.delete(name);
    for (let i = this.consumers.length - 1; i >= 0; i--) {
      const consumer = this.consumers[i]!;
      if (consumer.queue.name !== name || !consumer.queue.deleted) continue;
      this.consumers.splice(i, 1);
      // Its deliveries can still be settled, and mean nothing.
      this.got.push(...heldBy(consumer));
    }
    this.routing.unbindWhere((binding) => binding.isQueue && binding.to === name);
  }
}

/** What a consumer holds unacked, oldest first. */
export function heldBy({ real, model, queue }: WorldConsumer): Held[] {
  return real.held.map((entry, i) => ({ queue, model: model.held[i]!, real: entry }));
}

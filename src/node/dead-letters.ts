// What becomes of a message that died in a queue: its dead letter, made and published to the queue's dead-letter exchange.
// Owns the order of publishes when one dead letter causes the next (a full queue that refuses and dead-letters in turn).
// Invariant: dead letters are published one after the other, never one inside another, so that no chain of queues is too long.

import type { Clock } from '../base/clock.ts';
import { type Address, addressOf } from '../message/address.ts';
import { closesCycle, copies, type DeathReason, deadMessage, hasDied } from '../message/death.ts';
import type { Message } from '../message/message.ts';
import type { DeclaredQueue, Queue } from '../queue/queue.ts';
import type { Exchange } from './exchange.ts';

/**
 * Dead letters that one dead letter may cause in turn. Full queues that refuse and dead-letter to each other multiply them; what comes
 * on top is dropped, as at most once allows.
 */
export const DEAD_LETTERS_CAUSED_MAX = 200;

const NO_COPIES: ReturnType<typeof copies> = [];

/** The vhost, as far as dead letters need it. */
export interface DeadLetterHost {
  readonly exchanges: ReadonlyMap<string, Exchange>;
  /** Remembers the routes of keys, as long as nothing can change them. */
  route(exchange: Exchange, message: Message, key: string): readonly Queue[];
  routeAll(exchange: Exchange, message: Message, keys: readonly string[]): readonly Queue[];
  publish(queues: readonly Queue[], message: Message): number;
  /** The message that was routed last is not published. */
  refused(message: Message): void;
}

/** A dead letter on its way. */
interface DeadLetter {
  readonly targets: readonly Queue[];
  readonly message: Message;
}

/** The dead letters of one vhost. */
export class DeadLetters {
  private readonly host: DeadLetterHost;
  private readonly clock: Clock;
  /** Told to all queues of the broker while dead letters are published. */
  private readonly context: { burying: boolean };
  /** Caused by the dead letter that is being published. */
  private readonly waiting: DeadLetter[] = [];
  /** Address of the last dead letter: mostly the next has the same. */
  private address: Address = addressOf('', '');

  constructor(host: DeadLetterHost, clock: Clock, context: { burying: boolean }) {
    this.host = host;
    this.clock = clock;
    this.context = context;
  }

  /**
   * Publishes the dead letter of `message`, which died in `queue`. Where it reaches nobody, it is dropped, or with the strategy
   * at-least-once not published at all: it goes to all queues it has to go to, or to none of them.
   * @returns false when the queue has to keep it
   */
  bury(queue: DeclaredQueue, message: Message, reason: DeathReason): boolean {
    const { deadLetterExchange, deadLetterRoutingKey, deadLetterStrategy } = queue.options;
    const mayDrop = deadLetterStrategy !== 'at-least-once';
    if (deadLetterExchange === null) return true;
    // RabbitMQ: a dead-letter exchange that does not exist drops the message; the default exchange is named by the empty string.
    const exchange = this.host.exchanges.get(deadLetterExchange);
    if (exchange === undefined || this.waiting.length >= DEAD_LETTERS_CAUSED_MAX) return mayDrop;
    // In the middle of another one's publish nobody knows yet who will have room for it.
    if (!mayDrop && this.context.burying) return false;
    const key = deadLetterRoutingKey ?? message.address.routingKey;
    const dead = deadMessage(
      message,
      queue.name,
      reason,
      this.clock.now(),
      this.addressOf(exchange.name, key),
    );
    const further = deadLetterRoutingKey === null ? copies(message) : NO_COPIES;
    const route =
      further.length === 0
        ? this.host.route(exchange, dead, key)
        : this.host.routeAll(exchange, dead, [key, ...further.map(({ value }) => String(value))]);
    const targets = this.withoutCycles(route, dead, hasDied(message) ? null : queue.name, reason);
    if (!mayDrop && (targets.length === 0 || targets.some((target) => target.wouldRefuse?.(dead) === true))) {
      this.host.refused(dead);
      return false;
    }
    if (targets.length === 0) return true;
    if (this.context.burying) this.waiting.push({ targets, message: dead });
    else this.publish(targets, dead);
    return true;
  }

  /**
   * Where of its route a dead letter may go.
   * @param diedIn the queue of its only death; null when it has others
   */
  private withoutCycles(
    route: readonly Queue[],
    dead: Message,
    diedIn: string | null,
    reason: DeathReason,
  ): readonly Queue[] {
    for (let i = 0; i < route.length; i++) {
      if (!isCycle(dead, diedIn, reason, route[i]!.name)) continue;
      return route.filter(({ name }) => !isCycle(dead, diedIn, reason, name));
    }
    return route;
  }

  private addressOf(exchange: string, key: string): Address {
    const { address } = this;
    if (address.routingKey !== key || address.exchange !== exchange) this.address = addressOf(exchange, key);
    return this.address;
  }

  private publish(targets: readonly Queue[], message: Message): void {
    const { host, context, waiting } = this;
    context.burying = true;
    try {
      host.publish(targets, message);
      for (let i = 0; i < waiting.length; i++) host.publish(waiting[i]!.targets, waiting[i]!.message);
    } finally {
      waiting.length = 0;
      context.burying = false;
    }
  }
}

/** See `closesCycle`; of a first death everything is known without reading the history. */
function isCycle(dead: Message, diedIn: string | null, reason: DeathReason, target: string): boolean {
  return diedIn === null ? closesCycle(dead, target) : reason !== 'rejected' && diedIn === target;
}

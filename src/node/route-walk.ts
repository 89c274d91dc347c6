// Where a message goes: the walk from an exchange over bindings, alternate exchanges and bound exchanges to queues.
// Owns the stamps that make each exchange visited and each queue found once. Knows no permission and publishes nothing.
// Invariant: the walk does not recurse, so that a chain of exchanges may be as long as a client likes.

import type { Message } from '../message/message.ts';
import type { Queue } from '../queue/queue.ts';
import { isReplyName, REPLY_TO_PREFIX, type ReplyQueue } from '../queue/reply-queue.ts';
import type { Destination } from '../routing/router.ts';
import { Exchange } from './exchange.ts';
import type { Duplicates, Intake } from './intake.ts';

const NOWHERE: readonly Queue[] = [];

/** Number of the last walk. One count for all vhosts: reply queues are shared by them, and carry stamps. */
let walks = 0;

/** The walks of one vhost. */
export class RouteWalk {
  /** The last walk saw nothing but keys and bindings: the same key leads to the same queues until the topology changes. */
  isRepeatable = true;
  private readonly exchanges: ReadonlyMap<string, Exchange>;
  private readonly queues: ReadonlyMap<string, Queue>;
  private readonly replies: ReadonlyMap<string, ReplyQueue>;
  /** Takes replies whose requester is gone. */
  private readonly nobody: ReplyQueue;
  /** The exchange that has had the message of the present walk already; null for none. */
  private past: Exchange | null = null;
  /** The last message that exchanges remembered as the first of its kind, and what they remember it in. */
  private admitted: Message | null = null;
  private readonly admittedBy: Duplicates[] = [];
  /** Exchanges of the present walk in the order in which they were reached. */
  private readonly reached: Exchange[] = [];
  /** Destinations of one exchange. */
  private readonly found: Destination[] = [];

  constructor(
    exchanges: ReadonlyMap<string, Exchange>,
    queues: ReadonlyMap<string, Queue>,
    replies: ReadonlyMap<string, ReplyQueue>,
    nobody: ReplyQueue,
  ) {
    this.exchanges = exchanges;
    this.queues = queues;
    this.replies = replies;
    this.nobody = nobody;
  }

  /** Queues that a message reaches from `start` under any of `keys`, each once. */
  from(start: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    const walk = ++walks;
    const { reached, found } = this;
    const out: Queue[] = [];
    this.isRepeatable = true;
    start.visitStamp = walk;
    reached.push(start);
    for (let i = 0; i < reached.length; i++) {
      const exchange = reached[i]!;
      if (exchange.intake === null || !this.isTaken(exchange, exchange.intake, message, keys)) {
        this.match(exchange, message, keys);
        if (found.length === 0) this.reachAlternate(exchange, walk);
      }
      for (let j = 0; j < found.length; j++) {
        const destination = found[j]!;
        if (destination instanceof Exchange) this.reach(destination, walk);
        else {
          const queue = destination as Queue;
          if (queue.routeStamp !== walk) {
            queue.routeStamp = walk;
            out.push(queue);
          }
        }
      }
      found.length = 0;
    }
    reached.length = 0;
    return out.length === 0 ? NOWHERE : out;
  }

  /** As `from`, for a message that `start` held back and lets go now. */
  fromPast(start: Exchange, message: Message, keys: readonly string[]): readonly Queue[] {
    this.past = start;
    try {
      return this.from(start, message, keys);
    } finally {
      this.past = null;
    }
  }

  /** The exchange keeps the message from being routed by it now. */
  private isTaken(exchange: Exchange, intake: Intake, message: Message, keys: readonly string[]): boolean {
    this.isRepeatable = false;
    if (exchange === this.past) return false;
    const { duplicates } = intake;
    // An earlier walk's: it had its place then.
    if (duplicates?.latest === message) duplicates.latest = null;
    const taken = intake.takes(message, keys, this.found);
    if (duplicates?.latest === message) {
      if (this.admitted !== message) this.admittedBy.length = 0;
      this.admitted = message;
      this.admittedBy.push(duplicates);
    }
    return taken;
  }

  /**
   * A message was refused where its walk led: exchanges that drop duplicates forget it, or who publishes it again would be told that all is
   * well. Only of the last message that they remembered.
   */
  refused(message: Message): void {
    if (this.admitted !== message) return;
    this.admitted = null;
    for (const duplicates of this.admittedBy.splice(0)) duplicates.forget(message);
  }

  /** Whatever becomes of the last message that exchanges remembered, they go on remembering it. */
  placed(): void {
    for (const duplicates of this.admittedBy.splice(0)) duplicates.latest = null;
    this.admitted = null;
  }

  private reach(exchange: Exchange, walk: number): void {
    // RabbitMQ: cycles of exchanges are legal; each is visited once per message.
    if (exchange.visitStamp === walk) return;
    exchange.visitStamp = walk;
    this.reached.push(exchange);
  }

  /** RabbitMQ: the alternate exchange is looked up at each message, and may be missing. */
  private reachAlternate(exchange: Exchange, walk: number): void {
    const alternate = exchange.alternate === null ? undefined : this.exchanges.get(exchange.alternate);
    if (alternate !== undefined) this.reach(alternate, walk);
  }

  /** Fills `found` with the exchange's own destinations. */
  private match(exchange: Exchange, message: Message, keys: readonly string[]): void {
    const { found } = this;
    const { router } = exchange;
    if (router !== null) {
      if (!router.byKeyOnly) this.isRepeatable = false;
      router.route(message, keys, found);
      return;
    }
    // The default exchange: every queue under its name.
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      const queue = this.queues.get(key) ?? this.replyQueue(key);
      if (queue !== undefined) found.push(queue);
    }
  }

  private replyQueue(key: string): Queue | undefined {
    if (!key.startsWith(REPLY_TO_PREFIX)) return undefined;
    // A reply queue comes and goes without a change of topology.
    this.isRepeatable = false;
    // RabbitMQ 4.2: a reply that comes too late is dropped, but counts as routed.
    return this.replies.get(key) ?? (isReplyName(key) ? this.nobody : undefined);
  }
}

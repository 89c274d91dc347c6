// Dead letters back to where they died, or to the exchange they had been published to: at a rate, with a report, to be stopped at any time.
// Owns one such run. Each message moves in one batch of the store (operations-transfer.ts); so a run that is stopped, or ends with the
// broker, has moved what it counts as done and left the rest untouched, and another run goes on with that.
//
// Invariants: what comes into the queue after the start is not looked at, so that messages which die again at once do not go round for ever;
// every message is looked at once; no turn moves more than MOVES_PER_TURN.

import type { Clock } from '../base/clock.ts';
import { BrokerError } from '../base/errors.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { Turn, Wakeable } from '../base/turn.ts';
import { addressOf } from '../message/address.ts';
import { hasDied } from '../message/death.ts';
import { type Death, deathsOf, revivedMessage } from '../message/death-history.ts';
import type { Message } from '../message/message.ts';
import { type Found, idText, type MessageId, type MessageState, type QueueContents } from '../queue/peek.ts';
import type { MessageTest } from '../queue/peek-filter.ts';
import type { DeclaredQueue } from '../queue/queue.ts';
import type { QueueNo } from '../store/store.ts';
import { type StayReason, targetsOf, transfer, type Way } from './operations-transfer.ts';

import type { VHost } from './vhost.ts';

/** Messages that one turn moves at most. */
export const MOVES_PER_TURN = 500;
/** Messages that stay behind and are named in the report; the others are only counted. */
export const SKIPPED_NAMED_MAX = 100;

/** How dead letters go back. */
export interface RedriveOptions {
  /** Only these. */
  readonly test: MessageTest | null;
  /** To the queue they died in, or to the exchange and under the routing keys they had been published with. */
  readonly to: 'queue' | 'exchange';
  /** Messages per second; Infinity for no limit. */
  readonly messagesPerSecond: number;
  /** Messages to move at most; Infinity for all. */
  readonly max: number;
  /** The headers of their deaths go with them, for people to read. */
  readonly keepDeathHeaders: boolean;
}

export type RedriveState = 'running' | 'finished' | 'stopped' | 'failed';

/** How far a run has come. */
export interface RedriveProgress {
  readonly state: RedriveState;
  /** Messages that went back. */
  readonly moved: number;
  /** Messages that the filter left out. */
  readonly notMatching: number;
  /** Messages that could not go back and stay, by reason. */
  readonly skipped: Readonly<Partial<Record<StayReason, number>>>;
  /** Some of them. */
  readonly skippedMessages: readonly { readonly id: string; readonly reason: StayReason }[];
  /** Messages of those that were there at the start and have not been looked at. */
  readonly left: number;
  /** Why it failed; null when it did not. */
  readonly error: string | null;
}

/** What a run needs around it. */
export interface RedriveContext {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
}

const READY: ReadonlySet<MessageState> = new Set(['ready']);

/** One run. */
export class Redrive implements Wakeable {
  woken = false;
  readonly vhost: VHost;
  readonly queue: DeclaredQueue;
  readonly startedAt: number;
  /** Called once, when it is over. */
  onEnd: () => void = () => {};
  private readonly options: RedriveOptions;
  private readonly context: RedriveContext;
  private readonly contents: QueueContents;
  private readonly bounds: ReadonlyMap<QueueNo, number>;
  private readonly bucket: TokenBucket;
  private readonly timer = new Timer(() => this.context.turn.wake(this));
  private after: MessageId | null = null;
  /** A walk waits for the store. */
  private walking = false;
  private state: RedriveState = 'running';
  private error: string | null = null;
  private readonly total: number;
  private moved = 0;
  private notMatching = 0;
  private readonly skipped: Partial<Record<StayReason, number>> = {};
  private skippedCount = 0;
  private readonly skippedMessages: { id: string; reason: StayReason }[] = [];

  /** @throws BrokerError precondition-failed for a stream */
  constructor(vhost: VHost, queue: DeclaredQueue, options: RedriveOptions, context: RedriveContext) {
    if (queue.options.type === 'stream') {
      throw new BrokerError(
        'precondition-failed',
        `messages of the stream '${queue.name}' cannot be sent back: they stay where they are`,
      );
    }
    this.vhost = vhost;
    this.queue = queue;
    this.options = options;
    this.context = context;
    this.startedAt = context.clock.now();
    this.contents = queue.contents();
    this.bounds = this.contents.bounds();
    this.total = queue.messageCount;
    this.bucket = new TokenBucket(context.clock, options.messagesPerSecond);
    context.turn.wake(this);
  }

  get progress(): RedriveProgress {
    return {
      state: this.state,
      moved: this.moved,
      notMatching: this.notMatching,
      skipped: { ...this.skipped },
      skippedMessages: [...this.skippedMessages],
      left: Math.max(0, this.total - this.moved - this.notMatching - this.skippedCount),
      error: this.error,
    };
  }

  /** Moves nothing more. What was moved stays moved. */
  stop(): void {
    this.end('stopped');
  }

  runTurn(): void {
    if (this.state !== 'running' || this.walking) return;
    if (this.queue.deleted) return this.fail(`the queue '${this.queue.name}' was deleted`);
    if (!this.bucket.has()) return this.waitForToken();
    this.walking = true;
    let budget = MOVES_PER_TURN;
    this.contents.walk(
      { after: this.after, states: READY, bounds: this.bounds },
      (found) => {
        if (this.state !== 'running') return false;
        this.after = { number: found.number, position: found.position };
        if (!this.goesBack(found)) return true;
        budget--;
        this.bucket.take();
        return budget !== 0 && this.moved < this.options.max && this.bucket.has();
      },
      (error, { next }) => {
        this.walking = false;
        if (this.state !== 'running') return;
        if (error !== null) return this.fail(error.message);
        if (next === null) return this.end('finished');
        this.after = next;
        if (this.moved >= this.options.max) return this.end('finished');
        if (this.bucket.has()) this.context.turn.wake(this);
        else this.waitForToken();
      },
    );
  }

  /** @returns true when it was moved */
  private goesBack(found: Found): boolean {
    const { test } = this.options;
    if (test !== null && !test(found.message)) {
      this.notMatching++;
      return false;
    }
    const way = this.wayOf(found.message);
    const reason = typeof way === 'string' ? way : transfer(this.queue, this.contents, found, way);
    if (reason === null) {
      this.moved++;
      return true;
    }
    this.skippedCount++;
    this.skipped[reason] = (this.skipped[reason] ?? 0) + 1;
    if (this.skippedMessages.length < SKIPPED_NAMED_MAX)
      this.skippedMessages.push({ id: idText(found), reason });
    return false;
  }

  private wayOf(message: Message): Way | StayReason {
    // A header that a client wrote may name any queue: only what the broker itself has noted counts.
    const death = hasDied(message) ? deathsOf(message)[0] : undefined;
    if (death === undefined) return 'not-dead-lettered';
    const { vhost } = this;
    const { keepDeathHeaders, to } = this.options;
    const [key = ''] = death.routingKeys;
    const changed = (dead: Message): Message =>
      revivedMessage(dead, addressOf(death.exchange, key), keepDeathHeaders);
    if (to === 'exchange') return this.wayThrough(death, message, changed);
    const target = vhost.queues.get(death.queue);
    if (target === undefined) return 'no-such-queue';
    return { vhost, targets: [target], isRouted: false, changed };
  }

  private wayThrough(death: Death, message: Message, changed: (dead: Message) => Message): Way | StayReason {
    const { vhost } = this;
    const exchange = vhost.exchanges.get(death.exchange);
    if (exchange === undefined) return 'no-such-exchange';
    const targets = targetsOf(vhost, exchange, message, death.routingKeys);
    return { vhost, targets, isRouted: true, changed };
  }

  private waitForToken(): void {
    this.context.wheel.set(this.timer, this.bucket.waitMs());
  }

  private fail(error: string): void {
    this.error = error;
    this.end('failed');
  }

  private end(state: RedriveState): void {
    if (this.state !== 'running') return;
    this.state = state;
    this.context.wheel.clear(this.timer);
    this.onEnd();
  }
}

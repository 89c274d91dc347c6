// What a queue needs around it: the broker's parts as one object for all queues, and the vhost as a queue sees it.

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Turn } from '../base/turn.ts';
import type { BodyMemory } from '../message/body-memory.ts';
import type { DeathReason } from '../message/death.ts';
import type { Message } from '../message/message.ts';
import type { Commits } from '../store/commits.ts';
import type { QueueNo, Shard, SharedBytes } from '../store/store.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { DeclaredQueue } from './queue.ts';

/** How coarse the wheel of message deadlines is, in milliseconds. */
export const MESSAGE_TICK_MS = 10;

/** One object for all queues of a broker. */
export interface QueueContext {
  readonly shard: Shard;
  readonly turn: Turn;
  readonly clock: Clock;
  /** Coarse timers. */
  readonly wheel: TimerWheel;
  /** Timers of single messages: expiry, delays, retries. At most MESSAGE_TICK_MS late. */
  readonly messageWheel: TimerWheel;
  readonly memory: MemoryBudget;
  /** Memory of large contents. */
  readonly bodies: BodyMemory;
  readonly log: Logger;
  readonly commits: Commits;
  /** Deliveries of one queue in one turn, so that a busy queue cannot starve the others. */
  readonly deliveriesPerTurn: number;
  /** Set by the vhost while one message goes to several queues: its bytes, to be stored once. */
  shared: SharedBytes | null;
  /**
   * True while dead messages are published: queues that are too long then drop in their own turn, or two of them would feed each other
   * without end.
   */
  burying: boolean;
}

/** The vhost, as far as a queue needs it. */
export interface QueueHost {
  /** A number for more content of the queue in the store; it is stored with the queue's definition. */
  numberFor(queue: DeclaredQueue, line: number): QueueNo;
  /** The queue was not used for as long as x-expires says. */
  expired(queue: DeclaredQueue): void;
  /** The queue's last consumer left. */
  consumersGone(queue: DeclaredQueue): void;
  /**
   * A message died in the queue: to its dead-letter exchange.
   * @returns false when the queue has to keep it (x-dead-letter-strategy at-least-once), because nobody takes it now
   */
  deadLetter(queue: DeclaredQueue, message: Message, reason: DeathReason): boolean;
}

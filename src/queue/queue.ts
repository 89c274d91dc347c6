// The seam of queues: what a vhost publishes to, what consumers consume from.
// Knows no sockets, channels, frames or users.

import type { Wakeable } from '../base/turn.ts';
import type { Entry, EntryHolder, EntryOwner } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import type { Destination } from '../routing/router.ts';
import type { Lane, Position, QueueNo, StoredEntry } from '../store/store.ts';
import type { QueueDeclaration } from './declaration.ts';
import type { QueueContents } from './peek.ts';
import type { QueueOptions } from './queue-options.ts';

/** Outcome flags of `Queue.publish`. */
export const ACCEPTED = 0;
/** The queue refused the message (overflow): a confirming publisher gets a nack. */
export const REJECTED = 1;
/** The publish is safe only when the batch that is open now is on disk. */
export const MUST_COMMIT = 2;

/** Somebody who is handed entries. One consumer belongs to one queue. */
export interface Consumer extends EntryHolder {
  readonly tag: string;
  /** Deliveries are settled by being sent. */
  readonly noAck: boolean;
  readonly exclusive: boolean;
  /** Higher ones are served first (RabbitMQ consumer argument x-priority). */
  readonly priority: number;
  /** What its client asked for beside that: where to begin in a stream, which of its messages. */
  readonly arguments: FieldTable;
  /** Out of its group's line because it had no capacity. Written by the group only. */
  parked: boolean;
  /** May take one more delivery now. */
  hasCapacity(): boolean;
  /** Takes an entry. Called by the turn only, never inside a publish. */
  deliver(entry: Entry): void;
  /** The queue is gone: no delivery will come any more. */
  cancelled(): void;
}

/** A queue of any type. */
export interface Queue extends Destination, EntryOwner, Wakeable {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  /** Last publish run that reached this queue, so that a message enters each queue once. Written by the router of a vhost. */
  routeStamp: number;
  /** Appends a message. Never delivers. @returns ACCEPTED, or REJECTED and MUST_COMMIT as flags. */
  publish(message: Message): number;
  /** It would refuse the message now. Not there: it never refuses any. */
  wouldRefuse?(message: Message): boolean;
  /**
   * Takes the next entry as a delivery of basic.get; null when nothing is ready.
   * @throws BrokerError internal-error when what is ready cannot be read
   */
  get(noAck: boolean): Entry | null;
  consume(consumer: Consumer): void;
  cancel(consumer: Consumer): void;
  /** A parked consumer may have capacity again. */
  unpark(consumer: Consumer): void;
  /** Removes all ready entries. @returns how many */
  purge(): number;
  /** Ready messages. */
  readonly messageCount: number;
  readonly consumerCount: number;
}

/** A queue that was declared and stands in a vhost, of any x-queue-type. */
export interface DeclaredQueue extends Queue {
  readonly options: QueueOptions;
  /** Its persistent messages survive a restart, and so does it. */
  readonly durable: boolean;
  /** Deleted: settles quietly, accepts nothing. */
  readonly deleted: boolean;
  readonly counters: QueueCounters;
  readonly unackedCount: number;
  /** Messages that wait for a retry: neither ready nor delivered. */
  readonly waitingCount: number;
  /** Dead letters that wait until somebody takes them (x-dead-letter-strategy at-least-once). */
  readonly deadWaitingCount: number;
  /** Body bytes of all ready messages. */
  readonly messageBytes: number;
  /** Bytes of message memory the queue holds. */
  readonly memoryBytes: number;
  /** Ready messages that are only in the store. */
  readonly pagedOutCount: number;
  readonly consumers: Iterable<Consumer>;
  /** The exclusive consumer, if there is one. */
  readonly exclusiveConsumer: Consumer | null;
  /** Number under which its definition is stored; of its content in the store too. */
  readonly number: QueueNo;
  /** Other options from now on: a policy came, changed or went. */
  applyOptions(options: QueueOptions): void;
  /** Nothing is handed out, to nobody; everything else goes on. */
  readonly paused: boolean;
  pause(): void;
  resume(): void;
  /** It is used (a declaration, passive too, or a get): x-expires counts from now. */
  touch(): void;
  /** Its messages, for people who look into it or take single ones out. */
  contents(): QueueContents;
  /** Does what the turn would do, before a client looks. It may be `deleted` then: its time was over. */
  catchUp(): void;
  /** False while the next entry has to be fetched or marked first; `ready` is called when it is worth asking again. */
  whenReady(ready: () => void): boolean;
  /** Looks whether there is something to do, at the next turn. */
  wake(): void;
  /** Ends the queue: consumers are told, its content is forgotten. */
  delete(): void;
  /** Recovery: where the positions of one of its numbers go on, and up to where entries may have been delivered before the stop, by lane. */
  restoreFacts(number: QueueNo, nextPosition: number, deliveredUpTo: ReadonlyMap<Lane, Position>): void;
  /** Recovery: entries of one of its numbers, ascending. Writes nothing and wakes nobody. */
  restore(number: QueueNo, run: readonly StoredEntry[]): void;
  /** Before a clean stop: the redelivered mark is set back to what was really delivered. */
  settleMark(): void;
}

/** Counters for people; plain integers that only grow. */
export interface QueueCounters {
  published: number;
  delivered: number;
  deliveredNoAck: number;
  got: number;
  gotNoAck: number;
  getEmpty: number;
  acked: number;
  redelivered: number;
}

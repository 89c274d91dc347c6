// The seam of queues: what a vhost publishes to, what consumers consume from.
// Knows no sockets, channels, frames or users.

import type { Wakeable } from '../base/turn.ts';
import type { Entry, EntryHolder, EntryOwner } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { Destination } from '../routing/router.ts';
import type { QueueDeclaration } from './declaration.ts';

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
  /** Takes the next entry as a delivery of basic.get; null when nothing is ready. */
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

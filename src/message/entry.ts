// A message's place in one queue. Owned by its queue; a channel holds it while it is a delivery.
// Knows its owner only as "who settles me", so that acks need no lookup.

import type { Message } from './message.ts';

/** The queue an entry lives in, as far as a channel needs it. */
export interface EntryOwner {
  /** Settled for good. */
  ack(entry: Entry): void;
  /** Back to its old place, marked redelivered. */
  requeue(entry: Entry): void;
  /** Dropped, or dead-lettered where the queue says so. */
  reject(entry: Entry): void;
  /** How long an entry may stay with whoever holds it, in milliseconds; null, or not there, for the broker's setting. */
  readonly ackTimeoutMs?: number | null;
}

/** Who holds a delivery: a consumer, told when it is settled so that its credit comes back. */
export interface EntryHolder {
  settled(entry: Entry): void;
  /** How long it may hold an entry, in milliseconds; null, or not there, where the entry's owner says it. */
  readonly ackTimeoutMs?: number | null;
}

/** One message in one queue. */
export class Entry {
  readonly owner: EntryOwner;
  readonly message: Message;
  /** Place in the queue's order; kept when the entry is requeued. */
  readonly position: number;
  /** Was handed out before, or may have been before a restart. */
  redelivered = false;
  /** In the store, for the disk's sake or to relieve memory: has to be removed there when it is settled. */
  stored = false;
  /** Its record survives a restart. */
  durable = false;
  /** Batch its record is in; 0 when it is not known any more. */
  ticket = 0;
  /** When it expires, in ms since the epoch; 0 for never, negative for "now or never". */
  expiresAt = 0;
  /** What its queue remembers of its failures (see queue/tries.ts); 0 for nothing. */
  tries = 0;
  /** Where it stands in the lists of its queue, as bits. Written by those lists only. */
  place = 0;
  /** Consumer that holds it as an unacked delivery; null for basic.get and while it waits in the queue. */
  holder: EntryHolder | null = null;
  /** Neighbours in the queue's list of unacked entries. */
  previous: Entry | null = null;
  next: Entry | null = null;

  constructor(owner: EntryOwner, message: Message, position: number) {
    this.owner = owner;
    this.message = message;
    this.position = position;
  }
}

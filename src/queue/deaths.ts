// How messages of one queue end that nobody acknowledged.
// Owns that the dead letter is handed on, or kept where the queue must not lose it, and how many deaths are one turn's work. Knows no
// exchanges: where a dead letter goes, the vhost says. Why and when a message dies, whoever calls it says.
//
// Invariant: a dead entry leaves the store in the batch in which its dead letter enters, or is held back.

import type { DeathReason } from '../message/death.ts';
import { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { Duplicates } from './duplicates.ts';
import { NOW_OR_NEVER } from './expiry.ts';
import type { Line } from './line.ts';
import type { Ordering } from './ordering.ts';
import type { DeclaredQueue } from './queue.ts';
import type { QueueContext, QueueHost } from './queue-context.ts';

/** After so many deaths, a power of two, one looks how long the turn has taken. */
const DEATHS_PER_LOOK = 8;

/** The queue, as far as its dead need it. */
export interface DeathsHost extends DeclaredQueue {
  /** What of its messages is remembered; null where they may be alike. */
  readonly duplicates: Duplicates | null;
  /** Who holds which ordering key; null in a queue without them. */
  readonly ordering: Ordering | null;
}

/** Deaths in one queue. */
export class Deaths {
  private readonly queue: DeathsHost;
  private readonly context: QueueContext;
  private readonly host: QueueHost;

  constructor(queue: DeathsHost, context: QueueContext, host: QueueHost) {
    this.queue = queue;
    this.context = context;
    this.host = host;
  }

  /**
   * The end of an entry that stands in no list any more. It leaves the store in the batch in which its dead letter enters; a queue that
   * must not lose dead letters keeps it until then.
   */
  bury(entry: Entry, reason: DeathReason): void {
    const { duplicates, ordering } = this.queue;
    const line = entry.owner as Line;
    // Its dead letter may come back to this very queue, which may deliver first to have room for it: by then it has left, and its key
    // is free.
    if (duplicates !== null) duplicates.left(entry.message);
    if (ordering !== null) ordering.ended(entry);
    if (this.handOn(entry.message, reason)) line.discard(entry);
    else line.heldBack().keep(entry, reason);
  }

  /** The end of a message that comes too late for a place in the queue. @param durable its dead letter has to survive a restart */
  buryUnplaced(line: Line, message: Message, durable: boolean): void {
    const { duplicates } = this.queue;
    // Its dead letter may come back to this very queue.
    if (duplicates !== null) duplicates.left(message);
    if (this.handOn(message, 'expired')) return;
    const entry = new Entry(line, message, line.placeFor(true));
    entry.expiresAt = NOW_OR_NEVER;
    if (durable) {
      entry.durable = true;
      entry.stored = true;
      entry.ticket = line.log.write(entry, this.context.clock.now());
    }
    line.heldBack().keep(entry, 'expired');
  }

  /** A message died: to the dead-letter exchange, if there is one. @returns false when the dead letter has to be kept */
  handOn(message: Message, reason: DeathReason): boolean {
    const { queue } = this;
    return queue.options.deadLetterExchange === null || this.host.deadLetter(queue, message, reason);
  }

  /**
   * The turn has done enough. Dead letters may have many targets: a number of deaths alone does not bound the time that they take.
   * @param budget deaths that are left of `deliveriesPerTurn`
   */
  isTurnOver(budget: number): boolean {
    if (budget === 0) return true;
    const done = this.context.deliveriesPerTurn - budget;
    return done !== 0 && (done & (DEATHS_PER_LOOK - 1)) === 0 && this.context.turn.isLong;
  }
}

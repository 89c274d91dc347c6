// The seam through which people look into a queue and take single messages out of it, whatever its type.
// Owns the words: found message, place, walk. A look leaves no trace: no mark, no count, no other order.

import type { Message } from '../message/message.ts';
import type { Position, QueueNo } from '../store/store.ts';

/** Where a message is: ready, held by a consumer (or a basic.get), waiting for a retry, or dead and waiting for a queue to take it. */
export type MessageState = 'ready' | 'unacked' | 'retry' | 'dead';

/** How a ready message is kept: in memory, in memory behind its ordering key, or in the store only. Others are told as they are kept, too. */
export type MessagePlace = 'memory' | 'parked' | 'store';

/**
 * A message's place in the broker: the number of its queue in the store, and its position there or, in a queue with priorities, another
 * number that no other message of the queue has. Stays the same for as long as the message is in its queue.
 */
export interface MessageId {
  readonly number: QueueNo;
  readonly position: Position;
}

/** A message that a walk came by. Its message may share memory with others: what is to be kept has to be copied. */
export interface Found extends MessageId {
  readonly state: MessageState;
  readonly place: MessagePlace;
  readonly message: Message;
  readonly redelivered: boolean;
  /** When it expires, in ms since the epoch; 0 for never, negative for "now or never". */
  readonly expiresAt: number;
  /** When its wait is over, in ms since the epoch; 0 when it does not wait. */
  readonly dueAt: number;
  /** What its queue remembers of its failures (see tries.ts). */
  readonly tries: number;
  /** When it was published, in ms since the epoch; null where nobody wrote that down (all but streams). */
  readonly publishedAt: number | null;
}

/** What a walk goes through. */
export interface WalkRequest {
  /** Messages behind this place only; null to begin at the front. */
  readonly after: MessageId | null;
  readonly states: ReadonlySet<MessageState>;
  /** What `QueueContents.bounds` gave: messages before these places only; null for all. */
  readonly bounds: ReadonlyMap<number, Position> | null;
}

/** How a walk ended. */
export interface WalkEnd {
  /** What to go on behind; null when there is nothing more. */
  readonly next: MessageId | null;
}

/** Messages that one walk looks at, at most. */
export const WALK_MESSAGES_MAX = 10_000;
/** Bytes of messages that one walk looks at, or reads from the store, at most (and a read more). */
export const WALK_BYTES_MAX = 8 * 1024 * 1024;
/** Bytes that one read of a walk asks the store for. */
export const WALK_READ_BYTES = 512 * 1024;

/** The messages of one queue, as people see them. */
export interface QueueContents {
  /** Ready messages that wait for their ordering key. */
  readonly parkedCount: number;
  /**
   * Goes through messages in the queue's order, as far as the limits above allow, until `visit` says false; what it calls may take the
   * message out. `done` is called once, perhaps before this returns.
   */
  walk(
    request: WalkRequest,
    visit: (found: Found) => boolean,
    done: (error: Error | null, end: WalkEnd) => void,
  ): void;
  /**
   * Finds single messages, ready ones and others; calls `visit` for each one that is there, in no order that means anything.
   * `done` is called once, perhaps before this returns.
   */
  find(ids: readonly MessageId[], visit: (found: Found) => void, done: (error: Error | null) => void): void;
  /**
   * Takes a ready message out for good, in the store too. Only from within `visit`.
   * @returns the message, which shares memory with no other; null when it is not ready (any more)
   * @throws BrokerError precondition-failed for a queue that gives no single message away
   */
  take(found: Found): Message | null;
  /** Positions from which on nothing was there yet: the bounds of a walk that is not to see what comes from now on. */
  bounds(): Map<number, Position>;
}

/** An id as people write it: `<number>-<position>`. */
export function idText(id: MessageId): string {
  return `${id.number}-${id.position}`;
}

/** An id from its text; null when it is none. */
export function idOf(text: string): MessageId | null {
  const match = /^(\d{1,10})-(\d{1,16})$/.exec(text);
  if (match === null) return null;
  const position = Number(match[2]);
  return Number.isSafeInteger(position) ? { number: Number(match[1]), position } : null;
}

// The entries of one queue in the store: an entry written, read back as a message, removed.
// Owns the stored form of an entry's facts. Decides nothing: what is stored and when, the queue says.
// Invariant: what is removed is followed by a turn, whoever asked for it, so that it is committed soon. (A queue that writes is woken.)

import { AddressReader } from '../message/address.ts';
import type { Entry } from '../message/entry.ts';
import { type Message, messageFromStored, messageInPlace } from '../message/message.ts';
import type { QueueNo, StoredEntry, Ticket } from '../store/store.ts';
import type { LineShard } from './level-store.ts';
import type { QueueContext } from './queue-context.ts';

/** What the store has of one queue. */
export class EntryLog {
  private readonly context: QueueContext;
  private readonly shard: LineShard;
  private readonly queue: QueueNo;
  private readonly addresses = new AddressReader();

  constructor(context: QueueContext, shard: LineShard, queue: QueueNo) {
    this.context = context;
    this.shard = shard;
    this.queue = queue;
  }

  /**
   * Writes an entry into the open batch; one that is not durable only to relieve memory.
   * @param expiresAt deadline in ms since the epoch, 0 for none
   */
  write(entry: Entry, expiresAt: number): Ticket {
    const { message, position, durable } = entry;
    const { shard } = this;
    const { shared } = this.context;
    const options = durable && expiresAt === 0 ? null : { transient: !durable, expiresAt };
    if (shared !== null) return shard.enqueueShared(this.queue, position, shared, options);
    const { at } = message;
    return shard.enqueue(
      this.queue,
      position,
      message.address.wire,
      message.buffer,
      at,
      at + message.contentLength,
      options,
    );
  }

  /** What the store keeps of an entry's failures, and the time it waits for in ms since the epoch; 0 for none. */
  returned(position: number, tries: number, dueAt: number): void {
    this.shard.returned(this.queue, position, tries, dueAt);
    this.context.turn.request();
  }

  /** Writes an entry that has no record, at another position than its own, to relieve memory while it is held back. */
  writeHeldBack(entry: Entry, position: number, tries: number, dueAt: number, nowMs: number): void {
    const { message, expiresAt } = entry;
    const { at } = message;
    this.shard.enqueue(
      this.queue,
      position,
      message.address.wire,
      message.buffer,
      at,
      at + message.contentLength,
      // What had no time to live has missed its chance.
      { transient: true, tries, dueAt, expiresAt: expiresAt < 0 ? nowMs : expiresAt },
    );
    this.context.turn.request();
  }

  /** The message of a stored entry. */
  read(stored: StoredEntry): Message {
    return messageFromStored(stored.buffer, stored.start, stored.end, this.addresses.at, this.context.bodies);
  }

  /** The message of a stored entry where it stands: good as long as its bytes are. */
  view(stored: StoredEntry): Message {
    return messageInPlace(stored.buffer, stored.start, stored.end, this.addresses.at);
  }

  /** An entry that is settled for good, or given up. */
  remove(position: number): void {
    this.shard.remove(this.queue, position);
    this.context.turn.request();
  }

  /** Removes everything up to a position, except what is listed (ascending). */
  clear(upTo: number, keep: readonly number[]): void {
    this.shard.clear(this.queue, upTo, keep);
    this.context.turn.request();
  }

  /** Removes the queue with all that is in it. */
  drop(): void {
    this.shard.dropQueue(this.queue);
    this.context.turn.request();
  }
}

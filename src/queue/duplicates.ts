// Which messages a queue has, or has had: what a new one is compared with (x-message-deduplication).
// Owns the comparison; the memory is known-keys.ts. Decides nothing: what becomes of a duplicate, and when a message is gone, the queue says.

import type { Clock } from '../base/clock.ts';
import { deduplicationKey, rememberedFor } from '../message/deduplication.ts';
import type { Message } from '../message/message.ts';
import { KnownKeys } from './known-keys.ts';
import type { DeduplicationOptions } from './queue-options.ts';

/** The messages of one queue that are remembered. */
export class Duplicates {
  /** Messages that were like one before. */
  dropped = 0;
  private readonly options: DeduplicationOptions;
  private readonly keys: KnownKeys;

  constructor(options: DeduplicationOptions, clock: Clock) {
    this.options = options;
    this.keys = new KnownKeys(options.sizeMax, clock);
  }

  /** Remembers a message that comes. @returns false when one like it is remembered */
  admits(message: Message): boolean {
    const key = deduplicationKey(message, this.options.header);
    if (key === null) return true;
    const isNew = this.keys.add(key, this.ttlOf(message));
    if (!isNew) this.dropped++;
    return isNew;
  }

  /** A message is in the queue already: recovery found it, or a purge left it. Of several that are alike, the one told last counts. */
  holds(message: Message): void {
    const key = deduplicationKey(message, this.options.header);
    if (key === null) return;
    this.keys.delete(key);
    this.keys.add(key, this.ttlOf(message));
  }

  /** A message has left the queue for good. */
  left(message: Message): void {
    if (this.options.afterwards) return;
    const key = deduplicationKey(message, this.options.header);
    if (key !== null) this.keys.delete(key);
  }

  /** Everything that waited has left the queue. @returns true when what consumers hold is forgotten too, and has to be told again (`holds`) */
  purged(): boolean {
    if (this.options.afterwards) return false;
    this.keys.clear();
    return true;
  }

  /** For how long the message is remembered: as long as it is there, unless it is remembered afterwards. */
  private ttlOf(message: Message): number {
    const { ttlMs, afterwards } = this.options;
    return afterwards ? (rememberedFor(message) ?? ttlMs) : ttlMs;
  }
}

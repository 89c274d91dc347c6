// The latest messages of a stream, in memory for readers that keep up. Owns the ring and what is in it.
// Invariants: positions first … next-1 follow each other and lie in the ring; what was taken out stays reachable from no slot.

import type { Message } from '../message/message.ts';
import { filterValueOf } from './stream-filter.ts';

/** Slots of a new ring. */
const MIN_SLOTS = 64;
/** An empty ring of more slots than this is given up, so that an idle stream costs little. */
const KEEP_SLOTS = 2_048;

/** Messages at the end of one stream. */
export class StreamTail {
  /** Position of the oldest message; equal to `next` when there is none. */
  first = 1;
  /** Position of the message to come. */
  next = 1;
  /** Memory of the messages, in bytes. */
  bytes = 0;
  /** Messages by position & mask; null where none is. */
  slots: (Message | null)[] = new Array<Message | null>(MIN_SLOTS).fill(null);
  mask = MIN_SLOTS - 1;
  /** Filter values beside the messages, undefined where nobody asked; null until somebody filters. */
  private values: (string | null | undefined)[] | null = null;

  /** Adds the message at position `next`. */
  push(message: Message): void {
    if (this.next - this.first > this.mask) this.resize((this.mask + 1) * 2);
    const slot = this.next & this.mask;
    this.slots[slot] = message;
    if (this.values !== null) this.values[slot] = undefined;
    this.next++;
    this.bytes += message.footprint;
  }

  /** Forgets what stands before `position`, which is at most `next`. */
  forgetBefore(position: number): void {
    const { slots, mask } = this;
    for (; this.first < position; this.first++) {
      const slot = this.first & mask;
      this.bytes -= slots[slot]!.footprint;
      slots[slot] = null;
    }
    if (this.first === this.next && mask >= KEEP_SLOTS) this.resize(MIN_SLOTS);
  }

  /** Forgets everything; the next message stands at `position`. */
  restartAt(position: number): void {
    this.forgetBefore(this.next);
    this.first = position;
    this.next = position;
  }

  /** The filter value of the message at a position of the ring; null for a message without one. */
  filterValueAt(position: number): string | null {
    this.values ??= new Array<string | null | undefined>(this.mask + 1).fill(undefined);
    const slot = position & this.mask;
    let value = this.values[slot];
    if (value === undefined) {
      value = filterValueOf(this.slots[slot]!);
      this.values[slot] = value;
    }
    return value;
  }

  private resize(count: number): void {
    const slots = new Array<Message | null>(count).fill(null);
    const mask = count - 1;
    for (let position = this.first; position < this.next; position++)
      slots[position & mask] = this.slots[position & this.mask]!;
    this.slots = slots;
    this.mask = mask;
    this.values = null;
  }
}

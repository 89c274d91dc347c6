// Which publishes of one channel wait for their confirm, and how long they waited.
// Owns numbers and times; knows no frames. Invariant: numbers below `lowest` are settled; `outstanding` counts the unsettled ones
// of [lowest, next).

import { Histogram } from './histogram.ts';

/** A window of unconfirmed publishes. */
export class ConfirmWindow {
  /** Most unconfirmed publishes at any time. */
  readonly size: number;
  /** Publishes that were acked. */
  confirmed = 0;
  /** Publishes that were nacked. */
  refused = 0;
  /** Publishes that wait. */
  outstanding = 0;
  /** Time from write to confirm, in microseconds. */
  readonly latency = new Histogram();
  /** When number n was written, in ms, at n & mask; -1 once it is settled. */
  private readonly sentAt: Float64Array;
  private readonly mask: number;
  private next = 1;
  private lowest = 1;

  constructor(size: number) {
    this.size = size;
    // A broker may confirm out of order, so the span from the lowest number on is wider than the window.
    let capacity = 16;
    while (capacity < size * 8) capacity *= 2;
    this.sentAt = new Float64Array(capacity);
    this.mask = capacity - 1;
  }

  /** How many publishes may be written now. */
  room(): number {
    return Math.min(this.size - this.outstanding, this.mask - (this.next - this.lowest));
  }

  /** `count` messages were written at `nowMs`. */
  published(count: number, nowMs: number): void {
    for (let i = 0; i < count; i++) this.sentAt[(this.next + i) & this.mask] = nowMs;
    this.next += count;
    this.outstanding += count;
  }

  /** basic.ack or basic.nack from the broker. @throws Error for a number that was never published */
  settle(tag: number, multiple: boolean, refused: boolean, nowMs: number): void {
    if (tag >= this.next)
      throw new Error(`confirm ${tag}, but only ${this.next - 1} messages were published`);
    const from = multiple ? this.lowest : tag;
    let settled = 0;
    for (let n = from; n <= tag; n++) {
      const sent = this.sentAt[n & this.mask]!;
      if (n < this.lowest || sent < 0) {
        if (multiple) continue;
        throw new Error(`message ${n} was confirmed twice`);
      }
      this.sentAt[n & this.mask] = -1;
      this.latency.record((nowMs - sent) * 1000);
      settled += 1;
    }
    if (refused) this.refused += settled;
    else this.confirmed += settled;
    this.outstanding -= settled;
    while (this.lowest < this.next && this.sentAt[this.lowest & this.mask]! < 0) this.lowest += 1;
  }
}

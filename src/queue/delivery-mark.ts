// "May have been delivered": the mark on disk that makes the redelivered flag after a crash.
// Owns how far the mark reaches and what of it is durable. Runs ahead of the deliveries, so that it costs one small write per
// MARK_AHEAD deliveries; after a crash at most so many entries are marked without need, and none is missed.
// Invariant: an entry is allowed out only when a mark that covers it is durable, or lies in the entry's own batch or an earlier one.

import type { Entry } from '../message/entry.ts';
import type { Position, QueueNo, Shard } from '../store/store.ts';

/** How far ahead of the deliveries the mark is written. */
export const MARK_AHEAD = 1_000;
/** How far it may be written while old messages leave faster than the disk takes marks. */
export const MARK_AHEAD_MAX = 16_000;

/** What a line asks of its mark, or of its marks. */
export interface LineMark {
  /** The entry at this position may have been delivered before the last restart. */
  coveredBeforeRestart(position: Position): boolean;
  /**
   * May the entry be handed out now? Asks for the mark when it is not there.
   * False: its mark is on the way to the disk, ask again after the next commit.
   */
  allows(entry: Entry): boolean;
  /** The entry at this position is handed out, and may come back. */
  handOut(position: Position): void;
  /** Before a clean stop: the mark is set back to what was really delivered, now or before an earlier restart. */
  settle(): void;
}

/** The mark of one line, or of one half of it. */
export class DeliveryMark implements LineMark {
  private readonly shard: Pick<Shard, 'delivered' | 'durableTicket'>;
  private readonly queue: QueueNo;
  /** Everything up to here is marked on disk. */
  private durable = 0;
  /** The highest mark that was written, and the batch it is in. */
  private written = 0;
  private ticket = 0;
  /** Entries up to here may have been delivered before the last restart. */
  private recovered = 0;
  /** Highest position that was handed out since. */
  private handedOut = 0;
  /** How far ahead the next mark is written. */
  private ahead = MARK_AHEAD;
  /** An entry had to wait for the mark that was written last. */
  private waited = false;
  /** A new mark is written when the old one reaches no further than this ahead. */
  private lead = MARK_AHEAD >> 1;
  private readonly reach: ((position: Position, ahead: number) => Position) | null;

  /** @param reach where a mark ends that goes `ahead` messages ahead of a position; null where each position has its message */
  constructor(
    shard: Pick<Shard, 'delivered' | 'durableTicket'>,
    queue: QueueNo,
    reach: ((position: Position, ahead: number) => Position) | null = null,
  ) {
    this.shard = shard;
    this.queue = queue;
    this.reach = reach;
  }

  /** Recovery: what was marked before the stop. */
  restore(upTo: number): void {
    this.recovered = upTo;
    this.durable = upTo;
    this.written = upTo;
  }

  coveredBeforeRestart(position: number): boolean {
    return position <= this.recovered;
  }

  allows(entry: Entry): boolean {
    if (!entry.durable) return true;
    const { position } = entry;
    const soon = position + this.lead;
    if (soon <= this.written && position <= this.durable) return true;
    if (this.shard.durableTicket >= this.ticket) {
      this.durable = this.written;
      if (soon > this.written) this.write(position);
    } else if (position > this.written) {
      // The disk is behind; but all that the mark under way covers is handed out already, so another one may take its place.
      this.write(position);
    }
    if (position <= this.durable) return true;
    if (entry.ticket >= this.ticket) {
      // Messages that leave while their own batch is open never wait: a short mark will do.
      this.ahead = MARK_AHEAD;
      return true;
    }
    this.waited = true;
    return false;
  }

  /** The entry at this position will be asked for soon. */
  prepare(position: Position): void {
    if (position > this.written) this.write(position);
  }

  private write(position: number): void {
    if (this.waited) {
      this.waited = false;
      this.ahead = Math.min(this.ahead * 2, MARK_AHEAD_MAX);
    }
    this.written = this.reach === null ? position + this.ahead : this.reach(position, this.ahead);
    this.lead = (this.written - position) / 2;
    this.ticket = this.shard.delivered(this.queue, 0, this.written);
  }

  handOut(position: number): void {
    if (position > this.handedOut) this.handedOut = position;
  }

  settle(): void {
    const upTo = Math.max(this.recovered, this.handedOut);
    if (upTo < this.written) this.shard.delivered(this.queue, 0, upTo);
  }
}

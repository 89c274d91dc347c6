// One consumer of a stream: its place, what it wants, what it holds. Owns the loop that hands messages over, from the tail in memory or from
// a run that was read back. Which reader is served next, the stream says.
// Settling a delivery returns credit and nothing else: the message stays where it is for everybody.
// Invariants: deliveries ascend; everything before `position` was handed out or was not wanted; an entry does not keep its message once it
// is delivered, so that one that stays unacked for long does not hold what was read together with it.

import { Entry, type EntryOwner } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { Consumer } from './queue.ts';
import type { StreamFilter } from './stream-filter.ts';
import type { RunReader, StreamRun, StreamRuns } from './stream-runs.ts';
import type { StreamTail } from './stream-tail.ts';

/** In the stream's line, to be served. */
export const IN_LINE = 0;
/** Its consumer has no capacity. */
export const PARKED = 1;
/** Has everything that is committed. */
export const IDLE = 2;
/** Waits for the store. */
export const READING = 3;
/** Cancelled, or the stream is gone. */
export const GONE = 4;
export type ReaderPlace = typeof IN_LINE | typeof PARKED | typeof IDLE | typeof READING | typeof GONE;

/** The stream, as far as its readers need it. */
export interface ReaderHost {
  readonly tail: StreamTail;
  readonly runs: StreamRuns;
  /** Position of the oldest message. */
  readonly firstPosition: number;
  /** Position behind the last message that readers may see. */
  readonly committedEnd: number;
  /** `position`, or the first one behind it where a message can stand. */
  skipGap(position: number): number;
  /** The reader's place has changed from waiting to ready: into the line with it. */
  readerReady(reader: StreamReader): void;
  /** Everything before `position` is settled, as far as the reader goes. */
  readerAdvanced(reader: StreamReader, position: number): void;
  /** Deliveries of the stream in consumers' hands, and its counters. */
  unackedCount: number;
  readonly counters: { delivered: number; deliveredNoAck: number; acked: number };
}

/** Entries as a reader makes them: the message is taken out after the delivery. */
type Emptied = { -readonly [K in keyof Entry]: K extends 'message' ? Message | null : Entry[K] };

/** A reader. */
export class StreamReader implements EntryOwner, RunReader {
  readonly consumer: Consumer;
  readonly filter: StreamFilter | null;
  /** Name that its place is remembered under; null for none. */
  readonly name: string | null;
  /** Position of the next message to look at. */
  position: number;
  place: ReaderPlace = IN_LINE;
  private readonly host: ReaderHost;
  private run: StreamRun | null = null;
  /** Its unsettled deliveries in order, of a named reader only: the oldest says how far it has come. */
  private oldest: Entry | null = null;
  private latest: Entry | null = null;
  /** Position of the oldest delivery that was given back; the reader never gets beyond it. Infinity for none. */
  private returned = Number.POSITIVE_INFINITY;

  constructor(
    host: ReaderHost,
    consumer: Consumer,
    position: number,
    filter: StreamFilter | null,
    name: string | null,
  ) {
    this.host = host;
    this.consumer = consumer;
    this.position = position;
    this.filter = filter;
    this.name = name;
  }

  /** It reads from the store, or waits for it. */
  get isCold(): boolean {
    return this.run !== null || this.place === READING;
  }

  /** A reader with a name that has unsettled deliveries. */
  get isHolding(): boolean {
    return this.oldest !== null;
  }

  /**
   * Hands messages over until the consumer is full, nothing is left, or `budget` messages were looked at. Says in `place` which.
   * @returns messages looked at
   */
  serve(budget: number): number {
    const { host } = this;
    let left = budget;
    while (left > 0 && this.place === IN_LINE) {
      if (this.position < host.firstPosition) this.position = host.firstPosition;
      if (this.position >= host.committedEnd) {
        this.letGo();
        this.place = IDLE;
      } else if (this.position >= host.tail.first) {
        this.letGo();
        left = this.serveTail(left);
      } else if (this.findRun()) {
        left = this.serveRun(left);
      }
    }
    return budget - left;
  }

  /** The run with the next message is there. */
  private findRun(): boolean {
    const { host, run } = this;
    if (run !== null && this.position >= run.first && this.position < run.end) return true;
    this.letGo();
    // Nothing has stood in a gap, so nothing is there to be read.
    const position = host.skipGap(this.position);
    if (position !== this.position) {
      this.position = position;
      return false;
    }
    this.run = host.runs.take(this);
    if (this.run !== null) return true;
    this.place = READING;
    return false;
  }

  private serveTail(budget: number): number {
    const { tail } = this.host;
    const stop = Math.min(this.host.committedEnd, this.position + budget);
    const from = this.position;
    for (let position = from; position < stop; position++) {
      if (this.filter !== null && !this.filter.wants(tail.filterValueAt(position))) {
        this.position = position + 1;
        continue;
      }
      const message = tail.slots[position & tail.mask]!;
      // A consumer that publishes while it is served may push messages out of the tail.
      if (message === null || !this.hand(message, position)) break;
    }
    return budget - (this.position - from);
  }

  private serveRun(budget: number): number {
    const run = this.run!;
    const { first, messages } = run;
    const stop = Math.min(run.end, this.position + budget);
    const from = this.position;
    for (let position = from; position < stop; position++) {
      if (this.filter !== null && !this.filter.wants(run.filterValueAt(position))) {
        this.position = position + 1;
        continue;
      }
      if (!this.hand(messages[position - first]!, position)) break;
    }
    return budget - (this.position - from);
  }

  /** Delivers one message. @returns false when the reader has to stop, with or without it */
  private hand(message: Message, position: number): boolean {
    const { consumer, host } = this;
    if (!consumer.hasCapacity()) {
      this.place = PARKED;
      consumer.parked = true;
      return false;
    }
    this.position = position + 1;
    const entry = new Entry(this, message, position);
    entry.stored = true;
    entry.durable = true;
    if (consumer.noAck) {
      host.counters.deliveredNoAck++;
      consumer.deliver(entry);
      if (this.name !== null) host.readerAdvanced(this, this.position);
    } else {
      host.counters.delivered++;
      host.unackedCount++;
      entry.holder = consumer;
      if (this.name !== null) this.hold(entry);
      consumer.deliver(entry);
    }
    (entry as Emptied).message = null;
    // A consumer may leave while it is served.
    return this.place === IN_LINE;
  }

  // ── settling ──

  ack(entry: Entry): void {
    this.host.counters.acked++;
    this.settle(entry);
  }

  /** RabbitMQ: nothing is delivered again. A reader with a name is not past it, though, and gets it when it comes back. */
  requeue(entry: Entry): void {
    if (entry.position < this.returned) this.returned = entry.position;
    this.settle(entry);
  }

  /** RabbitMQ: nothing is dropped, and nothing dead-lettered. */
  reject(entry: Entry): void {
    this.settle(entry);
  }

  private settle(entry: Entry): void {
    this.host.unackedCount--;
    entry.holder = null;
    if (this.name === null) return;
    const wasOldest = entry.previous === null;
    this.release(entry);
    if (!wasOldest) return;
    const reached = this.oldest === null ? this.position : this.oldest.position;
    this.host.readerAdvanced(this, Math.min(reached, this.returned));
  }

  private hold(entry: Entry): void {
    entry.previous = this.latest;
    if (this.latest === null) this.oldest = entry;
    else this.latest.next = entry;
    this.latest = entry;
  }

  private release(entry: Entry): void {
    const { previous, next } = entry;
    if (previous === null) this.oldest = next;
    else previous.next = next;
    if (next === null) this.latest = previous;
    else next.previous = previous;
    entry.previous = null;
    entry.next = null;
  }

  // ── the store ──

  runReady(): void {
    if (this.place === READING) this.host.readerReady(this);
  }

  /** The reader leaves; what it holds may still be settled. */
  leave(): void {
    this.place = GONE;
    this.letGo();
  }

  private letGo(): void {
    const { run } = this;
    if (run === null) return;
    this.run = null;
    this.host.runs.release(run);
  }
}

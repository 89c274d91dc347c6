// The messages that one exchange holds back until their time: in the store only, 20 bytes of memory each (due-entries.ts).
// Owns their place in the store and what is known of them. Knows no exchange: where a message goes when its time has come, its host
// says. A route leads to it as to a queue, so that confirms, transactions and returns need to know nothing of delays.
//
// Invariants: a message leaves the store in the batch in which it enters its queues, so that a crash neither loses nor doubles it;
// one that is not persistent is in the store to relieve memory only, and gone after a restart.

import { AddressReader } from '../message/address.ts';
import { delayOf, heldMessage, keysOf, releasedMessage } from '../message/delay.ts';
import { type Message, messageFromStored, storedBodyLength } from '../message/message.ts';
import type { QueueNo, StoredEntry } from '../store/store.ts';
import { DueEntries } from './due-entries.ts';
import { PublishOnly } from './publish-only.ts';
import { ACCEPTED, MUST_COMMIT, REJECTED } from './queue.ts';
import type { QueueContext } from './queue-context.ts';

/** Messages that may wait for one exchange; what comes on top is refused. Each takes 20 bytes of memory. */
export const DELAYED_MAX = 20_000_000;
/** Messages that one call lists at most. */
export const LIST_MAX = 1_000;
/** Bytes of messages that one call lists at most, and one read takes; the first message may always be larger. */
const LIST_BYTES_MAX = 1024 * 1024;

/** A message that waits. */
export interface WaitingMessage {
  /** Names it among the messages of its exchange, for as long as it waits. */
  readonly id: number;
  /** When it will be routed, in ms since the epoch. */
  readonly dueAt: number;
  /** Survives a restart. */
  readonly durable: boolean;
  /** As it will be delivered, except that it still has its BCC. */
  readonly message: Message;
}

/** A page of waiting messages. */
export interface WaitingPage {
  readonly messages: readonly WaitingMessage[];
  /** What to go on behind; null when this was the last page. */
  readonly next: number | null;
}

/** Whoever holds messages back. */
export interface DelayLineHost {
  /** Routes and publishes a message whose time has come, at once. */
  release(message: Message, keys: readonly string[]): void;
}

/** The waiting messages of one exchange. */
export class DelayLine extends PublishOnly {
  /** Its number in the store. */
  readonly number: QueueNo;
  deleted = false;
  /** Body bytes of the messages that wait. */
  messageBytes = 0;
  /** Messages that were held back, released and cancelled so far. */
  held = 0;
  released = 0;
  cancelled = 0;

  private count = 0;
  private readonly context: QueueContext;
  private readonly host: DelayLineHost;
  private readonly entries: DueEntries;
  private readonly addresses = new AddressReader();
  private nextPosition = 1;
  /** Positions of cancelled messages that the index has not let go yet. */
  private readonly gone = new Set<number>();
  /** Messages that are being looked for in order to be cancelled, and still wait. */
  private readonly asked = new Set<number>();

  /**
   * @param exchange name of the exchange it belongs to
   * @param durable its persistent messages survive a restart
   */
  constructor(
    exchange: string,
    durable: boolean,
    number: QueueNo,
    context: QueueContext,
    host: DelayLineHost,
  ) {
    // No queue of a client has this name.
    super(`\0delayed\0${exchange}`, durable);
    this.number = number;
    this.context = context;
    this.host = host;
    this.entries = new DueEntries(context, number, {
      // What people read in a log line.
      name: `delayed messages of exchange '${exchange}'`,
      stillWaits: (position) => this.stillWaits(position),
      due: (position, bodyLength, stored) => this.due(position, bodyLength, stored),
    });
  }

  /** Messages that wait. */
  override get messageCount(): number {
    return this.count;
  }

  wouldRefuse(): boolean {
    return !this.deleted && this.count >= DELAYED_MAX;
  }

  /** Holds a message back. Its delay is counted from now. */
  publish(message: Message): number {
    return this.hold(message, [message.address.routingKey]);
  }

  /** As `publish`, for a message with further routing keys. */
  hold(message: Message, keys: readonly string[]): number {
    if (this.deleted) return ACCEPTED;
    if (this.count >= DELAYED_MAX) return REJECTED;
    const delayMs = delayOf(message);
    const waiting = heldMessage(message, delayMs, keys);
    const { context } = this;
    const durable = this.declaration.durable && waiting.persistent;
    const dueAt = context.clock.now() + delayMs;
    const position = this.nextPosition++;
    const { at, bodyLength } = waiting;
    context.shard.enqueue(
      this.number,
      position,
      waiting.address.wire,
      waiting.buffer,
      at,
      at + waiting.contentLength,
      { expiresAt: dueAt, transient: !durable },
    );
    this.held++;
    this.enter(bodyLength);
    this.entries.add(dueAt, position, bodyLength);
    context.turn.request();
    return durable ? MUST_COMMIT : ACCEPTED;
  }

  /**
   * Lists waiting messages in the order in which they came.
   * @param after id behind which the page begins; 0 for the first
   * @param done called once, never synchronously
   */
  list(after: number, limit: number, done: (error: Error | null, page: WaitingPage) => void): void {
    const countMax = Math.max(1, Math.min(limit, LIST_MAX));
    const messages: WaitingMessage[] = [];
    let bytes = 0;
    const page = (from: number): void => {
      this.context.shard.read(this.number, from, LIST_BYTES_MAX, (error, run) => {
        if (error !== null) return done(error, { messages: [], next: null });
        for (let i = 0; i < run.length; i++) {
          const stored = run[i]!;
          if (this.gone.has(stored.position)) continue;
          messages.push(this.waiting(stored));
          bytes += stored.end - stored.start;
          if (messages.length === countMax || bytes >= LIST_BYTES_MAX)
            return done(null, { messages, next: stored.position });
        }
        if (run.length === 0) return done(null, { messages, next: null });
        page(run[run.length - 1]!.position + 1);
      });
    };
    page(after + 1);
  }

  /**
   * Takes a waiting message back: it is never routed.
   * @param done called once, never synchronously, with false when no such message waits any more
   */
  cancelMessage(id: number, done: (error: Error | null, cancelled: boolean) => void): void {
    if (this.asked.has(id)) {
      setImmediate(() => done(null, false));
      return;
    }
    this.asked.add(id);
    this.context.shard.read(this.number, Math.max(1, id), 1, (error, run) => {
      // Its time may have come while it was looked for.
      const waits = this.asked.delete(id);
      const stored = run[0];
      if (error !== null) return done(error, false);
      if (!waits || stored?.position !== id) return done(null, false);
      this.gone.add(id);
      this.cancelled++;
      this.leave(storedBodyLength(stored.buffer, stored.start));
      this.context.shard.remove(this.number, id);
      this.context.turn.request();
      done(null, true);
    });
  }

  /** Takes all waiting messages back. @returns how many */
  override purge(): number {
    const { count } = this;
    this.entries.clear();
    this.gone.clear();
    this.asked.clear();
    this.count = 0;
    this.messageBytes = 0;
    this.cancelled += count;
    this.context.shard.clear(this.number, this.nextPosition - 1, []);
    this.context.turn.request();
    return count;
  }

  /** Its exchange is gone, and what waits with it. */
  delete(): void {
    if (this.deleted) return;
    this.deleted = true;
    this.entries.stop();
    this.gone.clear();
    this.asked.clear();
    this.count = 0;
    this.messageBytes = 0;
    this.context.shard.dropQueue(this.number);
    this.context.turn.request();
  }

  /** Recovery: where positions go on. */
  restoreFacts(_number: QueueNo, nextPosition: number): void {
    this.nextPosition = Math.max(this.nextPosition, nextPosition);
  }

  /** Recovery: waiting messages, ascending. Nothing is released before `resume`. */
  restore(_number: QueueNo, run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const { position, expiresAt, buffer, start } = run[i]!;
      const bodyLength = storedBodyLength(buffer, start);
      this.enter(bodyLength);
      this.entries.restore(expiresAt, position, bodyLength);
      if (position >= this.nextPosition) this.nextPosition = position + 1;
    }
  }

  /** Recovery has ended: what came due meanwhile goes on. */
  resume(): void {
    this.entries.resume();
  }

  // ── the index's view ──

  private stillWaits(position: number): boolean {
    // The question is not asked again after a no, so this is the last use of the mark.
    return this.gone.size === 0 || !this.gone.delete(position);
  }

  private due(position: number, bodyLength: number, stored: StoredEntry | null): void {
    this.leave(bodyLength);
    this.released++;
    if (this.asked.size !== 0) this.asked.delete(position);
    const waiting = this.read(stored!);
    this.host.release(releasedMessage(waiting), keysOf(waiting));
    this.context.shard.remove(this.number, position);
    this.context.turn.request();
  }

  private waiting(stored: StoredEntry): WaitingMessage {
    return {
      id: stored.position,
      dueAt: stored.expiresAt,
      durable: !stored.transient,
      message: this.read(stored),
    };
  }

  private read(stored: StoredEntry): Message {
    return messageFromStored(stored.buffer, stored.start, stored.end, this.addresses.at);
  }

  private enter(bodyLength: number): void {
    this.count++;
    this.messageBytes += bodyLength;
  }

  private leave(bodyLength: number): void {
    this.count--;
    this.messageBytes -= bodyLength;
  }
}

/** A held message's further routing keys on the way to its line: a route is handed on as queues, which know no keys. */
export class KeyedDelay extends PublishOnly {
  readonly line: DelayLine;
  private readonly keys: readonly string[];

  constructor(line: DelayLine, keys: readonly string[]) {
    super(line.name, line.declaration.durable);
    this.line = line;
    this.keys = keys;
  }

  wouldRefuse(): boolean {
    return this.line.wouldRefuse();
  }

  publish(message: Message): number {
    return this.line.hold(message, this.keys);
  }
}

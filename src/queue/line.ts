// One line of a queue: entries in one order, under one number of the store. A plain queue is one line; a queue with priorities has one
// for each level that ever had a message.
// Owns where its entries stand (in memory, only in the store, held by consumers), their counts, their record in the store and the mark of
// what may have been delivered. Decides nothing about deliveries, limits or deaths: its queue does.
//
// Where entries stand, in ascending position:  unacked … | ready, in memory | cold, only in the store
// Invariants
// - New messages go cold while anything is cold. What stands in memory behind something cold (taken out of its order and put back) is
//   not seen at the front until that has come back.
// - Counts of the line and of its queue change in the same call as the lists.

import { Entry, type EntryOwner } from '../message/entry.ts';
import { type Message, storedBodyLength } from '../message/message.ts';
import type { QueueNo, StoredEntry } from '../store/store.ts';
import { DeliveryMark } from './delivery-mark.ts';
import { EntryLog } from './entry-log.ts';
import type { Levels } from './levels.ts';
import { Pager, type PagerHost } from './pager.ts';
import type { QueueContext } from './queue-context.ts';
import { ReadyList } from './ready-list.ts';
import { UnackedList } from './unacked-list.ts';

/** The queue, as far as its lines need it. */
export interface LineHost extends EntryOwner {
  readonly name: string;
  /** Ready messages of all lines, their body bytes, and the bytes of message memory they hold. Written by the lines. */
  messageCount: number;
  messageBytes: number;
  memoryBytes: number;
  /** Lines among which the queue's share of the memory is divided. */
  readonly lineCount: number;
  wake(): void;
  /** What is cold in one of the lines cannot be read. */
  readFailed(): void;
}

/** A line. Owns its entries: what a channel settles comes here, and goes to the queue. */
export class Line implements EntryOwner, PagerHost {
  /** Priority of its messages; 0 in a plain queue. */
  readonly level: number;
  /** Number of its content in the store. */
  readonly number: QueueNo;
  /** Ready messages, in memory or not. */
  count = 0;
  /** Position of the next message. */
  nextPosition = 1;
  /** Bytes of message memory the line holds. */
  hotBytes = 0;
  readonly ready = new ReadyList();
  readonly unacked = new UnackedList();
  readonly pager: Pager;
  readonly mark: DeliveryMark;
  readonly log: EntryLog;
  private readonly queue: LineHost;
  private readonly context: QueueContext;
  /** Told when the line fills and empties; null in a plain queue. */
  private readonly levels: Levels | null;

  constructor(queue: LineHost, level: number, number: QueueNo, context: QueueContext, levels: Levels | null) {
    this.queue = queue;
    this.level = level;
    this.number = number;
    this.context = context;
    this.levels = levels;
    this.log = new EntryLog(context, number);
    this.pager = new Pager(context.shard, number, this, context.log);
    this.mark = new DeliveryMark(context.shard, number);
  }

  get name(): string {
    return this.queue.name;
  }

  // ── entries come ──

  /** The message has no place in memory. */
  isFullFor(message: Message): boolean {
    return this.context.memory.exceededBy((this.hotBytes + message.footprint) * this.queue.lineCount);
  }

  /** A new entry with the next position goes to the back, in memory. */
  push(entry: Entry): void {
    this.ready.push(entry);
    this.enterMemory(entry.message);
    this.counted(1, entry.message.bodyLength);
  }

  /** A new entry that was written to the store goes to the back, and stays there only. */
  pushCold(position: number, bodyLength: number): void {
    this.pager.add(position, bodyLength);
    this.counted(1, bodyLength);
  }

  /** An entry that was taken goes back to its place. */
  putBack(entry: Entry): void {
    this.ready.putBack(entry);
    this.enterMemory(entry.message);
    this.counted(1, entry.message.bodyLength);
  }

  // ── entries go ──

  /** The entry at the front; null when nothing is ready or it has to come from the store first (`pager.bringBack`). */
  peek(): Entry | null {
    const entry = this.ready.peek();
    return entry !== null && entry.position < this.pager.from ? entry : null;
  }

  /** Takes the entry that `peek` has shown. */
  shift(): void {
    this.left(this.ready.shift()!);
  }

  /** Takes an entry that waits in memory out, wherever it stands. */
  take(entry: Entry): void {
    this.ready.take(entry);
    this.left(entry);
  }

  /** Takes a cold entry out, wherever it stands: `pager.has` says that it is there. Its record stays until `remove`. */
  takeCold(position: number, bodyLength: number): void {
    this.pager.take(position, bodyLength);
    this.counted(-1, -bodyLength);
  }

  /** The record of an entry that is settled for good, or given up, leaves the store. */
  remove(entry: Entry): void {
    if (entry.stored) this.forget(entry.position);
  }

  /** As `remove`, for an entry of which only the position is known. */
  forget(position: number): void {
    this.log.remove(position);
    this.pager.settled(position);
  }

  /** Everything ready leaves, without a word to the store. */
  forgetReady(): void {
    const { ready, pager } = this;
    for (let entry = ready.shift(); entry !== null; entry = ready.shift()) this.left(entry);
    const { count, bodyBytes } = pager;
    pager.clear();
    if (count !== 0) this.counted(-count, -bodyBytes);
  }

  /** Everything ready leaves, in the store too. */
  clear(): void {
    this.forgetReady();
    this.log.clear(this.nextPosition - 1, this.unacked.storedPositions());
  }

  /** The end of the line: everything is forgotten, in the store too. */
  drop(): void {
    this.forgetReady();
    this.log.drop();
  }

  // ── from the store ──

  /** Recovery: where positions go on, and up to where entries may have been delivered before the stop. */
  restoreFacts(nextPosition: number, deliveredUpTo: number): void {
    // The mark runs ahead of the deliveries: positions go on behind it, or new messages would look redelivered.
    this.nextPosition = Math.max(this.nextPosition, nextPosition, deliveredUpTo + 1);
    this.mark.restore(deliveredUpTo);
  }

  /** Recovery: entries in ascending order. Beyond the memory budget they are only counted. */
  restore(run: readonly StoredEntry[]): void {
    const { memory } = this.context;
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      if (this.pager.count === 0 && !memory.exceededBy(this.hotBytes * this.queue.lineCount))
        this.push(this.entryOf(stored));
      else this.pushCold(stored.position, storedBodyLength(stored.buffer, stored.start));
    }
    const last = run[run.length - 1];
    if (last !== undefined && last.position >= this.nextPosition) this.nextPosition = last.position + 1;
  }

  /** A stored entry with its message, in no list. */
  entryOf(stored: StoredEntry): Entry {
    const entry = new Entry(this, this.log.read(stored), stored.position);
    entry.stored = true;
    entry.durable = !stored.transient;
    entry.expiresAt = stored.expiresAt;
    entry.redelivered = this.mark.coveredBeforeRestart(stored.position);
    return entry;
  }

  // ── the pager's view ──

  room(): number {
    const share = this.context.memory.share / this.queue.lineCount;
    // Half empty before it is filled again: few long reads instead of many short ones.
    if (this.hotBytes <= share / 2) return share - this.hotBytes;
    // What was put back behind the cold part may fill the memory; without a run from before it, it would stay for ever.
    return this.peek() === null ? share / 2 : 0;
  }

  takeRun(run: readonly StoredEntry[]): number {
    let bodyBytes = 0;
    for (let i = 0; i < run.length; i++) {
      const entry = this.entryOf(run[i]!);
      this.ready.push(entry);
      this.enterMemory(entry.message);
      bodyBytes += entry.message.bodyLength;
    }
    this.queue.wake();
    return bodyBytes;
  }

  readFailed(): void {
    this.queue.readFailed();
  }

  // ── settled by a channel ──

  ack(entry: Entry): void {
    this.queue.ack(entry);
  }

  requeue(entry: Entry): void {
    this.queue.requeue(entry);
  }

  reject(entry: Entry): void {
    this.queue.reject(entry);
  }

  // ── bookkeeping ──

  private left(entry: Entry): void {
    const { message } = entry;
    const { footprint } = message;
    this.hotBytes -= footprint;
    this.queue.memoryBytes -= footprint;
    this.context.memory.used -= footprint;
    this.counted(-1, -message.bodyLength);
  }

  private enterMemory(message: Message): void {
    const { footprint } = message;
    this.hotBytes += footprint;
    this.queue.memoryBytes += footprint;
    this.context.memory.used += footprint;
  }

  private counted(count: number, bodyBytes: number): void {
    const { queue, levels } = this;
    const before = this.count;
    this.count = before + count;
    queue.messageCount += count;
    queue.messageBytes += bodyBytes;
    if (levels === null) return;
    if (before === 0) levels.filled(this);
    else if (this.count === 0) levels.emptied(this);
  }
}

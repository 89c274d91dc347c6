// One queue: an ordered line of entries, the consumers that take them, and what is held by consumers.
// Owns the rules of delivery order, settling, paging and the redelivered mark. Knows sockets, channels and users not at all:
// whoever takes entries is a Consumer.
//
// Where entries stand, in ascending position:  unacked … | ready, in memory | cold, only in the store
// Invariants
// - Every cold position is higher than every position in memory: while anything is cold, new messages go cold too.
// - A durable entry is handed out only when the mark that says "may have been delivered" reaches the disk no later than it does
//   (see `mayDeliver`), so that no message comes back after a crash without its redelivered mark.
// - Deliveries happen in `runTurn`, never inside a publish.

import type { Logger } from '../base/logger.ts';
import type { Turn } from '../base/turn.ts';
import { AddressReader } from '../message/address.ts';
import { Entry } from '../message/entry.ts';
import { type Message, messageFromStored } from '../message/message.ts';
import type { Commits, CommitWaiter } from '../store/commits.ts';
import type { EnqueueOptions, QueueNo, Shard, SharedBytes, StoredEntry } from '../store/store.ts';
import { ConsumerGroup } from './consumer-group.ts';
import type { QueueDeclaration } from './declaration.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { ACCEPTED, type Consumer, MUST_COMMIT, type Queue, type QueueCounters } from './queue.ts';
import { ReadyList } from './ready-list.ts';

/** How far ahead of the deliveries the redelivered mark is written: at most so many entries are marked without need after a crash. */
export const MARK_AHEAD = 1_000;
/** Bytes that one read of cold entries asks the store for. */
export const READ_RUN_BYTES = 1024 * 1024;
/** Reads of cold entries under way at once for one queue. */
export const READS_AHEAD = 2;

const TRANSIENT: EnqueueOptions = { transient: true };

/** What a queue needs around it; one object for all queues of a broker. */
export interface QueueContext {
  readonly shard: Shard;
  readonly turn: Turn;
  readonly memory: MemoryBudget;
  readonly log: Logger;
  readonly commits: Commits;
  /** Deliveries of one queue in one turn, so that a busy queue cannot starve the others. */
  readonly deliveriesPerTurn: number;
  /** Set by the vhost while one message goes to several queues: its bytes, to be stored once. */
  shared: SharedBytes | null;
}

/** The vhost, as far as a queue needs it. */
export interface QueueHost {
  /** The queue's last consumer left. */
  consumersGone(queue: ClassicQueue): void;
}

/** A first-in first-out queue (x-queue-type classic). */
export class ClassicQueue implements Queue, CommitWaiter {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  /** Number of its content in the store. */
  readonly number: QueueNo;
  /** Its persistent messages survive a restart. */
  readonly durable: boolean;
  routeStamp = 0;
  woken = false;
  awaitingCommit = false;
  /** Deleted: settles quietly, accepts nothing. */
  deleted = false;
  readonly counters: QueueCounters = {
    published: 0,
    delivered: 0,
    deliveredNoAck: 0,
    got: 0,
    gotNoAck: 0,
    getEmpty: 0,
    acked: 0,
    redelivered: 0,
  };

  private readonly context: QueueContext;
  private readonly host: QueueHost;
  private readonly ready = new ReadyList();
  private readonly group = new ConsumerGroup();
  private readonly addresses = new AddressReader();
  /** Position of the next message. */
  private nextPosition = 1;
  /** Body bytes of ready and cold messages. */
  private readyBytes = 0;
  /** Memory of the ready entries, as the budget counts it. */
  private hotBytes = 0;

  /** Newest unacked entry; the others hang on its `previous`. */
  private lastUnacked: Entry | null = null;
  private unackedTotal = 0;

  /** Entries that are only in the store. */
  private coldCount = 0;
  private coldBodyBytes = 0;
  /** First position that no read has asked for. */
  private coldFrom = 1;
  /** Runs that were read ahead, in order; null while a read is under way. */
  private readonly runs: (readonly StoredEntry[] | null)[] = [];
  /** Grows when cold entries are thrown away, so that reads under way are ignored. */
  private coldEpoch = 0;

  /** Entries up to here may have been delivered before the last restart. */
  private recoveredMark = 0;
  /** Callers of basic.get that wait for the store. */
  private getters: (() => void)[] = [];
  /** Everything up to here is marked "may have been delivered" on disk. */
  private markDurable = 0;
  /** The highest mark that was written, and the batch it is in. */
  private mark = 0;
  private markTicket = 0;

  constructor(declaration: QueueDeclaration, number: QueueNo, context: QueueContext, host: QueueHost) {
    this.name = declaration.name;
    this.declaration = declaration;
    this.number = number;
    this.durable = declaration.durable;
    this.context = context;
    this.host = host;
  }

  get messageCount(): number {
    return this.ready.length + this.coldCount;
  }

  get unackedCount(): number {
    return this.unackedTotal;
  }

  get consumerCount(): number {
    return this.group.size;
  }

  /** Body bytes of all ready messages. */
  get messageBytes(): number {
    return this.readyBytes + this.coldBodyBytes;
  }

  /** Bytes of message memory the queue holds. */
  get memoryBytes(): number {
    return this.hotBytes;
  }

  /** Ready messages that are only in the store. */
  get pagedOutCount(): number {
    return this.coldCount;
  }

  get consumers(): Iterable<Consumer> {
    return this.group;
  }

  get exclusiveConsumer(): Consumer | null {
    return this.group.exclusive;
  }

  publish(message: Message): number {
    const { context } = this;
    const durable = this.durable && message.persistent;
    const position = this.nextPosition++;
    this.counters.published++;
    if (this.coldCount !== 0) {
      this.store(position, message, durable ? null : TRANSIENT);
      this.coldCount++;
      this.coldBodyBytes += message.bodyLength;
    } else {
      const entry = new Entry(this, message, position);
      if (durable) {
        entry.ticket = this.store(position, message, null);
        entry.stored = true;
        entry.durable = true;
      }
      const footprint = message.footprint;
      this.hotBytes += footprint;
      context.memory.used += footprint;
      if (context.memory.exceededBy(this.hotBytes)) this.pageOut(entry);
      else {
        this.ready.push(entry);
        this.readyBytes += message.bodyLength;
      }
    }
    if (!this.woken) context.turn.wake(this);
    return durable ? MUST_COMMIT : ACCEPTED;
  }

  get(noAck: boolean): Entry | null {
    const entry = this.ready.peek();
    if (entry === null || !this.mayDeliver(entry)) {
      if (this.messageCount === 0) this.counters.getEmpty++;
      return null;
    }
    this.takeReady(entry);
    if (entry.redelivered) this.counters.redelivered++;
    if (noAck) {
      this.counters.gotNoAck++;
      this.forget(entry);
    } else {
      this.counters.got++;
      this.holdUnacked(entry);
    }
    this.readAhead();
    return entry;
  }

  /**
   * False while the next entry has to be fetched from the store or its mark has not reached the disk: `get` would find nothing
   * although something is ready. The queue calls `ready` when it is worth asking again.
   */
  whenReady(ready: () => void): boolean {
    if (this.deleted || this.messageCount === 0) return true;
    const entry = this.ready.peek();
    if (entry !== null && this.mayDeliver(entry)) return true;
    this.getters.push(ready);
    this.readAhead();
    return false;
  }
  consume(consumer: Consumer): void {
    this.group.add(consumer);
    this.wake();
  }

  cancel(consumer: Consumer): void {
    if (!this.group.remove(consumer)) return;
    if (this.group.size === 0 && !this.deleted) this.host.consumersGone(this);
  }

  unpark(consumer: Consumer): void {
    if (!consumer.parked) return;
    this.group.unpark(consumer);
    if (this.messageCount !== 0) this.wake();
  }

  wake(): void {
    if (!this.woken) this.context.turn.wake(this);
  }

  committed(): boolean {
    this.wake();
    return false;
  }

  runTurn(): void {
    if (this.getters.length !== 0) this.serveGetters();
    const { ready, group, counters } = this;
    let budget = this.context.deliveriesPerTurn;
    while (budget !== 0) {
      const entry = ready.peek();
      if (entry === null || !this.mayDeliver(entry)) break;
      const consumer = group.next();
      if (consumer === null) break;
      this.takeReady(entry);
      if (entry.redelivered) counters.redelivered++;
      if (consumer.noAck) {
        counters.deliveredNoAck++;
        consumer.deliver(entry);
        this.forget(entry);
      } else {
        counters.delivered++;
        entry.holder = consumer;
        this.holdUnacked(entry);
        consumer.deliver(entry);
      }
      budget--;
    }
    if (this.coldCount !== 0) this.readAhead();
    if (budget === 0) this.wake();
  }

  ack(entry: Entry): void {
    if (!this.letGo(entry)) return;
    this.counters.acked++;
    this.forget(entry);
  }

  requeue(entry: Entry): void {
    if (!this.letGo(entry)) return;
    entry.redelivered = true;
    const { message } = entry;
    this.hotBytes += message.footprint;
    this.context.memory.used += message.footprint;
    this.readyBytes += message.bodyLength;
    this.ready.putBack(entry);
    this.wake();
  }

  reject(entry: Entry): void {
    if (this.letGo(entry)) this.forget(entry);
  }

  purge(): number {
    const count = this.messageCount;
    for (let entry = this.ready.shift(); entry !== null; entry = this.ready.shift()) this.leaveMemory(entry);
    this.dropCold();
    const keep: number[] = [];
    for (let entry = this.lastUnacked; entry !== null; entry = entry.previous)
      if (entry.stored) keep.push(entry.position);
    keep.sort((a, b) => a - b);
    this.context.shard.clear(this.number, this.nextPosition - 1, keep);
    return count;
  }

  /** Ends the queue: consumers are told, its content is forgotten, later settles of its deliveries do nothing. */
  delete(): void {
    this.deleted = true;
    for (const consumer of [...this.group]) consumer.cancelled();
    this.group.clear();
    for (let entry = this.ready.shift(); entry !== null; entry = this.ready.shift()) this.leaveMemory(entry);
    this.dropCold();
    this.context.shard.dropQueue(this.number);
    for (const ready of this.getters.splice(0)) ready();
  }

  /** Recovery: where positions go on, and up to where entries may have been delivered before the stop. */
  restoreFacts(nextPosition: number, deliveredUpTo: number): void {
    // The mark runs ahead of the deliveries: positions go on behind it, or new messages would look redelivered.
    this.nextPosition = Math.max(this.nextPosition, nextPosition, deliveredUpTo + 1);
    this.recoveredMark = deliveredUpTo;
    this.mark = deliveredUpTo;
    this.markDurable = deliveredUpTo;
  }

  /** Recovery: entries in ascending order. Beyond the memory budget they are only counted. */
  restore(run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      if (this.coldCount === 0 && !this.context.memory.exceededBy(this.hotBytes)) {
        this.warm(stored);
        continue;
      }
      if (this.coldCount === 0) this.coldFrom = stored.position;
      this.coldCount++;
      this.coldBodyBytes += messageFromStored(
        stored.buffer,
        stored.start,
        stored.end,
        this.addresses.at,
      ).bodyLength;
    }
    const last = run[run.length - 1];
    if (last !== undefined && last.position >= this.nextPosition) this.nextPosition = last.position + 1;
  }

  /** Before a clean stop: the mark is set back to what was really delivered. */
  settleMark(): void {
    if (!this.durable || this.mark === 0) return;
    const next = this.ready.peek();
    const firstReady =
      next !== null ? next.position : this.coldCount !== 0 ? this.coldFrom : this.nextPosition;
    if (firstReady - 1 < this.mark) this.context.shard.delivered(this.number, 0, firstReady - 1);
  }

  private store(position: number, message: Message, options: EnqueueOptions | null): number {
    const { at } = message;
    const { shard, shared } = this.context;
    if (shared !== null) return shard.enqueueShared(this.number, position, shared, options);
    return shard.enqueue(
      this.number,
      position,
      message.address.wire,
      message.buffer,
      at,
      at + message.contentLength,
      options,
    );
  }

  /** The first entry that goes cold. */
  private pageOut(entry: Entry): void {
    const { message } = entry;
    if (!entry.stored) this.store(entry.position, message, TRANSIENT);
    this.hotBytes -= message.footprint;
    this.context.memory.used -= message.footprint;
    this.coldFrom = entry.position;
    this.coldCount = 1;
    this.coldBodyBytes = message.bodyLength;
  }

  /** Brings cold entries back ahead of the deliveries. */
  private readAhead(): void {
    const { runs, context } = this;
    while (runs.length !== 0 && runs[0] !== null && this.hotBytes <= context.memory.queueMax / 2) {
      const run = runs.shift()!;
      for (let i = 0; i < run.length; i++) {
        this.coldCount--;
        const bodyLength = this.warm(run[i]!);
        this.coldBodyBytes -= bodyLength;
      }
      this.wake();
    }
    // Reads are asked for one after the other: where the next begins is known when the one before has answered.
    if (
      this.coldCount === 0 ||
      runs.length >= READS_AHEAD ||
      (runs.length !== 0 && runs[runs.length - 1] === null)
    )
      return;
    if (this.hotBytes > context.memory.queueMax / 2) return;
    const epoch = this.coldEpoch;
    runs.push(null);
    context.shard.read(this.number, this.coldFrom, READ_RUN_BYTES, (error, entries) => {
      if (epoch !== this.coldEpoch) return;
      if (error !== null) {
        // The store reports its own end through `lost`; the queue has nothing to add but silence.
        runs.pop();
        return;
      }
      if (entries.length === 0) {
        runs.pop();
        context.log.error('a queue has fewer stored messages than it counted', {
          queue: this.name,
          missing: this.coldCount,
        });
        this.coldCount = 0;
        this.coldBodyBytes = 0;
        return;
      }
      this.coldFrom = entries[entries.length - 1]!.position + 1;
      runs[runs.length - 1] = entries;
      this.readAhead();
    });
  }

  /** A stored entry becomes a ready one in memory. @returns its body length */
  private warm(stored: StoredEntry): number {
    const message = messageFromStored(stored.buffer, stored.start, stored.end, this.addresses.at);
    const entry = new Entry(this, message, stored.position);
    entry.stored = true;
    entry.durable = !stored.transient;
    entry.redelivered = stored.position <= this.recoveredMark;
    this.hotBytes += message.footprint;
    this.context.memory.used += message.footprint;
    this.readyBytes += message.bodyLength;
    this.ready.push(entry);
    return message.bodyLength;
  }

  /** May the entry be handed out, as far as its redelivered mark after a crash is concerned? Asks for the mark when it is not there. */
  private mayDeliver(entry: Entry): boolean {
    if (!entry.durable) return true;
    const { position } = entry;
    if (position <= this.markDurable && position + MARK_AHEAD / 2 <= this.mark) return true;
    const { shard } = this.context;
    if (shard.durableTicket >= this.markTicket) {
      this.markDurable = this.mark;
      if (position + MARK_AHEAD / 2 > this.mark) {
        this.mark = position + MARK_AHEAD;
        this.markTicket = shard.delivered(this.number, 0, this.mark);
      }
      if (position <= this.markDurable) return true;
    }
    // The entry's own record reaches the disk with the mark or after it.
    if (position <= this.mark && entry.ticket >= this.markTicket) return true;
    if (position <= this.markDurable) return true;
    this.context.commits.await(this);
    return false;
  }

  private takeReady(entry: Entry): void {
    this.ready.shift();
    this.leaveMemory(entry);
  }

  private leaveMemory(entry: Entry): void {
    const { message } = entry;
    const footprint = message.footprint;
    this.hotBytes -= footprint;
    this.context.memory.used -= footprint;
    this.readyBytes -= message.bodyLength;
  }

  private holdUnacked(entry: Entry): void {
    entry.previous = this.lastUnacked;
    if (this.lastUnacked !== null) this.lastUnacked.next = entry;
    this.lastUnacked = entry;
    this.unackedTotal++;
  }

  /** @returns false when the queue is gone, so that the settle means nothing */
  private letGo(entry: Entry): boolean {
    const { previous, next } = entry;
    if (previous !== null) previous.next = next;
    if (next !== null) next.previous = previous;
    else if (this.lastUnacked === entry) this.lastUnacked = previous;
    entry.previous = null;
    entry.next = null;
    entry.holder = null;
    this.unackedTotal--;
    return !this.deleted;
  }

  /** Settled for good: out of the store too. */
  private forget(entry: Entry): void {
    if (entry.stored) this.context.shard.remove(this.number, entry.position);
  }

  private dropCold(): void {
    this.coldEpoch++;
    this.runs.length = 0;
    this.coldCount = 0;
    this.coldBodyBytes = 0;
  }

  private serveGetters(): void {
    const getters = this.getters;
    this.getters = [];
    for (let i = 0; i < getters.length; i++) getters[i]!();
  }
}

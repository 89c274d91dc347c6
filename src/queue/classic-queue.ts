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

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Turn } from '../base/turn.ts';
import { AddressReader } from '../message/address.ts';
import type { DeathReason } from '../message/death.ts';
import { Entry } from '../message/entry.ts';
import { type Message, messageFromStored } from '../message/message.ts';
import type { Commits, CommitWaiter } from '../store/commits.ts';
import type { QueueNo, Shard, SharedBytes, StoredEntry } from '../store/store.ts';
import { ConsumerGroup } from './consumer-group.ts';
import type { QueueDeclaration } from './declaration.ts';
import { DeliveryMark } from './delivery-mark.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { Pager, type PagerHost } from './pager.ts';
import { ACCEPTED, type Consumer, MUST_COMMIT, type Queue, type QueueCounters, REJECTED } from './queue.ts';
import { type QueueOptions, queueOptions } from './queue-options.ts';
import { ReadyList } from './ready-list.ts';

/** Deadline of a message whose time to live is 0: it has one turn to find a consumer. */
const EXPIRES_AT_ONCE = -1;

/** When a message expires in a queue: the smaller of its own time to live and the queue's, counted from now (RabbitMQ). 0 for never. */
function deadlineOf(message: Message, options: QueueOptions, context: QueueContext): number {
  const own = message.expirationMs();
  if (own < 0 && options.messageTtlMs === Number.POSITIVE_INFINITY) return 0;
  const ttl = own < 0 ? options.messageTtlMs : Math.min(own, options.messageTtlMs);
  return ttl === 0 ? EXPIRES_AT_ONCE : context.clock.now() + ttl;
}

/** What a queue needs around it; one object for all queues of a broker. */
export interface QueueContext {
  readonly shard: Shard;
  readonly turn: Turn;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly memory: MemoryBudget;
  readonly log: Logger;
  readonly commits: Commits;
  /** Deliveries of one queue in one turn, so that a busy queue cannot starve the others. */
  readonly deliveriesPerTurn: number;
  /** Set by the vhost while one message goes to several queues: its bytes, to be stored once. */
  shared: SharedBytes | null;
  /** Above 0 while a dead message is published: full queues then drop in their own turn, or two of them would feed each other without end. */
  deadLettering: number;
}

/** The vhost, as far as a queue needs it. */
export interface QueueHost {
  /** The queue's last consumer left. */
  consumersGone(queue: ClassicQueue): void;
  /** A message died in the queue: to its dead-letter exchange. */
  deadLetter(queue: ClassicQueue, message: Message, reason: DeathReason): void;
}

/** A first-in first-out queue (x-queue-type classic). */
export class ClassicQueue implements Queue, CommitWaiter, PagerHost {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  readonly options: QueueOptions;
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
  private readonly group: ConsumerGroup;
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

  private readonly pager: Pager;
  private readonly mark: DeliveryMark;
  private readonly expiry: Timer;
  /** Callers of basic.get that wait for the store. */
  private getters: (() => void)[] = [];

  constructor(declaration: QueueDeclaration, number: QueueNo, context: QueueContext, host: QueueHost) {
    this.name = declaration.name;
    this.declaration = declaration;
    this.number = number;
    this.durable = declaration.durable;
    this.options = queueOptions(declaration.arguments);
    this.context = context;
    this.host = host;
    this.group = new ConsumerGroup(this.options.singleActiveConsumer);
    this.pager = new Pager(context.shard, number, this, context.log);
    this.mark = new DeliveryMark(context.shard, number);
    this.expiry = new Timer(() => this.wake());
  }

  get messageCount(): number {
    return this.ready.length + this.pager.count;
  }

  get unackedCount(): number {
    return this.unackedTotal;
  }

  get consumerCount(): number {
    return this.group.size;
  }

  /** Body bytes of all ready messages. */
  get messageBytes(): number {
    return this.readyBytes + this.pager.bodyBytes;
  }

  /** Bytes of message memory the queue holds. */
  get memoryBytes(): number {
    return this.hotBytes;
  }

  /** Ready messages that are only in the store. */
  get pagedOutCount(): number {
    return this.pager.count;
  }

  get consumers(): Iterable<Consumer> {
    return this.group;
  }

  get isSingleActive(): boolean {
    return this.options.singleActiveConsumer;
  }

  get exclusiveConsumer(): Consumer | null {
    return this.group.exclusive;
  }

  publish(message: Message): number {
    const { options, context } = this;
    if (options.overflow !== 'drop-head' && this.wouldOverflow(message)) {
      if (options.overflow === 'reject-publish-dlx') this.deadLetter(message, 'maxlen');
      return REJECTED;
    }
    const durable = this.durable && message.persistent;
    this.counters.published++;
    const entry = new Entry(this, message, this.nextPosition++);
    entry.expiresAt = deadlineOf(message, options, context);
    if (durable) {
      entry.durable = true;
      entry.stored = true;
      entry.ticket = this.store(entry);
    }
    if (this.pager.count !== 0 || context.memory.exceededBy(this.hotBytes + message.footprint)) {
      if (!durable) this.store(entry);
      this.pager.add(entry.position, message.bodyLength);
    } else {
      this.enterMemory(message);
      this.ready.push(entry);
    }
    // With consumers the turn delivers first: a queue of length 0 still serves a consumer that waits (RabbitMQ).
    if (options.bounded && this.group.size === 0 && context.deadLettering === 0) this.dropHead();
    if (!this.woken) context.turn.wake(this);
    return durable ? MUST_COMMIT : ACCEPTED;
  }

  get(noAck: boolean): Entry | null {
    const entry = this.head();
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
    if (this.pager.count !== 0) this.pager.bringBack();
    return entry;
  }

  /**
   * False while the next entry has to be fetched from the store or its mark has not reached the disk: `get` would find nothing
   * although something is ready. The queue calls `ready` when it is worth asking again.
   */
  whenReady(ready: () => void): boolean {
    if (this.deleted) return true;
    const entry = this.head();
    if (entry === null ? this.pager.count === 0 : this.mayDeliver(entry)) return true;
    this.getters.push(ready);
    this.pager.bringBack();
    return false;
  }

  consume(consumer: Consumer): void {
    this.group.add(consumer);
    this.wake();
  }

  cancel(consumer: Consumer): void {
    if (!this.group.remove(consumer)) return;
    if (this.deleted) return;
    if (this.group.size === 0) this.host.consumersGone(this);
    else if (this.isSingleActive) this.wake();
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
    const { group, counters } = this;
    let budget = this.context.deliveriesPerTurn;
    while (budget !== 0) {
      const entry = this.head();
      // Without consumers nothing is marked as delivered.
      if (entry === null || group.size === 0 || !this.mayDeliver(entry)) break;
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
    if (this.pager.count !== 0) this.pager.bringBack();
    if (budget === 0) this.wake();
    else this.tidy();
  }

  ack(entry: Entry): void {
    if (!this.letGo(entry)) return;
    this.counters.acked++;
    this.forget(entry);
  }

  requeue(entry: Entry): void {
    if (!this.letGo(entry)) return;
    entry.redelivered = true;
    this.enterMemory(entry.message);
    this.ready.putBack(entry);
    this.wake();
  }

  reject(entry: Entry): void {
    if (!this.letGo(entry)) return;
    this.deadLetter(entry.message, 'rejected');
    this.forget(entry);
  }

  purge(): number {
    const count = this.messageCount;
    for (let entry = this.ready.shift(); entry !== null; entry = this.ready.shift()) this.leaveMemory(entry);
    this.pager.clear();
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
    this.pager.clear();
    this.context.shard.dropQueue(this.number);
    this.context.wheel.clear(this.expiry);
    for (const ready of this.getters.splice(0)) ready();
  }

  /** Recovery: where positions go on, and up to where entries may have been delivered before the stop. */
  restoreFacts(nextPosition: number, deliveredUpTo: number): void {
    // The mark runs ahead of the deliveries: positions go on behind it, or new messages would look redelivered.
    this.nextPosition = Math.max(this.nextPosition, nextPosition, deliveredUpTo + 1);
    this.mark.restore(deliveredUpTo);
  }

  /**
   * Recovery: entries in ascending order. Beyond the memory budget they are only counted. Does not wake the queue: its turn may write,
   * and nothing may be written before all of the store was read.
   */
  restore(run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      if (this.pager.count === 0 && !this.context.memory.exceededBy(this.hotBytes)) this.warm(stored);
      else this.pager.add(stored.position, this.messageOf(stored).bodyLength);
    }
    const last = run[run.length - 1];
    if (last !== undefined && last.position >= this.nextPosition) this.nextPosition = last.position + 1;
  }

  /** Before a clean stop: the redelivered mark is set back to what was really delivered. */
  settleMark(): void {
    if (this.durable) this.mark.settle();
  }

  // ── the pager's view ──

  hasRoom(): boolean {
    return this.hotBytes <= this.context.memory.queueMax / 2;
  }

  takeRun(run: readonly StoredEntry[]): number {
    let bodyBytes = 0;
    for (let i = 0; i < run.length; i++) bodyBytes += this.warm(run[i]!);
    this.wake();
    return bodyBytes;
  }

  // ── the head ──

  /** The next entry that lives; expired ones before it are dropped (RabbitMQ: messages expire at the head). */
  private head(): Entry | null {
    const { ready } = this;
    for (let entry = ready.peek(); entry !== null; entry = ready.peek()) {
      if (entry.expiresAt <= 0 || entry.expiresAt > this.context.clock.now()) return entry;
      this.expire(entry);
    }
    return null;
  }

  /** What the deliveries of a turn leave behind: messages without a chance, a queue that is too long, a head that will expire. */
  private tidy(): void {
    const { ready, context } = this;
    // RabbitMQ: a time to live of 0 means "now or never".
    for (
      let entry = ready.peek();
      entry !== null && entry.expiresAt === EXPIRES_AT_ONCE;
      entry = ready.peek()
    )
      this.expire(entry);
    if (this.options.bounded) this.dropHead();
    const next = this.head();
    if (next !== null && next.expiresAt > 0)
      context.wheel.set(this.expiry, next.expiresAt - context.clock.now());
  }

  private expire(entry: Entry): void {
    this.takeReady(entry);
    this.deadLetter(entry.message, 'expired');
    this.forget(entry);
  }

  private wouldOverflow(message: Message): boolean {
    const { lengthMax, bytesMax } = this.options;
    return this.messageCount + 1 > lengthMax || this.messageBytes + message.bodyLength > bytesMax;
  }

  /** Drops from the head until the queue is within its limits. Cold entries have to come back first; their arrival goes on with it. */
  private dropHead(): void {
    if (this.options.overflow !== 'drop-head') return;
    const { lengthMax, bytesMax } = this.options;
    while (this.messageCount > lengthMax || this.messageBytes > bytesMax) {
      const entry = this.ready.peek();
      if (entry === null) return this.pager.bringBack();
      this.takeReady(entry);
      this.deadLetter(entry.message, 'maxlen');
      this.forget(entry);
    }
  }

  private deadLetter(message: Message, reason: DeathReason): void {
    if (this.options.deadLetterExchange !== null) this.host.deadLetter(this, message, reason);
  }

  // ── bookkeeping ──

  private store(entry: Entry): number {
    const { message, position, expiresAt, durable } = entry;
    const { at } = message;
    const { shard, shared, clock } = this.context;
    const options =
      durable && expiresAt === 0
        ? null
        : { transient: !durable, expiresAt: expiresAt < 0 ? clock.now() : expiresAt };
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

  private messageOf(stored: StoredEntry): Message {
    return messageFromStored(stored.buffer, stored.start, stored.end, this.addresses.at);
  }

  /** A stored entry becomes a ready one in memory. @returns its body length */
  private warm(stored: StoredEntry): number {
    const message = this.messageOf(stored);
    const entry = new Entry(this, message, stored.position);
    entry.stored = true;
    entry.durable = !stored.transient;
    entry.expiresAt = stored.expiresAt;
    entry.redelivered = this.mark.coveredBeforeRestart(stored.position);
    this.enterMemory(message);
    this.ready.push(entry);
    return message.bodyLength;
  }

  private mayDeliver(entry: Entry): boolean {
    if (this.mark.allows(entry)) return true;
    this.context.commits.await(this);
    return false;
  }

  private takeReady(entry: Entry): void {
    this.ready.shift();
    this.leaveMemory(entry);
  }

  private enterMemory(message: Message): void {
    const { footprint } = message;
    this.hotBytes += footprint;
    this.context.memory.used += footprint;
    this.readyBytes += message.bodyLength;
  }

  private leaveMemory(entry: Entry): void {
    const { message } = entry;
    const footprint = message.footprint;
    this.hotBytes -= footprint;
    this.context.memory.used -= footprint;
    this.readyBytes -= message.bodyLength;
  }

  private holdUnacked(entry: Entry): void {
    this.mark.handOut(entry.position);
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

  private serveGetters(): void {
    const getters = this.getters;
    this.getters = [];
    for (let i = 0; i < getters.length; i++) getters[i]!();
  }
}

// One queue: an ordered line of entries, the consumers that take them, and what is held by consumers.
// Owns the rules of delivery order, settling, paging and the redelivered mark. Knows sockets, channels and users not at all:
// whoever takes entries is a Consumer.
//
// Where entries stand, in ascending position:  unacked … | ready, in memory | cold, only in the store
// Invariants
// - Every cold position is higher than every position in memory: while anything is cold, new messages go cold too.
// - A durable entry is handed out only when the mark that says "may have been delivered" reaches the disk no later than it does
//   (see `mayDeliver`), so that no message comes back after a crash without its redelivered mark.
// - Deliveries happen in `runTurn`, never inside a publish, unless they spare the message a refusal or the way over the disk.

import type { DeathReason } from '../message/death.ts';
import { Entry } from '../message/entry.ts';
import { type Message, storedBodyLength } from '../message/message.ts';
import type { CommitWaiter } from '../store/commits.ts';
import type { QueueNo, StoredEntry } from '../store/store.ts';
import { ConsumerGroup } from './consumer-group.ts';
import type { QueueDeclaration } from './declaration.ts';
import { DeliveryMark } from './delivery-mark.ts';
import { EntryLog } from './entry-log.ts';
import { Expiry } from './expiry.ts';
import { isTooLong, wouldBeTooLong } from './overflow.ts';
import { Pager, type PagerHost } from './pager.ts';
import {
  ACCEPTED,
  type Consumer,
  type DeclaredQueue,
  MUST_COMMIT,
  type QueueCounters,
  REJECTED,
} from './queue.ts';
import type { QueueContext, QueueHost } from './queue-context.ts';
import { type PolicyKeys, type QueueOptions, queueOptions } from './queue-options.ts';
import { ReadyList } from './ready-list.ts';
import { UnackedList } from './unacked-list.ts';

/** What a round of deliveries leaves: all that consumers can take is out; the turn's budget is spent; the mark is not on disk yet. */
const NOTHING_LEFT = 0;
const WORK_LEFT = 1;
const MARK_MISSING = 2;

/** A first-in first-out queue (x-queue-type classic). */
export class ClassicQueue implements DeclaredQueue, CommitWaiter, PagerHost {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  options: QueueOptions;
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
  private readonly unacked = new UnackedList();
  private readonly log: EntryLog;
  /** Position of the next message. */
  private nextPosition = 1;
  /** Body bytes of ready and cold messages. */
  private readyBytes = 0;
  /** Memory of the ready entries, as the budget counts it. */
  private hotBytes = 0;

  private readonly pager: Pager;
  private readonly mark: DeliveryMark;
  private readonly expiry: Expiry;
  /** Callers of basic.get that wait for the store. */
  private getters: (() => void)[] = [];

  constructor(
    declaration: QueueDeclaration,
    number: QueueNo,
    _lines: ReadonlyMap<number, QueueNo>,
    policy: PolicyKeys,
    context: QueueContext,
    host: QueueHost,
  ) {
    this.name = declaration.name;
    this.declaration = declaration;
    this.number = number;
    this.durable = declaration.durable;
    this.options = queueOptions(declaration.arguments, policy);
    this.context = context;
    this.host = host;
    this.group = new ConsumerGroup(this.options.singleActiveConsumer);
    this.log = new EntryLog(context, number);
    this.pager = new Pager(context.shard, number, this, context.log);
    this.mark = new DeliveryMark(context.shard, number);
    this.expiry = new Expiry(context.clock, context.wheel, () => this.wake());
  }

  get messageCount(): number {
    return this.ready.length + this.pager.count;
  }

  get unackedCount(): number {
    return this.unacked.size;
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

  get exclusiveConsumer(): Consumer | null {
    return this.group.exclusive;
  }

  publish(message: Message): number {
    const { options, context } = this;
    // A transaction may have routed the message to a queue that was deleted before the commit.
    if (this.deleted) return ACCEPTED;
    if (options.bounded && options.overflow !== 'drop-head' && this.refuses(message)) {
      if (options.overflow === 'reject-publish-dlx') this.deadLetter(message, 'maxlen');
      return REJECTED;
    }
    // Before it has its place: what this hands out may cause another publish to this queue.
    const cold = this.pager.count !== 0 || this.mustPage(message);
    const durable = this.durable && message.persistent;
    this.counters.published++;
    const entry = new Entry(this, message, this.nextPosition++);
    entry.expiresAt = this.expiry.deadlineOf(message, options.messageTtlMs);
    if (durable) {
      entry.durable = true;
      entry.stored = true;
      entry.ticket = this.log.write(entry, this.expiry.storedDeadline(entry));
    }
    if (cold) {
      if (!durable) this.log.write(entry, this.expiry.storedDeadline(entry));
      this.pager.add(entry.position, message.bodyLength);
    } else {
      this.enterMemory(message);
      this.ready.push(entry);
    }
    // With consumers the turn delivers first: a queue of length 0 still serves a consumer that waits (RabbitMQ).
    if (options.bounded && this.group.size === 0 && !context.burying) this.dropHead();
    if (!this.woken) context.turn.wake(this);
    return durable ? MUST_COMMIT : ACCEPTED;
  }

  /**
   * Does what the turn would do, before a client looks. RabbitMQ hands out, expires and cuts at the publish itself, so a purge, a get or
   * a count that comes right behind a publish must not find what a consumer would have had by then.
   */
  catchUp(): void {
    if (!this.woken || this.messageCount === 0) return;
    if (this.deliver(this.context.deliveriesPerTurn) === NOTHING_LEFT) this.tidy();
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
      this.log.remove(entry);
    } else {
      this.counters.got++;
      this.mark.handOut(entry.position);
      this.unacked.hold(entry);
    }
    this.watchHead();
    return entry;
  }

  /**
   * False while the next entry has to be fetched from the store or its mark has not reached the disk: `get` would find nothing
   * although something is ready. The queue calls `ready` when it is worth asking again.
   */
  whenReady(ready: () => void): boolean {
    if (this.deleted) return true;
    const entry = this.head();
    if (entry === null ? this.messageCount === 0 : this.mayDeliver(entry)) return true;
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
    else if (this.options.singleActiveConsumer) this.wake();
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
    const left = this.deliver(this.context.deliveriesPerTurn);
    if (left === NOTHING_LEFT) return this.tidy();
    // What is left still has its chance: nothing is dropped for being too long or too late before it had.
    if (left === WORK_LEFT) this.wake();
    this.pager.bringBack();
  }

  ack(entry: Entry): void {
    this.unacked.release(entry);
    if (this.deleted) return;
    this.counters.acked++;
    this.log.remove(entry);
  }

  requeue(entry: Entry): void {
    this.unacked.release(entry);
    if (this.deleted) return;
    entry.redelivered = true;
    this.enterMemory(entry.message);
    this.ready.putBack(entry);
    // RabbitMQ: what is too long now is cut before anything is delivered again.
    if (this.options.bounded) this.dropHead();
    this.wake();
  }

  reject(entry: Entry): void {
    this.unacked.release(entry);
    if (!this.deleted) this.bury(entry, 'rejected');
  }

  purge(): number {
    const count = this.messageCount;
    this.forgetReady();
    this.log.clear(this.nextPosition - 1, this.unacked.storedPositions());
    // A basic.get may have been waiting for what is gone now.
    if (this.getters.length !== 0) this.wake();
    return count;
  }

  /** Ends the queue: consumers are told, its content is forgotten, later settles of its deliveries do nothing. */
  delete(): void {
    this.deleted = true;
    for (const consumer of [...this.group]) consumer.cancelled();
    this.group.clear();
    this.forgetReady();
    this.log.drop();
    this.expiry.stop();
    for (const ready of this.getters.splice(0)) ready();
  }

  /** Recovery: where positions go on, and up to where entries may have been delivered before the stop. */
  restoreFacts(_number: QueueNo, nextPosition: number, deliveredUpTo: number): void {
    // The mark runs ahead of the deliveries: positions go on behind it, or new messages would look redelivered.
    this.nextPosition = Math.max(this.nextPosition, nextPosition, deliveredUpTo + 1);
    this.mark.restore(deliveredUpTo);
  }

  /**
   * Recovery: entries in ascending order. Beyond the memory budget they are only counted. Does not wake the queue: its turn may write,
   * and nothing may be written before all of the store was read.
   */
  restore(_number: QueueNo, run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      if (this.pager.count === 0 && !this.context.memory.exceededBy(this.hotBytes)) this.warm(stored);
      else this.pager.add(stored.position, storedBodyLength(stored.buffer, stored.start));
    }
    const last = run[run.length - 1];
    if (last !== undefined && last.position >= this.nextPosition) this.nextPosition = last.position + 1;
  }

  applyOptions(options: QueueOptions): void {
    this.options = options;
    this.wake();
  }

  /** Before a clean stop: the redelivered mark is set back to what was really delivered. */
  settleMark(): void {
    if (this.durable) this.mark.settle();
  }

  // ── the pager's view ──

  room(): number {
    const { share } = this.context.memory;
    // Half empty before it is filled again: few long reads instead of many short ones.
    return this.hotBytes <= share / 2 ? share - this.hotBytes : 0;
  }

  takeRun(run: readonly StoredEntry[]): number {
    let bodyBytes = 0;
    for (let i = 0; i < run.length; i++) bodyBytes += this.warm(run[i]!);
    this.wake();
    return bodyBytes;
  }

  // ── the head ──

  /** The next entry that lives; null when there is none in memory, and where `expireHead` left it for the next turn. */
  private head(): Entry | null {
    const entry = this.ready.peek();
    return entry === null || entry.expiresAt === 0 ? entry : this.expireHead();
  }

  /**
   * Drops expired entries (RabbitMQ: messages expire at the head). @returns the head that lives, as `head` does; null when so many have
   * expired that the rest has to wait for the next turn
   */
  private expireHead(): Entry | null {
    const { ready, expiry } = this;
    let budget = this.context.deliveriesPerTurn;
    for (let entry = ready.peek(); entry !== null; entry = ready.peek()) {
      if (!expiry.isDue(entry)) return entry;
      if (budget-- === 0) {
        this.wake();
        return null;
      }
      this.takeReady(entry);
      this.bury(entry, 'expired');
    }
    return null;
  }

  /** Hands ready entries to consumers, `budget` at most. @returns what is left to do: NOTHING_LEFT, WORK_LEFT or MARK_MISSING */
  private deliver(budget: number): number {
    const { group, counters } = this;
    // Without consumers nothing is marked as delivered.
    if (group.size === 0) return NOTHING_LEFT;
    for (let left = budget; left !== 0; left--) {
      const entry = this.head();
      if (entry === null) return NOTHING_LEFT;
      if (!this.mayDeliver(entry)) return MARK_MISSING;
      const consumer = group.next();
      if (consumer === null) return NOTHING_LEFT;
      this.takeReady(entry);
      if (entry.redelivered) counters.redelivered++;
      if (consumer.noAck) {
        counters.deliveredNoAck++;
        consumer.deliver(entry);
        this.log.remove(entry);
      } else {
        counters.delivered++;
        entry.holder = consumer;
        this.mark.handOut(entry.position);
        this.unacked.hold(entry);
        consumer.deliver(entry);
      }
    }
    return WORK_LEFT;
  }

  /** What the deliveries of a turn leave behind: messages without a chance, a queue that is too long, a head that will expire. */
  private tidy(): void {
    this.expiry.offered(this.nextPosition - 1);
    if (this.options.bounded) this.dropHead();
    this.watchHead();
  }

  /** Drops what has expired at the head, sees to it that the next one is dropped in time, and fills up from the store. */
  private watchHead(): void {
    const next = this.head();
    if (next !== null) this.expiry.watch(next);
    this.pager.bringBack();
  }

  /**
   * The queue has no room for the message and drops nothing for it.
   * RabbitMQ hands out at once what a consumer can take, so only what is left over counts as length. Here the turn delivers; but when
   * that decides over a refusal, the turn's deliveries are made early.
   */
  private refuses(message: Message): boolean {
    if (!wouldBeTooLong(this, message, this.options)) return false;
    if (this.messageCount === 0) return true;
    this.deliver(this.messageCount);
    return wouldBeTooLong(this, message, this.options);
  }

  /** The message has no place in memory, not even when what consumers can take is out. */
  private mustPage(message: Message): boolean {
    const { memory } = this.context;
    const { footprint } = message;
    if (!memory.exceededBy(this.hotBytes + footprint)) return false;
    this.deliver(this.messageCount);
    return memory.exceededBy(this.hotBytes + footprint);
  }

  /**
   * Drops from the head until the queue is within its limits. Cold entries have to come back first; their arrival goes on with it.
   * What is more than a turn's work goes in the turns after it.
   */
  private dropHead(): void {
    const { options } = this;
    if (options.overflow !== 'drop-head') return;
    for (let budget = this.context.deliveriesPerTurn; isTooLong(this, options); budget--) {
      if (budget === 0) return this.wake();
      const entry = this.ready.peek();
      if (entry === null) return this.pager.bringBack();
      this.takeReady(entry);
      this.bury(entry, 'maxlen');
    }
  }

  /** The end of an entry that nobody acknowledged. It leaves the store in the batch in which its dead letter enters. */
  private bury(entry: Entry, reason: DeathReason): void {
    this.deadLetter(entry.message, reason);
    this.log.remove(entry);
  }

  private deadLetter(message: Message, reason: DeathReason): void {
    if (this.options.deadLetterExchange !== null) this.host.deadLetter(this, message, reason);
  }

  // ── bookkeeping ──

  /** A stored entry becomes a ready one in memory. @returns its body length */
  private warm(stored: StoredEntry): number {
    const message = this.log.read(stored);
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
    // The mark was written just now, perhaps: a turn commits it.
    this.context.turn.request();
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
    const { footprint } = message;
    this.hotBytes -= footprint;
    this.context.memory.used -= footprint;
    this.readyBytes -= message.bodyLength;
  }

  /** Everything ready, in memory or not, is forgotten; the store has to be told. */
  private forgetReady(): void {
    for (let entry = this.ready.shift(); entry !== null; entry = this.ready.shift()) this.leaveMemory(entry);
    this.pager.clear();
  }

  private serveGetters(): void {
    const { getters } = this;
    this.getters = [];
    for (let i = 0; i < getters.length; i++) getters[i]!();
  }
}

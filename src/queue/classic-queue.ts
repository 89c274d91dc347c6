// One queue: its lines of entries, the consumers that take them, and what is held by consumers.
// Owns the rules: whose entry is next, settling, limits, when the redelivered mark must be there first. Knows sockets, channels and users
// not at all: whoever takes entries is a Consumer. Which lines there are: queue-lines.ts; where entries stand in one: line.ts. Who expires
// leaves through lifetimes.ts, whose delivery failed goes through retries.ts, and whoever dies goes through deaths.ts. What it has no room for: room.ts.
//
// Invariants
// - A durable entry is handed out only when the mark that says "may have been delivered" reaches the disk no later than it does
//   (see `mayDeliver`), so that no message comes back after a crash without its redelivered mark.
// - Deliveries happen in `runTurn`, never inside a publish, unless they spare the message a refusal or the way over the disk.
// - Every entry that a channel holds has its line as its owner.

import { BrokerError } from '../base/errors.ts';
import { adopt, disown, settled } from '../message/body-memory.ts';
import type { DeathReason } from '../message/death.ts';
import { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { CommitWaiter } from '../store/commits.ts';
import type { Lane, Position, QueueNo, StoredEntry } from '../store/store.ts';
import { ConsumerGroup } from './consumer-group.ts';
import { Deaths, type DeathsHost } from './deaths.ts';
import type { QueueDeclaration } from './declaration.ts';
import { afterTheFirst } from './dropped-duplicate.ts';
import { Duplicates } from './duplicates.ts';
import { Expiry, NOW_OR_NEVER } from './expiry.ts';
import { IdleLimit } from './idle-limit.ts';
import { Lifetimes } from './lifetimes.ts';
import type { Line, LineHost } from './line.ts';
import type { Ordering } from './ordering.ts';
import { orderingOf } from './ordering-lines.ts';
import type { QueueContents } from './peek.ts';
import { type ContentsHost, LineContents } from './peek-lines.ts';
import {
  ACCEPTED,
  type Consumer,
  type DeclaredQueue,
  MUST_COMMIT,
  type QueueCounters,
  REJECTED,
} from './queue.ts';
import type { QueueContext, QueueHost } from './queue-context.ts';
import { QueueLines } from './queue-lines.ts';
import { type PolicyKeys, type QueueOptions, queueOptions } from './queue-options.ts';
import { Retries, type RetriesHost } from './retries.ts';
import { Room, type RoomHost } from './room.ts';

/** Deliveries of one queue in a turn that is quick: some 0.1 ms. */
export const QUICK_DELIVERIES = 256;

/** What a round of deliveries leaves: all that consumers can take is out; the turn's budget is spent; the mark is not on disk yet. */
const NOTHING_LEFT = 0;
const WORK_LEFT = 1;
const MARK_MISSING = 2;

/** Of queues where nobody waits. Never pushed to. */
const NO_GETTERS: (() => void)[] = [];

/** A first-in first-out queue, or one such line for each priority (x-queue-type classic). */
export class ClassicQueue
  implements DeclaredQueue, CommitWaiter, LineHost, ContentsHost, DeathsHost, RetriesHost, RoomHost
{
  readonly name: string;
  readonly declaration: QueueDeclaration;
  options: QueueOptions;
  /** Number of its definition, and of the content of its lowest line. */
  readonly number: QueueNo;
  /** Its persistent messages survive a restart. */
  readonly durable: boolean;
  routeStamp = 0;
  woken = false;
  awaitingCommit = false;
  /** Deleted: settles quietly, accepts nothing. */
  deleted = false;
  paused = false;
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
  private readonly group: ConsumerGroup;
  private readonly lines: QueueLines;
  private readonly deaths: Deaths;
  private readonly retries: Retries;
  private readonly room: Room;
  /** Who holds which ordering key; null in a queue without them. */
  ordering: Ordering | null = null;
  /** What of its messages is remembered; null where they may be alike. */
  readonly duplicates: Duplicates | null;
  private readonly expiry: Expiry;
  private readonly lifetimes: Lifetimes;
  private readonly idle: IdleLimit;
  /** Its messages go to disk whatever they ask for (quorum queues, RabbitMQ). */
  private readonly keepsAll: boolean;
  /** Callers of basic.get that wait for the store. */
  private getters = NO_GETTERS;
  /** It may have been without use for too long: `idle` tells. */
  private mayBeIdle = false;

  constructor(
    declaration: QueueDeclaration,
    number: QueueNo,
    lines: ReadonlyMap<number, QueueNo>,
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
    const yields = this.options.type === 'quorum';
    this.group = new ConsumerGroup(
      this.options.singleActiveConsumer,
      yields ? (consumer) => this.lines.isHolding(consumer) : null,
    );
    const { deduplication } = this.options;
    this.duplicates = deduplication === null ? null : new Duplicates(deduplication, context.clock);
    this.lines = new QueueLines(this, lines, context);
    this.deaths = new Deaths(this, context, host);
    this.retries = new Retries(this, this.deaths, context);
    this.room = new Room(this, this.lines, this.deaths, context);
    this.expiry = new Expiry(context.clock, context.wheel, context.messageWheel, () => this.wake());
    this.lifetimes = new Lifetimes(this, this.lines, this.expiry, this.deaths, context);
    this.idle = new IdleLimit(
      context.clock,
      context.wheel,
      () => this.group.size !== 0,
      () => {
        this.mayBeIdle = true;
        this.wake();
      },
    );
    this.idle.set(this.options.expiresMs);
    this.orderBy(this.options.orderingKey);
    this.keepsAll = this.durable && this.options.type === 'quorum';
  }

  get messageCount(): number {
    return this.lines.messageCount;
  }

  get messageBytes(): number {
    return this.lines.messageBytes;
  }

  get memoryBytes(): number {
    return this.lines.memoryBytes;
  }

  get unackedCount(): number {
    return this.lines.unackedCount;
  }

  get pagedOutCount(): number {
    return this.lines.pagedOutCount;
  }

  get waitingCount(): number {
    return this.lines.waitingCount;
  }

  get deadWaitingCount(): number {
    return this.lines.deadWaitingCount;
  }

  get lineCount(): number {
    return this.lines.all.length;
  }

  get consumerCount(): number {
    return this.group.size;
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
    if (options.bounded && this.room.refuses(message)) {
      if (options.overflow === 'reject-publish-dlx') this.deaths.handOn(message, 'maxlen');
      return REJECTED;
    }
    const line = this.lines.lineFor(message);
    // Before it has its place: what this hands out may cause another publish to this queue.
    const cold = line.pager.count !== 0 || this.room.mustPage(line, message);
    const durable = this.durable && (message.persistent || this.keepsAll);
    this.counters.published++;
    const expiresAt = this.expiry.deadlineOf(message, options.messageTtlMs);
    if (this.duplicates !== null && !this.duplicates.admits(message))
      return durable ? afterTheFirst(context) : ACCEPTED;
    if (cold && expiresAt === NOW_OR_NEVER) {
      // All that consumers can take is out, and others stand before it.
      this.deaths.buryUnplaced(line, message, durable);
      return durable ? MUST_COMMIT : ACCEPTED;
    }
    const entry = new Entry(line, message, line.placeFor(cold));
    adopt(message, entry);
    entry.expiresAt = expiresAt;
    if (durable) {
      entry.durable = true;
      entry.stored = true;
      entry.ticket = line.log.write(entry, this.expiry.storedDeadline(entry));
    }
    if (cold) {
      if (!durable) line.log.write(entry, expiresAt);
      line.pushCold(entry.position, message.bodyLength, expiresAt);
      // The store has a copy, and nobody has the entry.
      settled(message, entry);
    } else line.push(entry);
    // With consumers the turn delivers first: a queue of length 0 still serves a consumer that waits (RabbitMQ).
    if (options.bounded && this.group.size === 0 && !context.burying) this.room.dropHead();
    if (!this.woken) context.turn.wake(this);
    return durable ? MUST_COMMIT : ACCEPTED;
  }

  wouldRefuse(message: Message): boolean {
    return !this.deleted && this.options.bounded && this.room.refuses(message);
  }

  contents(): QueueContents {
    return new LineContents(this);
  }

  linesInOrder(): readonly Line[] {
    return this.lines.inOrder();
  }

  takenOut(message: Message, entry: Entry | null): void {
    if (entry !== null) this.ordering?.ended(entry);
    else this.duplicates?.left(message);
    this.wake();
  }

  /**
   * Does what the turn would do, before a client looks. RabbitMQ hands out, expires and cuts at the publish itself, so a purge, a get or
   * a count that comes right behind a publish must not find what a consumer would have had by then.
   */
  catchUp(): void {
    // A look is a use, and must not keep what has expired.
    if (this.idle.isDue && this.idle.hasPassed()) return this.host.expired(this);
    if (this.expiry.isTime) this.lifetimes.expire();
    if (!this.woken || this.messageCount === 0) return;
    if (this.deliver(this.context.deliveriesPerTurn) === NOTHING_LEFT) this.tidy();
    // After a start nothing was watched before.
    if (this.expiry.isTime) this.lifetimes.expire();
  }

  touch(): void {
    this.idle.touch();
  }

  pause(): void {
    this.paused = true;
    // Whoever waits for a message is told that there is none to be had.
    this.wake();
  }

  resume(): void {
    this.paused = false;
    this.wake();
  }

  get(noAck: boolean): Entry | null {
    this.idle.touch();
    const { ordering } = this;
    if (this.paused) return null;
    const entry = ordering === null ? this.head() : this.headForGet(ordering);
    if (entry === null || !this.mayDeliver(entry)) {
      if (this.messageCount === 0) this.counters.getEmpty++;
      else if (entry === null && this.lines.top.pager.failed) throw this.unreadable();
      return null;
    }
    const line = lineOf(entry);
    line.shift();
    // Its get-ok may be written when all this is long over.
    disown(entry.message);
    if (entry.redelivered) this.counters.redelivered++;
    if (noAck) {
      this.counters.gotNoAck++;
      ordering?.ended(entry);
      line.remove(entry);
    } else {
      this.counters.got++;
      if (entry.durable) line.mark.handOut(entry.position);
      line.unacked.hold(entry);
      ordering?.hold(entry, null);
    }
    this.watchHead();
    return entry;
  }

  /**
   * False while the next entry has to be fetched from the store or its mark has not reached the disk: `get` would find nothing
   * although something is ready. The queue calls `ready` when it is worth asking again.
   */
  whenReady(ready: () => void): boolean {
    if (this.deleted || this.paused) return true;
    const { ordering } = this;
    const entry = ordering === null ? this.head() : this.headForGet(ordering);
    if (entry === null ? this.messageCount === 0 : this.mayDeliver(entry)) return true;
    const { pager } = this.lines.top;
    // A get that waited would wait for ever.
    if (entry === null && pager.failed) return true;
    pager.bringBack();
    // Everything that could be had is parked: whoever asks is told that there is nothing for him.
    if (entry === null && ordering !== null && ordering.parkedCount !== 0 && !this.woken && !pager.isReading)
      return true;
    if (this.getters === NO_GETTERS) this.getters = [];
    this.getters.push(ready);
    return false;
  }

  consume(consumer: Consumer): void {
    this.group.add(consumer);
    this.wake();
  }

  cancel(consumer: Consumer): void {
    if (!this.group.remove(consumer)) return;
    if (this.deleted) return;
    this.ordering?.cancelled(consumer);
    if (this.group.size === 0) {
      this.idle.touch();
      this.host.consumersGone(this);
    } else if (this.options.singleActiveConsumer) {
      this.ordering?.goesOn();
      this.wake();
    }
  }

  unpark(consumer: Consumer): void {
    if (!consumer.parked) return;
    this.group.unpark(consumer);
    this.ordering?.freed(consumer);
    if (this.messageCount !== 0) this.wake();
  }

  wake(): void {
    if (!this.woken) this.context.turn.wake(this);
  }

  committed(): boolean {
    this.wake();
    return false;
  }

  // What a plain queue has no need of is not looked at, down to the objects that would say so: with very many queues each of them has one
  // message a turn, and waits for memory are what that costs. For 10,000 queues a tenth of the CPU time of a message.
  runTurn(): void {
    if (this.mayBeIdle) {
      this.mayBeIdle = false;
      if (this.idle.isDue && this.idle.hasPassed()) return this.host.expired(this);
    }
    if (this.expiry.isTime) this.lifetimes.expire();
    if (this.lines.hasToResume) this.lines.resume();
    if (this.getters.length !== 0) this.serveGetters();
    const { turn, deliveriesPerTurn } = this.context;
    const left = this.deliver(
      turn.isQuick && deliveriesPerTurn > QUICK_DELIVERIES ? QUICK_DELIVERIES : deliveriesPerTurn,
    );
    if (left === NOTHING_LEFT) return this.tidy();
    // What is left still has its chance: nothing is dropped for being too long or too late before it had.
    if (left === WORK_LEFT) this.wake();
    this.lines.top.pager.bringBack();
  }

  ack(entry: Entry): void {
    const line = lineOf(entry);
    line.unacked.release(entry);
    if (this.deleted) return;
    this.counters.acked++;
    this.ordering?.ended(entry);
    line.remove(entry);
    settled(entry.message, entry);
  }

  requeue(entry: Entry): void {
    const line = lineOf(entry);
    line.unacked.release(entry);
    if (this.deleted || this.retries.countReturn(line, entry)) return;
    line.putBack(entry);
    this.isBack(entry);
  }

  comesBack(line: Line, entry: Entry): void {
    line.bringIn(entry);
    this.isBack(entry);
  }

  private isBack(entry: Entry): void {
    entry.redelivered = true;
    this.ordering?.requeued(entry);
    // RabbitMQ: what is too long now is cut before anything is delivered again.
    if (this.options.bounded) this.room.dropHead();
    this.wake();
  }

  reject(entry: Entry): void {
    const line = lineOf(entry);
    line.unacked.release(entry);
    if (this.deleted) return;
    if (!this.retries.tryAgain(line, entry)) this.deaths.bury(entry, 'rejected');
  }

  purge(): number {
    let count = this.messageCount;
    this.forgetParked();
    count += this.lines.clear();
    if (this.duplicates?.purged()) this.lines.rememberUnacked(this.duplicates);
    // A basic.get may have been waiting for what is gone now.
    if (this.getters.length !== 0) this.wake();
    return count;
  }

  /** Ends the queue: consumers are told, its content is forgotten, later settles of its deliveries do nothing. */
  delete(): void {
    this.deleted = true;
    for (const consumer of [...this.group]) consumer.cancelled();
    this.group.clear();
    this.forgetParked();
    this.lines.drop();
    this.expiry.stop();
    this.idle.stop();
    this.serveGetters();
  }

  restoreFacts(number: QueueNo, nextPosition: number, deliveredUpTo: ReadonlyMap<Lane, Position>): void {
    this.lines.restoreFacts(number, nextPosition, deliveredUpTo);
  }

  restore(number: QueueNo, run: readonly StoredEntry[]): void {
    this.lines.restore(number, run);
  }

  applyOptions(options: QueueOptions): void {
    const before = this.options;
    this.options = options;
    if (options.expiresMs !== before.expiresMs) this.idle.set(options.expiresMs);
    if (options.messageTtlMs < before.messageTtlMs)
      this.lifetimes.shorten(options.messageTtlMs, this.ordering === null ? [] : [...this.ordering.parked()]);
    if (options.deadLetterExchange !== null && before.deadLetterExchange === null) this.lines.needBytes();
    if (options.orderingKey !== (this.ordering?.header ?? null)) this.orderBy(options.orderingKey);
    this.wake();
  }

  settleMark(): void {
    if (this.durable) this.lines.settleMarks();
  }

  /** RabbitMQ: a get from a queue that has failed inside ends with 541. That it has no messages would be untrue. */
  private unreadable(): BrokerError {
    return new BrokerError('internal-error', `the messages of queue '${this.name}' cannot be read back`);
  }

  // ── the head ──

  /** The next entry that lives; null when there is none in memory, and where so many have expired that a turn is not enough. */
  private head(): Entry | null {
    const entry = this.lines.top.peek();
    return entry === null || entry.expiresAt === 0 ? entry : this.lifetimes.expireHead();
  }

  /** Hands ready entries to consumers, `budget` at most. @returns what is left to do: NOTHING_LEFT, WORK_LEFT or MARK_MISSING */
  deliver(budget: number): number {
    const { group, counters, ordering } = this;
    // Without consumers nothing is marked as delivered.
    if (group.size === 0 || this.paused) return NOTHING_LEFT;
    if (ordering !== null) ordering.beforeDeliveries();
    for (let left = budget; left !== 0; left--) {
      const entry = this.head();
      if (entry === null) {
        if (this.messageCount !== 0 && group.hasCapacity) this.lines.lookAhead();
        return NOTHING_LEFT;
      }
      if (!this.mayDeliver(entry)) {
        this.lines.lookAhead();
        return MARK_MISSING;
      }
      let consumer = group.next();
      if (consumer === null) return NOTHING_LEFT;
      if (ordering !== null) {
        consumer = ordering.recipient(entry, consumer);
        if (consumer === null) continue;
      }
      const line = lineOf(entry);
      line.shift();
      if (entry.redelivered) counters.redelivered++;
      if (consumer.noAck) {
        counters.deliveredNoAck++;
        consumer.deliver(entry);
        if (ordering !== null) ordering.ended(entry);
        line.remove(entry);
        settled(entry.message, entry);
      } else {
        counters.delivered++;
        entry.holder = consumer;
        if (entry.durable) line.mark.handOut(entry.position);
        line.unacked.hold(entry);
        consumer.deliver(entry);
        if (ordering !== null) ordering.hold(entry, consumer);
      }
    }
    return WORK_LEFT;
  }

  /** What the deliveries of a turn leave behind: a queue that is too long, messages without a chance, a head that will expire. */
  private tidy(): void {
    if (!this.lines.isTimed) {
      if (this.options.bounded) this.room.dropHead();
      this.lines.top.pager.bringBack();
      return;
    }
    this.lifetimes.offered();
    if (this.options.bounded) this.room.dropHead();
    this.lifetimes.expireBrief();
    this.watchHead();
  }

  /** Drops what has expired at the head, sees to it that the next one is dropped in time, and fills up from the store. */
  private watchHead(): void {
    this.head();
    this.lifetimes.watch();
    this.lines.top.pager.bringBack();
  }

  get isAwaited(): boolean {
    return !this.paused && this.messageCount === 0 && this.group.hasCapacity;
  }

  // ── what its lines ask ──

  numberFor(level: number): QueueNo {
    return this.host.numberFor(this, level);
  }

  /** Nothing of what is cold in a line will come: whoever waits for it is told. */
  readFailed(): void {
    this.wake();
  }

  expiredCold(message: Message | null): boolean {
    return message === null || this.deaths.handOn(message, 'expired');
  }

  handOn(entry: Entry, reason: DeathReason): boolean {
    return this.deaths.handOn(entry.message, reason);
  }

  get ordersByKey(): boolean {
    return this.ordering !== null;
  }

  /** Recovery: a message that waits for its retry holds its key. */
  awaitsRetry(entry: Entry): void {
    this.ordering?.hold(entry, null);
    this.ordering?.awaitsRetry(entry);
  }

  // ── ordering keys ──

  /** From now on messages are ordered by this header; null for none. What is held already counts. */
  private orderBy(header: string | null): void {
    const { ordering } = this;
    const { all } = this.lines;
    if (ordering !== null) for (const entry of ordering.parked()) lineOf(entry).unpark(entry);
    this.ordering = header === null ? null : orderingOf(header, this.group, () => this.wake());
    if (this.ordering === null) return;
    for (let i = 0; i < all.length; i++)
      for (const entry of all[i]!.unacked) this.ordering.hold(entry, entry.holder as Consumer | null);
  }

  /** The next entry whose key nobody holds; everything before it is parked. */
  private headForGet(ordering: Ordering): Entry | null {
    let entry = this.head();
    while (entry !== null && !ordering.admitsGet(entry)) entry = this.head();
    return entry;
  }

  private forgetParked(): void {
    const { ordering } = this;
    if (ordering === null) return;
    for (const entry of ordering.parked()) lineOf(entry).take(entry);
    ordering.purge();
  }

  // ── bookkeeping ──

  private mayDeliver(entry: Entry): boolean {
    if (!entry.durable || lineOf(entry).mark.allows(entry)) return true;
    this.context.commits.await(this);
    // The mark was written just now, perhaps: a turn commits it.
    this.context.turn.request();
    return false;
  }

  private serveGetters(): void {
    const { getters } = this;
    this.getters = NO_GETTERS;
    for (let i = 0; i < getters.length; i++) getters[i]!();
  }
}

/** The line an entry of a queue stands in. */
function lineOf(entry: Entry): Line {
  return entry.owner as Line;
}

// One line of a queue: entries in one order. A plain queue is one line, under one number of the store; a queue with priorities has one
// for each level that ever had a message, and where those stand in the store is told in level-store.ts.
// Owns where its entries stand (in memory, only in the store, held by consumers), their counts, their record in the store and the mark of
// what may have been delivered. Decides nothing about deliveries, limits or deaths: its queue does. What recovery puts there: line-recovery.ts.
//
// Where entries stand, in ascending position:  unacked … | ready, in memory | cold, only in the store
// Invariants
// - New messages go cold while anything is cold. What stands in memory behind something cold (taken out of its order and put back) is
//   not seen at the front until that has come back.
// - Counts of the line, and of all lines of its queue, change in the same call as the lists.

import { adopt, offer } from '../message/body-memory.ts';
import { Entry, type EntryOwner } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import type { QueueNo, StoredEntry } from '../store/store.ts';
import { Deadlines, type DeadlinesHost } from './deadlines.ts';
import { DeliveryMark, type LineMark } from './delivery-mark.ts';
import type { Duplicates } from './duplicates.ts';
import { EntryLog } from './entry-log.ts';
import { HeldBack, type HeldBackHost } from './held-back.ts';
import { LevelMark } from './level-mark.ts';
import { FIRST_OF_LEVEL, isOwn, LevelStore, type LineShard, ownPosition } from './level-store.ts';
import { LEVELS_MAX, type Levels } from './levels.ts';
import { Pager, type PagerHost } from './pager.ts';
import { EARLY, PARKED, WAITING } from './place.ts';
import type { QueueContext } from './queue-context.ts';
import type { QueueOptions } from './queue-options.ts';
import { ReadyList } from './ready-list.ts';
import { living } from './tries.ts';
import { UnackedList } from './unacked-list.ts';

/** The queue, as far as its lines need it. */
export interface LineHost extends EntryOwner, HeldBackHost {
  readonly name: string;
  readonly options: QueueOptions;
  /** What of its messages is remembered; null where they may be alike. */
  readonly duplicates: Duplicates | null;
  /** Lines among which the queue's share of the memory is divided. */
  readonly lineCount: number;
  /** A number in the store for a level's own. */
  numberFor(level: number): QueueNo;
  wake(): void;
  /** What is cold in one of the lines cannot be read. */
  readFailed(): void;
  /**
   * The time of a message that was only in the store has come; it is out of the line. Null when its bytes were not asked for.
   * @returns false when it has to be kept, because nobody takes its dead letter
   */
  expiredCold(message: Message | null): boolean;
}

/**
 * Bytes that a line brings back ahead of its consumers at most, however much memory it may use: so much is a hundredth of a second of a fast
 * consumer. More is not faster, and everything young that is alive is moved at every collection (measured with 16 MiB, 5,000,000 messages of
 * 100 B being drained: pauses of 4 ms instead of 1).
 */
export const READ_AHEAD_BYTES = 4 * 1024 * 1024;

/** A line. Owns its entries: what a channel settles comes here, and goes to the queue. */
export class Line implements EntryOwner, PagerHost, DeadlinesHost {
  /** Priority of its messages; 0 in a plain queue. */
  readonly level: number;
  /** Number of its content in the store; of a level, the queue's. */
  readonly number: QueueNo;
  /** What the store has of it. */
  readonly shard: LineShard;
  /** Ready messages, in memory or not, and their body bytes. */
  count = 0;
  bytes = 0;
  /** Those of them that wait beside the list, in memory, behind their ordering key. */
  parked = 0;
  /** Position of the next message. */
  nextPosition = 1;
  /** Bytes of message memory the line holds. */
  hotBytes = 0;
  readonly ready = new ReadyList();
  readonly unacked = new UnackedList();
  readonly pager: Pager;
  readonly mark: LineMark;
  readonly log: EntryLog;
  /** When its messages expire; null until one comes that does. */
  deadlines: Deadlines | null = null;
  /** What waits for a retry, and dead letters that wait to be taken; null until there are any. */
  held: HeldBack | null = null;
  /** What of its queue's messages is remembered; null where they may be alike. */
  readonly duplicates: Duplicates | null;
  private readonly queue: LineHost;
  private readonly context: QueueContext;
  /** Told when the line fills and empties; null in a plain queue. */
  private readonly levels: Levels | null;
  /** Where its messages stand in the store; null in a plain queue, whose number says it. */
  readonly store: LevelStore | null = null;
  /** The mark of a level; null in a plain queue. */
  readonly levelMark: LevelMark | null = null;

  /**
   * @param number of its queue
   * @param own number of a level's own, if it has one yet
   */
  constructor(
    queue: LineHost,
    level: number,
    number: QueueNo,
    context: QueueContext,
    levels: Levels | null,
    own: QueueNo | null = null,
  ) {
    this.queue = queue;
    this.duplicates = queue.duplicates;
    this.level = level;
    this.number = number;
    this.context = context;
    this.levels = levels;
    if (levels === null) {
      this.shard = context.shard;
      this.pager = new Pager(context.shard, number, this, context.log);
      this.mark = new DeliveryMark(context.shard, number);
    } else {
      this.nextPosition = FIRST_OF_LEVEL;
      this.store = new LevelStore(context.shard, number, level, own, () => queue.numberFor(level));
      this.shard = this.store;
      this.pager = new Pager(this.store.cold, number, this, context.log);
      this.levelMark = new LevelMark(this.store, (places) => this.ready.positionAhead(places));
      this.mark = this.levelMark;
    }
    this.log = new EntryLog(context, this.shard, number);
  }

  get name(): string {
    return this.queue.name;
  }

  /** Number of a level's own; null when it has none. */
  get ownNumber(): QueueNo | null {
    return this.store === null ? null : this.store.ownNumber;
  }

  get ackTimeoutMs(): number | null {
    return this.queue.options.consumerTimeoutMs;
  }

  // ── positions ──

  /** The position of what comes next. @param cold it goes to the store only, or its record has a place of its own */
  placeFor(cold: boolean): number {
    const { levels } = this;
    if (levels === null) return this.nextPosition++;
    const next = this.nextPosition;
    const position = cold ? ownPosition(next) : levels.takePosition(isOwn(next) ? next + 1 : next);
    this.nextPosition = position + 1;
    return position;
  }

  /** What people call a position by, in the number of the queue: no two messages of a queue have the same. */
  nameOf(position: number): number {
    return this.levels === null ? position : position * LEVELS_MAX + this.level;
  }

  /** The position that people call so; null when that is another line's. */
  positionNamed(name: number): number | null {
    if (this.levels === null) return name;
    return name % LEVELS_MAX === this.level ? Math.floor(name / LEVELS_MAX) : null;
  }

  /** The whole line has its turn before the message that people call so. */
  isBefore(name: number): boolean {
    return this.levels !== null && this.level > name % LEVELS_MAX;
  }

  // ── entries come ──

  /** The message has no place in memory. */
  isFullFor(message: Message): boolean {
    return this.isFull(message.footprint);
  }

  /**
   * The line may hold no more bytes. Lines of one queue share its memory; what one of them took leaves each of the others its equal part
   * all the same, so that a backlog of one priority never stands in the way of another.
   */
  isFull(more: number): boolean {
    const { levels } = this;
    const { memory } = this.context;
    if (levels === null) return memory.exceededBy(this.hotBytes + more);
    return (
      memory.exceededBy(levels.hotBytes + more) &&
      memory.exceededBy((this.hotBytes + more) * this.queue.lineCount)
    );
  }

  /** A new entry with the next position goes to the back, in memory. */
  push(entry: Entry): void {
    if (entry.expiresAt !== 0 || this.deadlines !== null) this.timed().pushed(entry);
    this.ready.push(entry);
    this.enterMemory(entry.message);
    this.counted(1, entry.message.bodyLength);
  }

  /**
   * A new entry that was written to the store goes to the back, and stays there only.
   * @param expiresAt in ms since the epoch; 0 for never
   * @param isRestored recovery has found it
   * @param isEarly recovery may yet find something in front of it
   */
  pushCold(
    position: number,
    bodyLength: number,
    expiresAt: number,
    isRestored = false,
    isEarly = false,
  ): void {
    // First, for the index of deadlines forgets what the pager does not know.
    this.pager.add(position, bodyLength);
    if (expiresAt !== 0 || this.deadlines !== null)
      this.timed().pushedCold(position, expiresAt, bodyLength, isRestored, isEarly);
    this.counted(1, bodyLength);
  }

  /** An entry that was taken goes back to its place. */
  putBack(entry: Entry): void {
    this.ready.putBack(entry);
    if (entry.expiresAt !== 0) this.deadlines!.cameBack(entry);
    this.enterMemory(entry.message);
    this.counted(1, entry.message.bodyLength);
  }

  // ── entries go ──

  /** The entry at the front; null when nothing is ready or it has to come from the store first (`pager.bringBack`). */
  peek(): Entry | null {
    const entry = this.ready.peek();
    if (entry === null || this.pager.count === 0) return entry;
    return entry.position < this.pager.from ? entry : null;
  }

  /**
   * A level whose turn comes soon: its marks are written and its run is read, before anybody waits for them.
   * @param isDurable of its queue: messages that go with the process need no mark
   */
  prepare(isDurable: boolean): void {
    const { pager, levelMark } = this;
    const front = this.ready.peek();
    if (front?.durable === true) levelMark!.prepare(front.position);
    if (pager.count === 0) return;
    if (isDurable) levelMark!.prepare(pager.from);
    pager.bringBack();
  }

  /** Takes the entry that `peek` has shown. */
  shift(): void {
    this.left(this.ready.shift()!);
  }

  /** Takes an entry that waits in memory out, wherever it stands. */
  take(entry: Entry): void {
    if ((entry.place & PARKED) !== 0) return this.takeParked(entry);
    this.ready.take(entry);
    this.left(entry);
  }

  /** An entry that waits in memory leaves the list for a while: it counts as ready all the same. */
  park(entry: Entry): void {
    this.ready.take(entry);
    entry.place |= PARKED;
    this.parked++;
    if (entry.expiresAt !== 0) this.deadlines!.parked(entry);
    if (this.levels !== null && this.count === this.parked) this.levels.emptied(this);
  }

  /** A parked entry goes back to its place in the list. */
  unpark(entry: Entry): void {
    if (this.levels !== null && this.count === this.parked) this.levels.filled(this);
    entry.place &= ~PARKED;
    this.ready.putBack(entry);
    this.parked--;
  }

  /** Takes a cold entry out, wherever it stands: `pager.has` says that it is there. Its record stays until `remove`. */
  takeCold(position: number, bodyLength: number): void {
    this.pager.take(position, bodyLength);
    this.counted(-1, -bodyLength);
  }

  /** An entry is settled for good. */
  remove(entry: Entry): void {
    if (this.duplicates !== null) this.duplicates.left(entry.message);
    this.discard(entry);
  }

  /** The record of an entry that is settled, or given up, leaves the store. */
  discard(entry: Entry): void {
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
    this.deadlines?.clear();
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
    this.deadlines?.stop();
    this.log.drop();
  }

  // ── deadlines ──

  /** The entry that has expired and whose deadline is the earliest of those that have; null when there is none. */
  nextExpired(now: number): Entry | null {
    const { deadlines } = this;
    if (deadlines === null) return null;
    const early = deadlines.first();
    const front = this.peek();
    const at = front === null || front.expiresAt <= 0 ? Number.POSITIVE_INFINITY : front.expiresAt;
    if (early === null || early.expiresAt > at) return at <= now ? front : null;
    if (early.expiresAt > now) return null;
    // Those that expire at one moment go in the order of the line.
    return early.expiresAt === at && front!.position < early.position ? front : early;
  }

  /** When the next entry in memory expires; Infinity for never. */
  get nextDeadline(): number {
    const early = this.deadlines!.first();
    const front = this.peek();
    const at = front === null || front.expiresAt <= 0 ? Number.POSITIVE_INFINITY : front.expiresAt;
    return early !== null && early.expiresAt < at ? early.expiresAt : at;
  }

  /**
   * Everything that is in the line now, and what recovery still finds, expires at `at` if not before.
   * @param parked entries that are parked, here or in other lines
   */
  cap(at: number, parked: Iterable<Entry>): void {
    const isEmpty = this.count === 0 && this.isIdle;
    this.deadlines ??= new Deadlines(this.context, this.shard, this.number, this, isEmpty);
    const hot: Entry[] = [];
    for (const entry of this.ready.from(0)) {
      entry.place |= WAITING;
      hot.push(entry);
    }
    for (const entry of this.unacked) hot.push(entry);
    for (const entry of parked) {
      if (entry.owner !== this) continue;
      entry.place |= WAITING;
      hot.push(entry);
    }
    this.deadlines.cap(this.nextPosition - 1, at, hot);
    for (const entry of parked) if (entry.owner === this) this.deadlines.parked(entry);
  }

  stillWaits(position: number): boolean {
    return this.isCold(position);
  }

  /** The entry at this position, which was in the line once, waits in the store only. */
  isCold(position: number): boolean {
    return this.pager.has(position) && (this.store === null || this.store.mayBeCold(position));
  }

  due(position: number, bodyLength: number, stored: StoredEntry | null): void {
    this.takeCold(position, bodyLength);
    const message = stored === null ? null : this.log.view(stored);
    if (this.duplicates !== null && message !== null) this.duplicates.left(message);
    if (this.queue.expiredCold(message)) this.forget(position);
    else this.heldBack().keepStored(position, stored!.tries, bodyLength, 'expired');
  }

  get keepsDead(): boolean {
    return this.queue.options.deadLetterExchange !== null || this.duplicates !== null;
  }

  /** The line's deadlines, just before something comes to its back. */
  private timed(): Deadlines {
    const { deadlines, isIdle } = this;
    if (deadlines === null) {
      this.deadlines = new Deadlines(this.context, this.shard, this.number, this, isIdle && this.count === 0);
      return this.deadlines;
    }
    if (!isIdle) return deadlines;
    if (this.count === 0) deadlines.reset();
    else if (this.ready.length === 0 && this.parked === 0) deadlines.resetHot();
    return deadlines;
  }

  /** Nothing will come back to a place in front of what is there. */
  private get isIdle(): boolean {
    return this.unacked.size === 0 && (this.held === null || this.held.waitingCount === 0);
  }

  /** RabbitMQ: a time to live that came with a policy counts for what is in the queue already. */
  deadlineOf(stored: StoredEntry): number {
    const { deadlines } = this;
    return deadlines === null ? stored.expiresAt : deadlines.capped(stored.position, stored.expiresAt);
  }

  // ── from the store ──

  /** An entry that was only in the store goes to its place in memory; recovery counts it, a pager's run is counted already. */
  insert(entry: Entry): void {
    if (entry.expiresAt !== 0 || this.deadlines !== null) this.timed().pushed(entry);
    this.ready.insert(entry);
    this.enterMemory(entry.message);
  }

  /** An entry that was held back, and may be another object than the one that was handed out, goes to its place. */
  bringIn(entry: Entry): void {
    // It may have been shortened meanwhile.
    if (this.deadlines !== null) entry.expiresAt = this.deadlines.capped(entry.position, entry.expiresAt);
    // Whatever the line knew of the deadline, it knew of the other object.
    if (entry.expiresAt !== 0) {
      this.deadlines ??= new Deadlines(this.context, this.shard, this.number, this, false);
      if (entry.expiresAt > 0) entry.place |= EARLY;
    }
    this.putBack(entry);
  }

  /** What of the line is held back; made when something is for the first time. */
  heldBack(): HeldBack {
    this.held ??= new HeldBack(this.queue, this, this.context);
    return this.held;
  }

  /** A stored entry with its message, in no list. */
  entryOf(stored: StoredEntry): Entry {
    const message = this.log.read(stored);
    const entry = new Entry(this, message, stored.position);
    // Nobody else has ever had this copy.
    offer(message);
    adopt(message, entry);
    entry.stored = true;
    entry.durable = !stored.transient;
    entry.expiresAt = this.deadlineOf(stored);
    entry.tries = living(stored.tries);
    entry.redelivered = entry.tries !== 0 || this.mark.coveredBeforeRestart(stored.position);
    return entry;
  }

  // ── the pager's view ──

  room(): number {
    const { levels } = this;
    const { share: memory } = this.context.memory;
    // What is parked stays, and must not stop what follows it before it takes half of all there is.
    const whole = this.parked > 0 ? memory : Math.min(memory, READ_AHEAD_BYTES);
    const share = Math.min(memory / this.queue.lineCount, whole);
    const free = levels === null ? 0 : whole - levels.hotBytes;
    // Half empty before it is filled again: few long reads instead of many short ones.
    if (this.hotBytes <= share / 2) return Math.max(share - this.hotBytes, free);
    if (free >= whole / 2) return free;
    // What was put back behind the cold part may fill the memory; without a run from before it, it would stay for ever. What is parked
    // goes by itself: the line waits.
    return this.parked === 0 && this.peek() === null ? share / 2 : 0;
  }

  takeRun(run: readonly StoredEntry[]): number {
    let bodyBytes = 0;
    for (let i = 0; i < run.length; i++) {
      const entry = this.entryOf(run[i]!);
      this.insert(entry);
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

  private takeParked(entry: Entry): void {
    const { bodyLength } = entry.message;
    entry.place &= ~PARKED;
    this.parked--;
    if (entry.expiresAt !== 0) this.deadlines!.left(entry);
    this.count--;
    this.bytes -= bodyLength;
    if (this.levels !== null) this.levels.counted(-1, -bodyLength);
    this.leaveMemory(entry.message);
  }

  private left(entry: Entry): void {
    const { message } = entry;
    const { bodyLength } = message;
    if (entry.expiresAt !== 0) this.deadlines!.left(entry);
    this.leaveMemory(message);
    this.count--;
    this.bytes -= bodyLength;
    if (this.levels !== null) this.countedIn(this.levels, -1, -bodyLength);
  }

  private leaveMemory(message: Message): void {
    const { footprint } = message;
    if (this.levels !== null) this.levels.hotBytes -= footprint;
    this.hotBytes -= footprint;
    this.context.memory.used -= footprint;
  }

  private enterMemory(message: Message): void {
    const { footprint } = message;
    if (this.levels !== null) this.levels.hotBytes += footprint;
    this.hotBytes += footprint;
    this.context.memory.used += footprint;
  }

  /** So many messages, ready from now on or no longer, and their body bytes. */
  counted(count: number, bodyBytes: number): void {
    this.count += count;
    this.bytes += bodyBytes;
    if (this.levels !== null) this.countedIn(this.levels, count, bodyBytes);
  }

  private countedIn(levels: Levels, count: number, bodyBytes: number): void {
    levels.counted(count, bodyBytes);
    const before = this.count - count;
    // What is parked is nothing that could be next.
    if (before === this.parked) levels.filled(this);
    else if (this.count === this.parked) levels.emptied(this);
  }
}

// A stream (x-queue-type stream): messages stay where they were written, and any number of consumers read them, each from a place of its
// own. Owns the order of publishing, committing and serving readers, and the bounds of what is kept in memory. What one reader does stands in
// stream-reader.ts, old messages in stream-runs.ts, retention in stream-segments.ts. Knows sockets, channels and users not at all.
//
// Where messages stand, in ascending position:  dropped … | only in the store … | in the tail too, for readers that keep up | being written
// Invariants
// - A message is stored as it is delivered, its offset in a header: the one copy serves every reader, and the offset survives whatever
//   happens to positions.
// - Readers see what is committed, and nothing else: an offset that somebody has seen means the same message for ever.
// - Nothing is kept per message but the bytes of a bounded tail, a bounded number of runs, and what consumers hold.
// - The time of a stream's entry, under which it is found by time and by age, lies where other queues store the deadline of theirs.

import { Deque } from '../base/deque.ts';
import { Timer } from '../base/timer-wheel.ts';
import { AddressReader } from '../message/address.ts';
import type { Entry } from '../message/entry.ts';
import { type Message, messageInPlace, storedBodyLength } from '../message/message.ts';
import { withLongHeader } from '../message/splice.ts';
import type { CommitWaiter } from '../store/commits.ts';
import {
  type Lane,
  type Position,
  type QueueNo,
  type StoredEntry,
  StoreError,
  type Ticket,
} from '../store/store.ts';
import type { QueueDeclaration } from './declaration.ts';
import type { QueueContents } from './peek.ts';
import { StreamContents } from './peek-stream.ts';
import { ACCEPTED, type Consumer, type DeclaredQueue, MUST_COMMIT, type QueueCounters } from './queue.ts';
import type { QueueContext, QueueHost } from './queue-context.ts';
import { type PolicyKeys, type QueueOptions, queueOptions } from './queue-options.ts';
import { consumerNameOf, type StreamStart, startOf } from './stream-arguments.ts';
import { StreamBookmarks } from './stream-bookmarks.ts';
import { filterOf } from './stream-filter.ts';
import { StreamNumbering } from './stream-numbering.ts';
import { GONE, IDLE, IN_LINE, PARKED, READING, type ReaderHost, StreamReader } from './stream-reader.ts';
import { type RunHost, StreamRuns } from './stream-runs.ts';
import { seekTime } from './stream-seek.ts';
import { StreamSegments } from './stream-segments.ts';
import { StreamTail } from './stream-tail.ts';

/** Header that tells a consumer the offset of a delivery (RabbitMQ). */
const OFFSET_HEADER = 'x-stream-offset';
/** Memory that the latest messages of one stream may take while readers are on their way to them. */
export const TAIL_BYTES_MAX = 8 * 1024 * 1024;
/** A tail of more bytes than this is cleared of what every reader has, even if some are behind. */
const TAIL_TIDY_BYTES = TAIL_BYTES_MAX / 8;
/** Messages that one reader looks at before the next one has its turn: enough for one write to its socket. */
export const READER_SLICE = 256;
/** A stream's share of a turn grows with its readers, up to so many. */
const TURN_READERS_MAX = 4;
/** Number of a stream's second content in the store: the bookmarks. */
const BOOKMARKS_LINE = 1;

/** Messages whose batch is not on disk yet. */
interface Pending {
  readonly ticket: Ticket;
  /** Position behind the last of them. */
  end: number;
}

/** A stream. */
export class StreamQueue implements DeclaredQueue, CommitWaiter, ReaderHost, RunHost {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  options: QueueOptions;
  readonly number: QueueNo;
  readonly durable: boolean;
  routeStamp = 0;
  woken = false;
  awaitingCommit = false;
  deleted = false;
  /** No reader is served. */
  paused = false;
  unackedCount = 0;
  /** What a reader rejects is settled: nothing waits for a retry, nothing is dead-lettered. */
  readonly waitingCount = 0;
  readonly deadWaitingCount = 0;
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
  readonly tail = new StreamTail();
  readonly runs: StreamRuns;
  /** Position behind the last committed message. */
  committedEnd = 1;

  private readonly context: QueueContext;
  private readonly host: QueueHost;
  private readonly numbering = new StreamNumbering();
  private readonly segments = new StreamSegments();
  private readonly bookmarks: StreamBookmarks;
  private readonly readers = new Map<Consumer, StreamReader>();
  private exclusiveReader: StreamReader | null = null;
  /** Readers to be served, the next one in front. Some may have left. */
  private readonly line = new Deque<StreamReader>();
  /** Readers that have everything. */
  private readonly idle = new Set<StreamReader>();
  /** Position of the next message. */
  private nextPosition = 1;
  /** Oldest batch first. */
  private readonly pending: Pending[] = [];
  /** First position of the chunk that was committed last: the messages of one commit. 0 before the first. */
  private lastChunk = 0;
  /** Time of the latest message; the clock may be set back, times of a stream do not fall. */
  private lastTime = 0;
  /** How entries are stored; one object for all of them. */
  private readonly stored = { lane: 0, expiresAt: 0, tries: 0, dueAt: 0, transient: false };
  /** Old messages may have to go. */
  private retentionDue = false;
  private readonly ageTimer = new Timer(() => this.retain());
  /** A read has failed, and was reported. */
  private reported = false;

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
    this.runs = new StreamRuns(context.shard, number, context.memory, this);
    this.bookmarks = new StreamBookmarks(context, lines.get(BOOKMARKS_LINE) ?? null, () =>
      host.numberFor(this, BOOKMARKS_LINE),
    );
  }

  // ── what people see ──

  /** Committed messages (RabbitMQ). */
  get messageCount(): number {
    // What is being written may have pushed everything committed out.
    return Math.max(0, this.committedOffset - this.firstOffset);
  }

  get consumerCount(): number {
    return this.readers.size;
  }

  get messageBytes(): number {
    return this.segments.bodyBytes;
  }

  get memoryBytes(): number {
    return this.tail.bytes + this.runs.bytes;
  }

  get pagedOutCount(): number {
    return Math.max(0, this.messageCount - Math.max(0, this.committedEnd - this.tail.first));
  }

  get consumers(): Iterable<Consumer> {
    return this.readers.keys();
  }

  get exclusiveConsumer(): Consumer | null {
    return this.exclusiveReader?.consumer ?? null;
  }

  /** Offset of the oldest message; of the next one when there is none. */
  get firstOffset(): number {
    return this.numbering.offsetAt(this.firstPosition);
  }

  /** Offset behind the last committed message. */
  get committedOffset(): number {
    return this.numbering.offsetAt(this.committedEnd);
  }

  /** Offset that the next message will have. */
  get nextOffset(): number {
    return this.numbering.nextOffset;
  }

  /** Segments that the stream is made of. */
  get segmentCount(): number {
    return this.segments.count;
  }

  /** Names of consumers that the stream remembers, each with the offset of the message that it will get next. */
  *consumerOffsets(): IterableIterator<{ name: string; offset: number }> {
    for (const { name, position } of this.bookmarks)
      yield { name, offset: this.numbering.offsetAt(position + 1) };
  }

  contents(): QueueContents {
    return new StreamContents(this, this.context.shard);
  }

  // ── publishing ──

  publish(message: Message): number {
    if (this.deleted) return ACCEPTED;
    const { context, numbering, stored, tail } = this;
    const position = this.nextPosition++;
    const kept = withLongHeader(message, OFFSET_HEADER, numbering.add(position));
    this.lastTime = Math.max(this.lastTime, context.clock.now());
    stored.expiresAt = this.lastTime;
    const { at } = kept;
    const { wire } = kept.address;
    const length = kept.contentLength;
    const ticket = context.shard.enqueue(this.number, position, wire, kept.buffer, at, at + length, stored);
    if (this.addToSegment(position, wire.length + length, kept.bodyLength)) this.wake();
    if (this.readers.size !== 0) this.keepInTail(kept, position);
    else tail.restartAt(position + 1);
    this.counters.published++;
    this.await(ticket, position + 1);
    return MUST_COMMIT;
  }

  /** @returns true when older segments may have to go */
  private addToSegment(position: number, bytes: number, bodyBytes: number): boolean {
    if (!this.segments.add(position, this.lastTime, bytes, bodyBytes, this.options)) return false;
    this.retentionDue = true;
    return true;
  }

  private keepInTail(message: Message, position: number): void {
    const { tail } = this;
    const { memory } = this.context;
    if (tail.next !== position) tail.restartAt(position);
    tail.push(message);
    memory.used += message.footprint;
    while (tail.bytes > TAIL_BYTES_MAX || (memory.exceededBy(tail.bytes) && tail.first < tail.next))
      this.forgetTail(tail.first + 1);
  }

  private await(ticket: Ticket, end: number): void {
    const { pending, context } = this;
    const last = pending[pending.length - 1];
    if (last !== undefined && last.ticket === ticket) last.end = end;
    else {
      pending.push({ ticket, end });
      context.commits.await(this);
      // Nothing is to be done before the commit, which a turn makes.
      context.turn.request();
    }
  }

  committed(upTo: Ticket): boolean {
    const { pending } = this;
    let done = 0;
    for (; done < pending.length && pending[done]!.ticket <= upTo; done++) {
      this.lastChunk = this.committedEnd;
      this.committedEnd = pending[done]!.end;
    }
    if (done === 0) return true;
    pending.splice(0, done);
    for (const reader of this.idle) {
      reader.place = IN_LINE;
      this.line.push(reader);
    }
    this.idle.clear();
    if (this.line.length !== 0) this.wake();
    return pending.length !== 0;
  }

  // ── serving ──

  consume(consumer: Consumer): void {
    const args = consumer.arguments;
    const name = consumerNameOf(args);
    const reader = new StreamReader(this, consumer, this.nextPosition, filterOf(args), name);
    this.readers.set(consumer, reader);
    if (consumer.exclusive) this.exclusiveReader = reader;
    consumer.parked = false;
    const known = name === null ? null : this.bookmarks.positionOf(name);
    if (known !== null) return this.begin(reader, known + 1);
    const { clock, shard } = this.context;
    const start = startOf(args, clock.now()) ?? { at: 'next' };
    if (start.at !== 'time') return this.begin(reader, this.positionOf(start));
    const { from, to } = this.segments.rangeOf(start.time);
    reader.place = READING;
    seekTime(shard, this.number, from, Math.min(to, this.nextPosition), start.time, (error, position) => {
      if (reader.place !== READING) return;
      if (error !== null) return this.readFailed(error);
      this.begin(reader, position);
    });
  }

  private positionOf(start: Exclude<StreamStart, { at: 'time' }>): number {
    if (start.at === 'offset')
      return start.offset >= this.nextOffset ? this.nextPosition : this.numbering.positionOf(start.offset);
    if (start.at === 'first') return this.firstPosition;
    if (start.at === 'last' && this.lastChunk !== 0) return this.lastChunk;
    return this.nextPosition;
  }

  private begin(reader: StreamReader, position: number): void {
    const { name } = reader;
    reader.position = Math.max(position, this.firstPosition);
    if (name !== null) this.bookmarks.use(name, reader, reader.position - 1);
    this.readerReady(reader);
  }

  readerReady(reader: StreamReader): void {
    reader.place = IN_LINE;
    this.line.push(reader);
    this.wake();
  }

  cancel(consumer: Consumer): void {
    const reader = this.readers.get(consumer);
    if (reader === undefined) return;
    this.readers.delete(consumer);
    this.idle.delete(reader);
    if (this.exclusiveReader === reader) this.exclusiveReader = null;
    const wasInLine = reader.place === IN_LINE;
    reader.leave();
    this.closeBookmark(reader);
    if (this.deleted) return;
    if (this.readers.size === 0) {
      this.forgetTail(this.tail.next);
      this.runs.forgetKept();
      this.host.consumersGone(this);
    }
    // The turn takes those out of the line that have left.
    if (wasInLine) this.wake();
  }

  unpark(consumer: Consumer): void {
    const reader = this.readers.get(consumer);
    if (reader === undefined || reader.place !== PARKED) return;
    consumer.parked = false;
    this.readerReady(reader);
  }

  wake(): void {
    if (!this.woken) this.context.turn.wake(this);
  }

  runTurn(): void {
    if (this.deleted) return;
    if (this.retentionDue) this.retain();
    const { line } = this;
    // As many readers of as many queues would have a turn each.
    const readers = Math.min(this.readers.size, TURN_READERS_MAX);
    let left = this.paused ? 0 : this.context.deliveriesPerTurn * readers;
    for (let n = line.length; n > 0; n--) {
      const reader = line.shift()!;
      if (reader.place !== IN_LINE) continue;
      if (left > 0) left -= reader.serve(Math.min(left, READER_SLICE));
      // Serving one may have ended the stream.
      if (this.deleted) return;
      this.putAfter(reader);
    }
    this.tidyTail();
    if (line.length !== 0 && !this.paused) this.wake();
  }

  private putAfter(reader: StreamReader): void {
    if (reader.place === IN_LINE) this.line.push(reader);
    else if (reader.place === IDLE) this.idle.add(reader);
  }

  /** A stream does not expire (RabbitMQ), so nobody asks when it was used last. */
  touch(): void {}

  /** Stops serving readers; publishing and retention go on. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.wake();
  }

  skipGap(position: number): number {
    return this.numbering.skipGap(position);
  }

  readerAdvanced(reader: StreamReader, position: number): void {
    if (this.deleted) return;
    this.bookmarks.move(reader.name!, reader, position - 1);
    if (reader.place === GONE) this.closeBookmark(reader);
  }

  /** A reader that has left moves its bookmark until everything it holds is settled. */
  private closeBookmark(reader: StreamReader): void {
    if (reader.name !== null && !reader.isHolding) this.bookmarks.leave(reader.name, reader);
  }

  // ── memory ──

  get firstPosition(): number {
    return this.segments.first === 0 ? this.nextPosition : this.segments.first;
  }

  get coldReaders(): number {
    let count = 0;
    for (const reader of this.readers.values()) if (reader.isCold) count++;
    return count;
  }

  readFailed(error: Error): void {
    if (this.deleted || this.reported || (error instanceof StoreError && error.kind === 'closed')) return;
    this.reported = true;
    // Nothing is skipped: the messages are in the store, and a restart will say what is wrong with them.
    this.context.log.error('a stream cannot read its messages back; who asks for them waits', {
      queue: this.name,
      error: error.message,
    });
  }

  /** Lets go of what no reader wants from memory any more. */
  private tidyTail(): void {
    const { tail, readers, idle } = this;
    if (tail.first === tail.next) return;
    let wanted = this.committedEnd;
    if (idle.size !== readers.size) {
      if (tail.bytes < TAIL_TIDY_BYTES) return;
      for (const { position } of readers.values()) if (position < wanted) wanted = position;
    }
    this.forgetTail(Math.min(wanted, tail.next));
  }

  private forgetTail(position: number): void {
    const { tail } = this;
    const before = tail.bytes;
    tail.forgetBefore(position);
    this.context.memory.used -= before - tail.bytes;
  }

  // ── retention ──

  /** Drops whole segments that are too much or too old. */
  private retain(): void {
    this.retentionDue = false;
    const { segments, options, context } = this;
    const { wheel, clock, shard, turn } = context;
    const first = segments.expire(options, clock.now());
    if (first !== 0) {
      shard.clear(this.number, first - 1, []);
      turn.request();
      this.numbering.forgetBefore(first);
    }
    const expiresAt = segments.expiresAt(options);
    // Times are whole milliseconds, and a message of exactly that age is not too old.
    if (expiresAt === Number.POSITIVE_INFINITY) wheel.clear(this.ageTimer);
    else wheel.set(this.ageTimer, expiresAt + 1 - clock.now());
  }

  applyOptions(options: QueueOptions): void {
    this.options = options;
    this.retentionDue = true;
    this.wake();
  }

  /** Before a client looks: what is too much goes. Readers take nothing away, so they need no turn. */
  catchUp(): void {
    if (this.retentionDue) this.retain();
  }

  // ── the end ──

  delete(): void {
    this.deleted = true;
    const { context } = this;
    for (const reader of [...this.readers.values()]) {
      reader.leave();
      reader.consumer.cancelled();
    }
    this.readers.clear();
    this.exclusiveReader = null;
    this.idle.clear();
    this.line.clear();
    this.runs.stop();
    this.forgetTail(this.tail.next);
    context.wheel.clear(this.ageTimer);
    context.shard.dropQueue(this.number);
    this.bookmarks.drop();
    context.turn.request();
  }

  // ── recovery ──

  restoreFacts(number: QueueNo, nextPosition: number, deliveredUpTo: ReadonlyMap<Lane, Position>): void {
    if (number !== this.number) return this.bookmarks.restoreFacts(nextPosition);
    this.nextPosition = Math.max(this.nextPosition, nextPosition, (deliveredUpTo.get(0) ?? 0) + 1);
    this.tail.restartAt(this.nextPosition);
  }

  restore(number: QueueNo, run: readonly StoredEntry[]): void {
    if (number !== this.number) return this.bookmarks.restore(run);
    const { numbering } = this;
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      const { position, start, end, buffer } = stored;
      const { lastPosition } = numbering;
      if (lastPosition === 0 || position !== lastPosition + 1)
        numbering.restoreAt(position, storedOffset(stored));
      else numbering.restoreUpTo(position);
      this.lastTime = Math.max(this.lastTime, stored.expiresAt);
      this.addToSegment(position, end - start, storedBodyLength(buffer, start));
    }
    if (run.length === 0) return;
    // What one commit wrote is not known any more; what was stored together comes near it.
    this.lastChunk = run[0]!.position;
    this.committedEnd = numbering.lastPosition + 1;
    this.nextPosition = Math.max(this.nextPosition, this.committedEnd);
    this.tail.restartAt(this.nextPosition);
  }

  settleMark(): void {
    this.bookmarks.write();
  }

  // ── what a stream does not do (RabbitMQ): doors refuse it before ──

  get(_noAck?: boolean): Entry | null {
    this.counters.getEmpty++;
    return null;
  }

  whenReady(_ready?: () => void): boolean {
    return true;
  }

  purge(): number {
    return 0;
  }

  /** Entries of a stream belong to the reader that has them. */
  ack(_entry: Entry): void {}
  requeue(_entry: Entry): void {}
  reject(_entry: Entry): void {}
}

/** The offset that a message was stored with. */
function storedOffset(stored: StoredEntry): number {
  const { buffer, start, end } = stored;
  const message = messageInPlace(buffer, start, end, new AddressReader().at);
  return Number(message.headers()?.get(OFFSET_HEADER)?.value ?? 0);
}

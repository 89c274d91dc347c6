// The lines of one queue: one for each priority level that ever had a message, and the only one of a queue without priorities.
// Owns which lines there are, which of them is next, and the sums over them. Knows no consumers and no rules: what comes, leaves, dies
// or is handed out, the queue says.
//
// Invariants: there is always the lowest line; a line, once made, stays as long as its queue.

import { assert } from '../base/assert.ts';
import type { Message } from '../message/message.ts';
import type { Lane, Position, QueueNo, StoredEntry } from '../store/store.ts';
import type { Duplicates } from './duplicates.ts';
import { isOwn, placeOf, positionOfShared } from './level-store.ts';
import { LEVELS_MAX, Levels } from './levels.ts';
import { Line, type LineHost } from './line.ts';
import { restoreFacts, restoreLevel, restoreRun } from './line-recovery.ts';
import type { Consumer, DeclaredQueue } from './queue.ts';
import type { QueueContext } from './queue-context.ts';

/** Messages that are prepared for their delivery while one of them waits for the store: bounds what a crash marks without need. */
const LOOK_AHEAD = 4_000;

/** Lines of one queue. */
export class QueueLines {
  /** Recovery has found something that has a time, and waits for `resume`. */
  hasToResume = false;
  /** In the order in which they were made. */
  private readonly lines: Line[];
  /** The line of messages without priority; the only one in a queue without priorities. */
  private readonly base: Line;
  /** The lines by priority; null in a queue without priorities, for which `base` is all there is. */
  private readonly levels: Levels | null;
  private readonly queue: LineHost & DeclaredQueue;
  private readonly context: QueueContext;

  /**
   * @param known levels that have a number of their own in the store
   */
  constructor(queue: LineHost & DeclaredQueue, known: ReadonlyMap<number, QueueNo>, context: QueueContext) {
    this.queue = queue;
    this.context = context;
    this.levels = queue.options.priorityMax > 0 ? new Levels() : null;
    this.base = new Line(queue, 0, queue.number, context, this.levels, known.get(0) ?? null);
    this.lines = [this.base];
    this.levels?.add(this.base);
    for (const [level, own] of known) if (level > 0 && level < LEVELS_MAX) this.add(level, own);
  }

  // ── which ──

  /** The line whose entry is next. */
  get top(): Line {
    return this.levels === null ? this.base : this.levels.top!;
  }

  /** Something in it has expired or may expire. */
  get isTimed(): boolean {
    return this.levels !== null || this.base.deadlines !== null;
  }

  /** Where a message goes; the line is made when there is none. RabbitMQ: a priority above x-max-priority counts as that. */
  lineFor(message: Message): Line {
    const { levels } = this;
    if (levels === null) return this.base;
    const level = Math.min(message.priority, this.queue.options.priorityMax);
    return levels.at(level) ?? this.add(level, null);
  }

  /** All lines, in the order in which they were made. Grows, now and then, while one goes through it. */
  get all(): readonly Line[] {
    return this.lines;
  }

  /** All lines in the order of delivery. */
  inOrder(): readonly Line[] {
    return this.lines.length === 1 ? this.lines : [...this.lines].sort((a, b) => b.level - a.level);
  }

  /** Deliveries wait for the store: what the next levels will need of it is asked for too, or they would wait once for each. */
  lookAhead(): void {
    const { levels } = this;
    if (levels === null) return;
    let left = LOOK_AHEAD;
    for (let line = levels.top; line !== null && left > 0; line = levels.below(line)) {
      line.prepare(this.queue.durable);
      left -= line.count;
    }
  }

  /** @param own its number, if it has one yet */
  private add(level: number, own: QueueNo | null): Line {
    const line = new Line(this.queue, level, this.queue.number, this.context, this.levels, own);
    this.levels?.add(line);
    this.lines.push(line);
    return line;
  }

  private numbered(number: QueueNo): Line {
    const line = this.levels === null ? this.base : this.lines.find(({ ownNumber }) => ownNumber === number);
    assert(line !== undefined, 'a queue has no line of this number');
    return line;
  }

  // ── sums ──

  /** Ready messages. */
  get messageCount(): number {
    return this.levels === null ? this.base.count : this.levels.count;
  }

  /** Body bytes of all ready messages. */
  get messageBytes(): number {
    return this.levels === null ? this.base.bytes : this.levels.bytes;
  }

  /** Bytes of message memory the lines hold. */
  get memoryBytes(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.hotBytes;
    return sum;
  }

  get unackedCount(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.unacked.size;
    return sum;
  }

  /** Ready messages that are only in the store. */
  get pagedOutCount(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.pager.count;
    return sum;
  }

  /** Messages that wait for a retry. */
  get waitingCount(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.held?.waitingCount ?? 0;
    return sum;
  }

  /** Dead letters that wait for somebody to take them. */
  get deadWaitingCount(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.held?.deadCount ?? 0;
    return sum;
  }

  /** Messages that are neither ready nor delivered. */
  get heldCount(): number {
    return this.waitingCount + this.deadWaitingCount;
  }

  /** Their body bytes. */
  get heldBytes(): number {
    let sum = 0;
    for (let i = 0; i < this.lines.length; i++) sum += this.lines[i]!.held?.bodyBytes ?? 0;
    return sum;
  }

  /** The consumer has unacked deliveries. Asked while it settles what it holds: mostly the delivery made last is its own. */
  isHolding(consumer: Consumer): boolean {
    for (let i = 0; i < this.lines.length; i++)
      for (const entry of this.lines[i]!.unacked) if (entry.holder === consumer) return true;
    return false;
  }

  // ── what happens to all of them ──

  /**
   * Everything ready or held back leaves, in the store too (RabbitMQ: what a quorum queue holds back goes with a purge).
   * @returns how many were held back
   */
  clear(): number {
    let held = 0;
    for (let i = 0; i < this.lines.length; i++) {
      const line = this.lines[i]!;
      if (line.held !== null) held += line.held.clear();
      line.clear();
    }
    if (this.levels !== null) this.clearShared(this.levels);
    return held;
  }

  /** Removes from the store what all levels have under the number of the queue, except what is held. */
  private clearShared(levels: Levels): void {
    const held: number[] = [];
    for (let i = 0; i < this.lines.length; i++)
      for (const position of this.lines[i]!.unacked.storedPositions())
        if (!isOwn(position)) held.push(placeOf(position));
    held.sort((a, b) => a - b);
    this.context.shard.clear(this.queue.number, placeOf(levels.nextPosition) - 1, held);
    this.context.turn.request();
  }

  /** The end of all lines: everything is forgotten, in the store too. */
  drop(): void {
    for (let i = 0; i < this.lines.length; i++) {
      this.lines[i]!.held?.stop();
      this.lines[i]!.drop();
    }
    if (this.levels === null) return;
    this.context.shard.dropQueue(this.queue.number);
    this.context.turn.request();
  }

  /** Messages that are delivered are still in the queue: they are remembered anew. */
  rememberUnacked(duplicates: Duplicates): void {
    for (let i = 0; i < this.lines.length; i++)
      for (const { message } of this.lines[i]!.unacked) duplicates.holds(message);
  }

  /** What expires goes to a dead-letter exchange from now on. */
  needBytes(): void {
    for (let i = 0; i < this.lines.length; i++) this.lines[i]!.deadlines?.needBytes();
  }

  /** Before a clean stop: the redelivered marks are set back to what was really delivered. */
  settleMarks(): void {
    for (let i = 0; i < this.lines.length; i++) this.lines[i]!.mark.settle();
  }

  // ── recovery ──

  /** Where the positions of one of its numbers go on, and up to where entries may have been delivered. */
  restoreFacts(number: QueueNo, nextPosition: number, deliveredUpTo: ReadonlyMap<Lane, Position>): void {
    const { levels } = this;
    if (levels !== null && number === this.queue.number) {
      levels.goOnAt(positionOfShared(nextPosition));
      for (const [lane, upTo] of deliveredUpTo) {
        levels.goOnAt(positionOfShared(upTo + 1));
        this.restoredLine(levels, lane).levelMark!.restoreShared(upTo);
      }
      for (let i = 0; i < this.lines.length; i++) this.capRestored(this.lines[i]!);
      return;
    }
    const line = this.numbered(number);
    restoreFacts(line, nextPosition, deliveredUpTo.get(0) ?? 0);
    this.capRestored(line);
  }

  /** Entries of one of its numbers, ascending. */
  restore(number: QueueNo, run: readonly StoredEntry[]): void {
    const { levels } = this;
    if (levels !== null && number === this.queue.number) return this.restoreShared(levels, run);
    const line = this.numbered(number);
    if (levels === null) restoreRun(line, run);
    else restoreLevel(line, run, false);
    this.restored(line);
  }

  /** Recovery has ended: what was held back goes on, and what is only in the store expires. */
  resume(): void {
    this.hasToResume = false;
    for (let i = 0; i < this.lines.length; i++) {
      this.lines[i]!.held?.resume();
      this.lines[i]!.deadlines?.resume();
    }
  }
  /** Entries of all levels. */
  private restoreShared(levels: Levels, run: readonly StoredEntry[]): void {
    const byLevel = new Map<number, StoredEntry[]>();
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      const others = byLevel.get(stored.lane);
      if (others === undefined) byLevel.set(stored.lane, [stored]);
      else others.push(stored);
    }
    for (const [level, own] of byLevel) {
      const line = this.restoredLine(levels, level);
      restoreLevel(line, own, true);
      this.restored(line);
    }
  }

  private restoredLine(levels: Levels, level: number): Line {
    const known = levels.at(level);
    if (known !== null) return known;
    const line = this.add(level, null);
    this.capRestored(line);
    return line;
  }

  /** What came before the time to live did is stored without one: it counts anew. */
  private capRestored(line: Line): void {
    const { messageTtlMs } = this.queue.options;
    if (messageTtlMs === Number.POSITIVE_INFINITY) return;
    // Of what it has under the number of all levels a line knows nothing yet.
    if (this.levels !== null) line.nextPosition = Math.max(line.nextPosition, this.levels.nextPosition);
    line.cap(this.context.clock.now() + messageTtlMs, []);
  }

  private restored({ held, deadlines }: Line): void {
    if (held !== null || deadlines !== null) this.hasToResume = true;
  }
}

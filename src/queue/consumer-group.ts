// Whose turn it is among the consumers of one queue: by priority, then round robin, exclusive ones alone.
// Owns the lines of consumers that may have capacity. A consumer found without capacity is parked (left out of its line) until
// somebody says `unpark`, so that a thousand busy consumers cost nothing per delivery.
// Invariants: every member is either in its level's line exactly once, or parked; a level has at least one member; a group with a
// single active member has no levels, and neither has one that never had two members.

import { Deque } from '../base/deque.ts';
import type { Consumer } from './queue.ts';

/** The members of one priority. */
interface Level {
  readonly priority: number;
  /** Those that may have capacity, the next to be served in front. */
  readonly line: Deque<Consumer>;
  /** Members, parked ones included. */
  size: number;
  /** Members that left, or were parked, while standing in the line; skipped when their turn comes. */
  stale: number;
}

/** Lines with more left members than this, and than half of it, are cleaned at once. */
const STALE_MAX = 16;

/** The consumers of one queue. */
export class ConsumerGroup {
  private readonly members = new Set<Consumer>();
  /** Highest priority first. */
  private readonly levels: Level[] = [];
  private exclusiveMember: Consumer | null = null;
  /** The only member of a group that never had two since it was empty: it needs no line. Null for all other groups. */
  private sole: Consumer | null = null;
  /** Members that were parked while they stood in their line, where they still are. */
  private readonly parkedInLine = new Set<Consumer>();
  /** Only one member is served at a time; the others wait for it to leave (x-single-active-consumer). */
  private readonly single: boolean;
  /** That one. */
  private activeMember: Consumer | null = null;
  /** Whether a member holds deliveries: the active one makes room for one of higher priority as soon as it holds none. Null: it never does. */
  private readonly holds: ((member: Consumer) => boolean) | null;
  /** Somebody of higher priority than the active member waits for that. */
  private challenged = false;

  constructor(singleActive = false, holds: ((member: Consumer) => boolean) | null = null) {
    this.single = singleActive;
    this.holds = singleActive ? holds : null;
  }

  get size(): number {
    return this.members.size;
  }

  /** The exclusive consumer, if there is one. */
  get exclusive(): Consumer | null {
    return this.exclusiveMember;
  }

  /** Takes no exclusive consumer: it hands out activity itself (RabbitMQ). */
  get isSingleActive(): boolean {
    return this.single;
  }

  /** The member that is served, of a single active group; null otherwise. */
  get active(): Consumer | null {
    if (this.single && this.activeMember === null) this.activeMember = this.successor();
    return this.activeMember;
  }

  has(consumer: Consumer): boolean {
    return this.members.has(consumer);
  }

  [Symbol.iterator](): IterableIterator<Consumer> {
    return this.members.values();
  }

  add(consumer: Consumer): void {
    // A place that is vacant goes to one of those who wait already, whatever the priority of the new one (RabbitMQ).
    if (this.single) this.activeMember = this.active ?? consumer;
    this.members.add(consumer);
    if (this.holds !== null) this.challenged = this.isChallenged();
    if (consumer.exclusive) this.exclusiveMember = consumer;
    consumer.parked = false;
    if (this.single) return;
    if (this.members.size === 1) {
      this.sole = consumer;
      return;
    }
    if (this.sole !== null) this.enterLevel(this.sole);
    this.sole = null;
    this.enterLevel(consumer);
  }

  /** @returns false when it was not a member */
  remove(consumer: Consumer): boolean {
    if (!this.members.delete(consumer)) return false;
    if (this.exclusiveMember === consumer) this.exclusiveMember = null;
    if (this.sole === consumer) this.sole = null;
    else if (!this.single) this.leaveLevel(consumer);
    // Its successor is looked for when there is something to deliver: members often leave together.
    if (this.activeMember === consumer) this.activeMember = null;
    if (this.challenged) this.challenged = this.isChallenged();
    return true;
  }

  clear(): void {
    this.members.clear();
    this.parkedInLine.clear();
    this.levels.length = 0;
    this.exclusiveMember = null;
    this.sole = null;
    this.activeMember = null;
    this.challenged = false;
  }

  unpark(consumer: Consumer): void {
    if (!consumer.parked || !this.members.has(consumer)) return;
    consumer.parked = false;
    if (this.single || this.sole !== null) return;
    const level = this.levelOf(consumer.priority);
    if (this.parkedInLine.delete(consumer)) level.stale--;
    else level.line.push(consumer);
  }

  /** Parks a member that was found without capacity out of its turn. */
  park(consumer: Consumer): void {
    if (consumer.parked || !this.members.has(consumer)) return;
    consumer.parked = true;
    if (this.single || this.sole !== null) return;
    this.parkedInLine.add(consumer);
    this.levelOf(consumer.priority).stale++;
  }

  /** A member that may be given something as soon as it has capacity. */
  serves(consumer: Consumer): boolean {
    return this.single ? this.active === consumer : this.members.has(consumer);
  }

  /** The active member is given nothing more: as soon as it holds nothing, one of higher priority takes its place. */
  get isMakingRoom(): boolean {
    return this.challenged;
  }

  /** Somebody could be served now. Nobody's turn is changed by the question. */
  get hasCapacity(): boolean {
    if (this.single) {
      const { active } = this;
      return active !== null && !active.parked && active.hasCapacity();
    }
    for (const member of this.members) if (!member.parked && member.hasCapacity()) return true;
    return false;
  }

  /** The consumer to serve next, moved to the end of its line; null when none has capacity. */
  next(): Consumer | null {
    if (this.single) {
      if (this.challenged && !this.takeOver()) return this.parkActive();
      return this.active?.hasCapacity() ? this.activeMember : this.parkActive();
    }
    const { sole } = this;
    if (sole !== null) {
      if (sole.parked) return null;
      if (sole.hasCapacity()) return sole;
      sole.parked = true;
      return null;
    }
    const levels = this.levels;
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]!;
      const line = level.line;
      for (let consumer = line.shift(); consumer !== null; consumer = line.shift()) {
        if (level.stale !== 0 && this.isStale(consumer)) {
          level.stale--;
          continue;
        }
        if (consumer.hasCapacity()) {
          line.push(consumer);
          return consumer;
        }
        consumer.parked = true;
      }
    }
    return null;
  }

  /** Somebody taken from a line who has left, or is parked already. */
  private isStale(consumer: Consumer): boolean {
    return this.parkedInLine.delete(consumer) || !this.members.has(consumer);
  }

  private parkActive(): null {
    if (this.activeMember !== null) this.activeMember.parked = true;
    return null;
  }

  private isChallenged(): boolean {
    const { active } = this;
    for (const member of this.members) if (active !== null && member.priority > active.priority) return true;
    return false;
  }

  /** RabbitMQ 4, quorum queues: the active member is served no more, and its place is free when it has settled what it holds. */
  private takeOver(): boolean {
    const { active } = this;
    if (active !== null && this.holds?.(active) === true) return false;
    if (active !== null) active.parked = false;
    this.activeMember = null;
    this.challenged = false;
    return true;
  }

  /** RabbitMQ: of those that wait, the one of the highest priority, then the one that has waited longest. */
  private successor(): Consumer | null {
    let best: Consumer | null = null;
    for (const member of this.members) if (best === null || member.priority > best.priority) best = member;
    return best;
  }

  private levelOf(priority: number): Level {
    const levels = this.levels;
    let i = 0;
    while (i < levels.length && levels[i]!.priority > priority) i++;
    const found = levels[i];
    if (found !== undefined && found.priority === priority) return found;
    const level: Level = { priority, line: new Deque<Consumer>(), size: 0, stale: 0 };
    levels.splice(i, 0, level);
    return level;
  }

  private enterLevel(consumer: Consumer): void {
    const level = this.levelOf(consumer.priority);
    level.size++;
    if (!consumer.parked) level.line.push(consumer);
  }

  private leaveLevel(consumer: Consumer): void {
    const level = this.levelOf(consumer.priority);
    const inLine = this.parkedInLine.delete(consumer) || !consumer.parked;
    if (--level.size === 0) {
      this.levels.splice(this.levels.indexOf(level), 1);
      return;
    }
    if (!inLine) return;
    const { line } = level;
    // One that was parked where it stood is counted already.
    if (!consumer.parked) level.stale++;
    if (level.stale < STALE_MAX || level.stale * 2 < line.length) return;
    for (let n = line.length; n > 0; n--) {
      const member = line.shift()!;
      if (!this.isStale(member)) line.push(member);
    }
    level.stale = 0;
  }
}

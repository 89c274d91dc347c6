// What of one line is held back: messages that wait for a retry, and dead letters that nobody took yet. Neither is ready, neither is in
// anybody's hands; the store has both, and memory only their positions.
// Owns their counts and the way back. Decides nothing: whether a message is tried again, and what becomes of a dead letter, the queue says.
//
// A message that was never written (it is transient) is written now, at the back of the line, for nothing can be added to the store in
// front of what is there; so it comes back behind what came while it was delivered. All others come back to their old place.
// Invariants: what is held back has a time to wait for or a reason of death in its record, and what is cold has neither (so recovery and
// the pager tell them apart); an entry is in one of the two indexes at most.

import type { DeathReason } from '../message/death.ts';
import type { Entry } from '../message/entry.ts';
import { storedBodyLength } from '../message/message.ts';
import type { StoredEntry } from '../store/store.ts';
import { DueEntries, type DueEntriesHost } from './due-entries.ts';
import { KeptDead, type KeptDeadHost } from './kept-dead.ts';
import type { Line } from './line.ts';
import type { QueueContext } from './queue-context.ts';
import { deathOf, died } from './tries.ts';

/** A message whose time has come while the memory is full of others waits so much longer, in milliseconds. */
export const NO_ROOM_WAIT_MS = 500;

/** The queue, as far as what it holds back goes. */
export interface HeldBackHost {
  readonly name: string;
  /** Lines among which the queue's share of the memory is divided. */
  readonly lineCount: number;
  /** Entries that wait are known by their object (ordering keys). */
  readonly ordersByKey: boolean;
  /** Recovery: such an entry waits. */
  awaitsRetry(entry: Entry): void;
  /** What waited for its retry is ready again. */
  comesBack(line: Line, entry: Entry): void;
  /** @returns false when the dead letter does not reach all queues it has to go to, and so none of them */
  handOn(entry: Entry, reason: DeathReason): boolean;
}

/** What of one line is held back. */
export class HeldBack implements DueEntriesHost, KeptDeadHost {
  private readonly queue: HeldBackHost;
  private readonly line: Line;
  private readonly context: QueueContext;
  private readonly waiting: DueEntries;
  private readonly dead: KeptDead;
  /** Waiting entries whose object is known elsewhere (ordering keys), by position. */
  private readonly known = new Map<number, Entry>();

  constructor(queue: HeldBackHost, line: Line, context: QueueContext) {
    this.queue = queue;
    this.line = line;
    this.context = context;
    this.waiting = new DueEntries(context, line.number, this, true, line.shard);
    this.dead = new KeptDead(context, line.shard, line.number, this);
  }

  get name(): string {
    return this.queue.name;
  }

  /** Messages that wait for a retry. */
  get waitingCount(): number {
    return this.waiting.count;
  }

  /** Dead letters that wait to be taken. */
  get deadCount(): number {
    return this.dead.count;
  }

  /** Body bytes of both. */
  get bodyBytes(): number {
    return this.waiting.bodyBytes + this.dead.bodyBytes;
  }

  /**
   * An entry that was delivered waits until `dueAt` (ms since the epoch).
   * @param tries what is known of its failures from now on
   * @param isKnown its object has to come back, and stays in memory
   */
  wait(entry: Entry, tries: number, dueAt: number, isKnown: boolean): void {
    const position = this.record(entry, tries, dueAt);
    if (isKnown) {
      entry.tries = tries;
      this.known.set(position, entry);
    }
    this.waiting.add(dueAt, position, entry.message.bodyLength);
  }

  /** An entry died, and its dead letter was not taken. */
  keep(entry: Entry, reason: DeathReason): void {
    const position = this.record(entry, died(entry.tries, reason), 0);
    this.dead.add(position, entry.message.bodyLength);
  }

  /** As `keep`, for an entry of which there is only its record. */
  keepStored(position: number, tries: number, bodyLength: number, reason: DeathReason): void {
    this.line.log.returned(position, died(tries, reason), 0);
    this.dead.add(position, bodyLength);
  }

  /** Recovery: an entry that was held back before the stop. Nothing happens before `resume`. */
  restore(stored: StoredEntry): void {
    const bodyLength = storedBodyLength(stored.buffer, stored.start);
    if (deathOf(stored.tries) !== null) return this.dead.restore(stored.position, bodyLength);
    this.waiting.restore(stored.dueAt, stored.position, bodyLength);
    if (!this.queue.ordersByKey) return;
    const entry = this.line.entryOf(stored);
    this.known.set(entry.position, entry);
    this.queue.awaitsRetry(entry);
  }

  /** Recovery has ended. */
  resume(): void {
    this.waiting.resume();
    this.dead.resume();
  }

  /** Forgets all without a word to the store. @returns how many there were */
  clear(): number {
    const count = this.waitingCount + this.deadCount;
    this.waiting.clear();
    this.dead.clear();
    this.known.clear();
    return count;
  }

  /** Forgets all, and holds nothing back from now on. */
  stop(): void {
    this.clear();
    this.waiting.stop();
  }

  // ── times that have come ──

  stillWaits(): boolean {
    return true;
  }

  due(position: number, bodyLength: number, stored: StoredEntry | null): void {
    const { line, context, known } = this;
    const same = known.get(position);
    if (same !== undefined) {
      known.delete(position);
      // Its record was only for the wait.
      if (same.position !== position) line.log.remove(position);
      return this.queue.comesBack(line, same);
    }
    if (stored === null) return;
    const isFull = line.isFull(bodyLength);
    // One that is larger than all the memory there is comes back all the same, when it is alone.
    if (isFull && line.hotBytes !== 0)
      return this.waiting.add(context.clock.now() + NO_ROOM_WAIT_MS, position, bodyLength);
    this.queue.comesBack(line, line.entryOf(stored));
  }

  // ── dead letters ──

  handOn(stored: StoredEntry): boolean {
    const { line } = this;
    if (!this.queue.handOn(line.entryOf(stored), deathOf(stored.tries)!)) return false;
    line.log.remove(stored.position);
    return true;
  }

  // ── records ──

  /** Sees to it that the store has the entry with these facts. @returns where */
  private record(entry: Entry, tries: number, dueAt: number): number {
    const { log } = this.line;
    if (entry.stored) {
      log.returned(entry.position, tries, dueAt);
      return entry.position;
    }
    const position = this.line.placeFor(true);
    log.writeHeldBack(entry, position, tries, dueAt, this.context.clock.now());
    return position;
  }
}

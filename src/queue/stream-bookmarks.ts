// How far named consumers of a stream have come (consumer argument x-stream-consumer-name): remembered in the store, over restarts.
// Owns the names, their places and when these are written. Knows no consumer: a reader says where its name stands.
// Invariants: at most BOOKMARKS_MAX names; one record in the store for each, under a queue number of its own; a new name is written
// at once; where it has come to, at most once in WRITE_EVERY_MS, and before a clean stop.

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { QueueNo, StoredEntry } from '../store/store.ts';
import type { QueueContext } from './queue-context.ts';

/** Names that one stream remembers. A further one takes the place of the name that was written longest ago and that nobody uses. */
export const BOOKMARKS_MAX = 1_000;
/** How long an acknowledgement may wait to be remembered. After a crash so much is delivered again. */
export const WRITE_EVERY_MS = 1_000;

const POSITION_BYTES = 6;
const EMPTY = Buffer.alloc(0);

/** One name. */
interface Bookmark {
  readonly name: string;
  /** Everything up to this position is done. */
  position: number;
  /** Its record; 0 while there is none. */
  record: number;
  /** Its place is not in the store yet. */
  dirty: boolean;
  /** Who moves it: the latest consumer of that name; null for nobody. */
  user: object | null;
}

/** The bookmarks of one stream. */
export class StreamBookmarks {
  private readonly context: QueueContext;
  /** Gives the queue number of the records, once there is something to record. */
  private readonly allotNumber: () => QueueNo;
  private readonly wheel: TimerWheel;
  /** Queue number of the records; null before the first. */
  private number: QueueNo | null;
  private nextRecord = 1;
  /** The one written longest ago in front. */
  private readonly names = new Map<string, Bookmark>();
  private readonly timer = new Timer(() => this.write());

  constructor(context: QueueContext, number: QueueNo | null, allotNumber: () => QueueNo) {
    this.context = context;
    this.wheel = context.wheel;
    this.number = number;
    this.allotNumber = allotNumber;
  }

  get size(): number {
    return this.names.size;
  }

  /** The position up to which the name has everything; null when it is not known. */
  positionOf(name: string): number | null {
    return this.names.get(name)?.position ?? null;
  }

  /** Names with the positions up to which they have everything, for people. */
  *[Symbol.iterator](): IterableIterator<{ name: string; position: number }> {
    for (const { name, position } of this.names.values()) yield { name, position };
  }

  /**
   * From now on this user moves the name, and nobody else. A new name begins at `position`, so that a consumer that acknowledges nothing
   * and comes back goes on where it first began.
   */
  use(name: string, user: object, position: number): void {
    let bookmark = this.names.get(name);
    if (bookmark === undefined) {
      if (this.names.size >= BOOKMARKS_MAX) this.forgetOne();
      bookmark = { name, position, record: 0, dirty: false, user };
      this.names.set(name, bookmark);
      // At once: to a consumer that comes back after a crash, and begins at the next message, all that came meanwhile would be lost.
      this.writeOne(bookmark);
    }
    bookmark.user = user;
  }

  /** The user has everything up to this position. One that does not move the name any more moves nothing. */
  move(name: string, user: object, position: number): void {
    const bookmark = this.names.get(name);
    if (bookmark === undefined || bookmark.user !== user || bookmark.position === position) return;
    bookmark.position = position;
    this.touch(bookmark);
  }

  /** The user is gone. */
  leave(name: string, user: object): void {
    const bookmark = this.names.get(name);
    if (bookmark !== undefined && bookmark.user === user) bookmark.user = null;
  }

  /** Writes what has moved since it was written last. */
  write(): void {
    this.wheel.clear(this.timer);
    for (const bookmark of [...this.names.values()]) if (bookmark.dirty) this.writeOne(bookmark);
  }

  /** Recovery: where the positions of the records go on. */
  restoreFacts(nextPosition: number): void {
    this.nextRecord = Math.max(this.nextRecord, nextPosition);
  }

  /** Recovery: the records, ascending. */
  restore(run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const { position: record, buffer, start, end } = run[i]!;
      const name = buffer.toString('utf8', start + POSITION_BYTES, end);
      const position = buffer.readUIntBE(start, POSITION_BYTES);
      this.names.delete(name);
      this.names.set(name, { name, position, record, dirty: false, user: null });
      this.nextRecord = Math.max(this.nextRecord, record + 1);
    }
  }

  /** The stream is gone, and its records with it. */
  drop(): void {
    this.wheel.clear(this.timer);
    this.names.clear();
    if (this.number !== null) this.context.shard.dropQueue(this.number);
  }

  private touch(bookmark: Bookmark): void {
    bookmark.dirty = true;
    if (!this.timer.isSet) this.wheel.set(this.timer, WRITE_EVERY_MS);
  }

  private writeOne(bookmark: Bookmark): void {
    const { shard, turn } = this.context;
    this.number ??= this.allotNumber();
    const head = Buffer.alloc(POSITION_BYTES + Buffer.byteLength(bookmark.name));
    head.writeUIntBE(bookmark.position, 0, POSITION_BYTES);
    head.write(bookmark.name, POSITION_BYTES);
    const record = this.nextRecord++;
    shard.enqueue(this.number, record, head, EMPTY, 0, 0, null);
    if (bookmark.record !== 0) shard.remove(this.number, bookmark.record);
    bookmark.record = record;
    bookmark.dirty = false;
    // Its place in the order of writing.
    this.names.delete(bookmark.name);
    this.names.set(bookmark.name, bookmark);
    turn.request();
  }

  private forgetOne(): void {
    for (const bookmark of this.names.values()) {
      if (bookmark.user !== null) continue;
      this.names.delete(bookmark.name);
      if (bookmark.record !== 0 && this.number !== null)
        this.context.shard.remove(this.number, bookmark.record);
      this.context.log.warn('a stream forgets how far a consumer has come, because it remembers too many', {
        consumer: bookmark.name,
      });
      return;
    }
  }
}

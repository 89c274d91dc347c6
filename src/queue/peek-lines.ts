// Looking into a queue made of lines, and taking single messages out: what is in memory and what is only in the store, as one order.
// Owns the walk. Changes nothing but by `take`. Knows no filter and no view.
//
// A walk goes line by line, in the order of delivery, by ascending position. The store is read only where something is wanted that is
// not in memory, and a run that was read is merged with what memory holds at that moment, memory first: so a message that comes back
// from the store meanwhile is seen once, and one that left is not seen.

import { AddressReader } from '../message/address.ts';
import { disown } from '../message/body-memory.ts';
import type { Entry } from '../message/entry.ts';
import { type Message, messageInPlace } from '../message/message.ts';
import type { StoredEntry } from '../store/store.ts';
import type { Duplicates } from './duplicates.ts';
import type { Line } from './line.ts';
import type { Ordering } from './ordering.ts';
import {
  type Found,
  type MessageId,
  type MessageState,
  type QueueContents,
  WALK_BYTES_MAX,
  WALK_MESSAGES_MAX,
  WALK_READ_BYTES,
  type WalkEnd,
  type WalkRequest,
} from './peek.ts';
import { PARKED } from './place.ts';
import { deathOf, isHeldBack } from './tries.ts';

/** The queue, as far as its contents need it. */
export interface ContentsHost {
  /** Its lines in the order of delivery. */
  linesInOrder(): readonly Line[];
  readonly ordering: Ordering | null;
  /** What of its messages is remembered; null where they may be alike. */
  readonly duplicates: Duplicates | null;
  /** Deleted: there is nothing in it any more. */
  readonly deleted: boolean;
  /** A message was taken out of the middle. @param entry null when it was only in the store */
  takenOut(message: Message, entry: Entry | null): void;
}

/** What became of a part of a walk. */
const STOPPED = 0;
const WENT_ON = 1;

type Visit = (found: Found) => boolean;

/** The messages of one queue of lines. */
export class LineContents implements QueueContents {
  private readonly queue: ContentsHost;
  private readonly addresses = new AddressReader();

  constructor(queue: ContentsHost) {
    this.queue = queue;
  }

  get parkedCount(): number {
    return this.queue.ordering?.parkedCount ?? 0;
  }

  walk(request: WalkRequest, visit: Visit, done: (error: Error | null, end: WalkEnd) => void): void {
    new LineWalk(this, this.queue, request, visit, done).begin();
  }

  find(ids: readonly MessageId[], visit: (found: Found) => void, done: (error: Error | null) => void): void {
    const lines = this.queue.linesInOrder();
    const cold: [Line, number][] = [];
    const beside = new Map<Line, Map<number, Entry>>();
    for (const id of ids) {
      const line = lines.find((each) => positionIn(each, id) !== null);
      if (line === undefined) continue;
      const position = positionIn(line, id)!;
      const listed = line.ready.find(position);
      if (listed !== null) {
        visit(foundInMemory(line, listed, 'ready'));
        continue;
      }
      // Consumers may hold very many: they are gone through once for all ids.
      if (!beside.has(line)) beside.set(line, this.besideByPosition(line, ids));
      const entry = beside.get(line)!.get(position);
      if (entry !== undefined) visit(foundBeside(line, entry));
      else if (isOnlyStored(line)) cold.push([line, position]);
    }
    this.findCold(cold, 0, visit, done);
  }

  /** What is asked for of a line and in somebody's hands, or parked. */
  private besideByPosition(line: Line, ids: readonly MessageId[]): Map<number, Entry> {
    const wanted = new Set<number>();
    for (const id of ids) {
      const position = positionIn(line, id);
      if (position !== null) wanted.add(position);
    }
    const found = new Map<number, Entry>();
    for (const entry of line.unacked) if (wanted.has(entry.position)) found.set(entry.position, entry);
    const { ordering } = this.queue;
    if (line.parked === 0 || ordering === null) return found;
    for (const entry of ordering.parked())
      if (entry.owner === line && wanted.has(entry.position)) found.set(entry.position, entry);
    return found;
  }

  /** One after the other: each is the smallest read there is. */
  private findCold(
    cold: readonly [Line, number][],
    at: number,
    visit: (found: Found) => void,
    done: (error: Error | null) => void,
  ): void {
    if (at === cold.length || this.queue.deleted) return done(null);
    const [line, position] = cold[at]!;
    this.read(line, position, 1, (error, run) => {
      if (error !== null) return done(error);
      if (this.queue.deleted) return done(null);
      const [stored] = run;
      // What had its place in the store only has a record until it leaves the queue.
      if (stored?.position === position) {
        // It may have come into memory meanwhile.
        const isCold = line.isCold(position) && !isHeldBack(stored);
        const known = isCold ? null : this.inMemory(line, position);
        const found = known ?? this.foundInStore(line, stored);
        if (found !== null) visit(found);
      }
      this.findCold(cold, at + 1, visit, done);
    });
  }

  /** Reads of a line in the store. What the run still shows and the line gave up since is told by `pager.has` as long as `use` runs. */
  read(
    line: Line,
    from: number,
    bytes: number,
    use: (error: Error | null, run: readonly StoredEntry[]) => void,
  ): void {
    line.pager.lookBegins();
    line.shard.read(line.number, from, bytes, (error, run) => {
      try {
        use(error, run);
      } finally {
        line.pager.lookEnds();
      }
    });
  }

  private inMemory(line: Line, position: number): Located | null {
    const listed = line.ready.find(position);
    if (listed !== null) return foundInMemory(line, listed, 'ready');
    for (const entry of line.unacked)
      if (entry.position === position) return foundInMemory(line, entry, 'unacked');
    if (line.parked === 0 || this.queue.ordering === null) return null;
    for (const entry of this.queue.ordering.parked())
      if (entry.owner === line && entry.position === position) return foundInMemory(line, entry, 'ready');
    return null;
  }

  take(found: Found): Message | null {
    const { queue } = this;
    if (queue.deleted) return null;
    const { line, entry, stored } = found as Located;
    if (entry !== null) {
      if ((entry.place & PARKED) === 0 && line.ready.find(entry.position) !== entry) return null;
      line.take(entry);
      queue.takenOut(entry.message, entry);
      line.remove(entry);
      return entry.message;
    }
    if (stored === null || isHeldBack(stored) || !line.isCold(stored.position)) return null;
    const { position } = stored;
    const message = line.log.read(stored);
    line.takeCold(position, message.bodyLength);
    if (queue.duplicates !== null) queue.duplicates.left(message);
    queue.takenOut(message, null);
    // An index of deadlines may have it still: then the pager goes on knowing that it was taken.
    if (line.deadlines === null) line.forget(position);
    else line.log.remove(position);
    return message;
  }

  bounds(): Map<number, number> {
    return new Map(this.queue.linesInOrder().map(({ level, nextPosition }) => [level, nextPosition]));
  }

  /** What memory has of a line from a position on, in order: what waits, what is parked, what is unacked. Entries may be taken meanwhile. */
  *memoryFrom(line: Line, from: number): IterableIterator<Located> {
    const beside = this.besideTheList(line, from);
    let next = 0;
    for (const entry of line.ready.from(from)) {
      for (; next < beside.length && beside[next]!.entry.position < entry.position; next++)
        yield foundInMemory(line, beside[next]!.entry, beside[next]!.state);
      // A parked one that was let back into the list just now stands in both.
      if (next < beside.length && beside[next]!.entry === entry) next++;
      yield foundInMemory(line, entry, 'ready');
    }
    for (; next < beside.length; next++) yield foundInMemory(line, beside[next]!.entry, beside[next]!.state);
  }

  /** What was taken may let a parked one back into its list: it is ready all the same. */
  private besideTheList(line: Line, from: number): { entry: Entry; state: MessageState }[] {
    const entries: { entry: Entry; state: MessageState }[] = [];
    for (const entry of line.unacked) if (entry.position >= from) entries.push({ entry, state: 'unacked' });
    const { ordering } = this.queue;
    if (ordering !== null && line.parked !== 0) {
      for (const entry of ordering.parked())
        if (entry.owner === line && entry.position >= from) entries.push({ entry, state: 'ready' });
    }
    return entries.sort((a, b) => a.entry.position - b.entry.position);
  }

  /** A stored entry that is not in memory; null when it is not the queue's any more. */
  foundInStore(line: Line, stored: StoredEntry): Located | null {
    const { position, expiresAt, tries, dueAt } = stored;
    const { deadlines } = line;
    let state: MessageState = 'ready';
    if (isHeldBack(stored)) state = deathOf(tries) === null ? 'retry' : 'dead';
    else if (!line.isCold(position)) return null;
    return {
      number: line.number,
      position: line.nameOf(position),
      at: position,
      state,
      place: 'store',
      message: messageInPlace(stored.buffer, stored.start, stored.end, this.addresses.at),
      redelivered: tries !== 0 || line.mark.coveredBeforeRestart(position),
      expiresAt: deadlines === null ? expiresAt : deadlines.capped(position, expiresAt),
      dueAt,
      tries,
      publishedAt: null,
      line,
      entry: null,
      stored,
    };
  }
}

/** Where a message stands in a line; null when it is of another. */
function positionIn(line: Line, { number, position }: MessageId): number | null {
  return number === line.number ? line.positionNamed(position) : null;
}

/** A found message with what is needed to take it. */
interface Located extends Found {
  readonly line: Line;
  /** Its position there. */
  readonly at: number;
  readonly entry: Entry | null;
  readonly stored: StoredEntry | null;
}

function foundBeside(line: Line, entry: Entry): Located {
  return foundInMemory(line, entry, (entry.place & PARKED) !== 0 ? 'ready' : 'unacked');
}

function foundInMemory(line: Line, entry: Entry, state: MessageState): Located {
  const { position, message, redelivered, expiresAt, tries } = entry;
  // Whoever looks may take longer than the entry lives.
  disown(message);
  return {
    number: line.number,
    position: line.nameOf(position),
    at: position,
    state,
    place: (entry.place & PARKED) !== 0 ? 'parked' : 'memory',
    message,
    redelivered,
    expiresAt,
    dueAt: 0,
    tries,
    publishedAt: null,
    line,
    entry,
    stored: null,
  };
}

/** The line has something that is in no list in memory. */
function isOnlyStored(line: Line): boolean {
  return line.pager.count !== 0 || (line.held !== null && line.held.waitingCount + line.held.deadCount !== 0);
}

function nextOf(entries: Iterator<Located>): Located | null {
  const { done, value } = entries.next();
  return done === true ? null : value;
}

/** One walk. */
class LineWalk {
  private readonly contents: LineContents;
  private readonly queue: ContentsHost;
  private readonly request: WalkRequest;
  private readonly visit: Visit;
  private readonly done: (error: Error | null, end: WalkEnd) => void;
  private readonly wantsReady: boolean;
  private readonly wantsHeld: boolean;
  private readonly lines: readonly Line[];
  /** Messages looked at and bytes read so far. */
  private looked = 0;
  private bytes = 0;
  /** The last message looked at. */
  private last: MessageId | null;

  constructor(
    contents: LineContents,
    queue: ContentsHost,
    request: WalkRequest,
    visit: Visit,
    done: (error: Error | null, end: WalkEnd) => void,
  ) {
    this.contents = contents;
    this.queue = queue;
    this.request = request;
    this.visit = visit;
    this.done = done;
    const { states } = request;
    this.wantsReady = states.has('ready');
    this.wantsHeld = states.has('retry') || states.has('dead');
    this.lines = queue.linesInOrder();
    this.last = request.after;
  }

  begin(): void {
    const { after } = this.request;
    if (after === null) return this.walkLine(0, 0);
    const at = this.lines.findIndex((line) => line.number === after.number && !line.isBefore(after.position));
    // The number is of another queue, or there is nothing behind it.
    if (at < 0) return this.done(null, { next: null });
    const position = this.lines[at]!.positionNamed(after.position);
    this.walkLine(at, position === null ? 0 : position + 1);
  }

  /** Goes on in a line from a position on. */
  private walkLine(at: number, from: number): void {
    for (let index = at, start = from; index < this.lines.length; index++, start = 0) {
      const line = this.lines[index]!;
      const coldFrom = this.coldFrom(line, start);
      if (coldFrom !== Number.POSITIVE_INFINITY)
        return this.walkStore(index, start, Math.max(start, coldFrom));
      if (this.walkMemory(line, start, this.boundOf(line)) === STOPPED) return this.stop();
    }
    this.done(null, { next: null });
  }

  /** Where the store has something that is wanted and not in memory; Infinity when it has nothing. */
  private coldFrom(line: Line, from: number): number {
    const { pager, held } = line;
    if (this.wantsHeld && held !== null && held.waitingCount + held.deadCount !== 0) return from;
    return this.wantsReady && pager.count !== 0 ? pager.from : Number.POSITIVE_INFINITY;
  }

  private boundOf(line: Line): number {
    const { bounds } = this.request;
    return bounds === null ? Number.POSITIVE_INFINITY : (bounds.get(line.level) ?? 0);
  }

  /** Reads the next run of a line, goes through memory up to its end, and on. */
  private walkStore(index: number, from: number, coldFrom: number): void {
    const line = this.lines[index]!;
    const bound = this.boundOf(line);
    if (this.walkMemory(line, from, Math.min(coldFrom, bound)) === STOPPED) return this.stop();
    if (coldFrom >= bound) return this.walkLine(index + 1, 0);
    if (this.bytes >= WALK_BYTES_MAX) return this.stop();
    this.contents.read(line, coldFrom, WALK_READ_BYTES, (error, run) => {
      if (error !== null) return this.done(error, { next: this.last });
      if (this.queue.deleted) return this.done(null, { next: null });
      if (run.length === 0) {
        if (this.walkMemory(line, coldFrom, bound) === STOPPED) return this.stop();
        return this.walkLine(index + 1, 0);
      }
      if (this.walkRun(line, coldFrom, bound, run) === STOPPED) return this.stop();
      const end = run[run.length - 1]!.position + 1;
      if (end >= bound) return this.walkLine(index + 1, 0);
      this.walkLine(index, end);
    });
  }

  /** Goes through a run and what memory has beside it. */
  private walkRun(line: Line, from: number, bound: number, run: readonly StoredEntry[]): number {
    const memory = this.contents.memoryFrom(line, from);
    let known = nextOf(memory);
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      const { position } = stored;
      if (position >= bound) break;
      for (; known !== null && known.at < position; known = nextOf(memory))
        if (this.look(known) === STOPPED) return STOPPED;
      if (known?.at === position) continue;
      const found = this.contents.foundInStore(line, stored);
      if (found === null) this.bytes += stored.end - stored.start;
      else if (this.look(found) === STOPPED) return STOPPED;
    }
    const end = Math.min(bound, run[run.length - 1]!.position + 1);
    for (; known !== null && known.at < end; known = nextOf(memory))
      if (this.look(known) === STOPPED) return STOPPED;
    return WENT_ON;
  }

  /** Goes through what memory has of a line from a position on, before another. */
  private walkMemory(line: Line, from: number, before: number): number {
    if (from >= before) return WENT_ON;
    for (const known of this.contents.memoryFrom(line, from)) {
      if (known.at >= before) break;
      if (this.look(known) === STOPPED) return STOPPED;
    }
    return WENT_ON;
  }

  private look(found: Found): number {
    const { number, position } = found;
    this.last = { number, position };
    this.looked++;
    // What is looked at may be searched from end to end, in memory too.
    this.bytes += found.message.bodyLength;
    const goesOn = !this.request.states.has(found.state) || this.visit(found);
    return goesOn && this.looked < WALK_MESSAGES_MAX && this.bytes < WALK_BYTES_MAX ? WENT_ON : STOPPED;
  }

  private stop(): void {
    this.done(null, { next: this.last });
  }
}

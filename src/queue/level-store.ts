// What the store has of one level of a queue with priorities: two numbers that look like one line of positions.
// Owns under which number an entry stands. Messages that go by way of memory stand under the queue's number, those of all levels together,
// told apart by their lane: so a commit writes one piece for all levels. Messages that go to the store only (cold) stand under a number
// of the level's own, so that they are read back in runs without those of other levels; it is asked for when the first one comes.
// Knows no list, no limit and no delivery.
//
// Positions of the line: even ones stand under the queue's number at half of that, odd ones under the level's own at the lower half. So
// a position says where its entry is, and the order of the line is that of its positions, whichever number they are of.
// Invariant: under each number positions rise, whatever the level does (see `Line.placeFor`).

import type {
  EnqueueOptions,
  Lane,
  Position,
  QueueNo,
  Shard,
  SharedBytes,
  StoredEntry,
  Ticket,
} from '../store/store.ts';

/** What a line asks of the store. */
export type LineShard = Pick<
  Shard,
  | 'enqueue'
  | 'enqueueShared'
  | 'remove'
  | 'clear'
  | 'dropQueue'
  | 'returned'
  | 'delivered'
  | 'read'
  | 'pick'
  | 'durableTicket'
>;

type ReadDone = (error: Error | null, entries: readonly StoredEntry[]) => void;

/** Positions that one pick takes on: those under each of the numbers are picked by themselves. */
const PICK_MAX = 4_096;

const NONE: readonly StoredEntry[] = Object.freeze([]);

/** The first position of a level's line: those below it have no place under the numbers, which count from 1. */
export const FIRST_OF_LEVEL = 2;

/** The position's entry stands under the level's own number. */
export function isOwn(position: Position): boolean {
  // The lowest bit is what it is, however many there are.
  return (position & 1) === 1;
}

/** The position at or behind this one that stands under the level's own number. */
export function ownPosition(position: Position): Position {
  return isOwn(position) ? position : position + 1;
}

/** The position in a level's line of what stands at `place` under the queue's number. */
export function positionOfShared(place: Position): Position {
  return 2 * place;
}

/** The position in a level's line of what stands at `place` under the level's own number. */
export function positionOfOwn(place: Position): Position {
  return 2 * place + 1;
}

/** Where a position stands under its number. */
export function placeOf(position: Position): Position {
  return isOwn(position) ? (position - 1) / 2 : position / 2;
}

/** One level's part of the store. The number that callers name is not looked at. */
export class LevelStore implements LineShard {
  /** As this, but `read` shows nothing that is in memory; see `coldUnderShared`. */
  readonly cold: Pick<Shard, 'read'>;
  private readonly shard: Shard;
  /** The queue's number. */
  private readonly shared: QueueNo;
  private readonly lane: Lane;
  /** The level's own number; null until something is cold. */
  private own: QueueNo | null;
  private readonly numberFor: () => QueueNo;
  /** What most entries of the level say. */
  private readonly options: EnqueueOptions;
  /** The last positions that were ever there under the two numbers; 0 for none. */
  private lastShared = 0;
  private lastOwn = 0;
  /** Recovery had no room for what stands in this range under the queue's number. */
  private coldFrom = Number.POSITIVE_INFINITY;
  private coldTo = 0;

  /**
   * @param shared number of the queue
   * @param own of the level; null when it has none yet
   * @param numberFor asks for one
   */
  constructor(shard: Shard, shared: QueueNo, lane: Lane, own: QueueNo | null, numberFor: () => QueueNo) {
    this.shard = shard;
    this.shared = shared;
    this.lane = lane;
    this.own = own;
    this.numberFor = numberFor;
    this.options = { lane, expiresAt: 0, tries: 0, dueAt: 0, transient: false };
    this.cold = {
      read: (_queue, from, maxBytes, done) =>
        this.merged(from, maxBytes, Math.max(from, this.coldFrom), this.coldTo, done),
    };
  }

  get ownNumber(): QueueNo | null {
    return this.own;
  }

  get durableTicket(): Ticket {
    return this.shard.durableTicket;
  }

  enqueue(
    _queue: QueueNo,
    position: Position,
    head: Uint8Array,
    buffer: Uint8Array,
    start: number,
    end: number,
    options: EnqueueOptions | null,
  ): Ticket {
    const number = this.numberOf(position);
    return this.shard.enqueue(
      number,
      placeOf(position),
      head,
      buffer,
      start,
      end,
      this.said(position, options),
    );
  }

  enqueueShared(
    _queue: QueueNo,
    position: Position,
    shared: SharedBytes,
    options: EnqueueOptions | null,
  ): Ticket {
    const number = this.numberOf(position);
    return this.shard.enqueueShared(number, placeOf(position), shared, this.said(position, options));
  }

  remove(_queue: QueueNo, position: Position): Ticket {
    return this.shard.remove(this.numberOf(position), placeOf(position));
  }

  returned(_queue: QueueNo, position: Position, tries: number, dueAt: number): Ticket {
    return this.shard.returned(this.numberOf(position), placeOf(position), tries, dueAt);
  }

  /** @param upTo of the kind that the mark speaks of: the two numbers have a mark each */
  delivered(_queue: QueueNo, _lane: Lane, upTo: Position): Ticket {
    return this.shard.delivered(this.numberOf(upTo), isOwn(upTo) ? 0 : this.lane, placeOf(upTo));
  }

  /** Clears the level's own number. What stands under the queue's is cleared for all levels at once, by the queue. */
  clear(_queue: QueueNo, upTo: Position, keep: readonly Position[]): Ticket {
    if (this.own === null) return this.shard.ticket;
    return this.shard.clear(this.own, Math.floor((upTo - 1) / 2), keep.filter(isOwn).map(placeOf));
  }

  /** As `clear`, of the whole number. */
  dropQueue(_queue: QueueNo): Ticket {
    return this.own === null ? this.shard.ticket : this.shard.dropQueue(this.own);
  }

  /** As `Shard.read`; asked for one byte, it answers the entry at `from`, or nothing. */
  read(_queue: QueueNo, from: Position, maxBytes: number, done: ReadDone): void {
    this.merged(from, maxBytes, from, this.lastShared, done);
  }

  /** As `Shard.pick`, but that what stands under one of the numbers is shown before what stands under the other. */
  pick(
    _queue: QueueNo,
    positions: Float64Array,
    at: number,
    maxBytes: number,
    visit: (entry: StoredEntry) => void,
    done: (error: Error | null, next: number) => void,
  ): void {
    const some = positions.subarray(at, at + PICK_MAX);
    const behind = at + some.length;
    const ownPlaces = some.filter(isOwn).map(placeOf);
    const sharedPlaces = some.filter((position) => !isOwn(position)).map(placeOf);
    const fail = (error: Error): void => done(error, at);
    this.pickAll(this.shared, sharedPlaces, positionOfShared, maxBytes, visit, fail, () => {
      if (this.own === null) done(null, behind);
      else this.pickAll(this.own, ownPlaces, positionOfOwn, maxBytes, visit, fail, () => done(null, behind));
    });
  }

  /** Recovery: something is there at this position. */
  found(position: Position): void {
    if (isOwn(position)) this.lastOwn = Math.max(this.lastOwn, position);
    else this.lastShared = Math.max(this.lastShared, position);
  }

  /** Recovery: there is no room in memory for what is there at this position, nor for what follows under the queue's number. */
  foundCold(position: Position): void {
    if (isOwn(position)) return;
    this.coldFrom = Math.min(this.coldFrom, position);
    this.coldTo = Math.max(this.coldTo, position);
  }

  /** What is there at this position may be cold: all that stands under the queue's number is in memory but what `foundCold` has told. */
  mayBeCold(position: Position): boolean {
    return isOwn(position) || (position >= this.coldFrom && position <= this.coldTo);
  }

  private numberOf(position: Position): QueueNo {
    if (!isOwn(position)) return this.shared;
    this.own ??= this.numberFor();
    return this.own;
  }

  /** The entry's options under its number; notes that it is there. */
  private said(position: Position, options: EnqueueOptions | null): EnqueueOptions | null {
    if (isOwn(position)) {
      this.lastOwn = position;
      return options;
    }
    this.lastShared = position;
    if (this.lane === 0) return options;
    return options === null ? this.options : { ...options, lane: this.lane };
  }

  // ── reading ──

  /** Reads both numbers as one line; of the queue's number only what stands from `sharedFrom` to `sharedTo`. */
  private merged(
    from: Position,
    maxBytes: number,
    sharedFrom: Position,
    sharedTo: Position,
    done: ReadDone,
  ): void {
    const { own } = this;
    const hasOwn = own !== null && this.lastOwn >= from;
    const hasShared = sharedFrom <= sharedTo;
    if (maxBytes === 1) return this.readOne(from, isOwn(from) ? hasOwn : hasShared, done);
    if (!hasOwn && !hasShared) {
      setImmediate(() => done(null, NONE));
      return;
    }
    if (!hasOwn) return this.readShared(sharedFrom, sharedTo, maxBytes, (error, run) => done(error, run));
    this.shard.read(own, Math.floor(from / 2), maxBytes, (error, run) => {
      if (error !== null) return done(error, NONE);
      const ours = run.map((stored) => movedTo(stored, positionOfOwn(stored.position)));
      if (!hasShared) return done(null, ours);
      const ownEnd = ours.length === 0 ? Number.POSITIVE_INFINITY : ours[ours.length - 1]!.position;
      if (ownEnd < sharedFrom) return done(null, ours);
      this.readShared(sharedFrom, sharedTo, maxBytes, (sharedError, others, sharedEnd) => {
        if (sharedError !== null) return done(sharedError, NONE);
        // Behind the end of the shorter run there may be more of it than was read.
        const end = Math.min(ownEnd, sharedEnd);
        const both = [...ours, ...others].filter(({ position }) => position <= end);
        done(
          null,
          both.sort((a, b) => a.position - b.position),
        );
      });
    });
  }

  /** @param passed called when all were picked, at once when there are none; not after `fail` */
  private pickAll(
    number: QueueNo,
    places: Float64Array,
    positionOf: (place: Position) => Position,
    maxBytes: number,
    visit: (entry: StoredEntry) => void,
    fail: (error: Error) => void,
    passed: () => void,
  ): void {
    const go = (at: number): void => {
      if (at === places.length) return passed();
      this.shard.pick(
        number,
        places,
        at,
        maxBytes,
        (stored) => {
          if (number === this.own || stored.lane === this.lane)
            visit(movedTo(stored, positionOf(stored.position)));
        },
        (error, next) => (error === null ? go(next) : fail(error)),
      );
    };
    go(0);
  }

  private readOne(position: Position, mayBeThere: boolean, done: ReadDone): void {
    if (!mayBeThere) {
      setImmediate(() => done(null, NONE));
      return;
    }
    this.shard.read(this.numberOf(position), placeOf(position), 1, (error, [stored]) => {
      const isIt =
        stored !== undefined &&
        stored.position === placeOf(position) &&
        (isOwn(position) || stored.lane === this.lane);
      done(error, isIt ? [movedTo(stored, position)] : NONE);
    });
  }

  /**
   * Reads what the level has under the queue's number in a range.
   * @param done with what was found, something if there is anything; and the position up to which that is all, Infinity for the whole range
   */
  private readShared(
    from: Position,
    to: Position,
    maxBytes: number,
    done: (error: Error | null, run: readonly StoredEntry[], end: Position) => void,
  ): void {
    this.shard.read(this.shared, Math.ceil(from / 2), maxBytes, (error, run) => {
      if (error !== null) return done(error, NONE, 0);
      const found: StoredEntry[] = [];
      for (let i = 0; i < run.length; i++) {
        const stored = run[i]!;
        const position = positionOfShared(stored.position);
        if (stored.lane === this.lane && position <= to) found.push(movedTo(stored, position));
      }
      const last = run[run.length - 1];
      const end = last === undefined ? Number.POSITIVE_INFINITY : positionOfShared(last.position);
      if (end >= to) done(null, found, Number.POSITIVE_INFINITY);
      else if (found.length !== 0) done(null, found, end);
      // All of that was of other levels.
      else this.readShared(end + 1, to, maxBytes, done);
    });
  }
}

/** A stored entry under another position. */
export function movedTo(stored: StoredEntry, position: Position): StoredEntry {
  const { lane, expiresAt, tries, dueAt, transient, buffer, start, end } = stored;
  return { position, lane, expiresAt, tries, dueAt, transient, buffer, start, end };
}

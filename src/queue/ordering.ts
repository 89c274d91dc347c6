// Ordering keys of one queue (x-ordering-key): messages of one key are never in two consumers' hands at once, and keep their order.
// Owns who holds which key, and the entries that are parked: seen at the front of the queue, but their key is held by somebody else, or
// something of their key that goes first still waits. Knows no list of the queue: it says what to park and what to put back.
//
// A key is locked from the first delivery of it to the settling of the last. Its holder may have more of it; basic.get counts as a holder
// of its own each time. While an entry waits for a retry nobody is given more of its key. The order within a key is the queue's: by priority,
// then by position; so an entry that came back goes before what was published later, and what waits only ever waits for something that is
// delivered before it, or is in somebody's hands.
// Invariants
// - Only keys that are held or waited for are kept, so memory follows what is unacked and parked.
// - At most one parked entry of a key is let back into the queue at a time (the candidate): a key with a long tail costs no more than
//   one with a short one.
// - Of the keys that wait for room at their holder one at a time is tried, so that an ack costs the same however many wait. While some
//   wait, either one is being tried or the holder is parked in its group, so that the queue hears when it has room again; or the holder
//   makes room for another, and the queue hears when that is over.

import { Heap } from '../base/heap.ts';
import type { Entry } from '../message/entry.ts';
import { orderingKeyOf } from './ordering-key.ts';
import type { Consumer } from './queue.ts';

/** The queue, as far as its ordering keys need it. */
export interface OrderingHost {
  /** Place in the queue's order, as a number: lower goes first. */
  rankOf(entry: Entry): number;
  /** An entry is parked: it leaves its list, but goes on counting as ready. */
  park(entry: Entry): void;
  /** A parked entry goes back to its place in the list. */
  unpark(entry: Entry): void;
  /** The consumer is a member and may be given something now, as far as its group goes. */
  serves(consumer: Consumer): boolean;
  /** The only one who is served is given nothing more before another has taken its place, or has given up on it (`goesOn`). */
  isMakingRoom(): boolean;
  /** There is something to deliver. */
  wake(): void;
  /** The consumer was found without room: the queue wants to hear when it has some. */
  parkConsumer(consumer: Consumer): void;
}

/** Who a key is locked to: a consumer, or for basic.get the entry that was got; null when nobody holds it. */
type Holder = Consumer | Entry | null;

/** One value of the header. */
class OrderingKey {
  readonly text: string;
  holder: Holder = null;
  /** Deliveries of it that are not settled, and entries that wait for a retry. */
  held = 0;
  /** Those that wait for a retry: as long as there is one, nobody is given more of the key. */
  retries = 0;
  /** The consumer for which this is the key that is being tried; null for none. */
  triedFor: Consumer | null = null;
  /** Parked entries, in order; those that are gone meanwhile are passed over. */
  waiting: Heap<Entry> | null = null;
  /** The one of `waiting` that was let back into the queue; null for none. */
  candidate: Entry | null = null;

  constructor(text: string) {
    this.text = text;
  }
}

/** The keys that wait for room at one consumer. */
interface Backlog {
  /** First come, first tried. */
  readonly keys: Set<OrderingKey>;
  /** The key whose candidate is on its way; null for none. */
  tried: OrderingKey | null;
}

/** Where an entry that is known stands: among those that wait in the queue, parked, in somebody's hands, waiting for a retry. */
const IN_QUEUE = 0;
const PARKED = 1;
const HELD = 2;
const RETRYING = 3;

interface Known {
  readonly key: OrderingKey;
  where: typeof IN_QUEUE | typeof PARKED | typeof HELD | typeof RETRYING;
}

/** Ordering keys of one queue. */
export class Ordering {
  /** Name of the header. */
  readonly header: string;
  /** Entries that are parked. */
  parkedCount = 0;
  private readonly host: OrderingHost;
  private readonly rankOf: (entry: Entry) => number;
  private readonly keys = new Map<string, OrderingKey>();
  /** Entries that are parked, held, let back in, or wait for a retry. */
  private readonly known = new Map<Entry, Known>();
  private readonly backlogs = new Map<Consumer, Backlog>();
  /** A get looks for its entry: nothing is let out. */
  private getting = false;
  /** Consumers who have room for something that a get has parked. */
  private readonly later = new Set<Consumer>();
  /** Parked entries by rank, made when somebody asks for the oldest; those that are not parked any more are passed over. */
  private byRank: Heap<Entry> | null = null;

  constructor(header: string, host: OrderingHost) {
    this.header = header;
    this.host = host;
    this.rankOf = (entry) => host.rankOf(entry);
  }

  /**
   * Who takes the entry at the front, when `chosen` has room: `chosen`, or the consumer that holds its key. Null: nobody may now, and the
   * entry was parked.
   */
  recipient(entry: Entry, chosen: Consumer): Consumer | null {
    const key = this.keyOf(entry);
    if (key === null) return chosen;
    if (key.retries === 0 && this.goesFirst(key, entry)) {
      const { holder } = key;
      if (key.held === 0 || holder === chosen) return chosen;
      if (isConsumer(holder) && this.host.serves(holder)) {
        if (holder.hasCapacity()) return holder;
        this.park(key, entry);
        this.block(key, holder);
        return null;
      }
    }
    this.park(key, entry);
    return null;
  }

  /** Whether basic.get may take the entry at the front; otherwise it was parked, as by `recipient`. */
  admitsGet(entry: Entry): boolean {
    const key = this.keyOf(entry);
    if (key === null) return true;
    const first = this.goesFirst(key, entry);
    if (first && key.held === 0) return true;
    // What its holder has room for may not come to the front again before the turn gives it to him.
    this.getting = true;
    this.park(key, entry);
    if (first) this.advance(key);
    this.getting = false;
    return false;
  }

  /** Before a round of deliveries: what a get has parked may go to its holder. */
  beforeDeliveries(): void {
    const { later } = this;
    if (later.size === 0) return;
    for (const consumer of later) this.freed(consumer);
    later.clear();
  }

  /**
   * The entry was taken out of the queue and is a delivery now. Call it when its consumer knows of it too.
   * @param holder its consumer; null for basic.get
   */
  hold(entry: Entry, holder: Consumer | null): void {
    const known = this.known.get(entry);
    const text = known === undefined ? orderingKeyOf(entry.message, this.header) : null;
    if (known === undefined && text === null) return;
    const key = known?.key ?? this.keyNamed(text!);
    if (key.candidate === entry) key.candidate = null;
    if (key.held++ === 0) key.holder = holder ?? entry;
    this.known.set(entry, { key, where: HELD });
    this.untry(key);
    this.advance(key);
  }

  /** The end of an entry, wherever it stood: settled, delivered without an ack to wait for, expired, dropped, deleted, given up. */
  ended(entry: Entry): void {
    const known = this.known.get(entry);
    if (known === undefined) return;
    this.known.delete(entry);
    const { key, where } = known;
    if (where === PARKED) this.parkedCount--;
    else {
      if (where !== IN_QUEUE) this.letGo(known);
      else if (key.candidate === entry) key.candidate = null;
      this.advance(key);
      if (where === IN_QUEUE) this.untry(key);
    }
    this.forgetIdle(key);
  }

  /** A delivery came back, and stands at its old place again. */
  requeued(entry: Entry): void {
    const known = this.known.get(entry);
    if (known === undefined) return;
    this.known.delete(entry);
    this.letGo(known);
    this.advance(known.key);
    this.forgetIdle(known.key);
  }

  /** A delivery waits for its retry: its key stays locked until it is back (`requeued`) or gone (`ended`). */
  awaitsRetry(entry: Entry): void {
    const known = this.known.get(entry);
    if (known === undefined || known.where === RETRYING) return;
    known.where = RETRYING;
    known.key.retries++;
  }

  /** Nobody has to make room any more. */
  goesOn(): void {
    for (const consumer of this.backlogs.keys()) this.freed(consumer);
  }

  /** The consumer has room again. */
  freed(consumer: Consumer): void {
    if (this.host.isMakingRoom()) return;
    const backlog = this.backlogs.get(consumer);
    if (backlog !== undefined && backlog.tried === null) this.tryFirst(consumer, backlog);
  }

  /** The consumer left; what it holds it still holds. */
  cancelled(consumer: Consumer): void {
    this.later.delete(consumer);
    this.backlogs.delete(consumer);
  }

  /** Parked entries, in no order. */
  *parked(): IterableIterator<Entry> {
    if (this.parkedCount === 0) return;
    for (const [entry, { where }] of this.known) if (where === PARKED) yield entry;
  }

  /** The first in the queue's order: the entry at the front of its list (null for none), or one that is parked. */
  oldest(front: Entry | null): Entry | null {
    if (this.parkedCount === 0) {
      this.byRank = null;
      return front;
    }
    if (this.byRank === null) {
      this.byRank = new Heap(this.rankOf);
      for (const entry of this.parked()) this.byRank.push(entry);
    }
    const parked = this.first(this.byRank, PARKED)!;
    return front !== null && this.rankOf(front) < this.rankOf(parked) ? front : parked;
  }

  /** Every entry that waits was thrown away; deliveries stay what they are. */
  purge(): void {
    this.parkedCount = 0;
    this.byRank = null;
    this.backlogs.clear();
    this.later.clear();
    for (const [entry, known] of this.known) {
      if (known.where === HELD) continue;
      // What waits for a retry goes too.
      if (known.where === RETRYING) this.letGo(known);
      this.known.delete(entry);
    }
    for (const key of this.keys.values()) {
      key.triedFor = null;
      key.candidate = null;
      key.waiting = null;
      this.forgetIdle(key);
    }
  }

  // ── one key ──

  /** The entry's key if anything is known of it; null when it has none, or when nobody holds it and nothing of it waits. */
  private keyOf(entry: Entry): OrderingKey | null {
    const known = this.known.get(entry);
    if (known !== undefined) return known.key;
    if (this.keys.size === 0) return null;
    const text = orderingKeyOf(entry.message, this.header);
    return text === null ? null : (this.keys.get(text) ?? null);
  }

  private keyNamed(text: string): OrderingKey {
    let key = this.keys.get(text);
    if (key === undefined) {
      key = new OrderingKey(text);
      this.keys.set(text, key);
    }
    return key;
  }

  /** Nothing of the key that is known goes before the entry. */
  private goesFirst(key: OrderingKey, entry: Entry): boolean {
    const rank = this.rankOf(entry);
    const { candidate } = key;
    if (candidate !== null && candidate !== entry && this.rankOf(candidate) < rank) return false;
    const waiting = this.firstWaiting(key);
    return waiting === null || rank < this.rankOf(waiting);
  }

  private firstWaiting(key: OrderingKey): Entry | null {
    if (key.waiting === null) return null;
    const waiting = this.first(key.waiting, PARKED);
    if (waiting === null) key.waiting = null;
    return waiting;
  }

  /** The first of a heap that still stands where it should. */
  private first(heap: Heap<Entry>, where: number): Entry | null {
    for (let entry = heap.peek(); entry !== null; entry = heap.peek()) {
      if (this.known.get(entry)?.where === where) return entry;
      heap.shift();
    }
    return null;
  }

  private park(key: OrderingKey, entry: Entry): void {
    let known = this.known.get(entry);
    if (known === undefined) {
      known = { key, where: PARKED };
      this.known.set(entry, known);
    }
    known.where = PARKED;
    this.parkedCount++;
    this.host.park(entry);
    key.waiting ??= new Heap(this.rankOf);
    key.waiting.push(entry);
    this.byRank?.push(entry);
    // Nobody asks for the oldest any more, or only rarely.
    if (this.byRank !== null && this.byRank.length > 2 * this.parkedCount + PASSED_OVER_MAX)
      this.byRank = null;
    // Not the one on trial: then that goes on.
    if (key.candidate !== entry) return;
    key.candidate = null;
    this.untry(key);
  }

  /** Lets the next of a key out, or has it wait for room at the key's holder. */
  private advance(key: OrderingKey): void {
    const { holder } = key;
    if (key.held === 0) this.letOut(key);
    else if (key.retries !== 0 || !isConsumer(holder)) return;
    else if (this.host.serves(holder) && this.nextParked(key) !== null) this.block(key, holder);
  }

  /** The parked entry of the key that has to be let out; null when there is none, or when what goes first is in the queue already. */
  private nextParked(key: OrderingKey): Entry | null {
    const waiting = this.firstWaiting(key);
    if (waiting === null) return null;
    const { candidate } = key;
    return candidate === null || this.rankOf(waiting) < this.rankOf(candidate) ? waiting : null;
  }

  /** @returns false when nothing had to be let out */
  private letOut(key: OrderingKey): boolean {
    const entry = this.nextParked(key);
    if (entry === null) return false;
    const known = this.known.get(entry)!;
    known.where = IN_QUEUE;
    this.parkedCount--;
    key.waiting!.shift();
    key.candidate = entry;
    this.host.unpark(entry);
    return true;
  }

  /** One delivery of the key less. What may go on now is let out by `advance`. */
  private letGo(known: Known): void {
    const { key } = known;
    if (known.where === RETRYING) key.retries--;
    key.held--;
    if (key.held !== 0) return;
    const { holder } = key;
    key.holder = null;
    if (isConsumer(holder)) this.backlogs.get(holder)?.keys.delete(key);
  }

  private forgetIdle(key: OrderingKey): void {
    if (key.held !== 0 || key.candidate !== null) return;
    if (this.firstWaiting(key) !== null) return;
    this.untry(key);
    this.keys.delete(key.text);
  }

  // ── keys that wait for room at their holder ──

  private block(key: OrderingKey, holder: Consumer): void {
    let backlog = this.backlogs.get(holder);
    if (backlog === undefined) {
      backlog = { keys: new Set(), tried: null };
      this.backlogs.set(holder, backlog);
    }
    backlog.keys.add(key);
    this.tryNext(holder, backlog);
  }

  /** The key is not being tried any more: the next one is. */
  private untry(key: OrderingKey): void {
    const consumer = key.triedFor;
    if (consumer === null) return;
    key.triedFor = null;
    const backlog = this.backlogs.get(consumer);
    if (backlog === undefined) return;
    backlog.tried = null;
    this.tryNext(consumer, backlog);
  }

  /** Tries the next key, if the consumer has room. */
  private tryNext(consumer: Consumer, backlog: Backlog): void {
    if (backlog.tried !== null) return;
    if (backlog.keys.size === 0) this.backlogs.delete(consumer);
    else if (this.host.isMakingRoom()) return;
    else if (!consumer.hasCapacity()) this.host.parkConsumer(consumer);
    else if (!this.getting) this.tryFirst(consumer, backlog);
    else {
      this.later.add(consumer);
      this.host.wake();
    }
  }

  private tryFirst(consumer: Consumer, backlog: Backlog): void {
    for (const key of backlog.keys) {
      backlog.keys.delete(key);
      if (key.holder === consumer && this.letOut(key)) {
        backlog.tried = key;
        key.triedFor = consumer;
        return;
      }
    }
    this.backlogs.delete(consumer);
  }
}

/** Stale ones that the heap of the oldest may hold beside as many as are parked. */
const PASSED_OVER_MAX = 64;

function isConsumer(holder: Holder): holder is Consumer {
  return holder !== null && 'tag' in holder;
}

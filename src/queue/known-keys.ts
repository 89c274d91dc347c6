// Keys that were seen: what deduplication remembers of messages. Bounded by number, and each key by time where that is asked for.
// Owns the memory, and which key goes first. Knows no message. In memory, or in the store too (`KeyLog`).
// Invariants: never more keys than `sizeMax`; the oldest goes first. A key costs the same however many there are: their order is a list
// of its own, because a map that loses its first key all the time walks over the places of all it has lost.

import type { Clock } from '../base/clock.ts';

/** Keys that any one memory may hold, whatever is asked for: an entry takes some 150 bytes. */
export const KEYS_MAX = 10_000_000;

/** A time that is as good as for ever: a hundred years, in milliseconds. A publisher may ask for any number, and the store has room for 48 bits. */
const FOR_EVER_MS = 100 * 365 * 86_400_000;

/** Where keys are written down, so that they outlive a restart. */
export interface KeyLog {
  /** @param expiresAt in ms since the epoch, 0 for never. @returns where it is */
  write(key: string, expiresAt: number): number;
  remove(position: number): void;
}

/** What is known of a key. */
interface Known {
  readonly key: string;
  /** In ms since the epoch; Infinity for never. */
  readonly expiresAt: number;
  /** Where it is written down; 0 for nowhere. */
  readonly position: number;
  /** The keys seen just before and just after. */
  previous: Known | null;
  next: Known | null;
}

/** Keys in the order in which they were seen. */
export class KnownKeys {
  private readonly keys = new Map<string, Known>();
  private oldest: Known | null = null;
  private latest: Known | null = null;
  private readonly sizeMax: number;
  private readonly clock: Clock;
  private readonly log: KeyLog | null;

  constructor(sizeMax: number, clock: Clock, log: KeyLog | null = null) {
    this.sizeMax = Math.min(sizeMax, KEYS_MAX);
    this.clock = clock;
    this.log = log;
  }

  /** Keys that are remembered, some perhaps longer than they have to be. */
  get size(): number {
    return this.keys.size;
  }

  /** Oldest first. @yields until when each is known, in ms since the epoch; Infinity for ever */
  *[Symbol.iterator](): IterableIterator<{ readonly key: string; readonly expiresAt: number }> {
    for (let known = this.oldest; known !== null; known = known.next) yield known;
  }

  /** Remembers the key for `ttlMs`, Infinity for as long as there is room, 0 and less not at all. @returns false when it was known */
  add(key: string, ttlMs: number): boolean {
    const { keys } = this;
    const now = this.clock.now();
    const known = keys.get(key);
    if (known !== undefined) {
      if (known.expiresAt > now) return false;
      this.drop(known);
    }
    this.makeRoom(now);
    const expiresAt = ttlMs >= FOR_EVER_MS ? Number.POSITIVE_INFINITY : now + Math.max(0, ttlMs);
    const position =
      this.log === null ? 0 : this.log.write(key, expiresAt === Number.POSITIVE_INFINITY ? 0 : expiresAt);
    this.append(key, expiresAt, position);
    return true;
  }

  /** Forgets one key. */
  delete(key: string): void {
    const known = this.keys.get(key);
    if (known !== undefined) this.drop(known);
  }

  /** Forgets all, without a word to the log. */
  clear(): void {
    this.keys.clear();
    this.oldest = null;
    this.latest = null;
  }

  /** Recovery: a key that was written down; in the order of positions. @param expiresAt 0 for never */
  restore(key: string, expiresAt: number, position: number): void {
    const known = this.keys.get(key);
    if (known !== undefined) this.unlink(known);
    this.append(key, expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt, position);
  }

  /** The oldest goes when there is no room; some that have expired go besides, so that they do not stay for want of room only. */
  private makeRoom(now: number): void {
    let looks = 2;
    for (let known = this.oldest; known !== null; known = this.oldest) {
      const isFull = this.keys.size >= this.sizeMax;
      if (!isFull && (looks-- === 0 || known.expiresAt > now)) return;
      this.drop(known);
    }
  }

  private append(key: string, expiresAt: number, position: number): void {
    const known: Known = { key, expiresAt, position, previous: this.latest, next: null };
    if (this.latest === null) this.oldest = known;
    else this.latest.next = known;
    this.latest = known;
    this.keys.set(key, known);
  }

  private unlink(known: Known): void {
    const { previous, next } = known;
    if (previous === null) this.oldest = next;
    else previous.next = next;
    if (next === null) this.latest = previous;
    else next.previous = previous;
  }

  private drop(known: Known): void {
    this.keys.delete(known.key);
    this.unlink(known);
    if (known.position !== 0) this.log!.remove(known.position);
  }
}

// Values under rising integer tags, taken in any order: what is unacked, what is unconfirmed.
// Owns the tags' numbering. Knows nothing of what the values mean.
//
// Young tags live in a ring, a window [low, next) with one slot per tag. A tag that stays outstanding while very many newer
// ones come and go would stretch that window without end; such stragglers move to a sorted side list instead.
// Invariants: every tag of the side list is below `low`; the slot of `low` holds a value unless the ring is empty, and then
// low = next; slots that hold no value hold null. At most SPARSE_FACTOR slots per live value are kept (plus KEEP_SLOTS).

/** Slots of a new ring: most channels need no more. */
const MIN_SLOTS = 16;

/** A ring that has grown does not shrink below this, so that small bursts in a row do not resize it each time. */
const KEEP_SLOTS = 64;

/** The ring may have this many slots per value it holds, not more; beyond, its values move to the side list. */
export const SPARSE_FACTOR = 16;

/** Values by tag, tags counting up from 1. Values must not be null. */
export class TagRing<T> {
  #slots: (T | null)[] = new Array<T | null>(MIN_SLOTS).fill(null);
  /** Number of slots minus one. */
  #mask = MIN_SLOTS - 1;
  /** Lowest tag the window covers. */
  #low = 1;
  /** The tag that `add` will give next. */
  #next = 1;
  /** Values in the ring. */
  #live = 0;
  /** Side list: tags ascending, from #oldHead on. */
  #oldTags: number[] = [];
  /** Side list: values beside their tags; null where taken. */
  #oldValues: (T | null)[] = [];
  /** First index of the side list that holds a value (or its length). */
  #oldHead = 0;
  /** Values in the side list. */
  #oldLive = 0;

  /** Values outstanding. */
  get size(): number {
    return this.#live + this.#oldLive;
  }

  /** The tag that `add` or `skip` will use next. */
  get nextTag(): number {
    return this.#next;
  }

  /** Slots allocated, for tests and for people who ask where memory went. */
  get capacity(): number {
    return this.#mask + 1 + this.#oldTags.length;
  }

  /** Keeps `value` and returns its tag. */
  add(value: T): number {
    if (this.#next - this.#low > this.#mask) this.#makeRoom();
    const tag = this.#next;
    this.#slots[tag & this.#mask] = value;
    this.#live += 1;
    this.#next = tag + 1;
    return tag;
  }

  /** Uses up a tag without keeping anything under it, and returns it. */
  skip(): number {
    const tag = this.#next;
    if (this.#live === 0) {
      this.#low = tag + 1;
    } else if (tag - this.#low > this.#mask) {
      this.#makeRoom();
      // Making room may have moved all values to the side list.
      if (this.#live === 0) this.#low = tag + 1;
    }
    this.#next = tag + 1;
    return tag;
  }

  /** The value under `tag`, left where it is; null when the tag is not outstanding. */
  peek(tag: number): T | null {
    if (tag >= this.#low) return tag < this.#next ? this.#slots[tag & this.#mask]! : null;
    if (this.#oldLive === 0) return null;
    const at = this.#findOld(tag);
    return this.#oldTags[at] === tag ? this.#oldValues[at]! : null;
  }

  /** Removes and returns the value under `tag`; null when the tag is not outstanding. */
  take(tag: number): T | null {
    if (tag < this.#low) return this.#takeOld(tag);
    if (tag >= this.#next) return null;
    const slot = tag & this.#mask;
    const value = this.#slots[slot]!;
    if (value === null) return null;
    this.#slots[slot] = null;
    this.#live -= 1;
    if (tag === this.#low) this.#advance();
    this.#settleDown();
    return value;
  }

  /** Removes everything with a tag <= `tag` and appends it to `into`, ascending. */
  takeUpTo(tag: number, into: T[]): void {
    if (this.#oldLive > 0) this.#takeOldUpTo(tag, into);
    const end = tag < this.#next ? tag + 1 : this.#next;
    if (end <= this.#low) return;
    for (let t = this.#low; t < end && this.#live > 0; t++) {
      const slot = t & this.#mask;
      const value = this.#slots[slot]!;
      if (value === null) continue;
      this.#slots[slot] = null;
      this.#live -= 1;
      into.push(value);
    }
    this.#low = end;
    this.#advance();
    this.#settleDown();
  }

  /** Removes everything and appends it to `into`, ascending. Tags go on counting. */
  takeAll(into: T[]): void {
    this.takeUpTo(this.#next - 1, into);
  }

  /** The lowest outstanding tag; 0 when nothing is outstanding. */
  first(): number {
    if (this.#oldLive > 0) return this.#oldTags[this.#oldHead]!;
    return this.#live > 0 ? this.#low : 0;
  }

  /** Moves the window's start to the first value it holds. */
  #advance(): void {
    if (this.#live === 0) {
      this.#low = this.#next;
      return;
    }
    let low = this.#low;
    while (this.#slots[low & this.#mask] === null) low += 1;
    this.#low = low;
  }

  /** The ring is full: doubles it when it is well used, otherwise clears it into the side list. */
  #makeRoom(): void {
    const slots = this.#mask + 1;
    // A fully sparse window costs as many slots as steps to get there, so either way is constant per `add`.
    if (this.#live * (SPARSE_FACTOR / 2) >= slots) this.#resize(slots * 2);
    else this.#retireAll();
  }

  /** After a removal: gives memory back when the window is short or nearly empty. */
  #settleDown(): void {
    const slots = this.#mask + 1;
    if (slots <= KEEP_SLOTS || this.#live * SPARSE_FACTOR >= slots) return;
    if ((this.#next - this.#low) * 2 > slots / 2) this.#retireAll();
    else this.#resize(slots / 2);
  }

  /** Moves every value of the ring to the side list. */
  #retireAll(): void {
    for (let t = this.#low; t < this.#next && this.#live > 0; t++) {
      const slot = t & this.#mask;
      const value = this.#slots[slot]!;
      if (value === null) continue;
      this.#oldTags.push(t);
      this.#oldValues.push(value);
      this.#oldLive += 1;
      this.#slots[slot] = null;
      this.#live -= 1;
    }
    this.#low = this.#next;
    if (this.#mask + 1 > KEEP_SLOTS) this.#resize(KEEP_SLOTS);
  }

  #resize(slots: number): void {
    const grown = new Array<T | null>(slots).fill(null);
    const mask = slots - 1;
    for (let t = this.#low; t < this.#next; t++) grown[t & mask] = this.#slots[t & this.#mask]!;
    this.#slots = grown;
    this.#mask = mask;
  }

  /** Index of the first tag of the side list that is >= `tag`. */
  #findOld(tag: number): number {
    let from = this.#oldHead;
    let to = this.#oldTags.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#oldTags[middle]! < tag) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #takeOld(tag: number): T | null {
    if (this.#oldLive === 0) return null;
    const at = this.#findOld(tag);
    if (this.#oldTags[at] !== tag) return null;
    const value = this.#oldValues[at]!;
    if (value === null) return null;
    this.#oldValues[at] = null;
    this.#oldLive -= 1;
    this.#tidyOld();
    return value;
  }

  #takeOldUpTo(tag: number, into: T[]): void {
    while (this.#oldHead < this.#oldTags.length && this.#oldTags[this.#oldHead]! <= tag) {
      const value = this.#oldValues[this.#oldHead]!;
      this.#oldValues[this.#oldHead] = null;
      this.#oldHead += 1;
      if (value === null) continue;
      this.#oldLive -= 1;
      into.push(value);
    }
    this.#tidyOld();
  }

  /** Keeps the head of the side list on a value, and its length within a factor of what it holds. */
  #tidyOld(): void {
    if (this.#oldLive === 0) {
      this.#oldTags = [];
      this.#oldValues = [];
      this.#oldHead = 0;
      return;
    }
    while (this.#oldValues[this.#oldHead] === null) this.#oldHead += 1;
    if (this.#oldTags.length <= MIN_SLOTS || this.#oldLive * 4 > this.#oldTags.length) return;
    const tags: number[] = [];
    const values: (T | null)[] = [];
    for (let i = this.#oldHead; i < this.#oldTags.length; i++) {
      const value = this.#oldValues[i]!;
      if (value === null) continue;
      tags.push(this.#oldTags[i]!);
      values.push(value);
    }
    this.#oldTags = tags;
    this.#oldValues = values;
    this.#oldHead = 0;
  }
}

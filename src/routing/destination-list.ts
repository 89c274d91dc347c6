// A multiset of destinations that is read often and changed at any size in constant time.
// Owns how often each destination was added; a reader sees each one once.
// Invariant: `items` holds each destination with a count above zero exactly once, in no promised order.

import type { Destination } from './router.ts';

/** Up to this many destinations a search through the array is quicker than a Map beside it. */
const INDEX_FROM = 16;

/** Destinations under one key (or one trie node). */
export class DestinationList {
  /** Each destination once. Readers must not change it. */
  readonly items: Destination[] = [];
  /** How often the destination at the same index was added. */
  readonly #counts: number[] = [];
  /** Index of each destination in `items`; null while the list is short. */
  #indexes: Map<Destination, number> | null = null;

  get isEmpty(): boolean {
    return this.items.length === 0;
  }

  /** Counts one more binding to `destination`. */
  add(destination: Destination): void {
    const at = this.#find(destination);
    if (at >= 0) {
      this.#counts[at]! += 1;
      return;
    }
    this.items.push(destination);
    this.#counts.push(1);
    if (this.#indexes !== null) {
      this.#indexes.set(destination, this.items.length - 1);
    } else if (this.items.length > INDEX_FROM) {
      const indexes = new Map<Destination, number>();
      for (let i = 0; i < this.items.length; i++) indexes.set(this.items[i]!, i);
      this.#indexes = indexes;
    }
  }

  /** Counts one binding less; an unknown destination is ignored. */
  remove(destination: Destination): void {
    const at = this.#find(destination);
    if (at < 0) return;
    this.#counts[at]! -= 1;
    if (this.#counts[at]! > 0) return;
    const last = this.items.pop()!;
    const lastCount = this.#counts.pop()!;
    if (at < this.items.length) {
      this.items[at] = last;
      this.#counts[at] = lastCount;
      this.#indexes?.set(last, at);
    }
    this.#indexes?.delete(destination);
    if (this.items.length < INDEX_FROM / 2) this.#indexes = null;
  }

  /** Appends every destination to `out`. */
  appendTo(out: Destination[]): void {
    const items = this.items;
    for (let i = 0; i < items.length; i++) out.push(items[i]!);
  }

  #find(destination: Destination): number {
    if (this.#indexes !== null) return this.#indexes.get(destination) ?? -1;
    return this.items.indexOf(destination);
  }
}

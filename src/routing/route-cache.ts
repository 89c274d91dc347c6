// A bounded memory of routing results by key: the last ones stay, those not asked for any more go.
// Owns how much is remembered. Invariant: neither half holds more than its limit; whoever changes bindings calls `clear`.

import type { Destination } from './router.ts';

/** Keys that one half may hold. */
const KEYS_MAX = 8_192;
/** Destinations that the results of one half may hold together: a key that matches 10,000 queues must not fill the memory. */
const DESTINATIONS_MAX = 262_144;

/**
 * Two halves: when the young one is full it becomes the old one, and the old one is forgotten. A result that is asked for again is
 * young again. That keeps the recently used at the price of one Map look-up each.
 */
export class RouteCache {
  #young = new Map<string, readonly Destination[]>();
  #old = new Map<string, readonly Destination[]>();
  /** Destinations in the results of the young half. */
  #youngDestinations = 0;

  /** The remembered result for `key`; null when there is none. */
  get(key: string): readonly Destination[] | null {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    if (this.#old.size === 0) return null;
    const old = this.#old.get(key);
    if (old === undefined) return null;
    this.set(key, old);
    return old;
  }

  /** Remembers a result, which must not change any more. */
  set(key: string, result: readonly Destination[]): void {
    if (result.length > DESTINATIONS_MAX) return;
    if (this.#young.size >= KEYS_MAX || this.#youngDestinations + result.length > DESTINATIONS_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngDestinations = 0;
    }
    this.#young.set(key, result);
    this.#youngDestinations += result.length;
  }

  /** Forgets everything: a binding came or went. */
  clear(): void {
    if (this.#young.size > 0) this.#young = new Map();
    if (this.#old.size > 0) this.#old = new Map();
    this.#youngDestinations = 0;
  }

  /** Keys remembered, for tests and metrics. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}

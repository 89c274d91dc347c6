// What the method frame of a basic.publish means, remembered by its bytes: publishers repeat themselves.
// Owns how much is remembered, and for whom. A publish whose payload was seen before costs a hash and a comparison instead of
// two strings, a permission check and a route; measured in bench/micro.
// Clients that log in as one user to one vhost share their targets: what one of them found out holds for all, ten thousand connections
// take no more memory than one, and a client that connects for a single publish finds what it needs.
// Invariants: a half holds no more than its limit; what nobody has asked for since two halves were filled is forgotten; queues and
// exchanges that are gone are let go of as work goes on (see `aged`), though nobody publishes to them any more.

import { Address } from '../message/address.ts';
import type { Exchange } from '../node/exchange.ts';
import type { VHost } from '../node/vhost.ts';
import { decodeBasicPublish } from '../protocol/methods.ts';
import type { Queue } from '../queue/queue.ts';

/**
 * Targets of one user in one vhost that a half holds. Round and round over 10,000 queues costs 2.3 us of CPU a message with this limit, and
 * with one of 512 (which they all miss) 3.0.
 */
export const TARGETS_MAX = 16_384;
/** Targets that are remembered for all of them together: more, and … */
export const TARGETS_OF_ALL_MAX = 131_072;
/** … a half holds no more than this. */
export const TARGETS_MIN = 512;

/** Payloads that came once and are recognised when they come again; a power of two. */
const ONCE_SLOTS = 32_768;
/** Slots of a table that was just made; a power of two. It grows when half of them are taken. */
const SLOTS_FIRST = 32;
/** Slots looked at for one target: keys that were made to collide must not turn a look-up into a search. */
const PROBES_MAX = 16;
/** What the end of a connection counts for, in publishes that were out of date: it costs several hundred times as much. */
const AGED_BY_CONNECTION = 256;
/** Publish payload: class and method, ticket. */
const ADDRESS_AT = 6;
const METHOD_ID_BYTES = 4;

/** One way to publish, and what was found out about it. */
export class PublishTarget {
  readonly address: Address;
  /** Last octet of the payload: mandatory, immediate. */
  readonly bits: number;
  readonly mandatory: boolean;
  readonly immediate: boolean;
  /** Verdicts hold for this generation of permissions … */
  accessGeneration = -1;
  /** … and these for this generation of the vhost's topology. */
  topologyGeneration = -1;
  exchange: Exchange | null = null;
  /** Where it goes; null when that depends on more than the key. */
  route: readonly Queue[] | null = null;

  constructor(address: Address, bits: number, mandatory: boolean, immediate: boolean) {
    this.address = address;
    this.bits = bits;
    this.mandatory = mandatory;
    this.immediate = immediate;
  }

  /** Nothing is known but what the bytes say. */
  forget(): void {
    this.exchange = null;
    this.route = null;
  }

  /** True when permission, exchange and route were found at the present generations. */
  holds(vhost: VHost, accessGeneration: number): boolean {
    return (
      this.topologyGeneration === vhost.generation &&
      this.accessGeneration === accessGeneration &&
      this.route !== null
    );
  }
}

/** What the users of a broker have remembered together. */
class Sum {
  /** Targets. */
  count = 0;
  /** Hashes of payloads that came and were not remembered. */
  private readonly once = new Int32Array(ONCE_SLOTS);
  private dice = 1;

  /** False for a payload that comes for the first time in a while: a key of its own for every message is not worth its memory. */
  isRepeated(hash: number): boolean {
    const { once } = this;
    const slot = hash & (ONCE_SLOTS - 1);
    if (once[slot] === hash) return true;
    // Who stands there gives way every other time, by chance: two that come in turn must not push each other out for ever.
    this.dice = (Math.imul(this.dice, 1_664_525) + 1_013_904_223) | 0;
    if (once[slot] === 0 || this.dice < 0) once[slot] = hash;
    return false;
  }
}

/** Targets by the bytes that stand for them: open addressing, nothing is ever taken out. */
class Table {
  count = 0;
  private hashes = new Int32Array(SLOTS_FIRST);
  private slots = new Array<PublishTarget | null>(SLOTS_FIRST).fill(null);
  private mask = SLOTS_FIRST - 1;

  find(hash: number, buffer: Buffer, start: number, stop: number): PublishTarget | null {
    const { hashes, slots, mask } = this;
    for (let i = 0; i < PROBES_MAX; i++) {
      const slot = (hash + i) & mask;
      const known = slots[slot]!;
      if (known === null) return null;
      if (hashes[slot] === hash && isSame(known, buffer, start, stop)) return known;
    }
    return null;
  }

  /** Lets go of what was found out before this generation of the topology. */
  letGo(generation: number): void {
    const { slots } = this;
    for (let i = 0; i < slots.length; i++) {
      const target = slots[i]!;
      if (target !== null && target.topologyGeneration !== generation) target.forget();
    }
  }

  /** May take the place of another one. */
  add(hash: number, target: PublishTarget): void {
    if (this.count * 2 >= this.slots.length) this.grow();
    this.put(hash, target);
  }

  private put(hash: number, target: PublishTarget): void {
    const { hashes, slots, mask } = this;
    let slot = hash & mask;
    for (let i = 0; i < PROBES_MAX && slots[slot] !== null; i++) slot = (hash + i) & mask;
    if (slots[slot] === null) this.count++;
    slots[slot] = target;
    hashes[slot] = hash;
  }

  private grow(): void {
    const { hashes, slots } = this;
    this.count = 0;
    this.hashes = new Int32Array(slots.length * 2);
    this.slots = new Array<PublishTarget | null>(slots.length * 2).fill(null);
    this.mask = slots.length * 2 - 1;
    for (let i = 0; i < slots.length; i++) if (slots[i] !== null) this.put(hashes[i]!, slots[i]!);
  }
}

/** The targets of one user in one vhost. */
export class PublishTargets {
  readonly vhost: VHost | null;
  readonly username: string;
  /** Connections that use them. */
  users = 0;
  private readonly sum: Sum;
  private young = new Table();
  /** The last half that was filled; what is asked for again goes to the young one. */
  private old: Table | null = null;
  /** How much has aged since the stale ones were last looked for. */
  private age = 0;

  constructor(vhost: VHost | null = null, username = '', sum = new Sum()) {
    this.vhost = vhost;
    this.username = username;
    this.sum = sum;
  }

  /** Targets remembered. */
  get count(): number {
    return this.young.count + (this.old === null ? 0 : this.old.count);
  }

  /** The target of the publish method in `buffer[start, stop)` (payload with class and method id). @throws DecodeError */
  find(buffer: Buffer, start: number, stop: number): PublishTarget {
    const hash = hashOf(buffer, start + ADDRESS_AT, stop);
    return this.young.find(hash, buffer, start, stop) ?? this.other(hash, buffer, start, stop);
  }

  /** What is not in the young half: of the old one, or new. */
  private other(hash: number, buffer: Buffer, start: number, stop: number): PublishTarget {
    let target = this.old === null ? null : this.old.find(hash, buffer, start, stop);
    const { sum } = this;
    if (target === null) {
      target = decodeTarget(buffer, start, stop);
      if (!sum.isRepeated(hash)) return target;
    }
    if (this.young.count >= (sum.count < TARGETS_OF_ALL_MAX ? TARGETS_MAX : TARGETS_MIN)) {
      if (this.old !== null) sum.count -= this.old.count;
      this.old = this.young;
      this.young = new Table();
    }
    // Not always one more: where keys collide one takes another's place, when the table grows as well.
    const { young } = this;
    const { count } = young;
    young.add(hash, target);
    sum.count += young.count - count;
    return target;
  }

  /**
   * Something was out of date, or a connection has ended with the queues that were its own: others may be out of date as well. They are
   * looked for when that has been said as often as there are targets, so that it costs little each time.
   * @param by 1 for a publish; a connection counts for more
   */
  aged(by: number): void {
    this.age += by;
    if (this.vhost === null || this.age < this.count) return;
    this.age = 0;
    this.young.letGo(this.vhost.generation);
    if (this.old !== null) this.old.letGo(this.vhost.generation);
  }

  /** Nobody uses them any more. */
  drop(): void {
    this.sum.count -= this.count;
    this.young = new Table();
    this.old = null;
  }
}

/** The targets of all users of a broker. */
export class SharedTargets {
  private readonly byVHost = new Map<VHost, Map<string, PublishTargets>>();
  private readonly sum = new Sum();

  /** Targets remembered. */
  get count(): number {
    return this.sum.count;
  }

  /** A connection has logged in; it says `leave` at its end. */
  join(vhost: VHost, username: string): PublishTargets {
    let byUser = this.byVHost.get(vhost);
    if (byUser === undefined) {
      byUser = new Map();
      this.byVHost.set(vhost, byUser);
    }
    let targets = byUser.get(username);
    if (targets === undefined) {
      targets = new PublishTargets(vhost, username, this.sum);
      byUser.set(username, targets);
    }
    targets.users++;
    return targets;
  }

  /** With the last connection of a user all is forgotten: queues and exchanges that are gone are not kept for nobody. */
  leave(targets: PublishTargets): void {
    if (--targets.users !== 0) return targets.aged(AGED_BY_CONNECTION);
    targets.drop();
    const vhost = targets.vhost!;
    const byUser = this.byVHost.get(vhost)!;
    byUser.delete(targets.username);
    if (byUser.size === 0) this.byVHost.delete(vhost);
  }
}

/** Words instead of octets, as for names (protocol/short-strings.ts): half the cost. */
export function hashOf(buffer: Buffer, start: number, stop: number): number {
  let hash = stop - start;
  let at = start;
  for (; at < stop - 3; at += 4) {
    const word = buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; at < stop; at++) hash = Math.imul(hash ^ buffer[at]!, 0x9e3779b1);
  return hash ^ (hash >>> 13);
}

function isSame({ address, bits }: PublishTarget, buffer: Buffer, start: number, stop: number): boolean {
  const { wire } = address;
  const { length } = wire;
  const at = start + ADDRESS_AT;
  if (at + length + 1 !== stop || buffer[stop - 1] !== bits) return false;
  for (let i = 0; i < length; i++) if (wire[i] !== buffer[at + i]) return false;
  return true;
}

function decodeTarget(buffer: Buffer, start: number, stop: number): PublishTarget {
  const { exchange, routingKey, mandatory, immediate } = decodeBasicPublish(
    buffer,
    start + METHOD_ID_BYTES,
    stop,
  );
  // The last octet holds the bits; exchange and key lie before it as they lie in deliveries.
  const wire = Buffer.allocUnsafe(stop - 1 - start - ADDRESS_AT);
  for (let i = 0; i < wire.length; i++) wire[i] = buffer[start + ADDRESS_AT + i]!;
  return new PublishTarget(new Address(exchange, routingKey, wire), buffer[stop - 1]!, mandatory, immediate);
}

// What the method frame of a basic.publish means, remembered by its bytes: publishers repeat themselves.
// Owns a small direct-mapped cache per connection. A publish whose payload was seen before costs a hash and a comparison instead of
// two strings, a permission check and a route; measured in bench/micro.

import { Address } from '../message/address.ts';
import type { Exchange } from '../node/exchange.ts';
import type { VHost } from '../node/vhost.ts';
import { decodeBasicPublish } from '../protocol/methods.ts';
import type { Queue } from '../queue/queue.ts';

/** Slots of the cache; a power of two. */
const SLOTS = 512;
/** Publish payload: class and method, ticket. */
const ADDRESS_AT = 6;
const METHOD_ID_BYTES = 4;

/** One way to publish, and what was found out about it. */
export class PublishTarget {
  /** Payload bytes that stand for it. */
  readonly payload: Buffer;
  readonly address: Address;
  readonly mandatory: boolean;
  readonly immediate: boolean;
  /** Verdicts hold for this generation of permissions … */
  accessGeneration = -1;
  /** … and these for this generation of the vhost's topology. */
  topologyGeneration = -1;
  exchange: Exchange | null = null;
  /** Where it goes; null when that depends on more than the key. */
  route: readonly Queue[] | null = null;

  constructor(payload: Buffer, address: Address, mandatory: boolean, immediate: boolean) {
    this.payload = payload;
    this.address = address;
    this.mandatory = mandatory;
    this.immediate = immediate;
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

/** The targets of one connection. Takes no memory before the first publish. */
export class PublishTargets {
  private slots: (PublishTarget | null)[] | null = null;

  /** The target of the publish method in `buffer[start, stop)` (payload with class and method id). @throws DecodeError */
  find(buffer: Buffer, start: number, stop: number): PublishTarget {
    if (this.slots === null) this.slots = new Array<PublishTarget | null>(SLOTS).fill(null);
    let hash = stop - start;
    for (let i = start + ADDRESS_AT; i < stop; i++) hash = (Math.imul(hash, 31) + buffer[i]!) | 0;
    const slot = (hash ^ (hash >>> 13)) & (SLOTS - 1);
    const known = this.slots[slot]!;
    if (known !== null && samePayload(known.payload, buffer, start, stop)) return known;
    const target = decodeTarget(buffer, start, stop);
    this.slots[slot] = target;
    return target;
  }
}

function samePayload(payload: Buffer, buffer: Buffer, start: number, stop: number): boolean {
  const length = payload.length;
  if (length !== stop - start) return false;
  for (let i = ADDRESS_AT; i < length; i++) if (payload[i] !== buffer[start + i]) return false;
  return true;
}

function decodeTarget(buffer: Buffer, start: number, stop: number): PublishTarget {
  const { exchange, routingKey, mandatory, immediate } = decodeBasicPublish(
    buffer,
    start + METHOD_ID_BYTES,
    stop,
  );
  const payload = Buffer.from(buffer.subarray(start, stop));
  // The last octet holds the bits; exchange and key lie before it as they lie in deliveries.
  const wire = payload.subarray(ADDRESS_AT, payload.length - 1);
  return new PublishTarget(payload, new Address(exchange, routingKey, wire), mandatory, immediate);
}

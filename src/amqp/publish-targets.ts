// What the method frame of a basic.publish means, remembered by its bytes: publishers repeat themselves.
// Owns a small direct-mapped cache per connection. A publish whose payload was seen before costs a hash and a comparison instead of
// two strings, a permission check and a route; measured in bench/micro.

import { type Address, decodeAddress } from '../message/address.ts';
import type { Exchange } from '../node/exchange.ts';
import type { VHost } from '../node/vhost.ts';
import { SYNTAX_ERROR } from '../protocol/constants.ts';
import { DecodeError } from '../protocol/errors.ts';
import type { Queue } from '../queue/queue.ts';

/** Slots of the cache; a power of two. */
const SLOTS = 512;
/** Publish payload: class and method, ticket. */
const ADDRESS_AT = 6;

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
  // AMQP 0-9-1 1.8.3.5: ticket, exchange, routing key, bits mandatory and immediate.
  const exchangeAt = start + ADDRESS_AT;
  const keyAt = exchangeAt < stop ? exchangeAt + 1 + buffer[exchangeAt]! : stop;
  const bitsAt = keyAt < stop ? keyAt + 1 + buffer[keyAt]! : stop;
  if (bitsAt + 1 !== stop)
    throw new DecodeError(SYNTAX_ERROR, 'basic.publish has another length than its fields');
  const payload = Buffer.from(buffer.subarray(start, stop));
  const bits = buffer[bitsAt]!;
  return new PublishTarget(payload, decodeAddress(payload, ADDRESS_AT), (bits & 1) !== 0, (bits & 2) !== 0);
}

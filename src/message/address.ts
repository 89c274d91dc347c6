// Where a message was published to: exchange and routing key, as text for routing and as wire bytes for delivery and disk.
// Owns the cache that makes the messages of one publisher share one address. Knows nothing of exchanges.

import { internAnyShortString, shortStringByteLength, writeShortString } from '../protocol/short-strings.ts';

/** Exchange and routing key of a message. Shared and never changed. */
export class Address {
  readonly exchange: string;
  readonly routingKey: string;
  /** Both as shortstrs one after the other: the tail of basic.deliver and basic.return, and the head of a stored message. */
  readonly wire: Buffer;

  constructor(exchange: string, routingKey: string, wire: Buffer) {
    this.exchange = exchange;
    this.routingKey = routingKey;
    this.wire = wire;
  }
}

/** An address from text. Both parts must fit a shortstr (255 bytes of UTF-8). */
export function addressOf(exchange: string, routingKey: string): Address {
  const wire = Buffer.allocUnsafe(2 + shortStringByteLength(exchange) + shortStringByteLength(routingKey));
  writeShortString(wire, writeShortString(wire, 0, exchange), routingKey);
  return new Address(exchange, routingKey, wire);
}

/** An address from its wire bytes at `at`; copies them. */
export function decodeAddress(buffer: Buffer, at: number): Address {
  const keyAt = at + 1 + buffer[at]!;
  const end = keyAt + 1 + buffer[keyAt]!;
  const exchange = internAnyShortString(buffer, at + 1, keyAt);
  const routingKey = internAnyShortString(buffer, keyAt + 1, end);
  return new Address(exchange, routingKey, Buffer.from(buffer.subarray(at, end)));
}

/** Addresses decoded one after another, mostly the same: remembers the last one. */
export class AddressReader {
  private last: Address | null = null;
  /** Bound, so that it can be handed to `messageFromStored`. */
  readonly at = (buffer: Buffer, at: number): Address => {
    const last = this.last;
    if (last !== null && startsWith(buffer, at, last.wire)) return last;
    const address = decodeAddress(buffer, at);
    this.last = address;
    return address;
  };
}

function startsWith(buffer: Buffer, at: number, bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (buffer[at + i] !== bytes[i]) return false;
  return true;
}

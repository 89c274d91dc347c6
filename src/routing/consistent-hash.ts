// Consistent hashing: each destination has as many buckets as its binding key says, and a message goes to the one its hash falls to.
// Owns which field is hashed, and the ring of buckets. Knows nothing of queues: a destination is opaque.
// Invariants: the ring follows from the bindings and their order alone, so that a restart that repeats both keeps every assignment;
// a destination is in the ring once, with the oldest of its bindings.

import { BrokerError } from '../base/errors.ts';
import type { FieldTable, FieldValue } from '../protocol/field-table.ts';
import {
  HASH_OF_FALSE,
  HASH_OF_TRUE,
  HASH_OF_UNDEFINED,
  hashOfFloat,
  hashOfOctets,
  hashOfText,
  octetsOf,
} from './erlang-hash.ts';
import { erlangTerm, textOf } from './erlang-term.ts';
import { jumpHash } from './jump-hash.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

/** Most buckets that one binding may have (RabbitMQ 4.3). */
const WEIGHT_MAX = 10_000;

/** What is hashed. */
type Field =
  | { readonly kind: 'key' }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'correlation_id' | 'message_id' | 'timestamp' };

export class ConsistentHashRouter implements Router {
  readonly byKeyOnly: boolean;
  readonly history = NO_HISTORY;
  readonly #field: Field;
  /** In the order in which they were made. */
  readonly #bindings = new Set<Binding>();
  /** Destinations in the order of their buckets, and where the buckets of each one end. */
  readonly #destinations: Destination[] = [];
  readonly #ends: number[] = [];
  /** False when bindings have changed since the ring was built. */
  #isBuilt = true;

  /** @throws BrokerError precondition-failed when the exchange's arguments do not say what to hash */
  constructor(args: FieldTable) {
    this.#field = fieldOf(args);
    this.byKeyOnly = this.#field.kind === 'key';
  }

  check(binding: Binding): void {
    const { routingKey } = binding;
    if (!/^[+-]?[0-9]+$/.test(routingKey)) {
      const term = erlangTerm({ tag: 'S', value: octetsOf(routingKey) });
      throw refusal(`The binding key must be an integer: ${term}`);
    }
    const weight = Number(routingKey);
    if (weight < 1) throw refusal('The binding key must be greater than 0');
    if (weight > WEIGHT_MAX) throw refusal(`The binding key must not exceed ${WEIGHT_MAX}`);
  }

  bind(binding: Binding): void {
    this.#bindings.add(binding);
    this.#isBuilt = false;
  }

  unbind(binding: Binding): void {
    if (this.#bindings.delete(binding)) this.#isBuilt = false;
  }

  route(message: Routable, keys: readonly string[], out: Destination[]): void {
    if (!this.#isBuilt) this.#build();
    const ends = this.#ends;
    if (ends.length === 0) return;
    const bucket = jumpHash(this.#hash(message, keys), ends[ends.length - 1]!);
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle]! > bucket) high = middle;
      else low = middle + 1;
    }
    out.push(this.#destinations[low]!);
  }

  #build(): void {
    const seen = new Set<Destination>();
    let end = 0;
    this.#destinations.length = 0;
    this.#ends.length = 0;
    for (const { destination, routingKey } of this.#bindings) {
      // RabbitMQ: a second binding to the same destination is ignored, whatever its weight.
      if (seen.has(destination)) continue;
      seen.add(destination);
      end += Number(routingKey);
      this.#destinations.push(destination);
      this.#ends.push(end);
    }
    this.#isBuilt = true;
  }

  #hash(message: Routable, keys: readonly string[]): number {
    const field = this.#field;
    // RabbitMQ: of several keys only the first one counts.
    if (field.kind === 'key') return hashOfText(keys[0]!);
    if (field.kind === 'header') return hashOfValue(message.headers()?.get(field.name));
    const properties = message.properties();
    if (field.kind === 'timestamp') {
      return properties.timestamp === null ? HASH_OF_UNDEFINED : hashOfText(String(properties.timestamp));
    }
    const text = field.kind === 'message_id' ? properties.messageId : properties.correlationId;
    return text === null ? HASH_OF_UNDEFINED : hashOfText(text);
  }
}

/** RabbitMQ's checks of the exchange's arguments, in its order. */
function fieldOf(args: FieldTable): Field {
  const header = textArgument(args, 'hash-header');
  const property = textArgument(args, 'hash-property');
  if (header !== null) {
    if (property !== null) throw refusal('hash-header and hash-property are mutually exclusive');
    return { kind: 'header', name: header };
  }
  if (property === null) return { kind: 'key' };
  if (property === 'correlation_id' || property === 'message_id' || property === 'timestamp')
    return { kind: property };
  throw refusal(`Unsupported property: ${property}`);
}

function textArgument(args: FieldTable, name: string): string | null {
  const value = args.get(name);
  if (value === undefined) return null;
  if (value.tag !== 'S') throw refusal(`Invalid argument ${erlangTerm(value)}, '${name}' must be a string`);
  return textOf(value.value);
}

/**
 * As RabbitMQ 4 hashes a header: texts and byte arrays as their octets, integers as they are, nothing like a header that is missing.
 * Tables, arrays and decimals are hashed here as their notation, which is stable, but not what RabbitMQ does.
 */
function hashOfValue(value: FieldValue | undefined): number {
  if (value === undefined) return HASH_OF_UNDEFINED;
  switch (value.tag) {
    case 'S':
      return typeof value.value === 'string'
        ? hashOfOctets(Buffer.from(value.value))
        : hashOfOctets(value.value);
    case 'x':
      return hashOfOctets(value.value);
    case 't':
      return value.value ? HASH_OF_TRUE : HASH_OF_FALSE;
    case 'V':
      return HASH_OF_UNDEFINED;
    case 'f':
    case 'd':
      return hashOfFloat(value.value);
    case 'D':
    case 'A':
    case 'F':
      return hashOfOctets(Buffer.from(erlangTerm(value)));
    case 'T':
      // RabbitMQ counts them in milliseconds inside.
      return lowestBits(BigInt(value.value) * 1000n);
    default:
      return lowestBits(BigInt(value.value));
  }
}

/** As much of an integer as a hash has: jumping looks at fewer bits still. */
function lowestBits(value: bigint): number {
  return Number(BigInt.asUintN(27, value));
}

function refusal(text: string): BrokerError {
  return new BrokerError('precondition-failed', text);
}

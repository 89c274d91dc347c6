// Which messages people ask for: by address, headers, properties, deaths, body.
// Owns the meaning of a filter. Knows no queue.

import { BrokerError } from '../base/errors.ts';
import { deathsOf } from '../message/death-history.ts';
import type { Message } from '../message/message.ts';
import type { FieldValue } from '../protocol/field-table.ts';
import type { BasicProperties } from '../protocol/properties.ts';

/** Properties that a filter compares; headers have a part of their own. */
export type FilteredProperties = {
  readonly [Name in Exclude<keyof BasicProperties, 'headers'>]?: string | number;
};

/** What a message must have; everything that is given must hold. */
export interface MessageFilter {
  /** Name of the exchange it was published to; the empty text for the default exchange. */
  readonly exchange?: string;
  /** Pattern of its routing key, as in a topic binding: `*` is one word, `#` is zero or more. */
  readonly routingKey?: string;
  /** Headers with these values. Numbers are compared by value, whatever their type on the wire. */
  readonly headers?: Readonly<Record<string, string | number | boolean>>;
  /** Properties with these values. */
  readonly properties?: FilteredProperties;
  /** Queue of its latest death. */
  readonly diedIn?: string;
  /** Reason of its latest death. */
  readonly diedOf?: string;
  /** Text that its body has in it somewhere, as UTF-8. */
  readonly bodyContains?: string;
}

/** Tells whether a message is asked for. */
export type MessageTest = (message: Message) => boolean;

const KEYS = ['exchange', 'routingKey', 'headers', 'properties', 'diedIn', 'diedOf', 'bodyContains'];

/**
 * A filter as a test; null when every message passes.
 * @throws BrokerError precondition-failed for something that is no filter
 */
export function messageTest(filter: MessageFilter | null | undefined): MessageTest | null {
  if (filter === null || filter === undefined) return null;
  for (const key of Object.keys(filter))
    if (!KEYS.includes(key)) throw new BrokerError('precondition-failed', `unknown filter '${key}'`);
  const tests: MessageTest[] = [];
  const { exchange, routingKey, headers, properties, diedIn, diedOf, bodyContains } = filter;
  if (exchange !== undefined) tests.push(({ address }) => address.exchange === exchange);
  if (routingKey !== undefined) {
    const pattern = routingKey.split('.');
    tests.push(({ address }) => matchesTopic(pattern, address.routingKey.split('.')));
  }
  if (properties !== undefined) tests.push(hasProperties(properties));
  if (headers !== undefined) tests.push(hasHeaders(headers));
  if (diedIn !== undefined) tests.push((message) => deathsOf(message)[0]?.queue === diedIn);
  if (diedOf !== undefined) tests.push((message) => deathsOf(message)[0]?.reason === diedOf);
  if (bodyContains !== undefined) {
    const wanted = Buffer.from(bodyContains);
    tests.push((message) => message.body().includes(wanted));
  }
  return tests.length === 0 ? null : (message) => tests.every((test) => test(message));
}

function hasProperties(wanted: FilteredProperties): MessageTest {
  const pairs = Object.entries(wanted) as [keyof FilteredProperties, string | number][];
  return (message) => {
    const properties = message.properties();
    return pairs.every(([name, value]) => {
      const is = properties[name];
      return typeof is === 'bigint' ? is === BigInt(value) : is === value;
    });
  };
}

function hasHeaders(wanted: Readonly<Record<string, string | number | boolean>>): MessageTest {
  const pairs = Object.entries(wanted);
  return (message) => {
    const headers = message.headers();
    return headers !== null && pairs.every(([name, value]) => isValue(headers.get(name), value));
  };
}

function isValue(field: FieldValue | undefined, wanted: string | number | boolean): boolean {
  if (field === undefined) return false;
  const { value } = field;
  if (field.tag === 'D') return field.value.value / 10 ** field.value.scale === wanted;
  if (typeof value === 'bigint')
    return typeof wanted === 'number' && Number.isInteger(wanted) && value === BigInt(wanted);
  if (Buffer.isBuffer(value)) return typeof wanted === 'string' && value.equals(Buffer.from(wanted));
  return value === wanted;
}

/** Words of a key against words of a pattern. Steps are at most words times words, however many `#` there are. */
function matchesTopic(pattern: readonly string[], words: readonly string[]): boolean {
  let p = 0;
  let w = 0;
  // Where the last `#` stands, and up to which word it reaches so far.
  let hash = -1;
  let reached = 0;
  while (w < words.length) {
    if (p < pattern.length && pattern[p] === '#') {
      hash = p++;
      reached = w;
    } else if (p < pattern.length && (pattern[p] === '*' || pattern[p] === words[w])) {
      p++;
      w++;
    } else if (hash >= 0) {
      p = hash + 1;
      w = ++reached;
    } else return false;
  }
  while (p < pattern.length && pattern[p] === '#') p++;
  return p === pattern.length;
}

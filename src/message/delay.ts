// A message that is held back for a while: how long its header asks for, what it looks like while it waits and when it goes on.
// Owns the header x-delay, and the routing keys of a waiting message: they are stored in its own headers, BCC included.

import type { FieldTable, FieldValue } from '../protocol/field-table.ts';
import { FLAG_HEADERS, type Message } from './message.ts';

/** Header that says how long to wait, in milliseconds (delayed message plugin). */
const DELAY_HEADER = 'x-delay';
/** Longest delay, in milliseconds; a message that asks for more is not held back at all (delayed message plugin). */
export const DELAY_MAX_MS = 2 ** 32 - 1;

const INTEGER = /^[+-]?[0-9]+$/;

/** How long the message asks to be held back, in milliseconds; 0 for not at all. */
export function delayOf(message: Message): number {
  if ((message.flags & FLAG_HEADERS) === 0) return 0;
  const value = message.headers()?.get(DELAY_HEADER);
  if (value === undefined) return 0;
  const delay = milliseconds(value);
  return delay > 0 && delay <= DELAY_MAX_MS ? delay : 0;
}

/** Delayed message plugin: integers, strings of digits, and floats without their fraction. NaN for anything else. */
function milliseconds(value: FieldValue): number {
  switch (value.tag) {
    case 'b':
    case 'B':
    case 's':
    case 'u':
    case 'I':
    case 'i':
    case 'l':
    case 'L':
    case 'f':
    case 'd':
      return Math.trunc(Number(value.value));
    case 'S':
    case 'x': {
      const text = value.value.toString();
      return INTEGER.test(text) ? Number(text) : Number.NaN;
    }
    default:
      return Number.NaN;
  }
}

/**
 * The message as it waits and as it will be delivered, save for BCC: its delay negated (delayed message plugin), so that it is not
 * held back again wherever it goes, and its further routing keys complete.
 * @param delayMs what `delayOf` said
 * @param keys what it was published under: the routing key, then the further ones
 */
export function heldMessage(message: Message, delayMs: number, keys: readonly string[]): Message {
  const properties = message.properties();
  const headers = new Map(properties.headers);
  headers.set(DELAY_HEADER, { tag: 'l', value: -delayMs });
  if (keys.length > 1) {
    // Those in CC are there already; what was in BCC had been taken out of the message.
    const rest = keys.slice(1);
    for (const key of keysIn(headers, 'CC')) {
      const at = rest.indexOf(key);
      if (at !== -1) rest.splice(at, 1);
    }
    if (rest.length > 0) headers.set('BCC', { tag: 'A', value: rest.map((value) => ({ tag: 'S', value })) });
  }
  return message.withProperties({ ...properties, headers });
}

/** The routing keys under which a message that waited goes on. */
export function keysOf(held: Message): string[] {
  const headers = held.headers()!;
  return [held.address.routingKey, ...keysIn(headers, 'CC'), ...keysIn(headers, 'BCC')];
}

/** The message that goes on: nobody sees its BCC (RabbitMQ). */
export function releasedMessage(held: Message): Message {
  const headers = held.headers()!;
  if (!headers.has('BCC')) return held;
  const rest = new Map(headers);
  rest.delete('BCC');
  return held.withProperties({ ...held.properties(), headers: rest });
}

function keysIn(headers: FieldTable, name: string): string[] {
  const value = headers.get(name);
  const keys: string[] = [];
  if (value?.tag === 'A')
    for (const item of value.value)
      if (item.tag === 'S' && typeof item.value === 'string') keys.push(item.value);
  return keys;
}

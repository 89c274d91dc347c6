// What makes two messages the same for deduplication: one header, read as a text to compare by.
// Owns the header's default name and the form of that text. Remembers nothing.

import { createHash } from 'node:crypto';
import type { FieldValue } from '../protocol/field-table.ts';
import { FLAG_HEADERS, type Message } from './message.ts';

/** Header by which messages are compared, unless an argument names another (message deduplication plugin). */
export const DEDUPLICATION_HEADER = 'x-deduplication-header';
/** Header that says for how long this one message is remembered, in milliseconds (message deduplication plugin). */
const TTL_HEADER = 'x-cache-ttl';
/** Longer keys are remembered by their hash: a header may be as long as a frame. */
const KEY_LENGTH_MAX = 64;

/**
 * What the message is compared by; null when it has no such header, or one that holds a table, an array or a decimal: it is never a
 * duplicate then. Values are the same when type and value are, whatever the width of an integer or a float.
 */
export function deduplicationKey(message: Message, header: string): string | null {
  if ((message.flags & FLAG_HEADERS) === 0) return null;
  const value = message.headers()?.get(header);
  if (value === undefined) return null;
  const key = textOf(value);
  if (key === null || key.length <= KEY_LENGTH_MAX) return key;
  return `h${createHash('sha256').update(key).digest('base64url')}`;
}

/** For how long the message asks to be remembered, in milliseconds; null when it does not say. */
export function rememberedFor(message: Message): number | null {
  const value = message.headers()?.get(TTL_HEADER);
  return value !== undefined && 'bBsuIilL'.includes(value.tag) ? Number(value.value) : null;
}

function textOf(value: FieldValue): string | null {
  switch (value.tag) {
    case 'S':
    case 'x':
      return typeof value.value === 'string' ? `s${value.value}` : `s${value.value.toString('latin1')}`;
    case 't':
      return value.value ? 't1' : 't0';
    case 'f':
    case 'd':
      return `f${value.value}`;
    case 'V':
      return 'v';
    case 'A':
    case 'F':
    case 'D':
      return null;
    default:
      return `i${value.value}`;
  }
}

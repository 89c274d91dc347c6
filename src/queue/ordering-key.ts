// The value of a message's ordering key: a header that is compared by its value, whatever its width on the wire.
// Owns what counts as the same value. Knows no queue.

import type { Message } from '../message/message.ts';
import type { FieldValue } from '../protocol/field-table.ts';

/**
 * The message's key as a text that two messages share when their headers have the same value; null for a message without a key.
 * Texts, numbers (of any width, whole or not) and booleans are keys; anything else in the header is as good as none.
 */
export function orderingKeyOf(message: Message, header: string): string | null {
  const value = message.headers()?.get(header);
  return value === undefined ? null : keyText(value);
}

function keyText(field: FieldValue): string | null {
  switch (field.tag) {
    case 'S':
    case 'x':
      return `s${typeof field.value === 'string' ? field.value : field.value.toString('latin1')}`;
    case 't':
      return field.value ? 't' : 'f';
    case 'D':
      return `n${field.value.value / 10 ** field.value.scale}`;
    case 'A':
    case 'F':
    case 'V':
      return null;
    default:
      // A zero has no sign here; a bigint prints as the number it stands for.
      return `n${typeof field.value === 'number' ? field.value + 0 : field.value}`;
  }
}

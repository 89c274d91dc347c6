// The name that a binding has among those of the same source and destination (RabbitMQ: `properties_key`), for addresses and listings.
// Owns the quoting. Invariant: equal bindings have equal names whatever the order of their arguments, and no name has a slash in it.

import { createHash } from 'node:crypto';
import { encodeTable, type FieldTable } from '../protocol/field-table.ts';
import { shortStringByteLength, writeShortString } from '../protocol/short-strings.ts';

/** `~` without key and arguments; the quoted key without arguments; else the quoted key, `~`, and a hash of the arguments. */
export function propertiesKey(routingKey: string, args: FieldTable): string {
  const key = quoted(routingKey);
  if (args.size > 0) return `${key}~${hashOf(args)}`;
  return key === '' ? '~' : key;
}

/** RabbitMQ: as in a form, octet by octet, and `~` too, because it stands between key and hash. */
function quoted(text: string): string {
  const octets = Buffer.alloc(1 + 255);
  writeShortString(octets, 0, text);
  let out = '';
  for (const octet of octets.subarray(1, 1 + shortStringByteLength(text))) {
    const character = String.fromCharCode(octet);
    if (character === ' ') out += '+';
    else if (/[A-Za-z0-9._-]/.test(character)) out += character;
    else out += `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

function hashOf(args: FieldTable): string {
  const sorted = new Map([...args].sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('md5').update(encodeTable(sorted)).digest('base64url');
}

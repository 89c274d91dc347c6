// Field values as RabbitMQ prints them in refusals: client test suites compare those texts.
// Owns the notation only. Knows nothing of routing.

import { isUtf8 } from 'node:buffer';
import type { FieldValue } from '../protocol/field-table.ts';
import { fieldTypeName } from '../protocol/field-values.ts';

/** The bytes of a long string as text; bytes that are not UTF-8 as Latin-1. */
export function textOf(value: string | Buffer): string {
  return typeof value === 'string' ? value : value.toString(isUtf8(value) ? 'utf8' : 'latin1');
}

/** The value in Erlang's notation: `<<"text">>`, `1`, `true`, `[{<<"key">>,longstr,<<"text">>}]`. */
export function erlangTerm(value: FieldValue): string {
  switch (value.tag) {
    case 'S':
    case 'x':
      return binary(Buffer.isBuffer(value.value) ? value.value : Buffer.from(value.value, 'utf8'));
    case 'V':
      return 'undefined';
    case 'f':
    case 'd':
      return float(value.value);
    case 'D':
      return `{${value.value.scale},${value.value.value}}`;
    case 'A':
      return `[${value.value.map((item) => `{${fieldTypeName(item)},${erlangTerm(item)}}`).join(',')}]`;
    case 'F': {
      const entries: string[] = [];
      for (const [name, item] of value.value) {
        entries.push(`{${binary(Buffer.from(name, 'utf8'))},${fieldTypeName(item)},${erlangTerm(item)}}`);
      }
      return `[${entries.join(',')}]`;
    }
    default:
      return String(value.value);
  }
}

/** Erlang always shows a fraction: `1.0`, `1.0e300`. */
function float(value: number): string {
  const [digits = '', exponent] = String(value).split('e');
  const mantissa = digits.includes('.') ? digits : `${digits}.0`;
  return exponent === undefined ? mantissa : `${mantissa}e${exponent.replace('+', '')}`;
}

/** Printable bytes (of Latin-1, as Erlang has it) as a quoted string, anything else as a list of numbers. */
function binary(bytes: Buffer): string {
  if (bytes.length === 0) return '<<>>';
  for (const byte of bytes) {
    const printable = (byte >= 32 && byte < 127) || byte >= 160 || (byte >= 8 && byte <= 13) || byte === 27;
    if (!printable) return `<<${bytes.join(',')}>>`;
  }
  const quoted = textOf(bytes).replace(/["\\]/g, '\\$&');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones Erlang escapes.
  return `<<"${quoted.replace(/[\b\t\n\v\f\r\x1b]/g, escapeOf)}">>`;
}

function escapeOf(character: string): string {
  return `\\${'btnvfr'.charAt(character.charCodeAt(0) - 8) || 'e'}`;
}

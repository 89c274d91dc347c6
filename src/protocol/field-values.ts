// Values in field tables: what they are, what RabbitMQ calls them, when two mean the same, and how they come from and go to plain values.
// Knows nothing of their octets; `field-table.ts` does.

import { isUtf8 } from 'node:buffer';
import { assert } from '../base/assert.ts';

/** A value with the type it has on the wire. 64-bit integers are numbers while they are safe integers, else bigints. */
export type FieldValue =
  | { readonly tag: 't'; readonly value: boolean }
  | { readonly tag: 'b' | 'B' | 's' | 'u' | 'I' | 'i'; readonly value: number }
  | { readonly tag: 'l' | 'L' | 'T'; readonly value: number | bigint }
  | { readonly tag: 'f' | 'd'; readonly value: number }
  | { readonly tag: 'D'; readonly value: DecimalValue }
  | { readonly tag: 'S'; readonly value: string | Buffer }
  | { readonly tag: 'x'; readonly value: Buffer }
  | { readonly tag: 'A'; readonly value: readonly FieldValue[] }
  | { readonly tag: 'F'; readonly value: FieldTable }
  | { readonly tag: 'V'; readonly value: null };

/** `value` divided by ten to the power of `scale`; both unsigned. */
export interface DecimalValue {
  readonly scale: number;
  readonly value: number;
}

/** Names and values. The wire may repeat a name; the last value stands. */
export type FieldTable = ReadonlyMap<string, FieldValue>;

/** The table without entries. */
export const EMPTY_TABLE: FieldTable = new Map();

/** The value of `V`. */
export const VOID: FieldValue = { tag: 'V', value: null };
/** The two values of `t`. */
export const TRUE: FieldValue = { tag: 't', value: true };
/** See `TRUE`. */
export const FALSE: FieldValue = { tag: 't', value: false };

/** RabbitMQ's name for the type of a value, as it stands in reply texts and in the management API. */
export function fieldTypeName(value: FieldValue): string {
  return TYPE_NAMES[value.tag];
}

const TYPE_NAMES: Readonly<Record<FieldValue['tag'], string>> = {
  t: 'bool',
  b: 'byte',
  B: 'unsignedbyte',
  s: 'short',
  u: 'unsignedshort',
  I: 'signedint',
  i: 'unsignedint',
  l: 'long',
  L: 'long',
  f: 'float',
  d: 'double',
  D: 'decimal',
  S: 'longstr',
  x: 'binary',
  A: 'array',
  T: 'timestamp',
  F: 'table',
  V: 'void',
};

/** Whether two values mean the same: integers of any width, floats of any width, all else type by type, arrays and tables deep. */
export function sameValue(a: FieldValue, b: FieldValue): boolean {
  const kind = kindOf(a);
  if (kind !== kindOf(b)) return false;
  switch (a.tag) {
    case 'S':
    case 'x':
      return sameOctets(a.value, b.value as string | Buffer);
    case 'A':
      return sameArray(a.value, b.value as readonly FieldValue[]);
    case 'F':
      return sameTable(a.value, b.value as FieldTable);
    case 'D': {
      const other = b.value as DecimalValue;
      return a.value.scale === other.scale && a.value.value === other.value;
    }
    case 'f':
    case 'd':
      return a.value === b.value || (Number.isNaN(a.value) && Number.isNaN(b.value));
    default:
      return a.value === b.value || sameInteger(a.value, b.value);
  }
}

/** Whether two tables have the same names with the same values; the order does not count. */
export function sameTable(a: FieldTable, b: FieldTable): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [name, value] of a) {
    const other = b.get(name);
    if (other === undefined || !sameValue(value, other)) return false;
  }
  return true;
}

/**
 * A table from plain values: strings become `S`, integers `I` or `l`, other numbers `d`, booleans `t`, dates `T`, buffers `x`,
 * arrays `A`, objects `F`, null `V`. What is a `FieldValue` already stays; undefined is left out.
 * @throws InvariantError for what has no place in a table, such as a function
 */
export function tableOf(plain: Readonly<Record<string, unknown>>): FieldTable {
  const table = new Map<string, FieldValue>();
  for (const name of Object.keys(plain)) {
    const value = plain[name];
    if (value !== undefined) table.set(name, fieldValueOf(value));
  }
  return table;
}

/**
 * A table as plain values that `JSON.stringify` takes: timestamps as seconds, decimals as numbers, octets that are not text in base64,
 * integers beyond 2^53 as the nearest number.
 */
export function plainOf(table: FieldTable): Record<string, unknown> {
  // No prototype: a header may be called `__proto__`.
  const plain: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of table) plain[name] = plainValue(value);
  return plain;
}

/** What two values must share to be comparable at all. */
function kindOf(value: FieldValue): string {
  switch (value.tag) {
    case 'b':
    case 'B':
    case 's':
    case 'u':
    case 'I':
    case 'i':
    case 'l':
    case 'L':
      return 'integer';
    case 'f':
    case 'd':
      return 'float';
    default:
      return value.tag;
  }
}

/** A number and a bigint may stand for the same integer when someone built the value by hand. */
function sameInteger(a: unknown, b: unknown): boolean {
  if (typeof a === 'bigint' && typeof b === 'number') return Number.isInteger(b) && a === BigInt(b);
  if (typeof a === 'number' && typeof b === 'bigint') return Number.isInteger(a) && BigInt(a) === b;
  return false;
}

function sameOctets(a: string | Buffer, b: string | Buffer): boolean {
  if (typeof a === 'string') return typeof b === 'string' ? a === b : b.equals(Buffer.from(a));
  return a.equals(typeof b === 'string' ? Buffer.from(b) : b);
}

function sameArray(a: readonly FieldValue[], b: readonly FieldValue[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (!sameValue(a[i]!, b[i]!)) return false;
  }
  return true;
}

function fieldValueOf(plain: unknown): FieldValue {
  if (plain === null) return VOID;
  switch (typeof plain) {
    case 'string':
      return { tag: 'S', value: plain };
    case 'boolean':
      return plain ? TRUE : FALSE;
    case 'bigint':
      return { tag: 'l', value: plain };
    case 'number':
      return numberValue(plain);
    case 'object':
      return objectValue(plain);
    default:
      assert(false, 'only data has a place in a field table');
  }
}

function numberValue(plain: number): FieldValue {
  if (!Number.isSafeInteger(plain)) return { tag: 'd', value: plain };
  return { tag: plain === (plain | 0) ? 'I' : 'l', value: plain };
}

function objectValue(plain: object): FieldValue {
  if (Array.isArray(plain)) return { tag: 'A', value: plain.map(fieldValueOf) };
  if (plain instanceof Date) return { tag: 'T', value: Math.floor(plain.getTime() / 1000) };
  if (plain instanceof Map) return { tag: 'F', value: plain as FieldTable };
  if (Buffer.isBuffer(plain)) return { tag: 'x', value: plain };
  if (isFieldValue(plain)) return plain;
  return { tag: 'F', value: tableOf(plain as Readonly<Record<string, unknown>>) };
}

/** Nothing but `tag` and `value`, and a tag that exists: a JSON object of that shape is hardly anything else. */
function isFieldValue(plain: object): plain is FieldValue {
  if (!('tag' in plain && 'value' in plain) || Object.keys(plain).length !== 2) return false;
  return typeof plain.tag === 'string' && Object.hasOwn(TYPE_NAMES, plain.tag);
}

/** One value as `plainOf` gives it. */
export function plainValue(value: FieldValue): unknown {
  switch (value.tag) {
    case 'A':
      return value.value.map(plainValue);
    case 'F':
      return plainOf(value.value);
    case 'D':
      return value.value.value / 10 ** value.value.scale;
    case 'l':
    case 'L':
    case 'T':
      return Number(value.value);
    case 'x':
    case 'S':
      return typeof value.value === 'string' ? value.value : textOrBase64(value.value);
    default:
      return value.value;
  }
}

function textOrBase64(octets: Buffer): string {
  return isUtf8(octets) ? octets.toString('utf8') : octets.toString('base64');
}

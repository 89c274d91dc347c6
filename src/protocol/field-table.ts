// Field tables on the wire: decoding, checking, encoding. Owns the type tags, read the way RabbitMQ and every client library read them
// (`spec/amqp0-9-1.ts` lists them), and their bounds. What values mean is in `field-values.ts`, whose exports this file passes on.
// Knows nothing of where a table stands: an argument, a property or a stored record.
//
// Invariants: a length is checked before anything is made from it; nesting is bounded; a decoded value shares no memory with its input;
// an encoded table decodes to the same values, except that `L` comes back as `l`.

import { brokenTable, type DecodeError } from './errors.ts';
import type { FieldTable, FieldValue } from './field-values.ts';
import { EMPTY_TABLE, FALSE, TRUE, VOID } from './field-values.ts';
import { u32At, u64At, writeU32, writeU64 } from './octets.ts';
import {
  decodeUtf8,
  internAnyShortString,
  shortStringByteLength,
  writeShortString,
} from './short-strings.ts';

export type { DecimalValue, FieldTable, FieldValue } from './field-values.ts';
export { EMPTY_TABLE, fieldTypeName, plainOf, sameTable, sameValue, tableOf } from './field-values.ts';

/** Tables and arrays inside each other; real ones nest three deep. */
export const TABLE_DEPTH_MAX = 64;

const BOOL = 0x74; // t
const INT8 = 0x62; // b
const UINT8 = 0x42; // B
const INT16 = 0x73; // s
const UINT16 = 0x75; // u
const INT32 = 0x49; // I
const UINT32 = 0x69; // i
const INT64 = 0x6c; // l
const INT64_ALIAS = 0x4c; // L
const FLOAT = 0x66; // f
const DOUBLE = 0x64; // d
const DECIMAL = 0x44; // D
const STRING = 0x53; // S
const BYTES = 0x78; // x
const ARRAY = 0x41; // A
const TIMESTAMP = 0x54; // T
const TABLE = 0x46; // F
const NOTHING = 0x56; // V

/** Offset behind what was built last. Building follows a check of the whole table, so it needs no bounds of its own. */
let cursor = 0;

/**
 * Decodes the table whose length stands at `at`; it takes up 4 + length octets and must not reach beyond `end`.
 * @throws DecodeError 502 when anything in it is broken, of an unknown type, or nested deeper than `TABLE_DEPTH_MAX`.
 */
export function decodeTable(buf: Buffer, at: number, end: number): FieldTable {
  skipTable(buf, at, end);
  return buildTable(buf, at);
}

/** Checks the table whose length stands at `at` without making anything of it. Returns the offset behind it. @throws as `decodeTable` */
export function skipTable(buf: Buffer, at: number, end: number): number {
  return skipEntries(buf, at, end, TABLE_DEPTH_MAX);
}

/**
 * The offset behind the field (name and value) at `at` of a table whose fields end at `stop`, for those who look through a table's bytes.
 * @throws as `decodeTable`
 */
export function skipField(buf: Buffer, at: number, stop: number): number {
  return skipValue(buf, at + 1 + buf[at]!, stop, TABLE_DEPTH_MAX);
}

/** Octets that `writeTable` writes, its length included. */
export function tableByteLength(table: FieldTable): number {
  let length = 4;
  if (table.size === 0) return length;
  for (const [name, value] of table) length += shortStringByteLength(name) + 2 + valueByteLength(value);
  return length;
}

/** The table with its length in front. */
export function encodeTable(table: FieldTable): Buffer {
  const buf = Buffer.allocUnsafeSlow(tableByteLength(table));
  writeTable(buf, 0, table);
  return buf;
}

/** Writes the table with its length in front at `at`, where `tableByteLength` octets must be free. Returns the offset behind it. */
export function writeTable(buf: Buffer, at: number, table: FieldTable): number {
  let to = at + 4;
  if (table.size > 0) {
    for (const [name, value] of table) to = writeValue(buf, writeShortString(buf, to, name), value);
  }
  writeU32(buf, at, to - at - 4);
  return to;
}

function truncated(): DecodeError {
  return brokenTable('field table ends too early');
}

function tooDeep(): DecodeError {
  return brokenTable(`field table nested deeper than ${TABLE_DEPTH_MAX}`);
}

/** The end of the block whose length stands at `at`. */
function blockEnd(buf: Buffer, at: number, end: number): number {
  if (at + 4 > end) throw truncated();
  const stop = at + 4 + u32At(buf, at);
  if (stop > end) throw truncated();
  return stop;
}

function skipEntries(buf: Buffer, at: number, end: number, depth: number): number {
  if (depth === 0) throw tooDeep();
  const stop = blockEnd(buf, at, end);
  let from = at + 4;
  while (from < stop) {
    from += 1 + buf[from]!;
    // The name must end before the tag; its octets need not be UTF-8, as in RabbitMQ.
    if (from >= stop) throw truncated();
    from = skipValue(buf, from, stop, depth);
  }
  return stop;
}

function skipItems(buf: Buffer, at: number, end: number, depth: number): number {
  if (depth === 0) throw tooDeep();
  const stop = blockEnd(buf, at, end);
  let from = at + 4;
  while (from < stop) from = skipValue(buf, from, stop, depth);
  return stop;
}

/** Checks the tag at `at` and its value; returns the offset behind it, which is at most `stop`. */
function skipValue(buf: Buffer, at: number, stop: number, depth: number): number {
  let end = at + 1;
  switch (buf[at]!) {
    case STRING:
    case BYTES:
      return blockEnd(buf, end, stop);
    case TABLE:
      return skipEntries(buf, end, stop, depth - 1);
    case ARRAY:
      return skipItems(buf, end, stop, depth - 1);
    case BOOL:
    case INT8:
    case UINT8:
      end += 1;
      break;
    case INT16:
    case UINT16:
      end += 2;
      break;
    case INT32:
    case UINT32:
    case FLOAT:
      end += 4;
      break;
    case INT64:
    case INT64_ALIAS:
    case DOUBLE:
    case TIMESTAMP:
      end += 8;
      break;
    case DECIMAL:
      end += 5;
      break;
    case NOTHING:
      break;
    default:
      throw brokenTable(`unknown field type ${buf[at]!} in field table`);
  }
  if (end > stop) throw truncated();
  return end;
}

function buildTable(buf: Buffer, at: number): FieldTable {
  const stop = at + 4 + u32At(buf, at);
  cursor = at + 4;
  if (cursor === stop) return EMPTY_TABLE;
  const table = new Map<string, FieldValue>();
  while (cursor < stop) {
    const nameAt = cursor + 1;
    const nameEnd = nameAt + buf[cursor]!;
    table.set(internAnyShortString(buf, nameAt, nameEnd), buildValue(buf, nameEnd));
  }
  return table;
}

function buildArray(buf: Buffer, at: number): readonly FieldValue[] {
  const stop = at + 4 + u32At(buf, at);
  const items: FieldValue[] = [];
  cursor = at + 4;
  while (cursor < stop) items.push(buildValue(buf, cursor));
  return items;
}

function buildValue(buf: Buffer, tagAt: number): FieldValue {
  const at = tagAt + 1;
  switch (buf[tagAt]!) {
    case STRING: {
      cursor = at + 4 + u32At(buf, at);
      return { tag: 'S', value: decodeUtf8(buf, at + 4, cursor) ?? copyOf(buf, at + 4, cursor) };
    }
    case BYTES:
      cursor = at + 4 + u32At(buf, at);
      return { tag: 'x', value: copyOf(buf, at + 4, cursor) };
    case TABLE:
      return { tag: 'F', value: buildTable(buf, at) };
    case ARRAY:
      return { tag: 'A', value: buildArray(buf, at) };
    case BOOL:
      cursor = at + 1;
      return buf[at]! !== 0 ? TRUE : FALSE;
    case INT8:
      cursor = at + 1;
      return { tag: 'b', value: buf.readInt8(at) };
    case UINT8:
      cursor = at + 1;
      return { tag: 'B', value: buf[at]! };
    case INT16:
      cursor = at + 2;
      return { tag: 's', value: buf.readInt16BE(at) };
    case UINT16:
      cursor = at + 2;
      return { tag: 'u', value: buf.readUInt16BE(at) };
    case INT32:
      cursor = at + 4;
      return { tag: 'I', value: buf.readInt32BE(at) };
    case UINT32:
      cursor = at + 4;
      return { tag: 'i', value: u32At(buf, at) };
    case INT64:
      cursor = at + 8;
      return { tag: 'l', value: i64At(buf, at) };
    case INT64_ALIAS:
      cursor = at + 8;
      return { tag: 'L', value: i64At(buf, at) };
    case TIMESTAMP:
      cursor = at + 8;
      return { tag: 'T', value: u64At(buf, at) };
    case FLOAT:
      cursor = at + 4;
      return { tag: 'f', value: buf.readFloatBE(at) };
    case DOUBLE:
      cursor = at + 8;
      return { tag: 'd', value: buf.readDoubleBE(at) };
    case DECIMAL:
      cursor = at + 5;
      return { tag: 'D', value: { scale: buf[at]!, value: u32At(buf, at + 1) } };
    default:
      // The check has let nothing else pass.
      cursor = at;
      return VOID;
  }
}

function copyOf(buf: Buffer, start: number, end: number): Buffer {
  return Buffer.from(buf.subarray(start, end));
}

function i64At(buf: Buffer, at: number): number | bigint {
  const value = buf.readBigInt64BE(at);
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value;
}

function valueByteLength(value: FieldValue): number {
  switch (value.tag) {
    case 't':
    case 'b':
    case 'B':
      return 1;
    case 's':
    case 'u':
      return 2;
    case 'I':
    case 'i':
    case 'f':
      return 4;
    case 'l':
    case 'L':
    case 'T':
    case 'd':
      return 8;
    case 'D':
      return 5;
    case 'S':
    case 'x':
      return 4 + (typeof value.value === 'string' ? Buffer.byteLength(value.value) : value.value.length);
    case 'F':
      return tableByteLength(value.value);
    case 'A':
      return arrayByteLength(value.value);
    case 'V':
      return 0;
  }
}

function arrayByteLength(items: readonly FieldValue[]): number {
  let length = 4;
  for (const item of items) length += 1 + valueByteLength(item);
  return length;
}

/** Writes tag and value. Numbers that do not fit their tag throw a RangeError: whoever chose the tag is at fault. */
function writeValue(buf: Buffer, tagAt: number, value: FieldValue): number {
  const at = tagAt + 1;
  buf[tagAt] = value.tag.charCodeAt(0);
  switch (value.tag) {
    case 't':
      buf[at] = value.value ? 1 : 0;
      return at + 1;
    case 'b':
      return buf.writeInt8(value.value, at);
    case 'B':
      return buf.writeUInt8(value.value, at);
    case 's':
      return buf.writeInt16BE(value.value, at);
    case 'u':
      return buf.writeUInt16BE(value.value, at);
    case 'I':
      return buf.writeInt32BE(value.value, at);
    case 'i':
      return buf.writeUInt32BE(value.value, at);
    case 'l':
    case 'L':
      // Signed both, and RabbitMQ writes one of them only.
      buf[tagAt] = INT64;
      return buf.writeBigInt64BE(BigInt(value.value), at);
    case 'T':
      return writeU64(buf, at, value.value);
    case 'f':
      return buf.writeFloatBE(value.value, at);
    case 'd':
      return buf.writeDoubleBE(value.value, at);
    case 'D':
      buf.writeUInt8(value.value.scale, at);
      return buf.writeUInt32BE(value.value.value, at + 1);
    case 'S':
    case 'x': {
      const octets = value.value;
      const length =
        typeof octets === 'string' ? buf.write(octets, at + 4, 'utf8') : octets.copy(buf, at + 4);
      writeU32(buf, at, length);
      return at + 4 + length;
    }
    case 'F':
      return writeTable(buf, at, value.value);
    case 'A': {
      let to = at + 4;
      for (const item of value.value) to = writeValue(buf, to, item);
      writeU32(buf, at, to - at - 4);
      return to;
    }
    case 'V':
      return at;
  }
}

// A second decoder of methods, properties and tables, built from the protocol table with binary-parser: another author's reading code,
// fed with the same table as the generator. What both read alike is hardly wrong by accident.
// For tests only; it trusts its input. (The deep import is the one that has types.)

import { isUtf8 } from 'node:buffer';
import { Parser } from 'binary-parser/dist/binary_parser.js';
import { PROTOCOL } from '../../spec/extensions.ts';
import type { FieldSpec, MethodSpec } from '../../spec/protocol-table.ts';
import { camel } from '../../spec/text.ts';
import type { FieldTable, FieldValue } from '../../src/protocol/field-table.ts';

/** What binary-parser returns: nested plain objects. */
type Raw = Record<string, unknown>;

const big = (): Parser => new Parser().endianness('big');
const shortString = big().uint8('length').buffer('octets', { length: 'length', clone: true });
const longString = big().uint32('length').buffer('octets', { length: 'length', clone: true });

// Named first, filled below: a table may stand in a table.
const array = big().namely('fieldArray');
const table = big().namely('fieldTable');

const valueParsers: Readonly<Record<string, Parser | string>> = {
  t: big().uint8('it'),
  b: big().int8('it'),
  B: big().uint8('it'),
  s: big().int16('it'),
  u: big().uint16('it'),
  I: big().int32('it'),
  i: big().uint32('it'),
  l: big().int64('it'),
  L: big().int64('it'),
  f: big().floatbe('it'),
  d: big().doublebe('it'),
  D: big().uint8('scale').uint32('value'),
  S: longString,
  x: longString,
  A: 'fieldArray',
  T: big().uint64('it'),
  F: 'fieldTable',
  V: big(),
};

const choices = Object.fromEntries(
  PROTOCOL.fieldTags.map(({ tag }) => [tag.charCodeAt(0), valueParsers[tag] ?? 'missing']),
);

const item = big().uint8('tag').choice('value', { tag: 'tag', choices });
const entry = big()
  .uint8('nameLength')
  .buffer('name', { length: 'nameLength', clone: true })
  .nest('item', { type: item });
array.uint32('length').array('items', { lengthInBytes: 'length', type: item });
table.uint32('length').array('entries', { lengthInBytes: 'length', type: entry });

function text(raw: unknown): string {
  return ((raw as Raw)['octets'] as Buffer).toString('utf8');
}

function safe(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function valueFrom(raw: Raw): FieldValue {
  const tag = String.fromCharCode(raw['tag'] as number) as FieldValue['tag'];
  const value = raw['value'] as Raw;
  switch (tag) {
    case 't':
      return { tag, value: value['it'] !== 0 };
    case 'l':
    case 'L':
    case 'T':
      return { tag, value: safe(value['it'] as bigint) };
    case 'D':
      return { tag, value: { scale: value['scale'] as number, value: value['value'] as number } };
    case 'S': {
      const octets = value['octets'] as Buffer;
      return { tag, value: isUtf8(octets) ? octets.toString('utf8') : octets };
    }
    case 'x':
      return { tag, value: value['octets'] as Buffer };
    case 'A':
      return { tag, value: (value['items'] as Raw[]).map(valueFrom) };
    case 'F':
      return { tag, value: tableFrom(value) };
    case 'V':
      return { tag, value: null };
    default:
      return { tag, value: value['it'] as number };
  }
}

function tableFrom(raw: Raw): FieldTable {
  return new Map(
    (raw['entries'] as Raw[]).map((each) => [
      (each['name'] as Buffer).toString('utf8'),
      valueFrom(each['item'] as Raw),
    ]),
  );
}

/** The field table in `buf`, length first. */
export function decodeTableIndependently(buf: Buffer): FieldTable {
  return tableFrom(table.parse(buf) as Raw);
}

/** Key of a field in the parser's result; reserved fields share a name, so the position is part of it. */
function key(field: FieldSpec, position: number): string {
  return `${camel(field.name)}${position}`;
}

function withField(parser: Parser, field: FieldSpec, position: number): Parser {
  const name = key(field, position);
  switch (field.type) {
    case 'octet':
      return parser.uint8(name);
    case 'short':
      return parser.uint16(name);
    case 'long':
      return parser.uint32(name);
    case 'tag':
      return parser.uint64(name);
    case 'longstr':
      return parser.nest(name, { type: longString });
    case 'table':
      return parser.nest(name, { type: table });
    default:
      return parser.nest(name, { type: shortString });
  }
}

function methodParser(method: MethodSpec): Parser {
  let parser = big().uint16('classId').uint16('methodId');
  method.fields.forEach((field, i) => {
    // Consecutive bits share an octet, which the first of them reads.
    if (field.type !== 'bit') parser = withField(parser, field, i);
    else if (method.fields[i - 1]?.type !== 'bit') parser = parser.uint8(`bits${i}`);
  });
  return parser;
}

function fieldFrom(raw: Raw, method: MethodSpec, field: FieldSpec, i: number): unknown {
  const value = raw[key(field, i)];
  switch (field.type) {
    case 'bit': {
      let first = i;
      while (method.fields[first - 1]?.type === 'bit') first--;
      return Math.floor((raw[`bits${first}`] as number) / 2 ** (i - first)) % 2 === 1;
    }
    case 'octet':
    case 'short':
    case 'long':
      return value;
    case 'tag':
      return Number(value);
    case 'longstr':
      return (value as Raw)['octets'];
    case 'table':
      return tableFrom(value as Raw);
    default:
      return text(value);
  }
}

const parsers = new Map(
  PROTOCOL.classes.flatMap((owner) =>
    owner.methods.map(
      (method) => [owner.id * 0x10000 + method.id, { method, parser: methodParser(method) }] as const,
    ),
  ),
);

/** The arguments of the method whose frame payload is `payload`, reserved ones left out. */
export function decodeMethodIndependently(payload: Buffer): Record<string, unknown> {
  const known = parsers.get(payload.readUInt32BE(0));
  if (known === undefined) throw new Error('no such method');
  const raw = known.parser.parse(payload) as Raw;
  const result: Record<string, unknown> = {};
  known.method.fields.forEach((field, i) => {
    if (!field.reserved) result[camel(field.name)] = fieldFrom(raw, known.method, field, i);
  });
  return result;
}

const propertyParsers = {
  octet: big().uint8('it'),
  timestamp: big().uint64('it'),
  shortstr: shortString,
  interned: shortString,
  table,
};

const properties = PROTOCOL.properties.reduce(
  (parser, property) =>
    parser.choice(camel(property.name), {
      tag(this: Raw) {
        return Math.floor((this['flags'] as number) / 2 ** property.bit) % 2;
      },
      choices: { 0: big(), 1: propertyParsers[property.type] },
    }),
  big().uint16('flags'),
);

/** The properties whose flags word starts `buf`; null for absent ones. */
export function decodePropertiesIndependently(buf: Buffer): Record<string, unknown> {
  const raw = properties.parse(buf) as Raw;
  const result: Record<string, unknown> = {};
  for (const property of PROTOCOL.properties) {
    const name = camel(property.name);
    const value = raw[name] as Raw;
    if (Math.floor((raw['flags'] as number) / 2 ** property.bit) % 2 === 0) result[name] = null;
    else if (property.type === 'table') result[name] = tableFrom(value);
    else if (property.type === 'octet') result[name] = value['it'];
    else if (property.type === 'timestamp') result[name] = safe(value['it'] as bigint);
    else result[name] = text(value);
  }
  return result;
}

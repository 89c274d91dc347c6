// Random values of everything that goes over the wire, made from the protocol table.

import fc from 'fast-check';
import { PROTOCOL } from '../../spec/extensions.ts';
import type { FieldType, MethodSpec, PropertyType } from '../../spec/protocol-table.ts';
import { camel } from '../../spec/text.ts';
import type { FieldTable, FieldValue } from '../../src/protocol/field-table.ts';
import type { BasicProperties } from '../../src/protocol/properties.ts';

/** Text of at most 255 octets, from plain names to the whole of Unicode. */
export const shortText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 63 }),
  fc.string({ minLength: 60, maxLength: 255 }),
);

/** Octets of any kind. */
export const octets: fc.Arbitrary<Buffer> = fc
  .uint8Array({ maxLength: 40 })
  .map((bytes) => Buffer.from(bytes));

const safe = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(safe);
/** 64 bits without sign, a number where that is safe. */
export const uint64: fc.Arbitrary<number | bigint> = fc
  .oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 54n }))
  .map(safe);
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

function tagged<T extends FieldValue['tag']>(tag: T, value: fc.Arbitrary<unknown>): fc.Arbitrary<FieldValue> {
  return value.map((it) => ({ tag, value: it }) as FieldValue);
}

/** Bytes that are never text, as a long string may have them. */
const notText = octets.map((bytes) => Buffer.concat([bytes, Buffer.from([0xff])]));

const values = fc.letrec<{ value: FieldValue; table: FieldTable }>((tie) => ({
  table: fc
    .array(fc.tuple(fc.oneof(fc.string({ maxLength: 12 }), shortText), tie('value')), {
      maxLength: 5,
      depthIdentifier: 'table',
    })
    .map((entries) => new Map(entries)),
  value: fc.oneof(
    { depthIdentifier: 'table', maxDepth: 4 },
    tagged('t', fc.boolean()),
    tagged('b', fc.integer({ min: -128, max: 127 })),
    tagged('B', fc.integer({ min: 0, max: 255 })),
    tagged('s', fc.integer({ min: -32768, max: 32767 })),
    tagged('u', fc.integer({ min: 0, max: 65535 })),
    tagged('I', fc.integer()),
    tagged('i', uint32),
    tagged('l', int64),
    tagged('L', int64),
    tagged('T', uint64),
    tagged('f', fc.float()),
    tagged('d', fc.double()),
    tagged('D', fc.record({ scale: fc.integer({ min: 0, max: 255 }), value: uint32 })),
    tagged('S', fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), notText)),
    tagged('x', octets),
    tagged('V', fc.constant(null)),
    tagged('A', fc.array(tie('value'), { maxLength: 5, depthIdentifier: 'table' })),
    tagged('F', tie('table')),
  ),
}));

/** Any value of a field table. */
export const fieldValue: fc.Arbitrary<FieldValue> = values.value;
/** Any field table. */
export const fieldTable: fc.Arbitrary<FieldTable> = values.table;

const argument: Readonly<Record<FieldType, fc.Arbitrary<unknown>>> = {
  bit: fc.boolean(),
  octet: fc.integer({ min: 0, max: 255 }),
  short: fc.integer({ min: 0, max: 65535 }),
  long: uint32,
  tag: fc.maxSafeNat(),
  shortstr: shortText,
  name: shortText,
  anyname: shortText,
  longstr: octets,
  table: fieldTable,
};

/** Arguments of a method. */
export function argumentsOf(method: MethodSpec): fc.Arbitrary<Record<string, unknown>> {
  const visible = method.fields.filter((field) => !field.reserved);
  return fc.record(Object.fromEntries(visible.map((field) => [camel(field.name), argument[field.type]])));
}

const property: Readonly<Record<PropertyType, fc.Arbitrary<unknown>>> = {
  octet: fc.integer({ min: 0, max: 255 }),
  timestamp: uint64,
  shortstr: shortText,
  interned: shortText,
  table: fieldTable,
};

/** Basic properties, each one absent as often as not. */
export const basicProperties: fc.Arbitrary<BasicProperties> = fc.record(
  Object.fromEntries(
    PROTOCOL.properties.map(({ name, type }) => [camel(name), fc.option(property[type], { freq: 2 })]),
  ),
) as unknown as fc.Arbitrary<BasicProperties>;

/** As `L` is written as `l`, that is what comes back. */
export function asWritten(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asWritten);
  if (value instanceof Map) return new Map([...value].map(([name, each]) => [name, asWritten(each)]));
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      name === 'tag' && each === 'L' ? 'l' : asWritten(each),
    ]),
  );
}

// RabbitMQ's definitions file: what stands in it, how argument tables become JSON and come back, and how its objects are read with a clear
// word for everything that is wrong.
// Owns the form. Knows no broker: definitions-export.ts and definitions-import.ts do.
// Invariants: reading never fails in any other way than by a BrokerError that names the place in the file; a table that is read can be
// stored and read back.

import { BrokerError } from '../base/errors.ts';
import { ExactNumber, parseExactJson } from '../base/exact-json.ts';
import { type FieldTable, type FieldValue, TABLE_DEPTH_MAX } from '../protocol/field-table.ts';
import { FALSE, plainValue, TRUE } from '../protocol/field-values.ts';
import { SHORT_STRING_MAX, shortStringByteLength } from '../protocol/short-strings.ts';

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The lists of a definitions file, in the order of a whole import (RabbitMQ). */
export const DEFINITION_LISTS = [
  'users',
  'vhosts',
  'permissions',
  'exchanges',
  'topic_permissions',
  'global_parameters',
  'policies',
  'parameters',
  'queues',
  'bindings',
] as const;

/** The name of one of these lists. */
export type DefinitionList = (typeof DEFINITION_LISTS)[number];

/** The lists that a file of a single vhost has, in the order of its import. */
export const VHOST_LISTS: readonly DefinitionList[] = [
  'exchanges',
  'parameters',
  'policies',
  'queues',
  'bindings',
];

/** A definitions file as it is written. */
export type DefinitionsFile = JsonObject & { readonly [L in DefinitionList]?: readonly JsonObject[] };

/** What was wrong with a definitions file. The message names the place in it: `queues[3]: …`. */
export function definitionsError(place: string, explanation: string): BrokerError {
  return new BrokerError('precondition-failed', place === '' ? explanation : `${place}: ${explanation}`);
}

/**
 * Reads a definitions file: its text, or what JSON.parse made of it. Its lists are lists of objects then; what stands in the objects is
 * looked at when they are imported. An empty text is an empty file (RabbitMQ).
 * @throws BrokerError precondition-failed
 */
export function readDefinitions(given: unknown): DefinitionsFile {
  const file = objectIn('', parsed(given), 'a definitions file must hold one JSON object');
  assertDepth(file, JSON_DEPTH_MAX);
  for (const list of DEFINITION_LISTS) {
    const elements = file[list];
    if (elements === undefined) continue;
    if (!Array.isArray(elements)) throw definitionsError(list, 'not a list');
    for (const [i, element] of elements.entries()) objectIn(`${list}[${i}]`, element, 'not an object');
  }
  return file as DefinitionsFile;
}

/** Lists and objects inside each other; what is deeper is refused, because nothing that goes through it could be written again. */
const JSON_DEPTH_MAX = 200;

/** @throws BrokerError */
function assertDepth(value: unknown, left: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (left === 0) throw definitionsError('', `nested deeper than ${JSON_DEPTH_MAX}`);
  for (const inner of Array.isArray(value) ? value : Object.values(value)) assertDepth(inner, left - 1);
}

function parsed(given: unknown): unknown {
  const isText = typeof given === 'string' || given instanceof Uint8Array;
  if (!isText) return given;
  const text = (typeof given === 'string' ? given : Buffer.from(given).toString()).replace(/^\uFEFF/, '');
  if (text.trim() === '') return {};
  try {
    return parseExactJson(text);
  } catch (error) {
    // The engine's text may quote the content over several lines.
    throw definitionsError('', `not JSON: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
}

/** `value` as an object. @throws BrokerError with `otherwise` when it is none */
export function objectIn(place: string, value: unknown, otherwise: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof ExactNumber) {
    throw definitionsError(place, otherwise);
  }
  return value as JsonObject;
}

/** One object of a list, read field by field. */
export class DefinitionReader {
  /** Where it stands: `queues[3]`. */
  readonly place: string;
  readonly fields: JsonObject;

  constructor(place: string, fields: JsonObject) {
    this.place = place;
    this.fields = fields;
  }

  /** The value under the key; undefined when there is none. */
  value(key: string): unknown {
    return Object.hasOwn(this.fields, key) ? this.fields[key] : undefined;
  }

  /** @throws BrokerError when it is missing or no text */
  text(key: string): string {
    const value = this.value(key);
    if (value === undefined) throw definitionsError(this.place, `${key} is missing`);
    if (typeof value !== 'string') throw definitionsError(this.place, `${key} is not a string`);
    return value;
  }

  /** A name of an AMQP object or a routing key: text that fits a short string. @throws BrokerError */
  name(key: string): string {
    const name = this.text(key);
    if (shortStringByteLength(name) > SHORT_STRING_MAX) {
      throw definitionsError(this.place, `${key} is longer than ${SHORT_STRING_MAX} octets`);
    }
    return name;
  }

  /** @throws BrokerError when it is there and neither true nor false */
  flag(key: string, absent: boolean): boolean {
    const value = this.value(key) ?? absent;
    if (typeof value !== 'boolean') throw definitionsError(this.place, `${key} is not true or false`);
    return value;
  }

  /** The argument table under `arguments`; older files write an empty list for none. @throws BrokerError */
  arguments(): FieldTable {
    const value = this.value('arguments') ?? {};
    if (Array.isArray(value) && value.length === 0) return new Map();
    return tableFromJson(`${this.place}.arguments`, value);
  }
}

/**
 * An argument table from JSON, typed as RabbitMQ does: whole numbers `l`, other numbers `d`, texts longstr.
 * @throws BrokerError for null, for what fits no field, for tables too deep to be sent
 */
export function tableFromJson(place: string, json: unknown, depth = 1): FieldTable {
  const table = new Map<string, FieldValue>();
  for (const [name, value] of Object.entries(objectIn(place, json, 'not an object'))) {
    if (shortStringByteLength(name) > SHORT_STRING_MAX) {
      throw definitionsError(place, `a name is longer than ${SHORT_STRING_MAX} octets`);
    }
    if (value !== undefined) table.set(name, valueFromJson(`${place}.${name}`, value, depth));
  }
  return table;
}

function valueFromJson(place: string, json: unknown, depth: number): FieldValue {
  switch (typeof json) {
    case 'string':
      return { tag: 'S', value: json };
    case 'boolean':
      return json ? TRUE : FALSE;
    case 'number':
      if (!Number.isFinite(json)) throw definitionsError(place, 'the number is too large');
      return Number.isInteger(json) ? integerValue(place, BigInt(json)) : { tag: 'd', value: json };
    case 'bigint':
      return integerValue(place, json);
    default:
  }
  if (json === null) throw definitionsError(place, 'null_not_allowed');
  if (json instanceof ExactNumber) {
    if (!json.isFloat) return integerValue(place, BigInt(json.text));
    return { tag: 'd', value: Number(json.text) };
  }
  if (depth >= TABLE_DEPTH_MAX) throw definitionsError(place, `nested deeper than ${TABLE_DEPTH_MAX}`);
  if (!Array.isArray(json)) return { tag: 'F', value: tableFromJson(place, json, depth + 1) };
  return { tag: 'A', value: json.map((item, i) => valueFromJson(`${place}[${i}]`, item, depth + 1)) };
}

function integerValue(place: string, value: bigint): FieldValue {
  if (BigInt.asIntN(64, value) !== value) throw definitionsError(place, 'the number does not fit 64 bits');
  const near = Number(value);
  return { tag: 'l', value: Number.isSafeInteger(near) ? near : value };
}

/**
 * An argument table as JSON. What JSON has no type for goes the way it goes in RabbitMQ: timestamps as seconds, decimals as numbers, octets
 * that are not text in base64, a void as the text `undefined`. Numbers keep their kind: a whole double is written `2.0`.
 */
export function tableToJson(table: FieldTable): JsonObject {
  // No prototype: an argument may be called `__proto__`.
  const json = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of table) json[name] = valueToJson(value);
  return json;
}

function valueToJson(value: FieldValue): unknown {
  switch (value.tag) {
    case 'A':
      return value.value.map(valueToJson);
    case 'F':
      return tableToJson(value.value);
    case 'V':
      return 'undefined';
    case 'd':
    case 'f':
    case 'D': {
      const number = plainValue(value) as number;
      // JSON has no word for NaN and the infinities.
      if (!Number.isFinite(number)) return String(number);
      return Number.isInteger(number) ? new ExactNumber(wholeFloat(number)) : number;
    }
    case 'l':
    case 'L':
    case 'T':
      return typeof value.value === 'bigint' ? new ExactNumber(String(value.value)) : value.value;
    default:
      return plainValue(value);
  }
}

/** `2.0`, `-0.0`, `1e+21`: texts of numbers that nobody takes for integers. */
function wholeFloat(number: number): string {
  const text = Object.is(number, -0) ? '-0' : String(number);
  return text.includes('e') ? text : `${text}.0`;
}

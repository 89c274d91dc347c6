// The first death of a message, written byte by byte: most dead letters are their message's first, and decoding its properties in order
// to encode them again with seven more headers costs ten times as much as copying them.
// Owns no rule: what it writes is what `deadMessage` (death.ts) would, octet for octet, and where that would not be a copy of the
// client's bytes (see `isPlain`) it declines. Knows no queue.
// Invariant: what it remembers from call to call is only ever a function of the arguments that it is compared with.

import { CLASS_BASIC, FRAME_HEADER } from '../protocol/constants.ts';
import { encodeTable, type FieldTable, type FieldValue, skipField } from '../protocol/field-table.ts';
import { u32At, writeU16, writeU32, writeU64 } from '../protocol/octets.ts';
import { PropertyScan, scanProperties } from '../protocol/properties.ts';
import type { Address } from './address.ts';
import { contentLength, FLAG_EXPIRATION, FLAG_HEADERS, FLAGS_AT, FRAME_HEAD, Message } from './message.ts';
import { allocate } from './slab.ts';

/** Headers of its own that a message may have; one with more is rare. */
const FIELDS_MAX = 32;
/** Property flags that mean something: the two others are not written again. */
const FLAGS_KNOWN = 0xfffc;
/** Shorter runs are copied octet by octet: that costs less than a call. */
const COPY_MIN = 24;

const TAG_ARRAY = 0x41; // A
const TAG_STRING = 0x53; // S
const TAG_TABLE = 0x46; // F

const DEATHS = octets('x-death');
const FIRST = octets('x-first-death-');
const LAST = octets('x-last-death-');
const ORIGINAL_EXPIRATION = octets('original-expiration');

/** What all first deaths of one address, queue, reason and second have in common. */
interface Obituary {
  readonly queue: string;
  readonly reason: string;
  readonly exchange: string;
  readonly routingKey: string;
  second: number;
  /** The entry of x-death without the original expiration; then the headers of the first death; then those of the last. */
  readonly bytes: Buffer;
  /** Where the seconds stand, and where the two last parts begin. */
  readonly timeAt: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

const scan = new PropertyScan();
/** Where the client's headers begin and end, in the order of their names. */
const starts = new Int32Array(FIELDS_MAX);
const stops = new Int32Array(FIELDS_MAX);
/** The obituary before this one: mostly the next is the same. */
let last: Obituary | null = null;

/**
 * See `deadMessage`; only for messages that have no deaths of ours.
 * @returns null when it must be made the other way
 */
export function firstDeath(
  message: Message,
  queue: string,
  reason: string,
  timeMs: number,
  address: Address,
): Message | null {
  const { buffer: from, propertiesAt, propertiesEnd, bodyLength } = message;
  scanProperties(from, propertiesAt, propertiesEnd, scan);
  const { headersAt, headersEnd, expirationAt } = scan;
  const fields = headersAt < 0 ? 0 : sortFields(from, headersAt + 4, headersEnd);
  if (fields < 0) return null;
  let expirationLength = 0;
  if (expirationAt >= 0) {
    expirationLength = from[expirationAt]!;
    if (!isAscii(from, expirationAt + 1, expirationAt + 1 + expirationLength)) return null;
  }
  const obituary = obituaryOf(message.address, queue, reason, timeMs);
  const { bytes, firstAt, lastAt } = obituary;

  const expirationBytes = expirationAt < 0 ? 0 : 1 + ORIGINAL_EXPIRATION.length + 5 + expirationLength;
  const deathLength = expirationBytes + firstAt;
  const ours = 1 + DEATHS.length + 5 + 5 + deathLength + (bytes.length - firstAt);
  const theirs = headersAt < 0 ? 0 : headersEnd - headersAt - 4;
  const had = headersAt < 0 ? 0 : 4 + theirs;
  const expired = expirationAt < 0 ? 0 : 1 + expirationLength;
  const headerLength = message.headerLength - had - expired + 4 + theirs + ours;
  const place = allocate(contentLength(headerLength, bodyLength));
  const { buffer: to, view, at: start } = place;

  // The frame's head; the mark of a death is written by death.ts.
  to[start] = FRAME_HEADER;
  to[start + 1] = 0;
  to[start + 2] = 0;
  writeU32(to, start + 3, headerLength);
  const payload = start + FRAME_HEAD;
  writeU16(to, payload, CLASS_BASIC);
  writeU16(to, payload + 2, 0);
  copy(from, propertiesAt - 8, propertiesAt, to, payload + 4);
  const flags = ((message.flags & ~FLAG_EXPIRATION) | FLAG_HEADERS) & FLAGS_KNOWN;
  writeU16(to, payload + FLAGS_AT, flags);
  const tableAt = headersAt < 0 ? endOfContentEncoding(from, propertiesAt, message.flags) : headersAt;
  let at = copy(from, propertiesAt + 2, tableAt, to, payload + FLAGS_AT + 2);

  writeU32(to, at, theirs + ours);
  at += 4;
  // RabbitMQ: the headers come out sorted.
  let field = 0;
  while (field < fields && isBefore(from, starts[field]!, DEATHS))
    at = copy(from, starts[field]!, stops[field++]!, to, at);
  at = writeName(to, at, DEATHS);
  to[at] = TAG_ARRAY;
  writeU32(to, at + 1, 5 + deathLength);
  to[at + 5] = TAG_TABLE;
  writeU32(to, at + 6, deathLength);
  at += 10;
  if (expirationAt >= 0) {
    at = writeName(to, at, ORIGINAL_EXPIRATION);
    to[at] = TAG_STRING;
    writeU32(to, at + 1, expirationLength);
    at = copy(from, expirationAt + 1, expirationAt + 1 + expirationLength, to, at + 5);
  }
  if (field === fields) at = copy(bytes, 0, bytes.length, to, at);
  else {
    at = copy(bytes, 0, firstAt, to, at);
    while (field < fields && isBefore(from, starts[field]!, FIRST))
      at = copy(from, starts[field]!, stops[field++]!, to, at);
    at = copy(bytes, firstAt, lastAt, to, at);
    while (field < fields && isBefore(from, starts[field]!, LAST))
      at = copy(from, starts[field]!, stops[field++]!, to, at);
    at = copy(bytes, lastAt, bytes.length, to, at);
    while (field < fields) at = copy(from, starts[field]!, stops[field++]!, to, at);
  }

  // The properties behind the headers but for the expiration, or the message would expire again; the frame's end; the body frame.
  const restAt = headersAt < 0 ? tableAt : headersEnd;
  const stop = message.at + contentLength(message.headerLength, bodyLength);
  if (expirationAt < 0) copy(from, restAt, stop, to, at);
  else copy(from, expirationAt + expired, stop, to, copy(from, restAt, expirationAt, to, at));
  return new Message(
    address,
    to,
    view,
    start,
    headerLength,
    bodyLength,
    message.persistent,
    message.priority,
    flags,
  );
}

function obituaryOf(address: Address, queue: string, reason: string, timeMs: number): Obituary {
  const { exchange, routingKey } = address;
  const second = Math.floor(timeMs / 1000);
  if (
    last === null ||
    last.queue !== queue ||
    last.routingKey !== routingKey ||
    last.exchange !== exchange ||
    last.reason !== reason
  )
    last = newObituary(exchange, routingKey, queue, reason);
  if (last.second !== second) {
    last.second = second;
    writeU64(last.bytes, last.timeAt, second);
  }
  return last;
}

function newObituary(exchange: string, routingKey: string, queue: string, reason: string): Obituary {
  const before = fieldsOf([
    ['count', { tag: 'l', value: 1 }],
    ['reason', text(reason)],
    ['queue', text(queue)],
    ['time', { tag: 'T', value: 0 }],
  ]);
  const behind = fieldsOf([
    ['exchange', text(exchange)],
    ['routing-keys', { tag: 'A', value: [text(routingKey)] }],
  ]);
  const first = fieldsOf(namesOf('x-first-death-', exchange, queue, reason));
  const firstAt = before.length + behind.length;
  return {
    queue,
    reason,
    exchange,
    routingKey,
    second: 0,
    bytes: Buffer.concat([
      before,
      behind,
      first,
      fieldsOf(namesOf('x-last-death-', exchange, queue, reason)),
    ]),
    timeAt: before.length - 8,
    firstAt,
    lastAt: firstAt + first.length,
  };
}

function namesOf(prefix: string, exchange: string, queue: string, reason: string): [string, FieldValue][] {
  return [
    [`${prefix}exchange`, text(exchange)],
    [`${prefix}queue`, text(queue)],
    [`${prefix}reason`, text(reason)],
  ];
}

/** Fields as they stand in a table. */
function fieldsOf(fields: [string, FieldValue][]): Buffer {
  const table: FieldTable = new Map(fields);
  return encodeTable(table).subarray(4);
}

/** Finds the fields of a table and puts them in the order of their names. @returns how many; -1 when they are not `isPlain` */
function sortFields(buffer: Buffer, from: number, stop: number): number {
  let count = 0;
  for (let at = from; at < stop; count++) {
    const end = skipField(buffer, at, stop);
    if (count === FIELDS_MAX || !isPlain(buffer, at)) return -1;
    let i = count;
    for (; i > 0; i--) {
      const order = compareNames(buffer, starts[i - 1]!, at);
      // Of two fields of one name the second counts.
      if (order === 0) return -1;
      if (order < 0) break;
      starts[i] = starts[i - 1]!;
      stops[i] = stops[i - 1]!;
    }
    starts[i] = at;
    stops[i] = end;
    at = end;
  }
  return count;
}

/** The field is no header of deaths, its name is ASCII, and its value decoded and encoded again is the same octets. */
function isPlain(buffer: Buffer, at: number): boolean {
  const nameEnd = at + 1 + buffer[at]!;
  if (!isAscii(buffer, at + 1, nameEnd)) return false;
  if (startsWith(buffer, at, DEATHS) && buffer[at] === DEATHS.length) return false;
  if (startsWith(buffer, at, FIRST) || startsWith(buffer, at, LAST)) return false;
  switch (buffer[nameEnd]!) {
    case 0x53: // S
    case 0x78: // x
    case 0x49: // I
    case 0x69: // i
    case 0x73: // s
    case 0x75: // u
    case 0x62: // b
    case 0x42: // B
    case 0x6c: // l
    case 0x54: // T
    case 0x44: // D
    case 0x56: // V
      return true;
    case 0x74: // t
      return buffer[nameEnd + 1]! <= 1;
    // What is no number need not keep its octets.
    case 0x64: // d
      return (buffer[nameEnd + 1]! & 0x7f) !== 0x7f || (buffer[nameEnd + 2]! & 0xf0) !== 0xf0;
    case 0x66: // f
      return (u32At(buffer, nameEnd + 1) & 0x7f800000) !== 0x7f800000;
    // Tables and arrays may hold anything; an array may be a CC, whose keys the history tells.
    default:
      return false;
  }
}

function isAscii(buffer: Buffer, from: number, stop: number): boolean {
  for (let i = from; i < stop; i++) if (buffer[i]! > 0x7f) return false;
  return true;
}

function startsWith(buffer: Buffer, nameAt: number, prefix: Uint8Array): boolean {
  if (buffer[nameAt]! < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (buffer[nameAt + 1 + i] !== prefix[i]) return false;
  return true;
}

/** Orders two names by their octets; of names of which one begins with the other, the shorter one is first. */
function compareNames(buffer: Buffer, a: number, b: number): number {
  const length = Math.min(buffer[a]!, buffer[b]!);
  for (let i = 1; i <= length; i++) {
    const order = buffer[a + i]! - buffer[b + i]!;
    if (order !== 0) return order;
  }
  return buffer[a]! - buffer[b]!;
}

/** The name at `nameAt`, which does not begin with `other`, comes before it. */
function isBefore(buffer: Buffer, nameAt: number, other: Uint8Array): boolean {
  const length = buffer[nameAt]!;
  for (let i = 0; i < other.length; i++) {
    if (i === length) return true;
    const order = buffer[nameAt + 1 + i]! - other[i]!;
    if (order !== 0) return order < 0;
  }
  return false;
}

/** Where the headers table would stand. */
function endOfContentEncoding(buffer: Buffer, propertiesAt: number, flags: number): number {
  let at = propertiesAt + 2;
  if ((flags & 0x8000) !== 0) at += 1 + buffer[at]!;
  if ((flags & 0x4000) !== 0) at += 1 + buffer[at]!;
  return at;
}

function writeName(to: Buffer, at: number, name: Uint8Array): number {
  const { length } = name;
  to[at] = length;
  for (let i = 0; i < length; i++) to[at + 1 + i] = name[i]!;
  return at + 1 + length;
}

/** Copies octets; returns the offset behind them. */
function copy(from: Buffer, start: number, stop: number, to: Buffer, at: number): number {
  const length = stop - start;
  if (length >= COPY_MIN) from.copy(to, at, start, stop);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  return at + length;
}

function text(value: string): FieldValue {
  return { tag: 'S', value };
}

function octets(name: string): Uint8Array {
  return Buffer.from(name, 'latin1');
}

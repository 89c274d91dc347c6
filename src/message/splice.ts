// Header fields that the broker puts on a delivery: a count, an offset. Works on the bytes of a content, without decoding its headers.
// Owns nothing: the message given stays as it is, and a copy with the field comes back. Knows no queue and no consumer.
// Invariants: the new content has the field once, whatever the publisher wrote under that name; all other fields keep their bytes and
// order; the mark of deaths (death.ts) is kept.

import { skipField } from '../protocol/field-table.ts';
import { u16At, u32At, writeU16, writeU32, writeU64 } from '../protocol/octets.ts';
import { contentLength, FLAG_HEADERS, FLAGS_AT, FRAME_HEAD, Message } from './message.ts';
import { allocate } from './slab.ts';

const CONTENT_TYPE = 0x8000;
const CONTENT_ENCODING = 0x4000;
const TAG_INT64 = 0x6c; // l

/**
 * A copy of `message` whose headers have the field `name` of type long (`l`), in place of one it may have had. All but that is the same.
 * @param name ASCII, at most 255 characters
 * @param value a safe integer, 0 or more
 */
export function withLongHeader(message: Message, name: string, value: number): Message {
  const { buffer, at, headerLength, bodyLength, flags } = message;
  const { propertiesAt } = message;
  const tableAt = headersAt(buffer, propertiesAt, flags);
  const had = (flags & FLAG_HEADERS) !== 0;
  const from = had ? tableAt + 4 : tableAt;
  const stop = had ? from + u32At(buffer, tableAt) : tableAt;
  const dropped = bytesNamed(buffer, from, stop, name);
  const added = 1 + name.length + 1 + 8;
  const length = headerLength + added - dropped + (had ? 0 : 4);
  const place = allocate(contentLength(length, bodyLength));
  const to = place.buffer;
  const { view } = place;
  const start = place.at;

  buffer.copy(to, start, at, tableAt);
  writeU32(to, start + 3, length);
  writeU16(to, start + FRAME_HEAD + FLAGS_AT, u16At(buffer, propertiesAt) | FLAG_HEADERS);
  let next = start + (tableAt - at);
  writeU32(to, next, stop - from - dropped + added);
  next = copyOthers(buffer, from, stop, dropped === 0 ? null : name, to, next + 4);
  to[next] = name.length;
  to.write(name, next + 1, 'latin1');
  next += 1 + name.length;
  to[next] = TAG_INT64;
  next = writeU64(to, next + 1, value);
  // The rest: further properties, the frame's end octet, the body frame.
  buffer.copy(to, next, stop, at + contentLength(headerLength, bodyLength));
  return new Message(
    message.address,
    to,
    view,
    start,
    length,
    bodyLength,
    message.persistent,
    message.priority,
    flags | FLAG_HEADERS,
  );
}

/** Where the headers table stands, or would stand: behind content type and content encoding. */
function headersAt(buffer: Buffer, propertiesAt: number, flags: number): number {
  let at = propertiesAt + 2;
  if ((flags & CONTENT_TYPE) !== 0) at += 1 + buffer[at]!;
  if ((flags & CONTENT_ENCODING) !== 0) at += 1 + buffer[at]!;
  return at;
}

/** Bytes of the fields of that name; a client may have written several. */
function bytesNamed(buffer: Buffer, from: number, stop: number, name: string): number {
  let bytes = 0;
  for (let at = from; at < stop; ) {
    const next = skipField(buffer, at, stop);
    if (isNamed(buffer, at, name)) bytes += next - at;
    at = next;
  }
  return bytes;
}

/** Copies the fields of other names. @returns the offset behind them */
function copyOthers(
  buffer: Buffer,
  from: number,
  stop: number,
  name: string | null,
  to: Buffer,
  start: number,
): number {
  if (name === null) return start + buffer.copy(to, start, from, stop);
  let next = start;
  for (let at = from; at < stop; ) {
    const behind = skipField(buffer, at, stop);
    if (!isNamed(buffer, at, name)) next += buffer.copy(to, next, at, behind);
    at = behind;
  }
  return next;
}

function isNamed(buffer: Buffer, at: number, name: string): boolean {
  const { length } = name;
  if (buffer[at] !== length) return false;
  for (let i = 0; i < length; i++) if (buffer[at + 1 + i] !== name.charCodeAt(i)) return false;
  return true;
}

// What travels: one content (header and body) with the address it was published to.
// Owns the in-memory layout of a content and reads its few routing facts once. Knows no queue, no connection.
//
// Layout. A content is kept exactly as it goes over the wire with a single body frame, in `buffer` from `at` on:
//   header frame  1, channel u16, size u32, [class u16, weight u16, body size u64, flags u16, properties], 0xCE
//   body frame    3, channel u16, size u32, [body], 0xCE         (absent when the body is empty)
// so that delivering and storing are one copy each. The channel number inside is meaningless until a delivery writes its own.
// Invariant: nobody writes to a content's bytes after the message was built.

import { copyWords } from '../base/words.ts';
import { CLASS_BASIC, FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_OVERHEAD } from '../protocol/constants.ts';
import { DecodeError } from '../protocol/errors.ts';
import { decodeTable, type FieldTable } from '../protocol/field-table.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
  PropertyScan,
  scanProperties,
} from '../protocol/properties.ts';
import type { Address } from './address.ts';
import { BODY_REUSE_MIN, type BodyMemory } from './body-memory.ts';
import { allocate, type Place } from './slab.ts';

/** Bytes of a frame before its payload: type, channel, size. */
export const FRAME_HEAD = 7;
/** Offset of the property flags inside a content header payload: class, weight, body size. */
export const FLAGS_AT = 12;
/** What one message costs in memory beside its bytes: the objects around it, as measured with a heap of a million of them. */
export const MESSAGE_OVERHEAD_BYTES = 248;

/** Delivery mode that asks for the disk (AMQP 0-9-1 1.8: 1 transient, 2 persistent). */
export const PERSISTENT = 2;

const scan = new PropertyScan();

/** The message whose headers were decoded last, and these. One for all: a table kept by every message would cost more than the message. */
let headersOf: Message | null = null;
let lastHeaders: FieldTable | null = null;

/** One message. Built once, shared by every queue it was routed to, never changed. */
export class Message {
  /** Exchange and routing key, shared by the messages of one publisher. */
  readonly address: Address;
  /** Holds the content at `at` … `end()`. */
  readonly buffer: Buffer;
  /** What short copies of `buffer` go by; null when it is large or somebody else's. */
  readonly view: DataView | null;
  readonly at: number;
  /** Length of the content header payload (fixed part, flags and properties). */
  readonly headerLength: number;
  readonly bodyLength: number;
  /** Delivery mode 2. */
  readonly persistent: boolean;
  /** Priority property; 0 when absent. */
  readonly priority: number;
  /** Property flags word; tells without a decode which properties are there. */
  readonly flags: number;

  constructor(
    address: Address,
    buffer: Buffer,
    view: DataView | null,
    at: number,
    headerLength: number,
    bodyLength: number,
    persistent: boolean,
    priority: number,
    flags: number,
  ) {
    this.address = address;
    this.buffer = buffer;
    this.view = view;
    this.at = at;
    this.headerLength = headerLength;
    this.bodyLength = bodyLength;
    this.persistent = persistent;
    this.priority = priority;
    this.flags = flags;
  }

  /** Length of the whole layout in bytes. */
  get contentLength(): number {
    return contentLength(this.headerLength, this.bodyLength);
  }

  /** What the message costs in memory, in bytes. */
  get footprint(): number {
    return contentLength(this.headerLength, this.bodyLength) + MESSAGE_OVERHEAD_BYTES;
  }

  /** Offset of the property flags word. */
  get propertiesAt(): number {
    return this.at + FRAME_HEAD + FLAGS_AT;
  }

  /** Offset after the last property byte. */
  get propertiesEnd(): number {
    return this.at + FRAME_HEAD + this.headerLength;
  }

  /** Offset of the body's first byte. */
  get bodyAt(): number {
    return this.at + this.headerLength + FRAME_OVERHEAD + FRAME_HEAD;
  }

  /** The body; shares memory with the message. */
  body(): Buffer {
    return this.bodyLength === 0 ? EMPTY : this.buffer.subarray(this.bodyAt, this.bodyAt + this.bodyLength);
  }

  /** All properties, decoded anew at each call. */
  properties(): BasicProperties {
    return decodeProperties(this.buffer, this.propertiesAt, this.propertiesEnd);
  }

  /** Time to live from the expiration property, in milliseconds; -1 when there is none. It was checked when it was published. */
  expirationMs(): number {
    if ((this.flags & FLAG_EXPIRATION) === 0) return -1;
    const { buffer } = this;
    scanProperties(buffer, this.propertiesAt, this.propertiesEnd, scan);
    const at = scan.expirationAt + 1;
    return Number(buffer.toString('latin1', at, at + buffer[at - 1]!));
  }

  /** The headers table; null when the message has none. Decoded once for calls in a row. */
  headers(): FieldTable | null {
    if ((this.flags & FLAG_HEADERS) === 0) return null;
    if (headersOf !== this) {
      scanProperties(this.buffer, this.propertiesAt, this.propertiesEnd, scan);
      lastHeaders = decodeTable(this.buffer, scan.headersAt, scan.headersEnd);
      headersOf = this;
    }
    return lastHeaders;
  }

  /** The same content under another address. */
  withAddress(address: Address): Message {
    return new Message(
      address,
      this.buffer,
      this.view,
      this.at,
      this.headerLength,
      this.bodyLength,
      this.persistent,
      this.priority,
      this.flags,
    );
  }

  /** The same body under other properties (a rule changed one of them). */
  withProperties(properties: BasicProperties): Message {
    return buildMessage(this.address, properties, this.body());
  }
}

const EMPTY = Buffer.alloc(0);

/** Property flag bits (AMQP 0-9-1 content header, bit 15 first) that rules ask for. */
export const FLAG_HEADERS = 1 << 13;
export const FLAG_REPLY_TO = 1 << 9;
export const FLAG_EXPIRATION = 1 << 8;
export const FLAG_USER_ID = 1 << 4;

/** Length of the layout for a header payload and a body. */
export function contentLength(headerLength: number, bodyLength: number): number {
  return headerLength + FRAME_OVERHEAD + (bodyLength === 0 ? 0 : bodyLength + FRAME_OVERHEAD);
}

/** Writes the head of the header frame and the end octets of both frames around bytes that are, or will be, in place. */
export function writeFraming(buffer: Buffer, at: number, headerLength: number, bodyLength: number): void {
  buffer[at] = FRAME_HEADER;
  // No mark of a death (see death.ts).
  buffer[at + 1] = 0;
  writeU32(buffer, at + 3, headerLength);
  const bodyFrame = at + headerLength + FRAME_OVERHEAD;
  buffer[bodyFrame - 1] = FRAME_END;
  if (bodyLength !== 0) {
    buffer[bodyFrame] = FRAME_BODY;
    writeU32(buffer, bodyFrame + 3, bodyLength);
    buffer[bodyFrame + FRAME_HEAD + bodyLength] = FRAME_END;
  }
}

function writeU32(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

/**
 * A message over a layout that is complete in `buffer`. Reads the properties' structure once.
 * @throws DecodeError when the property list is broken.
 */
export function messageOver(
  address: Address,
  buffer: Buffer,
  view: DataView | null,
  at: number,
  headerLength: number,
  bodyLength: number,
): Message {
  scanProperties(buffer, at + FRAME_HEAD + FLAGS_AT, at + FRAME_HEAD + headerLength, scan);
  return new Message(
    address,
    buffer,
    view,
    at,
    headerLength,
    bodyLength,
    scan.deliveryMode === PERSISTENT,
    scan.priority < 0 ? 0 : scan.priority,
    scan.flags,
  );
}

/**
 * A message from its frames as they came, a content header and at most one body frame from `start` on. They are copied, once and whole.
 * @param memory where a large one is put
 * @param framesView of `frames`, when the message is short enough to be copied by words
 * @throws DecodeError when the property list is broken.
 */
export function messageFromFrames(
  address: Address,
  frames: Buffer,
  start: number,
  headerLength: number,
  bodyLength: number,
  memory: BodyMemory,
  framesView: DataView | null = null,
): Message {
  const length = contentLength(headerLength, bodyLength);
  const { buffer, view, at } = allocateIn(memory, length, bodyLength);
  if (framesView !== null && view !== null) copyWords(view, at, framesView, start, start + length);
  else frames.copy(buffer, at, start, start + length);
  // No mark of a death (see death.ts), whatever the channel number was.
  buffer[at + 1] = 0;
  return messageOver(address, buffer, view, at, headerLength, bodyLength);
}

/** A message made by the broker or an embedder rather than read from the wire. */
export function buildMessage(address: Address, properties: BasicProperties, body: Uint8Array): Message {
  const encoded = encodeProperties(properties);
  const headerLength = FLAGS_AT + encoded.length;
  const length = contentLength(headerLength, body.length);
  const place = allocate(length);
  const { buffer, view, at } = place;
  writeFraming(buffer, at, headerLength, body.length);
  const payload = at + FRAME_HEAD;
  buffer.writeUInt16BE(CLASS_BASIC, payload);
  buffer.writeUInt16BE(0, payload + 2);
  buffer.writeUInt32BE(Math.floor(body.length / 2 ** 32), payload + 4);
  buffer.writeUInt32BE(body.length >>> 0, payload + 8);
  encoded.copy(buffer, payload + FLAGS_AT);
  if (body.length !== 0) buffer.set(body, payload + headerLength + 1 + FRAME_HEAD);
  const message = messageOver(address, buffer, view, at, headerLength, body.length);
  headersOf = message;
  lastHeaders = properties.headers;
  return message;
}

/**
 * A message from its stored form: the address' wire bytes, then the layout. The layout is copied, so that one message that stays for
 * long does not keep everything that was read together with it.
 * @param memory where a large one is put
 * @throws DecodeError when the bytes are not such a message.
 */
export function messageFromStored(
  buffer: Buffer,
  start: number,
  end: number,
  addressAt: (buffer: Buffer, at: number) => Address,
  memory: BodyMemory | null = null,
): Message {
  const address = addressAt(buffer, start);
  const from = start + address.wire.length;
  const headerLength = buffer.readUInt32BE(from + 3);
  const bodyLength = bodyLengthAt(buffer, from);
  const length = lengthOfStored(from, end, headerLength, bodyLength);
  const place = allocateIn(memory, length, bodyLength);
  const { view, at } = place;
  buffer.copy(place.buffer, at, from, end);
  return messageOver(address, place.buffer, view, at, headerLength, bodyLength);
}

/**
 * As `messageFromStored`, without a copy: the message keeps all of `buffer`.
 * @throws DecodeError when the bytes are not such a message.
 */
export function messageInPlace(
  buffer: Buffer,
  start: number,
  end: number,
  addressAt: (buffer: Buffer, at: number) => Address,
): Message {
  const address = addressAt(buffer, start);
  const from = start + address.wire.length;
  const headerLength = buffer.readUInt32BE(from + 3);
  const bodyLength = bodyLengthAt(buffer, from);
  lengthOfStored(from, end, headerLength, bodyLength);
  return messageOver(address, buffer, null, from, headerLength, bodyLength);
}

function allocateIn(memory: BodyMemory | null, length: number, bodyLength: number): Place {
  return memory === null || bodyLength < BODY_REUSE_MIN
    ? allocate(length)
    : { buffer: memory.take(length), view: null, at: 0 };
}

function lengthOfStored(from: number, end: number, headerLength: number, bodyLength: number): number {
  const length = contentLength(headerLength, bodyLength);
  if (from + length !== end)
    throw new DecodeError(541, 'a stored message has another length than its record');
  return length;
}

/** Body length of a stored message, without making the message. */
export function storedBodyLength(buffer: Buffer, start: number): number {
  const keyAt = start + 1 + buffer[start]!;
  return bodyLengthAt(buffer, keyAt + 1 + buffer[keyAt]!);
}

/** Body length of the layout at `at`: the u64 behind class and weight of its content header. */
function bodyLengthAt(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at + FRAME_HEAD + 4) * 2 ** 32 + buffer.readUInt32BE(at + FRAME_HEAD + 8);
}

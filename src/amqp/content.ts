// Method, header and body frames of one publish become a Message.
// Owns what may follow what (AMQP 0-9-1 4.2.6) and the limits on what is announced. Knows no exchange and no queue.
// Bytes go from where they were read straight to their place in the message: a body is copied once, or, where it can be read to its place,
// not at all.
// Invariant: memory is taken as bytes arrive, never on the strength of an announced size alone (see `roomFor`).

import type { Address } from '../message/address.ts';
import type { BodyMemory } from '../message/body-memory.ts';
import {
  contentLength,
  FLAGS_AT,
  FRAME_HEAD,
  type Message,
  messageOver,
  writeFraming,
} from '../message/message.ts';
import { allocate } from '../message/slab.ts';
import {
  BASIC_PUBLISH,
  CLASS_BASIC,
  FRAME_BODY,
  FRAME_ERROR,
  FRAME_HEADER,
  FRAME_OVERHEAD,
  INTERNAL_ERROR,
  UNEXPECTED_FRAME,
} from '../protocol/constants.ts';
import { AmqpError } from './errors.ts';

/** Largest body that can be announced at all (RabbitMQ: 512 MiB); more ends the connection. */
export const BODY_MAX = 536_870_912;
/** A body up to this many bytes gets its memory as soon as it is announced. */
const ANNOUNCED_MAX = 16 * 1024;
/** A larger one gets so much until that has come … */
const FIRST_ROOM = 64 * 1024;
/** … and never more than so many times what has come: a client has to send a sixty-fourth of what it wants to occupy. */
const ROOM_PER_BYTE = 64;

/** Assembles the contents of one channel, one after the other. */
export class ContentAssembler {
  /** What the next frame has to be. */
  expecting: 'method' | 'header' | 'body' = 'method';
  /** The body is above the broker's limit: its frames are read and dropped, then the publish is refused. */
  tooLarge = false;
  bodyLength = 0;

  private readonly bodyMax: number;
  private readonly memory: BodyMemory;
  private buffer: Buffer = EMPTY;
  private at = 0;
  private headerLength = 0;
  /** Body bytes that have arrived. */
  private received = 0;
  /** Body bytes that `buffer` has room for. */
  private room = 0;

  /**
   * @param bodyMax largest message body in bytes; larger ones are read and dropped
   * @param memory where large ones are put
   */
  constructor(bodyMax: number, memory: BodyMemory) {
    this.bodyMax = bodyMax;
    this.memory = memory;
  }

  /** basic.publish was seen: a content header has to follow. */
  begin(): void {
    this.expecting = 'header';
  }

  /** A method frame came while a content was expected. @throws AmqpError unexpected-frame */
  unexpectedMethod(): never {
    throw this.expecting === 'header'
      ? new AmqpError(
          UNEXPECTED_FRAME,
          'expected content header for class 60, got non content header frame instead',
          BASIC_PUBLISH,
        )
      : new AmqpError(
          UNEXPECTED_FRAME,
          'expected content body, got non content body frame instead',
          BASIC_PUBLISH,
        );
  }

  /**
   * A header or body frame, or a part of a body frame; `ends` tells the last one. @returns true when the content is complete.
   * @throws AmqpError when it may not come now
   */
  onFrame(type: number, frame: Buffer, start: number, stop: number, ends: boolean): boolean {
    if (this.expecting === 'method') {
      throw new AmqpError(UNEXPECTED_FRAME, 'expected method frame, got non method frame instead', 0);
    }
    if (this.expecting === 'header') {
      if (type !== FRAME_HEADER) this.unexpectedMethod();
      return this.onHeader(frame, start, stop);
    }
    if (type !== FRAME_BODY) this.unexpectedMethod();
    return this.onBody(frame, start, stop, ends);
  }

  /** The complete content as a message; the assembler is free for the next one. @throws DecodeError for broken properties */
  take(address: Address): Message {
    const { buffer, at, headerLength, bodyLength } = this;
    this.buffer = EMPTY;
    writeFraming(buffer, at, headerLength, bodyLength);
    return messageOver(address, buffer, null, at, headerLength, bodyLength);
  }

  /** Drops what has arrived. */
  reset(): void {
    this.expecting = 'method';
    this.buffer = EMPTY;
  }

  private onHeader(frame: Buffer, start: number, stop: number): boolean {
    const headerLength = stop - start;
    // RabbitMQ: a header without flags crashes its reader of properties.
    if (headerLength < FLAGS_AT + 2) throw new AmqpError(INTERNAL_ERROR, '', 0);
    const classId = (frame[start]! << 8) | frame[start + 1]!;
    if (classId !== CLASS_BASIC) {
      throw new AmqpError(
        UNEXPECTED_FRAME,
        `expected content header for class 60, got one for class ${classId} instead`,
      );
    }
    if ((frame[start + 2]! | frame[start + 3]!) !== 0) {
      throw new AmqpError(
        UNEXPECTED_FRAME,
        'expected content header for class 60, got non content header frame instead',
        BASIC_PUBLISH,
      );
    }
    const high =
      ((frame[start + 4]! << 24) |
        (frame[start + 5]! << 16) |
        (frame[start + 6]! << 8) |
        frame[start + 7]!) >>>
      0;
    const low =
      ((frame[start + 8]! << 24) |
        (frame[start + 9]! << 16) |
        (frame[start + 10]! << 8) |
        frame[start + 11]!) >>>
      0;
    const bodyLength = high * 0x1_0000_0000 + low;
    if (bodyLength > BODY_MAX) {
      const size = (BigInt(high) << 32n) | BigInt(low);
      throw new AmqpError(FRAME_ERROR, `content body size ${size} exceeds maximum allowed size ${BODY_MAX}`);
    }
    this.headerLength = headerLength;
    this.bodyLength = bodyLength;
    this.received = 0;
    this.tooLarge = bodyLength > this.bodyMax;
    const announced = bodyLength <= ANNOUNCED_MAX && !this.tooLarge ? bodyLength : 0;
    const place = allocate(contentLength(headerLength, announced));
    this.room = announced;
    this.buffer = place.buffer;
    this.at = place.at;
    frame.copy(this.buffer, this.at + FRAME_HEAD, start, stop);
    this.expecting = bodyLength === 0 ? 'method' : 'body';
    return bodyLength === 0;
  }

  private onBody(frame: Buffer, start: number, stop: number, ends: boolean): boolean {
    const length = stop - start;
    const received = this.received + length;
    if (received > this.bodyLength)
      throw new AmqpError(FRAME_ERROR, 'content body frame exceeds remaining content size');
    if (!this.tooLarge && length !== 0) {
      if (this.room < this.bodyLength && this.mustGrow(received))
        this.grow(roomFor(received, this.bodyLength));
      if (!this.isInPlace(frame, start)) frame.copy(this.buffer, this.bodyAt + this.received, start, stop);
    }
    this.received = received;
    if (received !== this.bodyLength || !ends) return false;
    this.expecting = 'method';
    return true;
  }

  /**
   * Where the next `octets` of a body frame, its end octet included, may be read to at once; null when they have no place yet, or none at
   * all. What does not belong to the body, the end octet and the head of the next frame, comes to lie where the body goes on, and is
   * written over by that. So nearly every octet of a body that comes in many frames is read to its place (bench large-1m: a copy of the
   * whole body and half of the reads less).
   */
  placeFor(octets: number): Buffer | null {
    // From here on the body's buffer is its own, and stays the same.
    if (this.expecting !== 'body' || this.tooLarge) return null;
    if (this.room !== this.bodyLength || this.bodyLength <= ANNOUNCED_MAX) return null;
    const at = this.bodyAt + this.received;
    const stop = this.at + contentLength(this.headerLength, this.bodyLength);
    return this.buffer.subarray(at, Math.min(stop, at + octets + FRAME_HEAD));
  }

  private isInPlace(frame: Buffer, start: number): boolean {
    const { buffer } = this;
    return (
      frame.buffer === buffer.buffer &&
      frame.byteOffset + start === buffer.byteOffset + this.bodyAt + this.received
    );
  }

  /** The room is full, or it may be all of the body's from now on: the sooner, the less has to be moved. */
  private mustGrow(received: number): boolean {
    return received > this.room || received * ROOM_PER_BYTE >= this.bodyLength;
  }

  /** Where the body's first byte goes. */
  private get bodyAt(): number {
    return this.at + FRAME_HEAD + this.headerLength + FRAME_OVERHEAD;
  }

  /** Moves what has come to a buffer with room for so many body bytes. */
  private grow(room: number): void {
    const grown = this.memory.take(contentLength(this.headerLength, room));
    const end = this.received === 0 ? this.at + FRAME_HEAD + this.headerLength : this.bodyAt + this.received;
    this.buffer.copy(grown, 0, this.at, end);
    this.memory.giveBack(this.buffer);
    this.buffer = grown;
    this.at = 0;
    this.room = room;
  }
}

/** Body bytes to make room for when `received` have come of `announced`. */
function roomFor(received: number, announced: number): number {
  const allowed = received * ROOM_PER_BYTE;
  if (allowed >= announced) return announced;
  // Little of it has come: a larger place now would only have to be left again.
  return received <= FIRST_ROOM ? Math.min(announced, FIRST_ROOM) : allowed;
}

const EMPTY = Buffer.alloc(0);

// Content on its way out: basic.deliver, basic.get-ok and basic.return with their message, as frames.
// Owns the straight-line encoding of deliveries. A content lies in memory as it goes over the wire, so a delivery is its method
// frame, one copy, and the channel number put in twice; only a body above the client's frame_max is cut into frames anew.

import { assert } from '../base/assert.ts';
import { heldMemoryOf } from '../message/body-memory.ts';
import { FRAME_HEAD, type Message } from '../message/message.ts';
import { BASIC_DELIVER, FRAME_END, FRAME_METHOD, FRAME_OVERHEAD } from '../protocol/constants.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';

/** Byte loops beat Buffer.copy below this length (Node 20: a copy costs 56 ns whatever its length, a loop 2.2 ns a byte). */
const LOOP_MAX = 24;
/** Contents up to this size are copied whole into the connection's chunk. */
const COPY_WHOLE_MAX = 32 * 1024;

/** The part of basic.deliver's payload that is the same for all deliveries of a consumer: class, method, consumer tag. */
export function deliveryHead(consumerTag: string): Buffer {
  const tag = Buffer.from(consumerTag);
  const head = Buffer.allocUnsafe(5 + tag.length);
  head.writeUInt32BE(BASIC_DELIVER, 0);
  head[4] = tag.length;
  tag.copy(head, 5);
  return head;
}

/** Writes basic.deliver and its content. */
export function writeDelivery(
  w: FrameWriter,
  channel: number,
  head: Buffer,
  deliveryTag: number,
  redelivered: boolean,
  message: Message,
  frameMax: number,
): void {
  const { wire } = message.address;
  const headLength = head.length;
  const size = headLength + 9 + wire.length;
  w.reserve(size + FRAME_OVERHEAD);
  const b = w.buffer;
  let at = w.at;
  b[at] = FRAME_METHOD;
  b[at + 1] = channel >>> 8;
  b[at + 2] = channel;
  b[at + 3] = 0;
  b[at + 4] = 0;
  b[at + 5] = size >>> 8;
  b[at + 6] = size;
  at += FRAME_HEAD;
  at = put(b, at, head, 0, headLength);
  const high = (deliveryTag / 0x1_0000_0000) >>> 0;
  b[at] = high >>> 24;
  b[at + 1] = high >>> 16;
  b[at + 2] = high >>> 8;
  b[at + 3] = high;
  b[at + 4] = deliveryTag >>> 24;
  b[at + 5] = deliveryTag >>> 16;
  b[at + 6] = deliveryTag >>> 8;
  b[at + 7] = deliveryTag;
  b[at + 8] = redelivered ? 1 : 0;
  at = put(b, at + 9, wire, 0, wire.length);
  b[at] = FRAME_END;
  w.at = at + 1;
  writeContent(w, channel, message, frameMax);
}

/** Writes the content frames of a message behind its method frame. */
export function writeContent(w: FrameWriter, channel: number, message: Message, frameMax: number): void {
  const { buffer, at, headerLength, bodyLength } = message;
  const length = message.contentLength;
  if (length <= COPY_WHOLE_MAX && bodyLength + FRAME_OVERHEAD <= frameMax) {
    w.reserve(length);
    const b = w.buffer;
    const start = w.at;
    put(b, start, buffer, at, at + length);
    b[start + 1] = channel >>> 8;
    b[start + 2] = channel;
    if (bodyLength !== 0) {
      const bodyFrame = start + headerLength + FRAME_OVERHEAD;
      b[bodyFrame + 1] = channel >>> 8;
      b[bodyFrame + 2] = channel;
    }
    w.at = start + length;
    return;
  }
  w.reserve(headerLength + FRAME_OVERHEAD);
  const start = w.at;
  buffer.copy(w.buffer, start, at, at + headerLength + FRAME_OVERHEAD);
  w.buffer[start + 1] = channel >>> 8;
  w.buffer[start + 2] = channel;
  w.at = start + headerLength + FRAME_OVERHEAD;
  assert(buffer.length >= at + length, 'a content that is sent is still there');
  const held = heldMemoryOf(message);
  w.bodyFrames(channel, buffer, message.bodyAt, message.bodyAt + bodyLength, frameMax, held);
}

function put(to: Buffer, at: number, from: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length > LOOP_MAX) from.copy(to, at, start, end);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  return at + length;
}

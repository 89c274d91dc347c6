// Content on its way out: basic.deliver, basic.get-ok and basic.return with their message, as frames.
// Owns the straight-line encoding of deliveries. A content lies in memory as it goes over the wire, so a delivery is its method
// frame, one copy, and the channel number put in twice; only a body above the client's frame_max is cut into frames anew.

import { assert } from '../base/assert.ts';
import { copyWords, LITTLE_ENDIAN, WORDS_MAX } from '../base/words.ts';
import { heldMemoryOf } from '../message/body-memory.ts';
import { FRAME_HEAD, type Message } from '../message/message.ts';
import { BASIC_DELIVER, FRAME_END, FRAME_METHOD, FRAME_OVERHEAD } from '../protocol/constants.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';

/** Below this length a loop over octets is quicker than Buffer.copy (see words.ts). */
const LOOP_MAX = 24;
/** Contents up to this size are copied whole into the connection's chunk. */
const COPY_WHOLE_MAX = 32 * 1024;

/** The part of basic.deliver's payload that is the same for all deliveries of a consumer: class, method, consumer tag. */
export interface DeliveryHead {
  readonly length: number;
  /** Its octets, in words as they lie in memory, and zeros behind them. */
  readonly words: Int32Array;
}

/** @throws RangeError when the tag has more than 255 octets */
export function deliveryHead(consumerTag: string): DeliveryHead {
  const tag = Buffer.from(consumerTag);
  const length = 5 + tag.length;
  const words = new Int32Array(Math.ceil(length / 4));
  const head = Buffer.from(words.buffer);
  head.writeUInt32BE(BASIC_DELIVER, 0);
  head.writeUInt8(tag.length, 4);
  tag.copy(head, 5);
  return { length, words };
}

/** Writes basic.deliver and its content. */
export function writeDelivery(
  w: FrameWriter,
  channel: number,
  head: DeliveryHead,
  deliveryTag: number,
  redelivered: boolean,
  message: Message,
  frameMax: number,
): void {
  const { wire } = message.address;
  const { length: headLength, words } = head;
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
  const { view } = w;
  // The last word may reach over what is written next.
  for (let i = 0; i < words.length; i++) view.setInt32(at + i * 4, words[i]!, LITTLE_ENDIAN);
  at += headLength;
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
    const { view } = message;
    if (length <= WORDS_MAX && view !== null) copyWords(w.view, start, view, at, at + length);
    else buffer.copy(b, start, at, at + length);
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

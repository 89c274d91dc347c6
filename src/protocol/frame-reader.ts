// Frames out of a stream of chunks. Owns framing: where a frame starts and stops, its size limit, its end octet, and what a frame of a
// type may look like at all. Knows nothing of channels' states or of what methods mean.
//
// A pull reader: `push(chunk)`, then `next()` until it is false; the frame's parts are read from the reader, no object per frame.
// A frame that lies whole in a chunk is read in place; one that is split is assembled in a buffer of its own, or, when it is a large
// body frame and the caller wants that, handed out in the parts in which it came: `ends` tells the last part.
//
// Invariants: the size of a frame is checked before a byte is allotted for it; a frame is valid until the next `next()` or `push()`;
// a body frame's last part is handed out only when its end octet was seen; after `next()` returned false the reader holds no chunk,
// only the beginning of a frame, if there is one.

import { viewOf, WORDS_MAX } from '../base/words.ts';
import {
  CLASS_BASIC,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  FRAME_OVERHEAD,
  UNEXPECTED_FRAME,
} from './constants.ts';
import { brokenFrame, DecodeError, unexpectedFrameText } from './errors.ts';
import { u16At, u32At } from './octets.ts';

/** Octets in front of the payload: type, channel, size. */
const HEADER_OCTETS = 7;
/** RabbitMQ accepts payloads of this much more than frame_max - 8. */
const SIZE_TOLERANCE = FRAME_OVERHEAD;
/** Payload limit when frame_max is 0, "no limit": a body may not be larger either. */
const PAYLOAD_MAX = 536_870_912;
/** A split frame's buffer starts with at most this size and grows with what arrives: an announced size alone costs little. */
const ASSEMBLY_START_MAX = 262_144;

/** Octets kept of a body frame that comes in parts: a refusal shows 16 and has to know whether there are more. */
const SNIPPET_OCTETS = 17;

/** Shortest content header frame: 12 octets and the flags, in their frame. */
const CONTENT_HEADER_MIN = FRAME_OVERHEAD + 14;

const NOTHING = Buffer.alloc(0);

/** Takes the stream apart. One for each connection. */
export class FrameReader {
  /** Negotiated largest frame, 0 for no limit; may be set between frames. */
  frameMax: number;
  /** The current frame's type octet. */
  type: number;
  /** The current frame's channel. */
  channel: number;
  /** Where the current frame's payload is, `start` … `stop`. */
  buffer: Buffer;
  start: number;
  stop: number;
  /** The current frame ends with this payload; false for a part of a body frame that is not its last. */
  ends: boolean;
  /** Parts of the content that `takeContent` took: payload of its header frame, body. */
  headerLength: number;
  bodyLength: number;
  /** The buffer that was looked at by words last, and what for. */
  private viewed: Buffer;
  private view: DataView | null;
  /** What was pushed, and how far it has been read. */
  private chunk: Buffer;
  private at: number;
  /** The beginning of a frame that is not complete, null when there is none; its first `have` of `need` octets are there. */
  private partial: Buffer | null;
  private have: number;
  private need: number;
  /** True after an error that left us not knowing where the next frame starts. */
  private lost: boolean;
  /** Body frames with at least so many octets are handed out in parts when they are split. */
  private readonly partsFrom: number;
  /** Octets of the body frame that is handed out in parts that have not come, its end octet included; 0 when there is none. */
  private partsLeft: number;
  /** The first octets of its payload, for the text of a refusal. */
  private readonly snippet: number[];

  /** @param partsFrom split body frames with at least so many octets come in parts; no frame does when it is left out */
  constructor(frameMax: number, partsFrom: number = Number.POSITIVE_INFINITY) {
    this.frameMax = frameMax;
    this.type = 0;
    this.channel = 0;
    this.buffer = NOTHING;
    this.start = 0;
    this.stop = 0;
    this.ends = true;
    this.headerLength = 0;
    this.bodyLength = 0;
    this.viewed = NOTHING;
    this.view = null;
    this.chunk = NOTHING;
    this.at = 0;
    this.partial = null;
    this.have = 0;
    this.need = 0;
    this.lost = false;
    this.partsFrom = partsFrom;
    this.partsLeft = 0;
    this.snippet = [];
  }

  /** Nothing of what was pushed is left to read. */
  get isDrained(): boolean {
    return this.at >= this.chunk.length;
  }

  /** Octets of what was pushed that are not read yet. */
  get left(): number {
    return this.chunk.length - this.at;
  }

  /** Octets that are to come of a body frame that is handed out in parts, its end octet included; 0 when something else comes next. */
  get partAwaited(): number {
    return this.isDrained ? this.partsLeft : 0;
  }

  /** What the current content is best copied by; null when it is too long for that. */
  get wordsOfContent(): DataView | null {
    if (this.stop - this.start > WORDS_MAX) return null;
    if (this.viewed !== this.buffer) {
      this.viewed = this.buffer;
      this.view = viewOf(this.buffer);
    }
    return this.view;
  }

  /** Hands over what the socket brought. The chunk must stay as it is until `next()` has returned false, or until `keepRest()`. */
  push(chunk: Buffer): void {
    if (this.lost) return;
    // Not read to its end: a caller that stopped between two frames gets the rest first.
    this.chunk = this.at < this.chunk.length ? Buffer.concat([this.chunk.subarray(this.at), chunk]) : chunk;
    this.at = 0;
  }

  /** Copies what is not read yet: the chunk's memory goes to others. The current frame is not valid any more. */
  keepRest(): void {
    if (this.chunk === NOTHING) return;
    this.chunk = this.isDrained ? NOTHING : Buffer.from(this.chunk.subarray(this.at));
    this.at = 0;
    this.forgetView();
  }

  /**
   * Moves on to the next frame, or the next part of a body frame; false when there is no complete one.
   * @throws DecodeError 501 or 505 with RabbitMQ's text. After a frame that is too large or does not end as it must, the reader is
   * lost and reads nothing more; after any other error it goes on behind the refused frame.
   */
  next(): boolean {
    if (this.partial !== null) return this.nextSplit(this.partial);
    if (this.partsLeft !== 0) return this.nextPart();
    const buf = this.chunk;
    const at = this.at;
    const left = buf.length - at;
    if (left < HEADER_OCTETS) return this.keep(left, HEADER_OCTETS);
    const size = u32At(buf, at + 3);
    if (size > this.frameMax) this.checkSize(buf[at]!, size);
    if (left < size + FRAME_OVERHEAD) {
      if (size < this.partsFrom || !this.beginParts(buf, at, size))
        return this.keep(left, size + FRAME_OVERHEAD);
      this.at = at + HEADER_OCTETS;
      return this.nextPart();
    }
    this.at = at + size + FRAME_OVERHEAD;
    this.accept(buf, at, at + HEADER_OCTETS + size);
    return true;
  }

  /**
   * When a whole content follows the current frame in the same chunk (a basic content header and, unless the body is empty, one body
   * frame with all of it, on the same channel), moves behind it: `start` … `stop` are then its frames as they came, and
   * `headerLength` and `bodyLength` its parts. False, with nothing moved, for anything else: the frames then come one by one, and
   * whatever is wrong with them is found there.
   * Why: most contents are like this, and taking one at once saves two frames' worth of dispatch and a copy (bench/micro/decode.ts).
   */
  takeContent(bodyMax: number): boolean {
    const buf = this.chunk;
    const at = this.at;
    const left = buf.length - at;
    if (left < CONTENT_HEADER_MIN || this.partial !== null || buf[at] !== FRAME_HEADER) return false;
    const headerLength = u32At(buf, at + 3);
    const headerStop = at + HEADER_OCTETS + headerLength;
    if (headerLength < 14 || headerLength > this.frameMax - FRAME_OVERHEAD || headerStop >= buf.length)
      return false;
    if (u16At(buf, at + 1) !== this.channel || buf[headerStop] !== FRAME_END) return false;
    // Class basic, weight 0, and a body size below 4 GiB.
    if (u32At(buf, at + 7) !== CLASS_BASIC << 16 || u32At(buf, at + 11) !== 0) return false;
    const bodyLength = u32At(buf, at + 15);
    let stop = headerStop + 1;
    if (bodyLength !== 0) {
      const body = stop;
      stop = body + FRAME_OVERHEAD + bodyLength;
      if (bodyLength > bodyMax || bodyLength > this.frameMax - FRAME_OVERHEAD || stop > buf.length)
        return false;
      if (buf[body] !== FRAME_BODY || u16At(buf, body + 1) !== this.channel) return false;
      if (u32At(buf, body + 3) !== bodyLength || buf[stop - 1] !== FRAME_END) return false;
    }
    this.at = stop;
    this.type = FRAME_HEADER;
    this.buffer = buf;
    this.start = at;
    this.stop = stop;
    this.headerLength = headerLength;
    this.bodyLength = bodyLength;
    return true;
  }

  /** Class and method id of the current frame, which must be a method frame: `(class << 16) | method`. */
  methodId(): number {
    return (u16At(this.buffer, this.start) << 16) | u16At(this.buffer, this.start + 2);
  }

  /** Makes the frame from `at` on the current one. `stop` is where its end octet is. */
  private accept(buf: Buffer, at: number, stop: number): void {
    const type = buf[at]!;
    const channel = u16At(buf, at + 1);
    const start = at + HEADER_OCTETS;
    // AMQP 0-9-1 4.2.3: anything but 0xCE is fatal.
    if (buf[stop] !== FRAME_END) {
      this.lose();
      throw brokenFrame(type, `{invalid_frame_end_marker,${buf[stop]!}}`, buf, start, stop);
    }
    if (type === FRAME_METHOD) {
      if (stop - start < 4) throw brokenFrame(type, 'unknown_frame', buf, start, stop);
    } else if (type === FRAME_BODY) {
      if (channel === 0) throw unexpectedFrame(type, buf, start, stop);
    } else checkOther(type, channel, buf, start, stop);
    this.type = type;
    this.channel = channel;
    this.buffer = buf;
    this.start = start;
    this.stop = stop;
    this.ends = true;
  }

  /** A body frame whose head is at `at` will come in parts; false when it is no frame for that. */
  private beginParts(buf: Buffer, at: number, size: number): boolean {
    const channel = u16At(buf, at + 1);
    if (buf[at] !== FRAME_BODY || channel === 0) return false;
    this.channel = channel;
    this.partsLeft = size + 1;
    this.snippet.length = 0;
    return true;
  }

  private nextPart(): boolean {
    const { chunk, at, partsLeft } = this;
    const left = chunk.length - at;
    if (left === 0) {
      this.release();
      return false;
    }
    const ends = left >= partsLeft;
    const stop = ends ? at + partsLeft - 1 : Math.min(chunk.length, at + partsLeft - 1);
    const { snippet } = this;
    for (let i = at; i < stop && snippet.length < SNIPPET_OCTETS; i++) snippet.push(chunk[i]!);
    this.partsLeft = ends ? 0 : partsLeft - (stop - at);
    if (ends && chunk[stop] !== FRAME_END) {
      this.lose();
      const octets = Buffer.from(snippet);
      throw brokenFrame(FRAME_BODY, `{invalid_frame_end_marker,${chunk[stop]!}}`, octets, 0, octets.length);
    }
    this.at = ends ? stop + 1 : stop;
    this.type = FRAME_BODY;
    this.buffer = chunk;
    this.start = at;
    this.stop = stop;
    this.ends = ends;
    return true;
  }

  private checkSize(type: number, size: number): void {
    const limit = this.frameMax === 0 ? PAYLOAD_MAX : this.frameMax - FRAME_OVERHEAD;
    if (size <= limit + SIZE_TOLERANCE) return;
    this.lose();
    throw brokenFrame(type, `{frame_too_large,${size},${limit}}`, NOTHING, 0, 0);
  }

  private lose(): void {
    this.lost = true;
    this.partial = null;
    this.partsLeft = 0;
    this.release();
  }

  /** Lets go of the chunk and of the last frame. */
  private release(): void {
    this.chunk = NOTHING;
    this.at = 0;
    this.buffer = NOTHING;
    this.start = 0;
    this.stop = 0;
    this.forgetView();
  }

  private forgetView(): void {
    this.viewed = NOTHING;
    this.view = null;
  }

  /** Keeps the last `left` octets of the chunk as the beginning of a frame that has `need` octets as far as we know. */
  private keep(left: number, need: number): boolean {
    if (left > 0) {
      const partial = Buffer.allocUnsafe(Math.min(need, Math.max(ASSEMBLY_START_MAX, left)));
      this.chunk.copy(partial, 0, this.at);
      this.partial = partial;
      this.have = left;
      this.need = need;
    }
    this.release();
    return false;
  }

  /** As `next`, when the frame has begun in an earlier chunk. */
  private nextSplit(partial: Buffer): boolean {
    if (this.have < HEADER_OCTETS) {
      if (!this.take(partial, HEADER_OCTETS)) return false;
      const size = u32At(partial, 3);
      if (size > this.frameMax) this.checkSize(partial[0]!, size);
      if (size >= this.partsFrom && this.beginParts(partial, 0, size)) {
        this.partial = null;
        return this.nextPart();
      }
      this.need = size + FRAME_OVERHEAD;
    }
    while (this.have < this.need) {
      const assembly = this.roomy(this.need);
      if (!this.take(assembly, Math.min(this.need, assembly.length))) return false;
    }
    const frame = this.partial ?? partial;
    this.partial = null;
    this.accept(frame, 0, this.need - 1);
    return true;
  }

  /** The assembly buffer, made larger when it is full. */
  private roomy(need: number): Buffer {
    const partial = this.partial ?? NOTHING;
    if (this.have < partial.length) return partial;
    const larger = Buffer.allocUnsafe(Math.min(need, Math.max(ASSEMBLY_START_MAX, this.have * 2)));
    partial.copy(larger, 0, 0, this.have);
    this.partial = larger;
    return larger;
  }

  /** Takes octets from the chunk until `to` has the first `upTo` ones; false, and the chunk let go, when there are not enough. */
  private take(to: Buffer, upTo: number): boolean {
    const wanted = upTo - this.have;
    const taken = Math.min(wanted, this.chunk.length - this.at);
    this.chunk.copy(to, this.have, this.at, this.at + taken);
    this.have += taken;
    this.at += taken;
    if (taken === wanted) return true;
    this.release();
    return false;
  }
}

function checkOther(type: number, channel: number, buf: Buffer, start: number, stop: number): void {
  if (type === FRAME_HEADER) {
    if (stop - start < 12) throw brokenFrame(type, 'unknown_frame', buf, start, stop);
    if (channel === 0) throw unexpectedFrame(type, buf, start, stop);
  } else if (type === FRAME_HEARTBEAT && stop === start) {
    if (channel !== 0) throw unexpectedFrame(type, buf, start, stop);
  } else throw brokenFrame(type, 'unknown_frame', buf, start, stop);
}

function unexpectedFrame(type: number, buf: Buffer, start: number, stop: number): DecodeError {
  return new DecodeError(UNEXPECTED_FRAME, unexpectedFrameText(type, buf, start, stop));
}

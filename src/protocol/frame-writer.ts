// Frames into chunks. Owns the memory that outgoing bytes are gathered in and the layout of a frame around its payload.
// Knows nothing of sockets, channels or of what a method means: generated encoders write the arguments.
//
// Invariants: between `reserve(n)` and the n-th octet written after it `buffer` does not change; chunks come out in the order in which
// they were written; memory of the pool comes out once, with the last chunk that lies in it; after `detach()` the writer holds no
// memory, so an idle connection costs none.

import { viewOf } from '../base/words.ts';
import {
  CLASS_BASIC,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  FRAME_OVERHEAD,
} from './constants.ts';
import { writeU16, writeU32, writeU64 } from './octets.ts';
import { writeShortString } from './short-strings.ts';

/** Memory that output refers to, and whose owner has to know when that is over. */
export interface HeldMemory {
  /** Output lies in it. */
  hold(): void;
  /** That output has been sent. Not called where that is not certain. */
  release(): void;
}

/** A piece of output: the first `length` octets of `buffer`. */
export interface Chunk {
  readonly buffer: Buffer;
  readonly length: number;
  /** Memory of the pool that is free when this has been sent; null when there is none, or a later chunk lies in it too. */
  memory: Buffer | null;
  /** Memory of somebody else that is released when this has been sent; null when there is none, or a later chunk lies in it too. */
  held: HeldMemory | null;
}

/** Chunk size when nobody says otherwise. */
const CHUNK_OCTETS = 65_536;
/** Free chunks kept when nobody says otherwise. */
const CHUNKS_KEPT = 64;
/** Size of a small chunk: a few replies, a heartbeat. Thousands of quiet connections that all say one thing in a turn cost no more. */
const SMALL_CHUNK_OCTETS = 4096;
/** Small chunks are worth it only when the others are at least this many times as large; so many more of them are kept, too. */
const SMALL_CHUNKS_EACH = 4;
/** A body frame with at least this many octets is not copied: its octets are sent from where they lie (measured: bench large-1m). */
export const SLICE_OCTETS_MIN = 32_768;
/** Below this many octets a loop beats `Buffer.copy`, which costs the same whatever the size (measured: bench/micro/decode.ts). */
const LOOP_COPY_MAX = 16;

const NOTHING = Buffer.alloc(0);
const NO_VIEW = viewOf(NOTHING);

/** Chunks for all connections of a broker; keeps a bounded number of free ones. */
export class ChunkPool {
  /** Size of a chunk. */
  readonly chunkBytes: number;
  /** Size of a small chunk; the same as `chunkBytes` when that is small itself. */
  readonly smallChunkBytes: number;
  /** Free chunks of a size kept at most. */
  private readonly keep: number;
  private readonly free: Buffer[];
  private readonly freeSmall: Buffer[];

  constructor(chunkBytes: number = CHUNK_OCTETS, keep: number = CHUNKS_KEPT) {
    this.chunkBytes = chunkBytes;
    this.smallChunkBytes =
      chunkBytes < SMALL_CHUNK_OCTETS * SMALL_CHUNKS_EACH ? chunkBytes : SMALL_CHUNK_OCTETS;
    this.keep = keep;
    this.free = [];
    this.freeSmall = [];
  }

  /** Memory of `chunkBytes`. It is not cleared. */
  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(this.chunkBytes);
  }

  /** Memory of `smallChunkBytes`. */
  takeSmall(): Buffer {
    if (this.smallChunkBytes === this.chunkBytes) return this.take();
    return this.freeSmall.pop() ?? Buffer.allocUnsafeSlow(this.smallChunkBytes);
  }

  /** Takes memory back, when nobody reads it any more. Another size than those it hands out is left to the garbage collector. */
  give(memory: Buffer): void {
    const { length } = memory;
    if (length === this.chunkBytes) {
      if (this.free.length < this.keep) this.free.push(memory);
    } else if (length === this.smallChunkBytes) {
      if (this.freeSmall.length < this.keep * SMALL_CHUNKS_EACH) this.freeSmall.push(memory);
    }
  }

  /** Takes back the memory of chunks that have been sent. */
  giveAll(chunks: readonly Chunk[]): void {
    for (let i = 0; i < chunks.length; i++) {
      const { memory, held } = chunks[i]!;
      if (memory !== null) this.give(memory);
      if (held !== null) held.release();
    }
  }

  /** As `giveAll`, for chunks that will not be sent. Others that were may lie in the same held memory, so that is not released. */
  dropAll(chunks: readonly Chunk[]): void {
    for (let i = 0; i < chunks.length; i++) {
      const { memory } = chunks[i]!;
      if (memory !== null) this.give(memory);
    }
  }
}

/** Gathers what one connection sends until it is detached. */
export class FrameWriter {
  /** Chunk being written. */
  buffer: Buffer;
  /** By which words are written to it. */
  view: DataView;
  /** Where the next octet goes in it. */
  at: number;
  private readonly pool: ChunkPool;
  /** Where the part of `buffer` starts that is in no finished chunk. */
  private from: number;
  /** Finished chunks, in order. */
  private finished: Chunk[];
  /** Octets in them. */
  private finishedBytes: number;
  /** Octets detached last time: who said little is likely to say little again, and starts with a small chunk. */
  private lastBytes: number;
  /** Where the method frame begun last starts in `buffer`. */
  private frameAt: number;

  constructor(pool: ChunkPool) {
    this.buffer = NOTHING;
    this.view = NO_VIEW;
    this.at = 0;
    this.pool = pool;
    this.from = 0;
    this.finished = [];
    this.finishedBytes = 0;
    this.lastBytes = 0;
    this.frameAt = 0;
  }

  /** Octets written and not detached. */
  get pendingBytes(): number {
    return this.finishedBytes + this.at - this.from;
  }

  /** After it, `bytes` octets may be written at `buffer[at]` and up. */
  reserve(bytes: number): void {
    if (this.at + bytes > this.buffer.length) this.makeRoom(bytes);
  }

  /** Everything written so far, in order; the caller gives the chunks' memory back to the pool once they are sent. */
  detach(): Chunk[] {
    this.finish();
    const chunks = this.finished;
    this.finished = [];
    this.lastBytes = this.finishedBytes;
    this.finishedBytes = 0;
    return chunks;
  }

  /** Starts a method frame; its arguments follow, then `endMethod`. Room for all of it must have been reserved. */
  beginMethod(channel: number, id: number): void {
    const buf = this.buffer;
    const at = this.at;
    this.frameAt = at;
    buf[at] = FRAME_METHOD;
    buf[at + 1] = channel >>> 8;
    buf[at + 2] = channel;
    writeU32(buf, at + 7, id);
    this.at = at + 11;
  }

  /** Ends the method frame. */
  endMethod(): void {
    const buf = this.buffer;
    const at = this.at;
    writeU32(buf, this.frameAt + 3, at - this.frameAt - 7);
    buf[at] = FRAME_END;
    this.at = at + 1;
  }

  /** Octet 0 … 255; room must have been reserved, as for all of these. */
  u8(value: number): void {
    this.buffer[this.at++] = value;
  }

  u16(value: number): void {
    writeU16(this.buffer, this.at, value);
    this.at += 2;
  }

  u32(value: number): void {
    writeU32(this.buffer, this.at, value);
    this.at += 4;
  }

  u64(value: number | bigint): void {
    this.at = writeU64(this.buffer, this.at, value);
  }

  /** Length octet and text; takes up to 256 octets. @throws InvariantError when it has more than 255 octets */
  writeShortString(text: string): void {
    this.at = writeShortString(this.buffer, this.at, text);
  }

  /** Length and octets; takes 4 + length octets. */
  writeLongString(octets: Buffer): void {
    this.u32(octets.length);
    this.at += octets.copy(this.buffer, this.at);
  }

  /** Content header frame of class basic. `properties` are the flags word and the values, as `encodeProperties` makes them. */
  contentHeader(channel: number, bodySize: number, properties: Buffer): void {
    const length = properties.length;
    this.reserve(FRAME_OVERHEAD + 12 + length);
    const buf = this.buffer;
    const at = this.at;
    this.beginFrame(FRAME_HEADER, channel, 12 + length);
    writeU16(buf, at + 7, CLASS_BASIC);
    writeU16(buf, at + 9, 0);
    writeU64(buf, at + 11, bodySize);
    copyOctets(buf, at + 19, properties, 0, length);
    buf[at + 19 + length] = FRAME_END;
    this.at = at + 20 + length;
  }

  /**
   * The body `src[start, end)` in frames of at most `frameMax` octets (0: no limit). An empty body has no frame. Large frames are not
   * copied: `src` must stay as it is until the chunks have been sent.
   * @param held what `src` lies in, if somebody has to know; held once, if anything is not copied
   */
  bodyFrames(
    channel: number,
    src: Buffer,
    start: number,
    end: number,
    frameMax: number,
    held: HeldMemory | null = null,
  ): void {
    let slice: Chunk | null = null;
    const payloadMax = frameMax === 0 ? end - start : frameMax - FRAME_OVERHEAD;
    for (let from = start; from < end; from += payloadMax) {
      const to = Math.min(end, from + payloadMax);
      if (to - from >= SLICE_OCTETS_MIN) {
        this.reserve(FRAME_OVERHEAD);
        this.beginFrame(FRAME_BODY, channel, to - from);
        slice = this.appendSlice(src, from, to);
      } else if (this.at + FRAME_OVERHEAD + to - from <= this.buffer.length) {
        this.beginFrame(FRAME_BODY, channel, to - from);
        copyOctets(this.buffer, this.at, src, from, to);
        this.at += to - from;
      } else {
        // Begun in this chunk and ended in another one: the body is copied once, whatever its size.
        this.reserve(FRAME_OVERHEAD);
        this.beginFrame(FRAME_BODY, channel, to - from);
        this.appendRaw(src, from, to);
      }
      this.reserve(1);
      this.buffer[this.at++] = FRAME_END;
    }
    if (held === null || slice === null) return;
    held.hold();
    slice.held = held;
  }

  /** A heartbeat frame. */
  heartbeat(): void {
    this.reserve(FRAME_OVERHEAD);
    this.beginFrame(FRAME_HEARTBEAT, 0, 0);
    this.buffer[this.at++] = FRAME_END;
  }

  /** Copies `src[start, end)` to the output, over as many chunks as it takes. */
  appendRaw(src: Buffer, start: number, end: number): void {
    let from = start;
    while (from < end) {
      if (this.at === this.buffer.length) this.makeRoom(1);
      const to = Math.min(end, from + this.buffer.length - this.at);
      copyOctets(this.buffer, this.at, src, from, to);
      this.at += to - from;
      from = to;
    }
  }

  /** Puts `src[start, end)` into the output as a chunk of its own, without a copy. */
  private appendSlice(src: Buffer, start: number, end: number): Chunk {
    if (this.at > this.from) this.cut(null);
    const chunk: Chunk = { buffer: src.subarray(start, end), length: end - start, memory: null, held: null };
    this.finished.push(chunk);
    this.finishedBytes += end - start;
    return chunk;
  }

  private beginFrame(type: number, channel: number, size: number): void {
    const buf = this.buffer;
    const at = this.at;
    buf[at] = type;
    buf[at + 1] = channel >>> 8;
    buf[at + 2] = channel;
    writeU32(buf, at + 3, size);
    this.at = at + 7;
  }

  private makeRoom(bytes: number): void {
    this.finish();
    const { pool } = this;
    if (bytes > pool.chunkBytes) this.buffer = Buffer.allocUnsafeSlow(bytes);
    else if (
      bytes <= pool.smallChunkBytes &&
      this.finishedBytes === 0 &&
      this.lastBytes <= pool.smallChunkBytes
    ) {
      this.buffer = pool.takeSmall();
    } else this.buffer = pool.take();
    this.view = viewOf(this.buffer);
  }

  /** Puts what is in the memory being written behind the finished chunks, and lets go of the memory. */
  private finish(): void {
    const { buffer } = this;
    if (this.at > this.from) this.cut(buffer);
    else if (this.from > 0) this.giveWithLast(buffer);
    else if (buffer !== NOTHING) this.pool.give(buffer);
    this.buffer = NOTHING;
    this.view = NO_VIEW;
    this.at = 0;
    this.from = 0;
  }

  /** Makes a chunk of what was written since the last one. */
  private cut(memory: Buffer | null): void {
    const { buffer, from, at } = this;
    const length = at - from;
    this.finished.push({
      buffer: from === 0 ? buffer : buffer.subarray(from, at),
      length,
      memory,
      held: null,
    });
    this.finishedBytes += length;
    this.from = at;
  }

  /** Everything in `memory` lies in finished chunks already: it is free when all of them have been sent. */
  private giveWithLast(memory: Buffer): void {
    this.finished[this.finished.length - 1]!.memory = memory;
  }
}

function copyOctets(to: Buffer, at: number, src: Buffer, start: number, end: number): void {
  const length = end - start;
  if (length > LOOP_COPY_MAX) {
    src.copy(to, at, start, end);
    return;
  }
  for (let i = 0; i < length; i++) to[at + i] = src[start + i]!;
}

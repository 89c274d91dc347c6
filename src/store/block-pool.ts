// Buffers for segments that are being filled, used again once their batch is on disk. Owns the idle ones, bounded by their number
// (ordinary segments) and by their bytes (segments of one large message).
// Invariant: a buffer given back is seen by nobody else (a reader that still looks at it would see other entries).
//
// Why large ones too: V8 collects all garbage after every 64 MiB of fresh buffers, which cost more than the messages in them
// (bench large-1m).

/** Idle blocks kept at most; more are left to the garbage collector. */
const BLOCKS_IDLE_MAX = 48;
/** Requests of at least this many bytes take a whole block. */
export const BLOCK_REQUEST_MIN = 64 * 1024;
/** Idle buffers of large segments are kept up to this many bytes: what a store under pressure has in hand. */
const LARGE_IDLE_BYTES_MAX = 24 * 1024 * 1024;
/** Larger ones are not kept: one would hold the place of all. The largest message that is taken by default fits. */
const LARGE_KEPT_MAX = 20 * 1024 * 1024;
/** A buffer goes to a segment that fills a part of it at least, or small ones would use up those of large ones. */
const LARGER_MAX = 8;
/** Large buffers are of a multiple of so many bytes, so that messages of about one size fit into each other's. */
const LARGE_STEP = 256 * 1024;

/** Hands out buffers of at least a given size. */
export class BlockPool {
  readonly #blockBytes: number;
  readonly #idle: Buffer[] = [];
  /** Idle buffers above `blockBytes`, those used last at the end, and their bytes. */
  readonly #large: Buffer[] = [];
  #largeBytes = 0;

  /** @param blockBytes size of a whole block: the largest ordinary segment */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  take(bytes: number): Buffer {
    if (bytes > this.#blockBytes) return this.#takeLarge(bytes);
    if (bytes < BLOCK_REQUEST_MIN) return Buffer.allocUnsafe(bytes);
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#blockBytes);
  }

  give(buffer: Buffer): void {
    const { length } = buffer;
    if (length === this.#blockBytes) {
      if (this.#idle.length < BLOCKS_IDLE_MAX) this.#idle.push(buffer);
    } else if (length > this.#blockBytes && length <= LARGE_KEPT_MAX) this.#giveLarge(buffer);
  }

  #takeLarge(bytes: number): Buffer {
    if (bytes > LARGE_KEPT_MAX) return Buffer.allocUnsafeSlow(bytes);
    const large = this.#large;
    for (let i = large.length - 1; i >= 0; i--) {
      const buffer = large[i]!;
      if (buffer.length < bytes || buffer.length > bytes * LARGER_MAX) continue;
      large.splice(i, 1);
      this.#largeBytes -= buffer.length;
      return buffer;
    }
    return Buffer.allocUnsafeSlow(Math.ceil(bytes / LARGE_STEP) * LARGE_STEP);
  }

  /** The buffers used longest ago make room: they may be of a size that nobody asks for any more. */
  #giveLarge(buffer: Buffer): void {
    this.#large.push(buffer);
    this.#largeBytes += buffer.length;
    while (this.#largeBytes > LARGE_IDLE_BYTES_MAX) this.#largeBytes -= this.#large.shift()!.length;
  }
}

// Buffers for segments that are being filled, used again once their batch is on disk. Owns the idle ones, at most BLOCKS_IDLE_MAX.
// Invariant: a buffer given back is seen by nobody else (a reader that still looks at it would see other entries).

/** Idle blocks kept at most; more are left to the garbage collector. */
const BLOCKS_IDLE_MAX = 48;
/** Requests of at least this many bytes take a whole block. */
const BLOCK_REQUEST_MIN = 64 * 1024;

/** Hands out buffers of at least a given size. */
export class BlockPool {
  readonly #blockBytes: number;
  readonly #idle: Buffer[] = [];

  /** @param blockBytes size of a whole block: the largest ordinary segment */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  take(bytes: number): Buffer {
    if (bytes > this.#blockBytes) return Buffer.allocUnsafeSlow(bytes);
    if (bytes < BLOCK_REQUEST_MIN) return Buffer.allocUnsafe(bytes);
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#blockBytes);
  }

  give(buffer: Buffer): void {
    if (buffer.length === this.#blockBytes && this.#idle.length < BLOCKS_IDLE_MAX) this.#idle.push(buffer);
  }
}

// Replies of one channel, in the order of its requests, when some of them have to wait: for the disk (a durable declare is answered
// after its commit) or for a message that has to be fetched from the store (basic.get of a deep queue).
// Owns the waiting replies as encoded bytes. While nothing waits it is never asked.

import { type ChunkPool, FrameWriter } from '../protocol/frame-writer.ts';
import type { Ticket } from '../store/store.ts';

/** Replies that may wait on one channel before reading from its connection pauses. */
export const REPLIES_WAITING_MAX = 256;

interface Waiting {
  /** Batch it waits for; 0 for none. */
  ticket: Ticket;
  /** The encoded reply; null while it is not known. */
  bytes: Buffer | null;
  /** Called when it was sent. */
  sent: (() => void) | null;
}

/** A place in the order of replies that is filled later. */
export interface Slot {
  fill(encode: (w: FrameWriter) => void): void;
}

/** The waiting replies of one channel. */
export class Replies {
  private readonly line: Waiting[] = [];
  private readonly pool: ChunkPool;

  constructor(pool: ChunkPool) {
    this.pool = pool;
  }

  get isEmpty(): boolean {
    return this.line.length === 0;
  }

  get isFull(): boolean {
    return this.line.length >= REPLIES_WAITING_MAX;
  }

  /** A reply that goes out when `ticket` is on disk and all before it are gone. */
  add(ticket: Ticket, encode: (w: FrameWriter) => void, sent: (() => void) | null): void {
    this.line.push({ ticket, bytes: this.encoded(encode), sent });
  }

  /** A place for a reply that is not known yet. */
  reserve(): Slot {
    const waiting: Waiting = { ticket: 0, bytes: null, sent: null };
    this.line.push(waiting);
    return {
      fill: (encode) => {
        waiting.bytes = this.encoded(encode);
      },
    };
  }

  /** Sends what may go, in order. */
  release(durable: Ticket, w: FrameWriter): void {
    while (this.line.length !== 0) {
      const first = this.line[0]!;
      if (first.bytes === null || first.ticket > durable) return;
      this.line.shift();
      w.appendRaw(first.bytes, 0, first.bytes.length);
      first.sent?.();
    }
  }

  clear(): void {
    this.line.length = 0;
  }

  private encoded(encode: (w: FrameWriter) => void): Buffer {
    const w = new FrameWriter(this.pool);
    encode(w);
    const chunks = w.detach();
    const bytes = Buffer.concat(chunks.map((chunk) => chunk.buffer.subarray(0, chunk.length)));
    this.pool.giveAll(chunks);
    return bytes;
  }
}

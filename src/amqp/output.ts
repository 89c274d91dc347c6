// What goes out on one connection: gathered in one writer, handed to the socket once per turn, so much at a time.
// Owns the writer, the memory on its way to the socket, and what happens when the client does not read: deliveries stop, and a client
// that goes on asking without reading the answers is not read from, so that nothing grows without bound.
// Knows bytes only: no frame, no channel.
//
// Why two limits: deliveries are ours to hold back. Answers are the client's own doing; stopping to read for mere deliveries would lock
// up a client that publishes and consumes on one connection and does not read while it writes.

import type { Duplex } from 'node:stream';
import { Deque } from '../base/deque.ts';
import type { Turn } from '../base/turn.ts';
import { type Chunk, type ChunkPool, FrameWriter } from '../protocol/frame-writer.ts';
import type { ReadGate } from './read-gate.ts';

/**
 * Bytes that a socket is handed in one turn, and only when it has taken what it was handed before. The system copies all of it in one go
 * as long as the client reads, and nobody else is served meanwhile. More than what deliveries of a turn come to, so that it is large
 * messages only that go out in shares.
 */
export const TURN_SEND_BYTES = 2 * 1024 * 1024;

/** The same in a turn that is quick. */
export const QUICK_SEND_BYTES = 256 * 1024;

/** Chunks that the socket has not taken yet. */
interface Parcel {
  readonly chunks: readonly Chunk[];
  /** Bytes handed to the socket up to their end. */
  readonly end: number;
}

/** The outgoing side of one connection. */
export class Output {
  readonly writer: FrameWriter;
  /** Bytes that went out so far, those that wait for their turn included. */
  bytesOut = 0;

  private readonly stream: Duplex;
  private readonly pool: ChunkPool;
  private readonly gate: ReadGate;
  private readonly turn: Turn;
  /** Bytes that may wait: for deliveries to go on, and as answers before reading pauses. */
  private readonly bytesMax: number;
  /** Has `flush` called at the end of the turn. */
  private readonly wantsFlush: () => void;
  /** The socket takes more. */
  private writable = true;
  /** Somebody was told that there is no room. */
  private starved = false;
  /** What goes to the socket in later turns, in order; null before it was needed, as it mostly is. */
  private held: Deque<Chunk> | null = null;
  private heldBytes = 0;
  /** What the socket has not taken, in order; null as long as it has always taken everything at once, as it mostly does. */
  private underWay: Deque<Parcel> | null = null;
  /** Answers the client has not taken: those written before `mark` … */
  private olderAnswers = 0;
  /** … and those after it. */
  private newerAnswers = 0;
  /** `bytesOut` when the answers were divided. */
  private mark = 0;
  private readonly onTaken: () => void;

  constructor(
    stream: Duplex,
    pool: ChunkPool,
    gate: ReadGate,
    turn: Turn,
    bytesMax: number,
    wantsFlush: () => void,
  ) {
    this.stream = stream;
    this.turn = turn;
    this.pool = pool;
    this.gate = gate;
    this.bytesMax = bytesMax;
    this.wantsFlush = wantsFlush;
    this.writer = new FrameWriter(pool);
    this.onTaken = () => this.taken();
  }

  /** Room for one more delivery. Who is told that there is none is woken when there is (see `flush`). */
  hasRoom(): boolean {
    if (this.writable && this.writer.pendingBytes < this.bytesMax) return true;
    this.starved = true;
    return false;
  }

  /** More was written in this turn than one turn may answer. */
  get isOverfull(): boolean {
    return this.writer.pendingBytes >= this.bytesMax;
  }

  /** `bytes` of what was written answer the client's own requests. */
  answered(bytes: number): void {
    if (bytes <= 0) return;
    this.newerAnswers += bytes;
    if (this.olderAnswers + this.newerAnswers >= this.bytesMax) this.gate.pause('output');
  }

  /** Bytes that the client, or the system for it, has taken so far. */
  get bytesTaken(): number {
    return this.bytesOut - this.heldBytes - this.stream.writableLength;
  }

  /** Everything written was taken. */
  get isIdle(): boolean {
    return this.heldBytes === 0 && this.stream.writableLength === 0;
  }

  /** Hands what was gathered to the socket, this turn's share of it. @returns true when those who found no room may try again */
  flush(): boolean {
    const { writer } = this;
    const bytes = writer.pendingBytes;
    const share = this.turn.isQuick ? QUICK_SEND_BYTES : TURN_SEND_BYTES;
    if (bytes !== 0) {
      this.bytesOut += bytes;
      if (this.heldBytes === 0 && bytes <= share) this.send(writer.detach());
      else this.hold(writer.detach());
    }
    if (this.heldBytes !== 0 && this.stream.writableLength === 0) this.sendHeld(share);
    this.settle();
    if (!this.starved || !this.writable) return false;
    this.starved = false;
    return true;
  }

  /** Hands everything to the socket: nothing more will be written. */
  finish(): void {
    this.flush();
    if (this.heldBytes !== 0) this.sendHeld(Number.POSITIVE_INFINITY);
  }

  private hold(chunks: readonly Chunk[]): void {
    this.held ??= new Deque<Chunk>();
    for (let i = 0; i < chunks.length; i++) {
      this.held.push(chunks[i]!);
      this.heldBytes += chunks[i]!.length;
    }
    this.writable = false;
  }

  private sendHeld(bytesMax: number): void {
    const held = this.held!;
    const chunks: Chunk[] = [];
    let room = bytesMax;
    for (let chunk = held.shift(); chunk !== null; chunk = held.shift()) {
      const { buffer, length, memory, held: inMemory } = chunk;
      if (length > room) {
        // A frame may be as large as a message.
        chunks.push({ buffer, length: room, memory: null, held: null });
        held.unshift({
          buffer: buffer.subarray(room, length),
          length: length - room,
          memory,
          held: inMemory,
        });
        this.heldBytes -= room;
        break;
      }
      chunks.push(chunk);
      this.heldBytes -= length;
      room -= length;
      if (room === 0) break;
    }
    this.send(chunks);
    if (this.heldBytes !== 0 && this.stream.writableLength === 0) this.wantsFlush();
  }

  private send(chunks: readonly Chunk[]): void {
    const { stream } = this;
    // Nobody will read it.
    if (stream.destroyed || stream.writableEnded) return this.pool.dropAll(chunks);
    const last = chunks.length - 1;
    if (last > 0) stream.cork();
    for (let i = 0; i <= last; i++) {
      const { buffer, length } = chunks[i]!;
      const bytes = length === buffer.length ? buffer : buffer.subarray(0, length);
      if (i === last) stream.write(bytes, this.onTaken);
      else stream.write(bytes);
    }
    if (last > 0) stream.uncork();
    // Mostly the system takes everything at once.
    if (stream.destroyed) this.pool.dropAll(chunks);
    else if (stream.writableLength === 0) this.pool.giveAll(chunks);
    else {
      this.underWay ??= new Deque<Parcel>();
      this.underWay.push({ chunks, end: this.bytesOut - this.heldBytes });
    }
    this.writable = this.heldBytes + stream.writableLength < this.bytesMax;
  }

  /** The socket has taken some of what it was given. */
  private taken(): void {
    const { stream, underWay } = this;
    if (underWay === null || underWay.length === 0 || stream.destroyed) return;
    const taken = this.bytesTaken;
    for (
      let parcel = underWay.peekFront();
      parcel !== null && parcel.end <= taken;
      parcel = underWay.peekFront()
    ) {
      underWay.shift();
      this.pool.giveAll(parcel.chunks);
    }
    this.writable = this.heldBytes + stream.writableLength < this.bytesMax;
    this.settle();
    if ((this.starved && this.writable) || (this.heldBytes !== 0 && stream.writableLength === 0))
      this.wantsFlush();
  }

  /** Forgets the answers that were taken, and reads on when few enough are left. */
  private settle(): void {
    const taken = this.bytesTaken;
    if (taken >= this.mark) this.olderAnswers = 0;
    // What lies in the writer still has its place behind `bytesOut`: it is divided at the flush.
    if (this.olderAnswers === 0 && this.writer.pendingBytes === 0) {
      if (taken < this.bytesOut) this.olderAnswers = this.newerAnswers;
      this.newerAnswers = 0;
      this.mark = this.bytesOut;
    }
    if (this.olderAnswers + this.newerAnswers < this.bytesMax) this.gate.resume('output');
  }
}

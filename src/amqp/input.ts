// What comes in on one connection: chunks become the protocol header and frames, which are handed to the connection in their order.
// Owns the reader, the gate, the share of a turn, and what happens to bytes that have come when the gate closes: they wait in the reader,
// and are handled before the stream flows on. Knows no method.

import type { Duplex } from 'node:stream';
import { QUICK_TURNS } from '../base/turn.ts';
import { aimReads } from '../net/read-buffer.ts';
import { DecodeError } from '../protocol/errors.ts';
import { FrameReader } from '../protocol/frame-reader.ts';
import type { Connection } from './connection.ts';
import { FramingError } from './errors.ts';
import { HEADER_LENGTH } from './handshake.ts';
import { HANDSHAKE_FRAME_MAX } from './options.ts';
import { ReadGate } from './read-gate.ts';

/** Split body frames from this many octets on are read in parts: their content has a buffer of its own. */
const BODY_PARTS_FROM = 16_384;

/** Bytes read from one client in a turn that is quick: some 0.2 ms of small messages. */
export const QUICK_READ_BYTES = 32_768;
/** A client that sends no more than so many bytes in a turn asks little. */
const LITTLE_BYTES = 4_096;
/** What is to come of a body frame is read straight to its place from this many octets on: less of it goes along with what follows. */
const READ_IN_PLACE_MIN = 16_384;

const NOTHING = Buffer.alloc(0);

/** The incoming side of one connection. */
export class Input {
  readonly reader: FrameReader;
  readonly gate: ReadGate;
  /** Bytes that came so far. */
  bytesIn = 0;

  private readonly connection: Connection;
  private readonly stream: Duplex;
  /** Bytes of the protocol header that have come. */
  private header: Buffer = NOTHING;
  /** Bytes read in this turn. */
  private readThisTurn = 0;
  /** The last turn in which the client sent much. */
  private busyTurn = Number.NEGATIVE_INFINITY;
  /** The client has ended its half of the stream. */
  private hasEnded = false;
  /** Reading what the reader holds is asked for already. */
  private readingOn = false;

  constructor(connection: Connection, stream: Duplex) {
    this.connection = connection;
    this.stream = stream;
    this.reader = new FrameReader(HANDSHAKE_FRAME_MAX, BODY_PARTS_FROM);
    this.gate = new ReadGate(stream, () => this.onGateOpen());
    aimReads(stream, () => this.placeForRead());
  }

  /** Where the next read goes when it brings nothing but a part of a body; null otherwise. */
  private placeForRead(): Buffer | null {
    const { reader, connection } = this;
    const octets = reader.partAwaited;
    if (octets < READ_IN_PLACE_MIN || connection.isDeaf) return null;
    return connection.channels.find(reader.channel)?.placeForBody(octets) ?? null;
  }

  /** A chunk has come. Its bytes are somebody else's as soon as this returns. */
  take(chunk: Buffer): void {
    const { connection } = this;
    this.bytesIn += chunk.length;
    if (connection.isDeaf) return;
    this.reader.push(connection.state === 'header' ? this.behindHeader(chunk) : chunk);
    this.readThisTurn += chunk.length;
    const { turn } = connection.node;
    if (this.readThisTurn > LITTLE_BYTES) this.busyTurn = turn.turns;
    this.readFrames();
    this.reader.keepRest();
    const share = connection.options.turnReadBytes;
    if (this.readThisTurn >= (turn.isQuick && share > QUICK_READ_BYTES ? QUICK_READ_BYTES : share))
      this.gate.pause('turn');
    // What was read may have written to the store, and the turn's share has to be given back.
    connection.wantsFlush();
  }

  /** The stream has come to its end. A stream that is paused says so all the same, as soon as its last bytes were handed over. */
  end(): void {
    this.hasEnded = true;
    // They are handled first, if anybody still listens.
    if (!this.connection.isDeaf && (!this.gate.isOpen || !this.reader.isDrained)) return;
    this.connection.onInputEnd();
  }

  /** The turn is over: the client has its share again. */
  nextTurn(): void {
    this.readThisTurn = 0;
    this.gate.resume('turn');
  }

  /** Hands over the protocol header when it is complete. @returns the bytes behind it */
  private behindHeader(chunk: Buffer): Buffer {
    const octets = this.header.length === 0 ? chunk : Buffer.concat([this.header, chunk]);
    if (octets.length < HEADER_LENGTH) {
      this.header = Buffer.from(octets);
      return NOTHING;
    }
    this.header = NOTHING;
    this.connection.onHeader(octets.subarray(0, HEADER_LENGTH));
    return octets.subarray(HEADER_LENGTH);
  }

  /** Hands over the frames that the reader holds, as long as nothing speaks against it. */
  private readFrames(): void {
    const { connection, reader, gate } = this;
    const { output, writer } = connection;
    const { turn } = connection.node;
    const before = writer.pendingBytes;
    const { contents } = connection.brakes;
    // A chunk is mostly as much as the system hands over at once, 64 KiB.
    const restFrom = turn.isQuick ? reader.left - QUICK_READ_BYTES : 0;
    for (;;) {
      try {
        while (gate.isOpen && this.nextFrame()) {
          connection.onFrame(reader.type, reader.channel, reader.buffer, reader.start, reader.stop);
          if (output.isOverfull) gate.pause('output');
          if (restFrom > 0 && reader.left < restFrom) gate.pause('turn');
        }
        break;
      } catch (error) {
        connection.onFrameError(error, reader.channel);
        if (connection.isDeaf) return;
      }
    }
    const answer = writer.pendingBytes - before;
    output.answered(answer);
    // Who only acknowledges, or says that it is alive, waits for nothing.
    if ((answer > 0 || connection.brakes.contents !== contents) && turn.turns - this.busyTurn > QUICK_TURNS)
      turn.beQuick();
  }

  private nextFrame(): boolean {
    try {
      return this.reader.next();
    } catch (error) {
      throw error instanceof DecodeError ? new FramingError(error) : error;
    }
  }

  /** Nothing speaks against reading any more: first what has come already, then the stream. */
  private onGateOpen(): void {
    if (this.reader.isDrained && !this.hasEnded) {
      this.stream.resume();
      return;
    }
    if (this.readingOn) return;
    this.readingOn = true;
    // Not from here: whoever opened the gate is in the middle of something.
    queueMicrotask(() => this.connection.guarded(() => this.readOn()));
  }

  private readOn(): void {
    this.readingOn = false;
    if (!this.gate.isOpen) return;
    this.readFrames();
    this.connection.wantsFlush();
    if (!this.gate.isOpen) return;
    if (this.hasEnded) this.end();
    else this.stream.resume();
  }
}

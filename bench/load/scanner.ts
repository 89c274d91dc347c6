// Counts what a broker sends, jumping from frame to frame without decoding.
// Owns the place in the byte stream; knows no socket. Deliveries and contents are counted here, every other method is handed on.
// Invariant: between two chunks either `carried` bytes of an unfinished frame wait in `carry`, or `skip` bytes of a body frame
// are still to come, never both.

import { BASIC_DELIVER, FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD } from './wire.ts';

/** What a scanner hands on. */
export interface ScannerSink {
  /** Any method but basic.deliver; the whole payload lies in `bytes` from `at` (the method id) to `stop`, valid during the call. */
  onMethod(id: number, bytes: Buffer, at: number, stop: number): void;
  /** Start of a content's first body frame; at least the first 8 bytes (or all, if it is shorter) lie in `bytes` at `at`. */
  onBody: ((bytes: Buffer, at: number, size: number) => void) | null;
}

/** Bytes of a body that must lie together before it is announced: the length of a timestamp. */
const STAMP = 8;
const HEAD = 7;

/** Scans the frames of one connection with one content at a time (one consuming channel). */
export class Scanner {
  /** basic.deliver methods seen. */
  deliveries = 0;
  /** Contents (of deliveries, gets and returns) whose last byte was seen. */
  contents = 0;
  /** Body bytes seen. */
  bodyBytes = 0;
  private readonly sink: ScannerSink;
  /** Body bytes of the present content still to come. */
  private remaining = 0;
  /** True until the first body frame of the present content. */
  private fresh = false;
  /** Bytes of a body frame, its end octet included, that the next chunks bring. */
  private skip = 0;
  /** Start of a frame that was cut by the end of a chunk. */
  private carry: Buffer = Buffer.alloc(64);
  private carried = 0;

  constructor(sink: ScannerSink) {
    this.sink = sink;
  }

  /** Takes the next `length` bytes of the stream. Nothing of `bytes` is kept. @throws Error when the stream is not made of frames */
  push(bytes: Buffer, length: number): void {
    let at = 0;
    if (this.skip > 0) {
      at = Math.min(this.skip, length);
      this.skip -= at;
      if (this.skip > 0) return;
      if (bytes[at - 1] !== FRAME_END) throw new Error('a body frame without its end octet');
    } else if (this.carried > 0) {
      at = this.complete(bytes, length);
      if (this.carried > 0) return;
      if (this.skip > 0) {
        this.pushRest(bytes, at, length);
        return;
      }
    }
    this.scan(bytes, at, length);
  }

  /** The bytes behind a carried frame start that left a body to skip. */
  private pushRest(bytes: Buffer, at: number, length: number): void {
    if (at < length) this.push(bytes.subarray(at, length), length - at);
  }

  /** Adds to the carried bytes until they make a frame (or enough of a body frame); returns the offset behind what was taken. */
  private complete(bytes: Buffer, length: number): number {
    let at = 0;
    for (;;) {
      const wanted = this.wanted();
      if (this.carried === wanted) break;
      const take = Math.min(wanted - this.carried, length - at);
      if (take === 0) return at;
      bytes.copy(this.carry, this.carried, at, at + take);
      this.carried += take;
      at += take;
    }
    const whole = this.carried;
    this.carried = 0;
    this.scan(this.carry, 0, whole);
    return at;
  }

  /** How many carried bytes can be scanned together. Makes room for them. */
  private wanted(): number {
    if (this.carried < HEAD) return HEAD;
    const total = HEAD + this.carry.readUInt32BE(3) + 1;
    if (this.carry[0] === FRAME_BODY) return Math.min(total, HEAD + STAMP);
    if (total > this.carry.length) {
      const grown = Buffer.alloc(total);
      this.carry.copy(grown, 0, 0, this.carried);
      this.carry = grown;
    }
    return total;
  }

  private scan(bytes: Buffer, start: number, length: number): void {
    let at = start;
    while (at + HEAD <= length) {
      const size =
        ((bytes[at + 3]! << 24) | (bytes[at + 4]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 6]!) >>> 0;
      const payload = at + HEAD;
      const next = payload + size + 1;
      const type = bytes[at]!;
      if (type === FRAME_BODY) {
        if (next > length && length - payload < STAMP) break;
        this.body(bytes, payload, size);
        if (next > length) {
          this.skip = next - length;
          return;
        }
      } else {
        if (next > length) break;
        if (type === FRAME_METHOD) this.method(bytes, payload, next - 1);
        else if (type === FRAME_HEADER) this.header(bytes, payload);
      }
      if (bytes[next - 1] !== FRAME_END) throw new Error(`a frame of type ${type} without its end octet`);
      at = next;
    }
    if (at < length) {
      if (length - at > this.carry.length) this.carry = Buffer.alloc(length - at);
      this.carried = bytes.copy(this.carry, 0, at, length);
    }
  }

  private method(bytes: Buffer, at: number, stop: number): void {
    const id = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (id === BASIC_DELIVER) this.deliveries += 1;
    else this.sink.onMethod(id, bytes, at, stop);
  }

  private header(bytes: Buffer, at: number): void {
    // Class, weight, then the body size in eight bytes, of which four are enough here.
    const size =
      ((bytes[at + 8]! << 24) | (bytes[at + 9]! << 16) | (bytes[at + 10]! << 8) | bytes[at + 11]!) >>> 0;
    this.remaining = size;
    this.fresh = true;
    if (size === 0) this.contents += 1;
  }

  private body(bytes: Buffer, at: number, size: number): void {
    if (this.fresh) {
      this.fresh = false;
      if (this.sink.onBody !== null) this.sink.onBody(bytes, at, size);
    }
    this.bodyBytes += size;
    this.remaining -= size;
    if (this.remaining === 0) this.contents += 1;
  }
}

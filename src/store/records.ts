// Layout of a segment: a header, the records of its entries one behind the other, a table of the body packs they name.
// Owns these bytes and nothing else: knows no queue, no file, no decision. Positions ascend; the first record's position is `first`.
//
//   segment   0 crc32 u32 | 4 version u8 | 5 kind u8 | 6 packs u16 | 8 count u32 | 12 first u48 | 18 last u48 | 24 recordsEnd u32
//             | 28 sharedBytes u32 | 32 records | packs times (pack u48, entries that name it u32)
//   record    flags u8 | [distance to the previous position, varint; else 1] | length varint | [lane u8] | [expiresAt u48]
//             | [tries u32] | [dueAt u48] | [pack u48, index in the pack u32] or `length` bytes

import type { EnqueueOptions, Lane, Position } from './store.ts';
import { CRC_BYTES, FORMAT_OLDEST, FORMAT_VERSION, sealValue } from './values.ts';

/** Where the records of a segment begin. */
export const RECORDS_AT = 32;
/** Most bytes that a record needs besides the message. */
export const RECORD_HEAD_MAX = 40;
/** Bytes of one line of the pack table. */
export const PACK_LINE_BYTES = 10;

const LASTING = 0;
const PASSING = 1;

const HAS_LANE = 1;
const HAS_EXPIRY = 2;
const HAS_TRIES = 4;
const IS_TRANSIENT = 8;
const IS_SHARED = 16;
const HAS_DISTANCE = 32;
const HAS_DUE = 64;
const KNOWN_FLAGS = 127;

function writeVarint(target: Buffer, at: number, value: number): number {
  let rest = value;
  while (rest > 127) {
    target[at++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/**
 * Writes everything of a record but its message and returns where the message goes.
 * @param distance from the previous record's position (1 for the first record of a segment)
 * @param pack number of the body pack, or 0 when the message follows in place
 */
export function writeRecordHead(
  target: Buffer,
  at: number,
  distance: number,
  length: number,
  options: EnqueueOptions | null,
  pack: number,
  index: number,
): number {
  if (options === null && pack === 0 && distance === 1) {
    target[at++] = 0;
    return writeVarint(target, at, length);
  }
  const lane = options?.lane ?? 0;
  const expiresAt = options?.expiresAt ?? 0;
  const tries = options?.tries ?? 0;
  const dueAt = options?.dueAt ?? 0;
  target[at++] =
    (lane === 0 ? 0 : HAS_LANE) |
    (expiresAt === 0 ? 0 : HAS_EXPIRY) |
    (tries === 0 ? 0 : HAS_TRIES) |
    (dueAt === 0 ? 0 : HAS_DUE) |
    (options?.transient === true ? IS_TRANSIENT : 0) |
    (pack === 0 ? 0 : IS_SHARED) |
    (distance === 1 ? 0 : HAS_DISTANCE);
  if (distance !== 1) at = writeVarint(target, at, distance);
  at = writeVarint(target, at, length);
  if (lane !== 0) target[at++] = lane;
  if (expiresAt !== 0) at = target.writeUIntLE(expiresAt, at, 6);
  if (tries !== 0) at = target.writeUInt32LE(tries, at);
  if (dueAt !== 0) at = target.writeUIntLE(dueAt, at, 6);
  if (pack !== 0) {
    at = target.writeUIntLE(pack, at, 6);
    at = target.writeUInt32LE(index, at);
  }
  return at;
}

/** Walks the records of one segment. Its fields describe the record that `read` met last; one cursor serves many walks. */
export class RecordCursor implements EnqueueOptions {
  position: Position = 0;
  lane: Lane = 0;
  expiresAt = 0;
  tries = 0;
  dueAt = 0;
  transient = false;
  /** Body pack that holds the message, 0 when it stands in the record. */
  pack = 0;
  /** Index of the message in its pack. */
  index = 0;
  /** Bytes of the message, wherever they stand. */
  length = 0;
  /** Where the message begins when it stands in the record. */
  start = 0;
  /** Where the next record begins. */
  next = 0;
  /** Set when the bytes make no sense; the walk must end then. */
  broken = false;

  /** Stands in front of the first record of a segment. */
  begin(first: Position): void {
    this.position = first - 1;
    this.next = RECORDS_AT;
    this.broken = false;
  }

  /** Stands behind the record at `position`, where the next one begins at `next`. */
  resume(position: Position, next: number): void {
    this.position = position;
    this.next = next;
    this.broken = false;
  }

  /** Reads the record at `next`; false at the end, or when the bytes make no sense (`broken`). */
  read(segment: Buffer, recordsEnd: number): boolean {
    let at = this.next;
    if (at >= recordsEnd) {
      this.broken = at > recordsEnd;
      return false;
    }
    const flags = segment[at++]!;
    let distance = 1;
    if ((flags & HAS_DISTANCE) !== 0) {
      distance = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = segment[at++]!;
        distance |= (byte & 127) << shift;
        if (byte < 128 || shift > 21) break;
      }
    }
    let length = segment[at++]!;
    if (length > 127) {
      length &= 127;
      for (let shift = 7; ; shift += 7) {
        const byte = segment[at++]!;
        length |= (byte & 127) << shift;
        if (byte < 128 || shift > 21) break;
      }
    }
    this.position += distance;
    this.length = length;
    this.lane = (flags & HAS_LANE) === 0 ? 0 : segment[at++]!;
    this.expiresAt = 0;
    if ((flags & HAS_EXPIRY) !== 0) {
      this.expiresAt = at + 6 <= recordsEnd ? segment.readUIntLE(at, 6) : 0;
      at += 6;
    }
    this.tries = 0;
    if ((flags & HAS_TRIES) !== 0) {
      this.tries = at + 4 <= recordsEnd ? segment.readUInt32LE(at) : 0;
      at += 4;
    }
    this.dueAt = 0;
    if ((flags & HAS_DUE) !== 0) {
      this.dueAt = at + 6 <= recordsEnd ? segment.readUIntLE(at, 6) : 0;
      at += 6;
    }
    this.transient = (flags & IS_TRANSIENT) !== 0;
    this.pack = 0;
    this.index = 0;
    if ((flags & IS_SHARED) !== 0) {
      if (at + 10 <= recordsEnd) {
        this.pack = segment.readUIntLE(at, 6);
        this.index = segment.readUInt32LE(at + 6);
      }
      at += 10;
      this.start = at;
    } else {
      this.start = at;
      at += length;
    }
    this.next = at;
    // Behind the end there are no numbers, hence the negation.
    if (!(at <= recordsEnd) || distance < 1 || length < 0 || (flags & ~KNOWN_FLAGS) !== 0) {
      this.broken = true;
      return false;
    }
    return true;
  }
}

/** Header of a segment, as far as it is not implied by the key. */
export interface SegmentHeader {
  readonly count: number;
  readonly first: Position;
  readonly last: Position;
  readonly recordsEnd: number;
  /** Bytes of the messages that stand in packs. */
  readonly sharedBytes: number;
  /** Lines of the pack table behind the records. */
  readonly packs: number;
  /** All of its entries are transient: it means nothing after a restart and is not in the tally. */
  readonly passing: boolean;
}

/**
 * Completes a segment whose records and pack table are written: fills in the header and the checksum.
 * @param segment exactly the bytes to store
 */
export function sealSegment(segment: Buffer, header: SegmentHeader): void {
  segment[CRC_BYTES] = FORMAT_VERSION;
  segment[5] = header.passing ? PASSING : LASTING;
  segment.writeUInt16LE(header.packs, 6);
  segment.writeUInt32LE(header.count, 8);
  segment.writeUIntLE(header.first, 12, 6);
  segment.writeUIntLE(header.last, 18, 6);
  segment.writeUInt32LE(header.recordsEnd, 24);
  segment.writeUInt32LE(header.sharedBytes, 28);
  sealValue(segment);
}

/** Header of an intact segment; null when it makes no sense. */
export function readSegmentHeader(segment: Buffer): SegmentHeader | null {
  if (segment.length < RECORDS_AT) return null;
  const version = segment[CRC_BYTES]!;
  if (version < FORMAT_OLDEST || version > FORMAT_VERSION) return null;
  const packs = segment.readUInt16LE(6);
  const recordsEnd = segment.readUInt32LE(24);
  if (recordsEnd < RECORDS_AT || recordsEnd + packs * PACK_LINE_BYTES !== segment.length) return null;
  return {
    count: segment.readUInt32LE(8),
    first: segment.readUIntLE(12, 6),
    last: segment.readUIntLE(18, 6),
    recordsEnd,
    sharedBytes: segment.readUInt32LE(28),
    packs,
    passing: segment[5] === PASSING,
  };
}

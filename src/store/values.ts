// The small stored values: head, mark, settlement, removals, definition; and the checksum that every value begins with.
// Owns their bytes. Knows nothing of when they are written. The entries themselves: records.ts.
// Every value is crc32 (u32, over all that follows) and then its fields, little-endian.

import { crc32 } from 'node:zlib';
import type { Lane, Position } from './store.ts';

/**
 * Version of the whole layout: keys, values, records. A store of a later version is refused. What each brought:
 * 1 the first; 2 entries that wait for a time: a field of the record, and lines of the settlement that have it; segments of nothing but
 * transient entries are marked and not in the tally; large values of a LevelDB store stand in files (value-files.ts). 3 lanes are used:
 * one number may hold the entries of several levels of a queue; removals.
 */
export const FORMAT_VERSION = 3;
/** Oldest version that is read. What is written is of the newest; a store becomes of that version with its next commit. */
export const FORMAT_OLDEST = 1;
/** Bytes of the checksum in front of every value. */
export const CRC_BYTES = 4;

/** Writes the checksum of a value whose other bytes are complete, and returns it. */
export function sealValue(value: Buffer): number {
  const crc = crc32(value.subarray(CRC_BYTES));
  value.writeUInt32LE(crc, 0);
  return crc;
}

/** True when the value is as it was written. */
export function isIntact(value: Buffer): boolean {
  return value.length >= CRC_BYTES && value.readUInt32LE(0) === crc32(value.subarray(CRC_BYTES));
}

/** What one key and its value add to the tally: depends on every bit of both. */
export function tallyHash(key: Buffer, value: Buffer): number {
  return crc32(key, value.readUInt32LE(0));
}

// ── format ──

const STORE_NAME = 'leveret';

/** The text under the format key; plain JSON, so that people can read it too. */
export function encodeFormat(): Buffer {
  return Buffer.from(JSON.stringify({ store: STORE_NAME, format: FORMAT_VERSION }));
}

/** The version in a format text; null when it is no such text. */
export function decodeFormat(value: Buffer): number | null {
  try {
    const parsed: unknown = JSON.parse(value.toString('utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('store' in parsed) || !('format' in parsed))
      return null;
    return parsed.store === STORE_NAME && typeof parsed.format === 'number' ? parsed.format : null;
  } catch {
    return null;
  }
}

// ── head ──

/** Counters as they stand after a commit, and the tally of everything that is stored then. */
export interface Head {
  /** Number of the commit; the next one takes a larger. */
  readonly commit: number;
  /** First segment number never used. */
  readonly nextSegment: number;
  /** First body pack number never used. */
  readonly nextPack: number;
  /** Keys stored, the store's own facts aside. */
  readonly keys: number;
  /** All of their tally hashes, combined by exclusive or. */
  readonly hash: number;
  /** True when the store was closed after this commit and not opened since. */
  readonly clean: boolean;
}

const HEAD_BYTES = CRC_BYTES + 1 + 6 * 4 + 4;

export function encodeHead(head: Head): Buffer {
  const value = Buffer.allocUnsafe(HEAD_BYTES);
  value[4] = head.clean ? 1 : 0;
  value.writeUIntLE(head.commit, 5, 6);
  value.writeUIntLE(head.nextSegment, 11, 6);
  value.writeUIntLE(head.nextPack, 17, 6);
  value.writeUIntLE(head.keys, 23, 6);
  value.writeUInt32LE(head.hash, 29);
  sealValue(value);
  return value;
}

/** Null when the value is damaged. */
export function decodeHead(value: Buffer): Head | null {
  if (value.length !== HEAD_BYTES || !isIntact(value)) return null;
  return {
    clean: value[4] === 1,
    commit: value.readUIntLE(5, 6),
    nextSegment: value.readUIntLE(11, 6),
    nextPack: value.readUIntLE(17, 6),
    keys: value.readUIntLE(23, 6),
    hash: value.readUInt32LE(29),
  };
}

// ── definition ──

export function encodeDefinition(bytes: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(CRC_BYTES + bytes.length);
  value.set(bytes, CRC_BYTES);
  sealValue(value);
  return value;
}

/** The bytes of an intact definition. */
export function decodeDefinition(value: Buffer): Buffer {
  return value.subarray(CRC_BYTES);
}

// ── mark of a queue ──

/** What is kept of a queue beside its entries. */
export interface Mark {
  /** No position at or above this was used yet; moves in steps, ahead of the positions. */
  readonly horizon: Position;
  /** Per lane: entries up to here may have been delivered. */
  readonly deliveredUpTo: ReadonlyMap<Lane, Position>;
}

const MARK_FIXED_BYTES = CRC_BYTES + 6 + 2;
const MARK_LANE_BYTES = 7;

export function encodeMark(horizon: Position, deliveredUpTo: ReadonlyMap<Lane, Position> | null): Buffer {
  const lanes = deliveredUpTo === null ? 0 : deliveredUpTo.size;
  const value = Buffer.allocUnsafe(MARK_FIXED_BYTES + lanes * MARK_LANE_BYTES);
  value.writeUIntLE(horizon, 4, 6);
  value.writeUInt16LE(lanes, 10);
  let at = MARK_FIXED_BYTES;
  if (deliveredUpTo !== null) {
    for (const [lane, upTo] of deliveredUpTo) {
      value[at] = lane;
      value.writeUIntLE(upTo, at + 1, 6);
      at += MARK_LANE_BYTES;
    }
  }
  sealValue(value);
  return value;
}

/** Null when an intact value is still not a mark. */
export function decodeMark(value: Buffer): Mark | null {
  if (value.length < MARK_FIXED_BYTES) return null;
  const lanes = value.readUInt16LE(10);
  if (value.length !== MARK_FIXED_BYTES + lanes * MARK_LANE_BYTES) return null;
  const deliveredUpTo = new Map<Lane, Position>();
  for (let at = MARK_FIXED_BYTES; at < value.length; at += MARK_LANE_BYTES) {
    deliveredUpTo.set(value[at]!, value.readUIntLE(at + 1, 6));
  }
  return { horizon: value.readUIntLE(4, 6), deliveredUpTo };
}

// ── settlement of a segment ──

/** What happened to a stored segment's entries. Bit i of `dead` speaks of position `first + i`; absent bits are clear. */
export interface Settlement {
  readonly first: Position;
  readonly dead: Uint8Array | null;
  /** By offset from `first`, what `Shard.returned` told of living entries last. */
  readonly returned: ReadonlyMap<number, Returned> | null;
}

/** What `Shard.returned` told of an entry. */
export interface Returned {
  readonly tries: number;
  readonly dueAt: number;
}

// settlement   0 crc32 u32 | 4 first u48 | 10 full bytes u32 | 14 further bytes u32 | 18 lines u24 | 21 kind of line u8 | 22 bitmap | lines
// line         offset u32 | tries u32 | in lines of kind 1: dueAt u48
// Before format 2 the kind was the upper byte of the number of lines, which never came so far.
const SETTLEMENT_FIXED_BYTES = CRC_BYTES + 6 + 4 + 4 + 4;
const LINES_PLAIN = 0;
const LINES_WITH_TIME = 1;
const LINE_PLAIN_BYTES = 8;
const LINE_WITH_TIME_BYTES = 14;

// Queues are mostly emptied from the front, so the leading full bytes of the bitmap are counted instead of written.
export function encodeSettlement(settlement: Settlement): Buffer {
  const { dead, returned } = settlement;
  let from = 0;
  let to = dead === null ? 0 : dead.length;
  if (dead !== null) {
    while (to > 0 && dead[to - 1] === 0) to--;
    while (from < to && dead[from] === 0xff) from++;
  }
  const lines = returned === null ? 0 : returned.size;
  const kind = returned !== null && hasTimes(returned) ? LINES_WITH_TIME : LINES_PLAIN;
  const lineBytes = kind === LINES_PLAIN ? LINE_PLAIN_BYTES : LINE_WITH_TIME_BYTES;
  const value = Buffer.allocUnsafe(SETTLEMENT_FIXED_BYTES + (to - from) + lines * lineBytes);
  value.writeUIntLE(settlement.first, 4, 6);
  value.writeUInt32LE(from, 10);
  value.writeUInt32LE(to - from, 14);
  value.writeUIntLE(lines, 18, 3);
  value[21] = kind;
  let at = SETTLEMENT_FIXED_BYTES;
  if (dead !== null && to > from) {
    value.set(dead.subarray(from, to), at);
    at += to - from;
  }
  if (returned !== null) {
    for (const [offset, { tries, dueAt }] of returned) {
      value.writeUInt32LE(offset, at);
      value.writeUInt32LE(tries, at + 4);
      if (kind === LINES_WITH_TIME) value.writeUIntLE(dueAt, at + LINE_PLAIN_BYTES, 6);
      at += lineBytes;
    }
  }
  sealValue(value);
  return value;
}

function hasTimes(returned: ReadonlyMap<number, Returned>): boolean {
  for (const { dueAt } of returned.values()) if (dueAt !== 0) return true;
  return false;
}

/** Null when an intact value is still not a settlement. */
export function decodeSettlement(value: Buffer): Settlement | null {
  if (value.length < SETTLEMENT_FIXED_BYTES) return null;
  const full = value.readUInt32LE(10);
  const length = value.readUInt32LE(14);
  const lines = value.readUIntLE(18, 3);
  const kind = value[21];
  if (kind !== LINES_PLAIN && kind !== LINES_WITH_TIME) return null;
  const lineBytes = kind === LINES_PLAIN ? LINE_PLAIN_BYTES : LINE_WITH_TIME_BYTES;
  if (value.length !== SETTLEMENT_FIXED_BYTES + length + lines * lineBytes) return null;
  if (full + length > value.length * 8 + SETTLEMENT_BITMAP_MAX) return null;
  const dead = new Uint8Array(full + length);
  dead.fill(0xff, 0, full);
  let at = SETTLEMENT_FIXED_BYTES;
  dead.set(value.subarray(at, at + length), full);
  at += length;
  let returned: Map<number, Returned> | null = null;
  for (; at < value.length; at += lineBytes) {
    const dueAt = kind === LINES_PLAIN ? 0 : value.readUIntLE(at + LINE_PLAIN_BYTES, 6);
    returned ??= new Map();
    returned.set(value.readUInt32LE(at), { tries: value.readUInt32LE(at + 4), dueAt });
  }
  return { first: value.readUIntLE(4, 6), dead: dead.length === 0 ? null : dead, returned };
}

/** Largest bitmap a settlement may ask for, in bytes; more is damage. */
const SETTLEMENT_BITMAP_MAX = 1024 * 1024;

// ── removals of a queue ──

// removals     0 crc32 u32 | 4 count u32 | 8 first position u48 | distances to the positions behind it, varints
const REMOVALS_FIXED_BYTES = CRC_BYTES + 4 + 6;
/** A distance of 48 bits in pieces of seven. */
const DISTANCE_BYTES_MAX = 7;

/** Positions of entries that are gone, one or more, in any order. */
export function encodeRemovals(positions: readonly Position[]): Buffer {
  const sorted = Float64Array.from(positions).sort();
  const value = Buffer.allocUnsafe(REMOVALS_FIXED_BYTES + (sorted.length - 1) * DISTANCE_BYTES_MAX);
  value.writeUInt32LE(sorted.length, 4);
  value.writeUIntLE(sorted[0]!, 8, 6);
  let at = REMOVALS_FIXED_BYTES;
  for (let i = 1; i < sorted.length; i++) {
    let rest = sorted[i]! - sorted[i - 1]!;
    for (; rest > 127; rest = Math.floor(rest / 128)) value[at++] = (rest % 128) | 128;
    value[at++] = rest;
  }
  const written = value.subarray(0, at);
  sealValue(written);
  return written;
}

/** The positions, ascending; null when an intact value is still no removals. */
export function decodeRemovals(value: Buffer): Position[] | null {
  if (value.length < REMOVALS_FIXED_BYTES) return null;
  const count = value.readUInt32LE(4);
  let position = value.readUIntLE(8, 6);
  const positions = [position];
  let at = REMOVALS_FIXED_BYTES;
  while (at < value.length) {
    for (let unit = 1; ; unit *= 128) {
      const byte = value[at++];
      if (byte === undefined) return null;
      position += (byte & 127) * unit;
      if (byte < 128) break;
    }
    positions.push(position);
  }
  return positions.length === count ? positions : null;
}

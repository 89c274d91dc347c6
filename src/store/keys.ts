// The key layout and its order. Owns which keys exist; knows nothing of what stands under them.
// All numbers are big-endian, so byte order is number order and a scan meets, in this order: the store's own facts, the
// definitions, the body packs, then queue by queue its mark, its removals and its segments ascending, each behind its settlement.
//
//   01 'format'                            format version
//   01 'head'                              counters and tally of the last commit
//   02 utf8 key                            definition
//   03 pack u48                            bodies that several entries share
//   04 queue u32  000000000000  00         mark of a queue: position horizon, delivered horizons
//   04 queue u32  000000000000  01 serial u48   removals: entries of that queue that are gone, wherever they stand
//   04 queue u32  segment u48   00         settlement: which entries of that segment are gone, how often others came back
//   04 queue u32  segment u48   01         segment: entries, positions ascending

import type { QueueNo } from './store.ts';

const KIND_META = 1;
const KIND_DEFINITION = 2;
const KIND_PACK = 3;
const KIND_QUEUE = 4;
const PART_SETTLEMENT = 0;
const PART_SEGMENT = 1;
const QUEUE_KEY_BYTES = 12;
const REMOVALS_KEY_BYTES = 18;

/** Where the format version stands. */
export const FORMAT_KEY: Buffer = Buffer.from('\x01format', 'latin1');
/** Where the head stands. */
export const HEAD_KEY: Buffer = Buffer.from('\x01head', 'latin1');
/** Smallest key there can be: a scan from here sees everything. */
export const FIRST_KEY: Buffer = Buffer.from([0]);
/** Smallest key behind the store's own facts: recovery scans from here. */
export const FIRST_CONTENT_KEY: Buffer = Buffer.from([KIND_DEFINITION]);

export function definitionKey(key: string): Buffer {
  return Buffer.from(`\x02${key}`, 'utf8');
}

export function packKey(pack: number): Buffer {
  const key = Buffer.allocUnsafe(7);
  key[0] = KIND_PACK;
  key.writeUIntBE(pack, 1, 6);
  return key;
}

export function markKey(queue: QueueNo): Buffer {
  return queueKey(queue, 0, PART_SETTLEMENT);
}

export function settlementKey(queue: QueueNo, segment: number): Buffer {
  return queueKey(queue, segment, PART_SETTLEMENT);
}

export function segmentKey(queue: QueueNo, segment: number): Buffer {
  return queueKey(queue, segment, PART_SEGMENT);
}

/** Ascending by serial, behind the mark of the queue and in front of its segments. */
export function removalsKey(queue: QueueNo, serial: number): Buffer {
  const key = Buffer.allocUnsafe(REMOVALS_KEY_BYTES);
  queueKey(queue, 0, PART_SEGMENT).copy(key);
  key.writeUIntBE(serial, QUEUE_KEY_BYTES, 6);
  return key;
}

function queueKey(queue: QueueNo, segment: number, part: number): Buffer {
  const key = Buffer.allocUnsafe(QUEUE_KEY_BYTES);
  key[0] = KIND_QUEUE;
  key.writeUInt32BE(queue, 1);
  key.writeUIntBE(segment, 5, 6);
  key[11] = part;
  return key;
}

/** What a key names; `number` is the pack, the segment or the serial of the removals. */
export type KeyName =
  | { readonly kind: 'meta'; readonly key: string }
  | { readonly kind: 'definition'; readonly key: string }
  | { readonly kind: 'pack'; readonly number: number }
  | { readonly kind: 'mark'; readonly queue: QueueNo }
  | { readonly kind: 'settlement' | 'segment' | 'removals'; readonly queue: QueueNo; readonly number: number }
  | { readonly kind: 'unknown' };

const UNKNOWN: KeyName = { kind: 'unknown' };

export function decodeKey(key: Buffer): KeyName {
  switch (key[0]) {
    case KIND_META:
      return { kind: 'meta', key: key.toString('utf8', 1) };
    case KIND_DEFINITION:
      return { kind: 'definition', key: key.toString('utf8', 1) };
    case KIND_PACK:
      return key.length === 7 ? { kind: 'pack', number: key.readUIntBE(1, 6) } : UNKNOWN;
    case KIND_QUEUE: {
      if (key.length < QUEUE_KEY_BYTES) return UNKNOWN;
      const queue = key.readUInt32BE(1);
      const number = key.readUIntBE(5, 6);
      const part = key[11];
      if (key.length === REMOVALS_KEY_BYTES && part === PART_SEGMENT && number === 0)
        return { kind: 'removals', queue, number: key.readUIntBE(QUEUE_KEY_BYTES, 6) };
      if (key.length !== QUEUE_KEY_BYTES) return UNKNOWN;
      if (part === PART_SEGMENT && number > 0) return { kind: 'segment', queue, number };
      if (part !== PART_SETTLEMENT) return UNKNOWN;
      return number === 0 ? { kind: 'mark', queue } : { kind: 'settlement', queue, number };
    }
    default:
      return UNKNOWN;
  }
}

/** A key in words, for messages to people. */
export function describeKey(key: Buffer): string {
  const name = decodeKey(key);
  const hex = key.toString('hex');
  switch (name.kind) {
    case 'meta':
      return `store fact '${name.key}' (key ${hex})`;
    case 'definition':
      return `definition '${name.key}' (key ${hex})`;
    case 'pack':
      return `body pack ${name.number} (key ${hex})`;
    case 'mark':
      return `mark of queue ${name.queue} (key ${hex})`;
    case 'settlement':
    case 'segment':
    case 'removals':
      return `${name.kind} ${name.number} of queue ${name.queue} (key ${hex})`;
    case 'unknown':
      return `key ${hex}`;
  }
}

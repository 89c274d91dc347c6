// Field tables with their type octets kept, which client libraries throw away. Owns encoding and decoding of tables as
// lists of entries; independent of our own codec and of amqplib's.
// Invariant: `decodeTable(encodeTable(x))` is `x`, duplicates and order included.

/** Type octet and the value's bytes exactly as on the wire (with the length prefix of strings, arrays and tables). */
export interface TypedValue {
  readonly tag: string;
  readonly bytes: Buffer;
}

/** One entry of a table. */
export interface TypedEntry extends TypedValue {
  readonly key: string;
}

const FIXED_SIZES: Readonly<Record<string, number>> = {
  t: 1,
  b: 1,
  B: 1,
  s: 2,
  u: 2,
  I: 4,
  i: 4,
  f: 4,
  l: 8,
  L: 8,
  d: 8,
  T: 8,
  D: 5,
  V: 0,
};

/** An octet. */
export function octet(value: number): Buffer {
  return Buffer.from([value]);
}

/** Two octets, unsigned. */
export function short(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

/** Four octets, unsigned. */
export function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Eight octets, two's complement for negative values. */
export function longlong(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
}

/** A short string: one octet of length. */
export function shortstr(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([octet(bytes.length), bytes]);
}

/** A long string: four octets of length. */
export function longstr(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([long(bytes.length), bytes]);
}

/** An entry of type `tag`; `bytes` are the value's bytes with its own length prefix. */
export function entry(key: string, tag: string, bytes: Buffer): TypedEntry {
  return { key, tag, bytes };
}

/** The bytes of a table, its length in front. */
export function encodeTable(entries: readonly TypedEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const { key, tag, bytes } of entries) parts.push(shortstr(key), Buffer.from(tag, 'latin1'), bytes);
  return longstr(Buffer.concat(parts));
}

/** The bytes of an array, its length in front. */
export function encodeArray(items: readonly TypedValue[]): Buffer {
  const parts: Buffer[] = [];
  for (const { tag, bytes } of items) parts.push(Buffer.from(tag, 'latin1'), bytes);
  return longstr(Buffer.concat(parts));
}

/** Entries of the table that begins at `at` with its length. @throws on unknown tags and on lengths that do not fit. */
export function decodeTable(bytes: Buffer, at = 0): TypedEntry[] {
  const end = at + 4 + bytes.readUInt32BE(at);
  if (end > bytes.length) throw new Error('the table is longer than what holds it');
  const entries: TypedEntry[] = [];
  let next = at + 4;
  while (next < end) {
    const keyEnd = next + 1 + bytes[next]!;
    const key = bytes.toString('utf8', next + 1, keyEnd);
    const tag = String.fromCharCode(bytes[keyEnd]!);
    const size = sizeOf(tag, bytes, keyEnd + 1);
    entries.push({ key, tag, bytes: Buffer.from(bytes.subarray(keyEnd + 1, keyEnd + 1 + size)) });
    next = keyEnd + 1 + size;
  }
  if (next !== end) throw new Error('an entry crosses the end of its table');
  return entries;
}

function sizeOf(tag: string, bytes: Buffer, at: number): number {
  const fixed = FIXED_SIZES[tag];
  if (fixed !== undefined) return fixed;
  if ('SxAF'.includes(tag)) return 4 + bytes.readUInt32BE(at);
  throw new Error(`unknown field type '${tag}'`);
}

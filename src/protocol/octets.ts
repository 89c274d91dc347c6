// Integers in network byte order. Owns reading and writing them by hand, because Buffer's own methods check bounds that callers have
// checked already. Knows nothing of what the integers mean.

/** The two octets at `at`, unsigned. */
export function u16At(buf: Buffer, at: number): number {
  return (buf[at]! << 8) | buf[at + 1]!;
}

/**
 * The four octets at `at`, unsigned. NaN or any number when they are not all there: generated decoders add lengths up first and then
 * compare the end that comes out with the end that is.
 */
export function u32At(buf: Buffer, at: number): number {
  return buf[at]! * 0x1000000 + ((buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!);
}

/** The eight octets at `at`, unsigned: a number while that is a safe integer, else a bigint. */
export function u64At(buf: Buffer, at: number): number | bigint {
  const high = u32At(buf, at);
  return high < 0x200000 ? high * 0x100000000 + u32At(buf, at + 4) : buf.readBigUInt64BE(at);
}

/** Writes the low 16 bits of `value`. */
export function writeU16(buf: Buffer, at: number, value: number): void {
  buf[at] = value >>> 8;
  buf[at + 1] = value;
}

/** Writes `value`, 0 … 2^32-1. */
export function writeU32(buf: Buffer, at: number, value: number): void {
  buf[at] = value >>> 24;
  buf[at + 1] = value >>> 16;
  buf[at + 2] = value >>> 8;
  buf[at + 3] = value;
}

/** Writes `value`, 0 … 2^64-1; returns the offset behind it. */
export function writeU64(buf: Buffer, at: number, value: number | bigint): number {
  if (typeof value === 'bigint') return buf.writeBigUInt64BE(value, at);
  writeU32(buf, at, value / 0x100000000);
  writeU32(buf, at + 4, value);
  return at + 8;
}

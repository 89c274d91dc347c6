// The bytes of the harness' messages: each says which message it is, and every byte of it can be checked. Owns their layout.

/** Smallest body: publisher, number, length, and a word that is the same in every body of the harness. */
export const BODY_MIN = 16;
const MAGIC = 0x6c657665;
const noise = Buffer.alloc(1024 * 1024);
for (let i = 0, x = 1; i < noise.length; i++) {
  x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
  noise[i] = x >>> 16;
}

function noiseAt(publisher: number, number: number): number {
  return (publisher * 7919 + number * 31) % (noise.length / 2);
}

/** The body of a message; `length` is at least BODY_MIN. */
export function bodyOf(publisher: number, number: number, length: number): Buffer {
  const body = Buffer.allocUnsafe(length);
  body.writeUInt32BE(MAGIC, 0);
  body.writeUInt32BE(publisher, 4);
  body.writeUInt32BE(number, 8);
  body.writeUInt32BE(length, 12);
  const at = noiseAt(publisher, number);
  noise.copy(body, BODY_MIN, at, at + length - BODY_MIN);
  return body;
}

/** Which message a body is, by its first bytes; null for a body that is not of the harness. */
export function readBody(body: Buffer): { readonly publisher: number; readonly number: number } | null {
  if (body.length < BODY_MIN || body.readUInt32BE(0) !== MAGIC) return null;
  return { publisher: body.readUInt32BE(4), number: body.readUInt32BE(8) };
}

/** True when the body is that of the message to the last byte. */
export function hasBytes(body: Buffer, publisher: number, number: number, length: number): boolean {
  const at = noiseAt(publisher, number);
  return body.length === length && body.compare(noise, at, at + length - BODY_MIN, BODY_MIN, length) === 0;
}

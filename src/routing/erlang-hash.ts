// The hash that RabbitMQ's hash exchanges are built on, Erlang's `phash2`: so that a key goes to the same queue as there.
// Owns the hashes of the few kinds of values that are routed by. Knows nothing of routing.
//
// It is Bob Jenkins' hash of 1996 ("lookup2", public domain) over twelve octets at a time, with a start value per kind of value.
// Erlang promises that its results are the same on every machine and in every release; the tests hold ours against them.

import { SHORT_STRING_MAX, shortStringByteLength, writeShortString } from '../protocol/short-strings.ts';

const GOLDEN = 0x9e3779b9 | 0;
/** Multiples of the golden ratio tell the kinds of values apart. */
const END_OF_LIST = Math.imul(GOLDEN, 2);
const FLOAT = Math.imul(GOLDEN, 12);
const BINARY = Math.imul(GOLDEN, 13);
/** What an end of list adds to its kind. */
const NIL = 2;
/** Results have 27 bits. */
const RANGE = 0x7ffffff;

/** Erlang's hashes of the atoms that a message can bring. */
export const HASH_OF_UNDEFINED = 45_914_356;
export const HASH_OF_TRUE = 506_293;
export const HASH_OF_FALSE = 7_111_573;

/** Octets of the text that is being hashed, behind a length octet. */
const scratch = Buffer.alloc(1 + SHORT_STRING_MAX + 1);
const float = Buffer.alloc(8);

/** Result of the last `mix`; its three words are one value. */
let a = 0;
let b = 0;
let c = 0;

/** The hash of a text, taken as its octets. 27 bits. */
export function hashOfText(text: string): number {
  return addText(0, text) & RANGE;
}

/** The hash of octets. 27 bits. */
export function hashOfOctets(octets: Buffer): number {
  return addBinary(0, octets, 0, octets.length) & RANGE;
}

/** The hash of a list of texts. 27 bits. */
export function hashOfTexts(texts: readonly string[]): number {
  let hash = 0;
  for (let i = 0; i < texts.length; i++) hash = addText(hash, texts[i]!);
  c = hash;
  a = END_OF_LIST + NIL;
  b = END_OF_LIST;
  mix();
  return c & RANGE;
}

/** The hash of a floating-point number. 27 bits. */
export function hashOfFloat(value: number): number {
  // Adding zero makes one of both zeros.
  float.writeDoubleBE(value + 0);
  a = FLOAT + float.readInt32BE(0);
  b = FLOAT + float.readInt32BE(4);
  c = 0;
  mix();
  return c & RANGE;
}

/** The octets of a name or a key, as they were on the wire. A copy. */
export function octetsOf(text: string): Buffer {
  // CC keys may be longer than any name, and are always UTF-8.
  if (shortStringByteLength(text) > SHORT_STRING_MAX) return Buffer.from(text, 'utf8');
  const end = writeShortString(scratch, 0, text);
  return Buffer.from(scratch.subarray(1, end));
}

function addText(hash: number, text: string): number {
  if (shortStringByteLength(text) > SHORT_STRING_MAX) {
    const octets = Buffer.from(text, 'utf8');
    return addBinary(hash, octets, 0, octets.length);
  }
  return addBinary(hash, scratch, 1, writeShortString(scratch, 0, text));
}

function addBinary(hash: number, octets: Buffer, start: number, end: number): number {
  const seed = (BINARY + hash) | 0;
  // Erlang: an empty one is its start value.
  if (start === end) return seed;
  a = GOLDEN;
  b = GOLDEN;
  c = seed;
  let at = start;
  for (; end - at >= 12; at += 12) {
    a = (a + octets.readInt32LE(at)) | 0;
    b = (b + octets.readInt32LE(at + 4)) | 0;
    c = (c + octets.readInt32LE(at + 8)) | 0;
    mix();
  }
  c = (c + end - start) | 0;
  // What is left, up to eleven octets; the lowest octet of the third word belongs to the length.
  for (let i = 0; at < end; i++, at++) {
    const octet = octets[at]!;
    if (i < 4) a = (a + (octet << (8 * i))) | 0;
    else if (i < 8) b = (b + (octet << (8 * (i - 4)))) | 0;
    else c = (c + (octet << (8 * (i - 7)))) | 0;
  }
  mix();
  return c;
}

/** Jenkins' mixing of three words, all of them wrapping at 32 bits. */
function mix(): void {
  a = (a - b - c) ^ (c >>> 13);
  b = (b - c - a) ^ (a << 8);
  c = (c - a - b) ^ (b >>> 13);
  a = (a - b - c) ^ (c >>> 12);
  b = (b - c - a) ^ (a << 16);
  c = (c - a - b) ^ (b >>> 5);
  a = (a - b - c) ^ (c >>> 3);
  b = (b - c - a) ^ (a << 10);
  c = (c - a - b) ^ (b >>> 15);
}

// Short strings: up to 255 octets of UTF-8 behind a length octet. Owns the interning of names and the rule for bytes that are not UTF-8.
// Knows nothing of methods or frames.
//
// Names (queues, exchanges, routing keys) repeat from message to message, so they are looked up by their octets in a table of fixed
// size; making a string anew costs several times as much. One entry per slot, the last one wins: nothing to evict, nothing to grow.
//
// Bytes that are not UTF-8 are refused or, where the protocol lets them pass, kept: each octet that is not part of valid UTF-8 becomes
// the lone surrogate U+DC00 + octet, which no valid text contains, and is written back as that octet. So they survive unchanged.

import { isUtf8 } from 'node:buffer';
import { assert } from '../base/assert.ts';
import { malformedUtf8 } from './errors.ts';

/** Octets a short string may have. */
export const SHORT_STRING_MAX = 255;

/** Slots of the intern table, a power of two. */
const SLOTS = 2048;
/** Longest string that is interned. */
const INTERNED_MAX = 64;
/** Words of four octets that the longest one fills. */
const SLOT_WORDS = 16;
/** Where the lone surrogates that stand for octets start. */
const ESCAPE_BASE = 0xdc00;
/** Set in a word that is not all ASCII. */
const BEYOND_ASCII = 0x80808080;

/** Per slot the octets of its string as words, the last one filled up with zeros. */
const keys = new Int32Array(SLOTS * SLOT_WORDS);
/** Per slot the number of octets; 0 in a slot that was never used, and nothing of that length is looked up. */
const lengths = new Uint8Array(SLOTS);
/** Per slot the string. */
const strings: string[] = new Array<string>(SLOTS).fill('');
/** The octets being looked up, as words. */
const wanted = new Int32Array(SLOT_WORDS);

/** The string of these octets, shared between calls. @throws DecodeError 501 when they are not UTF-8. */
export function internShortString(buf: Buffer, start: number, end: number): string {
  return intern(buf, start, end, true);
}

/** As `internShortString`, for names whose octets need not be UTF-8: they are kept, see the head of this file. */
export function internAnyShortString(buf: Buffer, start: number, end: number): string {
  return intern(buf, start, end, false);
}

/** The string of these octets, not interned. @throws DecodeError 501 when they are not UTF-8. */
export function decodeShortString(buf: Buffer, start: number, end: number): string {
  return decodeUtf8(buf, start, end) ?? refuse();
}

/** As `decodeShortString`, for text whose octets need not be UTF-8. */
export function decodeAnyShortString(buf: Buffer, start: number, end: number): string {
  return decodeUtf8(buf, start, end) ?? decodeEscaping(buf, start, end);
}

/** The text of these octets, or null when they are not UTF-8. */
export function decodeUtf8(buf: Buffer, start: number, end: number): string | null {
  const text = buf.toString('utf8', start, end);
  // Broken UTF-8 always shows as U+FFFD, but U+FFFD may also have been sent; only then it is worth looking closer.
  if (text.includes('\ufffd') && !isUtf8(buf.subarray(start, end))) return null;
  return text;
}

/** Octets of `text` on the wire. */
export function shortStringByteLength(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) length += 1;
    else if (unit < 0x800) length += 2;
    else if (isEscape(unit)) length += 1;
    else if (isPair(text, i)) {
      length += 4;
      i++;
    } else length += 3;
  }
  return length;
}

/**
 * Writes length octet and text; returns the offset behind them. 256 octets must be free at `at`.
 * @throws InvariantError when the text has more than 255 octets: whoever makes texts cuts them first (`fitShortString`).
 */
export function writeShortString(buf: Buffer, at: number, text: string): number {
  const length = text.length;
  assert(length <= SHORT_STRING_MAX, 'a short string has at most 255 octets');
  const start = at + 1;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return writeBeyondAscii(buf, at, text);
    buf[start + i] = unit;
  }
  buf[at] = length;
  return start + length;
}

/** Cuts a text to what a short string holds, the way RabbitMQ does: 252 octets and three dots. */
export function fitShortString(text: string): string {
  if (text.length <= 63 || shortStringByteLength(text) <= SHORT_STRING_MAX) return text;
  let fitting = '';
  let length = 0;
  for (const character of text) {
    length += shortStringByteLength(character);
    if (length > SHORT_STRING_MAX - 3) break;
    fitting += character;
  }
  return `${fitting}...`;
}

/** Words instead of octets: hashing and comparing them costs half as much (measured: bench/micro/decode.ts). */
function intern(buf: Buffer, start: number, end: number, strict: boolean): string {
  const length = end - start;
  if (length === 0) return '';
  if (length > INTERNED_MAX)
    return strict ? decodeShortString(buf, start, end) : decodeAnyShortString(buf, start, end);
  let hash = length;
  let seen = 0;
  let words = 0;
  let at = start;
  for (; at < end - 3; at += 4) {
    const word = buf[at]! | (buf[at + 1]! << 8) | (buf[at + 2]! << 16) | (buf[at + 3]! << 24);
    wanted[words++] = word;
    seen |= word;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
  }
  if (at < end) {
    let word = buf[at]!;
    if (at + 1 < end) word |= buf[at + 1]! << 8;
    if (at + 2 < end) word |= buf[at + 2]! << 16;
    wanted[words++] = word;
    seen |= word;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
  }
  const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
  if (lengths[slot] === length) {
    const key = slot * SLOT_WORDS;
    let i = 0;
    while (i < words && keys[key + i] === wanted[i]) i++;
    if (i === words) return strings[slot]!;
  }
  if ((seen & BEYOND_ASCII) !== 0 && !isUtf8(buf.subarray(start, end))) {
    // Never remembered: a strict look-up of the same octets must fail.
    return strict ? refuse() : decodeEscaping(buf, start, end);
  }
  return remember(buf, start, end, slot, words);
}

function remember(buf: Buffer, start: number, end: number, slot: number, words: number): string {
  const text = buf.toString('utf8', start, end);
  const key = slot * SLOT_WORDS;
  for (let i = 0; i < words; i++) keys[key + i] = wanted[i]!;
  lengths[slot] = end - start;
  strings[slot] = text;
  return text;
}

function refuse(): never {
  throw malformedUtf8();
}

/** The longest valid pieces as text, every octet between them as a lone surrogate. */
function decodeEscaping(buf: Buffer, start: number, end: number): string {
  let text = '';
  let at = start;
  while (at < end) {
    const size = characterSize(buf, at, end);
    if (size === 0) text += String.fromCharCode(ESCAPE_BASE + buf[at]!);
    else text += buf.toString('utf8', at, at + size);
    at += size === 0 ? 1 : size;
  }
  return text;
}

/** Octets of the valid UTF-8 character at `at`; 0 when there is none. */
function characterSize(buf: Buffer, at: number, end: number): number {
  const octet = buf[at]!;
  const size = octet < 0x80 ? 1 : octet < 0xe0 ? 2 : octet < 0xf0 ? 3 : 4;
  return at + size <= end && isUtf8(buf.subarray(at, at + size)) ? size : 0;
}

/** Stands for an octet that is not UTF-8: U+DC80 … U+DCFF without a high surrogate in front (which `isPair` has taken before). */
function isEscape(unit: number): boolean {
  return unit >= ESCAPE_BASE + 0x80 && unit <= ESCAPE_BASE + 0xff;
}

function isPair(text: string, i: number): boolean {
  const unit = text.charCodeAt(i);
  const next = text.charCodeAt(i + 1);
  return unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff;
}

function writeBeyondAscii(buf: Buffer, at: number, text: string): number {
  assert(shortStringByteLength(text) <= SHORT_STRING_MAX, 'a short string has at most 255 octets');
  const start = at + 1;
  let to = start;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (isPair(text, i)) {
      to += buf.write(text.slice(i, i + 2), to, 'utf8');
      i++;
    } else if (isEscape(unit)) buf[to++] = unit - ESCAPE_BASE;
    // Any other lone surrogate is written as U+FFFD, which has three octets as well.
    else to += buf.write(text.charAt(i), to, 'utf8');
  }
  buf[at] = to - start;
  return to;
}

// Short strings: interning, octets that are not UTF-8, the cut.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeAnyShortString,
  decodeShortString,
  fitShortString,
  internAnyShortString,
  internShortString,
  shortStringByteLength,
  writeShortString,
} from '../../src/protocol/short-strings.ts';
import { shortText } from './arbitraries.ts';
import { refusal } from './refusal.ts';

const any = fc.uint8Array({ maxLength: 255 }).map((bytes) => Buffer.from(bytes));

describe('short strings', () => {
  it('come back as they were written, interned or not', () => {
    fc.assert(
      fc.property(shortText, fc.integer({ min: 0, max: 9 }), (text, at) => {
        const buf = Buffer.alloc(300);
        const end = writeShortString(buf, at, text);
        expect(end).toBe(at + 1 + Buffer.byteLength(text));
        expect(shortStringByteLength(text)).toBe(end - at - 1);
        for (const read of [
          internShortString,
          internAnyShortString,
          decodeShortString,
          decodeAnyShortString,
        ]) {
          expect(read(buf, at + 1, end)).toBe(text);
          expect(read(buf, at + 1, end)).toBe(text);
        }
      }),
    );
  });

  it('keep any octets, text or not', () => {
    fc.assert(
      fc.property(any, (octets) => {
        const text = decodeAnyShortString(octets, 0, octets.length);
        expect(internAnyShortString(octets, 0, octets.length)).toBe(text);
        expect(shortStringByteLength(text)).toBe(octets.length);
        const buf = Buffer.alloc(256);
        expect(writeShortString(buf, 0, text)).toBe(octets.length + 1);
        expect(buf.subarray(1, octets.length + 1)).toEqual(octets);
      }),
      { numRuns: 500 },
    );
  });

  it('are refused when they are not UTF-8, also after they were once let pass', () => {
    for (const octets of [
      [0xff],
      [0x61, 0xc3],
      [0xc3, 0x28],
      [0xed, 0xa0, 0x80],
      [0xc0, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
    ]) {
      const buf = Buffer.from(octets);
      internAnyShortString(buf, 0, buf.length);
      for (const read of [internShortString, decodeShortString]) {
        expect(refusal(() => read(buf, 0, buf.length))).toMatchObject({
          code: 501,
          message: 'Malformed UTF-8 in shortstr',
        });
      }
    }
  });

  it('with the replacement character in them are text like any other', () => {
    const buf = Buffer.from('a\ufffdb');
    expect(internShortString(buf, 0, buf.length)).toBe('a\ufffdb');
  });

  it('stay right when more names are used than the table holds', () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `queue.${(i * 7919) % 5003}`);
    for (const name of names) {
      const buf = Buffer.from(name);
      expect(internShortString(buf, 0, buf.length)).toBe(name);
    }
  });

  it('of more than 255 octets are never written', () => {
    const buf = Buffer.alloc(1000);
    expect(() => writeShortString(buf, 0, 'a'.repeat(256))).toThrow('at most 255 octets');
    expect(() => writeShortString(buf, 0, 'é'.repeat(128))).toThrow('at most 255 octets');
  });

  it('are cut to 252 octets and three dots, never inside a character', () => {
    expect(fitShortString('a'.repeat(255))).toBe('a'.repeat(255));
    expect(fitShortString('a'.repeat(256))).toBe(`${'a'.repeat(252)}...`);
    expect(fitShortString('é'.repeat(200))).toBe(`${'é'.repeat(126)}...`);
    expect(fitShortString(`a${'😀'.repeat(100)}`)).toBe(`a${'😀'.repeat(62)}...`);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        const fitting = fitShortString(text);
        expect(shortStringByteLength(fitting)).toBeLessThanOrEqual(255);
        if (shortStringByteLength(text) <= 255) expect(fitting).toBe(text);
      }),
    );
  });
});

// Field tables: bytes, bounds, meaning.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROTOCOL } from '../../spec/extensions.ts';
import {
  decodeTable,
  EMPTY_TABLE,
  encodeTable,
  type FieldTable,
  type FieldValue,
  fieldTypeName,
  plainOf,
  sameTable,
  sameValue,
  skipTable,
  TABLE_DEPTH_MAX,
  tableByteLength,
  tableOf,
  writeTable,
} from '../../src/protocol/field-table.ts';
import { asWritten, fieldTable, fieldValue } from './arbitraries.ts';
import { decodeTableIndependently } from './independent-decoder.ts';
import { mayRefuse, refusal } from './refusal.ts';

/** A table of one entry `a` from the octets of tag and value. */
function single(...octets: readonly number[]): Buffer {
  return Buffer.from([0, 0, 0, octets.length + 2, 1, 0x61, ...octets]);
}

function valueIn(...octets: readonly number[]): FieldValue | undefined {
  const buf = single(...octets);
  return decodeTable(buf, 0, buf.length).get('a');
}

const int = (value: number | bigint, tag: 'b' | 'B' | 's' | 'u' | 'I' | 'i' | 'l' | 'L' = 'I') =>
  ({ tag, value }) as FieldValue;
const text = (value: string | Buffer): FieldValue => ({ tag: 'S', value });

describe('a table on the wire', () => {
  it('comes back as it was sent, and the independent decoder agrees', () => {
    fc.assert(
      fc.property(fieldTable, (table) => {
        const octets = encodeTable(table);
        const expected = asWritten(table);
        expect(octets.length).toBe(tableByteLength(table));
        expect(decodeTable(octets, 0, octets.length)).toEqual(expected);
        expect(decodeTableIndependently(octets)).toEqual(expected);
        const among = Buffer.concat([Buffer.alloc(5, 7), octets, Buffer.alloc(9, 7)]);
        expect(decodeTable(among, 5, 5 + octets.length)).toEqual(expected);
        expect(skipTable(among, 5, among.length)).toBe(5 + octets.length);
        expect(writeTable(among, 2, table)).toBe(2 + octets.length);
      }),
      { numRuns: 400 },
    );
  });

  it('reads every type as RabbitMQ does', () => {
    expect(valueIn(0x74, 2)).toEqual({ tag: 't', value: true });
    expect(valueIn(0x62, 0xff)).toEqual({ tag: 'b', value: -1 });
    expect(valueIn(0x42, 0xff)).toEqual({ tag: 'B', value: 255 });
    expect(valueIn(0x73, 0xff, 0xfe)).toEqual({ tag: 's', value: -2 });
    expect(valueIn(0x75, 0xff, 0xfe)).toEqual({ tag: 'u', value: 65534 });
    expect(valueIn(0x49, 0xff, 0xff, 0xff, 0xff)).toEqual({ tag: 'I', value: -1 });
    expect(valueIn(0x69, 0xff, 0xff, 0xff, 0xff)).toEqual({ tag: 'i', value: 4294967295 });
    expect(valueIn(0x6c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)).toEqual({ tag: 'l', value: -1 });
    // Signed too, whatever the specification says.
    expect(valueIn(0x4c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)).toEqual({ tag: 'L', value: -1 });
    expect(valueIn(0x4c, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)).toEqual({
      tag: 'L',
      value: 9223372036854775807n,
    });
    expect(valueIn(0x66, 0x3f, 0x80, 0, 0)).toEqual({ tag: 'f', value: 1 });
    expect(valueIn(0x64, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)).toEqual({ tag: 'd', value: 1.5 });
    expect(valueIn(0x44, 2, 0, 0, 0x30, 0x39)).toEqual({ tag: 'D', value: { scale: 2, value: 12345 } });
    expect(valueIn(0x53, 0, 0, 0, 2, 0x68, 0x69)).toEqual({ tag: 'S', value: 'hi' });
    expect(valueIn(0x53, 0, 0, 0, 1, 0xff)).toEqual({ tag: 'S', value: Buffer.from([0xff]) });
    expect(valueIn(0x78, 0, 0, 0, 2, 0x68, 0x69)).toEqual({ tag: 'x', value: Buffer.from('hi') });
    expect(valueIn(0x54, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)).toEqual({
      tag: 'T',
      value: 18446744073709551615n,
    });
    expect(valueIn(0x56)).toEqual({ tag: 'V', value: null });
    expect(valueIn(0x41, 0, 0, 0, 3, 0x56, 0x74, 0)).toEqual({
      tag: 'A',
      value: [
        { tag: 'V', value: null },
        { tag: 't', value: false },
      ],
    });
    expect(valueIn(0x46, 0, 0, 0, 0)).toEqual({ tag: 'F', value: EMPTY_TABLE });
  });

  it('writes L as l and keeps every other type', () => {
    const table = new Map([['a', int(5, 'L')]]);
    expect(encodeTable(table)).toEqual(single(0x6c, 0, 0, 0, 0, 0, 0, 0, 5));
  });

  it('keeps a text with the replacement character apart from octets that are no text', () => {
    expect(valueIn(0x53, 0, 0, 0, 3, 0xef, 0xbf, 0xbd)).toEqual({ tag: 'S', value: '\ufffd' });
  });

  it('lets the last value of a repeated name stand', () => {
    const octets = Buffer.from([0, 0, 0, 8, 1, 0x61, 0x42, 1, 1, 0x61, 0x42, 2]);
    expect(decodeTable(octets, 0, octets.length)).toEqual(new Map([['a', int(2, 'B')]]));
  });

  it('keeps names that are not UTF-8, as RabbitMQ does', () => {
    const octets = Buffer.from([0, 0, 0, 5, 2, 0xff, 0xfe, 0x42, 1]);
    expect(encodeTable(decodeTable(octets, 0, octets.length))).toEqual(octets);
  });

  it('shares no memory with what it was read from', () => {
    const octets = single(0x78, 0, 0, 0, 2, 0x68, 0x69);
    const table = decodeTable(octets, 0, octets.length);
    octets.fill(0);
    expect(table.get('a')).toEqual({ tag: 'x', value: Buffer.from('hi') });
  });
});

describe('a broken table', () => {
  it('is refused with 502 when cut short anywhere', () => {
    fc.assert(
      fc.property(fieldTable, (table) => {
        const octets = encodeTable(table);
        for (let end = Math.max(0, octets.length - 50); end < octets.length; end++) {
          expect(refusal(() => skipTable(octets, 0, end)).code).toBe(502);
          expect(refusal(() => decodeTable(octets.subarray(0, end), 0, end)).code).toBe(502);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('is refused when a value reaches beyond its own table, though not beyond the buffer', () => {
    const inner = Buffer.from([0, 0, 0, 5, 1, 0x61, 0x49, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(refusal(() => decodeTable(inner, 0, inner.length)).code).toBe(502);
    // A nested table that claims one octet more than the outer one has.
    const nested = single(0x46, 0, 0, 0, 1);
    expect(refusal(() => decodeTable(Buffer.concat([nested, Buffer.alloc(9)]), 0, nested.length)).code).toBe(
      502,
    );
    // A name that leaves no octet for the tag.
    const name = Buffer.from([0, 0, 0, 2, 1, 0x61, 0x56]);
    expect(refusal(() => decodeTable(name, 0, name.length)).code).toBe(502);
  });

  it('is refused with 502 for every tag nobody knows', () => {
    const known = new Set(PROTOCOL.fieldTags.map(({ tag }) => tag.charCodeAt(0)));
    for (let tag = 0; tag < 256; tag++) {
      const octets = single(tag, ...new Array<number>(8).fill(0));
      if (known.has(tag)) mayRefuse([502], () => decodeTable(octets, 0, octets.length));
      else
        expect(refusal(() => decodeTable(octets, 0, octets.length)).message).toMatch(
          `unknown field type ${tag}`,
        );
    }
  });

  it('is refused when it nests deeper than the limit, and accepted at the limit', () => {
    const nested = (depth: number) => {
      let table: FieldTable = EMPTY_TABLE;
      for (let i = 1; i < depth; i++) table = new Map([['a', { tag: 'F', value: table }]]);
      return encodeTable(table);
    };
    const deepest = nested(TABLE_DEPTH_MAX);
    expect(tableByteLength(decodeTable(deepest, 0, deepest.length))).toBe(deepest.length);
    const deeper = nested(TABLE_DEPTH_MAX + 1);
    expect(refusal(() => skipTable(deeper, 0, deeper.length)).code).toBe(502);
    // As deep as a large frame allows: refused at the limit, without running out of stack.
    const arrays = Buffer.alloc(500_000);
    for (let at = 0; at + 5 <= arrays.length; at += 5) {
      arrays[at] = 0x41;
      arrays.writeUInt32BE(arrays.length - at - 5, at + 1);
    }
    const octets = Buffer.concat([Buffer.alloc(4), Buffer.from([1, 0x61]), arrays]);
    octets.writeUInt32BE(octets.length - 4);
    expect(refusal(() => decodeTable(octets, 0, octets.length)).code).toBe(502);
  });

  it('costs no more memory than the bytes that are there, whatever lengths it claims', () => {
    const before = process.memoryUsage().arrayBuffers;
    for (const tag of [0x53, 0x78, 0x41, 0x46]) {
      const octets = single(tag, 0xff, 0xff, 0xff, 0xff);
      for (let i = 0; i < 100; i++)
        expect(refusal(() => decodeTable(octets, 0, octets.length)).code).toBe(502);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16_000_000);
  });

  it('meets random and flipped bytes with 502 or a result, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fieldTable, fc.nat(), (bytes, table, flip) => {
        mayRefuse([502], () => decodeTable(Buffer.from(bytes), 0, bytes.length));
        const octets = encodeTable(table);
        octets[flip % octets.length] = octets.readUInt8(flip % octets.length) ^ (1 << (flip % 8));
        mayRefuse([502], () => decodeTable(octets, 0, octets.length));
      }),
      { numRuns: 500 },
    );
  });
});

describe('types', () => {
  it('have the names that RabbitMQ shows', () => {
    for (const { tag, name } of PROTOCOL.fieldTags) {
      expect(fieldTypeName({ tag, value: null } as FieldValue)).toBe(name);
    }
  });

  it('have the sizes that the table says', () => {
    fc.assert(
      fc.property(fieldValue, (value) => {
        const spec = PROTOCOL.fieldTags.find(({ tag }) => tag === value.tag);
        if (spec === undefined) throw new Error(`no such tag ${value.tag}`);
        const length = tableByteLength(new Map([['', value]])) - 6;
        if (spec.size !== null) expect(length).toBe(spec.size);
        else expect(length).toBeGreaterThanOrEqual(4);
      }),
    );
  });
});

describe('sameValue', () => {
  it('compares integers of any width, but nothing across kinds', () => {
    expect(sameValue(int(1, 'b'), int(1, 'l'))).toBe(true);
    expect(sameValue(int(1, 'L'), int(1n, 'l'))).toBe(true);
    expect(sameValue(int(2, 'I'), int(1n, 'l'))).toBe(false);
    expect(sameValue(int(1), { tag: 'd', value: 1 })).toBe(false);
    expect(sameValue(int(1), text('1'))).toBe(false);
    expect(sameValue(int(1), { tag: 't', value: true })).toBe(false);
    expect(sameValue(int(1), { tag: 'T', value: 1 })).toBe(false);
    expect(sameValue({ tag: 'f', value: 0.5 }, { tag: 'd', value: 0.5 })).toBe(true);
    expect(sameValue(text('a'), text(Buffer.from('a')))).toBe(true);
    expect(sameValue(text('a'), { tag: 'x', value: Buffer.from('a') })).toBe(false);
    expect(sameValue({ tag: 'V', value: null }, { tag: 'V', value: null })).toBe(true);
    expect(
      sameValue({ tag: 'D', value: { scale: 1, value: 10 } }, { tag: 'D', value: { scale: 1, value: 10 } }),
    ).toBe(true);
    expect(
      sameValue({ tag: 'D', value: { scale: 1, value: 10 } }, { tag: 'D', value: { scale: 2, value: 100 } }),
    ).toBe(false);
  });

  it('says yes for every value and its decoded copy', () => {
    fc.assert(
      fc.property(fieldTable, (table) => {
        const octets = encodeTable(table);
        const copy = decodeTable(octets, 0, octets.length);
        expect(sameTable(table, copy)).toBe(true);
        expect(sameTable(table, new Map([...copy].reverse()))).toBe(true);
        expect(sameTable(table, new Map([...copy, ['one more', int(1)]]))).toBe(copy.has('one more'));
      }),
    );
  });

  it('sees differences deep inside', () => {
    const list = (last: number): FieldValue => ({
      tag: 'A',
      value: [int(1), { tag: 'F', value: new Map([['a', int(last)]]) }],
    });
    expect(sameValue(list(2), list(2))).toBe(true);
    expect(sameValue(list(2), list(3))).toBe(false);
    expect(sameValue(list(2), { tag: 'A', value: [int(1)] })).toBe(false);
  });
});

describe('plain values', () => {
  it('become the types that clients send for them', () => {
    const table = tableOf({
      text: 'x',
      small: 5,
      large: 2 ** 40,
      whole: -3,
      fraction: 1.5,
      big: 2n ** 60n,
      yes: true,
      when: new Date(5_999),
      list: [1, 'a'],
      inner: { a: null },
      octets: Buffer.from([1]),
      ready: { tag: 's', value: 7 },
      missing: undefined,
    });
    expect(table).toEqual(
      new Map<string, FieldValue>([
        ['text', text('x')],
        ['small', int(5)],
        ['large', int(2 ** 40, 'l')],
        ['whole', int(-3)],
        ['fraction', { tag: 'd', value: 1.5 }],
        ['big', int(2n ** 60n, 'l')],
        ['yes', { tag: 't', value: true }],
        ['when', { tag: 'T', value: 5 }],
        ['list', { tag: 'A', value: [int(1), text('a')] }],
        ['inner', { tag: 'F', value: new Map([['a', { tag: 'V', value: null }]]) }],
        ['octets', { tag: 'x', value: Buffer.from([1]) }],
        ['ready', int(7, 's')],
      ]),
    );
  });

  it('survive the way to a table and back', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3, noUnicodeString: false })),
        (plain) => {
          // An object of exactly `tag` and `value` would be taken for a field value.
          if (JSON.stringify(plain).includes('"tag"')) return;
          expect(JSON.parse(JSON.stringify(plainOf(tableOf(plain))))).toEqual(
            JSON.parse(JSON.stringify(plain)),
          );
        },
      ),
    );
  });

  it('can always be written as JSON', () => {
    fc.assert(fc.property(fieldTable, (table) => typeof JSON.stringify(plainOf(table)) === 'string'));
  });

  it('refuses what is no data', () => {
    expect(() => tableOf({ f: () => 1 })).toThrow('only data has a place in a field table');
  });

  it('keeps a header called __proto__ a header', () => {
    const plain = plainOf(new Map([['__proto__', text('x')]]));
    expect(JSON.stringify(plain)).toBe('{"__proto__":"x"}');
  });
});

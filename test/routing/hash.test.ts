// The hash functions against values that Erlang gave (erlang:phash2/1, and rand:uniform_s/1 of exs1024 seeded with the hash three times).
import { describe, expect, it } from 'vitest';
import {
  hashOfFloat,
  hashOfOctets,
  hashOfText,
  hashOfTexts,
  octetsOf,
} from '../../src/routing/erlang-hash.ts';
import { jumpHash } from '../../src/routing/jump-hash.ts';

const BUCKETS = [2, 3, 10, 100, 10_000, 1_000_000];

/** Octets, their hash, and the bucket among each of BUCKETS. */
const VALUES: readonly (readonly [Buffer, number, readonly number[]])[] = [
  [Buffer.from(''), 13708901, [0, 0, 9, 45, 8427, 792163]],
  [Buffer.from('a'), 112802447, [1, 1, 6, 47, 47, 322185]],
  [Buffer.from('ab'), 127597802, [1, 1, 6, 79, 7281, 990052]],
  [Buffer.from('hello world'), 33550279, [1, 1, 1, 78, 8245, 86937]],
  [Buffer.from('hello world!'), 25699699, [0, 0, 6, 42, 5633, 363364]],
  [Buffer.from('order.1234567890.region.eu'), 16058107, [1, 2, 3, 17, 17, 657828]],
  [Buffer.from([0]), 96315567, [0, 2, 5, 67, 4502, 65681]],
  [Buffer.from([255, 0, 128]), 70739353, [0, 2, 9, 24, 8318, 485418]],
  [Buffer.alloc(100, 'x'), 131552894, [0, 0, 4, 49, 8687, 775971]],
  [Buffer.alloc(255, 'y'), 97819287, [1, 1, 9, 88, 5179, 839266]],
  [Buffer.from('äöü'), 129325957, [0, 0, 3, 33, 9763, 66235]],
];

describe('the hash of hash exchanges', () => {
  it('is the one of Erlang, octet by octet', () => {
    for (const [octets, hash] of VALUES) expect(hashOfOctets(octets)).toBe(hash);
  });

  it('takes a text as the octets that came over the wire', () => {
    for (const text of ['', 'a', 'hello world', 'äöü'])
      expect(hashOfText(text)).toBe(hashOfOctets(Buffer.from(text)));
    // Octets that are not UTF-8 are kept as lone surrogates, see short-strings.ts.
    expect(hashOfText('\udcff\0\udc80')).toBe(70739353);
    expect(octetsOf('\udcff\0\udc80')).toEqual(Buffer.from([255, 0, 128]));
    const long = 'ä'.repeat(200);
    expect(hashOfText(long)).toBe(hashOfOctets(Buffer.from(long)));
    expect(octetsOf(long)).toEqual(Buffer.from(long));
  });

  it('is the one of Erlang for lists of texts and for floats', () => {
    const lists: readonly (readonly [readonly string[], number])[] = [
      [[''], 38220213],
      [['a'], 53691870],
      [['a', 'bc'], 20875735],
      [['hello world'], 100059412],
      [['k', '', 'hello world!!'], 38232531],
    ];
    for (const [texts, hash] of lists) expect(hashOfTexts(texts)).toBe(hash);
    expect([1.5, -2.25, 0, -0, 1e300].map(hashOfFloat)).toEqual([
      10380315, 106798634, 20875736, 20875736, 119088650,
    ]);
  });
});

describe('jumping', () => {
  it('ends in the bucket where RabbitMQ ends', () => {
    for (const [, hash, buckets] of VALUES) expect(BUCKETS.map((n) => jumpHash(hash, n))).toEqual(buckets);
    for (const hash of [0, 5, 1_000_000]) expect(jumpHash(hash, 1)).toBe(0);
  });

  it('moves a key to the new bucket or not at all when there is one bucket more', () => {
    let moved = 0;
    for (let key = 0; key < 10_000; key++) {
      const before = jumpHash(key, 9);
      const after = jumpHash(key, 10);
      if (before === after) continue;
      expect(after).toBe(9);
      moved++;
    }
    expect(moved).toBeGreaterThan(850);
    expect(moved).toBeLessThan(1_150);
  });
});

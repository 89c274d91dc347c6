// JSON numbers that JavaScript would change.

import { describe, expect, it } from 'vitest';
import { ExactNumber, parseExactJson, plainJson, stringifyExactJson } from '../../src/base/exact-json.ts';

describe('exact JSON', () => {
  it.each([
    '2.0',
    '-0.0',
    '1e3',
    '1E+21',
    '9007199254740993',
    '-9223372036854775808',
    '{"a":[1,2.5,3.0,{"b":12345678901234567890}],"c":"2.0","2.0":null}',
    '["say \\"2.0\\" \\\\",2.0,"\\\\",4.0]',
  ])('writes %s as it read it', (text) => {
    expect(stringifyExactJson(parseExactJson(text))).toBe(text);
  });

  it('gives ordinary numbers wherever they say the same', () => {
    expect(parseExactJson('[0, -1, 1.5, 9007199254740991, 1e-3]')).toEqual([0, -1, 1.5, 2 ** 53 - 1, 0.001]);
    expect(parseExactJson('[2.0]')).toEqual([new ExactNumber('2.0')]);
  });

  it('becomes plain JSON for whoever does not care', () => {
    const value = parseExactJson('{"a":[2.0,{"__proto__":3.0}]}');
    expect(JSON.stringify(value)).toBe('{"a":[2,{"__proto__":3}]}');
    expect(JSON.stringify(plainJson(value))).toBe('{"a":[2,{"__proto__":3}]}');
  });

  it.each(['', '{', '[1.0,]', '-', '1.', '01.0', '"open', '"\\', '[2.0 3.0]', '.5', 'NaN'])(
    'refuses %j as JSON.parse does',
    (text) => {
      expect(() => parseExactJson(text)).toThrow(SyntaxError);
    },
  );

  it('is written over several lines when asked', () => {
    expect(stringifyExactJson({ a: new ExactNumber('1.0') }, 2)).toBe('{\n  "a": 1.0\n}');
  });
});

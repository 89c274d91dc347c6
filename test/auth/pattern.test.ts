import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePattern, escapePattern } from '../../src/auth/pattern.ts';
import { BrokerError } from '../../src/base/errors.ts';

describe('permission patterns', () => {
  it('mean what they mean to RabbitMQ', () => {
    const cases: [pattern: string, yes: string[], no: string[]][] = [
      ['.*', ['', 'a', 'amq.default'], []],
      ['', [''], ['a']],
      ['^$', [''], ['a']],
      ['^(amq\\.gen.*|amq\\.default)$', ['amq.gen-x', 'amq.default'], ['amq.direct', 'xamq.default']],
      ['(?i)^task', ['TASKS', 'task'], ['my task']],
      ['\\Aa\\z', ['a'], ['aa', 'ab']],
      ['\\Aa\\Z', ['a', 'a\n'], ['ab']],
      ['^[[:alpha:]][[:alnum:]_-]*$', ['a1', 'Z_-'], ['1a', 'a.b']],
      ['^[^[:space:]]+$', ['ab'], ['a b']],
      ['^[]a]$', [']', 'a'], ['b']],
      ['^[^]a]$', ['b'], [']', 'a']],
      ['^\\d{2,3}$', ['12', '123'], ['1', '1234']],
      ['{username}', ['{username}'], ['u']],
      ['^(?:a|b)?c$', ['c', 'ac'], ['abc']],
      ['^(?=.*x)a', ['abx'], ['ab']],
    ];
    for (const [pattern, yes, no] of cases) {
      const compiled = compilePattern(pattern);
      for (const name of yes) expect([pattern, name, compiled.test(name)]).toEqual([pattern, name, true]);
      for (const name of no) expect([pattern, name, compiled.test(name)]).toEqual([pattern, name, false]);
    }
  });

  it('are refused when this engine would read them differently', () => {
    const foreign = ['a++', 'a?+', '\\Qa.b\\E', '\\R', '\\p{L}', '\\x{41}', '[[:foo:]]', '[[:alpha:'];
    for (const pattern of [
      ...foreign,
      '(',
      '[',
      'a**',
      '(?<=',
      '(?P<n>a)',
      '(?>a)',
      '\\g1',
      '[\\Qa]',
      'a\\',
    ]) {
      expect(() => compilePattern(pattern), pattern).toThrow(BrokerError);
    }
    expect(() => compilePattern('a'.repeat(5_000))).toThrow('longer than');
  });

  it('are answered in time however they are written', () => {
    const evil = [
      '(a+)+$',
      '^(a|aa)+$',
      '(.*)*x',
      '.*.*.*.*.*x',
      '(a?){60}b',
      '^(([a-z])+.)+[A-Z]$',
      '(x+x+)+y',
      '(a*)\\1b',
      // Without any repetition.
      `^${'(a|aa)'.repeat(40)}c$`,
      `^${'(aa?)'.repeat(40)}c$`,
      `^${'aa?'.repeat(40)}c$`,
      `^${'(?:a|aa)'.repeat(12)}.*.*c$`,
    ];
    for (const pattern of evil) {
      const compiled = compilePattern(pattern);
      const name = `${pattern.includes('x+') ? 'x'.repeat(254) : 'a'.repeat(254)}!`;
      const start = performance.now();
      expect([pattern, compiled.test(name)]).toEqual([pattern, false]);
      expect(performance.now() - start).toBeLessThan(500);
      // The next times the answer is known.
      const again = performance.now();
      for (let i = 0; i < 200; i++) compiled.test(name);
      expect(performance.now() - again).toBeLessThan(1_000);
    }
    const costly = compilePattern('^(a|b.*)+$');
    expect(costly.test('ab-anything')).toBe(true);
    expect(costly.test('c')).toBe(false);
    for (let i = 0; i < 1_100; i++) expect(costly.test(`c${i}`)).toBe(false);
  });

  it('can be made from any text, to match exactly that text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 30 }), fc.string({ maxLength: 30 }), (text, other) => {
        const compiled = compilePattern(`^x${escapePattern(text)}$`);
        expect(compiled.test(`x${text}`)).toBe(true);
        expect(compiled.test(`x${other}`)).toBe(other === text);
      }),
    );
  });

  it('never take longer than a name can cost, whatever an administrator writes', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      '.',
      '*',
      '+',
      '?',
      '(',
      ')',
      '|',
      '[ab]',
      '{2}',
      '^',
      '$',
      '.*',
      '(a|b)',
      '\\d',
      '\\w+',
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 14 }),
        fc.string({ unit: fc.constantFrom('a', 'b', '1'), minLength: 200, maxLength: 255 }),
        (pieces, name) => {
          let compiled: { test(name: string): boolean };
          try {
            compiled = compilePattern(pieces.join(''));
          } catch (error) {
            expect(error).toBeInstanceOf(BrokerError);
            return;
          }
          const start = performance.now();
          compiled.test(`${name}!`);
          expect([pieces.join(''), performance.now() - start < 1_000]).toEqual([pieces.join(''), true]);
        },
      ),
      {
        numRuns: 300,
        seed: 20_261_120,
        examples: [[['^', 'b', '|', '.*', '\\w+', '\\w+', '$'], 'ab1'.repeat(80)]],
      },
    );
  });
});

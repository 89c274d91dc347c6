import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../src/base/errors.ts';
import { type FieldTable, type FieldValue, tableOf } from '../../src/protocol/field-values.ts';
import { HeadersRouter } from '../../src/routing/headers.ts';
import type { Binding } from '../../src/routing/router.ts';
import { binding, messageWith, routed, routedRaw } from './support.ts';

/** A router with one binding, and whether it routes a message with these headers. */
function matches(args: Record<string, unknown>, headers: Record<string, unknown> | null): boolean {
  const router = new HeadersRouter();
  const table = tableOf(args);
  const made = binding({ name: 'q' }, '', table);
  router.check(made);
  router.bind(made);
  const message = messageWith(headers === null ? null : tableOf(headers));
  const found = routed(router, 'ignored', message).length === 1;
  router.unbind(made);
  expect(routed(router, '', message)).toEqual([]);
  return found;
}

function refusal(value: unknown): string {
  try {
    new HeadersRouter().check(binding({ name: 'q' }, '', tableOf({ 'x-match': value })));
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError);
    expect((error as BrokerError).reason).toBe('precondition-failed');
    return (error as BrokerError).message;
  }
  return '';
}

describe('headers exchange', () => {
  it('routes when all arguments match, which is also the rule when none is named', () => {
    for (const rule of [{}, { 'x-match': 'all' }]) {
      expect(matches({ ...rule, a: 1, b: 'x' }, { a: 1, b: 'x', c: true })).toBe(true);
      expect(matches({ ...rule, a: 1, b: 'x' }, { a: 1 })).toBe(false);
      expect(matches({ ...rule, a: 1, b: 'x' }, { a: 1, b: 'y' })).toBe(false);
      expect(matches({ ...rule, a: 1 }, null)).toBe(false);
    }
  });

  it('routes when any argument matches', () => {
    expect(matches({ 'x-match': 'any', a: 1, b: 'x' }, { a: 2, b: 'x' })).toBe(true);
    expect(matches({ 'x-match': 'any', a: 1, b: 'x' }, { a: 1, b: 'x' })).toBe(true);
    expect(matches({ 'x-match': 'any', a: 1, b: 'x' }, { a: 2, b: 'y' })).toBe(false);
    expect(matches({ 'x-match': 'any', a: 1 }, null)).toBe(false);
  });

  it('routes everything to a binding without conditions, unless it asks for any of them', () => {
    expect(matches({}, null)).toBe(true);
    expect(matches({ 'x-match': 'all' }, { a: 1 })).toBe(true);
    expect(matches({ 'x-match': 'all', 'x-other': 1 }, {})).toBe(true);
    expect(matches({ 'x-match': 'any' }, { a: 1 })).toBe(false);
    expect(matches({ 'x-match': 'any', 'x-other': 1 }, { 'x-other': 1 })).toBe(false);
  });

  it('compares names that start with x- only when told to', () => {
    expect(matches({ 'x-match': 'all', 'x-id': 1, a: 1 }, { a: 1 })).toBe(true);
    expect(matches({ 'x-match': 'all-with-x', 'x-id': 1, a: 1 }, { a: 1 })).toBe(false);
    expect(matches({ 'x-match': 'all-with-x', 'x-id': 1, a: 1 }, { a: 1, 'x-id': 1 })).toBe(true);
    expect(matches({ 'x-match': 'any-with-x', 'x-id': 1, a: 1 }, { 'x-id': 1 })).toBe(true);
    expect(matches({ 'x-match': 'any-with-x' }, { 'x-match': 'any-with-x' })).toBe(false);
    expect(matches({ 'x-match': 'all-with-x' }, {})).toBe(true);
  });

  it('asks only for presence where the argument is void', () => {
    expect(matches({ a: null }, { a: 'anything' })).toBe(true);
    expect(matches({ a: null }, { a: null })).toBe(true);
    expect(matches({ a: null, b: 1 }, { a: { deep: 1 }, b: 1 })).toBe(true);
    expect(matches({ a: null }, { b: 1 })).toBe(false);
    expect(matches({ 'x-match': 'any', a: null, b: 1 }, { a: [] })).toBe(true);
    expect(matches({ a: 1 }, { a: null })).toBe(false);
  });

  it('compares values, not their width, but never a number with a text', () => {
    expect(matches({ a: { tag: 'l', value: 1 } }, { a: { tag: 'b', value: 1 } })).toBe(true);
    expect(matches({ a: { tag: 'd', value: 1.5 } }, { a: { tag: 'f', value: 1.5 } })).toBe(true);
    expect(matches({ a: 1 }, { a: { tag: 'd', value: 1 } })).toBe(false);
    expect(matches({ a: 1 }, { a: '1' })).toBe(false);
    expect(matches({ a: true }, { a: 1 })).toBe(false);
    expect(matches({ a: true }, { a: 'true' })).toBe(false);
    expect(matches({ a: 'text' }, { a: Buffer.from('text') })).toBe(true);
    expect(matches({ 'x-match': 'any', a: 1 }, { a: { tag: 'd', value: 1 } })).toBe(false);
    expect(matches({ a: { b: [1, 'x'] } }, { a: { b: [1, 'x'] } })).toBe(true);
    expect(matches({ a: { b: [1, 'x'] } }, { a: { b: [1, 'y'] } })).toBe(false);
    expect(matches({ 'x-match': 'any', a: [1] }, { a: [1] })).toBe(true);
    expect(matches({ 'x-match': 'any', a: [1] }, { a: [2] })).toBe(false);
  });

  it('refuses an unknown x-match in the words RabbitMQ uses', () => {
    expect(refusal('all')).toBe('');
    expect(refusal('foo')).toBe(
      'Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x',
    );
    const texts: [unknown, string][] = [
      ['', 'value <<>>; expected all'],
      ['ALL', 'value <<"ALL">>; expected all'],
      ['é"\\\n', 'value <<"é\\"\\\\\\n">>; expected all'],
      ['\u0001', 'value <<1>>; expected all'],
      [1, 'type signedint (value 1); expected longstr'],
      [true, 'type bool (value true); expected longstr'],
      [null, 'type void (value undefined); expected longstr'],
      [1.5, 'type double (value 1.5); expected longstr'],
      [{ tag: 'd', value: 2 }, 'type double (value 2.0); expected longstr'],
      [{ tag: 'd', value: 1e300 }, 'type double (value 1.0e300); expected longstr'],
      [{ tag: 'd', value: 1e-7 }, 'type double (value 1.0e-7); expected longstr'],
      [{ a: 'b' }, 'type table (value [{<<"a">>,longstr,<<"b">>}]); expected longstr'],
      [['a', 1], 'type array (value [{longstr,<<"a">>},{signedint,1}]); expected longstr'],
      [Buffer.from('all'), 'type binary (value <<"all">>); expected longstr'],
      [{ tag: 'T', value: 5 }, 'type timestamp (value 5); expected longstr'],
      [{ tag: 'D', value: { scale: 2, value: 1 } }, 'type decimal (value {2,1}); expected longstr'],
    ];
    for (const [value, text] of texts) expect(refusal(value)).toContain(`Invalid x-match field ${text}`);
  });

  it('gives a queue once when several headers of one binding match', () => {
    const router = new HeadersRouter();
    router.bind(binding({ name: 'q' }, '', tableOf({ 'x-match': 'any', a: 1, b: 2, c: null })));
    expect(routedRaw(router, '', messageWith(tableOf({ a: 1, b: 2, c: 3 })))).toEqual(['q']);
  });

  it('agrees with the plain rule on any bindings and headers, while bindings come and go', () => {
    const value: fc.Arbitrary<FieldValue> = fc.oneof(
      fc.constantFrom<FieldValue>(
        { tag: 'I', value: 1 },
        { tag: 'l', value: 1 },
        { tag: 'l', value: 2n ** 60n },
        { tag: 'd', value: 1 },
        { tag: 'f', value: 0.5 },
        { tag: 'T', value: 1 },
        { tag: 't', value: true },
        { tag: 't', value: false },
        { tag: 'V', value: null },
        { tag: 'x', value: Buffer.from('1') },
        { tag: 'x', value: Buffer.from([0xff]) },
        { tag: 'S', value: Buffer.from([0xff]) },
        { tag: 'D', value: { scale: 0, value: 1 } },
        { tag: 'A', value: [{ tag: 'I', value: 1 }] },
        { tag: 'F', value: new Map([['a', { tag: 'I', value: 1 }]]) },
      ),
      fc.constantFrom('1', 'true', '', 'ÿ').map((text): FieldValue => ({ tag: 'S', value: text })),
    );
    const name = fc.constantFrom('a', 'b', 'c', 'x-a', 'x-match2');
    const table = fc
      .array(fc.tuple(name, value), { maxLength: 4 })
      .map((entries): FieldTable => new Map<string, FieldValue>(entries));
    const mode = fc.constantFrom('none', 'all', 'any', 'all-with-x', 'any-with-x');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(mode, table), { maxLength: 10 }),
        fc.array(fc.option(table, { nil: null }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 5 }),
        (rules, messages, removals) => {
          const router = new HeadersRouter();
          const bound: Binding[] = rules.map(([m, args], i) => {
            const withMode = new Map(args);
            if (m !== 'none') withMode.set('x-match', { tag: 'S', value: m });
            return binding({ name: `q${i}` }, '', withMode);
          });
          for (const b of bound) router.bind(b);
          const compare = () => {
            for (const headers of messages) {
              const wanted = bound.filter((b) => naiveMatch(b.arguments, headers ?? new Map()));
              expect(routedRaw(router, '', messageWith(headers))).toEqual(
                wanted.map((b) => b.destination.name).sort(),
              );
            }
          };
          compare();
          for (const removal of removals) {
            if (bound.length > 0) router.unbind(bound.splice(removal % bound.length, 1)[0]!);
          }
          compare();
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('looks only at the bindings under the headers a message carries', () => {
    const router = new HeadersRouter();
    const bound: Binding[] = [];
    for (let i = 0; i < 10_000; i++) {
      bound.push(binding({ name: `q${i}` }, '', tableOf({ format: 'pdf', type: 'report', customer: i })));
    }
    for (const b of bound) router.bind(b);
    const message = (customer: number) => messageWith(tableOf({ format: 'pdf', type: 'report', customer }));
    const start = performance.now();
    for (let i = 0; i < 10_000; i++) {
      if (routedRaw(router, '', message(i))[0] !== `q${i}`) throw new Error(`wrong at ${i}`);
    }
    // A scan of 10,000 bindings for each of 10,000 messages would take many seconds.
    expect(performance.now() - start).toBeLessThan(2_000);
    for (const b of bound) router.unbind(b);
    expect(routed(router, '', message(1))).toEqual([]);
  });
});

/** The rule as the specification words it. */
function naiveMatch(args: FieldTable, headers: FieldTable): boolean {
  const mode = String(args.get('x-match')?.value ?? 'all');
  const conditions = [...args].filter(
    ([name]) => name !== 'x-match' && (mode.endsWith('-with-x') || !name.startsWith('x-')),
  );
  const holds = ([name, wanted]: [string, FieldValue]): boolean => {
    const value = headers.get(name);
    if (value === undefined) return false;
    return wanted.tag === 'V' || plain(wanted) === plain(value);
  };
  return mode.startsWith('any') ? conditions.some(holds) : conditions.every(holds);
}

/** A value in a form that is equal exactly for equal headers. */
function plain(value: FieldValue): string {
  if (value.tag === 'S' || value.tag === 'x') return `octets ${Buffer.from(value.value).toString('hex')}`;
  if (value.tag === 'A') return `array ${value.value.map(plain).join()}`;
  if (value.tag === 'F') return `table ${[...value.value].map(([k, v]) => k + plain(v)).join()}`;
  if (value.tag === 'D') return `decimal ${value.value.scale} ${value.value.value}`;
  if ('bBsuIilL'.includes(value.tag)) return `integer ${value.value}`;
  if ('fd'.includes(value.tag)) return `float ${value.value}`;
  return `${value.tag} ${value.value}`;
}

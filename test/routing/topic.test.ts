import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Binding, Destination } from '../../src/routing/router.ts';
import { TopicRouter } from '../../src/routing/topic.ts';
import { bindAll, binding, plainMessage, routed, routedRaw } from './support.ts';

/** The rule as the specification words it, without any cleverness. */
function naiveMatch(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === '#')
    return words.length > 0 && naiveMatch(pattern, words.slice(1)) ? true : naiveMatch(rest, words);
  if (words.length === 0) return false;
  return (first === '*' || first === words[0]) && naiveMatch(rest, words.slice(1));
}

function wordsOf(key: string): string[] {
  return key === '' ? [] : key.split('.');
}

describe('topic exchange', () => {
  const cases: [key: string, matches: string[], doesNot: string[]][] = [
    ['', ['#', '', '#.#'], ['*', '.', '*.#', 'a']],
    ['.', ['*.*', '#', '.', '#.*', '*.#.*'], ['*', '', '*.*.*']],
    ['a', ['a', '*', '#', 'a.#', '#.a', '#.a.#'], ['a.*', '', 'A', 'a.', '.a']],
    ['a..b', ['a.*.b', 'a.#.b', 'a..b', '*.*.*', '#'], ['a.b', 'a.*.*.b', '*.*']],
    ['a.b.c', ['a.#', '#.c', 'a.*.c', 'a.#.c', 'a.#.b.c', '#.b.#', '*.b.*'], ['a.*', '*', 'a.b', 'b.#']],
    ['a.*', ['a.*', 'a.#', '*.*'], ['*.b', 'a']],
    ['a.x', ['a.*'], ['a.x*', 'a*', 'a#']],
    ['a*', ['a*', '*'], ['a']],
    ['a#b', ['a#b', '*'], ['a.#.b']],
    ['#', ['#', '*'], ['a', '#.a']],
    ['a.', ['a.*', 'a.', 'a.#', '*.*'], ['a', '*']],
    ['a.b.a.b', ['#.a.b', 'a.b.#', '#.a.#.b', 'a.#.b', '#.b.#.b.#', '#.*.#.*.#'], ['#.b.a', '*.a.#', 'a.b']],
  ];

  for (const [key, matches, doesNot] of cases) {
    it(`routes the key '${key}' to the bindings that match it, and to no others`, () => {
      const router = new TopicRouter();
      bindAll(router, [...matches, ...doesNot]);
      expect(routed(router, key)).toEqual([...new Set(matches)].sort());
    });
  }

  it('agrees with the plain rule on any bindings and keys, while bindings come and go', () => {
    const word = fc.constantFrom('a', 'b', 'c', '', 'a*');
    const pattern = fc
      .array(fc.oneof(word, fc.constantFrom('*', '#', '#')), { maxLength: 6 })
      .map((words) => words.join('.'));
    const key = fc.array(fc.oneof(word, fc.constant('*')), { maxLength: 6 }).map((words) => words.join('.'));
    fc.assert(
      fc.property(
        fc.array(pattern, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.array(key, { minLength: 1, maxLength: 6 }),
        (patterns, removals, keys) => {
          const router = new TopicRouter();
          const bound = new Map<string, Binding>();
          const compare = () => {
            for (const k of keys) {
              const wanted = [...bound.keys()].filter((p) => naiveMatch(wordsOf(p), wordsOf(k)));
              // Twice: the second answer comes from the cache.
              expect(routedRaw(router, k)).toEqual(wanted.sort());
              expect(routedRaw(router, k)).toEqual(wanted.sort());
            }
          };
          for (const p of patterns) {
            if (bound.has(p)) continue;
            bound.set(p, binding({ name: p }, p));
            router.bind(bound.get(p)!);
          }
          compare();
          for (const removal of removals) {
            const p = [...bound.keys()][removal % Math.max(1, bound.size)];
            if (p === undefined) continue;
            router.unbind(bound.get(p)!);
            bound.delete(p);
          }
          compare();
          for (const b of bound.values()) router.unbind(b);
          expect(router.nodeCount).toBe(0);
        },
      ),
      { numRuns: 10_000 },
    );
  });

  it('gives a queue once that several of its bindings match', () => {
    const router = new TopicRouter();
    const queue = { name: 'q' };
    const keys = ['a.*', 'a.#', '#', '*.b', 'a.b'];
    const bindings = keys.map((key) => binding(queue, key));
    for (const b of bindings) router.bind(b);
    expect(routedRaw(router, 'a.b')).toEqual(['q']);
    for (const b of bindings) {
      expect(routedRaw(router, 'a.b')).toEqual(['q']);
      router.unbind(b);
    }
    expect(routedRaw(router, 'a.b')).toEqual([]);
  });

  it('gives each of a thousand queues once when two bindings of each match', () => {
    const router = new TopicRouter();
    for (let i = 0; i < 1_000; i++) {
      const queue = { name: `q${i}` };
      router.bind(binding(queue, 'a.#'));
      router.bind(binding(queue, '#.b'));
    }
    expect(routedRaw(router, 'a.b').length).toBe(1_000);
  });

  it('forgets the trie of bindings that are gone', () => {
    const router = new TopicRouter();
    const bound = bindAll(router, ['a.b.c', 'a.b', 'a.*.c', 'a.#.c', 'x']);
    expect(router.nodeCount).toBe(8);
    router.unbind(bound[0]!);
    expect(router.nodeCount).toBe(7);
    router.unbind(bound[1]!);
    router.unbind(bound[2]!);
    router.unbind(bound[3]!);
    expect(router.nodeCount).toBe(1);
    router.unbind(binding({ name: 'never' }, 'never.bound.#'));
    expect(routed(router, 'x')).toEqual(['x']);
  });

  it('answers quickly whatever wildcards a binding has', () => {
    const router = new TopicRouter();
    // A matcher that tries every split would need more steps here than there are atoms.
    bindAll(router, [`${'#.a.'.repeat(60)}b`, '#.#.#.#.#.#.#.#.#.#.#.#.#.#.b', '*.#.*.#.*.#.*.#.*.#.c']);
    const key = 'a.'.repeat(127);
    const start = performance.now();
    for (let i = 0; i < 20; i++) expect(routed(router, `${key}${i}`)).toEqual([]);
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it('stays correct and bounded with more different keys than it remembers', () => {
    const router = new TopicRouter();
    bindAll(router, ['a.*', 'b.#']);
    const out: Destination[] = [];
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 40_000; i++) {
        out.length = 0;
        router.route(plainMessage, [i % 2 === 0 ? `a.${i}` : `b.${i}.x`], out);
        if (out.length !== 1 || out[0]!.name !== (i % 2 === 0 ? 'a.*' : 'b.#'))
          throw new Error(`wrong at ${i}`);
      }
    }
  });

  it('carries ten thousand bindings, and more come and go', () => {
    const router = new TopicRouter();
    const keys = Array.from(
      { length: 10_000 },
      (_, i) => `region${i % 50}.device${i}.${i % 3 === 0 ? '#' : '*'}`,
    );
    bindAll(router, keys);
    expect(routed(router, 'region0.device150.up')).toEqual(['region0.device150.#']);
    expect(routed(router, 'region0.device150.up.now')).toEqual(['region0.device150.#']);
    expect(routed(router, 'region1.device1.up.now')).toEqual([]);
    for (let i = 0; i < 10_000; i++) {
      const visitor = binding({ name: 'visitor' }, `region1.device1.visitor${i}`);
      router.bind(visitor);
      expect(routed(router, `region1.device1.visitor${i}`)).toEqual(['region1.device1.*', 'visitor']);
      router.unbind(visitor);
    }
  });
});

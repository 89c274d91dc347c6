// Whose turn it is.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConsumerGroup } from '../../src/queue/consumer-group.ts';
import { TestConsumer } from './kit.ts';

function groupOf(...consumers: TestConsumer[]): ConsumerGroup {
  const group = new ConsumerGroup();
  for (const consumer of consumers) group.add(consumer);
  return group;
}

/** Tags of the next `n` turns. */
function turns(group: ConsumerGroup, n: number): string {
  return Array.from({ length: n }, () => group.next()?.tag ?? '-').join('');
}

describe('consumers', () => {
  it('of one priority take turns', () => {
    const group = groupOf(new TestConsumer('a'), new TestConsumer('b'), new TestConsumer('c'));
    expect(turns(group, 7)).toBe('abcabca');
  });

  it('are asked for room without anybody losing a turn', () => {
    const [a, b] = [new TestConsumer('a'), new TestConsumer('b', { limit: 0 })];
    const group = groupOf(a, b);
    expect(group.hasCapacity).toBe(true);
    expect(turns(group, 2)).toBe('aa');
    a.limit = 0;
    expect(group.hasCapacity).toBe(false);
    b.limit = 1;
    expect(turns(group, 1)).toBe('-');
    group.unpark(b);
    expect(group.hasCapacity).toBe(true);
  });

  it('of a higher priority go first, as long as they can take something', () => {
    const [high, low] = [new TestConsumer('h', { priority: 5 }), new TestConsumer('l', { priority: -5 })];
    const group = groupOf(low, new TestConsumer('m'), high);
    expect(turns(group, 3)).toBe('hhh');
    high.limit = 0;
    expect(turns(group, 3)).toBe('mmm');
    high.limit = 1;
    group.unpark(high);
    expect(turns(group, 2)).toBe('hh');
  });

  it('alone and full wait their turn like others when somebody joins', () => {
    const [alone, other] = [new TestConsumer('a', { limit: 0 }), new TestConsumer('b')];
    const group = groupOf(alone);
    expect([turns(group, 1), alone.parked, group.hasCapacity]).toEqual(['-', true, false]);
    group.add(other);
    expect(turns(group, 2)).toBe('bb');
    alone.limit = 1;
    group.unpark(alone);
    expect(turns(group, 4)).toBe('baba');
    group.remove(other);
    expect(turns(group, 2)).toBe('aa');
    group.remove(alone);
    group.add(other);
    expect(turns(group, 2)).toBe('bb');
  });

  it('that are full are not asked again until they say so', () => {
    const full = new TestConsumer('f', { limit: 0 });
    const group = groupOf(full, new TestConsumer('a'));
    turns(group, 100);
    expect(full.asked).toBe(1);
    full.limit = 1;
    group.unpark(full);
    group.unpark(full);
    expect(turns(group, 4)).toBe('afaf');
  });

  it('that left are not served, and those that stay keep their turns', () => {
    const consumers = Array.from({ length: 26 }, (_, i) => new TestConsumer(String.fromCharCode(97 + i)));
    const group = groupOf(...consumers);
    for (const consumer of consumers) if ('aeiou'.includes(consumer.tag) === false) group.remove(consumer);
    expect(group.size).toBe(5);
    expect(turns(group, 6)).toBe('aeioua');
  });

  it('leave no priority behind, parked or not', () => {
    const group = new ConsumerGroup();
    const stay = new TestConsumer('s');
    group.add(stay);
    for (let i = 1; i <= 5_000; i++) {
      const passing = new TestConsumer('p', { priority: i, limit: 0 });
      group.add(passing);
      group.next();
      expect(passing.parked).toBe(true);
      group.remove(passing);
    }
    const began = performance.now();
    for (let i = 0; i < 10_000; i++) group.next();
    expect(performance.now() - began).toBeLessThan(500);
  });

  it('are forgotten by clear', () => {
    const consumer = new TestConsumer('a', { exclusive: true });
    const group = groupOf(consumer);
    expect(group.exclusive).toBe(consumer);
    group.clear();
    expect([group.size, group.next(), group.exclusive]).toEqual([0, null, null]);
    expect(group.remove(consumer)).toBe(false);
  });

  it('are served as a plain list says, whoever comes, goes, fills up and drains', () => {
    const step = fc.record({
      what: fc.constantFrom('add', 'remove', 'fill', 'drain', 'next', 'next', 'next'),
      who: fc.nat({ max: 7 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const group = new ConsumerGroup();
        const all = Array.from({ length: 8 }, (_, i) => new TestConsumer(`${i}`, { priority: i % 3 }));
        /** Members in line, per priority, next in front: what `next` looks at. */
        let line: TestConsumer[] = [];
        const members = new Set<TestConsumer>();
        for (const { what, who } of steps) {
          const consumer = all[who]!;
          if (what === 'add' && !members.has(consumer)) {
            members.add(consumer);
            group.add(consumer);
            line.push(consumer);
          } else if (what === 'remove') {
            expect(group.remove(consumer)).toBe(members.delete(consumer));
            line = line.filter((each) => each !== consumer);
          } else if (what === 'fill') consumer.limit = 0;
          else if (what === 'drain') {
            consumer.limit = 1;
            group.unpark(consumer);
            if (members.has(consumer) && !line.includes(consumer)) line.push(consumer);
          } else if (what === 'next') {
            let expected: TestConsumer | null = null;
            for (let priority = 2; priority >= 0 && expected === null; priority--) {
              for (const each of line.filter((member) => member.priority === priority)) {
                line = line.filter((member) => member !== each);
                if (each.limit === 0) continue;
                line.push(each);
                expected = each;
                break;
              }
            }
            expect(group.next()).toBe(expected);
          }
          expect(group.size).toBe(members.size);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a group with a single active member', () => {
  it('serves one, and the one of the highest priority that waits when it leaves', () => {
    const group = new ConsumerGroup(true);
    const [a, b, c, d] = [
      new TestConsumer('a'),
      new TestConsumer('b'),
      new TestConsumer('c', { priority: 1 }),
      new TestConsumer('d', { priority: 1 }),
    ];
    for (const consumer of [a, b, c, d]) group.add(consumer);
    expect(turns(group, 3)).toBe('aaa');
    group.remove(a);
    expect(turns(group, 2)).toBe('cc');
    group.remove(d);
    group.remove(c);
    expect(turns(group, 1)).toBe('b');
    group.remove(b);
    expect([group.next(), group.active]).toEqual([null, null]);
  });

  it('gives the place of one that left to those who waited, not to one that comes later', () => {
    const group = new ConsumerGroup(true);
    const [a, b] = [new TestConsumer('a'), new TestConsumer('b', { priority: -1 })];
    group.add(a);
    group.add(b);
    group.remove(a);
    group.add(new TestConsumer('c', { priority: 5 }));
    expect(turns(group, 2)).toBe('bb');
  });

  it('parks the active one when it is full', () => {
    const group = new ConsumerGroup(true);
    const [active, waiting] = [new TestConsumer('a', { limit: 0 }), new TestConsumer('b')];
    group.add(active);
    group.add(waiting);
    expect(group.next()).toBeNull();
    expect([active.parked, waiting.parked]).toEqual([true, false]);
    active.limit = 1;
    group.unpark(active);
    expect(group.next()).toBe(active);
  });

  it('makes room for one of higher priority when the active one holds nothing any more', () => {
    const holding = new Set<unknown>();
    const group = new ConsumerGroup(true, (member) => holding.has(member));
    const [a, b, c] = [
      new TestConsumer('a'),
      new TestConsumer('b', { priority: 1 }),
      new TestConsumer('c', { priority: 2 }),
    ];
    group.add(a);
    expect(turns(group, 1)).toBe('a');
    holding.add(a);
    group.add(b);
    expect([group.next(), a.parked]).toEqual([null, true]);
    // Who challenged and left has changed nothing.
    group.remove(b);
    group.unpark(a);
    expect(turns(group, 1)).toBe('a');
    group.add(c);
    group.add(b);
    expect(turns(group, 1)).toBe('-');
    holding.clear();
    expect([turns(group, 2), a.parked]).toEqual(['cc', false]);
    group.remove(c);
    expect(turns(group, 1)).toBe('b');
  });
});

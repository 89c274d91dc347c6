// When the guard against lost speed speaks up.
import { describe, expect, it } from 'vitest';
import { holdsFor, isFailure, judge, type Known, perOperation } from '../../bench/micro/guard-judge.ts';

const known: Known = { arch: 'hare', node: 'v20', instructions: { reading: 2_000 } };

describe('the speed guard', () => {
  it('fails a station that takes a fifth more than is known of it', () => {
    expect(judge(known, 'reading', 2_000)).toBe('ok');
    expect(judge(known, 'reading', 2_400)).toBe('ok');
    expect(judge(known, 'reading', 2_401)).toBe('TOO MUCH');
    expect(judge(known, 'reading', Number.POSITIVE_INFINITY)).toBe('TOO MUCH');
    expect(judge(known, 'reading', Number.NaN)).toBe('TOO MUCH');
    expect(isFailure('TOO MUCH')).toBe(true);
    expect(isFailure('ok')).toBe(false);
  });

  it('asks for a new count when a station has become much cheaper, and does not fail it', () => {
    expect(judge(known, 'reading', 1_600)).toBe('less: --update');
    expect(isFailure('less: --update')).toBe(false);
  });

  it('fails a station of which nothing is known', () => {
    expect(judge(known, 'writing', 1)).toBe('not known yet: --update');
    expect(isFailure('not known yet: --update')).toBe(true);
  });

  it('judges only on the kind of processor and the Node that the counts are of', () => {
    expect(holdsFor(known, 'hare', 'v20')).toBe(true);
    expect(holdsFor(known, 'hare', 'v24')).toBe(false);
    expect(holdsFor(known, 'tortoise', 'v20')).toBe(false);
  });

  it('charges a station with the cheapest of its rounds', () => {
    const plan = [
      { name: 'reading', operations: 10 },
      { name: 'writing', operations: 10 },
    ];
    expect(perOperation(plan, 2, [9_999, 500, 400, 9_999, 80, 90])).toEqual({
      reading: 40,
      writing: 8,
    });
    expect(() => perOperation(plan, 2, [9_999, 500, 400])).toThrow('3 parts were counted, not 6');
  });
});

// When the guard against lost speed speaks up.
import { describe, expect, it } from 'vitest';
import { holdsFor, judge, type Known, median } from '../../bench/micro/guard-judge.ts';

const known: Known = { cpu: 'Hare 9', node: 'v20', ratios: { reading: 2 } };

describe('the speed guard', () => {
  it('fails a station that costs more than a fifth more than is known of it', () => {
    expect(judge(known, 'reading', 2)).toBe('ok');
    expect(judge(known, 'reading', 2.4)).toBe('ok');
    expect(judge(known, 'reading', 2.41)).toBe('TOO SLOW');
    expect(judge(known, 'reading', Number.POSITIVE_INFINITY)).toBe('TOO SLOW');
    expect(judge(known, 'reading', Number.NaN)).toBe('TOO SLOW');
  });

  it('fails a station of which nothing is known', () => {
    expect(judge(known, 'writing', 1)).toBe('not known yet: --update');
  });

  it('judges only on the processor and the Node that the ratios are of', () => {
    expect(holdsFor(known, 'Hare 9', 'v20')).toBe(true);
    expect(holdsFor(known, 'Hare 9', 'v24')).toBe(false);
    expect(holdsFor(known, 'Tortoise 1', 'v20')).toBe(false);
  });

  it('knows the middle of what several processes found', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(() => median([])).toThrow('nothing was measured');
  });
});

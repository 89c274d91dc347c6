import { describe, expect, it } from 'vitest';
import { RouteCache } from '../../src/routing/route-cache.ts';

describe('RouteCache', () => {
  it('keeps what is asked for and forgets what is not', () => {
    const cache = new RouteCache();
    const favourite = [{ name: 'favourite' }];
    cache.set('favourite', favourite);
    for (let i = 0; i < 100_000; i++) {
      cache.set(`key${i}`, []);
      if (i % 1_000 === 0) expect(cache.get('favourite')).toBe(favourite);
    }
    expect(cache.size).toBeLessThanOrEqual(2 * 8_192);
    expect(cache.get('key0')).toBeNull();
    expect(cache.get('key99999')).toEqual([]);
    cache.clear();
    expect(cache.size).toBe(0);
    expect(cache.get('favourite')).toBeNull();
  });

  it('is bounded by destinations too', () => {
    const cache = new RouteCache();
    const big = Array.from({ length: 10_000 }, (_, i) => ({ name: `q${i}` }));
    for (let i = 0; i < 1_000; i++) cache.set(`key${i}`, big);
    expect(cache.size).toBeLessThanOrEqual(52);
    const huge = new Array(300_000).fill(big[0]);
    cache.set('huge', huge);
    expect(cache.get('huge')).toBeNull();
  });
});

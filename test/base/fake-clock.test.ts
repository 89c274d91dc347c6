import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { RateCounter } from '../../src/base/counters.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { serverName } from '../../src/base/random-ids.ts';

describe('FakeClock', () => {
  it('fires every tick on the way, at its own time', () => {
    const clock = new FakeClock(1_000);
    const seen: string[] = [];
    clock.every(30, () => seen.push(`a${clock.now()}`));
    const b = clock.every(50, () => seen.push(`b${clock.now()}`));
    clock.advance(100);
    expect(seen).toEqual(['a1030', 'b1050', 'a1060', 'a1090', 'b1100']);
    b.stop();
    clock.advance(50);
    expect(seen.slice(5)).toEqual(['a1120', 'a1150']);
    expect(clock.now()).toBe(1_150);
  });

  it('fires each ticker once after a jump', () => {
    const clock = new FakeClock(0);
    let ticks = 0;
    clock.every(10, () => {
      ticks += 1;
    });
    clock.jump(1_000);
    expect([ticks, clock.now()]).toEqual([1, 1_000]);
    clock.jump(9);
    expect(ticks).toBe(1);
  });

  it('lets a tick stop other tickers', () => {
    const clock = new FakeClock(0);
    let other = 0;
    const ticker = { stop: () => {} };
    clock.every(10, () => ticker.stop());
    ticker.stop = clock.every(10, () => {
      other += 1;
    }).stop;
    const real = clock.every(10, () => {
      other += 1;
    });
    clock.every(5, () => real.stop());
    clock.advance(7);
    expect(other).toBe(0);
    expect(clock.tickerCount).toBe(3);
  });
});

describe('systemClock', () => {
  it('ticks until it is stopped', async () => {
    let ticks = 0;
    await new Promise<void>((resolve) => {
      const ticker = systemClock.every(1, () => {
        ticks += 1;
        if (ticks === 3) {
          ticker.stop();
          resolve();
        }
      });
      // The clock does not keep the process alive; this does, for the test.
      const alive = setInterval(() => {
        if (ticks >= 3) clearInterval(alive);
      }, 1);
    });
    expect(ticks).toBe(3);
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
  });
});

describe('RateCounter', () => {
  it('shows the rate of the last seconds to whoever looks regularly', () => {
    const clock = new FakeClock();
    const counter = new RateCounter(clock);
    expect(counter.perSecond).toBe(0);
    for (let i = 0; i < 20; i++) {
      clock.advance(1_000);
      counter.add(100);
      counter.perSecond;
    }
    expect(counter.perSecond).toBeCloseTo(100, 0);
    for (let i = 0; i < 20; i++) {
      clock.advance(1_000);
      counter.perSecond;
    }
    expect(counter.perSecond).toBe(0);
    expect(counter.total).toBe(2_000);
    counter.add();
    expect(counter.total).toBe(2_001);
  });
});

describe('serverName', () => {
  it('looks like a name RabbitMQ gives, and is never the same twice', () => {
    expect(serverName('amq.gen-')).toMatch(/^amq\.gen-[A-Za-z0-9_-]{22}$/);
    const names = new Set(Array.from({ length: 1_000 }, () => serverName('amq.ctag-')));
    expect(names.size).toBe(1_000);
  });
});

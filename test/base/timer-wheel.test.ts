import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { Timer, TimerWheel } from '../../src/base/timer-wheel.ts';

const TICK = 100;

function start(now = 1_700_000_000_033) {
  const clock = new FakeClock(now);
  return { clock, wheel: new TimerWheel(clock, TICK) };
}

describe('TimerWheel', () => {
  it('fires a timer when its time has come, at most one tick late', () => {
    for (const delay of [0, 1, 99, 100, 101, 250, 25_599, 25_600, 25_601, 3_600_000, 6_553_600, 6_553_700]) {
      const { clock, wheel } = start();
      const begin = clock.now();
      let firedAt = -1;
      wheel.after(delay, () => {
        firedAt = clock.now();
      });
      clock.advance(delay + TICK);
      expect(firedAt - begin).toBeGreaterThanOrEqual(delay);
      expect(firedAt - begin).toBeLessThanOrEqual(delay + TICK);
    }
  });

  it('does nothing, not even tick, while no timer is set', () => {
    const { clock, wheel } = start();
    expect(clock.tickerCount).toBe(0);
    const timer = wheel.after(1_000, () => {});
    expect(clock.tickerCount).toBe(1);
    wheel.clear(timer);
    clock.advance(TICK);
    expect(clock.tickerCount).toBe(0);
    wheel.set(timer, 500);
    clock.advance(700);
    expect(timer.isSet).toBe(false);
    expect(clock.tickerCount).toBe(0);
  });

  it('puts a heartbeat off each time it is set anew', () => {
    const { clock, wheel } = start();
    let fired = 0;
    const timer = new Timer(() => {
      fired += 1;
    });
    for (let i = 0; i < 100; i++) {
      wheel.set(timer, 1_000);
      clock.advance(900);
    }
    expect(fired).toBe(0);
    expect(wheel.size).toBe(1);
    clock.advance(300);
    expect(fired).toBe(1);
  });

  it('fires all that is due in the order of deadlines after a machine slept for an hour', () => {
    const { clock, wheel } = start();
    const order: number[] = [];
    const delays = [3_599_000, 10, 5, 70_000, 69_999, 1_800_000, 25_600, 25_601, 7, 3_700_000];
    for (const delay of delays) wheel.after(delay, () => order.push(delay));
    clock.jump(3_600_000);
    expect(order).toEqual([5, 7, 10, 25_600, 25_601, 69_999, 70_000, 1_800_000, 3_599_000]);
    expect(wheel.size).toBe(1);
  });

  it('jumps decades at once, with timers further away than all wheels reach', () => {
    const { clock, wheel } = start();
    const year = 365 * 86_400_000;
    const order: number[] = [];
    for (const years of [30, 1, 20, 0.5]) wheel.after(years * year, () => order.push(years));
    clock.jump(19 * year);
    expect(order).toEqual([0.5, 1]);
    clock.jump(year - 1);
    expect(order).toEqual([0.5, 1]);
    clock.jump(1 + TICK);
    expect(order).toEqual([0.5, 1, 20]);
    clock.jump(10 * year);
    expect(order).toEqual([0.5, 1, 20, 30]);
  });

  it('lets a timer set or clear others, and itself, while timers fire', () => {
    const { clock, wheel } = start();
    const log: string[] = [];
    const victim = new Timer(() => log.push('victim'));
    const again = new Timer(() => {
      log.push('again');
      if (log.length < 3) wheel.set(again, 0);
    });
    wheel.after(10, () => wheel.clear(victim));
    wheel.set(victim, 20);
    wheel.set(again, 30);
    clock.advance(TICK);
    expect(log).toEqual(['again']);
    clock.advance(TICK);
    expect(log).toEqual(['again', 'again']);
    clock.advance(5 * TICK);
    expect(log).toEqual(['again', 'again', 'again']);
  });

  it('fires the others when one timer fails', () => {
    const { clock, wheel } = start();
    const errors: unknown[] = [];
    let fired = 0;
    wheel.onError = (error) => errors.push(error);
    wheel.after(10, () => {
      throw new Error('boom');
    });
    wheel.after(20, () => {
      fired += 1;
    });
    clock.advance(200);
    expect(fired).toBe(1);
    expect(errors.map(String)).toEqual(['Error: boom']);
  });

  it('keeps delays when the calendar is put back', () => {
    let now = 1_000_000;
    let tick: () => void = () => {};
    const wheel = new TimerWheel(
      {
        now: () => now,
        every: (_ms, fn) => {
          tick = fn;
          return { stop: () => {} };
        },
      },
      TICK,
    );
    let fired = false;
    wheel.after(1_000, () => {
      fired = true;
    });
    now += 500;
    tick();
    now -= 400_000;
    tick();
    now += 499;
    tick();
    expect(fired).toBe(false);
    now += 1;
    tick();
    expect(fired).toBe(true);
  });

  it('stops all timers at once and can be used again', () => {
    const { clock, wheel } = start();
    let fired = 0;
    const timer = wheel.after(100, () => {
      fired += 1;
    });
    wheel.stop();
    expect([wheel.size, timer.isSet, clock.tickerCount]).toEqual([0, false, 0]);
    clock.advance(1_000);
    expect(fired).toBe(0);
    wheel.set(timer, 100);
    expect(wheel.remaining(timer)).toBe(100);
    clock.advance(200);
    expect(fired).toBe(1);
    expect(wheel.remaining(timer)).toBe(0);
  });

  it('agrees with a sorted list whatever is set, cleared and waited for', () => {
    const delay = fc.oneof(fc.nat(300), fc.nat(60_000), fc.nat(20_000_000));
    const step = fc.oneof(
      fc.record({ what: fc.constant('set' as const), id: fc.nat(19), ms: delay }),
      fc.record({ what: fc.constant('clear' as const), id: fc.nat(19), ms: fc.constant(0) }),
      fc.record({ what: fc.constant('jump' as const), id: fc.constant(0), ms: delay }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1_000_000), (steps, offset) => {
        const { clock, wheel } = start(1_700_000_000_000 + offset);
        const deadlines = new Map<number, number>();
        const fired: number[] = [];
        const timers = Array.from({ length: 20 }, (_, id) => new Timer(() => fired.push(id)));
        for (const { what, id, ms } of steps) {
          if (what === 'set') {
            wheel.set(timers[id]!, ms);
            deadlines.set(id, clock.now() + ms);
          } else if (what === 'clear') {
            wheel.clear(timers[id]!);
            deadlines.delete(id);
          } else {
            fired.length = 0;
            // At least one tick, so that the interval surely fires.
            clock.jump(ms + TICK);
            const due = [...deadlines].filter(([, at]) => at <= clock.now());
            expect(fired.map((f) => deadlines.get(f))).toEqual(due.map(([, at]) => at).sort((a, b) => a - b));
            expect([...fired].sort()).toEqual(due.map(([d]) => d).sort());
            for (const [d] of due) deadlines.delete(d);
          }
          expect(wheel.size).toBe(deadlines.size);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('carries a hundred thousand timers', () => {
    const { clock, wheel } = start();
    let fired = 0;
    const fire = () => {
      fired += 1;
    };
    const timers = Array.from({ length: 100_000 }, () => new Timer(fire));
    for (let i = 0; i < timers.length; i++) wheel.set(timers[i]!, (i * 7919) % 600_000);
    for (let i = 0; i < timers.length; i += 2) wheel.set(timers[i]!, 600_000);
    clock.advance(600_000);
    expect(fired).toBeGreaterThanOrEqual(50_000);
    clock.advance(TICK);
    expect(fired).toBe(100_000);
  });
});

// When the command gives memory back.
import { expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import {
  IdleMemory,
  type MemoryProbe,
  ownMemory,
  QUIET_LOOKS,
  WORTH_BYTES,
} from '../../src/cli/idle-memory.ts';

/** A process whose numbers the test sets. */
class FakeProcess implements MemoryProbe {
  cpu = 0;
  held = 50_000_000;
  /** What a collection leaves. */
  needed = 50_000_000;
  collections = 0;

  cpuMs(): number {
    return this.cpu;
  }

  bytes(): number {
    return this.held;
  }

  collect(): void {
    this.collections++;
    this.cpu += 40;
    this.held = this.needed;
  }
}

it('collects twice when the process has become quiet after a burst, and not while it is busy', () => {
  const clock = new FakeClock();
  const own = new FakeProcess();
  const memory = new IdleMemory(clock, own);
  own.held += 10 * WORTH_BYTES;
  for (let second = 0; second < 10; second++) {
    own.cpu += 900;
    clock.advance(1_000);
  }
  expect(own.collections).toBe(0);
  clock.advance(1_000 * (QUIET_LOOKS - 1));
  expect(own.collections).toBe(0);
  clock.advance(1_000);
  expect(own.collections).toBe(1);
  clock.advance(1_000 * (QUIET_LOOKS - 1));
  expect(own.collections).toBe(1);
  clock.advance(1_000);
  expect(own.collections).toBe(2);
  clock.advance(60_000);
  expect(own.collections).toBe(2);
  memory.stop();
});

it('puts the second one off while somebody is busy', () => {
  const clock = new FakeClock();
  const own = new FakeProcess();
  const memory = new IdleMemory(clock, own);
  own.held += 10 * WORTH_BYTES;
  clock.advance(1_000 * QUIET_LOOKS);
  expect(own.collections).toBe(1);
  for (let second = 0; second < 30; second++) {
    own.cpu += 900;
    clock.advance(1_000);
  }
  expect(own.collections).toBe(1);
  clock.advance(1_000 * QUIET_LOOKS);
  expect(own.collections).toBe(2);
  memory.stop();
});

it('leaves a process alone whose memory did not grow, or grew by what it needs', () => {
  const clock = new FakeClock();
  const own = new FakeProcess();
  const memory = new IdleMemory(clock, own);
  clock.advance(10_000);
  expect(own.collections).toBe(0);
  own.held += 2 * WORTH_BYTES;
  own.needed = own.held;
  clock.advance(60_000);
  expect(own.collections).toBe(2);
  memory.stop();
  own.held += 10 * WORTH_BYTES;
  clock.advance(60_000);
  expect(own.collections).toBe(2);
});

it('gives memory of this process back', () => {
  const own = ownMemory();
  let garbage: number[][] | null = Array.from({ length: 200 }, () => new Array<number>(20_000).fill(1.5));
  const before = own.bytes();
  expect(garbage.length).toBe(200);
  garbage = null;
  own.collect();
  expect(own.bytes()).toBeLessThan(before - 10_000_000);
});

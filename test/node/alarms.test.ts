// Memory and disk marks.

import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { type Logger, silentLogger } from '../../src/base/logger.ts';
import { ALARM_CHECK_MS, Alarms } from '../../src/node/alarms.ts';

class Bench {
  memory = 0;
  disk: number | Error = 1_000;
  readonly told: (string | null)[] = [];
  readonly warnings: string[] = [];
  readonly clock = new FakeClock();
  readonly alarms: Alarms;

  constructor(diskFree = true) {
    const log: Logger = { ...silentLogger, warn: (text) => this.warnings.push(text) };
    const options = {
      memoryMaxBytes: 100,
      diskFreeMinBytes: 500,
      memoryUsed: () => this.memory,
      diskFree: diskFree ? async () => this.#free() : null,
    };
    this.alarms = new Alarms(options, log, (reason) => this.told.push(reason));
    this.alarms.start(this.clock);
  }

  #free(): number {
    if (typeof this.disk === 'number') return this.disk;
    throw this.disk;
  }

  /** One look, and its answers. */
  async look(): Promise<void> {
    this.clock.advance(ALARM_CHECK_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('alarms', () => {
  it('go on and off with what is measured, in the words of RabbitMQ', async () => {
    const bench = new Bench();
    bench.memory = 101;
    await bench.look();
    expect(bench.alarms.reason).toBe('low on memory');
    bench.disk = 499;
    await bench.look();
    expect(bench.alarms.reason).toBe('low on memory & low on disk');
    bench.memory = 100;
    await bench.look();
    expect(bench.alarms.reason).toBe('low on disk');
    bench.disk = 500;
    await bench.look();
    expect(bench.alarms.reason).toBeNull();
    expect(bench.told).toEqual(['low on memory', 'low on memory & low on disk', 'low on disk', null]);
  });

  it('that are on already are not told again', async () => {
    const bench = new Bench();
    bench.memory = 101;
    await bench.look();
    await bench.look();
    bench.alarms.set('memory', true);
    expect(bench.told).toEqual(['low on memory']);
  });

  it('set by hand stay as long as nothing is crossed', async () => {
    const bench = new Bench();
    bench.alarms.set('memory', true);
    bench.alarms.set('disk', true);
    await bench.look();
    await bench.look();
    expect(bench.alarms.reason).toBe('low on memory & low on disk');
    bench.alarms.set('memory', false);
    bench.alarms.set('disk', false);
    expect(bench.alarms.reason).toBeNull();
  });

  it('say once that the disk cannot be asked, and again after it could', async () => {
    const bench = new Bench();
    bench.disk = new Error('gone');
    await bench.look();
    await bench.look();
    expect(bench.warnings).toEqual(['cannot tell how much disk is free']);
    bench.disk = 1_000;
    await bench.look();
    bench.disk = new Error('gone');
    await bench.look();
    expect(bench.warnings.length).toBe(2);
  });

  it('are not looked at any more after the stop, though an answer was on its way', async () => {
    const bench = new Bench();
    bench.disk = 0;
    bench.clock.advance(ALARM_CHECK_MS);
    bench.alarms.stop();
    await new Promise((resolve) => setImmediate(resolve));
    bench.memory = 1_000;
    await bench.look();
    expect(bench.told).toEqual([]);
    expect(bench.clock.tickerCount).toBe(0);
  });

  it('of memory work where there is no disk', async () => {
    const bench = new Bench(false);
    bench.memory = 101;
    await bench.look();
    expect(bench.alarms.isOn('memory')).toBe(true);
  });
});

// `leveret start` around a broker that does what the test says: banner, signals, exit codes, errors.

import { describe, expect, it } from 'vitest';
import { type BrokerStarter, type RunningBroker, start } from '../../src/cli/start.ts';
import type { Settings } from '../../src/config/config.ts';
import { resolveSettings } from '../../src/config/sources.ts';
import { FakeTerminal } from './fake-terminal.ts';

interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** A promise to be settled from outside (Promise.withResolvers needs Node 22). */
function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A broker that starts and stops when told. */
class FakeBroker implements RunningBroker, BrokerStarter {
  address = 'amqp://127.0.0.1:5672';
  port = 5672;
  tlsPort: number | null = null;
  options: Settings | null = null;
  stops = 0;
  started = deferred<void>();
  stopping = deferred<void>();
  ended = deferred<Error | null>();
  stopped = this.ended.promise;

  async start(options: Settings): Promise<RunningBroker> {
    this.options = options;
    await this.started.promise;
    return this;
  }

  async stop(): Promise<void> {
    this.stops++;
    await this.stopping.promise;
    this.ended.resolve(null);
  }
}

/** `leveret start` with a fake broker that is up at once unless `slow`. */
function begin(
  flags: Record<string, string | boolean> = {},
  { slow = false, interactive = false }: { slow?: boolean; interactive?: boolean } = {},
) {
  const broker = new FakeBroker();
  const terminal = new FakeTerminal({}, interactive);
  if (!slow) broker.started.resolve();
  const exit = start(
    resolveSettings({ flags, environment: {}, configFile: null }),
    terminal,
    async () => broker,
  );
  return { broker, terminal, exit };
}

describe('leveret start', () => {
  it('says who it is, what listens, where the data lies and how long it took', async () => {
    const { broker, terminal, exit } = begin({ dataDir: '/srv/hares' });
    await terminal.seen('ready in');
    const records = terminal.records();
    expect(records[0]).toMatchObject({
      message: expect.stringMatching(/^leveret \d+\.\d+\.\d+\S* starts$/),
      pid: 4711,
      node: 'v20.0.0',
    });
    expect(records.map(({ message }) => message)).toContain('AMQP 0-9-1 on every address, port 5672');
    expect(records.find(({ folder }) => folder === '/srv/hares')).toBeDefined();
    expect(terminal.out).toContain('user guest may log in from this machine only');
    expect(records.at(-1)).toMatchObject({ message: 'ready in 123 ms' });
    expect(broker.options).toMatchObject({ port: 5672, dataDir: '/srv/hares' });
    broker.stopping.resolve();
    terminal.signal('SIGTERM');
    expect(await exit).toBe(0);
  });

  it('warns when guest may come from everywhere, and says when nothing is kept', async () => {
    const { broker, terminal, exit } = begin({ loopbackUsers: '', memory: true });
    await terminal.seen('ready in');
    expect(terminal.records().find(({ level }) => level === 'warn')).toMatchObject({
      message: expect.stringMatching(/^user guest may log in from every machine/),
    });
    expect(terminal.out).toContain('nothing survives the stop');
    broker.stopping.resolve();
    terminal.signal('SIGINT');
    expect(await exit).toBe(0);
  });

  it('logs for people on a terminal and for machines elsewhere, unless told', async () => {
    for (const [flags, interactive, json] of [
      [{}, true, false],
      [{}, false, true],
      [{ logFormat: 'json' }, true, true],
      [{ logFormat: 'pretty' }, false, false],
    ] as const) {
      const { broker, terminal, exit } = begin({ ...flags }, { interactive });
      await terminal.seen('ready in');
      expect(terminal.out.startsWith('{')).toBe(json);
      broker.stopping.resolve();
      terminal.signal('SIGTERM');
      await exit;
    }
  });
});

describe('a stop signal', () => {
  it('stops the broker gracefully, once, and leaves with 0 when it has stopped', async () => {
    const { broker, terminal, exit } = begin();
    await terminal.seen('ready in');
    terminal.signal('SIGTERM');
    await terminal.seen('SIGTERM received');
    // The same Ctrl-C, passed on by npm.
    terminal.nowMs += 5;
    terminal.signal('SIGINT');
    expect(broker.stops).toBe(1);
    broker.stopping.resolve();
    expect(await exit).toBe(0);
    expect(terminal.records().at(-1)).toMatchObject({ message: 'stopped', ms: expect.any(Number) });
    expect(broker.stops).toBe(1);
  });

  it('given twice stops at once, without waiting for the broker', async () => {
    const { terminal, exit } = begin();
    await terminal.seen('ready in');
    terminal.signal('SIGINT');
    await terminal.seen('SIGINT received');
    terminal.nowMs += 1000;
    terminal.signal('SIGINT');
    expect(await exit).toBe(130);
    expect(terminal.out).toContain('stopping at once');
  });

  it('during the start ends it', async () => {
    const { broker, terminal, exit } = begin({}, { slow: true });
    await terminal.seen('starts');
    terminal.signal('SIGTERM');
    expect(await exit).toBe(0);
    expect(terminal.out).toContain('stopped by SIGTERM during the start');
    broker.started.reject(new Error('too late to matter'));
  });

  it('leaves with 1 and the whole error when the stop fails', async () => {
    const { broker, terminal, exit } = begin();
    await terminal.seen('ready in');
    terminal.signal('SIGTERM');
    broker.stopping.reject(new Error('disk gone'));
    expect(await exit).toBe(1);
    expect(terminal.records().at(-1)).toMatchObject({
      message: 'the stop failed',
      error: 'disk gone',
      stack: expect.stringContaining('start.test.ts'),
    });
  });
});

describe('an error', () => {
  it.each([
    ['ListenError', 1],
    ['StoreError', 1],
    ['SettingsError', 2],
  ])('that a person can cause (%s) is one line without a stack, and exit code %i', async (name, code) => {
    const { broker, terminal, exit } = begin({}, { slow: true });
    broker.started.reject(Object.assign(new Error('port 5672 is in use'), { name }));
    expect(await exit).toBe(code);
    expect(terminal.err).toBe('leveret: port 5672 is in use\n');
    expect(terminal.out).not.toContain('stack');
  });

  it('of our own at the start is logged whole, and the exit code is 1', async () => {
    const { broker, terminal, exit } = begin({}, { slow: true });
    broker.started.reject(new TypeError('undefined is not a hare'));
    expect(await exit).toBe(1);
    expect(terminal.err).toBe('');
    expect(terminal.records().at(-1)).toMatchObject({
      level: 'error',
      message: 'the broker could not start',
      error: 'undefined is not a hare',
      stack: expect.stringContaining('TypeError'),
    });
  });

  it('that nobody caught is logged whole, and the process leaves with 1 at once', async () => {
    const { broker, terminal, exit } = begin();
    await terminal.seen('ready in');
    terminal.uncaught(new Error('surprise'));
    expect(await exit).toBe(1);
    expect(terminal.records().at(-1)).toMatchObject({
      level: 'error',
      error: 'surprise',
      stack: expect.any(String),
    });
    expect(broker.stops).toBe(0);
  });

  it('that made the broker stop by itself leaves with 1', async () => {
    const { broker, terminal, exit } = begin();
    await terminal.seen('ready in');
    broker.ended.resolve(new Error('commit failed: no space left'));
    expect(await exit).toBe(1);
    expect(terminal.records().at(-1)).toMatchObject({
      message: 'the broker stopped, because going on was not safe',
      error: 'commit failed: no space left',
    });
  });

  it('of none: a broker stopped from elsewhere leaves with 0', async () => {
    const { broker, terminal, exit } = begin();
    await terminal.seen('ready in');
    broker.ended.resolve(null);
    expect(await exit).toBe(0);
  });
});

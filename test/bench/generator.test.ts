// The load generator counts what really came: its scanner, confirm window, histogram and the shape of the topic workload.
import { describe, expect, it } from 'vitest';
import { ConfirmWindow } from '../../bench/load/confirms.ts';
import { Histogram } from '../../bench/load/histogram.ts';
import { selfTimes } from '../../bench/load/profile.ts';
import { median, table } from '../../bench/load/report.ts';
import { Scanner } from '../../bench/load/scanner.ts';
import { listenerOf, usageOf, withChildren } from '../../bench/load/usage.ts';
import * as wire from '../../bench/load/wire.ts';
import { TOPIC_QUEUES_PER_KEY, topicBindings, topicKeys } from '../../bench/load/workloads.ts';

/** A delivery or a publish: both are a method and a content; only the method differs. */
function delivery(body: Buffer, frameMax = 4096): Buffer {
  const bytes = wire.encodePublish(1, frameMax, { exchange: 'x', routingKey: 'key', persistent: true, body });
  bytes.writeUInt32BE(wire.BASIC_DELIVER, 7);
  return bytes;
}

function ack(tag: number): Buffer {
  const bytes = Buffer.alloc(wire.ACK_LENGTH);
  wire.writeAck(bytes, 0, 1, tag, true);
  return bytes;
}

interface Seen {
  readonly scanner: Scanner;
  readonly methods: number[];
  readonly stamps: string[];
}

function watch(): Seen {
  const methods: number[] = [];
  const stamps: string[] = [];
  const scanner = new Scanner({
    onMethod: (id) => methods.push(id),
    onBody: (bytes, at, size) => stamps.push(bytes.toString('latin1', at, at + Math.min(8, size))),
  });
  return { scanner, methods, stamps };
}

describe('scanner', () => {
  const stream = Buffer.concat([
    delivery(Buffer.from('12345678 and more')),
    delivery(Buffer.alloc(0)),
    ack(7),
    delivery(Buffer.from('tiny')),
    delivery(Buffer.from('abcdefgh'.repeat(20)), 64),
    ack(9),
  ]);
  const bodyBytes = 17 + 4 + 160;

  function expectAll({ scanner, methods, stamps }: Seen): void {
    expect([scanner.deliveries, scanner.contents, scanner.bodyBytes]).toEqual([4, 4, bodyBytes]);
    expect(methods).toEqual([wire.BASIC_ACK, wire.BASIC_ACK]);
    expect(stamps).toEqual(['12345678', 'tiny', 'abcdefgh']);
  }

  it('counts the same whatever two pieces the stream arrives in', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const seen = watch();
      seen.scanner.push(stream.subarray(0, cut), cut);
      seen.scanner.push(stream.subarray(cut), stream.length - cut);
      expectAll(seen);
    }
  });

  it('counts the same in pieces of any one length', () => {
    for (let step = 1; step < 70; step++) {
      const seen = watch();
      for (let at = 0; at < stream.length; at += step) {
        const piece = stream.subarray(at, at + step);
        seen.scanner.push(piece, piece.length);
      }
      expectAll(seen);
    }
  });

  it('refuses a frame without its end octet', () => {
    const broken = delivery(Buffer.from('x'));
    broken[broken.length - 1] = 0;
    expect(() => watch().scanner.push(broken, broken.length)).toThrow('end octet');
  });
});

describe('confirm window', () => {
  it('counts acknowledgements one by one, out of order and multiple', () => {
    const window = new ConfirmWindow(10);
    window.published(10, 100);
    expect(window.room()).toBe(0);
    window.settle(3, false, false, 101);
    window.settle(5, true, false, 102);
    expect([window.confirmed, window.outstanding, window.room()]).toEqual([5, 5, 5]);
    window.settle(10, true, true, 103);
    expect([window.confirmed, window.refused, window.outstanding]).toEqual([5, 5, 0]);
    expect(window.latency.count).toBe(10);
    expect(window.latency.max).toBe(3000);
  });

  it('notices a confirm for a message that was confirmed or never published', () => {
    const window = new ConfirmWindow(10);
    window.published(2, 0);
    window.settle(1, false, false, 1);
    expect(() => window.settle(1, false, false, 1)).toThrow('confirmed twice');
    expect(() => window.settle(3, false, false, 1)).toThrow('only 2 messages');
  });

  it('does not let one late confirm run the numbers over each other', () => {
    const window = new ConfirmWindow(4);
    let next = 1;
    while (window.room() > 0) {
      window.published(1, 0);
      if (next > 1) window.settle(next, false, false, 0);
      next += 1;
    }
    window.settle(1, false, false, 0);
    expect([window.confirmed, window.outstanding]).toEqual([next - 1, 0]);
  });
});

describe('histogram', () => {
  it('gives quantiles to within two per cent', () => {
    const histogram = new Histogram();
    for (let value = 1; value <= 100_000; value++) histogram.record(value);
    for (const share of [0.01, 0.5, 0.9, 0.99, 0.999]) {
      expect(histogram.quantile(share) / (share * 100_000)).toBeCloseTo(1, 1);
      expect(Math.abs(histogram.quantile(share) / (share * 100_000) - 1)).toBeLessThan(0.02);
    }
    expect(histogram.max).toBe(100_000);
  });

  it('knows small and huge values', () => {
    const histogram = new Histogram();
    expect(histogram.quantile(0.5)).toBe(0);
    histogram.record(0);
    histogram.record(3);
    histogram.record(2 ** 40);
    expect(histogram.quantile(0.3)).toBe(0);
    expect(histogram.quantile(0.6)).toBe(3);
    expect(histogram.max).toBe(2 ** 40);
  });
});

describe('topic workload', () => {
  /** Topic matching as the AMQP book describes it, slow and plain. */
  function matches(pattern: readonly string[], key: readonly string[]): boolean {
    const [head, ...rest] = pattern;
    if (head === undefined) return key.length === 0;
    if (head === '#') return matches(rest, key) || (key.length > 0 && matches(pattern, key.slice(1)));
    return key.length > 0 && (head === '*' || head === key[0]) && matches(rest, key.slice(1));
  }

  it('has 10,000 different bindings and leads every key to two queues', () => {
    const bindings = topicBindings();
    expect(new Set(bindings.map(({ queue, pattern }) => `${queue} ${pattern}`)).size).toBe(10_000);
    const keys = topicKeys();
    expect(new Set(keys).size).toBe(1000);
    // Patterns of four words never match; leaving them out keeps the test quick.
    const likely = bindings.filter(({ pattern }) => !/unit|gauge/.test(pattern));
    const split = likely.map(({ queue, pattern }) => ({ queue, words: pattern.split('.') }));
    for (const key of keys.filter((_, i) => i % 10 === 0)) {
      const words = key.split('.');
      const queues = new Set(split.filter((each) => matches(each.words, words)).map((each) => each.queue));
      expect(queues.size).toBe(TOPIC_QUEUES_PER_KEY);
    }
  });
});

describe('report', () => {
  it('puts medians, spreads and the ratio of ours to theirs side by side', () => {
    const run = (label: string, value: number) => ({
      workload: 'w',
      label,
      metrics: [
        {
          name: 'delivered',
          value,
          unit: 'msg/s',
          better: 'higher' as const,
          cpu: { broker: value / 100, generator: 1.5 },
          othersCores: 0,
        },
      ],
    });
    const rows = [
      run('ours', 300),
      run('theirs', 100),
      run('ours', 200),
      run('theirs', 100),
      run('ours', 400),
    ];
    const text = table(rows, ['ours', 'theirs']);
    expect(text).toContain('300 (200–400)');
    expect(text).toContain('3.00');
    expect(text).toContain('1.50 (50 %) / 1.50 (150 %)');
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  it('sums the self time of functions and leaves idle time out', () => {
    const node = (id: number, functionName: string) => ({
      id,
      callFrame: { functionName, url: id === 1 ? '' : 'file:///x/dist/a.js', lineNumber: 1 },
    });
    const times = selfTimes({
      nodes: [node(1, '(idle)'), node(2, 'f'), node(3, 'g')],
      samples: [2, 1, 3, 2],
      timeDeltas: [0, 3000, 9000, 1000],
    });
    expect(times[0]).toEqual({ name: expect.stringContaining('f '), ms: 3, share: 0.75 });
    expect(times[1]).toEqual({ name: expect.stringContaining('g '), ms: 1, share: 0.25 });
  });
});

describe.runIf(process.platform === 'linux')('process usage', () => {
  it('finds the process that listens on a port and what it costs', async () => {
    const { createServer } = await import('node:net');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    try {
      expect(listenerOf(port)).toBe(process.pid);
      expect(withChildren(process.pid)).toContain(process.pid);
      expect(usageOf([process.pid])!.residentBytes).toBeGreaterThan(1e6);
      expect(usageOf([])).toBeNull();
    } finally {
      server.close();
    }
  });
});

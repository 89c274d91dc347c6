// How soon a broker with a long backlog is back: persistent messages of 1 KiB without a consumer, then a kill and a restart, a clean
// stop and a restart, each timed from the spawn to the first accepted connection; and whether every message is still there.
// `node recovery.js [--count N] [--size BYTES] [--queues N]`. Owns the command line and the measurement.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfirmWindow } from './confirms.ts';
import { Link } from './link.ts';
import { Producer } from './producer.ts';
import { short } from './report.ts';
import { OwnBroker } from './target.ts';
import { usageOf } from './usage.ts';
import * as wire from './wire.ts';

/** Confirms a producer may wait for. */
const WINDOW = 1_000;
const WRITE_BYTES = 64 * 1024;
/** A restart may take so long before it counts as failed; the target is far below. */
const START_SECONDS = 120;

function say(name: string, value: number, unit: string): void {
  process.stdout.write(`${name.padEnd(52)}${short(value).padStart(8)} ${unit}\n`);
}

async function open(broker: OwnBroker): Promise<Link> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  return link;
}

/** Publishes `count` messages to the queue; resolves when all are confirmed. */
async function fill(broker: OwnBroker, queue: string, count: number, size: number): Promise<void> {
  const link = await open(broker);
  await link.declareQueue(queue, true);
  const confirms = new ConfirmWindow(WINDOW);
  await link.selectConfirms(confirms);
  const body = Buffer.alloc(size, 'x');
  const message = link.encode({ exchange: '', routingKey: queue, persistent: true, body });
  const producer: Producer = new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), () =>
    Math.min(confirms.room(), count - producer.published),
  );
  await new Promise<void>((resolve) => {
    link.onProgress = () => {
      producer.pump();
      if (confirms.confirmed >= count) resolve();
    };
    producer.start();
  });
  await link.close();
}

/** Messages in all queues. @throws Error when it is another number than was confirmed */
async function check(broker: OwnBroker, queues: readonly string[], expected: number): Promise<void> {
  const link = await open(broker);
  let found = 0;
  for (const queue of queues) found += await link.declareQueue(queue, true);
  await link.close();
  if (found !== expected) throw new Error(`${expected} messages were confirmed, ${found} are there`);
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      count: { type: 'string', default: '1000000' },
      size: { type: 'string', default: '1024' },
      queues: { type: 'string', default: '1' },
    },
  });
  const count = Number(flags.count);
  const queues = Array.from({ length: Number(flags.queues) }, (_, i) => `recovery.${i}`);
  const each = Math.floor(count / queues.length);
  const folder = mkdtempSync(join(tmpdir(), 'leveret-bench-recovery-'));
  let broker = await OwnBroker.start({ folder });
  const restart = async (how: string): Promise<void> => {
    const started = await OwnBroker.timedStart({ folder, startSeconds: START_SECONDS });
    broker = started.broker;
    say(`${how}: spawn to first accepted connection`, started.ms, 'ms');
    const usage = usageOf(broker.pids());
    if (usage !== null) say(`${how}: resident memory`, usage.residentBytes / 2 ** 20, 'MiB');
    await check(broker, queues, each * queues.length);
  };
  try {
    let maxResident = 0;
    const watch = setInterval(() => {
      maxResident = Math.max(maxResident, usageOf(broker.pids())?.residentBytes ?? 0);
    }, 50);
    const began = performance.now();
    await Promise.all(queues.map((queue) => fill(broker, queue, each, Number(flags.size))));
    say('fill: rate', (each * queues.length) / ((performance.now() - began) / 1000), 'msg/s');
    clearInterval(watch);
    if (maxResident > 0) say('fill: greatest resident memory', maxResident / 2 ** 20, 'MiB');
    await broker.kill();
    await restart('after a kill');
    await broker.stop();
    await restart('after a clean stop');
  } finally {
    await broker.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

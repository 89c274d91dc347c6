// The command behind `npm run bench:memory`: what the broker's resident memory does with a million small messages that wait, after a
// burst was drained, and with many clients that each consume. Prints MiB beside what we promise.
// Owns the command line and the three measurements. Linux only: resident memory comes from /proc.

import { parseArgs } from 'node:util';
import { Bench } from './bench.ts';
import { Link } from './link.ts';
import { Producer } from './producer.ts';
import { OwnBroker } from './target.ts';
import { usageOf } from './usage.ts';
import * as wire from './wire.ts';

const MIB = 2 ** 20;
const WRITE_BYTES = 131_072;
/** Connections that are being opened at the same time. */
const AT_ONCE = 50;
/** How long memory may take to go back to the system after a burst, in seconds. */
const CALM_SECONDS = 20;
/** Messages before the first look. */
const WARM_UP = 20_000;

function resident(broker: OwnBroker): number {
  return (usageOf(broker.pids())?.residentBytes ?? Number.NaN) / MIB;
}

function report(what: string, mib: number, promised: number): void {
  const verdict = mib <= promised ? 'ok' : 'TOO MUCH';
  process.stdout.write(
    `${what.padEnd(76)}${mib.toFixed(0).padStart(6)} MiB   promised ${promised}   ${verdict}\n`,
  );
  if (mib > promised) process.exitCode = 1;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A million transient messages of 16 B that nobody takes, then drained: memory while they wait, and how much more than before is left. */
async function waitingAndDrained(count: number): Promise<void> {
  const broker = await OwnBroker.start();
  const options = { address: broker.address, pids: broker.pids(), seconds: 1, warmupSeconds: 0, scale: 1 };
  const bench = new Bench(options, 'memory');
  try {
    const burst = async (count: number): Promise<number> => {
      const consumer = await bench.link();
      const queue = `${bench.name('q')}.${Math.random()}`;
      await consumer.declareExclusiveQueue(queue);
      const link = await bench.link();
      const message = link.encode({
        exchange: '',
        routingKey: queue,
        persistent: false,
        body: Buffer.alloc(16),
      });
      const batch = wire.Batch.repeat(message, WRITE_BYTES);
      const producer: Producer = new Producer(link, batch, () => count - producer.published);
      producer.start();
      await bench.until('publishing', 120, () => producer.published >= count);
      while ((await consumer.declareQueuePassively(queue)) < count) await pause(20);
      await pause(1_000);
      const waiting = resident(broker);
      await consumer.consume(queue, 0, 0);
      await bench.until('drain', 120, () => consumer.scanner.contents >= count);
      await consumer.close();
      await link.close();
      return waiting;
    };
    // What is compiled and loaded at the first messages is not the burst's.
    await burst(WARM_UP);
    await pause(1_000);
    const before = resident(broker);
    report(`${count.toLocaleString('en-US')} transient messages of 16 B waiting`, await burst(count), 250);
    await pause(CALM_SECONDS * 1_000);
    const left = resident(broker);
    report(`more than before the burst (${before.toFixed(0)}), after it was drained`, left - before, 60);
  } finally {
    await bench.close();
    await broker.stop();
  }
}

/** Clients with a channel and a consumer each. */
async function consumingClients(count: number): Promise<void> {
  const broker = await OwnBroker.start();
  const links: Link[] = [];
  try {
    const own = await Link.connect(broker.address);
    await own.openChannel();
    await own.declareQueue('memory', false);
    let next = 0;
    const opener = async (): Promise<void> => {
      while (next < count) {
        next++;
        const link = await Link.connect(broker.address, { readBytes: 1024 });
        links.push(link);
        await link.openChannel();
        await link.consume('memory', 10, 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, opener));
    await pause(2_000);
    report(
      `${count.toLocaleString('en-US')} connections with a channel and a consumer each`,
      resident(broker),
      600,
    );
  } finally {
    for (const link of links) link.destroy();
    await broker.stop();
  }
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      messages: { type: 'string', default: '1000000' },
      connections: { type: 'string', default: '10000' },
    },
  });
  await waitingAndDrained(Number(flags.messages));
  await consumingClients(Number(flags.connections));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

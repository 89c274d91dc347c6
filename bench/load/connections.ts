// What idle connections cost: opens many with a channel each and prints how much the broker's memory grew for one, and how many
// were opened in a second. `node connections.js [--count N] [--against URL]`, without --against our broker.
// Owns the command line and the measurement.

import { parseArgs } from 'node:util';
import { Link } from './link.ts';
import { short } from './report.ts';
import { OtherBroker, OwnBroker, type Target } from './target.ts';
import { usageOf } from './usage.ts';

/** Connections that are being opened at the same time. */
const AT_ONCE = 20;

/** What was found. */
export interface ConnectionCosts {
  readonly perSecond: number;
  /** Bytes of broker memory for a connection with a channel; null when the broker's process cannot be read. */
  readonly bytesEach: number | null;
  /** CPU milliseconds of the broker to open one, or null. */
  readonly cpuMsEach: number | null;
}

/** Opens `count` connections with a channel each, measures, closes them. */
export async function measureConnections(target: Target, count: number): Promise<ConnectionCosts> {
  const links: Link[] = [];
  let failure: Error | null = null;
  const open = async () => {
    const link = await Link.connect(target.address, {
      readBytes: 1024,
      onFailure: (error) => {
        failure ??= error;
      },
    });
    links.push(link);
    await link.openChannel();
  };
  // A few first, so that what is made once is not counted.
  for (let i = 0; i < 20; i++) await open();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const pids = target.pids();
  const before = usageOf(pids);
  const at = performance.now();
  let opened = 0;
  const opener = async () => {
    while (opened < count) {
      opened += 1;
      await open();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, opener));
  const seconds = (performance.now() - at) / 1000;
  const busy = usageOf(pids);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const after = usageOf(pids);
  if (failure !== null) throw failure;
  for (const link of links) link.destroy();
  return {
    perSecond: count / seconds,
    bytesEach:
      before === null || after === null ? null : (after.residentBytes - before.residentBytes) / count,
    cpuMsEach:
      before === null || busy === null ? null : ((busy.cpuSeconds - before.cpuSeconds) * 1000) / count,
  };
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { count: { type: 'string', default: '5000' }, against: { type: 'string' } },
  });
  const target = flags.against === undefined ? await OwnBroker.start() : new OtherBroker(flags.against, null);
  try {
    const costs = await measureConnections(target, Number(flags.count));
    process.stdout.write(`${short(costs.perSecond)} connections with a channel opened a second\n`);
    if (costs.bytesEach !== null)
      process.stdout.write(`${short(costs.bytesEach / 1024)} KiB of broker memory each\n`);
    if (costs.cpuMsEach !== null) process.stdout.write(`${short(costs.cpuMsEach)} ms of broker CPU each\n`);
  } finally {
    await target.stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

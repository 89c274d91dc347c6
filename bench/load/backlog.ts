// What a long backlog costs: persistent messages of 1 KiB without a consumer, the broker's greatest memory meanwhile, then the
// drain, against the same with a short queue. `node backlog.js [--count N] [--short N] [--against URL]`.
// Owns the command line and the comparison; the measurement is the workload `fill-drain`.

import { parseArgs } from 'node:util';
import { Bench, type Metric } from './bench.ts';
import { short } from './report.ts';
import { OtherBroker, OwnBroker, type Target } from './target.ts';
import { fillAndDrain } from './workloads.ts';

async function measure(target: Target, name: string, count: number): Promise<Map<string, Metric>> {
  const options = { address: target.address, pids: target.pids(), seconds: 1, warmupSeconds: 0, scale: 1 };
  const bench = new Bench(options, name);
  try {
    const metrics = await fillAndDrain(bench, 1024, count);
    for (const note of bench.notes) process.stdout.write(`${name}: ${note}\n`);
    return new Map(metrics.map((metric) => [metric.name, metric]));
  } finally {
    await bench.close();
  }
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      count: { type: 'string', default: '1000000' },
      short: { type: 'string', default: '50000' },
      against: { type: 'string' },
    },
  });
  const target = flags.against === undefined ? await OwnBroker.start() : new OtherBroker(flags.against, null);
  try {
    // Twice, because the first run pays for the warm-up of the broker.
    await measure(target, 'warm', Number(flags.short));
    const few = await measure(target, 'short', Number(flags.short));
    const many = await measure(target, 'long', Number(flags.count));
    process.stdout.write(`${''.padEnd(20)}${flags.short.padStart(12)}${flags.count.padStart(12)}  ratio\n`);
    for (const [name, metric] of many) {
      const base = few.get(name)?.value ?? Number.NaN;
      const numbers = `${short(base).padStart(12)}${short(metric.value).padStart(12)}`;
      const ratio = (metric.value / base).toFixed(2);
      process.stdout.write(
        `${`${name}, ${metric.unit}`.padEnd(28)}${numbers.trimStart().padStart(24)}  ${ratio}\n`,
      );
    }
  } finally {
    await target.stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

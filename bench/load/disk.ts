// The command behind `npm run bench:disk`: what one durable write costs on a disk, and what the broker adds to it.
// Owns the bare writes that everything else is compared with: by the thread that waits for them, which is the least there is, and by
// another thread, which is the least for a program that serves others meanwhile. Takes turns between all of them, as a shared disk is not the
// same from one second to the next.

import { closeSync, fdatasync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { generate } from './generate.ts';
import { Histogram } from './histogram.ts';
import { median, short } from './report.ts';
import { OwnBroker } from './target.ts';

const HELP = `npm run bench:disk -- [options]

  --rounds N    rounds of bare writes and of the broker, in turn (10)
  --seconds N   of each (0.5)
  --bytes N     of one write (1200: a message of 1 KiB as the broker stores it)
  --dir DIR     a folder on the disk in question (the system's temporary one)
  --dist DIR    another build of our broker instead of dist
`;

interface Times {
  readonly p50: number;
  readonly p99: number;
}

/** Appends and syncs, one after the other, to a file that grows from nothing, as a log does. Microseconds. */
async function bareWrites(
  path: string,
  bytes: number,
  seconds: number,
  sync: (file: number) => Promise<void> | null,
): Promise<Times> {
  const file = openSync(path, 'a');
  const histogram = new Histogram();
  const record = Buffer.alloc(bytes, 0x61);
  try {
    const until = performance.now() + seconds * 1000;
    for (let now = performance.now(); now < until; ) {
      writeSync(file, record);
      const synced = sync(file);
      if (synced !== null) await synced;
      const after = performance.now();
      histogram.record((after - now) * 1000);
      now = after;
    }
  } finally {
    closeSync(file);
    rmSync(path);
  }
  return { p50: histogram.quantile(0.5), p99: histogram.quantile(0.99) };
}

function syncHere(file: number): null {
  fdatasyncSync(file);
  return null;
}

function syncElsewhere(file: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(file, (error) => (error === null ? resolve() : reject(error)));
  });
}

async function throughBroker(broker: OwnBroker, workload: string, seconds: number): Promise<Times> {
  const options = { address: broker.address, pids: broker.pids(), seconds, warmupSeconds: 0.3, scale: 1 };
  const { metrics } = await generate({ workload, options });
  const of = (name: string) => (metrics.find((metric) => metric.name === name)?.value ?? Number.NaN) * 1000;
  return { p50: of('confirm p50'), p99: of('confirm p99') };
}

function line(what: string, times: readonly Times[]): string {
  const spread = (values: number[]) =>
    `${short(median(values))} (${short(Math.min(...values))}–${short(Math.max(...values))})`;
  return `| ${what} | ${spread(times.map((each) => each.p50))} | ${spread(times.map((each) => each.p99))} |\n`;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '0.5' },
      bytes: { type: 'string', default: '1200' },
      dir: { type: 'string', default: tmpdir() },
      dist: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    process.stdout.write(HELP);
    return;
  }
  const seconds = Number(flags.seconds);
  const folder = mkdtempSync(join(resolve(flags.dir), 'leveret-disk-'));
  const path = join(folder, 'bare');
  const bytes = Number(flags.bytes);
  const here: Times[] = [];
  const elsewhere: Times[] = [];
  const transient: Times[] = [];
  const persistent: Times[] = [];
  try {
    const dist = flags.dist === undefined ? {} : { dist: flags.dist };
    const broker = await OwnBroker.start({ ...dist, folder: join(folder, 'broker') });
    try {
      for (let round = 0; round < Number(flags.rounds); round++) {
        here.push(await bareWrites(path, bytes, seconds, syncHere));
        persistent.push(await throughBroker(broker, 'persistent-1k-single', seconds));
        elsewhere.push(await bareWrites(path, bytes, seconds, syncElsewhere));
        transient.push(await throughBroker(broker, 'transient-1k-single', seconds));
      }
    } finally {
      await broker.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write('| us | p50 | p99 |\n|---|---:|---:|\n');
  process.stdout.write(line(`append ${bytes} B, fdatasync`, here));
  process.stdout.write(line('the same, fdatasync by another thread', elsewhere));
  process.stdout.write(line('publish 1 KiB, transient, to the confirm', transient));
  process.stdout.write(line('publish 1 KiB, persistent, to the confirm', persistent));
  const apart = (more: readonly Times[], less: readonly Times[]) =>
    short(median(more.map((each, i) => each.p50 - less[i]!.p50)));
  process.stdout.write(
    `\nat p50, round by round: the broker adds ${apart(persistent, here)} us to the disk, another thread ${apart(elsewhere, here)} us\n`,
  );
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

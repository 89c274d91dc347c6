// How soon a broker is there: from the spawn of `leveret start` to the first accepted connection, and, embedded in a process that is
// warm already, from the call to a connected amqplib client; and what an idle broker occupies. `node startup.js [--rounds N]`.
// Owns the command line and the measurement.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { connect } from 'amqplib';
import { median, short } from './report.ts';
import { OwnBroker, ROOT } from './target.ts';
import { usageOf } from './usage.ts';

interface EmbeddedOptions {
  readonly port: number;
  readonly dataDir?: string;
  readonly store?: 'memory';
}

/** The part of the embedding API that is used here; loaded from dist, which need not exist when this file is compiled. */
interface Embedding {
  readonly Broker: {
    start(options: EmbeddedOptions): Promise<{ readonly port: number; stop(): Promise<void> }>;
  };
}

/** Milliseconds of one embedded start until a client is connected. */
async function embeddedStart({ Broker }: Embedding, options: EmbeddedOptions): Promise<number> {
  const at = performance.now();
  const broker = await Broker.start(options);
  // Without noDelay amqplib's own second write waits 40 ms for the kernel's delayed acknowledgement, with any broker.
  const client = await connect(`amqp://127.0.0.1:${broker.port}`, { noDelay: true });
  const ms = performance.now() - at;
  await client.close();
  await broker.stop();
  return ms;
}

function line(name: string, values: readonly number[], unit: string): void {
  const spread = `${short(Math.min(...values))}–${short(Math.max(...values))}`;
  process.stdout.write(`${name.padEnd(52)}${short(median(values)).padStart(8)} ${unit} (${spread})\n`);
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } });
  const rounds = Number(flags.rounds);
  const spawned: number[] = [];
  const idle: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const { broker, ms } = await OwnBroker.timedStart();
    spawned.push(ms);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const usage = usageOf(broker.pids());
    if (usage !== null) idle.push(usage.residentBytes / 2 ** 20);
    await broker.stop();
  }
  line('process: spawn to first accepted connection', spawned, 'ms');
  if (idle.length > 0) line('process: resident memory, idle for a second', idle, 'MiB');
  const at = performance.now();
  const embedding = (await import(pathToFileURL(join(ROOT, 'dist', 'index.js')).href)) as Embedding;
  line('embedded: import', [performance.now() - at], 'ms');
  const folder = mkdtempSync(join(tmpdir(), 'leveret-startup-'));
  try {
    const stores: [string, EmbeddedOptions][] = [
      ['in memory', { port: 0, store: 'memory' }],
      ['on disk', { port: 0, dataDir: folder }],
    ];
    for (const [name, options] of stores) {
      line(
        `embedded ${name}: first start to connected client`,
        [await embeddedStart(embedding, options)],
        'ms',
      );
      const warm: number[] = [];
      for (let i = 0; i < rounds; i++) warm.push(await embeddedStart(embedding, options));
      line(`embedded ${name}: later start to connected client`, warm, 'ms');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

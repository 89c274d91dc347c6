// The command behind `npm run bench:curves`: runs the sweeps point by point against our broker (and another one in turn), keeps every
// point as a JSON line, and draws each sweep as a picture. `--draw FILE…` only draws what was measured before.
// Owns the command line and the order of the runs. The pictures: chart.ts.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawSweep, type Point } from './chart.ts';
import { generate, machineFacts } from './generate.ts';
import { SWEEPS, type Sweep } from './sweeps.ts';
import { OtherBroker, OwnBroker, ROOT, type Target } from './target.ts';
import type { RunResult } from './workloads.ts';

const HELP = `npm run bench:curves -- [options]

  --only a,b       these sweeps only: ${SWEEPS.map((each) => each.name).join(', ')}
  --rounds N       runs of every point; the picture shows the median (1)
  --seconds N      length of a measured window (2)
  --max X          leave out points above this value
  --against URL    another broker too, in turn with ours
  --draw FILE,…    draw these results, measure nothing
`;

/** One point of a sweep, as it is kept. */
interface PointLine {
  readonly sweep: string;
  readonly value: number;
  readonly target: string;
  readonly metrics: RunResult['metrics'];
}

const RESULTS = join(ROOT, 'bench', 'results');
const PICTURES = join(ROOT, 'docs', 'pictures');

async function measure(
  sweeps: readonly Sweep[],
  flags: { rounds: number; seconds: number; max: number; against: string | undefined },
  file: string,
): Promise<void> {
  const facts = machineFacts();
  for (const sweep of sweeps) {
    for (const value of sweep.values) {
      if (value > flags.max) continue;
      // A broker of its own for every point: what one point leaves behind is not the next one's burden.
      const targets: Target[] = [await OwnBroker.start()];
      if (flags.against !== undefined) targets.push(new OtherBroker(flags.against, null));
      try {
        for (let round = 0; round < flags.rounds; round++) {
          for (const target of targets) await point(sweep, value, target, flags.seconds, facts, file);
        }
      } finally {
        for (const target of targets) await target.stop();
      }
    }
  }
}

async function point(
  sweep: Sweep,
  value: number,
  target: Target,
  seconds: number,
  facts: object,
  file: string,
): Promise<void> {
  const name = target instanceof OwnBroker ? 'Leveret' : 'RabbitMQ';
  process.stderr.write(`${sweep.name} ${value}, ${name} …`);
  try {
    const result = await generate({
      workload: `${sweep.name}@${value}`,
      options: { seconds, warmupSeconds: 1, scale: 1, address: target.address, pids: target.pids() },
    });
    const label = target instanceof OwnBroker ? 'Leveret' : `${result.product} ${result.version}`.trim();
    const line: PointLine = { sweep: sweep.name, value, target: label, metrics: result.metrics };
    appendFileSync(
      file,
      `${JSON.stringify({ date: new Date().toISOString(), ...facts, seconds, ...line })}\n`,
    );
    process.stderr.write(` ${Math.round(result.metrics[0]?.value ?? 0).toLocaleString('en-US')}/s\n`);
  } catch (error) {
    process.stderr.write(` failed: ${(error as Error).message}\n`);
  }
}

/** Draws every sweep that the files have points of. */
function draw(files: readonly string[]): void {
  mkdirSync(PICTURES, { recursive: true });
  const lines = files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text) as PointLine),
  );
  for (const sweep of SWEEPS) {
    const points = lines.filter((line) => line.sweep === sweep.name).map(pointOf);
    if (points.length === 0) continue;
    const file = join(PICTURES, `${sweep.name}.svg`);
    writeFileSync(file, drawSweep(sweep.title, sweep.axis, points));
    process.stdout.write(`${file}\n`);
  }
}

function pointOf(line: PointLine): Point {
  const of = (name: string): number | null => line.metrics.find((each) => each.name === name)?.value ?? null;
  return { target: line.target, value: line.value, rate: of('delivered') ?? 0, p99: of('confirm p99') };
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '2' },
      max: { type: 'string', default: 'Infinity' },
      against: { type: 'string' },
      draw: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    process.stdout.write(HELP);
    return;
  }
  if (flags.draw !== undefined) return draw(flags.draw.split(','));
  const names = flags.only?.split(',') ?? SWEEPS.map((each) => each.name);
  const sweeps = names.map((name) => {
    const sweep = SWEEPS.find((each) => each.name === name);
    if (sweep === undefined) throw new Error(`no sweep '${name}'; see --help`);
    return sweep;
  });
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `curves-${new Date().toISOString().slice(0, 10)}.jsonl`);
  await measure(
    sweeps,
    {
      rounds: Number(flags.rounds),
      seconds: Number(flags.seconds),
      max: Number(flags.max),
      against: flags.against,
    },
    file,
  );
  draw([file]);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

// The command behind `npm run bench:curves`: runs the sweeps point by point against our broker (and another one in turn), keeps every
// point as a JSON line, and draws each sweep as a picture. `--draw FILE…` only draws what was measured before.
// Owns the command line and the order of the runs. The pictures: chart.ts.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
  --points few     only the points that show the shape of a curve; "all" (default)
  --max X          leave out points above this value
  --against URL    another broker too, in turn with ours
  --json FILE      append a JSON line per point (bench/results/curves-<date>.jsonl); "none" for no file
  --pictures DIR   where the pictures go (docs/pictures)
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

interface Flags {
  readonly rounds: number;
  readonly seconds: number;
  readonly max: number;
  readonly few: boolean;
  readonly against: string | undefined;
}

/** Measures the points one after the other; `keep` gets each as soon as it is there. */
async function measure(
  sweeps: readonly Sweep[],
  flags: Flags,
  keep: (line: PointLine) => void,
): Promise<void> {
  const points = sweeps.flatMap((sweep) =>
    (flags.few ? sweep.few : sweep.values)
      .filter((value) => value <= flags.max)
      .map((value) => ({ sweep, value })),
  );
  const began = performance.now();
  for (const [i, { sweep, value }] of points.entries()) {
    // A broker of its own for every point: what one point leaves behind is not the next one's burden.
    const targets: Target[] = [await OwnBroker.start()];
    if (flags.against !== undefined) targets.push(new OtherBroker(flags.against, null));
    try {
      for (let round = 0; round < flags.rounds; round++) {
        for (const target of targets) {
          const seconds = Math.round((performance.now() - began) / 1000);
          process.stderr.write(`${i + 1} of ${points.length}, ${seconds} s: ${sweep.name} ${value}, `);
          await point(sweep, value, target, flags.seconds, keep);
        }
      }
    } finally {
      for (const target of targets) await target.stop();
    }
  }
}

async function point(
  sweep: Sweep,
  value: number,
  target: Target,
  seconds: number,
  keep: (line: PointLine) => void,
): Promise<void> {
  process.stderr.write(`${target instanceof OwnBroker ? 'Leveret' : 'the other broker'} …`);
  try {
    const { metrics, product, version } = await generate({
      workload: `${sweep.name}@${value}`,
      options: { seconds, warmupSeconds: 1, scale: 1, address: target.address, pids: target.pids() },
    });
    const label = target instanceof OwnBroker ? 'Leveret' : `${product} ${version}`.trim();
    const line: PointLine = { sweep: sweep.name, value, target: label, metrics };
    keep(line);
    const { rate, p99, broker, generator } = pointOf(line);
    process.stderr.write(
      ` ${Math.round(rate).toLocaleString('en-US')}/s, p99 ${p99?.toFixed(1) ?? '-'} ms, CPU us a message ${broker?.toFixed(2) ?? '-'}` +
        ` (generator ${generator?.toFixed(2) ?? '-'})\n`,
    );
  } catch (error) {
    process.stderr.write(` failed: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

function read(file: string): PointLine[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as PointLine);
}

/** Draws every sweep that there are points of. */
function draw(lines: readonly PointLine[], folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const sweep of SWEEPS) {
    const points = lines.filter((line) => line.sweep === sweep.name).map(pointOf);
    if (points.length === 0) continue;
    const file = join(folder, `${sweep.name}.svg`);
    writeFileSync(file, drawSweep(sweep.title, sweep.axis, points));
    process.stdout.write(`${file}\n`);
  }
}

function pointOf({ target, value, metrics }: PointLine): Point {
  const of = (name: string) => metrics.find((each) => each.name === name);
  const delivered = of('delivered');
  return {
    target,
    value,
    rate: delivered?.value ?? 0,
    p99: of('confirm p99')?.value ?? null,
    broker: delivered?.cpu?.broker ?? null,
    generator: delivered?.cpu?.generator ?? null,
  };
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '2' },
      points: { type: 'string', default: 'all' },
      max: { type: 'string', default: 'Infinity' },
      json: { type: 'string' },
      pictures: { type: 'string', default: join(ROOT, 'docs', 'pictures') },
      against: { type: 'string' },
      draw: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    process.stdout.write(HELP);
    return;
  }
  if (flags.draw !== undefined) return draw(flags.draw.split(',').flatMap(read), flags.pictures);
  if (flags.points !== 'all' && flags.points !== 'few') throw new Error(`--points: 'all' or 'few'`);
  const names = flags.only?.split(',') ?? SWEEPS.map((each) => each.name);
  const sweeps = names.map((name) => {
    const sweep = SWEEPS.find((each) => each.name === name);
    if (sweep === undefined) throw new Error(`no sweep '${name}'; see --help`);
    return sweep;
  });
  const seconds = Number(flags.seconds);
  const file = flags.json ?? join(RESULTS, `curves-${new Date().toISOString().slice(0, 10)}.jsonl`);
  if (file !== 'none') mkdirSync(dirname(file), { recursive: true });
  const facts = machineFacts();
  const lines: PointLine[] = [];
  const keep = (line: PointLine): void => {
    lines.push(line);
    if (file === 'none') return;
    const whole = { date: new Date().toISOString(), ...facts, seconds, ...line };
    appendFileSync(file, `${JSON.stringify(whole)}\n`);
  };
  await measure(
    sweeps,
    {
      rounds: Number(flags.rounds),
      seconds,
      max: Number(flags.max),
      few: flags.points === 'few',
      against: flags.against,
    },
    keep,
  );
  draw(lines, flags.pictures);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

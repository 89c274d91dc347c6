// The simulation's long form: `npm run simulate -- [--seeds 10000] [--first 1] [--steps 60] [--kind plain|rich]`. Owns the command line.
// Every seed that fails is printed with what led there, and can be had again alone: `npm run simulate -- --first N --seeds 1 --kind K`.

import { parseArgs } from 'node:util';
import { KINDS, type Kind, simulate } from './script.ts';

/** Seeds between two lines about progress. */
const PROGRESS_SEEDS = 500;
/** Failures after which the rest is not run. */
const FAILURES_MAX = 10;

const { values } = parseArgs({
  // npm's own dashes may have come along.
  args: process.argv.slice(2).filter((argument) => argument !== '--'),
  options: {
    seeds: { type: 'string', default: process.env['SIM_SEEDS'] ?? '10000' },
    first: { type: 'string', default: process.env['SIM_FIRST'] ?? '1' },
    steps: { type: 'string', default: process.env['SIM_STEPS'] ?? '60' },
    kind: { type: 'string', default: process.env['SIM_KIND'] ?? 'all' },
  },
});
const [seeds, first, steps] = [Number(values.seeds), Number(values.first), Number(values.steps)];

const kinds: readonly Kind[] = KINDS.filter((kind) => values.kind === 'all' || values.kind === kind);

const failed: string[] = [];
let run = 0;
for (; run < seeds && failed.length < FAILURES_MAX; run++) {
  const seed = first + run;
  for (const kind of kinds)
    await simulate(seed, steps, kind).catch((error: Error) => {
      failed.push(`${seed} ${kind}`);
      process.stdout.write(`${error.message}\n\n`);
    });
  if ((run + 1) % PROGRESS_SEEDS === 0) process.stdout.write(`${run + 1} of ${seeds} seeds\n`);
}
process.stdout.write(
  failed.length === 0
    ? `${run} seeds from ${first}, ${steps} steps each: no difference\n`
    : `${run} seeds from ${first}: ${failed.length} failed: ${failed.join(', ')}\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;

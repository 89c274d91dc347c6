// Power cuts in short. CRASH_SEEDS chooses others: a list (`CRASH_SEEDS=3,17`, `CRASH_SEEDS=3,`) or how many
// (`CRASH_SEEDS=200`).

import { describe, it } from 'vitest';
import { runPowerCuts } from './power-cuts.ts';

const { CRASH_SEEDS = '1,2,3' } = process.env;
const seeds = CRASH_SEEDS.includes(',')
  ? CRASH_SEEDS.split(',').filter(Boolean).map(Number)
  : Array.from({ length: Number(CRASH_SEEDS) }, (_, i) => i + 1);

describe('a machine that loses power at any step of a commit', () => {
  it.each(seeds)(
    'keeps everything that was confirmed, brings nothing back that is gone (seed %i)',
    async (seed) => {
      await runPowerCuts({ seed, cuts: 4, say: () => {} });
    },
    60_000,
  );
});

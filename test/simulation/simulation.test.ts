// Random topologies and operations, restarts and crashes, held against a plain model. A failure names its seed.
// The long form is `npm run simulate` (run.ts). Here SIM_SEEDS says how many seeds, SIM_FIRST the first one, SIM_STEPS how long each
// script is.

import { describe, expect, it } from 'vitest';
import { simulate } from './script.ts';

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 120);
const FIRST = Number(process.env['SIM_FIRST'] ?? 1);
const STEPS = Number(process.env['SIM_STEPS'] ?? 60);
const MS_PER_SEED_MAX = 5_000;

describe('a broker without doors', () => {
  it(
    `does what a plain model does, whatever is done to it (${SEEDS} seeds from ${FIRST}, ${STEPS} steps each)`,
    async () => {
      const failures: string[] = [];
      for (let seed = FIRST; seed < FIRST + SEEDS && failures.length < 5; seed++)
        await simulate(seed, STEPS).catch((error: Error) => failures.push(error.message));
      expect(failures.join('\n\n')).toBe('');
    },
    SEEDS * MS_PER_SEED_MAX,
  );
});

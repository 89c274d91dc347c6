// Random topologies and operations, restarts and crashes, held against a plain model. A failure names its seed.
// The long form is `npm run simulate` (run.ts). Here SIM_SEEDS says how many seeds, SIM_FIRST the first one, SIM_STEPS how long each
// script is.

import { describe, expect, it } from 'vitest';
import { type Kind, simulate } from './script.ts';

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 120);
const FIRST = Number(process.env['SIM_FIRST'] ?? 1);
const STEPS = Number(process.env['SIM_STEPS'] ?? 60);
/** Seeds of each kind of world. */
const KINDS: readonly [Kind, number][] = [
  ['plain', SEEDS],
  ['rich', Math.ceil(SEEDS / 3)],
];
const MS_PER_SEED_MAX = 5_000;

describe('a broker without doors', () => {
  for (const [kind, seeds] of KINDS)
    it(
      `does what a plain model does, whatever is done to it (${kind}: ${seeds} seeds from ${FIRST}, ${STEPS} steps each)`,
      async () => {
        const failures: string[] = [];
        for (let seed = FIRST; seed < FIRST + seeds && failures.length < 5; seed++)
          await simulate(seed, STEPS, kind).catch((error: Error) => failures.push(error.message));
        expect(failures.join('\n\n')).toBe('');
      },
      seeds * MS_PER_SEED_MAX,
    );
});

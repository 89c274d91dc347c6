// The real program, killed a few times under load. The long form is `npm run crash`; its seed is printed with every failure.

import { beforeAll, describe, it } from 'vitest';
import { runRounds } from './rounds.ts';
import { Build } from './victim.ts';

const { CRASH_SEEDS = '1' } = process.env;
const seed = Number(CRASH_SEEDS.split(',')[0]);

describe('a broker that is killed with SIGKILL under full load', () => {
  beforeAll(() => Build.refresh(), 120_000);

  it(`has everything it confirmed when it is started again (seed ${seed})`, async () => {
    const said: string[] = [];
    const load = { publishers: 2, waitingMax: 500, waitingBytesMax: 2 * 1024 * 1024 };
    await runRounds({ seed, rounds: 3, seconds: 0.5, load, say: (line) => said.push(line) });
  }, 120_000);
});

// Kills the real broker again and again under full load, on the same folder, and holds what is left against what it had confirmed.
// `npm run crash -- [--rounds 50] [--seconds 2] [--seed N] [--dist FOLDER]`. Owns the command line.

import { parseArgs } from 'node:util';
import { runRounds } from './rounds.ts';

const { values } = parseArgs({
  // npm's own dashes may have come along.
  args: process.argv.slice(2).filter((argument) => argument !== '--'),
  options: {
    rounds: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '2' },
    dist: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const rounds = Number(values.rounds);
const seed = Number(values.seed);
say(`seed ${seed}, ${rounds} rounds of about ${values.seconds} s`);
try {
  await runRounds({ seed, rounds, seconds: Number(values.seconds), load: {}, dist: values.dist, say });
  say(`${rounds} kills, nothing that was confirmed is missing`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

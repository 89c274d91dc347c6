// Does the work of the stations so that an instruction counter can tell one part from the next. Runs under Valgrind's callgrind, which starts a new
// part at every call of `uptime` (guard.ts says so).
//
//   count.ts      prints {"rounds": …, "plan": [{"name": …, "operations": …}, …]}: for each station a part that is nobody's, in which it
//                 starts and warms up, and `rounds` parts of so many operations each
//
// The rounds before the first counted one let V8 compile what is hot: how often a thing has run decides that, not for how long.

import { uptime } from 'node:os';
import { gathered, STATIONS } from './stations.ts';

const WARM_ROUNDS = 25;
const ROUNDS = 6;
/** Operations of a round. */
const OPERATIONS = 1_000;

const plan: { readonly name: string; readonly operations: number }[] = [];
for (const [name, station] of Object.entries(STATIONS)) {
  const work = await station();
  for (let round = 0; round < WARM_ROUNDS; round++) await work(OPERATIONS);
  for (let round = 0; round < ROUNDS; round++) {
    uptime();
    await work(OPERATIONS);
  }
  uptime();
  plan.push({ name, operations: OPERATIONS });
}
process.stdout.write(JSON.stringify({ rounds: ROUNDS, plan }));
// What was gathered has to be looked at, or V8 may leave it out.
if (gathered() === 0.5) process.exitCode = 1;

// The command behind `npm run bench:micro [-- NAME… [--quick]]`: runs micro benchmarks, each in a process of its own, one after the other.
// Owns the list of them. `--quick` gives tiny counts: it only shows that they run.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const NAMES = ['decode', 'route', 'tags', 'store', 'recovery'];

const asked = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'));
const unknown = asked.filter((name) => !NAMES.includes(name));
if (unknown.length > 0) {
  console.error(`no micro benchmark '${unknown[0]}'; there are ${NAMES.join(', ')}`);
  process.exitCode = 1;
} else
  for (const name of asked.length > 0 ? asked : NAMES) {
    console.log(`── ${name}`);
    const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
    const { status } = spawnSync(process.execPath, [...process.execArgv, file, ...flags], {
      stdio: 'inherit',
    });
    if (status !== 0) process.exitCode = 1;
  }

// The guard against speed that leaks away: the instructions that one message costs at each station of its way (stations.ts), compared with what
// guard.json knows of them.
//
//   npm run bench:guard                 fails when a station takes more than 1.2 times the instructions that guard.json says
//   npm run bench:guard -- --update     writes guard.json anew, after a change that was meant
//
// Valgrind counts them: a count is the same on a busy machine and on a slow one, where a time is not. V8 is told to compile in turn with
// the program and to draw the same random numbers each time, so that two runs differ by less than a hundredth. On another
// kind of processor or another Node the counts are shown and not judged.

import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { holdsFor, isFailure, judge, type Known, perOperation, type Verdict } from './guard-judge.ts';

const FILE = join('bench', 'micro', 'guard.json');
const COUNT = fileURLToPath(new URL('./count.js', import.meta.url));
/** What makes V8 do the same things in the same order in every run, and look for garbage in few rounds only, in those all at once. */
const REPEATABLE = [
  '--predictable',
  '--single-threaded',
  '--hash-seed=1',
  '--random-seed=1',
  '--no-incremental-marking',
  '--min-semi-space-size=32',
  '--max-semi-space-size=32',
];

/** What count.ts prints. */
interface Counted {
  readonly rounds: number;
  readonly plan: readonly { readonly name: string; readonly operations: number }[];
}

/** Instructions of one operation, by station. @throws Error when valgrind is missing or fails */
async function counted(): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'leveret-guard-'));
  try {
    const args = [
      '--quiet',
      '--tool=callgrind',
      `--callgrind-out-file=${join(folder, 'part')}`,
      // What `os.uptime` calls: count.ts calls it between two parts.
      '--dump-before=uv_uptime',
      // V8 writes over code that was run already.
      '--smc-check=all-non-file',
      process.execPath,
      ...REPEATABLE,
      COUNT,
    ];
    // Options for other programs would make this one another.
    const env = { ...process.env, NODE_OPTIONS: '' };
    const { stdout } = await promisify(execFile)('valgrind', args, { env });
    const { rounds, plan } = JSON.parse(stdout) as Counted;
    // `part` without a number is the end of the process.
    const parts = readdirSync(folder)
      .filter((name) => name.startsWith('part.'))
      .sort((a, b) => numberOf(a) - numberOf(b))
      .map((name) => total(readFileSync(join(folder, name), 'utf8')));
    return perOperation(plan, rounds, parts);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `part.12` is the twelfth. */
function numberOf(name: string): number {
  return Number(name.slice('part.'.length));
}

/** What callgrind counted in one part. */
function total(text: string): number {
  return Number(/^totals: (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

function show(name: string, instructions: number, usual: number | undefined, verdict: string): void {
  const known = usual === undefined ? '-' : String(usual);
  console.log(
    `${name.padEnd(50)}${String(instructions).padStart(8)} instructions ${known.padStart(8)} known   ${verdict}`,
  );
}

const known = JSON.parse(readFileSync(FILE, 'utf8')) as Known;
const here = { arch: process.arch, node: process.version.split('.', 1)[0] ?? '' };
let found: Record<string, number> | null = null;
try {
  found = await counted();
} catch (error) {
  const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  console.error(missing ? 'valgrind counts the instructions, and it is not installed' : String(error));
  process.exitCode = 1;
}

if (found !== null && process.argv.includes('--update')) {
  for (const [name, count] of Object.entries(found)) show(name, count, known.instructions[name], 'written');
  writeFileSync(FILE, `${JSON.stringify({ ...here, instructions: found }, null, 2)}\n`);
} else if (found !== null && !holdsFor(known, here.arch, here.node)) {
  console.log(
    `known for ${known.arch}, Node ${known.node}; here ${here.arch}, Node ${here.node}: not judged`,
  );
  for (const [name, count] of Object.entries(found)) show(name, count, known.instructions[name], 'shown');
  console.log('0 passed, 0 failed');
} else if (found !== null) {
  const verdicts: Verdict[] = [];
  for (const [name, count] of Object.entries(found)) {
    const verdict = judge(known, name, count);
    verdicts.push(verdict);
    show(name, count, known.instructions[name], verdict);
  }
  const failed = verdicts.filter(isFailure).length;
  console.log(`${verdicts.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

// The guard against speed that leaks away: the stations of a message's way (stations.ts), compared with what guard.json knows of them.
//
//   npm run bench:guard                 fails when a station costs more than 1.2 times what guard.json says
//   npm run bench:guard -- --update     writes guard.json anew, after a change that was meant
//
// guard.json holds the median of several processes. A station that costs more is measured again in a fresh process, up to ATTEMPTS times, and
// the least counts, before it is believed: neither a neighbour on the machine nor an unlucky compilation is a regression. On
// another processor or another Node the ratios are shown and not judged.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { holdsFor, judge, type Known, median } from './guard-judge.ts';

const ATTEMPTS = 25;
/** Processes that are asked when guard.json is written. */
const LOOKS = 9;
/** Between two attempts, so that what disturbed the first may be over. */
const PAUSE_MS = 1_000;
const FILE = fileURLToPath(new URL('./guard.json', import.meta.url));
const STATIONS = fileURLToPath(new URL('./stations.ts', import.meta.url));

const run = promisify(execFile);

/** Ratios of these stations, or of all, from a process of their own. */
async function look(stations: readonly string[]): Promise<Record<string, number>> {
  const { stdout } = await run(process.execPath, [...process.execArgv, STATIONS, ...stations]);
  return JSON.parse(stdout) as Record<string, number>;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}

function show(name: string, ratio: number, known: Known, verdict: string): void {
  const usual = (known.ratios[name] ?? 0).toFixed(3).padStart(9);
  console.log(`${name.padEnd(50)}${ratio.toFixed(3).padStart(9)} of the loop${usual} known   ${verdict}`);
}

const known = JSON.parse(readFileSync(FILE, 'utf8')) as Known;
const here = { cpu: cpus()[0]?.model ?? '', node: process.version.split('.', 1)[0] ?? '' };

if (process.argv.includes('--update')) {
  const looks: Record<string, number>[] = [];
  for (let i = 0; i < LOOKS; i++) {
    looks.push(await look([]));
    await pause();
  }
  const ratios: Record<string, number> = {};
  for (const name of Object.keys(looks[0]!)) {
    ratios[name] = Math.round(median(looks.map((each) => each[name]!)) * 1000) / 1000;
    show(name, ratios[name], known, 'written');
  }
  writeFileSync(FILE, `${JSON.stringify({ ...here, ratios }, null, 2)}\n`);
} else {
  const judges = holdsFor(known, here.cpu, here.node);
  const found = await look([]);
  const slow = (): string[] => Object.keys(found).filter((name) => judge(known, name, found[name]!) !== 'ok');
  for (let attempt = 1; attempt < ATTEMPTS && judges && slow().length > 0; attempt++) {
    await pause();
    for (const [name, ratio] of Object.entries(await look(slow())))
      found[name] = Math.min(found[name]!, ratio);
  }
  if (!judges) {
    console.log(
      `known for ${known.cpu}, Node ${known.node}; here ${here.cpu}, Node ${here.node}: not judged`,
    );
    for (const [name, ratio] of Object.entries(found)) show(name, ratio, known, 'shown');
    console.log('0 passed, 0 failed');
  } else {
    for (const [name, ratio] of Object.entries(found)) show(name, ratio, known, judge(known, name, ratio));
    const failed = slow().length;
    console.log(`${Object.keys(found).length - failed} passed, ${failed} failed`);
    process.exitCode = failed === 0 ? 0 : 1;
  }
}

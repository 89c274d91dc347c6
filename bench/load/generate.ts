// A run of one workload in a generator process of its own, and what a results line says of machine and build.

import { execFileSync, fork } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ROOT } from './target.ts';
import type { Answer, Job } from './worker.ts';
import type { RunResult } from './workloads.ts';

/** Runs a workload in a process of its own. */
export function generate(job: Job): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const worker = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), [], { stdio: 'inherit' });
    let done = false;
    worker.once('message', (answer: Answer) => {
      done = true;
      if (answer.ok) resolve(answer.result);
      else reject(new Error(`${job.workload}: ${answer.error}`));
    });
    worker.once('exit', (code) => {
      if (!done) reject(new Error(`${job.workload}: the generator ended with ${code}`));
    });
    worker.send(job);
  });
}

function commit(): string {
  try {
    return execFileSync('git', ['-C', ROOT, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}

/** What every line of a results file begins with. */
export function machineFacts(): { commit: string; node: string; cpu: string; cores: number } {
  return { commit: commit(), node: process.version, cpu: cpus()[0]?.model ?? '', cores: cpus().length };
}

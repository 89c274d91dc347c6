// The generator's own process: takes one job from its parent, runs it, sends the result, ends.
// Owns nothing but this exchange.

import type { RunOptions } from './bench.ts';
import { type RunResult, runWorkload } from './workloads.ts';

/** What the parent sends. */
export interface Job {
  readonly workload: string;
  readonly options: RunOptions;
}

/** What comes back. */
export type Answer =
  | { readonly ok: true; readonly result: RunResult }
  | { readonly ok: false; readonly error: string };

function answer(message: Answer): void {
  process.send?.(message, () => process.exit(message.ok ? 0 : 1));
}

process.once('message', (job: Job) => {
  runWorkload(job.workload, job.options).then(
    (result) => answer({ ok: true, result }),
    (error: unknown) => answer({ ok: false, error: error instanceof Error ? error.message : String(error) }),
  );
});

// The micro benchmarks run, with counts so small that their numbers mean nothing.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { gathered, STATIONS } from '../../bench/micro/stations.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function micro(...args: string[]): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', './.ci/typescript.mjs', 'bench/micro/run.ts', ...args],
    { cwd: root, encoding: 'utf8' },
  );
  return { status, text: stdout + stderr };
}

describe('npm run bench:micro', () => {
  it('prints a table for each benchmark that was asked for', { timeout: 60_000 }, () => {
    const { status, text } = micro('decode', 'route', 'tags', 'store', 'recovery', '--quick');
    expect(text).toMatch(
      /── decode\n.*── route\n.*── tags\n.*Map, one by one.*── store\n.*── recovery\n.*1,000 queues/s,
    );
    expect(status, text).toBe(0);
  });

  it('names those that there are when it is asked for another', { timeout: 60_000 }, () => {
    const { status, text } = micro('nonsense');
    expect(text).toContain("no micro benchmark 'nonsense'; there are decode, route, tags, store, recovery");
    expect(status).toBe(1);
  });
});

describe("the stations of a message's way", () => {
  it.each(Object.keys(STATIONS))('%s', { timeout: 60_000 }, async (name) => {
    const work = await STATIONS[name]!();
    // A station that does not do its work throws.
    await work(200);
    expect(gathered()).toEqual(expect.any(Number));
  });
});

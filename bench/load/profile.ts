// Functions of a .cpuprofile by the time that they themselves used. `node profile.js FILE…` prints them.
// Owns the reading of V8's profile format. A native call (a write to a socket) counts for the line that V8 gives it, "(program)"
// for what belongs to no function, and idle time is left out.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** A function and its own time. */
export interface SelfTime {
  readonly name: string;
  readonly ms: number;
  /** Of all time that was not idle. */
  readonly share: number;
}

/** The functions of a profile, most expensive first. */
export function selfTimes(profile: Profile): SelfTime[] {
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const file = callFrame.url.replace(/^.*\/(dist|node_modules)\//, '');
    const place = file === '' ? '' : ` ${file}:${callFrame.lineNumber + 1}`;
    names.set(id, `${callFrame.functionName || '(anonymous)'}${place}`);
  }
  const times = new Map<string, number>();
  let total = 0;
  for (let i = 0; i < profile.samples.length; i++) {
    const name = names.get(profile.samples[i]!) ?? '?';
    if (name === '(idle)') continue;
    // The time to the next sample belongs to this one.
    const ms = (profile.timeDeltas[i + 1] ?? 0) / 1000;
    times.set(name, (times.get(name) ?? 0) + ms);
    total += ms;
  }
  return [...times].map(([name, ms]) => ({ name, ms, share: ms / total })).sort((a, b) => b.ms - a.ms);
}

/** The `most` first functions of a profile file, as lines for people. */
export function describeProfile(path: string, most: number): string {
  const times = selfTimes(JSON.parse(readFileSync(path, 'utf8')) as Profile);
  return times
    .slice(0, most)
    .map(
      ({ name, ms, share }) =>
        `${(share * 100).toFixed(1).padStart(6)} %  ${ms.toFixed(0).padStart(7)} ms  ${name}`,
    )
    .join('\n');
}

/** As `describeProfile` for every profile of a folder. */
export function describeFolder(folder: string, most: number): string {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => `${name}\n${describeProfile(join(folder, name), most)}`)
    .join('\n\n');
}

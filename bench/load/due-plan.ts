// What the benchmarks of messages that wait for a time have in common: when which one is due, and what is reported.
// Knows no broker feature: how a message is told its time stands with each of them.

import { short } from './report.ts';
import type { OwnBroker } from './target.ts';
import { usageOf } from './usage.ts';

const MIB = 2 ** 20;
/** A step that has no factor in common with any round number: it visits every place once, in no order. */
const SHUFFLE = 7_368_787;

/** How many messages come due, and when. */
export interface Plan {
  readonly count: number;
  /** Bytes of a body. */
  readonly size: number;
  /** Messages that come due per second. */
  readonly rate: number;
  /** When the first one is due, ms since the epoch. */
  readonly beginAt: number;
}

/** When message `i` is due, in ms since the epoch. Neighbours are due at times far apart. */
export function dueAt(plan: Plan, i: number): number {
  const place = (i * SHUFFLE) % plan.count;
  return Math.floor(plan.beginAt + (place * 1000) / plan.rate);
}

/** Prints one figure. */
export function say(name: string, value: number, unit: string): void {
  process.stdout.write(`${name.padEnd(52)}${short(value).padStart(8)} ${unit}\n`);
}

/** Prints the greatest resident memory of the broker while `work` runs, in MiB. */
export async function watched<T>(broker: OwnBroker, name: string, work: Promise<T>): Promise<T> {
  let max = 0;
  const watch = setInterval(() => {
    max = Math.max(max, usageOf(broker.pids())?.residentBytes ?? 0);
  }, 100);
  try {
    return await work;
  } finally {
    clearInterval(watch);
    if (max > 0) say(`${name}: greatest resident memory`, max / MIB, 'MiB');
  }
}

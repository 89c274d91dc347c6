// Gives memory back after a burst: collects garbage once the process has become quiet.
// Why: V8 collects when something is allocated. A broker that was busy and is not any more allocates nothing, and would keep the garbage
// of its last burst for as long as nobody speaks to it.
// Owns when. Runs in the command's own process only: an embedder's process is not ours to collect.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock, Ticker } from '../base/clock.ts';

/** How often is looked, in milliseconds. */
const LOOK_MS = 1_000;
/**
 * Looks in a row that must find the process quiet. V8 gives the room for young objects back only when it saw few allocations for five
 * seconds: a collection sooner than that frees what is in it, and keeps the room (measured: 60 MiB of it).
 */
export const QUIET_LOOKS = 7;
/** Share of a core below which the process counts as quiet. */
const QUIET_SHARE = 0.02;
/** Growth since the last collection that is worth one, in bytes. */
export const WORTH_BYTES = 16 * 1024 * 1024;

/** The process, as far as this needs it. */
export interface MemoryProbe {
  /** CPU time used so far, in milliseconds. */
  cpuMs(): number;
  /** Memory of the process that a collection might give back, in bytes. */
  bytes(): number;
  collect(): void;
}

/** This process. */
export function ownMemory(): MemoryProbe {
  let gc: (() => void) | null = null;
  return {
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    bytes: () => {
      const { heapTotal, external } = process.memoryUsage();
      return heapTotal + external;
    },
    collect: () => {
      if (gc === null) {
        setFlagsFromString('--expose-gc');
        gc = runInNewContext('gc') as () => void;
      }
      gc();
    },
  };
}

/** Watches a process and collects its garbage when it has become quiet. */
export class IdleMemory {
  private readonly probe: MemoryProbe;
  private readonly ticker: Ticker;
  private cpuMs: number;
  /** What was left after the last collection, or held at the start. */
  private base: number;
  private quietLooks = 0;
  /** A collection has begun what a second one ends. */
  private again = false;

  constructor(clock: Clock, probe: MemoryProbe) {
    this.probe = probe;
    this.cpuMs = probe.cpuMs();
    this.base = probe.bytes();
    this.ticker = clock.every(LOOK_MS, () => this.look());
  }

  stop(): void {
    this.ticker.stop();
  }

  private look(): void {
    const { probe } = this;
    const used = probe.cpuMs() - this.cpuMs;
    this.cpuMs += used;
    this.quietLooks = used <= LOOK_MS * QUIET_SHARE ? this.quietLooks + 1 : 0;
    if (this.quietLooks < QUIET_LOOKS) return;
    const bytes = probe.bytes();
    // What was given back by itself is not to be waited for again.
    if (bytes < this.base) this.base = bytes;
    const isWorth = bytes >= this.base + WORTH_BYTES;
    if (!isWorth && !this.again) return;
    probe.collect();
    this.base = probe.bytes();
    // The first one sees the end of the burst in what was allocated since the one before, and keeps room for young objects (measured: 55 to
    // 60 MiB, in every other burst). One that comes as long after it sees that nothing was.
    this.again = isWorth;
    this.quietLooks = 0;
    // The collection itself is work.
    this.cpuMs = probe.cpuMs();
  }
}

// What a broker's process costs: CPU seconds and resident memory, read from /proc; and who listens on a port.
// Owns the parsing of /proc. Where there is no /proc (macOS, a broker on another machine) every answer is null.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Ticks of /proc/<pid>/stat in a second. Linux has reported 100 to user space on every platform that Node runs on. */
const TICKS = 100;

/** What a process (with its children) has used. */
export interface Usage {
  /** CPU seconds, user and system. */
  readonly cpuSeconds: number;
  /** Resident bytes. */
  readonly residentBytes: number;
}

/** A moment of the whole machine. */
export interface MachineUsage {
  /** CPU seconds that all processes together have used since boot. */
  readonly busySeconds: number;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** Fields of /proc/<pid>/stat behind the command name, which may itself hold spaces and brackets. */
function statFields(pid: number): string[] | null {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** The process and everything that it started, as far as it runs now. */
export function withChildren(pid: number): number[] {
  const parents = new Map<number, number>();
  try {
    for (const name of readdirSync('/proc')) {
      const fields = /^\d+$/.test(name) ? statFields(Number(name)) : null;
      if (fields !== null) parents.set(Number(name), Number(fields[1]));
    }
  } catch {
    return [pid];
  }
  const family = [pid];
  for (let i = 0; i < family.length; i++) {
    for (const [child, parent] of parents) if (parent === family[i]) family.push(child);
  }
  return family;
}

/** Sum over the processes; null when none of them can be read. */
export function usageOf(pids: readonly number[]): Usage | null {
  let ticks = 0;
  let residentBytes = 0;
  let found = false;
  for (const pid of pids) {
    const fields = statFields(pid);
    if (fields === null) continue;
    found = true;
    // utime, stime, and those of children that have ended: fields 14 to 17 of proc(5).
    for (let i = 11; i <= 14; i++) ticks += Number(fields[i]);
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '');
    if (resident !== null) residentBytes += Number(resident[1]) * 1024;
  }
  return found ? { cpuSeconds: ticks / TICKS, residentBytes } : null;
}

/** Seconds for which the main thread of a process was ready to run and had no core; NaN when that cannot be read. */
export function waitedSeconds(pid: number): number {
  // Time on a core, time waited for one, both in nanoseconds; times given a core (Documentation/scheduler/sched-stats of Linux).
  const fields = read(`/proc/${pid}/task/${pid}/schedstat`)?.split(' ');
  return fields === undefined ? Number.NaN : Number(fields[1]) / 1e9;
}

/** True for a process that was started under a real-time policy (chrt). */
export function isRealTime(pid: number): boolean {
  // policy: field 41 of proc(5).
  const policy = statFields(pid)?.[38];
  return policy === '1' || policy === '2';
}

/** CPU seconds of the whole machine, or null. */
export function machineUsage(): MachineUsage | null {
  const line = read('/proc/stat')?.split('\n', 1)[0];
  if (line === undefined) return null;
  const ticks = line.trim().split(/\s+/).slice(1).map(Number);
  // user, nice, system, irq, softirq, steal; neither idle nor iowait, and guest time is part of user already.
  const busy = [0, 1, 2, 5, 6, 7].reduce((sum, i) => sum + (ticks[i] ?? 0), 0);
  return { busySeconds: busy / TICKS };
}

/** The process that listens on a local TCP port, or null when there is none or it may not be looked at. */
export function listenerOf(port: number): number | null {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set<string>();
  for (const path of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (read(path) ?? '').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      // State 0A is LISTEN.
      if (fields[3] === '0A' && fields[1]?.endsWith(`:${hex}`)) inodes.add(`socket:[${fields[9]}]`);
    }
  }
  if (inodes.size === 0) return null;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      for (const handle of readdirSync(`/proc/${name}/fd`)) {
        if (inodes.has(readlinkSync(`/proc/${name}/fd/${handle}`))) return Number(name);
      }
    } catch {
      // A process that has ended, or that belongs to someone else.
    }
  }
  return null;
}

// When a station of a message's way counts as slower than it was. Owns the rule, measures nothing.

/** A station may cost this much more than is known of it. */
export const TOLERANCE = 1.2;

/** Ratios hold for a processor and a major version of Node: V8 compiles differently, caches have other sizes. */
export interface Known {
  readonly cpu: string;
  readonly node: string;
  /** By station, the median of several processes. */
  readonly ratios: Readonly<Record<string, number>>;
}

/** What is said of a station. */
export type Verdict = 'ok' | 'TOO SLOW' | 'not known yet: --update';

/** True when what is known was measured on such a machine. */
export function holdsFor(known: Known, cpu: string, node: string): boolean {
  return known.cpu === cpu && known.node === node;
}

/** Judges the least ratio that was found of a station. */
export function judge(known: Known, station: string, ratio: number): Verdict {
  const usual = known.ratios[station];
  if (usual === undefined) return 'not known yet: --update';
  // What is not a number is no reason for trust.
  return ratio <= usual * TOLERANCE ? 'ok' : 'TOO SLOW';
}

/** The middle one. @throws Error when there is none */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new Error('nothing was measured');
  return middle;
}

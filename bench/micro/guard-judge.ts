// When a station of a message's way counts as dearer than it was. Owns the rule, counts nothing.

/** A station may cost this much more than is known of it. */
export const TOLERANCE = 1.2;

/** Counts hold for a processor's language and a major version of Node: V8 compiles differently. */
export interface Known {
  readonly arch: string;
  readonly node: string;
  /** Instructions of one operation, by station. */
  readonly instructions: Readonly<Record<string, number>>;
}

/** What is said of a station. */
export type Verdict = 'ok' | 'TOO MUCH' | 'less: --update' | 'not known yet: --update';

/** True when what is known was counted on such a machine. */
export function holdsFor(known: Known, arch: string, node: string): boolean {
  return known.arch === arch && known.node === node;
}

/** Judges the instructions that one operation of a station took. */
export function judge(known: Known, station: string, instructions: number): Verdict {
  const usual = known.instructions[station];
  if (usual === undefined) return 'not known yet: --update';
  // What was gained is to be guarded too.
  if (instructions * TOLERANCE < usual) return 'less: --update';
  // What is not a number is no reason for trust.
  return instructions <= usual * TOLERANCE ? 'ok' : 'TOO MUCH';
}

/** True for a verdict that fails the guard. */
export function isFailure(verdict: Verdict): boolean {
  return verdict === 'TOO MUCH' || verdict === 'not known yet: --update';
}

/**
 * Instructions of one operation of every station, from the counts of a counted run's parts (count.ts says what they are). The round that
 * took the least stands for its station: a collection of garbage in a round is the work of many rounds.
 *
 * @throws Error when there are not as many parts as the plan says
 */
export function perOperation(
  plan: readonly { readonly name: string; readonly operations: number }[],
  rounds: number,
  parts: readonly number[],
): Record<string, number> {
  // Every station is a part that nobody is charged with, and its rounds.
  const wanted = plan.length * (rounds + 1);
  if (parts.length !== wanted) throw new Error(`${parts.length} parts were counted, not ${wanted}`);
  return Object.fromEntries(
    plan.map(({ name, operations }, station) => {
      const from = station * (rounds + 1) + 1;
      const least = Math.min(...parts.slice(from, from + rounds));
      return [name, Math.round(least / operations)];
    }),
  );
}

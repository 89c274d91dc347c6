// Whether a micro benchmark is only to show that it runs (`--quick`): tiny counts, numbers that mean nothing. Owns that one question.

/** Counts are to be tiny. */
export const QUICK = process.argv.includes('--quick');

/** The first argument that is a number, and those after it. */
export function countAt(index: number, normal: number, quick: number): number {
  if (QUICK) return quick;
  const numbers = process.argv.slice(2).map(Number).filter(Number.isFinite);
  return numbers[index] ?? normal;
}

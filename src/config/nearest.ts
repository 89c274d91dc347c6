// Which known word a person most likely meant. Knows nothing of settings.

/** A word is near another when not more than this share of its letters differs. */
const SHARE_CHANGED_MAX = 1 / 3;
/** A part of a longer word means that word from so many letters on. */
const PART_LETTERS_MIN = 4;

/**
 * The candidate with the fewest single-letter changes from `word`, ignoring case and the signs between words; the first of equals.
 * When none is near: the first one that `word` is a part of. Null when there is no such one either.
 */
export function nearest(word: string, candidates: readonly string[]): string | null {
  const wanted = bare(word);
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const known = bare(candidate);
    const distance = editDistance(wanted, known);
    const changesMax = Math.max(1, Math.floor(Math.max(wanted.length, known.length) * SHARE_CHANGED_MAX));
    if (distance < bestDistance && distance <= changesMax) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best !== null || wanted.length < PART_LETTERS_MIN) return best;
  return candidates.find((candidate) => bare(candidate).includes(wanted)) ?? null;
}

function bare(word: string): string {
  // Longer words can only be junk; the cut bounds the work below.
  return word
    .slice(0, 64)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '');
}

/** Levenshtein distance in which swapping two neighbours counts as one change. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let distance = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, beforeLast[j - 2]! + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

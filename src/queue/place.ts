// Where an entry stands in the lists of its line: the bits of `Entry.place`. Each list writes its own bits only.

import type { Entry } from '../message/entry.ts';

/** It is ready in its line. Kept for entries with a deadline only: nobody asks it of others. */
export const WAITING = 1;
/** In the ready list, but taken out: a hole. */
export const HOLE = 2;
/** It expires before something that stood in front of it. */
export const EARLY = 4;
/** It is in one of the lists of deadlines.ts. */
export const INDEXED = 8;
/** It waits beside the ready list (see `Line.park`). */
export const PARKED = 16;

/** The entry, which has a deadline, is ready in its line. */
export function isWaiting(entry: Entry): boolean {
  return (entry.place & WAITING) !== 0;
}

/** The entry was taken out of the ready list it stands in. */
export function isHole(entry: Entry): boolean {
  return (entry.place & HOLE) !== 0;
}

// Where an entry stands in the lists of its line: the bits of `Entry.place`. Each list writes its own bits only.

import type { Entry } from '../message/entry.ts';

/** In the ready list, waiting or as a hole. */
export const LISTED = 1;
/** In the ready list, but taken out: a hole. */
export const HOLE = 2;
/** It expires before something that stood in front of it. */
export const EARLY = 4;
/** It is in one of the lists of deadlines.ts. */
export const INDEXED = 8;
/** It waits beside the ready list (see `Line.park`). */
export const PARKED = 16;

/** The entry waits in the ready list. */
export function isListed(entry: Entry): boolean {
  return (entry.place & (LISTED | HOLE)) === LISTED;
}

/** The entry waits in its line: it is ready. */
export function isWaiting(entry: Entry): boolean {
  const { place } = entry;
  return (place & (LISTED | HOLE)) === LISTED || (place & PARKED) !== 0;
}

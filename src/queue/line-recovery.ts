// What recovery puts into a line: where its positions go on, what may have been delivered before the stop, and the entries that the store has.
// Owns the order in which that is taken over; where entries stand is the line's.
//
// A level's entries come under two numbers of the store, first under that of all levels, then under its own (level-store.ts).

import type { Entry } from '../message/entry.ts';
import { storedBodyLength } from '../message/message.ts';
import type { StoredEntry } from '../store/store.ts';
import type { DeliveryMark } from './delivery-mark.ts';
import { isOwn, movedTo, positionOfOwn, positionOfShared } from './level-store.ts';
import type { Line } from './line.ts';
import { EARLY } from './place.ts';
import { deathOf, isHeldBack } from './tries.ts';

/** Where positions go on, and up to where entries may have been delivered before the stop. */
export function restoreFacts(line: Line, nextPosition: number, deliveredUpTo: number): void {
  // The mark runs ahead of the deliveries: positions go on behind it, or new messages would look redelivered.
  const next = Math.max(nextPosition, deliveredUpTo + 1);
  const { levelMark } = line;
  if (levelMark === null) {
    line.nextPosition = Math.max(line.nextPosition, next);
    (line.mark as DeliveryMark).restore(deliveredUpTo);
  } else {
    line.nextPosition = Math.max(line.nextPosition, positionOfOwn(next));
    levelMark.restoreOwn(deliveredUpTo);
  }
}

/** Entries of a level, as the store has them under the number of all levels or under its own. */
export function restoreLevel(line: Line, run: readonly StoredEntry[], isShared: boolean): void {
  const positionOf = isShared ? positionOfShared : positionOfOwn;
  const moved: StoredEntry[] = [];
  for (let i = 0; i < run.length; i++) moved.push(movedTo(run[i]!, positionOf(run[i]!.position)));
  restoreRun(line, moved);
}

/** Entries in ascending order. Beyond the memory budget they are only counted. */
export function restoreRun(line: Line, run: readonly StoredEntry[]): void {
  const { duplicates, store } = line;
  for (let i = 0; i < run.length; i++) {
    const stored = run[i]!;
    if (duplicates !== null && deathOf(stored.tries) === null) duplicates.holds(line.log.read(stored));
    store?.found(stored.position);
    if (isHeldBack(stored)) restoreHeldBack(line, stored);
    else if (line.pager.count === 0 && !line.isFull(0)) restoreHot(line, line.entryOf(stored));
    else {
      const { position } = stored;
      const bodyLength = storedBodyLength(stored.buffer, stored.start);
      store?.foundCold(position);
      line.pushCold(position, bodyLength, line.deadlineOf(stored), true, mayBePreceded(line, position));
    }
  }
  const last = run[run.length - 1];
  if (last !== undefined && last.position >= line.nextPosition) line.nextPosition = last.position + 1;
}

function restoreHot(line: Line, entry: Entry): void {
  if (entry.expiresAt > 0 && mayBePreceded(line, entry.position)) entry.place |= EARLY;
  line.insert(entry);
  line.counted(1, entry.message.bodyLength);
}

function restoreHeldBack(line: Line, stored: StoredEntry): void {
  line.heldBack().restore(stored);
  line.deadlines?.comesBackLater(stored.expiresAt);
}

/** A level's own number is found after that of all levels, so something may come to a place in front of what stood there. */
function mayBePreceded(line: Line, position: number): boolean {
  return line.store !== null && !isOwn(position);
}

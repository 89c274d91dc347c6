// "May have been delivered" for one level of a queue with priorities: a mark for what stands under the queue's number, where each level
// has a lane of its own, and one for what stands under the level's (see level-store.ts).
// Owns which of the two speaks of an entry. Everything else: delivery-mark.ts.

import type { Entry } from '../message/entry.ts';
import type { Position } from '../store/store.ts';
import { DeliveryMark, type LineMark, MARK_AHEAD } from './delivery-mark.ts';
import { isOwn, type LevelStore, ownPosition, positionOfOwn, positionOfShared } from './level-store.ts';

/** Levels whose messages are reckoned to stand between two of one level. More of them may; then marks are written more often. */
const LEVELS_BETWEEN = 16;

/** Of the level's ready messages in memory, the position of the one so many places behind the front; 0 when there is none. */
type PositionAhead = (places: number) => Position;

/** The marks of one level. */
export class LevelMark implements LineMark {
  private readonly shared: DeliveryMark;
  private readonly own: DeliveryMark;

  constructor(store: LevelStore, ready: PositionAhead) {
    this.shared = new DeliveryMark(store, 0, (position, ahead) => {
      const reach = position + positionOfShared(MARK_AHEAD * LEVELS_BETWEEN);
      return Math.max(reach, evenUpTo(ready(ahead)));
    });
    this.own = new DeliveryMark(store, 0, (position, ahead) => position + 2 * ahead);
    // Nothing stands there, but it is a position of its kind.
    this.own.restore(positionOfOwn(0));
  }

  /** Recovery: what was marked before the stop under the queue's number, and under the level's own. Places, not positions. */
  restoreShared(upTo: Position): void {
    this.shared.restore(positionOfShared(upTo));
  }

  restoreOwn(upTo: Position): void {
    this.own.restore(positionOfOwn(upTo));
  }

  coveredBeforeRestart(position: Position): boolean {
    return this.of(position).coveredBeforeRestart(position);
  }

  allows(entry: Entry): boolean {
    return this.of(entry.position).allows(entry);
  }

  /** What stands at this position will be asked for soon. */
  prepare(position: Position): void {
    this.of(position).prepare(position);
  }

  handOut(position: Position): void {
    this.of(position).handOut(position);
  }

  settle(): void {
    this.shared.settle();
    this.own.settle();
  }

  private of(position: Position): DeliveryMark {
    return isOwn(position) ? this.own : this.shared;
  }
}

function evenUpTo(position: Position): Position {
  return ownPosition(position) === position ? position - 1 : position;
}

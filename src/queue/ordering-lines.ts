// Ordering keys of a queue, tied to its lines and its consumers. Knows where entries stand, so that ordering.ts need not.

import type { ConsumerGroup } from './consumer-group.ts';
import { LEVELS_MAX } from './levels.ts';
import type { Line } from './line.ts';
import { Ordering } from './ordering.ts';

/** Positions of one line that are told apart beside its level; a line never has as many messages in its life. */
const POSITIONS = 2 ** 44;

/**
 * The ordering keys of a queue.
 * @param wake called when something parked may be delivered
 */
export function orderingOf(header: string, group: ConsumerGroup, wake: () => void): Ordering {
  return new Ordering(header, {
    // Higher levels first, as the queue goes.
    rankOf: ({ owner, position }) => (LEVELS_MAX - 1 - (owner as Line).level) * POSITIONS + position,
    park: (entry) => (entry.owner as Line).park(entry),
    unpark: (entry) => {
      (entry.owner as Line).unpark(entry);
      wake();
    },
    wake,
    serves: (consumer) => group.serves(consumer),
    isMakingRoom: () => group.isMakingRoom,
    parkConsumer: (consumer) => group.park(consumer),
  });
}

// Where a stream begins to be younger than a time: found by halves, with a read of one message each, so that a stream of any length needs
// no index beyond its segments. Changes nothing.

import type { QueueNo, Shard } from '../store/store.ts';

/**
 * Finds the first message of `time` (milliseconds since the epoch) or later among the positions from … to-1, whose times never fall.
 * `done` is told its position, or `to` when there is none; the position may lie in a gap right before the message.
 */
export function seekTime(
  shard: Shard,
  queue: QueueNo,
  from: number,
  to: number,
  time: number,
  done: (error: Error | null, position: number) => void,
): void {
  if (from >= to) return done(null, to);
  const middle = from + Math.floor((to - from) / 2);
  shard.read(queue, middle, 1, (error, entries) => {
    if (error !== null) return done(error, to);
    const [found] = entries;
    if (found === undefined || found.position >= to || found.expiresAt >= time)
      return seekTime(shard, queue, from, middle, time, done);
    seekTime(shard, queue, found.position + 1, to, time, done);
  });
}

// Things that happen at the same moment have no order, and a queue may tell which of them came first.
// Owns which queues those are: nothing could be said of them afterwards, so they are deleted before. Must not know how time passes.

import type { ModelQueue } from './model.ts';
import type { World } from './world.ts';

/**
 * Queues that drop what is like a message before, of which nobody knows which is the one before: several things reach or leave them by
 * time at the same look at the clock.
 */
export function uncertain(world: World, due: readonly ModelQueue[], now: number): string[] {
  const causes = new Map<string, number>();
  const cause = (name: string, times = 1): void => void causes.set(name, (causes.get(name) ?? 0) + times);
  for (const queue of due) {
    cause(queue.name);
    // What expires together in a queue with priorities goes in no order.
    const times = queue.spec.priorityMax > 0 ? 2 : 1;
    for (const other of gravesOf(world, [queue])) if (other !== queue.name) cause(other, times);
    // Its own dead letters, behind one of its own.
    if (queue.spec.deadLetterKey === '' || queue.spec.deadLetterKey === queue.name) cause(queue.name);
  }
  for (const { exchange, message, dueAt } of world.model.delayed)
    if (dueAt <= now) for (const name of world.routing.route(exchange, message.keys)) cause(name);
  return [...causes]
    .filter(([name, times]) => times > 1 && (world.model.queues.get(name)?.spec.unique ?? null) !== null)
    .map(([name]) => name);
}

/** These queues, and those that what dies there may come to. */
export function gravesOf(world: World, queues: readonly ModelQueue[]): Set<string> {
  const found = new Set<string>();
  const visit = (name: string): void => {
    const queue = world.model.queues.get(name);
    if (queue === undefined || found.has(name)) return;
    found.add(name);
    const { deadLetterKey } = queue.spec;
    if (deadLetterKey === '') for (const each of world.model.queues.keys()) visit(each);
    else if (deadLetterKey !== null) visit(deadLetterKey);
  };
  for (const { name } of queues) visit(name);
  return found;
}

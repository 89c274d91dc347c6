// Clean ends of a broker's life: one with a start after it, and the last one.
// Owns what has to be put back before, and that nothing is left over at the very end. Must not know crashes.

import { loseTransient } from './comeback.ts';
import { same } from './comparison.ts';
import { cancel, settle } from './messages.ts';
import { deleteExchange, deleteQueue, pause } from './topology.ts';
import type { World } from './world.ts';

/** A clean stop, and a start. */
export async function restart(world: World): Promise<void> {
  for (const [name, { paused }] of world.model.queues) if (paused) await pause(world, name, false);
  while (world.consumers.length > 0) await cancel(world, world.consumers[0]!, true);
  await settle(world, [...world.got], 'requeue');
  await world.real.kit.close();
  loseTransient(world, false);
  await world.real.open();
  await world.rest();
}

/** Everything is taken away: nothing may be left in memory, on the wheel or in the store. */
export async function finish(world: World): Promise<void> {
  for (const consumer of [...world.consumers]) await cancel(world, consumer, false);
  await settle(world, [...world.got], 'ack');
  for (const name of [...world.model.queues.keys()]) await deleteQueue(world, name);
  for (const [name, { delays, unique }] of [...world.routing.exchanges])
    if ((delays || unique !== null) && world.routing.exchanges.has(name)) await deleteExchange(world, name);
  const { node } = world.real.kit;
  same(node.memory.used, 0, 'memory in use at the end');
  same(node.wheel.size, 0, 'timers at the end');
  same(node.shard.stats().liveEntries, 0, 'stored entries at the end');
  await world.real.kit.close();
}

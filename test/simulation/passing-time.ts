// Time passes on both sides: messages expire, retries and what exchanges held back become due, queues that nobody uses go.
// Owns the steps in which the clock moves. What then would happen in no order is taken away before (unordered.ts). Must not know
// what was published.

import { STEP_MS } from './real-side.ts';
import { deleteQueue } from './topology.ts';
import { gravesOf, uncertain } from './unordered.ts';
import type { World } from './world.ts';

/** A queue that nobody uses may stay so much longer: the coarse timers' ticks. */
const EXPIRES_LATE_MS = 200;

/** So much time passes. */
export async function advance(world: World, ms: number): Promise<void> {
  // Step by step, so that timers, the turns they cause and their dead letters have their own times on both sides.
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    const next = world.real.clock.now() + STEP_MS;
    const due = [...world.model.queues.values()].filter(
      ({ ready, waiting }) =>
        ready.some(({ expiresAt }) => expiresAt <= next) ||
        waiting.some(({ entry, dueAt }) => dueAt <= next && entry.expiresAt <= next),
    );
    // Whether a full queue loses a message of its own before it is offered the dead one of another is a matter of chance.
    if (due.length > 1)
      for (const name of gravesOf(world, due))
        if (world.model.queues.get(name)!.isBounded) await deleteQueue(world, name);
    for (const name of uncertain(world, due, next)) await deleteQueue(world, name);
    world.real.clock.advance(STEP_MS);
    await world.real.settle();
    expireQueues(world);
    world.model.begin(world.deliveries);
    world.model.timePasses(world.real.clock.now(), (exchange, message) =>
      world.routing.route(exchange, message.keys, 0, { message, past: exchange }),
    );
    await world.rest();
  }
}

/** Queues that nobody used for long go, a little sooner or later. */
function expireQueues(world: World): void {
  const now = world.real.clock.now();
  for (const [name, { spec, usedAt, consumers }] of [...world.model.queues]) {
    if (spec.expires === null || consumers.length > 0) continue;
    const isThere = world.real.kit.vhost.queues.has(name);
    if (isThere && now > usedAt + spec.expires + EXPIRES_LATE_MS)
      throw new Error(`${name} was not used for ${now - usedAt} ms and is still there`);
    if (isThere || now < usedAt + spec.expires) continue;
    world.model.remove(name);
    world.forgetQueue(name);
  }
}

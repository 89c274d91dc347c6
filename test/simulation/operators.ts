// What operators do to messages, on both sides alike: move, delete, pick out, send dead letters back.
// Owns where such a message should go and which ones should stay. Must not know clients, and not when the machine stops.

import { Operations } from '../../src/node/operations.ts';
import type { RedriveProgress } from '../../src/node/redrive.ts';
import { same } from './comparison.ts';
import type { ModelEntry, ModelQueue, ModelWay, Stay } from './model.ts';
import type { World } from './world.ts';

/** Where an operator moves messages. */
export type MoveTo = { readonly queue: string } | { readonly exchange: string };

/** An operator moves the first messages of a queue to another one, or to an exchange under their own keys. */
export async function move(world: World, name: string, to: MoveTo, max: number): Promise<void> {
  const operator = new Operations(world.real.kit.node).queue('/', name);
  const result = await world.real.until(operator.move({ filter: {}, max }, to));
  const queue = world.model.queues.get(name)!;
  world.model.begin(world.deliveries);
  let [moved, stayed] = [0, 0];
  for (const entry of [...queue.ready]) {
    if (moved === max) break;
    world.routing.nextMessage();
    if (world.model.move(queue, entry, wayTo(world, entry, to)) === null) moved++;
    else {
      stayed++;
      world.routing.refused();
    }
  }
  same(result.done, moved, `messages moved from ${name}`);
  same(result.skipped.length, stayed, `messages of ${name} that could not be moved`);
  await world.rest();
}

/** An operator deletes the first messages of a queue. */
export async function remove(world: World, name: string, max: number): Promise<void> {
  const operator = new Operations(world.real.kit.node).queue('/', name);
  const result = await world.real.until(operator.delete({ filter: {}, max }));
  world.model.begin(world.deliveries);
  const gone = world.model.queues.get(name)!.ready.splice(0, max);
  same(result.done, gone.length, `messages deleted from ${name}`);
  await world.rest();
}

/** An operator moves single messages, or deletes them (null), whoever has them; some that are not there too. */
export async function pickOut(
  world: World,
  name: string,
  texts: readonly string[],
  to: MoveTo | null,
): Promise<void> {
  const found = await world.real.contentsOf(name, ['ready', 'unacked']);
  const ids = texts.map((text) => found.find((each) => each.text === text)?.id ?? '1-999999999');
  const operator = new Operations(world.real.kit.node).queue('/', name);
  const result = await world.real.until(to === null ? operator.delete({ ids }) : operator.move({ ids }, to));
  const queue = world.model.queues.get(name)!;
  world.model.begin(world.deliveries);
  const stays: string[] = [];
  for (const text of texts) {
    world.routing.nextMessage();
    const entry = queue.ready.find((each) => each.text === text);
    let reason: string | null = null;
    if (entry === undefined) {
      const held = queue.unacked.find((each) => each.text === text);
      reason = held === undefined ? 'not-found' : 'not-ready';
      // It is asked where it would go all the same.
      if (held !== undefined && to !== null) wayTo(world, held, to);
    } else if (to === null) queue.take(entry);
    else reason = world.model.move(queue, entry, wayTo(world, entry, to));
    if (reason === null) continue;
    stays.push(reason);
    if (to !== null && 'exchange' in to) world.routing.refused();
  }
  same(result.skipped.map(({ reason }) => reason).join(), stays.join(), `messages that stay in ${name}`);
  same(result.done, texts.length - stays.length, `messages taken out of ${name}`);
  await world.rest();
}

function wayTo(world: World, { message }: ModelEntry, to: MoveTo): ModelWay {
  if ('queue' in to) return { targets: [to.queue], message };
  return {
    targets: world.routing.route(to.exchange, message.keys, message.delayMs, { message, past: null }),
    message: { ...message, exchange: to.exchange },
  };
}

/** An operator sends dead letters back to where they died, or to where they had been published. */
export async function redrive(
  world: World,
  name: string,
  to: 'queue' | 'exchange',
  max: number,
): Promise<void> {
  const handle = new Operations(world.real.kit.node).queue('/', name).redrive({ to, max });
  const progress = await world.real.until(handle.finished);
  const queue = world.model.queues.get(name)!;
  world.model.begin(world.deliveries);
  followRedrive(world, queue, [...queue.ready], to, max, progress);
  await world.rest();
}

function followRedrive(
  world: World,
  queue: ModelQueue,
  entries: readonly ModelEntry[],
  to: 'queue' | 'exchange',
  max: number,
  progress: RedriveProgress,
): void {
  const skipped = new Map<Stay, number>();
  let moved = 0;
  for (const entry of entries) {
    if (moved === max) break;
    world.routing.nextMessage();
    const stay = world.model.move(queue, entry, wayBack(world, entry, to));
    if (stay !== null) world.routing.refused();
    if (stay === null) moved++;
    else skipped.set(stay, (skipped.get(stay) ?? 0) + 1);
  }
  const { name } = queue;
  same(progress.state, 'finished', `the redrive of ${name}`);
  same(progress.moved, moved, `messages of ${name} that went back`);
  const told = (counts: Iterable<[string, number]>): string => JSON.stringify([...counts].sort());
  same(told(Object.entries(progress.skipped)), told(skipped), `messages of ${name} that could not go back`);
}

/** Where a dead letter goes back to, or why it stays. Exchanges on the way take note of it. */
export function wayBack(world: World, { message }: ModelEntry, to: 'queue' | 'exchange'): ModelWay | Stay {
  return world.model.wayBack(message, to === 'exchange', (exchange, keys) =>
    exchange === '' || world.routing.exchanges.has(exchange)
      ? world.routing.route(exchange, keys, message.delayMs, { message, past: null })
      : null,
  );
}

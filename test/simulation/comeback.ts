// What the end of a life leaves: on the model's side what should be there, on the broker's what was found.
// Owns which states between two batches may come back after a crash, and that the model goes on with the one that did. Must not know what
// led there.

import type { Entry } from '../../src/message/entry.ts';
import { arePolicies, brief, remembers, same } from './comparison.ts';
import {
  type Delivery,
  inOrder,
  type ModelEntry,
  type ModelMemory,
  ModelQueue,
  type Waiting,
} from './model.ts';
import type { PolicyRule } from './policy-model.ts';
import { seen } from './real-side.ts';
import type { World } from './world.ts';

/** A message that was found after a crash. */
export interface CameBack extends Omit<Delivery, 'consumer'> {
  /** In our hands now; null for one that was only looked at. */
  readonly entry: Entry | null;
}

/** An entry and what was known of it at some time. */
interface Kept {
  readonly entry: ModelEntry;
  readonly place: number;
  readonly failures: number;
  readonly retries: number;
}

/** What a restart leaves of a queue. */
interface Content {
  readonly ready: readonly Kept[];
  readonly waiting: readonly (Kept & Waiting)[];
}

/** What stood in the plain queues after a step whose writes are in one of these batches or in earlier ones. */
export interface State {
  readonly from: number;
  readonly to: number;
  readonly content: ReadonlyMap<string, Content>;
  readonly policies: readonly PolicyRule[];
  /** What exchanges remembered. */
  readonly seen: ReadonlyMap<string, ModelMemory['seen']>;
}

/** What a restart would leave of a queue now, wherever it is. */
export function snapshot(queue: ModelQueue): Content {
  const ready = [...queue.ready, ...queue.unacked].filter(({ lasting }) => lasting).sort(inOrder);
  const waiting = queue.waiting.filter(({ entry }) => entry.lasting);
  return { ready: ready.map(keptOf), waiting: waiting.map((each) => ({ ...each, ...keptOf(each.entry) })) };
}

function keptOf(entry: ModelEntry): Kept {
  const { place, failures, retries } = entry;
  return { entry, place, failures, retries };
}

/** What the end of the process takes along on the model's side. */
export function loseTransient(world: World, crashed: boolean): void {
  world.consumers.length = 0;
  world.got.length = 0;
  world.deliveries = new Map();
  for (const queue of [...world.model.queues.values()]) {
    if (!queue.spec.durable) {
      world.model.remove(queue.name);
      continue;
    }
    const { ready, waiting } = snapshot(queue);
    queue.ready.length = 0;
    queue.waiting.length = 0;
    queue.got.length = 0;
    queue.consumers.length = 0;
    queue.active = null;
    queue.paused = false;
    queue.usedAt = world.real.clock.now();
    refill(world, queue, ready, waiting);
    for (const entry of queue.ready) {
      // The mark runs ahead of the deliveries, and only a clean stop sets it back.
      // Where deliveries are not in order, it covers what was passed over too.
      if ((crashed || queue.spec.ordered) && entry.redelivered === false) entry.redelivered = null;
      if (entry.nowOrNever) entry.expiresAt = 0;
    }
  }
  world.model.delayed = world.model.delayed.filter(({ lasting }) => lasting);
  for (const [name, { durable, unique }] of [...world.routing.exchanges]) {
    if (!durable) world.routing.forget(name);
    else if (unique?.disk === false) world.routing.memories.get(name)!.seen = [];
  }
  // RabbitMQ: a durable auto-delete exchange outlives transient bindings that a restart took away.
  for (let i = world.routing.bindings.length - 1; i >= 0; i--) {
    const { source, to, isQueue } = world.routing.bindings[i]!;
    const stays =
      world.routing.exchanges.has(source) && (isQueue ? world.model.queues : world.routing.exchanges).has(to);
    if (!stays) world.routing.bindings.splice(i, 1);
  }
}

/** The queue's content is this, in its old order. */
function refill(
  world: World,
  queue: ModelQueue,
  ready: readonly Kept[],
  waiting: readonly (Kept & Waiting)[],
): void {
  if (queue.memory !== null) queue.memory.seen = [];
  const all = [...ready, ...waiting].sort((a, b) => a.place - b.place);
  for (const kept of all) {
    const { entry, failures, retries } = kept;
    entry.failures = failures;
    entry.retries = retries;
    entry.holder = null;
    if (queue.memory !== null && entry.message.likeness !== null)
      queue.memory.add(entry.message.likeness, entry.message.rememberMs, world.real.clock.now());
    // What a policy has capped lies in the store as it came; a policy that is in force counts from now.
    entry.expiresAt = Math.min(
      entry.firstExpiresAt,
      world.real.clock.now() + (queue.spec.ttl ?? Number.POSITIVE_INFINITY),
    );
    if ('dueAt' in kept) {
      entry.place = queue.nextPlace();
      queue.waiting.push({ entry, dueAt: kept.dueAt as number });
    } else queue.append(entry);
  }
  queue.waiting.sort((a, b) => a.dueAt - b.dueAt);
}

/** What was found in a queue. */
export async function takeAll(world: World, name: string): Promise<CameBack[]> {
  const queue = world.real.queue(name);
  const found: CameBack[] = [];
  // Each get would hold a key: the rest of it could not be had.
  if (queue.options.orderingKey !== null)
    return (await world.real.contentsOf(name)).map((each) => ({ ...each, entry: null }));
  for (;;) {
    await world.real.untilReady(queue);
    const entry = queue.get(false);
    if (entry === null) return found;
    found.push({ ...seen(entry), entry });
  }
}

/** The model takes over what came back in plain queues, if it is what stood there between two batches. */
export function adopt(
  world: World,
  states: readonly State[],
  durableTicket: number,
  plain: readonly ModelQueue[],
  found: ReadonlyMap<string, CameBack[]>,
): void {
  const wrong: string[] = [];
  for (let i = 0; i < states.length; i++) {
    const { from, to, content, policies, seen: remembered } = states[i]!;
    const next = states[i + 1];
    // Batches are whole: the state after the last step of a batch.
    if (next !== undefined && from === next.to) continue;
    // What was told to be on disk is there.
    if (next !== undefined && next.to <= durableTicket) continue;
    const differing = plain.find((queue) => !isFound(world, queue, content.get(queue.name)!, found));
    if (!arePolicies(world, policies)) {
      wrong.push(`batch ${to}: other policies: ${JSON.stringify(policies)}`);
      continue;
    }
    const forgetful = [...world.routing.memories.keys()].find(
      (name) =>
        world.routing.exchanges.get(name)!.unique!.disk && !remembers(world, name, remembered.get(name)!),
    );
    if (forgetful !== undefined) {
      wrong.push(`batch ${to}: ${forgetful} remembered ${JSON.stringify(remembered.get(forgetful))}`);
      continue;
    }
    if (differing === undefined) {
      world.model.applyPolicies(policies);
      for (const [name, memory] of world.routing.memories)
        if (world.routing.exchanges.get(name)!.unique!.disk) memory.seen = remembered.get(name)!;
      for (const queue of plain) {
        queue.ready.length = 0;
        queue.waiting.length = 0;
        const { ready, waiting } = content.get(queue.name)!;
        refill(world, queue, ready, waiting);
      }
      return;
    }
    const { name } = differing;
    const had = content.get(name)!;
    wrong.push(
      `batch ${to}: ${name} had ${had.ready.map((each) => described(each)).join(' ')} and ${had.waiting.length} that wait, found ` +
        `${(found.get(name) ?? []).map((each) => describedReal(each)).join(' ')} and ${world.real.queue(name)?.waitingCount}`,
    );
  }
  throw new Error(`what came back never stood there (durable ${durableTicket}):\n${wrong.join('\n')}`);
}

/** What the queue had is what was found. */
function isFound(
  world: World,
  queue: ModelQueue,
  had: Content,
  found: ReadonlyMap<string, CameBack[]>,
): boolean {
  const real = world.real.kit.vhost.queues.get(queue.name);
  if (real === undefined || real.waitingCount !== had.waiting.length) return false;
  const counted = queue.spec.deliveryLimit !== null;
  const is = found.get(queue.name)!;
  if (is.length !== had.ready.length) return false;
  // Where an order is not known, any will do.
  const test = new ModelQueue(queue.name, queue.spec, 0);
  const facts = new Map<ModelEntry, string>();
  for (const kept of had.ready) {
    const entry: ModelEntry = Object.assign(Object.create(kept.entry), { place: kept.place });
    test.ready.push(entry);
    facts.set(entry, described(kept, counted));
  }
  for (const back of is) {
    const front = test.front(back.text)!;
    test.ready.shift();
    if (facts.get(front) !== describedReal(back, counted)) return false;
  }
  return true;
}

/** What came back in a queue is what the model has there; it is in our hands now. */
export function match(world: World, name: string, list: readonly CameBack[]): void {
  const queue = world.model.queues.get(name);
  if (queue === undefined) throw new Error(`${name} came back, though it was not durable`);
  const expected = queue.ready.map(({ text }) => text);
  const free: ModelEntry[] = [];
  for (const [i, back] of list.entries()) {
    const { entry, text, redelivered } = back;
    const model = queue.front(text);
    if (model?.text !== text)
      throw new Error(
        `${name} came back with ${list.map((each) => brief(each.text)).join(' ')} instead of ` +
          `${expected.map(brief).join(' ')}, at ${i}`,
      );
    queue.ready.shift();
    // The mark may have run ahead.
    if (model.redelivered !== true || redelivered) model.redelivered = null;
    world.model.checkDelivery(queue, model, back);
    if (entry === null) {
      model.redelivered = redelivered;
      free.push(model);
      continue;
    }
    queue.got.push(model);
    model.holder = model;
    world.got.push({ queue, model, real: entry });
  }
  same(queue.ready.length, 0, `messages of ${name} that did not come back after a crash`);
  queue.ready.push(...free);
}

function described({ entry, failures, retries }: Kept, counted = true): string {
  return `${brief(entry.text)}${counted ? `/${failures}` : ''}/${retries}/${entry.message.deaths.length}`;
}

function describedReal({ text, failures, retries, deaths }: CameBack, counted = true): string {
  return `${brief(text)}${counted ? `/${failures}` : ''}/${retries}/${deaths}`;
}

// The machine stops in the middle of what it does.
// Owns the crash window: the steps that are not brought to rest before it, and what stood there after each of them. What may have come
// back of that is for comeback.ts to say; must not know how the store keeps it.

import { Operations, type RedriveHandle } from '../../src/node/operations.ts';
import { iteration } from '../store/harness.ts';
import { adopt, type CameBack, loseTransient, match, type State, snapshot, takeAll } from './comeback.ts';
import { same } from './comparison.ts';
import { cancel, PLAIN, publishNow, settle, settleNow } from './messages.ts';
import type { ModelEntry, ModelQueue } from './model.ts';
import { wayBack } from './operators.ts';
import { pause, purge, setPolicyNow } from './topology.ts';
import type { Held, World } from './world.ts';

/** A redrive that goes on while other things happen. */
interface RunningRedrive {
  readonly queue: ModelQueue;
  /** What was there at its start and has not been looked at. */
  readonly entries: ModelEntry[];
  readonly handle: RedriveHandle;
  moved: number;
}

/** Steps that are not brought to rest, then the machine stops. What comes back must be what stood between two batches. */
export async function crash(world: World, steps: number): Promise<void> {
  const { random, real } = world;
  for (const [name, { paused }] of world.model.queues) if (paused) await pause(world, name, false);
  // What would be gone at once after the restart makes the comparison needlessly hard.
  await settle(
    world,
    world.held().filter(({ model }) => model.nowOrNever || model.expiresAt <= real.clock.now()),
    'ack',
  );
  // Expired messages behind others would go while the content is looked at.
  for (const [name, { ready }] of world.model.queues)
    if (ready.some(({ expiresAt }) => expiresAt <= real.clock.now())) await purge(world, name);
  const plain = [...world.model.queues.values()].filter((queue) => isPlain(queue));
  for (const consumer of [...world.consumers])
    if (!plain.includes(consumer.queue)) await cancel(world, consumer, true);
  await settle(
    world,
    world.got.filter(({ queue }) => !plain.includes(queue)),
    'requeue',
  );
  // Settlements may still wait for company; what they speak of would be there again.
  real.kit.node.shard.hasten();
  real.kit.node.turn.request();
  await world.rest();
  const states: State[] = [];
  const remember = (from: number, to: number): void => {
    const content = new Map(plain.map((queue) => [queue.name, snapshot(queue)]));
    const seen = new Map([...world.routing.memories].map(([name, memory]) => [name, [...memory.seen]]));
    states.push({ from, to, content, policies: world.model.policies, seen });
  };
  remember(0, 0);
  if (random.chance(0.2)) real.failDisk(random.chance(0.5));
  const redrive = random.chance(0.4) ? beginRedrive(world, plain) : null;
  for (let i = 0; i < steps; i++) {
    const { ticket } = real.kit.node.shard;
    await restlessStep(world, plain, redrive);
    remember(ticket, real.kit.node.shard.ticket);
  }
  const { durableTicket } = real.kit.node.shard;
  real.crash();
  loseTransient(world, true);
  await real.open();
  await real.settle();
  const found = new Map<string, CameBack[]>();
  for (const name of real.kit.vhost.queues.keys()) found.set(name, await takeAll(world, name));
  adopt(world, states, durableTicket, plain, found);
  for (const [name, list] of found) match(world, name, list);
  await settle(world, [...world.got], 'requeue');
}

/** A queue whose durable content only changes by what a client does to it: no limits, no time to live, nothing taken unacked. */
function isPlain({ spec, consumers, isBounded }: ModelQueue): boolean {
  const { durable, autoDelete, ttl, expires } = spec;
  return (
    durable &&
    !autoDelete &&
    ttl === null &&
    expires === null &&
    !isBounded &&
    consumers.every(({ noAck }) => !noAck)
  );
}

/** A small step of the kind that a crash can come into. */
async function restlessStep(
  world: World,
  plain: readonly ModelQueue[],
  redrive: RunningRedrive | null,
): Promise<void> {
  const { random, model, mildPolicy } = world;
  if (mildPolicy !== null && plain.length > 0 && random.chance(0.15)) {
    const queue = plain[random.below(plain.length)]!;
    if (random.chance(0.2)) same(world.real.queue(queue.name).purge(), model.purge(queue), 'messages purged');
    else setPolicyNow(world, mildPolicy(queue.name));
    return;
  }
  const what = random.below(10);
  if (what < 4 && plain.length > 0) {
    const { name } = plain[random.below(plain.length)]!;
    const bytes = 10 + random.below(800);
    const priority = random.below(4);
    const exchange = world.routing.memories.size === 0 ? '' : plainExchange(world, plain, name);
    publishNow(world, { ...PLAIN, exchange, key: name, persistent: true, bytes, priority });
    return;
  }
  if (what < 7) {
    // A publish may have handed something out at once.
    model.observe(world.deliveries);
    const staysPlain = ({ queue, model: entry }: Held): boolean => {
      const { deadLetterKey } = queue.spec;
      if (deadLetterKey === null) return true;
      const targets = (deadLetterKey === '' ? entry.message.keys : [deadLetterKey]).map((key) =>
        model.queues.get(key),
      );
      return targets.every((target) => target === undefined || plain.includes(target));
    };
    const held = world.held().filter((each) => plain.includes(each.queue) && staysPlain(each));
    if (held.length > 0) {
      settleNow(
        world,
        held[random.below(held.length)]!,
        (['ack', 'requeue', 'reject'] as const)[random.below(3)]!,
      );
      return;
    }
  }
  if (what < 9) world.real.runTurn();
  else await iteration();
  world.real.checkErrors();
  if (redrive !== null) followSteps(world, redrive);
  model.observe(world.deliveries);
}

/** An exchange that remembers, if messages with this key go from it to these queues alone; else the default one. */
function plainExchange(world: World, plain: readonly ModelQueue[], key: string): string {
  const names = plain.map(({ name }) => name);
  for (const name of world.routing.memories.keys())
    if (world.routing.route(name, [key]).every((each) => names.includes(each))) return name;
  return '';
}

/** Dead letters of one of these queues begin to go back, if all of them go to one of these. */
function beginRedrive(world: World, plain: readonly ModelQueue[]): RunningRedrive | null {
  const queue = plain.find(({ ready }) => ready.some(({ message }) => message.deaths.length > 0));
  if (queue === undefined) return null;
  const names = plain.map(({ name }) => name);
  for (const entry of queue.ready) {
    const way = wayBack(world, entry, 'queue');
    if (typeof way !== 'string' && !way.targets.every((name) => names.includes(name))) return null;
  }
  const handle = new Operations(world.real.kit.node).queue('/', queue.name).redrive();
  return { queue, entries: [...queue.ready], handle, moved: 0 };
}

/** What it has moved since we looked last. */
function followSteps(world: World, redrive: RunningRedrive): void {
  const { queue, entries, handle } = redrive;
  const taken = new Set(world.logOf(queue.name).map(({ text }) => text));
  while (redrive.moved < handle.progress.moved) {
    const entry = entries.shift();
    if (entry === undefined) throw new Error(`more went back from ${queue.name} than was there`);
    // What was handed out in between does not move.
    if (!queue.ready.includes(entry) || taken.has(entry.text)) continue;
    if (world.model.move(queue, entry, wayBack(world, entry, 'queue')) === null) redrive.moved++;
  }
}

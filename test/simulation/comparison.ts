// What must be the same on both sides: counts when all is at rest, contents when somebody looks, what is remembered, which policies hold.
// Owns the comparison, and the words of a difference. Must not know what was done to come here. It changes nothing, but that the model learns
// an order which it did not know.

import { type Model, type ModelEntry, type ModelMemory, ModelQueue } from './model.ts';
import { kindOf, type PolicyRule } from './policy-model.ts';
import { type RealSide, STEP_MS } from './real-side.ts';
import type { ModelRouting } from './routing-model.ts';

/** A deadline of what was held back may be so much later: it is counted from when the message is read, after the clock has moved. */
const LATE_MS = STEP_MS / 2;

/** What is compared. */
export interface Sides {
  readonly real: RealSide;
  readonly model: Model;
  readonly routing: ModelRouting;
}

/** Both sides are at rest: they agree. @throws Error that says in what they do not */
export function compare(sides: Sides): void {
  const { vhost, node } = sides.real.kit;
  same([...vhost.queues.keys()].sort().join(), [...sides.model.queues.keys()].sort().join(), 'queues');
  let memory = 0;
  for (const [name, queue] of sides.model.queues) {
    const real = sides.real.queue(name);
    same(real.messageCount, queue.ready.length, `ready messages of ${name}`);
    same(real.waitingCount, queue.waiting.length, `messages of ${name} that wait for a retry`);
    same(real.messageBytes, queue.bytes, `ready bytes of ${name}`);
    same(real.unackedCount, queue.unacked.length, `unacked messages of ${name}`);
    same(real.consumerCount, queue.consumers.length, `consumers of ${name}`);
    memory += real.memoryBytes;
  }
  // What is fetched because its time comes soon is no queue's.
  if (node.memory.used < memory) same(node.memory.used, memory, 'memory in use');
  for (const [name, { delays }] of sides.routing.exchanges) {
    if (!delays) continue;
    const waiting = sides.model.delayed.filter(({ exchange }) => exchange === name).length;
    const { messageCount } = vhost.exchange(name).intake!.delays!;
    same(messageCount, waiting, `messages that ${name} holds back`);
  }
  const exchanges = [...vhost.exchanges.keys()].filter((name) => name.startsWith('x')).sort();
  same(exchanges.join(), [...sides.routing.exchanges.keys()].sort().join(), 'exchanges');
  let bindings = 0;
  for (const { outgoing } of vhost.exchanges.values()) bindings += outgoing.size;
  same(bindings, sides.routing.bindings.length, 'bindings');
  compareMemories(sides);
}

function compareMemories(sides: Sides): void {
  for (const [name, { seen }] of sides.routing.memories)
    if (!remembers(sides, name, seen)) throw new Error(`${name} does not remember ${JSON.stringify(seen)}`);
}

/** Looks into every queue: what is there, and in which order; where that was not known, it is from now on. */
export async function look(sides: Sides): Promise<void> {
  for (const [name, queue] of sides.model.queues) {
    const found = await sides.real.contentsOf(name);
    const test = new ModelQueue(name, queue.spec, 0);
    const originals = new Map<ModelEntry, ModelEntry>();
    for (const entry of queue.ready) {
      const copy: ModelEntry = Object.create(entry);
      originals.set(copy, entry);
      test.ready.push(copy);
    }
    const inThisOrder: ModelEntry[] = [];
    for (const { text, redelivered, expiresAt, failures, retries, deaths } of found) {
      const entry = test.front(text);
      const has = `${name} has ${brief(text)}`;
      if (entry?.text !== text) throw new Error(`${has} where ${entry?.text ?? 'nothing'} should be`);
      test.ready.shift();
      const original = originals.get(entry)!;
      original.place = entry.place;
      inThisOrder.push(original);
      if (entry.redelivered !== null) same(redelivered, entry.redelivered, `${has} with redelivered`);
      if (queue.spec.deliveryLimit !== null) same(failures, entry.failures, `${has} with failures`);
      same(retries, entry.retries, `${has} with retries`);
      same(deaths, entry.message.deaths.length, `${has} with deaths`);
      const deadline = expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt;
      if (expiresAt >= 0 && Math.abs(deadline - entry.expiresAt) > LATE_MS)
        throw new Error(`${has} until ${deadline} instead of ${entry.expiresAt}`);
    }
    same(test.ready.length, 0, `messages that ${name} lacks`);
    queue.ready.splice(0, queue.ready.length, ...inThisOrder);
  }
}

/** The exchange remembers these, and what is over besides. */
export function remembers(sides: Sides, name: string, seen: ModelMemory['seen']): boolean {
  const { time } = sides.model;
  const known = sides.real.kit.vhost.exchange(name).intake!.duplicates!.known();
  const is = [...known].filter(({ expiresAt }) => expiresAt > time).map(({ key }) => key);
  const expected = seen.filter(({ until }) => until > time).map(({ likeness }) => `s${likeness}`);
  return is.join() === expected.join();
}

/** These policies are in force, and no others. */
export function arePolicies(sides: Sides, policies: readonly PolicyRule[]): boolean {
  const { parameters } = sides.real.kit.node;
  const there = (['policy', 'operator_policy'] as const).flatMap((kind) =>
    parameters.policies('/', kind).map(({ name, definition }) => `${kind} ${name} ${keysText(definition)}`),
  );
  const expected = policies.map((rule) => `${kindOf(rule)} ${rule.name} ${keysText(rule.keys)}`);
  return there.sort().join() === expected.sort().join();
}

/** @throws Error that says what is not as expected */
export function same(is: unknown, expected: unknown, what: string): void {
  if (is !== expected) throw new Error(`${what}: ${String(is)} instead of ${String(expected)}`);
}

/** A text without what makes it long. */
export function brief(text: string): string {
  return text.replaceAll('.', '');
}

function keysText(keys: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(Object.entries(keys).sort(([a], [b]) => (a < b ? -1 : 1)));
}

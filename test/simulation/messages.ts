// What clients do with messages, on both sides alike: publish, consume, get, settle.
// Owns what a message looks like on its way in, and that what is handed out here is handed out there. Must not know crashes and operators.

import type { FieldValue } from '../../src/protocol/field-table.ts';
import { MUST_COMMIT, REJECTED } from '../../src/queue/queue.ts';
import { messageTo } from '../node/kit.ts';
import { settle as settleEntry, textOf } from '../queue/kit.ts';
import { same } from './comparison.ts';
import type { ModelConsumer, ModelMessage } from './model.ts';
import { LoggingConsumer, seen } from './real-side.ts';
import { KEY_HEADER } from './topology.ts';
import { type Held, heldBy, type World, type WorldConsumer } from './world.ts';

/** A message as a client publishes it. */
export interface Publish {
  readonly exchange: string;
  readonly key: string;
  readonly persistent: boolean;
  readonly bytes: number;
  readonly expiration: number | null;
  readonly copies: readonly string[];
  readonly priority: number;
  /** How long an exchange that can is to hold it back, in milliseconds; 0 for not at all. */
  readonly delayMs: number;
}

/** A message without anything special. */
export const PLAIN: Publish = {
  exchange: '',
  key: '',
  persistent: false,
  bytes: 10,
  expiration: null,
  copies: [],
  priority: 0,
  delayMs: 0,
};

/** Publishes and brings everything to rest. */
export async function publish(world: World, what: Publish): Promise<void> {
  publishNow(world, what);
  await world.rest();
}

/** Publishes many in one go to one queue. */
export async function publishMany(world: World, what: Publish, times: number): Promise<void> {
  for (let i = 0; i < times; i++) publishNow(world, what);
  await world.rest();
}

/** Publishes, but nothing comes to rest. */
export function publishNow(world: World, what: Publish): void {
  const { exchange, key, persistent, bytes, expiration, copies, priority, delayMs } = what;
  const text = world.nextText().padEnd(bytes, '.');
  const headers = new Map<string, FieldValue>();
  if (copies.length > 0)
    headers.set('CC', { tag: 'A', value: copies.map((value) => ({ tag: 'S', value }) as const) });
  if (delayMs > 0) headers.set('x-delay', { tag: 'l', value: delayMs });
  const marks = world.marks();
  if (marks.key !== null) headers.set(KEY_HEADER, { tag: 'S', value: marks.key });
  if (marks.likeness !== null) headers.set('x-deduplication-header', { tag: 'S', value: marks.likeness });
  if (marks.rememberMs !== null) headers.set('x-cache-ttl', { tag: 'l', value: marks.rememberMs });
  const real = messageTo(exchange, key, text, {
    deliveryMode: persistent ? 2 : 1,
    expiration: expiration === null ? null : String(expiration),
    priority: priority === 0 ? null : priority,
    headers: headers.size === 0 ? null : headers,
  });
  const { vhost } = world.real.kit;
  const source = vhost.exchange(exchange);
  const keys = [key, ...copies];
  const route = copies.length === 0 ? vhost.route(source, real, key) : vhost.routeAll(source, real, keys);
  const facts = { persistent, exchange, keys, expiration, delayMs, priority, ...marks };
  const message: ModelMessage = { text, deaths: [], ...facts };
  const names = route.map(({ name }) => name);
  const expected = world.routing.route(exchange, keys, delayMs, { message: marks, past: null });
  same([...names].sort().join(), expected.join(), `route of ${exchange} ${key}`);
  // The message is published before the model is told, so what is handed out early is known to it.
  const outcome = vhost.publish(route, real);
  world.model.begin(world.deliveries);
  const written = world.model.writes(names, message);
  const refused = world.model.publish(names, message);
  same((outcome & REJECTED) !== 0, refused, `refusal by one of ${names.join()}`);
  if (refused) {
    // As every door does.
    vhost.refused(real);
    world.routing.refused();
  }
  if (!written) same(outcome & MUST_COMMIT, 0, 'a message that is not written asks for a commit');
}

/** A consumer comes. @param limit unacked entries it may hold */
export async function consume(
  world: World,
  name: string,
  noAck: boolean,
  priority: number,
  limit: number,
): Promise<void> {
  const realQueue = world.real.queue(name);
  const queue = world.model.queues.get(name)!;
  const tag = world.nextTag();
  const real = new LoggingConsumer(tag, { noAck, priority, limit });
  real.log = world.logOf(name);
  real.queue = realQueue;
  const model: ModelConsumer = { tag, noAck, priority, limit, held: [] };
  realQueue.consume(real);
  queue.consumers.push(model);
  if (queue.spec.singleActive) queue.active ??= model;
  world.consumers.push({ real, model, realQueue, queue });
  await world.rest();
}

/** Ends a consumer, as basic.cancel does; or with `back` as the end of its channel does: what it holds goes back first. */
export async function cancel(world: World, consumer: WorldConsumer, back: boolean): Promise<void> {
  const held = heldBy(consumer);
  if (back) for (const each of held) settleNow(world, each, 'requeue');
  else for (const each of held) world.got.push(each);
  world.consumers.splice(world.consumers.indexOf(consumer), 1);
  consumer.realQueue.cancel(consumer.real);
  if (!consumer.queue.deleted) {
    world.model.cancel(consumer.queue, consumer.model);
    if (consumer.queue.deleted) world.forgetQueue(consumer.queue.name);
  }
  await world.rest();
}

/** A consumer may hold more from now on, or less. */
export async function setLimit(world: World, consumer: WorldConsumer, limit: number): Promise<void> {
  consumer.real.limit = limit;
  consumer.model.limit = limit;
  if (consumer.real.hasCapacity()) consumer.realQueue.unpark(consumer.real);
  await world.rest();
}

/** Settles all of these in one go. */
export async function settle(
  world: World,
  held: readonly Held[],
  how: 'ack' | 'requeue' | 'reject',
): Promise<void> {
  for (const each of held) settleNow(world, each, how);
  await world.rest();
}

/** Settles, but nothing comes to rest. */
export function settleNow(world: World, held: Held, how: 'ack' | 'requeue' | 'reject'): void {
  const at = world.got.indexOf(held);
  if (at !== -1) world.got.splice(at, 1);
  settleEntry(held.real, how);
  world.model.begin(world.deliveries);
  world.model.settleEntry(held.queue, held.model, how);
}

/** Gets a message, if there is one. */
export async function get(world: World, name: string, noAck: boolean): Promise<void> {
  const real = world.real.queue(name);
  await world.real.untilReady(real);
  const queue = world.model.queues.get(name)!;
  const entry = real.get(noAck);
  const expected = world.model.get(queue, noAck, textOf(entry));
  same(textOf(entry), expected?.text ?? null, `the message got from ${name}`);
  if (entry !== null && expected !== null) {
    world.model.checkDelivery(queue, expected, seen(entry));
    if (!noAck) world.got.push({ queue, model: expected, real: entry });
  }
  await world.rest();
}

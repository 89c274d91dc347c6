// What is done to queues, exchanges, bindings and policies, on both sides alike.
// Owns how the description of a queue, of an exchange and of a policy is told to the broker. Must not know why something is declared or who
// uses it: that is the script's choice.

import { BROKER } from '../../src/node/caller.ts';
import { same } from './comparison.ts';
import type { QueueSpec } from './model.ts';
import { kindOf, type PolicyRule } from './policy-model.ts';
import type { ModelExchange } from './routing-model.ts';
import { uncertain } from './unordered.ts';
import type { World } from './world.ts';

/** The header that is the ordering key. */
export const KEY_HEADER = 'account';

/** Declares a queue that is not there. */
export async function declareQueue(world: World, name: string, spec: QueueSpec): Promise<void> {
  const args: Record<string, unknown> = {};
  if (spec.ttl !== null) args['x-message-ttl'] = spec.ttl;
  if (spec.lengthMax !== null) args['x-max-length'] = spec.lengthMax;
  if (spec.bytesMax !== null) args['x-max-length-bytes'] = spec.bytesMax;
  if (spec.overflow !== 'drop-head') args['x-overflow'] = spec.overflow;
  if (spec.deadLetterKey !== null) args['x-dead-letter-exchange'] = '';
  if (spec.deadLetterKey) args['x-dead-letter-routing-key'] = spec.deadLetterKey;
  if (spec.singleActive) args['x-single-active-consumer'] = true;
  if (spec.quorum) args['x-queue-type'] = 'quorum';
  if (spec.priorityMax > 0) args['x-max-priority'] = spec.priorityMax;
  if (spec.deliveryLimit !== null) args['x-delivery-limit'] = spec.deliveryLimit;
  if (spec.expires !== null) args['x-expires'] = spec.expires;
  if (spec.ordered) args['x-ordering-key'] = KEY_HEADER;
  if (spec.unique !== null) {
    const { sizeMax, ttl } = spec.unique;
    args['x-message-deduplication'] = true;
    if (sizeMax !== null) args['x-cache-size'] = sizeMax;
    if (ttl !== null) args['x-cache-ttl'] = ttl;
  }
  if (spec.retry !== null) {
    args['x-retry-limit'] = spec.retry.limit;
    args['x-retry-delay'] = spec.retry.delayMs;
    args['x-retry-multiplier'] = spec.retry.multiplier;
  }
  world.real.kit.queue(name, args, { durable: spec.durable, autoDelete: spec.autoDelete });
  world.model.declare(name, spec);
  await world.rest();
}

/** Deletes a queue with what is in it, used or not. */
export async function deleteQueue(world: World, name: string): Promise<void> {
  const count = world.real.kit.vhost.deleteQueue(name, false, false, BROKER);
  same(count, world.model.queues.get(name)!.ready.length, `messages deleted with ${name}`);
  world.model.remove(name);
  world.forgetQueue(name);
  await world.rest();
}

/** Empties a queue. */
export async function purge(world: World, name: string): Promise<void> {
  const queue = world.model.queues.get(name)!;
  same(world.real.queue(name).purge(), world.model.purge(queue), `messages purged from ${name}`);
  await world.rest();
}

/** A queue hands out nothing until it is resumed. */
export async function pause(world: World, name: string, on: boolean): Promise<void> {
  world.real.kit.vhost.setPaused(world.real.queue(name), on);
  world.model.queues.get(name)!.paused = on;
  await world.rest();
}

/** A policy comes, or takes the place of one of the same name and kind. */
export async function setPolicy(world: World, rule: PolicyRule): Promise<void> {
  if (rule.keys['message-ttl'] === 0) {
    const due = rule.queues
      .map((name) => world.model.queues.get(name))
      .filter((queue) => queue !== undefined);
    for (const name of uncertain(world, due, 0)) await deleteQueue(world, name);
  }
  setPolicyNow(world, rule);
  await world.rest();
}

/** A policy goes. */
export async function deletePolicy(world: World, rule: PolicyRule): Promise<void> {
  world.real.kit.node.parameters.deletePolicy('/', rule.name, kindOf(rule));
  world.model.applyPolicies(world.model.policies.filter((each) => each !== rule));
  await world.rest();
}

/** The same as `setPolicy`, but nothing comes to rest. */
export function setPolicyNow(world: World, rule: PolicyRule): void {
  const { name, operator, priority, queues, keys } = rule;
  const pattern = `^(${queues.join('|')})$`;
  const policy = { vhost: '/', name, pattern, priority, 'apply-to': 'queues', definition: keys } as const;
  world.real.kit.node.parameters.setPolicy(policy, kindOf(rule));
  const others = world.model.policies.filter((each) => each.name !== name || each.operator !== operator);
  world.model.applyPolicies([...others, rule]);
}

/** Declares an exchange that is not there. */
export async function declareExchange(world: World, name: string, exchange: ModelExchange): Promise<void> {
  const { type, durable, autoDelete, delays, unique } = exchange;
  const args: Record<string, unknown> = delays ? { 'x-delayed-type': type } : {};
  if (unique !== null) {
    args['x-message-deduplication'] = true;
    if (unique.sizeMax !== null) args['x-cache-size'] = unique.sizeMax;
    if (unique.ttl !== null) args['x-cache-ttl'] = unique.ttl;
    if (unique.disk) args['x-cache-persistence'] = 'disk';
  }
  world.real.kit.exchange(name, delays ? 'x-delayed-message' : type, args, { durable, autoDelete });
  world.routing.declare(name, exchange);
  await world.rest();
}

/** Deletes an exchange with its bindings, used or not. */
export async function deleteExchange(world: World, name: string): Promise<void> {
  world.real.kit.vhost.deleteExchange(name, false, BROKER);
  world.routing.forget(name);
  world.routing.unbindWhere(
    (binding) => binding.source === name || (!binding.isQueue && binding.to === name),
  );
  await world.rest();
}

/** Binds a queue or an exchange, perhaps once more. */
export async function bind(
  world: World,
  source: string,
  to: string,
  isQueue: boolean,
  key: string,
): Promise<void> {
  world.real.kit.bind(source, isQueue ? world.real.queue(to) : world.real.kit.vhost.exchange(to), key);
  world.routing.bind({ source, to, isQueue, key });
  await world.rest();
}

/** Takes away the binding that has this place in the list. */
export async function unbind(world: World, at: number): Promise<void> {
  const binding = world.routing.bindings[at]!;
  const { source, to, isQueue, key } = binding;
  world.real.kit.unbind(source, isQueue ? world.real.queue(to) : world.real.kit.vhost.exchange(to), key);
  world.routing.unbindWhere((each) => each === binding);
  await world.rest();
}

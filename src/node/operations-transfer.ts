// One message from a queue to somewhere else, whole or not at all: it leaves its queue and enters the others in one synchronous run, and
// so in one batch of the store. A crash neither loses nor doubles it.
// Owns the order: first it is certain that nobody refuses it, then it is taken, then published. Decides nothing about where to.

import { copies } from '../message/death.ts';
import type { Message } from '../message/message.ts';
import type { Found, QueueContents } from '../queue/peek.ts';
import { type DeclaredQueue, type Queue, REJECTED } from '../queue/queue.ts';
import type { Exchange } from './exchange.ts';
import type { VHost } from './vhost.ts';

/**
 * Why a message stays where it is: it is not ready (any more); its way leads to no queue; a queue on its way is full. And of those that are to
 * go back to where they died: the broker knows of no death; the queue or exchange it names is not there.
 */
export type StayReason =
  | 'not-ready'
  | 'no-route'
  | 'target-full'
  | 'not-dead-lettered'
  | 'no-such-queue'
  | 'no-such-exchange';

/** Where a message goes, and what it looks like there. */
export interface Way {
  readonly vhost: VHost;
  readonly targets: readonly Queue[];
  /** They were found by way of an exchange (`targetsOf`). */
  readonly isRouted: boolean;
  /** What enters the targets instead of the message as it is; null for the message itself. */
  readonly changed: ((message: Message) => Message) | null;
}

/** Moves a message. Only from within the `visit` that found it. @returns null when it moved, else why it did not */
export function transfer(
  source: DeclaredQueue,
  contents: QueueContents,
  found: Found,
  way: Way,
): StayReason | null {
  const reason = tryTransfer(source, contents, found, way);
  // Exchanges that drop duplicates would take the next attempt for one.
  if (reason !== null && way.isRouted) way.vhost.refused(found.message);
  return reason;
}

function tryTransfer(
  source: DeclaredQueue,
  contents: QueueContents,
  found: Found,
  { vhost, targets, changed }: Way,
): StayReason | null {
  if (found.state !== 'ready') return 'not-ready';
  if (targets.length === 0) return 'no-route';
  for (let i = 0; i < targets.length; i++)
    if (targets[i]!.wouldRefuse?.(found.message) === true) return 'target-full';
  const message = contents.take(found);
  // The question above may have made the queue hand it out.
  if (message === null) return 'not-ready';
  const moved = changed === null ? message : changed(message);
  const outcome = vhost.publish(targets, moved);
  // A line of delayed messages that is full cannot be asked before. Better at the back of its queue than nowhere.
  if ((outcome & REJECTED) !== 0 && targets.length === 1) {
    source.publish(message);
    return 'target-full';
  }
  return null;
}

/** The queues that a message published to `exchange` reaches; under its CC keys too. */
export function targetsOf(
  vhost: VHost,
  exchange: Exchange,
  message: Message,
  keys: readonly string[],
): readonly Queue[] {
  return vhost.routeAgain(exchange, message, keys);
}

/** A message's own routing keys: the one it was published with, and its CC keys. */
export function keysOf(message: Message): string[] {
  const keys = [message.address.routingKey];
  for (const { value } of copies(message)) keys.push(String(value));
  return keys;
}

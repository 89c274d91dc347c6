// Delayed messages as people manage them: how many wait, which, and taking them back.
// Owns the promises and what a waiting message looks like to a program. The messages are the exchange's (delay-line.ts).

import { BrokerError } from '../base/errors.ts';
import { keysOf, releasedMessage } from '../message/delay.ts';
import { plainOf } from '../protocol/field-table.ts';
import type { BasicProperties } from '../protocol/properties.ts';
import type { DelayLine, WaitingMessage } from '../queue/delay-line.ts';
import type { BrokerNode } from './node.ts';

/** Messages of a page that does not say how many it may have. */
const PAGE_DEFAULT = 100;

/** A message that waits in a delaying exchange. */
export interface DelayedMessage {
  /** Names it among the messages of its exchange, for as long as it waits. */
  readonly id: number;
  /** When it will be routed, in milliseconds since the epoch. */
  readonly dueAt: number;
  /** It survives a restart. */
  readonly durable: boolean;
  /** Exchange that it was published to: not the one it waits in when exchanges are bound to each other. */
  readonly exchange: string;
  /** The routing key, then those of CC and BCC. */
  readonly routingKeys: readonly string[];
  /** As it will be delivered: `x-delay` is negated already. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** The other properties; null for those it does not have. */
  readonly properties: Omit<BasicProperties, 'headers'>;
  readonly body: Buffer;
}

/** Some of the messages that wait, in the order in which they were published. */
export interface DelayedPage {
  readonly messages: readonly DelayedMessage[];
  /** What to ask for as `after` next; null when this was the last page. */
  readonly next: number | null;
}

/** What waits in an exchange, all in all. */
export interface DelayedCounts {
  readonly messages: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
}

/** @throws BrokerError not-found for the vhost and the exchange; precondition-failed for an exchange that does not delay */
function delaysOf(node: BrokerNode, vhost: string, exchange: string): DelayLine {
  const delays = node.vhost(vhost).exchange(exchange).intake?.delays ?? null;
  if (delays !== null) return delays;
  throw new BrokerError(
    'precondition-failed',
    `exchange '${exchange}' in vhost '${vhost}' delays no messages`,
  );
}

/** @throws as `delaysOf` */
export function countDelayed(node: BrokerNode, vhost: string, exchange: string): DelayedCounts {
  const { messageCount, messageBytes } = delaysOf(node, vhost, exchange);
  return { messages: messageCount, bytes: messageBytes };
}

/**
 * A page of the messages that wait.
 * @param after id behind which it begins; 0 for the first page
 * @param limit most messages in it; a page of large messages may have fewer
 * @throws as `delaysOf`, as a rejection
 */
export async function listDelayed(
  node: BrokerNode,
  vhost: string,
  exchange: string,
  after = 0,
  limit = PAGE_DEFAULT,
): Promise<DelayedPage> {
  const delays = delaysOf(node, vhost, exchange);
  return new Promise((resolve, reject) => {
    delays.list(after, limit, (error, page) => {
      if (error !== null) reject(error);
      else resolve({ messages: page.messages.map(plainMessage), next: page.next });
    });
  });
}

/**
 * Takes a message back that waits; fulfilled when that is on disk, with false when no such message waits any more.
 * @throws as `delaysOf`, as a rejection
 */
export async function cancelDelayed(
  node: BrokerNode,
  vhost: string,
  exchange: string,
  id: number,
): Promise<boolean> {
  const delays = delaysOf(node, vhost, exchange);
  const cancelled = await new Promise<boolean>((resolve, reject) => {
    delays.cancelMessage(id, (error, done) => {
      if (error !== null) reject(error);
      else resolve(done);
    });
  });
  if (cancelled) await node.committed(node.shard.hasten());
  return cancelled;
}

/** Takes all messages back that wait; fulfilled when that is on disk. @throws as `delaysOf`, as a rejection */
export async function cancelAllDelayed(node: BrokerNode, vhost: string, exchange: string): Promise<number> {
  const count = delaysOf(node, vhost, exchange).purge();
  await node.committed(node.shard.hasten());
  return count;
}

function plainMessage(waiting: WaitingMessage): DelayedMessage {
  const { id, dueAt, durable, message } = waiting;
  const { headers, ...properties } = releasedMessage(message).properties();
  return {
    id,
    dueAt,
    durable,
    exchange: message.address.exchange,
    routingKeys: keysOf(message),
    headers: plainOf(headers!),
    properties,
    body: Buffer.from(message.body()),
  };
}

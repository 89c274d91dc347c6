// basic.publish once its content is complete: the checks in RabbitMQ's order, then the queues, then what the publisher is told.
// Owns nothing: targets remember verdicts, confirms remember what to tell.

import { BrokerError } from '../base/errors.ts';
import { offer, withdraw } from '../message/body-memory.ts';
import {
  FLAG_EXPIRATION,
  FLAG_HEADERS,
  FLAG_REPLY_TO,
  FLAG_USER_ID,
  type Message,
} from '../message/message.ts';
import { NO_ROUTE, NOT_IMPLEMENTED } from '../protocol/constants.ts';
import { fieldTypeName } from '../protocol/field-table.ts';
import { encodeBasicReturn } from '../protocol/methods.ts';
import { reachesNoQueue } from '../queue/publish-only.ts';
import { MUST_COMMIT, type Queue, REJECTED } from '../queue/queue.ts';
import { REPLY_TO } from '../queue/reply-queue.ts';
import type { Channel } from './channel.ts';
import { writeContent } from './delivery.ts';
import { AmqpError } from './errors.ts';
import type { PublishTarget } from './publish-targets.ts';

/** Properties that a rule of publishing depends on; a message without them skips those rules. */
const RULED = FLAG_HEADERS | FLAG_REPLY_TO | FLAG_EXPIRATION | FLAG_USER_ID;
/** Longest expiration, in milliseconds: 10 years (RabbitMQ). */
const EXPIRATION_MAX_MS = 315_360_000_000;

/** What a publish does once it was checked. */
export interface Publication {
  readonly message: Message;
  readonly queues: readonly Queue[];
  readonly target: PublishTarget;
}

/** A publish whose content is complete. @throws BrokerError, AmqpError, DecodeError */
export function publish(channel: Channel, target: PublishTarget, published: Message): void {
  if (target.immediate) throw new AmqpError(NOT_IMPLEMENTED, 'immediate=true');
  const { connection } = channel;
  const { vhost } = connection;
  let message = published;
  let queues: readonly Queue[];
  /** Nobody on the way to the queues has seen more of the message than its key. */
  let isUnseen = true;
  if ((message.flags & RULED) === 0 && target.holds(vhost, connection.node.access.generation)) {
    queues = target.route!;
    target.exchange!.publishedIn++;
  } else {
    checkTarget(channel, target);
    const exchange = target.exchange!;
    exchange.publishedIn++;
    let extraKeys: readonly string[] | null = null;
    if ((message.flags & RULED) !== 0) {
      message = applyReplyTo(channel, message);
      checkExpiration(message);
      extraKeys = copyKeys(message);
      if (extraKeys !== null) message = withoutBcc(message);
      if (exchange.declaration.type === 'topic') assertTopics(channel, target, extraKeys);
      checkUserId(channel, message);
    } else if (exchange.declaration.type === 'topic') assertTopics(channel, target, null);
    const key = target.address.routingKey;
    if (extraKeys !== null) {
      queues = vhost.routeAll(exchange, message, [key, ...extraKeys]);
      isUnseen = false;
    } else {
      queues = vhost.route(exchange, message, key);
      isUnseen = vhost.routeHolds;
      target.route = isUnseen ? queues : null;
    }
  }
  if (channel.tx !== null) {
    channel.tx.publishes.push({ message, queues, target });
    return;
  }
  const isAlone = isUnseen && queues.length === 1;
  if (isAlone) offer(message);
  const outcome = perform(channel, message, queues, target);
  if (isAlone) withdraw(message);
  const { confirms } = channel;
  if (confirms === null) return;
  if ((outcome & REJECTED) !== 0) {
    vhost.refused(message);
    confirms.refuse();
  } else if ((outcome & MUST_COMMIT) !== 0) {
    confirms.acceptAt(connection.node.shard.ticket);
    connection.node.commits.await(channel);
    return;
  } else confirms.accept();
  if (confirms.isReady) channel.wantsConfirm();
}

/** Hands a checked message to its queues, or back to a publisher who insists. @returns the outcome flags of the queues */
export function perform(
  channel: Channel,
  message: Message,
  queues: readonly Queue[],
  target: PublishTarget,
): number {
  if (queues.length === 0) {
    if (target.mandatory) returnMessage(channel, message, target);
    return 0;
  }
  // Delayed message plugin: nobody knows yet whether there will be a queue.
  if (target.mandatory && reachesNoQueue(queues)) returnMessage(channel, message, target);
  return queues.length === 1
    ? queues[0]!.publish(message)
    : channel.connection.vhost.publish(queues, message);
}

/** Write permission, exchange, internal: in RabbitMQ's order; leaves the exchange in the target. */
function checkTarget(channel: Channel, target: PublishTarget): void {
  const { connection } = channel;
  const { vhost, node } = connection;
  const known = target.topologyGeneration;
  if (known !== -1 && known !== vhost.generation) connection.targets.aged(1);
  const name = target.address.exchange;
  connection.assertMay('write', 'exchange', name);
  const exchange = vhost.exchange(name);
  if (exchange.declaration.internal) {
    throw new BrokerError(
      'access-refused',
      `cannot publish to internal exchange '${name}' in vhost '${vhost.name}'`,
    );
  }
  target.exchange = exchange;
  target.route = null;
  target.accessGeneration = node.access.generation;
  target.topologyGeneration = vhost.generation;
}

function assertTopics(channel: Channel, target: PublishTarget, extraKeys: readonly string[] | null): void {
  const { exchange, routingKey } = target.address;
  channel.connection.assertMayTopic('write', exchange, routingKey);
  if (extraKeys !== null)
    for (const key of extraKeys) channel.connection.assertMayTopic('write', exchange, key);
}

/** Direct reply-to: the pseudo name becomes the name of this channel's reply queue. */
function applyReplyTo(channel: Channel, message: Message): Message {
  if ((message.flags & FLAG_REPLY_TO) === 0) return message;
  const properties = message.properties();
  if (properties.replyTo !== REPLY_TO) return message;
  if (channel.replyConsumer === null)
    throw new BrokerError('precondition-failed', 'fast reply consumer does not exist');
  return message.withProperties({ ...properties, replyTo: channel.replyConsumer.queue.name });
}

/** RabbitMQ: expiration is a decimal integer in a string; the texts are Erlang terms. */
function checkExpiration(message: Message): void {
  if ((message.flags & FLAG_EXPIRATION) === 0) return;
  const text = message.properties().expiration ?? '';
  const number = /^[+-]?[0-9]+/.exec(text)?.[0];
  const refuse = (reason: string): never => {
    throw new BrokerError('precondition-failed', `invalid expiration '${text}': ${reason}`);
  };
  if (number === undefined) return refuse('no_integer');
  if (number.length !== text.length) return refuse(`{leftover_string,"${text.slice(number.length)}"}`);
  const value = BigInt(number);
  if (value < 0n) return refuse(`{value_negative,${value}}`);
  if (value > BigInt(EXPIRATION_MAX_MS)) return refuse(`{value_too_large,${value}}`);
}

/** Further routing keys from the headers CC and BCC; null when there are none. */
function copyKeys(message: Message): string[] | null {
  const headers = message.headers();
  if (headers === null) return null;
  const keys: string[] = [];
  let found = false;
  for (const name of ['CC', 'BCC']) {
    const value = headers.get(name);
    if (value === undefined) continue;
    if (value.tag !== 'A') {
      throw new BrokerError(
        'precondition-failed',
        `invalid message: {unacceptable_type_in_header,"${name}",${fieldTypeName(value)}}`,
      );
    }
    found = true;
    for (const item of value.value)
      if (item.tag === 'S' && typeof item.value === 'string') keys.push(item.value);
  }
  return found ? keys : null;
}

/** RabbitMQ: BCC is removed before anybody else sees the message; CC stays. */
function withoutBcc(message: Message): Message {
  const headers = message.headers();
  if (headers === null || !headers.has('BCC')) return message;
  const rest = new Map(headers);
  rest.delete('BCC');
  return message.withProperties({ ...message.properties(), headers: rest });
}

function checkUserId(channel: Channel, message: Message): void {
  if ((message.flags & FLAG_USER_ID) === 0) return;
  const { userId } = message.properties();
  const { connection } = channel;
  if (
    userId === connection.username ||
    connection.node.users.get(connection.username)?.tags.includes('impersonator')
  )
    return;
  throw new BrokerError(
    'precondition-failed',
    `user_id property set to '${userId}' but authenticated user was '${connection.username}'`,
  );
}

function returnMessage(channel: Channel, message: Message, target: PublishTarget): void {
  const { connection, number } = channel;
  const { exchange, routingKey } = target.address;
  encodeBasicReturn(connection.writer, number, {
    replyCode: NO_ROUTE,
    replyText: 'NO_ROUTE',
    exchange,
    routingKey,
  });
  writeContent(connection.writer, number, message, connection.frameMax);
  connection.wantsFlush();
}

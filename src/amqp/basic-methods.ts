// Class basic: publish, consume, cancel, get, ack, nack, reject, recover, qos.
// Owns the order of a publish's checks (RabbitMQ) and the translation between delivery tags and entries.

import { BrokerError } from '../base/errors.ts';
import { serverName } from '../base/random-ids.ts';
import type { Entry } from '../message/entry.ts';
import {
  FLAG_EXPIRATION,
  FLAG_HEADERS,
  FLAG_REPLY_TO,
  FLAG_USER_ID,
  type Message,
} from '../message/message.ts';
import { NO_ROUTE, NOT_ALLOWED, NOT_IMPLEMENTED } from '../protocol/constants.ts';
import { type FieldTable, fieldTypeName } from '../protocol/field-table.ts';
import {
  type BasicAck,
  type BasicCancel,
  type BasicConsume,
  type BasicGet,
  type BasicNack,
  type BasicQos,
  type BasicReject,
  encodeBasicCancelOk,
  encodeBasicConsumeOk,
  encodeBasicGetEmpty,
  encodeBasicGetOk,
  encodeBasicQosOk,
  encodeBasicRecoverOk,
  encodeBasicReturn,
} from '../protocol/methods.ts';
import type { ClassicQueue } from '../queue/classic-queue.ts';
import { MUST_COMMIT, type Queue, REJECTED } from '../queue/queue.ts';
import { REPLY_TO, REPLY_TO_PREFIX, ReplyQueue } from '../queue/reply-queue.ts';
import type { Channel } from './channel.ts';
import { AmqpConsumer } from './consumer.ts';
import { writeContent } from './delivery.ts';
import { AmqpError } from './errors.ts';
import type { PublishTarget } from './publish-targets.ts';
import { queueName } from './queue-methods.ts';

/** Properties that a rule of publishing depends on; a message without them skips those rules. */
const RULED = FLAG_HEADERS | FLAG_REPLY_TO | FLAG_EXPIRATION | FLAG_USER_ID;
/** Longest expiration, in milliseconds: 10 years (RabbitMQ). */
const EXPIRATION_MAX_MS = 315_360_000_000;

/** Deliveries that a multiple ack or a recover took; reused, because acks are many. */
const taken: Entry[] = [];

/** What a publish does once it was checked. */
export interface Publication {
  readonly message: Message;
  readonly queues: readonly Queue[];
  readonly target: PublishTarget;
}

// ── publish ──

/** A publish whose content is complete. @throws BrokerError, AmqpError, DecodeError */
export function publish(channel: Channel, target: PublishTarget, published: Message): void {
  if (target.immediate) throw new AmqpError(NOT_IMPLEMENTED, 'immediate=true');
  const { connection } = channel;
  const { vhost } = connection;
  let message = published;
  let queues: readonly Queue[];
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
    if (extraKeys !== null) queues = vhost.routeAll(exchange, message, [key, ...extraKeys]);
    else {
      queues = vhost.route(exchange, message, key);
      target.route = vhost.routeHolds ? queues : null;
    }
  }
  if (channel.tx !== null) {
    channel.tx.publishes.push({ message, queues, target });
    return;
  }
  const outcome = perform(channel, message, queues, target);
  const { confirms } = channel;
  if (confirms === null) return;
  if ((outcome & REJECTED) !== 0) confirms.refuse();
  else if ((outcome & MUST_COMMIT) !== 0) {
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
  return queues.length === 1
    ? queues[0]!.publish(message)
    : channel.connection.vhost.publish(queues, message);
}

/** Write permission, exchange, internal: in RabbitMQ's order; leaves the exchange in the target. */
function checkTarget(channel: Channel, target: PublishTarget): void {
  const { connection } = channel;
  const { vhost, node } = connection;
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
  if (channel.replyQueue === null)
    throw new BrokerError('precondition-failed', 'fast reply consumer does not exist');
  return message.withProperties({ ...properties, replyTo: channel.replyQueue.name });
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

// ── consume, cancel, get ──

export function consume(channel: Channel, m: BasicConsume): void {
  const { connection } = channel;
  const { vhost } = connection;
  if (
    m.consumerTag !== '' &&
    (channel.consumers.has(m.consumerTag) || channel.replyQueue?.consumerTag === m.consumerTag)
  ) {
    throw new AmqpError(NOT_ALLOWED, `attempt to reuse consumer tag '${m.consumerTag}'`);
  }
  if (channel.consumers.size >= connection.options.consumersMaxPerChannel) {
    throw new AmqpError(
      NOT_ALLOWED,
      `reached maximum (${connection.options.consumersMaxPerChannel}) of consumers per channel`,
    );
  }
  if (m.queue === REPLY_TO) return consumeReplies(channel, m);
  const name = queueName(channel, m.queue);
  connection.assertMay('read', 'queue', name);
  const queue = vhost.queue(name, connection);
  const priority = consumerPriority(m.arguments, name, vhost.name);
  if (
    queue.exclusiveConsumer !== null ||
    (m.exclusive && (queue.consumerCount !== 0 || queue.isSingleActive))
  ) {
    throw new BrokerError('access-refused', `queue '${name}' in vhost '${vhost.name}' in exclusive use`);
  }
  const consumer = new AmqpConsumer(channel, queue, requestOf(m, priority), channel.prefetch);
  channel.consumers.set(consumer.tag, consumer);
  start(channel, consumer, m.noWait);
  queue.consume(consumer);
}

/** Direct reply-to: the consumer of a channel's replies. */
function consumeReplies(channel: Channel, m: BasicConsume): void {
  if (!m.noAck) throw new BrokerError('precondition-failed', 'reply consumer cannot acknowledge');
  if (channel.replyQueue !== null) throw new BrokerError('precondition-failed', 'reply consumer already set');
  const { node } = channel.connection;
  const name = serverName(`${serverName(REPLY_TO_PREFIX)}.`);
  const queue = new ReplyQueue(name, node.turn);
  const consumer = new AmqpConsumer(channel, queue, requestOf(m, 0), 0);
  queue.consume(consumer);
  channel.replyQueue = queue;
  node.replies.set(queue.name, queue);
  start(channel, consumer, m.noWait);
}

function requestOf(m: BasicConsume, priority: number): ConstructorParameters<typeof AmqpConsumer>[2] {
  const tag = m.consumerTag === '' ? serverName('amq.ctag-') : m.consumerTag;
  return { tag, noAck: m.noAck, exclusive: m.exclusive, priority, arguments: m.arguments };
}

/** Deliveries may come once consume-ok is on its way. */
function start(channel: Channel, consumer: AmqpConsumer, noWait: boolean): void {
  const started = (): void => {
    consumer.started = true;
    consumer.resume();
  };
  if (noWait) started();
  else channel.reply((w) => encodeBasicConsumeOk(w, channel.number, { consumerTag: consumer.tag }), started);
}

function consumerPriority(args: FieldTable, queue: string, vhost: string): number {
  const value = args.get('x-priority');
  if (value === undefined) return 0;
  if (!'bBsuIilL'.includes(value.tag)) {
    throw new BrokerError(
      'precondition-failed',
      `invalid arg 'x-priority' for queue '${queue}' in vhost '${vhost}': "expected integer, got ${fieldTypeName(value)}"`,
    );
  }
  return Number(value.value);
}

export function cancel(channel: Channel, m: BasicCancel): void {
  const { consumerTag } = m;
  const consumer = channel.consumers.get(consumerTag);
  if (consumer !== undefined) {
    channel.consumers.delete(consumerTag);
    consumer.queue.cancel(consumer);
  } else if (channel.replyQueue?.consumerTag === consumerTag) {
    channel.dropReplyQueue();
  }
  // RabbitMQ: an unknown tag is answered all the same.
  if (!m.noWait) channel.reply((w) => encodeBasicCancelOk(w, channel.number, { consumerTag }));
}

export function get(channel: Channel, m: BasicGet): void {
  const { connection } = channel;
  const name = queueName(channel, m.queue);
  connection.assertMay('read', 'queue', name);
  const queue = connection.vhost.queue(name, connection);
  const { noAck } = m;
  let slot: ReturnType<Channel['reserveReply']> | null = null;
  const attempt = (): void => {
    if (channel.state !== 'open') return;
    // The head may be on its way from the store: the answer keeps its place among the replies.
    if (!queue.whenReady(attempt)) {
      slot ??= channel.reserveReply();
      return;
    }
    const encode = getReply(channel, queue, noAck);
    if (slot === null) channel.reply(encode);
    else slot.fill(encode);
  };
  attempt();
}

function getReply(channel: Channel, queue: ClassicQueue, noAck: boolean): Parameters<Channel['reply']>[0] {
  const { number, connection, unacked } = channel;
  const entry = queue.get(noAck);
  if (entry === null) return (w) => encodeBasicGetEmpty(w, number);
  const { message, redelivered } = entry;
  const { exchange, routingKey } = message.address;
  const deliveryTag = noAck ? unacked.skip() : unacked.add(entry);
  const { messageCount } = queue;
  return (w) => {
    encodeBasicGetOk(w, number, { deliveryTag, redelivered, exchange, routingKey, messageCount });
    writeContent(w, number, message, connection.frameMax);
  };
}

// ── settling ──

export function ackDeliveries(channel: Channel, m: BasicAck): void {
  settle(channel, m.deliveryTag, m.multiple, 'ack');
}

export function nackDeliveries(channel: Channel, m: BasicNack): void {
  settle(channel, m.deliveryTag, m.multiple, m.requeue ? 'requeue' : 'reject');
}

export function rejectDelivery(channel: Channel, m: BasicReject): void {
  settle(channel, m.deliveryTag, false, m.requeue ? 'requeue' : 'reject');
}

/** What a settle does with an entry. */
export type SettleKind = 'ack' | 'requeue' | 'reject';

function settle(channel: Channel, tag: number, multiple: boolean, kind: SettleKind): void {
  if (channel.tx !== null) return channel.tx.settle(channel, tag, multiple, kind);
  settleNow(channel, tag, multiple, kind);
}

/** @throws BrokerError precondition-failed for a tag that is not outstanding */
export function settleNow(channel: Channel, tag: number, multiple: boolean, kind: SettleKind): void {
  const { unacked } = channel;
  if (!multiple) {
    const entry = unacked.take(tag);
    if (entry === null) throw unknownTag(tag);
    settleEntry(channel, entry, kind);
  } else {
    // Tag 0 means all, and there may be none (AMQP 0-9-1 1.8.3.13).
    if (tag !== 0 && unacked.peek(tag) === null) throw unknownTag(tag);
    if (tag === 0) unacked.takeAll(taken);
    else unacked.takeUpTo(tag, taken);
    for (let i = 0; i < taken.length; i++) settleEntry(channel, taken[i]!, kind);
    taken.length = 0;
  }
  // One consumer's ack may make room for another under the channel-wide limit.
  if (channel.globalPrefetch !== 0) channel.resumeConsumers();
}

/** RabbitMQ's refusal of a delivery tag that was never given out or is settled. */
export function unknownTag(tag: number): BrokerError {
  return new BrokerError('precondition-failed', `unknown delivery tag ${tag}`);
}

function settleEntry(channel: Channel, entry: Entry, kind: SettleKind): void {
  const { owner, holder } = entry;
  if (kind === 'ack') owner.ack(entry);
  else if (kind === 'requeue') owner.requeue(entry);
  else owner.reject(entry);
  if (holder !== null) holder.settled(entry);
  else if (channel.gotBeforeLimit !== 0) channel.gotBeforeLimit--;
}

export function recover(channel: Channel, requeue: boolean, answer: boolean): void {
  if (!requeue) throw new AmqpError(NOT_IMPLEMENTED, 'requeue=false');
  settleNow(channel, 0, true, 'requeue');
  if (answer) channel.reply((w) => encodeBasicRecoverOk(w, channel.number));
}

export function setQos(channel: Channel, m: BasicQos): void {
  if (m.prefetchSize !== 0) throw new AmqpError(NOT_IMPLEMENTED, `prefetch_size!=0 (${m.prefetchSize})`);
  // RabbitMQ: global=false is per consumer, for consumers to come, and lifts a limit of the whole channel.
  // RabbitMQ 4.3 takes global=true for global=false; strict mode follows.
  if (m.global && !channel.connection.options.strict) {
    // RabbitMQ: what basic.get had handed out before the limit counts too.
    if (channel.globalPrefetch === 0)
      channel.gotBeforeLimit = channel.unacked.size - channel.consumersUnacked;
    channel.globalPrefetch = m.prefetchCount;
  } else {
    channel.prefetch = m.prefetchCount;
    channel.globalPrefetch = 0;
    channel.gotBeforeLimit = 0;
  }
  channel.resumeConsumers();
  channel.reply((w) => encodeBasicQosOk(w, channel.number));
}

// Class basic, what consumers ask for: consume, cancel, get, qos. Publishing stands in publish.ts, acknowledging in settling.ts.

import { BrokerError } from '../base/errors.ts';
import { serverName } from '../base/random-ids.ts';
import { NOT_ALLOWED, NOT_IMPLEMENTED } from '../protocol/constants.ts';
import {
  type BasicCancel,
  type BasicConsume,
  type BasicGet,
  type BasicQos,
  encodeBasicCancelOk,
  encodeBasicConsumeOk,
  encodeBasicGetEmpty,
  encodeBasicGetOk,
  encodeBasicQosOk,
} from '../protocol/methods.ts';
import { checkConsumerArguments } from '../queue/declaration.ts';
import type { DeclaredQueue } from '../queue/queue.ts';
import { REPLY_TO, REPLY_TO_PREFIX, ReplyQueue } from '../queue/reply-queue.ts';
import { checkStreamConsumer, refuseStreamGet } from '../queue/stream-arguments.ts';
import { deliveredMessage } from '../queue/tries.ts';
import type { Channel } from './channel.ts';
import { AmqpConsumer } from './consumer.ts';
import { writeContent } from './delivery.ts';
import { AmqpError } from './errors.ts';
import { queueName } from './queue-methods.ts';
import type { Encode } from './replies.ts';

export function consume(channel: Channel, m: BasicConsume): void {
  const { connection } = channel;
  const { vhost } = connection;
  if (
    m.consumerTag !== '' &&
    (channel.consumers.has(m.consumerTag) || channel.replyConsumer?.tag === m.consumerTag)
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
  const { type } = queue.options;
  checkConsumerArguments(name, vhost.name, type, m.arguments);
  if (type === 'stream') {
    const { prefetch, globalPrefetch } = channel;
    checkStreamConsumer(name, vhost.name, m.arguments, { noAck: m.noAck, prefetch, globalPrefetch });
  }
  if (type === 'quorum' && channel.globalPrefetch !== 0)
    throw new BrokerError(
      'not-implemented',
      `queue '${name}' in vhost '${vhost.name}' does not support global qos`,
    );
  if (
    queue.exclusiveConsumer !== null ||
    (m.exclusive && (queue.consumerCount !== 0 || queue.options.singleActiveConsumer))
  ) {
    throw new BrokerError('access-refused', `queue '${name}' in vhost '${vhost.name}' in exclusive use`);
  }
  const consumer = new AmqpConsumer(channel, queue, requestOf(m), channel.prefetch);
  channel.consumers.set(consumer.tag, consumer);
  start(channel, consumer, m.noWait);
  queue.consume(consumer);
}

/** Direct reply-to: the consumer of a channel's replies. */
function consumeReplies(channel: Channel, m: BasicConsume): void {
  if (!m.noAck) throw new BrokerError('precondition-failed', 'reply consumer cannot acknowledge');
  if (channel.replyConsumer !== null)
    throw new BrokerError('precondition-failed', 'reply consumer already set');
  const { node } = channel.connection;
  const name = serverName(`${serverName(REPLY_TO_PREFIX)}.`);
  const queue = new ReplyQueue(name, node.turn);
  const consumer = new AmqpConsumer(channel, queue, { ...requestOf(m), priority: 0 }, 0);
  queue.consume(consumer);
  channel.replyConsumer = consumer;
  node.replies.set(queue.name, queue);
  start(channel, consumer, m.noWait);
}

function requestOf(m: BasicConsume): ConstructorParameters<typeof AmqpConsumer>[2] {
  const tag = m.consumerTag === '' ? serverName('amq.ctag-') : m.consumerTag;
  const priority = Number(m.arguments.get('x-priority')?.value ?? 0);
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

export function cancel(channel: Channel, m: BasicCancel): void {
  const { consumerTag } = m;
  const consumer = channel.consumers.get(consumerTag);
  if (consumer !== undefined) {
    channel.consumers.delete(consumerTag);
    consumer.queue.cancel(consumer);
  } else if (channel.replyConsumer?.tag === consumerTag) {
    channel.dropReplyConsumer();
  }
  // RabbitMQ: an unknown tag is answered all the same.
  if (!m.noWait) channel.reply((w) => encodeBasicCancelOk(w, channel.number, { consumerTag }));
}

export function get(channel: Channel, m: BasicGet): void {
  const { connection, gets } = channel;
  const name = queueName(channel, m.queue);
  connection.assertMay('read', 'queue', name);
  const queue = connection.vhost.queue(name, connection);
  const { type, singleActiveConsumer } = queue.options;
  if (type === 'stream') refuseStreamGet(name, connection.vhost.name);
  if (type === 'quorum' && singleActiveConsumer) {
    throw new BrokerError(
      'resource-locked',
      `cannot obtain access to locked queue '${name}' in vhost '${connection.vhost.name}'. basic.get operations are not supported by quorum queues with single active consumer`,
    );
  }
  gets.get(queue, m.noAck);
}

/** Takes the next message of a queue; says how that is answered. */
export function getReply(channel: Channel, queue: DeclaredQueue, noAck: boolean): Encode {
  const { number, connection, unacked } = channel;
  const entry = queue.get(noAck);
  if (queue.options.consumerTimeoutMs !== null) channel.ownTimeouts = true;
  if (entry === null) return (w) => encodeBasicGetEmpty(w, number);
  const { redelivered } = entry;
  const message = deliveredMessage(entry);
  const { exchange, routingKey } = message.address;
  const deliveryTag = noAck ? unacked.skip() : unacked.add(entry);
  const { messageCount } = queue;
  return (w) => {
    encodeBasicGetOk(w, number, { deliveryTag, redelivered, exchange, routingKey, messageCount });
    writeContent(w, number, message, connection.frameMax);
  };
}

export function setQos(channel: Channel, m: BasicQos): void {
  if (m.prefetchSize !== 0) throw new AmqpError(NOT_IMPLEMENTED, `prefetch_size!=0 (${m.prefetchSize})`);
  // RabbitMQ: global=false is per consumer, for consumers to come, and lifts a limit of the whole channel.
  // RabbitMQ 4.3 takes global=true for global=false; strict mode follows.
  if (m.global && !channel.connection.options.strict) {
    // RabbitMQ: what basic.get had handed out before the limit counts too.
    if (channel.globalPrefetch === 0) countGot(channel);
    channel.globalPrefetch = m.prefetchCount;
  } else {
    channel.prefetch = m.prefetchCount;
    channel.globalPrefetch = 0;
  }
  channel.resumeConsumers();
  channel.reply((w) => encodeBasicQosOk(w, channel.number));
}

/** From now on the deliveries of basic.get that are out take part in the channel-wide prefetch. */
function countGot(channel: Channel): void {
  const { unacked, gotBeforeLimit } = channel;
  const left = unacked.size - channel.consumersUnacked - gotBeforeLimit.count;
  for (let tag = unacked.first(), found = 0; found < left; tag++) {
    const entry = unacked.peek(tag);
    if (entry === null || entry.holder !== null) continue;
    entry.holder = gotBeforeLimit;
    gotBeforeLimit.count++;
    found++;
  }
}

// Class queue: declare, bind, unbind, purge, delete. Reads the method, asks the vhost, answers.

import { BrokerError } from '../base/errors.ts';
import { assertNotDefault } from '../node/vhost.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';
import {
  encodeQueueBindOk,
  encodeQueueDeclareOk,
  encodeQueueDeleteOk,
  encodeQueuePurgeOk,
  encodeQueueUnbindOk,
  type QueueBind,
  type QueueDeclare,
  type QueueDelete,
  type QueuePurge,
  type QueueUnbind,
} from '../protocol/methods.ts';
import { REPLY_TO, REPLY_TO_PREFIX } from '../queue/reply-queue.ts';
import { refuseStreamPurge } from '../queue/stream-arguments.ts';
import type { Channel } from './channel.ts';
import { cleanName } from './names.ts';

export function declareQueue(channel: Channel, m: QueueDeclare): void {
  const { connection } = channel;
  const { vhost } = connection;
  const name = cleanName(m.queue);
  if (isReplyName(name)) return declareReplyName(channel, name, m.noWait);
  if (m.passive) {
    connection.assertMayKnow('queue', name);
    const queue = vhost.queue(name, connection);
    queue.touch();
    channel.lastQueue = name;
    const { messageCount, consumerCount } = queue;
    if (!m.noWait)
      channel.reply((w) =>
        encodeQueueDeclareOk(w, channel.number, { queue: name, messageCount, consumerCount }),
      );
    return;
  }
  const { durable, exclusive, autoDelete } = m;
  const queue = vhost.declareQueue(
    { name, durable, exclusive, autoDelete, arguments: m.arguments },
    connection,
  );
  channel.lastQueue = queue.name;
  if (m.noWait) return;
  const { messageCount, consumerCount } = queue;
  const encode = (w: FrameWriter): void =>
    encodeQueueDeclareOk(w, channel.number, { queue: queue.name, messageCount, consumerCount });
  if (queue.durable) channel.replyAfterCommit(encode);
  else channel.reply(encode);
}

export function bindQueue(channel: Channel, m: QueueBind): void {
  const { connection } = channel;
  const { vhost } = connection;
  const { name, source, routingKey } = bindingOf(channel, m);
  // RabbitMQ: of two that are missing, the exchange is named.
  const exchange = vhost.exchange(source);
  vhost.bind(exchange, vhost.queue(name, connection), routingKey, m.arguments);
  if (!m.noWait) channel.replyAfterCommit((w) => encodeQueueBindOk(w, channel.number));
}

export function unbindQueue(channel: Channel, m: QueueUnbind): void {
  const { connection } = channel;
  const { vhost } = connection;
  const { name, source, routingKey } = bindingOf(channel, m);
  const exchange = vhost.exchanges.get(source);
  const queue = vhost.queues.get(name);
  // RabbitMQ: only a binding that exists is looked at closely.
  if (
    exchange !== undefined &&
    queue !== undefined &&
    vhost.isBound(exchange, queue, routingKey, m.arguments)
  ) {
    vhost.unbind(exchange, vhost.queue(name, connection), routingKey, m.arguments);
  }
  channel.replyAfterCommit((w) => encodeQueueUnbindOk(w, channel.number));
}

export function purgeQueue(channel: Channel, m: QueuePurge): void {
  const { connection } = channel;
  const { vhost } = connection;
  const name = queueName(channel, m.queue);
  connection.assertMay('read', 'queue', name);
  const queue = vhost.queue(name, connection);
  if (queue.options.type === 'stream') refuseStreamPurge(name, vhost.name);
  const messageCount = queue.purge();
  if (!m.noWait) channel.reply((w) => encodeQueuePurgeOk(w, channel.number, { messageCount }));
}

export function deleteQueue(channel: Channel, m: QueueDelete): void {
  const { connection } = channel;
  const { vhost } = connection;
  const name = queueName(channel, m.queue);
  const messageCount = vhost.deleteQueue(name, m.ifUnused, m.ifEmpty, connection);
  if (!m.noWait) channel.replyAfterCommit((w) => encodeQueueDeleteOk(w, channel.number, { messageCount }));
}

/** An empty name means the queue declared last on the channel (AMQP 0-9-1 1.7). @throws BrokerError not-found when there is none */
export function queueName(channel: Channel, name: string): string {
  if (name !== '') return cleanName(name);
  if (channel.lastQueue === null) throw new BrokerError('not-found', 'no previously declared queue');
  return channel.lastQueue;
}

/** What a queue.bind or queue.unbind means by its names, once the user may do it. @throws BrokerError */
function bindingOf(
  channel: Channel,
  m: QueueBind | QueueUnbind,
): { name: string; source: string; routingKey: string } {
  const name = queueName(channel, m.queue);
  // RabbitMQ: an empty queue name with an empty key means the last queue for both.
  const routingKey = m.queue === '' && m.routingKey === '' ? name : m.routingKey;
  const source = cleanName(m.exchange);
  askForBinding(channel, name, source, routingKey);
  return { name, source, routingKey };
}

function askForBinding(channel: Channel, queue: string, exchange: string, routingKey: string): void {
  const { connection } = channel;
  const { vhost } = connection;
  if (isReplyName(queue)) {
    throw new BrokerError('access-refused', 'cannot bind or unbind to a volatile (direct reply-to) queue');
  }
  assertNotDefault(exchange);
  connection.assertMay('write', 'queue', queue);
  connection.assertMay('read', 'exchange', exchange);
  if (vhost.exchanges.get(exchange)?.declaration.type === 'topic')
    connection.assertMayTopic('read', exchange, routingKey);
}

function isReplyName(name: string): boolean {
  return name === REPLY_TO || name.startsWith(REPLY_TO_PREFIX);
}

/** RabbitMQ: declaring a reply name, passively or not, tells whether its requester lives; the name to consume from always does. */
function declareReplyName(channel: Channel, name: string, noWait: boolean): void {
  const lives = name === REPLY_TO || channel.connection.node.replies.has(name);
  if (!lives)
    throw new BrokerError('not-found', `no queue '${name}' in vhost '${channel.connection.vhost.name}'`);
  channel.lastQueue = name;
  if (!noWait)
    channel.reply((w) =>
      encodeQueueDeclareOk(w, channel.number, { queue: name, messageCount: 0, consumerCount: 1 }),
    );
}

// Class exchange: declare, delete, bind, unbind. Reads the method, asks the vhost, answers.

import { assertNotDefault } from '../node/vhost.ts';
import {
  type ExchangeBind,
  type ExchangeDeclare,
  type ExchangeDelete,
  type ExchangeUnbind,
  encodeExchangeBindOk,
  encodeExchangeDeclareOk,
  encodeExchangeDeleteOk,
  encodeExchangeUnbindOk,
} from '../protocol/methods.ts';
import type { Channel } from './channel.ts';
import { cleanName } from './names.ts';

export function declareExchange(channel: Channel, m: ExchangeDeclare): void {
  const { connection } = channel;
  const { vhost } = connection;
  const name = cleanName(m.exchange);
  if (m.passive) {
    assertNotDefault(name);
    connection.assertMayKnow('exchange', name);
    vhost.exchange(name);
  } else {
    const { type, durable, autoDelete, internal } = m;
    vhost.declareExchange({ name, type, durable, autoDelete, internal, arguments: m.arguments }, connection);
  }
  if (!m.noWait) channel.replyAfterCommit((w) => encodeExchangeDeclareOk(w, channel.number));
}

export function deleteExchange(channel: Channel, m: ExchangeDelete): void {
  const { connection } = channel;
  const { vhost } = connection;
  vhost.deleteExchange(cleanName(m.exchange), m.ifUnused, connection);
  if (!m.noWait) channel.replyAfterCommit((w) => encodeExchangeDeleteOk(w, channel.number));
}

export function bindExchange(channel: Channel, method: ExchangeBind): void {
  const m = withCleanNames(method);
  const { vhost } = channel.connection;
  askForBinding(channel, m);
  vhost.bind(vhost.exchange(m.source), vhost.exchange(m.destination), m.routingKey, m.arguments);
  if (!m.noWait) channel.replyAfterCommit((w) => encodeExchangeBindOk(w, channel.number));
}

export function unbindExchange(channel: Channel, method: ExchangeUnbind): void {
  const m = withCleanNames(method);
  const { vhost } = channel.connection;
  askForBinding(channel, m);
  const source = vhost.exchanges.get(m.source);
  const destination = vhost.exchanges.get(m.destination);
  if (source !== undefined && destination !== undefined)
    vhost.unbind(source, destination, m.routingKey, m.arguments);
  if (!m.noWait) channel.replyAfterCommit((w) => encodeExchangeUnbindOk(w, channel.number));
}

function askForBinding(channel: Channel, m: ExchangeBind | ExchangeUnbind): void {
  const { connection } = channel;
  const { vhost } = connection;
  assertNotDefault(m.destination);
  assertNotDefault(m.source);
  connection.assertMay('write', 'exchange', m.destination);
  connection.assertMay('read', 'exchange', m.source);
  if (vhost.exchanges.get(m.source)?.declaration.type === 'topic')
    connection.assertMayTopic('read', m.source, m.routingKey);
}

function withCleanNames<M extends ExchangeBind | ExchangeUnbind>(m: M): M {
  return { ...m, source: cleanName(m.source), destination: cleanName(m.destination) };
}

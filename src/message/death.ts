// Why and where a message died: the x-death history and what a dead-lettered message looks like.
// Owns the headers of section "dead lettering" as RabbitMQ writes them. Knows no queue and no exchange.
//
// RabbitMQ 4 keeps deaths beside the message and ignores an x-death header that a client sends. We keep them in the header, and a mark
// in the layout's unused channel octets (see message.ts) says whether that header is ours.

import { EMPTY_TABLE, type FieldTable, type FieldValue } from '../protocol/field-table.ts';
import type { BasicProperties } from '../protocol/properties.ts';
import type { Address } from './address.ts';
import { firstDeath } from './first-death.ts';
import { buildMessage, type Message } from './message.ts';

/** RabbitMQ's reasons for dead-lettering. */
export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit';

/** Octet of the layout that holds `DIED`: the channel number of the header frame, which only means something on the wire. */
const MARK_AT = 1;
const DIED = 1;

/** Deaths are ours: the header x-death was written by the broker. */
export function hasDied(message: Message): boolean {
  return message.buffer[message.at + MARK_AT] === DIED;
}

/** The message as it is published to the dead-letter exchange. `timeMs` is the time of death. */
export function deadMessage(
  message: Message,
  queue: string,
  reason: DeathReason,
  timeMs: number,
  address: Address,
): Message {
  const dead =
    (hasDied(message) ? null : firstDeath(message, queue, reason, timeMs, address)) ??
    deadMessageByValues(message, queue, reason, timeMs, address);
  dead.buffer[dead.at + MARK_AT] = DIED;
  return dead;
}

/** As `deadMessage` but for the mark, whatever the message and its deaths look like: decodes all properties and encodes them again. */
export function deadMessageByValues(
  message: Message,
  queue: string,
  reason: DeathReason,
  timeMs: number,
  address: Address,
): Message {
  const properties = message.properties();
  const before = properties.headers ?? EMPTY_TABLE;
  const headers = new Map<string, FieldValue>(before);
  const died = hasDied(message);
  const earlier = died ? deathsIn(before) : [];
  headers.set('x-death', {
    tag: 'A',
    value: deathsAfter(earlier, message, properties, queue, reason, timeMs),
  });
  const { exchange } = message.address;
  if (!died) {
    headers.set('x-first-death-reason', text(reason));
    headers.set('x-first-death-queue', text(queue));
    headers.set('x-first-death-exchange', text(exchange));
  }
  headers.set('x-last-death-reason', text(reason));
  headers.set('x-last-death-queue', text(queue));
  headers.set('x-last-death-exchange', text(exchange));
  // RabbitMQ: keys come out sorted, and the expiration is gone, or the message would expire again.
  const sorted = new Map([...headers].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  return buildMessage(address, { ...properties, headers: sorted, expiration: null }, message.body());
}

/**
 * RabbitMQ's cycle rule: the queue already appears in the deaths, and no death since then was a consumer's reject.
 * @returns true when the message must not go to `queue`
 */
export function closesCycle(dead: Message, queue: string): boolean {
  for (const death of deathsIn(dead.headers() ?? EMPTY_TABLE)) {
    if (textAt(death, 'reason') === 'rejected') return false;
    if (textAt(death, 'queue') === queue) return true;
  }
  return false;
}

/** One entry per queue and reason, the newest death first. */
function deathsAfter(
  earlier: readonly FieldTable[],
  message: Message,
  properties: BasicProperties,
  queue: string,
  reason: DeathReason,
  timeMs: number,
): FieldValue[] {
  let same: FieldTable | null = null;
  const deaths: FieldValue[] = [];
  for (const death of earlier) {
    if (same === null && textAt(death, 'queue') === queue && textAt(death, 'reason') === reason) same = death;
    else deaths.push({ tag: 'F', value: death });
  }
  const first = same === null ? newDeath(message, properties, queue, reason, timeMs) : again(same);
  deaths.unshift({ tag: 'F', value: first });
  return deaths;
}

function newDeath(
  message: Message,
  properties: BasicProperties,
  queue: string,
  reason: DeathReason,
  timeMs: number,
): FieldTable {
  const { exchange, routingKey } = message.address;
  const { expiration, headers } = properties;
  const death = new Map<string, FieldValue>();
  if (expiration !== null) death.set('original-expiration', text(expiration));
  death.set('count', { tag: 'l', value: 1 });
  death.set('reason', text(reason));
  death.set('queue', text(queue));
  death.set('time', { tag: 'T', value: Math.floor(timeMs / 1000) });
  death.set('exchange', text(exchange));
  death.set('routing-keys', { tag: 'A', value: [text(routingKey), ...copiesIn(headers)] });
  return death;
}

/** The same death once more: only the count changes, the time stays that of the first (RabbitMQ). */
function again(death: FieldTable): FieldTable {
  const count = death.get('count');
  return new Map(death).set('count', { tag: 'l', value: Number(count?.value ?? 0) + 1 });
}

function deathsIn(headers: FieldTable): FieldTable[] {
  const value = headers.get('x-death');
  const deaths: FieldTable[] = [];
  if (value?.tag === 'A') for (const item of value.value) if (item.tag === 'F') deaths.push(item.value);
  return deaths;
}

/** CC keys of a message: routing keys beside the first. */
export function copies(message: Message): FieldValue[] {
  return copiesIn(message.headers());
}

function copiesIn(headers: FieldTable | null): FieldValue[] {
  const value = headers?.get('CC');
  return value?.tag === 'A' ? value.value.filter((item) => item.tag === 'S') : [];
}

function textAt(table: FieldTable, key: string): string | null {
  const value = table.get(key)?.value;
  return typeof value === 'string' ? value : null;
}

function text(value: string): FieldValue {
  return { tag: 'S', value };
}

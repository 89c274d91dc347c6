// A message as people see it who look into a queue: plain values, its body cut to a bearable size.
// Owns that form. Knows no queue.

import { type Death, deathsOf } from '../message/death-history.ts';
import type { Message } from '../message/message.ts';
import { plainOf } from '../protocol/field-table.ts';
import type { BasicProperties } from '../protocol/properties.ts';
import { type Found, idText, type MessagePlace, type MessageState } from './peek.ts';
import { acquiredOf, deliveriesOf, retriesOf } from './tries.ts';

/** Properties that are there; headers stand beside them. */
export type PlainProperties = {
  readonly [Name in Exclude<keyof BasicProperties, 'headers'>]?: NonNullable<BasicProperties[Name]>;
};

/** A message that was looked at. */
export interface PeekedMessage {
  /** Names it in the whole broker for as long as it is in this queue, over restarts too. */
  readonly id: string;
  readonly state: MessageState;
  /** How the broker keeps it; `parked` is in memory, waiting for its ordering key. */
  readonly place: MessagePlace;
  /** Its number in the queue, or in its priority level: rising, with gaps. */
  readonly position: number;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  readonly properties: PlainProperties;
  /** Headers as plain values; empty when it has none. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** The body, or its beginning. */
  readonly payload: Buffer;
  /** Length of the whole body. */
  readonly payloadBytes: number;
  /** `payload` is not the whole body. */
  readonly truncated: boolean;
  /** When it expires, in milliseconds since the epoch; null for never. */
  readonly expiresAt: number | null;
  /** When its wait for a retry is over, in milliseconds since the epoch; null when it does not wait. */
  readonly dueAt: number | null;
  /** When it was published, in milliseconds since the epoch: known of messages of a stream only. */
  readonly publishedAt: number | null;
  /** Failed deliveries, times it was handed out and came back, and retries: as far as the queue counts them. */
  readonly deliveryCount: number;
  readonly acquiredCount: number;
  readonly retryCount: number;
  /** What its header x-death tells, the newest death first. */
  readonly deaths: readonly Death[];
}

/**
 * The message in its plain form. Shares no memory with anything.
 * @param payloadMax bytes of the body, at most
 */
export function peeked(found: Found, payloadMax: number): PeekedMessage {
  const { message, tries, expiresAt, dueAt } = found;
  const { exchange, routingKey } = message.address;
  const headers = message.headers();
  const body = message.body();
  const payload = Buffer.from(body.length > payloadMax ? body.subarray(0, payloadMax) : body);
  return {
    id: idText(found),
    state: found.state,
    place: found.place,
    position: found.position,
    exchange,
    routingKey,
    redelivered: found.redelivered,
    properties: propertiesOf(message),
    headers: headers === null ? {} : plainOf(headers),
    payload,
    payloadBytes: body.length,
    truncated: payload.length < body.length,
    // What has to go out at once has no time to speak of.
    expiresAt: expiresAt > 0 ? expiresAt : null,
    dueAt: dueAt === 0 ? null : dueAt,
    publishedAt: found.publishedAt,
    deliveryCount: deliveriesOf(tries),
    acquiredCount: acquiredOf(tries),
    retryCount: retriesOf(tries),
    deaths: deathsOf(message),
  };
}

function propertiesOf(message: Message): PlainProperties {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message.properties()))
    if (name !== 'headers' && value !== null) plain[name] = value;
  return plain;
}

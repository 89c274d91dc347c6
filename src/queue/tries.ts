// What a queue remembers of one entry's failures, in 32 bits that the store keeps with it: how often it came back, was handed out and
// was tried again, and why it died when its dead letter still waits for somebody to take it.
// Owns the layout and the headers that consumers read of it. Decides nothing.
//
// Bits: 0 … 10 failed deliveries, 11 … 21 times handed out before, 22 … 29 retries, 30 … 31 reason of death. Counts stop at their largest
// value: a delivery limit beyond DELIVERIES_MAX is never exceeded.

import type { DeathReason } from '../message/death.ts';
import type { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import { withLongHeader } from '../message/splice.ts';
import type { StoredEntry } from '../store/store.ts';

/** Deliveries and handings-out are counted up to here. */
export const DELIVERIES_MAX = 0x7ff;
/** Retries are counted up to here; x-retry-limit allows no more. */
export const RETRIES_MAX = 0xff;

const ACQUIRED = 11;
const RETRIES = 22;
const DEATH = 30;

/** Reasons for which a queue that keeps its dead letters can lose a message; the index is what is stored. */
const DEATHS: readonly (DeathReason | null)[] = [null, 'rejected', 'expired', 'delivery_limit'];

/** Failed deliveries so far (RabbitMQ: x-delivery-count). */
export function deliveriesOf(tries: number): number {
  return tries & DELIVERIES_MAX;
}

/** Times it was handed out and came back (RabbitMQ: x-acquired-count). */
export function acquiredOf(tries: number): number {
  return (tries >>> ACQUIRED) & DELIVERIES_MAX;
}

/** Redeliveries after a back-off so far. */
export function retriesOf(tries: number): number {
  return (tries >>> RETRIES) & RETRIES_MAX;
}

/** Why it died; null for one that lives. */
export function deathOf(tries: number): DeathReason | null {
  return DEATHS[tries >>> DEATH]!;
}

/** A delivery came back. */
export function cameBack(tries: number): number {
  const counted = deliveriesOf(tries) === DELIVERIES_MAX ? tries : tries + 1;
  return handedOut(counted);
}

/** A delivery failed and is to be tried again after its back-off. @param counts the queue counts deliveries too */
export function retried(tries: number, counts: boolean): number {
  const more = retriesOf(tries) === RETRIES_MAX ? tries : (tries + (1 << RETRIES)) >>> 0;
  return counts ? handedOut(more) : more;
}

/** It died, and its dead letter waits. `maxlen` does not occur: a queue that keeps its dead letters drops nothing from its head. */
export function died(tries: number, reason: DeathReason): number {
  const index = Math.max(1, DEATHS.indexOf(reason));
  return ((tries & ((1 << DEATH) - 1)) | (index << DEATH)) >>> 0;
}

/** What is left of it for an entry that is handed out, or whose dead letter goes its way. */
export function living(tries: number): number {
  return tries & ((1 << DEATH) - 1);
}

/** The stored entry stands in no line: it waits for a time, or died and waits. */
export function isHeldBack(stored: StoredEntry): boolean {
  return stored.dueAt !== 0 || stored.tries >>> DEATH !== 0;
}

/** The message as a consumer reads it: with its counts, where there are any. A delivery without them costs one comparison. */
export function deliveredMessage(entry: Entry): Message {
  return entry.tries === 0 ? entry.message : withCounts(entry.message, entry.tries);
}

function withCounts(message: Message, tries: number): Message {
  let shown = message;
  const deliveries = deliveriesOf(tries);
  const acquired = acquiredOf(tries);
  const retries = retriesOf(tries);
  if (deliveries !== 0) shown = withLongHeader(shown, 'x-delivery-count', deliveries);
  if (acquired !== 0) shown = withLongHeader(shown, 'x-acquired-count', acquired);
  if (retries !== 0) shown = withLongHeader(shown, 'x-retry-count', retries);
  return shown;
}

function handedOut(tries: number): number {
  return acquiredOf(tries) === DELIVERIES_MAX ? tries : (tries + (1 << ACQUIRED)) >>> 0;
}

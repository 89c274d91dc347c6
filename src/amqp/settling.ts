// ack, nack, reject and recover: from delivery tags to entries, and what giving an entry back does to credit.

import { BrokerError } from '../base/errors.ts';
import type { Entry } from '../message/entry.ts';
import { NOT_IMPLEMENTED } from '../protocol/constants.ts';
import {
  type BasicAck,
  type BasicNack,
  type BasicReject,
  encodeBasicRecoverOk,
} from '../protocol/methods.ts';
import type { Channel } from './channel.ts';
import { AmqpError } from './errors.ts';
import type { Transaction } from './tx-methods.ts';

/** Deliveries that a multiple ack or a recover took; reused, because acks are many. Empty between two settles. */
const taken: Entry[] = [];

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
    settleEntry(entry, kind);
  } else {
    // Tag 0 means all, and there may be none (AMQP 0-9-1 1.8.3.13).
    if (tag !== 0 && unacked.peek(tag) === null) throw unknownTag(tag);
    if (tag === 0) unacked.takeAll(taken);
    else unacked.takeUpTo(tag, taken);
    try {
      for (let i = 0; i < taken.length; i++) settleEntry(taken[i]!, kind);
    } finally {
      // Whatever went wrong, the next settle must not find these.
      taken.length = 0;
    }
  }
  // One consumer's ack may make room for another under the channel-wide limit.
  if (channel.globalPrefetch !== 0) channel.resumeConsumers();
}

/** RabbitMQ's refusal of a delivery tag that was never given out or is settled. */
export function unknownTag(tag: number): BrokerError {
  return new BrokerError('precondition-failed', `unknown delivery tag ${tag}`);
}

function settleEntry(entry: Entry, kind: SettleKind): void {
  const { owner, holder } = entry;
  // The credit comes back first: a dead letter that a full queue sends to itself may then go out at once.
  if (holder !== null) holder.settled(entry);
  if (kind === 'ack') owner.ack(entry);
  else if (kind === 'requeue') owner.requeue(entry);
  else owner.reject(entry);
}

export function recover(channel: Channel, requeue: boolean, answer: boolean): void {
  if (!requeue) throw new AmqpError(NOT_IMPLEMENTED, 'requeue=false');
  if (channel.tx === null) settleNow(channel, 0, true, 'requeue');
  else recoverUnsettled(channel, channel.tx);
  if (answer) channel.reply((w) => encodeBasicRecoverOk(w, channel.number));
}

/** RabbitMQ: what a transaction has settled stays settled, whether or not it is committed yet. */
function recoverUnsettled(channel: Channel, tx: Transaction): void {
  const { unacked } = channel;
  const end = unacked.nextTag;
  for (let tag = unacked.first(); tag !== 0 && tag < end; tag++) {
    if (unacked.peek(tag) !== null && !tx.isSettled(tag)) settleNow(channel, tag, false, 'requeue');
  }
}

// Classes tx and confirm: the two modes of a channel that exclude each other.
// A transaction keeps publishes (checked and routed when they came) and settles until commit; everything of a commit happens in one
// synchronous run and so in one batch on disk.

import { BrokerError } from '../base/errors.ts';
import {
  type ConfirmSelect,
  encodeConfirmSelectOk,
  encodeTxCommitOk,
  encodeTxRollbackOk,
  encodeTxSelectOk,
} from '../protocol/methods.ts';
import { MUST_COMMIT, type Queue, REJECTED } from '../queue/queue.ts';
import type { Channel } from './channel.ts';
import { Confirms } from './confirms.ts';
import { type Publication, perform } from './publish.ts';
import { type SettleKind, settleNow, unknownTag } from './settling.ts';

interface Settle {
  readonly tag: number;
  readonly multiple: boolean;
  readonly kind: SettleKind;
}

/** What a tx channel has gathered since the last commit or rollback. */
export class Transaction {
  publishes: Publication[] = [];
  /** A commit is on its way to the disk. */
  committing = false;
  private settles: Settle[] = [];
  /** Tags settled one by one in this transaction … */
  private readonly settledTags = new Set<number>();
  /** … and everything outstanding up to here, by a multiple. */
  private settledUpTo = 0;

  /** Notes a settle. The deliveries stay outstanding until commit, but may not be settled twice. @throws BrokerError */
  settle(channel: Channel, tag: number, multiple: boolean, kind: SettleKind): void {
    const all = multiple && tag === 0;
    if (!all && (channel.unacked.peek(tag) === null || this.isSettled(tag))) throw unknownTag(tag);
    this.settles.push({ tag, multiple, kind });
    if (all) this.settledUpTo = channel.unacked.nextTag - 1;
    else if (multiple) this.settledUpTo = Math.max(this.settledUpTo, tag);
    else this.settledTags.add(tag);
    // "All" at commit must mean all of now, not all of then.
    if (all) this.settles[this.settles.length - 1] = { tag: this.settledUpTo, multiple: true, kind };
  }

  get hasSettles(): boolean {
    return this.settles.length !== 0;
  }

  /** Applies the settles in the order in which they came. */
  applySettles(channel: Channel): void {
    for (const { tag, multiple, kind } of this.settles) {
      if (multiple) settleUpTo(channel, tag, kind);
      else if (channel.unacked.peek(tag) !== null) settleNow(channel, tag, false, kind);
    }
  }

  clear(): void {
    this.publishes = [];
    this.settles = [];
    this.settledTags.clear();
    this.settledUpTo = 0;
  }

  /** The delivery was settled in this transaction. */
  isSettled(tag: number): boolean {
    return tag <= this.settledUpTo || this.settledTags.has(tag);
  }
}

/** RabbitMQ: a queue that was deleted since the publish, and declared anew, is the queue of that name. */
function standing(channel: Channel, queues: readonly Queue[]): readonly Queue[] {
  const { vhost } = channel.connection;
  if (!queues.some((queue) => vhost.isGone(queue))) return queues;
  const found: Queue[] = [];
  for (const queue of queues) {
    const now = vhost.isGone(queue) ? vhost.queues.get(queue.name) : queue;
    if (now !== undefined) found.push(now);
  }
  return found;
}

/** A multiple whose own tag may have been settled since by an earlier single one. */
function settleUpTo(channel: Channel, tag: number, kind: SettleKind): void {
  for (let t = channel.unacked.first(); t !== 0 && t <= tag; t = channel.unacked.first())
    settleNow(channel, t, false, kind);
}

export function selectTx(channel: Channel): void {
  if (channel.confirms !== null)
    throw new BrokerError('precondition-failed', 'cannot switch from confirm to tx mode');
  channel.tx ??= new Transaction();
  channel.reply((w) => encodeTxSelectOk(w, channel.number));
}

export function selectConfirm(channel: Channel, m: ConfirmSelect): void {
  if (channel.tx !== null)
    throw new BrokerError('precondition-failed', 'cannot switch from tx to confirm mode');
  channel.confirms ??= new Confirms();
  const { confirms } = channel;
  const begin = (): void => {
    confirms.begin();
    if (confirms.isReady) channel.wantsConfirm();
  };
  if (m.noWait) begin();
  else channel.reply((w) => encodeConfirmSelectOk(w, channel.number), begin);
}

/** @throws BrokerError precondition-failed without tx.select, or when a queue refused a publish of the transaction */
export function commitTx(channel: Channel): void {
  const tx = transactionOf(channel);
  let outcome = 0;
  for (const { message, queues, target } of tx.publishes)
    outcome |= perform(channel, message, standing(channel, queues), target);
  const { shard } = channel.connection.node;
  // Who commits settles does not expect them to wait for company.
  if (tx.hasSettles) shard.hasten();
  tx.applySettles(channel);
  tx.clear();
  if ((outcome & REJECTED) !== 0) throw new BrokerError('precondition-failed', 'partial tx completion');
  tx.committing = true;
  channel.replyAtTicket(
    (outcome & MUST_COMMIT) !== 0 ? shard.ticket : 0,
    (w) => encodeTxCommitOk(w, channel.number),
    () => {
      tx.committing = false;
    },
  );
}

/** Drops publishes and pending settles; deliveries stay unacked and are not redelivered (RabbitMQ). */
export function rollbackTx(channel: Channel): void {
  transactionOf(channel).clear();
  channel.reply((w) => encodeTxRollbackOk(w, channel.number));
}

function transactionOf(channel: Channel): Transaction {
  if (channel.tx === null) throw new BrokerError('precondition-failed', 'channel is not transactional');
  return channel.tx;
}

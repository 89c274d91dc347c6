// One AMQP channel: its states, the one method switch, and what belongs to it: consumers, unacked deliveries, confirms, replies.
// Knows frames of its own number only. What a method does stands in the *-methods.ts files, one AMQP class each.
// Invariant: after `channel.close` was written nothing else goes out on this number until it is opened anew.

import { TagRing } from '../base/tag-ring.ts';
import type { Entry } from '../message/entry.ts';
import { messageFromFrames } from '../message/message.ts';
import {
  ACCESS_REQUEST,
  BASIC_ACK,
  BASIC_CANCEL,
  BASIC_CANCEL_OK,
  BASIC_CONSUME,
  BASIC_GET,
  BASIC_NACK,
  BASIC_PUBLISH,
  BASIC_QOS,
  BASIC_RECOVER,
  BASIC_RECOVER_ASYNC,
  BASIC_REJECT,
  CHANNEL_CLOSE,
  CHANNEL_CLOSE_OK,
  CHANNEL_ERROR,
  CHANNEL_FLOW,
  CHANNEL_OPEN,
  COMMAND_INVALID,
  CONFIRM_SELECT,
  EXCHANGE_BIND,
  EXCHANGE_DECLARE,
  EXCHANGE_DELETE,
  EXCHANGE_UNBIND,
  FRAME_METHOD,
  NOT_IMPLEMENTED,
  PRECONDITION_FAILED,
  QUEUE_BIND,
  QUEUE_DECLARE,
  QUEUE_DELETE,
  QUEUE_PURGE,
  QUEUE_UNBIND,
  TX_COMMIT,
  TX_ROLLBACK,
  TX_SELECT,
} from '../protocol/constants.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';
import {
  decodeAccessRequest,
  decodeBasicAck,
  decodeBasicCancel,
  decodeBasicCancelOk,
  decodeBasicConsume,
  decodeBasicGet,
  decodeBasicNack,
  decodeBasicQos,
  decodeBasicRecover,
  decodeBasicRecoverAsync,
  decodeBasicReject,
  decodeChannelClose,
  decodeChannelFlow,
  decodeConfirmSelect,
  decodeExchangeBind,
  decodeExchangeDeclare,
  decodeExchangeDelete,
  decodeExchangeUnbind,
  decodeQueueBind,
  decodeQueueDeclare,
  decodeQueueDelete,
  decodeQueuePurge,
  decodeQueueUnbind,
  decodeTxCommit,
  decodeTxRollback,
  decodeTxSelect,
  encodeAccessRequestOk,
  encodeBasicCancel,
  encodeChannelClose,
  encodeChannelCloseOk,
  encodeChannelFlowOk,
} from '../protocol/methods.ts';
import type { ReplyQueue } from '../queue/reply-queue.ts';
import type { CommitWaiter } from '../store/commits.ts';
import type { Ticket } from '../store/store.ts';
import {
  ackDeliveries,
  cancel,
  consume,
  get,
  nackDeliveries,
  publish,
  recover,
  rejectDelivery,
  setQos,
} from './basic-methods.ts';
import type { Confirms } from './confirms.ts';
import type { Connection } from './connection.ts';
import type { AmqpConsumer } from './consumer.ts';
import { ContentAssembler } from './content.ts';
import { AmqpError } from './errors.ts';
import { bindExchange, declareExchange, deleteExchange, unbindExchange } from './exchange-methods.ts';
import type { PublishTarget } from './publish-targets.ts';
import { bindQueue, declareQueue, deleteQueue, purgeQueue, unbindQueue } from './queue-methods.ts';
import { Replies, type Slot } from './replies.ts';
import { commitTx, rollbackTx, selectConfirm, selectTx, type Transaction } from './tx-methods.ts';

/** open: in use. closing: we sent channel.close and wait for close-ok. closed: gone, the number is free. */
export type ChannelState = 'open' | 'closing' | 'closed';

const EDGES: Readonly<Record<ChannelState, readonly ChannelState[]>> = {
  open: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
};

/** A channel of a connection. */
export class Channel implements CommitWaiter {
  readonly connection: Connection;
  readonly number: number;
  state: ChannelState = 'open';
  awaitingCommit = false;
  /** Method that is being handled, to blame in an error. */
  method = 0;

  /** Consumers by tag. */
  readonly consumers = new Map<string, AmqpConsumer>();
  /** Deliveries the client has not settled, by delivery tag. */
  readonly unacked = new TagRing<Entry>();
  /** Deliveries held by consumers, as the channel-wide prefetch counts them. */
  consumersUnacked = 0;
  /** Deliveries of basic.get that were outstanding when the channel-wide prefetch was set, and still are. */
  gotBeforeLimit = 0;
  /** Prefetch that the next consumers get (basic.qos global=false); 0 for none. */
  prefetch = 0;
  /** Prefetch of all consumers together (basic.qos global=true); 0 for none. */
  globalPrefetch = 0;
  /** What an empty queue name means; null before the first queue.declare. */
  lastQueue: string | null = null;
  /** Publisher confirms; null before confirm.select. */
  confirms: Confirms | null = null;
  /** Open transaction; null on channels without tx. */
  tx: Transaction | null = null;
  /** Where replies to this channel arrive; null without a reply consumer. */
  replyQueue: ReplyQueue | null = null;

  /** Target of the publish whose content is arriving. */
  private target: PublishTarget | null = null;
  private readonly content: ContentAssembler;
  private readonly replies: Replies;
  /** Stands in the connection's list of channels with something to confirm. */
  confirmsQueued = false;

  constructor(connection: Connection, number: number) {
    this.connection = connection;
    this.number = number;
    this.content = new ContentAssembler(connection.options.messageSizeMax);
    this.replies = new Replies(connection.pool);
  }

  // ── frames ──

  /** One frame of this channel, in `buffer[start, stop)`. @throws AmqpError, BrokerError, DecodeError */
  onFrame(type: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state === 'closing') {
      if (type === FRAME_METHOD) this.onMethodWhileClosing(buffer.readUInt32BE(start));
      return;
    }
    const { content } = this;
    if (type === FRAME_METHOD) {
      const id = buffer.readUInt32BE(start);
      this.method = id;
      if (content.expecting !== 'method') content.unexpectedMethod();
      if (id === BASIC_PUBLISH) {
        this.target = this.connection.targets.find(buffer, start, stop);
        const { reader } = this.connection;
        if (reader.takeContent(this.connection.options.messageSizeMax)) {
          const message = messageFromFrames(
            this.target.address,
            reader.buffer,
            reader.start,
            reader.headerLength,
            reader.bodyLength,
          );
          publish(this, this.target, message);
          this.connection.published();
        } else content.begin();
        return;
      }
      this.onMethod(id, buffer, start + 4, stop);
      return;
    }
    if (content.onFrame(type, buffer, start, stop)) {
      const target = this.target!;
      this.method = BASIC_PUBLISH;
      if (content.tooLarge) this.refuseSize(content.bodyLength);
      publish(this, target, content.take(target.address));
      this.connection.published();
    }
  }

  /** RabbitMQ: a message above the limit is refused when all of it has come. */
  private refuseSize(size: number): never {
    const { messageSizeMax } = this.connection.options;
    this.content.reset();
    throw new AmqpError(
      PRECONDITION_FAILED,
      `message size ${size} is larger than configured max size ${messageSizeMax}`,
    );
  }

  private onMethodWhileClosing(id: number): void {
    // RabbitMQ: everything is swallowed until close-ok; a close that crossed ours is answered.
    if (id === CHANNEL_CLOSE_OK) this.finish();
    else if (id === CHANNEL_CLOSE) this.connection.sendChannelCloseOk(this.number);
  }

  private onMethod(id: number, buffer: Buffer, at: number, stop: number): void {
    const { tx } = this;
    if (tx?.committing) throw new AmqpError(CHANNEL_ERROR, "unexpected command while processing 'tx.commit'");
    switch (id) {
      case BASIC_ACK:
        return ackDeliveries(this, decodeBasicAck(buffer, at, stop));
      case BASIC_NACK:
        return nackDeliveries(this, decodeBasicNack(buffer, at, stop));
      case BASIC_REJECT:
        return rejectDelivery(this, decodeBasicReject(buffer, at, stop));
      case BASIC_GET:
        return get(this, decodeBasicGet(buffer, at, stop));
      case BASIC_CONSUME:
        return consume(this, decodeBasicConsume(buffer, at, stop));
      case BASIC_CANCEL:
        return cancel(this, decodeBasicCancel(buffer, at, stop));
      case BASIC_CANCEL_OK: {
        // RabbitMQ takes it as a cancel without a reply.
        const { consumerTag } = decodeBasicCancelOk(buffer, at, stop);
        return cancel(this, { consumerTag, noWait: true });
      }
      case BASIC_QOS:
        return setQos(this, decodeBasicQos(buffer, at, stop));
      case BASIC_RECOVER:
        return recover(this, decodeBasicRecover(buffer, at, stop).requeue, true);
      case BASIC_RECOVER_ASYNC:
        return recover(this, decodeBasicRecoverAsync(buffer, at, stop).requeue, false);
      case QUEUE_DECLARE:
        return declareQueue(this, decodeQueueDeclare(buffer, at, stop));
      case QUEUE_BIND:
        return bindQueue(this, decodeQueueBind(buffer, at, stop));
      case QUEUE_UNBIND:
        return unbindQueue(this, decodeQueueUnbind(buffer, at, stop));
      case QUEUE_PURGE:
        return purgeQueue(this, decodeQueuePurge(buffer, at, stop));
      case QUEUE_DELETE:
        return deleteQueue(this, decodeQueueDelete(buffer, at, stop));
      case EXCHANGE_DECLARE:
        return declareExchange(this, decodeExchangeDeclare(buffer, at, stop));
      case EXCHANGE_DELETE:
        return deleteExchange(this, decodeExchangeDelete(buffer, at, stop));
      case EXCHANGE_BIND:
        return bindExchange(this, decodeExchangeBind(buffer, at, stop));
      case EXCHANGE_UNBIND:
        return unbindExchange(this, decodeExchangeUnbind(buffer, at, stop));
      case CONFIRM_SELECT:
        return selectConfirm(this, decodeConfirmSelect(buffer, at, stop));
      case TX_SELECT:
        decodeTxSelect(buffer, at, stop);
        return selectTx(this);
      case TX_COMMIT:
        decodeTxCommit(buffer, at, stop);
        return commitTx(this);
      case TX_ROLLBACK:
        decodeTxRollback(buffer, at, stop);
        return rollbackTx(this);
      case CHANNEL_FLOW: {
        const { active } = decodeChannelFlow(buffer, at, stop);
        if (!active) throw new AmqpError(NOT_IMPLEMENTED, 'active=false');
        return this.reply((w) => encodeChannelFlowOk(w, this.number, { active: true }));
      }
      case ACCESS_REQUEST:
        decodeAccessRequest(buffer, at, stop);
        return this.reply((w) => encodeAccessRequestOk(w, this.number, { ticket: 1 }));
      case CHANNEL_CLOSE:
        decodeChannelClose(buffer, at, stop);
        return this.onClose();
      case CHANNEL_OPEN:
        throw new AmqpError(CHANNEL_ERROR, "second 'channel.open' seen");
      default:
        throw new AmqpError(COMMAND_INVALID, 'unimplemented method');
    }
  }

  // ── replies ──

  /** Writes a reply behind those that wait. `sent` is called when it is on its way. */
  reply(encode: (w: FrameWriter) => void, sent: (() => void) | null = null): void {
    this.replyAt(0, encode, sent);
  }

  /** Writes a reply when every definition written so far is on disk. */
  replyAfterCommit(encode: (w: FrameWriter) => void): void {
    this.replyAt(this.connection.node.definitions.lastTicket, encode, null);
  }

  /** Writes a reply when the batch of `ticket` is on disk; `sent` is called when it is on its way. */
  replyAtTicket(ticket: Ticket, encode: (w: FrameWriter) => void, sent: () => void): void {
    this.replyAt(ticket, encode, sent);
  }

  /** Keeps the place of a reply that is not known yet. */
  reserveReply(): Slot {
    const slot = this.replies.reserve();
    return {
      fill: (encode) => {
        slot.fill(encode);
        this.releaseReplies(this.connection.node.shard.durableTicket);
      },
    };
  }

  private replyAt(ticket: Ticket, encode: (w: FrameWriter) => void, sent: (() => void) | null): void {
    const { connection, replies } = this;
    const { node } = connection;
    if (replies.isEmpty && ticket <= node.shard.durableTicket) {
      encode(connection.writer);
      connection.wantsFlush();
      sent?.();
      return;
    }
    replies.add(ticket, encode, sent);
    if (replies.isFull) connection.pauseReading('replies');
    node.commits.await(this);
  }

  private releaseReplies(durable: Ticket): void {
    if (this.replies.isEmpty) return;
    this.replies.release(durable, this.connection.writer);
    if (!this.replies.isFull) this.connection.resumeReading('replies');
    this.connection.wantsFlush();
  }

  // ── commits ──

  committed(upTo: Ticket): boolean {
    if (this.state === 'closed') return false;
    this.releaseReplies(upTo);
    const { confirms } = this;
    if (confirms !== null) {
      confirms.committed(upTo);
      if (confirms.isReady) this.wantsConfirm();
      if (confirms.isWaiting) return true;
    }
    return !this.replies.isEmpty;
  }

  /** Has its connection write confirms at the next flush. */
  wantsConfirm(): void {
    if (!this.confirmsQueued) this.connection.queueConfirms(this);
  }

  /** At the flush: tells the publisher what is settled. */
  writeConfirms(w: FrameWriter): void {
    this.confirmsQueued = false;
    if (this.state === 'open') this.confirms?.write(w, this.number);
  }

  // ── credit ──

  /** The channel-wide prefetch allows one more delivery. */
  hasCredit(): boolean {
    return this.globalPrefetch === 0 || this.consumersUnacked + this.gotBeforeLimit < this.globalPrefetch;
  }

  /** Something that held consumers of this channel back has changed. */
  resumeConsumers(): void {
    for (const consumer of this.consumers.values()) consumer.resume();
    if (this.replyQueue !== null) this.replyQueue.unpark();
  }

  /** The queue of a consumer is gone (RabbitMQ consumer cancel notification). */
  consumerCancelled(consumer: AmqpConsumer): void {
    if (this.consumers.get(consumer.tag) !== consumer) return;
    this.consumers.delete(consumer.tag);
    if (this.state !== 'open' || !this.connection.capabilities.consumerCancelNotify) return;
    this.reply((w) => encodeBasicCancel(w, this.number, { consumerTag: consumer.tag, noWait: true }));
  }

  /** Consumers whose queue the user may not read any more are cancelled (after connection.update-secret). */
  dropUnreadable(): void {
    const { connection } = this;
    for (const consumer of [...this.consumers.values()]) {
      if (connection.node.access.may(connection.username, connection.vhost.name, 'read', consumer.queue.name))
        continue;
      consumer.queue.cancel(consumer);
      this.consumerCancelled(consumer);
    }
  }

  // ── ends ──

  /** A soft error: everything the channel holds goes back, then the client is told. */
  closeWith(error: AmqpError): void {
    this.release();
    const methodId = error.methodId ?? this.method;
    this.become('closing');
    const close = {
      replyCode: error.code,
      replyText: error.replyText,
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    };
    this.reply((w) => encodeChannelClose(w, this.number, close));
  }

  /** The connection ends: everything goes back, nobody is told. */
  terminate(): void {
    if (this.state === 'open') this.release();
    if (this.state !== 'closed') this.become('closed');
    this.replies.clear();
  }

  private onClose(): void {
    this.release();
    // Confirms that are known go out before the close-ok.
    this.confirms?.write(this.connection.writer, this.number);
    // Behind replies that still wait for the disk; the number is free when the close-ok is on its way.
    this.become('closing');
    this.reply(
      (w) => encodeChannelCloseOk(w, this.number),
      () => this.finish(),
    );
  }

  private finish(): void {
    this.become('closed');
    this.replies.clear();
    this.connection.removeChannel(this);
  }

  /** Consumers leave, unacked deliveries go back to their old places, the transaction is rolled back. */
  private release(): void {
    this.content.reset();
    this.tx = null;
    const consumers = [...this.consumers.values()];
    this.consumers.clear();
    const entries: Entry[] = [];
    this.unacked.takeAll(entries);
    // Requeued first: an auto-delete queue that goes with its last consumer takes them along.
    for (let i = 0; i < entries.length; i++) entries[i]!.owner.requeue(entries[i]!);
    for (const consumer of consumers) consumer.queue.cancel(consumer);
    this.dropReplyQueue();
  }

  /** Replies that come from now on find nobody. */
  dropReplyQueue(): void {
    if (this.replyQueue === null) return;
    this.connection.node.replies.delete(this.replyQueue.name);
    this.replyQueue = null;
  }

  private become(next: ChannelState): void {
    if (!EDGES[this.state].includes(next))
      throw new Error(`a channel cannot go from ${this.state} to ${next}`);
    this.state = next;
  }
}

// One AMQP channel: its states, the one method switch, and what belongs to it: consumers, unacked deliveries, confirms, replies.
// Knows frames of its own number only. What a method does stands in the *-methods.ts files, one AMQP class each.
// Invariant: after `channel.close` was written nothing else goes out on this number until it is opened anew.

import { TagRing } from '../base/tag-ring.ts';
import type { Entry, EntryHolder } from '../message/entry.ts';
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
import type { CommitWaiter } from '../store/commits.ts';
import type { Ticket } from '../store/store.ts';
import { cancel, consume, get, getReply, setQos } from './basic-methods.ts';
import type { Confirms } from './confirms.ts';
import type { Connection } from './connection.ts';
import type { AmqpConsumer } from './consumer.ts';
import { ContentAssembler } from './content.ts';
import { AmqpError } from './errors.ts';
import { bindExchange, declareExchange, deleteExchange, unbindExchange } from './exchange-methods.ts';
import { PendingGets } from './pending-gets.ts';
import { publish } from './publish.ts';
import type { PublishTarget } from './publish-targets.ts';
import { bindQueue, declareQueue, deleteQueue, purgeQueue, unbindQueue } from './queue-methods.ts';
import type { Encode, ReplyLine } from './replies.ts';
import { ackDeliveries, nackDeliveries, recover, rejectDelivery } from './settling.ts';
import { commitTx, rollbackTx, selectConfirm, selectTx, type Transaction } from './tx-methods.ts';

/**
 * open: in use. closing: we sent channel.close and wait for close-ok. closed: gone, the number is free. A channel that its client closes
 * is closed at once: the close-ok may still wait on the number's line of replies.
 */
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
  readonly gotBeforeLimit = new GotBeforeLimit();
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
  /** Consumer of this channel's direct replies; null when there is none. */
  replyConsumer: AmqpConsumer | null = null;
  /** Every basic.get that waits for its message; null before the first basic.get. */
  private pendingGets: PendingGets | null = null;

  /** Target of the publish whose content is arriving. */
  private target: PublishTarget | null = null;
  private readonly content: ContentAssembler;
  /** A delivery with a timeout of its own was made, or may be. */
  ownTimeouts = false;
  /** Where replies wait for each other. */
  readonly line: ReplyLine;
  /** Stands in the connection's list of channels with something to confirm. */
  confirmsQueued = false;
  /** Our close crossed one of the client's, which was answered: the client may take the number for free. */
  private crossed = false;

  constructor(connection: Connection, number: number, line: ReplyLine) {
    this.connection = connection;
    this.number = number;
    this.line = line;
    this.content = new ContentAssembler(connection.options.messageSizeMax, connection.node.bodies);
  }

  /** Lowest delivery tag that the client has not settled; 0 when there is none. */
  get oldestUnacked(): number {
    return this.state === 'open' ? this.unacked.first() : 0;
  }

  get nextDeliveryTag(): number {
    return this.unacked.nextTag;
  }

  /** Some of its deliveries may have a timeout of their own (x-consumer-timeout). */
  get hasOwnTimeouts(): boolean {
    if (this.ownTimeouts) return true;
    // A policy may have come after the consumer.
    for (const { ackTimeoutMs } of this.consumers.values())
      if (ackTimeoutMs !== null) this.ownTimeouts = true;
    return this.ownTimeouts;
  }

  ackTimeoutOf(tag: number): number | null | undefined {
    const entry = this.unacked.peek(tag);
    if (entry === null) return undefined;
    return entry.holder?.ackTimeoutMs ?? entry.owner.ackTimeoutMs ?? null;
  }

  // ── frames ──

  /** One frame of this channel, in `buffer[start, stop)`. @throws AmqpError, BrokerError, DecodeError */
  onFrame(type: number, buffer: Buffer, start: number, stop: number): void {
    if (this.state === 'closing') {
      if (type === FRAME_METHOD) this.onMethodWhileClosing(buffer.readUInt32BE(start));
      return;
    }
    const { content, connection } = this;
    if (type === FRAME_METHOD) {
      const id = buffer.readUInt32BE(start);
      this.method = id;
      if (content.expecting !== 'method') content.unexpectedMethod();
      if (id === BASIC_PUBLISH) {
        if (this.tx !== null) this.assertNotCommitting(this.tx);
        this.target = connection.targets.find(buffer, start, stop);
        const { reader } = connection;
        if (reader.takeContent(connection.options.messageSizeMax)) {
          const message = messageFromFrames(
            this.target.address,
            reader.buffer,
            reader.start,
            reader.headerLength,
            reader.bodyLength,
            connection.node.bodies,
            reader.wordsOfContent,
          );
          publish(this, this.target, message);
          connection.brakes.published();
        } else content.begin();
        return;
      }
      this.onMethod(id, buffer, start + 4, stop);
      return;
    }
    const isWhole = content.onFrame(type, buffer, start, stop, connection.reader.ends);
    if (isWhole) {
      const target = this.target!;
      this.method = BASIC_PUBLISH;
      if (content.tooLarge) this.refuseSize(content.bodyLength);
      publish(this, target, content.take(target.address));
    }
    // RabbitMQ: a connection publishes from its first content frame on.
    connection.brakes.published();
  }

  /** Where so many octets of a body frame may be read to; null when nowhere in particular. */
  placeForBody(octets: number): Buffer | null {
    return this.state === 'open' ? this.content.placeFor(octets) : null;
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
    else if (id === CHANNEL_CLOSE) {
      this.crossed = true;
      this.reply((w) => encodeChannelCloseOk(w, this.number));
    } else if (id === CHANNEL_OPEN && this.crossed) {
      // A client that takes the answer to its own close for the end of the channel never answers ours.
      this.finish();
      this.connection.channels.open(this.number);
    }
  }

  /** RabbitMQ: nothing but a close may come while a commit is on its way. @throws AmqpError */
  private assertNotCommitting(tx: Transaction): void {
    if (tx.committing) throw new AmqpError(CHANNEL_ERROR, "unexpected command while processing 'tx.commit'");
  }

  private onMethod(id: number, buffer: Buffer, at: number, stop: number): void {
    if (this.tx !== null && id !== CHANNEL_CLOSE) this.assertNotCommitting(this.tx);
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
  reply(encode: Encode, sent: (() => void) | null = null): void {
    this.line.reply(0, encode, sent);
  }

  /** Writes a reply when every definition written so far is on disk. */
  replyAfterCommit(encode: Encode): void {
    this.line.reply(this.connection.node.definitions.lastTicket, encode, null);
  }

  /** Writes a reply when the batch of `ticket` is on disk; `sent` is called when it is on its way. */
  replyAtTicket(ticket: Ticket, encode: Encode, sent: () => void): void {
    this.line.reply(ticket, encode, sent);
  }

  /** Where a basic.get is answered, now or later. */
  get gets(): PendingGets {
    this.pendingGets ??= new PendingGets(
      this.line,
      (queue, noAck) => getReply(this, queue, noAck),
      (error) => this.connection.failed(error),
    );
    return this.pendingGets;
  }

  // ── commits ──

  committed(upTo: Ticket): boolean {
    const { confirms } = this;
    if (this.state !== 'open' || confirms === null) return false;
    confirms.committed(upTo);
    if (confirms.isReady) this.wantsConfirm();
    return confirms.isWaiting;
  }

  /** Has its connection write confirms at the next flush. */
  wantsConfirm(): void {
    if (!this.confirmsQueued) this.connection.channels.confirmLater(this);
  }

  /** At the flush: tells the publisher what is settled. */
  writeConfirms(w: FrameWriter): void {
    this.confirmsQueued = false;
    if (this.state === 'open') this.confirms?.write(w, this.number);
  }

  // ── credit ──

  /** The channel-wide prefetch allows one more delivery. */
  hasCredit(): boolean {
    const { globalPrefetch } = this;
    return globalPrefetch === 0 || this.consumersUnacked + this.gotBeforeLimit.count < globalPrefetch;
  }

  /** Something that held consumers of this channel back has changed. */
  resumeConsumers(): void {
    for (const consumer of this.consumers.values()) consumer.resume();
    this.replyConsumer?.resume();
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
    // What is settled is told: a publisher sends again what it has no word of.
    this.writeConfirms(this.connection.writer);
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
  }

  private onClose(): void {
    this.release();
    // Confirms that are known go out before the close-ok.
    this.confirms?.write(this.connection.writer, this.number);
    this.reply((w) => encodeChannelCloseOk(w, this.number));
    // RabbitMQ: the number is free at once; a client may open it anew without waiting for the close-ok.
    this.finish();
  }

  private finish(): void {
    this.become('closed');
    this.connection.channels.remove(this);
  }

  /** Consumers leave, unacked deliveries go back to their old places, the transaction is rolled back. */
  private release(): void {
    this.content.reset();
    this.tx = null;
    this.pendingGets?.drop();
    const consumers = [...this.consumers.values()];
    this.consumers.clear();
    const entries: Entry[] = [];
    this.unacked.takeAll(entries);
    // Requeued first: an auto-delete queue that goes with its last consumer takes them along.
    for (let i = 0; i < entries.length; i++) entries[i]!.owner.requeue(entries[i]!);
    for (const consumer of consumers) consumer.queue.cancel(consumer);
    this.dropReplyConsumer();
  }

  /** Replies that come from now on find nobody, and those that wait are not delivered. */
  dropReplyConsumer(): void {
    const consumer = this.replyConsumer;
    if (consumer === null) return;
    this.replyConsumer = null;
    consumer.started = false;
    this.connection.node.replies.delete(consumer.queue.name);
  }

  private become(next: ChannelState): void {
    if (!EDGES[this.state].includes(next))
      throw new Error(`a channel cannot go from ${this.state} to ${next}`);
    this.state = next;
  }
}

/** Counts deliveries of basic.get that take part in a channel-wide prefetch: those that were out when it was set (RabbitMQ). */
export class GotBeforeLimit implements EntryHolder {
  count = 0;

  settled(): void {
    this.count--;
  }
}

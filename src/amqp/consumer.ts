// A consumer of one AMQP channel: credit, and basic.deliver for what its queue hands over.
// Knows its channel and its queue; the queue knows it only as queue.Consumer.

import type { Entry } from '../message/entry.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import type { Consumer, DeclaredQueue, Queue } from '../queue/queue.ts';
import { deliveredMessage } from '../queue/tries.ts';
import type { Channel } from './channel.ts';
import { type DeliveryHead, deliveryHead, writeDelivery } from './delivery.ts';

/** What basic.consume asked for. */
export interface ConsumerRequest {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  readonly arguments: FieldTable;
}

/** One consumer. */
export class AmqpConsumer implements Consumer {
  readonly channel: Channel;
  readonly queue: Queue;
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  readonly arguments: FieldTable;
  /** Unacked deliveries it may hold; 0 for no limit (basic.qos global=false). */
  readonly prefetch: number;
  parked = false;
  /** consume-ok has been sent, and cancel-ok has not: deliveries may follow. */
  started = false;
  /** Deliveries it holds. */
  unacked = 0;
  private readonly head: DeliveryHead;

  constructor(channel: Channel, queue: Queue, request: ConsumerRequest, prefetch: number) {
    this.channel = channel;
    this.queue = queue;
    this.tag = request.tag;
    this.noAck = request.noAck;
    this.exclusive = request.exclusive;
    this.priority = request.priority;
    this.arguments = request.arguments;
    this.prefetch = prefetch;
    this.head = deliveryHead(request.tag);
  }

  /** How long it may hold a delivery, in milliseconds: what it asked for, or what its queue says; null for the broker's setting. */
  get ackTimeoutMs(): number | null {
    const own = this.arguments.get('x-consumer-timeout');
    if (own !== undefined) return Number(own.value);
    return (this.queue as Partial<DeclaredQueue>).options?.consumerTimeoutMs ?? null;
  }

  hasCapacity(): boolean {
    if (!this.started || !this.channel.connection.output.hasRoom()) return false;
    if (this.noAck) return true;
    if (this.prefetch !== 0 && this.unacked >= this.prefetch) return false;
    return this.channel.hasCredit();
  }

  deliver(entry: Entry): void {
    const { channel } = this;
    const { connection } = channel;
    let deliveryTag: number;
    if (this.noAck) {
      // RabbitMQ: a delivery that needs no ack uses up a delivery tag all the same.
      deliveryTag = channel.unacked.skip();
    } else {
      deliveryTag = channel.unacked.add(entry);
      this.unacked++;
      channel.consumersUnacked++;
    }
    writeDelivery(
      connection.writer,
      channel.number,
      this.head,
      deliveryTag,
      entry.redelivered,
      deliveredMessage(entry),
      connection.frameMax,
    );
    connection.wantsFlush();
  }

  settled(): void {
    this.unacked--;
    this.channel.consumersUnacked--;
    if (this.parked && this.hasCapacity()) this.queue.unpark(this);
  }

  /** Something that held it back has changed. */
  resume(): void {
    if (this.parked && this.hasCapacity()) this.queue.unpark(this);
  }

  cancelled(): void {
    this.channel.consumerCancelled(this);
  }
}

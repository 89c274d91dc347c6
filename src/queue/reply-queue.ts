// Direct reply-to: the queue that is no queue. One per requesting channel; replies go straight to its consumer.
// RabbitMQ: nothing is stored, nothing is acknowledged; a reply that comes when the requester is gone is dropped.

import { Deque } from '../base/deque.ts';
import type { Turn } from '../base/turn.ts';
import { Entry } from '../message/entry.ts';
import type { Message } from '../message/message.ts';
import { EMPTY_TABLE } from '../protocol/field-table.ts';
import type { QueueDeclaration } from './declaration.ts';
import { ACCEPTED, type Consumer, type Queue } from './queue.ts';

/** The name clients consume from and put into reply-to. */
export const REPLY_TO = 'amq.rabbitmq.reply-to';
/** What every generated reply name starts with. */
export const REPLY_TO_PREFIX = `${REPLY_TO}.`;
/** Replies that wait for one requester whose socket is full; what comes on top is dropped, as for a requester that is gone. */
export const REPLIES_WAITING_MAX = 10_000;
/** Their bytes; one reply may always wait, whatever its length. */
export const REPLY_BYTES_WAITING_MAX = 16 * 1024 * 1024;

/** Two generated parts: what our own reply names look like, whether their requester lives or not. */
const REPLY_NAME = /^amq\.rabbitmq\.reply-to\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}$/;

/** True for a name that was given to a requester once, or could have been. */
export function isReplyName(name: string): boolean {
  return REPLY_NAME.test(name);
}

/** Where replies to one channel arrive. */
export class ReplyQueue implements Queue {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  routeStamp = 0;
  woken = false;
  private readonly turn: Turn;
  /** Set once, right after construction. */
  private consumer: Consumer | null = null;
  private readonly waiting = new Deque<Entry>();
  /** What the waiting replies take in memory. */
  private waitingBytes = 0;

  constructor(name: string, turn: Turn) {
    this.name = name;
    this.declaration = {
      name,
      durable: false,
      exclusive: true,
      autoDelete: true,
      arguments: EMPTY_TABLE,
      owner: null,
    };
    this.turn = turn;
  }

  get messageCount(): number {
    return 0;
  }

  get consumerCount(): number {
    return 1;
  }

  publish(message: Message): number {
    if (this.consumer === null || this.isFullFor(message)) return ACCEPTED;
    this.waiting.push(new Entry(this, message, 0));
    this.waitingBytes += message.footprint;
    if (!this.woken) this.turn.wake(this);
    return ACCEPTED;
  }

  /** Tag of the requester's consumer. */
  get consumerTag(): string {
    return this.consumer?.tag ?? '';
  }

  consume(consumer: Consumer): void {
    this.consumer = consumer;
  }

  runTurn(): void {
    const { consumer } = this;
    if (consumer === null) return;
    while (consumer.hasCapacity()) {
      const entry = this.waiting.shift();
      if (entry === null) return;
      this.waitingBytes -= entry.message.footprint;
      consumer.deliver(entry);
    }
    consumer.parked = this.waiting.length !== 0;
  }

  unpark(): void {
    if (this.consumer !== null) this.consumer.parked = false;
    if (!this.woken) this.turn.wake(this);
  }

  get(): Entry | null {
    return null;
  }

  purge(): number {
    return 0;
  }

  /** The requester is gone: what waits for it is dropped, and what still comes. */
  cancel(): void {
    this.consumer = null;
    this.waiting.clear();
    this.waitingBytes = 0;
  }

  private isFullFor(message: Message): boolean {
    if (this.waiting.length === 0) return false;
    return (
      this.waiting.length >= REPLIES_WAITING_MAX ||
      this.waitingBytes + message.footprint > REPLY_BYTES_WAITING_MAX
    );
  }

  // A reply consumer never acknowledges: these have nothing to do.
  ack(): void {}
  requeue(): void {}
  reject(): void {}
}

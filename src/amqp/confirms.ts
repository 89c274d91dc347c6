// Which publishes of a channel in confirm mode are settled, and what to tell the publisher.
// Owns publish numbers and the batches they wait for. Confirms go out in publish order, so that a publish is one comparison and a
// whole batch is one basic.ack multiple. A publish that needs no commit is confirmed at the next flush, unless an earlier one waits.
// Invariant: lastSent <= settled < next; `waiting` holds rising numbers and rising tickets.

import { Deque } from '../base/deque.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';
import { encodeBasicAck, encodeBasicNack } from '../protocol/methods.ts';
import type { Ticket } from '../store/store.ts';

/** All publishes up to a number that wait for one batch. */
interface Run {
  readonly ticket: Ticket;
  upTo: number;
}

/** Publisher confirms of one channel. */
export class Confirms {
  /** Number of the next publish. */
  private next = 1;
  /** Everything up to here may be told. */
  private settled = 0;
  /** Everything up to here was told. */
  private lastSent = 0;
  private readonly waiting = new Deque<Run>();
  /** Numbers that are refused, rising; mostly empty. */
  private readonly refused = new Deque<number>();
  /** The client knows that the channel is in confirm mode: it may be told. */
  private begun = false;

  /** Publishes not told about yet. */
  get unconfirmed(): number {
    return this.next - 1 - this.lastSent;
  }

  /** Something waits for a batch. */
  get isWaiting(): boolean {
    return this.waiting.length !== 0;
  }

  /** Something can be told. */
  get isReady(): boolean {
    return this.begun && this.settled > this.lastSent;
  }

  /** confirm.select-ok is on its way: confirms may follow it. */
  begin(): void {
    this.begun = true;
  }

  /** A publish that is safe already, or as soon as the ones before it are. */
  accept(): void {
    const number = this.next++;
    const last = this.waiting.peekBack();
    if (last === null) this.settled = number;
    else last.upTo = number;
  }

  /** A publish that is safe when the batch of `ticket` is on disk. */
  acceptAt(ticket: Ticket): void {
    const number = this.next++;
    const last = this.waiting.peekBack();
    if (last !== null && last.ticket === ticket) last.upTo = number;
    else this.waiting.push({ ticket, upTo: number });
  }

  /** A publish that a queue refused: it gets a nack. */
  refuse(): void {
    this.refused.push(this.next);
    this.accept();
  }

  committed(upTo: Ticket): void {
    for (
      let run = this.waiting.peekFront();
      run !== null && run.ticket <= upTo;
      run = this.waiting.peekFront()
    ) {
      this.settled = run.upTo;
      this.waiting.shift();
    }
  }

  /** Tells what can be told: one ack for each stretch between refusals. */
  write(w: FrameWriter, channel: number): void {
    if (!this.begun) return;
    for (
      let number = this.refused.peekFront();
      number !== null && number <= this.settled;
      number = this.refused.peekFront()
    ) {
      this.refused.shift();
      this.ackUpTo(w, channel, number - 1);
      encodeBasicNack(w, channel, { deliveryTag: number, multiple: false, requeue: false });
      this.lastSent = number;
    }
    this.ackUpTo(w, channel, this.settled);
  }

  private ackUpTo(w: FrameWriter, channel: number, number: number): void {
    if (number <= this.lastSent) return;
    // RabbitMQ: a single confirm is sent without `multiple`.
    encodeBasicAck(w, channel, { deliveryTag: number, multiple: number - this.lastSent > 1 });
    this.lastSent = number;
  }
}

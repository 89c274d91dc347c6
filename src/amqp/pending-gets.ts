// Every basic.get of a channel that cannot be answered at once: its message has to be fetched from the store, or replies before it wait.
// Owns their order. A message is taken, and gets its delivery tag, at the moment when its get-ok is written: so tags rise on the wire,
// and messages keep their order, whatever was held up.

import type { DeclaredQueue } from '../queue/queue.ts';
import type { Encode, ReplyLine, Slot } from './replies.ts';

interface PendingGet {
  readonly queue: DeclaredQueue;
  readonly noAck: boolean;
  readonly slot: Slot;
}

/** The waiting gets of one channel. */
export class PendingGets {
  private readonly waiting: PendingGet[] = [];
  private readonly line: ReplyLine;
  private readonly take: (queue: DeclaredQueue, noAck: boolean) => Encode;
  private readonly failed: (error: unknown) => void;
  /** Bound once: queues keep it until they are ready. */
  private readonly serveBound = (): void => this.serve();

  /**
   * @param take takes the next message of a queue and says how it is answered
   * @param failed told what went wrong while a queue served us, so that the queue's other callers are served all the same
   */
  constructor(
    line: ReplyLine,
    take: (queue: DeclaredQueue, noAck: boolean) => Encode,
    failed: (error: unknown) => void,
  ) {
    this.line = line;
    this.take = take;
    this.failed = failed;
  }

  /** Answers now or as soon as it can be. */
  get(queue: DeclaredQueue, noAck: boolean): void {
    if (this.line.isEmpty && queue.whenReady(this.serveBound))
      this.line.reply(0, this.take(queue, noAck), null);
    else this.waiting.push({ queue, noAck, slot: this.line.reserve(this.serveBound) });
  }

  /** The channel ends: none of them is answered, and what waits behind them may go. */
  drop(): void {
    for (const { slot } of this.waiting.splice(0)) slot.drop();
  }

  /** Everything before the first of them is out, or its queue is ready now. */
  private serve(): void {
    const first = this.waiting[0];
    try {
      if (first === undefined || !first.queue.whenReady(this.serveBound)) return;
      this.waiting.shift();
      first.slot.fill(this.take(first.queue, first.noAck));
    } catch (error) {
      this.failed(error);
    }
  }
}

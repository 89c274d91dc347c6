// Every basic.get of a channel whose message has to be fetched from the store first.
// Owns their order: one that came later never takes its message earlier, so that delivery tags rise and messages keep their order.

import type { ClassicQueue } from '../queue/classic-queue.ts';
import type { Encode, Slot } from './replies.ts';

interface PendingGet {
  readonly queue: ClassicQueue;
  readonly noAck: boolean;
  readonly slot: Slot;
}

/** The waiting gets of one channel. */
export class PendingGets {
  private readonly line: PendingGet[] = [];
  private readonly take: (queue: ClassicQueue, noAck: boolean) => Encode;
  private readonly failed: (error: unknown) => void;
  /** Bound once: queues keep it until they are ready. */
  private readonly ready = (): void => this.serve();
  /** The first one has asked its queue, which will call. */
  private asked = false;

  /**
   * @param take takes the next message of a queue and says how it is answered
   * @param failed told what went wrong while a queue served us, so that the queue's other callers are served all the same
   */
  constructor(take: (queue: ClassicQueue, noAck: boolean) => Encode, failed: (error: unknown) => void) {
    this.take = take;
    this.failed = failed;
  }

  get isEmpty(): boolean {
    return this.line.length === 0;
  }

  /** True when a get of this queue may be answered at once; otherwise the queue was asked to call. Add it then. */
  mayTake(queue: ClassicQueue): boolean {
    if (this.line.length !== 0) return false;
    if (queue.whenReady(this.ready)) return true;
    this.asked = true;
    return false;
  }

  add(queue: ClassicQueue, noAck: boolean, slot: Slot): void {
    this.line.push({ queue, noAck, slot });
  }

  /** The channel ends: none of them is answered, and what waits behind them may go. */
  drop(): void {
    for (const { slot } of this.line.splice(0)) slot.drop();
  }

  private serve(): void {
    this.asked = false;
    try {
      for (let first = this.line[0]; first !== undefined && !this.asked; first = this.line[0]) {
        if (!first.queue.whenReady(this.ready)) {
          this.asked = true;
          return;
        }
        this.line.shift();
        first.slot.fill(this.take(first.queue, first.noAck));
      }
    } catch (error) {
      this.failed(error);
    }
  }
}

// Whether a queue has room for a message, and what goes when it has not: the limits of its length and its bytes (x-max-length, x-max-length-bytes,
// x-overflow), and of the memory that its messages may take. Knows no consumers: deliveries that decide over it, the queue makes.

import type { Message } from '../message/message.ts';
import type { Deaths } from './deaths.ts';
import type { Line } from './line.ts';
import type { Ordering } from './ordering.ts';
import type { QueueContext } from './queue-context.ts';
import type { QueueLines } from './queue-lines.ts';
import type { QueueOptions } from './queue-options.ts';

/** The queue, as far as its room needs it. */
export interface RoomHost {
  readonly options: QueueOptions;
  readonly messageCount: number;
  /** Who holds which ordering key; null in a queue without them. */
  readonly ordering: Ordering | null;
  /**
   * Somebody can take the next message at once and nothing stands before it: it is spared the way over the disk, however large it is.
   * One at a time, so that what a queue holds beyond its share is one message.
   */
  readonly isAwaited: boolean;
  /** Hands out what consumers can take, so many at most. */
  deliver(budget: number): void;
  wake(): void;
}

/** The room of one queue. */
export class Room {
  private readonly queue: RoomHost;
  private readonly lines: QueueLines;
  private readonly deaths: Deaths;
  private readonly context: QueueContext;

  constructor(queue: RoomHost, lines: QueueLines, deaths: Deaths, context: QueueContext) {
    this.queue = queue;
    this.lines = lines;
    this.deaths = deaths;
    this.context = context;
  }

  /**
   * The queue has no room for the message and drops nothing for it.
   * RabbitMQ hands out at once what a consumer can take, so only what is left over counts as length. Here the turn delivers; but when
   * that decides over a refusal, the turn's deliveries are made early.
   */
  refuses(message: Message): boolean {
    const { queue } = this;
    if (queue.options.overflow === 'drop-head' || !this.wouldBeTooLong(message)) return false;
    if (queue.messageCount === 0) return true;
    queue.deliver(queue.messageCount);
    return this.wouldBeTooLong(message);
  }

  /** The message has no place in memory, not even when what consumers can take is out. */
  mustPage(line: Line, message: Message): boolean {
    if (!line.isFullFor(message)) return false;
    const { queue } = this;
    queue.deliver(queue.messageCount);
    return line.isFullFor(message) && !queue.isAwaited;
  }

  /**
   * Drops from the head until the queue is within its limits. Cold entries have to come back first; their arrival goes on with it.
   * What is more than a turn's work goes in the turns after it.
   */
  dropHead(): void {
    const { queue, lines, deaths } = this;
    if (queue.options.overflow !== 'drop-head') return;
    for (let budget = this.context.deliveriesPerTurn; this.isTooLong; budget--) {
      if (deaths.isTurnOver(budget)) return queue.wake();
      // RabbitMQ: of a queue with priorities, the head of the highest one goes.
      const line = lines.top;
      const front = line.peek();
      const entry = queue.ordering === null ? front : queue.ordering.oldest(front);
      // Something parked in a lower line has its turn after what is cold in this one.
      if (entry === null || (entry.owner as Line).level < line.level) return line.pager.bringBack();
      if (entry === front) line.shift();
      else (entry.owner as Line).take(entry);
      deaths.bury(entry, 'maxlen');
    }
  }

  // RabbitMQ counts ready messages and their body bytes, and what a quorum queue holds back.

  /** The queue is beyond its limits. */
  private get isTooLong(): boolean {
    const { lines } = this;
    const { lengthMax, bytesMax } = this.queue.options;
    return (
      lines.messageCount + lines.heldCount > lengthMax || lines.messageBytes + lines.heldBytes > bytesMax
    );
  }

  /** The message would bring the queue beyond its limits. */
  private wouldBeTooLong(message: Message): boolean {
    const { lines } = this;
    const { lengthMax, bytesMax } = this.queue.options;
    return (
      lines.messageCount + lines.heldCount + 1 > lengthMax ||
      lines.messageBytes + lines.heldBytes + message.bodyLength > bytesMax
    );
  }
}

// Deliveries that failed: whether a message may be delivered once more, and how long it waits for that.
// Owns the count of deliveries that came back, the delivery limit, and both kinds of back-off: after a requeue and after a reject. Knows
// no consumers. How the counts are kept, tries.ts says; where a message waits, held-back.ts; what becomes of the dead, deaths.ts.
//
// Invariant: an entry that is taken here waits or is buried; one that is not goes where its queue puts it.

import type { Entry } from '../message/entry.ts';
import type { Deaths } from './deaths.ts';
import type { Line } from './line.ts';
import type { Ordering } from './ordering.ts';
import type { QueueContext } from './queue-context.ts';
import type { QueueOptions, RetryOptions } from './queue-options.ts';
import { cameBack, deliveriesOf, retried, retriesOf } from './tries.ts';

/** The queue, as far as failed deliveries need it. */
export interface RetriesHost {
  readonly options: QueueOptions;
  /** Who holds which ordering key; null in a queue without them. */
  readonly ordering: Ordering | null;
}

/** Failed deliveries of one queue. */
export class Retries {
  private readonly queue: RetriesHost;
  private readonly deaths: Deaths;
  private readonly context: QueueContext;

  constructor(queue: RetriesHost, deaths: Deaths, context: QueueContext) {
    this.queue = queue;
    this.deaths = deaths;
    this.context = context;
  }

  /**
   * A delivery came back, and is counted where the queue counts them.
   * @returns true when the entry has no place among those that wait for a consumer: it came back too often, or waits for a time first
   */
  countReturn(line: Line, entry: Entry): boolean {
    const { options } = this.queue;
    if (!countsDeliveries(options)) return false;
    entry.tries = cameBack(entry.tries);
    // RabbitMQ: the count has to exceed the limit.
    if (deliveriesOf(entry.tries) > options.deliveryLimit) {
      this.deaths.bury(entry, 'delivery_limit');
      return true;
    }
    const { returnDelay } = options;
    if (returnDelay !== null) {
      const waitMs = Math.min(returnDelay.minMs * deliveriesOf(entry.tries), returnDelay.maxMs);
      this.wait(line, entry, entry.tries, waitMs);
      return true;
    }
    if (entry.durable) line.log.returned(entry.position, entry.tries, 0);
    return false;
  }

  /** A delivery was rejected. @returns true when it waits for its next one; false when it has no retries, or had them all */
  tryAgain(line: Line, entry: Entry): boolean {
    const { options } = this.queue;
    const { retry } = options;
    if (retry === null) return false;
    const done = retriesOf(entry.tries);
    if (done >= retry.limit) return false;
    this.wait(line, entry, retried(entry.tries, countsDeliveries(options)), backOffMs(retry, done));
    return true;
  }

  private wait(line: Line, entry: Entry, tries: number, waitMs: number): void {
    const { ordering } = this.queue;
    line.heldBack().wait(entry, tries, this.context.clock.now() + waitMs, ordering !== null);
    ordering?.awaitsRetry(entry);
  }
}

/** Failed deliveries are counted, and consumers told of them. */
function countsDeliveries(options: QueueOptions): boolean {
  return options.type === 'quorum' || options.deliveryLimit !== Number.POSITIVE_INFINITY;
}

/** How long a message waits after a failure, in milliseconds. @param done retries it had */
function backOffMs(retry: RetryOptions, done: number): number {
  const { delayMs, multiplier, delayMaxMs } = retry;
  return delayMs === 0 ? 0 : Math.ceil(Math.min(delayMaxMs, delayMs * multiplier ** done));
}

// Length and byte limits of a queue (x-max-length, x-max-length-bytes, x-overflow).
// Owns when a queue is too long. What is done about it, the queue does: it alone can take entries out.

import type { Message } from '../message/message.ts';
import type { QueueOptions } from './queue-options.ts';

/** RabbitMQ counts ready messages and their body bytes, and what a quorum queue holds back. */
export interface Measured {
  readonly messageCount: number;
  readonly messageBytes: number;
  /** Messages that wait for a retry or for somebody to take their dead letter, and their body bytes. */
  readonly heldCount: number;
  readonly heldBytes: number;
}

/** The queue is beyond its limits: what is at its head has to go (drop-head). */
export function isTooLong(queue: Measured, options: QueueOptions): boolean {
  return (
    queue.messageCount + queue.heldCount > options.lengthMax ||
    queue.messageBytes + queue.heldBytes > options.bytesMax
  );
}

/** The message would bring the queue beyond its limits: it has to be refused (reject-publish, reject-publish-dlx). */
export function wouldBeTooLong(queue: Measured, message: Message, options: QueueOptions): boolean {
  return (
    queue.messageCount + queue.heldCount + 1 > options.lengthMax ||
    queue.messageBytes + queue.heldBytes + message.bodyLength > options.bytesMax
  );
}

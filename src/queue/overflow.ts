// Length and byte limits of a queue (x-max-length, x-max-length-bytes, x-overflow).
// Owns when a queue is too long. What is done about it, the queue does: it alone can take entries out.

import type { Message } from '../message/message.ts';
import type { QueueOptions } from './queue-options.ts';

/** RabbitMQ counts ready messages and their body bytes. */
export interface Measured {
  readonly messageCount: number;
  readonly messageBytes: number;
}

/** The queue is beyond its limits: what is at its head has to go (drop-head). */
export function isTooLong(queue: Measured, options: QueueOptions): boolean {
  return queue.messageCount > options.lengthMax || queue.messageBytes > options.bytesMax;
}

/** The message would bring the queue beyond its limits: it has to be refused (reject-publish, reject-publish-dlx). */
export function wouldBeTooLong(queue: Measured, message: Message, options: QueueOptions): boolean {
  return (
    queue.messageCount + 1 > options.lengthMax || queue.messageBytes + message.bodyLength > options.bytesMax
  );
}

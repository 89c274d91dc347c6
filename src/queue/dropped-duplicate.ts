// Where a message goes that is like one before it: nowhere. What its publisher is told, it is told of the one before.
// Owns nothing.

import type { Message } from '../message/message.ts';
import { PublishOnly } from './publish-only.ts';
import { ACCEPTED, MUST_COMMIT } from './queue.ts';
import type { QueueContext } from './queue-context.ts';

/** Takes duplicates. */
export class DroppedDuplicate extends PublishOnly {
  private readonly context: QueueContext;

  constructor(context: QueueContext) {
    super('\0duplicates', false);
    this.context = context;
  }

  publish(message: Message): number {
    return message.persistent ? afterTheFirst(this.context) : ACCEPTED;
  }
}

/**
 * A duplicate is confirmed no sooner than the message that it is one of: that may be in the open batch, or on its way to the disk.
 * @returns what a queue's publish returns
 */
export function afterTheFirst({ shard, turn }: QueueContext): number {
  shard.hasten();
  turn.request();
  return MUST_COMMIT;
}

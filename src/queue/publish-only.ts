// What a route may lead to beside queues: something that takes messages and gives none.
// Owns the answers to everything that only a queue can do. A route that leads to nothing else has found no queue.

import type { Entry } from '../message/entry.ts';
import { EMPTY_TABLE } from '../protocol/field-table.ts';
import type { QueueDeclaration } from './declaration.ts';
import type { Queue } from './queue.ts';

/** A destination without consumers. */
export abstract class PublishOnly implements Queue {
  readonly name: string;
  readonly declaration: QueueDeclaration;
  routeStamp = 0;
  woken = false;

  /** @param name for people; no client's queue may have it, for names of queues stand in the history of dead messages */
  constructor(name: string, durable: boolean) {
    this.name = name;
    this.declaration = {
      name,
      durable,
      exclusive: false,
      autoDelete: false,
      arguments: EMPTY_TABLE,
      owner: null,
    };
  }

  abstract publish(message: Parameters<Queue['publish']>[0]): number;

  get messageCount(): number {
    return 0;
  }

  get consumerCount(): number {
    return 0;
  }

  get(): Entry | null {
    return null;
  }

  purge(): number {
    return 0;
  }

  consume(): void {}
  cancel(): void {}
  unpark(): void {}
  ack(): void {}
  requeue(): void {}
  reject(): void {}
  runTurn(): void {}
}

/** The route leads to no queue: whoever insists on one gets the message back. */
export function reachesNoQueue(queues: readonly Queue[]): boolean {
  for (let i = 0; i < queues.length; i++) if (!(queues[i]! instanceof PublishOnly)) return false;
  return true;
}

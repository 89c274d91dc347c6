// What people are told about a queue: plain values, the same for every door.
// Owns that form. Changes nothing.

import { plainOf } from '../protocol/field-table.ts';
import type { DeclaredQueue, QueueCounters } from '../queue/queue.ts';
import type { QueueType } from '../queue/queue-options.ts';
import type { VHost } from './vhost.ts';

/** One queue and what is in it. */
export interface QueueInfo {
  readonly vhost: string;
  readonly name: string;
  readonly type: QueueType;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  /** The arguments it was declared with, as plain values. */
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Messages that may be delivered. */
  readonly ready: number;
  /** Those of them that wait for their ordering key. */
  readonly parked: number;
  /** Those of them that are only in the store. */
  readonly pagedOut: number;
  /** Messages in the hands of consumers, or of a basic.get. */
  readonly unacked: number;
  /** Messages that wait for a retry. */
  readonly retrying: number;
  /** Dead letters that wait for a queue that takes them. */
  readonly deadWaiting: number;
  /** Body bytes of the ready messages. */
  readonly readyBytes: number;
  /** Memory that its messages take, in bytes. */
  readonly memoryBytes: number;
  readonly consumers: number;
  /** Somebody has stopped its deliveries. */
  readonly paused: boolean;
  /** Names of the policies in force on it; null for none. */
  readonly policy: string | null;
  readonly operatorPolicy: string | null;
  /** What these say together. */
  readonly policyDefinition: Readonly<Record<string, string | number>>;
  /** How often what was done since the broker has started. */
  readonly counters: Readonly<QueueCounters>;
}

/** The facts of a queue as they are now. */
export function queueInfo(vhost: VHost, queue: DeclaredQueue): QueueInfo {
  queue.catchUp();
  const { declaration, options } = queue;
  const { policy, operatorPolicy, definition } = vhost.policies.facts(queue.name);
  return {
    vhost: vhost.name,
    name: queue.name,
    type: options.type,
    durable: queue.durable,
    exclusive: declaration.exclusive,
    autoDelete: declaration.autoDelete,
    arguments: plainOf(declaration.arguments),
    ready: queue.messageCount,
    parked: queue.contents().parkedCount,
    pagedOut: queue.pagedOutCount,
    unacked: queue.unackedCount,
    retrying: queue.waitingCount,
    deadWaiting: queue.deadWaitingCount,
    readyBytes: queue.messageBytes,
    memoryBytes: queue.memoryBytes,
    consumers: queue.consumerCount,
    paused: queue.paused,
    policy,
    operatorPolicy,
    policyDefinition: definition,
    counters: { ...queue.counters },
  };
}

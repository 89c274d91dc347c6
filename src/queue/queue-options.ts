// What a queue's arguments and the policies on it ask of it, as numbers and names rather than as tables.
// Owns the reading of arguments that were checked already (declaration.ts). What of several sources wins: queue-policy rules below.

import type { FieldTable } from '../protocol/field-table.ts';

/** x-queue-type. */
export type QueueType = 'classic' | 'quorum' | 'stream';
/** What happens to a publish that would make the queue too long. */
export type Overflow = 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
/** What happens to a dead letter that no queue takes: dropped, or kept until one does. */
export type DeadLetterStrategy = 'at-most-once' | 'at-least-once';

/** Redelivery after a back-off (x-retry-limit, x-retry-delay, x-retry-multiplier, x-retry-delay-max). */
export interface RetryOptions {
  /** Redeliveries before the message is dead-lettered. */
  readonly limit: number;
  /** Wait before the first one, in milliseconds. */
  readonly delayMs: number;
  /** What the wait is multiplied with from one to the next. */
  readonly multiplier: number;
  /** Longest wait, in milliseconds. */
  readonly delayMaxMs: number;
}

/** Frozen options of one queue. Infinity where there is no limit, null where there is none at all. */
export interface QueueOptions {
  readonly type: QueueType;
  /** Ready messages (x-max-length). */
  readonly lengthMax: number;
  /** Body bytes of ready messages (x-max-length-bytes). */
  readonly bytesMax: number;
  readonly overflow: Overflow;
  /** Time to live of every message, in milliseconds (x-message-ttl). */
  readonly messageTtlMs: number;
  /** The queue goes when it was not used for so many milliseconds (x-expires). */
  readonly expiresMs: number;
  /** Name of the exchange that dead messages go to (x-dead-letter-exchange). */
  readonly deadLetterExchange: string | null;
  readonly deadLetterRoutingKey: string | null;
  readonly deadLetterStrategy: DeadLetterStrategy;
  readonly singleActiveConsumer: boolean;
  /** Highest priority that is told apart (x-max-priority); 0 for a queue without priorities. */
  readonly priorityMax: number;
  /** Failed deliveries of one message before it is dead-lettered (x-delivery-limit). */
  readonly deliveryLimit: number;
  /** How long a delivery may stay unacked, in milliseconds (x-consumer-timeout); null for the broker's setting. */
  readonly consumerTimeoutMs: number | null;
  readonly retry: RetryOptions | null;
  /** Header whose equal values are never in two consumers' hands at once (x-ordering-key). */
  readonly orderingKey: string | null;
  /** It has a limit of length or bytes. */
  readonly bounded: boolean;
}

/** Keys of the policies that apply to a queue, merged to one value each. */
export type PolicyKeys = ReadonlyMap<string, string | number>;

export const NO_POLICY: PolicyKeys = new Map();

/** RabbitMQ 4: failed deliveries of a message in a quorum queue that does not say otherwise. */
const QUORUM_DELIVERY_LIMIT = 20;
const RETRY_DELAY_MS = 1_000;
const RETRY_MULTIPLIER = 2;
const RETRY_DELAY_MAX_MS = 3_600_000;

/** Options from a queue's declared arguments and the policy keys that apply to it. */
export function queueOptions(args: FieldTable, _policy: PolicyKeys = NO_POLICY): QueueOptions {
  const type = (textOf(args, 'x-queue-type') as QueueType | null) ?? 'classic';
  const lengthMax = numberOf(args, 'x-max-length');
  const bytesMax = numberOf(args, 'x-max-length-bytes');
  const consumerTimeoutMs = numberOf(args, 'x-consumer-timeout');
  return Object.freeze({
    type,
    lengthMax,
    bytesMax,
    bounded: lengthMax !== Number.POSITIVE_INFINITY || bytesMax !== Number.POSITIVE_INFINITY,
    overflow: (textOf(args, 'x-overflow') as Overflow | null) ?? 'drop-head',
    messageTtlMs: numberOf(args, 'x-message-ttl'),
    expiresMs: numberOf(args, 'x-expires'),
    deadLetterExchange: textOf(args, 'x-dead-letter-exchange'),
    deadLetterRoutingKey: textOf(args, 'x-dead-letter-routing-key'),
    deadLetterStrategy:
      (textOf(args, 'x-dead-letter-strategy') as DeadLetterStrategy | null) ?? 'at-most-once',
    singleActiveConsumer: args.get('x-single-active-consumer')?.value === true,
    priorityMax: Number(args.get('x-max-priority')?.value ?? 0),
    deliveryLimit: deliveryLimitOf(args, type),
    consumerTimeoutMs: consumerTimeoutMs === Number.POSITIVE_INFINITY ? null : consumerTimeoutMs,
    retry: retryOf(args),
    orderingKey: textOf(args, 'x-ordering-key'),
  });
}

/** RabbitMQ: a negative limit is none. */
function deliveryLimitOf(args: FieldTable, type: QueueType): number {
  const value = args.get('x-delivery-limit');
  if (value === undefined) return type === 'quorum' ? QUORUM_DELIVERY_LIMIT : Number.POSITIVE_INFINITY;
  const limit = Number(value.value);
  return limit < 0 ? Number.POSITIVE_INFINITY : limit;
}

function retryOf(args: FieldTable): RetryOptions | null {
  const limit = args.get('x-retry-limit');
  if (limit === undefined) return null;
  return {
    limit: Number(limit.value),
    delayMs: Number(args.get('x-retry-delay')?.value ?? RETRY_DELAY_MS),
    multiplier: Number(args.get('x-retry-multiplier')?.value ?? RETRY_MULTIPLIER),
    delayMaxMs: Number(args.get('x-retry-delay-max')?.value ?? RETRY_DELAY_MAX_MS),
  };
}

function numberOf(args: FieldTable, key: string): number {
  const value = args.get(key);
  return value === undefined ? Number.POSITIVE_INFINITY : Number(value.value);
}

function textOf(args: FieldTable, key: string): string | null {
  const value = args.get(key)?.value;
  return typeof value === 'string' ? value : null;
}

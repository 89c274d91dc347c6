// What a queue's arguments and the policies on it ask of it, as numbers and names rather than as tables.
// Owns the reading of arguments that were checked already (declaration.ts), and which of argument and policy holds: every option names
// its rule. Not available by policy (RabbitMQ): type, priorities, single active consumer.

import { DEDUPLICATION_HEADER } from '../message/deduplication.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import { ageMs } from './stream-age.ts';
import { RETRIES_MAX } from './tries.ts';

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

/** Messages that are like one before are dropped (x-message-deduplication). */
export interface DeduplicationOptions {
  /** Header by which they are compared (x-deduplication-header). */
  readonly header: string;
  /** Messages that are remembered (x-cache-size). */
  readonly sizeMax: number;
  /** For how long, in milliseconds (x-cache-ttl). */
  readonly ttlMs: number;
  /** They are remembered when they have left the queue too. */
  readonly afterwards: boolean;
}

/** The wait after a delivery that came back: as often the first as it came back, up to the longest. In milliseconds. */
export interface ReturnDelay {
  readonly minMs: number;
  readonly maxMs: number;
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
  /** Wait before what came back is delivered again (x-delayed-retry-type, -min, -max); null for none. */
  readonly returnDelay: ReturnDelay | null;
  /** Header whose equal values are never in two consumers' hands at once (x-ordering-key). */
  readonly orderingKey: string | null;
  /** Null where messages may be alike. */
  readonly deduplication: DeduplicationOptions | null;
  /** How long a stream keeps its messages, in milliseconds (x-max-age). */
  readonly maxAgeMs: number;
  /** Bytes of one segment of a stream (x-stream-max-segment-size-bytes). */
  readonly segmentBytesMax: number;
  /** It has a limit of length or bytes. */
  readonly bounded: boolean;
}

/** Keys of the policies that apply to a queue, merged to one value each (src/policy/). Named as the arguments, without `x-`. */
export type PolicyKeys = ReadonlyMap<string, string | number>;

export const NO_POLICY: PolicyKeys = new Map();

/** Messages of one queue that are compared with new ones, unless it says otherwise: the newest; each takes some 150 bytes. */
export const IN_QUEUE_KEYS_MAX = 1_000_000;
/** RabbitMQ 4: failed deliveries of a message in a quorum queue that does not say otherwise. */
const QUORUM_DELIVERY_LIMIT = 20;
/** RabbitMQ: segments of a stream that does not say otherwise. */
const STREAM_SEGMENT_BYTES = 500_000_000;
const RETRY_DELAY_MS = 1_000;
const RETRY_MULTIPLIER = 2;
const RETRY_DELAY_MAX_MS = 3_600_000;
/** Longest time, in milliseconds: that of arguments. A policy may say any number (RabbitMQ), and the store has room for 48 bits. */
const TIME_MAX_MS = 315_360_000_000;

/** Those of a queue of which nobody says anything: one object for all of them, so that many queues do not push each other out of caches. */
let plain: QueueOptions | null = null;

/** Options from a queue's declared arguments and the policy keys that apply to it. */
export function queueOptions(args: FieldTable, policy: PolicyKeys = NO_POLICY): QueueOptions {
  if (args.size !== 0 || policy.size !== 0) return optionsOf(args, policy);
  plain ??= optionsOf(args, policy);
  return plain;
}

function optionsOf(args: FieldTable, policy: PolicyKeys): QueueOptions {
  const type = (textOf(args, NO_POLICY, 'queue-type', argumentWins) as QueueType | null) ?? 'classic';
  const lengthMax = numberOf(args, policy, 'max-length', smaller) ?? Number.POSITIVE_INFINITY;
  // RabbitMQ: what a policy says of a stream holds whatever the stream was declared with.
  const bytesRule = type === 'stream' ? policyWins : smaller;
  const bytesMax = numberOf(args, policy, 'max-length-bytes', bytesRule) ?? Number.POSITIVE_INFINITY;
  const overflow = overflowOf(args, policy, type);
  return Object.freeze({
    type,
    lengthMax,
    bytesMax,
    bounded: lengthMax !== Number.POSITIVE_INFINITY || bytesMax !== Number.POSITIVE_INFINITY,
    overflow,
    messageTtlMs: timeOf(args, policy, 'message-ttl', smaller) ?? Number.POSITIVE_INFINITY,
    expiresMs: timeOf(args, policy, 'expires', smaller) ?? Number.POSITIVE_INFINITY,
    deadLetterExchange: textOf(args, policy, 'dead-letter-exchange', argumentWins),
    deadLetterRoutingKey: textOf(args, policy, 'dead-letter-routing-key', argumentWins),
    deadLetterStrategy: strategyOf(args, policy, type, overflow),
    singleActiveConsumer: args.get('x-single-active-consumer')?.value === true,
    priorityMax: priorityMaxOf(args),
    deliveryLimit: deliveryLimitOf(args, policy, type),
    consumerTimeoutMs: numberOf(args, policy, 'consumer-timeout', smaller),
    retry: retryOf(args, policy),
    returnDelay: type === 'quorum' ? returnDelayOf(args, policy) : null,
    orderingKey: textOf(args, NO_POLICY, 'ordering-key', argumentWins),
    deduplication: deduplicationOf(args),
    maxAgeMs: ageMs(textOf(args, policy, 'max-age', policyWins) ?? '') ?? Number.POSITIVE_INFINITY,
    segmentBytesMax:
      numberOf(args, policy, 'stream-max-segment-size-bytes', policyWins) ?? STREAM_SEGMENT_BYTES,
  });
}

/** RabbitMQ: on a quorum queue the policy decides, and what its type does not know falls back to the default. */
function overflowOf(args: FieldTable, policy: PolicyKeys, type: QueueType): Overflow {
  const rule = type === 'quorum' ? policyWins : argumentWins;
  const overflow = (textOf(args, policy, 'overflow', rule) as Overflow | null) ?? 'drop-head';
  return type === 'quorum' && overflow === 'reject-publish-dlx' ? 'drop-head' : overflow;
}

/** RabbitMQ: dead letters are kept only by a queue that refuses what it has no room for; by classic queues here too, if they ask. */
function strategyOf(
  args: FieldTable,
  policy: PolicyKeys,
  type: QueueType,
  overflow: Overflow,
): DeadLetterStrategy {
  if (type === 'stream' || overflow !== 'reject-publish') return 'at-most-once';
  const strategy = textOf(args, type === 'quorum' ? policy : NO_POLICY, 'dead-letter-strategy', argumentWins);
  return (strategy as DeadLetterStrategy | null) ?? 'at-most-once';
}

/** RabbitMQ: a queue with priorities has two levels at least. */
function priorityMaxOf(args: FieldTable): number {
  const value = args.get('x-max-priority');
  return value === undefined ? 0 : Math.max(1, Number(value.value));
}

/** RabbitMQ: a negative limit is none. */
function deliveryLimitOf(args: FieldTable, policy: PolicyKeys, type: QueueType): number {
  const limit = numberOf(args, policy, 'delivery-limit', smallerUnlessNegative);
  if (limit === null) return type === 'quorum' ? QUORUM_DELIVERY_LIMIT : Number.POSITIVE_INFINITY;
  return limit < 0 ? Number.POSITIVE_INFINITY : limit;
}

/** RabbitMQ 4.3 tells failed deliveries from returned ones; here every one that comes back has failed, so each of its types means all. */
function returnDelayOf(args: FieldTable, policy: PolicyKeys): ReturnDelay | null {
  const kind = textOf(args, policy, 'delayed-retry-type', policyWins) ?? 'disabled';
  const minMs = timeOf(args, policy, 'delayed-retry-min', smaller);
  if (kind === 'disabled' || minMs === null) return null;
  return { minMs, maxMs: timeOf(args, policy, 'delayed-retry-max', smaller) ?? minMs };
}

function retryOf(args: FieldTable, policy: PolicyKeys): RetryOptions | null {
  const limit = numberOf(args, policy, 'retry-limit', argumentWins);
  if (limit === null) return null;
  return {
    // A policy may say any number; more are not counted.
    limit: Math.min(limit, RETRIES_MAX),
    delayMs: timeOf(args, policy, 'retry-delay', argumentWins) ?? RETRY_DELAY_MS,
    multiplier: numberOf(args, policy, 'retry-multiplier', argumentWins) ?? RETRY_MULTIPLIER,
    delayMaxMs: timeOf(args, policy, 'retry-delay-max', argumentWins) ?? RETRY_DELAY_MAX_MS,
  };
}

/**
 * Message deduplication plugin: a message is remembered for as long as it is in the queue. With a size or a time it is remembered by that
 * alone, as by an exchange.
 */
function deduplicationOf(args: FieldTable): DeduplicationOptions | null {
  if (args.get('x-message-deduplication')?.value !== true) return null;
  const size = args.get('x-cache-size');
  const ttl = args.get('x-cache-ttl');
  return {
    header: textOf(args, NO_POLICY, 'deduplication-header', argumentWins) ?? DEDUPLICATION_HEADER,
    sizeMax: size === undefined ? IN_QUEUE_KEYS_MAX : Number(size.value),
    ttlMs: ttl === undefined ? Number.POSITIVE_INFINITY : Number(ttl.value),
    afterwards: size !== undefined || ttl !== undefined,
  };
}

// ── what holds when a key stands in an argument and in a policy (RabbitMQ) ──

/** One value of two. */
type Rule<T> = (argument: T, policy: T) => T;

const argumentWins = <T>(argument: T, _policy: T): T => argument;
const policyWins = <T>(_argument: T, policy: T): T => policy;
const smaller: Rule<number> = (argument, policy) => Math.min(argument, policy);
/** A negative value means no limit, so the other one is the smaller; two of them stay one. */
const smallerUnlessNegative: Rule<number> = (argument, policy) =>
  argument < 0 || policy < 0 ? Math.max(argument, policy) : Math.min(argument, policy);

/** Of argument `x-<key>` and policy key `<key>` the one that is there, or what the rule makes of both; null when neither is. */
function numberOf(args: FieldTable, policy: PolicyKeys, key: string, rule: Rule<number>): number | null {
  const argument = args.get(`x-${key}`);
  const other = policy.get(key);
  if (other === undefined) return argument === undefined ? null : Number(argument.value);
  return argument === undefined ? Number(other) : rule(Number(argument.value), Number(other));
}

/** As `numberOf`, for milliseconds: ten years at most. */
function timeOf(args: FieldTable, policy: PolicyKeys, key: string, rule: Rule<number>): number | null {
  const time = numberOf(args, policy, key, rule);
  return time === null ? null : Math.min(time, TIME_MAX_MS);
}

/** As `numberOf`, for texts. */
function textOf(args: FieldTable, policy: PolicyKeys, key: string, rule: Rule<string>): string | null {
  const argument = args.get(`x-${key}`)?.value;
  const own = typeof argument === 'string' ? argument : null;
  const other = policy.get(key);
  if (other === undefined) return own;
  return own === null ? String(other) : rule(own, String(other));
}

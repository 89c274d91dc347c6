// What a policy may say: each key with its values, the queue types that do not take it, and what an operator policy makes of it.
// Owns RabbitMQ's texts against wrong values. What a key does to a queue stands with the queues, under the key's own name.

import { type Json, termText } from '../base/terms.ts';

/** A type of queue as a policy sees it (x-queue-type). */
export type PolicyQueueType = 'classic' | 'quorum' | 'stream';

/** Value of a key in a policy that passed its checks. */
export type PolicyValue = string | number;

/** What holds when a policy and an operator policy say different things. */
export type Merge = (policy: PolicyValue, operator: PolicyValue) => PolicyValue;

/** One key. */
interface PolicyKey {
  /** True for a value it may have. */
  readonly accepts: (value: Json) => boolean;
  /** RabbitMQ's words behind the value that it may not have. */
  readonly refusal: string;
  /** Types of queues that a policy with this key passes by altogether (RabbitMQ). */
  readonly not: readonly PolicyQueueType[];
  /** Null: not allowed in operator policies. */
  readonly merge: Merge | null;
}

/** RabbitMQ: largest segment of a stream, in bytes. */
const SEGMENT_BYTES_MAX = 3_000_000_000;

const min: Merge = (policy, operator) => Math.min(Number(policy), Number(operator));
const max: Merge = (policy, operator) => Math.max(Number(policy), Number(operator));
const operatorWins: Merge = (_policy, operator) => operator;
/** RabbitMQ: a negative number means no limit, so the other one is taken; two of them stay one. */
const minUnlessNegative: Merge = (policy, operator) =>
  Number(policy) < 0 || Number(operator) < 0 ? max(policy, operator) : min(policy, operator);

const isText = (value: Json): boolean => typeof value === 'string';
const isInteger = (value: Json): boolean => Number.isSafeInteger(value);
const atLeast =
  (least: number, most = Number.POSITIVE_INFINITY) =>
  (value: Json): boolean =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
const oneOf =
  (...values: readonly Json[]) =>
  (value: Json): boolean =>
    values.includes(value);
const isMaxAge = (value: Json): boolean => typeof value === 'string' && /^0*[1-9][0-9]*[YMDhms]$/.test(value);

const ANY: readonly PolicyQueueType[] = [];
const STREAM: readonly PolicyQueueType[] = ['stream'];
/** Keys of quorum queues alone. */
const ALL_BUT_QUORUM: readonly PolicyQueueType[] = ['classic', 'stream'];
/** Keys of streams alone. */
const ALL_BUT_STREAM: readonly PolicyQueueType[] = ['classic', 'quorum'];
/** Keys of classic queues alone. */
const ALL_BUT_CLASSIC: readonly PolicyQueueType[] = ['quorum', 'stream'];

function key(
  accepts: (value: Json) => boolean,
  refusal: string,
  not: readonly PolicyQueueType[],
  merge: Merge | null = null,
): PolicyKey {
  return { accepts, refusal, not, merge };
}

const LOCATORS = oneOf('client-local', 'balanced', 'random', 'least-leaders');

const KEYS: ReadonlyMap<string, PolicyKey> = new Map([
  ['alternate-exchange', key(isText, 'is not a valid alternate exchange name', ANY)],
  ['consumer-disconnected-timeout', key(atLeast(0), 'is not a valid consumer disconnected timeout', ANY)],
  ['consumer-timeout', key(atLeast(0), 'is not a valid consumer timeout', ANY)],
  ['dead-letter-exchange', key(isText, 'is not a valid dead letter exchange name', STREAM)],
  ['dead-letter-routing-key', key(isText, 'is not a valid dead letter routing key', STREAM)],
  [
    'dead-letter-strategy',
    key(oneOf('at-most-once', 'at-least-once'), 'is not a valid dead letter strategy', ALL_BUT_QUORUM),
  ],
  ['message-ttl', key(atLeast(0), 'is not a valid message TTL', STREAM, min)],
  ['expires', key(atLeast(1), 'is not a valid queue expiry', STREAM, min)],
  ['max-length', key(atLeast(0), 'is not a valid maximum length', STREAM, min)],
  ['max-length-bytes', key(atLeast(0), 'is not a valid maximum length in bytes', ANY, min)],
  ['max-in-memory-length', key(atLeast(0), 'is not a valid maximum memory in bytes', ALL_BUT_QUORUM, min)],
  ['max-in-memory-bytes', key(atLeast(0), 'is not a valid maximum memory in bytes', ALL_BUT_QUORUM, min)],
  ['queue-mode', key(oneOf('default', 'lazy'), 'is not a valid queue-mode value', ALL_BUT_CLASSIC)],
  ['queue-version', key(oneOf(1, 2), 'is not a valid queue-version value', ANY, operatorWins)],
  [
    'overflow',
    key(
      oneOf('drop-head', 'reject-publish', 'reject-publish-dlx'),
      'is not a valid overflow value',
      STREAM,
      operatorWins,
    ),
  ],
  ['delivery-limit', key(isInteger, 'is not a valid delivery limit', ALL_BUT_QUORUM, minUnlessNegative)],
  ['max-age', key(isMaxAge, 'is not a valid max age', ALL_BUT_STREAM)],
  [
    'stream-max-segment-size-bytes',
    key(atLeast(0, SEGMENT_BYTES_MAX), 'is not a valid segment size', ALL_BUT_STREAM),
  ],
  [
    'stream-filter-size-bytes',
    key(atLeast(16, 255), 'is not a valid filter size. Valid range is 16-255', ANY),
  ],
  ['queue-leader-locator', key(LOCATORS, 'is not a valid queue leader locator value', ANY)],
  ['queue-master-locator', key(LOCATORS, 'is not a valid master locator', ALL_BUT_CLASSIC, operatorWins)],
  ['initial-cluster-size', key(atLeast(0), 'is not a valid cluster size', ALL_BUT_STREAM)],
  ['target-group-size', key(atLeast(1), 'is not a valid qq target count value', ALL_BUT_QUORUM, max)],
  [
    'member-placement-tag',
    key(
      (value) => isText(value) && value !== '',
      'is not a valid member-placement-tag value. Must be a non-empty string',
      ANY,
      operatorWins,
    ),
  ],
  [
    'delayed-retry-type',
    key(
      oneOf('all', 'failed', 'returned', 'disabled'),
      'is not a valid delayed retry type. Must be one of: all, failed, returned, disabled',
      ANY,
      operatorWins,
    ),
  ],
  [
    'delayed-retry-min',
    key(atLeast(1), 'is not a valid delayed retry minimum delay. Must be a positive integer', ANY, max),
  ],
  [
    'delayed-retry-max',
    key(atLeast(1), 'is not a valid delayed retry maximum delay. Must be a positive integer', ANY, min),
  ],
  ['federation-upstream', key(isText, 'is not a valid federation upstream name', ANY)],
  ['federation-upstream-set', key(isText, 'is not a valid federation upstream set name', ANY)],
  // Ours, named as the arguments are: redelivery after a back-off.
  ['retry-limit', key(atLeast(0), 'is not a valid retry limit', STREAM)],
  ['retry-delay', key(atLeast(0), 'is not a valid retry delay', STREAM)],
  [
    'retry-multiplier',
    key((value) => typeof value === 'number' && value >= 1, 'is not a valid retry multiplier', STREAM),
  ],
  ['retry-delay-max', key(atLeast(0), 'is not a valid maximum retry delay', STREAM)],
]);

/** The key is one that policies, or operator policies, may hold. */
export function isPolicyKey(name: string, operator: boolean): boolean {
  const known = KEYS.get(name);
  return known !== undefined && (!operator || known.merge !== null);
}

/** What is wrong with the value of a known key, in RabbitMQ's words; null when nothing is. */
export function policyValueError(name: string, value: Json): string | null {
  const known = KEYS.get(name)!;
  return known.accepts(value) ? null : `${termText(value)} ${known.refusal}`;
}

/** Every queue of the type takes the key. */
export function takesPolicyKey(type: PolicyQueueType, name: string): boolean {
  return KEYS.get(name)?.not.includes(type) !== true;
}

/** What an operator policy makes of a policy's value. */
export function mergePolicyValue(name: string, policy: PolicyValue, operator: PolicyValue): PolicyValue {
  return (KEYS.get(name)?.merge ?? operatorWins)(policy, operator);
}

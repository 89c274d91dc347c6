// What a client declares of a queue, and what RabbitMQ checks of it.
// Owns the catalogue of arguments that each queue type knows: their validation and their comparison on redeclaration, with RabbitMQ's
// texts. What arguments do is read elsewhere (queue-options.ts).

import { BrokerError } from '../base/errors.ts';
import {
  EMPTY_TABLE,
  type FieldTable,
  type FieldValue,
  fieldTypeName,
  sameValue,
} from '../protocol/field-table.ts';
import type { QueueType } from './queue-options.ts';

/** A queue as it was declared. */
export interface QueueDeclaration {
  readonly name: string;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: FieldTable;
  /** Connection that an exclusive queue belongs to; null otherwise. */
  readonly owner: object | null;
}

const CLASSIC_TYPE: FieldValue = { tag: 'S', value: 'classic' };
/** Longest time that any argument may name, in milliseconds: 10 years (RabbitMQ). */
const TIME_MAX_MS = 315_360_000_000;
/** Retries that one message may have; RabbitMQ has none, the bound is ours. */
export const RETRY_LIMIT_MAX = 255;
/** Largest segment that a stream may ask for (RabbitMQ). */
const STREAM_SEGMENT_BYTES_MAX = 3_000_000_000;

/** What is wrong with an argument, in RabbitMQ's words; null when nothing is. */
type Check = (value: FieldValue, args: FieldTable) => string | null;

/** RabbitMQ's reason against an argument that has to be an integer of any width; null when it is one. */
export function integer(v: FieldValue): string | null {
  return 'bBsuIilL'.includes(v.tag) ? null : `"expected integer, got ${fieldTypeName(v)}"`;
}
export const nonNegative = (v: FieldValue): string | null =>
  integer(v) ?? (number(v) < 0 ? `{value_negative,${v.value}}` : null);
const duration = (v: FieldValue): string | null =>
  nonNegative(v) ?? (number(v) > TIME_MAX_MS ? `{value_too_large,${v.value}}` : null);
const positive: Check = (v) => nonNegative(v) ?? (number(v) === 0 ? '{value_zero,0}' : null);
const positiveDuration: Check = (v) => integer(v) ?? (number(v) === 0 ? '{value_zero,0}' : duration(v));
const octet: Check = (v) => nonNegative(v) ?? (number(v) > 255 ? `{max_value_exceeded,${v.value}}` : null);
const retries: Check = (v) =>
  positive(v, EMPTY_TABLE) ?? (number(v) > RETRY_LIMIT_MAX ? `{max_value_exceeded,${v.value}}` : null);
const multiplier: Check = (v) =>
  integer(v) !== null && !'fd'.includes(v.tag)
    ? `"expected number, got ${fieldTypeName(v)}"`
    : number(v) >= 1 && number(v) < Number.POSITIVE_INFINITY
      ? null
      : `{value_too_small,${v.value}}`;
const text: Check = (v) =>
  typeof v.value === 'string' && v.tag === 'S' ? null : `{unacceptable_type,${fieldTypeName(v)}}`;
const name: Check = (v, args) => text(v, args) ?? (v.value === '' ? 'empty_name' : null);
const deadLetterKey: Check = (v, args) =>
  text(v, args) ?? (args.has('x-dead-letter-exchange') ? null : 'routing_key_but_no_dlx_defined');
const version: Check = (v) =>
  nonNegative(v) ?? (number(v) === 1 || number(v) === 2 ? null : `"unsupported queue version '${v.value}'"`);
const bool: Check = (v) => (v.tag === 't' ? null : `{unacceptable_type,${fieldTypeName(v)}}`);
const maxAge: Check = (v, args) =>
  text(v, args) ?? (/^0*[1-9][0-9]*[YMDhms]$/.test(String(v.value)) ? null : 'invalid_max_age');
const oneOf =
  (reason: string, ...allowed: string[]): Check =>
  (v, args) =>
    text(v, args) ?? (allowed.includes(v.value as string) ? null : reason);

/** Checks of arguments, in the order in which RabbitMQ makes them; our own arguments last. What has no check may be anything. */
const CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['x-expires', positiveDuration],
  ['x-message-ttl', duration],
  ['x-dead-letter-routing-key', deadLetterKey],
  ['x-dead-letter-strategy', oneOf('invalid_dlx_strategy', 'at-most-once', 'at-least-once')],
  ['x-max-length', nonNegative],
  ['x-max-length-bytes', nonNegative],
  ['x-max-in-memory-length', nonNegative],
  ['x-max-in-memory-bytes', nonNegative],
  ['x-max-priority', octet],
  ['x-overflow', oneOf('invalid_overflow', 'drop-head', 'reject-publish', 'reject-publish-dlx')],
  ['x-queue-version', version],
  ['x-single-active-consumer', bool],
  ['x-consumer-timeout', nonNegative],
  ['x-consumer-disconnected-timeout', nonNegative],
  ['x-quorum-initial-group-size', positive],
  ['x-max-age', maxAge],
  ['x-stream-max-segment-size-bytes', nonNegative],
  ['x-stream-filter-size-bytes', nonNegative],
  ['x-initial-cluster-size', positive],
  [
    'x-queue-leader-locator',
    oneOf('invalid_queue_locator_arg', 'client-local', 'balanced', 'random', 'least-leaders'),
  ],
  // RabbitMQ takes any value for a delivery limit, and one that is no integer for no limit.
  ['x-delivery-limit', integer],
  // RabbitMQ 4.3 looks at these in policies only.
  ['x-delayed-retry-type', oneOf('invalid_delayed_retry_type', 'disabled', 'all', 'failed', 'returned')],
  ['x-delayed-retry-min', positiveDuration],
  ['x-delayed-retry-max', positiveDuration],
  ['x-retry-limit', retries],
  ['x-retry-delay', duration],
  ['x-retry-multiplier', multiplier],
  ['x-retry-delay-max', duration],
  ['x-ordering-key', name],
  ['x-message-deduplication', bool],
  ['x-cache-size', positive],
  ['x-cache-ttl', positiveDuration],
  ['x-deduplication-header', name],
]);

/** Arguments of ours that queues with consumers who settle messages know. */
const OWN = [
  'x-retry-limit',
  'x-retry-delay',
  'x-retry-multiplier',
  'x-retry-delay-max',
  'x-ordering-key',
  'x-message-deduplication',
  'x-cache-size',
  'x-cache-ttl',
  'x-deduplication-header',
];

/** Arguments that a type knows, in the order in which RabbitMQ compares them on redeclaration; ours last. */
const KNOWN: Readonly<Record<QueueType, readonly string[]>> = {
  classic: [
    'x-expires',
    'x-message-ttl',
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-max-length',
    'x-max-length-bytes',
    'x-max-priority',
    'x-overflow',
    // RabbitMQ: without effect since 3.12, and since 4.0 not looked at.
    'x-queue-mode',
    'x-queue-version',
    'x-single-active-consumer',
    'x-queue-type',
    'x-queue-master-locator',
    'x-queue-leader-locator',
    // RabbitMQ has these for quorum queues only.
    'x-dead-letter-strategy',
    'x-delivery-limit',
    'x-consumer-timeout',
    ...OWN,
  ],
  quorum: [
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-dead-letter-strategy',
    'x-expires',
    'x-max-length',
    'x-max-length-bytes',
    'x-max-in-memory-length',
    'x-max-in-memory-bytes',
    'x-overflow',
    'x-single-active-consumer',
    'x-queue-type',
    'x-quorum-initial-group-size',
    'x-delivery-limit',
    'x-message-ttl',
    'x-queue-leader-locator',
    'x-consumer-disconnected-timeout',
    'x-consumer-timeout',
    'x-delayed-retry-type',
    'x-delayed-retry-min',
    'x-delayed-retry-max',
    ...OWN,
  ],
  stream: [
    'x-max-length-bytes',
    'x-queue-type',
    'x-max-age',
    'x-stream-max-segment-size-bytes',
    'x-stream-filter-size-bytes',
    'x-initial-cluster-size',
    'x-queue-leader-locator',
  ],
};

/** Known to some type: refused where another type does not know it. */
const KNOWN_SOMEWHERE: ReadonlySet<string> = new Set(Object.values(KNOWN).flat());
/** The same as a set, for look-ups. */
const KNOWN_TO: Readonly<Record<QueueType, ReadonlySet<string>>> = {
  classic: new Set(KNOWN.classic),
  quorum: new Set(KNOWN.quorum),
  stream: new Set(KNOWN.stream),
};

/** The type that checked arguments name. */
export function queueTypeOf(args: FieldTable): QueueType {
  return (args.get('x-queue-type')?.value as QueueType | undefined) ?? 'classic';
}

/** RabbitMQ: only classic queues may be named by the server. @throws BrokerError precondition-failed */
export function assertMayBeServerNamed(args: FieldTable): void {
  const type = args.get('x-queue-type')?.value;
  if (type === 'quorum' || type === 'stream') {
    throw new BrokerError(
      'precondition-failed',
      `Cannot declare a server-named queue for type rabbit_${type}_queue`,
    );
  }
}

/**
 * The dead-letter exchange that a queue is to have, which RabbitMQ looks at before all other arguments; null for none.
 * @throws BrokerError precondition-failed when it is not a name
 */
export function deadLetterExchangeOf(name: string, vhost: string, args: FieldTable): string | null {
  const exchange = args.get('x-dead-letter-exchange');
  if (exchange === undefined) return null;
  if (typeof exchange.value === 'string') return exchange.value;
  throw new BrokerError(
    'precondition-failed',
    `invalid type '${fieldTypeName(exchange)}' for arg 'x-dead-letter-exchange' in queue '${name}' in vhost '${vhost}'`,
  );
}

/**
 * Checks what a new queue is to be: its arguments, then whether its type may have its properties (RabbitMQ's order).
 * @throws BrokerError precondition-failed
 */
export function checkQueueDeclaration(wanted: QueueDeclaration, vhost: string): void {
  const { name, arguments: args, autoDelete, exclusive, durable } = wanted;
  checkQueueArguments(name, vhost, args);
  const type = queueTypeOf(args);
  if (type === 'classic') return;
  const wrong = autoDelete ? 'auto-delete' : exclusive ? 'exclusive-owner' : durable ? null : 'non-durable';
  if (wrong !== null) {
    throw new BrokerError(
      'precondition-failed',
      `invalid property '${wrong}' for queue '${name}' in vhost '${vhost}'`,
    );
  }
  if (type === 'stream') checkStreamSizes(args);
}

/** @throws BrokerError precondition-failed with RabbitMQ's text for the first argument, in RabbitMQ's order, that is not allowed */
export function checkQueueArguments(name: string, vhost: string, args: FieldTable): void {
  if (args.size === 0) return;
  const refuse = (argument: string, reason: string): never => {
    throw new BrokerError(
      'precondition-failed',
      `invalid arg '${argument}' for queue '${name}' in vhost '${vhost}'${reason}`,
    );
  };
  const declared = args.get('x-queue-type');
  if (declared !== undefined) {
    if (declared.tag !== 'S') refuse('x-queue-type', `: {unacceptable_type,${fieldTypeName(declared)}}`);
    if (!Object.hasOwn(KNOWN, String(declared.value)))
      refuse('x-queue-type', `: "unsupported queue type '${String(declared.value)}'"`);
  }
  const type = queueTypeOf(args);
  const known = KNOWN_TO[type];
  for (const [argument, check] of CHECKS) {
    const value = args.get(argument);
    const reason = value === undefined || !known.has(argument) ? null : check(value, args);
    if (reason !== null) refuse(argument, `: ${reason}`);
  }
  for (const argument of args.keys()) {
    if (KNOWN_SOMEWHERE.has(argument) && !known.has(argument))
      refuse(argument, ` of queue type rabbit_${type}_queue`);
  }
}

function checkStreamSizes(args: FieldTable): void {
  const segment = args.get('x-stream-max-segment-size-bytes');
  if (segment !== undefined && number(segment) > STREAM_SEGMENT_BYTES_MAX) {
    throw new BrokerError('precondition-failed', 'Exceeded max value for x-stream-max-segment-size-bytes');
  }
  const filter = args.get('x-stream-filter-size-bytes');
  if (filter !== undefined && (number(filter) < 16 || number(filter) > 255))
    throw new BrokerError('precondition-failed', 'Invalid value for  x-stream-filter-size-bytes');
}

/** Arguments of consumers, with what is checked of them. */
const CONSUMER_CHECKS: ReadonlyMap<string, Check | null> = new Map([
  ['x-priority', integer],
  ['x-consumer-timeout', nonNegative],
  // What a stream's consumer asks for, streams check themselves.
  ['x-stream-offset', null],
  ['x-stream-filter', null],
  ['x-stream-match-unfiltered', null],
]);

/** Which of them are for whom (RabbitMQ; a timeout of its own is for quorum queues only there). */
const CONSUMER_KNOWN: Readonly<Record<QueueType, readonly string[]>> = {
  classic: ['x-priority', 'x-consumer-timeout'],
  quorum: ['x-priority', 'x-consumer-timeout'],
  stream: ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered'],
};

/** @throws BrokerError precondition-failed with RabbitMQ's text for the first argument of basic.consume that is not allowed */
export function checkConsumerArguments(
  queue: string,
  vhost: string,
  type: QueueType,
  args: FieldTable,
): void {
  if (args.size === 0) return;
  const refuse = (argument: string, reason: string): never => {
    throw new BrokerError(
      'precondition-failed',
      `invalid arg '${argument}' for queue '${queue}' in vhost '${vhost}'${reason}`,
    );
  };
  const known = CONSUMER_KNOWN[type];
  for (const argument of known) {
    const value = args.get(argument);
    const reason = value === undefined ? null : (CONSUMER_CHECKS.get(argument)?.(value, args) ?? null);
    if (reason !== null) refuse(argument, `: ${reason}`);
  }
  for (const argument of args.keys()) {
    if (CONSUMER_CHECKS.has(argument) && !known.includes(argument))
      refuse(argument, ` of queue type rabbit_${type}_queue`);
  }
}

/** RabbitMQ: of a quorum queue that is declared again as a classic one. */
const RELAXED: readonly string[] = [
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-expires',
  'x-max-length',
  'x-max-length-bytes',
  'x-single-active-consumer',
  'x-message-ttl',
];

/**
 * Compares a redeclaration with what stands.
 * @param relaxed a quorum queue may be declared again as a classic one (quorum_relaxed_checks_on_redeclaration)
 * @throws BrokerError precondition-failed naming the first difference, in RabbitMQ's words and order
 */
export function assertEquivalentQueue(
  current: QueueDeclaration,
  wanted: QueueDeclaration,
  vhost: string,
  relaxed = false,
): void {
  const where = `for queue '${current.name}' in vhost '${vhost}'`;
  assertSameFlag('durable', current.durable, wanted.durable, where);
  assertSameFlag('auto_delete', current.autoDelete, wanted.autoDelete, where);
  // RabbitMQ: what the type does not know is never compared.
  const type = queueTypeOf(current.arguments);
  const isRelaxed = relaxed && type === 'quorum' && queueTypeOf(wanted.arguments) === 'classic';
  for (const argument of isRelaxed ? RELAXED : KNOWN[type])
    assertSameArgument(argument, current.arguments, wanted.arguments, where);
}

/** @throws BrokerError precondition-failed when two declared flags differ */
export function assertSameFlag(
  flag: string,
  current: boolean | string,
  received: boolean | string,
  where: string,
): void {
  if (current !== received) {
    throw new BrokerError(
      'precondition-failed',
      `inequivalent arg '${flag}' ${where}: received '${received}' but current is '${current}'`,
    );
  }
}

/** @throws BrokerError precondition-failed when an argument differs, in type-blind comparison of integers */
export function assertSameArgument(
  argument: string,
  current: FieldTable,
  received: FieldTable,
  where: string,
): void {
  // RabbitMQ: a queue declared without a type has the default type.
  const absent = argument === 'x-queue-type' ? CLASSIC_TYPE : undefined;
  const is = current.get(argument) ?? absent;
  const wanted = received.get(argument) ?? absent;
  if (is === undefined && wanted === undefined) return;
  if (is !== undefined && wanted !== undefined && sameValue(is, wanted)) return;
  const both = is !== undefined && wanted !== undefined;
  const show = (v: FieldValue | undefined): string =>
    v === undefined
      ? 'none'
      : both
        ? `'${plainText(v)}'`
        : `the value '${plainText(v)}' of type '${fieldTypeName(v)}'`;
  throw new BrokerError(
    'precondition-failed',
    `inequivalent arg '${argument}' ${where}: received ${show(wanted)} but current is ${show(is)}`,
  );
}

function plainText(v: FieldValue): string {
  return typeof v.value === 'object' ? JSON.stringify(v.value) : String(v.value);
}

function number(v: FieldValue): number {
  return Number(v.value);
}

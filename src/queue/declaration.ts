// What a client declares of a queue, and what RabbitMQ checks of it.
// Owns the catalogue of arguments that a classic queue knows: their validation and their comparison on redeclaration, with RabbitMQ's texts.

import { BrokerError } from '../base/errors.ts';
import { type FieldTable, type FieldValue, fieldTypeName, sameValue } from '../protocol/field-table.ts';

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

type Check = (value: FieldValue) => string | null;

const integer: Check = (v) => (isInteger(v) ? null : `"expected integer, got ${fieldTypeName(v)}"`);
const nonNegative: Check = (v) => integer(v) ?? (number(v) < 0 ? `{value_negative,${v.value}}` : null);
const duration: Check = (v) =>
  nonNegative(v) ?? (number(v) > TIME_MAX_MS ? `{value_too_large,${v.value}}` : null);
const positiveDuration: Check = (v) =>
  integer(v) ??
  (number(v) === 0 ? '{value_zero,0}' : number(v) < 0 ? `{value_negative,${v.value}}` : duration(v));
const octet: Check = (v) => nonNegative(v) ?? (number(v) > 255 ? `{max_value_exceeded,${v.value}}` : null);
const text: Check = (v) =>
  typeof v.value === 'string' && v.tag === 'S' ? null : `{unacceptable_type,${fieldTypeName(v)}}`;
const bool: Check = (v) => (v.tag === 't' ? null : `{unacceptable_type,${fieldTypeName(v)}}`);
const oneOf =
  (reason: string, ...allowed: string[]): Check =>
  (v) =>
    text(v) ?? (allowed.includes(v.value as string) ? null : reason);
const anything: Check = () => null;

/** Arguments that a classic queue compares on redeclaration, each with its check. */
const CLASSIC: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['x-message-ttl', duration],
  ['x-expires', positiveDuration],
  ['x-max-length', nonNegative],
  ['x-max-length-bytes', nonNegative],
  ['x-overflow', oneOf('invalid_overflow', 'drop-head', 'reject-publish', 'reject-publish-dlx')],
  ['x-dead-letter-exchange', anything],
  ['x-dead-letter-routing-key', text],
  ['x-max-priority', octet],
  ['x-single-active-consumer', bool],
  ['x-queue-type', anything],
  ['x-queue-mode', text],
  ['x-queue-version', integer],
  ['x-queue-master-locator', text],
  [
    'x-queue-leader-locator',
    oneOf('invalid_queue_locator_arg', 'client-local', 'balanced', 'random', 'least-leaders'),
  ],
]);

/** Arguments of other queue types: RabbitMQ refuses them on a classic queue. */
const FOREIGN = new Set([
  'x-delivery-limit',
  'x-dead-letter-strategy',
  'x-quorum-initial-group-size',
  'x-initial-cluster-size',
  'x-max-in-memory-length',
  'x-max-in-memory-bytes',
  'x-max-age',
  'x-stream-max-segment-size-bytes',
  'x-stream-filter-size-bytes',
]);

/** @throws BrokerError precondition-failed with RabbitMQ's text when an argument is not allowed */
export function checkQueueArguments(name: string, vhost: string, args: FieldTable): void {
  const refuse = (argument: string, reason: string): never => {
    throw new BrokerError(
      'precondition-failed',
      `invalid arg '${argument}' for queue '${name}' in vhost '${vhost}': ${reason}`,
    );
  };
  const type = args.get('x-queue-type');
  if (type !== undefined) {
    if (type.tag !== 'S') refuse('x-queue-type', `{unacceptable_type,${fieldTypeName(type)}}`);
    if (type.value !== 'classic') refuse('x-queue-type', `"unsupported queue type '${String(type.value)}'"`);
  }
  for (const [argument, value] of args) {
    if (FOREIGN.has(argument)) {
      throw new BrokerError(
        'precondition-failed',
        `invalid arg '${argument}' for queue '${name}' in vhost '${vhost}' of queue type rabbit_classic_queue`,
      );
    }
    const reason = CLASSIC.get(argument)?.(value) ?? null;
    if (reason !== null) refuse(argument, reason);
  }
  const exchange = args.get('x-dead-letter-exchange');
  if (exchange !== undefined && exchange.tag !== 'S') {
    throw new BrokerError(
      'precondition-failed',
      `invalid type '${fieldTypeName(exchange)}' for arg 'x-dead-letter-exchange' in queue '${name}' in vhost '${vhost}'`,
    );
  }
  if (exchange === undefined && args.has('x-dead-letter-routing-key'))
    refuse('x-dead-letter-routing-key', 'routing_key_but_no_dlx_defined');
}

/**
 * Compares a redeclaration with what stands.
 * @throws BrokerError precondition-failed naming the first difference, in RabbitMQ's words and order
 */
export function assertEquivalentQueue(
  current: QueueDeclaration,
  wanted: QueueDeclaration,
  vhost: string,
): void {
  const where = `for queue '${current.name}' in vhost '${vhost}'`;
  assertSameFlag('durable', current.durable, wanted.durable, where);
  assertSameFlag('auto_delete', current.autoDelete, wanted.autoDelete, where);
  for (const argument of CLASSIC.keys())
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

function isInteger(v: FieldValue): boolean {
  return 'bBsuIilL'.includes(v.tag);
}

function number(v: FieldValue): number {
  return Number(v.value);
}

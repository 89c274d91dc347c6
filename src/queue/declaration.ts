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

/** What is wrong with an argument, in RabbitMQ's words; null when nothing is. */
type Check = (value: FieldValue, args: FieldTable) => string | null;

/** RabbitMQ's reason against an argument that has to be an integer of any width; null when it is one. */
export function integer(v: FieldValue): string | null {
  return 'bBsuIilL'.includes(v.tag) ? null : `"expected integer, got ${fieldTypeName(v)}"`;
}
const nonNegative = (v: FieldValue): string | null =>
  integer(v) ?? (number(v) < 0 ? `{value_negative,${v.value}}` : null);
const duration = (v: FieldValue): string | null =>
  nonNegative(v) ?? (number(v) > TIME_MAX_MS ? `{value_too_large,${v.value}}` : null);
const positiveDuration: Check = (v) => integer(v) ?? (number(v) === 0 ? '{value_zero,0}' : duration(v));
const octet: Check = (v) => nonNegative(v) ?? (number(v) > 255 ? `{max_value_exceeded,${v.value}}` : null);
const text: Check = (v) =>
  typeof v.value === 'string' && v.tag === 'S' ? null : `{unacceptable_type,${fieldTypeName(v)}}`;
const deadLetterKey: Check = (v, args) =>
  text(v, args) ?? (args.has('x-dead-letter-exchange') ? null : 'routing_key_but_no_dlx_defined');
const version: Check = (v) =>
  nonNegative(v) ?? (number(v) === 1 || number(v) === 2 ? null : `"unsupported queue version '${v.value}'"`);
const bool: Check = (v) => (v.tag === 't' ? null : `{unacceptable_type,${fieldTypeName(v)}}`);
const oneOf =
  (reason: string, ...allowed: string[]): Check =>
  (v, args) =>
    text(v, args) ?? (allowed.includes(v.value as string) ? null : reason);
const anything: Check = () => null;

/** Arguments that a classic queue compares on redeclaration, each with its check, in the order in which RabbitMQ checks them. */
const CLASSIC: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['x-expires', positiveDuration],
  ['x-message-ttl', duration],
  ['x-dead-letter-exchange', anything],
  ['x-dead-letter-routing-key', deadLetterKey],
  ['x-max-length', nonNegative],
  ['x-max-length-bytes', nonNegative],
  ['x-max-priority', octet],
  ['x-overflow', oneOf('invalid_overflow', 'drop-head', 'reject-publish', 'reject-publish-dlx')],
  ['x-queue-version', version],
  ['x-single-active-consumer', bool],
  ['x-queue-type', anything],
  [
    'x-queue-leader-locator',
    oneOf('invalid_queue_locator_arg', 'client-local', 'balanced', 'random', 'least-leaders'),
  ],
  // RabbitMQ: without effect since 3.12, and since 4.0 not looked at.
  ['x-queue-mode', anything],
  ['x-queue-master-locator', anything],
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

/** @throws BrokerError precondition-failed with RabbitMQ's text for the first argument, in RabbitMQ's order, that is not allowed */
export function checkQueueArguments(name: string, vhost: string, args: FieldTable): void {
  const refuse = (argument: string, reason: string): never => {
    throw new BrokerError(
      'precondition-failed',
      `invalid arg '${argument}' for queue '${name}' in vhost '${vhost}'${reason}`,
    );
  };
  const type = args.get('x-queue-type');
  if (type !== undefined) {
    if (type.tag !== 'S') refuse('x-queue-type', `: {unacceptable_type,${fieldTypeName(type)}}`);
    if (type.value !== 'classic')
      refuse('x-queue-type', `: "unsupported queue type '${String(type.value)}'"`);
  }
  if (args.size === 0) return;
  for (const [argument, check] of CLASSIC) {
    const value = args.get(argument);
    const reason = value === undefined ? null : check(value, args);
    if (reason !== null) refuse(argument, `: ${reason}`);
  }
  for (const argument of args.keys())
    if (FOREIGN.has(argument)) refuse(argument, ' of queue type rabbit_classic_queue');
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

function number(v: FieldValue): number {
  return Number(v.value);
}

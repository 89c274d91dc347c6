// Arguments that ask an exchange to hold messages back or to drop duplicates: by its type as RabbitMQ's community plugins have it, or for
// any type by arguments of ours.
// Owns their validation and their texts.

import { BrokerError } from '../base/errors.ts';
import { DEDUPLICATION_HEADER } from '../message/deduplication.ts';
import { type FieldTable, fieldTypeName } from '../protocol/field-table.ts';
import type { ExchangeDeclaration } from './exchange.ts';

/** Messages that an exchange or queue remembers unless it says otherwise. */
export const KEYS_DEFAULT = 10_000;

/** What of the messages it has had an exchange shall remember. */
export interface DeduplicationArguments {
  /** Header by which they are compared. */
  readonly header: string;
  readonly sizeMax: number;
  /** For how long, in milliseconds; Infinity for as long as there is room. */
  readonly ttlMs: number;
  /** It outlives a restart. */
  readonly onDisk: boolean;
}

/** Does the exchange hold messages back? @throws BrokerError precondition-failed */
export function isDelaying(declaration: ExchangeDeclaration, vhost: string): boolean {
  const wanted = flagOf(declaration, 'x-delayed-exchange', vhost);
  return wanted || declaration.type === 'x-delayed-message';
}

/** How the exchange drops duplicates; null when it does not. @throws BrokerError precondition-failed */
export function deduplicationOf(
  declaration: ExchangeDeclaration,
  vhost: string,
): DeduplicationArguments | null {
  const { type, arguments: args } = declaration;
  const byType = type === 'x-message-deduplication';
  if (!flagOf(declaration, 'x-message-deduplication', vhost) && !byType) return null;
  // The plugin's type has to say how much it remembers.
  const sizeMax = positiveOf(args, 'x-cache-size', byType ? 'Missing or invalid' : 'Invalid');
  if (sizeMax === null && byType) throw notPositive('Missing or invalid', 'x-cache-size');
  return {
    header: headerOf(args),
    sizeMax: sizeMax ?? KEYS_DEFAULT,
    ttlMs: positiveOf(args, 'x-cache-ttl', 'Invalid') ?? Number.POSITIVE_INFINITY,
    onDisk: persistenceOf(args) === 'disk',
  };
}

/** A boolean argument of ours; false when it is not there. @throws BrokerError precondition-failed */
function flagOf(declaration: ExchangeDeclaration, argument: string, vhost: string): boolean {
  const value = declaration.arguments.get(argument);
  if (value === undefined) return false;
  if (value.tag === 't') return value.value;
  throw refusal(
    `invalid arg '${argument}' for exchange '${declaration.name}' in vhost '${vhost}': {unacceptable_type,${fieldTypeName(value)}}`,
  );
}

/** Message deduplication plugin: an integer greater than 0, or a text that begins with one; null when it is not there. */
function positiveOf(args: FieldTable, argument: string, what: string): number | null {
  const value = args.get(argument);
  if (value === undefined) return null;
  const isNumber = 'bBsuIilL'.includes(value.tag) || value.tag === 'S';
  const number = isNumber ? Number.parseInt(String(value.value), 10) : Number.NaN;
  if (number > 0) return number;
  throw notPositive(what, argument);
}

function persistenceOf(args: FieldTable): 'disk' | 'memory' {
  const value = args.get('x-cache-persistence');
  if (value === undefined) return 'memory';
  if (value.tag === 'S' && (value.value === 'disk' || value.value === 'memory')) return value.value;
  throw refusal("Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'");
}

function headerOf(args: FieldTable): string {
  const value = args.get('x-deduplication-header');
  if (value === undefined) return DEDUPLICATION_HEADER;
  if (value.tag === 'S' && typeof value.value === 'string' && value.value !== '') return value.value;
  throw refusal("Invalid argument, 'x-deduplication-header' must be the name of a header");
}

function notPositive(what: string, argument: string): BrokerError {
  return refusal(`${what} argument, '${argument}' must be an integer greater than 0`);
}

function refusal(text: string): BrokerError {
  return new BrokerError('precondition-failed', text);
}

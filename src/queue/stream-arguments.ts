// What a consumer of a stream asks for in its arguments, and what it is refused for, with RabbitMQ's texts.
// Owns x-stream-offset and x-stream-consumer-name (ours); the filter stands in stream-filter.ts. Knows no stream: where a start lies, the
// stream says.

import { BrokerError } from '../base/errors.ts';
import { type FieldTable, type FieldValue, fieldTypeName } from '../protocol/field-table.ts';
import { erlangTerm } from '../routing/erlang-term.ts';
import { integer } from './declaration.ts';
import { ageMs } from './stream-age.ts';
import { FILTER, MATCH_UNFILTERED } from './stream-filter.ts';

/** Consumer arguments. */
const OFFSET = 'x-stream-offset';
/** Name under which the stream remembers how far the consumer has come. RabbitMQ does not know it. */
const CONSUMER_NAME = 'x-stream-consumer-name';
/** Longest such name, in bytes. */
export const CONSUMER_NAME_BYTES_MAX = 255;

/** Where a consumer begins. */
export type StreamStart =
  | { readonly at: 'first' | 'last' | 'next' }
  | { readonly at: 'offset'; readonly offset: number }
  /** Milliseconds since the epoch. */
  | { readonly at: 'time'; readonly time: number };

/** What x-stream-offset says; null when it is no such thing. @param now milliseconds since the epoch, for ages */
export function startOf(args: FieldTable, now: number): StreamStart | null {
  const value = args.get(OFFSET);
  if (value === undefined) return { at: 'next' };
  if (value.tag === 'T') return { at: 'time', time: Number(value.value) * 1000 };
  // RabbitMQ: a negative offset is one below all that there are.
  if (integer(value) === null) return { at: 'offset', offset: Number(value.value) };
  if (value.tag !== 'S' || typeof value.value !== 'string') return null;
  const text = value.value;
  if (text === 'first' || text === 'last' || text === 'next') return { at: text };
  const age = ageMs(text);
  return age === null ? null : { at: 'time', time: now - age };
}

/** The name that a consumer's place is remembered under; null for none. */
export function consumerNameOf(args: FieldTable): string | null {
  const value = args.get(CONSUMER_NAME);
  return value?.tag === 'S' && typeof value.value === 'string' ? value.value : null;
}

/** What a basic.consume says beside its arguments. */
export interface ConsumeTerms {
  readonly noAck: boolean;
  /** Unacked deliveries that one consumer may hold; 0 for no limit. */
  readonly prefetch: number;
  /** Of the whole channel; 0 for none. */
  readonly globalPrefetch: number;
}

/**
 * Whether a stream takes such a consumer.
 * @throws BrokerError precondition-failed or not-implemented, in RabbitMQ's order
 */
export function checkStreamConsumer(
  queue: string,
  vhost: string,
  args: FieldTable,
  terms: ConsumeTerms,
): void {
  const where = `queue '${queue}' in vhost '${vhost}'`;
  const refuse = (argument: string, reason: string): never => {
    throw new BrokerError('precondition-failed', `invalid arg '${argument}' for ${where}${reason}`);
  };
  const offset = args.get(OFFSET);
  if (offset !== undefined && startOf(args, 0) === null) refuse(OFFSET, `: ${invalidOffset(offset)}`);
  checkOwn(args, refuse);
  if (terms.prefetch === 0)
    throw new BrokerError('precondition-failed', `consumer prefetch count is not set for stream ${where}`);
  if (terms.noAck)
    throw new BrokerError('not-implemented', `automatic acknowledgement not supported by stream ${where}`);
  if (terms.globalPrefetch !== 0)
    throw new BrokerError('not-implemented', `${where} does not support global qos`);
}

/** Arguments that RabbitMQ does not look at, or not closely: one that cannot be meant is refused rather than left without effect. */
function checkOwn(args: FieldTable, refuse: (argument: string, reason: string) => never): void {
  const unacceptable = (argument: string, value: FieldValue): never =>
    refuse(argument, `: {unacceptable_type,${fieldTypeName(value)}}`);
  const filter = args.get(FILTER);
  if (filter !== undefined && filter.tag !== 'S' && filter.tag !== 'A') unacceptable(FILTER, filter);
  const unfiltered = args.get(MATCH_UNFILTERED);
  if (unfiltered !== undefined && unfiltered.tag !== 't') unacceptable(MATCH_UNFILTERED, unfiltered);
  const name = args.get(CONSUMER_NAME);
  if (name === undefined) return;
  if (name.tag !== 'S' || typeof name.value !== 'string') return unacceptable(CONSUMER_NAME, name);
  const length = Buffer.byteLength(name.value);
  if (length === 0 || length > CONSUMER_NAME_BYTES_MAX) refuse(CONSUMER_NAME, ': invalid_consumer_name');
}

function invalidOffset(value: FieldValue): string {
  return `{invalid_stream_offset_arg,{${fieldTypeName(value)},${erlangTerm(value)}}}`;
}

/** RabbitMQ: a stream has no head to take from. */
export function refuseStreamGet(queue: string, vhost: string): never {
  throw new BrokerError(
    'not-implemented',
    `basic.get not supported by stream queues queue '${queue}' in vhost '${vhost}'`,
  );
}

/** RabbitMQ: only retention takes messages out of a stream. */
export function refuseStreamPurge(queue: string, vhost: string): never {
  throw new BrokerError(
    'not-implemented',
    `queue.purge not supported by stream queues queue '${queue}' in vhost '${vhost}'`,
  );
}

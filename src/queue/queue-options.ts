// What a queue's arguments ask of it, as numbers and names rather than as a table.
// Owns the reading of arguments that were checked already (declaration.ts).

import type { FieldTable } from '../protocol/field-table.ts';

/** What happens to a publish that would make the queue too long. */
export type Overflow = 'drop-head' | 'reject-publish' | 'reject-publish-dlx';

/** Frozen options of one queue. Infinity where there is no limit, null where there is none at all. */
export interface QueueOptions {
  /** Ready messages (x-max-length). */
  readonly lengthMax: number;
  /** Body bytes of ready messages (x-max-length-bytes). */
  readonly bytesMax: number;
  readonly overflow: Overflow;
  /** Time to live of every message, in milliseconds (x-message-ttl). */
  readonly messageTtlMs: number;
  /** Name of the exchange that dead messages go to (x-dead-letter-exchange). */
  readonly deadLetterExchange: string | null;
  readonly deadLetterRoutingKey: string | null;
  readonly singleActiveConsumer: boolean;
  /** It has a limit of length or bytes. */
  readonly bounded: boolean;
}

/** Options from a queue's declared arguments. */
export function queueOptions(args: FieldTable): QueueOptions {
  const lengthMax = numberOf(args, 'x-max-length');
  const bytesMax = numberOf(args, 'x-max-length-bytes');
  return Object.freeze({
    lengthMax,
    bytesMax,
    bounded: lengthMax !== Number.POSITIVE_INFINITY || bytesMax !== Number.POSITIVE_INFINITY,
    overflow: (textOf(args, 'x-overflow') as Overflow | null) ?? 'drop-head',
    messageTtlMs: numberOf(args, 'x-message-ttl'),
    deadLetterExchange: textOf(args, 'x-dead-letter-exchange'),
    deadLetterRoutingKey: textOf(args, 'x-dead-letter-routing-key'),
    singleActiveConsumer: args.get('x-single-active-consumer')?.value === true,
  });
}

function numberOf(args: FieldTable, key: string): number {
  const value = args.get(key);
  return value === undefined ? Number.POSITIVE_INFINITY : Number(value.value);
}

function textOf(args: FieldTable, key: string): string | null {
  const value = args.get(key)?.value;
  return typeof value === 'string' ? value : null;
}

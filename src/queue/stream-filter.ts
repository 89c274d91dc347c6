// Filters of stream consumers: which messages a reader wants, by the value that their publisher gave them.
// Owns the reading of the value from a message and the comparison. RabbitMQ drops whole chunks that cannot hold a wanted value and leaves
// the rest to the client; here every message is looked at, so that a client gets exactly what it asked for.

import { FLAG_HEADERS, type Message } from '../message/message.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import { skipField } from '../protocol/field-table.ts';
import { PropertyScan, scanProperties } from '../protocol/properties.ts';

/** Header of a message: what filters compare. */
const VALUE_HEADER = Buffer.from('x-stream-filter-value');
/** Consumer arguments. */
export const FILTER = 'x-stream-filter';
export const MATCH_UNFILTERED = 'x-stream-match-unfiltered';
const LONG_STRING = 0x53;

const scan = new PropertyScan();

/** What a consumer wants to see. */
export class StreamFilter {
  private readonly wanted: ReadonlySet<string>;
  /** Messages without a value are wanted too. */
  private readonly unfiltered: boolean;

  constructor(wanted: readonly string[], unfiltered: boolean) {
    this.wanted = new Set(wanted);
    this.unfiltered = unfiltered;
  }

  /** @param value the message's filter value; null when it has none */
  wants(value: string | null): boolean {
    return value === null ? this.unfiltered : this.wanted.has(value);
  }
}

/** The filter that a consumer's arguments ask for; null when they ask for none. Items of an array that are no strings are skipped (RabbitMQ). */
export function filterOf(args: FieldTable): StreamFilter | null {
  const asked = args.get(FILTER);
  if (asked === undefined) return null;
  const wanted: string[] = [];
  for (const item of asked.tag === 'A' ? asked.value : [asked])
    if (item.tag === 'S') wanted.push(String(item.value));
  return new StreamFilter(wanted, args.get(MATCH_UNFILTERED)?.value === true);
}

/** The filter value that the publisher gave a message; null when there is none, or when it is no string (RabbitMQ). */
export function filterValueOf(message: Message): string | null {
  if ((message.flags & FLAG_HEADERS) === 0) return null;
  const { buffer } = message;
  scanProperties(buffer, message.propertiesAt, message.propertiesEnd, scan);
  const stop = scan.headersEnd;
  for (let at = scan.headersAt + 4; at < stop; ) {
    const next = skipField(buffer, at, stop);
    if (isValueHeader(buffer, at)) {
      const tagAt = at + 1 + VALUE_HEADER.length;
      return buffer[tagAt] === LONG_STRING ? buffer.toString('utf8', tagAt + 5, next) : null;
    }
    at = next;
  }
  return null;
}

function isValueHeader(buffer: Buffer, at: number): boolean {
  const { length } = VALUE_HEADER;
  if (buffer[at] !== length) return false;
  for (let i = 0; i < length; i++) if (buffer[at + 1 + i] !== VALUE_HEADER[i]) return false;
  return true;
}

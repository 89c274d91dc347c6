// Reading a message's x-death history, and undoing a death: what a message looks like when it goes back to where it died.
// Owns no rule of dead-lettering (see death.ts). Knows no queue.

import { EMPTY_TABLE, type FieldTable, type FieldValue } from '../protocol/field-table.ts';
import type { Address } from './address.ts';
import { buildMessage, type Message } from './message.ts';

/** One entry of x-death: deaths of one reason in one queue. */
export interface Death {
  readonly queue: string;
  /** `rejected`, `expired`, `maxlen` or `delivery_limit`. */
  readonly reason: string;
  readonly count: number;
  /** Time of the first of them, in seconds since the epoch; null when the header does not say. */
  readonly time: number | null;
  /** Exchange and routing keys it had been published with before it died. */
  readonly exchange: string;
  readonly routingKeys: readonly string[];
}

/** Headers that deaths leave behind. */
const DEATH_HEADERS: readonly string[] = [
  'x-death',
  'x-first-death-exchange',
  'x-first-death-queue',
  'x-first-death-reason',
  'x-last-death-exchange',
  'x-last-death-queue',
  'x-last-death-reason',
];

/** The deaths that the header x-death tells of, the newest first. Whoever wrote it: see `hasDied`. */
export function deathsOf(message: Message): Death[] {
  const value = message.headers()?.get('x-death');
  const deaths: Death[] = [];
  if (value?.tag === 'A')
    for (const item of value.value) if (item.tag === 'F') deaths.push(deathIn(item.value));
  return deaths;
}

/**
 * The message under another address, its deaths forgotten: the next one is its first (and no death closes a cycle with those before).
 * @param keepHeaders the headers of its deaths stay for people to read; nothing counts them any more
 */
export function revivedMessage(message: Message, address: Address, keepHeaders: boolean): Message {
  const properties = message.properties();
  const headers = new Map<string, FieldValue>(properties.headers ?? EMPTY_TABLE);
  if (!keepHeaders) for (const name of DEATH_HEADERS) headers.delete(name);
  // An empty table stays: nobody knows any more whether there was none, and programs that read headers mind their absence.
  return buildMessage(address, { ...properties, headers }, message.body());
}

function deathIn(table: FieldTable): Death {
  const keys = table.get('routing-keys');
  const time = table.get('time');
  return {
    queue: textAt(table, 'queue'),
    reason: textAt(table, 'reason'),
    count: Number(table.get('count')?.value ?? 0),
    time: time?.tag === 'T' ? Number(time.value) : null,
    exchange: textAt(table, 'exchange'),
    routingKeys: keys?.tag === 'A' ? keys.value.map(({ value }) => String(value)) : [],
  };
}

function textAt(table: FieldTable, key: string): string {
  const value = table.get(key)?.value;
  return typeof value === 'string' ? value : '';
}

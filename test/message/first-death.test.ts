// The short way of making a message's first dead letter against the long one, over random messages.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf } from '../../src/message/address.ts';
import { type DeathReason, deadMessageByValues } from '../../src/message/death.ts';
import { firstDeath } from '../../src/message/first-death.ts';
import { buildMessage, type Message } from '../../src/message/message.ts';
import { type FieldTable, tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';
import { basicProperties, fieldValue } from '../protocol/arbitraries.ts';

const NOON = Date.UTC(2024, 0, 1, 12);
const DLX = addressOf('dlx', 'dead');
const REASONS: readonly DeathReason[] = ['expired', 'rejected', 'maxlen', 'delivery_limit'];

/** Names around those of the headers of deaths. */
const name = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'CC',
    'Zebra',
    'x',
    'x-',
    'x-death',
    'x-deat',
    'x-death2',
    'x-delay',
    'x-first',
    'x-first-death',
    'x-first-death-',
    'x-first-death-queue',
    'x-first-e',
    'x-group',
    'x-last-death-reason',
    'x-last',
    'x-match',
    'z',
  ),
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
);
const simple = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 10 }).map((value) => ({ tag: 'S', value }) as const),
  fc.integer().map((value) => ({ tag: 'I', value }) as const),
  fc.double().map((value) => ({ tag: 'd', value }) as const),
  fc.float().map((value) => ({ tag: 'f', value }) as const),
);
const headers = fc.oneof(
  fc.constant(null),
  fc.array(fc.tuple(name, fc.oneof(simple, fieldValue)), { maxLength: 6 }).map((list) => new Map(list)),
  fc.array(fc.tuple(fc.string({ maxLength: 9 }), simple), { maxLength: 40 }).map((list) => new Map(list)),
);
const expiration = fc.option(
  fc.oneof(
    fc.nat().map(String),
    fc.constantFrom('', '000000123'),
    fc.string({ unit: 'binary', maxLength: 9 }),
  ),
);
const place = fc.oneof(
  fc.constantFrom('', 'orders', 'a.b.c'),
  fc.string({ unit: 'binary', maxLength: 20 }),
  // Octets that are no UTF-8, as such names are kept.
  fc.constant('q\udc80\udcff'),
);

/** The octets of a message without the channel numbers of its frames. */
function octetsOf({ buffer, at, contentLength, headerLength, bodyLength }: Message): Buffer {
  const octets = Buffer.from(buffer.subarray(at, at + contentLength));
  octets.fill(0, 1, 3);
  if (bodyLength !== 0) octets.fill(0, 7 + headerLength + 1 + 1, 7 + headerLength + 1 + 3);
  return octets;
}

function message(properties: Partial<BasicProperties>, body = 'body'): Message {
  return buildMessage(addressOf('e', 'k'), { ...NO_PROPERTIES, ...properties }, Buffer.from(body));
}

/** Whether the short way was taken. */
function isShort(table: FieldTable | null): boolean {
  return firstDeath(message({ headers: table }), 'q', 'expired', NOON, DLX) !== null;
}

describe('a first dead letter', () => {
  it('has the same octets whichever way it is made', () => {
    let short = 0;
    fc.assert(
      fc.property(
        fc.record({
          properties: basicProperties,
          headers,
          expiration,
          exchange: place,
          key: place,
          queue: place,
        }),
        fc.constantFrom(...REASONS),
        fc.nat({ max: 3_000 }),
        fc.uint8Array({ maxLength: 50 }),
        (random, reason, later, body) => {
          const properties = { ...random.properties, headers: random.headers, expiration: random.expiration };
          const original = buildMessage(addressOf(random.exchange, random.key), properties, body);
          const before = octetsOf(original);
          const made = firstDeath(original, random.queue, reason, NOON + later, DLX);
          expect(octetsOf(original)).toEqual(before);
          if (made === null) return;
          short++;
          const wanted = deadMessageByValues(original, random.queue, reason, NOON + later, DLX);
          expect(octetsOf(made)).toEqual(octetsOf(wanted));
          const { buffer: _buffer, at: _at, ...facts } = made;
          const { buffer: _other, at: _there, ...wantedFacts } = wanted;
          expect(facts).toEqual(wantedFacts);
        },
      ),
      { numRuns: 500 },
    );
    expect(short).toBeGreaterThan(150);
  });

  it('is made the short way of ordinary headers, and of none', () => {
    expect(isShort(null)).toBe(true);
    expect(isShort(new Map())).toBe(true);
    expect(isShort(tableOf({ 'x-group': 'a', 'x-delay': 5, id: 'b', zebra: true, price: 1.5 }))).toBe(true);
    expect(isShort(tableOf({ CC: ['a'] }))).toBe(false);
    expect(isShort(tableOf({ 'x-death': 'mine' }))).toBe(false);
    expect(isShort(tableOf({ 'x-first-death-queue': 'mine' }))).toBe(false);
  });

  it('tells the time, the queue and the place of each death, not of the one before', () => {
    const deaths = [
      ['a', 'expired', 'e1', 'k1', 1_000],
      ['a', 'expired', 'e1', 'k1', 2_500],
      ['b', 'expired', 'e1', 'k1', 2_500],
      ['b', 'maxlen', 'e1', 'k1', 2_500],
      ['b', 'maxlen', 'e2', 'k1', 2_500],
      ['b', 'maxlen', 'e2', 'k2', 2_500],
      ['a', 'expired', 'e1', 'k1', 1_000],
    ] as const;
    for (const [queue, reason, exchange, key, at] of deaths) {
      const original = message({ expiration: '5' }, 'x').withAddress(addressOf(exchange, key));
      expect(octetsOf(firstDeath(original, queue, reason, at, DLX)!)).toEqual(
        octetsOf(deadMessageByValues(original, queue, reason, at, DLX)),
      );
    }
  });
});

// Header fields put on a delivery: the bytes that come out decode to what a decode, a change and an encode would give.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf } from '../../src/message/address.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import { deadMessage, hasDied } from '../../src/message/death.ts';
import { buildMessage, type Message, messageFromFrames } from '../../src/message/message.ts';
import { withLongHeader } from '../../src/message/splice.ts';
import { encodeTable, type FieldTable, tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';
import { basicProperties } from '../protocol/arbitraries.ts';

const ADDRESS = addressOf('e', 'k');
const NAME = 'x-delivery-count';

/** Read anew from its bytes, so that nothing but them counts. */
function reread(message: Message): Message {
  const { buffer, at, headerLength, bodyLength } = message;
  return messageFromFrames(message.address, buffer, at, headerLength, bodyLength, new BodyMemory(0));
}

function expectSame(message: Message, wanted: BasicProperties, body: Buffer): void {
  const read = reread(message);
  expect(encodeTable(read.headers() as FieldTable)).toEqual(encodeTable(wanted.headers as FieldTable));
  expect({ ...read.properties(), headers: null }).toEqual({ ...wanted, headers: null });
  expect(read.body().equals(body)).toBe(true);
  expect([message.persistent, message.priority, message.flags, message.contentLength]).toEqual([
    read.persistent,
    read.priority,
    read.flags,
    read.contentLength,
  ]);
}

describe('a header field put on a delivery', () => {
  it('is there beside everything the publisher wrote', () => {
    fc.assert(
      fc.property(
        basicProperties,
        fc.uint8Array({ maxLength: 60 }),
        fc.option(fc.integer(), { nil: null }),
        fc.maxSafeNat(),
        (given, bytes, earlier, value) => {
          const body = Buffer.from(bytes);
          const headers = new Map(given.headers ?? []);
          if (earlier !== null) headers.set(NAME, { tag: 'I', value: earlier });
          const before = { ...given, headers: given.headers === null && earlier === null ? null : headers };
          const message = buildMessage(ADDRESS, before, body);
          const with1 = withLongHeader(message, NAME, value);
          const wanted = new Map(headers);
          wanted.delete(NAME);
          wanted.set(NAME, { tag: 'l', value });
          expectSame(with1, { ...given, headers: wanted }, body);
          expectSame(
            withLongHeader(with1, 'x-acquired-count', 1),
            { ...given, headers: new Map(wanted).set('x-acquired-count', { tag: 'l', value: 1 }) },
            body,
          );
          expect(message.properties()).toEqual(buildMessage(ADDRESS, before, body).properties());
        },
      ),
    );
  });

  it('leaves the message it was put on as it was, address and body with it', () => {
    const message = buildMessage(ADDRESS, { ...NO_PROPERTIES, deliveryMode: 2 }, Buffer.from('body'));
    const other = withLongHeader(message, NAME, 3);
    expect(message.headers()).toBeNull();
    expect(other.headers()).toEqual(new Map([[NAME, { tag: 'l', value: 3 }]]));
    expect([other.address, other.persistent, other.body().toString()]).toEqual([ADDRESS, true, 'body']);
  });

  it('keeps the deaths a message has had', () => {
    const message = buildMessage(ADDRESS, { ...NO_PROPERTIES, headers: tableOf({ a: 1 }) }, Buffer.from('b'));
    const dead = deadMessage(message, 'q', 'expired', 0, addressOf('dlx', 'k'));
    expect(hasDied(withLongHeader(dead, NAME, 1))).toBe(true);
    expect(hasDied(withLongHeader(message, NAME, 1))).toBe(false);
  });
});

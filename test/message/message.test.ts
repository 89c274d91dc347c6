// A message in memory, on its way to the store and back.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressReader, addressOf, decodeAddress } from '../../src/message/address.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import {
  buildMessage,
  type Message,
  messageFromFrames,
  messageFromStored,
  storedBodyLength,
} from '../../src/message/message.ts';
import { allocate, SLAB_BYTES, SLAB_SHARE_MAX } from '../../src/message/slab.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';

function make(body: Buffer, properties: Partial<BasicProperties> = {}, exchange = 'e', key = 'k'): Message {
  return buildMessage(addressOf(exchange, key), { ...NO_PROPERTIES, ...properties }, body);
}

/** The stored form, with other bytes around it. */
function stored(message: Message): { buffer: Buffer; start: number; end: number } {
  const content = message.buffer.subarray(message.at, message.at + message.contentLength);
  const buffer = Buffer.concat([Buffer.from('before'), message.address.wire, content, Buffer.from('behind')]);
  return { buffer, start: 6, end: buffer.length - 6 };
}

describe('a message', () => {
  it('knows at once what rules ask for', () => {
    const plain = make(Buffer.from('x'));
    expect([plain.persistent, plain.priority, plain.expirationMs(), plain.headers()]).toEqual([
      false,
      0,
      -1,
      null,
    ]);
    const full = make(Buffer.from('x'), {
      deliveryMode: 2,
      priority: 7,
      expiration: '60000',
      headers: tableOf({ a: 1 }),
    });
    expect([full.persistent, full.priority, full.expirationMs(), full.headers()]).toEqual([
      true,
      7,
      60_000,
      tableOf({ a: 1 }),
    ]);
    expect(make(Buffer.from('x'), { deliveryMode: 3 }).persistent).toBe(false);
  });

  it('may be empty, or larger than what shares memory', () => {
    expect(make(Buffer.alloc(0)).body().length).toBe(0);
    const large = Buffer.alloc(SLAB_SHARE_MAX * 3, 'x');
    expect(make(large).body().equals(large)).toBe(true);
  });

  it('changes its address or properties as a copy', () => {
    const message = make(Buffer.from('body'), { replyTo: 'a' });
    const moved = message.withAddress(addressOf('other', 'key'));
    expect(moved.address.exchange).toBe('other');
    expect(moved.buffer).toBe(message.buffer);
    const changed = message.withProperties({ ...message.properties(), replyTo: 'b' });
    expect([message.properties().replyTo, changed.properties().replyTo]).toEqual(['a', 'b']);
    expect(changed.body().toString()).toBe('body');
  });

  it('comes back from the store as it went in, in memory of its own', () => {
    const body = fc.uint8Array({ maxLength: 10_000 });
    const text = fc.string({ maxLength: 40 });
    fc.assert(
      fc.property(
        body,
        text,
        text,
        fc.option(text),
        fc.option(fc.constantFrom(1, 2)),
        (bytes, exchange, key, type, deliveryMode) => {
          const message = make(
            Buffer.from(bytes),
            { type, deliveryMode, headers: tableOf({ key }) },
            exchange,
            key,
          );
          const { buffer, start, end } = stored(message);
          expect(storedBodyLength(buffer, start)).toBe(bytes.length);
          const back = messageFromStored(buffer, start, end, decodeAddress);
          buffer.fill(0);
          expect(back.address.exchange).toBe(exchange);
          expect(back.address.routingKey).toBe(key);
          expect(back.body().equals(Buffer.from(bytes))).toBe(true);
          expect(back.properties()).toEqual(message.properties());
          expect(back.persistent).toBe(deliveryMode === 2);
        },
      ),
    );
  });

  it('of another length than its record is refused', () => {
    const { buffer, start, end } = stored(make(Buffer.from('body')));
    expect(() => messageFromStored(buffer, start, end - 1, decodeAddress)).toThrow(/another length/);
  });

  it('taken from frames keeps no mark that the channel number could be taken for', () => {
    const original = make(Buffer.from('body'));
    const frames = Buffer.from(original.buffer.subarray(original.at, original.at + original.contentLength));
    frames[1] = 1;
    const message = messageFromFrames(
      original.address,
      frames,
      0,
      original.headerLength,
      original.bodyLength,
      new BodyMemory(0),
    );
    expect(message.buffer[message.at + 1]).toBe(0);
  });
});

describe('an address', () => {
  it('is shared by the messages that are read one after another', () => {
    const reader = new AddressReader();
    const [one, other] = [addressOf('e', 'k'), addressOf('e', 'kk')];
    const bytes = Buffer.concat([one.wire, one.wire, other.wire]);
    const first = reader.at(bytes, 0);
    expect(reader.at(bytes, one.wire.length)).toBe(first);
    const second = reader.at(bytes, one.wire.length * 2);
    expect([second.exchange, second.routingKey]).toEqual(['e', 'kk']);
    expect(second.wire.equals(other.wire)).toBe(true);
  });

  it('is not taken for one that it only begins like', () => {
    const reader = new AddressReader();
    const bytes = Buffer.concat([addressOf('', 'abc').wire, addressOf('', 'ab').wire, Buffer.from('c')]);
    expect(reader.at(bytes, 0).routingKey).toBe('abc');
    expect(reader.at(bytes, 5).routingKey).toBe('ab');
  });
});

describe('memory for messages', () => {
  it('is shared by small ones without overlap, and large ones get their own', () => {
    const taken: { buffer: Buffer; at: number; length: number }[] = [];
    for (let i = 0; i < 500; i++) {
      const length = (i * 37) % SLAB_SHARE_MAX;
      const { buffer, at } = allocate(length);
      taken.push({ buffer, at, length });
      buffer.fill(i % 251, at, at + length);
    }
    for (const [i, { buffer, at, length }] of taken.entries()) {
      expect(buffer.length).toBeLessThanOrEqual(SLAB_BYTES);
      for (let j = at; j < at + length; j++)
        if (buffer[j] !== i % 251) throw new Error(`${i} was written over`);
    }
    expect(allocate(SLAB_SHARE_MAX + 1).buffer.length).toBe(SLAB_SHARE_MAX + 1);
  });
});

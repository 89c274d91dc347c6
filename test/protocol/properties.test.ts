// Basic properties: values, bytes and the scan.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROTOCOL } from '../../spec/extensions.ts';
import { camel } from '../../spec/text.ts';
import { decodeTable } from '../../src/protocol/field-table.ts';
import { u64At } from '../../src/protocol/octets.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
  NO_PROPERTIES,
  PropertyScan,
  scanProperties,
} from '../../src/protocol/properties.ts';
import { decodeShortString } from '../../src/protocol/short-strings.ts';
import { asWritten, basicProperties } from './arbitraries.ts';
import { decodePropertiesIndependently } from './independent-decoder.ts';
import { mayRefuse, refusal } from './refusal.ts';

const scan = new PropertyScan();

/** The encoded properties somewhere inside a larger buffer. */
function inside(octets: Buffer): { readonly buf: Buffer; readonly at: number; readonly end: number } {
  return {
    buf: Buffer.concat([Buffer.alloc(3, 9), octets, Buffer.alloc(300, 1)]),
    at: 3,
    end: 3 + octets.length,
  };
}

/** What a scan says, read back through its offsets. */
function peeked(buf: Buffer): Partial<Record<keyof BasicProperties, unknown>> {
  const text = (at: number) => (at < 0 ? null : decodeShortString(buf, at + 1, at + 1 + buf.readUInt8(at)));
  return {
    headers: scan.headersAt < 0 ? null : decodeTable(buf, scan.headersAt, scan.headersEnd),
    deliveryMode: scan.deliveryMode === 0 ? null : scan.deliveryMode,
    priority: scan.priority < 0 ? null : scan.priority,
    correlationId: text(scan.correlationIdAt),
    replyTo: text(scan.replyToAt),
    expiration: text(scan.expirationAt),
    messageId: text(scan.messageIdAt),
    timestamp: scan.timestampAt < 0 ? null : u64At(buf, scan.timestampAt),
    type: text(scan.typeAt),
    userId: text(scan.userIdAt),
    appId: text(scan.appIdAt),
  };
}

describe('properties', () => {
  it('come back as they were sent, and the independent decoder agrees', () => {
    fc.assert(
      fc.property(basicProperties, (properties) => {
        const octets = encodeProperties(properties);
        const expected = asWritten(properties);
        const { buf, at, end } = inside(octets);
        expect(decodeProperties(buf, at, end)).toEqual(expected);
        expect(decodePropertiesIndependently(octets)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it('are found by the scan where they are, whatever was scanned before', () => {
    fc.assert(
      fc.property(basicProperties, (properties) => {
        const { buf, at, end } = inside(encodeProperties(properties));
        scanProperties(buf, at, end, scan);
        const { contentType, contentEncoding, clusterId, ...rest } = asWritten(properties) as BasicProperties;
        const deliveryMode = rest.deliveryMode === 0 ? null : rest.deliveryMode;
        expect(peeked(buf)).toEqual({ ...rest, deliveryMode });
        expect(scan.flags).toBe(buf.readUInt16BE(at));
      }),
      { numRuns: 300 },
    );
  });

  it('keep absent and empty apart', () => {
    const octets = encodeProperties({ ...NO_PROPERTIES, contentType: '', headers: new Map() });
    expect(octets.toString('hex')).toBe('a0000000000000');
    expect(decodeProperties(octets, 0, octets.length)).toEqual({
      ...NO_PROPERTIES,
      contentType: '',
      headers: new Map(),
    });
    expect(encodeProperties(NO_PROPERTIES)).toEqual(Buffer.from([0, 0]));
  });

  it('lie in the order of their flags, highest first', () => {
    for (const { bit, name, type } of PROTOCOL.properties) {
      const value = type === 'octet' || type === 'timestamp' ? 7 : type === 'table' ? new Map() : 'x';
      const octets = encodeProperties({ ...NO_PROPERTIES, [camel(name)]: value });
      expect(octets.readUInt16BE(0)).toBe(2 ** bit);
    }
  });

  it('ignore the two lowest flags', () => {
    expect(decodeProperties(Buffer.from([0, 3]), 0, 2)).toEqual(NO_PROPERTIES);
  });

  it('accept short strings that are not UTF-8 and keep their octets', () => {
    const octets = Buffer.from([0x84, 0x00, 3, 0x61, 0xff, 0xfe, 2, 0xc3, 0x28]);
    const properties = decodeProperties(octets, 0, octets.length);
    expect(encodeProperties(properties)).toEqual(octets);
  });

  it('are refused with 541 when cut short anywhere or followed by something', () => {
    fc.assert(
      fc.property(basicProperties, (properties) => {
        const octets = encodeProperties(properties);
        const ends = [...octets.keys()].slice(-40);
        for (const end of [...ends, octets.length + 1]) {
          for (const buf of [octets.subarray(0, end), inside(octets).buf.subarray(3)]) {
            expect(refusal(() => scanProperties(buf, 0, end, scan)).code).toBe(541);
            expect(refusal(() => decodeProperties(buf, 0, end)).code).toBe(541);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('are refused with 541 for a broken headers table, as in RabbitMQ', () => {
    const unknownType = Buffer.from([0x20, 0, 0, 0, 0, 3, 1, 0x61, 0x5a]);
    const cutInside = Buffer.from([0x20, 0, 0, 0, 0, 4, 1, 0x61, 0x49, 0]);
    const tooLong = Buffer.from([0x20, 0, 0xff, 0xff, 0xff, 0xff]);
    for (const octets of [unknownType, cutInside, tooLong]) {
      expect(refusal(() => scanProperties(octets, 0, octets.length, scan)).code).toBe(541);
    }
  });

  it('meet random and flipped bytes with 541 or a result, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), basicProperties, fc.nat(), (bytes, properties, flip) => {
        mayRefuse([541], () => decodeProperties(Buffer.from(bytes), 0, bytes.length));
        const octets = encodeProperties(properties);
        octets[flip % octets.length] = octets.readUInt8(flip % octets.length) ^ (1 << (flip % 8));
        mayRefuse([541], () => decodeProperties(octets, 0, octets.length));
      }),
      { numRuns: 300 },
    );
  });
});

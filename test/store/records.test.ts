// The stored layouts: what was written is read, and nonsense is refused without harm.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeKey,
  definitionKey,
  markKey,
  packKey,
  segmentKey,
  settlementKey,
} from '../../src/store/keys.ts';
import { RECORD_HEAD_MAX, RECORDS_AT, RecordCursor, writeRecordHead } from '../../src/store/records.ts';
import {
  decodeMark,
  decodeSettlement,
  encodeMark,
  encodeSettlement,
  isIntact,
} from '../../src/store/values.ts';

const U48 = 2 ** 48 - 1;

const record = fc.record({
  distance: fc.integer({ min: 1, max: 65_536 }),
  length: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 70_000 })),
  lane: fc.integer({ min: 0, max: 255 }),
  expiresAt: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: U48 })),
  tries: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
  dueAt: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: U48 })),
  transient: fc.boolean(),
  pack: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: U48 })),
  index: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});

describe('records', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        fc.array(record, { maxLength: 8 }),
        (first, records) => {
          const room = records.reduce((sum, { length }) => sum + length + RECORD_HEAD_MAX, RECORDS_AT);
          const segment = Buffer.alloc(room);
          let at = RECORDS_AT;
          for (const one of records) {
            const start = writeRecordHead(segment, at, one.distance, one.length, one, one.pack, one.index);
            expect(start - at).toBeLessThanOrEqual(RECORD_HEAD_MAX);
            at = start + (one.pack === 0 ? one.length : 0);
          }
          const cursor = new RecordCursor();
          cursor.begin(first);
          let position = first - 1;
          for (const { distance, index, ...rest } of records) {
            expect(cursor.read(segment, at)).toBe(true);
            position += distance;
            const { lane, expiresAt, tries, dueAt, transient, pack, length } = cursor;
            expect({ lane, expiresAt, tries, dueAt, transient, pack, length }).toEqual(rest);
            expect(cursor.position).toBe(position);
            if (pack !== 0) expect(cursor.index).toBe(index);
          }
          expect(cursor.read(segment, at)).toBe(false);
          expect(cursor.broken).toBe(false);
        },
      ),
    );
  });

  it('that are nonsense end the walk within their bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const segment = Buffer.concat([Buffer.alloc(RECORDS_AT), bytes]);
        const cursor = new RecordCursor();
        cursor.begin(1);
        let records = 0;
        while (cursor.read(segment, segment.length)) {
          expect(cursor.next).toBeLessThanOrEqual(segment.length);
          records++;
        }
        expect(records).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});

describe('settlements', () => {
  it('are read as they were written', () => {
    const dueAt = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: U48 }));
    const told = fc.record({ tries: fc.integer({ min: 0, max: 2 ** 32 - 1 }), dueAt });
    const lines = fc.array(fc.tuple(fc.integer({ min: 0, max: 65_535 }), told), { maxLength: 5 });
    const bitmap = fc.tuple(fc.integer({ min: 0, max: 50 }), fc.uint8Array({ maxLength: 50 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: U48 }), bitmap, lines, (first, [full, rest], returned) => {
        const dead = new Uint8Array(full + rest.length).fill(0xff, 0, full);
        dead.set(rest, full);
        const value = encodeSettlement({ first, dead, returned: new Map(returned) });
        expect(isIntact(value)).toBe(true);
        const decoded = decodeSettlement(value)!;
        expect(decoded.first).toBe(first);
        expect([...(decoded.returned ?? [])]).toEqual([...new Map(returned)]);
        // Zeros at the end are not written: bits that are absent are clear.
        const found = new Uint8Array(dead.length);
        found.set(decoded.dead ?? []);
        expect(found).toEqual(dead);
      }),
    );
  });

  it('of a queue that is emptied from the front take a few bytes', () => {
    const dead = new Uint8Array(8192).fill(0xff, 0, 8000);
    dead[8000] = 0b0101_0111;
    expect(encodeSettlement({ first: 1, dead, returned: null }).length).toBeLessThan(30);
  });

  it('and marks that are nonsense are refused without harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        decodeSettlement(Buffer.from(bytes));
        decodeMark(Buffer.from(bytes));
      }),
    );
    const asks = Buffer.alloc(22);
    asks.writeUInt32LE(0xffff_ffff, 10);
    expect(decodeSettlement(asks)).toBeNull();
  });
});

describe('marks', () => {
  it('are read as they were written', () => {
    const lanes = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: U48 })), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: U48 }), lanes, (horizon, delivered) => {
        const deliveredUpTo = new Map(delivered);
        expect(decodeMark(encodeMark(horizon, deliveredUpTo))).toEqual({ horizon, deliveredUpTo });
      }),
    );
  });
});

describe('keys', () => {
  it('are ordered as recovery needs them', () => {
    const inOrder = [
      Buffer.from('\x01format'),
      Buffer.from('\x01head'),
      definitionKey(''),
      definitionKey('ü'),
      packKey(1),
      packKey(256),
      markKey(0),
      markKey(7),
      settlementKey(7, 1),
      segmentKey(7, 1),
      settlementKey(7, 255),
      segmentKey(7, 255),
      segmentKey(7, 256),
      segmentKey(7, U48),
      markKey(8),
      markKey(256),
      segmentKey(0xffff_ffff, 1),
    ];
    expect([...inOrder].sort(Buffer.compare)).toEqual(inOrder);
  });

  it('say what they name', () => {
    expect(decodeKey(definitionKey('a/ü'))).toEqual({ kind: 'definition', key: 'a/ü' });
    expect(decodeKey(packKey(9))).toEqual({ kind: 'pack', number: 9 });
    expect(decodeKey(markKey(3))).toEqual({ kind: 'mark', queue: 3 });
    expect(decodeKey(settlementKey(3, 4))).toEqual({ kind: 'settlement', queue: 3, number: 4 });
    expect(decodeKey(segmentKey(3, U48))).toEqual({ kind: 'segment', queue: 3, number: U48 });
    expect(decodeKey(Buffer.from([9, 9]))).toEqual({ kind: 'unknown' });
    expect(decodeKey(Buffer.alloc(0))).toEqual({ kind: 'unknown' });
  });
});

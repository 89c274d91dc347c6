// Methods: the generated decoders and encoders against each other, against the independent decoder and against amqplib's.

import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROTOCOL } from '../../spec/extensions.ts';
import { camel, pascal } from '../../spec/text.ts';
import { BASIC_ACK, BASIC_PUBLISH, FRAME_END, METHODS, methodName } from '../../src/protocol/constants.ts';
import { ChunkPool, FrameWriter } from '../../src/protocol/frame-writer.ts';
import * as methods from '../../src/protocol/methods.ts';
import { argumentsOf, asWritten } from './arbitraries.ts';
import { decodeMethodIndependently } from './independent-decoder.ts';
import { mayRefuse, refusal } from './refusal.ts';

type Fields = Record<string, unknown>;
type Decode = (buf: Buffer, at: number, end: number) => Fields | undefined;
type Encode = (w: FrameWriter, channel: number, fields: Fields) => void;

const functions = methods as unknown as Record<string, unknown>;
const all = PROTOCOL.classes.flatMap((owner) =>
  owner.methods.map((method) => ({
    method,
    id: owner.id * 0x10000 + method.id,
    name: `${owner.name}.${method.name}`,
    decode: functions[`decode${pascal(owner.name)}${pascal(method.name)}`] as Decode,
    encode: functions[`encode${pascal(owner.name)}${pascal(method.name)}`] as Encode,
  })),
);

const pool = new ChunkPool();

/** The frame that `encode` writes. */
function written(write: (w: FrameWriter) => void): Buffer {
  const w = new FrameWriter(pool);
  write(w);
  return Buffer.concat(w.detach().map((chunk) => chunk.buffer.subarray(0, chunk.length)));
}

describe.each(all)('$name', ({ method, id, decode, encode }) => {
  it('reads what it wrote, alone and inside a larger buffer, and the independent decoder agrees', () => {
    fc.assert(
      fc.property(argumentsOf(method), fc.integer({ min: 0, max: 65535 }), (fields, channel) => {
        const frame = written((w) => encode(w, channel, fields));
        expect(frame.readUInt8(0)).toBe(1);
        expect(frame.readUInt16BE(1)).toBe(channel);
        expect(frame.readUInt32BE(3)).toBe(frame.length - 8);
        expect(frame.readUInt32BE(7)).toBe(id);
        expect(frame[frame.length - 1]).toBe(FRAME_END);
        const expected = asWritten(fields) as Fields;
        const payload = frame.subarray(7, -1);
        expect(decodeMethodIndependently(payload)).toEqual(expected);
        const none = Object.keys(expected).length === 0;
        expect(decode(frame, 11, frame.length - 1)).toEqual(none ? undefined : expected);
        expect(decode(payload, 4, payload.length)).toEqual(none ? undefined : expected);
      }),
      { numRuns: 40 },
    );
  });

  it('refuses arguments that are cut short or followed by something with 501 cannot decode', () => {
    fc.assert(
      fc.property(argumentsOf(method), (fields) => {
        const args = written((w) => encode(w, 1, fields)).subarray(11, -1);
        const longer = Buffer.concat([args, Buffer.from([0])]);
        for (const broken of [
          longer,
          ...(args.length > 0 ? [args.subarray(0, -1), args.subarray(0, 0)] : []),
        ]) {
          // Once as the end of the buffer, once with other bytes behind it.
          const inside = Buffer.concat([broken, Buffer.alloc(300, 1)]);
          for (const buf of [broken, inside]) {
            const error = refusal(() => decode(buf, 0, broken.length));
            expect(error).toMatchObject({ code: 501, methodId: id });
            expect(error.message).toMatch(/^cannot decode <<[\d,]*>?>?/);
          }
        }
      }),
      { numRuns: 5 },
    );
  });

  it('meets random and flipped bytes with a DecodeError or a result, nothing else', () => {
    const attempt = (buf: Buffer) => mayRefuse([406, 501, 502], () => decode(buf, 0, buf.length));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), argumentsOf(method), fc.nat(), (bytes, fields, flip) => {
        attempt(Buffer.from(bytes));
        const args = Buffer.from(written((w) => encode(w, 1, fields)).subarray(11, -1));
        if (args.length === 0) return;
        const at = flip % args.length;
        args[at] = args.readUInt8(at) ^ (1 << (flip % 8));
        attempt(args);
      }),
      { numRuns: 40 },
    );
  });
});

const names = all.filter(({ method }) =>
  method.fields.some((each) => each.type === 'name' || each.type === 'shortstr'),
);

/** amqplib's own generated codec; by its path, for the package does not export it. */
const amqplib = createRequire(import.meta.url)('../../node_modules/amqplib/lib/defs.js') as {
  decode(id: number, args: Buffer): Fields;
  encodeMethod(id: number, channel: number, fields: Fields): Buffer;
  info(id: number): { args: readonly { name: string; type: string }[] };
};

function theirName(name: string): string {
  return name === 'vhost' ? 'virtualHost' : name === 'noWait' ? 'nowait' : name;
}

describe('names in methods', () => {
  it.each(names)(
    '$name refuses a name that is not UTF-8 with 501 Malformed UTF-8 in shortstr',
    ({ method, decode, encode }) => {
      const sample: Fields = {};
      for (const [name, value] of Object.entries(
        fc.sample(argumentsOf(method), { numRuns: 1, seed: 1 })[0] ?? {},
      )) {
        sample[name] = typeof value === 'string' ? '' : value;
      }
      for (const each of method.fields) {
        if (each.type !== 'name' && each.type !== 'shortstr') continue;
        if (each.reserved) continue;
        // U+DCFF stands for the octet 0xff, which no UTF-8 has.
        const args = written((w) => encode(w, 1, { ...sample, [camel(each.name)]: 'a\udcff' })).subarray(
          11,
          -1,
        );
        expect(refusal(() => decode(args, 0, args.length))).toMatchObject({
          code: 501,
          message: 'Malformed UTF-8 in shortstr',
        });
      }
    },
  );

  it('keeps any octets of a routing key from basic.publish to basic.deliver', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 255 }), (bytes) => {
        const key = Buffer.from(bytes);
        const args = Buffer.concat([Buffer.from([0, 0, 0, key.length]), key, Buffer.from([0])]);
        const { routingKey } = methods.decodeBasicPublish(args, 0, args.length);
        const frame = written((w) =>
          methods.encodeBasicDeliver(w, 1, {
            consumerTag: '',
            deliveryTag: 1,
            redelivered: false,
            exchange: '',
            routingKey,
          }),
        );
        expect(frame.subarray(-1 - key.length, -1)).toEqual(key);
      }),
    );
  });
});

describe('delivery tags', () => {
  it.each([2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    'answers %s, which nobody issued, like any unknown tag',
    (tag) => {
      const args = Buffer.alloc(9);
      args.writeBigUInt64BE(tag);
      expect(refusal(() => methods.decodeBasicAck(args, 0, 9))).toMatchObject({
        code: 406,
        message: `unknown delivery tag ${tag}`,
        methodId: BASIC_ACK,
      });
    },
  );

  it('reads the largest safe tag exactly', () => {
    const args = Buffer.alloc(9);
    args.writeBigUInt64BE(BigInt(Number.MAX_SAFE_INTEGER));
    expect(methods.decodeBasicAck(args, 0, 9)).toEqual({
      deliveryTag: Number.MAX_SAFE_INTEGER,
      multiple: false,
    });
  });
});

describe('amqplib', () => {
  const shared = all.filter(({ id }) => {
    try {
      amqplib.info(id);
      return true;
    } catch {
      return false;
    }
  });

  it('knows every method we know, except for those it lacks', () => {
    const lacking = all.filter((each) => !shared.includes(each)).map(({ name }) => name);
    expect(lacking).toEqual([]);
  });

  it.each(shared)(
    'reads $name as we write it, and we read it as amqplib writes it',
    ({ method, id, decode, encode }) => {
      const plain = method.fields.filter((each) => !each.reserved && each.type !== 'table');
      fc.assert(
        fc.property(argumentsOf(method), (random) => {
          const fields: Fields = { ...random };
          const asAmqplibSaysIt: Fields = {};
          for (const each of method.fields) {
            const name = camel(each.name);
            if (each.reserved) continue;
            if (each.type === 'table') fields[name] = new Map();
            asAmqplibSaysIt[theirName(name)] = each.type === 'table' ? {} : fields[name];
          }
          const args = written((w) => encode(w, 1, fields)).subarray(11, -1);
          const read = amqplib.decode(id, args);
          for (const each of plain) {
            const name = camel(each.name);
            expect(read[theirName(name)]).toEqual(fields[name]);
          }
          const theirs = amqplib.encodeMethod(id, 1, asAmqplibSaysIt);
          const none = method.fields.every((each) => each.reserved);
          expect(decode(theirs, 11, theirs.length - 1)).toEqual(none ? undefined : fields);
        }),
        { numRuns: 10 },
      );
    },
  );
});

describe('method names', () => {
  it('names every method and says so when there is none', () => {
    expect(METHODS.map((info) => info.name)).toEqual(all.map(({ name }) => name));
    expect(METHODS.map((info) => info.id)).toEqual(all.map(({ id }) => id));
    expect(methodName(BASIC_PUBLISH)).toBe('basic.publish');
    expect(methodName(60 * 0x10000 + 222)).toBe('unknown method 60.222');
    expect(methodName(0xffff0001 | 0)).toBe('unknown method 65535.1');
  });
});

// The frame reader: every way a stream can be cut, and every way a frame can be wrong.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { mayRefuse, refusal } from './refusal.ts';

interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: string;
}

function frame(type: number, channel: number, payload: Buffer, end = 0xce): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt8(type);
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([end])]);
}

/** Everything the reader finds in these chunks. */
function framesIn(reader: FrameReader, chunks: readonly Buffer[]): Frame[] {
  const found: Frame[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    while (reader.next()) {
      const payload = reader.buffer.toString('hex', reader.start, reader.stop);
      found.push({ type: reader.type, channel: reader.channel, payload });
    }
  }
  return found;
}

const method = frame(1, 0, Buffer.from([0, 10, 0, 11, 1, 2, 3]));
const header = frame(2, 1, Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0]));
const body = frame(3, 65535, Buffer.from('abc'));
const heartbeat = frame(8, 0, Buffer.alloc(0));
const emptyBody = frame(3, 2, Buffer.alloc(0));
const stream = Buffer.concat([method, header, body, heartbeat, emptyBody, method]);
const expected: Frame[] = [
  { type: 1, channel: 0, payload: '000a000b010203' },
  { type: 2, channel: 1, payload: '003c000000000000000000030000' },
  { type: 3, channel: 65535, payload: '616263' },
  { type: 8, channel: 0, payload: '' },
  { type: 3, channel: 2, payload: '' },
  { type: 1, channel: 0, payload: '000a000b010203' },
];

const randomFrame = fc
  .tuple(fc.integer({ min: 1, max: 65535 }), fc.uint8Array({ maxLength: 400 }))
  .map(([channel, payload]) => frame(3, channel, Buffer.from(payload)));

describe('the frame reader', () => {
  it('reads frames that lie whole in one chunk in place', () => {
    const reader = new FrameReader(4096);
    reader.push(stream);
    expect(reader.next()).toBe(true);
    expect(reader.buffer).toBe(stream);
    expect([reader.start, reader.stop]).toEqual([7, 14]);
    expect(reader.methodId()).toBe(0x000a000b);
  });

  it('gives the same frames when the stream is split at any byte', () => {
    expect(framesIn(new FrameReader(4096), [stream])).toEqual(expected);
    for (let cut = 0; cut <= stream.length; cut++) {
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)];
      expect(framesIn(new FrameReader(4096), chunks)).toEqual(expected);
    }
  });

  it('gives the same frames when the stream comes byte by byte', () => {
    expect(
      framesIn(
        new FrameReader(4096),
        Array.from(stream, (octet) => Buffer.from([octet])),
      ),
    ).toEqual(expected);
  });

  it('gives the same frames for random streams cut at random', () => {
    fc.assert(
      fc.property(
        fc.array(randomFrame, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (frames, cuts) => {
          const octets = Buffer.concat(frames);
          const places = [0, ...cuts.map((cut) => cut % (octets.length + 1)), octets.length].sort(
            (a, b) => a - b,
          );
          const chunks = places.slice(1).map((to, i) => octets.subarray(places[i], to));
          const whole = framesIn(new FrameReader(0), [octets]);
          expect(whole).toHaveLength(frames.length);
          expect(framesIn(new FrameReader(0), chunks)).toEqual(whole);
        },
      ),
    );
  });

  it('goes on where it stopped when the caller stopped between two frames', () => {
    const reader = new FrameReader(4096);
    reader.push(stream.subarray(0, 40));
    expect(reader.next()).toBe(true);
    reader.push(stream.subarray(40));
    const rest: number[] = [];
    while (reader.next()) rest.push(reader.type);
    expect(rest).toEqual([2, 3, 8, 3, 1]);
  });

  it('assembles a frame that grows far beyond what was allotted for it at first', () => {
    const large = frame(3, 1, Buffer.alloc(1_500_000, 0x5a));
    const reader = new FrameReader(0);
    let count = 0;
    for (let at = 0; at < large.length; at += 65_536) {
      reader.push(large.subarray(at, at + 65_536));
      while (reader.next()) {
        count++;
        expect(reader.stop - reader.start).toBe(1_500_000);
        expect(reader.buffer.subarray(reader.start, reader.stop).every((octet) => octet === 0x5a)).toBe(true);
      }
    }
    expect(count).toBe(1);
  });

  it('keeps nothing of a chunk that it has read to the end', () => {
    const reader = new FrameReader(4096);
    reader.push(stream);
    while (reader.next()) expect(reader.buffer).toBe(stream);
    const held = Object.values(reader).filter((field) => Buffer.isBuffer(field) && field.length > 0);
    expect(held).toEqual([]);
  });
});

describe('large body frames in parts', () => {
  /** As `framesIn`, with the parts of a frame put together; tells how many there were. */
  function joined(reader: FrameReader, chunks: readonly Buffer[]): { frames: Frame[]; parts: number } {
    const frames: Frame[] = [];
    let payload = '';
    let parts = 0;
    for (const chunk of chunks) {
      reader.push(chunk);
      while (reader.next()) {
        parts++;
        payload += reader.buffer.toString('hex', reader.start, reader.stop);
        if (!reader.ends) {
          expect(reader.type).toBe(3);
          continue;
        }
        frames.push({ type: reader.type, channel: reader.channel, payload });
        payload = '';
      }
    }
    expect(payload).toBe('');
    return { frames, parts };
  }

  it('come as they came, without being assembled', () => {
    const large = frame(3, 7, Buffer.alloc(300, 1));
    const reader = new FrameReader(4096, 100);
    const chunk = Buffer.concat([method, large.subarray(0, 150)]);
    reader.push(chunk);
    expect(reader.next()).toBe(true);
    expect(reader.next()).toBe(true);
    expect([reader.type, reader.channel, reader.ends]).toEqual([3, 7, false]);
    expect(reader.buffer).toBe(chunk);
    expect(reader.stop - reader.start).toBe(143);
    expect(reader.next()).toBe(false);
    reader.push(large.subarray(150));
    expect(reader.next()).toBe(true);
    expect([reader.type, reader.channel, reader.ends]).toEqual([3, 7, true]);
    expect(reader.stop - reader.start).toBe(157);
    expect(reader.next()).toBe(false);
  });

  it('are told to end only when the end octet was seen', () => {
    const large = frame(3, 7, Buffer.alloc(300, 1));
    const reader = new FrameReader(4096, 100);
    reader.push(large.subarray(0, 307));
    expect(reader.next()).toBe(true);
    expect(reader.ends).toBe(false);
    expect(reader.next()).toBe(false);
    reader.push(large.subarray(307));
    expect(reader.next()).toBe(true);
    expect([reader.stop - reader.start, reader.ends]).toEqual([0, true]);
  });

  it('give the same frames as assembled ones, however the stream is cut', () => {
    const octets = Buffer.concat([
      stream,
      frame(3, 9, Buffer.alloc(200, 3)),
      stream,
      frame(3, 9, Buffer.alloc(64, 4)),
    ]);
    const whole = framesIn(new FrameReader(4096), [octets]);
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: octets.length }), { maxLength: 20 }),
        fc.nat({ max: 250 }),
        (cuts, from) => {
          const places = [0, ...cuts, octets.length].sort((a, b) => a - b);
          const chunks = places.slice(1).map((to, i) => octets.subarray(places[i], to));
          expect(joined(new FrameReader(4096, from), chunks).frames).toEqual(whole);
        },
      ),
    );
    const single = Array.from(octets, (octet) => Buffer.from([octet]));
    expect(joined(new FrameReader(4096, 64), single).frames).toEqual(whole);
  });

  it('are refused in the same words as assembled ones', () => {
    const wrong = [
      frame(3, 1, Buffer.alloc(300, 0x41), 0x00),
      frame(3, 1, Buffer.from('0123456789abcdef'), 0x00),
      frame(3, 1, Buffer.from('0123456789abcdefg'), 0x00),
      frame(3, 0, Buffer.alloc(300, 0x41)),
      frame(3, 1, Buffer.alloc(5000)),
    ];
    for (const octets of wrong) {
      const expected = refusal(() => framesIn(new FrameReader(4096), [octets]));
      for (let cut = 1; cut < Math.min(octets.length, 330); cut++) {
        const chunks = [octets.subarray(0, cut), octets.subarray(cut)];
        expect(refusal(() => framesIn(new FrameReader(4096, 10), chunks))).toEqual(expected);
      }
    }
  });

  it('leave the reader lost when their end octet is wrong', () => {
    const large = frame(3, 1, Buffer.alloc(300), 0x00);
    const reader = new FrameReader(4096, 100);
    reader.push(large.subarray(0, 200));
    while (reader.next());
    reader.push(Buffer.concat([large.subarray(200), stream]));
    expect(() => {
      while (reader.next());
    }).toThrow();
    reader.push(stream);
    expect(reader.next()).toBe(false);
  });

  it('hold no memory between two chunks', () => {
    const large = frame(3, 1, Buffer.alloc(3000));
    const reader = new FrameReader(4096, 100);
    reader.push(large.subarray(0, 2000));
    while (reader.next());
    const held = Object.values(reader).filter((field) => Buffer.isBuffer(field) && field.length > 0);
    expect(held).toEqual([]);
    expect(reader.isDrained).toBe(true);
  });
});

describe('the size of a frame', () => {
  it('may be frame_max, though the rules say frame_max - 8', () => {
    const reader = new FrameReader(4096);
    reader.push(frame(3, 1, Buffer.alloc(4096)));
    expect(reader.next()).toBe(true);
  });

  it('is refused above that as soon as it is announced, with RabbitMQ’s text, and nothing is read any more', () => {
    const announced = frame(3, 1, Buffer.alloc(4097)).subarray(0, 7);
    for (const cut of [7, 3]) {
      const reader = new FrameReader(4096);
      reader.push(announced.subarray(0, cut));
      if (cut < 7) {
        expect(reader.next()).toBe(false);
        reader.push(announced.subarray(cut));
      }
      expect(refusal(() => reader.next())).toMatchObject({
        code: 501,
        message: 'type 3, all octets = <<>>: {frame_too_large,4097,4088}',
      });
      reader.push(stream);
      expect(reader.next()).toBe(false);
    }
  });

  it('costs no memory by being announced', () => {
    const announced = Buffer.from([3, 0, 1, 0x1f, 0xff, 0xff, 0xff, 1, 2, 3]);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 50 }, () => {
      const reader = new FrameReader(0);
      reader.push(announced);
      expect(reader.next()).toBe(false);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(readers.length * 300_000);
  });

  it('has a limit even when none was agreed upon', () => {
    const reader = new FrameReader(0);
    reader.push(Buffer.from([3, 0, 1, 0xff, 0xff, 0xff, 0xff]));
    expect(refusal(() => reader.next()).message).toBe(
      'type 3, all octets = <<>>: {frame_too_large,4294967295,536870912}',
    );
  });
});

describe('a wrong frame', () => {
  const none = Buffer.alloc(0);
  const wrong: readonly (readonly [string, Buffer, number, string])[] = [
    [
      'a wrong end octet',
      frame(1, 1, Buffer.from('hello world'), 7),
      501,
      'type 1, all octets = <<"hello world">>: {invalid_frame_end_marker,7}',
    ],
    [
      'a wrong end octet after a long payload',
      frame(1, 1, Buffer.from('hello world hello world'), 7),
      501,
      'type 1, first 16 octets = <<"hello world hell">>: {invalid_frame_end_marker,7}',
    ],
    [
      'octets that are no text',
      frame(1, 1, Buffer.from([0, 60, 255]), 7),
      501,
      'type 1, all octets = <<0,60,255>>: {invalid_frame_end_marker,7}',
    ],
    [
      'quotes',
      frame(4, 1, Buffer.from('a"b\\c')),
      501,
      'type 4, all octets = <<"a\\"b\\\\c">>: unknown_frame',
    ],
    ['an unknown type', frame(4, 0, none), 501, 'type 4, all octets = <<>>: unknown_frame'],
    [
      'a heartbeat with a payload',
      frame(8, 1, Buffer.from('abc')),
      501,
      'type 8, all octets = <<"abc">>: unknown_frame',
    ],
    ['a heartbeat on a channel', frame(8, 1, none), 505, 'type 8, all octets = <<>>'],
    [
      'a method without an id',
      frame(1, 1, Buffer.from([0, 60, 0])),
      501,
      'type 1, all octets = <<0,60,0>>: unknown_frame',
    ],
    [
      'a header without a size',
      frame(2, 1, Buffer.from([0, 60, 0])),
      501,
      'type 2, all octets = <<0,60,0>>: unknown_frame',
    ],
    [
      'a header on channel 0',
      frame(2, 0, Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
      505,
      'type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>',
    ],
    ['a body on channel 0', frame(3, 0, Buffer.from('abc')), 505, 'type 3, all octets = <<"abc">>'],
  ];

  it.each(wrong)(
    'is refused for %s with RabbitMQ’s code and text, however it is split',
    (_, octets, code, message) => {
      for (let cut = 0; cut <= octets.length; cut++) {
        const error = refusal(() =>
          framesIn(new FrameReader(4096), [octets.subarray(0, cut), octets.subarray(cut)]),
        );
        expect(error).toMatchObject({ code, message, methodId: 0 });
      }
    },
  );

  it.each(wrong)(
    '%s lets later frames be read exactly when it is known where they start',
    (_, octets, __, message) => {
      const reader = new FrameReader(4096);
      reader.push(Buffer.concat([octets, heartbeat]));
      refusal(() => reader.next());
      expect(reader.next()).toBe(!message.includes('end_marker'));
    },
  );

  it('meets random bytes with 501, 505 or a frame, nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (chunks) => {
        mayRefuse([501, 505], () =>
          framesIn(
            new FrameReader(4096),
            chunks.map((chunk) => Buffer.from(chunk)),
          ),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('meets flipped bits with 501, 505 or frames, nothing else', () => {
    for (let bit = 0; bit < stream.length * 8; bit++) {
      const octets = Buffer.from(stream);
      octets[bit >> 3] = octets.readUInt8(bit >> 3) ^ (1 << (bit & 7));
      mayRefuse([501, 505], () => framesIn(new FrameReader(4096), [octets]));
    }
  });
});

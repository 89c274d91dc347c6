// The frame writer: what it writes, over which chunks, and what it gives back.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { ChunkPool, FrameWriter, SLICE_OCTETS_MIN } from '../../src/protocol/frame-writer.ts';
import { encodeBasicAck, encodeBasicDeliver, encodeConnectionStart } from '../../src/protocol/methods.ts';
import { encodeProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';

/** All that was written, and the chunks back to the pool. */
function detached(w: FrameWriter, pool: ChunkPool | null = null): Buffer {
  const chunks = w.detach();
  const octets = Buffer.concat(chunks.map((chunk) => chunk.buffer.subarray(0, chunk.length)));
  pool?.giveAll(chunks);
  return octets;
}

/** Frames as `type channel hex`. */
function framesIn(octets: Buffer): string[] {
  const reader = new FrameReader(0);
  const frames: string[] = [];
  reader.push(octets);
  while (reader.next()) {
    frames.push(
      `${reader.type} ${reader.channel} ${reader.buffer.toString('hex', reader.start, reader.stop)}`,
    );
  }
  return frames;
}

describe('the frame writer', () => {
  it('writes heartbeat, content header and body frames byte for byte', () => {
    const w = new FrameWriter(new ChunkPool());
    w.heartbeat();
    expect(detached(w).toString('hex')).toBe('08000000000000ce');
    w.contentHeader(513, 5, encodeProperties({ ...NO_PROPERTIES, deliveryMode: 2 }));
    expect(detached(w).toString('hex')).toBe(`02${'0201'}0000000f${'003c0000'}0000000000000005${'100002'}ce`);
    w.bodyFrames(1, Buffer.from('..hello..'), 2, 7, 4096);
    expect(detached(w).toString('hex')).toBe('0300010000000568656c6c6fce');
    w.contentHeader(1, 2 ** 33 + 1, Buffer.from([0, 0]));
    expect(detached(w).toString('hex')).toBe('0200010000000e003c000000000002000000010000ce');
  });

  it('cuts a body into frames of at most frame_max octets, and writes none for an empty one', () => {
    const w = new FrameWriter(new ChunkPool());
    w.bodyFrames(1, Buffer.alloc(8177, 1), 0, 8177, 4096);
    const octets = detached(w);
    expect(framesIn(octets).map((frame) => (frame.length - 4) / 2)).toEqual([4088, 4088, 1]);
    expect(octets.length).toBe(8177 + 3 * 8);
    w.bodyFrames(1, Buffer.alloc(8177, 1), 0, 8177, 0);
    expect(framesIn(detached(w))).toHaveLength(1);
    w.bodyFrames(1, Buffer.alloc(10), 5, 5, 4096);
    expect(w.pendingBytes).toBe(0);
    expect(w.detach()).toEqual([]);
  });

  it('writes the same bytes whatever the size of the chunks', () => {
    type Step = (w: FrameWriter) => void;
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.constant<Step>((w) => w.heartbeat()),
      fc
        .nat({ max: 5000 })
        .map<Step>((length) => (w) => w.bodyFrames(3, Buffer.alloc(length, 7), 0, length, 4096)),
      fc.nat().map<Step>((tag) => (w) => encodeBasicAck(w, 1, { deliveryTag: tag, multiple: true })),
      fc.nat({ max: 300 }).map<Step>((length) => (w) => w.contentHeader(1, 1, Buffer.alloc(length, 2))),
      fc.string({ maxLength: 60 }).map<Step>(
        (text) => (w) =>
          encodeBasicDeliver(w, 1, {
            consumerTag: text,
            deliveryTag: 1,
            redelivered: false,
            exchange: text,
            routingKey: text,
          }),
      ),
      fc
        .uint8Array({ maxLength: 900 })
        .map<Step>((octets) => (w) => w.appendRaw(Buffer.from(octets), 0, octets.length)),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20 }),
        fc.integer({ min: 1, max: 2000 }),
        (steps, chunkBytes) => {
          const small = new FrameWriter(new ChunkPool(chunkBytes, 4));
          const large = new FrameWriter(new ChunkPool(1_000_000, 4));
          for (const act of steps) {
            act(small);
            act(large);
            expect(small.pendingBytes).toBe(large.pendingBytes);
          }
          const octets = detached(large);
          expect(detached(small)).toEqual(octets);
          expect(small.pendingBytes).toBe(0);
        },
      ),
    );
  });

  it('sends a large body from where it lies instead of copying it', () => {
    const w = new FrameWriter(new ChunkPool());
    const body = Buffer.alloc(3 * SLICE_OCTETS_MIN, 5);
    w.heartbeat();
    w.bodyFrames(1, body, 100, body.length, SLICE_OCTETS_MIN + 8);
    w.heartbeat();
    const chunks = w.detach();
    const within = chunks.filter(({ buffer }) => buffer.buffer === body.buffer);
    expect(within.map(({ length }) => length)).toEqual([SLICE_OCTETS_MIN, SLICE_OCTETS_MIN]);
    const octets = Buffer.concat(chunks.map(({ buffer, length }) => buffer.subarray(0, length)));
    expect(framesIn(octets).map((frame) => frame.slice(0, 3))).toEqual(['8 0', '3 1', '3 1', '3 1', '8 0']);
  });

  it('gives the memory between large bodies back once, with the last piece of it', () => {
    const body = Buffer.alloc(SLICE_OCTETS_MIN);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('body', 'heartbeat', 'fill'), { maxLength: 30 }),
        fc.constantFrom(64, 100, 4096, 20_000),
        (steps, chunkBytes) => {
          const pool = new ChunkPool(chunkBytes, 1000);
          const given = new Set<Buffer>();
          const give = pool.give.bind(pool);
          pool.give = (memory) => {
            expect(given.has(memory)).toBe(false);
            given.add(memory);
            give(memory);
          };
          const w = new FrameWriter(pool);
          const plain = new FrameWriter(new ChunkPool(1_000_000, 0));
          for (const step of steps) {
            if (step === 'heartbeat') for (const to of [w, plain]) to.heartbeat();
            else if (step === 'body') for (const to of [w, plain]) to.bodyFrames(1, body, 0, body.length, 0);
            // Up to the last octet, so that a piece ends where its memory ends.
            else w.reserve(w.buffer.length - w.at);
          }
          expect(w.pendingBytes).toBe(plain.pendingBytes);
          const chunks = w.detach();
          const octets = (list: typeof chunks): Buffer =>
            Buffer.concat(list.map(({ buffer, length }) => buffer.subarray(0, length)));
          expect(octets(chunks).equals(octets(plain.detach()))).toBe(true);
          const used = new Set(chunks.map(({ buffer }) => buffer.buffer).filter((b) => b !== body.buffer));
          pool.giveAll(chunks);
          expect(new Set([...given].map(({ buffer }) => buffer))).toEqual(used);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('writes a method that is larger than a chunk in one piece', () => {
    const pool = new ChunkPool(64, 4);
    const w = new FrameWriter(pool);
    w.heartbeat();
    encodeConnectionStart(w, 0, {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: new Map([['product', { tag: 'S', value: 'x'.repeat(100_000) }]]),
      mechanisms: Buffer.from('PLAIN'),
      locales: Buffer.from('en_US'),
    });
    w.heartbeat();
    expect(framesIn(detached(w)).map((frame) => frame.slice(0, 3))).toEqual(['8 0', '1 0', '8 0']);
  });

  it('holds no memory after its chunks were detached', () => {
    const pool = new ChunkPool(1024, 4);
    const w = new FrameWriter(pool);
    w.heartbeat();
    w.detach();
    expect(w.buffer.length).toBe(0);
  });
});

describe('the chunk pool', () => {
  it('gives a connection that says little a small chunk, and a large one as soon as it says more', () => {
    const pool = new ChunkPool(65_536, 4);
    const w = new FrameWriter(pool);
    const sizes = (octets: number): number[] => {
      w.appendRaw(Buffer.alloc(octets), 0, octets);
      const chunks = w.detach();
      pool.giveAll(chunks);
      return chunks.map((chunk) => chunk.buffer.length);
    };
    expect(sizes(100)).toEqual([4096]);
    expect(sizes(10_000)).toEqual([4096, 65_536]);
    expect(sizes(100)).toEqual([65_536]);
    expect(sizes(100)).toEqual([4096]);
    w.reserve(5000);
    w.heartbeat();
    expect(w.buffer.length).toBe(65_536);
  });

  it('hands out the chunks it got back, and keeps no more of them than it may', () => {
    const pool = new ChunkPool(128, 2);
    const chunks = [pool.take(), pool.take(), pool.take()];
    for (const chunk of chunks) pool.give(chunk);
    const again = [pool.take(), pool.take(), pool.take()];
    expect(chunks.filter((chunk) => again.includes(chunk))).toHaveLength(2);
  });

  it('gets a chunk back that was reserved and never written to', () => {
    const pool = new ChunkPool(128, 4);
    const w = new FrameWriter(pool);
    w.reserve(10);
    const { buffer } = w;
    expect(w.detach()).toEqual([]);
    expect(pool.take()).toBe(buffer);
  });

  it('keeps no chunk of another size', () => {
    const pool = new ChunkPool(128, 4);
    pool.give(Buffer.alloc(500));
    expect(pool.take().length).toBe(128);
  });
});

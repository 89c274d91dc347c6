// Contents: however a publish is cut into frames and its frames into chunks, the outcome is the same.

import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ContentAssembler } from '../../src/amqp/content.ts';
import { addressOf } from '../../src/message/address.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import { FRAME_BODY, FRAME_HEADER } from '../../src/protocol/constants.ts';
import {
  body,
  type Fields,
  frame,
  header,
  method,
  openWorld,
  type Peer,
  publish,
  rawHeader,
  type World,
} from './world.ts';

/** Everything a client can tell about what it sent: what was answered, and what is in the queue. */
interface Outcome {
  readonly answers: readonly string[];
  readonly state: string;
  readonly messages: readonly string[];
}

async function outcome(frameMax: number, chunks: readonly Buffer[]): Promise<Outcome> {
  const world = await openWorld({ amqp: { messageSizeMax: 200_000, frameMax: 262_144 } });
  const peer = await world.client({ channels: [1, 2], frameMax });
  await peer.send(method(1, 'queue.declare', { queue: 'q' }), method(1, 'confirm.select'));
  peer.frames();
  for (const chunk of chunks) {
    peer.push(chunk);
    await world.wait(0);
  }
  await world.settle();
  // How confirms are gathered is a matter of turns: only the last number counts.
  let confirmed = 0;
  const answers: string[] = [];
  for (const { name, channel, fields, payload, type } of peer.frames()) {
    if (name === 'basic.ack') confirmed = Number(fields['deliveryTag']);
    else answers.push(`${channel} ${name} ${type === 1 ? JSON.stringify(fields) : payload.toString('hex')}`);
  }
  answers.push(`confirmed ${confirmed}`);
  const state = peer.connection.state;
  const messages: string[] = [];
  const queue = world.queue('q');
  for (let entry = queue.get(true); entry !== null; entry = queue.get(true)) {
    const { message } = entry;
    const properties = message.buffer.toString('hex', message.propertiesAt, message.propertiesEnd);
    messages.push(
      [message.address.exchange, message.address.routingKey, properties, message.body().toString('hex')].join(
        ' ',
      ),
    );
  }
  await world.end();
  return { answers, state, messages };
}

/** The octets in chunks that end at these places. */
function cutAt(octets: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (octets.length + 1)), octets.length].sort((a, b) => a - b);
  return places
    .slice(1)
    .map((to, i) => octets.subarray(places[i]!, to))
    .filter(({ length }) => length !== 0);
}

/** Frames of some octets, one by one. */
function framesOf(octets: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < octets.length; ) {
    const stop = at + octets.readUInt32BE(at + 3) + 8;
    frames.push(octets.subarray(at, stop));
    at = stop;
  }
  return frames;
}

const properties: fc.Arbitrary<Fields> = fc.constantFrom<Fields>(
  {},
  { deliveryMode: 2 },
  { headers: { CC: ['q'] } },
  { headers: { CC: 'no array' } },
  { expiration: '60000' },
  { expiration: 'soon' },
  { userId: 'somebody else' },
  { contentType: 'text/plain', correlationId: 'x'.repeat(200), priority: 3 },
);

const bytes = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => i));

const length = fc.oneof(
  fc.nat({ max: 30 }),
  fc.constantFrom(4087, 4088, 4089, 16_384, 20_000, 65_537, 150_000),
);

/** A publish that is all right, its body cut into frames anywhere. */
const good = fc
  .tuple(
    fc.constantFrom(1, 2),
    properties,
    length,
    fc.array(fc.nat(), { maxLength: 4 }),
    fc.constantFrom('q', 'nowhere'),
    fc.boolean(),
  )
  .map(([channel, given, size, cuts, routingKey, mandatory]) => {
    const content = bytes(size);
    const pieces = cutAt(content, cuts).flatMap((piece) =>
      piece.length % 7 === 0 ? [piece, Buffer.alloc(0)] : [piece],
    );
    return Buffer.concat([
      method(channel, 'basic.publish', { routingKey, mandatory }),
      header(channel, size, given),
      ...pieces.map((piece) => body(channel, piece)),
    ]);
  });

/** A publish that is wrong somewhere. */
const bad = fc.constantFrom(
  // The body is longer than announced, in one frame and in two.
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 5), body(1, '123456')]),
  Buffer.concat([
    method(1, 'basic.publish', { routingKey: 'q' }),
    header(1, 5),
    body(1, '123'),
    body(1, '456'),
  ]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 30_000), body(1, bytes(30_001))]),
  // A frame of an empty body.
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 0), body(1, '')]),
  // No header, a second header, a method in between, another channel's frames.
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), body(1, '12345')]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 5), header(1, 5)]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 5), method(1, 'basic.qos')]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(2, 5), body(2, '12345')]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 5), body(2, '12345')]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), header(1, 30_000), body(2, bytes(30_000))]),
  // Headers that are wrong themselves.
  Buffer.concat([
    method(1, 'basic.publish', { routingKey: 'q' }),
    rawHeader(1, { classId: 50, bodySize: 0 }),
  ]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), rawHeader(1, { weight: 1, bodySize: 0 })]),
  Buffer.concat([method(1, 'basic.publish', { routingKey: 'q' }), rawHeader(1, { bodySize: 2n ** 40n })]),
  Buffer.concat([
    method(1, 'basic.publish', { routingKey: 'q' }),
    rawHeader(1, { bodySize: 3, properties: Buffer.from([0x80, 0, 9]) }),
    body(1, 'abc'),
  ]),
  Buffer.concat([
    method(1, 'basic.publish', { routingKey: 'q' }),
    rawHeader(1, { bodySize: 3, properties: Buffer.from([0, 0, 1, 2, 3]) }),
    body(1, 'abc'),
  ]),
  frame(2, 1, Buffer.alloc(12)),
  // Refused as a whole: too large, immediate, to nowhere, to an exchange that is not there.
  Buffer.concat([
    method(1, 'basic.publish', { routingKey: 'q' }),
    header(1, 200_001),
    ...cutAt(bytes(200_001), [100_000]).map((piece) => body(1, piece)),
  ]),
  publish(1, '', 'q', 'x', {}, { immediate: true }),
  publish(1, 'none', 'q', bytes(20_000)),
  publish(1, '', 'q', bytes(20_000), { replyTo: 'amq.rabbitmq.reply-to' }),
);

describe('a publish', () => {
  it('has the same outcome whatever its frames and chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(200_100, 4096),
        fc.array(fc.oneof({ weight: 6, arbitrary: good }, { weight: 1, arbitrary: bad }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (frameMax, publishes, cuts) => {
          const octets = Buffer.concat(publishes);
          // One frame at a time: the plain way.
          const expected = await outcome(frameMax, framesOf(octets));
          // All at once, cut anywhere, and in chunks such as sockets bring.
          expect(await outcome(frameMax, [octets])).toEqual(expected);
          expect(await outcome(frameMax, cutAt(octets, cuts))).toEqual(expected);
          const sixteens = Array.from(
            { length: Math.floor(octets.length / 16_384) },
            (_, i) => (i + 1) * 16_384,
          );
          expect(await outcome(frameMax, cutAt(octets, sixteens))).toEqual(expected);
        },
      ),
      { numRuns: Number(process.env['RUNS'] ?? 60) },
    );
  });

  it('has the same outcome when it comes byte by byte', async () => {
    const octets = Buffer.concat([
      publish(1, '', 'q', 'hello', { deliveryMode: 2, headers: { a: 1 } }),
      publish(2, '', 'q', ''),
      publish(1, '', 'nowhere', 'back', {}, { mandatory: true }),
      method(1, 'basic.publish', { routingKey: 'q' }),
      header(1, 4),
      body(1, 'ab'),
      body(1, ''),
      body(1, 'cd'),
    ]);
    const single = Array.from(octets, (octet) => Buffer.from([octet]));
    expect(await outcome(4096, single)).toEqual(await outcome(4096, [octets]));
  });

  it('of 16 MiB comes out as it went in, in frames of both sizes', async () => {
    const content = bytes(16 * 1024 * 1024);
    for (const frameMax of [4096, 131_072]) {
      const world = await openWorld({ node: { queueMemoryBytes: 64 * 1024 * 1024 } });
      const peer = await world.client({ frameMax });
      await peer.send(method(1, 'queue.declare', { queue: 'q' }));
      peer.push(method(1, 'basic.publish', { routingKey: 'q' }), header(1, content.length));
      const frames: Buffer[] = [];
      for (let at = 0; at < content.length; at += frameMax - 8)
        frames.push(body(1, content.subarray(at, at + frameMax - 8)));
      const octets = Buffer.concat(frames);
      for (let at = 0; at < octets.length; at += 65_536) peer.push(octets.subarray(at, at + 65_536));
      await world.settle();
      expect(world.queue('q').messageCount).toBe(1);
      peer.frames();
      await peer.send(method(1, 'basic.consume', { queue: 'q', noAck: true }));
      const got = peer.frames().filter(({ type }) => type === 3);
      expect(got.every(({ payload }) => payload.length <= frameMax - 8)).toBe(true);
      expect(Buffer.concat(got.map(({ payload }) => payload)).equals(content)).toBe(true);
      await world.end();
    }
  });

  it('is delivered to several consumers at once, each on its own channel', async () => {
    const world = await openWorld();
    const peers: Peer[] = [];
    for (let i = 0; i < 3; i++) peers.push(await fanoutConsumer(world, `q${i}`, i + 1));
    const publisher = await world.client();
    const content = bytes(300_000);
    await publisher.send(
      method(1, 'basic.publish', { exchange: 'amq.fanout' }),
      header(1, content.length),
      ...cutAt(content, [100_000, 200_000]).map((piece) => body(1, piece)),
    );
    for (const [i, peer] of peers.entries()) {
      const frames = peer.frames().filter(({ name }) => ['basic.deliver', 'header', 'body'].includes(name));
      expect(frames.every(({ channel }) => channel === i + 1)).toBe(true);
      const bodies = frames.filter(({ type }) => type === 3).map(({ payload }) => payload);
      expect(Buffer.concat(bodies).equals(content)).toBe(true);
    }
  });
});

async function fanoutConsumer(world: World, queue: string, channel: number): Promise<Peer> {
  const peer = await world.client({ channels: [channel] });
  await peer.send(
    method(channel, 'queue.declare', { queue }),
    method(channel, 'queue.bind', { queue, exchange: 'amq.fanout' }),
    method(channel, 'basic.consume', { queue, noAck: true }),
  );
  peer.frames();
  return peer;
}

describe('memory for a body', () => {
  /** Sizes of the buffers that a body takes when it comes in parts of this size, and what had come when each was taken. */
  function taken(length: number, part: number): { readonly sizes: number[]; readonly cameThen: number[] } {
    const assembler = new ContentAssembler(128 * 1024 * 1024, new BodyMemory(0));
    const head = header(1, length);
    const content = bytes(Math.min(length, part));
    const sizes: number[] = [];
    const cameThen: number[] = [];
    let came = 0;
    const real = Buffer.allocUnsafeSlow.bind(Buffer);
    const spy = vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((size) => {
      sizes.push(size);
      cameThen.push(came);
      return real(size);
    });
    try {
      assembler.begin();
      assembler.onFrame(FRAME_HEADER, head, 7, head.length - 1, true);
      sizes.length = 0;
      cameThen.length = 0;
      for (let done = false; !done; ) {
        const stop = Math.min(part, length - came);
        came += stop;
        done = assembler.onFrame(FRAME_BODY, content, 0, stop, true);
      }
    } finally {
      spy.mockRestore();
    }
    const message = assembler.take(addressOf('', 'q'));
    for (let at = 0; at < length; at += part)
      expect(
        message
          .body()
          .subarray(at, at + part)
          .equals(content.subarray(0, length - at)),
      ).toBe(true);
    return { sizes, cameThen };
  }

  it('is never more than sixty-four times what has come, but for the first 64 KiB', () => {
    for (const length of [20_000, 100_000, 1_048_576, 30_000_000])
      for (const part of [1_000, 65_000, 131_064]) {
        const { sizes, cameThen } = taken(length, part);
        for (let i = 0; i < sizes.length; i++)
          expect(sizes[i]! - 100).toBeLessThanOrEqual(Math.max(65_536, cameThen[i]! * 64));
      }
  });

  it('is taken at most twice for a body of 1 MiB, in whatever parts it comes', () => {
    for (const part of [4_088, 30_000, 65_000, 131_064]) {
      const { sizes } = taken(1_048_576, part);
      expect(sizes.length).toBeLessThanOrEqual(2);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1_048_576 + 65_536 + 200);
    }
  });

  it('of 100 MiB is moved before a fiftieth of it has come', () => {
    const { sizes, cameThen } = taken(100 * 1024 * 1024, 65_528);
    expect(sizes.length).toBeLessThanOrEqual(4);
    expect(cameThen.at(-1)).toBeLessThan(2 * 1024 * 1024);
  });
});

// Large bodies over real sockets: they are read straight to their places, and their memory is used again. Whatever frames they come in, and
// whatever comes between these, each arrives as it was sent, and nothing of one is ever seen in another.

import { describe, expect, it } from 'vitest';
import { Random } from '../../conformance/support/random.ts';
import {
  body,
  header,
  method,
  openRaw,
  publish,
  type RawClient,
} from '../../conformance/support/raw-client.ts';
import { Session, startBroker } from './support.ts';

const FRAME_MAX = 131_072;

/** The content of message `id`: every four octets say whose they are. */
function contentOf(id: number, length: number): Buffer {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(id);
  return Buffer.alloc(length, mark);
}

/** Frames of a publish, its body in frames of any size. */
function frames(random: Random, channel: number, id: number, length: number, frameMax: number): Buffer[] {
  const content = contentOf(id, length);
  const parts = [
    method(channel, 'basic.publish', { exchange: '', routingKey: 'q' }),
    header(channel, length, { messageId: String(id), deliveryMode: 1 + random.below(2) }),
  ];
  const most = frameMax - 8;
  for (let at = 0; at < length; ) {
    const size = random.chance(0.7) ? most : 1 + random.below(most);
    parts.push(body(channel, content.subarray(at, at + size)));
    at += size;
  }
  return parts;
}

/** A run of publishes, those of each channel in order, frames of different channels mixed. */
function conversation(random: Random, firstId: number, count: number): Buffer[] {
  const channels = [1, 2, 3].map((channel) => {
    const waiting: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const length = random.chance(0.3) ? random.below(100_000) : 100_000 + random.below(900_000);
      waiting.push(...frames(random, channel, firstId + i * 3 + channel, length, FRAME_MAX));
    }
    return waiting;
  });
  const mixed: Buffer[] = [];
  let at = 0;
  while (channels.some((waiting) => waiting.length > 0)) {
    if (random.chance(0.3)) at = random.below(3);
    const frame = channels[at]!.shift();
    if (frame === undefined) at = random.below(3);
    else mixed.push(frame);
  }
  return mixed;
}

async function client(url: string): Promise<RawClient> {
  const raw = await openRaw(url, { frameMax: FRAME_MAX });
  for (const channel of [1, 2, 3]) await raw.openChannel(channel);
  return raw;
}

describe('large bodies', () => {
  it.each([1, 2, 3])(
    'arrive as they were sent, from several clients and channels at once (seed %i)',
    async (seed) => {
      const random = new Random(seed);
      const broker = await startBroker({ turnReadBytes: seed === 1 ? 4096 : 131_072 });
      const session = await Session.open(broker);
      await session.queue('q');
      const clients = [await client(broker.url), await client(broker.url)];
      const wanted = clients.length * 3 * 5;
      const wrong: string[] = [];
      const ids = new Set<string>();
      const all = new Promise<void>((resolve) => {
        void session.channel.consume('q', (message) => {
          const id = String(message!.properties.messageId);
          const { content } = message!;
          if (!content.equals(contentOf(Number(id), content.length))) wrong.push(id);
          ids.add(id);
          session.channel.ack(message!);
          if (ids.size === wanted) resolve();
        });
      });
      for (const [i, raw] of clients.entries()) {
        const bytes = Buffer.concat(conversation(random, i * 1_000, 5));
        for (let at = 0; at < bytes.length; ) {
          const size = 1 + random.below(400_000);
          raw.send(bytes.subarray(at, at + size));
          at += size;
          // So that it comes in pieces.
          if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
        }
      }
      await all;
      expect(wrong).toEqual([]);
    },
  );

  it('that end badly, or turn out larger than announced, end their connection and harm no other', async () => {
    const broker = await startBroker();
    const session = await Session.open(broker);
    await session.queue('q');
    for (const harm of ['end octet', 'too much', 'cut']) {
      const raw = await client(broker.url);
      const content = contentOf(7, 400_000);
      raw.send(
        method(1, 'basic.publish', { exchange: '', routingKey: 'q' }),
        header(1, content.length),
        body(1, content.subarray(0, 100_000)),
      );
      const rest = body(1, content.subarray(100_000, 231_000));
      if (harm === 'end octet') rest[rest.length - 1] = 0;
      if (harm === 'cut') raw.destroy();
      else {
        raw.send(rest, body(1, content.subarray(0, 131_000)), body(1, content.subarray(0, 131_000)));
        await raw.untilConnectionClose();
      }
      const sound = contentOf(8, 400_000);
      session.channel.sendToQueue('q', sound);
      await session.channel.waitForConfirms();
      const got = await session.get('q');
      expect(got!.content.equals(sound)).toBe(true);
      session.channel.ack(got!);
    }
  });

  it('that are broken off by a method end their connection, and what came between their frames stands', async () => {
    const broker = await startBroker();
    const session = await Session.open(broker);
    await session.queue('q');
    const raw = await client(broker.url);
    const content = contentOf(7, 1_000_000);
    raw.send(
      method(1, 'basic.publish', { exchange: '', routingKey: 'q' }),
      header(1, content.length),
      body(1, content.subarray(0, 131_000)),
    );
    // On the other channel a whole message, between two frames of this one.
    raw.send(publish(2, '', 'q', 'between'));
    const frame = body(1, content.subarray(131_000, 262_000));
    raw.send(frame.subarray(0, 60_000));
    raw.send(frame.subarray(60_000), method(1, 'basic.ack', { deliveryTag: 1 }));
    await raw.untilConnectionClose();
    const got = await session.get('q');
    expect(got!.content.toString()).toBe('between');
  });
});

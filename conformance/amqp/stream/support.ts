// What the tests of streams share. Must not know which broker it talks to.
import { expect } from 'vitest';
import type { Channel, Consumer, Message } from '../../support/channel.ts';
import type { Scene } from '../../support/scene.ts';
import { WAIT_MS } from '../../support/waiting.ts';

type Fields = Record<string, unknown>;

/** Declares a stream, removed at the end; its name. */
export function stream(t: Scene, args: Fields = {}): Promise<string> {
  return t.queue({ durable: true, arguments: { 'x-queue-type': 'stream', ...args } });
}

/** A stream with these messages, each confirmed before the next is published. */
export async function filled(t: Scene, bodies: readonly string[], args: Fields = {}): Promise<string> {
  const name = await stream(t, args);
  const channel = await t.newChannel();
  await channel.confirms();
  for (const body of bodies) await channel.publishConfirmed('', name, [body]);
  return name;
}

/** A consumer on a channel of its own, with a prefetch. Its place in the stream is fixed when it is given back. */
export async function reader(t: Scene, name: string, args: Fields = {}, prefetch = 100): Promise<Consumer> {
  const channel = await t.newChannel();
  await channel.qos(prefetch);
  const consumer = await channel.consume(name, { arguments: args });
  // RabbitMQ answers before it looks where the stream ends.
  await channel.fence();
  return consumer;
}

/** A confirm channel. */
export async function publisher(t: Scene): Promise<Channel> {
  const channel = await t.newChannel();
  await channel.confirms();
  return channel;
}

export function offsetOf(message: Message): unknown {
  return message.properties.headers?.['x-stream-offset'];
}

/** `offset body` of each. */
export function shown(messages: readonly Message[]): string[] {
  return messages.map((each) => `${String(offsetOf(each))} ${each.body}`);
}

/** Offset of the oldest message that is kept. */
export async function oldest(t: Scene, name: string): Promise<number> {
  const consumer = await reader(t, name, { 'x-stream-offset': 'first' }, 1);
  const offset = Number(offsetOf(await consumer.next()));
  await consumer.channel.close();
  return offset;
}

/** Reads from the start until what is older than `offset` is gone: retention works behind the confirms. */
export async function untilOldest(t: Scene, name: string, offset: number): Promise<number> {
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    const found = await oldest(t, name);
    if (found >= offset) return found;
    if (Date.now() > deadline) expect(found, 'oldest offset').toBeGreaterThanOrEqual(offset);
  }
}

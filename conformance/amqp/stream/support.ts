// What the tests of streams share. Must not know which broker it talks to.
import type { Channel, Consumer, Message } from '../../support/channel.ts';
import type { Scene } from '../../support/scene.ts';

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

/** A consumer on a channel of its own, with a prefetch. */
export async function reader(t: Scene, name: string, args: Fields = {}, prefetch = 100): Promise<Consumer> {
  const channel = await t.newChannel();
  await channel.qos(prefetch);
  return channel.consume(name, { arguments: args });
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

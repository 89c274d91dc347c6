// Questions that many wire tests ask: how was this refused, does the broker still serve. Owns no socket of its own.
import { expect } from 'vitest';
import { type CloseReason, closeReason, publish, type RawClient } from './raw-client.ts';
import type { Target } from './target.ts';

/** How a refusal must read. A string is the explanation behind the name of the code; a pattern meets the whole text. */
export interface Refusal {
  readonly code: number | readonly number[];
  readonly text?: string | RegExp;
  /** Class and method blamed; 0 and 0 when none is. Not looked at when absent. */
  readonly method?: readonly [number, number];
}

/** Names of the reply codes, as texts begin with them. */
export const REPLY_NAMES: Readonly<Record<number, string>> = {
  311: 'CONTENT_TOO_LARGE',
  312: 'NO_ROUTE',
  320: 'CONNECTION_FORCED',
  403: 'ACCESS_REFUSED',
  404: 'NOT_FOUND',
  405: 'RESOURCE_LOCKED',
  406: 'PRECONDITION_FAILED',
  501: 'FRAME_ERROR',
  502: 'SYNTAX_ERROR',
  503: 'COMMAND_INVALID',
  504: 'CHANNEL_ERROR',
  505: 'UNEXPECTED_FRAME',
  506: 'RESOURCE_ERROR',
  530: 'NOT_ALLOWED',
  540: 'NOT_IMPLEMENTED',
  541: 'INTERNAL_ERROR',
};

/** Asserts that `reason` reads as `refusal` says. */
export function expectReason(reason: CloseReason, refusal: Refusal): void {
  const codes = typeof refusal.code === 'number' ? [refusal.code] : refusal.code;
  expect(codes, `code of: ${reason.text}`).toContain(reason.code);
  // RabbitMQ prints terms over several lines when they grow long.
  const text = reason.text.replace(/\n\s*/g, '');
  if (typeof refusal.text === 'string') expect(text).toBe(`${REPLY_NAMES[reason.code]} - ${refusal.text}`);
  else if (refusal.text !== undefined) expect(text).toMatch(refusal.text);
  if (refusal.method !== undefined) {
    expect([reason.classId, reason.methodId], `class and method of: ${reason.text}`).toEqual(refusal.method);
  }
}

/** The server must close the connection so, and end TCP at our close-ok. */
export async function expectHardError(client: RawClient, refusal: Refusal): Promise<void> {
  expectReason(await client.expectConnectionClose(), refusal);
  await client.closedWithin();
}

/** As `expectHardError`, after a broken frame: nothing behind it is read, close-ok neither, so the end may take its time. */
export async function expectFramingError(client: RawClient, refusal: Refusal): Promise<void> {
  expectReason(await client.expectConnectionClose(), refusal);
}

/** The server must close the channel so; the connection must go on. */
export async function expectSoftError(client: RawClient, channel: number, refusal: Refusal): Promise<void> {
  expectReason(await client.expectChannelClose(channel), refusal);
  await client.openChannel(channel);
}

/**
 * Opens the channel, which must end the connection: why. A RabbitMQ counts channels a little after it has opened them,
 * so there it may be one of the next.
 */
export async function expectChannelRefused(
  target: Target,
  client: RawClient,
  channel: number,
): Promise<CloseReason> {
  const last = target.isRabbitMQ ? channel + 1_000 : channel;
  for (let number = channel; ; number++) {
    client.sendMethod(number, 'channel.open');
    const reply = await client.next();
    if (reply.name === 'connection.close') {
      client.sendMethod(0, 'connection.close-ok');
      return closeReason(reply.fields);
    }
    expect([reply.channel, reply.name]).toEqual([number, 'channel.open-ok']);
    expect(number, 'channels that were opened').toBeLessThan(last);
  }
}

/** A new client can connect, declare, publish and get: whatever happened before broke nothing. */
export async function expectServes(target: Target): Promise<void> {
  const client = await target.openWithChannel();
  const queue = target.name('serves');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  client.send(publish(1, '', queue, 'still here'));
  const content = await client.get(1, queue);
  expect(content.body.toString()).toBe('still here');
  await client.close();
}

/** Runs named cases side by side, because each may wait seconds for a silent close; reports every one that failed. */
export async function together<T>(
  cases: Readonly<Record<string, T>>,
  run: (value: T, name: string) => Promise<void>,
): Promise<void> {
  const names = Object.keys(cases);
  const results = await Promise.allSettled(names.map((name) => run(cases[name]!, name)));
  const failures = results.flatMap((result, i) =>
    result.status === 'rejected' ? [`${names[i]}: ${(result.reason as Error).message}`] : [],
  );
  expect(failures).toEqual([]);
}

// How an exchange spreads messages over queues. Must not know how any broker works inside.
import { expect } from 'vitest';
import type { Scene } from './scene.ts';
import { WAIT_MS } from './waiting.ts';

/** A new exchange and a queue per binding key. */
export async function bound(
  t: Scene,
  type: string,
  keys: readonly string[],
  args: Record<string, unknown> = {},
): Promise<{ exchange: string; queues: string[] }> {
  const exchange = await t.exchange(type, { arguments: args });
  const queues: string[] = [];
  for (const key of keys) queues.push(await t.boundQueue(exchange, key));
  return { exchange, queues };
}

/** Ready messages of each queue, once they are `total` together: counts may overtake publishes on their way. */
export async function counts(t: Scene, queues: readonly string[], total: number): Promise<number[]> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found: number[] = [];
    for (const queue of queues) found.push((await t.channel.settle(queue)).messageCount);
    if (found.reduce((sum, count) => sum + count, 0) === total) return found;
    if (Date.now() > deadline) throw new Error(`${found} are not ${total} messages`);
  }
}

/** Each count within a fifth of what is expected. */
export function expectAbout(found: readonly number[], expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, count] of found.entries()) {
    expect(count, `${found}`).toBeGreaterThan(expected[i]! * 0.8);
    expect(count, `${found}`).toBeLessThan(expected[i]! * 1.2);
  }
}

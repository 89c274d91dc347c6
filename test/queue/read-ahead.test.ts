// How much of a long queue is in memory ahead of its consumers.
import { expect, it } from 'vitest';
import type { Entry } from '../../src/message/entry.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { READ_AHEAD_BYTES } from '../../src/queue/line.ts';
import { persistentOf, QueueKit, settle, TestConsumer } from './kit.ts';

const MIB = 1024 * 1024;
class Taker extends TestConsumer {
  queue: ClassicQueue | null = null;
  override deliver(entry: Entry): void {
    this.received.push('x');
    this.held.push(entry);
  }
  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }
}
it.each([{}, { 'x-max-priority': 5 }])('a queue with %j is read ahead 4 MiB at most', async (args) => {
  const kit = await QueueKit.open({ queueMemory: 16 * MIB });
  const queue = kit.queue(args as Record<string, unknown>);
  const total = 4_000;
  for (let i = 0; i < total; i++) queue.publish(persistentOf('x'.repeat(10_000)));
  await kit.settle();
  const a = new Taker('a', { limit: 50 });
  a.queue = queue;
  queue.consume(a);
  let max = 0;
  while (a.received.length < total) {
    await kit.until(() => a.held.length > 0);
    for (const e of [...a.held]) settle(e, 'ack');
    kit.run();
    if (queue.messageCount < 2_200 && queue.messageCount > 1_500) {
      for (let i = 0; i < 5; i++) await kit.settle();
      max = Math.max(max, queue.memoryBytes);
    }
  }
  expect(max).toBeLessThanOrEqual(READ_AHEAD_BYTES + MIB);
  await kit.close();
});

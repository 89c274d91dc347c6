// A key that a slow consumer holds must not keep other keys on disk.
import { expect, it } from 'vitest';
import type { Entry } from '../../src/message/entry.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { messageOf, QueueKit, settle, TestConsumer } from './kit.ts';

const MIB = 1024 * 1024;
class Taker extends TestConsumer {
  queue: ClassicQueue | null = null;
  override deliver(entry: Entry): void {
    this.received.push(entry.message.body().toString('latin1', 0, 8).trim());
    this.held.push(entry);
  }
  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }
}

// docs/ordering-keys.md, Limits: nothing more is read from disk when parked messages take half of `queueMemoryBytes`.
it('messages of free keys come back from disk while parked ones take less than half of the memory', async () => {
  const kit = await QueueKit.open({ queueMemory: 16 * MIB });
  const queue = kit.queue({ 'x-ordering-key': 'account' });
  const put = (account: string, text: string) =>
    queue.publish(messageOf(text.padEnd(100_000), { headers: tableOf({ account }) }));
  for (let i = 0; i < 40; i++) put('busy', `busy${i}`); // 4 MB of 16 MiB
  for (let i = 0; i < 160; i++) put(`f${i}`, `free${i}`);
  await kit.settle();
  expect(queue.pagedOutCount).toBeGreaterThan(10);
  const [a, b] = ['a', 'b'].map((tag) => new Taker(tag, { limit: 1 })) as [Taker, Taker];
  for (const taker of [a, b]) {
    taker.queue = queue;
    queue.consume(taker);
  }
  for (let i = 0; i < 2_000; i++) {
    kit.run();
    await new Promise((resolve) => setImmediate(resolve));
    kit.shard.commit();
    for (const t of [a, b])
      for (const e of [...t.held])
        if (!e.message.body().toString('latin1', 0, 4).startsWith('busy')) settle(e, 'ack');
  }
  const seen = [...a.received, ...b.received].filter((t) => t.startsWith('free')).length;
  expect(queue.memoryBytes).toBeLessThan(8 * MIB);
  expect(seen).toBe(160);
  await kit.close();
});

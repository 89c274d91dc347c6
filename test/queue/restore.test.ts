// A queue that is filled again from the store: nothing of it moves before recovery has ended.

import { expect, it } from 'vitest';
import { until } from '../store/harness.ts';
import { persistentOf, QueueKit } from './kit.ts';

it('what expired while it was only in the store stays until recovery has ended', async () => {
  const kit = await QueueKit.open({ queueMemory: 1_000 });
  const queue = kit.queue();
  // The first never expires and fills the memory: what comes behind it is in the store only, and indexed.
  queue.publish(persistentOf('x'.repeat(2_000)));
  for (let i = 0; i < 3; i++) queue.publish(persistentOf('brief', { expiration: '10' }));
  await kit.settle();
  expect(queue.pagedOutCount).toBe(3);
  const stored = await new Promise<Parameters<typeof queue.restore>[1]>((resolve, reject) => {
    kit.shard.read(1, 1, 1e6, (error, run) => (error === null ? resolve(run) : reject(error)));
  });

  const again = kit.queue({}, { name: 'q1' }, 1);
  again.restoreFacts(1, 5, new Map());
  again.restore(1, stored);
  // Recovery of a large store takes its time: timers fire, turns run.
  for (let i = 0; i < 10; i++) {
    kit.clock.advance(20);
    kit.run();
  }
  expect(again.messageCount).toBe(4);
  again.wake();
  await until(() => {
    kit.clock.advance(20);
    kit.run();
    return again.messageCount === 1;
  });
  await kit.close();
});

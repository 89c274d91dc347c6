// What a queue remembers of its messages, where that is more than one sees from outside.

import { expect, it } from 'vitest';
import { messageOf, QueueKit } from './kit.ts';

it('a purge does not bring back what a queue has forgotten for want of room', async () => {
  const kit = await QueueKit.open();
  const queue = kit.queue({ 'x-message-deduplication': true, 'x-cache-size': 1 });
  const publish = (text: string): void => {
    const headers = new Map([['x-deduplication-header', { tag: 'S', value: text } as const]]);
    queue.publish(messageOf(text, { headers }));
  };
  publish('first');
  queue.get(false);
  publish('second');
  queue.purge();
  publish('second');
  expect(queue.messageCount).toBe(0);
  publish('first');
  expect(queue.messageCount).toBe(1);
  await kit.close();
});

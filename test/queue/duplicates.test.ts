// What a queue remembers of its messages, where that is more than one sees from outside.

import { expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { Message } from '../../src/message/message.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import type { BasicProperties } from '../../src/protocol/properties.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { Duplicates } from '../../src/queue/duplicates.ts';
import { messageOf, QueueKit } from './kit.ts';

function like(text: string, properties: Partial<BasicProperties> = {}): Message {
  const headers = tableOf({ 'x-deduplication-header': text });
  return messageOf(text, { headers, ...properties });
}

/** A queue that has no memory left for messages. */
async function fullQueue(args: Record<string, unknown>): Promise<{ kit: QueueKit; queue: ClassicQueue }> {
  const kit = await QueueKit.open({ queueMemory: 10_000 });
  const queue = kit.queue({ 'x-message-deduplication': true, 'x-dead-letter-exchange': 'dead', ...args });
  for (let i = 0; i < 20; i++) queue.publish(messageOf('.'.repeat(1_000)));
  expect(queue.memoryBytes).toBeLessThan(20_000);
  return { kit, queue };
}

it('a purge does not bring back what a queue has forgotten for want of room', async () => {
  const kit = await QueueKit.open();
  const queue = kit.queue({ 'x-message-deduplication': true, 'x-cache-size': 1 });
  const publish = (text: string): number => queue.publish(like(text));
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

it('after a restart, of messages that are alike the latest counts', () => {
  const options = { header: 'x-deduplication-header', sizeMax: 2, ttlMs: 1_000, afterwards: true };
  const duplicates = new Duplicates(options, new FakeClock());
  for (const text of ['a', 'b', 'a']) duplicates.holds(like(text));
  expect(duplicates.admits(like('c'))).toBe(true);
  expect(duplicates.admits(like('a'))).toBe(false);
  expect(duplicates.admits(like('b'))).toBe(true);
});

it('after a restart, a message is remembered for as long as it asked for', () => {
  const clock = new FakeClock();
  const options = { header: 'x-deduplication-header', sizeMax: 10, ttlMs: 60_000, afterwards: true };
  const duplicates = new Duplicates(options, clock);
  const headers = { 'x-deduplication-header': 'a', 'x-cache-ttl': 1_000 };
  const message = messageOf('a', { headers: tableOf(headers) });
  duplicates.holds(message);
  clock.advance(1_000);
  expect(duplicates.admits(message)).toBe(true);
});

it('a duplicate that is to be handed out now or never is dropped, not dead-lettered, when messages are on disk too', async () => {
  const { kit, queue } = await fullQueue({});
  queue.publish(like('a'));
  queue.publish(like('a', { expiration: '0' }));
  kit.run();
  expect(kit.deaths).toEqual([]);
  expect(queue.duplicates!.dropped).toBe(1);
  await kit.close();
});

it('a message that came too late to be handed out is remembered for as long as was asked, when messages are on disk too', async () => {
  const { kit, queue } = await fullQueue({ 'x-cache-ttl': 1_000 });
  queue.publish(like('a', { expiration: '0' }));
  kit.run();
  expect(kit.deaths).toEqual(['q1 expired a']);
  const before = queue.messageCount;
  queue.publish(like('a'));
  expect(queue.messageCount).toBe(before);
  kit.clock.advance(1_000);
  queue.publish(like('a'));
  expect(queue.messageCount).toBe(before + 1);
  await kit.close();
});

it('a message that came too late to be handed out may come back to its queue, which remembers what it has', async () => {
  const { kit, queue } = await fullQueue({});
  kit.onDeath = () => {
    queue.publish(like('a'));
  };
  const before = queue.messageCount;
  queue.publish(like('a', { expiration: '0' }));
  expect(queue.messageCount).toBe(before + 1);
  queue.publish(like('a'));
  expect(queue.messageCount).toBe(before + 1);
  await kit.close();
});

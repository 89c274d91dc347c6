// What a queue remembers of its messages, where that is more than one sees from outside.

import { expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { Message } from '../../src/message/message.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import { Duplicates } from '../../src/queue/duplicates.ts';
import { messageOf, QueueKit } from './kit.ts';

function like(text: string): Message {
  return messageOf(text, { headers: new Map([['x-deduplication-header', { tag: 'S', value: text }]]) });
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

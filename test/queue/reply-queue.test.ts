// Direct reply-to: replies that go straight to one consumer.

import { describe, expect, it } from 'vitest';
import { Turn } from '../../src/base/turn.ts';
import {
  isReplyName,
  REPLIES_WAITING_MAX,
  REPLY_BYTES_WAITING_MAX,
  REPLY_TO_PREFIX,
  ReplyQueue,
} from '../../src/queue/reply-queue.ts';
import { messageOf, TestConsumer } from './kit.ts';

function open(): { queue: ReplyQueue; consumer: TestConsumer; turn: Turn } {
  const turn = new Turn(() => {});
  const queue = new ReplyQueue('reply', turn);
  const consumer = new TestConsumer('c', { noAck: true });
  queue.consume(consumer);
  return { queue, consumer, turn };
}

describe('replies', () => {
  it('come in order, in the turn after they were sent', () => {
    const { queue, consumer, turn } = open();
    queue.publish(messageOf('a'));
    queue.publish(messageOf('b'));
    expect(consumer.received).toEqual([]);
    turn.run();
    expect(consumer.received).toEqual(['a', 'b']);
  });

  it('wait for a requester that cannot take them now', () => {
    const { queue, consumer, turn } = open();
    consumer.limit = 0;
    queue.publish(messageOf('a'));
    turn.run();
    expect(consumer.parked).toBe(true);
    consumer.limit = 1;
    queue.unpark();
    turn.run();
    expect(consumer.received).toEqual(['a']);
    expect(consumer.parked).toBe(false);
  });

  it('to a requester that is gone are dropped, those that were on their way too', () => {
    const { queue, consumer, turn } = open();
    queue.publish(messageOf('a'));
    queue.cancel();
    queue.publish(messageOf('b'));
    turn.run();
    expect(consumer.received).toEqual([]);
  });

  it('that wait are limited in number', () => {
    const { queue, consumer, turn } = open();
    consumer.limit = 0;
    for (let i = 0; i < REPLIES_WAITING_MAX + 10; i++) queue.publish(messageOf('x'));
    consumer.limit = 1e9;
    turn.run();
    expect(consumer.received.length).toBe(REPLIES_WAITING_MAX);
  });

  it('that wait are limited in bytes, but one may have any length', () => {
    const { queue, consumer, turn } = open();
    consumer.limit = 0;
    const large = 'x'.repeat(REPLY_BYTES_WAITING_MAX + 1);
    queue.publish(messageOf(large));
    queue.publish(messageOf('y'));
    consumer.limit = 1e9;
    turn.run();
    expect(consumer.received.map((text) => text.length)).toEqual([large.length]);
    queue.publish(messageOf('z'));
    turn.run();
    expect(consumer.received.at(-1)).toBe('z');
  });

  it('go to names that look like ours', () => {
    const part = 'Az09-_'.padEnd(22, 'x');
    expect(isReplyName(`${REPLY_TO_PREFIX}${part}.${part}`)).toBe(true);
    for (const name of ['', part, `${part}.`, `${part}.${part}x`, `${part}.${part.replace('x', '+')}`])
      expect(isReplyName(REPLY_TO_PREFIX + name)).toBe(false);
  });
});

// The behaviour that every queue type has, as far as its seam goes. A new queue type passes this before anything imports it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCEPTED, MUST_COMMIT, type Queue } from '../../src/queue/queue.ts';
import { messageOf, persistentOf, type QueueKit, settle, TestConsumer, textOf } from './kit.ts';

/** How the suite makes queues of a type. */
export interface QueueCase {
  readonly kit: QueueKit;
  /** A durable queue without arguments. */
  readonly make: () => Queue;
}

/** Runs the suite. `open` is called for every test. */
export function queueSuite(name: string, open: () => Promise<QueueCase>): void {
  describe(`${name} queue`, () => {
    let kit: QueueKit;
    let queue: Queue;

    beforeEach(async () => {
      const opened = await open();
      kit = opened.kit;
      queue = opened.make();
    });

    afterEach(async () => {
      await kit.close();
    });

    function publish(...texts: string[]): void {
      for (const text of texts) queue.publish(messageOf(text));
    }

    function consume(...options: ConstructorParameters<typeof TestConsumer>): TestConsumer {
      const consumer = new TestConsumer(...options);
      queue.consume(consumer);
      return consumer;
    }

    function ready(): string[] {
      const texts: string[] = [];
      for (let entry = queue.get(true); entry !== null; entry = queue.get(true)) texts.push(textOf(entry)!);
      return texts;
    }

    describe('publishing and getting', () => {
      it('hands out messages in the order in which they came', () => {
        publish('a', 'b', 'c');
        expect(queue.messageCount).toBe(3);
        expect(ready()).toEqual(['a', 'b', 'c']);
        expect(queue.messageCount).toBe(0);
      });

      it('says whether a confirm has to wait for the disk', () => {
        expect(queue.publish(messageOf('transient'))).toBe(ACCEPTED);
        expect(queue.publish(persistentOf('persistent'))).toBe(MUST_COMMIT);
      });

      it('answers a get of an empty queue with nothing', () => {
        expect(queue.get(true)).toBeNull();
        expect(queue.get(false)).toBeNull();
      });

      it('keeps what a get took until it is settled', () => {
        publish('a');
        const entry = queue.get(false)!;
        expect(queue.messageCount).toBe(0);
        queue.requeue(entry);
        expect(queue.messageCount).toBe(1);
        expect(queue.get(false)!.redelivered).toBe(true);
      });
    });

    describe('consumers', () => {
      it('get nothing inside a publish, and everything in the turn after it', () => {
        const consumer = consume('c');
        publish('a', 'b');
        expect(consumer.received).toEqual([]);
        kit.run();
        expect(consumer.received).toEqual(['a', 'b']);
      });

      it('get what waited for them', () => {
        publish('a', 'b');
        const consumer = consume('c', { noAck: true });
        kit.run();
        expect(consumer.received).toEqual(['a', 'b']);
        expect(queue.messageCount).toBe(0);
      });

      it('get no more than they can take, and the next when something is settled', () => {
        const consumer = consume('c', { limit: 2 });
        publish('a', 'b', 'c', 'd');
        kit.run();
        expect(consumer.received).toEqual(['a', 'b']);
        settle(consumer.entry('a'), 'ack');
        queue.unpark(consumer);
        kit.run();
        expect(consumer.received).toEqual(['a', 'b', 'c']);
      });

      it('take turns', () => {
        const one = consume('1');
        const two = consume('2');
        publish('a', 'b', 'c', 'd');
        kit.run();
        expect(one.received).toEqual(['a', 'c']);
        expect(two.received).toEqual(['b', 'd']);
      });

      it('get nothing any more once they are cancelled, and keep what they hold', () => {
        const consumer = consume('c');
        publish('a');
        kit.run();
        queue.cancel(consumer);
        publish('b');
        kit.run();
        expect(consumer.received).toEqual(['a']);
        expect(queue.consumerCount).toBe(0);
        settle(consumer.entry('a'), 'requeue');
        expect(ready()).toEqual(['a', 'b']);
      });

      it('share a long queue with the other queues of the broker: a turn delivers a limited number', async () => {
        for (let i = 0; i < 2_500; i++) publish(`${i}`);
        const consumer = consume('c', { noAck: true });
        kit.run();
        expect(consumer.received.length).toBe(1_000);
        kit.run();
        kit.run();
        expect(consumer.received.length).toBe(2_500);
      });
    });

    describe('settling', () => {
      it('puts requeued messages back where they came from, marked as redelivered', () => {
        const consumer = consume('c', { limit: 4 });
        publish('a', 'b', 'c', 'd', 'e');
        kit.run();
        queue.cancel(consumer);
        settle(consumer.entry('c'), 'requeue');
        settle(consumer.entry('a'), 'requeue');
        settle(consumer.entry('d'), 'requeue');
        settle(consumer.entry('b'), 'ack');
        const flags: string[] = [];
        for (let entry = queue.get(true); entry !== null; entry = queue.get(true))
          flags.push(`${textOf(entry)}${entry.redelivered ? '*' : ''}`);
        expect(flags).toEqual(['a*', 'c*', 'd*', 'e']);
      });

      it('forgets what is acknowledged or rejected', () => {
        const consumer = consume('c');
        publish('a', 'b');
        kit.run();
        settle(consumer.entry('a'), 'ack');
        settle(consumer.entry('b'), 'reject');
        queue.cancel(consumer);
        expect(ready()).toEqual([]);
      });
    });

    describe('purging', () => {
      it('removes what is ready, says how much, and leaves what consumers hold', () => {
        const consumer = consume('c', { limit: 1 });
        publish('a', 'b', 'c');
        kit.run();
        expect(queue.purge()).toBe(2);
        expect(queue.messageCount).toBe(0);
        queue.cancel(consumer);
        settle(consumer.entry('a'), 'requeue');
        expect(ready()).toEqual(['a']);
      });
    });
  });
}

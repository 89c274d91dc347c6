// Ordering keys, and what operators do with queues: pause, peek, move, redrive.
import type { Rule } from '../rules.ts';

export const operationsRules: readonly Rule[] = [
  {
    id: '5.6.ordering-holder',
    text: 'With x-ordering-key, messages with the same value of the header are never unacked at two consumers at once; others are delivered meanwhile.',
  },
  {
    id: '5.6.ordering-prefetch',
    text: 'The consumer that holds a key is given more of it, in order, within its prefetch.',
  },
  {
    id: '5.6.ordering-release',
    text: 'A key is free again when its last delivery is settled: acked, rejected, requeued, or given back by a channel or connection that ends.',
  },
  {
    id: '5.6.ordering-requeue',
    text: 'A message that came back is delivered before everything else of its key and priority.',
  },
  {
    id: '5.6.ordering-cancel',
    text: 'A consumer that is cancelled keeps the keys of what it holds until it settles that.',
  },
  {
    id: '5.6.ordering-get',
    text: 'basic.get counts as a consumer of its own each time: it takes the first message whose key nobody holds, and get-empty is the answer when there is none.',
  },
  {
    id: '5.6.ordering-no-ack',
    text: 'A consumer without acks holds no key, and is given nothing of a key that somebody holds.',
  },
  {
    id: '5.6.ordering-value',
    text: 'Keys are texts, numbers and booleans, compared by value; messages without such a header are in no order.',
  },
  {
    id: '5.6.ordering-priority',
    text: 'In a queue with priorities keys are held across all of them; within one, the order of a key is strict.',
  },
  {
    id: '5.6.ordering-expire',
    text: 'What waits for its key expires, is dropped from a queue that is too long, and is purged like any other message.',
  },
  {
    id: '5.6.ordering-retry',
    text: 'A message that waits for a retry keeps its key: nothing of the key is delivered before it.',
  },
  {
    id: '5.6.ordering-single-active',
    text: 'With a single active consumer, the next one is given nothing of a key that the one before still holds.',
  },
  {
    id: '5.6.pause',
    text: 'A paused queue delivers nothing and answers basic.get with get-empty; it takes messages, settles deliveries and counts as before.',
  },
  {
    id: '5.6.peek',
    text: 'Looking into a queue leaves no trace: no redelivered mark, no other order, no other counts.',
  },
  {
    id: '5.6.move',
    text: 'Single messages are moved to another queue with exchange, routing key, headers and properties as they are, and are not redelivered there.',
  },
  {
    id: '5.6.redrive',
    text: 'Dead letters go back to the queue they died in as they were before, or through the exchange they had been published to.',
  },
];

// Dead-lettering: section 8.
import type { Rule } from '../rules.ts';

export const deathRules: readonly Rule[] = [
  {
    id: '8.1.rejected',
    text: 'A message rejected or nacked without requeue is dead-lettered with the reason rejected.',
  },
  { id: '8.1.expired', text: 'An expired message is dead-lettered with the reason expired.' },
  {
    id: '8.1.maxlen',
    text: 'A message dropped from the head of a full queue is dead-lettered with the reason maxlen.',
  },
  {
    id: '8.1.reject-publish-dlx',
    text: 'A publish refused by reject-publish-dlx is dead-lettered with the reason maxlen, and nacked; one refused by reject-publish is not dead-lettered.',
  },
  {
    id: '8.1.not',
    text: 'Purged messages, those of a deleted queue and those that a channel gives back are not dead-lettered.',
  },
  {
    id: '8.2.address',
    text: 'A dead letter is delivered with the dead-letter exchange and its own routing key, or that of the queue.',
  },
  {
    id: '8.2.copies',
    text: 'A dead letter goes to its CC keys too, unless the queue has a key for dead letters.',
  },
  {
    id: '8.2.cc-stays',
    text: 'The header CC stays, also when the queue has a key for dead letters.',
    difference: {
      rabbitmq: 'removes CC when x-dead-letter-routing-key is set',
      ours: 'keeps it',
      reason: 'RabbitMQ 3.13 keeps it.',
      below: '3.13.0',
    },
  },
  {
    id: '8.2.properties',
    text: 'A dead letter keeps its properties and headers, except for the expiration.',
  },
  {
    id: '8.2.persistent',
    text: 'A dead letter stays as persistent as it was: over a restart its new queue has what was persistent, and no more.',
  },
  {
    id: '8.2.permission',
    text: 'Dead-lettering asks nobody for a permission: what a user rejects goes where that user may not write.',
  },
  { id: '8.2.nowhere', text: 'Without the exchange or a route, the dead letter is dropped in silence.' },
  { id: '8.2.default-exchange', text: 'An empty dead-letter exchange is the default exchange.' },
  {
    id: '8.3.fields',
    text: 'An entry of x-death has count, reason, queue, time, exchange and routing-keys, with the types of RabbitMQ.',
  },
  { id: '8.3.expiration', text: 'original-expiration keeps the expiration of the message that died.' },
  { id: '8.3.routing-keys', text: 'routing-keys has the published key and CC, but not BCC.' },
  { id: '8.3.newest-first', text: 'The newest death comes first; there is one entry per queue and reason.' },
  {
    id: '8.3.count',
    text: 'A death that occurs again grows the count, moves to the front, and keeps the time of its first.',
  },
  { id: '8.3.first', text: 'x-first-death-reason, -queue and -exchange name the first death, and stay.' },
  {
    id: '8.3.last',
    text: 'x-last-death-reason, -queue and -exchange name the latest death.',
    difference: {
      rabbitmq: 'has no such headers',
      ours: 'sets them',
      reason: 'RabbitMQ 3.13 sets them.',
      below: '3.13.0',
    },
  },
  {
    id: '8.3.client',
    text: 'An x-death that a client sends is no history: the first death makes a new one.',
    difference: {
      rabbitmq: 'goes on counting what the client sent',
      ours: 'begins anew',
      reason: 'RabbitMQ 4.0 ignores it.',
      below: '4.0.0',
    },
  },
  {
    id: '8.3.published-again',
    text: 'What a client publishes again with the x-death of a dead letter is a new message: it may go the round once more.',
    difference: {
      rabbitmq: 'finds a cycle in the x-death that the client sent, and drops the message',
      ours: 'begins anew',
      reason: 'RabbitMQ 4.0 ignores an x-death of a client.',
      below: '4.0.0',
    },
  },
  {
    id: '8.4.cycle',
    text: 'A dead letter that would come back to a queue without a reject in between is dropped.',
  },
  {
    id: '8.4.target',
    text: 'A cycle drops the dead letter for the queue that closes it; others get theirs.',
  },
  { id: '8.4.reject', text: 'With a reject in between it goes round as often as it is rejected.' },
  { id: '8.4.self', text: 'A queue may dead-letter to itself what was rejected, but not what expired.' },
  {
    id: '8.5.absent',
    text: 'A quorum queue delivers for the first time without x-delivery-count.',
    difference: {
      rabbitmq: 'delivers it with x-delivery-count 0',
      ours: 'leaves it out',
      reason: 'RabbitMQ 3.12 leaves it out.',
      below: '3.12.0',
    },
  },
  { id: '8.5.count', text: 'Every return raises x-delivery-count: nack, reject, the end of a channel.' },
  {
    id: '8.5.acquired',
    text: 'x-acquired-count says how often the message was handed out before.',
    difference: {
      rabbitmq: 'has no such header',
      ours: 'sets it beside x-delivery-count',
      reason: 'RabbitMQ 4 counts both.',
      below: '4.0.0',
    },
  },
  {
    id: '8.5.limit',
    text: 'A message that came back more often than x-delivery-limit is dead-lettered with the reason delivery_limit.',
  },
  {
    id: '8.5.default',
    text: 'Without a limit a quorum queue has one of 20; a negative one is none.',
    difference: {
      rabbitmq: 'has no limit unless one is set',
      ours: 'dead-letters or drops after 21 returns',
      reason: 'RabbitMQ 4.0 has this default.',
      below: '4.0.0',
    },
  },
  {
    id: '8.5.persistent',
    text: 'A quorum queue keeps messages over a restart whatever their delivery mode.',
  },
  {
    id: '8.2.at-least-once',
    text: 'A quorum queue with at-least-once keeps a dead letter until somebody takes it.',
  },
  {
    id: '8.2.at-least-once-overflow',
    text: 'at-least-once needs x-overflow reject-publish; with another one it is accepted and means at-most-once.',
  },
  {
    id: '8.5.retry-delay',
    text: 'A quorum queue with x-delayed-retry-type delivers what came back after x-delayed-retry-min times its x-delivery-count, x-delayed-retry-max at most.',
    difference: {
      rabbitmq: 'does not know the arguments, and delivers again at once',
      ours: 'waits',
      reason: 'RabbitMQ 4.3 knows them.',
      below: '4.3.0',
    },
  },
  {
    id: '8.6.retry',
    text: 'A queue with x-retry-limit delivers a rejected message again after a growing wait, with x-retry-count, and dead-letters it in the end.',
  },
];

// Queue types: quorum queues, delivery limits, retries.
import type { Rule } from '../rules.ts';

export const typesRules: readonly Rule[] = [
  {
    id: '5.6.quorum',
    text: 'A quorum queue takes each of its arguments, at the bounds of what is allowed.',
  },
  {
    id: '5.6.stream',
    text: 'A stream takes each of its arguments, at the bounds of what is allowed.',
  },
  {
    id: '5.6.type-arguments',
    text: 'A quorum queue and a stream refuse their arguments with the same reasons as a classic queue.',
  },
  {
    id: '5.6.foreign',
    text: 'Arguments of another type are refused on quorum queues and streams: 406 `of queue type rabbit_…_queue`.',
  },
  {
    id: '5.6.properties',
    text: 'A quorum queue and a stream must be durable and neither exclusive nor auto-delete: 406 `invalid property`; of several, auto-delete is named, then exclusive-owner.',
  },
  {
    id: '5.6.segment-size',
    text: 'A stream with segments above 3000000000 bytes is refused with 406.',
  },
  {
    id: '5.6.limits-everywhere',
    text: 'x-delivery-limit and x-dead-letter-strategy are for classic queues too.',
    difference: {
      rabbitmq: 'refuses them on a classic queue with 406 `of queue type rabbit_classic_queue`',
      ours: 'accepts them, and they do there what they do on a quorum queue',
      reason:
        'A delivery limit and dead letters that are kept until somebody takes them are useful on every queue.',
    },
  },
  {
    id: '5.6.delivery-limit-type',
    text: 'x-delivery-limit that is no integer is refused with 406.',
    difference: {
      rabbitmq: 'accepts anything, and takes what is no integer for no limit',
      ours: '406 `expected integer`, as for every other number',
      reason: 'A limit that was mistyped and silently does nothing is found out in production.',
    },
  },
  {
    id: '5.6.consumer-timeout-type',
    text: 'x-consumer-timeout that is no integer or negative is refused with 406.',
    difference: {
      rabbitmq: 'does not know the argument, and accepts anything',
      ours: '406 `expected integer` or `{value_negative,N}`',
      reason: 'RabbitMQ 4.3 knows it, on quorum queues.',
      below: '4.3.0',
    },
  },
  {
    id: '5.6.retry',
    text: 'The arguments of retries, ordering keys and deduplication are checked, and refused on a stream.',
  },
  {
    id: '5.2.type-known',
    text: 'A redeclare compares the arguments that the type of the existing queue knows, in the order of that type.',
  },
  {
    id: '5.4.quorum-delete',
    text: 'A quorum queue is not deleted with if-unused or if-empty: 540.',
  },
  {
    id: '6.2.quorum-global-qos',
    text: 'A quorum queue has no consumer on a channel with a prefetch of the whole channel: 540.',
  },
  {
    id: '6.2.quorum-exclusive',
    text: 'An exclusive consumer of a quorum queue is the only one: 403.',
    difference: {
      rabbitmq: 'takes the exclusive consumer as any other',
      ours: 'refuses it beside others, and others beside it, as on a classic queue',
      reason: 'Whoever asks to be the only consumer must not believe that he is when he is not.',
    },
  },
  {
    id: '6.2.foreign-argument',
    text: 'Arguments of stream consumers are refused on other queues: 406.',
  },
  {
    id: '6.4.quorum-sac',
    text: 'basic.get from a quorum queue with a single active consumer is refused with 405.',
  },
  {
    id: '6.8.own',
    text: "x-consumer-timeout of a queue, or of a consumer, is the time limit of its deliveries, shorter or longer than the broker's.",
  },
];

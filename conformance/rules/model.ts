// Rules that are proved by random scripts against a plain model. Owns the ids that begin with 16.
import type { Rule } from '../rules.ts';

export const modelRules: readonly Rule[] = [
  {
    id: '16.queue-model',
    text: 'Under any sequence of publish, get, ack, nack, reject, recover, purge and channel ends a queue is a list ordered by age.',
  },
  {
    id: '16.tx-model',
    text: 'Under any sequence of the same in transactions, publishes and settlements happen at the commit or not at all.',
  },
  {
    id: '16.consumer-model',
    text: 'However consumers come, hold, settle, requeue and go, no message is lost, doubled, in two hands, beyond a limit or out of order.',
  },
  {
    id: '16.routing-model',
    text: 'In any topology of direct, fanout, topic and headers exchanges a message reaches exactly the queues the rules name, once.',
  },
];

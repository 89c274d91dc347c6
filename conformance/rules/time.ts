// Message TTL, queue expiry: section 9.
import type { Rule } from '../rules.ts';

export const timeRules: readonly Rule[] = [
  { id: '9.1.queue', text: 'A message lives as long as the x-message-ttl of its queue says.' },
  { id: '9.1.own', text: 'A message lives as long as its expiration says.' },
  { id: '9.1.smaller', text: 'Of the two the smaller counts.' },
  {
    id: '9.1.anywhere',
    text: 'A message expires when its time comes, wherever it stands in its queue, and counts no more; dead letters come in the order of deadlines.',
    difference: {
      rabbitmq:
        'lets messages of classic and quorum queues expire at the head only: behind one that lives longer they stay, and count',
      ours: 'removes and dead-letters every message when its time comes',
      reason:
        'A time to live means what it says, queue lengths are true, and a retry queue with several delays needs no queue per delay. No message is ever delivered that RabbitMQ would not deliver; it only leaves earlier.',
    },
  },
  { id: '9.1.unacked', text: 'A message that a consumer holds does not expire.' },
  {
    id: '9.1.requeued',
    text: 'A message that is given back keeps its deadline: it expires if that has passed.',
  },
  {
    id: '9.1.zero',
    text: 'With a time to live of 0 a message is handed out if a consumer can take it at that moment, and expires otherwise.',
  },
  { id: '9.1.anew', text: 'A dead letter lives as long as its new queue says, counted from its death.' },
  {
    id: '9.2.unused',
    text: 'A queue is deleted when it was unused for as long as x-expires says; its messages are not dead-lettered.',
  },
  { id: '9.2.use', text: 'A declaration, passive too, and a get are use.' },
  { id: '9.2.no-use', text: 'Publishing to it and messages in it are none.' },
  {
    id: '9.2.consumer',
    text: 'A queue with consumers does not expire; when the last one leaves its time begins anew.',
  },
];

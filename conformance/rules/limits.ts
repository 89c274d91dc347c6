// Length limits, priorities, single active consumers: section 9.
import type { Rule } from '../rules.ts';

export const limitsRules: readonly Rule[] = [
  { id: '9.3.drop-head', text: 'A queue that becomes too long loses its oldest ready messages.' },
  { id: '9.3.ready', text: 'What consumers hold does not count towards a limit.' },
  { id: '9.3.bytes', text: 'x-max-length-bytes counts body bytes, and no properties.' },
  { id: '9.3.both', text: 'Of two limits the one that is reached first counts.' },
  {
    id: '9.3.zero',
    text: 'A queue of length 0 still hands out what a waiting consumer can take, and keeps nothing.',
  },
  {
    id: '9.3.reject',
    text: 'A publish to a queue that is full by reject-publish is nacked, or dropped in silence without confirms; the queue stays as it is.',
  },
  { id: '9.3.requeue', text: 'What is given back to a queue that is too long then is cut at its head.' },
  {
    id: '9.3.quorum',
    text: 'Dead letters that a quorum queue keeps by at-least-once count towards its length.',
  },
  {
    id: '9.3.priority',
    text: 'A full queue with priorities loses the oldest message of its highest priority.',
  },
  {
    id: '9.4.order',
    text: 'Messages of higher priority come first, those of equal priority in the order of their arrival.',
  },
  { id: '9.4.absent', text: 'A message without priority has priority 0.' },
  { id: '9.4.capped', text: 'A priority above x-max-priority counts as that.' },
  { id: '9.4.plain', text: 'A queue without x-max-priority does not look at priorities.' },
  {
    id: '9.4.held',
    text: 'A message that a consumer holds already is not overtaken; the next is the highest that waits.',
  },
  { id: '9.4.requeue', text: 'A message that is given back takes its old place within its priority.' },
  { id: '9.4.purge', text: 'A purge removes and counts the messages of all priorities.' },
  {
    id: '9.4.zero',
    text: 'x-max-priority 0 means two levels, 0 and 1.',
    difference: {
      rabbitmq: 'has one level',
      ours: 'has two',
      reason: 'RabbitMQ has two since 4.0.',
      below: '4.0.0',
    },
  },
  {
    id: '9.5.active',
    text: 'Of the consumers of a queue with a single active one only the first is served.',
  },
  {
    id: '9.5.order',
    text: 'When the active consumer leaves, the next is the one of the highest x-priority, then the one that waits longest.',
  },
  {
    id: '9.5.newcomer',
    text: 'A consumer of higher priority does not take over from an active one on a classic queue.',
  },
  {
    id: '9.5.quorum-newcomer',
    text: 'On a quorum queue it takes over as soon as the active one has settled what it holds.',
    difference: {
      rabbitmq: 'lets it wait',
      ours: 'hands over',
      reason: 'RabbitMQ 4.0 does so.',
      below: '4.0.0',
    },
  },
  {
    id: '9.4.quorum',
    text: 'A quorum queue looks at no priority.',
    difference: {
      rabbitmq: 'has two levels, of 5 and more and the others, served two to one (4.3: 32 levels)',
      ours: 'delivers in the order of arrival',
      reason:
        'A queue that is asked for no priorities keeps its order: programs that were written for RabbitMQ 3 count on it, and queues with x-max-priority are there for the others.',
      from: '4.0.0',
    },
  },
  {
    id: '9.5.cancelled',
    text: 'When the active consumer is cancelled the next one is served at once, though deliveries are still out.',
  },
  { id: '9.5.full', text: 'The others are not served while the active one has no room.' },
  {
    id: '9.5.back',
    text: 'What the active consumer held goes to the next one first, in order, when its channel closes.',
  },
  { id: '9.5.count', text: 'The consumer count has those that wait in it.' },
];

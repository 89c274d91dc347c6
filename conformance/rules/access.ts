// Rules of permissions. Owns the ids that begin with 11.
import type { Rule } from '../rules.ts';

export const accessRules: readonly Rule[] = [
  {
    id: '11.1.pattern',
    text: 'Permission patterns are searched unanchored in the name; the empty pattern allows nothing.',
  },
  {
    id: '11.1.text',
    text: 'A refusal names the permission, the resource, the vhost and the user.',
    difference: {
      rabbitmq: 'the refusal does not name the permission',
      ours: 'the refusal begins with the permission that is missing',
      reason: 'RabbitMQ 3.12 added it; it saves a search.',
      below: '3.12.0',
    },
  },
  { id: '11.1.vhost', text: 'A user without permissions for a vhost cannot open it.' },
  { id: '11.1.default-exchange', text: 'The default exchange is checked under the name amq.default.' },
  { id: '11.1.exchange-declare', text: 'Declaring or deleting an exchange needs configure on it.' },
  {
    id: '11.1.alternate',
    text: 'An alternate-exchange argument needs read on the exchange and write on the alternate exchange.',
  },
  { id: '11.1.queue-declare', text: 'Declaring or deleting a queue needs configure on it.' },
  {
    id: '11.1.dead-letter',
    text: 'A dead-letter-exchange argument needs read on the queue and write on the dead-letter exchange.',
  },
  {
    id: '11.1.passive',
    text: 'A passive declare needs any one of the three permissions.',
    difference: {
      rabbitmq: 'a passive declare needs no permission',
      ours: 'a passive declare needs one permission',
      reason: 'RabbitMQ 4.2.7 and 4.3.1 closed this way of finding out names.',
      below: '4.2.7',
    },
  },
  { id: '11.1.queue-bind', text: 'queue.bind and unbind need write on the queue and read on the exchange.' },
  {
    id: '11.1.exchange-bind',
    text: 'exchange.bind and unbind need write on the destination and read on the source.',
  },
  { id: '11.1.purge', text: 'Purge needs read on the queue.' },
  { id: '11.1.publish', text: 'Publish needs write on the exchange.' },
  { id: '11.1.consume', text: 'Consume and get need read on the queue.' },
  { id: '11.1.free', text: 'Settling, recover, qos, cancel, confirms and transactions need no permission.' },
  { id: '11.1.order', text: 'Permissions are checked before existence and equivalence.' },
  {
    id: '11.1.topic',
    text: 'Topic permissions of an exchange restrict the keys published and bound; without an entry all are allowed.',
  },
  {
    id: '11.1.topic-cc',
    text: 'Topic permissions hold for the keys of CC and BCC too.',
    difference: {
      rabbitmq: 'only the routing key of the publish is checked',
      ours: 'every key is checked',
      reason: 'RabbitMQ 4.1 closed the way around.',
      below: '4.1.0',
    },
  },
  { id: '11.1.impersonator', text: 'A user tagged impersonator may publish any user-id.' },
];

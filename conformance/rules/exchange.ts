// Rules of exchanges, bindings and routing. Owns the ids that begin with 4.
import type { Rule } from '../rules.ts';

export const exchangeRules: readonly Rule[] = [
  {
    id: '4.1.predeclared',
    text: 'Every vhost has amq.direct, amq.fanout, amq.topic, amq.headers and amq.match, durable.',
  },
  { id: '4.1.trace', text: 'amq.rabbitmq.trace is a predeclared internal topic exchange.' },
  {
    id: '4.1.default',
    text: 'The default exchange routes to the queue whose name is the routing key, without a binding.',
  },

  {
    id: '4.2.default-exchange',
    text: 'Declare, delete, bind and unbind of the default exchange are refused with 403.',
  },
  { id: '4.2.reserved-prefix', text: 'A new exchange name must not begin with amq.' },
  {
    id: '4.2.redeclare',
    text: 'Declaring an existing exchange with equal properties does nothing, for amq.* too.',
  },
  {
    id: '4.2.order',
    text: 'Of several reasons against a declare the type is told first, then the default exchange, a difference, the name, the alternate exchange.',
    difference: {
      rabbitmq: '503 COMMAND_INVALID for the type, which ends the connection',
      ours: '406 PRECONDITION_FAILED for the type, in the same order',
      reason: 'RabbitMQ 4.0 changed it: a mistyped name should not cost all channels.',
      below: '4.0.0',
    },
  },
  {
    id: '4.2.unknown-type',
    text: 'An unknown exchange type is refused with 406; only the channel ends.',
    difference: {
      rabbitmq: '503 COMMAND_INVALID, which ends the connection',
      ours: '406 PRECONDITION_FAILED, which ends the channel',
      reason: 'RabbitMQ 4.0 changed it: a mistyped name should not cost all channels.',
      below: '4.0.0',
    },
  },
  {
    id: '4.2.inequivalent',
    text: 'A redeclare that differs is refused with 406 and names the first difference of type, durable, auto_delete, internal.',
  },
  { id: '4.2.inequivalent-alternate', text: 'A redeclare compares the argument alternate-exchange.' },
  { id: '4.2.arguments-not-compared', text: 'Arguments other than alternate-exchange are never compared.' },
  {
    id: '4.2.passive',
    text: 'A passive declare only asks whether the exchange exists; type, flags and arguments are ignored.',
  },
  { id: '4.2.passive-missing', text: 'A passive declare of a missing exchange is refused with 404.' },
  {
    id: '4.2.alternate-type',
    text: 'An alternate-exchange argument that is not a string is refused with 406.',
  },
  {
    id: '4.2.alternate-missing',
    text: 'The alternate exchange need not exist; it is looked up on every publish.',
  },
  { id: '4.2.names', text: 'Carriage returns and line feeds are removed from exchange names.' },
  { id: '4.2.no-wait', text: 'No-wait suppresses the reply of exchange methods.' },

  { id: '4.3.delete-missing', text: 'Deleting a missing exchange succeeds.' },
  {
    id: '4.3.if-unused',
    text: 'Delete with if-unused is refused with 406 while the exchange is the source of a binding.',
  },
  { id: '4.3.delete-system', text: 'Deleting an amq.* exchange is refused with 403.' },
  {
    id: '4.3.internal',
    text: 'Publishing to an internal exchange is refused with 403; bindings may still feed it.',
  },
  {
    id: '4.3.publish-missing',
    text: 'Publishing to a missing exchange closes the channel with 404, asynchronously.',
  },
  {
    id: '4.3.auto-delete',
    text: 'An auto-delete exchange goes when the last binding with it as source goes, not before.',
  },
  {
    id: '4.3.delete-bindings',
    text: 'Deleting an exchange removes its bindings in both roles; auto-delete cascades.',
  },

  { id: '4.4.bind-missing', text: 'Binding a missing queue or exchange is refused with 404.' },
  { id: '4.4.bind-again', text: 'The same binding made twice is one binding.' },
  { id: '4.4.unbind-missing', text: 'Unbinding a missing binding, queue or exchange succeeds.' },
  {
    id: '4.4.identity',
    text: 'A binding is known by source, destination, routing key and arguments together.',
  },
  {
    id: '4.4.shorthand',
    text: 'queue.bind without a queue name means the last declared queue; without a key too, its name is the key.',
  },
  { id: '4.4.cycle', text: 'Cycles of exchange bindings are legal: a message visits each exchange once.' },
  {
    id: '4.4.reply-queue',
    text: 'A direct reply-to name cannot be bound.',
    difference: {
      rabbitmq: '404 NOT_FOUND, as of any missing queue',
      ours: '403 ACCESS_REFUSED, which says what is wrong',
      reason: 'RabbitMQ 4.4 changed it.',
      below: '4.4.0',
    },
  },

  { id: '4.5.once', text: 'A queue gets a message once, however many bindings match.' },
  { id: '4.5.direct', text: 'A direct exchange routes where the binding key equals the routing key.' },
  { id: '4.5.fanout', text: 'A fanout exchange routes to all bindings, whatever the key.' },
  {
    id: '4.5.exchange-to-exchange',
    text: 'Bound exchanges route on with the same routing key, each by its own type.',
  },
  { id: '4.5.alternate', text: 'A message an exchange routes nowhere goes to its alternate exchange.' },
  {
    id: '4.5.topic',
    text: 'Topic keys match by words between dots: * is one word, # zero or more; empty words are words.',
  },
  {
    id: '4.5.topic-literal',
    text: 'Wildcards are whole words of binding keys; elsewhere * and # are ordinary characters.',
  },
  { id: '4.5.topic-unbind', text: 'Removing a topic binding leaves the other patterns as they were.' },
  {
    id: '4.5.headers',
    text: 'A headers exchange compares binding arguments with message headers by x-match.',
  },
  { id: '4.5.headers-x', text: 'Arguments that begin with x- count only with all-with-x and any-with-x.' },
  {
    id: '4.5.headers-values',
    text: 'Header values are equal when type family and value are; void asks for presence only.',
  },
  {
    id: '4.5.headers-float',
    text: 'An integer is not equal to a float of the same value.',
    difference: {
      rabbitmq: '1 and 1.0 are equal',
      ours: '1 and 1.0 differ',
      reason: 'RabbitMQ 3.13 changed it with its new form of stored messages.',
      below: '3.13.0',
    },
  },
  { id: '4.5.headers-invalid', text: 'An invalid x-match is refused with 406.' },
  { id: '4.5.headers-key', text: 'The routing key plays no part in a headers exchange.' },

  {
    id: '4.6.declare',
    text: 'A type checks its arguments last, and only of an exchange that does not exist yet.',
  },
  { id: '4.6.alternate', text: 'An exchange of any type without bindings leads to its alternate exchange.' },
  {
    id: '4.6.hash-weight',
    text: 'A consistent hash exchange sends each key to one queue, and each queue as many keys as its binding key says.',
  },
  {
    id: '4.6.hash-assignment',
    text: 'Which queue a key goes to follows from the bindings, their order and the key alone, as in RabbitMQ.',
  },
  { id: '4.6.hash-field', text: 'hash-header and hash-property name what is hashed instead of the key.' },
  {
    id: '4.6.hash-copies',
    text: 'Of several keys only the routing key is hashed; one queue gets the message.',
  },
  {
    id: '4.6.hash-second-binding',
    text: 'A second binding to the same queue is ignored, whatever its weight.',
  },
  {
    id: '4.6.hash-second-unbind',
    text: 'A queue stays reachable while one of its bindings stands.',
    difference: {
      rabbitmq: 'the queue gets nothing any more once one of its two bindings is gone',
      ours: 'the binding that is left counts',
      reason: 'A queue that is bound should get messages.',
    },
  },
  { id: '4.6.hash-arguments', text: 'Arguments that do not say what to hash are refused with 406.' },
  {
    id: '4.6.hash-argument-type',
    text: 'hash-header and hash-property must be strings.',
    difference: {
      rabbitmq: '541 INTERNAL_ERROR, which ends the connection',
      ours: '406 PRECONDITION_FAILED, which says what is wrong',
      reason: 'It is a mistake of the client, not of the broker.',
    },
  },
  { id: '4.6.hash-key', text: 'A binding key that is no positive integer is refused with 406.' },
  {
    id: '4.6.hash-weight-max',
    text: 'A binding key above 10000 is refused with 406.',
    difference: {
      rabbitmq: 'any weight is taken',
      ours: '406 PRECONDITION_FAILED',
      reason: 'RabbitMQ 4.3 changed it.',
      below: '4.3.0',
    },
  },
  { id: '4.6.hash-restart', text: 'A restart keeps which queue a key goes to.' },
  {
    id: '4.6.modulus',
    text: 'A modulus hash exchange sends each key to one of its queues, evenly; binding keys play no part.',
  },
  { id: '4.6.random', text: 'A random exchange sends each message to one of its bindings by chance.' },
  {
    id: '4.6.local-random',
    text: 'A local random exchange does the same; bindings with a key or to an exchange are refused with 406.',
  },
  {
    id: '4.6.history',
    text: 'A recent history exchange routes to all, and sends the last messages to each queue that is bound, oldest first.',
  },
  {
    id: '4.6.history-length',
    text: 'x-recent-history-length says how many, 20 by default; others than positive integers are refused.',
  },
  {
    id: '4.6.history-no-store',
    text: 'A message whose header x-recent-history-no-store is true is not remembered.',
  },
  {
    id: '4.6.history-exchange',
    text: 'An exchange that is bound gets the remembered messages too, and routes them on.',
    difference: {
      rabbitmq: 'newest first; 541 INTERNAL_ERROR when one of them leads to no queue',
      ours: 'oldest first; what leads nowhere is dropped',
      reason:
        'The order is that of a queue that is bound, and a binding is no place to fail for want of a queue.',
    },
  },
  { id: '4.6.history-restart', text: 'A restart keeps the exchange, and forgets what it remembered.' },
];

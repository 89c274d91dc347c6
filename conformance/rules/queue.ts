// Rules of queues: declare, equivalence, exclusive owners, purge, delete and what follows from a queue's end.
// Owns the ids that begin with 5.
import type { Rule } from '../rules.ts';

export const queueRules: readonly Rule[] = [
  {
    id: '5.1.server-name',
    text: 'A queue declared without a name gets one: amq.gen- and 22 characters of base64url.',
  },
  {
    id: '5.1.reserved-prefix',
    text: 'An active declare must not name a queue that begins with amq., not even an existing one.',
  },
  {
    id: '5.1.names',
    text: 'Carriage returns and line feeds are removed from queue names; other bytes are kept.',
  },
  { id: '5.1.counts', text: 'declare-ok counts the ready messages and all consumers.' },
  { id: '5.1.no-wait', text: 'No-wait suppresses the reply of queue methods.' },
  {
    id: '5.1.exclusive',
    text: 'An exclusive queue is not durable whatever the flag says, and ends with its connection, before close-ok.',
  },
  {
    id: '5.1.auto-delete',
    text: 'An auto-delete queue goes when its last consumer goes, not before it had one; basic.get is no consumer.',
  },
  { id: '5.1.transient', text: 'A queue may be neither durable nor exclusive.' },
  {
    id: '5.1.default-type',
    text: 'A queue declared without x-queue-type is a classic queue and equals one that says so.',
  },
  {
    id: '5.1.last-declared',
    text: 'An empty queue name means the queue this channel declared last, by any declare, passive too.',
  },
  {
    id: '5.1.last-declared-none',
    text: 'Without a declare before, an empty queue name is refused with 404.',
  },
  { id: '5.1.last-declared-passive', text: 'A passive declare without a name knows no shorthand.' },

  {
    id: '5.1.restart',
    text: 'A restart keeps durable exchanges, queues and their bindings with their persistent messages, and nothing else.',
  },
  {
    id: '5.2.relaxed',
    text: 'With a setting of the broker a quorum queue may be declared again as a classic one; of its arguments only those that both have are compared.',
  },
  {
    id: '5.2.order',
    text: 'Of several differences the owner of an exclusive queue is told first, then the flags, then the arguments.',
  },
  {
    id: '5.2.flags',
    text: 'A redeclare with other flags is refused with 406: durable first, then auto_delete.',
  },
  {
    id: '5.2.equal',
    text: 'A redeclare with equal flags and arguments answers the counts and changes nothing.',
  },
  {
    id: '5.2.argument-missing',
    text: 'A redeclare that leaves an argument out is refused with 406 and names its value and type.',
  },
  {
    id: '5.2.argument-new',
    text: 'A redeclare that adds an argument is refused with 406 and names its value and type.',
  },
  {
    id: '5.2.argument-value',
    text: 'A redeclare with another value is refused with 406 and names both values.',
  },
  {
    id: '5.2.queue-type',
    text: 'A redeclare as another queue type is refused with 406 and names both types.',
    difference: {
      rabbitmq: 'the refusal calls the type of a queue declared without x-queue-type none',
      ours: 'the refusal names its type: classic',
      reason: 'RabbitMQ 4.0 stores the type of every queue; the text helps more.',
      below: '4.0.0',
    },
  },
  { id: '5.2.integer-width', text: 'Integers of different widths with the same value are equal.' },
  {
    id: '5.2.unknown-arguments',
    text: 'Arguments the queue type does not know are accepted, stored and never compared.',
  },
  { id: '5.2.type-names', text: "Refusals name argument types by RabbitMQ's words for the wire tags." },

  { id: '5.3.locked', text: 'Any use of an exclusive queue by another connection is refused with 405.' },
  {
    id: '5.3.flag',
    text: 'A redeclare by the owner with another exclusive flag is refused with the same 405.',
  },
  { id: '5.3.publish', text: 'Everyone may publish to an exclusive queue.' },
  { id: '5.3.channels', text: 'All channels of the owning connection may use its exclusive queues.' },

  {
    id: '5.4.passive',
    text: 'A passive declare only asks: flags and arguments are ignored, a missing queue is refused with 404.',
  },
  { id: '5.4.purge', text: 'Purge removes the ready messages and says how many; unacknowledged ones stay.' },
  { id: '5.4.purge-missing', text: 'Purging a missing queue is refused with 404.' },
  { id: '5.4.purge-dead-letter', text: 'Purged messages are not dead-lettered.' },
  {
    id: '5.4.delete',
    text: 'Delete says how many ready messages went; deleting a missing queue succeeds with 0.',
  },
  { id: '5.4.if-unused', text: 'Delete with if-unused is refused with 406 while the queue has consumers.' },
  {
    id: '5.4.if-empty',
    text: 'Delete with if-empty is refused with 406 while the queue has ready messages.',
  },
  { id: '5.4.bindings', text: "A queue's bindings go with it." },
  {
    id: '5.4.cancel',
    text: 'Consumers of a deleted queue get basic.cancel with no-wait if they declared consumer_cancel_notify.',
  },
  { id: '5.4.late-ack', text: 'Settling deliveries of a queue that is gone is accepted and does nothing.' },
  { id: '5.4.delete-dead-letter', text: 'Messages of a deleted queue are not dead-lettered.' },

  {
    id: '5.5.integer-type',
    text: 'An argument that must be an integer takes every integer type, and nothing else.',
  },
  { id: '5.5.negative', text: 'A negative number is refused with 406 `{value_negative,N}`.' },
  { id: '5.5.zero', text: 'x-expires must be above 0: 406 `{value_zero,0}`.' },
  { id: '5.5.too-large', text: 'A time above ten years is refused with 406 `{value_too_large,N}`.' },
  { id: '5.5.octet', text: 'x-max-priority must not be above 255: 406 `{max_value_exceeded,N}`.' },
  {
    id: '5.5.other-type',
    text: 'An argument that must be a string or a boolean is refused with 406 `{unacceptable_type,TYPE}` when it is something else.',
  },
  {
    id: '5.5.dead-letter-key',
    text: 'x-dead-letter-routing-key without x-dead-letter-exchange is refused with 406 `routing_key_but_no_dlx_defined`.',
  },
  {
    id: '5.5.dead-letter-exchange',
    text: 'x-dead-letter-exchange that is no string is refused with 406 and a text of its own.',
  },
  { id: '5.5.overflow', text: 'Another x-overflow is refused with 406 `invalid_overflow`.' },
  { id: '5.5.version', text: 'Another x-queue-version than 1 and 2 is refused with 406.' },
  { id: '5.5.type', text: 'Another x-queue-type is refused with 406 `unsupported queue type`.' },
  {
    id: '5.5.locator',
    text: 'Another x-queue-leader-locator is refused with 406 `invalid_queue_locator_arg`.',
    difference: {
      rabbitmq: '406 as of an argument that is not for classic queues',
      ours: '406 that names the value',
      reason: 'RabbitMQ 4.0 takes the argument on classic queues.',
      below: '4.0.0',
    },
  },
  {
    id: '5.5.mode',
    text: 'The value of x-queue-mode is not looked at.',
    difference: {
      rabbitmq: 'refuses other values than default and lazy with 406',
      ours: 'accepts any value, and compares it at a redeclare',
      reason: 'The mode does nothing since RabbitMQ 3.12; 4.0 does not look at it any more.',
      below: '4.0.0',
    },
  },
  {
    id: '5.5.nothing',
    text: 'A declare that is refused for an argument makes no queue.',
  },
  {
    id: '5.6.classic',
    text: 'A classic queue takes each of its arguments, at the bounds of what is allowed.',
  },
  {
    id: '5.6.other-types',
    text: 'Arguments of quorum queues and streams are refused on a classic queue: 406 `of queue type rabbit_classic_queue`.',
  },
  {
    id: '5.6.filter-size',
    text: 'x-stream-filter-size-bytes is refused on a classic queue as an argument of streams.',
    difference: {
      rabbitmq: 'accepts it, because it does not know it',
      ours: '406 as of the other arguments of streams',
      reason: 'RabbitMQ 3.13 knows it.',
      below: '3.13.0',
    },
  },
  {
    id: '5.6.leader-locator',
    text: 'x-queue-leader-locator is accepted on a classic queue.',
    difference: {
      rabbitmq: 'refuses it with 406 `of queue type rabbit_classic_queue`',
      ours: 'accepts client-local, balanced, random and least-leaders, and does nothing with it',
      reason: 'RabbitMQ 4.0 takes it; there is one node to lead here.',
      below: '4.0.0',
    },
  },
  { id: '5.6.unknown', text: 'Arguments that no queue type knows are accepted.' },
];

// Rules of messages: publish, consume, cancel, get, settling, recover, qos and direct reply-to.
// Owns the ids that begin with 6.
import type { Rule } from '../rules.ts';

export const basicRules: readonly Rule[] = [
  {
    id: '6.1.size',
    text: 'A message above the configured size, 16 MiB by default, is refused with 406.',
    difference: {
      rabbitmq: 'the default limit is 128 MiB',
      ours: 'the default limit is 16 MiB',
      reason: 'RabbitMQ 4.0 lowered it.',
      below: '4.0.0',
    },
  },
  { id: '6.1.size-allowed', text: 'A message of exactly 16 MiB passes.' },
  {
    id: '6.1.expiration',
    text: 'An expiration that is no decimal integer of milliseconds from 0 on is refused with 406.',
  },
  { id: '6.1.expiration-limit', text: 'An expiration of ten years is the longest allowed.' },
  { id: '6.1.cc', text: 'The headers CC and BCC add routing keys; CC stays in the message, BCC is removed.' },
  {
    id: '6.1.cc-type',
    text: 'A CC or BCC header that is no array is refused with 406; items that are no strings are skipped.',
  },
  {
    id: '6.1.user-id',
    text: 'A user-id property must be the name of the logged-in user, or the publish is refused with 406.',
  },
  {
    id: '6.1.order',
    text: 'Of several reasons against a publish the first in the order of the checks is told.',
  },
  {
    id: '6.1.order-cc',
    text: 'A CC header of a wrong type is told before a wrong user-id.',
    difference: {
      rabbitmq: 'the user-id is told first',
      ours: 'the CC header is told first',
      reason: 'RabbitMQ 3.13 changed the order with its new form of messages.',
      below: '3.13.0',
    },
  },
  { id: '6.1.immediate', text: 'The immediate flag is refused with 540, which ends the connection.' },
  {
    id: '6.1.properties',
    text: 'Properties and headers arrive as they were sent; what was absent stays absent.',
  },
  {
    id: '6.1.delivery-mode',
    text: 'A delivery mode other than 2 means transient and passes through unchanged.',
    difference: {
      rabbitmq: 'a delivery mode other than 1 and 2 is refused with 406',
      ours: 'any delivery mode passes; only 2 is persistent',
      reason: 'RabbitMQ 3.13 became as tolerant.',
      below: '3.13.0',
    },
  },
  { id: '6.1.body', text: 'A body arrives byte for byte, empty or of any number of frames.' },
  { id: '6.1.order-kept', text: 'Messages of one channel reach a queue in the order of their publishing.' },
  {
    id: '6.1.mandatory',
    text: 'A mandatory message that no queue takes comes back with 312 NO_ROUTE as it was published.',
  },
  {
    id: '6.1.mandatory-routed',
    text: 'A match in an alternate exchange, by CC, or of a queue that drops the message counts as routed.',
  },

  { id: '6.2.tag', text: 'A consumer without a tag gets one: amq.ctag- and 22 characters of base64url.' },
  {
    id: '6.2.tag-reuse',
    text: 'A tag in use on this channel is refused with 530, which ends the connection; other channels may use it.',
  },
  { id: '6.2.missing', text: 'Consuming from a missing queue is refused with 404.' },
  {
    id: '6.2.exclusive',
    text: 'An exclusive consumer must be the only one, or it is refused with 403, and so is any other after it.',
  },
  {
    id: '6.2.limit',
    text: 'More consumers on a channel than the configured maximum are refused with 530, which ends the connection.',
  },
  {
    id: '6.2.priority',
    text: 'Of consumers with room the one with the highest x-priority gets the message.',
  },
  { id: '6.2.priority-invalid', text: 'An x-priority that is no integer is refused with 406.' },
  { id: '6.2.round-robin', text: 'Consumers of equal priority get messages in turn.' },
  { id: '6.2.consume-ok', text: 'consume-ok comes before the first delivery.' },
  { id: '6.2.no-local', text: 'no-local is ignored.' },
  { id: '6.2.no-wait', text: 'Consume with no-wait is not answered; deliveries come all the same.' },
  { id: '6.2.arguments', text: 'Unknown consumer arguments are accepted.' },
  { id: '6.2.deliver', text: 'A delivery carries consumer tag, exchange and routing key as published.' },

  {
    id: '6.3.cancel',
    text: 'After cancel-ok no delivery of that consumer follows; what it holds can still be settled.',
  },
  { id: '6.3.cancel-unknown', text: 'Cancelling an unknown tag is answered with cancel-ok.' },
  {
    id: '6.3.cancel-ok',
    text: 'A cancel-ok from the client is taken as a cancel without reply.',
    difference: {
      rabbitmq: '503 COMMAND_INVALID, which ends the connection',
      ours: 'the consumer of that tag ends without a word',
      reason: 'AMQP lets a client answer a cancel of the server, and RabbitMQ 4.3 takes the answer.',
      below: '4.3.0',
    },
  },
  { id: '6.3.no-wait', text: 'Cancel with no-wait is not answered.' },

  { id: '6.4.get', text: 'basic.get answers the message and the number of ready ones left, or get-empty.' },
  { id: '6.4.missing', text: 'basic.get of a missing queue is refused with 404.' },
  { id: '6.4.prefetch', text: 'A prefetch limit does not apply to basic.get.' },

  {
    id: '6.5.tags',
    text: 'Delivery tags count from 1 per channel over deliveries and gets, no-ack ones included.',
  },
  {
    id: '6.5.ack',
    text: 'An ack removes exactly one delivery, with multiple all up to it, with tag 0 and multiple all.',
  },
  { id: '6.5.nack', text: 'A nack is an ack that puts back or drops.' },
  { id: '6.5.reject', text: 'A reject puts back or drops one delivery.' },
  {
    id: '6.5.unknown-tag',
    text: 'Settling an unknown or settled tag closes the channel with 406; everything unacknowledged is requeued.',
  },
  { id: '6.5.requeue-position', text: 'A requeued message goes back to its original place.' },
  {
    id: '6.5.quorum-position',
    text: 'A requeued message of a quorum queue comes before those that were never delivered.',
  },
  {
    id: '6.5.quorum-position-unlimited',
    text: 'So it does in a quorum queue without a delivery limit.',
    difference: {
      rabbitmq: 'puts it behind all that wait',
      ours: 'puts it back to its original place',
      reason: 'What came first comes first, whatever limit a queue has.',
    },
  },
  { id: '6.5.redelivered', text: 'redelivered is set on any delivery after the first attempt.' },
  {
    id: '6.5.channel-end',
    text: 'What is unacknowledged when its channel or connection ends goes back to the queue.',
  },

  { id: '6.6.recover', text: 'recover requeues everything unacknowledged on the channel, then answers.' },
  { id: '6.6.recover-async', text: 'recover-async does the same without an answer.' },
  {
    id: '6.6.recover-false',
    text: 'recover with requeue=false is refused with 540, which ends the connection.',
  },

  { id: '6.7.per-consumer', text: 'qos with global=false limits each consumer started after it.' },
  { id: '6.7.global', text: 'qos with global=true limits all consumers of the channel together, at once.' },
  { id: '6.7.both', text: 'A limit per consumer and one for the channel apply together.' },
  { id: '6.7.no-ack', text: 'Consumers without acknowledgements are not limited.' },
  {
    id: '6.7.get',
    text: 'A get counts towards a channel-wide limit only if it was unacknowledged when the limit was set.',
  },
  {
    id: '6.7.get-settled',
    text: 'Settling a get that counts towards a channel-wide limit makes room.',
    difference: {
      rabbitmq: 'the room is lost until the limit is set again',
      ours: 'the room is free at the ack',
      reason:
        'RabbitMQ does not count the ack of a get; a consumer that never gets a message again helps nobody.',
    },
  },
  { id: '6.7.size', text: 'A prefetch size other than 0 is refused with 540, which ends the connection.' },

  {
    id: '6.8.closes',
    text: 'A delivery that stays unacknowledged longer than the timeout closes its channel: 406 `delivery acknowledgement on channel N timed out …`.',
  },
  { id: '6.8.requeues', text: 'What the channel held goes back to its queues, marked redelivered.' },
  { id: '6.8.others', text: 'Other channels of the connection go on.' },
  {
    id: '6.8.settled',
    text: 'Deliveries that are settled in time, or need no acknowledgement, time nothing out.',
  },
  { id: '6.8.get', text: 'A message of basic.get that is not acknowledged counts too.' },
  { id: '6.8.off', text: 'Without a timeout a delivery may stay unacknowledged for ever.' },

  {
    id: '6.9.consume',
    text: 'Consuming amq.rabbitmq.reply-to needs no-ack, once a channel, or is refused with 406.',
  },
  {
    id: '6.9.request',
    text: 'A request with reply-to amq.rabbitmq.reply-to arrives with a name for its channel instead.',
  },
  {
    id: '6.9.no-consumer',
    text: 'Such a request without a reply consumer on its channel is refused with 406.',
  },
  { id: '6.9.reply', text: 'A reply to that name through the default exchange reaches the requester.' },
  {
    id: '6.9.declare',
    text: 'Declaring a reply name answers one consumer while the requester lives, else 404.',
  },
  { id: '6.9.gone', text: 'A reply to a requester that is gone is dropped.' },
  {
    id: '6.9.mandatory',
    text: 'A mandatory reply counts as routed, even to a requester that is gone.',
    difference: {
      rabbitmq:
        'a mandatory reply is returned with 312 NO_ROUTE, though it is delivered too if the requester lives',
      ours: 'it is delivered or dropped, and never returned',
      reason: 'RabbitMQ 4.2 changed it when reply names became a queue type.',
      below: '4.2.0',
    },
  },
  {
    id: '6.9.opaque',
    text: 'A reply name that cannot be decoded is an unroutable key.',
    difference: {
      rabbitmq: '541 INTERNAL_ERROR for some names, which ends the connection',
      ours: 'the message is unroutable',
      reason: 'RabbitMQ 4.2 changed it when reply names became a queue type.',
      below: '4.2.0',
    },
  },
];

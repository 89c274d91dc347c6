// Streams: section 10, and what other sections say of them.
import type { Rule } from '../rules.ts';

export const streamsRules: readonly Rule[] = [
  {
    id: '6.2.stream-prefetch',
    text: 'A consumer of a stream needs a prefetch of its own: 406.',
    difference: {
      rabbitmq: "406 `consumer prefetch count is not set for 'queue …'`",
      ours: '406 `consumer prefetch count is not set for stream queue …`',
      reason: 'RabbitMQ 4.0 says it so.',
      below: '4.0.0',
    },
  },
  {
    id: '6.2.stream-no-ack',
    text: 'A stream knows no automatic acknowledgement: 540.',
    difference: {
      rabbitmq: '540 `automatic acknowledgement not supported by stream queues queue …`',
      ours: '540 `automatic acknowledgement not supported by stream queue …`',
      reason: 'RabbitMQ 4.0 says it so.',
      below: '4.0.0',
    },
  },
  {
    id: '6.2.stream-global-prefetch',
    text: 'A stream has no consumers on a channel with a channel-wide prefetch: 540.',
  },
  {
    id: '6.2.stream-priority',
    text: 'A consumer of a stream has no priority: x-priority is refused with 406.',
  },
  {
    id: '6.2.stream-exclusive',
    text: 'An exclusive consumer of a stream is alone: 403 for a second one.',
    difference: {
      rabbitmq: 'does not look at the exclusive bit, and takes the second consumer',
      ours: '403 `queue … in exclusive use`, as on every other queue',
      reason: 'A client that asks to be alone is told when it is not.',
    },
  },
  { id: '6.4.stream', text: 'A stream has no head to get from: basic.get is refused with 540.' },
  { id: '5.4.stream-purge', text: 'A stream cannot be purged: 540.' },
  {
    id: '5.4.stream-delete',
    text: 'A stream is deleted with its messages; its consumers are told by basic.cancel.',
  },
  {
    id: '5.4.stream-if',
    text: 'if-unused and if-empty of queue.delete protect a stream as they protect a classic queue.',
    difference: {
      rabbitmq: 'does not look at them, and deletes the stream',
      ours: '406 as for a classic queue',
      reason: 'The flags are there to protect messages; a stream holds more of them than anything else.',
    },
  },
  {
    id: '10.publish',
    text: 'A message published to a stream is confirmed once it is committed, transient ones too.',
  },
  { id: '10.count', text: 'declare-ok of a stream tells its committed messages, whoever has read them.' },
  {
    id: '10.consumers',
    text: 'declare-ok of a stream tells its consumers.',
    difference: {
      rabbitmq: 'always tells 0',
      ours: 'tells how many there are',
      reason: 'There is a number to tell.',
    },
  },
  {
    id: '10.delivery',
    text: 'A delivery of a stream has its offset in the header x-stream-offset, exchange and routing key as published, and is never redelivered.',
  },
  {
    id: '10.headers',
    text: 'The headers and properties of a message in a stream are otherwise as published.',
  },
  {
    id: '10.headers-nested',
    text: 'Tables and arrays in the headers of a message in a stream are kept.',
    difference: {
      rabbitmq: 'loses them',
      ours: 'keeps every header as it was published',
      reason: 'RabbitMQ stores messages of streams in the form of AMQP 1.0, which has no place for them.',
    },
  },
  { id: '10.readers', text: 'Every consumer of a stream gets every message from its start on, in order.' },
  { id: '10.ack', text: 'basic.ack returns credit and nothing else: nothing is removed from a stream.' },
  {
    id: '10.settle',
    text: 'nack and reject return credit as ack does: nothing is removed, delivered again or dead-lettered.',
    difference: {
      rabbitmq: '540 `basic.nack and basic.reject not supported by stream queues`',
      ours: 'takes them as acknowledgements',
      reason: 'RabbitMQ 4.0 takes them so.',
      below: '4.0.0',
    },
  },
  {
    id: '10.recover',
    text: 'basic.recover returns the credit of deliveries of a stream, which does not deliver them again.',
    difference: {
      rabbitmq: '541: the connection ends with an internal error',
      ours: 'takes them as acknowledged',
      reason: 'RabbitMQ 4.0 takes them so.',
      below: '4.0.0',
    },
  },
  { id: '10.first', text: 'x-stream-offset first begins at the oldest message.' },
  {
    id: '10.next',
    text: 'x-stream-offset next, as none at all, begins at the next message to be published.',
  },
  { id: '10.last', text: 'x-stream-offset last begins in the chunk that was written last.' },
  {
    id: '10.offset',
    text: 'An integer x-stream-offset begins at that offset; a negative one at the oldest message.',
  },
  {
    id: '10.offset-beyond',
    text: 'An offset beyond the end begins at the next message to be published.',
  },
  {
    id: '10.timestamp',
    text: 'A timestamp begins with the messages of that second: before all at the oldest, behind all at the next one.',
  },
  { id: '10.interval', text: 'An age such as 1h begins with the messages that are so old or younger.' },
  {
    id: '10.offset-age',
    text: 'An age that is none is refused with 406 `{invalid_stream_offset_arg,{longstr,…}}`.',
  },
  {
    id: '10.offset-word',
    text: 'A word that means no place is refused with 406 `{invalid_stream_offset_arg,{longstr,…}}`.',
    difference: {
      rabbitmq: '541: the connection ends with an internal error',
      ours: '406 with the text that other bad offsets get',
      reason: 'RabbitMQ 4.0 refuses it so.',
      below: '4.0.0',
    },
  },
  {
    id: '10.offset-type',
    text: 'An x-stream-offset of any other type is refused with 406 `{invalid_stream_offset_arg,{TYPE,…}}`.',
    difference: {
      rabbitmq: '541: the connection ends with an internal error',
      ours: '406 with the text that other bad offsets get',
      reason: 'A mistake of one consumer must not cost the connection.',
    },
  },
  {
    id: '10.filter',
    text: 'x-stream-filter lets through exactly the messages with one of its values in x-stream-filter-value; x-stream-match-unfiltered adds those without any.',
    difference: {
      rabbitmq:
        'drops only chunks in which nothing can match, and the client has to filter again; before 3.13 it filters nothing',
      ours: 'delivers what matches and nothing else',
      reason: 'What a client would throw away need not travel.',
    },
  },
  {
    id: '10.filter-type',
    text: 'x-stream-filter that is neither a string nor an array, and x-stream-match-unfiltered that is no boolean, are refused with 406.',
    difference: {
      rabbitmq: 'takes a filter that it does not understand for none',
      ours: '406 `{unacceptable_type,TYPE}`',
      reason: 'Whoever filters does not want everything.',
    },
  },
  {
    id: '10.retention-bytes',
    text: 'x-max-length-bytes drops the oldest segments of a stream, never the last one.',
  },
  { id: '10.retention-age', text: 'x-max-age drops segments whose messages are too old.' },
  {
    id: '10.consumer-name',
    text: 'A consumer with x-stream-consumer-name goes on behind what it acknowledged last.',
  },
  {
    id: '10.consumer-name-type',
    text: 'x-stream-consumer-name must be a string of 1 to 255 bytes: 406.',
  },
  { id: '10.restart', text: 'A restart keeps a stream, its offsets and the places of its named consumers.' },
];

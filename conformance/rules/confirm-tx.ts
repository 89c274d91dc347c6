// Rules of publisher confirms and transactions. Owns the ids that begin with 7.
import type { Rule } from '../rules.ts';

export const confirmRules: readonly Rule[] = [
  {
    id: '7.1.select',
    text: 'confirm.select counts publishes from 1; repeating it changes nothing; no-wait suppresses its reply.',
  },
  {
    id: '7.1.enqueued',
    text: 'A routed message is confirmed with an ack, persistent or not, to one queue or several.',
  },
  {
    id: '7.1.no-route',
    text: 'A message without a route is confirmed with an ack, after its basic.return if it was mandatory.',
  },
  {
    id: '7.1.rejected',
    text: 'A message that any queue rejected is answered with a nack only, though others took it.',
  },
  {
    id: '7.1.dropped',
    text: 'A message that is dropped by drop-head or expires at once is confirmed with an ack.',
  },
  { id: '7.1.consumed', text: 'A message that is consumed at once is confirmed like any other.' },
  { id: '7.1.deleted', text: 'A message to a queue that is deleted meanwhile is confirmed with an ack.' },
  { id: '7.1.refused', text: 'A refused publish closes the channel and is not confirmed.' },
  { id: '7.2.once', text: 'Every publish is settled exactly once, with multiple or without.' },
  { id: '7.2.multiple', text: 'A multiple ack never covers a publish that is nacked.' },
  { id: '7.2.nack', text: 'A nack of the server carries the number of the publish.' },
  {
    id: '7.2.nack-bits',
    text: 'A nack of one message has neither the multiple nor the requeue bit.',
    difference: {
      rabbitmq: 'sends multiple and requeue',
      ours: 'sends neither',
      reason:
        'The nack speaks of one message; a client that keeps its own list must not take it for all before. Requeue means nothing here.',
    },
  },

  { id: '7.3.select', text: 'tx.select may be repeated.' },
  { id: '7.3.modes', text: 'A confirm channel cannot become transactional, nor the reverse: 406.' },
  { id: '7.3.not-transactional', text: 'Commit and rollback without select are refused with 406.' },
  { id: '7.3.publish', text: 'Publishes of a transaction are delivered at the commit, in their order.' },
  { id: '7.3.publish-refused', text: 'Publishes of a transaction are checked at once.' },
  { id: '7.3.routed-early', text: 'Publishes of a transaction are routed when they are published.' },
  { id: '7.3.returns', text: 'Unroutable mandatory messages come back at the commit, before commit-ok.' },
  { id: '7.3.acks', text: 'Acks, nacks and rejects of a transaction take effect at the commit.' },
  { id: '7.3.unknown-tag', text: 'An unknown delivery tag closes the channel at once in a transaction too.' },
  {
    id: '7.3.rollback',
    text: 'Rollback drops publishes and pending acks; deliveries stay unacknowledged and are not redelivered.',
  },
  { id: '7.3.partial', text: 'A commit of which a queue rejected a publish closes the channel with 406.' },
  { id: '7.3.pipelined', text: 'A method that arrives while a commit runs closes the connection with 504.' },
  { id: '7.3.end', text: 'The end of the channel or connection rolls back; its deliveries are requeued.' },
];

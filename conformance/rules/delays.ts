// Delayed messages and deduplication.
import type { Rule } from '../rules.ts';

export const delaysRules: readonly Rule[] = [
  {
    id: '4.6.delayed',
    text: 'An x-delayed-message exchange holds a message back for the milliseconds in its header x-delay; the earliest comes first.',
  },
  {
    id: '4.6.delayed-header',
    text: 'x-delay may be any integer, a float or a string of digits; a delayed message is delivered with its value negated, as a long.',
  },
  {
    id: '4.6.delayed-at-once',
    text: 'A message whose x-delay is missing, 0, negative or above 4294967295 is routed at once.',
  },
  {
    id: '4.6.delayed-type',
    text: 'x-delayed-type is required and names an existing type other than x-delayed-message; by it messages are routed.',
  },
  {
    id: '4.6.delayed-keys',
    text: 'A delayed message keeps all its routing keys, CC and BCC too, and is routed by the bindings that stand when it is due.',
  },
  {
    id: '4.6.delayed-mandatory',
    text: 'A mandatory message that is delayed is returned at once, as nothing takes it now, confirmed, and delivered all the same.',
  },
  {
    id: '4.6.delayed-chain',
    text: 'A delaying exchange may be the destination of another exchange; a message is delayed once on its way.',
  },
  {
    id: '4.6.delayed-alternate',
    text: 'A delayed message goes to the alternate exchange when nothing takes it once it is due, not before.',
  },
  {
    id: '4.6.delayed-restart',
    text: 'Persistent messages in a durable delaying exchange wait on over a restart; what became due meanwhile comes at once.',
  },
  {
    id: '4.6.delayed-any-type',
    text: 'The argument x-delayed-exchange makes an exchange of any type hold messages back.',
  },
  {
    id: '4.6.dedup',
    text: 'An x-message-deduplication exchange sends a message to all its bindings unless one with the same x-deduplication-header came before.',
  },
  {
    id: '4.6.dedup-key',
    text: 'Deduplication compares value and kind of the header; a message without it is never a duplicate.',
  },
  {
    id: '4.6.dedup-cache',
    text: 'A deduplicating exchange remembers as many messages as x-cache-size says, for x-cache-ttl of the exchange or of the message.',
  },
  {
    id: '4.6.dedup-arguments',
    text: 'x-cache-size is required and positive, x-cache-ttl positive, x-cache-persistence disk or memory; else 406.',
  },
  {
    id: '4.6.dedup-any-type',
    text: 'The argument x-message-deduplication makes an exchange of any type drop duplicates.',
  },
  {
    id: '4.6.dedup-restart',
    text: 'With x-cache-persistence disk a durable exchange remembers over a restart.',
  },
  {
    id: '5.6.dedup',
    text: 'A queue with x-message-deduplication drops a message like one that is in it, confirms it, and takes the next one after that has left.',
  },
  {
    id: '5.6.dedup-unacked',
    text: 'For a deduplicating queue a message that is delivered and not acknowledged, or requeued, is in the queue.',
  },
  {
    id: '5.6.dedup-cache',
    text: 'With x-cache-size or x-cache-ttl a deduplicating queue remembers by these alone, whatever has left it.',
  },
  {
    id: '5.6.dedup-restart',
    text: 'After a restart a deduplicating queue knows the messages that are in it.',
  },
];

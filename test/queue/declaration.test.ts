// Arguments of a queue: what is refused, in RabbitMQ's words and order.

import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../src/base/errors.ts';
import { type FieldValue, tableOf } from '../../src/protocol/field-table.ts';
import { checkQueueArguments, deadLetterExchangeOf } from '../../src/queue/declaration.ts';
import { queueOptions } from '../../src/queue/queue-options.ts';

function refusal(args: Record<string, unknown>): string {
  const table = tableOf(args);
  try {
    deadLetterExchangeOf('q', '/', table);
    checkQueueArguments('q', '/', table);
    return 'ok';
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expect(error.reason).toBe('precondition-failed');
    return error.message;
  }
}

const byte = (value: number): FieldValue => ({ tag: 'b', value });

describe('an argument of a queue', () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ 'x-message-ttl': 'abc' }, 'x-message-ttl: "expected integer, got longstr"'],
    [{ 'x-message-ttl': true }, 'x-message-ttl: "expected integer, got bool"'],
    [{ 'x-message-ttl': 1.5 }, 'x-message-ttl: "expected integer, got double"'],
    [{ 'x-message-ttl': -1 }, 'x-message-ttl: {value_negative,-1}'],
    [{ 'x-message-ttl': 315_360_000_001 }, 'x-message-ttl: {value_too_large,315360000001}'],
    [{ 'x-expires': 0 }, 'x-expires: {value_zero,0}'],
    [{ 'x-expires': -1 }, 'x-expires: {value_negative,-1}'],
    [{ 'x-expires': 315_360_000_001 }, 'x-expires: {value_too_large,315360000001}'],
    [{ 'x-max-length': -1 }, 'x-max-length: {value_negative,-1}'],
    [{ 'x-max-length-bytes': 'a' }, 'x-max-length-bytes: "expected integer, got longstr"'],
    [{ 'x-max-priority': 256 }, 'x-max-priority: {max_value_exceeded,256}'],
    [{ 'x-max-priority': -1 }, 'x-max-priority: {value_negative,-1}'],
    [{ 'x-overflow': 'overflow' }, 'x-overflow: invalid_overflow'],
    [{ 'x-overflow': byte(5) }, 'x-overflow: {unacceptable_type,byte}'],
    [{ 'x-dead-letter-routing-key': 'k' }, 'x-dead-letter-routing-key: routing_key_but_no_dlx_defined'],
    [{ 'x-dead-letter-routing-key': byte(5) }, 'x-dead-letter-routing-key: {unacceptable_type,byte}'],
    [{ 'x-single-active-consumer': 'yes' }, 'x-single-active-consumer: {unacceptable_type,longstr}'],
    [{ 'x-queue-version': 3 }, `x-queue-version: "unsupported queue version '3'"`],
    [{ 'x-queue-version': 'a' }, 'x-queue-version: "expected integer, got longstr"'],
    [{ 'x-queue-type': 'foo' }, `x-queue-type: "unsupported queue type 'foo'"`],
    [{ 'x-queue-type': byte(1) }, 'x-queue-type: {unacceptable_type,byte}'],
    [{ 'x-queue-leader-locator': 'x' }, 'x-queue-leader-locator: invalid_queue_locator_arg'],
  ];
  for (const [args, expected] of cases) {
    const [name, reason] = [expected.slice(0, expected.indexOf(':')), expected.slice(expected.indexOf(':'))];
    it(`${JSON.stringify(args)} is refused`, () => {
      expect(refusal(args)).toBe(`invalid arg '${name}' for queue 'q' in vhost '/'${reason}`);
    });
  }

  it('of another queue type is refused, after all others were looked at', () => {
    expect(refusal({ 'x-max-age': '1h' })).toBe(
      "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
    );
    expect(refusal({ 'x-max-age': '1D', 'x-message-ttl': -1 })).toMatch(/'x-message-ttl'/);
  });

  it('is looked at in the order of RabbitMQ, not in that of the client', () => {
    expect(refusal({ 'x-overflow': 'zz', 'x-expires': 0 })).toMatch(/'x-expires'/);
    expect(refusal({ 'x-max-length': -1, 'x-message-ttl': -1 })).toMatch(/'x-message-ttl'/);
    expect(refusal({ 'x-max-length': -1, 'x-dead-letter-routing-key': 'k' })).toMatch(
      /routing_key_but_no_dlx_defined/,
    );
    expect(refusal({ 'x-message-ttl': 'a', 'x-dead-letter-exchange': byte(1) })).toBe(
      "invalid type 'byte' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    );
  });

  it('is fine at its limits, and when nobody knows it', () => {
    expect(
      refusal({
        'x-message-ttl': 0,
        'x-expires': 1,
        'x-max-length': 0,
        'x-max-length-bytes': 0,
        'x-max-priority': 255,
        'x-overflow': 'reject-publish-dlx',
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': '',
        'x-single-active-consumer': false,
        'x-queue-type': 'classic',
        'x-queue-version': 2,
        'x-queue-mode': 'lazy',
        'x-unknown': { deep: [1, 2] },
      }),
    ).toBe('ok');
  });
});

describe('the options of a queue', () => {
  it('without arguments have no limits', () => {
    expect(queueOptions(tableOf({}))).toMatchObject({
      type: 'classic',
      expiresMs: Number.POSITIVE_INFINITY,
      deadLetterStrategy: 'at-most-once',
      priorityMax: 0,
      deliveryLimit: Number.POSITIVE_INFINITY,
      consumerTimeoutMs: null,
      retry: null,
      orderingKey: null,
      lengthMax: Number.POSITIVE_INFINITY,
      bytesMax: Number.POSITIVE_INFINITY,
      bounded: false,
      overflow: 'drop-head',
      messageTtlMs: Number.POSITIVE_INFINITY,
      deadLetterExchange: null,
      deadLetterRoutingKey: null,
      singleActiveConsumer: false,
    });
  });

  it('are what the arguments say, integers of any width', () => {
    const options = queueOptions(
      tableOf({
        'x-max-length': { tag: 'l', value: 5n },
        'x-max-length-bytes': 7,
        'x-message-ttl': 0,
        'x-overflow': 'reject-publish',
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'k',
        'x-single-active-consumer': true,
      }),
    );
    expect(options).toMatchObject({
      lengthMax: 5,
      bytesMax: 7,
      bounded: true,
      overflow: 'reject-publish',
      messageTtlMs: 0,
      deadLetterExchange: '',
      deadLetterRoutingKey: 'k',
      singleActiveConsumer: true,
    });
  });
});

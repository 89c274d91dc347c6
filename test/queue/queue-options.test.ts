// What argument and policy make of each other, option by option.

import { describe, expect, test } from 'vitest';
import { tableOf } from '../../src/protocol/field-table.ts';
import { type QueueOptions, queueOptions } from '../../src/queue/queue-options.ts';

function options(args: Record<string, unknown>, policy: Record<string, string | number>): QueueOptions {
  return queueOptions(tableOf(args), new Map(Object.entries(policy)));
}

describe('argument and policy', () => {
  const NUMBERS = [
    ['message-ttl', 'messageTtlMs'],
    ['expires', 'expiresMs'],
    ['max-length', 'lengthMax'],
    ['max-length-bytes', 'bytesMax'],
    ['consumer-timeout', 'consumerTimeoutMs'],
  ] as const;
  for (const [key, option] of NUMBERS) {
    test(`${key}: the smaller holds, and either alone`, () => {
      expect(options({ [`x-${key}`]: 5 }, { [key]: 7 })[option]).toBe(5);
      expect(options({ [`x-${key}`]: 7 }, { [key]: 5 })[option]).toBe(5);
      expect(options({ [`x-${key}`]: 7 }, {})[option]).toBe(7);
      expect(options({}, { [key]: 5 })[option]).toBe(5);
    });
  }

  test('no time of a policy is longer than an argument may be, and no retry goes on for ever', () => {
    const years = 10 * 365 * 86_400_000;
    const huge = options(
      { 'x-queue-type': 'quorum' },
      {
        'message-ttl': 1e300,
        expires: 1e15,
        'retry-limit': 1_000,
        'retry-delay': 1e15,
        'retry-delay-max': 1e18,
        'delayed-retry-type': 'all',
        'delayed-retry-min': 1e15,
        'delayed-retry-max': 1e18,
      },
    );
    expect([huge.messageTtlMs, huge.expiresMs]).toEqual([years, years]);
    expect(huge.retry).toMatchObject({ limit: 255, delayMs: years, delayMaxMs: years });
    expect(huge.returnDelay).toEqual({ minMs: years, maxMs: years });
  });

  test('neither leaves no limit', () => {
    const none = options({}, {});
    for (const [, option] of NUMBERS) expect(none[option] ?? Number.POSITIVE_INFINITY).toBe(Infinity);
    expect(none.bounded).toBe(false);
    expect(options({}, { 'max-length': 0 }).bounded).toBe(true);
  });

  test('the argument names the dead-letter exchange, key and strategy', () => {
    const both = options(
      {
        'x-queue-type': 'quorum',
        'x-overflow': 'reject-publish',
        'x-dead-letter-exchange': 'own',
        'x-dead-letter-routing-key': 'own',
        'x-dead-letter-strategy': 'at-most-once',
      },
      {
        'dead-letter-exchange': 'policy',
        'dead-letter-routing-key': 'policy',
        'dead-letter-strategy': 'at-least-once',
      },
    );
    expect(both.deadLetterExchange).toBe('own');
    expect(both.deadLetterRoutingKey).toBe('own');
    expect(both.deadLetterStrategy).toBe('at-most-once');
    const policy = options({}, { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'k' });
    expect(policy.deadLetterExchange).toBe('');
    expect(policy.deadLetterRoutingKey).toBe('k');
  });

  test('overflow: the argument on a classic queue, the policy on a quorum queue', () => {
    const policy = { overflow: 'drop-head' };
    expect(options({ 'x-overflow': 'reject-publish' }, policy).overflow).toBe('reject-publish');
    const quorum = { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish' };
    expect(options(quorum, policy).overflow).toBe('drop-head');
    expect(options(quorum, {}).overflow).toBe('reject-publish');
  });

  test('a quorum queue drops where a policy asks for what it does not know', () => {
    const quorum = { 'x-queue-type': 'quorum' };
    expect(options(quorum, { overflow: 'reject-publish-dlx' }).overflow).toBe('drop-head');
    expect(options({}, { overflow: 'reject-publish-dlx' }).overflow).toBe('reject-publish-dlx');
  });

  test('dead letters are kept until taken only by a quorum queue that refuses publishes', () => {
    const policy = { 'dead-letter-strategy': 'at-least-once' };
    const quorum = { 'x-queue-type': 'quorum' };
    expect(options(quorum, policy).deadLetterStrategy).toBe('at-most-once');
    expect(options(quorum, { ...policy, overflow: 'reject-publish' }).deadLetterStrategy).toBe(
      'at-least-once',
    );
  });

  test('delivery limit: the smaller, a negative one loses, two of them are none', () => {
    const limit = (argument: number | null, policy: number | null): number =>
      options(
        { 'x-queue-type': 'quorum', ...(argument === null ? {} : { 'x-delivery-limit': argument }) },
        policy === null ? {} : { 'delivery-limit': policy },
      ).deliveryLimit;
    expect(limit(3, 5)).toBe(3);
    expect(limit(5, 3)).toBe(3);
    expect(limit(-1, 5)).toBe(5);
    expect(limit(5, -1)).toBe(5);
    expect(limit(-1, -3)).toBe(Infinity);
    expect(limit(null, 7)).toBe(7);
    expect(limit(null, null)).toBe(20);
  });

  test('what a policy says of a stream holds over its arguments', () => {
    const stream = { 'x-queue-type': 'stream', 'x-max-length-bytes': 5 };
    expect(options(stream, { 'max-length-bytes': 7 }).bytesMax).toBe(7);
    expect(options(stream, {}).bytesMax).toBe(5);
    const aged = { 'x-queue-type': 'stream', 'x-max-age': '1h', 'x-stream-max-segment-size-bytes': 1_000 };
    expect(options(aged, { 'max-age': '1D', 'stream-max-segment-size-bytes': 2_000 })).toMatchObject({
      maxAgeMs: 86_400_000,
      segmentBytesMax: 2_000,
    });
    expect(options(aged, {})).toMatchObject({ maxAgeMs: 3_600_000, segmentBytesMax: 1_000 });
  });

  test('a policy can bring redelivery after a back-off; arguments go before it, key by key', () => {
    const policy = { 'retry-limit': 5, 'retry-delay': 100, 'retry-multiplier': 3, 'retry-delay-max': 900 };
    expect(options({}, policy).retry).toEqual({ limit: 5, delayMs: 100, multiplier: 3, delayMaxMs: 900 });
    expect(options({ 'x-retry-delay': 7 }, policy).retry).toMatchObject({ limit: 5, delayMs: 7 });
    expect(options({ 'x-retry-delay': 7 }, {}).retry).toBeNull();
  });

  test('type, priorities and a single active consumer are not for policies', () => {
    const odd = options({}, { 'queue-type': 'quorum', 'max-priority': 5, 'single-active-consumer': 'true' });
    expect(odd).toMatchObject({ type: 'classic', priorityMax: 0, singleActiveConsumer: false });
  });
});

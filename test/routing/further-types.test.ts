import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../src/base/errors.ts';
import { EMPTY_TABLE, type FieldTable, tableOf } from '../../src/protocol/field-values.ts';
import { LocalRandomRouter, RandomRouter } from '../../src/routing/random.ts';
import { HISTORY_BYTES_MAX } from '../../src/routing/recent-history.ts';
import type { Binding, Destination, Routable, Router } from '../../src/routing/router.ts';
import { createRouter } from '../../src/routing/router-types.ts';
import { binding, messageWith, plainMessage, routedRaw } from './support.ts';

function made(type: string, args: Record<string, unknown> = {}): Router {
  return createRouter(type, tableOf(args))!;
}

/** Binds a destination per weight, named `q0`, `q1` and so on. */
function bindWeights(router: Router, weights: readonly number[]): Binding[] {
  return weights.map((weight, i) => {
    const one = binding({ name: `q${i}` }, String(weight));
    router.check(one);
    router.bind(one);
    return one;
  });
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError);
    expect((error as BrokerError).reason).toBe('precondition-failed');
    return (error as BrokerError).message;
  }
  return '';
}

/** Destination of each of `count` keys; a test fails when one has none or several. */
function assignment(router: Router, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const names = routedRaw(router, `key${i}`);
    if (names.length !== 1) throw new Error(`key${i} went to ${names.join(', ') || 'nobody'}`);
    return names[0]!;
  });
}

function share(assigned: readonly string[], name: string): number {
  return assigned.filter((one) => one === name).length / assigned.length;
}

describe('consistent hash exchange', () => {
  it('spreads ten thousand keys by weight, exactly as RabbitMQ does', () => {
    const router = made('x-consistent-hash');
    bindWeights(router, [1, 2, 3, 4]);
    const assigned = assignment(router, 10_000);
    // Counted in the queues of a RabbitMQ 3.10 after the same publishes.
    const counts = [0, 1, 2, 3].map((i) => assigned.filter((name) => name === `q${i}`).length);
    expect(counts).toEqual([1059, 1950, 2970, 4021]);
  });

  it('keeps every assignment when the same bindings are made again', () => {
    const first = made('x-consistent-hash');
    const second = made('x-consistent-hash');
    bindWeights(first, [5, 1, 7]);
    bindWeights(second, [5, 1, 7]);
    expect(assignment(first, 10_000)).toEqual(assignment(second, 10_000));
  });

  it('takes from the others only what a new queue gets, and gives it back when it goes', () => {
    const router = made('x-consistent-hash');
    bindWeights(router, [10, 10, 10]);
    const before = assignment(router, 10_000);
    const late = binding({ name: 'late' }, '10');
    router.bind(late);
    const between = assignment(router, 10_000);
    for (let i = 0; i < before.length; i++) {
      if (between[i] !== 'late' && between[i] !== before[i])
        throw new Error(`key${i} moved between old queues`);
    }
    expect(share(between, 'late')).toBeCloseTo(0.25, 1);
    router.unbind(late);
    expect(assignment(router, 10_000)).toEqual(before);
  });

  it('ignores a second binding to a queue until the first one goes', () => {
    const router = made('x-consistent-hash');
    const queue = { name: 'q' };
    const first = binding(queue, '1');
    const second = binding(queue, '9');
    router.bind(first);
    router.bind(binding({ name: 'other' }, '1'));
    router.bind(second);
    expect(share(assignment(router, 4_000), 'q')).toBeCloseTo(0.5, 1);
    router.unbind(first);
    expect(share(assignment(router, 4_000), 'q')).toBeCloseTo(0.9, 1);
    router.unbind(second);
    expect(share(assignment(router, 100), 'q')).toBe(0);
  });

  it('routes nowhere without a binding', () => {
    expect(routedRaw(made('x-consistent-hash'), 'k')).toEqual([]);
  });

  it('hashes the first of several keys', () => {
    const router = made('x-consistent-hash');
    bindWeights(
      router,
      Array.from({ length: 50 }, () => 1),
    );
    const out: Destination[] = [];
    router.route(plainMessage, ['key1', 'key2', 'key3'], out);
    expect(out.map((d) => d.name)).toEqual(routedRaw(router, 'key1'));
  });

  it('hashes a header of any type when told to, and sends messages without it to one queue', () => {
    const router = made('x-consistent-hash', { 'hash-header': 'h' });
    bindWeights(
      router,
      Array.from({ length: 100 }, () => 1),
    );
    expect(router.byKeyOnly).toBe(false);
    const by = (headers: FieldTable | null, key: string): string =>
      routedRaw(router, key, messageWith(headers)).join();
    const values = [
      'text',
      Buffer.from([1, 2, 255]),
      true,
      false,
      5,
      -5,
      1.5,
      { tag: 'l', value: 2n ** 62n },
      { tag: 'T', value: 1_700_000_000 },
      { tag: 'D', value: { scale: 1, value: 5 } },
      ['a', 1],
      { nested: 'table' },
      null,
    ];
    for (const value of values) {
      const table = tableOf({ h: value });
      expect(by(table, 'a')).toMatch(/^q\d+$/);
      expect(by(tableOf({ other: 1, h: value }), 'b')).toBe(by(table, 'a'));
    }
    const missing = by(null, 'a');
    for (let i = 0; i < 20; i++) expect(by(i % 2 === 0 ? null : EMPTY_TABLE, `key${i}`)).toBe(missing);
    const used = new Set(Array.from({ length: 1_000 }, (_, i) => by(tableOf({ h: `v${i}` }), '')));
    expect(used.size).toBe(100);
    // A text header goes where RabbitMQ 4 sends it: where the same text as a key goes.
    const keyed = made('x-consistent-hash');
    bindWeights(
      keyed,
      Array.from({ length: 100 }, () => 1),
    );
    expect(by(tableOf({ h: 'hello world' }), '')).toBe(routedRaw(keyed, 'hello world').join());
  });

  it('hashes a property when told to', () => {
    const keyed = made('x-consistent-hash');
    bindWeights(
      keyed,
      Array.from({ length: 100 }, () => 1),
    );
    for (const [property, properties, text] of [
      ['correlation_id', { correlationId: 'c-17' }, 'c-17'],
      ['message_id', { messageId: 'm-4' }, 'm-4'],
      ['timestamp', { timestamp: 1_700_000_000 }, '1700000000'],
      ['timestamp', { timestamp: 2n ** 63n }, '9223372036854775808'],
    ] as const) {
      const router = made('x-consistent-hash', { 'hash-property': property });
      bindWeights(
        router,
        Array.from({ length: 100 }, () => 1),
      );
      expect(router.byKeyOnly).toBe(false);
      expect(routedRaw(router, 'any', messageWith(null, properties))).toEqual(routedRaw(keyed, text));
      expect(routedRaw(router, 'a')).toEqual(routedRaw(router, 'b'));
    }
  });

  it('refuses keys that are no weight, and arguments that do not say what to hash', () => {
    const router = made('x-consistent-hash');
    const bind = (key: string): string => refusal(() => router.check(binding({ name: 'q' }, key)));
    for (const key of ['1', '+5', '007', '10000']) expect(bind(key)).toBe('');
    expect(bind('0')).toBe('The binding key must be greater than 0');
    expect(bind('-3')).toBe('The binding key must be greater than 0');
    expect(bind('10001')).toBe('The binding key must not exceed 10000');
    expect(bind('9'.repeat(200))).toBe('The binding key must not exceed 10000');
    for (const [key, term] of [
      ['', '<<>>'],
      ['abc', '<<"abc">>'],
      ['1.5', '<<"1.5">>'],
      [' 1', '<<" 1">>'],
      ['1e3', '<<"1e3">>'],
      ['a\x01', '<<97,1>>'],
      ['\udcff', '<<"\xff">>'],
    ] as const)
      expect(bind(key)).toBe(`The binding key must be an integer: ${term}`);
    const declare = (args: Record<string, unknown>): string => refusal(() => made('x-consistent-hash', args));
    expect(declare({ 'hash-header': 'a', 'hash-property': 'message_id' })).toBe(
      'hash-header and hash-property are mutually exclusive',
    );
    expect(declare({ 'hash-property': 'app_id' })).toBe('Unsupported property: app_id');
    expect(declare({ 'hash-header': 5 })).toBe("Invalid argument 5, 'hash-header' must be a string");
    expect(declare({ 'hash-property': true })).toBe(
      "Invalid argument true, 'hash-property' must be a string",
    );
  });
});

describe('modulus hash exchange', () => {
  it('spreads keys evenly, whatever the order of bindings', () => {
    const router = made('x-modulus-hash');
    const reversed = made('x-modulus-hash');
    const bindings = Array.from({ length: 4 }, (_, i) => binding({ name: `q${i}` }, ''));
    for (const one of bindings) router.bind(one);
    for (const one of bindings.reverse()) reversed.bind(one);
    const assigned = assignment(router, 4_000);
    // Counted in the queues of a RabbitMQ 3.10; its keys were k0, k1 and so on.
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 4_000; i++) counts[Number(routedRaw(router, `k${i}`)[0]!.slice(1))]!++;
    expect(counts).toEqual([1045, 989, 997, 969]);
    expect(assignment(reversed, 4_000)).toEqual(assigned);
    router.unbind(bindings[0]!);
    expect(new Set(assignment(router, 100))).toEqual(new Set(['q0', 'q1', 'q2']));
    expect(routedRaw(made('x-modulus-hash'), 'k')).toEqual([]);
  });

  it('tells an exchange from a queue of the same name, and counts a queue twice that is bound twice', () => {
    const router = made('x-modulus-hash');
    const exchange = { name: 'x' };
    const queue = { name: 'x' };
    const toQueue = [binding(queue, 'a'), binding(queue, 'b'), binding(queue, 'c')];
    for (const one of toQueue) router.bind(one);
    router.bind({ ...binding(exchange, ''), toExchange: true });
    let toExchange = 0;
    for (let i = 0; i < 4_000; i++) {
      const out: Destination[] = [];
      router.route(plainMessage, [`key${i}`], out);
      expect(out).toHaveLength(1);
      if (out[0] === exchange) toExchange++;
    }
    expect(toExchange / 4_000).toBeCloseTo(0.25, 1);
  });
});

describe('random exchanges', () => {
  it('give each binding the same chance, and one queue each message', () => {
    let next = 0;
    const router = new RandomRouter(() => next);
    const bindings = ['a', 'b', 'c', 'd'].map((name) => binding({ name }, ''));
    for (const one of bindings) router.bind(one);
    const names: string[] = [];
    for (next = 0; next < 1; next += 0.25) names.push(...routedRaw(router, 'k'));
    expect(names).toEqual(['a', 'b', 'c', 'd']);
    next = 0.999999999;
    expect(routedRaw(router, 'k')).toEqual(['d']);
    router.unbind(bindings[1]!);
    router.unbind(bindings[1]!);
    router.unbind(bindings[3]!);
    next = 0.5;
    expect(routedRaw(router, 'k')).toEqual(['c']);
    router.unbind(bindings[0]!);
    router.unbind(bindings[2]!);
    expect(routedRaw(router, 'k')).toEqual([]);
  });

  it('reach every queue when left to chance, and are never answered from a cache', () => {
    for (const type of ['x-random', 'x-local-random']) {
      const router = made(type);
      expect(router.byKeyOnly).toBe(false);
      for (let i = 0; i < 8; i++) router.bind(binding({ name: `q${i}` }, ''));
      const seen = new Set<string>();
      for (let i = 0; i < 2_000; i++) seen.add(assignment(router, 1)[0]!);
      expect(seen.size).toBe(8);
    }
  });

  it('refuse a binding with a key or to an exchange when they are local', () => {
    const router = new LocalRandomRouter();
    expect(refusal(() => router.check(binding({ name: 'q' }, '')))).toBe('');
    expect(refusal(() => router.check(binding({ name: 'q' }, 'k')))).toBe(
      "Non empty binding 'k' key not permitted",
    );
    expect(refusal(() => router.check({ ...binding({ name: 'x' }, ''), toExchange: true }))).toBe(
      'Destination not found',
    );
    expect(refusal(() => made('x-random').check(binding({ name: 'q' }, 'k')))).toBe('');
  });
});

describe('recent history exchange', () => {
  const publish = (router: Router, ...messages: Routable[]): void => {
    for (const message of messages) router.route(message, ['k'], []);
  };
  const messages = (count: number, footprint = 100): Routable[] =>
    Array.from({ length: count }, () => messageWith(null, {}, footprint));

  it('routes to everybody and remembers the last twenty messages', () => {
    const router = made('x-recent-history');
    expect(router.byKeyOnly).toBe(false);
    router.bind(binding({ name: 'a' }, 'x'));
    const b = binding({ name: 'b' }, 'y');
    router.bind(b);
    expect(routedRaw(router, 'k')).toEqual(['a', 'b']);
    router.unbind(b);
    expect(routedRaw(router, 'k')).toEqual(['a']);
    const all = messages(25);
    publish(router, ...all);
    expect(router.history).toEqual(all.slice(5));
    expect(router.history[0]).toBe(all[5]);
  });

  it('remembers as many as it was told', () => {
    const router = made('x-recent-history', { 'x-recent-history-length': { tag: 'l', value: 3 } });
    expect(router.history).toEqual([]);
    const all = messages(5);
    publish(router, all[0]!, all[1]!);
    expect(router.history).toEqual([all[0], all[1]]);
    publish(router, ...all.slice(2));
    expect(router.history).toEqual(all.slice(2));
  });

  it('does not remember what asks not to be remembered', () => {
    const router = made('x-recent-history');
    const kept = messageWith(tableOf({ 'x-recent-history-no-store': 'true' }));
    publish(
      router,
      kept,
      messageWith(tableOf({ 'x-recent-history-no-store': true })),
      messageWith(tableOf({ 'x-recent-history-no-store': false })),
    );
    expect(router.history).toHaveLength(2);
    expect(router.history[0]).toBe(kept);
  });

  it('forgets the oldest when the memory for it is full, but never the last one', () => {
    const router = made('x-recent-history', { 'x-recent-history-length': 1_000_000 });
    publish(router, ...messages(100, HISTORY_BYTES_MAX / 10));
    expect(router.history).toHaveLength(10);
    const huge = messageWith(null, {}, HISTORY_BYTES_MAX * 2);
    publish(router, huge);
    expect(router.history).toEqual([huge]);
    publish(router, ...messages(3));
    expect(router.history).toHaveLength(3);
  });

  it('refuses a length that is no positive integer', () => {
    for (const [value, term] of [
      [0, '0'],
      [-1, '-1'],
      ['5', '<<"5">>'],
      [true, 'true'],
      [1.5, '1.5'],
      [{ tag: 'i', value: 5 }, '5'],
    ] as const) {
      expect(refusal(() => made('x-recent-history', { 'x-recent-history-length': value }))).toBe(
        `Invalid argument ${term}, 'x-recent-history-length' must be a positive integer`,
      );
    }
  });
});

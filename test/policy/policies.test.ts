// Which policy applies, what two of them say together, and what is wrong with one.

import { describe, expect, test } from 'vitest';
import { BrokerError } from '../../src/base/errors.ts';
import type { Json } from '../../src/base/terms.ts';
import { PARAMETER_BYTES_MAX, Parameters } from '../../src/policy/parameters.ts';
import {
  type EffectivePolicy,
  POLICIES_MAX,
  Policies,
  type Policy,
  policyOf,
} from '../../src/policy/policies.ts';

const compile = (pattern: string): RegExp => {
  try {
    return new RegExp(pattern);
  } catch {
    throw new BrokerError('precondition-failed', 'not a pattern');
  }
};

function policy(name: string, given: Record<string, Json> = {}, operator = false): Policy {
  return policyOf(
    name,
    { pattern: '', priority: 0, definition: { 'max-length': 5 }, ...given },
    operator,
    compile,
  );
}

function policies(own: readonly Policy[], operator: readonly Policy[] = []): Policies {
  const all = new Policies(compile);
  for (const one of own) all.put(one, false);
  for (const one of operator) all.put(one, true);
  return all;
}

const names = ({ policy: own, operatorPolicy }: EffectivePolicy): (string | null)[] => [
  own?.name ?? null,
  operatorPolicy?.name ?? null,
];

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof BrokerError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('which policy applies', () => {
  test('the one of the highest priority that matches', () => {
    const all = policies([
      policy('low', { priority: 1 }),
      policy('high', { priority: 7, pattern: '^orders' }),
      policy('middle', { priority: 3 }),
    ]);
    expect(names(all.forQueue('orders.new', 'classic'))).toEqual(['high', null]);
    expect(names(all.forQueue('bills', 'classic'))).toEqual(['middle', null]);
  });

  test('of equal priorities the one whose name comes first, whatever the order they were set in', () => {
    const [a, b, c] = [policy('a', { pattern: 'x' }), policy('b'), policy('c')];
    for (const order of [
      [a, b, c],
      [c, b, a],
      [b, c, a],
    ]) {
      expect(names(policies(order).forQueue('xy', 'classic'))).toEqual(['a', null]);
      expect(names(policies(order).forQueue('z', 'classic'))).toEqual(['b', null]);
    }
  });

  test('patterns are found anywhere in a name', () => {
    const all = policies([policy('p', { pattern: 'b.d' })]);
    expect(names(all.forQueue('abcde', 'classic'))).toEqual(['p', null]);
    expect(names(all.forQueue('abc', 'classic'))).toEqual([null, null]);
  });

  test('only to what it is for', () => {
    const applies = (applyTo: string): string[] => {
      const all = policies([
        policy('p', { 'apply-to': applyTo, definition: { 'queue-leader-locator': 'balanced' } }),
      ]);
      const found = (['classic', 'quorum', 'stream'] as const).filter(
        (type) => all.forQueue('q', type).policy !== null,
      );
      return all.forExchange('x').policy === null ? found : [...found, 'exchange'];
    };
    expect(applies('all')).toEqual(['classic', 'quorum', 'stream', 'exchange']);
    expect(applies('queues')).toEqual(['classic', 'quorum', 'stream']);
    expect(applies('exchanges')).toEqual(['exchange']);
    expect(applies('classic_queues')).toEqual(['classic']);
    expect(applies('quorum_queues')).toEqual(['quorum']);
    expect(applies('streams')).toEqual(['stream']);
  });

  test('a policy with a key that a type does not know is passed over for that type, and the next one applies', () => {
    const all = policies([
      policy('quorum', { priority: 2, definition: { 'delivery-limit': 3, 'max-length': 5 } }),
      policy('any', { priority: 1 }),
    ]);
    expect(names(all.forQueue('q', 'quorum'))).toEqual(['quorum', null]);
    expect(names(all.forQueue('q', 'classic'))).toEqual(['any', null]);
    expect(names(all.forQueue('q', 'stream'))).toEqual([null, null]);
  });

  test('one of each kind', () => {
    const all = policies([policy('p')], [policy('o', {}, true), policy('o2', { priority: -1 }, true)]);
    expect(names(all.forQueue('q', 'classic'))).toEqual(['p', 'o']);
    all.delete('o', true);
    expect(names(all.forQueue('q', 'classic'))).toEqual(['p', 'o2']);
    all.delete('o2', true);
    all.delete('p', false);
    expect(all.isEmpty).toBe(true);
    expect(names(all.forQueue('q', 'classic'))).toEqual([null, null]);
  });

  test('objects of the same policies share what applies', () => {
    const all = policies([policy('p')], [policy('o', {}, true)]);
    expect(all.forQueue('a', 'classic')).toBe(all.forQueue('b', 'quorum'));
  });
});

describe('a policy and an operator policy', () => {
  const merged = (
    own: Record<string, Json>,
    operator: Record<string, Json>,
    type: 'classic' | 'quorum' = 'quorum',
  ): Record<string, unknown> =>
    Object.fromEntries(
      policies([policy('p', { definition: own })], [policy('o', { definition: operator }, true)]).forQueue(
        'q',
        type,
      ).keys,
    );

  for (const key of [
    'message-ttl',
    'expires',
    'max-length',
    'max-length-bytes',
    'max-in-memory-length',
    'max-in-memory-bytes',
    'delayed-retry-max',
  ]) {
    test(`${key}: the smaller`, () => {
      const fill = key === 'delayed-retry-max' ? { 'delayed-retry-min': 1 } : {};
      expect(merged({ ...fill, [key]: 5 }, { ...fill, [key]: 7 })[key]).toBe(5);
      expect(merged({ ...fill, [key]: 7 }, { ...fill, [key]: 5 })[key]).toBe(5);
    });
  }
  for (const key of ['target-group-size', 'delayed-retry-min']) {
    test(`${key}: the larger`, () => {
      expect(merged({ [key]: 5 }, { [key]: 7 })[key]).toBe(7);
      expect(merged({ [key]: 7 }, { [key]: 5 })[key]).toBe(7);
    });
  }
  test('overflow and queue version: what the operator says', () => {
    expect(
      merged(
        { overflow: 'drop-head', 'queue-version': 2 },
        { overflow: 'reject-publish', 'queue-version': 1 },
      ),
    ).toEqual({ overflow: 'reject-publish', 'queue-version': 1 });
  });
  test('delivery limit: the smaller, but a negative one yields', () => {
    const limit = (own: number, operator: number): unknown =>
      merged({ 'delivery-limit': own }, { 'delivery-limit': operator })['delivery-limit'];
    expect(limit(5, 7)).toBe(5);
    expect(limit(7, 5)).toBe(5);
    expect(limit(-1, 7)).toBe(7);
    expect(limit(7, -1)).toBe(7);
    expect(limit(-1, -5)).toBe(-1);
  });
  test('keys of one alone stay as they are', () => {
    expect(merged({ 'dead-letter-exchange': 'x', expires: 9 }, { 'max-length': 3 })).toEqual({
      'dead-letter-exchange': 'x',
      expires: 9,
      'max-length': 3,
    });
  });
});

describe('what is wrong with a policy', () => {
  const says = (given: Json, operator = false): string =>
    refusal(() => policyOf('p', given, operator, compile)).replace('Validation failed\n\n', '');
  const defined = (definition: Json, operator = false): string =>
    says({ pattern: '', priority: 0, definition }, operator);

  test('each key has its values', () => {
    const wrong: [string, Json, string][] = [
      ['max-length', 'x', '<<"x">> is not a valid maximum length'],
      ['max-length', -1, '-1 is not a valid maximum length'],
      ['max-length', 1.5, '1.5 is not a valid maximum length'],
      ['max-length-bytes', true, 'true is not a valid maximum length in bytes'],
      ['message-ttl', null, 'null is not a valid message TTL'],
      ['expires', 0, '0 is not a valid queue expiry'],
      ['overflow', 'drop', '<<"drop">> is not a valid overflow value'],
      ['dead-letter-exchange', 1, '1 is not a valid dead letter exchange name'],
      ['dead-letter-routing-key', [1, 'a'], '[1,<<"a">>] is not a valid dead letter routing key'],
      ['dead-letter-strategy', 'x', '<<"x">> is not a valid dead letter strategy'],
      ['alternate-exchange', { a: 1 }, '#{<<"a">> => 1} is not a valid alternate exchange name'],
      ['delivery-limit', '5', '<<"5">> is not a valid delivery limit'],
      ['max-age', '5', '<<"5">> is not a valid max age'],
      ['max-age', '0D', '<<"0D">> is not a valid max age'],
      ['queue-version', 3, '3 is not a valid queue-version value'],
      ['queue-mode', 'x', '<<"x">> is not a valid queue-mode value'],
      ['stream-filter-size-bytes', 7, '7 is not a valid filter size. Valid range is 16-255'],
      ['stream-max-segment-size-bytes', 3_000_000_001, '3000000001 is not a valid segment size'],
      ['retry-multiplier', 0.5, '0.5 is not a valid retry multiplier'],
    ];
    for (const [key, value, text] of wrong) expect(defined({ [key]: value })).toBe(text);
    for (const value of ['1Y', '2M', '07D', '12h', '9m', '1s'])
      expect(defined({ 'max-age': value })).toBe('accepted');
  });

  test('keys that nobody knows are listed with their values, after those with wrong values', () => {
    expect(defined({ foo: 1, bar: 'x', 'max-length': 3 })).toBe(
      '[{<<"bar">>,<<"x">>},{<<"foo">>,1}] are not recognised policy settings',
    );
    expect(defined({ foo: 1, 'max-length': 'a', 'message-ttl': 'b' })).toBe(
      '<<"a">> is not a valid maximum length',
    );
  });

  test('an operator policy takes limits only', () => {
    expect(defined({ 'dead-letter-exchange': 'x' }, true)).toBe(
      '[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings',
    );
    expect(defined({ 'max-length': 1, overflow: 'drop-head' }, true)).toBe('accepted');
  });

  test('a definition is an object with something in it', () => {
    expect(defined({})).toBe('no policy provided');
    expect(defined([])).toBe('no policy provided');
    expect(defined([1])).toBe('definition must be a dictionary: [1]');
    expect(defined(3)).toBe('parse error while reading policy definition: 3. Validator: policy_validator.');
  });

  test('all that is wrong is said at once, in the order of RabbitMQ', () => {
    const definition = { 'max-length': 1 };
    expect(says({ pattern: 'x', definition, zz: 1 })).toBe(
      'Unrecognised terms [{<<"zz">>,1}] in p\nKey "priority" not found in p',
    );
    expect(says({ pattern: 1, priority: 'x', definition, 'apply-to': 'cats' })).toBe(
      "apply-to 'cats' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'\n" +
        'pattern should be a binary but was 1\npriority should be a number, actually was <<"x">>',
    );
    expect(says({ pattern: '(', priority: 0, definition })).toBe(
      'pattern should be regular expression but is invalid: not a pattern',
    );
    expect(says(3)).toBe('p not a list 3');
  });

  test('a back-off has its shortest delay, and the longest is not shorter', () => {
    expect(defined({ 'delayed-retry-type': 'all' })).toBe(
      'delayed-retry-min is required when delayed-retry-type is all',
    );
    expect(defined({ 'delayed-retry-min': 5, 'delayed-retry-max': 4 })).toBe(
      'delayed-retry-max (4) must not be smaller than delayed-retry-min (5)',
    );
  });
});

describe('runtime parameters', () => {
  const LIMITS = { 'max-queues': 3 };

  test('are set, changed, listed in order, and cleared', () => {
    const table = new Parameters(compile);
    expect(table.set('v', 'vhost-limits', 'limits', LIMITS)).toBe(true);
    expect(table.set('v', 'vhost-limits', 'limits', { ...LIMITS })).toBe(false);
    expect(table.set('v', 'shovel', 'b', { uri: 'x', to: 1 })).toBe(true);
    expect(table.set('v', 'shovel', 'b', { to: 1, uri: 'x' })).toBe(false);
    expect(table.set('a', 'federation-upstream-set', 's', [{ upstream: 'u' }])).toBe(true);
    expect(table.list().map(({ vhost, component }) => [vhost, component])).toEqual([
      ['a', 'federation-upstream-set'],
      ['v', 'shovel'],
      ['v', 'vhost-limits'],
    ]);
    expect(table.list('v', 'shovel')).toEqual([
      { vhost: 'v', component: 'shovel', name: 'b', value: { uri: 'x', to: 1 } },
    ]);
    expect(table.clear('v', 'shovel', 'b')).toBe(true);
    expect(table.clear('v', 'shovel', 'b')).toBe(false);
    expect(table.forgetVHost('v')).toHaveLength(1);
    expect(table.list('v')).toEqual([]);
  });

  test('do not change with the object they were set from', () => {
    const table = new Parameters(compile);
    const value = { 'max-queues': 3 };
    table.set('v', 'vhost-limits', 'limits', value);
    value['max-queues'] = 5;
    expect(table.get('v', 'vhost-limits', 'limits')).toEqual({ 'max-queues': 3 });
  });

  test('of a component that is not there, or of a wrong form, are refused', () => {
    const table = new Parameters(compile);
    const says = (component: string, name: string, value: Json): string =>
      refusal(() => table.set('v', component, name, value)).replace('Validation failed\n\n', '');
    expect(says('nothing', 'n', {})).toBe('component nothing not found');
    expect(says('vhost-limits', 'limits', { foo: 1 })).toBe('Unrecognised terms [{<<"foo">>,1}] in limits');
    expect(says('vhost-limits', 'limits', { 'max-queues': 'x' })).toBe(
      'max-queues should be a number, actually was <<"x">>',
    );
    expect(says('vhost-limits', 'other', {})).toBe('name not recognised: <<"other">>');
    expect(says('shovel', 's', 1)).toBe('s not a list 1');
    expect(says('shovel', 's', { text: 'x'.repeat(PARAMETER_BYTES_MAX) })).toMatch('is longer than');
    expect(table.list()).toEqual([]);
  });

  test('there are not more policies than can be held against every queue', () => {
    const table = new Parameters(compile);
    const value = { pattern: '', priority: 0, definition: { 'max-length': 1 } };
    for (let i = 0; i < POLICIES_MAX; i++) table.set('v', 'policy', `p${i}`, value);
    expect(refusal(() => table.set('v', 'policy', 'one more', value))).toMatch(
      `component policy is limited to ${POLICIES_MAX}`,
    );
    expect(table.set('v', 'policy', 'p0', { ...value, priority: 1 })).toBe(true);
    expect(table.set('w', 'policy', 'p', value)).toBe(true);
  });

  test('global ones have a name alone', () => {
    const table = new Parameters(compile);
    expect(table.setGlobal('cluster_name', 'shop')).toBe(true);
    expect(table.setGlobal('cluster_name', 'shop')).toBe(false);
    table.setGlobal('a', { tags: [1, null] });
    expect(table.listGlobal()).toEqual([
      { name: 'a', value: { tags: [1, null] } },
      { name: 'cluster_name', value: 'shop' },
    ]);
    expect(table.clearGlobal('a')).toBe(true);
    expect(table.clearGlobal('a')).toBe(false);
  });
});

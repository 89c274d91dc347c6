// Policies and parameters that a broker does not take, in its words; parameters it takes.
import { expect } from 'vitest';
import type { Json } from '../../../src/index.ts';
import { type PolicyGiven, useOperator } from '../../support/operator.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { uniqueName } from '../../support/scene.ts';
import { rule } from '../../support/target.ts';

const operator = useOperator();

/** What the broker says of a policy; of its definition alone unless more is given. */
function says(definition: Json, given: Partial<PolicyGiven> = {}): Promise<string> {
  return operator.refusal(() => operator.setPolicy({ pattern: '^x$', definition, ...given }));
}

rule('12.1.unknown-key', 'one, and several', async () => {
  expect(await says({ foo: 1 })).toBe('[{<<"foo">>,1}] are not recognised policy settings');
  expect(await says({ 'max-length': 3, foo: 1, bar: 'x', baz: [true, null, 'y'] })).toBe(
    '[{<<"bar">>,<<"x">>},{<<"baz">>,[true,null,<<"y">>]},{<<"foo">>,1}] are not recognised policy settings',
  );
});

rule('12.1.not-available', 'arguments that are no keys', async () => {
  const definition = { 'max-priority': 5, 'queue-type': 'quorum', 'single-active-consumer': true };
  expect(await says(definition)).toMatch(/^\[\{<<"max-priority">>,5\},.* are not recognised/);
});

rule('12.1.wrong-value', 'the first wrong one, by key', async () => {
  const wrong: Record<string, Json> = {
    '<<"x">> is not a valid maximum length': { 'max-length': 'x' },
    '-1 is not a valid maximum length in bytes': { 'max-length-bytes': -1 },
    '1.5 is not a valid message TTL': { 'message-ttl': 1.5 },
    '0 is not a valid queue expiry': { expires: 0, foo: 1 },
    '<<"x">> is not a valid overflow value': { overflow: 'x' },
    '1 is not a valid dead letter exchange name': { 'dead-letter-exchange': 1 },
    'true is not a valid dead letter routing key': { 'dead-letter-routing-key': true },
    '1 is not a valid alternate exchange name': { 'alternate-exchange': 1 },
    '<<"a">> is not a valid delivery limit': { 'delivery-limit': 'a', 'message-ttl': 'b' },
  };
  const answers = await Promise.all(Object.values(wrong).map((definition) => says(definition)));
  expect(answers).toEqual(Object.keys(wrong));
});

rule('12.1.operator-key', 'a dead-letter exchange', async () => {
  expect(await says({ 'dead-letter-exchange': 'x' }, { operator: true })).toBe(
    '[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings',
  );
});

rule('12.1.empty', 'an empty definition', async () => {
  expect(await says({})).toBe('no policy provided');
});

rule('12.1.bad-pattern', 'a bracket that stays open', async () => {
  expect(await says({ 'max-length': 1 }, { pattern: '(' })).toMatch(
    /^pattern should be regular expression but is invalid: /,
  );
});

rule(
  '12.1.bad-apply-to',
  'cats',
  async () => {
    expect(await says({ 'max-length': 1 }, { applyTo: 'cats' })).toBe(
      "apply-to 'cats' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'",
    );
  },
  {
    onRabbitMQ: async () => {
      expect(await says({ 'max-length': 1 }, { applyTo: 'cats' })).toBe(
        "apply-to 'cats' unrecognised; should be 'queues', 'exchanges' or 'all'",
      );
    },
  },
);

rule('12.1.missing', 'of either kind', async () => {
  for (const kind of [false, true]) {
    expect(await operator.refusal(() => operator.deletePolicy('nothing', kind))).toBe(
      'Parameter does not exist',
    );
  }
});

rule('12.3.parameter', 'limits of the vhost', async () => {
  const { channel } = await operator.scene();
  await operator.setParameter('vhost-limits', 'limits', { 'max-queues': 0 });
  expect(await operator.parameters()).toEqual(['vhost-limits limits {"max-queues":0}']);
  await channel.refused(() => channel.call('queue.declare', { queue: uniqueName('q') }), {
    code: 406,
    text: /queue limit in vhost '.*' \(0\) is reached/,
    method: 'queue.declare',
  });
  await operator.clearParameter('vhost-limits', 'limits');
  expect(await operator.parameters()).toEqual([]);
});

rule('12.3.component', 'by its name', async () => {
  expect(await operator.refusal(() => operator.setParameter('nothing', 'n', { a: 1 }))).toBe(
    'component nothing not found',
  );
});

rule('12.3.policy', 'neither set nor cleared', async () => {
  expect(await operator.refusal(() => operator.setParameter('policy', 'p', {}))).toBe(
    'policies may not be set using this method',
  );
  expect(await operator.refusal(() => operator.clearParameter('policy', 'p'))).toBe(
    'policies may not be cleared using this method',
  );
});

rule('12.3.operator-policy', 'with and without a priority', async () => {
  const name = uniqueName('operator');
  const value = { pattern: '^x$', definition: { 'max-length': 1 } };
  expect(await operator.refusal(() => operator.setParameter('operator_policy', name, value))).toBe(
    `Key "priority" not found in ${name}`,
  );
  await operator.setParameter('operator_policy', name, { ...value, priority: 1 });
  expect((await operator.parameters()).join()).toMatch(`operator_policy ${name} {`);
  await operator.clearParameter('operator_policy', name);
});

rule('12.3.missing', 'a parameter and a global one', async () => {
  const clear = [
    () => operator.clearParameter('vhost-limits', 'limits'),
    () => operator.clearGlobalParameter(uniqueName('global')),
  ];
  for (const act of clear) expect(await operator.refusal(act)).toBe('Parameter does not exist');
});

rule('12.3.global', 'an object, and its end', async () => {
  const name = uniqueName('global');
  await operator.setGlobalParameter(name, { a: [1, 'x'] });
  await operator.clearGlobalParameter(name);
  expect(await operator.refusal(() => operator.clearGlobalParameter(name))).toBe('Parameter does not exist');
});

rule(
  '12.3.kept',
  'an upstream, a set of them, a shovel',
  async () => {
    await operator.setParameter('federation-upstream', 'u', { uri: 'amqp://elsewhere' });
    await operator.setParameter('federation-upstream-set', 's', [{ upstream: 'u' }]);
    await operator.setParameter('shovel', 'v', { 'src-uri': 'amqp://', 'dest-uri': 'amqp://' });
    expect(await operator.parameters()).toHaveLength(3);
  },
  {
    onRabbitMQ: async () => {
      expect(await operator.refusal(() => operator.setParameter('shovel', 'v', { a: 1 }))).toBe(
        'component shovel not found',
      );
    },
  },
);

rule(
  '12.3.restart',
  'a policy, a limit and a global parameter',
  async () => {
    await acrossRestart(
      async (channel, _peer, broker) => {
        await broker.setPolicy({ vhost: '/', name: 'p', pattern: '^kept$', definition: { 'max-length': 1 } });
        await broker.setVhostLimits('/', { 'max-queues': 1 });
        await broker.setGlobalParameter('g', 'v');
        await channel.call('queue.declare', { queue: 'kept', durable: true });
      },
      async (channel, _peer, broker) => {
        expect(broker.policyOf('/', 'kept')).toMatchObject({ policy: 'p', definition: { 'max-length': 1 } });
        expect(broker.globalParameters()).toEqual([{ name: 'g', value: 'v' }]);
        channel.publishAll('kept', ['a', 'b']);
        await channel.untilReady('kept', 1);
        await channel.refused(() => channel.call('queue.declare', { queue: 'more' }), {
          code: 406,
          text: "cannot declare queue 'more': queue limit in vhost '/' (1) is reached",
          method: 'queue.declare',
        });
      },
    );
  },
  OWN_ONLY,
);

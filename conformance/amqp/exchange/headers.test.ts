// The headers exchange: x-match, which values are equal, what is refused.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { type RuleTest, rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

type Table = Record<string, unknown>;

interface Row {
  readonly rule: string;
  readonly what: string;
  readonly binding: Table;
  readonly headers: Table | undefined;
  readonly matches: boolean;
}

const int = (value: number): Table => ({ '!': 'int', value });
const long = (value: number): Table => ({ '!': 'int64', value });
const short = (value: number): Table => ({ '!': 'short', value });
const byte = (value: number): Table => ({ '!': 'byte', value });
const double = (value: number): Table => ({ '!': 'double', value });

const rows: readonly Row[] = [
  {
    rule: '4.5.headers',
    what: 'all is the default: one of two is not enough',
    binding: { a: 1, b: 2 },
    headers: { a: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'all is the default: both match',
    binding: { a: 1, b: 2 },
    headers: { a: 1, b: 2, c: 3 },
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'all wants every value',
    binding: { 'x-match': 'all', a: 1, b: 2 },
    headers: { a: 1, b: 3 },
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'all with more headers than asked',
    binding: { 'x-match': 'all', a: 1 },
    headers: { z: 9, a: 1 },
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'all without arguments matches everything',
    binding: { 'x-match': 'all' },
    headers: { a: 1 },
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'no arguments at all match everything',
    binding: {},
    headers: { a: 1 },
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'no arguments match a message without headers',
    binding: {},
    headers: undefined,
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'a message without headers has none to match',
    binding: { a: 1 },
    headers: undefined,
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'any: one of two',
    binding: { 'x-match': 'any', a: 1, b: 2 },
    headers: { b: 2 },
    matches: true,
  },
  {
    rule: '4.5.headers',
    what: 'any: none of two',
    binding: { 'x-match': 'any', a: 1, b: 2 },
    headers: { a: 2, b: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'any without arguments matches nothing',
    binding: { 'x-match': 'any' },
    headers: { a: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'any and no headers',
    binding: { 'x-match': 'any', a: 1 },
    headers: undefined,
    matches: false,
  },
  {
    rule: '4.5.headers',
    what: 'header names are case sensitive',
    binding: { a: 1 },
    headers: { A: 1 },
    matches: false,
  },

  {
    rule: '4.5.headers-x',
    what: 'all ignores x- arguments',
    binding: { 'x-match': 'all', 'x-a': 1, b: 2 },
    headers: { b: 2 },
    matches: true,
  },
  {
    rule: '4.5.headers-x',
    what: 'any ignores x- arguments',
    binding: { 'x-match': 'any', 'x-a': 1, b: 2 },
    headers: { 'x-a': 1 },
    matches: false,
  },
  {
    rule: '4.5.headers-x',
    what: 'the default ignores x- arguments',
    binding: { 'x-a': 1 },
    headers: {},
    matches: true,
  },
  {
    rule: '4.5.headers-x',
    what: 'all-with-x compares them',
    binding: { 'x-match': 'all-with-x', 'x-a': 1, b: 2 },
    headers: { b: 2 },
    matches: false,
  },
  {
    rule: '4.5.headers-x',
    what: 'all-with-x matches with them',
    binding: { 'x-match': 'all-with-x', 'x-a': 1, b: 2 },
    headers: { b: 2, 'x-a': 1 },
    matches: true,
  },
  {
    rule: '4.5.headers-x',
    what: 'any-with-x is content with one of them',
    binding: { 'x-match': 'any-with-x', 'x-a': 1, b: 2 },
    headers: { 'x-a': 1 },
    matches: true,
  },
  {
    rule: '4.5.headers-x',
    what: 'any-with-x without arguments matches nothing',
    binding: { 'x-match': 'any-with-x' },
    headers: { a: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers-x',
    what: 'x-match itself is never compared',
    binding: { 'x-match': 'all-with-x', a: 1 },
    headers: { a: 1 },
    matches: true,
  },

  {
    rule: '4.5.headers-values',
    what: 'void asks for presence',
    binding: { a: null },
    headers: { a: 'anything' },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'void asks for presence and it is missing',
    binding: { a: null },
    headers: { b: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'void against void',
    binding: { a: null },
    headers: { a: null },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'void with any',
    binding: { 'x-match': 'any', a: null, b: 1 },
    headers: { a: false },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'a void header is not a value',
    binding: { a: 1 },
    headers: { a: null },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'integer widths do not matter',
    binding: { a: int(1), b: long(2), c: short(3), d: byte(4) },
    headers: { a: long(1), b: byte(2), c: int(3), d: short(4) },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'negative integers',
    binding: { a: long(-5) },
    headers: { a: byte(-5) },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: '1.5 equals 1.5',
    binding: { a: double(1.5) },
    headers: { a: double(1.5) },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'a string is not a number',
    binding: { a: '1' },
    headers: { a: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'a bool is not a number',
    binding: { a: true },
    headers: { a: 1 },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'a bool is not a string',
    binding: { a: true },
    headers: { a: 'true' },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'true equals true',
    binding: { a: true, b: false },
    headers: { a: true, b: false },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'true is not false',
    binding: { a: true },
    headers: { a: false },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'strings are compared by bytes',
    binding: { a: 'Größe' },
    headers: { a: 'Größe' },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'strings are case sensitive',
    binding: { a: 'x' },
    headers: { a: 'X' },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'the empty string is a value',
    binding: { a: '' },
    headers: { a: '' },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'tables are compared whole',
    binding: { a: { b: 1, c: 'x' } },
    headers: { a: { b: 1, c: 'x' } },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'tables that differ',
    binding: { a: { b: 1 } },
    headers: { a: { b: 2 } },
    matches: false,
  },
  {
    rule: '4.5.headers-values',
    what: 'arrays are compared item by item',
    binding: { a: [1, 'x'] },
    headers: { a: [1, 'x'] },
    matches: true,
  },
  {
    rule: '4.5.headers-values',
    what: 'arrays of another order differ',
    binding: { a: [1, 2] },
    headers: { a: [2, 1] },
    matches: false,
  },
];

/** The test of one row. */
function check(row: Row): RuleTest {
  return async (target) => {
    const t = await scene(target);
    const exchange = await t.exchange('headers');
    const queue = await t.boundQueue(exchange, '', row.binding);
    t.channel.publish(exchange, '', 'x', row.headers === undefined ? {} : { headers: row.headers });
    expect(await t.channel.drain(queue)).toEqual(row.matches ? ['x'] : []);
  };
}

const rowsOf = (id: string): readonly Row[] => rows.filter((row) => row.rule === id);
for (const row of rowsOf('4.5.headers')) rule('4.5.headers', row.what, check(row));
for (const row of rowsOf('4.5.headers-x')) rule('4.5.headers-x', row.what, check(row));
for (const row of rowsOf('4.5.headers-values')) rule('4.5.headers-values', row.what, check(row));

/** Whether a binding on the integer 1 takes a message whose header is the float 1.0. */
async function integerTakesFloat(target: Target): Promise<boolean> {
  const t = await scene(target);
  const exchange = await t.exchange('headers');
  const queue = await t.boundQueue(exchange, '', { a: int(1) });
  t.channel.publish(exchange, '', 'x', { headers: { a: double(1) } });
  return (await t.channel.drain(queue)).length === 1;
}

rule(
  '4.5.headers-float',
  '1 is not 1.0',
  async (target) => {
    expect(await integerTakesFloat(target)).toBe(false);
  },
  {
    onRabbitMQ: async (target) => {
      expect(await integerTakesFloat(target)).toBe(true);
    },
  },
);

rule('4.5.headers', 'several bindings of one queue are tried each for itself', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('headers');
  const queue = await t.boundQueue(exchange, '', { kind: 'a' });
  await t.channel.call('queue.bind', { queue, exchange, routingKey: '', arguments: { kind: 'b' } });
  for (const kind of ['a', 'b', 'c']) t.channel.publish(exchange, '', kind, { headers: { kind } });
  await t.channel.call('queue.unbind', { queue, exchange, routingKey: '', arguments: { kind: 'a' } });
  for (const kind of ['a', 'b']) t.channel.publish(exchange, '', `later ${kind}`, { headers: { kind } });
  expect(await t.channel.drain(queue)).toEqual(['a', 'b', 'later b']);
});

rule('4.5.headers-key', 'the routing keys of binding and message do not matter', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('headers');
  const queue = await t.boundQueue(exchange, 'one.key', { a: 1 });
  t.channel.publish(exchange, 'another', 'x', { headers: { a: 1 } });
  t.channel.publish(exchange, 'one.key', 'y', { headers: { a: 2 } });
  expect(await t.channel.get(queue, { noAck: true })).toMatchObject({ body: 'x', routingKey: 'another' });
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('4.5.headers-invalid', 'an x-match that is no known word is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const binding = { queue, exchange: 'amq.headers', routingKey: '', arguments: { 'x-match': 'foo' } };
  await t.channel.refused(() => t.channel.call('queue.bind', binding), {
    code: 406,
    text: 'Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x',
    method: 'queue.bind',
  });
});

rule('4.5.headers-invalid', 'an x-match that is no string is refused', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const binding = {
    queue,
    exchange: 'amq.headers',
    routingKey: '',
    arguments: { 'x-match': { '!': 'int64', value: 5 } },
  };
  await t.channel.refused(() => t.channel.call('queue.bind', binding), {
    code: 406,
    text: 'Invalid x-match field type long (value 5); expected longstr',
    method: 'queue.bind',
  });
});

rule('4.5.headers-invalid', 'other exchange types do not look at x-match', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const queue = await t.boundQueue(exchange, 'k', { 'x-match': 'foo' });
  t.channel.publish(exchange, 'k', 'x');
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

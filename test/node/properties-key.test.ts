// Names of bindings in listings.

import { expect, it } from 'vitest';
import { propertiesKey } from '../../src/node/properties-key.ts';
import { EMPTY_TABLE, tableOf } from '../../src/protocol/field-table.ts';

it.each([
  ['', '~'],
  ['a.b', 'a.b'],
  ['a b/~é%', 'a+b%2F%7E%C3%A9%25'],
  ['#', '%23'],
  ['\udcff', '%FF'],
])('a binding with key %j and no arguments is called %s', (key, name) => {
  expect(propertiesKey(key, EMPTY_TABLE)).toBe(name);
});

it('a binding with arguments is called by key and hash, whatever their order', () => {
  const name = propertiesKey('k', tableOf({ a: 1, b: 'x' }));
  expect(name).toMatch(/^k~[A-Za-z0-9_-]{22}$/);
  expect(propertiesKey('k', tableOf({ b: 'x', a: 1 }))).toBe(name);
  expect(propertiesKey('k', tableOf({ a: 2, b: 'x' }))).not.toBe(name);
  expect(propertiesKey('', tableOf({ a: 1 }))).toMatch(/^~[A-Za-z0-9_-]{22}$/);
});

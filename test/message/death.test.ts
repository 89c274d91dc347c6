// x-death: what a dead letter looks like, and when it must not go on.

import { describe, expect, it } from 'vitest';
import { addressOf } from '../../src/message/address.ts';
import { closesCycle, type DeathReason, deadMessage, hasDied } from '../../src/message/death.ts';
import { buildMessage, type Message } from '../../src/message/message.ts';
import { type FieldTable, type FieldValue, plainOf, tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';

const NOON = Date.UTC(2024, 0, 1, 12);
const DLX = addressOf('dlx', 'dead');

function message(properties: Partial<BasicProperties> = {}, exchange = 'e', key = 'k'): Message {
  return buildMessage(addressOf(exchange, key), { ...NO_PROPERTIES, ...properties }, Buffer.from('body'));
}

/** Dies in each `queue reason` in turn. */
function dies(first: Message, ...deaths: string[]): Message {
  let last = first;
  for (const [i, death] of deaths.entries()) {
    const [queue, reason] = death.split(' ') as [string, DeathReason];
    last = deadMessage(last, queue, reason, NOON + i * 1_000, DLX);
  }
  return last;
}

function headersOf(dead: Message): Record<string, unknown> {
  return plainOf(dead.headers()!);
}

/** `queue reason count` of each entry of x-death. */
function history(dead: Message): string[] {
  const deaths = headersOf(dead)['x-death'] as { queue: string; reason: string; count: number }[];
  return deaths.map(({ queue, reason, count }) => `${queue} ${reason} ${count}`);
}

describe('a dead letter', () => {
  it('says where, why and when it died, with the types and the order of RabbitMQ', () => {
    const dead = dies(
      message({ expiration: '500', headers: tableOf({ CC: ['c1', 'c2'], zebra: 1 }) }),
      'q expired',
    );
    const death = (dead.headers()!.get('x-death')!.value as readonly FieldValue[])[0]!.value as FieldTable;
    expect(
      [...death].map(([name, { tag, value }]) => [
        name,
        tag,
        tag === 'A' ? (value as FieldValue[]).map((v) => v.value) : value,
      ]),
    ).toEqual([
      ['original-expiration', 'S', '500'],
      ['count', 'l', 1],
      ['reason', 'S', 'expired'],
      ['queue', 'S', 'q'],
      ['time', 'T', NOON / 1000],
      ['exchange', 'S', 'e'],
      ['routing-keys', 'A', ['k', 'c1', 'c2']],
    ]);
    expect(Object.keys(headersOf(dead))).toEqual([
      'CC',
      'x-death',
      'x-first-death-exchange',
      'x-first-death-queue',
      'x-first-death-reason',
      'x-last-death-exchange',
      'x-last-death-queue',
      'x-last-death-reason',
      'zebra',
    ]);
  });

  it('keeps body and properties, but for the expiration, and has the new address', () => {
    const dead = dies(
      message({ deliveryMode: 2, priority: 3, correlationId: 'c', expiration: '5' }),
      'q rejected',
    );
    expect(dead.body().toString()).toBe('body');
    expect(dead.properties()).toMatchObject({
      deliveryMode: 2,
      priority: 3,
      correlationId: 'c',
      expiration: null,
    });
    expect(dead.persistent).toBe(true);
    expect(dead.expirationMs()).toBe(-1);
    expect(dead.address).toBe(DLX);
  });

  it('keeps octets that are not UTF-8 in names and properties as they were', () => {
    const original = message({
      headers: new Map([['\udcff'.repeat(255), { tag: 'V', value: null }]]),
      correlationId: '\udcfe',
    });
    const dead = dies(original, 'q rejected');
    expect(dead.properties().correlationId).toBe('\udcfe');
    expect(dead.headers()!.has('\udcff'.repeat(255))).toBe(true);
  });
});

describe('the history of deaths', () => {
  it('has one entry per queue and reason, the newest in front, and counts', () => {
    const steps = ['a expired', 'b rejected', 'a expired', 'a maxlen', 'b rejected'];
    const expected = [
      ['a expired 1'],
      ['b rejected 1', 'a expired 1'],
      ['a expired 2', 'b rejected 1'],
      ['a maxlen 1', 'a expired 2', 'b rejected 1'],
      ['b rejected 2', 'a maxlen 1', 'a expired 2'],
    ];
    for (let n = 1; n <= steps.length; n++)
      expect(history(dies(message(), ...steps.slice(0, n)))).toEqual(expected[n - 1]);
  });

  it('keeps the time, exchange and keys of the first death of an entry', () => {
    const dead = dies(message(), 'a expired', 'b rejected', 'a expired');
    const [last, before] = headersOf(dead)['x-death'] as Record<string, unknown>[];
    expect(last).toMatchObject({ time: NOON / 1000, exchange: 'e', 'routing-keys': ['k'] });
    expect(before).toMatchObject({ time: NOON / 1000 + 1, exchange: 'dlx', 'routing-keys': ['dead'] });
  });

  it('names the first and the last death beside it', () => {
    const headers = headersOf(dies(message(), 'a expired', 'b rejected'));
    expect(headers).toMatchObject({
      'x-first-death-reason': 'expired',
      'x-first-death-queue': 'a',
      'x-first-death-exchange': 'e',
      'x-last-death-reason': 'rejected',
      'x-last-death-queue': 'b',
      'x-last-death-exchange': 'dlx',
    });
  });

  it('that a client made up does not count', () => {
    const claimed = [{ tag: 'F', value: tableOf({ queue: 'a', reason: 'expired', count: 7 }) } as const];
    const original = message({ headers: new Map([['x-death', { tag: 'A', value: claimed }]]) });
    expect(hasDied(original)).toBe(false);
    const dead = dies(original, 'a expired');
    expect(hasDied(dead)).toBe(true);
    expect(history(dead)).toEqual(['a expired 1']);
    expect(headersOf(dead)['x-first-death-queue']).toBe('a');
  });

  it('survives that the expiration of a later life is named too', () => {
    const dead = dies(message({ expiration: '5' }), 'a expired', 'b expired');
    const [last, first] = headersOf(dead)['x-death'] as Record<string, unknown>[];
    expect(first!['original-expiration']).toBe('5');
    expect(last!['original-expiration']).toBeUndefined();
  });
});

describe('a cycle', () => {
  const cases: [string[], string, boolean][] = [
    [['a expired'], 'a', true],
    [['a maxlen'], 'a', true],
    [['a rejected'], 'a', false],
    [['a expired'], 'b', false],
    [['a expired', 'b expired'], 'a', true],
    [['a expired', 'b maxlen'], 'b', true],
    [['a expired', 'b rejected'], 'a', false],
    [['a rejected', 'b expired'], 'a', false],
    [['a expired', 'b rejected', 'c expired'], 'a', false],
    [['a expired', 'b rejected', 'c expired'], 'c', true],
    [['a expired', 'b rejected', 'a expired'], 'a', true],
  ];
  for (const [deaths, target, closed] of cases) {
    it(`is ${closed ? 'closed' : 'left open'} by ${target} after ${deaths.join(', ')}`, () => {
      expect(closesCycle(dies(message(), ...deaths), target)).toBe(closed);
    });
  }
});

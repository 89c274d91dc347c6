// Topology and messages after a restart.

import { describe, expect, it } from 'vitest';
import { importUsers } from '../../src/auth/definitions.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { plainOf } from '../../src/protocol/field-table.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import { type RecoverySink, StoreError } from '../../src/store/store.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { NodeKit, TestCaller } from './kit.ts';

describe('after a restart', () => {
  it('what is durable stands as it was declared, what is not is gone', async () => {
    let kit = await NodeKit.open();
    const caller = new TestCaller();
    kit.node.createVHost('other');
    kit.exchange(
      'e',
      'headers',
      { 'alternate-exchange': 'amq.fanout' },
      { autoDelete: true, internal: true },
    );
    kit.exchange('t', 'fanout', {}, { durable: false });
    kit.queue('q', { 'x-max-length': { tag: 'l', value: 10 }, 'x-message-ttl': 60_000 });
    kit.queue('auto', {}, { autoDelete: true });
    kit.queue('transient', {}, { durable: false });
    kit.queue('mine', {}, { exclusive: true }, caller);
    kit.bind('e', kit.queue('auto', {}, { autoDelete: true }), 'k', { 'x-match': 'any', a: 1 });
    kit.bind('amq.fanout', kit.vhost.exchange('e'), 'k2');
    kit.bind('amq.fanout', kit.queue('transient', {}, { durable: false }), '');
    kit.bind('t', kit.vhost.queue('q', caller), '');
    await kit.settle();
    kit = await kit.restart();
    const { vhost } = kit;
    expect([...kit.node.vhosts.keys()].sort()).toEqual(['/', 'other']);
    expect([...vhost.queues.keys()].sort()).toEqual(['auto', 'q']);
    expect(vhost.exchanges.has('t')).toBe(false);
    const e = vhost.exchange('e');
    expect(e.declaration).toMatchObject({ type: 'headers', durable: true, autoDelete: true, internal: true });
    expect(e.alternate).toBe('amq.fanout');
    expect(
      [...e.outgoing.values()].map((b) => [b.destination.name, b.routingKey, plainOf(b.arguments)]),
    ).toEqual([['auto', 'k', { 'x-match': 'any', a: 1 }]]);
    expect(
      [...vhost.exchange('amq.fanout').outgoing.values()].map((b) => [b.destination.name, b.routingKey]),
    ).toEqual([['e', 'k2']]);
    const q = vhost.queue('q', caller);
    expect(q.declaration.arguments.get('x-max-length')).toEqual({ tag: 'l', value: 10 });
    expect(q.options).toMatchObject({ lengthMax: 10, messageTtlMs: 60_000 });
  });

  it('bindings that were removed stay removed, and auto-delete still works', async () => {
    let kit = await NodeKit.open();
    kit.exchange('e', 'direct', {}, { autoDelete: true });
    const q = kit.queue('q');
    kit.bind('e', q, 'a');
    kit.bind('e', q, 'b\0c');
    kit.bind('amq.topic', q, '#');
    kit.unbind('e', q, 'a');
    kit.unbind('amq.topic', q, '#');
    await kit.settle();
    kit = await kit.restart();
    expect(kit.routed('e', 'a')).toEqual([]);
    expect(kit.routed('e', 'b\0c')).toEqual(['q']);
    expect(kit.routed('amq.topic', 'x')).toEqual([]);
    kit.unbind('e', kit.vhost.queues.get('q')!, 'b\0c');
    expect(kit.vhost.exchanges.has('e')).toBe(false);
    await kit.settle();
    kit = await kit.restart();
    expect(kit.vhost.exchanges.has('e')).toBe(false);
  });

  it('persistent messages are there in order, and those that were held come back marked', async () => {
    let kit = await NodeKit.open();
    const q = kit.queue('q');
    for (let i = 0; i < 5; i++) kit.publish('', 'q', `p${i}`, { deliveryMode: 2 });
    kit.publish('', 'q', 'transient');
    await kit.settle();
    await kit.until(() => q.whenReady(() => {}));
    const [first, second] = [q.get(false)!, q.get(false)!];
    q.ack(first);
    q.requeue(second);
    await kit.settle();
    kit = await kit.restart();
    expect(await kit.drain('q')).toEqual(['p1*', 'p2', 'p3', 'p4']);
  });

  it('what consumers held while the queue was purged is there', async () => {
    let kit = await NodeKit.open();
    const q = kit.queue('q');
    for (const text of ['a', 'b', 'c', 'd']) kit.publish('', 'q', text, { deliveryMode: 2 });
    await kit.settle();
    await kit.until(() => q.whenReady(() => {}));
    const held = [q.get(false)!, q.get(false)!, q.get(false)!];
    q.ack(held[1]!);
    expect(q.purge()).toBe(1);
    await kit.settle();
    kit = await kit.restart();
    expect(await kit.drain('q')).toEqual(['a*', 'c*']);
  });

  it('transient messages are gone, though they were on disk to relieve memory', async () => {
    let kit = await NodeKit.open({ queueMemoryBytes: 65_536 });
    const q = kit.queue('q');
    for (let i = 0; i < 300; i++) kit.publish('', 'q', `${i}`.padEnd(500));
    expect(q.pagedOutCount).toBeGreaterThan(0);
    kit.publish('', 'q', 'persistent', { deliveryMode: 2 });
    await kit.settle();
    kit = await kit.restart();
    expect(await kit.drain('q')).toEqual(['persistent']);
  });

  it('new queues never get the number of an old one', async () => {
    let kit = await NodeKit.open();
    const number = kit.queue('a').number;
    kit.publish('', 'a', 'x', { deliveryMode: 2 });
    await kit.settle();
    kit = await kit.restart();
    expect(kit.queue('b').number).toBeGreaterThan(number);
  });

  it('a backlog is counted without being held in memory', async () => {
    let kit = await NodeKit.open();
    kit.queue('q');
    for (let i = 0; i < 1_000; i++) kit.publish('', 'q', `${i}`.padEnd(1_000), { deliveryMode: 2 });
    await kit.settle();
    kit = await kit.restart({ queueMemoryBytes: 100_000 });
    const q = kit.vhost.queues.get('q')!;
    expect(q.messageCount).toBe(1_000);
    expect(q.messageBytes).toBe(1_000_000);
    expect(q.memoryBytes).toBeLessThan(110_000);
    expect((await kit.drain('q')).map((text) => Number(text))).toEqual(
      Array.from({ length: 1_000 }, (_, i) => i),
    );
  });

  it('what has expired meanwhile goes to its dead-letter queue once everything is there', async () => {
    const store = faultyStore({ seed: 1 });
    let kit = await NodeKit.open({ store });
    kit.queue('q', {
      'x-message-ttl': 1_000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'z',
    });
    kit.queue('z');
    for (let i = 0; i < 50; i++) kit.publish('', 'q', `q${i}`, { deliveryMode: 2 });
    for (let i = 0; i < 50; i++) kit.publish('', 'z', `z${i}`, { deliveryMode: 2 });
    await kit.settle();
    kit.clock.advance(5_000);
    await kit.close();
    // A turn runs whenever the event loop comes round, also between two pieces of the recovery.
    const clock = kit.clock;
    const opened = NodeKit.open({ store, clock });
    kit = await opened;
    await kit.settle();
    expect(await kit.drain('q')).toEqual([]);
    const texts = await kit.drain('z');
    expect(texts).toEqual([
      ...Array.from({ length: 50 }, (_, i) => `z${i}`),
      ...Array.from({ length: 50 }, (_, i) => `q${i}`),
    ]);
  });

  it('bindings stand in the order in which they were made, and later ones come behind them', async () => {
    let kit = await NodeKit.open();
    const keysOf = (): string[] =>
      [...kit.vhost.exchange('amq.direct').outgoing.values()].map((b) => b.routingKey);
    kit.queue('q');
    const bind = (key: string): void => kit.bind('amq.direct', kit.vhost.queues.get('q')!, key);
    for (const key of ['z', 'a', 'gone', 'm']) bind(key);
    kit.unbind('amq.direct', kit.vhost.queues.get('q')!, 'gone');
    await kit.settle();
    kit = await kit.restart();
    expect(keysOf()).toEqual(['z', 'a', 'm']);
    bind('c');
    kit.unbind('amq.direct', kit.vhost.queues.get('q')!, 'z');
    bind('z');
    await kit.settle();
    kit = await kit.restart();
    expect(keysOf()).toEqual(['a', 'm', 'c', 'z']);
  });

  it('users are those that were stored', async () => {
    let kit = await NodeKit.open();
    await importUsers(kit.node.users, {
      users: [
        { name: 'u', password_hash: '', hashing_algorithm: 'rabbit_password_hashing_sha256', tags: ['x'] },
      ],
      permissions: [],
      topic_permissions: [],
    });
    kit.node.saveUsers();
    await kit.settle();
    kit = await kit.restart();
    expect(kit.node.users.get('u')!.tags).toEqual(['x']);
  });
});

describe('a store that is not as it should be', () => {
  /** A store with one definition, written behind the broker's back. */
  async function storeWith(definitions: Record<string, string>): Promise<ReturnType<typeof memoryStore>> {
    const store = memoryStore();
    const shard = await store.open({ durable: () => {}, pressure: () => {}, lost: () => {} });
    const sink: RecoverySink = { definition: () => {}, queue: () => false, entries: () => {} };
    await shard.recover(sink);
    for (const [key, value] of Object.entries(definitions)) shard.define(key, Buffer.from(value));
    shard.commit();
    await store.close();
    return store;
  }

  it('with an unreadable definition is refused', async () => {
    const store = await storeWith({ x: '{broken' });
    await expect(NodeKit.open({ store })).rejects.toThrow(
      new StoreError('damaged', 'the definition x in the store is not readable'),
    );
  });

  it('with an exchange of an unknown type is refused, and the type is named', async () => {
    const exchange = {
      kind: 'exchange',
      vhost: '/',
      name: 'e',
      type: 'x-new',
      autoDelete: false,
      internal: false,
    };
    const store = await storeWith({
      a: JSON.stringify({ kind: 'vhost', name: '/', description: '', tags: [] }),
      b: JSON.stringify({ ...exchange, arguments: 'AAAAAA==' }),
    });
    await expect(NodeKit.open({ store })).rejects.toThrow(/exchange 'e' of type 'x-new'/);
  });

  it('with bindings from before they had an order is opened with all of them', async () => {
    const binding = (routingKey: string): string =>
      JSON.stringify({
        kind: 'binding',
        vhost: '/',
        source: 'amq.direct',
        destinationKind: 'exchange',
        destination: 'amq.fanout',
        routingKey,
        arguments: 'AAAAAA==',
      });
    const store = await storeWith({
      a: JSON.stringify({ kind: 'vhost', name: '/', description: '', tags: [] }),
      b: binding('first'),
      c: binding('second'),
    });
    let kit = await NodeKit.open({ store });
    const keysOf = (): string[] =>
      [...kit.vhost.exchange('amq.direct').outgoing.values()].map((b) => b.routingKey);
    expect(keysOf()).toEqual(['first', 'second']);
    kit.bind('amq.direct', kit.vhost.exchange('amq.fanout'), 'before');
    await kit.settle();
    kit = await kit.restart();
    expect(keysOf()).toEqual(['first', 'second', 'before']);
  });

  it('with a binding to nowhere is opened without it, which is said', async () => {
    const binding = {
      kind: 'binding',
      vhost: '/',
      source: 'amq.direct',
      destinationKind: 'queue',
      destination: 'q',
    };
    const store = await storeWith({
      a: JSON.stringify({ kind: 'vhost', name: '/', description: '', tags: [] }),
      b: JSON.stringify({ ...binding, routingKey: 'k', arguments: 'AAAAAA==' }),
    });
    const warnings: string[] = [];
    const kit = await NodeKit.open({ store, log: { ...silentLogger, warn: (text) => warnings.push(text) } });
    expect(kit.routed('amq.direct', 'k')).toEqual([]);
    expect(warnings).toEqual(['a stored definition belongs to nothing that exists and is left out']);
  });

  it('that is empty has no users, so that the first ones are to be made', async () => {
    const store = memoryStore();
    const kit = await NodeKit.open({ store });
    expect(kit.node.users.size).toBe(0);
  });
});

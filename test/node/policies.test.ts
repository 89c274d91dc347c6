// Policies on living queues and exchanges, over restarts and with very many queues; parameters and limits of a vhost.

import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { BROKER } from '../../src/node/caller.ts';
import type { PolicyOptions } from '../../src/node/parameters.ts';
import { POLICY_PASS_MS_MAX } from '../../src/node/policies.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { settle as settleEntry } from '../queue/kit.ts';
import { NodeKit, refusal } from './kit.ts';

type Definition = PolicyOptions['definition'];

/** Sets a policy `p` for everything, or as told. */
function set(kit: NodeKit, definition: Definition, given: Partial<PolicyOptions> = {}): void {
  kit.node.parameters.setPolicy({ vhost: '/', name: 'p', pattern: '', definition, ...given });
}

function unset(kit: NodeKit, name = 'p'): void {
  kit.node.parameters.deletePolicy('/', name);
}

describe('a policy', () => {
  it('changes the queues that are there, those that come, and is gone when it is deleted', async () => {
    const kit = await NodeKit.open();
    const before = kit.queue('before', { 'x-max-length': 7 });
    const other = kit.queue('other');
    set(kit, { 'max-length': 3, 'message-ttl': 500 }, { pattern: '^(before|after)$' });
    const after = kit.queue('after');
    expect([before, other, after].map((queue) => queue.options.lengthMax)).toEqual([3, Infinity, 3]);
    expect(after.options.messageTtlMs).toBe(500);
    set(kit, { 'max-length': 9 }, { pattern: 'before' });
    expect([before, other, after].map((queue) => queue.options.lengthMax)).toEqual([7, Infinity, Infinity]);
    unset(kit);
    expect([before, other, after].map((queue) => queue.options.lengthMax)).toEqual([7, Infinity, Infinity]);
    await kit.close();
  });

  it('leaves alone what it does not change', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    const seen: DeclaredQueue['options'][] = [];
    const { applyOptions } = queue;
    queue.applyOptions = function watched(options) {
      seen.push(options);
      applyOptions.call(this, options);
    };
    set(kit, { 'max-length': 3 }, { pattern: 'somewhere else' });
    set(kit, { 'max-length': 3 }, { name: 'low', priority: -1 });
    expect(seen).toHaveLength(1);
    set(kit, { 'max-length': 3 }, { name: 'low', priority: -1 });
    set(kit, { 'max-length': 5 }, { name: 'lower', priority: -2 });
    unset(kit, 'lower');
    expect(seen).toHaveLength(1);
    unset(kit, 'low');
    expect(seen).toHaveLength(2);
    await kit.close();
  });

  it('cuts a queue that is too long by it, and lets it grow again afterwards', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    for (const body of ['a', 'b', 'c', 'd']) kit.publish('', 'q', body);
    kit.run();
    set(kit, { 'max-length': 2 });
    kit.run();
    expect(queue.messageCount).toBe(2);
    unset(kit);
    kit.publish('', 'q', 'e');
    kit.run();
    expect(await kit.drain('q')).toEqual(['c', 'd', 'e']);
    await kit.close();
  });

  it('gives a dead-letter exchange to messages that were there before', async () => {
    const kit = await NodeKit.open();
    kit.queue('q');
    kit.queue('dead');
    for (const body of ['a', 'b', 'c']) kit.publish('', 'q', body);
    set(
      kit,
      { 'max-length': 1, 'dead-letter-exchange': '', 'dead-letter-routing-key': 'dead' },
      { pattern: '^q$' },
    );
    kit.run();
    expect(await kit.drain('dead')).toEqual(['a', 'b']);
    await kit.close();
  });

  it('names the alternate exchange of exchanges that name none themselves', async () => {
    const kit = await NodeKit.open();
    kit.bind('amq.fanout', kit.queue('lost'), '');
    kit.bind('amq.topic', kit.queue('own'), '#');
    kit.exchange('plain', 'direct');
    kit.exchange('argued', 'direct', { 'alternate-exchange': 'amq.topic' });
    expect(kit.routed('plain', 'k')).toEqual([]);
    set(kit, { 'alternate-exchange': 'amq.fanout' }, { pattern: 'plain|argued|later|direct' });
    expect(kit.routed('plain', 'k')).toEqual(['lost']);
    expect(kit.routed('argued', 'k')).toEqual(['own']);
    expect(kit.routed('amq.direct', 'k')).toEqual(['lost']);
    kit.exchange('later', 'direct');
    expect(kit.routed('later', 'k')).toEqual(['lost']);
    unset(kit);
    expect(kit.routed('plain', 'k')).toEqual([]);
    expect(kit.routed('argued', 'k')).toEqual(['own']);
    await kit.close();
  });

  it('gives the default exchange no alternate', async () => {
    const kit = await NodeKit.open();
    kit.bind('amq.fanout', kit.queue('lost'), '');
    set(kit, { 'alternate-exchange': 'amq.fanout' });
    expect(kit.routed('', 'nowhere')).toEqual([]);
    await kit.close();
  });

  it('gives what lies in a queue with priorities its time to live anew after a restart', async () => {
    let kit = await NodeKit.open();
    kit.queue('q', { 'x-max-priority': 3 });
    for (const priority of [0, 3]) kit.publish('', 'q', `${priority}`, { deliveryMode: 2, priority });
    set(kit, { 'message-ttl': 400 });
    await kit.settle();
    kit = await kit.restart();
    const queue = kit.vhost.queues.get('q')!;
    kit.clock.advance(300);
    kit.run();
    expect(queue.messageCount).toBe(2);
    unset(kit);
    // What comes now is not meant.
    for (const priority of [0, 3]) kit.publish('', 'q', `new ${priority}`, { deliveryMode: 2, priority });
    kit.clock.advance(200);
    kit.run();
    expect(await kit.drain('q')).toEqual(['new 3', 'new 0']);
    await kit.close();
  });

  it('shortens the life of a message that a consumer has, whatever happens to the queue until it is back', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { 'x-retry-limit': 1, 'x-retry-delay': 300 });
    kit.publish('', 'q', 'held', { deliveryMode: 2 });
    await kit.until(() => queue.whenReady(() => {}));
    const held = queue.get(false)!;
    set(kit, { 'message-ttl': 500 });
    queue.purge();
    settleEntry(held, 'reject');
    kit.clock.advance(350);
    await kit.until(() => queue.messageCount === 1);
    kit.clock.advance(200);
    kit.run();
    expect(queue.messageCount).toBe(0);
    await kit.close();
  });

  for (const args of [{}, { 'x-ordering-key': 'key' }])
    it(`shortens the lives of messages that wait for a retry (${JSON.stringify(args)})`, async () => {
      const kit = await NodeKit.open();
      const queue = kit.queue('q', { 'x-retry-limit': 1, 'x-retry-delay': 300, ...args });
      for (const body of ['rejected before', 'rejected after', 'behind them'])
        kit.publish('', 'q', body, { deliveryMode: 2 });
      await kit.until(() => queue.whenReady(() => {}));
      const [first, second] = [queue.get(false)!, queue.get(false)!];
      settleEntry(first, 'reject');
      set(kit, { 'message-ttl': 500 });
      settleEntry(second, 'reject');
      kit.clock.advance(350);
      await kit.until(() => queue.messageCount === 3);
      kit.clock.advance(200);
      kit.run();
      expect(queue.messageCount).toBe(0);
      await kit.close();
    });

  it('is in force again after a restart, before messages come back', async () => {
    let kit = await NodeKit.open();
    kit.bind('amq.fanout', kit.queue('q', { 'x-max-length': 9 }), '');
    kit.exchange('x', 'direct');
    set(kit, { 'max-length': 2 }, { pattern: 'q', priority: 4, 'apply-to': 'queues' });
    set(kit, { 'alternate-exchange': 'amq.fanout' }, { name: 'ae', pattern: 'x' });
    kit.node.parameters.setPolicy(
      { vhost: '/', name: 'op', pattern: '', definition: { 'message-ttl': 1000 } },
      'operator_policy',
    );
    kit.node.parameters.setGlobal('cluster_name', 'shop');
    kit.node.parameters.setVHostLimits('/', { 'max-queues': 1, 'max-connections': 5 });
    set(kit, { 'max-length': 1 }, { name: 'gone' });
    unset(kit, 'gone');
    for (const body of ['a', 'b', 'c']) kit.publish('', 'q', body, { deliveryMode: 2 });
    await kit.settle();
    kit = await kit.restart();
    const queue = kit.vhost.queues.get('q')!;
    expect(queue.options).toMatchObject({ lengthMax: 2, messageTtlMs: 1000 });
    expect(kit.vhost.policies.facts('q')).toEqual({
      policy: 'p',
      operatorPolicy: 'op',
      definition: { 'max-length': 2, 'message-ttl': 1000 },
    });
    expect(kit.routed('x', 'k')).toEqual(['q']);
    expect(kit.node.parameters.policies()).toEqual([
      {
        vhost: '/',
        name: 'ae',
        pattern: 'x',
        'apply-to': 'all',
        priority: 0,
        definition: { 'alternate-exchange': 'amq.fanout' },
      },
      {
        vhost: '/',
        name: 'p',
        pattern: 'q',
        'apply-to': 'queues',
        priority: 4,
        definition: { 'max-length': 2 },
      },
    ]);
    expect(kit.node.parameters.listGlobal()).toEqual([{ name: 'cluster_name', value: 'shop' }]);
    expect(refusal(() => kit.queue('second'))).toMatch('queue limit in vhost');
    expect(await kit.drain('q')).toEqual(['b', 'c']);
    await kit.close();
  });

  it('of another vhost changes nothing here', async () => {
    const kit = await NodeKit.open();
    kit.node.createVHost('other');
    set(kit, { 'max-length': 1 }, { vhost: 'other' });
    expect(kit.queue('q').options.lengthMax).toBe(Infinity);
    expect(kit.node.parameters.policies('/')).toEqual([]);
    expect(refusal(() => set(kit, { 'max-length': 1 }, { vhost: 'nowhere' }))).toBe(
      "not-found: vhost 'nowhere' not found",
    );
    await kit.close();
  });

  it('holds for exclusive queues too', async () => {
    const kit = await NodeKit.open();
    set(kit, { 'max-length': 1 });
    const owner = { ...BROKER, owner: {} };
    const queue = kit.queue('q', {}, { durable: false, exclusive: true }, owner);
    expect(queue.options.lengthMax).toBe(1);
    await kit.close();
  });
});

describe('runtime parameters', () => {
  it('are not the way to policies, and are refused in words of RabbitMQ', async () => {
    const kit = await NodeKit.open();
    const { parameters } = kit.node;
    expect(refusal(() => parameters.set('/', 'policy', 'p', {}))).toBe(
      'precondition-failed: policies may not be set using this method',
    );
    expect(refusal(() => parameters.clear('/', 'policy', 'p'))).toBe(
      'precondition-failed: policies may not be cleared using this method',
    );
    expect(refusal(() => parameters.clear('/', 'shovel', 's'))).toBe('not-found: Parameter does not exist');
    expect(refusal(() => unset(kit))).toBe('not-found: Parameter does not exist');
    expect(refusal(() => parameters.clearGlobal('g'))).toBe('not-found: Parameter does not exist');
    set(kit, { 'max-length': 1 });
    parameters.set('/', 'operator_policy', 'o', {
      pattern: '',
      priority: 0,
      definition: { 'max-length': 1 },
    });
    expect(parameters.list().map(({ component }) => component)).toEqual(['operator_policy']);
    await kit.close();
  });

  it('go with their vhost', async () => {
    let kit = await NodeKit.open();
    kit.node.createVHost('v');
    set(kit, { 'max-length': 1 }, { vhost: 'v' });
    kit.node.parameters.forgetVHost('v');
    await kit.settle();
    kit = await kit.restart();
    expect(kit.node.parameters.policies()).toEqual([]);
    await kit.close();
  });
});

describe('limits', () => {
  it('of queues in a vhost: negative is none, 0 allows nothing', async () => {
    const kit = await NodeKit.open();
    const { parameters } = kit.node;
    parameters.setVHostLimits('/', { 'max-queues': 1 });
    kit.queue('a');
    const full = (limit: number): string =>
      `precondition-failed: cannot declare queue 'b': queue limit in vhost '/' (${limit}) is reached`;
    expect(refusal(() => kit.queue('b'))).toBe(full(1));
    // What is there may be declared again.
    expect(refusal(() => kit.queue('a'))).toBe('ok');
    parameters.setVHostLimits('/', { 'max-queues': 0 });
    expect(refusal(() => kit.queue('b'))).toBe(full(0));
    parameters.setVHostLimits('/', { 'max-queues': -1 });
    expect(refusal(() => kit.queue('b'))).toBe('ok');
    parameters.setVHostLimits('/', { 'max-queues': 1 });
    parameters.clearVHostLimits('/');
    parameters.clearVHostLimits('/');
    expect(refusal(() => kit.queue('c'))).toBe('ok');
    expect(parameters.vhostLimits('/')).toEqual({});
    await kit.close();
  });

  it('of exchanges count those that stand there from the start', async () => {
    const kit = await NodeKit.open({ exchangeMax: 8 });
    kit.exchange('a', 'direct');
    expect(refusal(() => kit.exchange('b', 'direct'))).toBe(
      "precondition-failed: cannot declare exchange 'b' in vhost '/': exchange limit of 8 is reached",
    );
    expect(refusal(() => kit.exchange('a', 'direct'))).toBe('ok');
    kit.vhost.deleteExchange('a', false, BROKER);
    expect(refusal(() => kit.exchange('b', 'direct'))).toBe('ok');
    await kit.close();
  });

  it('of vhosts', async () => {
    const kit = await NodeKit.open({ vhostMax: 2 });
    kit.node.createVHost('a');
    expect(refusal(() => kit.node.createVHost('b'))).toBe(
      "precondition-failed: cannot create vhost 'b': vhost limit of 2 is reached",
    );
    await kit.close();
  });

  it('count a user in and out, whatever it has open', async () => {
    const kit = await NodeKit.open();
    const { limits } = kit.node;
    const { vhost } = kit;
    limits.connectionOpened('u', vhost);
    limits.channelOpened('u');
    expect(limits.openOf('u')).toEqual({ connections: 1, channels: 1 });
    limits.channelClosed('u');
    limits.connectionClosed('u', vhost);
    expect([limits.usersOpen, limits.connections, limits.channels, vhost.connectionCount]).toEqual([
      0, 0, 0, 0,
    ]);
    await kit.close();
  });
});

/** A clock on which each look takes a while. */
class BusyClock implements Clock {
  private readonly clock = new FakeClock();
  lookMs = 0;

  now(): number {
    this.clock.advance(this.lookMs);
    return this.clock.now();
  }

  every(ms: number, tick: () => void): ReturnType<Clock['every']> {
    return this.clock.every(ms, tick);
  }
}

describe('a change of policies with very many queues', () => {
  it('goes on in the turns that follow, and whoever waits hears of its end', async () => {
    const clock = new BusyClock();
    const kit = await NodeKit.open({ clock: clock as unknown as FakeClock });
    const queues = Array.from({ length: 500 }, (_, i) => kit.queue(`q${i}`));
    const done = (): number => queues.filter((queue) => queue.options.lengthMax === 1).length;
    clock.lookMs = POLICY_PASS_MS_MAX / 10;
    set(kit, { 'max-length': 1 });
    let heard = false;
    void kit.vhost.policies.applied().then(() => {
      heard = true;
    });
    expect(done()).toBeGreaterThan(0);
    expect(done()).toBeLessThan(500);
    // A queue that is new meanwhile has its policy at once; one that goes is not missed.
    expect(kit.queue('new').options.lengthMax).toBe(1);
    kit.vhost.deleteQueue('q499', false, false, BROKER);
    await kit.until(() => heard);
    expect(done()).toBe(499);
    await kit.close();
  });

  it('is not slower for coming a hundred times in a row', async () => {
    const clock = new BusyClock();
    const kit = await NodeKit.open({ clock: clock as unknown as FakeClock });
    for (let i = 0; i < 300; i++) kit.queue(`q${i}`);
    clock.lookMs = 1;
    const startMs = clock.now();
    for (let i = 0; i < 100; i++) set(kit, { 'max-length': i });
    expect(clock.now() - startMs).toBeLessThan(2 * POLICY_PASS_MS_MAX);
    let heard = false;
    void kit.vhost.policies.applied().then(() => {
      heard = true;
    });
    await kit.until(() => heard);
    expect(kit.vhost.queues.get('q299')!.options.lengthMax).toBe(99);
    await kit.close();
  });

  it('that comes while another is under way is the one that holds', async () => {
    const clock = new BusyClock();
    const kit = await NodeKit.open({ clock: clock as unknown as FakeClock });
    const queues = Array.from({ length: 300 }, (_, i) => kit.queue(`q${i}`));
    clock.lookMs = POLICY_PASS_MS_MAX / 10;
    set(kit, { 'max-length': 1 });
    set(kit, { 'max-length': 2 });
    let heard = false;
    void kit.vhost.policies.applied().then(() => {
      heard = true;
    });
    await kit.until(() => heard);
    expect(new Set(queues.map((queue) => queue.options.lengthMax))).toEqual(new Set([2]));
    await kit.close();
  });
});

import { describe, expect, it } from 'vitest';
import { EMPTY_TABLE } from '../../src/protocol/field-values.ts';
import { DirectRouter } from '../../src/routing/direct.ts';
import { FanoutRouter } from '../../src/routing/fanout.ts';
import { createRouter, ROUTER_TYPES } from '../../src/routing/router-types.ts';
import { bindAll, binding, routedRaw } from './support.ts';

describe('direct exchange', () => {
  it('routes to the queues bound with exactly the routing key', () => {
    const router = new DirectRouter();
    bindAll(router, ['a', 'b', 'A', '', 'a.*', '#']);
    expect(routedRaw(router, 'a')).toEqual(['a']);
    expect(routedRaw(router, '')).toEqual(['']);
    expect(routedRaw(router, 'a.b')).toEqual([]);
    expect(routedRaw(router, '#')).toEqual(['#']);
  });

  it('gives a queue once that is bound twice with different arguments, until both bindings are gone', () => {
    const router = new DirectRouter();
    const queue = { name: 'q' };
    const first = binding(queue, 'a');
    const second = binding(queue, 'a');
    router.bind(first);
    router.bind(second);
    expect(routedRaw(router, 'a')).toEqual(['q']);
    router.unbind(first);
    expect(routedRaw(router, 'a')).toEqual(['q']);
    router.unbind(second);
    expect(routedRaw(router, 'a')).toEqual([]);
    router.unbind(second);
    expect(routedRaw(router, 'a')).toEqual([]);
  });

  it('keeps up when thousands of queues come and go under one key', () => {
    const router = new DirectRouter();
    const bindings = Array.from({ length: 20_000 }, (_, i) => binding({ name: `q${i}` }, 'key'));
    for (const b of bindings) router.bind(b);
    for (let i = 0; i < bindings.length; i++) if (i % 1_000 !== 0) router.unbind(bindings[i]!);
    expect(routedRaw(router, 'key')).toEqual(Array.from({ length: 20 }, (_, i) => `q${i * 1_000}`).sort());
    for (let i = 0; i < bindings.length; i += 1_000) router.unbind(bindings[i]!);
    expect(routedRaw(router, 'key')).toEqual([]);
  });
});

describe('fanout exchange', () => {
  it('routes to every bound queue once, whatever the key', () => {
    const router = new FanoutRouter();
    const queue = { name: 'q' };
    const bound = bindAll(router, ['a', 'b']);
    router.bind(binding(queue, 'x'));
    router.bind(binding(queue, 'y'));
    expect(routedRaw(router, 'nothing')).toEqual(['a', 'b', 'q']);
    router.unbind(bound[0]!);
    expect(routedRaw(router, 'a')).toEqual(['b', 'q']);
  });
});

describe('exchange types', () => {
  it('are the four of AMQP, and an unknown one has no router', () => {
    for (const type of ['direct', 'fanout', 'topic', 'headers']) {
      expect(ROUTER_TYPES).toContain(type);
      expect(createRouter(type, EMPTY_TABLE)).not.toBeNull();
    }
    expect(createRouter('x-no-such-type', EMPTY_TABLE)).toBeNull();
    expect(createRouter('Direct', EMPTY_TABLE)).toBeNull();
  });

  it('lets results be cached by key for all but the headers exchange', () => {
    for (const type of ['direct', 'fanout', 'topic', 'headers']) {
      expect(createRouter(type, EMPTY_TABLE)?.byKeyOnly).toBe(type !== 'headers');
    }
  });
});

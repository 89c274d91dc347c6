// What is remembered of publishes stays within its bounds, and is looked after only when there is a reason.
import { expect, it, vi } from 'vitest';
import { hashOf, PublishTargets, SharedTargets } from '../../src/amqp/publish-targets.ts';
import type { VHost } from '../../src/node/vhost.ts';
import { body, header, method, openWorld } from './world.ts';

it('counts what is remembered rightly when keys were made to collide', () => {
  const shared = new SharedTargets();
  const host = { generation: 1 } as unknown as VHost;
  const byHome = new Map<number, Buffer[]>();
  for (let i = 0; i < 20_000; i++) {
    const octets = method(1, 'basic.publish', { exchange: '', routingKey: `k${i}` });
    const home = hashOf(octets.subarray(0, octets.length - 1), 7 + 6, octets.length - 1) & 127;
    byHome.set(home, [...(byHome.get(home) ?? []), octets]);
  }
  const wanted: Buffer[] = [];
  for (let i = 0; i < 16; i++) wanted.push(byHome.get(63)![i]!);
  for (const home of [64, 65, 66]) wanted.push(byHome.get(home)![0]!);
  for (let i = 0; i < 14; i++) wanted.push(byHome.get(30 + i)![0]!);
  for (let round = 1; round <= 3; round++) {
    const targets = shared.join(host, 'mallory');
    for (const octets of wanted) for (let i = 0; i < 8; i++) targets.find(octets, 7, octets.length - 1);
    shared.leave(targets);
  }
  expect(shared.count).toBe(0);
});
it('looks for stale targets only when something is out of date', async () => {
  const world = await openWorld();
  const peer = await world.client();
  await peer.send(method(1, 'queue.declare', { queue: 'q' }));
  const one = Buffer.concat([
    method(1, 'basic.publish', { exchange: '', routingKey: 'q' }),
    header(1, 1, { headers: { a: 1 } }),
    body(1, 'x'),
  ]);
  await peer.send(one, one);
  const spy = vi.spyOn(PublishTargets.prototype, 'aged');
  await peer.send(...Array.from({ length: 100 }, () => one));
  expect(world.queue('q').messageCount).toBe(102);
  expect(spy.mock.calls.length).toBe(0);
});

// One running broker without doors: what the store tells it, and whom it tells.

import { describe, expect, it } from 'vitest';
import type { Reason } from '../../src/base/errors.ts';
import type { ClientConnection } from '../../src/node/connections.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { NodeKit, refusal } from './kit.ts';

class TestConnection implements ClientConnection {
  readonly name = 'c';
  readonly username = 'u';
  readonly vhostName = '/';
  readonly gone = Promise.resolve();
  readonly told: string[] = [];
  setBlocked(reason: string | null): void {
    this.told.push(`blocked ${reason}`);
  }
  setPressure(on: boolean): void {
    this.told.push(`pressure ${on}`);
  }
  close(reason: Reason, explanation: string): void {
    this.told.push(`${reason} ${explanation}`);
  }
  destroy(): void {}
}

describe('a node', () => {
  it('tells every connection of alarms and of the pressure of the store', async () => {
    const { node } = await NodeKit.open();
    const [one, two] = [new TestConnection(), new TestConnection()];
    node.connections.add(one);
    node.connections.add(two);
    node.alarms.set('disk', true);
    node.connections.remove(two);
    node.storeListener.pressure(true);
    node.storeListener.pressure(false);
    node.alarms.set('disk', false);
    expect(one.told).toEqual(['blocked low on disk', 'pressure true', 'pressure false', 'blocked null']);
    expect(two.told).toEqual(['blocked low on disk']);
    expect(node.connections.size).toBe(1);
  });

  it('finds its vhosts, and refuses others by name', async () => {
    const { node } = await NodeKit.open();
    expect(node.vhost('/').name).toBe('/');
    expect(refusal(() => node.vhost('x'))).toBe("not-found: vhost 'x' not found");
  });

  it('is told once when its store is lost, and nothing becomes durable afterwards', async () => {
    const store = faultyStore({ seed: 1 });
    const kit = await NodeKit.open({ store });
    await kit.settle();
    const { durableTicket } = kit.node.shard;
    const lost: string[] = [];
    kit.node.onLost = (error) => lost.push(error.message);
    store.engine.failNext(new Error('no space'));
    kit.queue('q');
    for (let i = 0; i < 20; i++) {
      kit.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(lost).toEqual(['The store could not be written: no space']);
    expect(kit.node.lost).toBe(true);
    expect(kit.node.shard.durableTicket).toBe(durableTicket);
  });

  it('goes on with the other queues when one fails in its turn', async () => {
    const kit = await NodeKit.open();
    const broken = kit.queue('broken');
    const fine = kit.queue('fine', { 'x-message-ttl': 0 });
    broken.runTurn = () => {
      throw new Error('broken');
    };
    broken.wake();
    kit.publish('', 'fine', 'a');
    expect(() => kit.run()).toThrow('broken');
    expect(fine.messageCount).toBe(0);
  });
});

// Heartbeats in both directions. Against our own broker time is moved by hand; elsewhere a second of heartbeat is a second.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import { expectServes } from '../../support/checks.ts';
import {
  header,
  heartbeat,
  method,
  openRaw,
  PROTOCOL_HEADER,
  publish,
  type RawClient,
} from '../../support/raw-client.ts';
import { rule, startOwnBroker, type Target, useTarget } from '../../support/target.ts';

const clock = new FakeClock();
useTarget({ clock });

/** Heartbeat interval that the clients of this file ask for, in seconds. Our own broker's seconds cost nothing. */
function interval(target: Target): number {
  return target.broker === null ? 1 : 10;
}

/** Lets intervals of the broker's time pass, in steps in which every timer can act. */
async function pass(
  target: Target,
  intervals: number,
  between: () => Promise<void> = async () => {},
): Promise<void> {
  for (let done = 0; done < intervals; done += 0.25) {
    if (target.broker === null) await new Promise((resolve) => setTimeout(resolve, 250));
    else for (let step = 0; step < 10; step++) clock.advance(250);
    await between();
  }
}

/** Two round trips of another client: whatever `client` sent before has been read by then. */
async function wasRead(target: Target): Promise<void> {
  await expectServes(target);
  await expectServes(target);
}

rule(
  '1.7.sends',
  'an idle connection gets a heartbeat every half interval',
  async (target) => {
    const client = (await target.openWithChannel({ heartbeat: interval(target) })).keepHeartbeats();
    // The first half interval may still hold the end of the handshake.
    await pass(target, 0.5);
    for (let i = 0; i < 4; i++) {
      await pass(target, 0.5);
      await client.expect('heartbeat', 0, 2_000);
      // Keeps our side of the bargain.
      client.send(heartbeat());
      if (target.broker !== null) await wasRead(target);
    }
  },
  { slowOnForeign: true },
);

rule(
  '1.7.frame',
  'a heartbeat is eight bytes on channel 0',
  async (target) => {
    const client = (await target.open({ heartbeat: interval(target) })).rawBytes();
    await pass(target, 1.25);
    expect([...(await client.readBytes(8))]).toEqual([8, 0, 0, 0, 0, 0, 0, 0xce]);
  },
  { slowOnForeign: true },
);

rule(
  '1.7.disabled',
  'heartbeat 0 switches both directions off',
  async (target) => {
    const client = (await target.openWithChannel({ heartbeat: 0 })).keepHeartbeats();
    clock.advance(200_000);
    await client.expectQuiet(1);
    clock.advance(200_000);
    await client.expectQuiet(1);
  },
  { ownOnly: 'nothing to see within a short time' },
);

rule(
  '1.7.missed',
  'a client that falls silent is dropped after two to three intervals',
  async (target) => {
    const begun = Date.now();
    const client = await target.open({ heartbeat: interval(target) });
    await pass(target, 1.75);
    // Real time may have passed faster than the waiting for it.
    const isInTime = target.broker !== null || Date.now() - begun < 1_950;
    if (isInTime) expect(client.ended).toBe(false);
    await pass(target, 1.5);
    await client.closedWithin(2_000);
  },
  { slowOnForeign: true },
);

rule(
  '1.7.missed',
  'what a dropped client held goes back to its queue',
  async (target) => {
    const queue = target.name('silent');
    const keeper = await target.openWithChannel({ heartbeat: 0 });
    await keeper.call(1, 'queue.declare', { queue });
    const client = await target.openWithChannel({ heartbeat: interval(target) });
    keeper.send(publish(1, '', queue, 'x'));
    await keeper.expectQuiet(1);
    await client.get(1, queue, false);
    await pass(target, 3.25);
    await client.closedWithin(2_000);
    await keeper.call(1, 'basic.consume', { queue, consumerTag: 'c', noAck: true });
    await keeper.expectContent('basic.deliver', 1);
    await keeper.call(1, 'basic.cancel', { consumerTag: 'c' });
    await keeper.call(1, 'queue.delete', { queue });
  },
  { slowOnForeign: true },
);

async function staysAlive(target: Target, client: RawClient, sendSomething: () => void): Promise<void> {
  await pass(target, 6, async () => {
    sendSomething();
    if (target.broker !== null) await wasRead(target);
    expect(client.ended).toBe(false);
  });
}

rule(
  '1.7.any-byte',
  'heartbeats keep an idle client alive',
  async (target) => {
    const client = await target.open({ heartbeat: interval(target) });
    await staysAlive(target, client, () => client.send(heartbeat()));
    await client.close();
  },
  { slowOnForeign: true },
);

rule(
  '1.7.any-byte',
  'the single bytes of a slow frame keep a client alive',
  async (target) => {
    const client = await target.openWithChannel({ heartbeat: interval(target) });
    const slow = publish(1, '', 'nowhere', 'a body');
    let at = 0;
    await staysAlive(target, client, () => {
      client.send(slow.subarray(at, at + 1));
      at += 1;
    });
    client.send(slow.subarray(at));
    await client.expectQuiet(1);
  },
  { slowOnForeign: true },
);

rule('1.7.ignored', 'heartbeats between the frames of a message change nothing', async (target) => {
  const queue = target.name('beats');
  const client = (await target.openWithChannel()).keepHeartbeats();
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const [publishFrame, headerFrame] = [
    method(1, 'basic.publish', { exchange: '', routingKey: queue }),
    header(1, 2),
  ];
  const bodyFrame = publish(1, '', queue, 'hi').subarray(-10);
  client.send(
    heartbeat(),
    publishFrame,
    heartbeat(),
    headerFrame,
    heartbeat(),
    heartbeat(),
    bodyFrame,
    heartbeat(),
  );
  expect((await client.get(1, queue)).body.toString()).toBe('hi');
});

rule(
  '1.7.blocked',
  'a blocked publisher may be silent for as long as the alarm lasts',
  async (target) => {
    // So little memory that the alarm lasts for good; one that is set by hand ends at the next measurement.
    const broker = await startOwnBroker({ clock, memoryHighWatermark: 0.0001 });
    try {
      clock.advance(60_000);
      const client = target.keep(await openRaw(broker.url, { heartbeat: 10 }));
      await client.openChannel(1);
      client.send(publish(1, '', 'nowhere', 'x'));
      await client.expect('connection.blocked', 0);
      await pass(target, 10);
      await wasRead(target);
      expect(client.ended).toBe(false);
    } finally {
      target.dropClients();
      await broker.stop();
    }
  },
  { ownOnly: 'an alarm cannot be raised over the wire' },
);

rule(
  '14.handshake-timeout',
  'ten seconds after accept an unfinished handshake is over',
  async (target) => {
    const client = await target.connect();
    client.send(PROTOCOL_HEADER);
    await client.expect('connection.start', 0);
    clock.advance(9_000);
    await wasRead(target);
    expect(client.ended).toBe(false);
    clock.advance(2_500);
    await client.closedWithin(2_000);
  },
  { ownOnly: 'takes ten seconds elsewhere; 1.1.handshake-timeout has it' },
);

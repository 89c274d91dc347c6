// Who makes turns quick, and who does not.
import { expect, it } from 'vitest';
import { QUICK_TURNS } from '../../src/base/turn.ts';
import { heartbeat, method, openWorld, publish } from './world.ts';

async function publisherLongAgo() {
  const world = await openWorld();
  const peer = await world.client();
  await peer.send(
    method(1, 'queue.declare', { queue: 'q' }),
    publish(1, '', 'q', 'x'),
    publish(1, '', 'q', 'y'),
  );
  await peer.send(method(1, 'basic.consume', { queue: 'q', consumerTag: 'c' }));
  for (let i = 0; i < 2 * QUICK_TURNS; i++) world.node.turn.run();
  expect(world.node.turn.isQuick).toBe(false);
  return { world, peer };
}
it('the heartbeat of somebody who published once makes no turn quick', async () => {
  const { world, peer } = await publisherLongAgo();
  await peer.send(heartbeat());
  expect(world.node.turn.isQuick).toBe(false);
});
it('a mere acknowledgement of somebody who published once makes no turn quick', async () => {
  const { world, peer } = await publisherLongAgo();
  await peer.send(method(1, 'basic.ack', { deliveryTag: 1 }));
  expect(world.node.turn.isQuick).toBe(false);
});

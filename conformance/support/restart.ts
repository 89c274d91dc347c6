// Tests across a restart of our own broker, on a folder of its own. Must not know how the broker works inside.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Broker } from '../../src/index.ts';
import type { Channel } from './channel.ts';
import { Peer } from './peer.ts';
import { startOwnBroker } from './target.ts';

/** Options of a rule whose test restarts the broker. */
export const OWN_ONLY = { ownOnly: 'a test must not restart a broker it did not start' };

/** Runs `before` against a broker on disk, restarts it, and runs `after`. */
export async function acrossRestart(
  before: (channel: Channel, peer: Peer, broker: Broker) => Promise<void>,
  after: (channel: Channel, peer: Peer, broker: Broker) => Promise<void>,
): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'conformance-restart-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  for (const part of [before, after]) {
    const broker = await startOwnBroker({ store: 'level', dataDir });
    const peer = await Peer.connect(broker);
    try {
      await part(await peer.channel(), peer, broker);
    } finally {
      await broker.stop();
    }
  }
}

// A message's whole way through the broker, without a network and a disk: bytes come in on one connection, are read, routed, queued, written to
// another connection and acknowledged there. Owns that station; the sockets are streams that swallow what is written.

import { Duplex } from 'node:stream';
import { Connection } from '../../src/amqp/connection.ts';
import { SharedTargets } from '../../src/amqp/publish-targets.ts';
import { hashPasswordFast } from '../../src/auth/password.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { Turn } from '../../src/base/turn.ts';
import { BrokerNode } from '../../src/node/node.ts';
import { ChunkPool } from '../../src/protocol/frame-writer.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import { AMQP_DEFAULTS, NODE_DEFAULTS } from '../../test/support/node-options.ts';
import * as wire from '../load/wire.ts';
import type { Work } from './stations.ts';

const QUEUE = 'q';
const FRAME_MAX = 131_072;
/** Messages that come in one chunk. */
const CHUNK_MESSAGES = 100;
/** Event loop rounds after which nothing of a handshake is under way any more. */
const QUIET_ROUNDS = 20;

/** The broker's end of a connection whose client reads everything and shows nothing. */
class Socket extends Duplex {
  override _read(): void {}

  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }

  override _writev(_chunks: unknown, done: () => void): void {
    done();
  }
}

/** Lets what streams and the store have asked for happen. */
function nextRound(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** How the messages are sent. */
export interface WholeWay {
  readonly bodyBytes: number;
  /** On a durable queue, with confirms; acknowledgements are by the chunk either way. */
  readonly persistent: boolean;
}

/** Publish, deliver, acknowledge and, when persistent, confirm. */
export async function wholeWay({ bodyBytes, persistent }: WholeWay): Promise<Work> {
  const runs: (() => void)[] = [];
  const store = memoryStore();
  const node = new BrokerNode(
    NODE_DEFAULTS,
    new FakeClock(),
    silentLogger,
    new Turn((run) => runs.push(run)),
  );
  const shard = await store.open(node.storeListener);
  node.attach(shard);
  await shard.recover({ definition: () => {}, queue: () => false, entries: () => {} });
  node.createVHost('/');
  node.users.put({ name: 'guest', ...hashPasswordFast('guest'), tags: [], limits: {} });
  node.users.setPermissions('guest', '/', { configure: '.*', write: '.*', read: '.*' });

  // Checking a password takes another thread.
  node.login.withKnownPassword = (name, _password, address) => node.login.withoutPassword(name, address);

  const turn = (): void => {
    // A turn with a share of the work asks for the next one.
    while (runs.length > 0) for (const run of runs.splice(0)) run();
  };
  const settle = async (): Promise<void> => {
    for (let quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
      await nextRound();
      if (runs.length > 0) quiet = 0;
      turn();
    }
  };
  const pool = new ChunkPool();
  const targets = new SharedTargets();
  const open = async (remotePort: number, ...calls: Buffer[]): Promise<Socket> => {
    const socket = new Socket();
    const peer = { remoteAddress: '127.0.0.1', remotePort, localAddress: '127.0.0.1', localPort: 5672 };
    new Connection(socket, { ...peer, loopback: true, tls: null }, node, AMQP_DEFAULTS, pool, targets);
    for (const bytes of [
      wire.PROTOCOL_HEADER,
      wire.startOk('guest', 'guest'),
      Buffer.concat([wire.tuneOk(2047, FRAME_MAX), wire.connectionOpen('/'), wire.channelOpen(1)]),
      Buffer.concat(calls),
    ]) {
      socket.emit('data', bytes);
      await settle();
    }
    return socket;
  };
  const consumer = await open(
    1,
    wire.queueDeclare(1, QUEUE, persistent),
    wire.basicConsume(1, QUEUE, 'consumer', false),
  );
  const publisher = await open(2, ...(persistent ? [wire.confirmSelect(1)] : []));
  const queue = node.vhosts.get('/')!.queues.get(QUEUE)!;

  const body = Buffer.alloc(bodyBytes, 1);
  const message = wire.encodePublish(1, FRAME_MAX, { exchange: '', routingKey: QUEUE, persistent, body });
  const chunk = wire.Batch.repeat(message, message.length * CHUNK_MESSAGES).bytes;
  const ack = Buffer.alloc(wire.ACK_LENGTH);
  let tag = 0;
  return async (count) => {
    for (let done = 0; done < count; done += CHUNK_MESSAGES) {
      publisher.emit('data', chunk);
      // A turn may take a share of what has come only.
      while (queue.unackedCount < CHUNK_MESSAGES) {
        turn();
        await nextRound();
      }
      tag += CHUNK_MESSAGES;
      wire.writeAck(ack, 0, 1, tag, true);
      consumer.emit('data', ack);
      turn();
      // What was written goes, and a commit ends.
      await nextRound();
    }
    if (queue.messageCount + queue.unackedCount !== 0)
      throw new Error(`${queue.messageCount + queue.unackedCount} messages have been left behind`);
  };
}

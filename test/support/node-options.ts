// Options of a node and of its connections for whoever builds one without a broker around it: tests and micro benchmarks.

import type { AmqpOptions } from '../../src/amqp/options.ts';
import type { NodeOptions } from '../../src/node/node.ts';
import { EMPTY_TABLE } from '../../src/protocol/field-table.ts';

/** What connections take. */
export const AMQP_DEFAULTS: AmqpOptions = {
  frameMax: 131_072,
  channelMax: 2047,
  heartbeatSeconds: 60,
  handshakeTimeoutMs: 10_000,
  authFailureDelayMs: 3_000,
  closeTimeoutMs: 30_000,
  messageSizeMax: 16 * 1024 * 1024,
  consumersMaxPerChannel: Number.POSITIVE_INFINITY,
  outgoingBytesMax: 1024 * 1024,
  turnReadBytes: 1024 * 1024,
  strict: false,
  anonymousUser: null,
  serverProperties: EMPTY_TABLE,
};

/** What the node takes: no limit, no alarm. */
export const NODE_DEFAULTS: NodeOptions = {
  name: 'test',
  queueMemoryBytes: 16 * 1024 * 1024,
  pagingMemoryBytes: 1024 * 1024 * 1024,
  idleBodyBytes: 32 * 1024 * 1024,
  queueMax: Number.POSITIVE_INFINITY,
  exchangeMax: Number.POSITIVE_INFINITY,
  vhostMax: Number.POSITIVE_INFINITY,
  deliveriesPerTurn: 1_000,
  connectionMax: Number.POSITIVE_INFINITY,
  channelMaxPerNode: Number.POSITIVE_INFINITY,
  alarms: {
    memoryMaxBytes: Number.POSITIVE_INFINITY,
    diskFreeMinBytes: 0,
    memoryUsed: () => 0,
    diskFree: null,
  },
  loopbackUsers: ['guest'],
  quorumRelaxedChecks: false,
};

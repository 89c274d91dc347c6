// What each room gets of the settings: rooms below take their options by constructor and know no setting.
// Owns the translation, and no decision: a default stands in the table of config.ts.

import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import type { AmqpOptions } from '../amqp/options.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { NodeOptions } from '../node/node.ts';
import { type FieldTable, tableOf } from '../protocol/field-table.ts';
import { memoryStore, openLevelStore } from '../store/log-store.ts';
import type { Store } from '../store/store.ts';
import type { Settings } from './config.ts';
import { VERSION } from './version.ts';

/** The store that a program asked for by name or gave, or the one that the settings name. */
export function storeOf(
  option: 'memory' | 'level' | Store | undefined,
  settings: Settings,
  logger: Logger,
  clock: Clock,
): Store {
  if (typeof option === 'object') return option;
  const log = {
    logger,
    clock,
    pendingBytesHigh: settings.storePendingBytes,
    segmentBytesMax: settings.storeSegmentBytes,
  };
  if (option === 'memory' || (option === undefined && settings.memory)) return memoryStore(log);
  return openLevelStore({
    ...log,
    location: resolve(settings.dataDir),
    writeBufferBytes: settings.storeWriteBufferBytes,
    blockCacheBytes: settings.storeBlockCacheBytes,
  });
}

/** What the node takes of the settings. */
export function nodeOptions(settings: Settings, store: Store): NodeOptions {
  const folder = store.info.location;
  return {
    name: settings.nodeName,
    queueMemoryBytes: settings.queueMemoryBytes,
    idleBodyBytes: settings.idleBodyBytes,
    pagingMemoryBytes: settings.pagingMemoryBytes,
    queueMax: settings.queueMax ?? Number.POSITIVE_INFINITY,
    exchangeMax: settings.exchangeMax ?? Number.POSITIVE_INFINITY,
    vhostMax: settings.vhostMax ?? Number.POSITIVE_INFINITY,
    connectionMax: settings.connectionMax ?? Number.POSITIVE_INFINITY,
    channelMaxPerNode: settings.channelMaxPerNode ?? Number.POSITIVE_INFINITY,
    deliveriesPerTurn: settings.turnDeliveries,
    loopbackUsers: settings.loopbackUsers,
    quorumRelaxedChecks: settings.quorumRelaxedChecks,
    alarms: {
      memoryMaxBytes: memoryOfMachine() * settings.memoryHighWatermark,
      diskFreeMinBytes: settings.diskFreeLimitBytes,
      memoryUsed: () => process.memoryUsage.rss(),
      diskFree: folder === null ? null : () => statfs(folder).then((disk) => disk.bavail * disk.bsize),
    },
  };
}

/** What the process may use: the container's limit where there is one. */
function memoryOfMachine(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem();
}

/** What connections take of the settings. */
export function amqpOptions(settings: Settings): AmqpOptions {
  return {
    frameMax: settings.frameMax,
    channelMax: settings.channelMax,
    heartbeatSeconds: settings.heartbeat,
    handshakeTimeoutMs: settings.handshakeTimeoutMs,
    authFailureDelayMs: settings.authFailureDelayMs,
    closeTimeoutMs: settings.closeTimeoutMs,
    messageSizeMax: settings.maxMessageSize,
    consumersMaxPerChannel: settings.consumerMaxPerChannel ?? Number.POSITIVE_INFINITY,
    outgoingBytesMax: settings.outgoingBufferBytes,
    turnReadBytes: settings.turnReadBytes,
    strict: settings.strict,
    anonymousUser: settings.anonymousUser,
    serverProperties: serverProperties(settings),
  };
}

/** What connection.start tells. Client libraries switch features on by product, version and capabilities. */
function serverProperties(settings: Settings): FieldTable {
  const able = [
    'authentication_failure_close',
    'basic.nack',
    'connection.blocked',
    'consumer_cancel_notify',
    'consumer_priorities',
    'direct_reply_to',
    'exchange_exchange_bindings',
    'per_consumer_qos',
    'publisher_confirms',
  ];
  return tableOf({
    capabilities: Object.fromEntries(able.map((name) => [name, true])),
    cluster_name: settings.clusterName ?? settings.nodeName,
    copyright: 'Copyright (c) the Leveret authors',
    information: 'Leveret, an AMQP 0-9-1 broker. MIT licensed.',
    leveret_version: VERSION,
    platform: `Node.js ${process.version}`,
    product: settings.serverProduct,
    version: settings.serverVersion,
  });
}

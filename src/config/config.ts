// Every setting of the broker in one typed table: default, check, unit and help. Flags, environment variables, the file's keys,
// `leveret config`, `--help` and docs/configuration.md all come from it; there is no setting anywhere else.
// Reads no environment, file or flag (sources.ts does). Rooms below never import this: they get their options by constructor.
// Invariant: every default passes its own check, and the three names of a setting follow from its key alone.

import { hostname } from 'node:os';
import { LEVEL_DEFAULTS, LOG_DEFAULTS } from '../store/options.ts';
import { nearest } from './nearest.ts';
import {
  bytes,
  integer,
  type Kind,
  milliseconds,
  oneOf,
  orNone,
  ratio,
  type Setting,
  setting,
  text,
  words,
  yesOrNo,
} from './setting.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const DAY_MS = 86_400_000;

/** How many of something may exist; no limit unless set. */
const limit = orNone(integer(1, 2_147_483_647));

/** The table. The order is the order of the manual. */
export const SETTINGS = {
  // What listens, and where the data lies.
  host: setting(
    'Basics',
    text(1, 255),
    '::',
    'Address to listen on. The default is every address of this machine, IPv6 and IPv4, as RabbitMQ has it; the user guest may ' +
      'log in from this machine only (see loopbackUsers). 127.0.0.1 keeps all other machines out.',
  ),
  port: setting(
    'Basics',
    integer(0, 65535),
    5672,
    'TCP port for AMQP 0-9-1. 0 takes any free port and logs which.',
  ),
  dataDir: setting(
    'Basics',
    text(1),
    './leveret-data',
    'Folder that keeps definitions and persistent messages; made if it is missing. One broker at a time may use it.',
  ),
  definitions: setting(
    'Basics',
    orNone(text(1)),
    null as string | null,
    'Definitions file (or a folder of them) to import before clients come: users, virtual hosts, policies, queues, as RabbitMQ exports them. ' +
      'An empty broker that gets users this way makes no defaultUser. In the file also load_definitions, as RabbitMQ calls it.',
  ),
  memory: setting(
    'Basics',
    yesOrNo,
    false,
    'Keep everything in memory and nothing on disk: a confirm then means "in memory" and all is gone at the stop. For tests.',
  ),
  logLevel: setting(
    'Basics',
    oneOf('error', 'warn', 'info', 'debug', 'silent'),
    'info',
    'Least important log lines that are written.',
  ),
  logFormat: setting(
    'Basics',
    oneOf('auto', 'pretty', 'json'),
    'auto',
    'pretty is for people, json is one JSON object a line. auto: pretty on a terminal, json otherwise.',
  ),
  stopGraceMs: setting(
    'Basics',
    milliseconds(0, 10 * 60_000),
    10_000,
    'How long a stop waits for clients to answer their connection.close before it cuts them off.',
    { unit: 'ms' },
  ),

  // Encrypted connections.
  tlsPort: setting(
    'TLS',
    orNone(integer(0, 65535)),
    null as number | null,
    'TCP port for AMQP 0-9-1 over TLS (amqps), beside the plain one; 5671 is usual. 0 takes any free port and logs which. Needs tlsCertificate and tlsKey.',
  ),
  tlsCertificate: setting(
    'TLS',
    orNone(text(1)),
    null as string | null,
    'File (PEM) with the certificate of this broker, and behind it those that lead to an authority its clients know. RabbitMQ: ssl_options.certfile.',
  ),
  tlsKey: setting(
    'TLS',
    orNone(text(1)),
    null as string | null,
    'File (PEM) with the key of that certificate. RabbitMQ: ssl_options.keyfile.',
  ),
  tlsPassphrase: setting(
    'TLS',
    orNone(text(1)),
    null as string | null,
    'Passphrase of an encrypted key. RabbitMQ: ssl_options.password.',
    { secret: true },
  ),
  tlsAuthorities: setting(
    'TLS',
    orNone(text(1)),
    null as string | null,
    'File (PEM) with the authorities that sign certificates of clients; none: those that Node trusts. RabbitMQ: ssl_options.cacertfile.',
  ),
  tlsClientCertificates: setting(
    'TLS',
    oneOf('ignored', 'optional', 'required'),
    'ignored',
    'Whether clients show a certificate of their own. One that none of tlsAuthorities signed is refused unless ignored. RabbitMQ: ssl_options.verify, fail_if_no_peer_cert.',
  ),
  tlsMinVersion: setting('TLS', oneOf('1.2', '1.3'), '1.2', 'Oldest version of TLS that is spoken.'),

  // Who may log in.
  defaultUser: setting(
    'Users',
    text(1, 255),
    'guest',
    'Administrator that is made when the broker starts with an empty data folder.',
  ),
  defaultPassword: setting('Users', text(0, 1024), 'guest', 'Password of that user.', { secret: true }),
  defaultVhost: setting(
    'Users',
    text(1, 255),
    '/',
    'Virtual host that is made when the broker starts with an empty data folder.',
  ),
  loopbackUsers: setting(
    'Users',
    words,
    ['guest'] as readonly string[],
    'Users who may log in from this machine only. Set it to nothing when a network you trust may use guest.',
  ),
  anonymousUser: setting(
    'Users',
    orNone(text(1, 255)),
    null,
    'User that clients become with the mechanism ANONYMOUS; none does not offer the mechanism.',
  ),
  authFailureDelayMs: setting(
    'Users',
    milliseconds(0, 60_000),
    3_000,
    'How long the broker waits before it closes after a refused login, which slows down guessing. Tests may set 0.',
    { unit: 'ms' },
  ),

  // What is proposed to, and demanded of, each connection.
  frameMax: setting('Connections', integer(4096, 16 * MIB), 128 * KIB, 'Largest frame proposed to clients.', {
    unit: 'bytes',
  }),
  channelMax: setting(
    'Connections',
    integer(1, 65535),
    2047,
    'Channels a client may have open on one connection.',
  ),
  heartbeat: setting(
    'Connections',
    integer(0, 65535),
    60,
    'Heartbeat interval proposed to clients; a client that is silent for two to three intervals is dropped. 0 proposes none.',
    { unit: 's' },
  ),
  handshakeTimeoutMs: setting(
    'Connections',
    milliseconds(100, DAY_MS),
    10_000,
    'Time from accept until the connection must be open.',
    { unit: 'ms' },
  ),
  closeTimeoutMs: setting(
    'Connections',
    milliseconds(0, DAY_MS),
    30_000,
    'How long the broker waits for the close-ok of a client, or for the end of its TCP connection.',
    { unit: 'ms' },
  ),
  backlog: setting(
    'Connections',
    integer(1, 65535),
    1024,
    'Connections the system may hold that the broker has not accepted yet (the system may allow fewer).',
  ),
  tcpNoDelay: setting('Connections', yesOrNo, true, 'Send small packets at once (TCP_NODELAY).'),
  tcpKeepAlive: setting(
    'Connections',
    yesOrNo,
    true,
    'Let the system notice dead peers (SO_KEEPALIVE), for clients that switched heartbeats off.',
  ),
  outgoingBufferBytes: setting(
    'Connections',
    bytes(16 * KIB, GIB),
    MIB,
    'Bytes that may wait for one slow client before deliveries to it pause.',
    { unit: 'bytes' },
  ),

  // How much one client, or all together, may ask for.
  maxMessageSize: setting(
    'Limits',
    bytes(1, 512 * MIB),
    16 * MIB,
    'Largest message body; a larger one closes its channel. RabbitMQ: max_message_size.',
    { unit: 'bytes' },
  ),
  connectionMax: setting('Limits', limit, null as number | null, 'Client connections to this broker.'),
  channelMaxPerNode: setting(
    'Limits',
    limit,
    null as number | null,
    'Channels open on all connections together.',
  ),
  consumerMaxPerChannel: setting('Limits', limit, null as number | null, 'Consumers on one channel.'),
  queueMax: setting('Limits', limit, null as number | null, 'Queues in all virtual hosts together.'),
  exchangeMax: setting(
    'Limits',
    limit,
    null as number | null,
    'Exchanges in all virtual hosts together; each virtual host has seven from the start.',
  ),
  vhostMax: setting('Limits', limit, null as number | null, 'Virtual hosts.'),

  consumerTimeoutMs: setting(
    'Limits',
    orNone(milliseconds(1_000, 365 * DAY_MS)),
    1_800_000 as number | null,
    'How long a delivery may stay unacknowledged before its channel is closed and the message goes back to its queue. Looked at once a minute. RabbitMQ: consumer_timeout.',
    { unit: 'ms' },
  ),

  // How much memory and disk may be used, and what happens then.
  queueMemoryBytes: setting(
    'Memory and disk',
    bytes(64 * KIB, 64 * GIB),
    16 * MIB,
    'Bytes of waiting messages one queue keeps in memory; what is beyond waits on disk only.',
    { unit: 'bytes' },
  ),
  pagingMemoryBytes: setting(
    'Memory and disk',
    bytes(MIB, 256 * GIB),
    64 * MIB,
    'The same for all queues together.',
    { unit: 'bytes' },
  ),
  idleBodyBytes: setting(
    'Memory and disk',
    bytes(0, 64 * GIB),
    32 * MIB,
    'Memory of message bodies of 32 KiB and more that is kept for the next ones when the messages are gone; 0 keeps none.',
    { unit: 'bytes' },
  ),
  memoryHighWatermark: setting(
    'Memory and disk',
    ratio,
    0.6,
    'Part of the memory of the machine (or container) at which publishers are blocked until it falls again.',
  ),
  diskFreeLimitBytes: setting(
    'Memory and disk',
    bytes(0),
    50_000_000,
    'Publishers are blocked while less than this is free on the disk of the data folder.',
    { unit: 'bytes' },
  ),
  storeWriteBufferBytes: setting(
    'Memory and disk',
    bytes(64 * KIB, 4 * GIB),
    LEVEL_DEFAULTS.writeBufferBytes,
    'LevelDB: bytes gathered in memory before a sorted table is written.',
    { unit: 'bytes' },
  ),
  storeBlockCacheBytes: setting(
    'Memory and disk',
    bytes(0, 64 * GIB),
    LEVEL_DEFAULTS.blockCacheBytes,
    'LevelDB: cache of blocks that were read.',
    { unit: 'bytes' },
  ),
  storePendingBytes: setting(
    'Memory and disk',
    bytes(64 * KIB, 4 * GIB),
    LOG_DEFAULTS.pendingBytesHigh,
    'Bytes given to the store and not yet on disk at which reading from publishers pauses.',
    { unit: 'bytes' },
  ),
  storeSegmentBytes: setting(
    'Memory and disk',
    bytes(4 * KIB, GIB),
    LOG_DEFAULTS.segmentBytesMax,
    'Size at which the entries that one commit appends to one queue are split into several records.',
    { unit: 'bytes' },
  ),

  // How the work of one turn of the event loop is shared out.
  turnDeliveries: setting(
    'Fairness',
    integer(1, 1_000_000),
    1_000,
    'Messages one queue may deliver before the next queue has its turn.',
  ),
  turnReadBytes: setting(
    'Fairness',
    bytes(4 * KIB, GIB),
    128 * KIB,
    'Bytes taken from one client before the next client has its turn.',
    { unit: 'bytes' },
  ),

  // How the broker presents itself.
  strict: setting(
    'Compatibility',
    yesOrNo,
    false,
    'Be as strict as RabbitMQ 4.3: refuse a frame_max below 8192, and take a channel-wide prefetch for one per consumer.',
  ),
  quorumRelaxedChecks: setting(
    'Compatibility',
    yesOrNo,
    false,
    'Let programs that declare classic queues go on when those have become quorum queues: of such a declare only the arguments that both types have are compared. In the file also quorum_relaxed_checks_on_redeclaration, as RabbitMQ calls it.',
  ),
  serverProduct: setting(
    'Compatibility',
    text(1, 255),
    'RabbitMQ',
    'Product name in the server properties. Some client libraries switch features on by it.',
  ),
  serverVersion: setting(
    'Compatibility',
    text(1, 255),
    '4.2.1',
    'Product version in the server properties: the RabbitMQ this broker behaves like.',
  ),
  nodeName: setting(
    'Compatibility',
    text(1, 255),
    `leveret@${hostname()}`,
    'Name of this broker in texts and listings.',
    {
      defaultText: 'leveret@<host name>',
    },
  ),
  clusterName: setting(
    'Compatibility',
    orNone(text(1, 255)),
    null as string | null,
    'Cluster name in the server properties; none: the node name.',
  ),
} as const;

/** The key of a setting, as the file and programs write it. */
export type SettingKey = keyof typeof SETTINGS;

type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** A value for every setting. */
export type Settings = { readonly [K in SettingKey]: ValueOf<(typeof SETTINGS)[K]> };

/** All keys, in the order of the table. */
export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

/** The row of a setting, where its own type does not matter. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return SETTINGS[key] as Setting<unknown>;
}

/** Every setting at its default. */
export const DEFAULTS: Settings = Object.freeze(
  Object.fromEntries(SETTING_KEYS.map((key) => [key, settingOf(key).default])),
) as unknown as Settings;

/** `--data-dir` for `dataDir`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `LEVERET_DATA_DIR` for `dataDir`. */
export function environmentNameOf(key: string): string {
  return `LEVERET_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** A setting that does not exist or has a value it must not have. The message is one line, written for a person. */
export class SettingsError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SettingsError';
  }
}

/**
 * A value for every setting from what a program gives; what is absent or undefined has its default.
 * @throws SettingsError for an unknown key or a value that must not be
 */
export function completeSettings(given: { readonly [K in SettingKey]?: Settings[K] | undefined }): Settings {
  const settings: Record<string, unknown> = { ...DEFAULTS };
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    settings[key] = checked(key, value, key);
  }
  return settings as unknown as Settings;
}

/**
 * The checked value of one setting that has a type already. `where` names the setting as the person wrote it.
 * @throws SettingsError
 */
export function checked(key: string, value: unknown, where: string): unknown {
  if (!isSettingKey(key)) throw unknownSetting(where, key, (known) => known);
  const kind: Kind<unknown> = settingOf(key).kind;
  const result = kind.check(value);
  if (result === undefined) throw badValue(where, key, JSON.stringify(value) ?? String(value));
  return result;
}

/** True for a key of the table; inherited names such as `constructor` are none. */
export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key);
}

/** The error for a name that no setting has, with the one that was probably meant; `spell` writes a key as this source does. */
export function unknownSetting(
  where: string,
  name: string,
  spell: (key: SettingKey) => string,
): SettingsError {
  const guess = nearest(name, SETTING_KEYS) as SettingKey | null;
  return new SettingsError(
    guess === null
      ? `unknown setting ${where}: leveret start --help lists all settings`
      : `unknown setting ${where}: did you mean ${spell(guess)}?`,
  );
}

/** The error for a value that a setting must not have. A secret value is not repeated. */
export function badValue(where: string, key: SettingKey, shown: string): SettingsError {
  const { kind, secret } = settingOf(key);
  const found = secret ? '' : `, not ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}`;
  return new SettingsError(`${where} must be ${kind.expects}${found}`);
}

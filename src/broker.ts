// Puts the rooms together, nothing else: settings become options, the store is opened and recovered, then the port is opened.
// Owns the order of starting and stopping.
// Invariant: the port opens last and closes first; the store is closed after every connection is gone.

import { AckTimeout } from './amqp/ack-timeout.ts';
import { Connection } from './amqp/connection.ts';
import { SharedTargets } from './amqp/publish-targets.ts';
import { userFromImport } from './auth/definitions.ts';
import { hashPasswordFast } from './auth/password.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { plainJson } from './base/exact-json.ts';
import { type Logger, silentLogger } from './base/logger.ts';
import type { Json } from './base/terms.ts';
import { completeSettings, type Settings, SettingsError } from './config/config.ts';
import { badDefinitions, type DefinitionSource, readDefinitionFiles } from './config/definition-files.ts';
import { amqpOptions, nodeOptions, storeOf } from './config/room-options.ts';
import { readTlsFiles } from './config/tls-files.ts';
import { VERSION } from './config/version.ts';
import {
  type Listener,
  type ListenOptions,
  type ListenReports,
  listen,
  type OnSocket,
} from './net/listener.ts';
import type { TlsOptions } from './net/tls.ts';
import { clearPermissions, deleteUser, setPermissions } from './node/accounts.ts';
import { type ExportIdentity, exportDefinitions } from './node/definitions-export.ts';
import type { DefinitionsFile } from './node/definitions-file.ts';
import { type ImportCounts, importDefinitions } from './node/definitions-import.ts';
import {
  cancelAllDelayed,
  cancelDelayed,
  countDelayed,
  type DelayedCounts,
  type DelayedPage,
  listDelayed,
} from './node/delayed-messages.ts';
import { BrokerNode } from './node/node.ts';
import { Operations, type QueueOperator, type RedriveHandle } from './node/operations.ts';
import type { QueueInfo } from './node/operations-info.ts';
import type { PolicyKind, PolicyOptions, PolicyRow } from './node/parameters.ts';
import type { PolicyFacts } from './node/policies.ts';
import { recover } from './node/recovery.ts';
import type { VHostMetadata } from './node/vhost-metadata.ts';
import { deleteVHost, putVHost } from './node/vhosts.ts';
import type { Parameter } from './policy/parameters.ts';
import { ChunkPool } from './protocol/frame-writer.ts';
import type { Store } from './store/store.ts';

/** Permissions of a user on one vhost: patterns as RabbitMQ has them. */
export interface PermissionOptions {
  readonly vhost: string;
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** Permissions of a user on the routing keys of one topic exchange; `{username}` and `{vhost}` stand for their names. */
export interface TopicPermissionOptions {
  readonly vhost: string;
  readonly exchange: string;
  readonly write: string;
  readonly read: string;
}

/** A user that is made at the start if there is none of that name. */
export interface UserOptions {
  readonly name: string;
  readonly password: string;
  readonly tags?: readonly string[];
  readonly permissions?: readonly PermissionOptions[];
  readonly topicPermissions?: readonly TopicPermissionOptions[];
}

/** How to start a broker: any setting of docs/configuration.md, and what only a program can give. */
export interface BrokerOptions extends Partial<Settings> {
  /** `memory` for no disk at all, `level` for the folder `dataDir`, or a store of your own. Default: as the setting `memory` says. */
  readonly store?: 'memory' | 'level' | Store;
  /** The broker's time; a `FakeClock` lets a test move it. */
  readonly clock?: Clock;
  /** Where log lines go; an embedded broker is silent unless told otherwise. */
  readonly logger?: Logger;
  /** Users beside the default one. */
  readonly users?: readonly UserOptions[];
  /** Virtual hosts beside the default one. */
  readonly vhosts?: readonly string[];
}

/** A running broker. */
export class Broker {
  /** The port it listens on. */
  readonly port: number;
  /** `amqp://user:password@host:port` of the default user: what any client library connects to. */
  readonly url: string;
  /** `amqp://host:port`, without user and password: for logs. */
  readonly address: string;
  /** The port it speaks TLS on; null when it does not. */
  readonly tlsPort: number | null;
  /** `amqps://user:password@host:port` of the default user; null without a TLS port. */
  readonly tlsUrl: string | null;
  /** Fulfilled when the broker has stopped: with the error when it had to stop by itself. */
  readonly stopped: Promise<Error | null>;

  private readonly node: BrokerNode;
  private readonly store: Store;
  private readonly listeners: readonly Listener[];
  private readonly ackTimeout: AckTimeout;
  private readonly graceMs: number;
  private readonly defaultVhost: string;
  private readonly operations: Operations;
  private readonly identity: ExportIdentity;
  private stopping: Promise<void> | null = null;
  /** Why the store was lost; null while it is there. */
  private lostError: Error | null = null;
  private tellStopped: (error: Error | null) => void = () => {};

  private constructor(
    node: BrokerNode,
    store: Store,
    listeners: readonly [Listener, ...Listener[]],
    ackTimeout: AckTimeout,
    settings: Settings,
  ) {
    this.node = node;
    this.store = store;
    this.listeners = listeners;
    this.ackTimeout = ackTimeout;
    this.graceMs = settings.stopGraceMs;
    this.defaultVhost = settings.defaultVhost;
    this.operations = new Operations(node);
    this.identity = {
      rabbitVersion: settings.serverVersion,
      productName: 'Leveret',
      productVersion: VERSION,
      clusterName: settings.clusterName ?? settings.nodeName,
    };
    const [plain, secure] = listeners;
    const host = urlHost(settings.host);
    this.port = plain.port;
    this.address = `amqp://${host}:${plain.port}`;
    this.tlsPort = secure?.port ?? null;
    const { defaultUser, defaultPassword, defaultVhost } = settings;
    const login = `${encodeURIComponent(defaultUser)}:${encodeURIComponent(defaultPassword)}`;
    const path = defaultVhost === '/' ? '' : `/${encodeURIComponent(defaultVhost)}`;
    this.url = `amqp://${login}@${host}:${plain.port}${path}`;
    this.tlsUrl = this.tlsPort === null ? null : `amqps://${login}@${host}:${this.tlsPort}${path}`;
    this.stopped = new Promise((resolve) => {
      this.tellStopped = resolve;
    });
    node.onLost = (error) => {
      this.lostError = error;
      void this.fail(error);
    };
  }

  /**
   * Starts a broker; fulfilled when clients can connect.
   * @throws SettingsError, StoreError, ListenError (as a rejection), each with a message for people
   */
  static async start(options: BrokerOptions = {}): Promise<Broker> {
    const {
      store: storeOption,
      clock = systemClock,
      logger = silentLogger,
      users = [],
      vhosts = [],
      ...given
    } = options;
    // A program that embeds a broker means itself, not its neighbours.
    const settings = completeSettings({ host: '127.0.0.1', ...given });
    checkOptions(storeOption, users, vhosts);
    const tls = readTlsFiles(settings);
    const definitions = settings.definitions === null ? [] : readDefinitionFiles(settings.definitions);
    const store = storeOf(storeOption, settings, logger, clock);
    const node = new BrokerNode(nodeOptions(settings, store), clock, logger);
    const shard = await store.open(node.storeListener);
    let listeners: [Listener, ...Listener[]] | null = null;
    let lostError: Error | null = null;
    node.onLost = (error) => {
      lostError = error;
    };
    try {
      node.attach(shard);
      const recovered = await recover(node);
      logger.info('the store is open', {
        engine: store.info.engine,
        folder: store.info.location,
        queues: recovered.queues,
        messages: recovered.entries,
        ms: Math.round(recovered.ms),
      });
      if (!recovered.hasUsers) makeDefaults(node, settings, definitions);
      await importFiles(node, definitions);
      await makeGiven(node, settings, users, vhosts);
      const amqp = amqpOptions(settings);
      const pool = new ChunkPool();
      const targets = new SharedTargets();
      const ackTimeout = new AckTimeout(node, settings.consumerTimeoutMs ?? Number.POSITIVE_INFINITY);
      listeners = await openPorts(settings, tls, logger, (stream, peer) => {
        const connection = new Connection(stream, peer, node, amqp, pool, targets);
        ackTimeout.watch(connection);
        void connection.gone.then(() => ackTimeout.forget(connection));
      });
      // The store may fail while the port is being opened: from the next line on the broker itself hears of it.
      if (lostError !== null) throw lostError;
      node.alarms.start(clock);
      ackTimeout.start();
      return new Broker(node, store, listeners, ackTimeout, settings);
    } catch (error) {
      for (const listener of listeners ?? []) await listener.close();
      for (const connection of [...node.connections]) connection.destroy();
      node.stopTimers();
      await store.close();
      throw error;
    }
  }

  /** Tells clients, waits for them, commits, gives the folder back. Calling it again waits for the same stop. */
  stop(reason = 'shutdown'): Promise<void> {
    this.stopping ??= this.doStop(reason);
    return this.stopping;
  }

  // ── policies, parameters, limits: fulfilled when the change is stored and in effect; rejected with a BrokerError that says what is wrong ──

  /** Sets a policy, or with `operator_policy` one whose limits other policies cannot exceed. */
  setPolicy(policy: PolicyOptions, kind: PolicyKind = 'policy'): Promise<void> {
    return this.change(policy.vhost, () => this.node.parameters.setPolicy(policy, kind));
  }

  deletePolicy(vhost: string, name: string, kind: PolicyKind = 'policy'): Promise<void> {
    return this.change(vhost, () => this.node.parameters.deletePolicy(vhost, name, kind));
  }

  /** All policies, or those of one virtual host. */
  policies(vhost: string | null = null, kind: PolicyKind = 'policy'): PolicyRow[] {
    return this.node.parameters.policies(vhost, kind);
  }

  /** What policies make of a queue: names of those that apply, and their keys together. @throws BrokerError not-found */
  policyOf(vhost: string, queue: string): PolicyFacts {
    return this.node.vhost(vhost).policies.facts(queue);
  }

  /** Sets a runtime parameter of a component other than `policy`. */
  setParameter(vhost: string, component: string, name: string, value: Json): Promise<void> {
    return this.change(vhost, () => this.node.parameters.set(vhost, component, name, value));
  }

  clearParameter(vhost: string, component: string, name: string): Promise<void> {
    return this.change(vhost, () => this.node.parameters.clear(vhost, component, name));
  }

  /** Runtime parameters, without policies; of one virtual host or component where given. */
  parameters(vhost: string | null = null, component: string | null = null): Parameter[] {
    return this.node.parameters.list(vhost, component);
  }

  setGlobalParameter(name: string, value: Json): Promise<void> {
    return this.change(null, () => this.node.parameters.setGlobal(name, value));
  }

  clearGlobalParameter(name: string): Promise<void> {
    return this.change(null, () => this.node.parameters.clearGlobal(name));
  }

  globalParameters(): { name: string; value: Json }[] {
    return this.node.parameters.listGlobal();
  }

  /** Sets all limits of a virtual host, `max-connections` and `max-queues`: a negative one is none, 0 allows nothing, `{}` lifts them. */
  setVhostLimits(vhost: string, limits: Readonly<Record<string, number>>): Promise<void> {
    return this.change(vhost, () => this.node.parameters.setVHostLimits(vhost, limits));
  }

  /** Sets limits of a user, `max-connections` and `max-channels`: a negative one is none, 0 allows nothing; those not named stay. */
  setUserLimits(user: string, limits: Readonly<Record<string, number>>): Promise<void> {
    return this.change(null, () => {
      this.node.users.setLimits(user, limits);
      this.node.saveUsers();
    });
  }

  // ── delayed messages; rejected with a BrokerError when there is no such exchange or it delays nothing ──

  /** Messages that wait in a delaying exchange. @throws BrokerError */
  delayedCounts(vhost: string, exchange: string): DelayedCounts {
    return countDelayed(this.node, vhost, exchange);
  }

  /** Some of them, in the order in which they were published: `limit` at most, behind the one called `after`. */
  delayedMessages(
    vhost: string,
    exchange: string,
    page: { readonly after?: number; readonly limit?: number } = {},
  ): Promise<DelayedPage> {
    return listDelayed(this.node, vhost, exchange, page.after, page.limit);
  }

  /** Takes one of them back. False when it does not wait any more. */
  cancelDelayedMessage(vhost: string, exchange: string, id: number): Promise<boolean> {
    return cancelDelayed(this.node, vhost, exchange, id);
  }

  /** Takes all of them back; how many there were. */
  cancelDelayedMessages(vhost: string, exchange: string): Promise<number> {
    return cancelAllDelayed(this.node, vhost, exchange);
  }

  // ── virtual hosts and users: fulfilled and rejected as above ──

  /** Makes a virtual host, or changes what is said of one; what `metadata` leaves out stays. Who may enter it: `setPermissions`. */
  createVhost(name: string, metadata: Partial<VHostMetadata> = {}): Promise<void> {
    return this.change(null, () => void putVHost(this.node, name, metadata));
  }

  /** Deletes a virtual host with everything in it; its clients are told with `connection.close` (320). */
  deleteVhost(name: string): Promise<void> {
    return this.change(null, () => deleteVHost(this.node, name));
  }

  /** Makes a user, or changes password, tags and the permissions that are named. */
  async createUser(user: UserOptions): Promise<void> {
    await addUser(this.node, user);
    return this.change(null, () => this.node.saveUsers());
  }

  /** Deletes a user; its clients are told with `connection.close` (320). */
  deleteUser(name: string): Promise<void> {
    return this.change(null, () => deleteUser(this.node, name));
  }

  /** What a user may do in a virtual host from now on. */
  setPermissions(user: string, { vhost, ...patterns }: PermissionOptions): Promise<void> {
    return this.change(null, () => setPermissions(this.node, user, vhost, patterns));
  }

  /** Shuts a user out of a virtual host. */
  clearPermissions(user: string, vhost: string): Promise<void> {
    return this.change(null, () => void clearPermissions(this.node, user, vhost));
  }

  // ── what operators do with queues (docs/operations.md) ──

  /** A queue to look into and to work on; the default virtual host is meant when none is named. It need not be there yet. */
  queue(name: string, vhost: string = this.defaultVhost): QueueOperator {
    return this.operations.queue(vhost, name);
  }

  /** All queues, or those of one virtual host, with what is in them. @throws BrokerError not-found */
  queues(vhost: string | null = null): QueueInfo[] {
    return this.operations.queues(vhost);
  }

  /** Redrives under way, and the last ones that ended; oldest first. */
  redrives(): readonly RedriveHandle[] {
    return this.operations.redrives();
  }

  private async change(vhost: string | null, act: () => void): Promise<void> {
    act();
    await this.node.definitionsCommitted();
    if (vhost !== null) await this.node.vhosts.get(vhost)?.policies.applied();
  }

  /** For tests of what clients see: sets or clears an alarm as if the mark had been crossed. */
  setAlarm(kind: 'memory' | 'disk', on: boolean): void {
    this.node.alarms.set(kind, on);
  }

  /**
   * The definitions of the broker, or of one virtual host, as RabbitMQ exports them: for `JSON.stringify` and `importDefinitions`.
   * @throws BrokerError not-found for the virtual host
   */
  exportDefinitions(vhost: string | null = null): DefinitionsFile {
    return plainJson(exportDefinitions(this.node, this.identity, vhost)) as DefinitionsFile;
  }

  /**
   * Imports definitions, as text or as what JSON.parse made of it, into the broker or into one virtual host. Fulfilled when they are stored.
   * Users, permissions, policies and parameters of the same name are replaced; exchanges, queues and bindings that exist stay as they are.
   * @throws BrokerError (as a rejection) that names the place of the first error; what came before it stays
   */
  importDefinitions(definitions: unknown, vhost: string | null = null): Promise<ImportCounts> {
    return importDefinitions(this.node, definitions, vhost);
  }

  private async doStop(reason: string): Promise<void> {
    const { node } = this;
    await this.closePorts();
    node.alarms.stop();
    this.ackTimeout.stop();
    await this.closeConnections(reason);
    if (!node.lost) {
      for (const vhost of node.vhosts.values()) for (const queue of vhost.queues.values()) queue.settleMark();
    }
    node.turn.run();
    node.stopTimers();
    try {
      await this.store.close();
    } catch (error) {
      this.lostError ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.tellStopped(this.lostError);
    }
  }

  private async closePorts(): Promise<void> {
    await Promise.all(this.listeners.map((listener) => listener.close()));
  }

  private async closeConnections(reason: string): Promise<void> {
    const connections = [...this.node.connections];
    for (const connection of connections) {
      connection.close('connection-forced', `broker forced connection closure with reason '${reason}'`);
    }
    const all = Promise.all(connections.map((connection) => connection.gone));
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise((resolve) => {
      timer = setTimeout(resolve, this.graceMs);
    });
    await Promise.race([all, grace]);
    clearTimeout(timer);
    for (const connection of this.node.connections) connection.destroy();
    await all;
  }

  /** The store is lost: nobody may hear another word that could be taken for a confirm. */
  private async fail(error: Error): Promise<void> {
    if (this.stopping !== null) return;
    this.stopping = (async () => {
      await this.closePorts();
      this.node.alarms.stop();
      this.ackTimeout.stop();
      for (const connection of [...this.node.connections]) connection.destroy();
      this.node.stopTimers();
      await this.store.close().catch(() => {});
    })();
    await this.stopping;
    this.tellStopped(error);
  }
}

/** The plain port and, with certificates, the one for TLS. @throws ListenError, with none of them left open */
async function openPorts(
  settings: Settings,
  tls: TlsOptions | null,
  logger: Logger,
  onSocket: OnSocket,
): Promise<[Listener, ...Listener[]]> {
  const options: ListenOptions = {
    host: settings.host,
    port: settings.port,
    backlog: settings.backlog,
    noDelay: settings.tcpNoDelay,
    keepAlive: settings.tcpKeepAlive,
    tls: null,
  };
  const reports: ListenReports = {
    onError: (error) => logger.error('cannot accept a connection', { error: error.message }),
    onRefused: (refusal) => logger.warn('a TLS handshake failed', { ...refusal }),
  };
  const plain = await listen(options, onSocket, reports);
  if (tls === null || settings.tlsPort === null) return [plain];
  try {
    return [plain, await listen({ ...options, port: settings.tlsPort, tls }, onSocket, reports)];
  } catch (error) {
    await plain.close();
    throw error;
  }
}

/** @throws BrokerError for a pattern that is none, or a vhost that is not there */
async function addUser(node: BrokerNode, user: UserOptions): Promise<void> {
  const { name, password, tags = [], permissions = [], topicPermissions = [] } = user;
  for (const { vhost } of [...permissions, ...topicPermissions]) node.vhost(vhost);
  node.users.put(await userFromImport({ name, password, tags: [...tags] }, 'rabbit_password_hashing_sha256'));
  for (const { vhost, ...patterns } of permissions) node.users.setPermissions(name, vhost, patterns);
  for (const { vhost, exchange, ...patterns } of topicPermissions) {
    node.users.setTopicPermissions(name, vhost, exchange, patterns);
  }
}

/** What only a program can give is held to its types here: JavaScript programs have no other check. @throws SettingsError */
function checkOptions(store: unknown, users: unknown, vhosts: unknown): void {
  const isStore = typeof store === 'object' && store !== null && 'open' in store && 'close' in store;
  if (store !== undefined && store !== 'memory' && store !== 'level' && !isStore) {
    throw new SettingsError(`store must be 'memory', 'level' or a store, not ${JSON.stringify(store)}`);
  }
  const isName = (name: unknown): boolean => typeof name === 'string' && name !== '';
  if (!Array.isArray(vhosts) || !vhosts.every(isName))
    throw new SettingsError('vhosts must be a list of names');
  if (!Array.isArray(users)) throw new SettingsError('users must be a list of users');
  for (const user of users as { name?: unknown; password?: unknown }[]) {
    if (
      typeof user !== 'object' ||
      user === null ||
      !isName(user.name) ||
      typeof user.password !== 'string'
    ) {
      throw new SettingsError('each of users must have a name and a password');
    }
  }
}

/** The default vhost and user of an empty broker, unless definitions bring users: then nobody shall come in by a well-known password. */
function makeDefaults(node: BrokerNode, settings: Settings, definitions: readonly DefinitionSource[]): void {
  if (definitions.some((source) => (source.definitions.users ?? []).length > 0)) return;
  const { defaultUser: name, defaultPassword: password, defaultVhost: vhost } = settings;
  if (!node.vhosts.has(vhost)) node.createVHost(vhost);
  // RabbitMQ's own format: made at once, and the broker starts without waiting for a slow hash of a password that stands in a file.
  node.users.put({ name, ...hashPasswordFast(password), tags: ['administrator'], limits: {} });
  node.users.setPermissions(name, vhost, { configure: '.*', write: '.*', read: '.*' });
  node.saveUsers();
}

/** @throws SettingsError that names the file and the place in it */
async function importFiles(node: BrokerNode, sources: readonly DefinitionSource[]): Promise<void> {
  for (const { path, definitions } of sources) {
    try {
      const counts = await importDefinitions(node, definitions);
      node.log.info('definitions are imported', { file: path, ...counts });
    } catch (error) {
      throw badDefinitions(path, error);
    }
  }
}

/** The vhosts and users that a program asked for. */
async function makeGiven(
  node: BrokerNode,
  settings: Settings,
  users: readonly UserOptions[],
  vhosts: readonly string[],
): Promise<void> {
  let changed = false;
  for (const vhost of vhosts) {
    if (node.vhosts.has(vhost)) continue;
    node.createVHost(vhost);
    // A vhost that nobody may enter would be of no use.
    if (node.users.get(settings.defaultUser) !== null) {
      node.users.setPermissions(settings.defaultUser, vhost, { configure: '.*', write: '.*', read: '.*' });
      changed = true;
    }
  }
  for (const user of users) {
    if (node.users.get(user.name) !== null) continue;
    try {
      await addUser(node, user);
    } catch (error) {
      throw new SettingsError(`user '${user.name}': ${(error as Error).message}`);
    }
    changed = true;
  }
  if (changed) node.saveUsers();
}

function urlHost(host: string): string {
  if (host === '::' || host === '0.0.0.0') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

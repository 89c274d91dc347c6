// From a definitions file into a running broker: users and vhosts first, bindings last, each list in the order of its file.
// Owns RabbitMQ's rules of merging: users, permissions, policies and parameters replace those of the same name; exchanges, queues and
// bindings that exist stay as they are; names that begin with `amq.` and the default exchange are passed over.
// Invariants: the first error stops, what was done before it stays and is stored; the promise ends when all of it is on disk; nobody waits
// for a long file: after every RUN_OBJECTS objects the broker does its other work.

import {
  permissionsFromDefinition,
  readTags,
  topicPermissionsFromDefinition,
  userFromImport,
} from '../auth/definitions.ts';
import { isHashingAlgorithm } from '../auth/password.ts';
import { checkUserLimits } from '../auth/users.ts';
import { BrokerError } from '../base/errors.ts';
import { plainJson } from '../base/exact-json.ts';
import type { Json } from '../base/terms.ts';
import { LIMITS_NAME, POLICY, VHOST_LIMITS } from '../policy/parameters.ts';
import type { FieldTable } from '../protocol/field-table.ts';
import { BROKER } from './caller.ts';
import {
  DEFINITION_LISTS,
  type DefinitionList,
  DefinitionReader,
  type DefinitionsFile,
  definitionsError,
  type JsonObject,
  objectIn,
  readDefinitions,
  VHOST_LISTS,
} from './definitions-file.ts';
import type { BrokerNode } from './node.ts';
import { assertNotDefault, type VHost } from './vhost.ts';
import { queueTypeOf, type VHostMetadata } from './vhost-metadata.ts';
import { putVHost } from './vhosts.ts';

/** Objects that are imported in one synchronous run, and so land in one batch of the store. */
export const RUN_OBJECTS = 250;

const RESERVED = 'amq.';
const MD5 = 'rabbit_password_hashing_md5';

/** Objects that the file had, by list. */
export type ImportCounts = Readonly<Partial<Record<DefinitionList, number>>>;

/**
 * Imports a definitions file: its text, or what JSON.parse made of it. With a vhost, what belongs to one is imported into that one, and the
 * rest of the file is not looked at. Fulfilled when everything is on disk and in effect.
 * @throws BrokerError (as a rejection) whose message names the place in the file; not-found for the vhost
 */
export async function importDefinitions(
  node: BrokerNode,
  definitions: unknown,
  vhost: string | null = null,
): Promise<ImportCounts> {
  const file = readDefinitions(definitions);
  if (vhost === null) assertWhole(file);
  else node.vhost(vhost);
  try {
    return await new DefinitionsImport(node, file, vhost).run();
  } finally {
    // What was done before an error stays; the answer waits for it too.
    await node.definitionsCommitted();
    for (const { policies } of [...node.vhosts.values()]) await policies.applied();
  }
}

/** RabbitMQ: a file of one vhost does not say where its objects belong. @throws BrokerError precondition-failed */
function assertWhole(file: DefinitionsFile): void {
  for (const list of ['queues', 'exchanges', 'bindings'] as const) {
    const elements = file[list] ?? [];
    const orphan = elements.findIndex(({ vhost }) => vhost === undefined);
    if (orphan < 0) continue;
    const text = 'vhost is missing: a file of a single virtual host has to be imported into a virtual host';
    throw placed(`${list}[${orphan}]`, elements[orphan]!, definitionsError('', text));
  }
}

/** One import. */
class DefinitionsImport {
  private readonly node: BrokerNode;
  private readonly file: DefinitionsFile;
  /** Where everything goes; null: where each object says. */
  private readonly target: string | null;
  /** Users or permissions were changed and are not stored yet. */
  private usersChanged = false;
  /** Bindings with an end that is not there, and the first of them. */
  private dangling = 0;
  private firstDangling: string | null = null;

  constructor(node: BrokerNode, file: DefinitionsFile, target: string | null) {
    this.node = node;
    this.file = file;
    this.target = target;
  }

  async run(): Promise<ImportCounts> {
    const counts: Partial<Record<DefinitionList, number>> = {};
    let objects = 0;
    if (this.target !== null) this.assertRoomForQueues();
    for (const list of this.target === null ? DEFINITION_LISTS : VHOST_LISTS) {
      // RabbitMQ looks at the limits of vhosts when these are there, and before anything is put into them.
      if (list === 'permissions') this.assertRoomForQueues();
      const elements = this.file[list] ?? [];
      counts[list] = elements.length;
      try {
        for (const [i, element] of elements.entries()) {
          const place = `${list}[${i}]`;
          try {
            if (list === 'users') await this.importUser(element);
            else this.importOne(list, new DefinitionReader(place, element));
          } catch (error) {
            throw placed(place, element, error);
          }
          if (++objects % RUN_OBJECTS === 0) await this.pause();
        }
      } finally {
        this.storeUsers();
      }
    }
    if (this.dangling > 0) {
      this.node.log.warn('bindings in the definitions lead from or to what is not there, and are left out', {
        count: this.dangling,
        first: this.firstDangling,
      });
    }
    return counts;
  }

  /** @throws BrokerError precondition-failed in RabbitMQ's words when a vhost may not have as many queues as the file would give it */
  private assertRoomForQueues(): void {
    const added = new Map<VHost, number>();
    for (const { name, vhost: named } of this.file.queues ?? []) {
      const place = this.target ?? named;
      const vhost = typeof place === 'string' ? this.node.vhosts.get(place) : undefined;
      if (vhost === undefined || typeof name !== 'string' || name.startsWith(RESERVED)) continue;
      if (!vhost.queues.has(name)) added.set(vhost, (added.get(vhost) ?? 0) + 1);
    }
    for (const [vhost, count] of added) {
      const { queuesMax, queues } = vhost;
      if (queues.size + count <= queuesMax) continue;
      throw new BrokerError(
        'precondition-failed',
        `Adding ${count} queue(s) to virtual host "${vhost.name}" would exceed the limit of ${queuesMax} queue(s).\n\n` +
          `This virtual host currently has ${queues.size} queue(s) defined.\n\nImport aborted!`,
      );
    }
  }

  private storeUsers(): void {
    if (this.usersChanged) this.node.saveUsers();
    this.usersChanged = false;
  }

  /** Lets the broker do its other work, and the store write what there is. */
  private pause(): Promise<void> {
    this.storeUsers();
    return new Promise((resolve) => setImmediate(resolve));
  }

  private importOne(list: Exclude<DefinitionList, 'users'>, it: DefinitionReader): void {
    switch (list) {
      case 'vhosts':
        return this.importVHost(it);
      case 'permissions':
        return this.importPermissions(it);
      case 'topic_permissions':
        return this.importTopicPermissions(it);
      case 'exchanges':
        return this.importExchange(it);
      case 'global_parameters':
        return this.importGlobalParameter(it);
      case 'policies':
        return this.importPolicy(it);
      case 'parameters':
        return this.importParameter(it);
      case 'queues':
        return this.importQueue(it);
      case 'bindings':
        return this.importBinding(it);
    }
  }

  // ── users ──

  private async importUser(element: JsonObject): Promise<void> {
    const user = plainJson(element) as JsonObject;
    const given = user['hashing_algorithm'];
    // RabbitMQ: files of old versions do not say how a password was hashed.
    const withAlgorithm = given === undefined && this.isBefore36 ? { ...user, hashing_algorithm: MD5 } : user;
    checkUserLimits((user['limits'] ?? {}) as Json);
    const wanted = typeof given === 'string' && isHashingAlgorithm(given) ? given : undefined;
    const made = await userFromImport(withAlgorithm, wanted);
    // RabbitMQ: limits that the file does not mention stay.
    const limits = user['limits'] === undefined ? this.node.users.get(made.name)?.limits : undefined;
    this.node.users.put(limits === undefined ? made : { ...made, limits });
    this.usersChanged = true;
  }

  private get isBefore36(): boolean {
    const version = this.file['rabbitmq_version'] ?? this.file['rabbit_version'];
    return typeof version === 'string' && /^(2|3\.[0-5])\./.test(version);
  }

  private importPermissions(it: DefinitionReader): void {
    const { user, vhost, configure, write, read } = permissionsFromDefinition(it.fields);
    this.vhostNamed(vhost);
    this.node.users.setPermissions(user, vhost, { configure, write, read });
    this.usersChanged = true;
  }

  private importTopicPermissions(it: DefinitionReader): void {
    const { user, vhost, exchange, write, read } = topicPermissionsFromDefinition(it.fields);
    this.vhostNamed(vhost);
    this.node.users.setTopicPermissions(user, vhost, exchange, { write, read });
    this.usersChanged = true;
  }

  // ── vhosts ──

  /** What stands under `metadata` counts before what stands beside it; what stands nowhere stays as it is. */
  private importVHost(it: DefinitionReader): void {
    const name = it.name('name');
    const metadata = new DefinitionReader(
      `${it.place}.metadata`,
      objectIn(it.place, it.value('metadata') ?? {}, 'metadata is not an object'),
    );
    const given = (key: string): unknown => metadata.value(key) ?? it.value(key) ?? undefined;
    const changes: { -readonly [K in keyof VHostMetadata]?: VHostMetadata[K] } = {};
    const description = given('description');
    if (description !== undefined) changes.description = textOf('description', description);
    const tags = given('tags');
    if (tags !== undefined) changes.tags = readTags(tags);
    const type = given('default_queue_type');
    // RabbitMQ wrote these words where no type was set.
    if (type !== undefined && type !== '' && type !== 'undefined') {
      changes.defaultQueueType = queueTypeOf(textOf('default_queue_type', type));
    }
    const isProtected = given('protected_from_deletion');
    if (isProtected !== undefined) {
      if (typeof isProtected !== 'boolean')
        throw definitionsError(it.place, 'protected_from_deletion is not true or false');
      changes.protectedFromDeletion = isProtected;
    }
    it.flag('tracing', false);
    putVHost(this.node, name, changes);
    this.importLimits(name, it.value('limits'));
  }

  // ── parameters ──

  /** Older files write an empty list for no limits. */
  private importLimits(vhost: string, given: unknown): void {
    if (given === undefined || given === null || (Array.isArray(given) && given.length === 0)) return;
    const limits = objectIn('', given, 'limits is not an object');
    if (Object.keys(limits).length > 0)
      this.node.parameters.put(vhost, VHOST_LIMITS, LIMITS_NAME, jsonOf(limits));
  }

  private importPolicy(it: DefinitionReader): void {
    const vhost = this.vhostOf(it).name;
    const name = it.text('name');
    const value = {
      pattern: it.value('pattern') ?? null,
      'apply-to': it.value('apply-to') ?? 'all',
      priority: it.value('priority') ?? 0,
      definition: it.value('definition') ?? null,
    };
    explained(` (vhost: "${vhost}" key: "${name}")`, () =>
      this.node.parameters.put(vhost, POLICY, name, jsonOf(value)),
    );
  }

  private importParameter(it: DefinitionReader): void {
    const vhost = this.vhostOf(it).name;
    const component = it.text('component');
    const name = it.text('name');
    explained(` (vhost: "${vhost}" / component: "${component}" / key: "${name}")`, () =>
      this.node.parameters.put(vhost, component, name, jsonOf(it.value('value') ?? null)),
    );
  }

  private importGlobalParameter(it: DefinitionReader): void {
    this.node.parameters.setGlobal(it.text('name'), jsonOf(it.value('value') ?? null));
  }

  // ── topology ──

  private importExchange(it: DefinitionReader): void {
    const name = it.name('name');
    if (name === '' || name.startsWith(RESERVED)) return;
    const vhost = this.vhostOf(it);
    if (vhost.exchanges.has(name)) return;
    const declaration = {
      name,
      type: it.text('type'),
      durable: it.flag('durable', true),
      autoDelete: it.flag('auto_delete', false),
      internal: it.flag('internal', false),
      arguments: it.arguments(),
    };
    vhost.declareExchange(declaration, BROKER);
  }

  private importQueue(it: DefinitionReader): void {
    const name = it.name('name');
    if (name === '') throw definitionsError(it.place, 'name is empty');
    if (name.startsWith(RESERVED)) return;
    const vhost = this.vhostOf(it);
    if (vhost.queues.has(name)) return;
    const declaration = {
      name,
      durable: it.flag('durable', true),
      exclusive: false,
      autoDelete: it.flag('auto_delete', false),
      arguments: withType(it.arguments(), it),
    };
    vhost.declareQueue(declaration, BROKER);
  }

  /**
   * A binding with an end that is not there is passed over: files of rabbitmqctl have those of exclusive queues and of internal exchanges, but
   * not these themselves.
   */
  private importBinding(it: DefinitionReader): void {
    const source = it.name('source');
    if (source === '') return;
    const vhost = this.vhostOf(it);
    const name = it.name('destination');
    const type = it.text('destination_type');
    if (type !== 'queue' && type !== 'exchange')
      throw definitionsError(it.place, 'destination_type is neither queue nor exchange');
    if (type === 'exchange') assertNotDefault(name);
    const routingKey = it.value('routing_key') === undefined ? '' : it.name('routing_key');
    const args = it.arguments();
    const exchange = vhost.exchanges.get(source);
    const destination = type === 'queue' ? vhost.queues.get(name) : vhost.exchanges.get(name);
    if (exchange === undefined || destination === undefined) {
      const missing = exchange === undefined ? `exchange '${source}'` : `${type} '${name}'`;
      this.firstDangling ??= `${it.place}: no ${missing} in vhost '${vhost.name}'`;
      this.dangling++;
      return;
    }
    if (!vhost.isBound(exchange, destination, routingKey, args))
      vhost.bind(exchange, destination, routingKey, args);
  }

  // ── helpers ──

  private vhostOf(it: DefinitionReader): VHost {
    return this.vhostNamed(this.target ?? it.text('vhost'));
  }

  /** @throws BrokerError not-found in RabbitMQ's words */
  private vhostNamed(name: string): VHost {
    const vhost = this.node.vhosts.get(name);
    if (vhost !== undefined) return vhost;
    throw new BrokerError(
      'not-found',
      `Please create virtual host "${name}" prior to importing definitions.`,
    );
  }
}

/** A queue keeps the type that it had: where the arguments do not say, the object does, before the vhost's default type. */
function withType(args: FieldTable, it: DefinitionReader): FieldTable {
  if (args.has('x-queue-type') || it.value('type') === undefined) return args;
  return new Map(args).set('x-queue-type', { tag: 'S', value: it.text('type') });
}

/** Runs `set`; what it refuses is said with the object's name behind it (RabbitMQ). */
function explained(suffix: string, set: () => void): void {
  try {
    set();
  } catch (error) {
    throw error instanceof BrokerError ? new BrokerError(error.reason, error.message + suffix) : error;
  }
}

function jsonOf(value: unknown): Json {
  return plainJson(value) as Json;
}

function textOf(key: string, value: unknown): string {
  if (typeof value !== 'string') throw new BrokerError('precondition-failed', `${key} is not a string`);
  return value;
}

/** Characters of a name that are repeated in a refusal. */
const SHOWN_NAME_MAX = 80;

/** A refusal with the place in front, and the name of the object if the refusal does not say it. */
function placed(place: string, { name }: JsonObject, error: unknown): unknown {
  if (!(error instanceof BrokerError)) return error;
  const rest = error.message.startsWith(place) ? error.message.slice(place.length) : `: ${error.message}`;
  const isSaid =
    typeof name !== 'string' ||
    name === '' ||
    !rest.startsWith(':') ||
    rest.includes(`'${name}'`) ||
    rest.includes(`"${name}"`);
  const who = isSaid ? '' : ` '${name.slice(0, SHOWN_NAME_MAX)}'`;
  return new BrokerError(error.reason, place + who + rest);
}

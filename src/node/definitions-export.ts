// From a running broker to a definitions file: everything, or one virtual host.
// Owns what is left out, and the order, which is the same each time: by name, bindings of one exchange in the order in which they were made
// (hash exchanges assign by it).

import { usersToDefinition } from '../auth/definitions.ts';
import { stringifyExactJson } from '../base/exact-json.ts';
import { type DefinitionsFile, type JsonObject, tableToJson } from './definitions-file.ts';
import { type BindingRecord, Exchange } from './exchange.ts';
import type { BrokerNode } from './node.ts';
import type { VHost } from './vhost.ts';

/** What a file says of the broker that wrote it. */
export interface ExportIdentity {
  /** The RabbitMQ that the file is for: importers choose old formats by it. */
  readonly rabbitVersion: string;
  readonly productName: string;
  readonly productVersion: string;
  readonly clusterName: string;
}

const RESERVED = 'amq.';

/**
 * The definitions of the whole broker, or of one vhost: then without users and permissions, and without a vhost in each object (RabbitMQ).
 * @throws BrokerError not-found
 */
export function exportDefinitions(
  node: BrokerNode,
  identity: ExportIdentity,
  vhost: string | null = null,
): DefinitionsFile {
  const { rabbitVersion, productName, productVersion, clusterName } = identity;
  const about = {
    rabbit_version: rabbitVersion,
    rabbitmq_version: rabbitVersion,
    product_name: productName,
    product_version: productVersion,
  };
  if (vhost !== null) {
    const one = node.vhost(vhost);
    return {
      ...about,
      rabbitmq_definition_format: 'single_virtual_host',
      original_vhost_name: vhost,
      explanation: `Definitions of virtual host '${vhost}'`,
      metadata: metadataOf(one),
      description: one.metadata.description,
      limits: node.parameters.vhostLimits(vhost),
      parameters: parametersOf(node, vhost).map(withoutVHost),
      policies: policiesOf(node, vhost).map(withoutVHost),
      queues: queuesOf(one).map(withoutVHost),
      exchanges: exchangesOf(one).map(withoutVHost),
      bindings: bindingsOf(one).map(withoutVHost),
    };
  }
  const vhosts = [...node.vhosts.values()].sort(byName);
  const { users, permissions, topic_permissions } = usersToDefinition(node.users);
  return {
    ...about,
    rabbitmq_definition_format: 'cluster',
    original_cluster_name: clusterName,
    explanation: `Definitions of cluster '${clusterName}'`,
    users: users.map((user) => ({ ...user })),
    vhosts: vhosts.map((it) => ({
      name: it.name,
      description: it.metadata.description,
      tags: it.metadata.tags,
      metadata: metadataOf(it),
      limits: node.parameters.vhostLimits(it.name),
    })),
    permissions: permissions.map((row) => ({ ...row })),
    topic_permissions: topic_permissions.map((row) => ({ ...row })),
    parameters: parametersOf(node, null),
    global_parameters: node.parameters.listGlobal(),
    policies: policiesOf(node, null),
    queues: vhosts.flatMap(queuesOf),
    exchanges: vhosts.flatMap(exchangesOf),
    bindings: vhosts.flatMap(bindingsOf),
  };
}

/** As `exportDefinitions`, as the text of a file. @param indent spaces a level; 0 for one line */
export function definitionsText(
  node: BrokerNode,
  identity: ExportIdentity,
  vhost: string | null = null,
  indent = 0,
): string {
  return stringifyExactJson(exportDefinitions(node, identity, vhost), indent);
}

function metadataOf({ metadata }: VHost): JsonObject {
  const { description, tags, defaultQueueType, protectedFromDeletion } = metadata;
  return {
    description,
    tags,
    ...(defaultQueueType === null ? {} : { default_queue_type: defaultQueueType }),
    ...(protectedFromDeletion ? { protected_from_deletion: true } : {}),
  };
}

/** RabbitMQ: operator policies and limits of vhosts are among the parameters, policies are not. */
function parametersOf(node: BrokerNode, vhost: string | null): JsonObject[] {
  return node.parameters.list(vhost).map((parameter) => ({ ...parameter }));
}

function policiesOf(node: BrokerNode, vhost: string | null): JsonObject[] {
  return node.parameters.policies(vhost).map((policy) => ({ ...policy }));
}

/** RabbitMQ: an exclusive queue cannot be restored. Transient queues are there. */
function queuesOf(vhost: VHost): JsonObject[] {
  const queues = [...vhost.queues.values()].filter((queue) => !queue.declaration.exclusive);
  return queues.sort(byName).map(({ declaration, options }) => ({
    name: declaration.name,
    vhost: vhost.name,
    durable: declaration.durable,
    auto_delete: declaration.autoDelete,
    type: options.type,
    arguments: tableToJson(declaration.arguments),
  }));
}

/** Exchanges that clients declared; internal ones too, as RabbitMQ's HTTP API does: without them their bindings would be lost. */
function exchangesOf(vhost: VHost): JsonObject[] {
  const exchanges = [...vhost.exchanges.values()].filter(({ name }) => isOwn(name));
  return exchanges.sort(byName).map(({ declaration }) => ({
    name: declaration.name,
    vhost: vhost.name,
    type: declaration.type,
    durable: declaration.durable,
    auto_delete: declaration.autoDelete,
    internal: declaration.internal,
    arguments: tableToJson(declaration.arguments),
  }));
}

/** All bindings that clients made, but for those of exclusive queues. */
function bindingsOf(vhost: VHost): JsonObject[] {
  const rows: JsonObject[] = [];
  for (const exchange of [...vhost.exchanges.values()].sort(byName)) {
    const bindings = [...exchange.outgoing.values()].sort((a, b) => a.order - b.order);
    for (const binding of bindings) if (isKept(binding)) rows.push(bindingOf(vhost, binding));
  }
  return rows;
}

function bindingOf(vhost: VHost, binding: BindingRecord): JsonObject {
  return {
    source: binding.source.name,
    vhost: vhost.name,
    destination: binding.destination.name,
    destination_type: binding.toExchange ? 'exchange' : 'queue',
    routing_key: binding.routingKey,
    arguments: tableToJson(binding.arguments),
  };
}

function isKept({ destination }: BindingRecord): boolean {
  return destination instanceof Exchange || !destination.declaration.exclusive;
}

function isOwn(exchange: string): boolean {
  return exchange !== '' && !exchange.startsWith(RESERVED);
}

function withoutVHost({ vhost: _, ...rest }: JsonObject): JsonObject {
  return rest;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

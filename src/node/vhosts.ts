// Virtual hosts as people manage them: made, described, protected, deleted with everything in them.
// Owns the order of a deletion and its texts. Knows no door: whoever calls has asked whether this person may.
// Invariants: what is done here is stored in the same batch; after a deletion nothing of the vhost is left, in memory or in the store, and no
// connection is in it.

import { BrokerError } from '../base/errors.ts';
import { SHORT_STRING_MAX, shortStringByteLength } from '../protocol/short-strings.ts';
import type { BrokerNode } from './node.ts';
import type { VHost } from './vhost.ts';
import { NO_METADATA, type VHostMetadata } from './vhost-metadata.ts';

/**
 * Makes a vhost, or changes what is said of one that exists; what `changes` leaves out stays.
 * @throws BrokerError precondition-failed for a name that no client could open
 */
export function putVHost(node: BrokerNode, name: string, changes: Partial<VHostMetadata> = {}): VHost {
  const current = node.vhosts.get(name);
  if (current === undefined) {
    assertVHostName(name);
    return node.createVHost(name, { ...NO_METADATA, ...changes });
  }
  current.metadata = { ...current.metadata, ...changes };
  node.definitions.saveVHost(name, current.metadata);
  return current;
}

/**
 * Deletes a vhost: its connections are closed (320, RabbitMQ's text), its permissions, queues, exchanges and bindings go, and what its queues
 * kept in the store.
 * @throws BrokerError not-found; precondition-failed when it is protected (RabbitMQ: HTTP 412)
 */
export function deleteVHost(node: BrokerNode, name: string): void {
  const vhost = node.vhost(name);
  if (vhost.metadata.protectedFromDeletion) {
    throw new BrokerError(
      'precondition-failed',
      `Refusing to delete virtual host '${name}' because it is protected from deletion`,
    );
  }
  // Nobody may come in any more, and whoever is in hears why before its consumers are cancelled.
  node.users.forgetVhost(name);
  node.vhosts.delete(name);
  for (const connection of [...node.connections]) {
    if (connection.vhostName === name) connection.close('connection-forced', `vhost '${name}' is deleted`);
  }
  vhost.removeEverything();
  node.parameters.forgetVHost(name);
  node.definitions.deleteVHost(name);
  node.saveUsers();
}

/** @throws BrokerError precondition-failed for a name that is empty or does not fit connection.open */
export function assertVHostName(name: string): void {
  if (name === '') throw new BrokerError('precondition-failed', 'a virtual host must have a name');
  if (shortStringByteLength(name) > SHORT_STRING_MAX) {
    throw new BrokerError(
      'precondition-failed',
      `the name of a virtual host has at most ${SHORT_STRING_MAX} octets`,
    );
  }
}

// What stops a publisher: alarms of memory and disk, which its client is told of, and pressure of the store, which it is not.
// Owns who counts as a publisher and what its client was told. RabbitMQ: only a connection that publishes is blocked, at its next
// publish; consumers go on, so that queues drain.

import { encodeConnectionBlocked, encodeConnectionUnblocked } from '../protocol/methods.ts';
import type { Connection } from './connection.ts';

/** The brakes of one connection. */
export class Brakes {
  private readonly connection: Connection;
  /** Content has come in since the connection opened, or since it was unblocked. */
  isPublisher = false;
  /** Contents that have come in. */
  contents = 0;
  /** The client was told that it is blocked. */
  private told = false;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Content has come in: alarms and the store's pressure concern this connection. */
  published(): void {
    this.isPublisher = true;
    this.contents++;
    const { node, gate } = this.connection;
    if (node.pressure) gate.pause('pressure');
    if (node.alarms.reason !== null) this.setBlocked(node.alarms.reason);
  }

  setPressure(on: boolean): void {
    if (!on) this.connection.gate.resume('pressure');
    else if (this.isPublisher) this.connection.gate.pause('pressure');
  }

  setBlocked(reason: string | null): void {
    if (reason !== null) this.block(reason);
    else this.unblock();
  }

  private block(reason: string): void {
    const { connection } = this;
    if (!this.isPublisher || connection.state !== 'running' || connection.gate.has('blocked')) return;
    connection.gate.pause('blocked');
    if (!connection.capabilities.connectionBlocked) return;
    this.told = true;
    encodeConnectionBlocked(connection.writer, 0, { reason });
    connection.wantsFlush();
  }

  private unblock(): void {
    const { connection } = this;
    // Nothing is said behind a close.
    if (this.told && connection.state === 'running') {
      encodeConnectionUnblocked(connection.writer, 0);
      connection.wantsFlush();
    }
    this.told = false;
    this.isPublisher = false;
    connection.gate.resume('blocked');
  }
}

// Every live client behind one interface, whatever protocol it speaks: to count, list, block and close them.

import type { Reason } from '../base/errors.ts';

/** A live client connection as the node sees it. */
export interface ClientConnection {
  /** `peerhost:peerport -> host:port` (RabbitMQ). */
  readonly name: string;
  readonly username: string;
  readonly vhostName: string;
  /** It is publishing, or about to: stop reading from it while an alarm or the store's pressure is on. */
  setBlocked(reason: string | null): void;
  /** The store has too much in hand: stop reading if it publishes. */
  setPressure(on: boolean): void;
  /** Ends the connection with a reason the client is told. */
  close(reason: Reason, explanation: string): void;
  /** Ends the connection without a word. */
  destroy(): void;
  /** Fulfilled when the connection is gone. */
  readonly gone: Promise<void>;
}

/** The connections of one broker, open ones and those still shaking hands. */
export class Connections {
  private readonly members = new Set<ClientConnection>();

  get size(): number {
    return this.members.size;
  }

  add(connection: ClientConnection): void {
    this.members.add(connection);
  }

  remove(connection: ClientConnection): void {
    this.members.delete(connection);
  }

  [Symbol.iterator](): IterableIterator<ClientConnection> {
    return this.members.values();
  }
}

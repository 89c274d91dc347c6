// What the AMQP door is told from outside: limits, times and how the broker presents itself.

import type { FieldTable } from '../protocol/field-table.ts';

/** Settings of the AMQP door. Infinity where there is no limit. */
export interface AmqpOptions {
  /** Largest frame proposed, in bytes. */
  readonly frameMax: number;
  /** Channels proposed per connection. */
  readonly channelMax: number;
  /** Heartbeat proposed, in seconds; 0 for none. */
  readonly heartbeatSeconds: number;
  readonly handshakeTimeoutMs: number;
  readonly authFailureDelayMs: number;
  readonly closeTimeoutMs: number;
  /** Largest message body, in bytes. */
  readonly messageSizeMax: number;
  readonly consumersMaxPerChannel: number;
  /** Bytes that may wait for one client before deliveries to it pause. */
  readonly outgoingBytesMax: number;
  /** Bytes taken from one client in one turn. */
  readonly turnReadBytes: number;
  /** Refuse what RabbitMQ 4.3 refuses and earlier ones did not. */
  readonly strict: boolean;
  /** User of the mechanism ANONYMOUS; null does not offer it. */
  readonly anonymousUser: string | null;
  /** What connection.start tells of the server. */
  readonly serverProperties: FieldTable;
}

/** Smallest frame_max that AMQP allows; old clients propose it (RabbitMQ 4.1+ asks for 8192). */
export const FRAME_MIN = 4096;
/** Smallest frame_max of RabbitMQ 4.1+, demanded in strict mode. */
export const STRICT_FRAME_MIN = 8192;
/** Frames before tune-ok may be this large, for long tokens in start-ok (RabbitMQ 4.1+). */
export const HANDSHAKE_FRAME_MAX = 8192;

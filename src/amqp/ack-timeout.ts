// Deliveries that nobody acknowledges for too long: their channel is closed and the messages go back (RabbitMQ: consumer_timeout).
// Costs nothing per delivery: now and then each channel notes which delivery tag is next, so that the age of its oldest delivery is
// known to within one such interval.

import type { Ticker } from '../base/clock.ts';
import type { BrokerNode } from '../node/node.ts';
import { PRECONDITION_FAILED } from '../protocol/constants.ts';
import { AmqpError } from './errors.ts';

/** How often deliveries are looked at, in milliseconds (RabbitMQ: about once a minute), or the timeout itself if that is shorter. */
const CHECK_MS = 60_000;

/** Which tags had been given out when. */
interface Sample {
  readonly atMs: number;
  readonly nextTag: number;
}

/** What an `AckTimeout` needs of a channel. */
export interface WatchedChannel {
  readonly number: number;
  /** Lowest delivery tag that is not settled; 0 when there is none. */
  readonly oldestUnacked: number;
  readonly nextDeliveryTag: number;
  closeWith(error: AmqpError): void;
}

/** A connection, as far as its deliveries go. */
export interface WatchedConnection {
  openChannels(): Iterable<WatchedChannel>;
}

/** Watches the deliveries of one broker. */
export class AckTimeout {
  private readonly node: BrokerNode;
  private readonly timeoutMs: number;
  private readonly samples = new WeakMap<WatchedChannel, Sample[]>();
  private readonly connections = new Set<WatchedConnection>();
  private ticker: Ticker | null = null;

  /** @param timeoutMs age at which a delivery is too old; Infinity for never */
  constructor(node: BrokerNode, timeoutMs: number) {
    this.node = node;
    this.timeoutMs = timeoutMs;
  }

  start(): void {
    if (this.timeoutMs === Number.POSITIVE_INFINITY) return;
    this.ticker = this.node.clock.every(Math.min(CHECK_MS, this.timeoutMs), () => this.look());
  }

  stop(): void {
    this.ticker?.stop();
    this.ticker = null;
  }

  watch(connection: WatchedConnection): void {
    this.connections.add(connection);
  }

  forget(connection: WatchedConnection): void {
    this.connections.delete(connection);
  }

  private look(): void {
    const nowMs = this.node.clock.now();
    for (const connection of this.connections) {
      for (const channel of [...connection.openChannels()]) this.lookAt(channel, nowMs);
    }
  }

  private lookAt(channel: WatchedChannel, nowMs: number): void {
    const oldest = channel.oldestUnacked;
    if (oldest === 0) {
      this.samples.delete(channel);
      return;
    }
    const samples = this.samples.get(channel) ?? [];
    // Of the samples that are old enough only the newest says anything; one more than fit into the timeout are ever kept.
    while (samples.length > 1 && nowMs - samples[1]!.atMs >= this.timeoutMs) samples.shift();
    const first = samples[0];
    if (first !== undefined && nowMs - first.atMs >= this.timeoutMs && oldest < first.nextTag) {
      this.samples.delete(channel);
      channel.closeWith(
        new AmqpError(
          PRECONDITION_FAILED,
          `delivery acknowledgement on channel ${channel.number} timed out. Timeout value used: ${this.timeoutMs} ms. ` +
            'This timeout value can be configured, see consumers doc guide to learn more',
          0,
        ),
      );
      return;
    }
    samples.push({ atMs: nowMs, nextTag: channel.nextDeliveryTag });
    this.samples.set(channel, samples);
  }
}

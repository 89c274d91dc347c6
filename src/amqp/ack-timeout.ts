// Deliveries that nobody acknowledges for too long: their channel is closed and the messages go back (RabbitMQ: consumer_timeout).
// Costs nothing per delivery: now and then each channel notes which delivery tag is next, so that the age of its oldest delivery is
// known to within one such interval. Only channels with consumers or queues that have a timeout of their own (x-consumer-timeout) are
// looked through delivery by delivery.

import type { Ticker } from '../base/clock.ts';
import type { BrokerNode } from '../node/node.ts';
import { PRECONDITION_FAILED } from '../protocol/constants.ts';
import { AmqpError } from './errors.ts';

/** How often deliveries are looked at, in milliseconds (RabbitMQ: about once a minute), or the timeout itself if that is shorter. */
const CHECK_MS = 60_000;
/** How often at most, however short a timeout of its own some queue has. */
const CHECK_MIN_MS = 1_000;

/** Notes that a channel keeps for one timeout, about. */
const SAMPLES_MAX = 64;

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
  /** Some of its deliveries may have another timeout than the broker's. */
  readonly hasOwnTimeouts: boolean;
  /** Timeout of one unacked delivery, in milliseconds: null for the broker's. Undefined for a tag that is settled. */
  ackTimeoutOf(tag: number): number | null | undefined;
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
  /** What channels noted, by the timeout that it is for. */
  private readonly samples = new WeakMap<WatchedChannel, Map<number, Sample[]>>();
  private readonly connections = new Set<WatchedConnection>();
  private ticker: Ticker | null = null;
  private periodMs = 0;

  /** @param timeoutMs age at which a delivery is too old; Infinity for never */
  constructor(node: BrokerNode, timeoutMs: number) {
    this.node = node;
    this.timeoutMs = timeoutMs;
  }

  start(): void {
    this.every(Math.min(CHECK_MS, this.timeoutMs));
  }

  stop(): void {
    this.ticker?.stop();
    this.ticker = null;
  }

  private every(periodMs: number): void {
    if (periodMs === this.periodMs && this.ticker !== null) return;
    this.ticker?.stop();
    this.periodMs = periodMs;
    this.ticker = this.node.clock.every(periodMs, () => this.look());
  }

  watch(connection: WatchedConnection): void {
    this.connections.add(connection);
  }

  forget(connection: WatchedConnection): void {
    this.connections.delete(connection);
  }

  private look(): void {
    const nowMs = this.node.clock.now();
    let shortest = Math.min(CHECK_MS, this.timeoutMs);
    for (const connection of this.connections) {
      for (const channel of [...connection.openChannels()])
        shortest = Math.min(shortest, this.lookAt(channel, nowMs));
    }
    this.every(Math.max(shortest, Math.min(CHECK_MIN_MS, this.timeoutMs)));
  }

  /** @returns the shortest timeout of its deliveries */
  private lookAt(channel: WatchedChannel, nowMs: number): number {
    const { timeoutMs } = this;
    const oldest = channel.oldestUnacked;
    if (oldest === 0) {
      this.samples.delete(channel);
      return timeoutMs;
    }
    const notes = this.samples.get(channel) ?? new Map<number, Sample[]>();
    this.samples.set(channel, notes);
    if (!channel.hasOwnTimeouts) {
      if (oldest < oldBelow(notes, timeoutMs, nowMs)) this.close(channel, timeoutMs);
      else note(notes, timeoutMs, nowMs, channel.nextDeliveryTag);
      return timeoutMs;
    }
    const seen = new Set<number>();
    for (let tag = oldest; tag < channel.nextDeliveryTag; tag++) {
      const own = channel.ackTimeoutOf(tag);
      if (own === undefined) continue;
      const limit = own ?? timeoutMs;
      if (tag < oldBelow(notes, limit, nowMs)) {
        this.close(channel, limit);
        return limit;
      }
      seen.add(limit);
    }
    for (const each of notes.keys()) if (!seen.has(each)) notes.delete(each);
    for (const each of seen) note(notes, each, nowMs, channel.nextDeliveryTag);
    return Math.min(...seen);
  }

  private close(channel: WatchedChannel, timeoutMs: number): void {
    this.samples.delete(channel);
    channel.closeWith(
      new AmqpError(
        PRECONDITION_FAILED,
        `delivery acknowledgement on channel ${channel.number} timed out. Timeout value used: ${timeoutMs} ms. ` +
          'This timeout value can be configured, see consumers doc guide to learn more',
        0,
      ),
    );
  }
}

/** Deliveries with lower tags than this are older than the timeout. */
function oldBelow(notes: ReadonlyMap<number, Sample[]>, timeoutMs: number, nowMs: number): number {
  const first = notes.get(timeoutMs)?.[0];
  return first !== undefined && nowMs - first.atMs >= timeoutMs ? first.nextTag : 0;
}

function note(notes: Map<number, Sample[]>, timeoutMs: number, nowMs: number, nextTag: number): void {
  if (timeoutMs === Number.POSITIVE_INFINITY) return;
  let samples = notes.get(timeoutMs);
  if (samples === undefined) {
    samples = [];
    notes.set(timeoutMs, samples);
  }
  // Short timeouts elsewhere make more looks than a long one needs.
  const last = samples[samples.length - 1];
  if (last !== undefined && nowMs - last.atMs < timeoutMs / SAMPLES_MAX) return;
  samples.push({ atMs: nowMs, nextTag });
  // Of the samples that are old enough only the newest says anything.
  while (samples.length > 1 && nowMs - samples[1]!.atMs >= timeoutMs) samples.shift();
}

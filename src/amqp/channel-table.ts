// The channels of one connection by their numbers, and what they share: how many there may be, the lines on which their replies wait,
// and whose confirms are to be told at the next flush.
// Invariants: a line outlives its channel while replies wait on it, and goes on when the number is opened anew; after `end` the table
// is empty and the broker's count of channels has been given back.

import type { BrokerNode } from '../node/node.ts';
import { NOT_ALLOWED } from '../protocol/constants.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';
import { encodeChannelOpenOk } from '../protocol/methods.ts';
import { Channel } from './channel.ts';
import type { Connection } from './connection.ts';
import { AmqpError } from './errors.ts';
import { REPLIES_WAITING_MAX, type ReplyHost, ReplyLine } from './replies.ts';

/** Channels by number. */
export class ChannelTable implements ReplyHost {
  readonly node: BrokerNode;
  readonly writer: FrameWriter;
  private readonly connection: Connection;
  private readonly channels = new Map<number, Channel>();
  /** Lines whose channel is gone while replies still wait on them; null as long as there never was one. */
  private orphans: Map<number, ReplyLine> | null = null;
  /** Replies that wait on all lines. */
  private waiting = 0;
  /** Channels with something to confirm. */
  private readonly confirming: Channel[] = [];
  /** The channel asked for last: most often the next frame is for it too. */
  private last: Channel | null = null;

  constructor(connection: Connection) {
    this.connection = connection;
    this.node = connection.node;
    this.writer = connection.writer;
  }

  [Symbol.iterator](): IterableIterator<Channel> {
    return this.channels.values();
  }

  /** The channel of that number; null when it is not open. */
  find(number: number): Channel | null {
    const { last } = this;
    if (last !== null && last.number === number) return last;
    const channel = this.channels.get(number) ?? null;
    this.last = channel;
    return channel;
  }

  /** channel.open of a number that is free. @throws AmqpError not-allowed when there are too many */
  open(number: number): void {
    const { connection, node } = this;
    this.assertRoom();
    // Replies to those who had the number before may still wait: the line goes on.
    const line = this.orphans?.get(number) ?? new ReplyLine(this, number);
    this.orphans?.delete(number);
    this.channels.set(number, new Channel(connection, number, line));
    node.limits.channelOpened(connection.username);
    line.reply(0, (w) => encodeChannelOpenOk(w, number), null);
  }

  /** The number is free. */
  remove(channel: Channel): void {
    const { number } = channel;
    if (this.channels.get(number) !== channel) return;
    this.channels.delete(number);
    this.node.limits.channelClosed(this.connection.username);
    if (this.last === channel) this.last = null;
    if (channel.line.isEmpty) return;
    this.orphans ??= new Map();
    this.orphans.set(number, channel.line);
  }

  /** The connection ends: every channel gives back what it holds, nobody is answered or confirmed any more. */
  end(): void {
    this.confirming.length = 0;
    for (const channel of [...this.channels.values()]) {
      try {
        channel.terminate();
      } catch (error) {
        this.connection.logError('an error while a channel was ended', error);
      }
      this.remove(channel);
    }
    if (this.orphans === null) return;
    for (const line of this.orphans.values()) line.clear();
    this.orphans.clear();
  }

  /** The socket takes more: who was held back for it may try again. */
  resumeConsumers(): void {
    for (const channel of this.channels.values()) channel.resumeConsumers();
  }

  // ── confirms ──

  /** A channel has confirms to tell at the next flush. */
  confirmLater(channel: Channel): void {
    channel.confirmsQueued = true;
    this.confirming.push(channel);
    this.wantsFlush();
  }

  writeConfirms(): void {
    const { confirming, writer } = this;
    if (confirming.length === 0) return;
    const before = writer.pendingBytes;
    for (let i = 0; i < confirming.length; i++) confirming[i]!.writeConfirms(writer);
    confirming.length = 0;
    this.answered(writer.pendingBytes - before);
  }

  // ── what lines of replies ask for ──

  wantsFlush(): void {
    this.connection.wantsFlush();
  }

  answered(bytes: number): void {
    this.connection.output.answered(bytes);
  }

  repliesWaiting(change: number): void {
    this.waiting += change;
    const { gate } = this.connection;
    if (this.waiting >= REPLIES_WAITING_MAX) gate.pause('replies');
    else if (this.waiting <= REPLIES_WAITING_MAX / 2) gate.resume('replies');
  }

  lineEmpty(line: ReplyLine): void {
    if (this.orphans?.get(line.number) === line) this.orphans.delete(line.number);
  }

  failed(error: unknown): void {
    this.connection.failed(error);
  }

  /** RabbitMQ: channels are counted, whatever their numbers, and no method is blamed. */
  private assertRoom(): void {
    const open = this.channels.size;
    const { channelMax } = this.connection;
    if (open >= channelMax) {
      throw new AmqpError(
        NOT_ALLOWED,
        `number of channels opened (${open}) has reached the negotiated channel_max (${channelMax})`,
        0,
      );
    }
    const refusal = this.node.limits.channelRefusal(this.connection.username);
    if (refusal !== null) throw new AmqpError(NOT_ALLOWED, refusal, 0);
  }
}

// Replies of one channel number, in the order of its requests, when some of them have to wait: for the disk (a durable declare is
// answered after its commit) or for a message that has to be fetched from the store (basic.get of a deep queue).
// Owns the replies that wait. While nothing waits a reply is written at once and nothing is kept.
//
// A line may outlive its channel: a close-ok waits behind the replies before it, and a client that opens the number anew without waiting
// for it gets its open-ok behind them. RabbitMQ answers requests of one number in their order, whatever they are.

import type { BrokerNode } from '../node/node.ts';
import type { FrameWriter } from '../protocol/frame-writer.ts';
import type { CommitWaiter } from '../store/commits.ts';
import type { Ticket } from '../store/store.ts';

/** Replies that may wait on all channels of a connection before reading from it pauses; it goes on at half of it. */
export const REPLIES_WAITING_MAX = 1024;

/** Writes a reply. */
export type Encode = (w: FrameWriter) => void;

/** The connection, as far as its replies go. */
export interface ReplyHost {
  readonly node: BrokerNode;
  readonly writer: FrameWriter;
  wantsFlush(): void;
  /** So many bytes of answers were written outside of reading. */
  answered(bytes: number): void;
  /** So many replies more (or, below 0, fewer) wait on a line. */
  repliesWaiting(change: number): void;
  /** A line ran empty. */
  lineEmpty(line: ReplyLine): void;
  /** An error of ours: the connection cannot go on. */
  failed(error: unknown): void;
}

/** A place in the order of replies. */
class Waiting {
  /** Batch it waits for; 0 for none. */
  readonly ticket: Ticket;
  /** Writes it; null while it is not known. */
  encode: Encode | null;
  /** Called when it was written; null when nobody asks. */
  readonly sent: (() => void) | null;
  /** Called when it is not known and nothing is before it any more; null when nobody asks, or it was called. */
  atFront: (() => void) | null;

  constructor(
    ticket: Ticket,
    encode: Encode | null,
    sent: (() => void) | null,
    atFront: (() => void) | null,
  ) {
    this.ticket = ticket;
    this.encode = encode;
    this.sent = sent;
    this.atFront = atFront;
  }
}

/** A place in the order of replies that is filled later. */
export interface Slot {
  fill(encode: Encode): void;
  /** There will be no reply: those behind it may go. */
  drop(): void;
}

const NOTHING: Encode = () => {};

/** The replies of one channel number. */
export class ReplyLine implements CommitWaiter {
  readonly number: number;
  awaitingCommit = false;
  private readonly host: ReplyHost;
  private readonly line: Waiting[] = [];
  private releasing = false;

  constructor(host: ReplyHost, number: number) {
    this.host = host;
    this.number = number;
  }

  get isEmpty(): boolean {
    return this.line.length === 0;
  }

  /** Writes a reply when the batch of `ticket` is on disk (0: now) and all replies before it are out. `sent` is called then. */
  reply(ticket: Ticket, encode: Encode, sent: (() => void) | null): void {
    const { host } = this;
    if (this.line.length === 0 && ticket <= host.node.shard.durableTicket) {
      encode(host.writer);
      host.wantsFlush();
      sent?.();
      return;
    }
    this.push(new Waiting(ticket, encode, sent, null));
    host.node.commits.await(this);
  }

  /** Keeps the place of a reply that is not known yet. `atFront` is called when everything before it is out, unless it is already. */
  reserve(atFront: () => void): Slot {
    const waiting = new Waiting(0, null, null, this.line.length === 0 ? null : atFront);
    this.push(waiting);
    const fill = (encode: Encode): void => {
      waiting.encode = encode;
      this.release(this.host.node.shard.durableTicket);
    };
    return { fill, drop: () => fill(NOTHING) };
  }

  committed(upTo: Ticket): boolean {
    // What it throws would keep the others who wait for this commit from hearing of it.
    try {
      this.release(upTo);
    } catch (error) {
      this.host.failed(error);
    }
    return this.line.length !== 0;
  }

  /** The connection is gone: nobody is answered any more. */
  clear(): void {
    const count = this.line.length;
    this.line.length = 0;
    if (count !== 0) this.host.repliesWaiting(-count);
  }

  private push(waiting: Waiting): void {
    this.line.push(waiting);
    this.host.repliesWaiting(1);
  }

  /** Writes what may go, in order. */
  private release(durable: Ticket): void {
    const { line, host } = this;
    // A slot that is filled from in here is seen by the loop that is running.
    if (line.length === 0 || this.releasing) return;
    const { writer } = host;
    const before = writer.pendingBytes;
    this.releasing = true;
    try {
      for (let first = line[0]; first !== undefined; first = line[0]) {
        if (first.encode === null && !this.isKnown(first)) break;
        if (first.ticket > durable) break;
        line.shift();
        host.repliesWaiting(-1);
        first.encode!(writer);
        first.sent?.();
      }
    } finally {
      this.releasing = false;
    }
    host.answered(writer.pendingBytes - before);
    host.wantsFlush();
    if (line.length === 0) host.lineEmpty(this);
  }

  /** Tells the first of the line that it is the first, once; it may know its reply then. */
  private isKnown(first: Waiting): boolean {
    const { atFront } = first;
    first.atFront = null;
    atFront?.();
    return first.encode !== null;
  }
}

// Writes ready-made publishes as fast as a limit allows, or at a fixed rate.
// Owns the place in the batch and the back-pressure of the socket; encodes nothing while it runs.

import { monotonicMs } from './clock.ts';
import type { Link } from './link.ts';
import type { Batch, Publish } from './wire.ts';

/** Publishes the messages of a batch over and over. */
export class Producer {
  /** Messages written. */
  published = 0;
  private readonly link: Link;
  private readonly batch: Batch;
  /** How many more messages may be written now. */
  private readonly room: () => number;
  /** Writes smaller than this wait for more room, so that a limit does not turn into many tiny writes. */
  private readonly least: number;
  private cursor = 0;
  private running = false;
  /** True between a write that filled the socket and its drain. */
  private full = false;

  constructor(link: Link, batch: Batch, room: () => number, least = 1) {
    this.link = link;
    this.batch = batch;
    this.room = room;
    this.least = Math.min(least, batch.count);
    // The next write waits for the next turn of the event loop, or the generator would never read.
    link.socket.on('drain', () => {
      setImmediate(() => {
        this.full = false;
        this.pump();
      });
    });
  }

  start(): void {
    this.running = true;
    this.pump();
  }

  stop(): void {
    this.running = false;
  }

  /** Writes as much as limit and socket allow. Called again whenever the limit may have moved. */
  pump(): void {
    while (this.running && !this.full) {
      const room = this.room();
      if (room < this.least) return;
      const until = Math.min(this.batch.count, this.cursor + room);
      this.full = !this.link.socket.write(this.batch.slice(this.cursor, until));
      const count = until - this.cursor;
      this.published += count;
      if (this.link.confirms !== null) this.link.confirms.published(count, performance.now());
      this.cursor = until === this.batch.count ? 0 : until;
    }
  }
}

/** Publishes at a fixed rate; the first eight body bytes say when the message was written (`monotonicMs`, a double). */
export class PacedProducer {
  published = 0;
  /** Longest time between two ticks of the generator's own timer, in ms: what the generator itself adds to the worst latency. */
  worstTick = 0;
  private readonly link: Link;
  private readonly message: Buffer;
  private readonly bodyAt: number;
  private readonly perMs: number;
  private timer: NodeJS.Timeout | null = null;
  private startedAt = 0;
  private tickAt = 0;

  constructor(link: Link, publish: Publish, perSecond: number) {
    this.link = link;
    this.message = link.encode(publish);
    this.bodyAt = this.message.length - 1 - publish.body.length;
    this.perMs = perSecond / 1000;
  }

  start(): void {
    this.startedAt = monotonicMs();
    this.tickAt = this.startedAt;
    this.timer = setInterval(() => this.tick(), 1);
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  private tick(): void {
    const now = monotonicMs();
    if (now - this.tickAt > this.worstTick) this.worstTick = now - this.tickAt;
    this.tickAt = now;
    const due = Math.floor((now - this.startedAt) * this.perMs) - this.published;
    if (due <= 0) return;
    const length = this.message.length;
    const bytes = Buffer.allocUnsafe(due * length);
    for (let i = 0; i < due; i++) {
      this.message.copy(bytes, i * length);
      bytes.writeDoubleBE(now, i * length + this.bodyAt);
    }
    this.link.socket.write(bytes);
    this.published += due;
  }
}

// Dead letters that nobody took yet (x-dead-letter-strategy at-least-once): entries of one line that died, and stay in the store until
// their dead letter reaches every queue it has to go to.
// Owns their order and when they are tried again. What taking means, and what a message is, its host knows.
//
// They are tried in rounds: from the front on, in runs of neighbours as the store reads them. One that is not taken goes to the back. A
// round ends when FAILURES_PER_ROUND in a row were not taken; the next one begins ROUND_EVERY_MS later and goes on where it stopped. So
// a missing exchange costs little however many wait for it, and what can go soon goes soon.
// Invariant: an entry is given up only when the host says that its dead letter was taken, in the same synchronous run.

import { Deque } from '../base/deque.ts';
import { Timer } from '../base/timer-wheel.ts';
import { type QueueNo, type Shard, type StoredEntry, StoreError } from '../store/store.ts';
import type { QueueContext } from './queue-context.ts';

/** How long a round waits for the next, in milliseconds. RabbitMQ waits for three minutes. */
export const ROUND_EVERY_MS = 1_000;
/** Entries in a row that are not taken before a round ends. */
export const FAILURES_PER_ROUND = 500;
/** Bytes that one read asks the store for. */
const READ_BYTES = 256 * 1024;

/** The line they died in. */
export interface KeptDeadHost {
  /** For log lines. */
  readonly name: string;
  /** Hands the dead letter on and removes the entry from the store. @returns false when nobody takes it now */
  handOn(stored: StoredEntry): boolean;
}

/** Dead entries of one line. */
export class KeptDead {
  private readonly context: QueueContext;
  private readonly shard: Pick<Shard, 'read'>;
  private readonly number: QueueNo;
  private readonly host: KeptDeadHost;
  private readonly positions = new Deque<number>();
  private readonly lengths = new Deque<number>();
  private bytes = 0;
  /** Entries of this round that were not taken, one after the other. */
  private failures = 0;
  private reading = false;
  /** Grows when everything is forgotten, so that a read under way is ignored. */
  private epoch = 0;
  private readonly timer = new Timer(() => this.begin());

  constructor(context: QueueContext, shard: Pick<Shard, 'read'>, number: QueueNo, host: KeptDeadHost) {
    this.context = context;
    this.shard = shard;
    this.number = number;
    this.host = host;
  }

  get count(): number {
    return this.positions.length;
  }

  /** Their body bytes. */
  get bodyBytes(): number {
    return this.bytes;
  }

  /** One more, in the store at `position`. */
  add(position: number, bodyLength: number): void {
    this.restore(position, bodyLength);
    this.rest();
  }

  /** As `add` while a store is recovered: nothing happens before `resume`. */
  restore(position: number, bodyLength: number): void {
    this.positions.push(position);
    this.lengths.push(bodyLength);
    this.bytes += bodyLength;
  }

  /** Recovery has ended, or there is reason to hope: a round begins now. */
  resume(): void {
    if (this.count !== 0) this.begin();
  }

  /** Forgets all. */
  clear(): void {
    this.epoch++;
    this.reading = false;
    this.positions.clear();
    this.lengths.clear();
    this.bytes = 0;
    this.context.wheel.clear(this.timer);
  }

  private begin(): void {
    this.failures = 0;
    this.read();
  }

  /** Until the next round. */
  private rest(): void {
    if (!this.reading && !this.timer.isSet) this.context.wheel.set(this.timer, ROUND_EVERY_MS);
  }

  private read(): void {
    const front = this.positions.peekFront();
    if (this.reading || front === null) return;
    const { epoch } = this;
    this.reading = true;
    this.shard.read(this.number, front, READ_BYTES, (error, run) => {
      if (epoch !== this.epoch) return;
      this.reading = false;
      if (error !== null) this.failed(error);
      else this.go(run);
    });
  }

  /** Tries those at the front that the run has. */
  private go(run: readonly StoredEntry[]): void {
    const { epoch, positions } = this;
    const behind = run.length === 0 ? Number.POSITIVE_INFINITY : run[0]!.position;
    if (positions.peekFront()! < behind) this.absent();
    for (let i = 0; i < run.length; i++) {
      const stored = run[i]!;
      if (positions.peekFront() !== stored.position) continue;
      const bodyLength = this.shift();
      const taken = this.host.handOn(stored);
      if (epoch !== this.epoch) return;
      if (taken) this.failures = 0;
      else {
        this.restore(stored.position, bodyLength);
        if (++this.failures >= Math.min(FAILURES_PER_ROUND, this.count)) return this.rest();
      }
    }
    this.read();
  }

  /** The one at the front is not in the store. */
  private absent(): void {
    const position = this.positions.peekFront()!;
    this.shift();
    const queue = this.host.name;
    this.context.log.error('a dead letter that was kept is not in the store', { queue, position });
  }

  /** The one at the front leaves. @returns its body length */
  private shift(): number {
    this.positions.shift();
    const bodyLength = this.lengths.shift()!;
    this.bytes -= bodyLength;
    return bodyLength;
  }

  private failed(error: Error): void {
    if (error instanceof StoreError && error.kind === 'closed') return;
    this.context.log.error('dead letters that were kept cannot be read and wait; reading is tried again', {
      queue: this.host.name,
      messages: this.count,
      error: error.message,
    });
    this.rest();
  }
}

// Keys of deduplication in the store: one entry each under a number of their own.
// Owns their positions and their stored form. What is remembered, and for how long, its memory says (known-keys.ts).

import type { QueueNo, StoredEntry } from '../store/store.ts';
import type { KeyLog, KnownKeys } from './known-keys.ts';
import type { QueueContext } from './queue-context.ts';

const NO_HEAD = Buffer.alloc(0);

/** The keys of one exchange. */
export class StoredKeys implements KeyLog {
  readonly number: QueueNo;
  /** Where they are read to. Set once, right after construction. */
  keys: KnownKeys | null = null;
  private readonly context: QueueContext;
  private readonly durable: boolean;
  private nextPosition = 1;

  /** @param durable they survive a restart */
  constructor(number: QueueNo, durable: boolean, context: QueueContext) {
    this.number = number;
    this.durable = durable;
    this.context = context;
  }

  write(key: string, expiresAt: number): number {
    const { shard, turn } = this.context;
    const bytes = Buffer.from(key);
    const position = this.nextPosition++;
    const options = { expiresAt, transient: !this.durable };
    shard.enqueue(this.number, position, NO_HEAD, bytes, 0, bytes.length, options);
    turn.request();
    return position;
  }

  remove(position: number): void {
    this.context.shard.remove(this.number, position);
    this.context.turn.request();
  }

  /** The exchange is gone. */
  drop(): void {
    this.context.shard.dropQueue(this.number);
    this.context.turn.request();
  }

  restoreFacts(_number: QueueNo, nextPosition: number): void {
    this.nextPosition = Math.max(this.nextPosition, nextPosition);
  }

  restore(_number: QueueNo, run: readonly StoredEntry[]): void {
    for (let i = 0; i < run.length; i++) {
      const { position, expiresAt, buffer, start, end } = run[i]!;
      this.keys!.restore(buffer.toString('utf8', start, end), expiresAt, position);
      if (position >= this.nextPosition) this.nextPosition = position + 1;
    }
  }
}

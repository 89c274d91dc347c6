// Looking into a stream: whatever is committed and not dropped yet, straight from the store. No message can be taken out of a stream.

import { BrokerError } from '../base/errors.ts';
import { AddressReader } from '../message/address.ts';
import { messageInPlace } from '../message/message.ts';
import type { QueueNo, Shard, StoredEntry } from '../store/store.ts';
import {
  type Found,
  type MessageId,
  type QueueContents,
  WALK_BYTES_MAX,
  WALK_MESSAGES_MAX,
  WALK_READ_BYTES,
  type WalkEnd,
  type WalkRequest,
} from './peek.ts';

/** The stream, as far as its contents need it. */
export interface StreamContentsHost {
  readonly name: string;
  readonly number: QueueNo;
  /** Position of the oldest message. */
  readonly firstPosition: number;
  /** Position behind the last committed message. */
  readonly committedEnd: number;
  readonly deleted: boolean;
}

/** The messages of one stream. */
export class StreamContents implements QueueContents {
  readonly parkedCount = 0;
  private readonly stream: StreamContentsHost;
  private readonly shard: Shard;
  private readonly addresses = new AddressReader();

  constructor(stream: StreamContentsHost, shard: Shard) {
    this.stream = stream;
    this.shard = shard;
  }

  walk(
    request: WalkRequest,
    visit: (found: Found) => boolean,
    done: (error: Error | null, end: WalkEnd) => void,
  ): void {
    const { stream, shard } = this;
    const { number } = stream;
    const bound = request.bounds === null ? Number.POSITIVE_INFINITY : (request.bounds.get(number) ?? 0);
    const isWanted =
      request.states.has('ready') && (request.after === null || request.after.number === number);
    let last = request.after;
    let looked = 0;
    let bytes = 0;
    const read = (from: number): void => {
      const end = Math.min(bound, stream.committedEnd);
      const start = Math.max(from, stream.firstPosition);
      if (!isWanted || stream.deleted || start >= end) return done(null, { next: null });
      shard.read(number, start, WALK_READ_BYTES, (error, run) => {
        if (error !== null) return done(error, { next: last });
        for (let i = 0; i < run.length; i++) {
          const stored = run[i]!;
          const { position } = stored;
          if (position >= end) return done(null, { next: null });
          // Dropped since it was asked for.
          if (position < stream.firstPosition) continue;
          last = { number, position };
          looked++;
          bytes += stored.end - stored.start;
          const goesOn = visit(this.found(stored));
          if (!goesOn || looked >= WALK_MESSAGES_MAX || bytes >= WALK_BYTES_MAX)
            return done(null, { next: last });
        }
        if (run.length === 0) return done(null, { next: null });
        read(run[run.length - 1]!.position + 1);
      });
    };
    read(request.after === null ? 0 : request.after.position + 1);
  }

  find(ids: readonly MessageId[], visit: (found: Found) => void, done: (error: Error | null) => void): void {
    const { stream, shard } = this;
    const read = (at: number): void => {
      if (at === ids.length || stream.deleted) return done(null);
      const { number, position } = ids[at]!;
      if (number !== stream.number || position < stream.firstPosition || position >= stream.committedEnd)
        return read(at + 1);
      shard.read(number, position, 1, (error, run) => {
        if (error !== null) return done(error);
        const [stored] = run;
        if (stored?.position === position) visit(this.found(stored));
        read(at + 1);
      });
    };
    read(0);
  }

  take(): null {
    throw new BrokerError(
      'precondition-failed',
      `no single message can be taken out of the stream '${this.stream.name}'`,
    );
  }

  bounds(): Map<QueueNo, number> {
    return new Map([[this.stream.number, this.stream.committedEnd]]);
  }

  private found(stored: StoredEntry): Found {
    const { position, buffer, start, end, expiresAt } = stored;
    return {
      number: this.stream.number,
      position,
      state: 'ready',
      place: 'store',
      message: messageInPlace(buffer, start, end, this.addresses.at),
      redelivered: false,
      expiresAt: 0,
      dueAt: 0,
      tries: 0,
      // Under this name the time of a stream's entry is stored.
      publishedAt: expiresAt,
    };
  }
}

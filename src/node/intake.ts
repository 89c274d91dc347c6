// What an exchange does with a message before it is routed: drop it as a duplicate, or hold it back. Most exchanges have no intake at all,
// and pay one field test.
// Owns its content in the store, under numbers of the exchange's definition. Knows no binding: what comes after is the route walk's. Which
// arguments ask for it: intake-arguments.ts.

import { deduplicationKey, rememberedFor } from '../message/deduplication.ts';
import { delayOf } from '../message/delay.ts';
import type { Message } from '../message/message.ts';
import { DelayLine, KeyedDelay } from '../queue/delay-line.ts';
import { DroppedDuplicate } from '../queue/dropped-duplicate.ts';
import { KnownKeys } from '../queue/known-keys.ts';
import type { QueueContext } from '../queue/queue-context.ts';
import { StoredKeys } from '../queue/stored-keys.ts';
import type { Destination } from '../routing/router.ts';
import type { StoredEntry } from '../store/store.ts';
import type { Exchange } from './exchange.ts';
import { type DeduplicationArguments, deduplicationOf, isDelaying } from './intake-arguments.ts';

/** What is recovered under one number of the store: a queue, or something of an exchange. */
export interface StoredContent {
  restoreFacts(number: number, nextPosition: number, deliveredUpTo: ReadonlyMap<number, number>): void;
  restore(number: number, run: readonly StoredEntry[]): void;
}

/** What an intake needs around it. */
export interface IntakeContext {
  readonly queues: QueueContext;
  /** A number for content in the store. */
  nextQueueNumber(): number;
}

/** The vhost, as far as an intake needs it. */
export interface IntakeHost {
  readonly name: string;
  /** Routes and publishes a message that was held back, at once. */
  release(exchange: Exchange, message: Message, keys: readonly string[]): void;
}

/** Lines of an exchange's definition: the messages that wait, and the keys of those that were seen. */
const DELAYS_LINE = 0;
const KEYS_LINE = 1;

/** What an exchange remembers of the messages it has had. */
export class Duplicates {
  /** The message that was remembered last; null when it was forgotten again. */
  latest: Message | null = null;
  /** Where the keys are on disk; null when they are in memory only. */
  readonly stored: StoredKeys | null;
  /** Messages that were dropped. */
  dropped = 0;
  private readonly keys: KnownKeys;
  private readonly header: string;
  private readonly ttlMs: number;

  constructor(wanted: DeduplicationArguments, stored: StoredKeys | null, context: QueueContext) {
    this.stored = stored;
    this.header = wanted.header;
    this.ttlMs = wanted.ttlMs;
    this.keys = new KnownKeys(wanted.sizeMax, context.clock, stored);
    if (stored !== null) stored.keys = this.keys;
  }

  /** Remembers the message. @returns true when one like it was remembered */
  has(message: Message): boolean {
    const key = deduplicationKey(message, this.header);
    if (key === null) return false;
    if (this.keys.add(key, rememberedFor(message) ?? this.ttlMs)) {
      this.latest = message;
      return false;
    }
    this.dropped++;
    return true;
  }

  /** What is remembered, oldest first, some perhaps longer than it has to be; for tests and people. */
  known(): Iterable<{ readonly key: string; readonly expiresAt: number }> {
    return this.keys;
  }

  /** The message that was remembered last has found no place: its like may come. */
  forget(message: Message): void {
    if (this.latest !== message) return;
    this.latest = null;
    this.keys.delete(deduplicationKey(message, this.header)!);
  }
}

/** Before the routing of one exchange. */
export class Intake {
  /** Messages that wait for their time; null where none is held back. */
  readonly delays: DelayLine | null;
  /** Null where every message is routed as often as it comes. */
  readonly duplicates: Duplicates | null;
  /** Numbers of its content in the store, by line. */
  readonly lines = new Map<number, number>();
  private readonly dropped: DroppedDuplicate;

  constructor(delays: DelayLine | null, duplicates: Duplicates | null, context: QueueContext) {
    this.delays = delays;
    this.duplicates = duplicates;
    this.dropped = new DroppedDuplicate(context);
    if (delays !== null) this.lines.set(DELAYS_LINE, delays.number);
    if (duplicates !== null && duplicates.stored !== null)
      this.lines.set(KEYS_LINE, duplicates.stored.number);
  }

  /** Its content in the store, by number. */
  get contents(): [number, StoredContent][] {
    const contents: [number, StoredContent][] = [];
    if (this.delays !== null) contents.push([this.delays.number, this.delays]);
    const stored = this.duplicates?.stored ?? null;
    if (stored !== null) contents.push([stored.number, stored]);
    return contents;
  }

  /**
   * Takes a message that is not to be routed, or not now.
   * @param out where it goes instead
   * @returns false when it is to be routed
   */
  takes(message: Message, keys: readonly string[], out: Destination[]): boolean {
    const { delays, duplicates } = this;
    if (duplicates?.has(message)) {
      out.push(this.dropped);
      return true;
    }
    if (delays === null || delayOf(message) === 0) return false;
    out.push(keys.length === 1 ? delays : new KeyedDelay(delays, keys));
    return true;
  }

  /** Recovery has ended. */
  resume(): void {
    this.delays?.resume();
  }

  /** The exchange is gone. */
  delete(): void {
    this.delays?.delete();
    this.duplicates?.stored?.drop();
  }
}

/**
 * The intake of an exchange; null for most.
 * @param lines numbers of its content in the store; none for a new exchange
 * @throws BrokerError precondition-failed
 */
export function createIntake(
  exchange: Exchange,
  lines: ReadonlyMap<number, number>,
  vhost: IntakeHost,
  context: IntakeContext,
): Intake | null {
  const { name, type, durable, arguments: args } = exchange.declaration;
  // Most have no arguments; a type that needs some says so.
  if (args.size === 0 && !type.startsWith('x-')) return null;
  const delaying = isDelaying(exchange.declaration, vhost.name);
  const wanted = deduplicationOf(exchange.declaration, vhost.name);
  if (!delaying && wanted === null) return null;
  const { queues } = context;
  const numberOf = (line: number): number => lines.get(line) ?? context.nextQueueNumber();
  let delays: DelayLine | null = null;
  if (delaying) {
    delays = new DelayLine(name, durable, numberOf(DELAYS_LINE), queues, {
      release: (message, keys) => vhost.release(exchange, message, keys),
    });
  }
  let duplicates: Duplicates | null = null;
  if (wanted !== null) {
    const stored = wanted.onDisk ? new StoredKeys(numberOf(KEYS_LINE), durable, queues) : null;
    duplicates = new Duplicates(wanted, stored, queues);
  }
  return new Intake(delays, duplicates, queues);
}

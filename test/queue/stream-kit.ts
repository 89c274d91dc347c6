// What the tests of streams share: a stream on a store that can crash, a turn run by hand, a fake clock, consumers that remember offsets.

import { FakeClock } from '../../src/base/fake-clock.ts';
import type { LogFields, Logger } from '../../src/base/logger.ts';
import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { Turn } from '../../src/base/turn.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import type { Entry } from '../../src/message/entry.ts';
import { type FieldTable, tableOf } from '../../src/protocol/field-table.ts';
import { MemoryBudget } from '../../src/queue/memory-budget.ts';
import type { Consumer } from '../../src/queue/queue.ts';
import { MESSAGE_TICK_MS, type QueueContext, type QueueHost } from '../../src/queue/queue-context.ts';
import { NO_POLICY } from '../../src/queue/queue-options.ts';
import { StreamQueue } from '../../src/queue/stream-queue.ts';
import { Commits } from '../../src/store/commits.ts';
import type { QueueNo, Shard, Store } from '../../src/store/store.ts';
import { until } from '../store/harness.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { messageOf } from './kit.ts';

/** The stream's number in the store. */
export const STREAM = 1;

/** A consumer that takes up to `limit` unacked entries, and remembers offsets and bodies. */
export class Reader implements Consumer {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority = 0;
  readonly arguments: FieldTable;
  parked = false;
  limit: number;
  /** `offset body`, in the order of deliveries. */
  readonly received: string[] = [];
  /** Unsettled deliveries. */
  readonly held: Entry[] = [];
  isCancelled = false;
  /** Called with each delivery. */
  onDelivery: (() => void) | null = null;

  constructor(
    args: Record<string, unknown> = {},
    options: { tag?: string; limit?: number; exclusive?: boolean; noAck?: boolean } = {},
  ) {
    this.arguments = tableOf(args);
    this.tag = options.tag ?? 'c';
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.exclusive = options.exclusive ?? false;
    this.noAck = options.noAck ?? false;
  }

  hasCapacity(): boolean {
    return this.held.length < this.limit;
  }

  deliver(entry: Entry): void {
    const { message } = entry;
    this.received.push(`${message.headers()!.get('x-stream-offset')!.value} ${message.body()}`);
    if (entry.redelivered) throw new Error('a stream delivers nothing again');
    if (!this.noAck) this.held.push(entry);
    this.onDelivery?.();
  }

  settled(entry: Entry): void {
    this.held.splice(this.held.indexOf(entry), 1);
  }

  cancelled(): void {
    this.isCancelled = true;
  }

  /** Offsets in the order of deliveries. */
  get offsets(): number[] {
    return this.received.map((each) => Number(each.split(' ')[0]));
  }

  /** Settles its deliveries from the oldest on, as a channel does. */
  settle(how: 'ack' | 'requeue' | 'reject', count = this.held.length, from = 0): void {
    for (const entry of this.held.slice(from, from + count)) {
      entry.holder!.settled(entry);
      entry.owner[how](entry);
    }
  }
}

export interface StreamKitOptions {
  readonly store: Store & { crash?(): void };
  readonly queueMemory: number;
  readonly totalMemory: number;
  readonly deliveriesPerTurn: number;
  readonly clock: FakeClock;
}

/** A stream and what it needs. */
export class StreamKit {
  readonly clock: FakeClock;
  readonly errors: string[] = [];
  readonly args: Record<string, unknown>;
  private readonly options: StreamKitOptions;
  shard!: Shard;
  turn!: Turn;
  memory!: MemoryBudget;
  context!: QueueContext;
  stream!: StreamQueue;
  /** Further numbers of the stream, as its definition has them. */
  readonly lines = new Map<number, QueueNo>();
  private scheduled: (() => void) | null = null;
  private lost: Error | null = null;
  /** Reads of the store since it was opened last. */
  private reads = { underWay: 0 };

  private constructor(args: Record<string, unknown>, options: StreamKitOptions) {
    this.args = args;
    this.options = options;
    this.clock = options.clock;
  }

  static async open(
    args: Record<string, unknown> = {},
    given: Partial<StreamKitOptions> = {},
  ): Promise<StreamKit> {
    const kit = new StreamKit(args, {
      store: given.store ?? faultyStore(),
      queueMemory: 1e9,
      totalMemory: 1e9,
      deliveriesPerTurn: 1_000,
      clock: given.clock ?? new FakeClock(),
      ...given,
    });
    await kit.start();
    return kit;
  }

  private async start(): Promise<void> {
    const { options } = this;
    const commits = new Commits();
    this.shard = await options.store.open({
      durable: (upTo) => commits.durable(upTo),
      pressure: () => {},
      lost: (error) => {
        this.lost = error;
      },
    });
    const { shard, clock } = this;
    const reads = { underWay: 0 };
    this.reads = reads;
    const read = shard.read.bind(shard);
    shard.read = (queue, from, maxBytes, done) => {
      reads.underWay++;
      read(queue, from, maxBytes, (error, entries) => {
        reads.underWay--;
        done(error, entries);
      });
    };
    this.scheduled = null;
    // What a stream before a crash still hears must not come between.
    const turn: Turn = new Turn((run) => {
      if (turn === this.turn) this.scheduled = run;
    });
    this.turn = turn;
    this.turn.commit = () => shard.commit();
    this.turn.onError = (error) => {
      throw error;
    };
    this.memory = new MemoryBudget(options.queueMemory, options.totalMemory);
    const note = (text: string, fields?: LogFields): void => {
      this.errors.push(`${text} ${JSON.stringify(fields)}`);
    };
    const log: Logger = { debug: () => {}, info: () => {}, warn: note, error: note };
    this.context = {
      shard,
      turn: this.turn,
      clock,
      wheel: new TimerWheel(clock),
      messageWheel: new TimerWheel(clock, MESSAGE_TICK_MS),
      memory: this.memory,
      bodies: new BodyMemory(0),
      log,
      commits,
      deliveriesPerTurn: options.deliveriesPerTurn,
      shared: null,
      burying: false,
    };
    const host: QueueHost = {
      numberFor: (_queue, line) => {
        const number = STREAM + line;
        this.lines.set(line, number);
        return number;
      },
      expired: () => {},
      consumersGone: () => {},
      deadLetter: () => {
        throw new Error('a stream dead-letters nothing');
      },
    };
    const declaration = {
      name: 's',
      durable: true,
      exclusive: false,
      autoDelete: false,
      owner: null,
      arguments: tableOf({ 'x-queue-type': 'stream', ...this.args }),
    };
    const stream = new StreamQueue(declaration, STREAM, this.lines, NO_POLICY, this.context, host);
    this.stream = stream;
    await shard.recover({
      definition: () => {},
      queue: (number, facts) => {
        stream.restoreFacts(number, facts.nextPosition, facts.deliveredUpTo);
        return true;
      },
      entries: (number, run) => stream.restore(number, run),
    });
    stream.wake();
  }

  /** Publishes texts; their offsets count up from the stream's next one. */
  publish(...texts: string[]): void {
    for (const text of texts) this.stream.publish(messageOf(text));
  }

  /** Publishes `count` texts `m<offset>`, filled up to `bytes`. */
  fill(count: number, bytes = 0): void {
    for (let i = 0; i < count; i++) this.publish(`m${this.stream.nextOffset}`.padEnd(bytes, '.'));
  }

  /** Publishes texts and waits until they are committed. */
  async add(...texts: string[]): Promise<void> {
    this.publish(...texts);
    await this.settle();
  }

  consume(...given: ConstructorParameters<typeof Reader>): Reader {
    const reader = new Reader(...given);
    this.stream.consume(reader);
    return reader;
  }

  /** A reader that begins there, served until nothing moves. */
  async read(...given: ConstructorParameters<typeof Reader>): Promise<Reader> {
    const reader = this.consume(...given);
    await this.settle();
    return reader;
  }

  /** Settles deliveries and lets the reader go on. */
  ack(reader: Reader, count = reader.held.length, from = 0): void {
    reader.settle('ack', count, from);
    this.stream.unpark(reader);
  }

  run(): void {
    const { scheduled } = this;
    this.scheduled = null;
    if (scheduled === null) this.turn.run();
    else scheduled();
  }

  /** Turns until nothing moves: reads answered, commits on disk, readers served. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; ) {
      this.run();
      await until(() => this.reads.underWay === 0 || this.scheduled !== null);
      const ticket = this.shard.hasten();
      this.shard.commit();
      await until(() => this.shard.durableTicket >= ticket || this.lost !== null);
      if (this.lost !== null) throw this.lost;
      quiet = this.scheduled === null && this.reads.underWay === 0 ? quiet + 1 : 0;
    }
  }

  async until(condition: () => boolean): Promise<void> {
    await until(() => {
      this.run();
      return condition();
    });
  }

  /** A clean stop and a start. */
  async restart(): Promise<void> {
    this.stream.settleMark();
    await this.options.store.close();
    await this.start();
  }

  /** A power cut and a start: what was not committed is gone. */
  async crash(): Promise<void> {
    this.options.store.crash!();
    await this.start();
  }

  async close(): Promise<void> {
    await this.options.store.close();
  }
}

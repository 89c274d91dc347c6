// What the tests of the queue room share: a store in memory, a turn run by hand, a fake clock, consumers that remember.

import { FakeClock } from '../../src/base/fake-clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { Turn } from '../../src/base/turn.ts';
import { addressOf } from '../../src/message/address.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import type { DeathReason } from '../../src/message/death.ts';
import type { Entry } from '../../src/message/entry.ts';
import { buildMessage, type Message } from '../../src/message/message.ts';
import { type FieldTable, tableOf } from '../../src/protocol/field-table.ts';
import { type BasicProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';
import { ClassicQueue } from '../../src/queue/classic-queue.ts';
import type { QueueDeclaration } from '../../src/queue/declaration.ts';
import { MemoryBudget } from '../../src/queue/memory-budget.ts';
import type { Consumer, DeclaredQueue } from '../../src/queue/queue.ts';
import { MESSAGE_TICK_MS, type QueueContext, type QueueHost } from '../../src/queue/queue-context.ts';
import { NO_POLICY } from '../../src/queue/queue-options.ts';
import { Commits } from '../../src/store/commits.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import type { RecoverySink, Shard, ShardListener, Store } from '../../src/store/store.ts';
import { until } from '../store/harness.ts';

/** Nothing is stored yet. */
const EMPTY_SINK: RecoverySink = { definition: () => {}, queue: () => false, entries: () => {} };

/** A message with a text as its body. */
export function messageOf(text: string, properties: Partial<BasicProperties> = {}): Message {
  return buildMessage(addressOf('', 'q'), { ...NO_PROPERTIES, ...properties }, Buffer.from(text));
}

/** A message that asks for the disk. */
export function persistentOf(text: string, properties: Partial<BasicProperties> = {}): Message {
  return messageOf(text, { deliveryMode: 2, ...properties });
}

/** The body as text. */
export function textOf(entry: Entry | null): string | null {
  return entry === null ? null : entry.message.body().toString();
}

/** A consumer that takes up to `limit` unacked entries and remembers what it was given. */
export class TestConsumer implements Consumer {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  readonly arguments: FieldTable;
  parked = false;
  /** Unacked entries it may hold. */
  limit: number;
  /** Entries it holds unacked. */
  readonly held: Entry[] = [];
  /** Bodies in the order of their deliveries; redelivered ones with a star behind. */
  readonly received: string[] = [];
  isCancelled = false;
  /** Questions whether it can take more. */
  asked = 0;

  constructor(
    tag: string,
    options: {
      noAck?: boolean;
      exclusive?: boolean;
      priority?: number;
      limit?: number;
      args?: Record<string, unknown>;
    } = {},
  ) {
    this.tag = tag;
    this.noAck = options.noAck ?? false;
    this.exclusive = options.exclusive ?? false;
    this.priority = options.priority ?? 0;
    this.arguments = tableOf(options.args ?? {});
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
  }

  hasCapacity(): boolean {
    this.asked++;
    return this.held.length < this.limit;
  }

  deliver(entry: Entry): void {
    this.received.push(`${textOf(entry)}${entry.redelivered ? '*' : ''}`);
    if (!this.noAck) this.held.push(entry);
  }

  settled(entry: Entry): void {
    this.held.splice(this.held.indexOf(entry), 1);
  }

  cancelled(): void {
    this.isCancelled = true;
  }

  /** The oldest entry it holds with this body. */
  entry(text: string): Entry {
    const found = this.held.find((each) => textOf(each) === text);
    if (found === undefined) throw new Error(`${this.tag} does not hold '${text}'`);
    return found;
  }
}

/** Queues on one store, in one broker's time. */
export class QueueKit {
  readonly clock = new FakeClock();
  readonly turn: Turn;
  readonly wheel: TimerWheel;
  readonly messageWheel: TimerWheel;
  readonly memory: MemoryBudget;
  readonly commits = new Commits();
  readonly context: QueueContext;
  readonly store: Store;
  readonly shard: Shard;
  /** What queues had to say about dead messages: queue, reason, body. */
  readonly deaths: string[] = [];
  /** Called instead of noting a death; false when the queue has to keep it. */
  onDeath: ((queue: DeclaredQueue, message: Message, reason: DeathReason) => boolean | void) | null = null;
  /** Queues that expired. */
  readonly expired: string[] = [];
  /** Numbers that queues asked for: queue, line, number. */
  readonly lines: string[] = [];
  /** Queues whose last consumer left. */
  readonly abandoned: string[] = [];
  /** Turns that were asked for. */
  scheduled = 0;
  private scheduledRun: (() => void) | null = null;
  private numbers = 0;
  private readonly host: QueueHost = {
    numberFor: (queue, line) => {
      const number = ++this.numbers;
      this.lines.push(`${queue.name} ${line} ${number}`);
      return number;
    },
    expired: (queue) => {
      this.expired.push(queue.name);
    },
    consumersGone: (queue) => {
      this.abandoned.push(queue.name);
    },
    deadLetter: (queue, message, reason) => {
      if (this.onDeath !== null) return this.onDeath(queue, message, reason) !== false;
      this.deaths.push(`${queue.name} ${reason} ${message.body().toString()}`);
      return true;
    },
  };

  private constructor(store: Store, shard: Shard, commits: Commits, options: KitOptions) {
    this.store = store;
    this.shard = shard;
    this.commits = commits;
    this.wheel = new TimerWheel(this.clock);
    this.messageWheel = new TimerWheel(this.clock, MESSAGE_TICK_MS);
    this.memory = new MemoryBudget(options.queueMemory, options.totalMemory);
    // Nothing runs a turn but the tests.
    this.turn = new Turn((run) => {
      this.scheduled++;
      this.scheduledRun = run;
    });
    this.turn.commit = () => shard.commit();
    this.turn.onError = (error) => {
      throw error;
    };
    this.context = {
      shard,
      turn: this.turn,
      clock: this.clock,
      wheel: this.wheel,
      messageWheel: this.messageWheel,
      memory: this.memory,
      bodies: new BodyMemory(0),
      log: silentLogger,
      commits,
      deliveriesPerTurn: options.deliveriesPerTurn,
      shared: null,
      burying: false,
    };
  }

  static async open(given: Partial<KitOptions> = {}): Promise<QueueKit> {
    const options = { ...DEFAULTS, ...given };
    const commits = new Commits();
    const listener: ShardListener = {
      durable: (upTo) => commits.durable(upTo),
      pressure: () => {},
      lost: (error) => {
        throw error;
      },
    };
    const shard = await options.store.open(listener);
    await shard.recover(EMPTY_SINK);
    return new QueueKit(options.store, shard, commits, options);
  }

  queue(
    args: Record<string, unknown> = {},
    flags: Partial<QueueDeclaration> = {},
    number = ++this.numbers,
  ): ClassicQueue {
    const declaration: QueueDeclaration = {
      name: `q${number}`,
      durable: true,
      exclusive: false,
      autoDelete: false,
      owner: null,
      arguments: tableOf(args),
      ...flags,
    };
    return new ClassicQueue(declaration, number, new Map(), NO_POLICY, this.context, this.host);
  }

  /** One turn. */
  run(): void {
    const run = this.scheduledRun;
    this.scheduledRun = null;
    if (run === null) this.turn.run();
    else run();
  }

  /** Turns until nothing moves: reads answered, commits on disk. */
  async settle(): Promise<void> {
    for (let i = 0; i < 6; i++) {
      this.run();
      const ticket = this.shard.hasten();
      this.shard.commit();
      await until(() => this.shard.durableTicket >= ticket);
    }
    this.run();
  }

  /** Turns and event-loop iterations until the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    await until(() => {
      this.run();
      return condition();
    });
  }

  async close(): Promise<void> {
    await this.store.close();
  }
}

interface KitOptions {
  readonly store: Store;
  readonly queueMemory: number;
  readonly totalMemory: number;
  readonly deliveriesPerTurn: number;
}

const DEFAULTS: KitOptions = {
  get store() {
    return memoryStore();
  },
  queueMemory: 1e9,
  totalMemory: 1e9,
  deliveriesPerTurn: 1_000,
};

/** Settles as a channel does: whoever held it has its credit back before the queue may have something new for it. */
export function settle(entry: Entry, how: 'ack' | 'requeue' | 'reject'): void {
  const { owner, holder } = entry;
  holder?.settled(entry);
  owner[how](entry);
}

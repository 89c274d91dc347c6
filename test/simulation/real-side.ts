// The broker, without doors: on a fake clock, on a store that is slow, fails and crashes by a seed, its turns run by hand.
// Owns when it works, until it is at rest or an operation has ended, and how its messages are seen. Must not know the model.

import { FakeClock } from '../../src/base/fake-clock.ts';
import { Turn } from '../../src/base/turn.ts';
import { hasDied } from '../../src/message/death.ts';
import { deathsOf } from '../../src/message/death-history.ts';
import type { Entry } from '../../src/message/entry.ts';
import type { Message } from '../../src/message/message.ts';
import type { Found, MessageId, MessageState } from '../../src/queue/peek.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { deliveriesOf, retriesOf } from '../../src/queue/tries.ts';
import { NodeKit } from '../node/kit.ts';
import { TestConsumer, textOf } from '../queue/kit.ts';
import { iteration } from '../store/harness.ts';
import { type FaultyStore, faultyStore, type SeededRandom } from '../support/faulty-engine.ts';
import type { Delivery } from './model.ts';

/** Time between two looks at the clock, in milliseconds. */
export const STEP_MS = 100;
/** Event-loop iterations without any work after which everything is at rest: more than the slowest read takes. */
const IDLE_ITERATIONS = 8;
/** Memory that no script fills. */
const UNBOUNDED = 1e9;
/** Iterations that coming to rest may take. */
const ITERATIONS_MAX = 50_000;

/** The broker as it is tested. */
export class RealSide {
  /** Queues have to send messages to the store for want of memory. */
  readonly pages: boolean;
  readonly clock = new FakeClock();
  kit!: NodeKit;
  private readonly store: FaultyStore;
  private readonly queueMemoryBytes: number;
  /** The disk has failed, or is about to. */
  private failing = false;
  private scheduled: (() => void) | null = null;

  /** @param paging queues may have to send messages to the store for want of memory */
  constructor(random: SeededRandom, seed: number, paging: boolean) {
    const memory = [65_536, 65_536, 200_000, UNBOUNDED];
    this.queueMemoryBytes = paging ? memory[random.below(memory.length)]! : UNBOUNDED;
    this.pages = this.queueMemoryBytes < UNBOUNDED;
    this.store = faultyStore({
      seed,
      slowness: 1 + random.below(3),
      readSlowness: 1 + random.below(2),
      segmentBytesMax: [2_000, 20_000, 500_000][random.below(3)]!,
      clock: this.clock,
    });
  }

  /** A life begins, on what the store has. */
  async open(): Promise<void> {
    this.scheduled = null;
    const turn = new Turn((run) => {
      this.scheduled = run;
    });
    const { store, clock, queueMemoryBytes } = this;
    this.kit = await NodeKit.open({ store, clock, turn, queueMemoryBytes });
  }

  /** Works until there has been nothing to do for a while. */
  async settle(): Promise<void> {
    let idle = 0;
    for (let i = 0; idle < IDLE_ITERATIONS; i++) {
      if (i > ITERATIONS_MAX) throw new Error('the broker never comes to rest');
      idle = (await this.step()) ? 0 : idle + 1;
    }
  }

  /** Works until the promise is settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    for (let i = 0; !isSettled; i++) {
      if (i > ITERATIONS_MAX) throw new Error('an operation never ends');
      await this.step();
    }
    return await promise;
  }

  /** One event-loop iteration. @returns false when there was nothing to do in it */
  async step(): Promise<boolean> {
    const hasRun = this.runTurn();
    await iteration();
    this.checkErrors();
    return hasRun || this.scheduled !== null || this.store.engine.flying;
  }

  /** Runs the turn that is due. @returns false when there is none */
  runTurn(): boolean {
    const run = this.scheduled;
    this.scheduled = null;
    run?.();
    return run !== null;
  }

  /** @throws what the broker failed with, unless the disk was to fail */
  checkErrors(): void {
    if (this.kit.errors.length > 0 && !this.failing) throw this.kit.errors[0];
  }

  /** What an operator sees who looks at all of a queue's messages in these states. */
  async contentsOf(name: string, kinds: readonly MessageState[] = ['ready']): Promise<Seen[]> {
    const seenThere: Seen[] = [];
    const contents = this.queue(name).contents();
    const states = new Set(kinds);
    let after: MessageId | null = null;
    do {
      const page = (visit: (found: Found) => boolean): Promise<MessageId | null> =>
        new Promise((resolve, reject) => {
          contents.walk({ after, states, bounds: null }, visit, (error, { next }) =>
            error === null ? resolve(next) : reject(error),
          );
        });
      after = await this.until(
        page(({ number, position, message, redelivered, tries, expiresAt }) => {
          const text = message.body().toString();
          const id = `${number}-${position}`;
          seenThere.push({ id, text, redelivered, expiresAt, ...told(message, tries) });
          return true;
        }),
      );
    } while (after !== null);
    return seenThere;
  }

  queue(name: string): DeclaredQueue {
    return this.kit.vhost.queues.get(name)!;
  }

  /** Works until the queue can say whether there is something to get. */
  async untilReady(queue: DeclaredQueue): Promise<void> {
    for (let i = 0; !queue.whenReady(() => {}); i++) {
      if (i > ITERATIONS_MAX) throw new Error(`${queue.name} never answers a get`);
      await this.step();
    }
  }

  /** The next write fails. @param afterWrite it is on disk all the same */
  failDisk(afterWrite: boolean): void {
    this.failing = true;
    this.store.engine.failNext(new Error('the disk refuses'), afterWrite);
  }

  /** The machine stops. What was written and is not durable may be gone. */
  crash(): void {
    this.kit.node.stopTimers();
    this.store.crash();
    this.failing = false;
    this.scheduled = null;
  }
}

/** A consumer that writes down what it is handed. */
export class LoggingConsumer extends TestConsumer {
  log: Delivery[] | null = null;
  queue: DeclaredQueue | null = null;

  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }

  override deliver(entry: Entry): void {
    this.log?.push({ consumer: this.tag, ...seen(entry) });
    super.deliver(entry);
  }
}

/** What is seen of a message that is handed out. */
export function seen(entry: Entry): Omit<Delivery, 'consumer'> {
  const { redelivered, tries, message } = entry;
  return { text: textOf(entry)!, redelivered, ...told(message, tries) };
}

function told(message: Message, tries: number): Pick<Delivery, 'failures' | 'retries' | 'deaths'> {
  const deaths = hasDied(message) ? deathsOf(message).length : 0;
  return { failures: deliveriesOf(tries), retries: retriesOf(tries), deaths };
}

/** A message that somebody has looked at. */
export interface Seen extends Omit<Delivery, 'consumer'> {
  readonly id: string;
  readonly expiresAt: number;
}

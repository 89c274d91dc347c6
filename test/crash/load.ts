// What keeps the broker busy until it dies: publishers, takers, and somebody who changes the topology. Owns who takes part, their
// connections and their end; what they do is in files of their own, what it means is the ledger's.
// Invariant: whatever is about to be sent is told to the ledger first.

import type { SeededRandom } from '../support/faulty-engine.ts';
import { BODY_MIN } from './bodies.ts';
import { Client, type ClientEvents, Gone } from './client.ts';
import type { QueueModel } from './copies.ts';
import type { Ledger } from './ledger.ts';
import { publish, publishInTransactions } from './publishers.ts';
import { consumeAgainAndAgain, get, move } from './takers.ts';
import { changeTopology } from './topology.ts';
import type { Target, World } from './world.ts';

/** How much of everything there is. */
export interface LoadOptions {
  readonly publishers: number;
  /** Copies and bytes that may wait in a queue before publishers leave it alone. */
  readonly waitingMax: number;
  readonly waitingBytesMax: number;
  /** Largest body but for a few, which are HUGE_TIMES as large. */
  readonly bodyMax: number;
}

export const FULL_LOAD: LoadOptions = {
  publishers: 4,
  waitingMax: 4_000,
  waitingBytesMax: 12 * 1024 * 1024,
  bodyMax: 64 * 1024,
};

/** See LoadOptions.bodyMax. */
const HUGE_TIMES = 6;

/** How often those who may have nothing to wait for look again. */
export const TICK_MS = 4;

/** Everything that loads one life of the broker. */
export class Load {
  readonly ledger: Ledger;
  readonly world: World;
  readonly random: SeededRandom;
  readonly options: LoadOptions;
  readonly port: number;
  /** Rejected with the first thing that went wrong. */
  readonly failed: Promise<never>;
  #fail: (error: Error) => void = () => {};
  readonly #clients = new Set<Client>();
  readonly #tickers = new Set<() => void>();
  #timer: NodeJS.Timeout | null = null;
  readonly #actors: Promise<void>[] = [];
  over = false;
  /** What `failed` was rejected with. */
  error: Error | null = null;

  constructor(port: number, ledger: Ledger, world: World, random: SeededRandom, options: LoadOptions) {
    this.port = port;
    this.ledger = ledger;
    this.world = world;
    this.random = random;
    this.options = options;
    this.failed = new Promise((_, reject) => {
      this.#fail = (error) => {
        this.error ??= error;
        reject(error);
      };
    });
    this.failed.catch(() => {});
  }

  /** Everybody begins. */
  begin(): void {
    const { options, world, random } = this;
    this.#timer = setInterval(() => {
      for (const tick of this.#tickers) tick();
    }, TICK_MS);
    for (let i = 0; i < options.publishers; i++) this.#act(() => publish(this, `publisher ${i}`));
    this.#act(() => publishInTransactions(this));
    for (const queue of [...world.work, ...world.fans, world.moves[1], world.covers]) {
      // Some queues have nobody, and grow.
      const consumers = queue === world.covers ? 1 : random.below(4);
      for (let i = 0; i < consumers; i++) this.#act(() => consumeAgainAndAgain(this, queue, i));
    }
    this.#act(() => get(this, random.chance(0.5) ? world.work[2]! : world.fans[0]!));
    this.#act(() => move(this));
    this.#act(() => changeTopology(this));
  }

  /** The broker is dead (or about to be cut off): waits until everybody has noticed. */
  async end(): Promise<void> {
    this.over = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all([...this.#clients].map((client) => client.ended));
    await Promise.all(this.#actors);
  }

  /** Cuts all clients off at once, as a machine that loses power does: nothing that is on its way arrives. */
  cut(): void {
    this.over = true;
    for (const client of this.#clients) client.destroy();
  }

  async open(events: Omit<ClientEvents, 'wrong'>): Promise<Client> {
    const client = await Client.open(this.port, {
      ...events,
      wrong: (error) => this.#fail(error),
    });
    this.#clients.add(client);
    void client.ended.then(() => this.#clients.delete(client));
    // It may be over while the connection was being opened.
    if (this.over) client.destroy();
    return client;
  }

  /** Calls `tick` every few milliseconds until the returned function is called. */
  every(tick: () => void): () => void {
    this.#tickers.add(tick);
    return () => this.#tickers.delete(tick);
  }

  /** Resolves after about so many milliseconds, or when it is over. */
  pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!this.over && performance.now() < until) return;
        clearInterval(timer);
        resolve();
      }, TICK_MS);
    });
  }

  bodyLength(large: boolean): number {
    const { random } = this;
    const { bodyMax } = this.options;
    // A few are so large that they stand in files beside the database.
    if (large && random.chance(0.05)) return HUGE_TIMES * bodyMax;
    if (large) return 4096 + random.below(bodyMax - 4096 + 1);
    if (random.chance(0.7)) return BODY_MIN + random.below(100);
    if (random.chance(0.8)) return BODY_MIN + random.below(4096);
    return BODY_MIN + random.below(bodyMax - BODY_MIN + 1);
  }

  /** One of the targets whose queues have room, or null. */
  target(): Target | null {
    const { targets } = this.world;
    const first = this.random.below(targets.length);
    for (let i = 0; i < targets.length; i++) {
      const target = targets[(first + i) % targets.length]!;
      // Large ones are few, or they are all there is.
      if (target.large && !this.random.chance(0.1)) continue;
      if (target.queues.every((queue) => this.#hasRoom(queue))) return target;
    }
    return null;
  }

  #hasRoom(queue: QueueModel): boolean {
    return queue.waiting < this.options.waitingMax && queue.waitingBytes < this.options.waitingBytesMax;
  }

  #act(actor: () => Promise<void>): void {
    this.#actors.push(
      actor().catch((error: unknown) => {
        if (!(error instanceof Gone)) this.#fail(error as Error);
      }),
    );
  }
}

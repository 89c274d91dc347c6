// The same load and the same rules against a broker in this process, on an engine that loses power: at any step of a commit, with
// everything that was not synced gone, and sometimes with a disk that refuses a write first. Owns when the power goes.

import type { LogFields, Logger } from '../../src/base/logger.ts';
import { Broker } from '../../src/index.ts';
import type { WriteDone } from '../../src/store/engine.ts';
import { type FaultyStore, faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { Client, Gone } from './client.ts';
import { Broken, Ledger } from './ledger.ts';
import { FULL_LOAD, Load, type LoadOptions } from './load.ts';
import { verify } from './verify.ts';
import { World } from './world.ts';

export interface PowerCutOptions {
  readonly seed: number;
  readonly cuts: number;
  readonly say: (line: string) => void;
}

/** Little of everything, so that a cut comes after tens of commits and not after thousands of messages. */
const LOAD: LoadOptions = {
  ...FULL_LOAD,
  publishers: 2,
  waitingMax: 150,
  waitingBytesMax: 256 * 1024,
  bodyMax: 8 * 1024,
};
/** Writes of the store before the power goes, at most. */
const WRITES_MAX = 120;

/** What the disk says to a write that fails. */
const REFUSAL = 'the disk refuses';

/** @throws Broken when a promise was broken, Error when the broker misbehaved otherwise; both with seed and cut */
export async function runPowerCuts(options: PowerCutOptions): Promise<void> {
  await new PowerCuts(options).run();
}

/** How the power goes. */
const WAYS = [
  'with a write under way',
  'with a write on disk that nobody was told of',
  'at any moment',
  'after a write that failed',
  'after a write that failed, of which something is on disk',
] as const;

class PowerCuts {
  readonly #options: PowerCutOptions;
  readonly #random: SeededRandom;
  readonly #store: FaultyStore;
  readonly #ledger = new Ledger();
  readonly #world = new World();
  readonly #complaints: string[] = [];
  #cut = 0;
  /** False from the cut to the next start: what the dead broker says does not matter. */
  #powered = false;

  constructor(options: PowerCutOptions) {
    this.#options = options;
    const random = new SeededRandom(options.seed);
    this.#random = random;
    this.#store = faultyStore({
      seed: options.seed,
      slowness: 1 + random.below(6),
      readSlowness: 1 + random.below(4),
      segmentBytesMax: random.chance(0.5) ? 4 * 1024 : 64 * 1024,
      pendingBytesHigh: random.chance(0.5) ? 64 * 1024 : 16 * 1024 * 1024,
      mergeSegments: 2 + random.below(8),
      queueSegmentsFew: random.chance(0.5) ? 0 : 64,
      segmentsFew: random.chance(0.7) ? 16_384 : 1 + random.below(40),
      deadBytesMin: 16 * 1024,
    });
  }

  async run(): Promise<void> {
    const { seed, cuts } = this.#options;
    try {
      for (this.#cut = 1; this.#cut <= cuts; this.#cut++) await this.#doCut();
      await this.#finish();
    } catch (error) {
      const { message, stack } = error as Error;
      const kind = error instanceof Broken ? Broken : Error;
      throw new kind(`seed ${seed}, power cut ${this.#cut}: ${message}\n${stack}`);
    }
  }

  async #doCut(): Promise<void> {
    const ledger = this.#ledger;
    const random = this.#random;
    const broker = await this.#start();
    ledger.begin();
    if (this.#cut > 1) await verify(broker.port, ledger, this.#world, random.chance(0.7) ? 'peek' : 'drain');
    await this.#declare(broker.port);
    const load = new Load(broker.port, ledger, this.#world, random, LOAD);
    const way = WAYS[random.below(WAYS.length)]!;
    const gone = this.#cutPower(way, broker, () => load.cut());
    load.begin();
    await Promise.race([load.failed, gone]);
    await load.end();
    ledger.end();
    await broker.stop();
    if (load.error !== null && !(load.error instanceof Gone)) throw load.error;
    const { sent, confirmed, delivered, acked, found } = ledger.newTally();
    this.#options.say(
      `power cut ${this.#cut} ${way}: found ${found}, sent ${sent}, confirmed ${confirmed}, delivered ${delivered}, acked ${acked}`,
    );
    if (this.#complaints.length > 0)
      throw new Error(`the broker complained: ${this.#complaints.splice(0).join('; ')}`);
  }

  async #finish(): Promise<void> {
    for (const way of ['drain', 'peek'] as const) {
      const broker = await this.#start();
      this.#ledger.begin();
      await verify(broker.port, this.#ledger, this.#world, way);
      this.#powered = false;
      await broker.stop();
      this.#ledger.end();
    }
  }

  /** Resolves when the power is gone. `cutClients` is called in the same instant. */
  #cutPower(way: (typeof WAYS)[number], broker: Broker, cutClients: () => void): Promise<void> {
    const random = this.#random;
    const store = this.#store;
    const { engine } = store;
    let writes = 1 + random.below(WRITES_MAX);
    return new Promise((resolve) => {
      const cut = (): void => {
        Reflect.deleteProperty(engine, 'begin');
        this.#powered = false;
        store.crash();
        cutClients();
        resolve();
      };
      const begin = engine.begin.bind(engine);
      engine.begin = (life, operations, sync, done) => {
        writes--;
        if (writes !== 0) return begin(life, operations, sync, done);
        if (way === 'with a write under way') {
          begin(life, operations, sync, done);
          setImmediate(cut);
        } else if (way === 'with a write on disk that nobody was told of') {
          const landed: WriteDone = () => cut();
          begin(life, operations, sync, landed);
        } else if (way === 'at any moment') {
          begin(life, operations, sync, done);
          afterIterations(random.below(20), cut);
        } else {
          engine.failNext(new Error(REFUSAL), way.endsWith('on disk'));
          void broker.stopped.then(cut);
          begin(life, operations, sync, done);
        }
      };
    });
  }

  async #start(): Promise<Broker> {
    this.#powered = true;
    const complain =
      (level: string) =>
      (text: string, fields?: LogFields): void => {
        const line = `${level}: ${text} ${JSON.stringify(fields ?? {})}`;
        // What a failed write makes the broker say is as it should be.
        if (this.#powered && !line.includes(REFUSAL)) this.#complaints.push(line);
      };
    const quiet = (): void => {};
    const logger: Logger = { error: complain('error'), warn: complain('warn'), info: quiet, debug: quiet };
    const options = { port: 0, store: this.#store, logger, stopGraceMs: 0 };
    return await Broker.start(
      this.#random.chance(0.5)
        ? { ...options, queueMemoryBytes: 64 * 1024, pagingMemoryBytes: 1024 * 1024 }
        : options,
    );
  }

  async #declare(port: number): Promise<void> {
    const client = await Client.open(port, { wrong: () => {} });
    await this.#world.declare(client);
    await client.close();
  }
}

function afterIterations(iterations: number, then: () => void): void {
  if (iterations <= 0) then();
  else setImmediate(() => afterIterations(iterations - 1, then));
}

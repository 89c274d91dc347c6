// Rounds of load, SIGKILL, restart and verification on one folder. Owns their order and what the seed decides about it.

import { performance } from 'node:perf_hooks';
import { SeededRandom } from '../support/faulty-engine.ts';
import { Client, Gone } from './client.ts';
import { Broken, Ledger } from './ledger.ts';
import { FULL_LOAD, Load, type LoadOptions } from './load.ts';
import { verify, type Way } from './verify.ts';
import { Build, Victim, writeReport } from './victim.ts';
import { World } from './world.ts';

export interface RoundsOptions {
  readonly seed: number;
  /** Kills under load. */
  readonly rounds: number;
  /** Seconds of load before a kill, on average. */
  readonly seconds: number;
  readonly load: Partial<LoadOptions>;
  /** Folder of another build than `dist/`. */
  readonly dist?: string | undefined;
  /** Takes one line about each round. */
  readonly say: (line: string) => void;
}

/** Messages found from which on they are drained. */
const FULL = 15_000;

/** @throws Broken when a promise was broken, Error when the broker misbehaved otherwise; both with seed and round */
export async function runRounds(options: RoundsOptions): Promise<void> {
  const build = new Build(options.dist);
  const rounds = new Rounds(options, new Victim(build));
  try {
    await rounds.run();
  } finally {
    build.remove();
  }
}

class Rounds {
  readonly #options: RoundsOptions;
  readonly #random: SeededRandom;
  readonly #victim: Victim;
  readonly #ledger = new Ledger();
  readonly #world = new World();
  #round = 0;
  /** It has run on this folder before. */
  #lived = false;
  /** Messages that the last verification found. */
  #found = 0;

  constructor(options: RoundsOptions, victim: Victim) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#victim = victim;
  }

  async run(): Promise<void> {
    const { rounds } = this.#options;
    try {
      for (this.#round = 1; this.#round <= rounds; this.#round++) {
        await this.#doRound('kill');
        if (this.#random.chance(0.1)) await this.#doRound('stop');
      }
      await this.#finish();
      this.#victim.remove();
    } catch (error) {
      await this.#victim.kill();
      throw this.#report(error as Error);
    }
  }

  /** One life of the broker. `end`: SIGKILL, or a clean stop with SIGTERM, both under full load. */
  async #doRound(end: 'kill' | 'stop'): Promise<void> {
    const ledger = this.#ledger;
    const random = this.#random;
    const flags = this.#flags();
    const way = this.#lived ? this.#way() : null;
    if (this.#lived && random.chance(0.2)) await this.#killDuringStart(flags);
    if (way === 'look') await this.#lookAtCopy(flags);
    else ledger.begin();
    const began = performance.now();
    const port = await this.#victim.start(flags);
    const startMs = performance.now() - began;
    if (way === 'peek' || way === 'drain') await this.#alive(verify(port, ledger, this.#world, way));
    await this.#alive(this.#declare(port));
    const loadMs = this.#options.seconds * 1000 * (0.15 + 1.7 * random.next());
    const load = new Load(port, ledger, this.#world, random, { ...FULL_LOAD, ...this.#options.load });
    load.begin();
    await this.#alive(Promise.race([load.failed, load.pause(loadMs)]));
    if (end === 'kill') await this.#victim.kill();
    else await this.#victim.stop();
    await load.end();
    ledger.end();
    this.#lived = true;
    if (load.error !== null) throw load.error;
    this.#hear(this.#victim);
    const { sent, confirmed, delivered, acked, found, returned, overmarked } = ledger.tally;
    this.#found = found;
    this.#options.say(
      `round ${this.#round}: start ${startMs.toFixed(0)} ms, ${way === null ? 'empty' : `found ${found} (${way})`}, ` +
        `${end} after ${loadMs.toFixed(0)} ms: sent ${sent}, confirmed ${confirmed}, ` +
        `delivered ${delivered}, acked ${acked}, came back after an ack ${returned}, marked ahead ${overmarked}`,
    );
    ledger.newTally();
  }

  /** Everything is drained, the broker stopped and started once more: it must be empty then. */
  async #finish(): Promise<void> {
    const ledger = this.#ledger;
    ledger.begin();
    await this.#alive(verify(await this.#victim.start([]), ledger, this.#world, 'drain'));
    await this.#victim.stop();
    this.#hear(this.#victim);
    ledger.end();
    ledger.begin();
    await this.#alive(verify(await this.#victim.start([]), ledger, this.#world, 'peek'));
    await this.#victim.stop();
    this.#hear(this.#victim);
    const { found } = ledger.newTally();
    this.#options.say(`end: ${found} messages drained, clean stop, nothing came back`);
  }

  async #declare(port: number): Promise<void> {
    let wrong: Error | null = null;
    const client = await Client.open(port, {
      wrong: (error) => {
        wrong = error;
      },
    });
    await this.#world.declare(client);
    await client.close();
    if (wrong !== null) throw wrong;
  }

  /** A recovery that is cut short must cost nothing. */
  async #killDuringStart(flags: readonly string[]): Promise<void> {
    this.#victim.spawn(flags);
    await new Promise((resolve) => setTimeout(resolve, this.#random.below(700)));
    await this.#victim.kill();
    this.#hear(this.#victim);
  }

  /** Verifies on a copy of the folder, so that the broker itself is not touched by being looked at. */
  async #lookAtCopy(flags: readonly string[]): Promise<void> {
    const copy = this.#victim.copy();
    try {
      const port = await copy.start(flags);
      this.#ledger.begin();
      await verify(port, this.#ledger, this.#world, 'look');
      await copy.kill();
      this.#hear(copy);
    } finally {
      // A loss must not leave a broker behind that keeps this process from ending; the folder it was found in is kept as the original.
      await copy.kill();
      copy.remove();
    }
  }

  /** Fails when the broker ends before the work does. */
  async #alive(work: Promise<void>): Promise<void> {
    let died = false;
    const ended = this.#victim.ended.then((how) => {
      died = true;
      throw new Error(`the broker ended by itself (${how}):\n${this.#victim.words}`);
    });
    ended.catch(() => {});
    try {
      await Promise.race([work, ended]);
    } catch (error) {
      if (!(error instanceof Gone) || died) throw error;
      // The end of the process is noticed after that of its connections.
      await ended;
    }
  }

  #hear(victim: Victim): void {
    const { complaints } = victim;
    if (complaints.length > 0) throw new Error(`the broker complained:\n${complaints.join('\n')}`);
  }

  #way(): Way {
    // Full queues keep publishers waiting.
    if (this.#found > FULL) return 'drain';
    const choice = this.#random.next();
    return choice < 0.6 ? 'look' : choice < 0.8 ? 'peek' : 'drain';
  }

  /** Small limits make paging, tidying and LevelDB's own housekeeping happen in seconds. */
  #flags(): string[] {
    const random = this.#random;
    const flags: string[] = [];
    if (random.chance(0.5))
      flags.push('--queue-memory-bytes', '262144', '--paging-memory-bytes', String(2 * 1024 * 1024));
    if (random.chance(0.5)) flags.push('--store-write-buffer-bytes', String(1024 * 1024));
    if (random.chance(0.5)) flags.push('--store-segment-bytes', String(16 * 1024));
    if (random.chance(0.3)) flags.push('--store-pending-bytes', String(256 * 1024));
    return flags;
  }

  #report(error: Error): Error {
    const { seed } = this.#options;
    const text = `seed ${seed}, round ${this.#round}: ${error.message}`;
    const path = writeReport(this.#victim.folder, `${error.stack}\n${text}\n${this.#victim.words}`);
    const kind = error instanceof Broken ? Broken : Error;
    return new kind(`${text}\nThe folder is kept: ${this.#victim.folder}, what the broker said: ${path}`);
  }
}

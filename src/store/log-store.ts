// The store: opens an engine, checks that what is in it is ours and of this version, and hands out the shard.
// Owns the life of the engine between open and close. Knows nothing of what the shard does.

import type { KeyValueEngine } from './engine.ts';
import { FIRST_KEY, FORMAT_KEY, HEAD_KEY } from './keys.ts';
import { LevelEngine } from './level-engine.ts';
import { LogShard } from './log-shard.ts';
import { LogState } from './log-state.ts';
import { MemoryEngine } from './memory-engine.ts';
import { LEVEL_DEFAULTS, type LevelOptions, LOG_DEFAULTS, type LogOptions } from './options.ts';
import type { Shard, ShardListener, Store } from './store.ts';
import { StoreError } from './store.ts';
import {
  decodeFormat,
  decodeHead,
  encodeFormat,
  FORMAT_OLDEST,
  FORMAT_VERSION,
  type Head,
} from './values.ts';

/** The queue log on disk, in a LevelDB of its own. What is left out has the defaults of options.ts. */
export function openLevelStore(
  options: Pick<LevelOptions, 'location'> & Partial<LevelOptions> & Partial<LogOptions>,
): Store {
  return new LogStore(new LevelEngine({ ...LEVEL_DEFAULTS, ...options }), options);
}

/** The queue log without a disk. Keeps its content while the object lives, also over close and open. */
export function memoryStore(options: Partial<LogOptions> = {}): Store {
  return new LogStore(new MemoryEngine(), options);
}

/** The log on any engine; for engines of tests. */
export class LogStore implements Store {
  readonly info: KeyValueEngine['info'];
  readonly #engine: KeyValueEngine;
  readonly #options: LogOptions;
  #shard: LogShard | null = null;

  constructor(engine: KeyValueEngine, options: Partial<LogOptions> = {}) {
    this.#engine = engine;
    this.#options = { ...LOG_DEFAULTS, ...options };
    this.info = engine.info;
  }

  async open(listener: ShardListener): Promise<Shard> {
    if (this.#shard !== null) throw new StoreError('locked', 'The store is already open.');
    await this.#engine.open();
    try {
      const found = await this.#check();
      const head = found === null ? null : found.head;
      if (head?.clean === false) {
        this.#options.logger.info(
          'the store was not closed when it was last used; what was confirmed is in it',
          {
            folder: this.info.location,
          },
        );
      }
      this.#shard = new LogShard(
        new LogState(this.#engine, this.#options, head, found !== null && found.version < FORMAT_VERSION),
        listener,
        head === null ? 0 : head.commit,
      );
      return this.#shard;
    } catch (error) {
      await this.#engine.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const shard = this.#shard;
    if (shard === null) return;
    this.#shard = null;
    try {
      await shard.close();
    } finally {
      await this.#engine.close();
    }
  }

  /** Checks the version, writes it into a new store, and returns the newest commit's head; null for a store that is new. */
  async #check(): Promise<{ readonly version: number; readonly head: Head | null } | null> {
    const format = await this.#get(FORMAT_KEY);
    const head = await this.#get(HEAD_KEY);
    if (format === null) {
      if (head !== null || !(await this.#isEmpty())) throw this.#notOurs();
      await this.#writeFormat();
      return null;
    }
    const version = decodeFormat(format);
    if (version === null) throw this.#notOurs();
    if (version < FORMAT_OLDEST || version > FORMAT_VERSION) {
      throw new StoreError(
        'format',
        `${this.#where()} has format ${version}; this version of Leveret reads formats ${FORMAT_OLDEST} to ${FORMAT_VERSION}. ` +
          'Start the version that wrote it, or give this one another folder. Nothing was changed.',
      );
    }
    if (head === null) return { version, head: null };
    const decoded = decodeHead(head);
    if (decoded === null) {
      throw new StoreError(
        'damaged',
        `${this.#where()} is damaged: its head does not match its checksum. Nothing was changed. Restore the folder from a backup; ` +
          'or, if what it held may be lost, move it away and start with an empty one.',
      );
    }
    return { version, head: decoded };
  }

  #notOurs(): StoreError {
    return new StoreError(
      'format',
      `${this.#where()} holds a database that is not a store of Leveret. Give Leveret a folder of its own. Nothing was changed.`,
    );
  }

  #where(): string {
    return this.info.location === null ? 'The store' : `The folder ${this.info.location}`;
  }

  async #isEmpty(): Promise<boolean> {
    let empty = true;
    const stop = new Error('one key is enough');
    try {
      await this.#engine.scan(FIRST_KEY, () => {
        empty = false;
        throw stop;
      });
    } catch (error) {
      if (error !== stop) throw error;
    }
    return empty;
  }

  async #writeFormat(): Promise<void> {
    const batch = this.#engine.batch();
    batch.put(FORMAT_KEY, encodeFormat());
    await new Promise<void>((resolve, reject) => {
      batch.write(true, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  async #get(key: Buffer): Promise<Buffer | null> {
    return await new Promise((resolve, reject) => {
      this.#engine.get(key, (error, value) => (error === null ? resolve(value) : reject(error)));
    });
  }
}

// The engine on LevelDB, and the only file that knows `level`. Owns the database's options, its lock, and the words in which its
// errors reach a person. Knows no log.
//
// How batches are handed over was measured, per small put and in resident memory over 200 batches of 4 MiB:
//   batch([...])       5 us    grew by 210 MB; the native copy is freed when it is written
//   batch().put()...   0.3 us  grew by 850 MB; the native copy waits for a full garbage collection
//   _batch([...])      0.8 us  the same native call as the first, without copying every operation before it
// So we call the method that `level`'s own packages call each other by; its contract is theirs to keep within a major version.

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Level } from 'level';
import type { GetDone, KeyValueEngine, WriteBatch, WriteDone } from './engine.ts';
import type { LevelOptions } from './options.ts';
import { StoreError } from './store.ts';
import { type LargeValue, type Pointer, pointerIn, ValueFiles } from './value-files.ts';

type Database = Level<Buffer, Buffer>;
type Operation = { type: 'put'; key: Buffer; value: Buffer } | { type: 'del'; key: Buffer };

/** Folder of the large values, in that of the database. */
const VALUES_FOLDER = 'large';
/** Bytes a scan asks for at a time. */
const SCAN_BYTES = 4 * 1024 * 1024;
/** Keys a scan asks for at a time. */
const SCAN_KEYS = 1000;

export class LevelEngine implements KeyValueEngine {
  readonly info: { readonly engine: 'level'; readonly location: string; readonly durability: 'fsync' };
  readonly #options: LevelOptions;
  readonly #files: ValueFiles;
  #database: Database | null = null;

  constructor(options: LevelOptions) {
    this.#options = options;
    this.#files = new ValueFiles(join(options.location, VALUES_FOLDER), options.largeDeadBytesMin);
    this.info = { engine: 'level', location: options.location, durability: 'fsync' };
  }

  async open(): Promise<void> {
    const { location, writeBufferBytes, blockCacheBytes, tableFileBytes, compression } = this.#options;
    let database: Database;
    try {
      await makeFolder(location);
      database = new Level<Buffer, Buffer>(location, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
      await database.open({
        writeBufferSize: writeBufferBytes,
        cacheSize: blockCacheBytes,
        maxFileSize: tableFileBytes,
        compression,
      });
    } catch (error) {
      throw openError(error, location);
    }
    try {
      await this.#files.open();
    } catch (error) {
      await database.close();
      throw openError(error, location);
    }
    this.#database = database;
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = null;
    await this.#files.close();
    await database?.close();
  }

  batch(): WriteBatch {
    return new LevelBatch(this.#open(), this.#files, this.#options);
  }

  get(key: Buffer, done: GetDone, into: Buffer | null = null): void {
    this.#get(key, null, into, done);
  }

  /** @param missed a file that was not there: its values may have moved to another one meanwhile */
  #get(key: Buffer, missed: number | null, into: Buffer | null, done: GetDone): void {
    this.#open()
      .get(key)
      .then(
        // LevelDB answers undefined for a key that is not there; the types of `level` say otherwise.
        (value: Buffer | undefined) => {
          const pointer = value === undefined ? null : pointerIn(value);
          if (pointer === null) return done(null, value ?? null);
          if (pointer.file === missed) return done(null, null);
          this.#files.read(pointer, into, (error, large) => {
            if (error !== null) done(readError(error, this.info.location), null);
            else if (large === null) this.#get(key, pointer.file, into, done);
            else done(null, large);
          });
        },
        (error: unknown) => done(readError(error, this.info.location), null),
      );
  }

  reclaim(from: Buffer, to: Buffer, bytesMin: number, done: () => void): void {
    const database = this.#open() as Database & Compaction;
    // What goes wrong here goes wrong in a write too, where somebody is told.
    database
      .approximateSize(from, to)
      .then((bytes) => (bytes < bytesMin ? undefined : database.compactRange(from, to)))
      .then(done, done);
  }

  async scan(from: Buffer, visit: (key: Buffer, value: Buffer) => void | Promise<void>): Promise<void> {
    const iterator = this.#open().iterator({ gte: from, fillCache: false, highWaterMarkBytes: SCAN_BYTES });
    try {
      let next = iterator.nextv(SCAN_KEYS);
      for (;;) {
        let entries: [Buffer, Buffer][];
        try {
          entries = await next;
        } catch (error) {
          throw readError(error, this.info.location);
        }
        if (entries.length === 0) {
          this.#files.foundAll();
          return;
        }
        // LevelDB reads the next run on its own thread while this one is looked at.
        next = iterator.nextv(SCAN_KEYS);
        next.catch(() => {});
        for (let i = 0; i < entries.length; i++) {
          const [key, value] = entries[i]!;
          const pointer = pointerIn(value);
          const promise = visit(key, pointer === null ? value : await this.#large(key, pointer));
          if (promise !== undefined) await promise;
        }
      }
    } finally {
      await iterator.close();
    }
  }

  /** The value at a pointer that a scan has met. One that is not there is shown as a value that nobody wrote. */
  async #large(key: Buffer, pointer: Pointer): Promise<Buffer> {
    this.#files.found(key, pointer);
    return await new Promise((resolve, reject) => {
      this.#files.read(pointer, null, (error, value) => {
        if (error === null) resolve(value ?? Buffer.alloc(0));
        else reject(readError(error, this.info.location));
      });
    });
  }

  #open(): Database {
    if (this.#database === null)
      throw new StoreError('closed', `The store in ${this.info.location} is not open.`);
    return this.#database;
  }
}

/**
 * Makes a folder and those above it. One level at a time: what mkdir calls recursive never ends where the system has a folder of its own
 * making, such as /proc.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || existsSync(parent)) throw error;
    await makeFolder(parent);
    await mkdir(path);
  }
}

class LevelBatch implements WriteBatch {
  bytes = 0;
  readonly #database: Database;
  readonly #files: ValueFiles;
  readonly #location: string;
  readonly #largeMin: number;
  readonly #list: Operation[] = [];
  /** Operations with large values, by their index in the list. */
  #large: number[] | null = null;

  constructor(database: Database, files: ValueFiles, { location, largeValueBytes }: LevelOptions) {
    this.#database = database;
    this.#files = files;
    this.#location = location;
    this.#largeMin = largeValueBytes;
  }

  get operations(): number {
    return this.#list.length;
  }

  put(key: Buffer, value: Buffer): void {
    this.bytes += key.length + value.length;
    if (value.length >= this.#largeMin) {
      this.#large ??= [];
      this.#large.push(this.#list.length);
    }
    this.#list.push({ type: 'put', key, value });
  }

  remove(key: Buffer): void {
    this.bytes += key.length;
    this.#list.push({ type: 'del', key });
  }

  write(sync: boolean, done: WriteDone): void {
    // What need not survive a power cut must not leave a pointer to a file that did not either.
    const large = sync ? this.#largeValues() : [];
    if (large.length === 0) return this.#write(sync, done);
    this.#files.write(large, (error, pointers) => {
      if (error !== null) return done(writeError(error, this.#location));
      this.#point(large, pointers);
      this.#write(sync, done);
    });
  }

  #largeValues(): LargeValue[] {
    const list = this.#list;
    const large: LargeValue[] = [];
    for (const index of this.#large ?? []) large.push(list[index] as LargeValue);
    const touched = (key: Buffer): boolean => list.some((operation) => operation.key.equals(key));
    for (const moving of this.#files.takeMoving(touched)) large.push(moving);
    return large;
  }

  /** Pointers take the places of the values; what moves comes behind. */
  #point(large: readonly LargeValue[], pointers: readonly Buffer[]): void {
    const places = this.#large ?? [];
    for (let i = 0; i < large.length; i++) {
      const operation: Operation = { type: 'put', key: large[i]!.key, value: pointers[i]! };
      if (i < places.length) this.#list[places[i]!] = operation;
      else this.#list.push(operation);
    }
  }

  #write(sync: boolean, done: WriteDone): void {
    // Without encodings to look up and operations to copy, which is what makes `batch` dear: keys and values are buffers as they are.
    const database: Database & ArrayBatch = this.#database;
    const options = { sync };
    const written =
      database._batch === undefined
        ? database.batch(this.#list, options)
        : database._batch(this.#list, options);
    written.then(
      () => {
        if (this.#large !== null || !this.#files.isIdle) this.#files.committed(changesIn(this.#list), sync);
        done(null);
      },
      (error: unknown) => done(writeError(error, this.#location)),
    );
  }
}

function* changesIn(list: readonly Operation[]): Generator<{ key: Buffer; value: Buffer | null }> {
  for (const operation of list)
    yield { key: operation.key, value: operation.type === 'put' ? operation.value : null };
}

/** What LevelDB can do and a database in a browser cannot: `level`'s types only have what both know. */
interface Compaction {
  approximateSize(from: Buffer, to: Buffer): Promise<number>;
  compactRange(from: Buffer, to: Buffer): Promise<void>;
}

/** The method behind `batch`, which `level`'s types keep to its implementations. */
interface ArrayBatch {
  _batch?(operations: Operation[], options: { readonly sync: boolean }): Promise<void>;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // `level` wraps what LevelDB says into "Database failed to open".
  return code === 'LEVEL_DATABASE_NOT_OPEN' && error.cause instanceof Error ? codeOf(error.cause) : code;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

const WHAT_TO_DO =
  'Restore the folder from a backup; or, if what it held may be lost, move it away and start with an empty one.';

function openError(error: unknown, location: string): StoreError {
  const text = textOf(error);
  switch (codeOf(error)) {
    case 'LEVEL_LOCKED':
      return new StoreError(
        'locked',
        `The folder ${location} is in use by another broker. Stop that one first, or give this one a folder of its own.`,
        error,
      );
    case 'LEVEL_CORRUPTION':
      return new StoreError('damaged', `The store in ${location} is damaged: ${text}. ${WHAT_TO_DO}`, error);
    default:
      return new StoreError(
        'unwritable',
        `The folder ${location} cannot be used for the store: ${text}. Check that it is a folder, that this user may write to it, and that the disk is not full.`,
        error,
      );
  }
}

function readError(error: unknown, location: string): StoreError {
  const text = textOf(error);
  if (codeOf(error) === 'LEVEL_CORRUPTION') {
    return new StoreError('damaged', `The store in ${location} is damaged: ${text}. ${WHAT_TO_DO}`, error);
  }
  return new StoreError('io', `The store in ${location} could not be read: ${text}`, error);
}

function writeError(error: unknown, location: string): StoreError {
  return new StoreError('io', `The store in ${location} could not be written: ${textOf(error)}`, error);
}

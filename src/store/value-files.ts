// Large values in files beside LevelDB. LevelDB writes every value at least twice, to its log and to a table, and sums it each time; of a
// large body that is most of its cost. So the large values of one batch go to one file, synced before the batch that points at them.
// Owns the files, the pointers, and which file is still needed. Knows no log: keys and values are bytes.
//
// Invariants: a pointer is written only when its file is on disk with its name; a file is deleted only when the batch that took away its
// last pointer is. So whatever a power cut leaves, every pointer leads to its value; a file without pointers is swept away at the next
// start. A file in which little is still wanted is emptied: what lives in it goes along with a later batch.

import { close, fdatasync, fsync, open, read, unlink, writev } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

/** Files are emptied when more than this share of the bytes in all of them is dead. */
const DEAD_SHARE_MIN = 0.5;
/** Bytes of a file that one batch takes along. */
const MOVE_BYTES_MAX = 8 * 1024 * 1024;
const SUFFIX = '.values';

// A pointer stands in LevelDB in the place of the value:  check u32 | file u48 | offset u48 | length u32
// Every other value begins with the crc32 of its rest (values.ts); the check is that crc32 with these bits turned, so no value that is
// as it was written can be taken for a pointer.
const POINTER_BYTES = 20;
const POINTER_TURN = 0x5a5a_5a5a;

/** Where a value is. */
export interface Pointer {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

/** A value on its way to a file. */
export interface LargeValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A value that was read in order to be written to another file. */
interface Moving extends LargeValue {
  /** Where it was; the key may have another value by now. */
  readonly from: Pointer;
}

interface ValueFile {
  readonly bytes: number;
  /** Keys, as the map names them, that point into it. */
  readonly keys: Set<string>;
  liveBytes: number;
}

/** Null when it is no pointer. */
export function pointerIn(value: Buffer): Pointer | null {
  if (value.length !== POINTER_BYTES) return null;
  if (value.readUInt32LE(0) !== (crc32(value.subarray(4)) ^ POINTER_TURN) >>> 0) return null;
  return { file: value.readUIntLE(4, 6), offset: value.readUIntLE(10, 6), length: value.readUInt32LE(16) };
}

function encodePointer({ file, offset, length }: Pointer): Buffer {
  const value = Buffer.allocUnsafe(POINTER_BYTES);
  value.writeUIntLE(file, 4, 6);
  value.writeUIntLE(offset, 10, 6);
  value.writeUInt32LE(length, 16);
  value.writeUInt32LE((crc32(value.subarray(4)) ^ POINTER_TURN) >>> 0, 0);
  return value;
}

function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

/** The value files of one database. */
export class ValueFiles {
  readonly #folder: string;
  readonly #deadBytesMin: number;
  readonly #files = new Map<number, ValueFile>();
  readonly #pointers = new Map<string, Pointer>();
  #nextFile = 1;
  /** Files that were there at the start, with their sizes; null once it is known which of them are wanted. */
  #unknown: Map<number, number> | null = new Map();
  /** Files without pointers, whose last one went with a batch that was not synced. */
  #doomed: number[] = [];
  #bytes = 0;
  #liveBytes = 0;
  /** Values of a sparse file that wait for a batch to go along with. */
  #moving: Moving[] = [];
  #fetching = false;
  /** Deletions under way. */
  #unlinking = 0;
  #onIdle: (() => void) | null = null;

  /**
   * @param folder made when it is missing; the one it is in must be there
   * @param deadBytesMin bytes in files that nobody points at from which on files are emptied
   */
  constructor(folder: string, deadBytesMin: number) {
    this.#folder = folder;
    this.#deadBytesMin = deadBytesMin;
  }

  /** Makes the folder, or sees what is in it. */
  async open(): Promise<void> {
    this.#files.clear();
    this.#pointers.clear();
    this.#doomed = [];
    this.#moving = [];
    this.#bytes = 0;
    this.#liveBytes = 0;
    await this.#makeFolder();
    const unknown = new Map<number, number>();
    for (const name of await readdir(this.#folder)) {
      const number = /^(\d+)\.values$/.exec(name)?.[1];
      if (number === undefined) continue;
      unknown.set(Number(number), (await stat(join(this.#folder, name))).size);
      this.#nextFile = Math.max(this.#nextFile, Number(number) + 1);
    }
    this.#unknown = unknown;
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    while (this.#unlinking > 0 || this.#fetching) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  /** True when no key points into a file, and no file waits to be deleted. */
  get isIdle(): boolean {
    return this.#pointers.size === 0 && this.#doomed.length === 0;
  }

  // ── writing ──

  /** What of a sparse file may go along with a batch that touches none of these keys. */
  takeMoving(isTouched: (key: Buffer) => boolean): LargeValue[] {
    if (this.#moving.length === 0) return this.#moving;
    const moving = this.#moving.filter(
      ({ key, from }) => this.#pointers.get(nameOf(key)) === from && !isTouched(key),
    );
    this.#moving = [];
    return moving;
  }

  /**
   * Writes values to a new file, and syncs it and its name.
   * @param done gets the values' pointers in their order, encoded. Until then the values are left alone
   */
  write(values: readonly LargeValue[], done: (error: Error | null, pointers: Buffer[]) => void): void {
    const file = this.#nextFile++;
    const buffers: Buffer[] = [];
    const pointers: Buffer[] = [];
    let bytes = 0;
    for (const { value } of values) {
      buffers.push(value);
      pointers.push(encodePointer({ file, offset: bytes, length: value.length }));
      bytes += value.length;
    }
    open(this.#pathOf(file), 'wx', (openError, fd) => {
      if (openError !== null) return done(openError, []);
      // The name is synced while the bytes are.
      let waiting = 2;
      let failure: Error | null = null;
      const ended = (error: Error | null): void => {
        failure ??= error;
        if (--waiting > 0) return;
        close(fd, (closeError) => {
          failure ??= closeError ?? null;
          if (failure === null) {
            this.#files.set(file, { bytes, keys: new Set(), liveBytes: 0 });
            this.#bytes += bytes;
          }
          done(failure, pointers);
        });
      };
      syncFolder(this.#folder, ended);
      writeAll(fd, buffers, (error) => {
        if (error === null) fdatasync(fd, ended);
        else ended(error);
      });
    });
  }

  /** A batch is written: these keys have these values now, null for none. @param sync it survives a power cut */
  committed(changes: Iterable<{ readonly key: Buffer; readonly value: Buffer | null }>, sync: boolean): void {
    for (const { key, value } of changes) {
      const name = nameOf(key);
      this.#release(name);
      const pointer = value === null ? null : pointerIn(value);
      if (pointer !== null) this.#hold(name, pointer);
    }
    if (!sync) return;
    for (const file of this.#doomed.splice(0)) this.#unlink(file);
    this.#lookForSparse();
  }

  // ── reading ──

  /**
   * The value at a pointer; null when its file is not there or ends before it.
   * @param into where it is put if it fits; null for a buffer of its own
   */
  read(
    pointer: Pointer,
    into: Buffer | null,
    done: (error: Error | null, value: Buffer | null) => void,
  ): void {
    open(this.#pathOf(pointer.file), 'r', (openError, fd) => {
      if (openError !== null) return openError.code === 'ENOENT' ? done(null, null) : done(openError, null);
      const { length } = pointer;
      const value =
        into !== null && into.length >= length ? into.subarray(0, length) : Buffer.allocUnsafeSlow(length);
      readAll(fd, value, pointer.offset, (error, isWhole) => {
        close(fd, () => done(error, error === null && isWhole ? value : null));
      });
    });
  }

  /** A look at all keys came by this one. */
  found(key: Buffer, pointer: Pointer): void {
    if (this.#unknown === null || this.#pointers.has(nameOf(key))) return;
    let file = this.#files.get(pointer.file);
    if (file === undefined) {
      const bytes = this.#unknown.get(pointer.file) ?? 0;
      this.#unknown.delete(pointer.file);
      file = { bytes, keys: new Set(), liveBytes: 0 };
      this.#files.set(pointer.file, file);
      this.#bytes += bytes;
    }
    this.#hold(nameOf(key), pointer);
  }

  /** All keys were looked at: files that none of them points at stem from batches that never came to be. */
  foundAll(): void {
    if (this.#unknown === null) return;
    for (const file of this.#unknown.keys()) this.#unlink(file);
    this.#unknown = null;
  }

  // ── files ──

  #hold(name: string, pointer: Pointer): void {
    this.#pointers.set(name, pointer);
    const file = this.#files.get(pointer.file)!;
    file.keys.add(name);
    file.liveBytes += pointer.length;
    this.#liveBytes += pointer.length;
  }

  #release(name: string): void {
    const pointer = this.#pointers.get(name);
    if (pointer === undefined) return;
    this.#pointers.delete(name);
    const file = this.#files.get(pointer.file)!;
    file.keys.delete(name);
    file.liveBytes -= pointer.length;
    this.#liveBytes -= pointer.length;
    if (file.keys.size > 0) return;
    this.#files.delete(pointer.file);
    this.#bytes -= file.bytes;
    this.#doomed.push(pointer.file);
  }

  /** Fetches what lives in the file in which the least does, when much is dead. */
  #lookForSparse(): void {
    const dead = this.#bytes - this.#liveBytes;
    if (dead < this.#deadBytesMin || dead < this.#bytes * DEAD_SHARE_MIN) return;
    if (this.#fetching || this.#moving.length > 0) return;
    let sparsest: ValueFile | null = null;
    for (const file of this.#files.values())
      if (sparsest === null || file.liveBytes * sparsest.bytes < sparsest.liveBytes * file.bytes)
        sparsest = file;
    if (sparsest === null) return;
    const names: string[] = [];
    let bytes = 0;
    for (const name of sparsest.keys) {
      const { length } = this.#pointers.get(name)!;
      if (names.length > 0 && bytes + length > MOVE_BYTES_MAX) break;
      names.push(name);
      bytes += length;
    }
    this.#fetching = true;
    this.#fetch(names, []);
  }

  #fetch(names: string[], fetched: Moving[]): void {
    const name = names.pop();
    const pointer = name === undefined ? undefined : this.#pointers.get(name);
    if (name === undefined || pointer === undefined) {
      if (name !== undefined) return this.#fetch(names, fetched);
      this.#fetching = false;
      this.#moving = fetched;
      this.#wakeIdle();
      return;
    }
    this.read(pointer, null, (_error, value) => {
      // What cannot be read stays where it is: whoever needs it will be told.
      if (value !== null) fetched.push({ key: Buffer.from(name, 'latin1'), value, from: pointer });
      this.#fetch(names, fetched);
    });
  }

  #unlink(file: number): void {
    this.#unlinking++;
    unlink(this.#pathOf(file), () => {
      this.#unlinking--;
      this.#wakeIdle();
    });
  }

  async #makeFolder(): Promise<void> {
    try {
      await mkdir(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      syncFolder(dirname(this.#folder), (error) => (error === null ? resolve() : reject(error)));
    });
  }

  #pathOf(file: number): string {
    return join(this.#folder, `${file}${SUFFIX}`);
  }

  #wakeIdle(): void {
    const wake = this.#onIdle;
    this.#onIdle = null;
    if (wake !== null) wake();
  }
}

/** What a system says that does not let folders be synced: there names are safe with their files. */
const NOT_FOR_FOLDERS: readonly (string | undefined)[] = ['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP', 'EACCES'];

function syncFolder(path: string, done: (error: Error | null) => void): void {
  const ended = (error: NodeJS.ErrnoException | null): void => {
    done(error === null || NOT_FOR_FOLDERS.includes(error.code) ? null : error);
  };
  open(path, 'r', (openError, fd) => {
    if (openError !== null) return ended(openError);
    fsync(fd, (error) => close(fd, () => ended(error)));
  });
}

function writeAll(fd: number, buffers: Buffer[], done: (error: Error | null) => void): void {
  writev(fd, buffers, (error, written) => {
    if (error !== null) return done(error);
    let rest = written;
    let at = 0;
    while (at < buffers.length && rest >= buffers[at]!.length) rest -= buffers[at++]!.length;
    if (at === buffers.length) return done(null);
    const left = buffers.slice(at);
    left[0] = left[0]!.subarray(rest);
    writeAll(fd, left, done);
  });
}

function readAll(
  fd: number,
  target: Buffer,
  offset: number,
  done: (error: Error | null, isWhole: boolean) => void,
): void {
  if (target.length === 0) return done(null, true);
  read(fd, target, 0, target.length, offset, (error, count) => {
    if (error !== null || count === 0) return done(error, false);
    readAll(fd, target.subarray(count), offset + count, done);
  });
}

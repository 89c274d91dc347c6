// The engine without a disk: a Map. Keeps what was written as long as the object lives, so that a broker can be stopped and started
// on it. Owns the bytes it was given copies of. Knows no log.

import type { GetDone, KeyValueEngine, WriteBatch, WriteDone } from './engine.ts';
import { StoreError } from './store.ts';

/** Keys visited before the event loop runs again. */
const SCAN_KEYS = 256;

/** Keys as they stand in the map: a byte is a character, so that string order is byte order. */
function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

export class MemoryEngine implements KeyValueEngine {
  readonly info = { engine: 'memory', location: null, durability: 'none' } as const;
  readonly #values = new Map<string, Buffer>();
  #open = false;

  async open(): Promise<void> {
    if (this.#open) throw new StoreError('locked', 'The store in memory is already open.');
    this.#open = true;
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  batch(): WriteBatch {
    return new MemoryBatch(this.#values);
  }

  get(key: Buffer, done: GetDone): void {
    setImmediate(() => {
      const value = this.#values.get(nameOf(key));
      done(null, value === undefined ? null : Buffer.from(value));
    });
  }

  reclaim(_from: Buffer, _to: Buffer, _bytesMin: number, done: () => void): void {
    setImmediate(done);
  }

  async scan(from: Buffer, visit: (key: Buffer, value: Buffer) => void | Promise<void>): Promise<void> {
    const begin = nameOf(from);
    const names = [...this.#values.keys()].filter((name) => name >= begin).sort();
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      const value = this.#values.get(name);
      if (value !== undefined) await visit(Buffer.from(name, 'latin1'), Buffer.from(value));
      if (i % SCAN_KEYS === SCAN_KEYS - 1) await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Collects operations and applies them at once. */
class MemoryBatch implements WriteBatch {
  operations = 0;
  bytes = 0;
  readonly #values: Map<string, Buffer>;
  readonly #names: string[] = [];
  readonly #puts: (Buffer | null)[] = [];

  constructor(values: Map<string, Buffer>) {
    this.#values = values;
  }

  put(key: Buffer, value: Buffer): void {
    this.#add(key, Buffer.from(value));
  }

  remove(key: Buffer): void {
    this.#add(key, null);
  }

  write(_sync: boolean, done: WriteDone): void {
    for (let i = 0; i < this.#names.length; i++) {
      const value = this.#puts[i]!;
      if (value === null) this.#values.delete(this.#names[i]!);
      else this.#values.set(this.#names[i]!, value);
    }
    setImmediate(() => done(null));
  }

  #add(key: Buffer, value: Buffer | null): void {
    this.operations++;
    this.bytes += key.length + (value === null ? 0 : value.length);
    this.#names.push(nameOf(key));
    this.#puts.push(value);
  }
}

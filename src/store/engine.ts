// What the log asks of the thing that holds bytes: an ordered map of keys with atomic batches, nothing more.
// Knows no queue, no segment, no record. One implementation sits on LevelDB, one on a Map, one in the tests fails on purpose.

/** Receives the outcome of a write: null when the batch is kept as promised. */
export type WriteDone = (error: Error | null) => void;
/** Receives the value of a key, null when there is none. The buffer belongs to the receiver, or is a part of the one it gave. */
export type GetDone = (error: Error | null, value: Buffer | null) => void;

/** Operations that take effect together or not at all, in the order they were added. */
export interface WriteBatch {
  /** Adds or overwrites a key. The caller leaves both alone until `done` was called. */
  put(key: Buffer, value: Buffer): void;
  /** Deletes a key; one that is not there is no error. */
  remove(key: Buffer): void;
  /** Number of operations added. */
  readonly operations: number;
  /** Bytes of the keys and values added. */
  readonly bytes: number;
  /**
   * Writes the batch; it must not be used afterwards. With `sync` it survives a power cut when `done` reports success, without it
   * only the end of the process. Never more than one write at a time. `done` is called once, never before `write` has returned.
   */
  write(sync: boolean, done: WriteDone): void;
}

/** An ordered map of byte strings. Keys are ordered as unsigned bytes. */
export interface KeyValueEngine {
  readonly info: {
    readonly engine: 'level' | 'memory' | 'faulty';
    /** The folder, for people; null where there is none. */
    readonly location: string | null;
    readonly durability: 'fsync' | 'none';
  };
  /** Takes the lock. @throws StoreError with a text for people */
  open(): Promise<void>;
  /** Waits for what is under way and gives the lock back. */
  close(): Promise<void>;
  batch(): WriteBatch;
  /**
   * Reads one key. `done` is called once, from the top of an event-loop iteration.
   * @param into a buffer that the value may be put into, if it fits; until `done` it belongs to the engine
   */
  get(key: Buffer, done: GetDone, into?: Buffer | null): void;
  /**
   * Most of what stood from `from` to `to` was deleted. An engine that still keeps at least `bytesMin` bytes there gives the room back;
   * reads and writes go on meanwhile. `done` is called once, when that is done or was not worth it, never before this returns.
   */
  reclaim(from: Buffer, to: Buffer, bytesMin: number, done: () => void): void;
  /**
   * Calls `visit` for every key >= `from`, ascending, and lets the event loop run in between. A promise that it returns is waited
   * for; what it throws rejects the scan. `visit` may keep key and value.
   */
  scan(from: Buffer, visit: (key: Buffer, value: Buffer) => void | Promise<void>): Promise<void>;
}

// A body pack: large messages that go to several queues, stored once each. Owns the packs of the open batch, their layout, and
// the counting by which a pack is known to be unused. Knows nothing of queues: whoever names a body adds to `named`.
// Invariant: `named` is the number of stored or open records that name the pack, alive or not; at 0 the pack is deleted.
//
//   pack   0 crc32 u32 | 4 count u32 | 8 table u32 | 12 messages | table: count times the length u32

import { isIntact, sealValue } from './values.ts';

const BODIES_AT = 12;
const LENGTH_BYTES = 4;

/** The messages of a pack, wherever they are: message i is at starts[i] … starts[i + 1] of `buffer`. */
export interface PackView {
  readonly buffer: Buffer;
  readonly starts: ArrayLike<number>;
}

/** One body pack, open, in flight or stored. */
export class BodyPack {
  readonly number: number;
  /** Records that name a message of this pack. */
  named = 0;
  /** Messages in it, those left out at the seal included. */
  count = 0;
  /** Bytes of its value. */
  bytes = BODIES_AT;
  /** What it adds to the tally while it is stored. */
  hash = 0;
  /** True when the engine has its key, or gets it with the batch in flight. */
  stored = false;
  /** True when its number of naming records changed in the open batch. */
  touched = false;
  /** True when it counts as sparse in the store's statistics: few records name it, so they had better take their messages along. */
  sparse = false;
  /** The messages while they are in memory: open or in flight. */
  view: PackView | null = null;
  /** While it is open: how many records name message i. */
  #namedEach: number[] | null = null;
  /** While it is open: where messages begin in #buffer, and where the last ends. */
  #starts: number[] | null = null;
  #buffer: Buffer | null = null;

  constructor(number: number) {
    this.number = number;
  }

  /** Makes it a pack that takes messages, with room for the first one. */
  open(capacity: number): void {
    this.#buffer = Buffer.allocUnsafeSlow(BODIES_AT + capacity);
    this.#starts = [BODIES_AT];
    this.#namedEach = [];
    this.view = { buffer: this.#buffer, starts: this.#starts };
  }

  /** True when the open pack has room for so many bytes more. */
  fits(length: number): boolean {
    return this.#buffer !== null && this.bytes + length <= this.#buffer.length;
  }

  /** Copies a message into the open pack and returns its index; nobody names it yet. */
  append(head: Uint8Array, body: Uint8Array): number {
    const buffer = this.#buffer!;
    buffer.set(head, this.bytes);
    buffer.set(body, this.bytes + head.length);
    this.bytes += head.length + body.length;
    this.#starts!.push(this.bytes);
    this.#namedEach!.push(0);
    return this.count++;
  }

  /** A record in the open batch names message `index`, which was appended in the same batch. */
  name(index: number): void {
    this.named++;
    this.#namedEach![index]!++;
  }

  /** A record of the open batch that named message `index` is not going to be written. */
  unname(index: number): void {
    this.named--;
    if (this.#namedEach !== null) this.#namedEach[index]!--;
  }

  /** Ends the open state and returns the value to store. Messages that nobody names are left out, the indexes stay. */
  seal(): Buffer {
    const buffer = this.#buffer!;
    const starts = this.#starts!;
    const named = this.#namedEach!;
    let kept = BODIES_AT;
    for (let i = 0; i < this.count; i++) if (named[i]! > 0) kept += starts[i + 1]! - starts[i]!;
    const value = Buffer.allocUnsafeSlow(kept + this.count * LENGTH_BYTES);
    const keptStarts: number[] = [BODIES_AT];
    let at = BODIES_AT;
    for (let i = 0; i < this.count; i++) {
      const length = named[i]! > 0 ? starts[i + 1]! - starts[i]! : 0;
      if (length > 0) buffer.copy(value, at, starts[i]!, starts[i]! + length);
      at += length;
      keptStarts.push(at);
      value.writeUInt32LE(length, kept + i * LENGTH_BYTES);
    }
    value.writeUInt32LE(this.count, 4);
    value.writeUInt32LE(kept, 8);
    sealValue(value);
    this.bytes = value.length;
    this.view = { buffer: value, starts: keptStarts };
    this.#buffer = null;
    this.#starts = null;
    this.#namedEach = null;
    return value;
  }

  /** Lets go of the messages: they are in the engine now. */
  release(): void {
    this.view = null;
  }
}

/** Reads a stored pack; null when it is damaged. */
export function viewPack(value: Buffer): PackView | null {
  if (value.length < BODIES_AT || !isIntact(value)) return null;
  const count = value.readUInt32LE(4);
  const table = value.readUInt32LE(8);
  if (table + count * LENGTH_BYTES !== value.length) return null;
  const starts = new Float64Array(count + 1);
  let at = BODIES_AT;
  starts[0] = at;
  for (let i = 0; i < count; i++) {
    at += value.readUInt32LE(table + i * LENGTH_BYTES);
    starts[i + 1] = at;
  }
  return at === table ? { buffer: value, starts } : null;
}

/** A message on its way to several queues. What `share()` returns; the broker sees its length only. */
export class SharedMessage {
  readonly byteLength: number;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
  /** Commit in whose synchronous run it was shared; it means nothing afterwards. */
  readonly commit: number;
  /** Pack that holds the message once somebody has named it; null before, and for small messages. */
  pack: BodyPack | null = null;
  /** Its index in the pack. */
  index = 0;

  constructor(head: Uint8Array, body: Uint8Array, commit: number) {
    this.byteLength = head.length + body.length;
    this.head = head;
    this.body = body;
    this.commit = commit;
  }
}

// Memory of large contents, used again for the next ones as soon as nobody can look at the old content any more.
// Owns the idle blocks and the one answer to "may this content's memory go to another message?". Knows no queue and no socket.
//
// Why: fresh memory of this size costs more than the message in it. V8 marks the whole heap after every 64 MiB of it, and every page
// of it is a fault (bench large-1m: 3.2 ms of processor time a message without this file, 1.3 to 1.6 with it).
//
// Memory comes back only on one way through the broker, and every other way leads to the garbage collector:
//   take       the content is assembled in memory of ours
//   offer      the publisher has one queue for the message, and nothing on the way there has seen it (amqp/publish.ts); or the message was
//              read back from the store for one entry (queue/line.ts)
//   adopt      that queue makes the message's only entry: the entry owns the memory
//   settled    the owner was acknowledged, or its message went to the store only: nobody will read the content again …
//   release    … and no socket has any of it still to send: `hold` and `release` count the outputs that it lies in
//   disown     somebody looks at the entry's message who may keep it (a look into a queue, basic.get): it is never used again
// Who moves the message elsewhere makes another entry, which owns nothing. Who makes another message of it copies it.
//
// Invariants: memory is idle only after settled, with no output holding it. When it comes back its old ArrayBuffer is detached, so that
// whatever view of the old content was forgotten somewhere shows no bytes at all, rather than another client's.

import type { HeldMemory } from '../protocol/frame-writer.ts';
import type { Message } from './message.ts';

/** Contents with bodies of at least this many bytes: those that go out from where they lie. Smaller ones are cheap enough as they are. */
export const BODY_REUSE_MIN = 32 * 1024;
/** Blocks are of a multiple of so many bytes, so that contents of about one size fit into each other's. */
const BLOCK_STEP = 8 * 1024;
/** A block is used for contents of at least this part of it: a small one must not hold the memory of a large one. */
const USED_PART_MIN = 0.75;

/** Who has which memory of ours, by the buffer of the content; nothing for memory that will not come back. */
const loans = new WeakMap<Buffer, Loan>();

/** Memory that one content has. */
class Loan implements HeldMemory {
  private readonly memory: BodyMemory;
  private readonly content: Buffer;
  /** The publisher leaves it to the next entry that is made. */
  offered = false;
  /** The entry whose end is the content's end; null before there is one. */
  owner: object | null = null;
  /** The owner needs it no more. */
  private over = false;
  /** Outputs that have not been sent. */
  private outputs = 0;

  constructor(memory: BodyMemory, content: Buffer) {
    this.memory = memory;
    this.content = content;
  }

  hold(): void {
    this.outputs++;
  }

  release(): void {
    if (--this.outputs === 0 && this.over) this.comeBack();
  }

  end(): void {
    this.over = true;
    if (this.outputs === 0) this.comeBack();
  }

  private comeBack(): void {
    // Not again, and not when it was disowned meanwhile.
    if (loans.get(this.content) === this) this.memory.giveBack(this.content);
  }
}

/** Hands out memory for contents and keeps what comes back, up to a number of bytes. One for a broker. */
export class BodyMemory {
  private readonly idleMax: number;
  /** Idle blocks, those used last at the end, and their bytes. */
  private readonly idle: ArrayBuffer[] = [];
  private bytes = 0;

  /** @param idleMax bytes of idle memory kept at most; 0 switches all of this off */
  constructor(idleMax: number) {
    this.idleMax = idleMax;
  }

  /** Bytes that wait for the next contents. */
  get idleBytes(): number {
    return this.bytes;
  }

  /** Memory for a content of exactly so many bytes, not cleared: the caller fills all of it before anybody else sees it. */
  take(bytes: number): Buffer {
    if (bytes < BODY_REUSE_MIN || bytes > this.idleMax) return Buffer.allocUnsafeSlow(bytes);
    const content = Buffer.from(this.takeIdle(bytes) ?? newBlock(bytes), 0, bytes);
    loans.set(content, new Loan(this, content));
    return content;
  }

  /** Takes memory back that nobody but the caller has ever seen, or that `Loan` says nobody sees. Other memory than ours is left alone. */
  giveBack(content: Buffer): void {
    if (!loans.delete(content)) return;
    const old = content.buffer as ArrayBuffer;
    const block = structuredClone(old, { transfer: [old] });
    this.idle.push(block);
    this.bytes += block.byteLength;
    // Those used longest ago make room: they may be of a size that nobody asks for any more.
    while (this.bytes > this.idleMax) this.bytes -= this.idle.shift()!.byteLength;
  }

  private takeIdle(bytes: number): ArrayBuffer | null {
    const { idle } = this;
    for (let i = idle.length - 1; i >= 0; i--) {
      const block = idle[i]!;
      const { byteLength } = block;
      if (byteLength < bytes || bytes < byteLength * USED_PART_MIN) continue;
      idle.splice(i, 1);
      this.bytes -= byteLength;
      return block;
    }
    return null;
  }
}

/** The next entry that is made for the message may own its memory. Only where nobody else has seen the message. */
export function offer(message: Message): void {
  const loan = loanOf(message);
  if (loan !== null) loan.offered = true;
}

/** Whoever was to make an entry has made it, or never will. */
export function withdraw(message: Message): void {
  const loan = loanOf(message);
  if (loan !== null) loan.offered = false;
}

/** An entry was made for the message: it owns the memory if that was offered. */
export function adopt(message: Message, entry: object): void {
  const loan = loanOf(message);
  if (loan === null || !loan.offered) return;
  loan.offered = false;
  loan.owner = entry;
}

/** Somebody may keep the message for longer than its entry lives: its memory is left to the garbage collector. */
export function disown(message: Message): void {
  if (message.bodyLength >= BODY_REUSE_MIN) loans.delete(message.buffer);
}

/** The entry is at its end, and nobody but sockets has still to read its message. */
export function settled(message: Message, entry: object): void {
  const loan = loanOf(message);
  if (loan !== null && loan.owner === entry) loan.end();
}

/** What an output that refers to the content, rather than copy it, has to hold; null when nothing needs that. */
export function heldMemoryOf(message: Message): HeldMemory | null {
  return loanOf(message);
}

function loanOf(message: Message): Loan | null {
  return message.bodyLength < BODY_REUSE_MIN ? null : (loans.get(message.buffer) ?? null);
}

/** `Buffer.allocUnsafeSlow` clears nothing, as `new ArrayBuffer` would. */
function newBlock(bytes: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(Math.ceil(bytes / BLOCK_STEP) * BLOCK_STEP).buffer as ArrayBuffer;
}

// Which of the priority levels of one queue have messages, and which of these is the highest.
// Owns a bitmap of 256 bits and the lines behind it; the lines say when they fill and when they empty. Costs the same whatever
// number of levels there is.

import { FIRST_OF_LEVEL } from './level-store.ts';
import type { Line } from './line.ts';

/** Levels there can be at most: priority is an octet (AMQP 0-9-1 basic properties). */
export const LEVELS_MAX = 256;

/** Lines of one queue by level. */
export class Levels {
  /** The line of the highest level with ready messages; the lowest line when there are none. */
  top: Line | null = null;
  /** Ready messages of all lines, and their body bytes. */
  count = 0;
  bytes = 0;
  /** Bytes of message memory that all lines hold. Written by the lines. */
  hotBytes = 0;
  /** The next position, in whatever line, of a message that stands in the store under the number of all levels. */
  nextPosition = FIRST_OF_LEVEL;
  private readonly lines: (Line | null)[] = new Array<Line | null>(LEVELS_MAX).fill(null);
  /** Bit b of word w: level 32 w + b has ready messages. */
  private readonly words = new Int32Array(LEVELS_MAX / 32);
  /** Bit w: word w is not 0. */
  private used = 0;

  at(level: number): Line | null {
    return this.lines[level]!;
  }

  /** A line that is new and empty. */
  add(line: Line): void {
    this.lines[line.level] = line;
    if (this.used === 0 && (this.top === null || line.level < this.top.level)) this.top = line;
  }

  /** The highest line with ready messages below this one; null when there is none. */
  below(line: Line): Line | null {
    const { level } = line;
    let word = level >>> 5;
    let bits = this.words[word]! & ((1 << (level & 31)) - 1);
    while (bits === 0 && word > 0) bits = this.words[--word]!;
    return bits === 0 ? null : this.lines[32 * word + 31 - Math.clz32(bits)]!;
  }

  /** A position under the number of all levels; they rise. @param least or a later one */
  takePosition(least: number): number {
    const position = least > this.nextPosition ? least : this.nextPosition;
    this.nextPosition = position + 2;
    return position;
  }

  /** Recovery: positions under the number of all levels below this one were used. */
  goOnAt(position: number): void {
    this.nextPosition = Math.max(this.nextPosition, position);
  }

  counted(count: number, bodyBytes: number): void {
    this.count += count;
    this.bytes += bodyBytes;
  }

  /** The line was empty and has a ready message. */
  filled(line: Line): void {
    const { level } = line;
    if (this.used === 0 || level > this.top!.level) this.top = line;
    this.words[level >>> 5]! |= 1 << (level & 31);
    this.used |= 1 << (level >>> 5);
  }

  /** The line's last ready message left. */
  emptied(line: Line): void {
    const { level } = line;
    const word = level >>> 5;
    this.words[word]! &= ~(1 << (level & 31));
    if (this.words[word] === 0) this.used &= ~(1 << word);
    if (this.top === line) this.top = this.highest() ?? this.lines[0]!;
  }

  private highest(): Line | null {
    if (this.used === 0) return null;
    const word = 31 - Math.clz32(this.used);
    return this.lines[32 * word + 31 - Math.clz32(this.words[word]!)]!;
  }
}

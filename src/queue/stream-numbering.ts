// Offsets of a stream: which offset the message at a position of the store has, and the other way round.
// Owns the few places where the two drift apart. Positions skip some numbers at every restart, because the store cannot know which of them
// were used; offsets never do (RabbitMQ: an offset is the number of messages published before it). Knows no store and no reader.
// Invariants: stretches ascend by position and by offset; inside of one both count alike.

/** Messages whose positions follow each other. */
interface Stretch {
  /** Position of the first one. */
  readonly position: number;
  /** Its offset. */
  readonly offset: number;
}

/** The numbers of one stream. */
export class StreamNumbering {
  /** Offset of the next message. */
  nextOffset = 0;
  /** Position of the latest message; 0 when there was none. */
  lastPosition = 0;
  private stretches: Stretch[] = [];

  /** A message was appended at this position. @returns its offset */
  add(position: number): number {
    const offset = this.nextOffset++;
    if (position !== this.lastPosition + 1 || this.stretches.length === 0)
      this.stretches.push({ position, offset });
    this.lastPosition = position;
    return offset;
  }

  /** Recovery: the message found at this position does not follow the one before, or is the first; `offset` is what it was stored with. */
  restoreAt(position: number, offset: number): void {
    this.stretches.push({ position, offset });
    this.lastPosition = position;
    this.nextOffset = offset + 1;
  }

  /** Recovery: messages found at the positions that follow. */
  restoreUpTo(position: number): void {
    this.nextOffset += position - this.lastPosition;
    this.lastPosition = position;
  }

  /** The offset of the message at `position`, or of the first one behind it; the next message's behind all. */
  offsetAt(position: number): number {
    const { stretches } = this;
    const at = this.stretchBefore(position);
    const stretch = stretches[at];
    if (stretch === undefined) return stretches[0]?.offset ?? this.nextOffset;
    return Math.min(
      stretch.offset + (position - stretch.position),
      stretches[at + 1]?.offset ?? this.nextOffset,
    );
  }

  /** The position of the message with this offset; the first one's below all, and one behind the last one's above all. */
  positionOf(offset: number): number {
    const { stretches } = this;
    let from = 0;
    let to = stretches.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (stretches[middle]!.offset <= offset) from = middle + 1;
      else to = middle;
    }
    const stretch = stretches[from - 1];
    if (stretch === undefined) return stretches[0]?.position ?? this.lastPosition + 1;
    return Math.min(stretch.position + (offset - stretch.offset), this.lastPosition + 1);
  }

  /** `position`, or the first one behind it where a message can stand. */
  skipGap(position: number): number {
    const { stretches } = this;
    const at = this.stretchBefore(position);
    const next = stretches[at + 1];
    if (next === undefined) return position;
    const stretch = stretches[at];
    if (stretch === undefined) return next.position;
    return position - stretch.position < next.offset - stretch.offset ? position : next.position;
  }

  /** Everything before this position is gone for good. */
  forgetBefore(position: number): void {
    const at = this.stretchBefore(position);
    if (at > 0) this.stretches.splice(0, at);
  }

  /** Index of the last stretch that begins at or before `position`; -1 when there is none. */
  private stretchBefore(position: number): number {
    const { stretches } = this;
    // Mostly it is the last one.
    let from = 0;
    let to = stretches.length;
    if (to > 0 && stretches[to - 1]!.position <= position) return to - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (stretches[middle]!.position <= position) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }
}

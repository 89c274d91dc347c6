// What a stream holds, in segments: neighbouring messages that leave together. Owns where segments begin and which of them have to go.
// Knows no store: a segment is a range of positions with its bytes and the times of its first and its last message.
// Invariants: segments ascend and leave nothing out; the last one takes new messages and never goes; times never fall; there are at most
// SEGMENTS_MAX of them, whatever a client asks for, so that a stream of any length costs little memory.

/** Segments that one stream is told apart in. Beyond, neighbours are taken together. */
export const SEGMENTS_MAX = 4_096;
/** A segment of a stream with an age limit also ends after so great a share of it, so that a slow stream loses its old messages in time. */
export const AGE_SHARE = 8;

/** Neighbouring messages. */
interface Segment {
  /** Position of its first message. */
  readonly first: number;
  readonly firstTime: number;
  /** Time of its last message. */
  lastTime: number;
  /** Stored bytes of its messages. */
  bytes: number;
  /** Body bytes of its messages. */
  bodyBytes: number;
}

/** What a stream keeps. */
export interface Retention {
  /** Stored bytes; Infinity for no limit. */
  readonly bytesMax: number;
  /** Milliseconds; Infinity for no limit. */
  readonly maxAgeMs: number;
  /** Stored bytes after which a new segment begins. */
  readonly segmentBytesMax: number;
}

/** The segments of one stream. */
export class StreamSegments {
  /** Stored bytes of all messages. */
  bytes = 0;
  /** Body bytes of all messages. */
  bodyBytes = 0;
  private list: Segment[] = [];

  get count(): number {
    return this.list.length;
  }

  /** Position of the oldest message; 0 when there is none. */
  get first(): number {
    return this.list[0]?.first ?? 0;
  }

  /** One more message. @returns true when it began a new segment, so that older ones may have to go */
  add(position: number, time: number, bytes: number, bodyBytes: number, retention: Retention): boolean {
    this.bytes += bytes;
    this.bodyBytes += bodyBytes;
    const { list } = this;
    const last = list[list.length - 1];
    if (last !== undefined && !isFull(last, time, retention)) {
      last.lastTime = time;
      last.bytes += bytes;
      last.bodyBytes += bodyBytes;
      return false;
    }
    if (list.length >= SEGMENTS_MAX) this.halve();
    this.list.push({ first: position, firstTime: time, lastTime: time, bytes, bodyBytes });
    return true;
  }

  /** Takes the segments out that are too much or too old. @returns the position of the first message that stays; 0 when nothing goes */
  expire(retention: Retention, now: number): number {
    const { list } = this;
    let gone = 0;
    // The last one stays, whatever the limits say (RabbitMQ).
    for (; gone < list.length - 1; gone++) {
      const segment = list[gone]!;
      const isTooOld = segment.lastTime + retention.maxAgeMs < now;
      if (!isTooOld && this.bytes <= retention.bytesMax) break;
      this.bytes -= segment.bytes;
      this.bodyBytes -= segment.bodyBytes;
    }
    if (gone === 0) return 0;
    list.splice(0, gone);
    return list[0]!.first;
  }

  /** When the oldest segment is too old; Infinity when it never will be, or is the only one. */
  expiresAt(retention: Retention): number {
    const { list } = this;
    return list.length < 2 ? Number.POSITIVE_INFINITY : list[0]!.lastTime + retention.maxAgeMs;
  }

  /** Where the first message of this time or a later one is to be looked for. */
  rangeOf(time: number): TimeRange {
    const { list } = this;
    let from = 0;
    let to = list.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (list[middle]!.lastTime < time) from = middle + 1;
      else to = middle;
    }
    const segment = list[from];
    if (segment === undefined) return { from: Number.POSITIVE_INFINITY, to: Number.POSITIVE_INFINITY };
    if (segment.firstTime >= time) return { from: segment.first, to: segment.first };
    return { from: segment.first, to: list[from + 1]?.first ?? Number.POSITIVE_INFINITY };
  }

  /** Takes each two neighbours together, the last one left out: it may be small yet. */
  private halve(): void {
    const { list } = this;
    const halved: Segment[] = [];
    const end = list.length - 1;
    for (let i = 0; i < end; i += 2) {
      const segment = list[i]!;
      if (i + 1 < end) {
        const next = list[i + 1]!;
        segment.lastTime = next.lastTime;
        segment.bytes += next.bytes;
        segment.bodyBytes += next.bodyBytes;
      }
      halved.push(segment);
    }
    halved.push(list[end]!);
    this.list = halved;
  }
}

/** Positions from … to, without the last; equal ends name the message itself, an end at infinity is that of the stream. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

function isFull(segment: Segment, time: number, retention: Retention): boolean {
  return (
    segment.bytes >= retention.segmentBytesMax || (time - segment.firstTime) * AGE_SHARE >= retention.maxAgeMs
  );
}

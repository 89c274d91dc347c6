// An entry as it is handed out, and how the living entries of a segment become a list of them. Owns no bytes: entries point into the
// segment's or the pack's buffer. One small object an entry is what the seam asks for; nothing else is allocated per entry.

import type { PackView } from './body-pack.ts';
import type { RecordCursor } from './records.ts';
import type { Segment } from './segment.ts';
import type { Lane, Position, StoredEntry } from './store.ts';
import type { Returned } from './values.ts';

class Entry implements StoredEntry {
  readonly position: Position;
  readonly lane: Lane;
  readonly expiresAt: number;
  readonly tries: number;
  readonly dueAt: number;
  readonly transient: boolean;
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(
    record: RecordCursor,
    returned: Returned | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ) {
    this.position = record.position;
    this.lane = record.lane;
    this.expiresAt = record.expiresAt;
    this.tries = returned === undefined ? record.tries : returned.tries;
    this.dueAt = returned === undefined ? record.dueAt : returned.dueAt;
    this.transient = record.transient;
    this.buffer = buffer;
    this.start = start;
    this.end = end;
  }
}

/**
 * The entry of the record that the cursor stands on; null when its pack does not hold what the record says.
 * @param pack the pack that the record names, null when it names none or the pack cannot be had
 */
export function entryOf(
  record: RecordCursor,
  segment: Segment,
  bytes: Buffer,
  pack: PackView | null,
): StoredEntry | null {
  const returned =
    segment.returned === null ? undefined : segment.returned.get(record.position - segment.first);
  if (record.pack === 0) return new Entry(record, returned, bytes, record.start, record.next);
  if (pack === null || record.index + 1 >= pack.starts.length) return null;
  const start = pack.starts[record.index]!;
  const end = pack.starts[record.index + 1]!;
  return end - start === record.length ? new Entry(record, returned, pack.buffer, start, end) : null;
}

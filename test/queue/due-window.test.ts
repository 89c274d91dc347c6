// The window of due entries against plain lists.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DueEntry, DueWindow } from '../../src/queue/due-window.ts';
import type { StoredEntry } from '../../src/store/store.ts';

interface Plain {
  readonly deadline: number;
  readonly position: number;
  /** Null when the store has lost it. */
  readonly text: string | null;
}

function stored(position: number, text: string): StoredEntry {
  const buffer = Buffer.from(`<${text}>`, 'latin1');
  return {
    position,
    lane: position % 7,
    expiresAt: position * 3,
    tries: position % 1_000,
    dueAt: position * 5,
    transient: position % 2 === 1,
    buffer,
    start: 1,
    end: buffer.length - 1,
  };
}

function windowOf(entries: readonly Plain[]): DueWindow {
  const window = new DueWindow(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  for (const { deadline, position, text } of entries) window.push(deadline, position, text?.length ?? 9);
  window.seal();
  return window;
}

const position = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 2 ** 48 - 1 }));
const entries = fc.uniqueArray(
  fc.record({
    deadline: fc.integer({ min: 0, max: 50 }),
    position,
    text: fc.option(fc.string({ unit: 'binary-ascii', maxLength: 3_000 }), { freq: 8 }),
  }),
  { selector: (entry) => entry.position, maxLength: 60 },
);

describe('a window of entries that are due', () => {
  it('hands over what came, in the order of times, with all that is known of it', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const window = windowOf(list);
        const ascending = [...list].sort((a, b) => a.position - b.position);
        expect([...window.positions]).toEqual(ascending.map((entry) => entry.position));
        let held = 0;
        for (const { position, text } of ascending)
          if (text !== null) held += window.take(stored(position, text));
        // Shown again, as after a read that failed.
        for (const { position, text } of ascending)
          if (text !== null) expect(window.take(stored(position, text))).toBe(0);
        const gone: number[] = [];
        window.dropMissing((position) => gone.push(position));
        expect(gone.sort((a, b) => a - b)).toEqual(
          ascending.filter((entry) => entry.text === null).map((entry) => entry.position),
        );
        const wanted = list
          .filter((entry) => entry.text !== null)
          .sort((a, b) => a.deadline - b.deadline || a.position - b.position);
        const shown = new DueEntry();
        for (const { deadline, position, text } of wanted) {
          expect([window.deadline, window.position, window.bodyLength]).toEqual([
            deadline,
            position,
            text!.length,
          ]);
          held -= window.heldBytes;
          window.show(shown);
          const { buffer, start, end, ...facts } = shown;
          expect(buffer.toString('latin1', start, end)).toBe(text);
          const { buffer: _buffer, start: _start, end: _end, ...expected } = stored(position, text!);
          expect(facts).toEqual(expected);
        }
        expect(window.left).toBe(0);
        expect(held).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('is full by number or by bytes, but takes one entry however large it is', () => {
    const few = new DueWindow(0, 2, 1_000_000);
    few.push(1, 1, 10);
    expect(few.isFull).toBe(false);
    few.push(2, 2, 10);
    expect(few.isFull).toBe(true);
    const small = new DueWindow(0, 100, -5);
    expect(small.isFull).toBe(false);
    small.push(1, 1, 10);
    expect(small.isFull).toBe(true);
  });
});

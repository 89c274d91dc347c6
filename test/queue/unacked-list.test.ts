// What consumers hold, against a plain set.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Entry } from '../../src/message/entry.ts';
import { UnackedList } from '../../src/queue/unacked-list.ts';
import { messageOf } from './kit.ts';

const OWNER = { ack: () => {}, requeue: () => {}, reject: () => {} };
const MESSAGE = messageOf('x');

describe('what is unacked', () => {
  it('is held until it is released, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 100 }), (steps) => {
        const list = new UnackedList();
        const model = new Set<Entry>();
        const entries = Array.from({ length: 21 }, (_, i) => new Entry(OWNER, MESSAGE, i + 1));
        for (const [i, entry] of entries.entries()) entry.stored = i % 2 === 0;
        for (const step of steps) {
          const entry = entries[step]!;
          if (model.delete(entry)) list.release(entry);
          else {
            model.add(entry);
            list.hold(entry);
          }
          expect(list.size).toBe(model.size);
          const stored = [...model].filter((each) => each.stored).map(({ position }) => position);
          expect(list.storedPositions()).toEqual(stored.sort((a, b) => a - b));
        }
      }),
    );
  });
});

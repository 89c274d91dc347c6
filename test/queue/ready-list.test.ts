// The order of what waits, held against a plain sorted array.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Entry } from '../../src/message/entry.ts';
import { ReadyList } from '../../src/queue/ready-list.ts';
import { messageOf } from './kit.ts';

const OWNER = { ack: () => {}, requeue: () => {}, reject: () => {} };
const MESSAGE = messageOf('x');

describe('what is ready', () => {
  it('comes out in the order of positions, whatever comes back in between', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.constant('push' as const) },
      { weight: 3, arbitrary: fc.constant('shift' as const) },
      { weight: 3, arbitrary: fc.nat({ max: 1_000 }) },
      { weight: 2, arbitrary: fc.record({ find: fc.nat({ max: 60 }), take: fc.boolean() }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const list = new ReadyList();
        const model: number[] = [];
        const out: Entry[] = [];
        let next = 1;
        for (const what of steps) {
          if (what === 'push') {
            list.push(new Entry(OWNER, MESSAGE, next));
            model.push(next++);
          } else if (what === 'shift') {
            expect(list.peek()?.position).toBe(model[0]);
            const entry = list.shift();
            expect(entry?.position).toBe(model.shift());
            if (entry !== null) out.push(entry);
          } else if (typeof what === 'object') {
            const found = list.find(what.find);
            expect(found?.position).toBe(model.find((position) => position === what.find));
            if (found !== null && what.take) {
              list.take(found);
              model.splice(model.indexOf(what.find), 1);
              out.push(found);
            }
          } else if (out.length > 0) {
            const [entry] = out.splice(what % out.length, 1);
            list.putBack(entry!);
            model.push(entry!.position);
            model.sort((a, b) => a - b);
          }
          expect(list.length).toBe(model.length);
        }
        while (model.length > 0) expect(list.shift()!.position).toBe(model.shift());
        expect(list.shift()).toBeNull();
        expect(list.peek()).toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  it('takes back a hundred thousand in any order without taking for ever', () => {
    const list = new ReadyList();
    const entries = Array.from({ length: 100_000 }, (_, i) => new Entry(OWNER, MESSAGE, i + 1));
    const began = performance.now();
    // As a consumer that rejects the odd ones last to first, then the even ones first to last.
    for (let i = entries.length - 1; i > 0; i -= 2) list.putBack(entries[i]!);
    for (let i = 0; i < entries.length; i += 2) list.putBack(entries[i]!);
    for (let i = 1; i <= entries.length; i++)
      if (list.shift()!.position !== i) throw new Error(`${i} is missing`);
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});

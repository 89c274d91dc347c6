// The mark that makes the redelivered flag after a crash, against a store whose commits are ended by hand.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Entry } from '../../src/message/entry.ts';
import { DeliveryMark, MARK_AHEAD, MARK_AHEAD_MAX } from '../../src/queue/delivery-mark.ts';
import type { Shard } from '../../src/store/store.ts';
import { messageOf } from './kit.ts';

const MESSAGE = messageOf('x');
const OWNER = { ack: () => {}, requeue: () => {}, reject: () => {} };

/** A store that counts tickets and remembers in which batch which mark lies. */
class Bench {
  ticket = 1;
  durableTicket = 0;
  /** Marks in the order in which they were written. */
  readonly marks: { readonly ticket: number; readonly upTo: number }[] = [];
  readonly mark: DeliveryMark;

  constructor() {
    this.mark = new DeliveryMark(this as Partial<Shard> as Shard, 1);
  }

  delivered(_queue: number, _lane: number, upTo: number): number {
    this.marks.push({ ticket: this.ticket, upTo });
    return this.ticket;
  }

  /** Seals the open batch. */
  seal(): void {
    this.ticket++;
  }

  /** Everything that is sealed is on disk. */
  land(): void {
    this.durableTicket = this.ticket - 1;
  }

  /** An entry published in the open batch; or, `ticket` 0, one that was read back. */
  entry(position: number, ticket = this.ticket): Entry {
    const entry = new Entry(OWNER, MESSAGE, position);
    entry.durable = true;
    entry.ticket = ticket;
    return entry;
  }

  /** What a crash would find marked if everything up to this batch reached the disk. */
  markAt(ticket: number): number {
    let upTo = 0;
    for (const each of this.marks) if (each.ticket <= ticket) upTo = each.upTo;
    return upTo;
  }

  /** The rule: at every moment from the entry's own commit on, the disk has its mark. */
  isCovered(entry: Entry): boolean {
    for (let t = Math.max(entry.ticket, this.durableTicket); t <= this.ticket; t++)
      if (this.markAt(t) < entry.position) return false;
    return true;
  }
}

describe('the mark of what may have been delivered', () => {
  it('lets a message out that was published in the same batch', () => {
    const bench = new Bench();
    expect(bench.mark.allows(bench.entry(1))).toBe(true);
    expect(bench.marks).toEqual([{ ticket: 1, upTo: 1 + MARK_AHEAD }]);
  });

  it('holds a message back that is on disk already, until its mark is there', () => {
    const bench = new Bench();
    const entry = bench.entry(1);
    bench.seal();
    expect(bench.mark.allows(entry)).toBe(false);
    bench.land();
    expect(bench.mark.allows(entry)).toBe(false);
    bench.seal();
    bench.land();
    expect(bench.mark.allows(entry)).toBe(true);
  });

  it('never holds back what is not durable', () => {
    const bench = new Bench();
    const entry = bench.entry(1);
    entry.durable = false;
    expect(bench.mark.allows(entry)).toBe(true);
    expect(bench.marks).toEqual([]);
  });

  it('costs one write for about a thousand messages', () => {
    const bench = new Bench();
    let held = 0;
    for (let position = 1; position <= 100_000; position++) {
      if (!bench.mark.allows(bench.entry(position))) held++;
      if (position % 100 === 0) {
        bench.seal();
        bench.land();
      }
    }
    expect(held).toBe(0);
    expect(bench.marks.length).toBeLessThanOrEqual(220);
  });

  it('does not make fresh messages wait for a slow disk, however many come during one commit', () => {
    const bench = new Bench();
    let held = 0;
    for (let position = 1; position <= 50_000; position++) {
      if (!bench.mark.allows(bench.entry(position))) held++;
      if (position % 5_000 === 0) bench.seal();
      if (position % 15_000 === 0) bench.land();
    }
    expect(held).toBe(0);
  });

  it('reaches further ahead while an old backlog leaves faster than the disk follows', () => {
    const bench = new Bench();
    let position = 1;
    let commits = 0;
    while (position <= 100_000) {
      while (bench.mark.allows(bench.entry(position, 0))) position++;
      bench.seal();
      bench.land();
      commits++;
    }
    expect(commits).toBeLessThan(20);
    for (const { upTo } of bench.marks) expect(upTo).toBeLessThanOrEqual(position + MARK_AHEAD_MAX);
  });

  it('is set back before a clean stop to what was handed out, now or before', () => {
    const bench = new Bench();
    bench.mark.restore(20);
    expect(bench.mark.coveredBeforeRestart(20)).toBe(true);
    expect(bench.mark.coveredBeforeRestart(21)).toBe(false);
    bench.mark.allows(bench.entry(25));
    bench.mark.settle();
    expect(bench.marks.at(-1)!.upTo).toBe(20);
    bench.mark.handOut(25);
    bench.mark.settle();
    expect(bench.marks.at(-1)!.upTo).toBe(25);
  });

  it('covers every message that was ever handed out, whenever the broker is killed', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('publish' as const), n: fc.integer({ min: 1, max: 900 }) }),
      },
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('deliver' as const), n: fc.integer({ min: 1, max: 1_500 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('seal' as const), n: fc.constant(0) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('land' as const), n: fc.constant(0) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), n: fc.constant(0) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const bench = new Bench();
        let next = 1;
        let ready: Entry[] = [];
        const out: Entry[] = [];
        for (const { do: what, n } of steps) {
          if (what === 'publish') for (let i = 0; i < n; i++) ready.push(bench.entry(next++));
          else if (what === 'seal') bench.seal();
          else if (what === 'land') bench.land();
          // What comes back from the store has lost its ticket.
          else if (what === 'forget')
            ready = ready.map((entry) =>
              bench.entry(entry.position, entry.ticket < bench.ticket ? 0 : entry.ticket),
            );
          else {
            for (let i = 0; i < n && ready.length > 0 && bench.mark.allows(ready[0]!); i++)
              out.push(ready.shift()!);
          }
          for (let i = Math.max(0, out.length - 3_000); i < out.length; i += 100)
            if (!bench.isCovered(out[i]!)) return false;
          const last = out.at(-1);
          if (last !== undefined && !bench.isCovered(last)) return false;
        }
        return true;
      }),
      { numRuns: 200 },
    );
  });
});

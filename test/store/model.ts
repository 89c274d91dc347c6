// The oracle: what a store must hold, kept as plain lists. Knows nothing of how a store does it.

import type { EnqueueOptions, Lane, Position, QueueNo } from '../../src/store/store.ts';
import type { PlainEntry, Recovered } from './harness.ts';

export interface ModelEntry extends PlainEntry {
  readonly transient: boolean;
}

interface ModelQueue {
  entries: ModelEntry[];
  readonly deliveredUpTo: Map<Lane, Position>;
  used: Position;
}

/** All queues and definitions at one moment. */
export class Model {
  readonly queues = new Map<QueueNo, ModelQueue>();
  readonly definitions = new Map<string, string>();

  queue(number: QueueNo): ModelQueue {
    let queue = this.queues.get(number);
    if (queue === undefined) {
      queue = { entries: [], deliveredUpTo: new Map(), used: 0 };
      this.queues.set(number, queue);
    }
    return queue;
  }

  entries(number: QueueNo): readonly ModelEntry[] {
    return this.queues.get(number)?.entries ?? [];
  }

  enqueue(number: QueueNo, position: Position, text: string, options: EnqueueOptions | null): void {
    const queue = this.queue(number);
    queue.used = position;
    queue.entries.push({
      position,
      text,
      lane: options?.lane ?? 0,
      expiresAt: options?.expiresAt ?? 0,
      tries: options?.tries ?? 0,
      dueAt: options?.dueAt ?? 0,
      transient: options?.transient ?? false,
    });
  }

  remove(number: QueueNo, position: Position): void {
    const queue = this.queues.get(number);
    if (queue !== undefined) queue.entries = queue.entries.filter((entry) => entry.position !== position);
  }

  clear(number: QueueNo, upTo: Position, keep: readonly Position[]): void {
    const queue = this.queues.get(number);
    if (queue === undefined) return;
    queue.entries = queue.entries.filter(({ position }) => position > upTo || keep.includes(position));
  }

  returned(number: QueueNo, position: Position, tries: number, dueAt: number): void {
    const queue = this.queues.get(number);
    if (queue === undefined) return;
    queue.entries = queue.entries.map((entry) =>
      entry.position === position ? { ...entry, tries, dueAt } : entry,
    );
  }

  delivered(number: QueueNo, lane: Lane, upTo: Position): void {
    this.queue(number).deliveredUpTo.set(lane, upTo);
  }

  clone(): Model {
    const copy = new Model();
    for (const [number, queue] of this.queues) {
      copy.queues.set(number, {
        ...queue,
        entries: [...queue.entries],
        deliveredUpTo: new Map(queue.deliveredUpTo),
      });
    }
    for (const [key, value] of this.definitions) copy.definitions.set(key, value);
    return copy;
  }

  /** What a restart leaves of it. */
  persistent(): Model {
    const copy = this.clone();
    for (const queue of copy.queues.values())
      queue.entries = queue.entries.filter((entry) => !entry.transient);
    return copy;
  }

  /** In a form that tests compare: queues that hold nothing are not told from those that do not exist. */
  describe(): unknown {
    const queues = [...this.queues]
      .filter(([, queue]) => queue.entries.length > 0)
      .sort(([a], [b]) => a - b)
      .map(([number, queue]) => ({ number, entries: queue.entries.map(plainOf) }));
    return { queues, definitions: [...this.definitions].sort() };
  }
}

export function plainOf({ position, text, lane, expiresAt, tries, dueAt }: ModelEntry): PlainEntry {
  return { position, text, lane, expiresAt, tries, dueAt };
}

/** What a store recovered, in the same form. */
export function describeRecovered(recovered: Recovered): unknown {
  const queues = [...recovered.entries_]
    .filter(([, entries]) => entries.length > 0)
    .sort(([a], [b]) => a - b)
    .map(([number, entries]) => ({ number, entries }));
  return { queues, definitions: [...recovered.definitions].sort() };
}

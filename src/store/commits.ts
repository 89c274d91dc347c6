// Who waits for the disk: confirm channels, replies to durable declares, queues whose mark is on its way.
// Owns the list of waiters; the store's one callback per commit walks it. No promise, no closure per message.

import type { Ticket } from './store.ts';

/** Somebody who waits for a batch. */
export interface CommitWaiter {
  /** True while it stands in the list. Written by the list only. */
  awaitingCommit: boolean;
  /** Every ticket up to `upTo` is on disk. @returns true to go on waiting */
  committed(upTo: Ticket): boolean;
}

/** The waiters of one broker. */
export class Commits {
  private waiters: CommitWaiter[] = [];

  /** Calls `waiter.committed` at the next commit, and as long as it wants to go on. */
  await(waiter: CommitWaiter): void {
    if (waiter.awaitingCommit) return;
    waiter.awaitingCommit = true;
    this.waiters.push(waiter);
  }

  durable(upTo: Ticket): void {
    const before = this.waiters;
    this.waiters = [];
    for (let i = 0; i < before.length; i++) {
      const waiter = before[i]!;
      waiter.awaitingCommit = false;
      if (waiter.committed(upTo)) this.await(waiter);
    }
  }
}

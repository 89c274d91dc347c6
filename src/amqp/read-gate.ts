// Why a connection is not read from, and when it is again.
// Owns the reasons and the stream's pause; whoever pauses for a reason resumes for it. Knows no frame: what a closed gate means for
// bytes that have come already is the connection's business, which is told when the gate opens.
// Invariant: the stream flows, or was asked to, whenever there is no reason against it and nothing waits to be handled first.

import type { Duplex } from 'node:stream';

/**
 * blocked: an alarm is on. pressure: the store has too much in hand. turn: this turn's share is used up. login: a password is being
 * checked. replies: too many requests wait for the disk. output: the client does not take the answers to what it asked for.
 */
export type PauseReason = 'blocked' | 'pressure' | 'turn' | 'login' | 'replies' | 'output';

/** The gate of one connection. */
export class ReadGate {
  /** Nothing speaks against reading. */
  isOpen = true;
  private readonly stream: Duplex;
  private readonly opened: () => void;
  private readonly reasons = new Set<PauseReason>();
  private ending = false;

  /** @param opened called when the last reason went; has to let the stream flow */
  constructor(stream: Duplex, opened: () => void) {
    this.stream = stream;
    this.opened = opened;
  }

  has(why: PauseReason): boolean {
    return this.reasons.has(why);
  }

  /** Something other than the client's own refusal to read speaks against reading. */
  get isShutByUs(): boolean {
    return this.reasons.size > (this.reasons.has('output') ? 1 : 0);
  }

  pause(why: PauseReason): void {
    if (this.ending && why !== 'turn') return;
    if (this.isOpen) {
      this.isOpen = false;
      this.stream.pause();
    }
    this.reasons.add(why);
  }

  resume(why: PauseReason): void {
    if (this.isOpen) return;
    this.reasons.delete(why);
    if (this.reasons.size === 0) this.open();
  }

  /** The connection is ending: from now on it is read for its last words, whatever spoke against it; only turns still count. */
  end(): void {
    this.ending = true;
    this.reasons.clear();
    if (!this.isOpen) this.open();
  }

  private open(): void {
    this.isOpen = true;
    this.opened();
  }
}

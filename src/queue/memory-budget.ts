// How much message memory the queues of one broker may use together before they leave the rest on disk.
// Owns one sum and two limits. Knows no queue.

/** Shared by all queues of a broker. */
export class MemoryBudget {
  /** Bytes of ready messages held in memory, all queues together. */
  used = 0;
  /** Bytes one queue may hold. */
  readonly queueMax: number;
  /** Bytes all queues may hold together; above it every queue pages beyond `queueMin`. */
  readonly totalMax: number;
  /** Bytes a queue keeps whatever the others use, so that a busy neighbour does not send it to disk. */
  readonly queueMin: number;

  constructor(queueMax: number, totalMax: number) {
    this.queueMax = queueMax;
    this.totalMax = totalMax;
    this.queueMin = Math.min(queueMax, 64 * 1024);
  }

  /** Bytes one queue may hold as things stand. */
  get share(): number {
    return this.used > this.totalMax ? this.queueMin : this.queueMax;
  }

  /** A queue that holds `bytes` has to stop keeping new messages in memory. */
  exceededBy(bytes: number): boolean {
    return bytes > this.queueMax || (bytes > this.queueMin && this.used > this.totalMax);
  }
}

// Invariants, checked in production too: a broker that goes on with a broken invariant loses messages.

/** Thrown when an invariant of our own does not hold; never caused by a client alone. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`broken invariant: ${message}`);
    this.name = 'InvariantError';
  }
}

/** @throws InvariantError when `condition` is false. `message` must be a constant: it is not worth building on a hot path. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

// What a workload and its round-trip process tell each other. Owns the two forms, nothing else.

/** What the process does on the open channel that it is handed. */
export interface TripJob {
  /**
   * get: write the request, wait for what it brings, acknowledge it in front of the next one. confirm: write the publish, wait for its
   * confirm. read: write nothing, read deliveries whose first eight bytes say when they were written (`monotonicMs`). pace: write the
   * publish at a fixed rate, with such a time in it, and read nothing.
   */
  readonly kind: 'get' | 'confirm' | 'read' | 'pace';
  /** Frames of the request in base64; empty for `read`. */
  readonly request: string;
  /** Messages a second for `pace`. */
  readonly perSecond: number;
  /** Bytes of the body in the request. */
  readonly bodyBytes: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

/** So many gets lie between two lines that say how far it is. */
export const GETS_TOLD = 500;

/** One line of its output: how many messages it has got so far, that the window begins, what it held, why there is nothing more to say. */
export type TripWord =
  | { readonly word: 'got'; readonly count: number }
  | { readonly word: 'begin' }
  | { readonly word: 'failed'; readonly reason: string }
  | ({ readonly word: 'end' } & TripResult);

/** What was counted in the window. */
export interface TripResult {
  /** Round trips, or messages read. */
  readonly count: number;
  readonly seconds: number;
  /** CPU seconds of the process. */
  readonly cpu: number;
  /** Gets that found nothing. */
  readonly empties: number;
  /** Publishes that were nacked. */
  readonly refused: number;
  /** Milliseconds of a round trip, or from write to read. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

// Memory for message contents: small ones share a slab, large ones get a buffer of their own.
// Why: a Buffer object a message costs more than a small body itself, and allocating it more than copying it.
// Invariant: a slab is only ever appended to; it is freed by the garbage collector when its last message is gone.

import { viewOf } from '../base/words.ts';

/** Size of a slab in bytes. Small, because one long-lived message keeps its whole slab. */
export const SLAB_BYTES = 32 * 1024;
/** Contents above this many bytes get a buffer of their own. */
export const SLAB_SHARE_MAX = 4 * 1024;

/** Where an allocation lies. One object, reused by every call: read it before the next. */
export interface Place {
  buffer: Buffer;
  /** What short copies go by; null for a large allocation. */
  view: DataView | null;
  at: number;
}

const place: Place = { buffer: Buffer.alloc(0), view: null, at: 0 };
let slab: Buffer = Buffer.alloc(0);
let view: DataView | null = null;
let used = 0;

/** Takes `length` bytes (uninitialised). The result is valid until the next call. */
export function allocate(length: number): Place {
  if (length > SLAB_SHARE_MAX) {
    place.buffer = Buffer.allocUnsafeSlow(length);
    place.view = null;
    place.at = 0;
    return place;
  }
  if (used + length > slab.length) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    view = viewOf(slab);
    used = 0;
  }
  place.buffer = slab;
  place.view = view;
  place.at = used;
  used += length;
  return place;
}

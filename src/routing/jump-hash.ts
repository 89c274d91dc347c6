// Jump consistent hashing (Lamping and Veach, 2014): which of N buckets a hash belongs to, so that one bucket more moves one key in N.
// Owns the random sequence that it jumps by: the one of RabbitMQ, so that a key goes to the same bucket as there. Knows no destination.
//
// The sequence is Vigna's xorshift1024*, and its state is filled by his xorshift64* (both public domain), 64 bits as two words each.
// Erlang's way to seed it uses 21 bits of the hash: more than 2,097,152 keys cannot be told apart.

const SEED_MASK = 0x1fffff;
/** Multipliers of both generators. */
const FILL_HIGH = 0x2545f491;
const FILL_LOW = 0x4f6cdd1d;
const STEP_HIGH = 0x106689d4;
const STEP_LOW = 0x5497fdb5;

const stateHigh = new Uint32Array(16);
const stateLow = new Uint32Array(16);
let position = 0;
/** The last product, 64 bits. */
let productHigh = 0;
let productLow = 0;

/** The bucket, 0 … buckets - 1, of a hash. Only the lowest 21 bits of the hash count. */
export function jumpHash(hash: number, buckets: number): number {
  if (buckets === 1) return 0;
  seed(hash & SEED_MASK);
  let bucket = 0;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    next = Math.trunc((bucket + 1) / random());
  }
  return bucket;
}

function seed(key: number): void {
  // Three words of 21 bits and a one. The products stay below 2^53, their lowest 21 bits are taken by remainder.
  const first = ((key + 1) * 2_097_131) % (SEED_MASK + 1);
  const second = ((key + 1) * 2_097_133) % (SEED_MASK + 1);
  const third = ((key + 1) * 2_097_143) % (SEED_MASK + 1);
  let high = ((first << 11) | (second >>> 10)) >>> 0;
  let low = ((second << 22) | (third << 1) | 1) >>> 0;
  for (let i = 15; i >= 0; i--) {
    let shiftedLow = (low >>> 12) | (high << 20);
    high = (high ^ (high >>> 12)) >>> 0;
    low = (low ^ shiftedLow) >>> 0;
    const shiftedHigh = (high << 25) | (low >>> 7);
    low = (low ^ (low << 25)) >>> 0;
    high = (high ^ shiftedHigh) >>> 0;
    shiftedLow = (low >>> 27) | (high << 5);
    high = (high ^ (high >>> 27)) >>> 0;
    low = (low ^ shiftedLow) >>> 0;
    multiply(high, low, FILL_HIGH, FILL_LOW);
    stateHigh[i] = productHigh;
    stateLow[i] = productLow;
  }
  position = 0;
}

/** The next number of the sequence, 0 … 1. */
function random(): number {
  const oldHigh = stateHigh[position]!;
  const oldLow = stateLow[position]!;
  position = (position + 1) & 15;
  let high = stateHigh[position]!;
  let low = stateLow[position]!;
  high ^= (high << 31) | (low >>> 1);
  low ^= low << 31;
  const lowBy11 = (low >>> 11) | (high << 21);
  high ^= high >>> 11;
  low ^= lowBy11;
  high ^= oldHigh ^ (oldHigh >>> 30);
  low ^= oldLow ^ ((oldLow >>> 30) | (oldHigh << 2));
  stateHigh[position] = high;
  stateLow[position] = low;
  multiply(high >>> 0, low >>> 0, STEP_HIGH, STEP_LOW);
  return (productHigh * 2 ** 32 + productLow) / 2 ** 64;
}

/** The lowest 64 bits of a product of two 64-bit numbers. */
function multiply(high: number, low: number, byHigh: number, byLow: number): void {
  const low0 = low & 0xffff;
  const low1 = low >>> 16;
  const by0 = byLow & 0xffff;
  const by1 = byLow >>> 16;
  const lowest = low0 * by0;
  // Neither sum reaches 2^32.
  const middle = low1 * by0 + (lowest >>> 16);
  const other = low0 * by1 + (middle & 0xffff);
  const carried = low1 * by1 + (middle >>> 16) + (other >>> 16);
  productHigh = (carried + Math.imul(high, byLow) + Math.imul(low, byHigh)) >>> 0;
  productLow = Math.imul(low, byLow) >>> 0;
}

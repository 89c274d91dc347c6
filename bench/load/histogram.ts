// Latencies in a fixed piece of memory: log-linear buckets, 64 to every power of two, so a value is known to within 1.6 %.
// Owns the counting of non-negative numbers; the unit is the caller's (here: microseconds).

const SUB_BITS = 6;
const SUB = 1 << SUB_BITS;
const BUCKETS = (32 - SUB_BITS + 1) * SUB;

/** Counts values from 0 to 2^32; above that they are counted as 2^32. */
export class Histogram {
  /** Values counted. */
  count = 0;
  /** Greatest value, exact. */
  max = 0;
  private readonly buckets = new Float64Array(BUCKETS);

  /** Counts `value`, `times` times. */
  record(value: number, times = 1): void {
    const whole = value < 0 ? 0 : value > 0xffffffff ? 0xffffffff : Math.floor(value);
    if (value > this.max) this.max = value;
    this.count += times;
    let index = whole;
    if (whole >= SUB) {
      const exponent = 31 - Math.clz32(whole);
      const shift = exponent - SUB_BITS;
      index = (shift + 1) * SUB + (whole >>> shift) - SUB;
    }
    this.buckets[index] = this.buckets[index]! + times;
  }

  /** The value that `share` (0 … 1) of the counted values do not exceed; 0 when nothing was counted. */
  quantile(share: number): number {
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil(share * this.count));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.buckets[i]!;
      if (seen >= rank) return Math.min(upperBound(i), this.max);
    }
    return this.max;
  }

  /** Forgets everything: the end of a warm-up. */
  clear(): void {
    this.count = 0;
    this.max = 0;
    this.buckets.fill(0);
  }
}

function upperBound(index: number): number {
  if (index < SUB) return index;
  const shift = Math.floor(index / SUB) - 1;
  return ((index % SUB) + SUB + 1) * 2 ** shift - 1;
}

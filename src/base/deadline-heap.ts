// Numbers by deadline, very many of them: a binary heap over typed arrays, 20 bytes a value and no object each.
// Owns the order and the memory. Knows nothing of what the numbers mean.
// Invariants: the least value is the one with the earliest deadline and, among equal ones, the least id; memory grows and shrinks by
// whole chunks, so that nothing large is ever copied, and a heap of a few values takes a few hundred bytes.

/** Values of one chunk, as a power of two. */
const CHUNK_BITS = 13;
const CHUNK = 1 << CHUNK_BITS;
const MASK = CHUNK - 1;
/** Values for which the first chunk has room in the beginning; it doubles until it is a whole one. */
const FIRST = 64;

/** Bytes that one value takes. */
export const DEADLINE_BYTES = 20;

/** Values with a deadline, an id and a size. */
export class DeadlineHeap {
  /** Values in it. */
  length = 0;
  private deadlines: Float64Array[] = [];
  private ids: Float64Array[] = [];
  private sizes: Uint32Array[] = [];
  /** Values for which there is room. */
  private capacity = 0;

  /** Bytes of memory it takes. */
  get byteLength(): number {
    return this.capacity * DEADLINE_BYTES;
  }

  /** Deadline of the least value; Infinity when empty. */
  get deadline(): number {
    return this.length === 0 ? Number.POSITIVE_INFINITY : this.deadlines[0]![0]!;
  }

  /** Id of the least value. Only when there is one. */
  get id(): number {
    return this.ids[0]![0]!;
  }

  /** Size of the least value. Only when there is one. */
  get size(): number {
    return this.sizes[0]![0]!;
  }

  /** Id of the value at a place 0 … length - 1; places are in no order that means anything. */
  idAt(at: number): number {
    return this.ids[at >>> CHUNK_BITS]![at & MASK]!;
  }

  /** Size of the value at a place. */
  sizeAt(at: number): number {
    return this.sizes[at >>> CHUNK_BITS]![at & MASK]!;
  }

  /** @param size 0 … 2^32 - 1 */
  push(deadline: number, id: number, size: number): void {
    if (this.length === this.capacity) this.grow();
    this.rise(this.length++, deadline, id, size);
  }

  /** Takes the least value away. Only when there is one. */
  shift(): void {
    this.removeAt(0);
  }

  /** Takes the value at a place away; another one takes the place, unless it was the last. */
  removeAt(at: number): void {
    const last = --this.length;
    if (at !== last) {
      const chunk = last >>> CHUNK_BITS;
      const place = last & MASK;
      this.settle(at, this.deadlines[chunk]![place]!, this.ids[chunk]![place]!, this.sizes[chunk]![place]!);
    }
    this.shrink();
  }

  clear(): void {
    this.length = 0;
    this.capacity = 0;
    this.deadlines = [];
    this.ids = [];
    this.sizes = [];
  }

  /** Puts a value where it belongs, from a free place in the middle on. */
  private settle(at: number, deadline: number, id: number, size: number): void {
    if (at !== 0 && this.isBefore(deadline, id, (at - 1) >>> 1)) this.rise(at, deadline, id, size);
    else this.sink(at, deadline, id, size);
  }

  private rise(from: number, deadline: number, id: number, size: number): void {
    let at = from;
    while (at !== 0) {
      const parent = (at - 1) >>> 1;
      if (!this.isBefore(deadline, id, parent)) break;
      this.move(parent, at);
      at = parent;
    }
    this.write(at, deadline, id, size);
  }

  private sink(from: number, deadline: number, id: number, size: number): void {
    const { length } = this;
    let at = from;
    for (let child = 2 * at + 1; child < length; child = 2 * at + 1) {
      const right = child + 1;
      if (
        right < length &&
        this.isBefore(this.deadlines[right >>> CHUNK_BITS]![right & MASK]!, this.idAt(right), child)
      )
        child = right;
      if (this.isBefore(deadline, id, child)) break;
      this.move(child, at);
      at = child;
    }
    this.write(at, deadline, id, size);
  }

  private isBefore(deadline: number, id: number, at: number): boolean {
    const other = this.deadlines[at >>> CHUNK_BITS]![at & MASK]!;
    return deadline < other || (deadline === other && id < this.idAt(at));
  }

  private move(from: number, to: number): void {
    const chunk = from >>> CHUNK_BITS;
    const place = from & MASK;
    this.write(to, this.deadlines[chunk]![place]!, this.ids[chunk]![place]!, this.sizes[chunk]![place]!);
  }

  private write(at: number, deadline: number, id: number, size: number): void {
    const chunk = at >>> CHUNK_BITS;
    const place = at & MASK;
    this.deadlines[chunk]![place] = deadline;
    this.ids[chunk]![place] = id;
    this.sizes[chunk]![place] = size;
  }

  private grow(): void {
    if (this.capacity >= CHUNK || this.capacity === 0) {
      const room = this.capacity === 0 ? FIRST : CHUNK;
      this.deadlines.push(new Float64Array(room));
      this.ids.push(new Float64Array(room));
      this.sizes.push(new Uint32Array(room));
      this.capacity += room;
    } else this.resizeFirst(this.capacity * 2);
  }

  /** Gives memory back once there is clearly too much, so that a length that goes up and down at an edge costs nothing. */
  private shrink(): void {
    const { length, capacity } = this;
    if (capacity > CHUNK) {
      if (length > capacity - CHUNK - CHUNK / 2) return;
      this.deadlines.pop();
      this.ids.pop();
      this.sizes.pop();
      this.capacity -= CHUNK;
    } else if (capacity > FIRST && length <= capacity / 4) this.resizeFirst(capacity / 2);
  }

  private resizeFirst(capacity: number): void {
    const { length } = this;
    const deadlines = new Float64Array(capacity);
    const ids = new Float64Array(capacity);
    const sizes = new Uint32Array(capacity);
    deadlines.set(this.deadlines[0]!.subarray(0, length));
    ids.set(this.ids[0]!.subarray(0, length));
    sizes.set(this.sizes[0]!.subarray(0, length));
    this.deadlines[0] = deadlines;
    this.ids[0] = ids;
    this.sizes[0] = sizes;
    this.capacity = capacity;
  }
}

// The tally of what is stored: how many keys, and a hash over all of them and their values. It goes into the head with every
// commit, so that recovery notices when the engine has lost or revived something in silence (LevelDB skips damaged parts of
// its log). Owns two numbers, and whether they changed. Invariants: they speak of the state after the open batch; a batch that changes
// them is synced, for everything after it must find it; what is not counted here may vanish in a power cut and must not be missed.

/** Counts keys and combines their hashes by exclusive or, so that adding and taking away commute. */
export class Tally {
  keys: number;
  hash: number;
  /** Set by every change; taken back by whoever sealed the batch in which it happened. */
  changed = false;

  constructor(keys: number, hash: number) {
    this.keys = keys;
    this.hash = hash;
  }

  add(hash: number): void {
    this.keys++;
    this.changed = true;
    this.hash = (this.hash ^ hash) >>> 0;
  }

  remove(hash: number): void {
    this.keys--;
    this.changed = true;
    this.hash = (this.hash ^ hash) >>> 0;
  }
}

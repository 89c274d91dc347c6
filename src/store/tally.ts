// The tally of what is stored: how many keys, and a hash over all of them and their values. It goes into the head with every
// commit, so that recovery notices when the engine has lost or revived something in silence (LevelDB skips damaged parts of
// its log). Owns two numbers. Invariant: they speak of the state after the open batch.

/** Counts keys and combines their hashes by exclusive or, so that adding and taking away commute. */
export class Tally {
  keys: number;
  hash: number;

  constructor(keys: number, hash: number) {
    this.keys = keys;
    this.hash = hash;
  }

  add(hash: number): void {
    this.keys++;
    this.hash = (this.hash ^ hash) >>> 0;
  }

  remove(hash: number): void {
    this.keys--;
    this.hash = (this.hash ^ hash) >>> 0;
  }
}

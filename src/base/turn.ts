// The heartbeat of the broker: once per event-loop iteration deliver, then commit, then flush.
// Owns the order of the three phases. Knows nothing of queues, stores or sockets: it calls interfaces.
// Invariants: what is woken or queued during a turn runs in the next one; at most one turn is scheduled; one that fails
// does not stop the others; a wake allocates nothing (two arrays take turns); a scheduled turn begins nothing more once it has
// delivered for as long as it may, and what had to wait is first in the next one.
//
// Why turns are quick at times: whoever asks little waits for the turn that is being worked on, so a turn should be short; whoever does much
// is served cheapest in long ones: one look at the sockets, one commit and one write for more messages. So turns are long, except
// while somebody is there who asks little (measured beside a publisher that fills a core: 0.5 ms an event-loop iteration instead of 1.2).

/** When the deliver phase of a broker's turn has taken so long, in milliseconds, the rest of it is left to the next turn. */
export const DELIVER_MS_MAX = 20;

/** The same while turns are quick. */
export const QUICK_DELIVER_MS_MAX = 2;

/** For so many turns somebody who asked little counts as being there. */
export const QUICK_TURNS = 32;

/** While the deliver phase of a broker's turn has taken less than this, in milliseconds, who is late may do more than a turn's share. */
const SHORT_MS = 5;

/** Something that has work for the deliver phase. */
export interface Wakeable {
  /** True while it is queued for a turn. Written by the turn only. */
  woken: boolean;
  /** Does a bounded amount of work; wakes itself again when some is left. */
  runTurn(): void;
}

/** Something that has bytes for the flush phase. */
export interface Flushable {
  /** True while it is queued for a flush. Written by the turn only. */
  flushPending: boolean;
  flush(): void;
}

/** Runs the phases. One per broker. */
export class Turn {
  /** Called after the deliver phase of each turn: seals the open batch of the store. Set by the broker. */
  commit: () => void = () => {};
  /** Called with what a runTurn, a flush or the commit threw, and who it was (null for the commit). */
  onError: (error: unknown, who: Wakeable | Flushable | null) => void = rethrowLater;
  /** Turns run so far. */
  turns = 0;
  /** Longest turn since it was last set to 0, in milliseconds. */
  longestTurnMs = 0;

  /** Turns before this one are quick. */
  #quickUntil = 0;

  readonly #schedule: (run: () => void) => void;
  readonly #runScheduled: () => void;
  /** True while a scheduled run is outstanding. */
  #scheduled = false;
  #running = false;
  /** When the deliver phase began, in milliseconds of `performance.now`. */
  #began = 0;
  /** When the deliver phase has to end, in milliseconds of `performance.now`; Infinity for a turn that is run by hand. */
  #deliverUntil = Number.POSITIVE_INFINITY;
  /** True when a commit was asked for that no turn has done yet. */
  #requested = false;
  /** Queued for the next deliver phase; the spare array takes its place while it is worked through. */
  #woken: Wakeable[] = [];
  #wokenSpare: Wakeable[] = [];
  /** Queued for the next flush phase, with its spare. */
  #flushes: Flushable[] = [];
  #flushesSpare: Flushable[] = [];

  /**
   * @param schedule runs a function in the next event-loop iteration; tests pass one that they run by hand
   * @param deliverMsMax how long a scheduled turn may deliver; Infinity for tests, whose turns must not depend on the machine
   */
  constructor(
    schedule: (run: () => void) => void = setImmediate,
    deliverMsMax: number = Number.POSITIVE_INFINITY,
  ) {
    this.#schedule = schedule;
    this.#runScheduled = () => {
      this.#scheduled = false;
      this.#run(deliverMsMax);
    };
  }

  /** Queues `w` for the deliver phase of the next turn, once. */
  wake(w: Wakeable): void {
    if (w.woken) return;
    w.woken = true;
    this.#woken.push(w);
    this.#ensureScheduled();
  }

  /** Queues `f` for the flush phase, once. During the deliver phase and the commit that is this turn's flush phase. */
  flushLater(f: Flushable): void {
    if (f.flushPending) return;
    f.flushPending = true;
    this.#flushes.push(f);
    this.#ensureScheduled();
  }

  /** Asks for a turn without waking anyone: something was written that the next commit must take along. */
  request(): void {
    this.#requested = true;
    this.#ensureScheduled();
  }

  /** Somebody asks little, and should not wait for those who do much: the turns to come are quick. */
  beQuick(): void {
    this.#quickUntil = this.turns + QUICK_TURNS;
  }

  /** Whoever does much does only a small share of it in a turn. */
  get isQuick(): boolean {
    return this.turns < this.#quickUntil;
  }

  /**
   * The deliver phase has taken as long as it may: whoever does many costly things in one `runTurn` leaves the rest of them to the next
   * turn. Costs a look at the clock.
   */
  get isLong(): boolean {
    return this.#deliverUntil !== Number.POSITIVE_INFINITY && performance.now() > this.#deliverUntil;
  }

  /**
   * The deliver phase is still short: who is late and has done a turn's share goes on all the same, for how late it is must not depend on
   * how often turns come. Costs a look at the clock; false in a turn that is run by hand.
   */
  get hasTime(): boolean {
    return this.#deliverUntil !== Number.POSITIVE_INFINITY && performance.now() < this.#began + SHORT_MS;
  }

  /** Runs one turn now, however long it takes: at a stop, and in tests. A call from inside a turn does nothing. */
  run(): void {
    this.#run(Number.POSITIVE_INFINITY);
  }

  #run(deliverMsMax: number): void {
    if (this.#running) return;
    this.#running = true;
    const start = performance.now();
    this.#began = start;
    this.#deliverUntil =
      start + (this.isQuick && deliverMsMax === DELIVER_MS_MAX ? QUICK_DELIVER_MS_MAX : deliverMsMax);

    const woken = this.#woken;
    this.#woken = this.#wokenSpare;
    this.#wokenSpare = woken;
    for (let i = 0; i < woken.length; i++) {
      const w = woken[i]!;
      w.woken = false;
      try {
        w.runTurn();
      } catch (error) {
        this.onError(error, w);
      }
      if (i + 1 < woken.length && this.isLong) {
        this.#postpone(woken, i + 1);
        break;
      }
    }
    woken.length = 0;
    this.#deliverUntil = Number.POSITIVE_INFINITY;

    this.#requested = false;
    try {
      this.commit();
    } catch (error) {
      this.onError(error, null);
    }

    const flushes = this.#flushes;
    this.#flushes = this.#flushesSpare;
    this.#flushesSpare = flushes;
    for (let i = 0; i < flushes.length; i++) {
      const f = flushes[i]!;
      f.flushPending = false;
      try {
        f.flush();
      } catch (error) {
        this.onError(error, f);
      }
    }
    flushes.length = 0;

    this.turns += 1;
    const ms = performance.now() - start;
    if (ms > this.longestTurnMs) this.longestTurnMs = ms;
    this.#running = false;
    if (this.#woken.length > 0 || this.#flushes.length > 0 || this.#requested) this.#ensureScheduled();
  }

  /** What stands in `woken` from a place on goes before what was woken meanwhile. */
  #postpone(woken: readonly Wakeable[], from: number): void {
    const meanwhile = this.#woken;
    this.#woken = woken.slice(from);
    for (let i = 0; i < meanwhile.length; i++) this.#woken.push(meanwhile[i]!);
  }

  #ensureScheduled(): void {
    if (this.#scheduled || this.#running) return;
    this.#scheduled = true;
    this.#schedule(this.#runScheduled);
  }
}

/** Without a handler an error must not vanish: it surfaces as an uncaught exception once the turn is over. */
function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

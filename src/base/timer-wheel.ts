// All coarse timers of a broker on one interval: heartbeats, TTL, expiry, timeouts.
// Owns when a timer fires; knows nothing of what it does. Four wheels of 256 slots, each 256 times as coarse as the one before;
// timers are links of a slot's list, so that setting, re-setting and clearing cost the same with one timer or a million.
// Invariants: a timer never fires early and at most one tick late (plus the lateness of the interval itself); timers that are due
// together fire in the order of their deadlines; the interval runs only while timers are set; a timer set while others
// fire waits for the next tick at least.

import type { Clock, Ticker } from './clock.ts';

/** Wheels. */
const LEVELS = 4;
/** Slots of one wheel. */
const SLOTS = 256;
/** Ticks that one slot of each wheel spans, and after the last wheel the span of all. */
const SPAN = [1, SLOTS, SLOTS ** 2, SLOTS ** 3, SLOTS ** 4] as const;
/** Level of a timer that is due and waits for its call. */
const FIRING = LEVELS;
/** Level of a timer that is not set. */
const UNSET = -1;

/** Something to be done later. One object serves for as many settings as wanted. */
export class Timer {
  /** Called when the time has come; the timer is not set any more then, and may be set again. */
  readonly fire: () => void;
  /** Time it is due, in milliseconds of the wheel; 0 when it was never set. */
  deadline = 0;
  /** Wheel it hangs on. Written by the wheel only. */
  level: number = UNSET;
  /** Neighbours in the slot's list. Written by the wheel only. */
  previous: Timer;
  next: Timer;

  constructor(fire: () => void) {
    this.fire = fire;
    this.previous = this;
    this.next = this;
  }

  /** True from `set` until it fires or is cleared. */
  get isSet(): boolean {
    return this.level !== UNSET;
  }
}

/** Fires timers. One per broker. */
export class TimerWheel {
  /** Called with what a timer threw; the others fire all the same. */
  onError: (error: unknown, timer: Timer) => void = rethrowLater;

  readonly #clock: Clock;
  readonly #tickMs: number;
  /** Heads of the slots' lists, wheel after wheel. A head's neighbours are the last and the first timer. */
  readonly #heads: Timer[] = [];
  /** Head of the list of timers that are due. */
  readonly #firing = new Timer(() => {});
  /** Timers per wheel; the last number counts those in #firing. */
  readonly #counts: number[] = new Array<number>(LEVELS + 1).fill(0);
  /** Due timers of one slot while they are put in order. */
  #due: Timer[] = [];
  #ticker: Ticker | null = null;
  /** Number of the tick whose slot was looked at last. */
  #tick = 0;
  /** What is added to the clock so that the wheel's time never goes backwards. */
  #skewMs = 0;
  /** Latest time of the wheel. */
  #lastMs = 0;

  /** @param tickMs how coarse: a timer is at most this late */
  constructor(clock: Clock, tickMs = 100) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    for (let i = 0; i < LEVELS * SLOTS; i++) this.#heads.push(new Timer(() => {}));
  }

  /** Timers that are set. */
  get size(): number {
    let sum = 0;
    for (let i = 0; i <= LEVELS; i++) sum += this.#counts[i]!;
    return sum;
  }

  /** Sets `timer` to fire in `delayMs` milliseconds, whether it was set before or not. */
  set(timer: Timer, delayMs: number): void {
    const now = this.#time();
    if (timer.level !== UNSET) this.#unlink(timer);
    if (this.#ticker === null) this.#start(now);
    timer.deadline = now + Math.max(0, delayMs);
    this.#place(timer);
  }

  /** Takes `timer` off; nothing happens when it is not set. */
  clear(timer: Timer): void {
    if (timer.level !== UNSET) this.#unlink(timer);
  }

  /** Makes a timer that calls `fire` in `delayMs` milliseconds, and sets it. */
  after(delayMs: number, fire: () => void): Timer {
    const timer = new Timer(fire);
    this.set(timer, delayMs);
    return timer;
  }

  /** Milliseconds until `timer` is due; 0 when it is due or not set. */
  remaining(timer: Timer): number {
    return timer.level === UNSET ? 0 : Math.max(0, timer.deadline - this.#time());
  }

  /** Clears all timers and stops the interval. The wheel can be used again. */
  stop(): void {
    this.#ticker?.stop();
    this.#ticker = null;
    for (const head of this.#heads) this.#unlinkAll(head);
    this.#unlinkAll(this.#firing);
  }

  /** The clock's time, except that it stands still where the clock was put back: a delay is a delay, whatever the calendar says. */
  #time(): number {
    let now = this.#clock.now() + this.#skewMs;
    if (now < this.#lastMs) {
      this.#skewMs += this.#lastMs - now;
      now = this.#lastMs;
    }
    this.#lastMs = now;
    return now;
  }

  #start(now: number): void {
    // Nothing is set, except perhaps timers that are firing this moment: the ticks slept through need no look.
    this.#tick = Math.floor(now / this.#tickMs);
    this.#ticker = this.#clock.every(this.#tickMs, () => this.#onTick());
  }

  #onTick(): void {
    const now = this.#time();
    this.#collect(now);
    while (this.#counts[FIRING]! > 0) {
      const timer = this.#firing.next;
      this.#unlink(timer);
      try {
        timer.fire();
      } catch (error) {
        this.onError(error, timer);
      }
    }
    // Stopping here and not in `clear` spares a timer that is set and cleared all the time the cost of an interval.
    if (this.size === 0 && this.#ticker !== null) {
      this.#ticker.stop();
      this.#ticker = null;
    }
  }

  /** Walks the wheels up to `now` and moves what is due to the firing list, in the order of deadlines. */
  #collect(now: number): void {
    const target = Math.floor(now / this.#tickMs);
    for (;;) {
      this.#takeDue(this.#heads[this.#tick % SLOTS]!, now);
      if (this.#tick >= target) return;
      this.#tick = Math.min(target, this.#nextTick());
      // From the coarsest wheel down: what comes off one may belong on the next finer one, which is looked at next.
      for (let level = LEVELS - 1; level > 0; level--) {
        if (this.#tick % SPAN[level as 1] === 0) this.#cascade(level);
      }
    }
  }

  /** The next tick that can matter: stretches for which the fine wheels are empty are skipped. */
  #nextTick(): number {
    for (let level = 0; level < LEVELS; level++) {
      if (this.#counts[level]! === 0) continue;
      const span = SPAN[level as 0];
      return (Math.floor(this.#tick / span) + 1) * span;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Puts the timers of the coarse slot that begins now where they belong. */
  #cascade(level: number): void {
    const head = this.#heads[level * SLOTS + (Math.floor(this.#tick / SPAN[level as 1]) % SLOTS)]!;
    let timer = head.next;
    head.next = head;
    head.previous = head;
    while (timer !== head) {
      const next = timer.next;
      this.#counts[level]! -= 1;
      this.#place(timer);
      timer = next;
    }
  }

  #takeDue(head: Timer, now: number): void {
    if (head.next === head) return;
    const due = this.#due;
    let ordered = true;
    for (let timer = head.next; timer !== head; timer = timer.next) {
      if (timer.deadline > now) continue;
      if (due.length > 0 && due[due.length - 1]!.deadline > timer.deadline) ordered = false;
      due.push(timer);
    }
    if (!ordered) due.sort(byDeadline);
    for (let i = 0; i < due.length; i++) {
      const timer = due[i]!;
      this.#unlink(timer);
      this.#link(timer, this.#firing, FIRING);
    }
    // A slot that held very many must not pin its list's memory.
    if (due.length > 1_024) this.#due = [];
    else due.length = 0;
  }

  #place(timer: Timer): void {
    const tick = Math.max(this.#tick, Math.floor(timer.deadline / this.#tickMs));
    const ahead = tick - this.#tick;
    let level = 0;
    while (level < LEVELS - 1 && ahead >= SPAN[(level + 1) as 1]) level += 1;
    // Beyond all wheels: it waits in the farthest slot, and is placed anew from there.
    const at = ahead < SPAN[LEVELS] ? tick : this.#tick + SPAN[LEVELS] - SPAN[LEVELS - 1]!;
    const slot = Math.floor(at / SPAN[level as 0]) % SLOTS;
    this.#link(timer, this.#heads[level * SLOTS + slot]!, level);
  }

  /** Appends at the end of a list. */
  #link(timer: Timer, head: Timer, level: number): void {
    const last = head.previous;
    timer.previous = last;
    timer.next = head;
    last.next = timer;
    head.previous = timer;
    timer.level = level;
    this.#counts[level]! += 1;
  }

  #unlink(timer: Timer): void {
    timer.previous.next = timer.next;
    timer.next.previous = timer.previous;
    timer.previous = timer;
    timer.next = timer;
    this.#counts[timer.level]! -= 1;
    timer.level = UNSET;
  }

  #unlinkAll(head: Timer): void {
    while (head.next !== head) this.#unlink(head.next);
  }
}

function byDeadline(a: Timer, b: Timer): number {
  return a.deadline - b.deadline;
}

/** Without a handler an error must not vanish: it surfaces as an uncaught exception. */
function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

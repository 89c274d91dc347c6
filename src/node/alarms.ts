// Memory and disk marks: while one is crossed, publishing connections are not read from (RabbitMQ resource alarms).
// Owns which alarms are on and the texts clients are told. Measures through functions that are handed in.

import type { Clock, Ticker } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';

export type AlarmKind = 'memory' | 'disk';

/** How often memory and disk are looked at, in milliseconds. */
export const ALARM_CHECK_MS = 1_000;

/** What the alarms watch. */
export interface AlarmOptions {
  /** Bytes of resident memory at which the memory alarm goes on; Infinity for never. */
  readonly memoryMaxBytes: number;
  /** Free bytes below which the disk alarm goes on; 0 for never. */
  readonly diskFreeMinBytes: number;
  /** Resident memory of the process, in bytes. */
  readonly memoryUsed: () => number;
  /** Free bytes on the disk of the data folder; null where there is no disk. */
  readonly diskFree: (() => Promise<number>) | null;
}

/** The alarms of one broker. */
export class Alarms {
  private readonly options: AlarmOptions;
  private readonly log: Logger;
  private readonly changed: (reason: string | null) => void;
  private readonly on = new Set<AlarmKind>();
  private ticker: Ticker | null = null;
  private lookingAtDisk = false;
  /** The last look could not tell how much disk is free: it is said once. */
  private diskUnknown = false;
  /** What was measured last. Only a change of it changes an alarm, so that one set by hand stays as long as nothing is crossed. */
  private readonly crossed: Record<AlarmKind, boolean> = { memory: false, disk: false };

  /** @param changed told the reason text when alarms go on or change, null when all are off */
  constructor(options: AlarmOptions, log: Logger, changed: (reason: string | null) => void) {
    this.options = options;
    this.log = log;
    this.changed = changed;
  }

  /** What blocked clients are told (RabbitMQ's words); null while no alarm is on. */
  get reason(): string | null {
    if (this.on.size === 0) return null;
    const words: string[] = [];
    if (this.on.has('memory')) words.push('low on memory');
    if (this.on.has('disk')) words.push('low on disk');
    return words.join(' & ');
  }

  isOn(kind: AlarmKind): boolean {
    return this.on.has(kind);
  }

  /** Switches an alarm, by hand or because a mark was crossed. */
  set(kind: AlarmKind, on: boolean): void {
    if (this.on.has(kind) === on) return;
    if (on) this.on.add(kind);
    else this.on.delete(kind);
    if (on) this.log.warn(`${kind} alarm is on: publishers are blocked`, { alarm: kind });
    else this.log.info(`${kind} alarm is off`, { alarm: kind });
    this.changed(this.reason);
  }

  start(clock: Clock): void {
    this.ticker = clock.every(ALARM_CHECK_MS, () => this.look());
  }

  stop(): void {
    this.ticker?.stop();
    this.ticker = null;
  }

  private look(): void {
    const { memoryMaxBytes, diskFreeMinBytes, memoryUsed, diskFree } = this.options;
    this.measured('memory', memoryUsed() > memoryMaxBytes);
    if (diskFree === null || diskFreeMinBytes === 0 || this.lookingAtDisk) return;
    this.lookingAtDisk = true;
    diskFree().then(
      (free) => {
        this.lookingAtDisk = false;
        this.diskUnknown = false;
        if (this.ticker !== null) this.measured('disk', free < diskFreeMinBytes);
      },
      (error: unknown) => {
        this.lookingAtDisk = false;
        if (!this.diskUnknown) this.log.warn('cannot tell how much disk is free', { error: String(error) });
        this.diskUnknown = true;
      },
    );
  }

  private measured(kind: AlarmKind, crossed: boolean): void {
    if (this.crossed[kind] === crossed) return;
    this.crossed[kind] = crossed;
    this.set(kind, crossed);
  }
}

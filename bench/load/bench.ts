// What a workload works with: links that fail together, queues that are deleted at the end, and measured windows of time.
// Owns the life of one run against one broker. Knows no workload.

import { ConfirmWindow } from './confirms.ts';
import { type Address, Link, type LinkOptions } from './link.ts';
import { machineUsage, usageOf } from './usage.ts';
import type * as wire from './wire.ts';

/** What a careful consumer does: the settings of the persistent workloads. */
export const PREFETCH = 500;
export const ACK_EVERY = 50;

/** How a run is made. */
export interface RunOptions {
  /** The broker. */
  readonly address: Address;
  /** Processes of the broker, for its CPU and memory; empty when they cannot be read. */
  readonly pids: readonly number[];
  /** Length of every measured window. */
  readonly seconds: number;
  /** Time before it that is not counted. */
  readonly warmupSeconds: number;
  /** Factor on fixed counts (messages of a fill, bindings). */
  readonly scale: number;
}

/** What was counted in a window of time. */
export interface Measured {
  readonly seconds: number;
  /** How far the counter went. */
  readonly count: number;
  readonly perSecond: number;
  /** CPU seconds of the broker; null when it cannot be read. */
  readonly brokerCpu: number | null;
  /** CPU seconds of the generator. */
  readonly generatorCpu: number;
  /** CPU seconds of everything else on the machine; null when it cannot be read. */
  readonly othersCpu: number | null;
}

/** One number of a run. */
export interface Metric {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Which way is good. */
  readonly better: 'higher' | 'lower';
  /** CPU seconds per million counted things, where the number is a rate. */
  readonly cpu: { readonly broker: number | null; readonly generator: number } | null;
  /** Cores that other processes kept busy in the window; a reason to distrust the number. */
  readonly othersCores: number | null;
}

/** One run of one workload. */
export class Bench {
  readonly options: RunOptions;
  /** Greatest resident memory of the broker seen by `watchMemory`, in bytes. */
  maxResident = 0;
  /** Who answered. */
  product = '';
  version = '';
  /** Remarks for the report: what was not as planned. */
  readonly notes: string[] = [];
  private readonly links: Link[] = [];
  private readonly cleanups: (() => Promise<void>)[] = [];
  private readonly names: string;
  private failure: Error | null = null;
  private onFailure: ((error: Error) => void) | null = null;
  private watcher: NodeJS.Timeout | null = null;

  constructor(options: RunOptions, workload: string) {
    this.options = options;
    this.names = `bench.${workload}.${process.pid}`;
  }

  /** A name that no other run uses. */
  name(suffix: string): string {
    return `${this.names}.${suffix}`;
  }

  /** A connection with a channel; it ends with the run. */
  async link(options: LinkOptions = {}): Promise<Link> {
    const link = await Link.connect(this.options.address, {
      ...options,
      onFailure: (error) => this.fail(error),
    });
    this.product = link.product;
    this.version = link.version;
    this.links.push(link);
    await link.openChannel();
    return link;
  }

  /** Has something done at the end of the run, before the queues that were declared until now are deleted. */
  onClose(act: () => Promise<void>): void {
    this.cleanups.push(act);
  }

  /** A connection whose channel confirms publishes. */
  async confirming(window: number): Promise<{ link: Link; confirms: ConfirmWindow }> {
    const link = await this.link();
    const confirms = new ConfirmWindow(window);
    await link.selectConfirms(confirms);
    return { link, confirms };
  }

  /** Declares a queue that is deleted at the end. */
  async queue(link: Link, suffix: string, durable: boolean, args: wire.Table = {}): Promise<string> {
    const name = this.name(suffix);
    await link.declareQueue(name, durable, args);
    this.cleanups.push(async () => {
      const cleaner = await Link.connect(this.options.address);
      await cleaner.openChannel();
      await cleaner.deleteQueue(name);
      await cleaner.close();
    });
    return name;
  }

  /** Declares an exchange that is deleted at the end. */
  async exchange(link: Link, suffix: string, type: string): Promise<string> {
    const name = this.name(suffix);
    await link.declareExchange(name, type, false);
    this.cleanups.push(async () => {
      const cleaner = await Link.connect(this.options.address);
      await cleaner.openChannel();
      await cleaner.deleteExchange(name);
      await cleaner.close();
    });
    return name;
  }

  /** Waits, unless a link fails. */
  sleep(ms: number): Promise<void> {
    return this.orFailure(new Promise((resolve) => setTimeout(resolve, ms)));
  }

  /** Waits until `done` holds, looking every 5 ms, unless a link fails or `seconds` pass. */
  async until(what: string, seconds: number, done: () => boolean): Promise<void> {
    const deadline = performance.now() + seconds * 1000;
    while (!done()) {
      if (performance.now() > deadline) throw new Error(`${what}: not done after ${seconds} s`);
      await this.sleep(5);
    }
  }

  /** Rejects as soon as a link fails. */
  orFailure<T>(promise: Promise<T>): Promise<T> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.onFailure = reject;
      promise.then(resolve, reject);
    });
  }

  /** Warm-up, then a window of the asked length; `counter` is read at both of its ends. `onStart` runs between the two. */
  async window(counter: () => number, onStart: () => void = () => {}): Promise<Measured> {
    await this.sleep(this.options.warmupSeconds * 1000);
    onStart();
    return this.measure(counter, () => this.sleep(this.options.seconds * 1000));
  }

  /** Measures from now until `work` is done. */
  async measure(counter: () => number, work: () => Promise<void>): Promise<Measured> {
    const { pids } = this.options;
    const machine0 = machineUsage();
    const usage0 = usageOf(pids);
    const own0 = process.cpuUsage();
    const count0 = counter();
    const at0 = performance.now();
    await work();
    const seconds = (performance.now() - at0) / 1000;
    const count = counter() - count0;
    const own = process.cpuUsage(own0);
    const usage1 = usageOf(pids);
    const machine1 = machineUsage();
    const generatorCpu = (own.user + own.system) / 1e6;
    const brokerCpu = usage0 === null || usage1 === null ? null : usage1.cpuSeconds - usage0.cpuSeconds;
    const othersCpu =
      machine0 === null || machine1 === null || brokerCpu === null
        ? null
        : Math.max(0, machine1.busySeconds - machine0.busySeconds - brokerCpu - generatorCpu);
    return { seconds, count, perSecond: count / seconds, brokerCpu, generatorCpu, othersCpu };
  }

  /** Resident bytes of the broker now, or null. */
  resident(): number | null {
    return usageOf(this.options.pids)?.residentBytes ?? null;
  }

  /** Looks at the broker's memory every 50 ms from now on. */
  watchMemory(): void {
    this.watcher = setInterval(() => {
      this.maxResident = Math.max(this.maxResident, this.resident() ?? 0);
    }, 50);
  }

  /** Ends the links, then deletes what was declared. */
  async close(): Promise<void> {
    if (this.watcher !== null) clearInterval(this.watcher);
    for (const link of this.links) if (link.blocked) this.notes.push('the broker blocked a connection');
    await Promise.all(this.links.map((link) => link.close()));
    for (const cleanup of this.cleanups.reverse()) await cleanup();
  }

  private fail(error: Error): void {
    this.failure ??= error;
    if (this.onFailure !== null) this.onFailure(this.failure);
  }
}

/** A rate with its CPU cost. */
export function rate(name: string, unit: string, measured: Measured): Metric {
  const millions = measured.count / 1e6;
  return {
    name,
    value: measured.perSecond,
    unit,
    better: 'higher',
    cpu: {
      broker: measured.brokerCpu === null ? null : measured.brokerCpu / millions,
      generator: measured.generatorCpu / millions,
    },
    othersCores: measured.othersCpu === null ? null : measured.othersCpu / measured.seconds,
  };
}

/** A number of which less is better: a latency, memory. */
export function cost(name: string, unit: string, value: number): Metric {
  return { name, value, unit, better: 'lower', cpu: null, othersCores: null };
}

/** A rate whose cost belongs to another number of the run. */
export function tally(name: string, unit: string, value: number): Metric {
  return { name, value, unit, better: 'higher', cpu: null, othersCores: null };
}

// A process for commands under test: keeps what is written, raises signals and errors by hand.

import { Writable } from 'node:stream';
import type { StopSignal, Terminal } from '../../src/cli/terminal.ts';

export class FakeTerminal implements Terminal {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly isInteractive: boolean;
  readonly colour = false;
  readonly environment: Record<string, string | undefined>;
  readonly pid = 4711;
  readonly nodeVersion = 'v20.0.0';
  /** Everything written to standard output. */
  out = '';
  /** Everything written to standard error. */
  err = '';
  /** The process's age; tests move it by hand. */
  nowMs = 123.4;
  #onSignal: ((signal: StopSignal) => void)[] = [];
  #onUncaught: ((error: unknown) => void)[] = [];
  #onOutput: (() => void)[] = [];

  constructor(environment: Record<string, string | undefined> = {}, isInteractive = false) {
    this.environment = environment;
    this.isInteractive = isInteractive;
    this.stdout = new Writable({
      write: (chunk, _encoding, done) => {
        this.out += String(chunk);
        for (const listener of this.#onOutput) listener();
        done();
      },
    });
    this.stderr = new Writable({
      write: (chunk, _encoding, done) => {
        this.err += String(chunk);
        done();
      },
    });
  }

  elapsedMs(): number {
    return this.nowMs;
  }

  onStopSignal(listener: (signal: StopSignal) => void): void {
    this.#onSignal.push(listener);
  }

  onUncaught(listener: (error: unknown) => void): void {
    this.#onUncaught.push(listener);
  }

  signal(signal: StopSignal): void {
    for (const listener of this.#onSignal) listener(signal);
  }

  uncaught(error: unknown): void {
    for (const listener of this.#onUncaught) listener(error);
  }

  /** Waits until standard output holds `text`. */
  async seen(text: string): Promise<void> {
    if (this.out.includes(text)) return;
    await new Promise<void>((resolve) => {
      this.#onOutput.push(() => {
        if (this.out.includes(text)) resolve();
      });
    });
  }

  /** Standard output as records, one a line. */
  records(): Record<string, unknown>[] {
    return this.out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

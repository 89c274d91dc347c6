// A broker that is going to be killed: the real program in a process of its own, on a folder that outlives it.
// Owns the process, what it said, and a copy of the build, so that a build meanwhile does not change what is tested.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Output kept for a report. */
const OUTPUT_KEPT = 20_000;

/** A copy of `dist/` that can be run. Lies where its packages are found. */
export class Build {
  readonly main: string;
  readonly #folder: string;

  /** @param dist folder of the compiled broker */
  constructor(dist: string = join(root, 'dist')) {
    const cache = join(root, 'node_modules', '.cache');
    mkdirSync(cache, { recursive: true });
    this.#folder = mkdtempSync(join(cache, 'crash-'));
    cpSync(dist, join(this.#folder, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(this.#folder, 'package.json'));
    this.main = join(this.#folder, 'dist', 'cli', 'main.js');
  }

  /** Makes `dist/` what the sources say; quick when it is. */
  static refresh(): void {
    execFileSync(process.execPath, [join(root, '.ci', 'ready.mjs'), 'build'], { cwd: root, stdio: 'ignore' });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One folder, and the broker that runs on it from time to time. */
export class Victim {
  readonly folder: string;
  readonly #build: Build;
  #child: ChildProcess | null = null;
  #ended: Promise<string> = Promise.resolve('');
  #out = '';
  #err = '';
  #port = 0;
  #onPort: (port: number) => void = () => {};

  constructor(build: Build, folder: string = mkdtempSync(join(tmpdir(), 'leveret-crash-'))) {
    this.#build = build;
    this.folder = folder;
  }

  /** Starts the broker and waits until it listens. @throws Error with its last words when it ends instead */
  async start(flags: readonly string[]): Promise<number> {
    this.spawn(flags);
    const ended = this.#ended.then((how) => {
      throw new Error(`the broker ended (${how}) instead of starting:\n${this.words}`);
    });
    ended.catch(() => {});
    return await Promise.race([
      new Promise<number>((resolve) => {
        this.#onPort = resolve;
        if (this.#port !== 0) resolve(this.#port);
      }),
      ended,
    ]);
  }

  /** Starts the broker and waits for nothing. */
  spawn(flags: readonly string[]): void {
    this.#out = '';
    this.#err = '';
    this.#port = 0;
    const args = ['start', '--host', '127.0.0.1', '--port', '0', '--data-dir', this.folder];
    const child = spawn(process.execPath, [this.#build.main, ...args, '--log-format', 'json', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => {
      this.#out += chunk;
      const port = /AMQP 0-9-1 on [^"]*, port (\d+)"/.exec(this.#out)?.[1];
      if (port !== undefined && this.#port === 0) {
        this.#port = Number(port);
        this.#onPort(this.#port);
      }
      if (this.#out.length > 2 * OUTPUT_KEPT) this.#out = this.#out.slice(-OUTPUT_KEPT);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      this.#err = (this.#err + chunk).slice(-OUTPUT_KEPT);
    });
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
  }

  /** Fulfilled with how the process ended. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** SIGKILL, and waits for the end. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** SIGTERM: a clean stop. @throws Error when it was not clean */
  async stop(): Promise<void> {
    this.#child?.kill('SIGTERM');
    const how = await this.#ended;
    if (how !== 'exit code 0') throw new Error(`a stop ended with ${how}:\n${this.words}`);
  }

  /** A victim on a copy of the folder as it is now. The broker must not run. */
  copy(): Victim {
    const folder = mkdtempSync(join(tmpdir(), 'leveret-crash-copy-'));
    cpSync(this.folder, folder, { recursive: true });
    return new Victim(this.#build, folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What it wrote, for a report. */
  get words(): string {
    return `${this.#out.slice(-4_000)}${this.#err.slice(-4_000)}`;
  }

  /** Everything it said that a healthy broker does not say. */
  get complaints(): string[] {
    const lines = this.#out
      .split('\n')
      // A clean stop tells each connection so, and the log too.
      .filter((line) => /"level":"(warn|error)"/.test(line) && !line.includes('CONNECTION_FORCED'));
    if (this.#err !== '') lines.push(this.#err);
    return lines;
  }
}

/** Writes a report beside the folder, so that a failure can be looked at later. */
export function writeReport(folder: string, text: string): string {
  const path = `${folder}.txt`;
  writeFileSync(path, text);
  return path;
}

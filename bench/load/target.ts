// The brokers that are measured: ours, started here on a free port with a temporary folder, or any other by its address.
// Owns the process it starts. Knows no workload.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Address, parseAddress } from './link.ts';
import { listenerOf, withChildren } from './usage.ts';

/** Root of the repository, seen from where the compiled generator lies (node_modules/.cache/bench/bench/load) or from the source. */
export const ROOT = findRoot();

function findRoot(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const cache = here.indexOf(join('node_modules', '.cache'));
  return cache >= 0 ? here.slice(0, cache) : fileURLToPath(new URL('../../', import.meta.url));
}

/** A broker under measurement. */
export interface Target {
  /** Column in the report. */
  readonly label: string;
  readonly address: Address;
  /** Its processes now; empty when they cannot be read. */
  pids(): readonly number[];
  /** Ends it if it was started here. */
  stop(): Promise<void>;
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((done, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === 'object' ? done(address.port) : reject(new Error('no port')),
      );
    });
  });
}

/** Resolves when something accepts connections on the port. @throws Error after `seconds` */
export async function accepting(port: number, seconds: number, everyMs: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const open = await new Promise<boolean>((done) => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.once('connect', () => {
        socket.destroy();
        done(true);
      });
      socket.once('error', () => done(false));
    });
    if (open) return;
    if (performance.now() > deadline) throw new Error(`nothing listens on port ${port} after ${seconds} s`);
    await new Promise((done) => setTimeout(done, everyMs));
  }
}

/** The flags for node that the command `leveret` starts itself with, from its first line: what users run is what is measured. */
function commandFlags(main: string): string[] {
  const first = readFileSync(main, 'utf8').split('\n', 1)[0] ?? '';
  return first.split(' ').filter((word) => word.startsWith('--'));
}

/** How our broker is started. */
export interface OwnOptions {
  /** Flags for node, such as --cpu-prof. */
  readonly nodeFlags?: readonly string[];
  /** Flags for `leveret start`. */
  readonly flags?: readonly string[];
  /** Its column in the report; default: Leveret. */
  readonly label?: string;
  /** Folder of the compiled broker; default: dist of this repository. */
  readonly dist?: string;
  /** Its data folder, which is then the caller's to remove; default: a temporary one. */
  readonly folder?: string;
  /** Seconds until it must accept connections; default 20. */
  readonly startSeconds?: number;
}

/** Our broker in a process of its own. */
export class OwnBroker implements Target {
  readonly label: string;
  readonly address: Address;
  private readonly child: ChildProcess;
  /** Removed at the stop; null for one that is the caller's. */
  private readonly folder: string | null;
  private output = '';

  private constructor(label: string, address: Address, child: ChildProcess, folder: string | null) {
    this.label = label;
    this.address = address;
    this.child = child;
    this.folder = folder;
    const keep = (chunk: Buffer) => {
      this.output = (this.output + chunk.toString()).slice(-4000);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
  }

  /** Starts `leveret start` and waits until it accepts connections. @throws Error with the broker's last words */
  static async start(options: OwnOptions = {}): Promise<OwnBroker> {
    const { broker } = await OwnBroker.timedStart(options);
    return broker;
  }

  /** As `start`, and tells how long it took from the spawn to the first accepted connection, in ms. */
  static async timedStart(options: OwnOptions = {}): Promise<{ broker: OwnBroker; ms: number }> {
    const port = await freePort();
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'leveret-bench-'));
    const main = join(resolve(options.dist ?? join(ROOT, 'dist')), 'cli', 'main.js');
    const flags = ['start', '--port', String(port), '--data-dir', folder, ...(options.flags ?? [])];
    const at = performance.now();
    const child = spawn(
      process.execPath,
      [...commandFlags(main), ...(options.nodeFlags ?? []), main, ...flags],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const broker = new OwnBroker(
      options.label ?? 'Leveret',
      parseAddress(`amqp://127.0.0.1:${port}`),
      child,
      options.folder === undefined ? folder : null,
    );
    const gone = new Promise<never>((_, reject) =>
      child.once('exit', () => reject(new Error(`the broker ended:\n${broker.output}`))),
    );
    gone.catch(() => {});
    await Promise.race([accepting(port, options.startSeconds ?? 20, 2), gone]);
    return { broker, ms: performance.now() - at };
  }

  pids(): readonly number[] {
    return this.child.pid === undefined ? [] : withChildren(this.child.pid);
  }

  /** Resident bytes belong to `pids`; this is the main process alone. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise<void>((done) => this.child.once('exit', () => done()));
      this.child.kill('SIGTERM');
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(timer);
    }
    if (this.folder !== null) rmSync(this.folder, { recursive: true, force: true });
  }

  /** Ends it with SIGKILL, as a crash does; its folder stays. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise<void>((done) => this.child.once('exit', () => done()));
    this.child.kill('SIGKILL');
    await ended;
  }
}

/** The certificate of the tests, which is as dear to check as any other. */
const CERTIFICATES = join(ROOT, 'test', 'fixtures', 'tls');

/** The TLS port of a broker of ours, as a target of its own beside the plain one. */
export class TlsTarget implements Target {
  readonly label = 'Leveret, TLS';
  readonly address: Address;
  private readonly broker: OwnBroker;

  /** @param port of a broker that was started with `flags(port)` */
  constructor(broker: OwnBroker, port: number) {
    this.broker = broker;
    this.address = parseAddress(`amqps://127.0.0.1:${port}`);
  }

  static flags(port: number): string[] {
    const [certificate, key] = [join(CERTIFICATES, 'broker.pem'), join(CERTIFICATES, 'broker-key.pem')];
    return ['--tls-port', String(port), '--tls-certificate', certificate, '--tls-key', key];
  }

  pids(): readonly number[] {
    return this.broker.pids();
  }

  /** The broker behind it is stopped by whoever started it. */
  async stop(): Promise<void> {}
}

/** A broker that runs already. */
export class OtherBroker implements Target {
  readonly label: string;
  readonly address: Address;
  private readonly pid: number | null;

  constructor(url: string, pid: number | null, label = 'other') {
    this.address = parseAddress(url);
    this.label = label;
    this.pid = pid ?? (isLocal(this.address.host) ? listenerOf(this.address.port) : null);
  }

  pids(): readonly number[] {
    return this.pid === null ? [] : withChildren(this.pid);
  }

  async stop(): Promise<void> {}
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

// The command as a process of its own, from the build: what a shell, a supervisor and a person at a terminal see of it.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'dist', 'cli', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'leveret-process-'));

beforeAll(() => {
  // Quick when the build is fresh, which it is under `npm test`.
  execFileSync(process.execPath, [join(root, '.ci', 'ready.mjs'), 'build'], { cwd: root, stdio: 'ignore' });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const running = new Set<ChildProcess>();
afterEach(() => {
  for (const child of running) {
    child.kill('SIGKILL');
    // What npm started outlives npm, but not its process group; a command without a group of its own has none to end.
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {}
  }
});

/** How to run a command other than as `node main.js` in a folder of its own. */
interface How {
  readonly program?: string;
  readonly cwd?: string;
  readonly detached?: boolean;
}

/** A command that runs. */
class Command {
  readonly child: ChildProcess;
  out = '';
  err = '';
  readonly #watchers = new Set<() => void>();
  readonly ended: Promise<{ code: number | null; signal: string | null }>;

  constructor(args: string[], environment: Record<string, string> = {}, how: How = {}) {
    const { PATH, HOME } = process.env;
    const { program = process.execPath, cwd = folder, detached = false } = how;
    const all = program === process.execPath ? [main, ...args] : args;
    this.child = spawn(program, all, { cwd, detached, env: { PATH, HOME, ...environment } });
    running.add(this.child);
    this.child.stdout!.on('data', (chunk: Buffer) => {
      this.out += chunk;
      for (const watcher of this.#watchers) watcher();
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.err += chunk;
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        running.delete(this.child);
        resolve({ code, signal });
        for (const watcher of this.#watchers) watcher();
      });
    });
  }

  /** Waits for a text on standard output; fails when the process ends without it. */
  async seen(text: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (this.out.includes(text)) resolve();
        else if (!running.has(this.child))
          reject(new Error(`ended without "${text}": ${this.out}${this.err}`));
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** The port that it logged. */
  get port(): number {
    return Number(/"url":"amqp:\/\/[^"]*:(\d+)/.exec(this.out)?.[1]);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

const QUICK = ['start', '--host', '127.0.0.1', '--port', '0', '--memory'];

describe('leveret as a process', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'accepts connections, stops on %s and leaves with 0',
    async (signal) => {
      const command = new Command(QUICK);
      await command.seen('ready in');
      expect(await accepts(command.port)).toBe(true);
      const { port } = command;
      command.child.kill(signal);
      expect(await command.ended).toEqual({ code: 0, signal: null });
      expect(await accepts(port)).toBe(false);
      for (const line of command.out.trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
      expect(command.err).toBe('');
    },
  );

  it('keeps its data in the folder it is told', async () => {
    const command = new Command([
      'start',
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--data-dir',
      join(folder, 'kept'),
    ]);
    await command.seen('ready in');
    const second = new Command([
      'start',
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--data-dir',
      join(folder, 'kept'),
    ]);
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.err).toMatch(/^leveret: .*kept.*\n$/);
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 0, signal: null });
  });

  it('says in one line that a definitions file is not there, and leaves with 2', async () => {
    const missing = join(folder, 'missing.json');
    const command = new Command([...QUICK, '--definitions', missing]);
    expect(await command.ended).toEqual({ code: 2, signal: null });
    expect(command.err).toBe(`leveret: cannot read the definitions file ${missing}: there is no such file\n`);
  });

  it('says in one line that the port is in use, and leaves with 1', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    try {
      const command = new Command(['start', '--host', '127.0.0.1', '--memory', '--port', String(port)]);
      expect(await command.ended).toEqual({ code: 1, signal: null });
      expect(command.err).toBe(
        `leveret: port ${port} on 127.0.0.1 is in use: another broker may be running; choose another with --port\n`,
      );
      expect(command.out).not.toContain('stack');
    } finally {
      other.close();
    }
  });

  it('leaves with 2 for a flag that does not exist', async () => {
    const command = new Command(['start', '--prot', '1']);
    expect(await command.ended).toEqual({ code: 2, signal: null });
    expect(command.err).toBe('leveret: unknown setting --prot: did you mean --port?\n');
  });

  it('reads its settings from the environment', async () => {
    const command = new Command(['start'], {
      LEVERET_HOST: '127.0.0.1',
      LEVERET_PORT: '0',
      LEVERET_MEMORY: 'true',
      LEVERET_LOG_FORMAT: 'pretty',
    });
    await command.seen('ready in');
    expect(command.out).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}leveret /);
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 0, signal: null });
  });

  it('stops as well when whoever read its log lines has gone away', async () => {
    const command = new Command(QUICK);
    await command.seen('ready in');
    command.child.stdout!.destroy();
    command.child.stderr!.destroy();
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 0, signal: null });
  });

  it('prints version and help quickly and leaves with 0', async () => {
    const [version, help] = [new Command(['--version']), new Command(['start', '--help'])];
    expect(await version.ended).toEqual({ code: 0, signal: null });
    expect(version.out).toMatch(/^\d+\.\d+\.\d+/);
    expect(await help.ended).toEqual({ code: 0, signal: null });
    expect(help.out).toContain('--port');
  });
});

describe.skipIf(process.platform === 'win32')('npm start', () => {
  /** npm in a process group of its own, as a shell with job control starts it. */
  function npmStart(): Command {
    const args = ['start', '--', '--host', '127.0.0.1', '--port', '0', '--memory'];
    return new Command(args, {}, { program: 'npm', cwd: root, detached: true });
  }

  it('passes flags on, and a SIGTERM to npm stops the broker gracefully', async () => {
    const npm = npmStart();
    await npm.seen('ready in');
    expect(await accepts(npm.port)).toBe(true);
    npm.child.kill('SIGTERM');
    await npm.ended;
    expect(npm.out).toContain('"message":"stopped"');
    expect(await accepts(npm.port)).toBe(false);
  });

  it('stops gracefully on Ctrl-C, which reaches the broker twice', async () => {
    const npm = npmStart();
    await npm.seen('ready in');
    // The terminal signals the whole group, and npm passes its own signal on.
    process.kill(-npm.child.pid!, 'SIGINT');
    await npm.ended;
    expect(npm.out).toContain('"message":"stopped"');
    expect(npm.out).not.toContain('received again');
  });
});

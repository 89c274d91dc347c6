// Runs a client program in another language and listens to what it tells. Owns the broker it talks to, and what it may ask for.
// A program prints one JSON line for each thing it saw, `{"step", "saw"}`. With `{"ask"}` it wants something done to the broker, and reads one
// line: `done`, or `no` where the broker is not ours. Knows nothing of what the programs do.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type Broker, FakeClock } from '../../src/index.ts';
import { startOwnBroker, type Target } from '../support/target.ts';

/** The folder of the programs. */
const HERE = fileURLToPath(new URL('.', import.meta.url));
const TLS = fileURLToPath(new URL('../../test/fixtures/tls/', import.meta.url));

/** How long a program may take: not a pause, and far more than any needs on a machine that is busy with other things. */
export const STORY_LIMIT_MS = 240_000;

const TICK_MS = 5;

/** What a program saw, by step. */
export type Story = Record<string, unknown>;

/** Settings of a story. */
export interface StoryOptions {
  /** Over TLS; a foreign broker is taken to have none. */
  readonly tls?: boolean;
  /** How long a stop waits for a client that never answers the broker's goodbye. */
  readonly stopGraceMs?: number;
}

/** True when the command can be run and ends well. */
export function works(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', cwd: HERE, timeout: STORY_LIMIT_MS }).status === 0;
}

/** A broker of the story's own, on disk, which can be stopped and comes again on the same ports. */
class Stage {
  broker: Broker;
  private readonly settings: Parameters<typeof startOwnBroker>[0];
  private stopping: Promise<void> | null = null;
  private alarmed = false;

  private constructor(broker: Broker, settings: Parameters<typeof startOwnBroker>[0]) {
    this.broker = broker;
    this.settings = settings;
  }

  static async open({ tls = false, stopGraceMs }: StoryOptions): Promise<Stage> {
    const dataDir = await mkdtemp(join(tmpdir(), 'conformance-story-'));
    const clock = new FakeClock();
    const settings = {
      store: 'level',
      dataDir,
      authFailureDelayMs: 0,
      clock,
      ...(stopGraceMs !== undefined && { stopGraceMs }),
      ...(tls && {
        tlsPort: 0,
        tlsCertificate: join(TLS, 'broker.pem'),
        tlsKey: join(TLS, 'broker-key.pem'),
      }),
    } as const;
    const stage = new Stage(await startOwnBroker(settings), settings);
    // Time passes, except during an alarm that a program has asked for: a measurement would end it.
    const passing = setInterval(() => {
      if (!stage.alarmed) clock.advance(TICK_MS);
    }, TICK_MS);
    onTestFinished(async () => {
      await stage.stop();
      clearInterval(passing);
      await rm(dataDir, { recursive: true, force: true });
    });
    return stage;
  }

  /** Does what a program asks for. */
  async obey(wish: string): Promise<void> {
    if (wish === 'alarm' || wish === 'all clear') {
      this.alarmed = wish === 'alarm';
      this.broker.setAlarm('memory', this.alarmed);
    }
    // The program must answer the broker's goodbye meanwhile.
    else if (wish === 'stop') void this.stop();
    else if (wish === 'start') await this.start();
    else throw new Error(`a program asks for "${wish}"`);
  }

  private stop(): Promise<void> {
    this.stopping ??= this.broker.stop();
    return this.stopping;
  }

  private async start(): Promise<void> {
    const { port, tlsPort } = this.broker;
    await this.stop();
    this.broker = await startOwnBroker({ ...this.settings, port, ...(tlsPort !== null && { tlsPort }) });
    this.stopping = null;
  }
}

/**
 * Runs a program to its end: `command` with the address, a prefix for names and, over TLS, the authority's file.
 * In what it saw the prefix reads `~`. Rejects with its error output when it fails.
 */
export async function tell(
  target: Target,
  command: readonly string[],
  options: StoryOptions = {},
): Promise<Story> {
  const stage = target.broker === null ? null : await Stage.open(options);
  const url = stage === null ? target.url : options.tls ? stage.broker.tlsUrl! : stage.broker.url;
  const prefix = target.name('');
  const [program, ...args] = [...command, url, prefix, ...(options.tls ? [join(TLS, 'ca.pem')] : [])];
  const child = spawn(program!, args, {
    cwd: HERE,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    // A group of its own, so that what the program started ends with it.
    detached: true,
  });
  const end = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // They have ended.
    }
  };
  // Ended before the test is, so that it can say how far it came.
  const limit = setTimeout(end, STORY_LIMIT_MS * 0.9);
  onTestFinished(() => {
    clearTimeout(limit);
    end();
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  // A program that failed reads no answers.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const story: Story = {};
  let last = 'the start';
  for await (const line of createInterface({ input: child.stdout })) {
    // Some clients and runtimes print words of their own.
    if (!line.startsWith('{')) continue;
    const { step, saw, ask } = JSON.parse(line.replaceAll(prefix, '~')) as {
      step?: string;
      saw?: unknown;
      ask?: string;
    };
    if (step !== undefined) story[step] = saw;
    else if (ask !== undefined) {
      if (stage !== null) await stage.obey(ask);
      child.stdin.write(stage === null ? 'no\n' : 'done\n');
    }
    last = step ?? ask ?? last;
  }
  const code = await ended;
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code} after "${last}":\n${errors}`);
  return story;
}

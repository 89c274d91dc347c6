// What a command needs of the process it runs in, behind one interface, so that tests can run commands without a process.
// Owns signals and the last line of defence against uncaught errors. Knows no command.

/** Signals that ask the broker to stop. */
export type StopSignal = 'SIGINT' | 'SIGTERM';

/** The process as commands see it. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  /** A person is looking at standard output. */
  readonly isInteractive: boolean;
  /** Colours are welcome on standard output. */
  readonly colour: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly nodeVersion: string;
  /** Milliseconds since the process, or the start inside it, began. */
  elapsedMs(): number;
  /** Calls back for every signal that asks for a stop. */
  onStopSignal(listener: (signal: StopSignal) => void): void;
  /** Calls back for an error that nobody caught, rejections included. The process does not go on afterwards. */
  onUncaught(listener: (error: unknown) => void): void;
}

/** The real process. Call it once. */
export function processTerminal(): Terminal {
  // Whoever reads our lines may go away (`leveret start | head`); the broker stays.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  // Set where something ran in this process before us: an install and a build, with `npm start`.
  const [mark] = performance.getEntriesByName('leveret-start');
  const began = mark?.startTime ?? 0;
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    isInteractive: process.stdout.isTTY === true,
    colour: process.stdout.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
    environment: process.env,
    pid: process.pid,
    nodeVersion: process.version,
    elapsedMs: () => performance.now() - began,
    onStopSignal: (listener) => {
      process.on('SIGINT', listener);
      process.on('SIGTERM', listener);
    },
    onUncaught: (listener) => {
      process.on('uncaughtException', listener);
    },
  };
}

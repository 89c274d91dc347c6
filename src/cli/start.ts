// `leveret start`: a broker in the foreground, from its first log line to its last. Owns the banner, signals and exit codes.
// Knows nothing of what a broker is made of: it starts one, waits, stops it.
// Invariants: exactly one of "stopped", a one-line refusal or a logged error ends the command; after a graceful stop the exit code is 0.

import { resolve as absolutePath } from 'node:path';
import type { Logger } from '../base/logger.ts';
import type { Settings } from '../config/config.ts';
import type { ResolvedSettings } from '../config/sources.ts';
import { PROGRAM, VERSION } from '../config/version.ts';
import { type ClosableLogger, createLogger, errorFields } from '../logging.ts';
import type { StopSignal, Terminal } from './terminal.ts';

/** The running broker, as far as this command cares. */
export interface RunningBroker {
  /** For clients on this machine, without user and password. */
  readonly address: string;
  readonly port: number;
  /** The port it speaks TLS on; null when it does not. */
  readonly tlsPort: number | null;
  /** Fulfilled when the broker has stopped, whoever stopped it; with the error when it had to stop by itself. */
  readonly stopped: Promise<Error | null>;
  /** Closes connections, commits, gives the folder back. */
  stop(reason?: string): Promise<void>;
}

/** What starts one. */
export interface BrokerStarter {
  start(options: Settings & { readonly logger: Logger }): Promise<RunningBroker>;
}

/**
 * npm and a terminal both pass Ctrl-C on, so that one keystroke arrives twice within milliseconds. Only a signal that comes later is
 * a second wish.
 */
const SAME_SIGNAL_MS = 400;

/** Exit code of a process that was ended by a signal, as shells count. */
const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;

const loadBroker = async (): Promise<BrokerStarter> => (await import('../broker.ts')).Broker;

/** Runs a broker until a signal, or until it cannot go on. Fulfilled with the exit code. */
export async function start(
  { settings, configFile }: ResolvedSettings,
  terminal: Terminal,
  load: () => Promise<BrokerStarter> = loadBroker,
): Promise<number> {
  const broker = await load();
  const pretty = settings.logFormat === 'pretty' || (settings.logFormat === 'auto' && terminal.isInteractive);
  const logger = createLogger({
    level: settings.logLevel,
    format: pretty ? 'pretty' : 'json',
    stream: terminal.stdout,
    colour: terminal.colour,
  });
  const ended = new Promise<number>((end) => {
    terminal.onUncaught((error) => {
      // Whatever state this leaves behind is no state to go on in. What was confirmed is on disk.
      logger.error('uncaught error, the broker stops at once', errorFields(error));
      end(1);
    });
    void serve(settings, configFile, terminal, broker, logger).then(end, (error: unknown) => {
      if (isForPeople(error)) {
        terminal.stderr.write(`${PROGRAM}: ${error.message}\n`);
      } else {
        logger.error('the broker could not start', errorFields(error));
      }
      // A setting that only the start can find wrong, such as a file that is not there, is the same mistake as one on the command line.
      end(isForPeople(error) && error.name === 'SettingsError' ? 2 : 1);
    });
  });
  const exitCode = await ended;
  await logger.close();
  return exitCode;
}

async function serve(
  settings: Settings,
  configFile: string | null,
  terminal: Terminal,
  broker: BrokerStarter,
  logger: ClosableLogger,
): Promise<number> {
  const signals = watchSignals(terminal);
  logger.info(`${PROGRAM} ${VERSION} starts`, {
    pid: terminal.pid,
    node: terminal.nodeVersion,
    ...(configFile === null ? {} : { settings: absolutePath(configFile) }),
  });
  const starting = broker.start({ ...settings, logger });
  // A stop during the start (a long recovery, say) need not wait for its end: what is on disk is safe at any moment.
  const early = await Promise.race([starting.then(() => null), signals.first]);
  if (early !== null) {
    starting.catch(() => {});
    logger.info(`stopped by ${early} during the start`);
    return 0;
  }
  const running = await starting;
  announce(settings, running, terminal, logger);

  const why = await Promise.race([signals.first, running.stopped.then((error) => ({ error }))]);
  if (typeof why !== 'string') {
    if (why.error === null) return 0;
    // The broker logged the error itself, where it happened.
    logger.error('the broker stopped, because going on was not safe', { error: why.error.message });
    return 1;
  }

  logger.info(`${why} received, stopping; a second signal stops at once`);
  const began = terminal.elapsedMs();
  const outcome = await Promise.race([
    running.stop().then(
      () => null,
      (error: unknown) => ({ error }),
    ),
    signals.second,
  ]);
  if (typeof outcome === 'string') {
    logger.warn(`${outcome} received again, stopping at once`);
    return EXIT_BY_SIGNAL[outcome];
  }
  if (outcome !== null) {
    logger.error('the stop failed', errorFields(outcome.error));
    return 1;
  }
  logger.info('stopped', { ms: Math.round(terminal.elapsedMs() - began) });
  return 0;
}

/** Tells people where to connect, where their data lies, and what will surprise them. */
function announce(settings: Settings, running: RunningBroker, terminal: Terminal, logger: Logger): void {
  const everywhere = settings.host === '::' || settings.host === '0.0.0.0';
  logger.info(`AMQP 0-9-1 on ${everywhere ? 'every address' : settings.host}, port ${running.port}`, {
    url: running.address,
  });
  if (running.tlsPort !== null) logger.info(`AMQP 0-9-1 over TLS on port ${running.tlsPort}`);
  if (settings.memory) {
    logger.info('everything in memory: nothing survives the stop');
  } else {
    logger.info('data on disk, confirmed only when it is there', { folder: absolutePath(settings.dataDir) });
  }
  const localGuest = settings.loopbackUsers.includes('guest');
  if (settings.defaultUser === 'guest' && everywhere) {
    if (localGuest)
      logger.info(
        'user guest may log in from this machine only; others need a user of their own (see loopbackUsers)',
      );
    else logger.warn('user guest may log in from every machine (see loopbackUsers)');
  }
  logger.info(`ready in ${Math.round(terminal.elapsedMs())} ms`);
}

interface Signals {
  /** The wish to stop. */
  readonly first: Promise<StopSignal>;
  /** The wish to stop now. */
  readonly second: Promise<StopSignal>;
}

function watchSignals(terminal: Terminal): Signals {
  let firstAt: number | null = null;
  let onFirst: (signal: StopSignal) => void = () => {};
  let onSecond: (signal: StopSignal) => void = () => {};
  const first = new Promise<StopSignal>((resolve) => {
    onFirst = resolve;
  });
  const second = new Promise<StopSignal>((resolve) => {
    onSecond = resolve;
  });
  terminal.onStopSignal((signal) => {
    const now = terminal.elapsedMs();
    if (firstAt === null) {
      firstAt = now;
      onFirst(signal);
    } else if (now - firstAt >= SAME_SIGNAL_MS) {
      onSecond(signal);
    }
  });
  return { first, second };
}

/** Errors whose message says all a person needs: a port in use, a locked folder, a setting. By name, so that no room is imported. */
function isForPeople(error: unknown): error is Error {
  return error instanceof Error && ['ListenError', 'SettingsError', 'StoreError'].includes(error.name);
}

// Log lines, for people or for machines. The only place that knows `winston`; everyone else speaks the Logger of base/logger.ts.
// Knows no setting by name and decides nothing about what is worth logging.
// Invariants: one line of JSON per record for machines, whatever is in it; logging never throws into the broker.

import { createLogger as createWinston, format, transports } from 'winston';
import type { LogFields, Logger } from './base/logger.ts';

/** Least important level that is written; `silent` writes nothing. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'silent';

/** `pretty` for people, `json` for machines: one object a line. */
export type LogFormat = 'pretty' | 'json';

/** Levels by importance: one is written when its number is no greater than that of the least important one. */
const RANKS: Readonly<Record<LogLevel, number>> = { silent: 0, error: 1, warn: 2, info: 3, debug: 4 };

/** How to log. */
export interface LoggingOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where lines go, usually standard output. */
  readonly stream: NodeJS.WritableStream;
  /** Colours, for a terminal; `pretty` only. */
  readonly colour: boolean;
}

/** A logger that can be finished. */
export interface ClosableLogger extends Logger {
  /** Fulfilled when every line so far was handed to the stream; later lines are dropped. */
  close(): Promise<void>;
}

/** Makes the logger of a process. */
export function createLogger(options: LoggingOptions): ClosableLogger {
  const out = new transports.Stream({ stream: options.stream, eol: '\n' });
  const logger = createWinston({
    level: options.level === 'silent' ? 'error' : options.level,
    silent: options.level === 'silent',
    // One formatter that ends in a string: winston's own json and printf pass every record through more steps.
    format: format((record) => {
      const fields = record['fields'] as LogFields | undefined;
      const { level, message } = record as unknown as { level: string; message: string };
      record[Symbol.for('message')] =
        options.format === 'json'
          ? jsonLine(new Date(), level, message, fields)
          : prettyLine(new Date(), level, message, fields, options.colour);
      return record;
    })(),
    transports: [out],
    exitOnError: false,
  });
  // A broken pipe on standard output must not bring the broker down.
  logger.on('error', () => {});
  let closing: Promise<void> | null = null;
  // winston asks for the level only once a line is made, which is a twentieth of what a short connection costs (measured: bench churn).
  const least = RANKS[options.level];
  const write = (level: Exclude<LogLevel, 'silent'>, message: string, fields?: LogFields): void => {
    if (RANKS[level] <= least && closing === null) logger.log({ level, message, fields });
  };
  return {
    error: (message, fields) => write('error', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    info: (message, fields) => write('info', message, fields),
    debug: (message, fields) => write('debug', message, fields),
    close: () => {
      closing ??= new Promise((resolve) => {
        // `finish` of the transport, not of the logger: the logger is done when it has passed its last record on.
        out.once('finish', () => resolve());
        logger.end();
      });
      return closing;
    },
  };
}

/**
 * An error as fields: its message, its code, and the stacks of it and of what caused it, as one text. Anything can be thrown, so
 * anything is taken.
 */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: safeText(error) };
  const { code } = error as NodeJS.ErrnoException;
  const stacks: string[] = [];
  // Causes may form a circle; five levels tell the story.
  let cause: unknown = error;
  for (let depth = 0; depth < 5 && cause instanceof Error; depth++) {
    stacks.push(cause.stack ?? `${cause.name}: ${cause.message}`);
    cause = cause.cause;
  }
  return {
    error: error.message,
    ...(code === undefined ? {} : { code: safeText(code) }),
    stack: stacks.join('\ncaused by '),
  };
}

/** Keys that every JSON line has; a field of the same name gets an underscore behind it, so that nothing is lost. */
const RESERVED = new Set(['time', 'level', 'message']);

function jsonLine(time: Date, level: string, message: string, fields: LogFields | undefined): string {
  const record: Record<string, unknown> = { time: time.toISOString(), level, message };
  for (const [name, value] of Object.entries(fields ?? {})) {
    record[RESERVED.has(name) ? `${name}_` : name] =
      typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  }
  try {
    return JSON.stringify(record);
  } catch {
    return JSON.stringify({ time: record['time'], level, message, fields: 'could not be written as JSON' });
  }
}

const LEVELS: Readonly<Record<string, { readonly label: string; readonly colour: number }>> = {
  error: { label: 'ERROR', colour: 31 },
  warn: { label: 'WARN ', colour: 33 },
  info: { label: 'info ', colour: 32 },
  debug: { label: 'debug', colour: 36 },
};

/** `12:34:56.789 info  message  name=value`; a stack follows on lines of its own. */
function prettyLine(
  time: Date,
  level: string,
  message: string,
  fields: LogFields | undefined,
  colour: boolean,
): string {
  const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const { label, colour: levelColour } = LEVELS[level] ?? { label: level, colour: 0 };
  let line = `${paint(2, clockTime(time))} ${paint(levelColour, label)} ${oneLine(message)}`;
  let stack = '';
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value === undefined) continue;
    if (name === 'stack' && typeof value === 'string') {
      stack = `\n${printable(value).replace(/^/gm, '    ')}`;
    } else {
      line += ` ${paint(2, ` ${name}=`)}${fieldText(value)}`;
    }
  }
  return line + paint(2, stack);
}

function clockTime(time: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const milliseconds = String(time.getMilliseconds()).padStart(3, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${milliseconds}`;
}

/** Values with signs that would blur where they end are quoted. */
function fieldText(value: unknown): string {
  const text = safeText(value);
  return text === '' || /[\s"=]/.test(text) || text !== oneLine(text)
    ? JSON.stringify(printable(text))
    : text;
}

// Names and texts in log lines come from clients: they must not forge lines or steer the terminal.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/g;

function printable(text: string): string {
  return text.replace(CONTROL, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function oneLine(text: string): string {
  return printable(text.replace(/\r?\n/g, '\\n').replace(/\t/g, ' '));
}

function safeText(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'a value that cannot be shown';
  }
}

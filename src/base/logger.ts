// What rooms may say to the log. The implementation (winston) is handed in from the top; rooms know this interface only.

/** Facts that go with a log line; plain values, so that they become JSON fields. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Writes structured log lines. Never throws, never called per message. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

/** Says nothing; the default of an embedded broker. */
export const silentLogger: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
};

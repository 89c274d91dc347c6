// Where settings come from, and which source wins: a flag over the environment over the file over the default.
// Owns precedence and the spelling of each source. Knows the table, but no setting in particular. Touches no global: the caller
// hands in the environment, so that two brokers fit into one process and tests need no real one.

import { readFileSync } from 'node:fs';
import {
  badValue,
  checked,
  DEFAULTS,
  environmentNameOf,
  flagOf,
  isSettingKey,
  SETTING_KEYS,
  type SettingKey,
  type Settings,
  SettingsError,
  settingOf,
  unknownSetting,
} from './config.ts';

/** The environment variable that names the file; the flag is `--config`. */
export const CONFIG_FILE_VARIABLE = 'LEVERET_CONFIG';

/** Keys that the file may have by the name they have in RabbitMQ's. */
const FILE_ALIASES: Readonly<Record<string, SettingKey>> = {
  load_definitions: 'definitions',
  quorum_relaxed_checks_on_redeclaration: 'quorumRelaxedChecks',
};

/** What people gave, untouched. */
export interface SettingSources {
  /** By key, as the command line gave them: a text, or a boolean for a switch. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** All variables; those that do not begin with LEVERET_ are not looked at. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Path of the JSON file from `--config`; null: the one that LEVERET_CONFIG names, if any. */
  readonly configFile: string | null;
}

/** Where the value of a setting came from, as a person would name it: `default`, `--port`, `LEVERET_PORT`, a path. */
export type Origin = string;

/** Every setting, and where each came from. */
export interface ResolvedSettings {
  readonly settings: Settings;
  readonly origins: Readonly<Record<SettingKey, Origin>>;
  /** The file that was read; null for none. */
  readonly configFile: string | null;
}

/**
 * Puts the sources together. Reads the file, if there is one, synchronously: it happens once, before anything runs.
 * @throws SettingsError for a name that no setting has, a value that must not be, a file that cannot be read
 */
export function resolveSettings(sources: SettingSources): ResolvedSettings {
  const values: Record<string, unknown> = { ...DEFAULTS };
  const origins: Record<string, Origin> = {};
  for (const key of SETTING_KEYS) origins[key] = 'default';

  const configFile = sources.configFile ?? (sources.environment[CONFIG_FILE_VARIABLE] || null);
  if (configFile !== null) {
    const seen = new Set<string>();
    for (const [name, value] of Object.entries(readFile(configFile))) {
      const key = Object.hasOwn(FILE_ALIASES, name) ? FILE_ALIASES[name]! : name;
      if (seen.has(key))
        throw new SettingsError(
          `${JSON.stringify(name)} in ${configFile} is there already as ${JSON.stringify(otherName(name))}`,
        );
      values[key] = checked(key, value, `${JSON.stringify(name)} in ${configFile}`);
      seen.add(key);
      origins[key] = configFile;
    }
  }
  for (const [name, text] of Object.entries(sources.environment)) {
    if (text === undefined || !name.startsWith('LEVERET_') || name === CONFIG_FILE_VARIABLE) continue;
    const key = keyOfEnvironmentName(name);
    values[key] = parsed(key, text, name);
    origins[key] = name;
  }
  for (const [key, value] of Object.entries(sources.flags)) {
    if (value === undefined) continue;
    if (!isSettingKey(key)) throw unknownFlag(flagOf(key));
    values[key] =
      typeof value === 'string' ? parsed(key, value, flagOf(key)) : checked(key, value, flagOf(key));
    origins[key] = flagOf(key);
  }
  return {
    settings: Object.freeze(values) as unknown as Settings,
    origins: origins as Record<SettingKey, Origin>,
    configFile,
  };
}

/** The error for a flag that no setting has; it names the nearest one, if one is near. */
export function unknownFlag(flag: string): SettingsError {
  return unknownSetting(flag, flag.replace(/^--(no-)?/, ''), flagOf);
}

function parsed(key: SettingKey, text: string, where: string): unknown {
  const value = settingOf(key).kind.parse(text);
  if (value === undefined) throw badValue(where, key, text === '' ? 'an empty text' : text);
  return value;
}

const keysByEnvironmentName = new Map(SETTING_KEYS.map((key) => [environmentNameOf(key), key]));

function keyOfEnvironmentName(name: string): SettingKey {
  const key = keysByEnvironmentName.get(name);
  if (key === undefined) throw unknownSetting(name, name.slice('LEVERET_'.length), environmentNameOf);
  return key;
}

/** The other name that a key of the file has. */
function otherName(name: string): string {
  return (
    FILE_ALIASES[name] ?? Object.keys(FILE_ALIASES).find((alias) => FILE_ALIASES[alias] === name) ?? name
  );
}

function readFile(path: string): Readonly<Record<string, unknown>> {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EACCES'
          ? 'this user may not read it'
          : (error as Error).message;
    throw new SettingsError(`cannot read the settings file ${path}: ${why}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(content.replace(/^\uFEFF/, ''));
  } catch (error) {
    // The engine's text may quote the content over several lines.
    const why = (error as Error).message.replace(/\s+/g, ' ');
    throw new SettingsError(`the settings file ${path} is not JSON: ${why}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SettingsError(`the settings file ${path} must hold one JSON object, such as { "port": 5672 }`);
  }
  return value as Readonly<Record<string, unknown>>;
}

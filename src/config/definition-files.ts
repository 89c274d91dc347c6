// The definitions files that a broker is started with: found, read and looked over before anything else happens.
// Owns where they are and what a person is told when they cannot be used. What stands in them is the node's business.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BrokerError } from '../base/errors.ts';
import { type DefinitionsFile, readDefinitions } from '../node/definitions-file.ts';
import { SettingsError } from './config.ts';
import { whyUnreadable } from './unreadable.ts';

/** A definitions file that was read. */
export interface DefinitionSource {
  readonly path: string;
  readonly definitions: DefinitionsFile;
}

/**
 * Reads the file at `path`, or all files of a folder whose names end in `.json`, by name (RabbitMQ: `load_definitions`).
 * @throws SettingsError that names the file and what is wrong with it
 */
export function readDefinitionFiles(path: string): DefinitionSource[] {
  return filesAt(path).map((file) => {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw unreadable(file, error);
    }
    try {
      return { path: file, definitions: readDefinitions(text) };
    } catch (error) {
      throw badDefinitions(file, error);
    }
  });
}

/** What a person is told when the content of a definitions file is refused; other errors stay as they are. */
export function badDefinitions(path: string, error: unknown): unknown {
  if (!(error instanceof BrokerError)) return error;
  return new SettingsError(`the definitions file ${path}: ${error.message.replace(/\s+/g, ' ')}`);
}

function filesAt(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith('.json'));
    return names.sort().map((name) => join(path, name));
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): SettingsError {
  return new SettingsError(`cannot read the definitions file ${path}: ${whyUnreadable(error)}`);
}

// `leveret config`: the settings that `start` would use, and where each comes from. Starts nothing.
// Invariant: a secret is never printed.

import { SETTING_KEYS, settingOf } from '../config/config.ts';
import type { ResolvedSettings } from '../config/sources.ts';
import type { Terminal } from './terminal.ts';

const HIDDEN = '(not shown)';

/** Prints a table for people, or with `json` one object: key to value and origin. */
export async function showConfig(
  { settings, origins }: ResolvedSettings,
  terminal: Terminal,
  json: boolean,
): Promise<number> {
  if (json) {
    const object: Record<string, { value: unknown; origin: string }> = {};
    for (const key of SETTING_KEYS) {
      object[key] = { value: settingOf(key).secret ? HIDDEN : settings[key], origin: origins[key] };
    }
    terminal.stdout.write(`${JSON.stringify(object, null, 2)}\n`);
    return 0;
  }
  const rows = SETTING_KEYS.map((key) => {
    const { kind, unit, secret } = settingOf(key);
    const shown = secret ? HIDDEN : kind.show(settings[key]);
    return [key, unit === null || settings[key] === null ? shown : `${shown} ${unit}`, origins[key]] as const;
  });
  const keyWidth = Math.max(...rows.map(([key]) => key.length));
  const valueWidth = Math.max(...rows.map(([, value]) => value.length));
  for (const [key, value, origin] of rows) {
    terminal.stdout.write(`${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${origin}\n`);
  }
  return 0;
}

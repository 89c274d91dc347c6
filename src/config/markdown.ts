// The manual page of all settings (docs/configuration.md), written from the table so that it cannot be wrong.
// Knows the table's shape only. A test fails when the page on disk differs; `npm run generate` writes it.

import { environmentNameOf, flagOf, SETTING_KEYS, settingOf } from './config.ts';

/** The whole page. */
export function configurationPage(): string {
  const lines: string[] = [
    '<!-- Written by `npm run generate` from src/config/config.ts. Change it there. -->',
    '',
    '# Settings',
    '',
    'Every setting can be given in three ways. The first that is there wins:',
    '',
    '1. a flag: `leveret start --port 5680` (from the source folder: `npm start -- --port 5680`)',
    '2. an environment variable: `LEVERET_PORT=5680`',
    '3. a key in a JSON file, named by `--config FILE` or `LEVERET_CONFIG`: `{ "port": 5680 }`',
    '4. otherwise the default below',
    '',
    'The three names follow from each other: `dataDir`, `--data-dir`, `LEVERET_DATA_DIR`. A name that no setting has is refused,',
    'and so is a value that is out of range; the message says what was meant or allowed. `leveret config` prints the settings that',
    'would be used, and where each comes from.',
    '',
    '- Bytes may be written with a unit: `64MiB` (1024-based), `50MB` (1000-based). Times too: `500ms`, `30s`, `10min`, `1h`.',
    '- A switch is given as `--memory` or `--no-memory`; as a variable `true` or `false`.',
    '- *none* is `none` as a flag or variable, `null` in the file.',
    '',
  ];
  let group = '';
  for (const key of SETTING_KEYS) {
    const row = settingOf(key);
    if (row.group !== group) {
      group = row.group;
      lines.push(`## ${group}`, '');
    }
    const unit = row.unit === null ? '' : ` ${row.unit}`;
    const shown = row.defaultText ?? row.kind.show(row.default);
    const value = `\`${shown}\`${shown === 'none' ? '' : unit}`;
    const flag = row.kind.isSwitch ? `${flagOf(key)}\`, \`--no-${flagOf(key).slice(2)}` : flagOf(key);
    lines.push(
      `### ${key}`,
      '',
      row.help,
      '',
      `Default ${value}. Must be ${row.kind.expects}. Flag \`${flag}\`, variable \`${environmentNameOf(key)}\`.`,
      '',
    );
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

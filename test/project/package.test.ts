// The project says of itself only what is true: its scripts, files, commands, flags and links exist.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { environmentNameOf, flagOf, SETTING_KEYS, settingOf } from '../../src/config/config.ts';
import { CONFIG_FILE_VARIABLE } from '../../src/config/sources.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: { readonly '.': { readonly types: string; readonly default: string } };
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly version: string;
  readonly engines: { readonly node: string };
}
const manifest = JSON.parse(read('package.json')) as Manifest;

/** Pages that people read. */
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
].filter((path) => path.endsWith('.md'));

describe('package.json', () => {
  it.each(Object.entries(manifest.scripts))('has a script %s whose files exist', (_name, command) => {
    // Tools under node_modules/ are there after the install that the script itself makes sure of.
    const files = command.match(/(?:^|\s)[\w./-]+\.(?:mjs|cjs|ts|json)(?=\s|$)/g) ?? [];
    for (const file of files) expect(existsSync(join(root, file.trim())), file).toBe(true);
    for (const [, script] of command.matchAll(/npm run ([\w:-]+)/g))
      expect(manifest.scripts).toHaveProperty([script!]);
  });

  it('has a command and an entry whose sources exist', () => {
    for (const path of [...Object.values(manifest.bin), manifest.exports['.'].default]) {
      expect(
        existsSync(
          join(
            root,
            path
              .replace(/^dist\//, 'src/')
              .replace(/^\.\/dist\//, 'src/')
              .replace(/\.js$/, '.ts'),
          ),
        ),
        path,
      ).toBe(true);
    }
    for (const path of Object.values(manifest.bin)) {
      expect(read(path.replace(/^dist\//, 'src/').replace(/\.js$/, '.ts'))).toMatch(
        /^#!\/usr\/bin\/env -S node( --[\w=-]+)*\n/,
      );
    }
  });

  it('has no dependency that nothing imports', () => {
    const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => read(join('src', path)))
      .join('\n');
    const unused = Object.keys(manifest.dependencies).filter(
      (name) => !new RegExp(`(from|import\\() ?'${name}['/]`).test(sources),
    );
    expect(unused).toEqual([]);
  });
});

describe('the top level', () => {
  it('holds what the house has, and nothing else', () => {
    const known =
      /^(\.ci|\.gitignore|\.gitattributes|ARCHITECTURE\.md|CHANGELOG\.md|LICENSE|README\.md|bench|conformance|docs|package-lock\.json|package\.json|spec|src|test|tsconfig\.json)$/;
    // Sources without a repository (an archive) may hold whatever their owner put there.
    if (!existsSync(join(root, '.git'))) return;
    const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).split('\n');
    const entries = new Set(tracked.filter((path) => path !== '').map((path) => path.split('/')[0]!));
    expect([...entries].filter((entry) => !known.test(entry))).toEqual([]);
  });
});

describe.each(pages)('%s', (page) => {
  const text = read(page);

  it('names only scripts that exist', () => {
    const builtIn = new Set(['install', 'ci', 'start', 'test', 'run', 'i']);
    for (const [, word, script] of text.matchAll(/\bnpm (?:(run) )?([\w:-]+)/g)) {
      if (word === 'run' || !builtIn.has(script!))
        expect(Object.keys(manifest.scripts), `npm run ${script}`).toContain(script);
    }
  });

  it('names only commands, flags and variables that exist', () => {
    for (const [, command] of text.matchAll(/`(?:npx )?leveret ([a-z]+)/g))
      expect(['start', 'config', 'help']).toContain(command);
    const flags = new Set(['--config', '--help', '--version', '--json', '--']);
    for (const key of SETTING_KEYS) {
      flags.add(flagOf(key));
      if (settingOf(key).kind.isSwitch) flags.add(`--no-${flagOf(key).slice(2)}`);
    }
    const lines = text.split('\n').filter((line) => /leveret (start|config)|npm start|`--|\| --/.test(line));
    for (const line of lines) {
      for (const [flag] of line.matchAll(/(?<![\w-])--[a-z][a-z-]*/g))
        expect([...flags], line).toContain(flag);
    }
    const variables = [...SETTING_KEYS.map(environmentNameOf), CONFIG_FILE_VARIABLE];
    for (const [name] of text.matchAll(/\bLEVERET_[A-Z_]*[A-Z]\b/g)) expect(variables).toContain(name);
  });

  it('links only to files that exist', () => {
    for (const [, target] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)) {
      expect(existsSync(join(root, dirname(page), target!)), target).toBe(true);
    }
  });
});

it('every setting is read by what puts the broker together, or by the command', () => {
  const readers = [
    'src/broker.ts',
    'src/cli/start.ts',
    'src/config/room-options.ts',
    'src/config/tls-files.ts',
  ]
    .map(read)
    .join('\n');
  const unread = SETTING_KEYS.filter((key) => !new RegExp(`\\b${key}\\b`).test(readers));
  expect(unread).toEqual([]);
});

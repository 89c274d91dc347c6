// ARCHITECTURE.md names only files that exist, and says of no file that it decides what it does not even name.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');

/** The text of a section, without its heading. */
function section(heading: string): string {
  const [, text] = page.split(`\n## ${heading}\n`);
  expect(text, heading).toBeDefined();
  return text!.split('\n## ')[0]!;
}

function exists(path: string): boolean {
  return existsSync(join(root, path));
}

it('names only files that exist', () => {
  const named = [...page.matchAll(/`((?:src|spec|test|conformance|bench|\.ci)\/[\w./-]+)`/g)].map(
    ([, path]) => path!,
  );
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((path) => !exists(path))).toEqual([]);
});

it('lists files under the room they stand in', () => {
  const parts = section('The files').split(/\*\*([\w-]+\/)\*\*/);
  const missing: string[] = [];
  let files = 0;
  for (let i = 1; i < parts.length; i += 2) {
    for (const [, file] of parts[i + 1]!.matchAll(/`([\w-]+\.ts)`/g)) {
      files++;
      if (!exists(`src/${parts[i]!}${file!}`)) missing.push(`${parts[i]!}${file!}`);
    }
  }
  expect(files).toBeGreaterThan(70);
  expect(missing).toEqual([]);
});

it('walks through files that exist', () => {
  const steps = [...section('Three walks').matchAll(/^\| \d+ \| `([^`]+)` \|/gm)].map(([, path]) => path!);
  expect(steps.length).toBeGreaterThan(20);
  expect(steps.filter((path) => !exists(`src/${path}`))).toEqual([]);
});

it('names functions in the files that it says decide', () => {
  const rows = section('Where is it decided?')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| Question'));
  expect(rows.length).toBeGreaterThan(30);
  const wrong: string[] = [];
  for (const row of rows) {
    const [, question, place, names] = row.split('|');
    for (const part of names!.split(';')) {
      const file = (/ in `([^`]+\/[^`]+)`/.exec(part) ?? /`([^`]+)`/.exec(place!))?.[1] ?? '';
      const source = readFileSync(join(root, file), 'utf8');
      for (const [, name] of part.matchAll(/`([A-Za-z]\w*)`/g)) {
        if (!new RegExp(`\\b${name}\\b`).test(source)) wrong.push(`${question!.trim()} ${name} in ${file}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

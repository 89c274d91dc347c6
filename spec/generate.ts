// Writes the generated files of src/protocol/ from the table, or with `--check` says whether they are fresh.
// Node 20 reads no TypeScript: `npm run generate` runs it through `.ci/typescript.mjs`.

import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PROTOCOL } from './extensions.ts';
import { renderConstants } from './render-constants.ts';
import { renderMethods } from './render-methods.ts';
import { renderProperties } from './render-properties.ts';

/** A file that the table gives. */
export interface GeneratedFile {
  /** Path from the root of the project. */
  readonly path: string;
  readonly text: string;
}

/** Every generated file, with the text it must have. */
export function generatedFiles(): readonly GeneratedFile[] {
  return [
    { path: 'src/protocol/constants.ts', text: renderConstants(PROTOCOL) },
    { path: 'src/protocol/methods.ts', text: renderMethods(PROTOCOL) },
    { path: 'src/protocol/properties.ts', text: renderProperties(PROTOCOL) },
  ];
}

/** Paths of the generated files that differ from the table, under the given root folder. */
export function staleFiles(root: string): readonly string[] {
  return generatedFiles()
    .filter((file) => textOf(resolve(root, file.path)) !== file.text)
    .map((file) => file.path);
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function main(root: string, check: boolean): void {
  const stale = staleFiles(root);
  if (check && stale.length > 0) {
    console.error(`stale, run \`npm run generate\`: ${stale.join(', ')}`);
    process.exitCode = 1;
  }
  if (check) return;
  for (const file of generatedFiles()) {
    if (stale.includes(file.path)) writeFileSync(resolve(root, file.path), file.text);
  }
  console.log(stale.length === 0 ? 'generated files are fresh' : `wrote ${stale.join(', ')}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(fileURLToPath(new URL('..', import.meta.url)), process.argv.includes('--check'));
}

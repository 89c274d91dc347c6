// Writes every generated file of the project, or with --check says which ones are stale (exit code 1).
// Each entry is a tool of its own room; this only runs them one after the other.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const check = process.argv.includes('--check');

// The protocol's constants, methods and properties, from the typed table in spec/.
const generator = fileURLToPath(new URL('spec/generate.ts', root));
if (existsSync(generator)) {
  const { status } = spawnSync(
    process.execPath,
    ['--import', new URL('typescript.mjs', import.meta.url).href, generator, ...(check ? ['--check'] : [])],
    { stdio: 'inherit' },
  );
  if (status !== 0) process.exitCode = 1;
}

// The manual page of all settings.
await import('./typescript.mjs');
const { configurationPage } = await import('../src/config/markdown.ts');
const page = new URL('docs/configuration.md', root);
const before = existsSync(page) ? readFileSync(page, 'utf8') : '';
if (before !== configurationPage()) {
  if (check) {
    console.error('docs/configuration.md is stale: npm run generate');
    process.exitCode = 1;
  } else {
    writeFileSync(page, configurationPage());
    console.log('wrote docs/configuration.md');
  }
}

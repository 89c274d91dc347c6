// Lets Node run this project's TypeScript as it lies: `node --import ./.ci/typescript.mjs file.ts`.
// For tools of the project only, never for the broker itself, which runs from dist/. Node 22.18 and later can do so on their own;
// Node 20 cannot, so types are stripped by the compiler that the floors check needs anyway.

import { readFile } from 'node:fs/promises';
import { createRequire, register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const require = createRequire(import.meta.url);

if (isMainThread && !process.features.typescript) register(import.meta.url);

/** Node's loader hook. Runs on the hooks thread. */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
  const { transform } = require('@swc/core');
  const { code } = await transform(await readFile(fileURLToPath(url), 'utf8'), {
    filename: fileURLToPath(url),
    swcrc: false,
    sourceMaps: 'inline',
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}

// What this program is called and which version it is, read once from package.json so that it is written in one place only.
// Knows nothing else. Works from `src/` and from `dist/`, which lie at the same depth below package.json.

import { readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

/** The name of the command and of the package. */
export const PROGRAM = 'leveret';

/** The package's version. */
export const VERSION: string = manifest.version;

// The house's floors hold, and the check that says so sees what it should see.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

interface FloorsReport {
  readonly modules: number;
  readonly dependencies: number;
  readonly violations: readonly { readonly rule: string; readonly from: string; readonly to: string }[];
}

const { checkFloors } = (await import(new URL('../../.ci/floors.mjs', import.meta.url).href)) as {
  checkFloors(root: string): Promise<FloorsReport>;
};

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A project made of these files; answers `rule: from` for each broken rule. */
async function broken(files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), 'leveret-floors-'));
  folders.push(root);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  const { violations } = await checkFloors(root);
  return violations.map(({ rule, from }) => `${rule}: ${from}`);
}

it('every file of the broker imports from its own folder or a lower floor only', async () => {
  const report = await checkFloors(fileURLToPath(new URL('../..', import.meta.url)));
  expect(report.violations).toEqual([]);
  expect(report.modules).toBeGreaterThan(30);
  expect(report.dependencies).toBeGreaterThan(50);
});

describe('the check of the floors', () => {
  it('is content with a file that looks down', async () => {
    expect(
      await broken({
        'src/base/a.ts': 'export const a = 1;',
        'src/queue/b.ts': "import { a } from '../base/a.ts';\nexport const b = a;",
        'src/queue/c.ts': "import { b } from './b.ts';\nexport const c = b;",
      }),
    ).toEqual([]);
  });

  it('fails when there is nothing to read', async () => {
    expect(await broken({ 'src/readme.txt': 'no module here' })).toEqual(['every-file-read: src']);
  });

  it('sees an import from a higher floor, of types too', async () => {
    const files = { 'src/queue/b.ts': 'export type B = number;\nexport const b = 1;' };
    expect(
      await broken({ ...files, 'src/base/a.ts': "import { b } from '../queue/b.ts';\nexport const a = b;" }),
    ).toEqual(['floor-0-base: src/base/a.ts']);
    expect(
      await broken({
        ...files,
        'src/base/a.ts': "import type { B } from '../queue/b.ts';\nexport type A = B;",
      }),
    ).toEqual(['floor-0-base: src/base/a.ts']);
    expect(await broken({ ...files, 'src/base/a.ts': "export type { B } from '../queue/b.ts';" })).toEqual([
      'floor-0-base: src/base/a.ts',
    ]);
    expect(await broken({ ...files, 'src/base/a.ts': "export const a = import('../queue/b.ts');" })).toEqual([
      'floor-0-base: src/base/a.ts',
    ]);
  });

  it('sees an import from a neighbour on the same floor', async () => {
    expect(
      await broken({
        'src/store/a.ts': 'export const a = 1;',
        'src/routing/b.ts': "import { a } from '../store/a.ts';\nexport const b = a;",
      }),
    ).toEqual(['floor-3-routing: src/routing/b.ts']);
    expect(
      await broken({
        'src/logging.ts': 'export const a = 1;',
        'src/config/b.ts': "import { a } from '../logging.ts';\nexport const b = a;",
      }),
    ).toEqual(['floor-7-config: src/config/b.ts']);
  });

  it('sees a file in a room that has no floor', async () => {
    expect(
      await broken({ 'src/utilities/a.ts': "import './b.ts';", 'src/utilities/b.ts': 'export {};' }),
    ).toContain('known-room: src/utilities/a.ts');
  });

  it.each([
    ['level', 'store/records.ts'],
    ['winston', 'broker.ts'],
    ['node:net', 'amqp/connection.ts'],
    ['net', 'amqp/connection.ts'],
    ['node:tls', 'auth/sasl.ts'],
    ['node:http', 'amqp/connection.ts'],
    ['node:https', 'cli/main.ts'],
    ['commander', 'index.ts'],
    ['binary-parser', 'protocol/methods.ts'],
    ['binary-parser', 'amqp/content.ts'],
  ])('keeps %s out of %s', async (module, file) => {
    expect(
      await broken({ [`src/${file}`]: `import * as it from '${module}';\nexport const used = it;` }),
    ).toContain(
      `only-${module.replace('node:', '').replace('tls', 'net').replace('https', 'http')}: src/${file}`,
    );
  });

  it.each([
    ['level', 'store/level-engine.ts'],
    ['winston', 'logging.ts'],
    ['node:net', 'net/listener.ts'],
    ['node:tls', 'net/tls.ts'],
    ['node:http', 'management/http-server.ts'],
    ['commander', 'cli/main.ts'],
  ])('lets %s into %s', async (module, file) => {
    const found = await broken({
      [`src/${file}`]: `import * as it from '${module}';\nexport const used = it;`,
    });
    expect(found.filter((rule) => rule.startsWith('only-'))).toEqual([]);
  });

  it('takes a room of ours for what it is, whatever modules are called', async () => {
    expect(
      await broken({
        'src/net/listener.ts': 'export const listen = 1;',
        'src/amqp/connection.ts': "import { listen } from '../net/listener.ts';\nexport const l = listen;",
      }),
    ).toEqual([]);
  });

  it('sees an import of something that does not exist', async () => {
    expect(await broken({ 'src/base/a.ts': "import { b } from './b.ts';\nexport const a = b;" })).toEqual([
      'no-missing-module: src/base/a.ts',
    ]);
  });
});

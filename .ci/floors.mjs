// Runs the rules of floors.cjs over a folder and says what broke them. Exit code 1 when a rule is broken, or when fewer modules were
// read than there are files: a check that reads nothing must not pass.
//   node .ci/floors.mjs [folder that holds src/]

import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @param {string} root folder that holds src/
 * @returns {Promise<{ modules: number, dependencies: number, violations: { rule: string, from: string, to: string, comment: string }[] }>}
 */
export async function checkFloors(root) {
  const { cruise } = await import('dependency-cruiser');
  const { forbidden, options } = createRequire(import.meta.url)('./floors.cjs');
  const { output } = await cruise(['src'], {
    ...options,
    baseDir: root,
    ruleSet: { forbidden },
    validate: true,
  });

  const own = output.modules.filter((module) => module.source.startsWith('src/'));
  const read = new Set(own.map((module) => module.source));
  const violations = output.summary.violations.map(({ rule, from, to }) => ({
    rule: rule.name,
    from,
    to,
    comment: forbidden.find(({ name }) => name === rule.name)?.comment ?? '',
  }));
  for (const file of sources(join(root, 'src'))) {
    const source = relative(root, file).split(sep).join('/');
    if (!read.has(source))
      violations.push({ rule: 'every-file-read', from: source, to: '', comment: 'this file was not read' });
  }
  if (read.size === 0) {
    violations.push({ rule: 'every-file-read', from: 'src', to: '', comment: 'no module was read at all' });
  }
  return {
    modules: read.size,
    dependencies: own.reduce((sum, module) => sum + module.dependencies.length, 0),
    violations,
  };
}

function sources(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = resolve(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url)));
  const { modules, dependencies, violations } = await checkFloors(root);
  for (const { rule, from, to, comment } of violations) {
    console.error(`${rule}: ${from}${to && to !== from ? ` imports ${to}` : ''}\n    ${comment}`);
  }
  console.log(`floors: ${modules} modules, ${dependencies} imports, ${violations.length} broken rules`);
  if (violations.length > 0) process.exitCode = 1;
}

// Holds the list of rules and the tests together, and the page of differences up to date.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { rules } from './rules.ts';

const here = fileURLToPath(new URL('.', import.meta.url));

/** Ids of the rules that tests name, with the files that name them. */
function testedIds(): Map<string, string> {
  const ids = new Map<string, string>();
  for (const name of readdirSync(here, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.test.ts')) continue;
    const text = readFileSync(join(here, name), 'utf8');
    for (const [, id] of text.matchAll(/\brule\(\s*'([^']+)'/g))
      ids.set(id!, relative(here, join(here, name)));
  }
  return ids;
}

/** The page of differences, made from the rules. */
function differencesPage(): string {
  const lines = [
    '# Where RabbitMQ and this broker differ',
    '',
    'Made from `rules.ts` by `rules.test.ts` (`npx vitest run --config test/vitest.config.ts conformance/rules.test.ts --update`).',
    "The tests assert our behaviour from us and RabbitMQ's from RabbitMQ. The RabbitMQ they have met is 3.10: lines about newer versions",
    'say what its documentation and its sources say, and no such RabbitMQ has confirmed them yet.',
    '',
    '| Rule | What | RabbitMQ | Which versions | This broker | Why |',
    '|---|---|---|---|---|---|',
  ];
  for (const { id, text, difference } of rules) {
    if (difference === undefined) continue;
    const { rabbitmq, ours, reason, below, from } = difference;
    const versions = [
      from === undefined ? [] : [`from ${from}`],
      below === undefined ? [] : [`before ${below}`],
    ];
    const cells = [id, text, rabbitmq, versions.flat().join(', ') || 'all', ours, reason];
    lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

test('every listed rule has a test, and every test proves a listed rule', () => {
  const tested = testedIds();
  const listed = new Set(rules.map((rule) => rule.id));
  expect(rules.filter((rule) => !tested.has(rule.id)).map((rule) => rule.id)).toEqual([]);
  expect([...tested].filter(([id]) => !listed.has(id))).toEqual([]);
});

test('differences.md says what the rules say', async () => {
  await expect(differencesPage()).toMatchFileSnapshot('./differences.md');
});

// The manual page of the settings says what the table says.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { SETTING_KEYS } from '../../src/config/config.ts';
import { configurationPage } from '../../src/config/markdown.ts';

it('docs/configuration.md is what the table gives (npm run generate writes it)', () => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  expect(page).toBe(configurationPage());
});

it('the page of settings explains every setting', () => {
  const page = configurationPage();
  for (const key of SETTING_KEYS) expect(page).toContain(`### ${key}\n`);
});

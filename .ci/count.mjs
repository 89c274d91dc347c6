// Reads JSON reports of vitest.
//   node .ci/count.mjs report.json              prints "passed failed"; a test file that could not even be read counts as one failure
//   node .ci/count.mjs --remarks report.json    prints a line for every test that failed, or that passed only when it was tried again

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What a line shows of an error: enough to know which expectation it was. */
const MESSAGE_CHARACTERS = 600;

const remarks = process.argv[2] === '--remarks';
const report = JSON.parse(readFileSync(process.argv[remarks ? 3 : 2], 'utf8'));
const unread = report.testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
);

function line(word, file, title, messages) {
  const told = messages
    .flatMap((message) => message.split('\n'))
    .filter((each) => !each.includes('node_modules'));
  const text = told
    .map((each) => each.trim())
    .join(' ')
    .slice(0, MESSAGE_CHARACTERS);
  console.log(`${word}: ${relative(ROOT, file)}${title === '' ? '' : ` > ${title}`}: ${text}`);
}

if (remarks) {
  for (const { name, message } of unread) line('FAILED', name, '', [message ?? 'could not be read']);
  for (const { name, assertionResults } of report.testResults) {
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status === 'failed') line('FAILED', name, fullName, failureMessages);
      else if (status === 'passed' && failureMessages.length > 0) {
        line('passed at the second try', name, fullName, failureMessages);
      }
    }
  }
} else {
  console.log(report.numPassedTests, report.numFailedTests + unread.length);
}

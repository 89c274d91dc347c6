// Prints "passed failed" of one JSON report of vitest. A test file that could not even be read counts as one failure.
//   node .ci/count.mjs report.json

import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const unread = report.testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
).length;
console.log(report.numPassedTests, report.numFailedTests + unread);

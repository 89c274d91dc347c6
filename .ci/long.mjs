// The long runs in a middle form: what `npm test` does in short, long enough to find what is rare, short enough for every change.
// Prints one line `N passed, N failed` per run. Each run is a named script of its own as well; see docs/README.md.
//
//   node .ci/long.mjs [name …]      all of them, or those named

import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RABBITMQ, withRabbitMQ } from './rabbitmq.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NODE = process.execPath;
const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts'];

const RUNS = {
  'conformance against RabbitMQ': conformanceAgainstRabbitMQ,
  'crash harness, 10 kills': () =>
    script(['.ci/ready.mjs', 'run', 'test/crash/run.ts', '--rounds', '10', '--seconds', '2']),
  'dead-letters kept, 1,000 crashes': () =>
    tests(['test/crash/dead-letters.test.ts'], { FAILURE_CRASHES: '1000' }),
  'store model, 400 seeds': () => tests(['test/store'], { STORE_SEEDS: '400' }),
  'simulation, 2,000 seeds': () => tests(['test/simulation'], { SIM_SEEDS: '2000' }),
  'speed guard': () => counted(['.ci/ready.mjs', 'bench', 'micro/guard']),
  'protocol fuzzing, 2,000 rounds': () => tests(['conformance/amqp/fuzz.test.ts'], { FUZZ_ROUNDS: '2000' }),
};

const wanted = process.argv.slice(2);
let failures = 0;
for (const [name, run] of Object.entries(RUNS)) {
  if (wanted.length > 0 && !wanted.some((word) => name.includes(word))) continue;
  const began = Date.now();
  console.log(`\n-- ${name}`);
  const { passed, failed } = await run().catch((error) => {
    console.log(String(error));
    return { passed: 0, failed: 1 };
  });
  failures += failed;
  if (failed > 0) remark(`FAILED: ${name}, ${failed} of ${passed + failed}\n`);
  console.log(`${name}: ${Math.round((Date.now() - began) / 1000)} s`);
  console.log(`${passed} passed, ${failed} failed`);
}
process.exitCode = failures === 0 ? 0 : 1;

/** Adds to what `.ci/run` shows at its end, when it is that which runs us. */
function remark(text) {
  if (process.env.CI_REMARKS !== undefined) appendFileSync(process.env.CI_REMARKS, text);
}

/** Runs a program, its output shown. Fulfilled with its exit code. */
function execute(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function script(args) {
  const code = await execute(NODE, args);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 };
}

/** Runs a script that prints `N passed, N failed` itself. */
async function counted(args) {
  let text = '';
  const child = spawn(NODE, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  const counts = /^(\d+) passed, (\d+) failed$/m.exec(text);
  // The caller prints the counts.
  console.log(text.replace(/^\d+ passed, \d+ failed\n/m, ''));
  const [passed, failed] = counts === null ? [0, 1] : [Number(counts[1]), Number(counts[2])];
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed };
}

/**
 * Runs tests and counts them. `retries`: how often a test that failed is tried again at once; `alone`: no two files at the same time.
 * `files` of what it returns are those in which a test failed.
 */
async function tests(files, env, { retries = 0, alone = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'leveret-long-'));
  const report = join(folder, 'report.json');
  try {
    const code = await execute(
      NODE,
      [
        ...VITEST,
        ...files,
        '--testTimeout=600000',
        `--retry=${retries}`,
        ...(alone ? ['--no-file-parallelism'] : []),
        '--reporter=dot',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ],
      env,
    );
    if (!existsSync(report)) return { passed: 0, failed: 1, files: [] };
    const remarks = execFileSync(NODE, ['.ci/count.mjs', '--remarks', report], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    process.stdout.write(remarks);
    remark(remarks);
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
    return {
      passed: numPassedTests,
      failed: numFailedTests === 0 && code !== 0 ? 1 : numFailedTests,
      files: testResults.filter(({ status }) => status === 'failed').map(({ name }) => relative(ROOT, name)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The conformance tests, and random scripts that both brokers get. */
async function conformanceAgainstRabbitMQ() {
  if (!existsSync(RABBITMQ)) {
    console.log('rabbitmq-server is not installed: skipped');
    return { passed: 0, failed: 0 };
  }
  const rules = (files, options) =>
    withRabbitMQ(({ url, node }) =>
      tests(files, { AMQP_URL: url, CONFORMANCE_RABBITMQ_NODE: node }, { retries: 2, ...options }),
    );
  const all = await rules(['conformance'], {});
  // A broker of others keeps real time and does much of its work behind its answers, the slower the more of us ask it at once: what failed
  // is asked of a fresh one, file by file.
  const alone = all.failed === 0 ? { passed: 0, failed: 0 } : await rules(all.files, { alone: true });
  const failed = all.files.length > 0 ? alone.failed : all.failed;
  if (all.failed > 0) remark(`of ${all.failed} that failed side by side, ${failed} failed alone too\n`);
  // The same random scripts with that RabbitMQ and with our own broker, which the test starts itself.
  const scripts = await withRabbitMQ(({ url }) =>
    tests(['conformance/differential.test.ts'], { REFERENCE_URL: url }),
  );
  return {
    passed: all.passed + Math.max(0, all.failed - failed) + scripts.passed,
    failed: failed + scripts.failed,
  };
}

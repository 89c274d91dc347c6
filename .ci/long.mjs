// The long runs in a middle form: what `npm test` does in short, long enough to find what is rare, short enough for every change.
// Prints one line `N passed, N failed` per run. Each run is a named script of its own as well; see docs/README.md.
//
//   node .ci/long.mjs [name …]      all of them, or those named

import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

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

/** Runs tests and counts them. */
async function tests(files, env, retries = 0) {
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
        '--reporter=dot',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ],
      env,
    );
    if (!existsSync(report)) return { passed: 0, failed: 1 };
    const remarks = execFileSync(NODE, ['.ci/count.mjs', '--remarks', report], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    process.stdout.write(remarks);
    remark(remarks);
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
    return { passed: numPassedTests, failed: numFailedTests === 0 && code !== 0 ? 1 : numFailedTests };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A RabbitMQ of our own, with its own name, port and folders, so that it meets no other. */
async function conformanceAgainstRabbitMQ() {
  if (!existsSync('/usr/sbin/rabbitmq-server')) {
    console.log('rabbitmq-server is not installed: skipped');
    return { passed: 0, failed: 0 };
  }
  const folder = mkdtempSync(join(tmpdir(), 'leveret-rabbitmq-'));
  const port = await freePort();
  const distribution = await freePort();
  const name = `leveret${process.pid}@localhost`;
  for (const part of ['mnesia', 'log']) mkdirSync(join(folder, part));
  writeFileSync(join(folder, 'rabbitmq.conf'), `listeners.tcp.default = 127.0.0.1:${port}\n`);
  writeFileSync(join(folder, 'enabled_plugins'), '[].');
  for (const part of ['', 'mnesia', 'log', 'rabbitmq.conf', 'enabled_plugins'])
    chmodSync(join(folder, part), 0o777);
  const server = spawn('/usr/sbin/rabbitmq-server', [], {
    detached: true,
    stdio: 'ignore',
    env: {
      ...process.env,
      RABBITMQ_NODENAME: name,
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    },
  });
  try {
    await listening(port, 60_000);
    const url = `amqp://guest:guest@127.0.0.1:${port}`;
    // A broker of others keeps real time and does much of its work behind its answers: a test may need a second look at it.
    const rules = await tests(['conformance'], { AMQP_URL: url, CONFORMANCE_RABBITMQ_NODE: name }, 2);
    // The same random scripts with that RabbitMQ and with our own broker, which the test starts itself.
    const scripts = await tests(['conformance/differential.test.ts'], { REFERENCE_URL: url });
    return { passed: rules.passed + scripts.passed, failed: rules.failed + scripts.failed };
  } finally {
    await execute('rabbitmqctl', ['-q', '-n', name, 'stop']).catch(() => {});
    try {
      process.kill(-server.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Fulfilled when somebody listens on the port. */
async function listening(port, withinMs) {
  const deadline = Date.now() + withinMs;
  while (Date.now() < deadline) {
    const open = await new Promise((resolve) => {
      const socket = createConnection({ port, host: '127.0.0.1' }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`nobody listens on port ${port} after ${withinMs} ms`);
}

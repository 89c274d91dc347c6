// Makes a fresh clone ready and then does what was asked; does nothing extra when all is in place.
// Plain Node and no dependency: this runs before anything is installed.
//
//   node .ci/ready.mjs start [flags]      install what is missing, build what is stale, run the broker in this process
//   node .ci/ready.mjs test [vitest args] install, build, run the tests
//   node .ci/ready.mjs check              everything that must hold before a merge (--without-tests: all but the tests)
//   node .ci/ready.mjs build              install and build only
//   node .ci/ready.mjs run FILE [args]    install, build, run a TypeScript or JavaScript program of the project
//   node .ci/ready.mjs bench NAME [args]  install, build, compile the benchmarks, run bench/NAME.ts
//   node .ci/ready.mjs tool FILE [args]   the same without a build, for tools that work on the sources
//
// Progress goes to standard error, one line per step, so that standard output belongs to what was asked for.

import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const at = (...path) => join(root, ...path);
const OLDEST_NODE = [20, 15];

/** A failure whose message says all there is to say. */
class Failure extends Error {}

const say = (line) => process.stderr.write(`${line}\n`);

/** Runs a step with a line before it and, when it took long enough to wonder, one after it. */
async function step(what, work) {
  const began = performance.now();
  say(`leveret: ${what} …`);
  await work();
  say(`leveret: ${what}: done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/** Runs a program to its end with our input and output; what it writes to standard output goes to `output`. */
function program(command, args, { output = 'inherit', env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['inherit', output, 'inherit'], env });
    // A terminal signals the child too; a supervisor signals us alone.
    const pass = (signal) => child.kill(signal);
    process.on('SIGTERM', pass);
    process.on('SIGINT', pass);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('SIGTERM', pass);
      process.off('SIGINT', pass);
      if (signal !== null) return process.exit(128 + ({ SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal] ?? 1));
      resolve(code);
    });
  });
}

const node = (args, options) => program(process.execPath, args, options);

// ---- what is missing -------------------------------------------------------------------------------------------------

const readJson = (path) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
};

/** True when every package of the lock file is installed in its version; with `tools`, those for development too. */
function installed(tools) {
  const wanted = readJson(at('package-lock.json'))?.packages ?? {};
  // npm writes down what it installed.
  const present = readJson(at('node_modules', '.package-lock.json'))?.packages;
  if (present === undefined) return false;
  for (const [path, { version, dev, devOptional, optional }] of Object.entries(wanted)) {
    // Optional packages are those of other platforms.
    if (path === '' || optional || ((dev || devOptional) && !tools)) continue;
    if (present[path]?.version !== version || !existsSync(at(path, 'package.json'))) return false;
  }
  return true;
}

async function install() {
  await step('installing dependencies (npm ci)', async () => {
    const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
    const npm = process.env.npm_execpath;
    const throughNpm = npm !== undefined && /npm-cli\.c?js$/.test(npm);
    const status = throughNpm
      ? await node([npm, ...args], { output: process.stderr })
      : await program(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, { output: process.stderr });
    if (status !== 0) throw new Failure('npm ci failed; what it wrote is above');
  });
}

// ---- what is stale ---------------------------------------------------------------------------------------------------

/** Every file that the build reads, with size and time of change. */
function fingerprint() {
  const lines = [];
  const visit = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path);
      else {
        const { size, mtimeMs } = statSync(path);
        lines.push(`${relative(root, path)} ${size} ${mtimeMs}`);
      }
    }
  };
  visit(at('src'));
  const { size, mtimeMs } = statSync(at('tsconfig.json'));
  lines.push(`tsconfig.json ${size} ${mtimeMs}`);
  return lines.sort().join('\n');
}

const stampPath = at('dist', '.stamp');

function built(now) {
  return existsSync(stampPath) && readFileSync(stampPath, 'utf8') === now;
}

/**
 * Builds beside dist/ and puts the result in its place at the end: a broker that runs from dist/ never sees half of it, and files
 * whose source is gone do not stay behind.
 */
async function build(now) {
  await step('building', async () => {
    const beside = at(`.dist-${process.pid}`);
    try {
      const tsc = at('node_modules', 'typescript', 'bin', 'tsc');
      const status = await node([tsc, '-p', 'tsconfig.json', '--outDir', beside], { output: process.stderr });
      if (status !== 0) throw new Failure('the build failed; the errors are above');
      copyOthers(at('src'), beside);
      writeFileSync(join(beside, '.stamp'), now);
      replace(at('dist'), beside);
    } finally {
      rmSync(beside, { recursive: true, force: true });
    }
  });
}

/** Files that are served or read as they are. */
function copyOthers(from, to) {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) copyOthers(join(from, entry.name), join(to, entry.name));
    else if (!entry.name.endsWith('.ts')) {
      mkdirSync(to, { recursive: true });
      copyFileSync(join(from, entry.name), join(to, entry.name));
    }
  }
}

function replace(target, replacement) {
  const old = `${replacement}-old`;
  // Another build may have put its own result there between the two renames.
  for (let attempt = 0; ; attempt++) {
    if (existsSync(target)) renameSync(target, old);
    try {
      renameSync(replacement, target);
      break;
    } catch (error) {
      if (attempt === 5) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}

/** Installs and builds where needed. `tools`: what follows needs the development dependencies too. */
async function ready({ tools }) {
  const now = fingerprint();
  const fresh = built(now);
  if (!installed(tools || !fresh)) await install();
  if (!fresh) await build(now);
}

// ---- what was asked for ----------------------------------------------------------------------------------------------

async function start(args) {
  await ready({ tools: false });
  const { flagOf, SETTING_KEYS } = await import(pathToFileURL(at('dist', 'config', 'config.js')).href);
  const swallowed = SETTING_KEYS.map((key) => flagOf(key).slice(2)).find(
    (flag) => process.env[`npm_config_${flag.replaceAll('-', '_')}`] !== undefined,
  );
  if (swallowed !== undefined) {
    throw new Failure(
      `npm took --${swallowed} for itself: put flags behind two dashes, as in npm start -- --${swallowed} …`,
    );
  }
  // In this very process, so that signals reach the broker and nothing stands between it and its supervisor.
  const main = at('dist', 'cli', 'main.js');
  process.argv = [process.argv[0], main, 'start', ...args];
  performance.mark('leveret-start');
  await import(pathToFileURL(main).href);
}

const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts'];

async function test(args) {
  await ready({ tools: true });
  process.exitCode = await node([...VITEST, ...args]);
}

async function check(args) {
  await ready({ tools: true });
  const steps = [
    ['generated files are fresh', ['.ci/generate.mjs', '--check']],
    ['types', ['node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json']],
    [
      'lint',
      [
        'node_modules/@biomejs/biome/bin/biome',
        'check',
        '--config-path=.ci/biome.json',
        '--error-on-warnings',
      ],
    ],
    ['floors', ['.ci/floors.mjs']],
    ['tests', VITEST],
  ];
  if (args.includes('--without-tests')) steps.pop();
  const failed = [];
  for (const [name, command] of steps) {
    await step(name, async () => {
      if ((await node(command)) !== 0) failed.push(name);
    });
  }
  if (failed.length > 0) throw new Failure(`check failed: ${failed.join(', ')}`);
  say('leveret: check passed');
}

async function run([file, ...args], { fromSources }) {
  if (file === undefined) throw new Failure('which file?');
  if (!fromSources) await ready({ tools: true });
  else if (!installed(true)) await install();
  process.exitCode = await node(['--import', new URL('typescript.mjs', import.meta.url).href, file, ...args]);
}

/** Compiled, because the generator is many processes and must be as fast as what it measures. */
async function bench([name, ...args]) {
  await ready({ tools: true });
  const status = await node([at('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'bench/tsconfig.json'], {
    output: process.stderr,
  });
  if (status !== 0) throw new Failure('the benchmarks could not be built; the errors are above');
  process.exitCode = await node([at('node_modules', '.cache', 'bench', 'bench', `${name}.js`), ...args]);
}

const [command = '', ...rest] = process.argv.slice(2);
try {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    throw new Failure(
      `Node.js ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}`,
    );
  }
  if (command === 'start') await start(rest);
  else if (command === 'test') await test(rest);
  else if (command === 'check') await check(rest);
  else if (command === 'build') await ready({ tools: false });
  else if (command === 'run') await run(rest, { fromSources: false });
  else if (command === 'bench') await bench(rest);
  else if (command === 'tool') await run(rest, { fromSources: true });
  else throw new Failure('usage: node .ci/ready.mjs start|test|check|build|run|bench|tool …');
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  say(`leveret: ${error.message}`);
  process.exitCode = 1;
}

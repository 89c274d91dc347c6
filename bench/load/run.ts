// The command behind `npm run bench`: runs workloads against our broker, against another one, or both in turn, and prints a table.
// Owns the command line, the order of the runs and the results file. Starts a generator process per run.

import { appendFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { generate, machineFacts } from './generate.ts';
import { describeFolder } from './profile.ts';
import { type Row, table } from './report.ts';
import { freePort, OtherBroker, OwnBroker, ROOT, type Target, TlsTarget } from './target.ts';
import type { Job } from './worker.ts';
import { isWorkload, type RunResult, WORKLOADS } from './workloads.ts';

const HELP = `npm run bench -- [options]

  --only a,b          these workloads only (see below), or points of a sweep: queues@1000
  --rounds N          runs of each workload and broker; the table shows the median (3)
  --seconds N         length of a measured window (5)
  --warmup N          seconds before it (1)
  --scale X           factor on fixed counts, such as the 500,000 messages of fill-drain (1)
  --against URL       measure the broker at amqp://… too, in turn with ours
  --against-pid PID   its process, when it cannot be found by its port
  --dist DIR          another build of our broker instead of dist
  --against-dist DIR  measure that build of our broker too, in turn with the first: before and after a change
  --tls               measure our broker over TLS too, in turn with its plain port; not with --not-ours
  --not-ours          leave our broker out
  --node-flags="…"    flags for our broker's node, such as --cpu-prof
  --broker-flags="…"  flags for 'leveret start'
  --profile           CPU profile of our broker over the whole run; its functions by self time (best with --only and --rounds 1)
  --json FILE         append a JSON line per run (bench/results/<date>.jsonl); "none" for no file
  --list              print the workloads and stop
`;

function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(/\s+/).filter((word) => word !== '');
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: '${text}' is not a number above 0`);
  return value;
}

function chosen(only: string | undefined): string[] {
  if (only === undefined) return WORKLOADS.filter((each) => each.standard).map((each) => each.name);
  const names = only.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!isWorkload(name)) throw new Error(`no workload '${name}'; see --list`);
  }
  return names;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '5' },
      warmup: { type: 'string', default: '1' },
      scale: { type: 'string', default: '1' },
      against: { type: 'string' },
      'against-pid': { type: 'string' },
      dist: { type: 'string' },
      'against-dist': { type: 'string' },
      tls: { type: 'boolean', default: false },
      'not-ours': { type: 'boolean', default: false },
      'node-flags': { type: 'string' },
      'broker-flags': { type: 'string' },
      profile: { type: 'boolean', default: false },
      json: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help || flags.list) {
    if (flags.help) process.stdout.write(`${HELP}\n`);
    for (const { name, title, standard } of WORKLOADS) {
      process.stdout.write(`  ${name.padEnd(22)}${title}${standard ? '' : ' (only when named)'}\n`);
    }
    return;
  }
  const names = chosen(flags.only);
  const rounds = positive('rounds', flags.rounds);
  const shape = {
    seconds: positive('seconds', flags.seconds),
    warmupSeconds: positive('warmup', flags.warmup),
    scale: positive('scale', flags.scale),
  };
  const targets: Target[] = [];
  const profiles = flags.profile ? mkdtempSync(join(tmpdir(), 'leveret-profile-')) : null;
  const own = { nodeFlags: words(flags['node-flags']), flags: words(flags['broker-flags']) };
  const nodeFlags = [...own.nodeFlags];
  if (profiles !== null) nodeFlags.push('--cpu-prof', `--cpu-prof-dir=${profiles}`);
  try {
    if (!flags['not-ours']) {
      const dist = flags.dist === undefined ? {} : { dist: flags.dist };
      const tlsPort = flags.tls ? await freePort() : null;
      const tlsFlags = tlsPort === null ? [] : TlsTarget.flags(tlsPort);
      const broker = await OwnBroker.start({
        ...own,
        nodeFlags,
        flags: [...own.flags, ...tlsFlags],
        ...dist,
      });
      targets.push(broker);
      if (tlsPort !== null) targets.push(new TlsTarget(broker, tlsPort));
    }
    if (flags['against-dist'] !== undefined) {
      targets.push(
        await OwnBroker.start({ ...own, dist: flags['against-dist'], label: 'Leveret, other build' }),
      );
    }
    if (flags.against !== undefined) {
      const pid = flags['against-pid'] === undefined ? null : Number(flags['against-pid']);
      targets.push(new OtherBroker(flags.against, pid));
    }
    if (targets.length === 0) throw new Error('nothing to measure: --not-ours without --against');
    const file =
      flags.json ?? join(ROOT, 'bench', 'results', `${new Date().toISOString().slice(0, 10)}.jsonl`);
    if (file !== 'none') mkdirSync(dirname(file), { recursive: true });
    await runAll(names, rounds, targets, shape, file);
  } finally {
    for (const target of targets) await target.stop();
  }
  if (profiles !== null) process.stdout.write(`\n${profiles}/${describeFolder(profiles, 45)}\n`);
}

/** Ours by the name it was started under, as it greets clients with the name of the product it stands in for. */
function columnLabel(result: RunResult, target: Target): string {
  if (target instanceof OwnBroker || target instanceof TlsTarget) return target.label;
  return `${result.product} ${result.version}`.trim() || target.label;
}

type Shape = Pick<Job['options'], 'seconds' | 'warmupSeconds' | 'scale'>;

async function runAll(
  names: readonly string[],
  rounds: number,
  targets: readonly Target[],
  shape: Shape,
  file: string,
): Promise<void> {
  const facts = machineFacts();
  const rows: Row[] = [];
  const labels = new Map<Target, string>();
  for (const workload of names) {
    for (let round = 1; round <= rounds; round++) {
      // A B A B: what the machine does meanwhile falls on both.
      for (const target of targets) {
        process.stderr.write(
          `${workload}, round ${round} of ${rounds}, ${labels.get(target) ?? target.label} …`,
        );
        const load = loadavg()[0]!;
        try {
          const result = await generate({
            workload,
            options: { ...shape, address: target.address, pids: target.pids() },
          });
          const label = labels.get(target) ?? columnLabel(result, target);
          labels.set(target, label);
          rows.push({ workload, label, metrics: result.metrics });
          const line = {
            date: new Date().toISOString(),
            ...facts,
            load,
            ...shape,
            round,
            target: label,
            ...result,
          };
          if (file !== 'none') appendFileSync(file, `${JSON.stringify(line)}\n`);
          const [first] = result.metrics;
          process.stderr.write(
            ` ${Math.round(first?.value ?? 0).toLocaleString('en-US')} ${first?.unit ?? ''}\n`,
          );
          for (const note of result.notes) process.stderr.write(`  ${note}\n`);
        } catch (error) {
          process.stderr.write(` failed: ${(error as Error).message}\n`);
          process.exitCode = 1;
        }
      }
    }
  }
  if (rows.length > 0) process.stdout.write(`\n${table(rows, [...labels.values()])}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

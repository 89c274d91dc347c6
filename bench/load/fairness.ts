// The command behind `npm run bench:fairness`: how long a quiet client's messages take (1,000 of 100 B a second), on an idle broker and
// beside clients that behave badly.
// Owns the command line, the two brokers and the table. The quiet client: quiet.ts. The bad ones have processes of their own: disturb.ts.
//
// On a machine with few cores a bad client takes the processor away from everybody, whatever the broker does. To tell the two apart a second
// broker runs on the same machine, and nobody disturbs it: at the same moments a quiet client of its own measures it. What is late there is
// late because of the machine; what is later beside the bad client is the broker's doing. Nobody hides anything: both stand in the table,
// with the time for which the broker's process, and the quiet client's, were ready to run and had no core.

import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DISTURBANCES, type Disturbance } from './disturb.ts';
import { QuietClient } from './quiet.ts';
import { median } from './report.ts';
import { OtherBroker, OwnBroker, type Target } from './target.ts';
import { isRealTime, waitedSeconds } from './usage.ts';

const PER_SECOND = 1_000;
/** Before the first window: what is compiled late must not count. */
const WARM_UP_MS = 1_500;
/** Between the start of a disturbance and the first window. */
const SETTLE_MS = 500;
/** A bad client's place behind broker and quiet client, in steps of `nice`: in earnest it has a machine of its own. */
const NICER = 10;

/** What one window, or the medians of several, say. Milliseconds, but for the shares of a core waited for. */
interface Seen {
  readonly p50: number;
  readonly p99: number;
  /** The same moments, from the broker that nobody disturbs. */
  readonly elsewhere: number;
  /** Ready to run without a core, as a share of the time: the broker's main thread and this process'. */
  readonly brokerWaited: number;
  readonly ownWaited: number;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Puts a process behind this one, and its session too where sessions have a place. */
function standBack(pid: number): void {
  setPriority(pid, Math.min(getPriority() + NICER, constants.priority.PRIORITY_LOW));
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(NICER));
  } catch {
    // A system without such groups.
  }
}

function disturb(order: Disturbance): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL('./disturb.js', import.meta.url));
    // Detached: a session of its own, for where Linux groups processes by session, `nice` counts within the group only.
    // Under `chrt -r 1` broker and quiet client come before all that runs on the machine; the disturbance must not.
    const command = isRealTime(process.pid)
      ? { execPath: 'chrt', execArgv: ['--other', '0', process.execPath] }
      : {};
    const child = fork(program, [], { stdio: 'inherit', detached: true, ...command });
    child.once('message', () => resolve(child));
    child.once('exit', (code) => reject(new Error(`${order.name}: the disturbance ended with ${code}`)));
    if (child.pid !== undefined && !isRealTime(process.pid)) standBack(child.pid);
    child.send(order);
  });
}

/** One window: both quiet clients at the same time. */
async function look(client: QuietClient, other: QuietClient, pid: number, seconds: number): Promise<Seen> {
  client.clear();
  other.clear();
  const [broker, own] = [waitedSeconds(pid), waitedSeconds(process.pid)];
  await pause(seconds * 1000);
  return {
    p50: client.histogram.quantile(0.5) / 1000,
    p99: client.histogram.quantile(0.99) / 1000,
    elsewhere: other.histogram.quantile(0.99) / 1000,
    brokerWaited: (waitedSeconds(pid) - broker) / seconds,
    ownWaited: (waitedSeconds(process.pid) - own) / seconds,
  };
}

async function looks(
  client: QuietClient,
  other: QuietClient,
  pid: number,
  seconds: number,
  rounds: number,
): Promise<Seen> {
  const all: Seen[] = [];
  for (let i = 0; i < rounds; i++) all.push(await look(client, other, pid, seconds));
  const of = (pick: (seen: Seen) => number): number => median(all.map(pick));
  return {
    p50: of((seen) => seen.p50),
    p99: of((seen) => seen.p99),
    elsewhere: of((seen) => seen.elsewhere),
    brokerWaited: of((seen) => seen.brokerWaited),
    ownWaited: of((seen) => seen.ownWaited),
  };
}

const ms = (value: number): string => value.toFixed(2).padStart(9);
const times = (value: number): string => `${value.toFixed(1)}x`.padStart(9);
const share = (value: number): string =>
  Number.isNaN(value) ? '–'.padStart(9) : `${(value * 100).toFixed(1)} %`.padStart(9);

function header(): void {
  const columns = ['idle p99', 'p50', 'p99', 'of idle', 'elsewhere', 'broker', 'waited', 'client w.'];
  process.stdout.write(`${'beside'.padEnd(90)}${columns.map((name) => name.padStart(9)).join('')}\n`);
}

function row(title: string, idle: Seen, beside: Seen): void {
  const { p50, p99, elsewhere, brokerWaited, ownWaited } = beside;
  process.stdout.write(
    `${title.padEnd(90)}${ms(idle.p99)}${ms(p50)}${ms(p99)}${times(p99 / idle.p99)}${times(elsewhere / idle.elsewhere)}${times(p99 / elsewhere)}${share(brokerWaited)}${share(ownWaited)}\n`,
  );
}

/** How the whole command measures. */
interface Plan {
  readonly seconds: number;
  readonly rounds: number;
  readonly backlog: number;
  readonly against: string | null;
  readonly dist: string | null;
  /** Flags for the brokers' Node. */
  readonly nodeFlags: readonly string[];
}

async function measure(name: string, plan: Plan): Promise<void> {
  const fail = (error: Error): void => {
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exitCode = 1;
  };
  const flags = ['--max-message-size', String(128 * 2 ** 20)];
  const { nodeFlags } = plan;
  const own = plan.dist === null ? { flags, nodeFlags } : { flags, nodeFlags, dist: plan.dist };
  const undisturbed = await OwnBroker.start(own);
  const target: Target =
    plan.against === null ? await OwnBroker.start(own) : new OtherBroker(plan.against, null);
  let child: ChildProcess | null = null;
  let clients: QuietClient[] = [];
  try {
    clients = [
      await QuietClient.start(target.address, PER_SECOND, fail),
      await QuietClient.start(undisturbed.address, PER_SECOND, fail),
    ];
    const [client, other] = clients as [QuietClient, QuietClient];
    const pid = target.pids()[0] ?? 0;
    await pause(WARM_UP_MS);
    const idle = await looks(client, other, pid, plan.seconds, plan.rounds);
    child = await disturb({ name, address: target.address, backlog: plan.backlog });
    await pause(SETTLE_MS);
    row(DISTURBANCES[name]?.title ?? name, idle, await looks(client, other, pid, plan.seconds, plan.rounds));
  } finally {
    child?.removeAllListeners('exit');
    child?.kill();
    await Promise.all(clients.map((client) => client.close()));
    await target.stop();
    await undisturbed.stop();
  }
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      backlog: { type: 'string', default: '5000000' },
      against: { type: 'string' },
      dist: { type: 'string' },
      'node-flags': { type: 'string' },
    },
  });
  const plan: Plan = {
    seconds: Number(flags.seconds),
    rounds: Number(flags.rounds),
    backlog: Number(flags.backlog),
    against: flags.against ?? null,
    dist: flags.dist ?? null,
    nodeFlags: flags['node-flags']?.split(' ') ?? [],
  };
  header();
  for (const name of flags.only?.split(',') ?? Object.keys(DISTURBANCES)) await measure(name, plan);
  process.stdout.write(
    '\nMilliseconds, medians of the windows. of idle: p99 beside / p99 before, same broker. elsewhere: the same of the undisturbed broker: what\nthe machine does. broker: p99 beside / p99 elsewhere at the same moments: what the broker does. waited: ready to run, and no core.\n',
  );
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

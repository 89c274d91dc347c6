// What very many times to live cost: persistent messages whose deadlines are all different and in no order wait behind one that stays, the
// broker is killed and restarted, and then they expire at a fixed rate. Memory, the time of the restart, and how late they are: with a
// dead-letter exchange from the dead letters, without one from the length of the queue.
// `node expiry.js [--count N] [--size BYTES] [--rate N] [--lead SECONDS] [--without-dlx] [--dist FOLDER]
// [--profile]`: the last one profiles the broker while they expire. Owns the command line and the measurement.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfirmWindow } from './confirms.ts';
import { dueAt, type Plan, say, watched } from './due-plan.ts';
import { Histogram } from './histogram.ts';
import { Link } from './link.ts';
import { describeFolder } from './profile.ts';
import { OwnBroker } from './target.ts';
import { usageOf } from './usage.ts';

const QUEUE = 'bench.expiry';
const DEAD = 'bench.expiry.dead';
/** Messages of one write, and confirms that are waited for before the next: what is on the way to the broker will be late by as much. */
const CHUNK = 100;
const PREFETCH = 2_000;
const START_SECONDS = 120;
/** Between two looks at the length of the queue. */
const LOOK_MS = 5;
const MIB = 2 ** 20;
/** Digits of an expiration; leading zeros say nothing. */
const DIGITS = 9;

interface ExpiryPlan extends Plan {
  /** They become dead letters. */
  readonly buried: boolean;
}

/** One publish as frames, with room for the expiration and the due time. */
class Template {
  private readonly bytes: Buffer;
  private readonly expirationAt: number;
  private readonly bodyAt: number;

  constructor(link: Link, size: number) {
    const plain = link.encode({
      exchange: '',
      routingKey: QUEUE,
      persistent: true,
      body: Buffer.alloc(size),
    });
    const publishEnd = 7 + plain.readUInt32BE(3) + 1;
    const header = Buffer.alloc(14 + 1 + 1 + DIGITS);
    plain.copy(header, 0, publishEnd + 7, publishEnd + 7 + 12);
    // delivery-mode and expiration
    header.writeUInt16BE(0x1100, 12);
    header[14] = 2;
    header[15] = DIGITS;
    const frame = Buffer.alloc(7 + header.length + 1);
    plain.copy(frame, 0, publishEnd, publishEnd + 7);
    frame.writeUInt32BE(header.length, 3);
    header.copy(frame, 7);
    frame[frame.length - 1] = 0xce;
    const bodyFrame = plain.subarray(publishEnd + 7 + plain.readUInt32BE(publishEnd + 3) + 1);
    this.bytes = Buffer.concat([plain.subarray(0, publishEnd), frame, bodyFrame]);
    this.expirationAt = publishEnd + 7 + 16;
    this.bodyAt = this.bytes.length - 1 - size;
  }

  /** Messages `from` … `to - 1`. */
  messages(plan: ExpiryPlan, from: number, to: number): Buffer {
    const { length } = this.bytes;
    const out = Buffer.allocUnsafe((to - from) * length);
    const now = Date.now();
    for (let i = from, at = 0; i < to; i++, at += length) {
      this.bytes.copy(out, at);
      const due = dueAt(plan, i);
      out.write(String(Math.max(1, due - now)).padStart(DIGITS, '0'), at + this.expirationAt, 'latin1');
      out.writeDoubleBE(due, at + this.bodyAt);
    }
    return out;
  }
}

/** Publishes one message that stays, and all others behind it; resolves when they are confirmed. */
async function fill(broker: OwnBroker, plan: ExpiryPlan): Promise<void> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  await link.declareQueue(DEAD, true);
  const args = plan.buried ? { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': DEAD } : {};
  await link.declareQueue(QUEUE, true, args);
  const confirms = new ConfirmWindow(CHUNK);
  await link.selectConfirms(confirms);
  link.socket.write(
    link.encode({ exchange: '', routingKey: QUEUE, persistent: true, body: Buffer.alloc(plan.size) }),
  );
  confirms.published(1, performance.now());
  const template = new Template(link, plan.size);
  let published = 0;
  const pump = (): void => {
    while (published < plan.count && confirms.room() >= CHUNK) {
      const to = Math.min(plan.count, published + CHUNK);
      link.socket.write(template.messages(plan, published, to));
      confirms.published(to - published, performance.now());
      published = to;
    }
  };
  await new Promise<void>((resolve) => {
    link.onProgress = () => {
      pump();
      if (confirms.confirmed > plan.count) resolve();
    };
  });
  say('fill: time to confirm, p99 (counts as lateness)', confirms.latency.quantile(0.99) / 1000, 'ms');
  await link.close();
}

/** Takes all dead letters as they come; how late each was, in tenths of a millisecond. */
async function take(broker: OwnBroker, plan: ExpiryPlan): Promise<Histogram> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  const lateness = new Histogram();
  let early = 0;
  await new Promise<void>((resolve, reject) => {
    link.onBody = (bytes, at) => {
      const late = Date.now() - bytes.readDoubleBE(at);
      if (late < 0) early++;
      lateness.record(Math.max(0, late) * 10);
      if (lateness.count === plan.count) resolve();
    };
    link.consume(DEAD, PREFETCH, PREFETCH / 4).catch(reject);
  });
  if (early !== 0) throw new Error(`${early} messages expired before their time`);
  await link.close();
  return lateness;
}

/** Watches the queue become shorter; how late the message was that left last, at every look, in tenths of a millisecond. */
async function watchLength(broker: OwnBroker, plan: ExpiryPlan): Promise<Histogram> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  const lateness = new Histogram();
  for (;;) {
    const gone = plan.count + 1 - (await link.declareQueuePassively(QUEUE));
    if (gone === plan.count) break;
    // The next one to leave is overdue by so much.
    const late = Date.now() - (plan.beginAt + (gone * 1000) / plan.rate);
    if (gone > 0 && late < -2) throw new Error(`a message expired ${-late} ms before its time`);
    if (gone > 0) lateness.record(Math.max(0, late) * 10);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  await link.close();
  return lateness;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      count: { type: 'string', default: '1000000' },
      size: { type: 'string', default: '100' },
      rate: { type: 'string', default: '10000' },
      lead: { type: 'string', default: '120' },
      'without-dlx': { type: 'boolean', default: false },
      dist: { type: 'string' },
      profile: { type: 'boolean', default: false },
    },
  });
  const plan: ExpiryPlan = {
    count: Number(flags.count),
    size: Math.max(8, Number(flags.size)),
    rate: Number(flags.rate),
    beginAt: Date.now() + Number(flags.lead) * 1000,
    buried: !flags['without-dlx'],
  };
  const folder = mkdtempSync(join(tmpdir(), 'leveret-bench-expiry-'));
  const where = flags.dist === undefined ? { folder } : { folder, dist: flags.dist };
  const profiles = flags.profile ? mkdtempSync(join(tmpdir(), 'leveret-profile-')) : null;
  let broker = await OwnBroker.start(where);
  try {
    const began = performance.now();
    await watched(broker, 'fill', fill(broker, plan));
    say('fill: rate', plan.count / ((performance.now() - began) / 1000), 'msg/s');
    await broker.kill();
    const nodeFlags = profiles === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
    const started = await OwnBroker.timedStart({ ...where, startSeconds: START_SECONDS, nodeFlags });
    broker = started.broker;
    say('restart with all of them on disk', started.ms, 'ms');
    say('restart: resident memory', (usageOf(broker.pids())?.residentBytes ?? 0) / MIB, 'MiB');
    const left = plan.beginAt - Date.now();
    if (left < 0) throw new Error(`the first messages expired ${-left} ms ago: give a longer --lead`);
    const before = usageOf(broker.pids())?.cpuSeconds ?? 0;
    const lateness = await watched(
      broker,
      'expiring',
      plan.buried ? take(broker, plan) : watchLength(broker, plan),
    );
    const used = (usageOf(broker.pids())?.cpuSeconds ?? 0) - before;
    say('expiring: CPU seconds for a million', (used * 1e6) / plan.count, 's');
    for (const share of [0.5, 0.99, 0.999]) {
      say(
        `expiring: lateness at ${plan.rate} a second, p${share * 100}`,
        lateness.quantile(share) / 10,
        'ms',
      );
    }
    say('expiring: greatest lateness', lateness.max / 10, 'ms');
    if (profiles !== null) {
      await broker.stop();
      process.stdout.write(`\n${profiles}/${describeFolder(profiles, 60)}\n`);
    }
  } finally {
    await broker.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

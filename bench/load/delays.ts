// What very many delayed messages cost: persistent ones with delays in no order wait on disk, the broker is killed and restarted, and
// then they come due at a fixed rate. Memory, the time of the restart, and how late they are.
// `node delays.js [--count N] [--size BYTES] [--rate N] [--lead SECONDS]`. Owns the command line and the measurement. Lateness is counted
// from the time the generator meant, by the clock of the machine; the broker counts a delay from the arrival of the message, so messages
// that took long to be confirmed are left out.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfirmWindow } from './confirms.ts';
import { dueAt, type Plan, say, watched } from './due-plan.ts';
import { Histogram } from './histogram.ts';
import { Link } from './link.ts';
import { OwnBroker } from './target.ts';
import { usageOf } from './usage.ts';

const EXCHANGE = 'bench.delays';
const QUEUE = 'bench.delays';
const HEADER = 'x-delay';
/** Messages of one write, and confirms that are waited for before the next. */
const CHUNK = 100;
/** A write that was confirmed later than so many milliseconds says nothing about lateness: nobody knows when it arrived. */
const CONFIRM_MAX_MS = 10;
const PREFETCH = 2_000;
const START_SECONDS = 120;
const MIB = 2 ** 20;

/** One publish as frames, with room for the delay and a number. */
class Template {
  private readonly bytes: Buffer;
  private readonly delayAt: number;
  private readonly bodyAt: number;

  constructor(link: Link, size: number) {
    const message = { exchange: EXCHANGE, routingKey: QUEUE, persistent: true, body: Buffer.alloc(size) };
    const plain = link.encode(message);
    const publishEnd = 7 + plain.readUInt32BE(3) + 1;
    const table = Buffer.concat([
      Buffer.from([HEADER.length]),
      Buffer.from(HEADER),
      Buffer.from('I'),
      Buffer.alloc(4),
    ]);
    const header = Buffer.alloc(14 + 4 + table.length + 1);
    plain.copy(header, 0, publishEnd + 7, publishEnd + 7 + 12);
    // headers and delivery-mode
    header.writeUInt16BE(0x3000, 12);
    header.writeUInt32BE(table.length, 14);
    table.copy(header, 18);
    header[header.length - 1] = 2;
    const frame = Buffer.alloc(7 + header.length + 1);
    plain.copy(frame, 0, publishEnd, publishEnd + 7);
    frame.writeUInt32BE(header.length, 3);
    header.copy(frame, 7);
    frame[frame.length - 1] = 0xce;
    const bodyFrame = plain.subarray(publishEnd + 7 + plain.readUInt32BE(publishEnd + 3) + 1);
    this.bytes = Buffer.concat([plain.subarray(0, publishEnd), frame, bodyFrame]);
    this.delayAt = publishEnd + 7 + 18 + table.length - 4;
    this.bodyAt = this.bytes.length - 1 - size;
  }

  /** Messages `from` … `to - 1`. */
  messages(plan: Plan, from: number, to: number): Buffer {
    const { length } = this.bytes;
    const out = Buffer.allocUnsafe((to - from) * length);
    const now = Date.now();
    for (let i = from, at = 0; i < to; i++, at += length) {
      this.bytes.copy(out, at);
      const due = dueAt(plan, i);
      out.writeInt32BE(Math.max(1, due - now), at + this.delayAt);
      out.writeUInt32BE(i, at + this.bodyAt);
    }
    return out;
  }
}

/** Publishes all messages; resolves when they are confirmed, with the time that each write took until then, in milliseconds. */
async function fill(broker: OwnBroker, plan: Plan): Promise<Float64Array> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  await link.declareExchange(EXCHANGE, 'x-delayed-message', true, { 'x-delayed-type': 'direct' });
  await link.declareQueue(QUEUE, true);
  await link.bindQueue(QUEUE, EXCHANGE, QUEUE);
  const confirms = new ConfirmWindow(CHUNK);
  await link.selectConfirms(confirms);
  const template = new Template(link, plan.size);
  const took = new Float64Array(Math.ceil(plan.count / CHUNK));
  let published = 0;
  let sentAt = 0;
  const pump = (): void => {
    if (confirms.outstanding !== 0) return;
    const now = performance.now();
    if (published !== 0) took[Math.ceil(published / CHUNK) - 1] = now - sentAt;
    if (published === plan.count) return;
    const to = Math.min(plan.count, published + CHUNK);
    sentAt = now;
    link.socket.write(template.messages(plan, published, to));
    confirms.published(to - published, now);
    published = to;
  };
  await new Promise<void>((resolve) => {
    link.onProgress = () => {
      pump();
      if (confirms.confirmed >= plan.count) resolve();
    };
    pump();
  });
  await link.close();
  return took;
}

/** Takes all messages as they come; how late each was whose arrival is known, in tenths of a millisecond. */
async function take(broker: OwnBroker, plan: Plan, took: Float64Array): Promise<Histogram> {
  const link = await Link.connect(broker.address);
  await link.openChannel();
  const lateness = new Histogram();
  let early = 0;
  let count = 0;
  await new Promise<void>((resolve, reject) => {
    link.onBody = (bytes, at) => {
      const i = bytes.readUInt32BE(at);
      const late = Date.now() - dueAt(plan, i);
      if (late < 0) early++;
      if (took[Math.floor(i / CHUNK)]! <= CONFIRM_MAX_MS) lateness.record(Math.max(0, late) * 10);
      if (++count === plan.count) resolve();
    };
    link.consume(QUEUE, PREFETCH, PREFETCH / 4).catch(reject);
  });
  if (early !== 0) throw new Error(`${early} messages came before their time`);
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
    },
  });
  const plan: Plan = {
    count: Number(flags.count),
    size: Math.max(4, Number(flags.size)),
    rate: Number(flags.rate),
    beginAt: Date.now() + Number(flags.lead) * 1000,
  };
  const folder = mkdtempSync(join(tmpdir(), 'leveret-bench-delays-'));
  let broker = await OwnBroker.start({ folder });
  try {
    const began = performance.now();
    const took = await watched(broker, 'fill', fill(broker, plan));
    say('fill: rate', plan.count / ((performance.now() - began) / 1000), 'msg/s');
    await broker.kill();
    const started = await OwnBroker.timedStart({ folder, startSeconds: START_SECONDS });
    broker = started.broker;
    say('restart with all of them on disk', started.ms, 'ms');
    say('restart: resident memory', (usageOf(broker.pids())?.residentBytes ?? 0) / MIB, 'MiB');
    const left = plan.beginAt - Date.now();
    if (left < 0) throw new Error(`the first messages were due ${-left} ms ago: give a longer --lead`);
    const lateness = await watched(broker, 'due', take(broker, plan, took));
    for (const share of [0.5, 0.99, 0.999]) {
      say(`due: lateness at ${plan.rate} a second, p${share * 100}`, lateness.quantile(share) / 10, 'ms');
    }
    say('due: greatest lateness', lateness.max / 10, 'ms');
    say('due: messages whose lateness is known', (100 * lateness.count) / plan.count, '%');
  } finally {
    await broker.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

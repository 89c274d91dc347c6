// What streams can do: a publisher and several readers at the tail, then as many readers that replay what is stored, then one alone; and
// what the broker's memory does while the stream grows.
// `node streams.js [--readers N] [--count N] [--size BYTES] [--seconds N] [--rate N] [--prefetch N] [--ack N] [--profile] [--against URL]`.
// Owns the command line and the measurement.

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench, type Measured } from './bench.ts';
import type { Link } from './link.ts';
import { Producer } from './producer.ts';
import { describeFolder } from './profile.ts';
import { short } from './report.ts';
import { OtherBroker, OwnBroker, type Target } from './target.ts';
import * as wire from './wire.ts';

/** Bytes of one write of the publisher. */
const WRITE_BYTES = 65_536;
/** Confirms that the publisher waits for at most. */
const WINDOW = 10_000;
/** A replay may take so long before it counts as failed. */
const REPLAY_SECONDS = 300;

interface Shape {
  readonly readers: number;
  readonly count: number;
  readonly size: number;
  readonly seconds: number;
  readonly prefetch: number;
  readonly ackEvery: number;
  /** Messages a second that the publisher at the tail offers. */
  readonly rate: number;
}

function say(name: string, value: string): void {
  process.stdout.write(`${name.padEnd(46)}${value}\n`);
}

/** A rate with the share of a core that each side had of the window. */
function sayRate(name: string, measured: Measured, deliveries: number): void {
  const { seconds, brokerCpu, generatorCpu, othersCpu } = measured;
  const cores = (cpu: number | null): string => (cpu === null ? '?' : (cpu / seconds).toFixed(2));
  const each = brokerCpu === null ? '' : `, ${short(deliveries / brokerCpu)} per CPU second of the broker`;
  say(name, `${short(deliveries / seconds)} msg/s${each}`);
  say('', `cores: broker ${cores(brokerCpu)}, generator ${cores(generatorCpu)}, others ${cores(othersCpu)}`);
}

function sum(links: readonly Link[]): number {
  let total = 0;
  for (const link of links) total += link.scanner.contents;
  return total;
}

/** A publisher with confirms. @param offered how many messages it may have published by now */
async function publisher(
  bench: Bench,
  stream: string,
  size: number,
  offered: () => number,
): Promise<Producer> {
  const { link, confirms } = await bench.confirming(WINDOW);
  const body = Buffer.alloc(size, 0x61);
  const message = link.encode({ exchange: '', routingKey: stream, persistent: true, body });
  const producer: Producer = new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), () =>
    Math.min(confirms.room(), offered() - producer.published),
  );
  link.onProgress = () => producer.pump();
  producer.start();
  return producer;
}

/** Publishes `count` messages as fast as they are confirmed. */
async function fill(bench: Bench, stream: string, size: number, count: number): Promise<void> {
  const producer = await publisher(bench, stream, size, () => count);
  const admin = await bench.link();
  let done = 0;
  await bench.until(`publishing ${count} messages`, REPLAY_SECONDS, () => producer.published >= count);
  while (done < count) done = await admin.declareStream(stream);
}

async function readers(
  bench: Bench,
  stream: string,
  offset: string,
  shape: Shape,
  count: number,
): Promise<Link[]> {
  const links: Link[] = [];
  for (let i = 0; i < count; i++) {
    const link = await bench.link();
    await link.consumeStream(stream, offset, shape.prefetch, shape.ackEvery);
    links.push(link);
  }
  return links;
}

async function tail(bench: Bench, shape: Shape): Promise<void> {
  const stream = bench.name('tail');
  const admin = await bench.link();
  await admin.declareStream(stream);
  const links = await readers(bench, stream, 'next', shape, shape.readers);
  const began = performance.now();
  const offered = (): number => Math.floor(((performance.now() - began) / 1000) * shape.rate);
  const producer = await publisher(bench, stream, shape.size, offered);
  // Confirms let it write on; when none is due, time does.
  const clock = setInterval(() => producer.pump(), 1);
  let published = 0;
  const measured = await bench.window(
    () => sum(links),
    () => {
      published = producer.published;
    },
  );
  published = producer.published - published;
  producer.stop();
  clearInterval(clock);
  sayRate(`tail, ${shape.readers} readers: delivered`, measured, measured.count);
  say('tail: published', `${short(published / measured.seconds)} msg/s`);
  await admin.deleteQueue(stream);
}

async function replay(
  bench: Bench,
  stream: string,
  shape: Shape,
  count: number,
  title: string,
): Promise<void> {
  const total = shape.count * count;
  let links: Link[] = [];
  const measured = await bench.measure(
    () => sum(links),
    async () => {
      links = await readers(bench, stream, 'first', shape, count);
      await bench.until(title, REPLAY_SECONDS, () => sum(links) >= total);
    },
  );
  sayRate(`${title}: delivered`, measured, total);
}

function megabytes(bytes: number | null): string {
  return bytes === null ? '?' : `${short(bytes / 2 ** 20)} MiB`;
}

async function run(
  target: Target,
  name: string,
  shape: Shape,
  work: (bench: Bench) => Promise<void>,
): Promise<void> {
  const { seconds } = shape;
  const bench = new Bench(
    { address: target.address, pids: target.pids(), seconds, warmupSeconds: 2, scale: 1 },
    name,
  );
  bench.watchMemory();
  try {
    await work(bench);
    say(`${name}: greatest resident memory`, megabytes(bench.maxResident));
  } finally {
    await bench.close();
  }
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      readers: { type: 'string', default: '10' },
      count: { type: 'string', default: '1000000' },
      size: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '5' },
      rate: { type: 'string', default: '100000' },
      prefetch: { type: 'string', default: '2000' },
      ack: { type: 'string', default: '500' },
      only: { type: 'string', default: 'tail,replay' },
      profile: { type: 'boolean', default: false },
      against: { type: 'string' },
    },
  });
  const shape: Shape = {
    readers: Number(flags.readers),
    count: Number(flags.count),
    size: Number(flags.size),
    seconds: Number(flags.seconds),
    prefetch: Number(flags.prefetch),
    ackEvery: Number(flags.ack),
    rate: Number(flags.rate),
  };
  const profiles = flags.profile ? mkdtempSync(join(tmpdir(), 'leveret-profile-')) : null;
  const nodeFlags = profiles === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
  const target =
    flags.against === undefined ? await OwnBroker.start({ nodeFlags }) : new OtherBroker(flags.against, null);
  const only = flags.only.split(',');
  try {
    if (only.includes('tail')) await run(target, 'tail', shape, (bench) => tail(bench, shape));
    if (only.includes('replay')) {
      await run(target, 'replay', shape, async (bench) => {
        const stream = bench.name('replay');
        const admin = await bench.link();
        await admin.declareStream(stream);
        await fill(bench, stream, shape.size, shape.count);
        say('resident memory, stream filled', megabytes(bench.resident()));
        await replay(bench, stream, shape, shape.readers, `replay, ${shape.readers} readers`);
        await replay(bench, stream, shape, 1, 'replay, 1 reader');
        await admin.deleteQueue(stream);
      });
    }
  } finally {
    await target.stop();
  }
  if (profiles !== null) process.stdout.write(`\n${profiles}/${describeFolder(profiles, 45)}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

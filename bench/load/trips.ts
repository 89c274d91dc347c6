// Workloads in which one thing waits for another: gets, a publish and its confirm, a message from write to read.
// Owns the process that does the waiting (round-trips.ts) and puts together what both processes measured.
//
// Why a process: an event loop costs several system calls for every read, more than a broker needs to answer. It made the generator as dear as
// the broker, so that the rate was that of the pair, and its delays were part of every latency.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ACK_EVERY, type Bench, cost, type Measured, type Metric, PREFETCH, rate, tally } from './bench.ts';
import type { Link } from './link.ts';
import { Producer } from './producer.ts';
import type { TripJob, TripResult, TripWord } from './trip-job.ts';
import * as wire from './wire.ts';

/** Seconds after which a process that should be done is given up. */
const LATE_SECONDS = 30;
/** Messages that wait for a get: never none, and no backlog. */
const GET_WAITING = 5000;
/** Bytes of one write that fills a queue. */
const WRITE_BYTES = 131_072;

interface Trips {
  readonly measured: Measured;
  readonly result: TripResult;
}

/** Compiled, the program lies beside this file; from the sources it needs the project's loader. */
function program(): string[] {
  if (import.meta.url.endsWith('.js')) return [fileURLToPath(new URL('./round-trips.js', import.meta.url))];
  const loader = new URL('../../.ci/typescript.mjs', import.meta.url).href;
  return ['--import', loader, fileURLToPath(new URL('./round-trips.ts', import.meta.url))];
}

/** What the process says, one promise for each word that it says once; both reject when it ends without them. */
function listen(
  child: ChildProcess,
  got: (count: number) => void,
): { begin: Promise<void>; end: Promise<TripResult> } {
  let begun = () => {};
  let ended = (_: TripResult) => {};
  let failed = (_: Error) => {};
  const failure = new Promise<never>((_, reject) => {
    failed = reject;
  });
  const begin = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const end = new Promise<TripResult>((resolve) => {
    ended = resolve;
  });
  child.once('error', failed);
  // What it said comes before its streams are closed.
  child.once('close', (code) => failed(new Error(`the round-trip process ended with ${code}`)));
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const word = JSON.parse(line) as TripWord;
    if (word.word === 'got') got(word.count);
    else if (word.word === 'begin') begun();
    else if (word.word === 'failed') failed(new Error(word.reason));
    else ended(word);
  });
  const words = { begin: Promise.race([begin, failure]), end: Promise.race([end, failure]) };
  for (const each of [failure, words.begin, words.end]) each.catch(() => {});
  return words;
}

/** What a workload wants to know while the process runs. */
interface Listener {
  /** So many messages were got since the start. */
  readonly got?: (count: number) => void;
  /** The warm-up is over. */
  readonly begin?: () => void;
}

/** For `pace`: how fast, what, and how much longer than the window. */
interface Pace {
  readonly perSecond: number;
  readonly bodyBytes: number;
  readonly extraSeconds: number;
}

/** Hands the connection of a link to a process of its own, which does the job on it and closes it. The link is of no use afterwards. */
export async function roundTrips(
  bench: Bench,
  link: Link,
  kind: TripJob['kind'],
  request: Buffer,
  listener: Listener = {},
  pace: Pace = { perSecond: 0, bodyBytes: 0, extraSeconds: 0 },
): Promise<Trips> {
  const { warmupSeconds } = bench.options;
  const { extraSeconds, ...paced } = pace;
  const seconds = bench.options.seconds + extraSeconds;
  const job: TripJob = { kind, request: request.toString('base64'), ...paced, warmupSeconds, seconds };
  // Standard input, because the system's calls on descriptors 0 to 2 block in a child, whatever they did here.
  const child = spawn(process.execPath, [...program(), JSON.stringify(job)], {
    stdio: [link.socket, 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  link.destroy();
  const late = setTimeout(() => child.kill('SIGKILL'), (seconds + warmupSeconds + LATE_SECONDS) * 1000);
  let result: TripResult | null = null;
  bench.onClose(async () => {
    if (result === null) child.kill('SIGKILL');
    await exited;
    clearTimeout(late);
  });
  const { begin, end } = listen(child, listener.got ?? (() => {}));
  await bench.orFailure(begin);
  listener.begin?.();
  const window = await bench.measure(
    () => 0,
    async () => {
      result = await bench.orFailure(end);
    },
  );
  const done = result as TripResult | null;
  if (done === null) throw new Error('the round-trip process said nothing');
  const { count, seconds: took, cpu } = done;
  const measured: Measured = {
    seconds: took,
    count,
    perSecond: count / took,
    brokerCpu: window.brokerCpu,
    generatorCpu: window.generatorCpu + cpu,
    othersCpu: window.othersCpu === null ? null : Math.max(0, window.othersCpu - cpu),
  };
  return { measured, result: done };
}

function publishOf(queue: string, persistent: boolean, size: number): wire.Publish {
  return { exchange: '', routingKey: queue, persistent, body: Buffer.alloc(size, 0x61) };
}

function percentiles(what: string, { p50, p99 }: TripResult): Metric[] {
  return [cost(`${what} p50`, 'ms', p50), cost(`${what} p99`, 'ms', p99)];
}

/** basic.get, one at a time: with an acknowledgement each from a queue that is kept filled, or from an empty queue. */
export async function gets(bench: Bench, size: number, empty: boolean): Promise<Metric[]> {
  const link = await bench.link();
  const queue = await bench.queue(link, 'q', false);
  const batch = wire.Batch.repeat(link.encode(publishOf(queue, false, size)), WRITE_BYTES);
  let got = 0;
  const producer: Producer = new Producer(link, batch, () => GET_WAITING - (producer.published - got), 500);
  if (!empty) {
    producer.start();
    await bench.until('the first messages', 10, () => producer.published >= GET_WAITING / 2);
  }
  const { measured, result } = await roundTrips(
    bench,
    await bench.link(),
    'get',
    wire.basicGet(1, queue, false),
    {
      got: (count) => {
        got = count;
        producer.pump();
      },
    },
  );
  producer.stop();
  if (!empty && result.empties > 0) bench.notes.push(`${result.empties} gets found the queue empty`);
  return [rate(empty ? 'empty gets' : 'get + ack', 'ops/s', measured), ...percentiles('round trip', result)];
}

/** Messages through a durable queue to one consumer, each published when the one before is confirmed. */
export async function singles(bench: Bench, size: number, persistent: boolean): Promise<Metric[]> {
  const consumer = await bench.link();
  const queue = await bench.queue(consumer, 'q', true);
  await consumer.consume(queue, PREFETCH, ACK_EVERY);
  const { link } = await bench.confirming(1);
  const publish = link.encode(publishOf(queue, persistent, size));
  let delivered = 0;
  const { measured, result } = await roundTrips(bench, link, 'confirm', publish, {
    begin: () => {
      delivered = consumer.scanner.contents;
    },
  });
  delivered = consumer.scanner.contents - delivered;
  if (result.refused > 0) bench.notes.push(`${result.refused} publishes were nacked`);
  return [
    rate('confirmed', 'msg/s', measured),
    tally('delivered', 'msg/s', delivered / measured.seconds),
    ...percentiles('confirm', result),
  ];
}

/** Time from write to read of transient messages at a fixed rate far below what a broker can do. */
export async function latency(bench: Bench, size: number, perSecond: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const link = await bench.link();
  const queue = await bench.queue(link, 'q', false);
  await consumer.consume(queue, 0, 0);
  const publish = link.encode(publishOf(queue, false, size));
  // It begins before the reader does, and must not end before it.
  const pacing = roundTrips(
    bench,
    link,
    'pace',
    publish,
    {},
    { perSecond, bodyBytes: size, extraSeconds: 1 },
  );
  const reading = roundTrips(bench, consumer, 'read', Buffer.alloc(0));
  const { measured: read, result } = await reading;
  const { result: paced } = await pacing;
  const measured: Measured = {
    ...read,
    generatorCpu: read.generatorCpu + (paced.cpu * read.seconds) / paced.seconds,
  };
  return [
    rate('delivered', 'msg/s', measured),
    ...percentiles('latency', result),
    cost('latency p99.9', 'ms', result.p999),
    cost('latency max', 'ms', result.max),
  ];
}

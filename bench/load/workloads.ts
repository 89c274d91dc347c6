// The workloads: what is published, who consumes, what is counted. One function each; every one cleans up through its Bench.
// Knows no command line and no broker product.

import { ACK_EVERY, Bench, cost, type Metric, PREFETCH, type RunOptions, rate, tally } from './bench.ts';
import { Link } from './link.ts';
import { Producer } from './producer.ts';
import { SWEEPS } from './sweeps.ts';
import { gets, latency, singles } from './trips.ts';
import * as wire from './wire.ts';

/** A workload that can be run against any broker. */
export interface Workload {
  readonly name: string;
  /** One line for people. */
  readonly title: string;
  /** Part of a run that names no workloads. */
  readonly standard: boolean;
  run(bench: Bench): Promise<Metric[]>;
}

/** The outcome of one run. */
export interface RunResult {
  readonly workload: string;
  readonly product: string;
  readonly version: string;
  readonly metrics: readonly Metric[];
  readonly notes: readonly string[];
}

/** Bytes of one write of the fast producers. */
const WRITE_BYTES = 131_072;
/** Transient messages on their way at most, socket buffers included: enough to keep a broker busy, too few for a backlog. */
const IN_FLIGHT = 50_000;

function filled(size: number): Buffer {
  return Buffer.alloc(size, 0x61);
}

function sum(links: readonly Link[]): number {
  let total = 0;
  for (const link of links) total += link.scanner.contents;
  return total;
}

function onAnyProgress(links: readonly Link[], then: () => void): void {
  for (const link of links) link.onProgress = then;
}

/** Producers and consumers over `pairs` queues, transient, automatic acknowledgement. */
async function transient(bench: Bench, size: number, pairs: number, inFlight = IN_FLIGHT): Promise<Metric[]> {
  const consumers: Link[] = [];
  const producers: Producer[] = [];
  for (let i = 0; i < pairs; i++) {
    const consumer = await bench.link();
    const queue = await bench.queue(consumer, `q${i}`, false);
    await consumer.consume(queue, 0, 0);
    const link = await bench.link();
    const message = link.encode({ exchange: '', routingKey: queue, persistent: false, body: filled(size) });
    const batch = wire.Batch.repeat(message, WRITE_BYTES);
    const share = Math.floor(inFlight / pairs);
    const room = () => share - (producer.published - consumer.scanner.contents);
    const producer: Producer = new Producer(link, batch, room, Math.ceil(share / 8));
    consumer.onProgress = () => producer.pump();
    consumers.push(consumer);
    producers.push(producer);
  }
  for (const producer of producers) producer.start();
  const measured = await bench.window(() => sum(consumers));
  for (const producer of producers) producer.stop();
  return [rate('delivered', 'msg/s', measured)];
}

/** One producer that nothing but the socket holds back, one consumer. */
async function flood(bench: Bench, size: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const queue = await bench.queue(consumer, 'q', false);
  await consumer.consume(queue, 0, 0);
  const link = await bench.link();
  const message = link.encode({ exchange: '', routingKey: queue, persistent: false, body: filled(size) });
  const producer = new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), () => 1_000_000);
  bench.watchMemory();
  producer.start();
  let published = 0;
  const measured = await bench.window(
    () => consumer.scanner.contents,
    () => {
      published = producer.published;
    },
  );
  published = producer.published - published;
  producer.stop();
  const metrics = [rate('delivered', 'msg/s', measured)];
  metrics.push(tally('published', 'msg/s', published / measured.seconds));
  if (bench.maxResident > 0) metrics.push(cost('max RSS', 'MiB', bench.maxResident / 2 ** 20));
  return metrics;
}

/**
 * Persistent messages with confirms through one durable queue to one consumer.
 * @param priorityMax of the queue; its levels come in turn, out of order. 0 for a plain queue
 */
async function persistent(bench: Bench, size: number, window: number, priorityMax = 0): Promise<Metric[]> {
  const consumer = await bench.link();
  const queue = await bench.queue(
    consumer,
    'q',
    true,
    priorityMax === 0 ? {} : { 'x-max-priority': priorityMax },
  );
  const large = size > 65_536;
  await consumer.consume(queue, large ? 10 : PREFETCH, large ? 1 : ACK_EVERY);
  const { link, confirms } = await bench.confirming(window);
  const publish = { exchange: '', routingKey: queue, persistent: true, body: filled(size) };
  const batch =
    priorityMax === 0
      ? wire.Batch.repeat(link.encode(publish), WRITE_BYTES)
      : new wire.Batch(
          // 37 has no divisor in common with any number of levels that is tried here.
          Array.from({ length: priorityMax + 1 }, (_, i) =>
            link.encode({ ...publish, priority: (i * 37) % (priorityMax + 1) }),
          ),
        );
  const producer = new Producer(link, batch, () => confirms.room());
  link.onProgress = () => producer.pump();
  producer.start();
  let delivered = 0;
  const measured = await bench.window(
    () => confirms.confirmed,
    () => {
      confirms.latency.clear();
      delivered = consumer.scanner.contents;
    },
  );
  delivered = consumer.scanner.contents - delivered;
  producer.stop();
  if (confirms.refused > 0) bench.notes.push(`${confirms.refused} publishes were nacked`);
  const metrics = [rate('confirmed', 'msg/s', measured)];
  metrics.push(tally('delivered', 'msg/s', delivered / measured.seconds));
  metrics.push(cost('confirm p50', 'ms', confirms.latency.quantile(0.5) / 1000));
  metrics.push(cost('confirm p99', 'ms', confirms.latency.quantile(0.99) / 1000));
  return metrics;
}

/** One producer, a fanout exchange, ten queues with a consumer each. */
async function fanout(bench: Bench, size: number, queues: number): Promise<Metric[]> {
  const consumers: Link[] = [];
  const link = await bench.link();
  const exchange = await bench.exchange(link, 'x', 'fanout');
  for (let i = 0; i < queues; i++) {
    const consumer = await bench.link();
    const queue = await bench.queue(consumer, `q${i}`, false);
    await consumer.bindQueue(queue, exchange, '');
    await consumer.consume(queue, 0, 0);
    consumers.push(consumer);
  }
  const message = link.encode({ exchange, routingKey: '', persistent: false, body: filled(size) });
  const most = IN_FLIGHT / queues;
  const room = () => most - (producer.published - Math.floor(sum(consumers) / queues));
  const producer: Producer = new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), room, most / 8);
  onAnyProgress(consumers, () => producer.pump());
  producer.start();
  const measured = await bench.window(() => sum(consumers));
  producer.stop();
  return [rate('delivered', 'msg/s', measured)];
}

/** A topic binding of the workload below: which of its ten queues, which pattern. */
interface TopicBinding {
  readonly queue: number;
  readonly pattern: string;
}

/**
 * 10,000 bindings around 1,000 keys `site.line.sensor`. Every key matches four: its own and three patterns with wildcards, which
 * lead to two queues. The other 8,790 share words and wildcards with the keys and match none.
 */
export function topicBindings(): TopicBinding[] {
  const bindings: TopicBinding[] = [];
  for (let n = 0; n < 1000; n++) {
    const [a, b, c] = topicWords(n);
    bindings.push({ queue: c % 5, pattern: `site${a}.line${b}.sensor${c}` });
    if (c === 0) bindings.push({ queue: 5 + (b % 5), pattern: `site${a}.line${b}.*` });
    if (a === 0) bindings.push({ queue: 5 + (b % 5), pattern: `*.line${b}.sensor${c}` });
    if (a === 0 && c === 0) bindings.push({ queue: 5 + (b % 5), pattern: `*.line${b}.#` });
  }
  for (let n = 0; n < 100; n++) bindings.push({ queue: n % 10, pattern: `#.alarm${n}` });
  for (let n = 0; bindings.length < 10_000; n++) {
    const [a, b, c] = topicWords(n % 1000);
    const unit = Math.floor(n / 1000);
    const pattern =
      unit % 2 === 0 ? `site${a}.line${b}.sensor${c}.unit${unit}` : `site${a}.*.gauge${b}${c}x${unit}`;
    bindings.push({ queue: n % 10, pattern });
  }
  return bindings;
}

/** Each key of the topic workload leads to this many queues. */
export const TOPIC_QUEUES_PER_KEY = 2;

function topicWords(n: number): [number, number, number] {
  return [Math.floor(n / 100) % 10, Math.floor(n / 10) % 10, n % 10];
}

/** The keys of the topic workload, in an order that is neither sorted nor random. */
export function topicKeys(): string[] {
  const keys: string[] = [];
  for (let i = 0; i < 1000; i++) {
    // 387 and 1,000 have no common divisor, so every key comes once.
    const [a, b, c] = topicWords((i * 387) % 1000);
    keys.push(`site${a}.line${b}.sensor${c}`);
  }
  return keys;
}

async function topic(bench: Bench): Promise<Metric[]> {
  const consumers: Link[] = [];
  const queues: string[] = [];
  const link = await bench.link();
  const exchange = await bench.exchange(link, 'x', 'topic');
  for (let i = 0; i < 10; i++) {
    const consumer = await bench.link();
    queues.push(await bench.queue(consumer, `q${i}`, false));
    await consumer.consume(queues[i]!, 0, 0);
    consumers.push(consumer);
  }
  const bindings = topicBindings();
  let bound = 0;
  const binding = await bench.measure(
    () => bound,
    async () => {
      const replies = bindings.map((each) => link.bindQueue(queues[each.queue]!, exchange, each.pattern));
      await bench.orFailure(Promise.all(replies));
      bound = replies.length;
    },
  );
  const messages = topicKeys().map((routingKey) =>
    link.encode({ exchange, routingKey, persistent: false, body: filled(100) }),
  );
  const most = IN_FLIGHT / TOPIC_QUEUES_PER_KEY;
  const room = () => most - (producer.published - Math.floor(sum(consumers) / TOPIC_QUEUES_PER_KEY));
  const producer: Producer = new Producer(link, new wire.Batch(messages), room, 250);
  onAnyProgress(consumers, () => producer.pump());
  producer.start();
  const measured = await bench.window(() => sum(consumers));
  producer.stop();
  return [rate('delivered', 'msg/s', measured), rate('bindings made', 'bind/s', binding)];
}

/** A backlog: `count` persistent messages with confirms and no consumer, then one consumer that takes them all. */
export async function fillAndDrain(bench: Bench, size: number, count: number): Promise<Metric[]> {
  const { link, confirms } = await bench.confirming(1000);
  const queue = await bench.queue(link, 'q', true);
  const message = link.encode({ exchange: '', routingKey: queue, persistent: true, body: filled(size) });
  const batch = wire.Batch.repeat(message, WRITE_BYTES);
  const room = () => Math.min(confirms.room(), count - producer.published);
  const producer: Producer = new Producer(link, batch, room);
  link.onProgress = () => producer.pump();
  const before = bench.resident();
  bench.watchMemory();
  const fill = await bench.measure(
    () => confirms.confirmed,
    async () => {
      producer.start();
      await bench.until('fill', 600, () => confirms.confirmed + confirms.refused >= count);
    },
  );
  if (confirms.refused > 0) bench.notes.push(`${confirms.refused} publishes were nacked`);
  const maxWhileFilling = bench.maxResident;
  const after = bench.resident();
  const consumer = await bench.link();
  const wanted = confirms.confirmed;
  const drain = await bench.measure(
    () => consumer.scanner.contents,
    async () => {
      await consumer.consume(queue, PREFETCH, ACK_EVERY);
      await bench.until('drain', 600, () => consumer.scanner.contents >= wanted);
    },
  );
  const metrics = [rate('fill', 'msg/s', fill), rate('drain', 'msg/s', drain)];
  if (before !== null && after !== null) {
    metrics.push(cost('RSS before', 'MiB', before / 2 ** 20));
    metrics.push(cost('RSS max, filling', 'MiB', Math.max(maxWhileFilling, after) / 2 ** 20));
    metrics.push(cost('RSS max, draining', 'MiB', bench.maxResident / 2 ** 20));
  }
  return metrics;
}

/** Clients that connect, open a channel, close it and go. */
async function churn(bench: Bench, clients: number): Promise<Metric[]> {
  let cycles = 0;
  let running = true;
  const client = async () => {
    while (running) {
      const link = await Link.connect(bench.options.address, { readBytes: 4096 });
      bench.product = link.product;
      bench.version = link.version;
      await link.openChannel();
      await link.closeChannel();
      await link.close();
      cycles += 1;
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  // A client that fails ends the run: its rejection wins the race against the window.
  const measured = await Promise.race([
    bench.window(() => cycles),
    all.then(() => {
      throw new Error('the clients ended early');
    }),
  ]);
  running = false;
  await all;
  return [rate('connections', 'conn/s', measured)];
}

/** Every workload, in the order of a run. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: 'transient-16',
    title: 'transient 16 B, 1 producer, 1 consumer, auto-ack',
    standard: true,
    run: (bench) => transient(bench, 16, 1),
  },
  {
    name: 'transient-1k',
    title: 'transient 1 KiB, 1 producer, 1 consumer, auto-ack',
    standard: true,
    run: (bench) => transient(bench, 1024, 1, 20_000),
  },
  {
    name: 'persistent-1k',
    title: 'persistent 1 KiB, confirms (window 1,000), prefetch 500, ack every 50',
    standard: true,
    run: (bench) => persistent(bench, 1024, 1000),
  },
  {
    name: 'persistent-1k-single',
    title: 'persistent 1 KiB, one unconfirmed publish at a time',
    standard: true,
    run: (bench) => singles(bench, 1024, true),
  },
  {
    name: 'transient-1k-single',
    title: 'the same with transient messages: a confirm that waits for no disk',
    standard: false,
    run: (bench) => singles(bench, 1024, false),
  },
  {
    name: 'persistent-1k-priorities',
    title: 'as persistent-1k, to a queue with 255 priorities, all of them used',
    standard: false,
    run: (bench) => persistent(bench, 1024, 1000, 255),
  },
  {
    name: 'persistent-16',
    title: 'as persistent-1k, 16 B',
    standard: false,
    run: (bench) => persistent(bench, 16, 1000),
  },
  {
    name: 'persistent-16-priorities',
    title: 'as persistent-16, to a queue with 255 priorities, all of them used',
    standard: false,
    run: (bench) => persistent(bench, 16, 1000, 255),
  },
  {
    name: 'fanout-10',
    title: 'fanout to 10 queues, 100 B, a consumer each',
    standard: true,
    run: (bench) => fanout(bench, 100, 10),
  },
  {
    name: 'topic-10k',
    title: 'topic exchange, 10,000 bindings, 1,000 keys, 100 B, 2 queues a message',
    standard: true,
    run: topic,
  },
  {
    name: 'latency-5k',
    title: 'latency at 5,000 messages a second, transient 100 B',
    standard: true,
    run: (bench) => latency(bench, 100, 5000),
  },
  {
    name: 'fill-drain',
    title: '500,000 persistent 1 KiB without a consumer, then drained',
    standard: true,
    run: (bench) => fillAndDrain(bench, 1024, Math.round(500_000 * bench.options.scale)),
  },
  {
    name: 'churn',
    title: 'connect, open a channel, close it, disconnect; 10 clients',
    standard: true,
    run: (bench) => churn(bench, 10),
  },
  {
    name: 'parallel-4',
    title: '4 producers, 4 queues, 4 consumers, transient 100 B',
    standard: true,
    run: (bench) => transient(bench, 100, 4),
  },
  {
    name: 'large-1m',
    title: 'persistent 1 MiB, confirms (window 16), ack each',
    standard: true,
    run: (bench) => persistent(bench, 2 ** 20, 16),
  },
  {
    name: 'large-256k',
    title: 'as large-1m, 256 KiB (window 64)',
    standard: false,
    run: (bench) => persistent(bench, 2 ** 18, 64),
  },
  {
    name: 'large-10m',
    title: 'as large-1m, 10 MiB (window 4)',
    standard: false,
    run: (bench) => persistent(bench, 10 * 2 ** 20, 4),
  },
  {
    name: 'get-ack',
    title: 'basic.get and ack, one at a time, transient 100 B',
    standard: true,
    run: (bench) => gets(bench, 100, false),
  },
  {
    name: 'get-empty',
    title: 'basic.get on an empty queue',
    standard: true,
    run: (bench) => gets(bench, 0, true),
  },
  {
    name: 'flood-16',
    title: 'transient 16 B, a producer that nothing but the socket holds back',
    standard: false,
    run: (bench) => flood(bench, 16),
  },
];

/** The workload of a name; `sweep@value` is one point of a sweep. Null when there is none. */
function workloadOf(name: string): Pick<Workload, 'run'> | null {
  const workload = WORKLOADS.find((each) => each.name === name);
  if (workload !== undefined) return workload;
  const [sweepName, value] = name.split('@');
  const sweep = SWEEPS.find((each) => each.name === sweepName);
  if (sweep === undefined || !/^\d+$/.test(value ?? '')) return null;
  return { run: (bench) => sweep.run(bench, Number(value)) };
}

/** Whether `runWorkload` knows the name. */
export function isWorkload(name: string): boolean {
  return workloadOf(name) !== null;
}

/** Runs one workload in this process. @throws Error when the name is unknown or the broker ends a link */
export async function runWorkload(name: string, options: RunOptions): Promise<RunResult> {
  const workload = workloadOf(name);
  if (workload === null) throw new Error(`no workload '${name}'`);
  const bench = new Bench(options, name);
  try {
    const metrics = await workload.run(bench);
    // Before its queues are gone.
    const resident = bench.resident();
    if (resident !== null && !metrics.some((metric) => metric.name.startsWith('RSS')))
      metrics.push(cost('RSS, at the end', 'MiB', resident / 2 ** 20));
    await bench.close();
    return { workload: name, product: bench.product, version: bench.version, metrics, notes: bench.notes };
  } catch (error) {
    await bench.close().catch(() => {});
    throw error;
  }
}
